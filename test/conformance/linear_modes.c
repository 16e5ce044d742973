/* What a mode has and trains, and the passage from full-rank to low-rank training. T1, T11, T20, T22 */
#include "conformance/suites.h"

enum { ROWS = 24, IN = 20, OUT = 14, RANK = 4 };

struct run {
    relora_linear *l;
    relora_tensor *x, *y, *dy;
};

static struct run new_run(const relora_linear_options *o, struct rnd *r)
{
    struct run run = {new_linear(o), new_matrix(o->dtype, ROWS, IN), new_matrix(o->dtype, ROWS, OUT),
                      new_matrix(o->dtype, ROWS, OUT)};
    if (o->mode != RELORA_MODE_LOWRANK) {
        relora_tensor *w = new_matrix(o->dtype, OUT, IN);
        put_normal(w, r, 0.3);
        OK(relora_linear_set_weight(run.l, w, NULL));
    }
    put_normal(run.x, r, 1);
    put_normal(run.dy, r, 1);
    return run;
}

static void *forward(struct run *run, uint32_t flags)
{
    OK(relora_linear_forward(run->l, env.st, run->x, run->y, 1, flags));
    return snapshot(run->y);
}

static double grad_size(struct run *run, relora_param p) /* of a fresh backward */
{
    OK(relora_linear_backward(run->l, env.st, run->x, run->dy, NULL, 1, RELORA_TRAIN | RELORA_OVERWRITE));
    relora_tensor *g = relora_linear_grad(run->l, p);
    ck_assert_ptr_nonnull(g);
    return largest(get(g), relora_tensor_count(g));
}

static relora_linear_options wrapped(uint32_t flags)
{
    relora_linear_options o = layer_options(RELORA_MODE_LORA, IN, OUT, RANK);
    o.flags = flags;
    o.dropout = 0.1;
    return o;
}

/* T1: the wrapped layer gives the bits of the bare one, in training too. */
START_TEST(test_wrap_changes_no_bit)
{
    struct rnd r = rnd_seed(1);
    relora_linear_options o = wrapped(_i & 1 ? RELORA_LINEAR_BIAS : 0);
    o.dtype = _i & 2 ? RELORA_BF16 : RELORA_F32;
    o.mode = RELORA_MODE_FULL;
    struct run full = new_run(&o, &r);
    void *want = forward(&full, RELORA_TRAIN);
    o.mode = RELORA_MODE_LORA;
    relora_linear *lora = new_linear(&o);
    OK(relora_linear_set_weight(lora, relora_linear_param(full.l, RELORA_PARAM_WEIGHT), NULL));
    full.l = lora;
    SAME_BYTES(forward(&full, RELORA_TRAIN), want, bytes_of(full.y));
    SAME_BYTES(forward(&full, 0), want, bytes_of(full.y));
}
END_TEST

/* T1: B has a gradient at the first step; A's is 0 while B is, and alive at the second. */
START_TEST(test_gradients_alive_within_two_steps)
{
    struct rnd r = rnd_seed(2);
    relora_linear_options o = wrapped(_i ? RELORA_LINEAR_TRAINABLE_SCALE : 0);
    struct run run = new_run(&o, &r);
    relora_adam *adam = new_adam(NULL);
    OK(relora_adam_add_linear(adam, "l", run.l));
    ck_assert_double_gt(grad_size(&run, RELORA_PARAM_B), 1e-3);
    ck_assert_double_eq(grad_size(&run, RELORA_PARAM_A), 0);
    OK(relora_adam_step(adam, env.st, 0.01, 1, NULL));
    ck_assert_double_gt(grad_size(&run, RELORA_PARAM_A), 1e-3);
    ck_assert_double_gt(grad_size(&run, RELORA_PARAM_B), 1e-3);
    if (_i) ck_assert_double_gt(grad_size(&run, RELORA_PARAM_SCALE), 1e-3);
}
END_TEST

/* T11: the authors' two dead starts are reproduced under RELORA_LINEAR_REFERENCE, and can be seen. */
START_TEST(test_reference_is_dead)
{
    struct rnd r = rnd_seed(3);
    relora_linear_options o = wrapped(RELORA_LINEAR_REFERENCE | RELORA_LINEAR_TRAINABLE_SCALE);
    struct run run = new_run(&o, &r);
    relora_tensor *a = relora_linear_param(run.l, RELORA_PARAM_A);
    for (int reset = 0; reset < 2; reset++) { /* first A = B = 0, then B = scale = 0 */
        ck_assert_double_eq(grad_size(&run, RELORA_PARAM_A), 0);
        ck_assert_double_eq(grad_size(&run, RELORA_PARAM_B), 0);
        ck_assert_double_eq(grad_size(&run, RELORA_PARAM_SCALE), 0);
        ck_assert_int_eq(largest(get(a), RANK * IN) > 0, reset);
        ck_assert_double_eq(*get(relora_linear_param(run.l, RELORA_PARAM_SCALE)), reset ? 0 : 1);
        OK(relora_linear_reset(run.l, env.st, (uint64_t)reset + 1));
    }
}
END_TEST

START_TEST(test_reference_revives_at_reset)
{
    struct rnd r = rnd_seed(4);
    relora_linear_options o = wrapped(RELORA_LINEAR_REFERENCE);
    struct run run = new_run(&o, &r);
    ck_assert_double_eq(grad_size(&run, RELORA_PARAM_B), 0);
    OK(relora_linear_reset(run.l, env.st, 1));
    ck_assert_double_gt(grad_size(&run, RELORA_PARAM_B), 1e-3);
}
END_TEST

/* T20: after merge and reset a trainable scale is 1 again and B has a gradient. */
START_TEST(test_scale_revives)
{
    struct rnd r = rnd_seed(5);
    relora_linear_options o = wrapped(RELORA_LINEAR_TRAINABLE_SCALE);
    struct run run = new_run(&o, &r);
    put_normal(relora_linear_param(run.l, RELORA_PARAM_B), &r, 0.1);
    put_all(relora_linear_param(run.l, RELORA_PARAM_SCALE), 0.25);
    OK(relora_linear_merge(run.l, env.st, 1, NULL));
    OK(relora_linear_reset(run.l, env.st, 1));
    ck_assert_double_eq(*get(relora_linear_param(run.l, RELORA_PARAM_SCALE)), 1);
    ck_assert_double_gt(grad_size(&run, RELORA_PARAM_B), 1e-3);
}
END_TEST

/* The end of a warm start: same output to the bit, same weight memory, W no longer trained. */
START_TEST(test_set_mode)
{
    struct rnd r = rnd_seed(6);
    relora_linear_options o = wrapped(_i & 1 ? RELORA_LINEAR_BIAS : 0);
    o.dtype = _i & 2 ? RELORA_BF16 : RELORA_F32;
    o.mode = RELORA_MODE_FULL;
    struct run run = new_run(&o, &r);
    relora_tensor *w = relora_linear_param(run.l, RELORA_PARAM_WEIGHT);
    void *memory = relora_tensor_data(w), *want = forward(&run, RELORA_TRAIN), *weights = snapshot(w);
    ck_assert_double_gt(grad_size(&run, RELORA_PARAM_WEIGHT), 0);
    ck_assert_ptr_null(relora_linear_param(run.l, RELORA_PARAM_A));
    OK(relora_linear_set_mode(run.l, env.st, RELORA_MODE_LORA));
    ck_assert_int_eq(relora_linear_get_mode(run.l), RELORA_MODE_LORA);
    SAME_BYTES(forward(&run, RELORA_TRAIN), want, bytes_of(run.y));
    ck_assert_ptr_eq(relora_linear_param(run.l, RELORA_PARAM_WEIGHT), w);
    ck_assert_ptr_eq(relora_tensor_data(w), memory);
    UNCHANGED(w, weights);
    ck_assert_ptr_null(relora_linear_grad(run.l, RELORA_PARAM_WEIGHT));
    ck_assert_int_eq(relora_linear_grad(run.l, RELORA_PARAM_BIAS) != NULL, _i & 1);
    ck_assert_double_gt(grad_size(&run, RELORA_PARAM_B), 1e-3);
}
END_TEST

/* set_mode draws the A of cycle 0: that of a layer made LORA with the same seed and layer. */
START_TEST(test_set_mode_draws_cycle_0)
{
    struct rnd r = rnd_seed(7);
    relora_linear_options o = wrapped(0);
    o.seed = 42;
    o.layer = 7;
    relora_linear *fresh = new_linear(&o);
    o.mode = RELORA_MODE_FULL;
    struct run run = new_run(&o, &r);
    OK(relora_linear_set_mode(run.l, env.st, RELORA_MODE_LORA));
    UNCHANGED(relora_linear_param(run.l, RELORA_PARAM_A),
              snapshot(relora_linear_param(fresh, RELORA_PARAM_A)));
    UNCHANGED(relora_linear_param(run.l, RELORA_PARAM_B),
              snapshot(relora_linear_param(fresh, RELORA_PARAM_B)));
}
END_TEST

/* The gradient of W goes when W is frozen, 400 x 300 floats; A, B and their gradients of rank 2 come, and
 * 4096 bytes for the objects themselves. */
START_TEST(test_set_mode_frees_the_gradient)
{
    if (cpu_only()) return; /* only its memory is counted */
    struct rnd r = rnd_seed(8);
    relora_linear_options o = layer_options(RELORA_MODE_FULL, 400, 300, 2);
    relora_linear *l = new_filled_linear(&o, &r);
    ck_assert_ptr_nonnull(relora_linear_grad(l, RELORA_PARAM_WEIGHT));
    int64_t before = env.mem.bytes;
    OK(relora_linear_set_mode(l, env.st, RELORA_MODE_LORA));
    ck_assert_int_le(env.mem.bytes, before - 400 * 300 * 4 + 4 * 700 * 4 + 4096);
}
END_TEST

/* T22: two layers tied to one W see each other's merge, which happens once. */
START_TEST(test_tied_layers)
{
    struct rnd r = rnd_seed(9);
    relora_linear_options o = wrapped(0);
    struct run one = new_run(&o, &r);
    o.layer = 1;
    struct run two = one;
    two.l = new_linear(&o);
    OK(relora_linear_set_weight(two.l, relora_linear_param(one.l, RELORA_PARAM_WEIGHT), NULL));
    put_normal(relora_linear_param(one.l, RELORA_PARAM_B), &r, 0.1);
    double *want = oracle_merged(one.l, 8);
    void *before = forward(&two, 0);
    OK(relora_linear_merge(one.l, env.st, 1, NULL));
    double *merged = get(relora_linear_param(two.l, RELORA_PARAM_WEIGHT));
    CLOSE(merged, want, OUT * IN, close_tolerance(0, RELORA_F32, largest(want, OUT * IN), RANK));
    ck_assert_int_ne(memcmp(forward(&two, 0), before, bytes_of(two.y)), 0);
}
END_TEST

/* The layer keeps what it was given alive, and writes a bias of the host in place. */
START_TEST(test_weight_of_the_host)
{
    struct rnd r = rnd_seed(10);
    relora_tensor *weight, *bias, *w = new_matrix(RELORA_F32, OUT, IN), *b = new_vector(RELORA_F32, OUT);
    relora_linear_options o = wrapped(RELORA_LINEAR_BIAS);
    struct run run = new_run(&o, &r);
    put_normal(w, &r, 1);
    put_normal(b, &r, 1);
    OK(relora_tensor_borrow(&weight, env.dev, RELORA_F32, 2, (int64_t[]){OUT, IN}, NULL,
                            relora_tensor_data(w), NULL, NULL));
    OK(relora_tensor_borrow(&bias, env.dev, RELORA_F32, 1, (int64_t[]){OUT}, NULL, relora_tensor_data(b),
                            NULL, NULL));
    OK(relora_linear_set_weight(run.l, weight, bias));
    relora_tensor_release(weight);
    relora_tensor_release(bias);
    double *x = get(run.x), *was = get(w), y0 = *get(b);
    forward(&run, 0);
    for (int i = 0; i < IN; i++) y0 += x[i] * was[i];
    ck_assert_double_eq_tol(get(run.y)[0], y0, close_tolerance(1e-6, RELORA_F32, fabs(y0) + 4, IN));
    put_all(relora_linear_param(run.l, RELORA_PARAM_B), 0.5);
    OK(relora_linear_merge(run.l, env.st, 1, NULL));
    ck_assert_double_ne(*get(w), *was); /* in the host's own memory */
    ck_assert_ptr_eq(relora_tensor_data(relora_linear_param(run.l, RELORA_PARAM_BIAS)),
                     relora_tensor_data(b));
}
END_TEST

Suite *linear_modes(void)
{
    Suite *s = suite_create("linear modes");
    TCase *tc = env_case(s, "modes", 20);
    tcase_add_loop_test(tc, test_wrap_changes_no_bit, 0, 4);
    tcase_add_loop_test(tc, test_gradients_alive_within_two_steps, 0, 2);
    tcase_add_test(tc, test_reference_is_dead);
    tcase_add_test(tc, test_reference_revives_at_reset);
    tcase_add_test(tc, test_scale_revives);
    tcase_add_loop_test(tc, test_set_mode, 0, 4);
    tcase_add_test(tc, test_set_mode_draws_cycle_0);
    tcase_add_test(tc, test_set_mode_frees_the_gradient);
    tcase_add_test(tc, test_tied_layers);
    tcase_add_test(tc, test_weight_of_the_host);
    return s;
}
