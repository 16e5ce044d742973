/* The host's own OpenMP thread count is the same before and after every kind of call (style.md D6). */
#include "threads/suites.h"

#ifdef _OPENMP
#include <omp.h>

enum { HOST = 3, IN = 80, OUT = 60, ROWS = 70 }; /* HOST is neither number of threads of a context here */

static void open_two(void) { env_open_threads(2); }

#define KEEPS(call)                                    \
    do {                                               \
        omp_set_num_threads(HOST);                     \
        OK(call);                                      \
        ck_assert_int_eq(omp_get_max_threads(), HOST); \
    } while (0)

START_TEST(test_layer)
{
    struct rnd r = rnd_seed(1);
    relora_linear *l, *full;
    relora_dtype dtype = _i ? RELORA_BF16 : RELORA_F32;
    relora_linear_options o = layer_options(RELORA_MODE_LORA, IN, OUT, 8);
    relora_tensor *w, *x = new_matrix(dtype, ROWS, IN), *y = new_matrix(dtype, ROWS, OUT);
    relora_tensor *dx = new_matrix(dtype, ROWS, IN), *f = new_matrix(RELORA_F32, ROWS, IN);
    o.dtype = dtype;
    o.dropout = 0.1;
    put_normal(x, &r, 1);
    KEEPS(relora_tensor_create(&w, env.dev, dtype, 2, (int64_t[]){OUT, IN}));
    KEEPS(relora_tensor_fill(w, env.st, 0.5));
    KEEPS(relora_tensor_copy(f, x, env.st));
    KEEPS(relora_linear_create(&l, env.dev, &o));
    KEEPS(relora_linear_set_weight(l, w, NULL));
    KEEPS(relora_linear_forward(l, env.st, x, y, 1, RELORA_TRAIN));
    KEEPS(relora_linear_backward(l, env.st, x, y, dx, 1, RELORA_TRAIN));
    KEEPS(relora_linear_merge(l, env.st, 1, NULL));
    KEEPS(relora_linear_reset(l, env.st, 1));
    KEEPS(relora_linear_zero_grad(l, env.st));
    o.mode = RELORA_MODE_FULL;
    KEEPS(relora_linear_create(&full, env.dev, &o));
    KEEPS(relora_linear_set_weight(full, w, NULL));
    KEEPS(relora_linear_set_mode(full, env.st, RELORA_MODE_LORA));
    relora_linear_release(l);
    relora_linear_release(full);
    relora_tensor_release(w);
    ck_assert_int_eq(omp_get_max_threads(), HOST);
}
END_TEST

START_TEST(test_optimizer_and_cycle)
{
    struct rnd r = rnd_seed(2);
    double norm;
    relora_linear_options o = layer_options(RELORA_MODE_LORA, 40000, 8, 4);
    relora_adam *adam = new_adam(NULL);
    relora_cycle_options co = cycle_options(4, 0);
    relora_linear *l = new_filled_linear(&o, &r);
    relora_cycle *c = new_cycle(&co, adam, NULL);
    KEEPS(relora_adam_add_linear(adam, "l", l));
    KEEPS(relora_cycle_add(c, l));
    KEEPS(relora_adam_flatten_grads(adam, env.st));
    KEEPS(relora_adam_step(adam, env.st, 0.1, 1, NULL));
    KEEPS(relora_adam_grad_norm(adam, env.st, &norm));
    KEEPS(relora_adam_reset(adam, env.st, NULL, 0, NULL, NULL));
    KEEPS(relora_adam_zero_grad(adam, env.st));
    KEEPS(relora_adam_sum(adam, env.st, relora_linear_grad(l, RELORA_PARAM_A)));
    KEEPS(relora_cycle_advance(c, env.st, 5, NULL, NULL, NULL));
    KEEPS(relora_cycle_finish(c, env.st, 5, NULL));
}
END_TEST

Suite *threads_host(void)
{
    Suite *s = suite_create("OpenMP setting of the host");
    TCase *one = env_case(s, "one thread", 20), *two = tcase_create("two threads");
    tcase_add_checked_fixture(two, open_two, env_close);
    tcase_set_timeout(two, 20);
    suite_add_tcase(s, two);
    tcase_add_loop_test(one, test_layer, 0, 2);
    tcase_add_test(one, test_optimizer_and_cycle);
    tcase_add_loop_test(two, test_layer, 0, 2);
    tcase_add_test(two, test_optimizer_and_cycle);
    return s;
}

#else /* a build without OpenMP has no such setting */

Suite *threads_host(void) { return suite_create("OpenMP setting of the host: no OpenMP"); }

#endif
