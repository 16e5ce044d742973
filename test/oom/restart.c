/* A restart without objects: what is refused memory has changed nothing, and what follows gives the same numbers. */
#include "oom/oom.h"

enum { IN = 40, OUT = 30, RANK = 3 };

static relora_tensor *w, *a, *b, *m[2];
static void *was;
static relora_merge_options options;

static void make_host(relora_dtype dtype)
{
    struct rnd rnd = rnd_seed(1);
    OK(relora_merge_options_init(&options, sizeof options));
    w = new_matrix(dtype, OUT, IN);
    a = new_matrix(RELORA_F32, RANK, IN);
    b = new_matrix(RELORA_F32, OUT, RANK);
    m[0] = new_vector(RELORA_F32, 5000);
    m[1] = new_vector(RELORA_F32, 5000);
    relora_tensor *all[] = {w, a, b, m[0], m[1]};
    for (int i = 0; i < 5; i++) put_normal(all[i], &rnd, 1);
    relora_stream_release(env.st); /* a stream without a workspace */
    OK(relora_stream_create(&env.st, env.dev));
    was = snapshot(w);
}

static void check_weight(void)
{
    oom_end(); /* looking takes memory */
    UNCHANGED(w, was);
}

static void merge(void)
{
    make_host(RELORA_BF16);
    oom_begin();
    SURVIVES(check_weight, relora_merge(env.st, w, a, b, &options, NULL));
    oom_result_of(w);
}

/* [in, out] has products of its own. */
static void merge_in_out(void)
{
    make_host(RELORA_F32);
    relora_tensor *turned = new_matrix(RELORA_F32, IN, OUT);
    put_all(turned, 1);
    w = turned, was = snapshot(w);
    options.flags = RELORA_MERGE_IN_OUT;
    oom_begin();
    SURVIVES(check_weight, relora_merge(env.st, w, a, b, &options, NULL));
    oom_result_of(w);
}

static relora_tensor *gradient;
static const double *values;

/* The gradient is the call's to overwrite. */
static void check_step(void)
{
    oom_end();
    UNCHANGED(w, was);
    put(gradient, values);
}

static void step_full_rank(void)
{
    struct rnd rnd = rnd_seed(3);
    make_host(RELORA_BF16);
    gradient = new_matrix(RELORA_F32, OUT, IN);
    put_normal(gradient, &rnd, 1);
    values = get(gradient);
    oom_begin();
    SURVIVES(check_step, relora_full_rank_step(env.st, w, gradient, 0.1, &options, NULL));
    oom_result_of(w);
    oom_result_of(gradient);
}

static void draw(void)
{
    make_host(RELORA_F32);
    oom_begin();
    SURVIVES(NULL, relora_factors_draw(env.st, a, b, 1, 2, 3));
    oom_result_of(a);
}

static uint32_t flags;

static void reset(void)
{
    relora_reset_options o = reset_options(RELORA_RESET_MAGNITUDE, 0.9, flags);
    relora_reset_report report = {.struct_size = sizeof report};
    make_host(RELORA_F32);
    oom_begin();
    SURVIVES(NULL, relora_moments_reset(env.st, m[0], m[1], 0, &o, &report));
    oom_result_of(m[0]);
    oom_result_of(m[1]);
}

START_TEST(test_merge)
{
    oom_play(merge, _i, 1);
    oom_play(merge_in_out, _i, 1);
}
END_TEST

START_TEST(test_full_rank) { oom_play(step_full_rank, _i, 1); }
END_TEST

START_TEST(test_draw) { oom_play(draw, _i, 0); }
END_TEST

static relora_init init;

static void renew(void)
{
    relora_factors_options o;
    relora_merge_report report = {.struct_size = sizeof report};
    OK(relora_factors_options_init(&o, sizeof o));
    o.init = init;
    make_host(RELORA_F32);
    relora_tensor *gradient = new_matrix(RELORA_F32, RANK, IN);
    put(gradient, get(a));
    w = a, was = snapshot(a);
    oom_begin();
    SURVIVES(check_weight, relora_factors_renew(env.st, a, b, gradient, &o, &report));
    oom_result_of(a);
    oom_result(&report, sizeof report);
}

START_TEST(test_renew)
{
    for (init = RELORA_INIT_UNIFORM; init <= RELORA_INIT_GIVEN; init++) oom_play(renew, _i, 1);
}
END_TEST

static void project(void)
{
    make_host(RELORA_F32);
    relora_tensor *second = new_matrix(RELORA_F32, OUT, RANK), *other = new_matrix(RELORA_F32, RANK, IN);
    put_all(second, 1), put_all(other, 1);
    w = b, was = snapshot(b);
    oom_begin();
    SURVIVES(check_weight, relora_moments_project(env.st, b, second, a, other, 0.9, 0.99, 3));
    oom_result_of(b);
    oom_result_of(second);
}

START_TEST(test_project) { oom_play(project, _i, 1); }
END_TEST

START_TEST(test_reset)
{
    for (flags = 0; flags <= (RELORA_RESET_INDEPENDENT | RELORA_RESET_QUANTILE);
         flags += RELORA_RESET_INDEPENDENT)
        oom_play(reset, _i, 1);
}
END_TEST

static relora_adam *adam;

static void check_none(void) { ck_assert_int_eq(relora_adam_count(adam), 0); }

static void lend(void)
{
    make_host(RELORA_F32);
    adam = new_adam(NULL);
    relora_tensor *grad = new_vector(RELORA_F32, 5000), *param = new_vector(RELORA_F32, 5000);
    put_all(grad, 1), put_all(param, 1), put_all(m[1], 1);
    oom_begin();
    SURVIVES(check_none, relora_adam_add_moments(adam, "p", param, grad, m[0], m[1], NULL));
    SURVIVES(NULL, relora_adam_step(adam, env.st, 0.1, 1, NULL));
    oom_result_of(param);
    oom_result_of(m[0]);
}

/* A pass on pointers: memory for its temporaries, and no more. The gradient of W needs none. */
static void pass(void)
{
    struct rnd rnd = rnd_seed(2);
    relora_linear_options o = layer_options(RELORA_MODE_LORA, IN, OUT, RANK);
    make_host(RELORA_F32);
    relora_linear *l = new_filled_linear(&o, &rnd);
    relora_tensor *x = new_matrix(RELORA_F32, 7, IN), *y = new_matrix(RELORA_F32, 7, OUT);
    OK(relora_linear_zero_grad(l, env.st));
    put_normal(x, &rnd, 1);
    relora_tensor *dw = new_matrix(RELORA_F32, OUT, IN);
    oom_begin();
    SURVIVES(NULL, relora_linear_forward_at(l, env.st, 7, relora_tensor_data(x), IN, relora_tensor_data(y),
                                            OUT, 0, 0));
    SURVIVES(NULL, relora_linear_backward_at(l, env.st, 7, relora_tensor_data(x), IN, relora_tensor_data(y),
                                             OUT, NULL, 0, 0, RELORA_OVERWRITE));
    SURVIVES(NULL, relora_linear_weight_grad(l, env.st, x, y, dw, RELORA_OVERWRITE));
    oom_result_of(dw);
    oom_result_of(y);
    oom_result_of(relora_linear_grad(l, RELORA_PARAM_A));
}

START_TEST(test_pass) { oom_play(pass, _i, 1); }
END_TEST

START_TEST(test_lend) { oom_play(lend, _i, 4); }
END_TEST

Suite *oom_restart(void)
{
    Suite *s = suite_create("restart without objects");
    TCase *tc = env_case(s, "restart", 60);
    tcase_add_loop_test(tc, test_merge, 0, OOM_KINDS);
    tcase_add_loop_test(tc, test_full_rank, 0, OOM_KINDS);
    tcase_add_loop_test(tc, test_draw, 0, OOM_KINDS);
    tcase_add_loop_test(tc, test_renew, 0, OOM_KINDS);
    tcase_add_loop_test(tc, test_project, 0, OOM_KINDS);
    tcase_add_loop_test(tc, test_reset, 0, OOM_KINDS);
    tcase_add_loop_test(tc, test_lend, 0, OOM_KINDS);
    tcase_add_loop_test(tc, test_pass, 0, OOM_KINDS);
    return s;
}
