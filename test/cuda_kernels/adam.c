/* The optimizer: the same bits as the CPU's, whatever the types, sizes and options. */
#include "cuda_kernels/twins.h"

enum { PARAMS = 14, STEPS = 3 };

struct piece {
    int64_t count, shift;
    relora_dtype param, grad;
    relora_rounding rounding;
    int64_t cols, gap; /* of rows of the parameter; 0: no gaps */
};

static const struct piece pieces[PARAMS] = {
    {1, 0, RELORA_F32, RELORA_F32, RELORA_ROUND_NEAREST, 0, 0},
    {5003, 0, RELORA_F32, RELORA_F32, RELORA_ROUND_NEAREST, 0, 0},
    {4096, 1, RELORA_F32, RELORA_F32, RELORA_ROUND_NEAREST, 0, 0},
    {0, 0, RELORA_F32, RELORA_F32, RELORA_ROUND_NEAREST, 0, 0},
    {777, 0, RELORA_F32, RELORA_BF16, RELORA_ROUND_NEAREST, 0, 0},
    {2050, 0, RELORA_BF16, RELORA_F32, RELORA_ROUND_STOCHASTIC, 0, 0},
    {40001, 0, RELORA_BF16, RELORA_BF16, RELORA_ROUND_STOCHASTIC, 0, 0},
    {640, 3, RELORA_BF16, RELORA_BF16, RELORA_ROUND_STOCHASTIC, 0, 0},
    {99, 0, RELORA_BF16, RELORA_BF16, RELORA_ROUND_NEAREST, 0, 0},
    {5005, 0, RELORA_F32, RELORA_F32, RELORA_ROUND_NEAREST, 13, 3},
    {2100, 1, RELORA_F32, RELORA_BF16, RELORA_ROUND_NEAREST, 1050, 1},
    {6006, 0, RELORA_BF16, RELORA_F32, RELORA_ROUND_STOCHASTIC, 77, 2},
    {300, 3, RELORA_BF16, RELORA_BF16, RELORA_ROUND_NEAREST, 3, 5},
    {40, 0, RELORA_BF16, RELORA_F32, RELORA_ROUND_STOCHASTIC, 1, 1},
};

/* All that an update needs, on both. */
struct world {
    struct twin param[PARAMS], grad[PARAMS], m[PARAMS], v[PARAMS], steps, lr;
    struct twin partials, control, squares; /* as pairs of F32, of which nothing is compared */
    struct adam cpu, cuda;
};

static void *shifted(void *data, const struct piece *p, relora_dtype dtype)
{
    return (char *)data + (size_t)p->shift * (dtype == RELORA_F32 ? 4 : 2);
}

/* As a share has it, which begins somewhere in the whole parameter. */
static int64_t first_of(int i) { return 16 * i; }

static void make_param(struct world *w, int i, enum values grads)
{
    const struct piece *p = &pieces[i];
    int64_t n = p->count + p->shift, whole = n;
    if (p->gap) whole = p->shift + (first_of(i) + p->count + p->cols - 1) / p->cols * (p->cols + p->gap);
    w->param[i] = twin_make(whole, p->param, VALUES_NORMAL, 10 + (uint64_t)i);
    w->grad[i] = twin_make(n, p->grad, grads, 20 + (uint64_t)i);
    w->m[i] = twin_make(n, RELORA_F32, VALUES_ZERO, 0);
    w->v[i] = twin_make(n, RELORA_F32, VALUES_ZERO, 0);
}

static struct adam_param param_of(const struct world *w, int i, int on_cuda)
{
    const struct piece *p = &pieces[i];
    struct adam_param a = {.count = p->count,
                           .cols = p->cols,
                           .gap = p->gap,
                           .param_dtype = p->param,
                           .grad_dtype = p->grad,
                           .lr_factor = i % 2 ? 1 : 0.3,
                           .weight_decay = 0.01 * i,
                           .rounding = p->rounding,
                           .draw = draw_make(1, (uint64_t)i, DRAW_TRAIN_PARAM, 99),
                           .first = first_of(i)};
    a.param = shifted(on_cuda ? w->param[i].cuda : w->param[i].cpu, p, p->param);
    a.grad = shifted(on_cuda ? w->grad[i].cuda : w->grad[i].cpu, p, p->grad);
    a.m = shifted(on_cuda ? w->m[i].cuda : w->m[i].cpu, p, RELORA_F32);
    a.v = shifted(on_cuda ? w->v[i].cuda : w->v[i].cpu, p, RELORA_F32);
    a.steps = (int64_t *)(on_cuda ? w->steps.cuda : w->steps.cpu) + i;
    return a;
}

/* Bytes for the device that the CPU has in another form. */
static void *on_cuda(const void *data, size_t bytes)
{
    struct twin t = twin_make((int64_t)(bytes + 3) / 4, RELORA_F32, VALUES_ZERO, 0);
    memcpy(t.cpu, data, bytes);
    twin_equalize(t);
    return t.cuda;
}

static struct world *world_make(int64_t chunk, enum values grads)
{
    struct world *w = scratch(sizeof *w);
    struct adam_param *cpu = scratch(PARAMS * sizeof *cpu), *gpu = scratch(PARAMS * sizeof *gpu);
    int64_t most = 0, k = 0;
    w->steps = twin_make(2 * PARAMS, RELORA_F32, VALUES_ZERO, 0);
    ((int64_t *)w->steps.cpu)[1] = 1000; /* not all began together */
    twin_equalize(w->steps);
    for (int i = 0; i < PARAMS; i++) {
        make_param(w, i, grads);
        cpu[i] = param_of(w, i, 0);
        gpu[i] = param_of(w, i, 1);
        most += pieces[i].count / chunk + 1;
    }
    struct adam_chunk *chunks = scratch((size_t)most * sizeof *chunks);
    for (int i = 0; i < PARAMS; i++)
        for (int64_t start = 0; start < pieces[i].count; start += chunk) {
            int64_t left = pieces[i].count - start;
            chunks[k++] = (struct adam_chunk){i, start, left < chunk ? left : chunk};
        }
    w->partials = twin_make(2 * most, RELORA_F32, VALUES_ZERO, 0);
    w->control = twin_make(16, RELORA_F32, VALUES_ZERO, 0);
    w->squares = twin_make(2, RELORA_F32, VALUES_ZERO, 0);
    w->lr = twin_make(1, RELORA_F32, VALUES_ZERO, 0);
    w->cpu = (struct adam){.params = cpu,
                           .chunks = chunks,
                           .param_count = PARAMS,
                           .chunk_count = k,
                           .gaps = 1,
                           .lr = 0.01,
                           .grad_scale = 0.5,
                           .beta1 = 0.9,
                           .beta2 = 0.999,
                           .eps = 1e-8};
    w->cpu.partials = w->partials.cpu;
    w->cpu.control = w->control.cpu;
    w->cuda = w->cpu;
    w->cuda.params = on_cuda(gpu, PARAMS * sizeof *gpu);
    w->cuda.chunks = on_cuda(chunks, (size_t)k * sizeof *chunks);
    w->cuda.partials = w->partials.cuda;
    w->cuda.control = w->control.cuda;
    return w;
}

#define SET(w, field, value) ((w)->cpu.field = (value), (w)->cuda.field = (value))

static void world_same(const struct world *w)
{
    for (int i = 0; i < PARAMS; i++) {
        SAME(w->param[i]);
        SAME(w->grad[i]);
        SAME(w->m[i]);
        SAME(w->v[i]);
    }
    SAME(w->steps);
}

/* Steps without a norm: every bit. Rate, decay and hold as options say; chunks of every size. */
START_TEST(test_step)
{
    struct world *w = world_make(_i % 2 ? 65536 : 1028, _i == 5 ? VALUES_ANY : VALUES_NORMAL);
    SET(w, flags, _i / 2 % 2 ? RELORA_ADAM_DECOUPLED : 0);
    if (_i == 4) SET(w, lr, 0);
    for (int t = 0; t < STEPS; t++) {
        BOTH(adam_step(cpu_queue, &w->cpu), adam_step(cuda_queue, &w->cuda));
        world_same(w);
        ck_assert_int_eq(((int64_t *)w->steps.cpu)[2], t + 1);
    }
    if (_i == 4) return;
    CHANGED(w->param[1]);
    CHANGED(w->param[PARAMS - 1]);
}
END_TEST

START_TEST(test_rate_on_device)
{
    struct world *w = world_make(65536, VALUES_NORMAL);
    *(float *)w->lr.cpu = 0.03f;
    twin_equalize(w->lr);
    w->cpu.lr_device = w->lr.cpu;
    w->cuda.lr_device = w->lr.cuda;
    BOTH(adam_step(cpu_queue, &w->cpu), adam_step(cuda_queue, &w->cuda));
    world_same(w);
    CHANGED(w->param[1]);
}
END_TEST

/* Sums of squares in another order: the norm may differ in its last places, the rest follows from it. */
static void norms_near(const struct world *w)
{
    const struct adam_control *want = w->cpu.control, *got = twin_read(w->control);
    if (isnan(want->grad_norm)) ck_assert(isnan(got->grad_norm));
    else if (isinf(want->grad_norm)) ck_assert(got->grad_norm == want->grad_norm);
    else ck_assert_double_eq_tol(got->grad_norm, want->grad_norm, 1e-12 * want->grad_norm + 1e-300);
    if (isnan(want->clip_factor)) ck_assert(isnan(got->clip_factor));
    else ck_assert_double_eq_tol(got->clip_factor, want->clip_factor, 1e-12);
    ck_assert_int_eq(got->skip, want->skip);
}

/* Clipping and skipping are decided there: with the norm the CPU found, every bit again. */
START_TEST(test_clip)
{
    struct world *w = world_make(4096, VALUES_NORMAL);
    SET(w, need_norm, 1);
    SET(w, max_norm, _i ? 0.5 : 1e9);
    for (int t = 0; t < STEPS; t++) {
        BOTH(adam_norm(cpu_queue, &w->cpu), adam_norm(cuda_queue, &w->cuda));
        norms_near(w);
        struct adam_control first, *second;
        memcpy(&first, twin_read(w->control), sizeof first);
        on_device(cuda->adam_norm(cuda_queue, &w->cuda));
        second = twin_read(w->control);
        SAME_BYTES(&first.grad_norm, &second->grad_norm, sizeof first.grad_norm);
        twin_equalize(w->control);
        BOTH(adam_step(cpu_queue, &w->cpu), adam_step(cuda_queue, &w->cuda));
        world_same(w);
    }
    ck_assert(_i ? w->cpu.control->clip_factor < 1 : w->cpu.control->clip_factor == 1);
}
END_TEST

/* A gradient that is not finite: nothing moves, no step is counted, or everything goes the way of a NaN. */
START_TEST(test_skip)
{
    const float bad[] = {NAN, INFINITY, 3e38f};
    struct world *w = world_make(4096, VALUES_NORMAL);
    ((float *)w->grad[1].cpu)[4321] = bad[_i % 3];
    twin_equalize(w->grad[1]);
    SET(w, need_norm, 1);
    SET(w, max_norm, _i % 2 ? 1 : 0);
    SET(w, flags, _i / 3 ? RELORA_ADAM_SKIP_NOT_FINITE : 0);
    BOTH(adam_norm(cpu_queue, &w->cpu), adam_norm(cuda_queue, &w->cuda));
    norms_near(w);
    twin_equalize(w->control);
    BOTH(adam_step(cpu_queue, &w->cpu), adam_step(cuda_queue, &w->cuda));
    world_same(w);
    ck_assert_int_eq(((int64_t *)w->steps.cpu)[0], !w->cpu.control->skip);
}
END_TEST

/* The sum of squares by itself, and what another sum decides. */
START_TEST(test_squares)
{
    struct world *w = world_make(4096, VALUES_NORMAL);
    SET(w, need_norm, 1);
    SET(w, max_norm, 0.5);
    w->cpu.squares = w->squares.cpu;
    w->cuda.squares = w->squares.cuda;
    BOTH(adam_norm(cpu_queue, &w->cpu), adam_norm(cuda_queue, &w->cuda));
    double sum = *w->cpu.squares, *got = twin_read(w->squares);
    ck_assert(sum > 1 && w->cpu.control->grad_norm == 0); /* nothing is decided */
    ck_assert_double_eq_tol(*got, sum, 1e-12 * sum);
    *w->cpu.squares = 4 * sum; /* with the shares of others */
    twin_equalize(w->squares);
    BOTH(adam_decide(cpu_queue, &w->cpu), adam_decide(cuda_queue, &w->cuda));
    norms_near(w);
    ck_assert_double_eq_tol(w->cpu.control->grad_norm, 2 * sqrt(sum) * fabs(w->cpu.grad_scale),
                            1e-12 * sqrt(sum));
}
END_TEST

START_TEST(test_nothing)
{
    struct world *w = world_make(4096, VALUES_NORMAL);
    SET(w, chunk_count, 0);
    BOTH(adam_norm(cpu_queue, &w->cpu), adam_norm(cuda_queue, &w->cuda));
    norms_near(w);
    BOTH(adam_step(cpu_queue, &w->cpu), adam_step(cuda_queue, &w->cuda));
    world_same(w);
}
END_TEST

Suite *kernels_adam(void)
{
    Suite *s = suite_create("adam");
    TCase *tc = twin_case(s, "adam");
    twin_test(tc, test_step, 6);
    twin_test(tc, test_rate_on_device, 1);
    twin_test(tc, test_clip, 2);
    twin_test(tc, test_skip, 6);
    twin_test(tc, test_squares, 1);
    twin_test(tc, test_nothing, 1);
    return s;
}
