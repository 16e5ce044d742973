/* restart.h with wrong arguments. */
#include "arguments/arguments.h"

enum { IN = 5, OUT = 3, RANK = 2, N = 7 };

static struct {
    relora_tensor *w, *a, *b, *m, *v;
    void *bytes[5];
} host;

static relora_merge_options merge_options(void)
{
    relora_merge_options o;
    OK(relora_merge_options_init(&o, sizeof o));
    return o;
}

static void make_host(void)
{
    struct rnd r = rnd_seed(1);
    host.w = new_matrix(RELORA_F32, OUT, IN);
    host.a = new_matrix(RELORA_F32, RANK, IN);
    host.b = new_matrix(RELORA_F32, OUT, RANK);
    host.m = new_vector(RELORA_F32, N);
    host.v = new_vector(RELORA_F32, N);
    relora_tensor *all[] = {host.w, host.a, host.b, host.m, host.v};
    for (int i = 0; i < 5; i++) {
        put_normal(all[i], &r, 1);
        host.bytes[i] = snapshot(all[i]);
    }
}

static void host_unchanged(void)
{
    relora_tensor *all[] = {host.w, host.a, host.b, host.m, host.v};
    for (int i = 0; i < 5; i++) UNCHANGED(all[i], host.bytes[i]);
}

START_TEST(test_defaults)
{
    relora_merge_options o = merge_options();
    ck_assert_uint_eq(o.struct_size, sizeof o);
    ck_assert_uint_eq(o.flags, 0);
    ck_assert_double_eq(o.scale, 1);
    ck_assert_uint_eq(o.seed | o.layer | o.cycle, 0);
    ck_assert_int_eq(o.rounding, RELORA_ROUND_STOCHASTIC);
    ck_assert_int_eq(o.reserved, 0);
}
END_TEST

START_TEST(test_merge)
{
    struct stranger s = new_stranger();
    make_host();
    relora_tensor *w = host.w, *a = host.a, *b = host.b;
    relora_tensor *far[] = {stranger_matrix(&s, RELORA_F32, OUT, IN),
                            stranger_matrix(&s, RELORA_F32, RANK, IN),
                            stranger_matrix(&s, RELORA_F32, OUT, RANK)};
    relora_merge_report bad = {.struct_size = 3};
    FAILS_SILENTLY(RELORA_E_ARGUMENT, relora_merge(NULL, NULL, NULL, NULL, NULL, NULL));
    FAILS(RELORA_E_ARGUMENT, relora_merge(NULL, w, a, b, NULL, NULL), "stream");
    FAILS(RELORA_E_ARGUMENT, relora_merge(NULL, NULL, NULL, b, NULL, NULL), "stream");
    FAILS(RELORA_E_ARGUMENT, relora_merge(env.st, NULL, a, b, NULL, NULL), "weight");
    FAILS(RELORA_E_ARGUMENT, relora_merge(env.st, w, NULL, b, NULL, NULL), "a is NULL");
    FAILS(RELORA_E_ARGUMENT, relora_merge(env.st, w, a, NULL, NULL, NULL), "b is NULL");
    FAILS(RELORA_E_CONTEXT, relora_merge(env.st, far[0], a, b, NULL, NULL), "weight");
    FAILS(RELORA_E_CONTEXT, relora_merge(env.st, w, far[1], b, NULL, NULL), "a belongs");
    FAILS(RELORA_E_CONTEXT, relora_merge(env.st, w, a, far[2], NULL, NULL), "b belongs");
    FAILS(RELORA_E_DTYPE, relora_merge(env.st, w, new_matrix(RELORA_BF16, RANK, IN), b, NULL, NULL), "a",
          "BF16");
    FAILS(RELORA_E_DTYPE, relora_merge(env.st, w, a, new_matrix(RELORA_BF16, OUT, RANK), NULL, NULL), "b",
          "BF16");
    FAILS(RELORA_E_SHAPE, relora_merge(env.st, w, new_vector(RELORA_F32, IN), b, NULL, NULL), "a", "[5]");
    FAILS(RELORA_E_SHAPE, relora_merge(env.st, w, a, new_matrix(RELORA_F32, OUT, 0), NULL, NULL), "b",
          "[3, 0]");
    FAILS(RELORA_E_SHAPE, relora_merge(env.st, w, a, new_matrix(RELORA_F32, OUT, 1), NULL, NULL), "[2, 5]",
          "[3, 1]");
    FAILS(RELORA_E_SHAPE, relora_merge(env.st, new_matrix(RELORA_F32, IN, OUT), a, b, NULL, NULL), "weight",
          "[5, 3]", "[out, in]");
    FAILS(RELORA_E_SHAPE, relora_merge(env.st, new_vector(RELORA_F32, OUT * IN), a, b, NULL, NULL), "weight",
          "[15]");
    FAILS(RELORA_E_STRUCT_SIZE, relora_merge(env.st, w, a, b, NULL, &bad), "report", "struct_size");
    host_unchanged();
}
END_TEST

START_TEST(test_merge_options)
{
    make_host();
    relora_merge_options good = merge_options(), o = good;
#define REFUSED(status, ...) \
    FAILS(status, relora_merge(env.st, host.w, host.a, host.b, &o, NULL), __VA_ARGS__)
    o.flags = 4;
    REFUSED(RELORA_E_ARGUMENT, "options.flags", "0x4");
    o = good, o.scale = (double)NAN;
    REFUSED(RELORA_E_ARGUMENT, "options.scale");
    o.scale = 1e39;
    REFUSED(RELORA_E_ARGUMENT, "options.scale", "1e+39");
    o = good, o.rounding = 3;
    REFUSED(RELORA_E_ARGUMENT, "options.rounding", "3");
    o = good, o.reserved = 1;
    REFUSED(RELORA_E_ARGUMENT, "options.reserved", "1");
    o = good, o.flags = RELORA_MERGE_IN_OUT;
    REFUSED(RELORA_E_SHAPE, "weight", "[3, 5]", "[in, out]");
#undef REFUSED
    host_unchanged();
}
END_TEST

START_TEST(test_merge_struct_size)
{
    struct padded p;
    relora_merge_options o = merge_options();
    make_host();
    FAILS(RELORA_E_STRUCT_SIZE,
          relora_merge(env.st, host.w, host.a, host.b, bad_struct_size(&p, &o, sizeof o, _i), NULL),
          "struct_size");
    host_unchanged();
}
END_TEST

/* One array, whose pieces may touch and must not overlap. */
START_TEST(test_overlap)
{
    float *memory = new_floats(64);
    relora_tensor *w, *a, *b, *m;
    OK(relora_tensor_borrow_matrix(&w, env.dev, RELORA_F32, 4, 4, memory));
    OK(relora_tensor_borrow_matrix(&a, env.dev, RELORA_F32, 2, 4, memory + 15));
    OK(relora_tensor_borrow_matrix(&b, env.dev, RELORA_F32, 4, 2, memory + 23));
    OK(relora_tensor_borrow_matrix(&m, env.dev, RELORA_F32, 2, 4, memory + 22));
    relora_tensor *all[] = {w, a, b, m};
    for (int i = 0; i < 4; i++) defer((void (*)(void *))relora_tensor_release, all[i]);
    FAILS(RELORA_E_ARGUMENT, relora_merge(env.st, w, a, b, NULL, NULL), "memory", "weight", "a");
    OK(relora_tensor_set_data(a, memory + 16));
    OK(relora_tensor_set_data(b, memory + 14));
    FAILS(RELORA_E_ARGUMENT, relora_merge(env.st, w, a, b, NULL, NULL), "memory", "weight", "b");
    FAILS(RELORA_E_ARGUMENT, relora_factors_draw(env.st, a, b, 0, 0, 0), "memory", "a", "b");
    FAILS(RELORA_E_ARGUMENT, relora_moments_reset(env.st, a, m, 0, NULL, NULL), "memory", "first", "second");
    OK(relora_tensor_set_data(b, memory + 24));
    OK(relora_merge(env.st, w, a, b, NULL, NULL));
}
END_TEST

START_TEST(test_full_rank)
{
    struct stranger s = new_stranger();
    make_host();
    relora_tensor *w = host.w, *g = new_matrix(RELORA_F32, OUT, IN), *bf16 = new_matrix(RELORA_BF16, OUT, IN);
    relora_tensor *far[] = {stranger_matrix(&s, RELORA_F32, OUT, IN),
                            stranger_matrix(&s, RELORA_F32, OUT, IN)};
    relora_full_rank_report bad = {.struct_size = 3};
    put_all(g, 5);
    void *was = snapshot(g);
    FAILS_SILENTLY(RELORA_E_ARGUMENT, relora_full_rank_step(NULL, NULL, NULL, 1, NULL, NULL));
    FAILS(RELORA_E_ARGUMENT, relora_full_rank_step(NULL, w, g, 1, NULL, NULL), "stream");
    FAILS(RELORA_E_ARGUMENT, relora_full_rank_step(NULL, NULL, g, 1, NULL, NULL), "stream");
    FAILS(RELORA_E_ARGUMENT, relora_full_rank_step(env.st, NULL, g, 1, NULL, NULL), "weight is NULL");
    FAILS(RELORA_E_ARGUMENT, relora_full_rank_step(env.st, w, NULL, 1, NULL, NULL), "grad is NULL");
    FAILS(RELORA_E_ARGUMENT, relora_full_rank_step(env.st, w, w, 1, NULL, NULL), "overlap", "weight", "grad");
    FAILS(RELORA_E_CONTEXT, relora_full_rank_step(env.st, far[0], g, 1, NULL, NULL), "weight");
    FAILS(RELORA_E_CONTEXT, relora_full_rank_step(env.st, w, far[1], 1, NULL, NULL), "grad");
    FAILS(RELORA_E_DTYPE, relora_full_rank_step(env.st, w, bf16, 1, NULL, NULL), "grad", "BF16");
    FAILS(RELORA_E_SHAPE, relora_full_rank_step(env.st, w, new_matrix(RELORA_F32, IN, OUT), 1, NULL, NULL),
          "weight is [3, 5]", "grad is [5, 3]");
    FAILS(RELORA_E_SHAPE, relora_full_rank_step(env.st, host.m, g, 1, NULL, NULL), "weight is [7]");
    FAILS(RELORA_E_SHAPE, relora_full_rank_step(env.st, new_matrix(RELORA_F32, 0, IN), g, 1, NULL, NULL),
          "weight is [0, 5]");
    static const double rates[] = {-1, 1e39, (double)NAN, (double)INFINITY};
    for (int i = 0; i < 4; i++)
        FAILS(RELORA_E_ARGUMENT, relora_full_rank_step(env.st, w, g, rates[i], NULL, NULL), "lr is");
    FAILS(RELORA_E_STRUCT_SIZE, relora_full_rank_step(env.st, w, g, 1, NULL, &bad), "report", "struct_size");
    relora_merge_options o = merge_options();
    o.scale = 1e30;
    FAILS(RELORA_E_ARGUMENT, relora_full_rank_step(env.st, w, g, 1e30, &o, NULL), "lr is 1e+60");
    o.scale = (double)NAN;
    FAILS(RELORA_E_ARGUMENT, relora_full_rank_step(env.st, w, g, 1, &o, NULL), "options.scale");
    o.scale = 1, o.flags = 4;
    FAILS(RELORA_E_ARGUMENT, relora_full_rank_step(env.st, w, g, 1, &o, NULL), "options.flags", "0x4");
    UNCHANGED(g, was);
    host_unchanged();
}
END_TEST

/* Both functions that take more than factors. */
START_TEST(test_renew)
{
    struct stranger s = new_stranger();
    struct padded p;
    relora_factors_options o;
    relora_merge_report bad = {.struct_size = 3};
    make_host();
    relora_tensor *a = host.a, *b = host.b, *g = new_matrix(RELORA_F32, RANK, IN);
    OK(relora_factors_options_init(&o, sizeof o));
    FAILS_SILENTLY(RELORA_E_ARGUMENT, relora_factors_renew(NULL, NULL, NULL, NULL, NULL, NULL));
    FAILS(RELORA_E_ARGUMENT, relora_factors_renew(NULL, a, b, g, NULL, NULL), "stream");
    FAILS(RELORA_E_ARGUMENT, relora_factors_renew(env.st, NULL, b, g, NULL, NULL), "a is NULL");
    FAILS(RELORA_E_ARGUMENT, relora_factors_renew(env.st, a, NULL, g, NULL, NULL), "b is NULL");
    FAILS(RELORA_E_ARGUMENT, relora_factors_renew(env.st, a, b, a, NULL, NULL), "overlap", "gradient", "a");
    FAILS(RELORA_E_SHAPE, relora_factors_renew(env.st, a, b, host.w, NULL, NULL), "gradient is [3, 5]",
          "[2, 5]");
    FAILS(RELORA_E_SHAPE, relora_factors_renew(env.st, b, a, NULL, NULL, NULL), "[rank, in]");
    FAILS(RELORA_E_DTYPE, relora_factors_renew(env.st, a, b, new_matrix(RELORA_BF16, RANK, IN), NULL, NULL),
          "gradient", "BF16");
    FAILS(RELORA_E_CONTEXT,
          relora_factors_renew(env.st, a, b, stranger_matrix(&s, RELORA_F32, RANK, IN), NULL, NULL),
          "gradient");
    FAILS(RELORA_E_STRUCT_SIZE, relora_factors_renew(env.st, a, b, g, NULL, &bad), "report", "struct_size");
    FAILS(RELORA_E_STRUCT_SIZE,
          relora_factors_renew(env.st, a, b, g, bad_struct_size(&p, &o, sizeof o, 0), NULL), "struct_size");
    o.init = 5;
    FAILS(RELORA_E_ARGUMENT, relora_factors_renew(env.st, a, b, g, &o, NULL),
          "options.init is 5, not one of UNIFORM, MATCHED, GRADIENT, GIVEN");
    host_unchanged();
}
END_TEST

START_TEST(test_project)
{
    struct stranger s = new_stranger();
    make_host();
    relora_tensor *m = host.b, *v = new_matrix(RELORA_F32, OUT, RANK), *a = host.a,
                  *far = stranger_matrix(&s, RELORA_F32, RANK, IN);
    put_all(v, 5);
    void *was = snapshot(v);
    FAILS_SILENTLY(RELORA_E_ARGUMENT, relora_moments_project(NULL, NULL, NULL, NULL, NULL, 0, 0, 0));
#define REFUSED(status, st_, m_, v_, old_, now_, beta1_, beta2_, steps_, ...) \
    FAILS(status, relora_moments_project(st_, m_, v_, old_, now_, beta1_, beta2_, steps_), __VA_ARGS__)
    REFUSED(RELORA_E_ARGUMENT, NULL, m, v, a, a, 0, 0, 0, "stream");
    REFUSED(RELORA_E_ARGUMENT, env.st, NULL, v, a, a, 0, 0, 0, "first is NULL");
    REFUSED(RELORA_E_ARGUMENT, env.st, m, NULL, a, a, 0, 0, 0, "second is NULL");
    REFUSED(RELORA_E_ARGUMENT, env.st, m, v, NULL, a, 0, 0, 0, "a_old is NULL");
    REFUSED(RELORA_E_ARGUMENT, env.st, m, v, a, NULL, 0, 0, 0, "a_new is NULL");
    REFUSED(RELORA_E_ARGUMENT, env.st, m, m, a, a, 0, 0, 0, "overlap", "second");
    REFUSED(RELORA_E_SHAPE, env.st, m, v, host.w, a, 0, 0, 0, "a_old is [3, 5]", "first is [3, 2]");
    REFUSED(RELORA_E_SHAPE, env.st, m, v, a, new_matrix(RELORA_F32, RANK, IN + 1), 0, 0, 0, "a_old is [2, 5]",
            "a_new is [2, 6]");
    REFUSED(RELORA_E_SHAPE, env.st, m, new_matrix(RELORA_F32, RANK, OUT), a, a, 0, 0, 0, "second is [2, 3]");
    REFUSED(RELORA_E_SHAPE, env.st, host.m, host.v, a, a, 0, 0, 0, "first is [7]");
    REFUSED(RELORA_E_DTYPE, env.st, m, v, a, new_matrix(RELORA_BF16, RANK, IN), 0, 0, 0, "a_new", "BF16");
    REFUSED(RELORA_E_CONTEXT, env.st, m, v, a, far, 0, 0, 0, "a_new");
    REFUSED(RELORA_E_ARGUMENT, env.st, m, v, a, a, 1, 0, 0, "beta1 is 1");
    REFUSED(RELORA_E_ARGUMENT, env.st, m, v, a, a, 0, -0.5, 0, "beta2 is -0.5");
    REFUSED(RELORA_E_ARGUMENT, env.st, m, v, a, a, 0, (double)NAN, 0, "beta2 is");
    REFUSED(RELORA_E_ARGUMENT, env.st, m, v, a, a, 0, 0, -1, "steps is -1");
#undef REFUSED
    UNCHANGED(v, was);
    host_unchanged();
}
END_TEST

START_TEST(test_draw)
{
    struct stranger s = new_stranger();
    make_host();
    relora_tensor *a = host.a, *b = host.b;
    FAILS_SILENTLY(RELORA_E_ARGUMENT, relora_factors_draw(NULL, NULL, NULL, 0, 0, 0));
    FAILS(RELORA_E_ARGUMENT, relora_factors_draw(NULL, NULL, b, 0, 0, 0), "stream");
    FAILS(RELORA_E_ARGUMENT, relora_factors_draw(env.st, NULL, b, 0, 0, 0), "a is NULL");
    FAILS(RELORA_E_ARGUMENT, relora_factors_draw(env.st, a, NULL, 0, 0, 0), "b is NULL");
    FAILS(RELORA_E_CONTEXT,
          relora_factors_draw(env.st, stranger_matrix(&s, RELORA_F32, RANK, IN), b, 0, 0, 0), "a");
    FAILS(RELORA_E_DTYPE, relora_factors_draw(env.st, new_matrix(RELORA_BF16, RANK, IN), b, 0, 0, 0), "a",
          "BF16");
    FAILS(RELORA_E_SHAPE, relora_factors_draw(env.st, b, a, 0, 0, 0), "[3, 2]", "[2, 5]");
    host_unchanged();
}
END_TEST

START_TEST(test_moments)
{
    struct stranger s = new_stranger();
    const int64_t shape[] = {2, 3}, strides[] = {4, 1};
    make_host();
    relora_tensor *m = host.m, *v = host.v, *gap, *whole = new_matrix(RELORA_F32, 2, 3);
    relora_reset_options o = reset_options(RELORA_RESET_MAGNITUDE, 0.5, RELORA_RESET_STEP_COUNT);
    relora_reset_report bad = {.struct_size = 3};
    OK(relora_tensor_borrow(&gap, env.dev, RELORA_F32, 2, shape, strides, new_floats(8), NULL, NULL));
    defer((void (*)(void *))relora_tensor_release, gap);
    FAILS_SILENTLY(RELORA_E_ARGUMENT, relora_moments_reset(NULL, NULL, NULL, 0, NULL, NULL));
    FAILS(RELORA_E_ARGUMENT, relora_moments_reset(NULL, m, v, 0, NULL, NULL), "stream");
    FAILS(RELORA_E_ARGUMENT, relora_moments_reset(env.st, NULL, v, 0, NULL, NULL), "first");
    FAILS(RELORA_E_ARGUMENT, relora_moments_reset(env.st, m, NULL, 0, NULL, NULL), "second");
    FAILS(RELORA_E_CONTEXT,
          relora_moments_reset(env.st, m, stranger_matrix(&s, RELORA_F32, 1, N), 0, NULL, NULL), "second");
    FAILS(RELORA_E_DTYPE, relora_moments_reset(env.st, new_vector(RELORA_BF16, N), v, 0, NULL, NULL), "first",
          "BF16");
    FAILS(RELORA_E_LAYOUT, relora_moments_reset(env.st, whole, gap, 0, NULL, NULL), "second", "4", "3");
    FAILS(RELORA_E_SHAPE, relora_moments_reset(env.st, m, whole, 0, NULL, NULL), "[7]", "[2, 3]");
    FAILS(RELORA_E_ARGUMENT, relora_moments_reset(env.st, m, v, 0, &o, NULL), "STEP_COUNT");
    o.flags = 0, o.ratio = 2;
    FAILS(RELORA_E_ARGUMENT, relora_moments_reset(env.st, m, v, 0, &o, NULL), "options.ratio", "2");
    FAILS(RELORA_E_STRUCT_SIZE, relora_moments_reset(env.st, m, v, 0, NULL, &bad), "report", "struct_size");
    host_unchanged();
}
END_TEST

static relora_status never(void *user, relora_stream *stream, const relora_tensor *a, const relora_tensor *b,
                           const relora_merge_options *options, relora_merge_report *report)
{
    (void)user, (void)stream, (void)a, (void)b, (void)options, (void)report;
    ck_abort_msg("called");
    return RELORA_OK;
}

START_TEST(test_target)
{
    struct stranger s = new_stranger();
    relora_linear_options o = layer_options(RELORA_MODE_LOWRANK, IN, OUT, RANK), full = o;
    float *memory = new_floats(64);
    make_host();
    full.mode = RELORA_MODE_LORA;
    relora_linear *l = new_linear(&o);
    o.flags = RELORA_LINEAR_IN_OUT;
    relora_linear *turned = new_linear(&o);
    relora_tensor *a, *w;
    FAILS_SILENTLY(RELORA_E_ARGUMENT, relora_linear_set_target(NULL, NULL, NULL, NULL));
    FAILS(RELORA_E_ARGUMENT, relora_linear_set_target(NULL, host.w, NULL, NULL), "linear");
    FAILS(RELORA_E_STATE, relora_linear_set_target(new_linear(&full), host.w, NULL, NULL), "LORA", "LOWRANK");
    FAILS(RELORA_E_STATE, relora_linear_set_target(new_linear(&full), NULL, NULL, NULL), "LORA");
    FAILS(RELORA_E_ARGUMENT, relora_linear_set_target(l, host.w, never, NULL), "weight", "merge");
    FAILS(RELORA_E_CONTEXT, relora_linear_set_target(l, stranger_matrix(&s, RELORA_F32, OUT, IN), NULL, NULL),
          "weight");
    FAILS(RELORA_E_SHAPE, relora_linear_set_target(l, new_matrix(RELORA_F32, IN, OUT), NULL, NULL), "weight",
          "[5, 3]");
    FAILS(RELORA_E_SHAPE, relora_linear_set_target(turned, host.w, NULL, NULL), "weight", "[3, 5]");
    FAILS(RELORA_E_SHAPE, relora_linear_set_target(l, new_vector(RELORA_F32, IN * OUT), NULL, NULL), "weight",
          "[15]");
    OK(relora_tensor_borrow_matrix(&a, env.dev, RELORA_F32, RANK, IN, memory));
    OK(relora_tensor_borrow_matrix(&w, env.dev, RELORA_F32, OUT, IN, memory + RANK * IN - 1));
    defer((void (*)(void *))relora_tensor_release, a);
    defer((void (*)(void *))relora_tensor_release, w);
    OK(relora_linear_set_param(l, RELORA_PARAM_A, a));
    FAILS(RELORA_E_EXISTS, relora_linear_set_target(l, w, NULL, NULL), "weight", "lora_A.weight");
    FAILS(RELORA_E_STATE, relora_linear_merge(l, env.st, 1, NULL), "target"); /* none was set */
    OK(relora_tensor_set_data(w, memory + RANK * IN));
    OK(relora_linear_set_target(l, w, NULL, NULL));
    OK(relora_tensor_borrow_matrix(&a, env.dev, RELORA_F32, RANK, IN, memory + RANK * IN + 3));
    defer((void (*)(void *))relora_tensor_release, a);
    FAILS(RELORA_E_EXISTS, relora_linear_set_param(l, RELORA_PARAM_A, a), "tensor", "target");
    host_unchanged();
}
END_TEST

Suite *restart_arguments(void)
{
    Suite *s = suite_create("arguments of restarts without objects");
    TCase *tc = env_case(s, "restart", 20);
    tcase_add_test(tc, test_defaults);
    tcase_add_test(tc, test_merge);
    tcase_add_test(tc, test_merge_options);
    tcase_add_loop_test(tc, test_merge_struct_size, 0, 5);
    tcase_add_test(tc, test_overlap);
    tcase_add_test(tc, test_full_rank);
    tcase_add_test(tc, test_renew);
    tcase_add_test(tc, test_project);
    tcase_add_test(tc, test_draw);
    tcase_add_test(tc, test_moments);
    tcase_add_test(tc, test_target);
    return s;
}
