/* A small training run that uses no more than release 0.2 had, and its state file. The files under
 * test/checkpoint/files/state-*.safetensors were recorded with it, each by the release in its name:
 *
 *     make lib, in a tree of that release; then, with its headers and its library,
 *     cc -I$tree/include -Itest test/abi/old/0.2.0/caller.c -L$tree/lib -lrelora -o record
 *     ./record --record state-0.2.0.safetensors
 *
 * So nothing here may change: neither an option, nor a name, nor the number of updates. The including file
 * has the macro OK(call). */
#ifndef TEST_ABI_OLD_RUN_H
#define TEST_ABI_OLD_RUN_H

#include <relora/relora.h>
#include <stdio.h>
#include <string.h>

enum { OLD_IN = 6, OLD_OUT = 5, OLD_ROWS = 4, OLD_LAYERS = 2, OLD_STEPS = 12, OLD_EVERY = 5 };

struct old_layer {
    relora_linear *linear;
    relora_tensor *weight, *x, *y, *dy;
};

struct old_run {
    relora_stream *stream;
    struct old_layer layers[OLD_LAYERS];
    relora_tensor *norm;
    relora_adam *adam;
    relora_schedule *warm, *jagged;
    relora_cycle *cycle;
    relora_state *state;
};

/* Numbers that need no generator: a tensor's elements are a function of `what` alone. */
static void old_fill(struct old_run *run, relora_tensor *tensor, unsigned what)
{
    float values[OLD_IN * OLD_OUT];
    uint16_t halves[OLD_IN * OLD_OUT];
    size_t n = (size_t)relora_tensor_count(tensor);
    for (size_t i = 0; i < n; i++) {
        uint32_t bits;
        values[i] = (float)((int)((i * 29 + what * 13) % 31) - 15) / 16;
        memcpy(&bits, &values[i], sizeof bits);
        halves[i] = (uint16_t)(bits >> 16);
    }
    if (relora_tensor_dtype(tensor) == RELORA_F32)
        OK(relora_tensor_write(tensor, run->stream, values, n * sizeof *values));
    else OK(relora_tensor_write(tensor, run->stream, halves, n * sizeof *halves));
}

static relora_tensor *old_matrix(relora_device *device, relora_dtype dtype, int64_t rows, int64_t columns)
{
    const int64_t shape[2] = {rows, columns};
    relora_tensor *tensor;
    OK(relora_tensor_create(&tensor, device, dtype, 2, shape));
    return tensor;
}

/* One layer in F32 with bias and trainable scale, one in BF16 that keeps its delta. */
static void old_layers(struct old_run *run, relora_device *device)
{
    for (int i = 0; i < OLD_LAYERS; i++) {
        struct old_layer *l = &run->layers[i];
        relora_linear_options o;
        OK(relora_linear_options_init(&o, sizeof o));
        o.in_features = OLD_IN;
        o.out_features = OLD_OUT;
        o.rank = 2 + i;
        o.alpha = 4;
        o.dropout = i ? 0 : 0.2;
        o.dtype = i ? RELORA_BF16 : RELORA_F32;
        o.flags = i ? RELORA_LINEAR_KEEP_DELTA : RELORA_LINEAR_BIAS | RELORA_LINEAR_TRAINABLE_SCALE;
        o.seed = UINT64_C(12345678901234567890);
        o.layer = (uint64_t)i + 1;
        o.rounding = i ? RELORA_ROUND_NEAREST : RELORA_ROUND_STOCHASTIC;
        OK(relora_linear_create(&l->linear, device, &o));
        l->weight = old_matrix(device, o.dtype, OLD_OUT, OLD_IN);
        l->x = old_matrix(device, o.dtype, OLD_ROWS, OLD_IN);
        l->y = old_matrix(device, o.dtype, OLD_ROWS, OLD_OUT);
        l->dy = old_matrix(device, o.dtype, OLD_ROWS, OLD_OUT);
        old_fill(run, l->weight, 1 + (unsigned)i);
        OK(relora_linear_set_weight(l->linear, l->weight, NULL));
    }
}

static void old_optimizer(struct old_run *run, relora_device *device)
{
    relora_adam_options o;
    OK(relora_adam_options_init(&o, sizeof o));
    o.flags = RELORA_ADAM_DECOUPLED | RELORA_ADAM_SKIP_NOT_FINITE;
    o.beta2 = 0.95;
    o.weight_decay = 0.02;
    o.max_norm = 2;
    o.seed = 17;
    OK(relora_adam_create(&run->adam, device, &o));
    OK(relora_adam_add_linear(run->adam, "model.q_proj", run->layers[0].linear));
    OK(relora_adam_add_linear(run->adam, "model.k_proj", run->layers[1].linear));
    OK(relora_adam_set_factors(run->adam, 0, 0.5, 0.01));
}

static void old_schedules(struct old_run *run, relora_context *context)
{
    relora_schedule_options o;
    OK(relora_schedule_options_init(&o, sizeof o));
    o.lr = 0.05;
    o.total_steps = 20;
    o.warmup_steps = 2;
    o.restart_every = OLD_EVERY;
    o.restart_warmup_steps = 1;
    OK(relora_schedule_create(&run->jagged, context, &o));
    OK(relora_schedule_options_init(&o, sizeof o));
    o.kind = RELORA_SCHEDULE_LINEAR;
    o.lr = 0.1;
    o.total_steps = 40;
    o.warmup_steps = 3;
    OK(relora_schedule_create(&run->warm, context, &o));
}

static void old_cycle(struct old_run *run, relora_context *context)
{
    relora_cycle_options o;
    relora_reset_options reset;
    OK(relora_cycle_options_init(&o, sizeof o));
    o.merge_every = OLD_EVERY;
    o.reset_every = 2 * OLD_EVERY;
    OK(relora_reset_options_init(&reset, sizeof reset));
    reset.mode = RELORA_RESET_RANDOM;
    reset.flags = RELORA_RESET_STEP_COUNT;
    reset.ratio = 0.5;
    reset.seed = 99;
    OK(relora_cycle_create(&run->cycle, context, &o, run->adam, &reset));
    for (int i = 0; i < OLD_LAYERS; i++) OK(relora_cycle_add(run->cycle, run->layers[i].linear));
}

static void old_state(struct old_run *run, relora_context *context)
{
    OK(relora_state_create(&run->state, context));
    OK(relora_state_add_tensor(run->state, "model.norm.weight", run->norm));
    OK(relora_state_add_linear(run->state, "model.q_proj", run->layers[0].linear));
    OK(relora_state_add_linear(run->state, "model.k_proj", run->layers[1].linear));
    OK(relora_state_add_adam(run->state, "optimizer", run->adam));
    OK(relora_state_add_schedule(run->state, "schedule", run->jagged));
    OK(relora_state_add_schedule(run->state, "warm start", run->warm));
    OK(relora_state_add_cycle(run->state, "cycle", run->cycle));
    OK(relora_state_set(run->state, "step", "12"));
}

static void old_run_make(struct old_run *run, relora_context *context, relora_device *device)
{
    memset(run, 0, sizeof *run);
    OK(relora_stream_create(&run->stream, device));
    old_layers(run, device);
    run->norm = old_matrix(device, RELORA_F32, 1, 7);
    old_fill(run, run->norm, 5);
    old_optimizer(run, device);
    old_schedules(run, context);
    old_cycle(run, context);
    old_state(run, context);
}

static void old_run_release(struct old_run *run)
{
    relora_state_release(run->state);
    relora_cycle_release(run->cycle);
    relora_schedule_release(run->warm);
    relora_schedule_release(run->jagged);
    relora_adam_release(run->adam);
    relora_tensor_release(run->norm);
    for (int i = 0; i < OLD_LAYERS; i++) {
        struct old_layer *l = &run->layers[i];
        relora_tensor *all[] = {l->weight, l->x, l->y, l->dy};
        for (int j = 0; j < 4; j++) relora_tensor_release(all[j]);
        relora_linear_release(l->linear);
    }
    relora_stream_release(run->stream);
}

static void old_run_train(struct old_run *run, int from, int to)
{
    const uint32_t flags = RELORA_TRAIN | RELORA_OVERWRITE;
    for (int step = from; step < to; step++) {
        double lr;
        for (int i = 0; i < OLD_LAYERS; i++) {
            struct old_layer *l = &run->layers[i];
            old_fill(run, l->x, (unsigned)(3 * step + i));
            old_fill(run, l->dy, (unsigned)(5 * step + i + 2));
            OK(relora_linear_forward(l->linear, run->stream, l->x, l->y, (uint64_t)step, RELORA_TRAIN));
            OK(relora_linear_backward(l->linear, run->stream, l->x, l->dy, NULL, (uint64_t)step, flags));
        }
        OK(relora_schedule_lr(run->jagged, step, &lr));
        OK(relora_adam_step(run->adam, run->stream, lr, 1, NULL));
        OK(relora_cycle_advance(run->cycle, run->stream, step + 1, NULL, NULL, NULL));
    }
}

/* Pairs that may differ: which release wrote the file, and sums, which a library without xxHash leaves out. */
static int old_run_varies(const char *key)
{
    return strcmp(key, "relora.version") == 0 || strcmp(key, "relora.xxh3") == 0;
}

static int old_run_pairs(const relora_reader *reader)
{
    int pairs = 0;
    for (int32_t i = 0; i < relora_reader_metadata_count(reader); i++)
        pairs += !old_run_varies(relora_reader_metadata_key(reader, i));
    return pairs;
}

/* Do two files hold the same tensors and the same pairs, whatever release wrote them? The name of what differs,
 * or NULL. */
static const char *old_run_differs(const relora_reader *a, const relora_reader *b)
{
    if (relora_reader_count(a) != relora_reader_count(b)) return "the number of tensors";
    for (int32_t i = 0; i < relora_reader_count(a); i++) {
        const char *name = relora_reader_name(a, i);
        const void *of_a, *of_b;
        size_t size_a = 0, size_b = 1;
        OK(relora_reader_bytes(a, name, &of_a, &size_a));
        if (relora_reader_bytes(b, name, &of_b, &size_b) < 0) return name;
        if (size_a != size_b || memcmp(of_a, of_b, size_a)) return name;
    }
    if (old_run_pairs(a) != old_run_pairs(b)) return "the number of pairs";
    for (int32_t i = 0; i < relora_reader_metadata_count(a); i++) {
        const char *key = relora_reader_metadata_key(a, i), *of_b = relora_reader_metadata(b, key);
        if (!old_run_varies(key) && (!of_b || strcmp(relora_reader_metadata(a, key), of_b))) return key;
    }
    return NULL;
}

#endif
