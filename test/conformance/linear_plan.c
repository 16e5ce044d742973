/* What relora_linear_plan() reports is what forward and backward then do: operations, and memory. */
#include "conformance/orders.h"
#include "cpu/cpu.h"
#include "stream.h"
#include <stdlib.h>
#if RELORA_ONEDNN
#include <oneapi/dnnl/dnnl.h>
#endif

enum {
    ROWS = 37,
    IN = 29,
    OUT = 300,
    RANK = 6,
    FIRST_OF_LORA = ORDERS * 8,
    VARIANTS = 3 * FIRST_OF_LORA,
    FROZEN = 3,
    SKETCHED = FROZEN * VARIANTS /* A frozen, and a sketch instead of its gradient */
};

struct run {
    relora_linear *l;
    relora_tensor *x, *y, *dy, *dx;
    uint32_t flags;
    relora_plan_report plan;
};

static relora_plan_report plan_of(const relora_linear *l, int64_t rows, uint32_t flags)
{
    relora_plan_report r = {.struct_size = sizeof r};
    OK(relora_linear_plan(l, rows, flags, &r));
    return r;
}

/* The bits of `variant`: dtype, trainable scale, dropout; then the order; then the mode; then what is frozen. */
static struct run new_run(int variant)
{
    struct rnd r = rnd_seed(1);
    const relora_order *order = orders[variant / 8 % ORDERS];
    relora_linear_options o = layer_options(1 + variant / FIRST_OF_LORA % 3, IN, OUT, RANK);
    o.dtype = variant & 1 ? RELORA_BF16 : RELORA_F32;
    o.flags = RELORA_LINEAR_BIAS | (variant & 2 ? RELORA_LINEAR_TRAINABLE_SCALE : 0);
    o.flags |= (uint32_t)(variant / VARIANTS % FROZEN) * RELORA_LINEAR_FREEZE_A; /* A, then B: the next bit */
    if (variant >= SKETCHED) o.flags |= RELORA_LINEAR_FREEZE_A, o.init = RELORA_INIT_GRADIENT;
    o.dropout = variant & 4 ? 0.1 : 0;
    struct run run = {.l = new_filled_linear(&o, &r), .flags = RELORA_TRAIN};
    run.x = new_matrix(o.dtype, ROWS, IN);
    run.dx = new_matrix(o.dtype, ROWS, IN);
    run.y = new_matrix(o.dtype, ROWS, OUT);
    run.dy = new_matrix(o.dtype, ROWS, OUT);
    put_normal(run.x, &r, 1);
    put_normal(run.dy, &r, 1);
    OK(relora_linear_set_order(run.l, order[0], order[1]));
    if (variant >= SKETCHED) run.flags |= RELORA_SKETCH;
    run.plan = plan_of(run.l, ROWS, run.flags);
    return run;
}

static void pass(struct run *run, int back)
{
    if (back) OK(relora_linear_backward(run->l, env.st, run->x, run->dy, run->dx, 1, run->flags));
    else OK(relora_linear_forward(run->l, env.st, run->x, run->y, 1, RELORA_TRAIN));
}

static int64_t reported(const struct run *run, int back)
{
    return back ? run->plan.backward_bytes : run->plan.forward_bytes;
}

static void new_stream(void)
{
    relora_stream_release(env.st);
    OK(relora_stream_create(&env.st, env.dev));
}

/* Allocate a workspace of `bytes` on a new stream; what the context's memory grows by in one pass then. */
static int64_t growth(struct run *run, int back, int64_t bytes)
{
    struct scratch scratch = {NULL, (size_t)bytes};
    struct call c = {.fn = "test"};
    new_stream();
    OK(call_open(&c, env.st, "stream", env.ctx, NULL));
    OK(scratch_open(&c, &scratch));
    int64_t before = env.mem.bytes;
    pass(run, back);
    return env.mem.bytes - before;
}

/* What oneDNN's primitives need beside their working memory: a list of them, and handles. */
enum { LIST = RELORA_ONEDNN ? 512 * 256 : 0 };

/* A new stream has no workspace. After a pass it has what was reported, and the context's memory, if that is the
 * device's, has grown by that and by what the backend takes for itself: as much as it takes where a workspace
 * was there. */
START_TEST(test_bytes)
{
    struct run run = new_run(_i);
    for (int back = 0; back < 2; back++) {
        int64_t bytes = reported(&run, back), alone = growth(&run, back, 0),
                backend = growth(&run, back, bytes);
        ck_assert_int_ge(bytes, 0);
        if (env_kind() == RELORA_DEVICE_CPU) {
            ck_assert_int_eq(alone, bytes + backend);
            ck_assert_int_le(backend, run.plan.product_bytes + LIST);
            if (bytes) ck_assert_int_gt(growth(&run, back, bytes - 1), backend);
        }
        new_stream();
        pass(&run, back);
        ck_assert_uint_eq(env.st->workspace_bytes, (size_t)bytes);
    }
}
END_TEST

/* No more than the matrices that an order is known to need, each rounded up to the next 64 bytes. */
START_TEST(test_bytes_are_few)
{
    struct run run = new_run(_i);
    int64_t row = ROWS * (2 * IN + 2 * RANK), factors = 2 * RANK * (IN + OUT), w = OUT * IN;
    ck_assert_int_le(run.plan.forward_bytes, 4 * (row + factors + 2 * w) + 10 * 64);
    ck_assert_int_le(run.plan.backward_bytes, 4 * (row + factors + 3 * w) + 10 * 64);
    if (_i >= FIRST_OF_LORA && run.plan.forward == RELORA_ORDER_SPLIT)
        ck_assert_int_le(run.plan.forward_bytes, 4 * (row + factors) + 10 * 64); /* no [out, in] */
    if (_i >= FIRST_OF_LORA && run.plan.backward == RELORA_ORDER_SPLIT)
        ck_assert_int_le(run.plan.backward_bytes, 4 * (row + factors) + 10 * 64);
    /* FULL needs nothing */
    if (_i < FIRST_OF_LORA) ck_assert_int_eq(run.plan.forward_bytes + run.plan.backward_bytes, 0);
}
END_TEST

/* Whatever the order, nothing is allocated after the first pass. */
START_TEST(test_no_allocation_after_the_first)
{
    struct run run = new_run(_i);
    int64_t requests = 0;
    for (int step = 0; step < 3; step++) {
        pass(&run, 0);
        pass(&run, 1);
        if (step == 0) requests = env.mem.requests;
    }
    ck_assert_int_eq(env.mem.requests, requests);
}
END_TEST

/* ---- too little memory ---- */

static int64_t requests_left;

static void *failing_alloc(void *user, size_t size, size_t alignment)
{
    return requests_left-- > 0 ? track_alloc(user, size, alignment) : NULL;
}

/* The environment again, with an allocator that may be told to fail. */
static void reopen_failing(void)
{
    env_close();
    track_init(&env.mem);
    relora_context_options o = env_options();
    o.host_alloc = failing_alloc;
    requests_left = INT64_MAX;
    OK(relora_context_create(&env.ctx, &o));
    env.dev = relora_device_get(env.ctx, env_kind(), 0);
    OK(relora_stream_create(&env.st, env.dev));
}

/* Each request of a pass fails in turn. Without a workspace nothing is written at all; once there is memory the
 * same call gives what it gives elsewhere. */
START_TEST(test_without_memory)
{
    if (cpu_only()) return; /* a device's workspace is not the host's memory */
    reopen_failing();
    struct run run = new_run(_i < VARIANTS ? _i : SKETCHED + _i - VARIANTS);
    relora_tensor *grad_a = relora_linear_grad(run.l, RELORA_PARAM_A);
    if (_i >= VARIANTS) grad_a = relora_linear_param(run.l, RELORA_PARAM_SKETCH);
    run.flags |= RELORA_OVERWRITE;
    pass(&run, 1);
    void *dx = snapshot(run.dx), *da = grad_a ? snapshot(grad_a) : NULL;
    put_all(run.dx, 7);
    new_stream();
    relora_status status = RELORA_E_NO_MEMORY;
    int64_t failures = 0;
    for (; status == RELORA_E_NO_MEMORY; failures++) {
        requests_left = failures;
        status = relora_linear_backward(run.l, env.st, run.x, run.dy, run.dx, 1, run.flags);
        requests_left = INT64_MAX;
        if (failures == 0 && run.plan.backward_bytes) {
            ck_assert_int_eq(status, RELORA_E_NO_MEMORY);
            ck_assert_double_eq(*get(run.dx), 7);
            UNCHANGED(grad_a, da);
        }
    }
    ck_assert_int_eq(status, RELORA_OK);
    UNCHANGED(run.dx, dx);
    if (grad_a) UNCHANGED(grad_a, da);
}
END_TEST

/* The operations of plan.c (unit/plan.c counts those) reach the report, and the other modes have their own. */
START_TEST(test_flops)
{
    const double T = 1000, n = IN, m = OUT, r = RANK;
    static const struct {
        relora_linear_mode mode;
        relora_order forward, backward;
    } cases[] = {{RELORA_MODE_FULL, RELORA_ORDER_FOLD, RELORA_ORDER_THROUGH},
                 {RELORA_MODE_LOWRANK, RELORA_ORDER_FOLD, RELORA_ORDER_THROUGH},
                 {RELORA_MODE_LORA, RELORA_ORDER_SPLIT, RELORA_ORDER_SPLIT},
                 {RELORA_MODE_LORA, RELORA_ORDER_FOLD, RELORA_ORDER_FOLD},
                 {RELORA_MODE_LORA, RELORA_ORDER_FOLD, RELORA_ORDER_THROUGH}};
    const double forward[] = {T * n * m, T * r * (n + m), T * n * m + T * r * (n + m), T * n * m + n * m * r,
                              T * n * m + n * m * r};
    const double backward[] = {2 * T * n * m, T * r * (3 * n + 2 * m), T * n * m + T * r * (3 * n + 2 * m),
                               T * n * m + 2 * T * r * (n + m) + n * m * r, 2 * T * n * m + 3 * n * m * r};
    relora_linear_options o = layer_options(cases[_i].mode, IN, OUT, RANK);
    relora_linear *l = new_linear(&o);
    OK(relora_linear_set_order(l, cases[_i].forward, cases[_i].backward));
    relora_plan_report plan = plan_of(l, 1000, RELORA_TRAIN); /* no W is needed to plan */
    int forced = cases[_i].mode == RELORA_MODE_LORA;
    ck_assert_int_eq(plan.forward, forced ? cases[_i].forward : RELORA_ORDER_SPLIT);
    ck_assert_int_eq(plan.backward, forced ? cases[_i].backward : RELORA_ORDER_SPLIT);
    ck_assert_int_eq(plan.reserved, 0);
    ck_assert_double_eq(plan.forward_flops, 2 * forward[_i]);
    ck_assert_double_eq(plan.backward_flops, 2 * backward[_i]);
}
END_TEST

/* With many rows the sketch needs more memory than a backward through the gradient of W does; it is in the report, and
 * so are its products: x A^T, its product with dy, and the same back to the size of A. */
START_TEST(test_sketch)
{
    enum { MANY = 9000 };
    relora_linear_options o = layer_options(RELORA_MODE_LORA, IN, OUT, RANK);
    struct rnd r = rnd_seed(2);
    o.dtype = _i ? RELORA_BF16 : RELORA_F32;
    o.flags = RELORA_LINEAR_FREEZE_A, o.init = RELORA_INIT_GRADIENT;
    relora_linear *l = new_filled_linear(&o, &r);
    relora_tensor *x = new_matrix(o.dtype, MANY, IN), *dy = new_matrix(o.dtype, MANY, OUT);
    OK(relora_linear_set_order(l, RELORA_ORDER_FOLD, RELORA_ORDER_THROUGH));
    relora_plan_report plain = plan_of(l, MANY, 0), plan = plan_of(l, MANY, RELORA_SKETCH);
    ck_assert_int_eq(plan.backward, RELORA_ORDER_THROUGH);
    ck_assert_double_eq(plan.backward_flops - plain.backward_flops, 4.0 * MANY * RANK * (IN + OUT));
    ck_assert_double_eq(plan.forward_flops, plain.forward_flops);
    ck_assert_int_gt(plan.backward_bytes, plain.backward_bytes + 1000);
    ck_assert_int_eq(plan.forward_bytes, plain.forward_bytes);
    new_stream();
    OK(relora_linear_backward(l, env.st, x, dy, NULL, 1, RELORA_SKETCH));
    ck_assert_uint_eq(env.st->workspace_bytes, (size_t)plan.backward_bytes);
}
END_TEST

/* A FULL layer without a rank has a plan too. */
START_TEST(test_full_without_rank)
{
    relora_linear_options o = layer_options(RELORA_MODE_FULL, IN, OUT, 0);
    relora_plan_report plan = plan_of(new_linear(&o), 10, 0);
    ck_assert_double_eq(plan.forward_flops, 2.0 * 10 * IN * OUT);
    ck_assert_double_eq(plan.backward_flops, 4.0 * 10 * IN * OUT);
    ck_assert_int_eq(plan.forward_bytes + plan.backward_bytes, 0);
}
END_TEST

static relora_plan_report path_of(relora_linear_mode mode, relora_dtype dtype)
{
    relora_linear_options o = layer_options(mode, 512, 512, 64);
    o.dtype = dtype;
    return plan_of(new_linear(&o), 2048, 0);
}

/* The provider of this build makes what is F32, with something that this processor has. */
START_TEST(test_path)
{
    relora_plan_report f32 = path_of(_i + 1, RELORA_F32), half = path_of(_i + 1, RELORA_BF16);
    if (cpu_only()) return; /* a device does not tell */
    relora_provider first = RELORA_PROVIDER_OWN;
#if RELORA_ONEDNN
    first = RELORA_PROVIDER_ONEDNN;
#elif defined(RELORA_BLAS)
    first = RELORA_PROVIDER_BLAS;
#endif
    ck_assert_int_eq(f32.forward_provider, first);
    ck_assert_int_eq(f32.backward_provider, first);
    ck_assert_int_eq(f32.forward_converts, 0);
    ck_assert_int_eq(f32.backward_converts, 0);
    ck_assert(half.forward_provider == RELORA_PROVIDER_OWN ||
              half.forward_provider == RELORA_PROVIDER_ONEDNN);
    if (half.forward_provider == RELORA_PROVIDER_OWN) {
        ck_assert_int_eq(half.forward_converts, 1);
        ck_assert_int_ge(half.product_bytes, 4 << 20);
    }
    if (first == RELORA_PROVIDER_OWN) ck_assert_int_eq(f32.product_bytes, half.product_bytes);
    ck_assert_ptr_nonnull(
        strstr(env.info, "relora_linear_plan: 2048 rows of 512 to 512 in BF16: forward by "));
}
END_TEST

/* oneDNN emulates BF16 where a processor has AVX-512 but not its instructions for it, and does without before. Intel's
 * instructions are slower than those for F32. None of this is worth having. What it may use is settled when it is first asked, so this test has no fixture that asks. */
START_TEST(test_no_slow_bf16)
{
#if RELORA_ONEDNN && defined(__x86_64__)
    static const char *const most[] = {"AVX2", "AVX512_CORE", "AVX512_CORE_BF16", "ALL"};
    setenv("DNNL_MAX_CPU_ISA", most[_i], 1);
    env_open_on(RELORA_DEVICE_CPU, 1);
    relora_plan_report plan = path_of(RELORA_MODE_LORA, RELORA_BF16);
    int wanted = __builtin_cpu_is("intel") ? dnnl_cpu_isa_avx512_core_amx : dnnl_cpu_isa_avx512_core_bf16;
    int has = ((int)dnnl_get_effective_cpu_isa() & wanted) == wanted;
    ck_assert_int_eq(plan.forward_converts, !has);
    ck_assert_int_eq(plan.backward_converts, !has);
    ck_assert_int_eq(env.dev->product[RELORA_BF16].converts, !has);
    ck_assert_int_eq(env.dev->product[RELORA_F32].converts, 0);
    env_close();
    unsetenv("DNNL_MAX_CPU_ISA");
#endif
}
END_TEST

/* What the planner reckons with is that of large products, whatever the number of threads. */
START_TEST(test_product)
{
    if (cpu_only()) return;
    relora_dtype dtype = RELORA_F32 + _i;
    relora_plan_report plan = path_of(RELORA_MODE_LORA, dtype);
    for (int threads = 1; threads <= 3; threads++) {
        env_close();
        env_open_threads(threads);
        const struct gemm_path *product = &env.dev->product[dtype];
        ck_assert_int_eq(product->provider, plan.forward_provider);
        ck_assert_int_eq(product->isa, plan.forward_isa);
        ck_assert_int_eq(product->converts, plan.forward_converts);
    }
}
END_TEST

/* The library's own product needs its memory once for each thread; without elements there is no product. */
START_TEST(test_product_bytes)
{
    if (cpu_only()) return;
    int64_t bytes[2];
    for (int threads = 1; threads <= 2; threads++) {
        struct view wide = {NULL, 2048, 512, 512, RELORA_BF16}, square = {NULL, 512, 512, 512, RELORA_BF16};
        struct gemm g = {.a = wide, .b = square, .tb = 1, .c = wide};
        struct gemm_path path;
        env_close();
        env_open_threads(threads);
        OK(cpu_gemm_own_tell(env.st->queue, &g, &path));
        bytes[threads - 1] = (int64_t)path.bytes;
    }
    ck_assert_int_gt(bytes[0], 0);
    ck_assert_int_eq(bytes[1], 2 * bytes[0]);
    relora_linear_options o = layer_options(RELORA_MODE_LORA, IN, OUT, RANK);
    relora_plan_report none = plan_of(new_linear(&o), 0, 0);
    ck_assert_int_eq(none.forward_provider, 0);
}
END_TEST

Suite *linear_plan(void)
{
    Suite *s = suite_create("linear plan");
    TCase *tc = env_case(s, "plan", 20);
    tcase_add_loop_test(tc, test_bytes, 0, SKETCHED + VARIANTS);
    tcase_add_loop_test(tc, test_bytes_are_few, 0, VARIANTS);
    tcase_add_loop_test(tc, test_no_allocation_after_the_first, 0, SKETCHED + VARIANTS);
    tcase_add_loop_test(tc, test_without_memory, 0, 2 * VARIANTS);
    tcase_add_loop_test(tc, test_flops, 0, 5);
    tcase_add_loop_test(tc, test_sketch, 0, 2);
    tcase_add_test(tc, test_full_without_rank);
    tcase_add_loop_test(tc, test_path, 0, 3);
    tcase_add_test(tc, test_product_bytes);
    tcase_add_loop_test(tc, test_product, 0, 2);
    tc = tcase_create("limited");
    tcase_add_loop_test(tc, test_no_slow_bf16, 0, 4);
    suite_add_tcase(s, tc);
    return s;
}
