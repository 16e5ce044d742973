/* Streams of the host and of the library, and the order of work on them. */
#include <math.h>
#include <pthread.h>
#include <string.h>
#include "cuda/device.h"
#include "cuda/suites.h"
#include "support/close.h"
#include "support/oracle.h"

enum { ROWS = 33, IN = 40, OUT = 24, RANK = 4 };

static void release_tensor(void *p) { relora_tensor_release(p); }

static relora_tensor *lent(int64_t rows, int64_t cols)
{
    relora_tensor *t;
    OK(relora_tensor_borrow(&t, env.dev, RELORA_F32, 2, (int64_t[]){rows, cols}, NULL,
                            new_cuda_floats(rows * cols), NULL, NULL));
    defer(release_tensor, t);
    return t;
}

/* A host's copy in, our product, the host's copy out, all in one stream of the host: they wait for each other and
 * nobody else has to. */
START_TEST(test_stream_of_the_host)
{
    struct rnd r = rnd_seed(1);
    relora_linear_options o = layer_options(RELORA_MODE_LORA, IN, OUT, RANK);
    relora_linear *l = new_filled_linear(&o, &r);
    cudaStream_t own = new_cuda_stream();
    relora_stream *st = new_wrapped(own);
    relora_tensor *x = lent(ROWS, IN), *y = lent(ROWS, OUT);
    float *in = new_pinned_floats(ROWS * IN), *out = new_pinned_floats(ROWS * OUT);
    double *wide = doubles(ROWS * IN), *got = doubles(ROWS * OUT);
    for (int i = 0; i < ROWS * IN; i++) in[i] = (float)rnd_normal(&r), wide[i] = (double)in[i];
    OK(relora_stream_synchronize(env.st));        /* the layer was filled there */
    OK(relora_linear_forward(l, st, x, y, 0, 0)); /* once, so that the next finds everything at hand */
    ck_assert_ptr_eq(relora_stream_native(st), own);
    gate_close(own);
    CUDA_OK(cudaMemcpyAsync(relora_tensor_data(x), in, bytes_of(x), cudaMemcpyHostToDevice, own));
    QUEUES(relora_linear_forward(l, st, x, y, 0, 0));
    CUDA_OK(cudaMemcpyAsync(out, relora_tensor_data(y), bytes_of(y), cudaMemcpyDeviceToHost, own));
    ck_assert(gate_held());
    gate_open();
    CUDA_OK(cudaStreamSynchronize(own));
    struct oracle want = {
        .rows = ROWS, .in = IN, .out = OUT, .rank = RANK, .x = wide, .dy = doubles(ROWS * OUT)};
    oracle_run(&want, l, o.alpha / RANK);
    for (int i = 0; i < ROWS * OUT; i++) got[i] = (double)out[i];
    CLOSE(got, want.y, ROWS * OUT, close_tolerance(1e-5, RELORA_F32, largest(want.y, ROWS * OUT), IN + RANK));
}
END_TEST

/* The other way round: the host's work on our stream. */
START_TEST(test_work_of_the_host)
{
    relora_tensor *t = new_vector(RELORA_F32, 1000), *copy = new_vector(RELORA_F32, 1000);
    cudaStream_t native = native_of(env.st);
    ck_assert_ptr_nonnull(native);
    put_all(t, 5);
    CUDA_OK(cudaMemsetAsync(relora_tensor_data(t), 0, 500 * sizeof(float), native));
    OK(relora_tensor_copy(copy, t, env.st));
    double *values = get(copy);
    ck_assert_double_eq(values[499], 0);
    ck_assert_double_eq(values[500], 5);
}
END_TEST

/* NULL is a stream as well: the legacy default one. */
START_TEST(test_default_stream)
{
    relora_stream *st = new_wrapped(NULL);
    relora_tensor *t = new_vector(RELORA_F32, 1000);
    float values[1000];
    ck_assert_ptr_null(relora_stream_native(st));
    /* new tensors are ready for any stream: for reading, once they are written */
    OK(relora_stream_synchronize(env.st));
    OK(relora_tensor_fill(t, st, 3));
    OK(relora_tensor_read(t, st, values, sizeof values));
    ck_assert_float_eq(values[999], 3);
}
END_TEST

/* What one stream writes behind a gate, another reads after relora_stream_wait(), and a third after that. */
START_TEST(test_wait)
{
    relora_stream *first = new_stream(), *second = new_stream(), *third = new_stream();
    relora_tensor *a = new_vector(RELORA_F32, 4096), *b = new_vector(RELORA_F32, 4096),
                  *c = new_vector(RELORA_F32, 4096);
    float values[4096];
    put_all(a, 1);
    put_all(b, 2);
    put_all(c, 3);
    OK(relora_stream_synchronize(env.st));
    gate_close(native_of(first));
    QUEUES(relora_tensor_fill(a, first, 7));
    QUEUES(relora_stream_wait(second, first));
    QUEUES(relora_tensor_copy(b, a, second));
    QUEUES(relora_stream_wait(third, second));
    QUEUES(relora_tensor_copy(c, b, third));
    ck_assert_int_eq(cudaStreamQuery(native_of(third)), cudaErrorNotReady);
    gate_open();
    OK(relora_tensor_read(c, third, values, sizeof values));
    for (int i = 0; i < 4096; i++) ck_assert_float_eq(values[i], 7);
}
END_TEST

/* ---- trainings side by side ---- */

enum { RUNS = 4, STEPS = 30 };

struct run {
    relora_linear *l;
    relora_adam *adam;
    relora_tensor *x, *y, *dx, *w[2];
    relora_stream *st;
    relora_status status;
};

static struct run new_run(int number)
{
    struct rnd r = rnd_seed((uint64_t)number);
    relora_linear_options o = layer_options(RELORA_MODE_LORA, IN, OUT, RANK);
    o.dtype = number % 2 ? RELORA_BF16 : RELORA_F32;
    o.dropout = number / 2 ? 0.1 : 0;
    struct run run = {.l = new_filled_linear(&o, &r), .adam = new_adam(NULL), .st = new_stream()};
    run.x = new_matrix(o.dtype, ROWS, IN);
    run.dx = new_matrix(o.dtype, ROWS, IN);
    run.y = new_matrix(o.dtype, ROWS, OUT);
    put_normal(run.x, &r, 1);
    OK(relora_adam_add_linear(run.adam, "l", run.l));
    OK(relora_stream_synchronize(env.st));
    return run;
}

static void step(struct run *run, int number) /* y itself is the gradient: the layer unlearns what it knows */
{
    relora_status s[3];
    uint64_t call = (uint64_t)number;
    s[0] = relora_linear_forward(run->l, run->st, run->x, run->y, call, RELORA_TRAIN);
    s[1] = relora_linear_backward(run->l, run->st, run->x, run->y, run->dx, call,
                                  RELORA_TRAIN | RELORA_OVERWRITE);
    s[2] = relora_adam_step(run->adam, run->st, 0.01, 1, NULL);
    for (int i = 0; i < 3; i++)
        if (s[i] < 0) run->status = s[i];
}

static void *steps(void *object)
{
    struct run *run = object;
    for (int i = 0; i < STEPS; i++) step(run, i);
    return NULL;
}

static void same_end(struct run *run, struct run *want)
{
    ck_assert_int_eq(run->status, RELORA_OK);
    OK(relora_stream_synchronize(run->st));
    OK(relora_stream_synchronize(want->st));
    UNCHANGED(run->dx, snapshot(want->dx));
    UNCHANGED(relora_linear_param(run->l, RELORA_PARAM_A),
              snapshot(relora_linear_param(want->l, RELORA_PARAM_A)));
    UNCHANGED(relora_linear_param(run->l, RELORA_PARAM_B),
              snapshot(relora_linear_param(want->l, RELORA_PARAM_B)));
}

/* Step by step in turn on four streams, or from four threads, and one after the other: the same bits. */
START_TEST(test_side_by_side)
{
    struct run run[RUNS], alone[RUNS];
    pthread_t threads[RUNS];
    for (int k = 0; k < RUNS; k++) {
        run[k] = new_run(k);
        alone[k] = new_run(k);
        steps(&alone[k]);
        OK(relora_stream_synchronize(alone[k].st));
    }
    for (int i = 0; i < STEPS && _i == 0; i++)
        for (int k = 0; k < RUNS; k++) step(&run[k], i);
    for (int k = 0; k < RUNS && _i == 1; k++)
        ck_assert_int_eq(pthread_create(&threads[k], NULL, steps, &run[k]), 0);
    for (int k = 0; k < RUNS && _i == 1; k++) pthread_join(threads[k], NULL);
    for (int k = 0; k < RUNS; k++) same_end(&run[k], &alone[k]);
}
END_TEST

Suite *streams_suite(void)
{
    Suite *s = suite_create("streams of a device");
    TCase *tc = env_case(s, "streams", 60);
    tcase_add_test(tc, test_stream_of_the_host);
    tcase_add_test(tc, test_work_of_the_host);
    tcase_add_test(tc, test_default_stream);
    tcase_add_test(tc, test_wait);
    tcase_add_loop_test(tc, test_side_by_side, 0, 2);
    return s;
}
