#include "ranks/world.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const int64_t counts[PLAIN] = {70000, 77, 3, 1024, 1, 31 * 33};
static const relora_dtype types[PLAIN] = {RELORA_F32,  RELORA_BF16, RELORA_F32,
                                          RELORA_BF16, RELORA_F32,  RELORA_BF16};
enum { GAPPED = PLAIN - 1, ROWS = 31, COLS = 33, PITCH = 40 };

static float start_of(int64_t i, int64_t k) { return (float)((i * 37 + k * 11) % 101 - 50) / 64; }

static float gradient_of(int64_t i, int64_t k, int64_t step, int64_t rank)
{
    return (float)((i * 7 + k * 5 + step * 13 + rank * rank * 3 + i / 1000) % 33 - 16) / 64;
}

static void put_floats(struct rank *rank, relora_tensor *t, const float *values, int gapped)
{
    int64_t n = relora_tensor_count(t);
    if (relora_tensor_dtype(t) == RELORA_F32) {
        memcpy(relora_tensor_data(t), values, (size_t)n * sizeof *values);
        return;
    }
    uint16_t *to = relora_tensor_data(t); /* what these values need fits BF16 */
    for (int64_t i = 0; i < n; i++) {
        uint32_t bits;
        memcpy(&bits, &values[i], sizeof bits);
        RANK_TRUE(rank, (bits & 0xFFFF) == 0);
        to[gapped ? i / COLS * PITCH + i % COLS : i] = (uint16_t)(bits >> 16);
    }
}

static void fill(struct rank *rank, relora_tensor *t, int64_t k, int64_t step, const struct world *sums)
{
    int64_t n = relora_tensor_count(t);
    float *values = malloc((size_t)n * sizeof *values);
    for (int64_t i = 0; i < n; i++) {
        values[i] = sums ? 0 : start_of(i, k);
        for (int32_t r = 0; sums && r < sums->data; r++)
            values[i] += gradient_of(i, k, step, sums->first + r);
    }
    put_floats(rank, t, values, k == GAPPED && !sums);
    free(values);
}

static relora_tensor *make(struct rank *rank, relora_dtype dtype, int32_t ndim, const int64_t *shape)
{
    relora_tensor *t = NULL;
    RANK_OK(rank, relora_tensor_create(&t, rank->dev, dtype, ndim, shape));
    return t;
}

static void make_gapped(struct rank *rank, struct world *w)
{
    const int64_t shape[] = {ROWS, COLS}, strides[] = {PITCH, 1};
    w->gapped = calloc(ROWS * PITCH, sizeof *w->gapped);
    RANK_OK(rank, relora_tensor_borrow(&w->value[GAPPED], rank->dev, RELORA_BF16, 2, shape, strides,
                                       w->gapped, NULL, NULL));
}

static void make_layer(struct rank *rank, struct world *w, int i)
{
    const struct plan *plan = rank->user;
    relora_linear_options o;
    const int64_t shape[] = {OUT, IN};
    relora_linear_options_init(&o, sizeof o);
    if (plan->init) o.init = plan->init;
    o.flags |= plan->layer_flags;
    if (plan->mode) o.mode = plan->mode;
    o.in_features = IN;
    o.out_features = OUT;
    o.rank = RANK;
    o.layer = (uint64_t)i;
    o.dtype = i ? RELORA_BF16 : RELORA_F32;
    w->weight[i] = make(rank, o.dtype, 2, shape);
    fill(rank, w->weight[i], 20 + i, 0, NULL);
    RANK_OK(rank, relora_linear_create(&w->layer[i], rank->dev, &o));
    if (o.mode == RELORA_MODE_LOWRANK)
        RANK_OK(rank, relora_linear_set_target(w->layer[i], w->weight[i], NULL, NULL));
    else RANK_OK(rank, relora_linear_set_weight(w->layer[i], w->weight[i], NULL));
}

relora_adam *world_adam(struct rank *rank, struct world *w)
{
    const struct plan *plan = rank->user;
    relora_adam_options o;
    relora_adam *adam = NULL;
    relora_adam_options_init(&o, sizeof o);
    o.flags |= plan->flags;
    o.max_norm = plan->max_norm;
    o.weight_decay = 0.01;
    o.comm = rank->comm.size > 1 && !plan->apart ? &rank->comm : NULL;
    RANK_OK(rank, relora_adam_create(&adam, rank->dev, &o));
    for (int i = 0; i < PLAIN; i++) {
        char name[8];
        snprintf(name, sizeof name, "p%d", i);
        RANK_OK(rank, relora_adam_add(adam, name, w->value[i], w->grad[i], NULL));
    }
    for (int i = 0; i < LAYERS; i++) {
        char name[8];
        snprintf(name, sizeof name, "l%d", i);
        RANK_OK(rank, relora_adam_add_linear(adam, name, w->layer[i]));
    }
    return adam;
}

static void run_body(struct rank *rank)
{
    const struct plan *plan = rank->user;
    int alone = rank->comm.size == 1;
    struct world w = {.first = alone ? 0 : rank->comm.rank, .data = alone ? plan->of : 1};
    for (int i = 0; i < PLAIN; i++) {
        if (i == GAPPED) make_gapped(rank, &w);
        else w.value[i] = make(rank, types[i], 1, &counts[i]);
        const int64_t shape[] = {ROWS, COLS};
        w.grad[i] = i == GAPPED ? make(rank, RELORA_F32, 2, shape)
                                : make(rank, i == 3 ? RELORA_BF16 : RELORA_F32, 1, &counts[i]);
        fill(rank, w.value[i], i, 0, NULL);
    }
    for (int i = 0; i < LAYERS; i++) make_layer(rank, &w, i);
    w.adam = world_adam(rank, &w);
    plan->work(rank, &w);
    relora_adam_release(w.adam);
    for (int i = 0; i < PLAIN; i++) {
        relora_tensor_release(w.value[i]);
        relora_tensor_release(w.grad[i]);
    }
    for (int i = 0; i < LAYERS; i++) {
        relora_linear_release(w.layer[i]);
        relora_tensor_release(w.weight[i]);
    }
    free(w.gapped);
}

void world_on_fake(struct rank *rank) { rank->module_dir = RELORA_TEST_MODULES "/fake"; }

struct rank *world_run(int32_t size, rank_fn prepare, struct plan *plan)
{
    struct rank *ranks = ranks_run(size, prepare, run_body, plan);
    for (int32_t r = 0; r < size; r++) RANK_TRUE(&ranks[r], !ranks[r].bad_memory);
    return ranks;
}

void world_run_here(const relora_comm *comm, struct plan *plan)
{
    const struct rank *rank = rank_run(comm, run_body, plan);
    RANK_TRUE(rank, !rank->bad_memory);
}

void world_set_grads(struct rank *rank, struct world *w, int64_t step)
{
    for (int i = 0; i < PLAIN; i++) fill(rank, w->grad[i], i, step, w);
    for (int i = 0; i < LAYERS; i++) {
        static const relora_param parts[] = {RELORA_PARAM_WEIGHT, RELORA_PARAM_A, RELORA_PARAM_B};
        for (int k = 0; k < 3; k++) {
            relora_tensor *grad = relora_linear_grad(w->layer[i], parts[k]);
            if (grad) fill(rank, grad, 20 + 10 * k + i, step, w);
        }
        relora_tensor *sketch = relora_linear_param(w->layer[i], RELORA_PARAM_SKETCH);
        if (sketch) fill(rank, sketch, 50 + i, step, w);
    }
}

void world_fill(struct rank *rank, const struct world *w, relora_tensor *tensor, int64_t step)
{
    fill(rank, tensor, 60, step, w);
}

void world_step(struct rank *rank, struct world *w, int64_t step, relora_step_report *report)
{
    world_set_grads(rank, w, step);
    RANK_OK(rank, relora_adam_step(w->adam, rank->st, 0.01, 0.25, report));
}

/* ---- what is compared ---- */

void world_keep_bytes(struct rank *rank, const void *bytes, size_t size)
{
    struct plan *plan = rank->user;
    int32_t r = rank->comm.rank;
    plan->bytes[r] = realloc(plan->bytes[r], plan->kept[r] + size);
    memcpy(plan->bytes[r] + plan->kept[r], bytes, size);
    plan->kept[r] += size;
}

static void keep_tensor(struct rank *rank, const relora_tensor *t)
{
    size_t item = relora_tensor_dtype(t) == RELORA_F32 ? 4 : 2;
    world_keep_bytes(rank, relora_tensor_data((relora_tensor *)(uintptr_t)t),
                     (size_t)relora_tensor_count(t) * item);
}

void world_keep(struct rank *rank, const struct world *w)
{
    for (int i = 0; i < GAPPED; i++) keep_tensor(rank, w->value[i]);
    world_keep_bytes(rank, w->gapped, ROWS * PITCH * sizeof *w->gapped);
    for (int i = 0; i < LAYERS; i++) {
        relora_tensor *a = relora_linear_param(w->layer[i], RELORA_PARAM_A);
        keep_tensor(rank, w->weight[i]);
        if (a) keep_tensor(rank, a);
        if (a) keep_tensor(rank, relora_linear_param(w->layer[i], RELORA_PARAM_B));
    }
}

void world_same(const struct plan *plan, int32_t size, const struct plan *other)
{
    ck_assert_uint_gt(other->kept[0], 0);
    for (int32_t r = 0; r < size; r++) {
        ck_assert_uint_eq(plan->kept[r], other->kept[0]);
        for (size_t i = 0; i < other->kept[0]; i++)
            if (plan->bytes[r][i] != other->bytes[0][i])
                ck_abort_msg("rank %d of %d has other bits at byte %zu", (int)r, (int)size, i);
    }
}

void world_free(struct plan *plan)
{
    for (int r = 0; r < RANKS_MOST; r++) {
        free(plan->bytes[r]);
        plan->bytes[r] = NULL;
        plan->kept[r] = 0;
    }
}

void world_as_one(int32_t size, rank_fn prepare, struct plan *plan, struct plan *alone)
{
    world_run(1, NULL, alone);
    world_run(size, prepare, plan);
    world_same(plan, size, alone);
    world_free(plan);
    world_free(alone);
}
