/* A program of the time of 0.1.0: compiled with the headers of that release, in include/ beside it, and run with
 * today's library. It calls each function of the release once or more (test/abi/callers.sh compares the lists), has
 * the structs in their size of then, with a guard behind each, and knows what every number has to be. Nothing in
 * it is ever adapted to a newer release. */
#include <relora/relora.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define OK(call) ok((call), #call, __LINE__)
#define TRUE(what) true_((what) != 0, #what, __LINE__)
#define NEAR(got, want) near((got), (want), #got, __LINE__)

/* A struct as large as it was, and behind it what the library must not touch. */
#define GUARDED(type, name) struct { type is; uint64_t guard; } name = { .guard = GUARD }
static const uint64_t GUARD = UINT64_C(0x1122334455667788);

static relora_context *ctx;
static relora_device *dev;
static relora_stream *st;
static int failures;

static void ok(relora_status status, const char *call, int line)
{
    char why[300] = "";
    if (status == RELORA_OK) return;
    relora_context_error(ctx, why, sizeof why, NULL);
    printf("line %d: %s: %s: %s\n", line, call, relora_status_name(status), why);
    exit(1); /* what follows would make no sense */
}

static void true_(int holds, const char *what, int line)
{
    if (holds) return;
    printf("line %d: not so: %s\n", line, what);
    failures++;
}

static void near(double got, double want, const char *what, int line)
{
    if (fabs(got - want) <= 1e-6 * (1 + fabs(want))) return;
    printf("line %d: %s is %.9g, not %.9g\n", line, what, got, want);
    failures++;
}

static relora_tensor *borrow(float *data, int64_t rows, int64_t columns)
{
    const int64_t shape[2] = {rows, columns};
    relora_tensor *t;
    OK(relora_tensor_borrow(&t, dev, RELORA_F32, 2, shape, NULL, data, NULL, NULL));
    return t;
}

static relora_tensor *own(int64_t n)
{
    relora_tensor *t;
    OK(relora_tensor_create(&t, dev, RELORA_F32, 1, &n));
    OK(relora_tensor_fill(t, st, 0));
    return t;
}

static float element(const relora_tensor *t, int64_t i)
{
    return ((const float *)relora_tensor_data(t))[i];
}

/* ---- context: memory and log are the caller's ---- */

static size_t outstanding;
static int errors;
static char last[300];

static void *take(void *user, size_t size, size_t alignment)
{
    outstanding += size;
    (void)user;
    return aligned_alloc(alignment, (size + alignment - 1) / alignment * alignment);
}

static void give(void *user, void *ptr, size_t size, size_t alignment)
{
    outstanding -= size;
    (void)user, (void)alignment;
    free(ptr);
}

static void hear(void *user, int32_t level, const char *message)
{
    if (level != RELORA_LOG_ERROR) return;
    ++*(int *)user;
    snprintf(last, sizeof last, "%s", message);
}

static void open_context(void)
{
    GUARDED(relora_context_options, o);
    uint64_t free_bytes = 1, all_bytes = 0;
    OK(relora_context_options_init(&o.is, sizeof o.is));
    TRUE(o.is.struct_size == sizeof o.is && o.guard == GUARD);
    o.is.threads = 2;
    o.is.log_level = RELORA_LOG_ERROR;
    o.is.host_alloc = take;
    o.is.host_free = give;
    o.is.log = hear;
    o.is.log_user = &errors;
    OK(relora_context_create(&ctx, &o.is));
    TRUE(relora_device_count(ctx, RELORA_DEVICE_CPU) == 1);
    dev = relora_device_get(ctx, RELORA_DEVICE_CPU, 0);
    TRUE(relora_device_get_kind(dev) == RELORA_DEVICE_CPU && relora_device_name(dev)[0]);
    OK(relora_device_memory(dev, &free_bytes, &all_bytes));
    TRUE(0 < free_bytes && free_bytes <= all_bytes);
    OK(relora_stream_create(&st, dev));
    TRUE(outstanding > 0);
}

static void versions(void)
{
    char text[40];
    uint32_t v = relora_version();
    snprintf(text, sizeof text, "%u.%u.%u", v >> 16, v >> 8 & 255, v & 255);
    TRUE(v >= 1 << 8 && strcmp(relora_version_string(), text) == 0 && strstr(relora_build_info(), "gemm="));
}

/* ---- tensors ---- */

static void count_call(void *user, void *data)
{
    (void)data;
    ++*(int *)user;
}

static void tensors(void)
{
    float first[6] = {1, 2, 3, 4, 5, 6}, second[6] = {0}, out[6];
    const int64_t shape[2] = {2, 3};
    uint16_t half[6];
    int deleted = 0;
    relora_tensor *a, *b, *c;
    relora_stream *other;

    OK(relora_tensor_create(&a, dev, RELORA_F32, 2, shape));
    OK(relora_tensor_write(a, st, first, sizeof first));
    TRUE(relora_tensor_dtype(a) == RELORA_F32 && relora_tensor_ndim(a) == 2 && relora_tensor_count(a) == 6);
    TRUE(relora_tensor_dim(a, 1) == 3 && relora_tensor_stride(a, 0) == 3 && relora_tensor_device(a) == dev);
    TRUE((uintptr_t)relora_tensor_data(a) % 64 == 0);

    OK(relora_tensor_borrow(&b, dev, RELORA_F32, 2, shape, NULL, first, count_call, &deleted));
    OK(relora_tensor_set_data(b, second));
    OK(relora_tensor_copy(b, a, st));
    TRUE(memcmp(first, second, sizeof first) == 0);
    relora_tensor_retain(b);
    relora_tensor_release(b);
    TRUE(deleted == 1); /* for the first buffer */
    relora_tensor_release(b);
    TRUE(deleted == 2);

    OK(relora_tensor_fill(a, st, 1 + 1.0 / 256)); /* halfway between two BF16: to the even one */
    OK(relora_tensor_create(&c, dev, RELORA_BF16, 2, shape));
    OK(relora_tensor_copy(c, a, st));
    OK(relora_tensor_read(c, st, half, sizeof half));
    OK(relora_tensor_read(a, st, out, sizeof out));
    TRUE(half[5] == 0x3f80 && out[5] == 1 + 1.0f / 256);

    OK(relora_stream_create(&other, dev));
    OK(relora_stream_wait(st, other));
    OK(relora_stream_synchronize(st));
    relora_stream_release(other);
    relora_tensor_release(a);
    relora_tensor_release(c);
}

/* ---- layers ---- */

static relora_linear *layer(relora_linear_mode mode, uint32_t flags, int64_t n, int64_t rank, double dropout)
{
    GUARDED(relora_linear_options, o);
    relora_linear *l;
    OK(relora_linear_options_init(&o.is, sizeof o.is));
    o.is.mode = mode;
    o.is.flags = flags;
    o.is.in_features = o.is.out_features = n;
    o.is.rank = rank;
    o.is.alpha = (double)rank; /* s = 1 */
    o.is.dropout = dropout;
    o.is.seed = 7;
    o.is.layer = 3;
    OK(relora_linear_create(&l, dev, &o.is));
    TRUE(o.is.struct_size == sizeof o.is && o.guard == GUARD);
    return l;
}

static void layer_values(void)
{
    float w[4] = {1, 2, 3, 4}, bias[2] = {0.5f, 0.25f}, x[2] = {1, 2}, y[2], dy[2] = {1, 1}, dx[2];
    const float a[2] = {1, -1}, b[2] = {2, 3};
    const int64_t two = 2;
    relora_tensor *tw = borrow(w, 2, 2), *tx = borrow(x, 1, 2), *ty = borrow(y, 1, 2), *tdy = borrow(dy, 1, 2);
    relora_tensor *tdx = borrow(dx, 1, 2), *tb;
    relora_linear *l = layer(RELORA_MODE_LORA, RELORA_LINEAR_BIAS, 2, 1, 0);
    GUARDED(relora_merge_report, report);

    OK(relora_tensor_borrow(&tb, dev, RELORA_F32, 1, &two, NULL, bias, NULL, NULL));
    OK(relora_linear_set_weight(l, tw, tb));
    OK(relora_tensor_write(relora_linear_param(l, RELORA_PARAM_A), st, a, sizeof a));
    OK(relora_tensor_write(relora_linear_param(l, RELORA_PARAM_B), st, b, sizeof b));
    TRUE(relora_linear_get_mode(l) == RELORA_MODE_LORA && !relora_linear_param(l, RELORA_PARAM_SCALE));
    TRUE(!relora_linear_grad(l, RELORA_PARAM_WEIGHT));

    OK(relora_linear_forward(l, st, tx, ty, 0, RELORA_TRAIN));
    TRUE(y[0] == 3.5f && y[1] == 8.25f);
    OK(relora_linear_backward(l, st, tx, tdy, tdx, 0, RELORA_TRAIN | RELORA_OVERWRITE));
    TRUE(dx[0] == 9 && dx[1] == 1);
    OK(relora_linear_backward(l, st, tx, tdy, tdx, 0, RELORA_TRAIN | RELORA_ACCUMULATE_DX));
    TRUE(dx[0] == 18 && dx[1] == 2);
    relora_tensor *da = relora_linear_grad(l, RELORA_PARAM_A), *db = relora_linear_grad(l, RELORA_PARAM_B);
    TRUE(element(da, 0) == 10 && element(da, 1) == 20 && element(db, 0) == -2 && element(db, 1) == -2);
    TRUE(element(relora_linear_grad(l, RELORA_PARAM_BIAS), 1) == 2);
    OK(relora_linear_zero_grad(l, st));
    TRUE(element(da, 0) == 0 && element(db, 1) == 0);

    report.is.struct_size = sizeof report.is;
    OK(relora_linear_merge(l, st, 1, &report.is));
    TRUE(w[0] == 3 && w[1] == 0 && w[2] == 6 && w[3] == 1);
    TRUE(report.is.layers == 1 && report.guard == GUARD && report.is.struct_size == sizeof report.is);
    NEAR(report.is.delta_norm, sqrt(26));
    NEAR(report.is.weight_norm, sqrt(46));
    OK(relora_linear_reset(l, st, 1));
    OK(relora_linear_forward(l, st, tx, ty, 0, 0));
    TRUE(y[0] == 3.5f && y[1] == 8.25f);

    relora_tensor *all[] = {tw, tx, ty, tdy, tdx, tb};
    for (int i = 0; i < 6; i++) relora_tensor_release(all[i]);
    relora_linear_release(l);
}

/* The same seed, layer, cycle and call draw the same numbers in every release. */
static void draws(void)
{
    static const float drawn[4] = {0.327550888f, -0.202997044f, 0.217227593f, -0.312565714f};
    float w[64] = {0}, eye[64] = {0}, x[8], y[8];
    unsigned mask = 0;
    relora_tensor *tw = borrow(w, 8, 8), *tx = borrow(x, 1, 8), *ty = borrow(y, 1, 8);
    relora_linear *l = layer(RELORA_MODE_LORA, RELORA_LINEAR_TRAINABLE_SCALE, 8, 8, 0.5);
    OK(relora_linear_set_weight(l, tw, NULL));
    OK(relora_linear_reset(l, st, 2));
    for (int i = 0; i < 4; i++) NEAR(element(relora_linear_param(l, RELORA_PARAM_A), i), drawn[i]);

    for (int i = 0; i < 8; i++) eye[9 * i] = x[i] = 1;
    OK(relora_tensor_write(relora_linear_param(l, RELORA_PARAM_A), st, eye, sizeof eye));
    OK(relora_tensor_write(relora_linear_param(l, RELORA_PARAM_B), st, eye, sizeof eye));
    OK(relora_linear_forward(l, st, tx, ty, 5, RELORA_TRAIN)); /* y = tanh(1) drop(1) */
    for (int i = 0; i < 8; i++) {
        NEAR(y[i], y[i] == 0 ? 0 : 2 * tanh(1));
        mask |= (unsigned)(y[i] != 0) << i;
    }
    TRUE(mask == 0x47);
    relora_linear_release(l);
    relora_tensor_release(tw), relora_tensor_release(tx), relora_tensor_release(ty);
}

/* ---- the optimizer ---- */

static void adam_values(void)
{
    float p[2] = {1, -1}, g[2] = {0.5f, -0.25f};
    relora_tensor *tp = borrow(p, 1, 2), *tg = borrow(g, 1, 2);
    relora_adam *adam;
    GUARDED(relora_adam_options, o);
    GUARDED(relora_step_report, report);
    int32_t index = 9;
    int64_t steps = 0;
    double norm = 0;

    OK(relora_adam_options_init(&o.is, sizeof o.is));
    o.is.flags |= RELORA_ADAM_SKIP_NOT_FINITE;
    o.is.beta1 = o.is.beta2 = 0; /* a step of lr against the sign of the gradient */
    o.is.weight_decay = 0.5;
    OK(relora_adam_create(&adam, dev, &o.is));
    TRUE(o.guard == GUARD && o.is.eps == 1e-8);
    OK(relora_adam_add(adam, "p", tp, tg, &index));
    TRUE(index == 0 && relora_adam_count(adam) == 1 && strcmp(relora_adam_name(adam, 0), "p") == 0);
    index = 9;
    OK(relora_adam_find(adam, "p", &index));
    TRUE(index == 0);

    report.is.struct_size = sizeof report.is;
    OK(relora_adam_step(adam, st, 0.125, 2, &report.is));
    NEAR(p[0], 0.8125);
    NEAR(p[1], -0.8125);
    TRUE(report.guard == GUARD && report.is.skipped == 0 && report.is.clip_factor == 1);
    NEAR(report.is.grad_norm, sqrt(1.25));
    NEAR(element(relora_adam_moment(adam, 0, RELORA_MOMENT_FIRST), 1), -0.5);
    NEAR(element(relora_adam_moment(adam, 0, RELORA_MOMENT_SECOND), 0), 1);
    OK(relora_adam_grad_norm(adam, st, &norm));
    NEAR(norm, sqrt(0.3125));

    g[0] = NAN;
    OK(relora_adam_step(adam, st, 0.125, 1, &report.is));
    TRUE(report.is.skipped == 1 && report.guard == GUARD);
    NEAR(p[0], 0.8125);
    OK(relora_adam_steps(adam, st, 0, &steps));
    TRUE(steps == 1);
    OK(relora_adam_set_steps(adam, st, 0, 10));
    OK(relora_adam_steps(adam, st, 0, &steps));
    TRUE(steps == 10);

    OK(relora_adam_set_factors(adam, 0, 0.5, 0));
    g[0] = 3;
    OK(relora_adam_step(adam, st, 0.125, 1, NULL));
    NEAR(p[0], 0.75);
    OK(relora_adam_zero_grad(adam, st));
    TRUE(g[0] == 0 && g[1] == 0);
    relora_adam_release(adam);
    relora_tensor_release(tp);
    relora_tensor_release(tg);
}

static void adam_resets(void)
{
    const float values[4] = {4, -3, 2, 1};
    relora_tensor *p = own(4), *g = own(4), *flat;
    relora_adam *adam;
    GUARDED(relora_reset_options, o);
    GUARDED(relora_reset_report, report);
    const int32_t index = 0;

    OK(relora_adam_create(&adam, dev, NULL));
    OK(relora_adam_add(adam, "p", p, g, NULL));
    OK(relora_adam_flatten_grads(adam, st));
    flat = relora_adam_flat_grad(adam);
    TRUE(flat && relora_tensor_data(g) == relora_tensor_data(flat));
    OK(relora_tensor_write(g, st, values, sizeof values));
    OK(relora_adam_step(adam, st, 0.1, 1, NULL));
    NEAR(element(relora_adam_moment(adam, 0, RELORA_MOMENT_FIRST), 0), 0.4);

    OK(relora_reset_options_init(&o.is, sizeof o.is));
    TRUE(o.guard == GUARD && o.is.mode == RELORA_RESET_MAGNITUDE);
    o.is.ratio = 0.5;
    report.is.struct_size = sizeof report.is;
    OK(relora_adam_reset(adam, st, &index, 1, &o.is, &report.is));
    TRUE(report.guard == GUARD && report.is.params == 1 && report.is.elements == 4);
    TRUE(report.is.zeroed_first == 2 && report.is.zeroed_second == 2 && report.is.unpaired == 0);
    relora_tensor *m = relora_adam_moment(adam, 0, RELORA_MOMENT_FIRST);
    TRUE(element(m, 0) != 0 && element(m, 1) != 0 && element(m, 2) == 0 && element(m, 3) == 0);

    o.is.mode = RELORA_RESET_ZERO;
    OK(relora_adam_reset(adam, st, &index, 1, &o.is, &report.is));
    TRUE(report.is.zeroed_first == 4 && report.is.zeroed_second == 4);
    relora_adam_release(adam);
    relora_tensor_release(p);
    relora_tensor_release(g);
}

/* ---- schedules and cycles ---- */

static double lr_at(const relora_schedule *s, int64_t step)
{
    double lr = -1;
    OK(relora_schedule_lr(s, step, &lr));
    return lr;
}

static void schedules(void)
{
    GUARDED(relora_schedule_options, o);
    const double turn = 2 * acos(0);
    relora_schedule *s;
    int64_t next = 0;
    OK(relora_schedule_options_init(&o.is, sizeof o.is));
    o.is.lr = 1;
    o.is.total_steps = 8;
    o.is.restart_every = 4;
    o.is.restart_warmup_steps = 2;
    OK(relora_schedule_create(&s, ctx, &o.is)); /* the jagged cosine is the default */
    TRUE(o.guard == GUARD);
    NEAR(lr_at(s, 0), 1);
    NEAR(lr_at(s, 2), 0.1 + 0.9 * (1 + cos(turn * 2 / 8)) / 2);
    NEAR(lr_at(s, 4), 0);
    NEAR(lr_at(s, 5), (0.1 + 0.9 * (1 + cos(turn * 6 / 8)) / 2) / 2);
    NEAR(lr_at(s, 9), 0.1);
    OK(relora_schedule_next_restart(s, 0, &next));
    TRUE(next == 4);
    OK(relora_schedule_next_restart(s, 4, &next));
    TRUE(next == -1);
    relora_schedule_release(s);

    OK(relora_schedule_options_init(&o.is, sizeof o.is));
    o.is.kind = RELORA_SCHEDULE_LINEAR;
    o.is.lr = 2;
    o.is.total_steps = 10;
    o.is.warmup_steps = 2;
    OK(relora_schedule_create(&s, ctx, &o.is));
    NEAR(lr_at(s, 1), 1);
    NEAR(lr_at(s, 6), 1);
    NEAR(lr_at(s, 10), 0);
    relora_schedule_release(s);
}

static uint32_t seen[2];
static void before_work(void *user, int64_t step, uint32_t events)
{
    TRUE(user == seen && step > 0);
    seen[0] |= events;
}
static void after_work(void *user, int64_t step, uint32_t events)
{
    TRUE(user == seen && step > 0);
    seen[1] |= events;
}

static void cycles(void)
{
    float w[4] = {1, 0, 0, 1};
    const float one[2] = {1, 1};
    relora_tensor *tw = borrow(w, 2, 2);
    relora_linear *l = layer(RELORA_MODE_FULL, 0, 2, 1, 0);
    relora_adam *adam;
    relora_cycle *cycle;
    GUARDED(relora_cycle_options, o);
    GUARDED(relora_merge_report, merged);
    GUARDED(relora_reset_report, reset);
    uint32_t events = 9;

    OK(relora_linear_set_weight(l, tw, NULL));
    OK(relora_adam_create(&adam, dev, NULL));
    OK(relora_adam_add_linear(adam, "l", l));
    TRUE(relora_adam_count(adam) == 1 && strcmp(relora_adam_name(adam, 0), "l.weight") == 0);
    OK(relora_linear_set_mode(l, st, RELORA_MODE_LORA)); /* the end of the warm start */
    TRUE(relora_adam_step(adam, st, 0.1, 1, NULL) == RELORA_E_STATE);
    relora_adam_release(adam);
    OK(relora_adam_create(&adam, dev, NULL));
    OK(relora_adam_add_linear(adam, "l", l));
    TRUE(relora_adam_count(adam) == 2 && strcmp(relora_adam_name(adam, 1), "l.lora_B.weight") == 0);

    OK(relora_cycle_options_init(&o.is, sizeof o.is));
    o.is.merge_every = 2;
    o.is.before = before_work;
    o.is.after = after_work;
    o.is.hook_user = seen;
    OK(relora_cycle_create(&cycle, ctx, &o.is, adam, NULL));
    OK(relora_cycle_add(cycle, l));
    TRUE(o.guard == GUARD);
    OK(relora_cycle_due(cycle, 2, &events));
    TRUE(events == 0);
    OK(relora_cycle_due(cycle, 3, &events));
    TRUE(events == (RELORA_CYCLE_MERGE | RELORA_CYCLE_RESET));

    OK(relora_tensor_write(relora_linear_param(l, RELORA_PARAM_A), st, one, sizeof one));
    OK(relora_tensor_write(relora_linear_param(l, RELORA_PARAM_B), st, one, sizeof one));
    merged.is.struct_size = sizeof merged.is;
    reset.is.struct_size = sizeof reset.is;
    OK(relora_cycle_advance(cycle, st, 3, &events, &merged.is, &reset.is));
    TRUE(events == (RELORA_CYCLE_MERGE | RELORA_CYCLE_RESET) && seen[0] == events && seen[1] == events);
    TRUE(merged.guard == GUARD && merged.is.layers == 1 && reset.guard == GUARD && reset.is.params == 2);
    NEAR(merged.is.delta_norm, 2);
    TRUE(w[0] == 2 && w[1] == 1 && w[2] == 1 && w[3] == 2);
    OK(relora_cycle_finish(cycle, st, 4, &merged.is));
    TRUE(seen[1] & RELORA_CYCLE_FINISH && merged.is.delta_norm == 0);
    relora_tensor_release(tw);
    relora_cycle_release(cycle);
    relora_adam_release(adam);
    relora_linear_release(l);
}

/* ---- failures ---- */

static void failures_have_words(void)
{
    relora_linear_options o;
    relora_linear *l = NULL;
    char why[300];
    size_t length = 0;
    int lines = errors;
    OK(relora_linear_options_init(&o, sizeof o));
    o.in_features = o.out_features = -1;
    TRUE(relora_linear_create(&l, dev, &o) == RELORA_E_ARGUMENT && !l && errors == lines + 1);
    OK(relora_context_error(ctx, why, sizeof why, &length));
    TRUE(strlen(why) == length && strcmp(why, last) == 0 && strstr(why, "relora_linear_create"));
    o.struct_size -= 8;
    TRUE(relora_linear_create(&l, dev, &o) == RELORA_E_STRUCT_SIZE);
    TRUE(strcmp(relora_status_name(RELORA_E_STRUCT_SIZE), "RELORA_E_STRUCT_SIZE") == 0);
    TRUE(relora_status_text(RELORA_E_NO_MEMORY)[0]);
}

int main(void)
{
    open_context();
    versions();
    tensors();
    layer_values();
    draws();
    adam_values();
    adam_resets();
    schedules();
    cycles();
    failures_have_words();
    relora_stream_release(st);
    relora_context_release(ctx);
    TRUE(outstanding == 0);
    printf("compiled for %d.%d.%d, run with %s: %s\n", RELORA_VERSION_MAJOR, RELORA_VERSION_MINOR,
           RELORA_VERSION_PATCH, relora_version_string(), failures ? "failed" : "as it was");
    return failures != 0;
}
