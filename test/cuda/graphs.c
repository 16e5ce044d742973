/* A whole training step in a CUDA graph: captured once, launched many times, with another learning rate each time,
 * and to the bit what the same calls give without a graph. */
#include <math.h>
#include <string.h>
#include "cuda/device.h"
#include "cuda/suites.h"
#ifdef EMULATED_CUDA
#include "emulator.h"
#endif
#include "support/close.h"

enum { ROWS = 48, IN = 40, OUT = 24, RANK = 4, STEPS = 10, CALL = 3 };

struct net { /* y = W x + s B A x has to become the wanted output */
    relora_linear *l, *one;
    relora_adam *adam;
    relora_tensor *x, *y, *minus_wanted, *error, *dx, *squares, *lr;
};

/* Errors and losses need no kernel of the test's own: with W = 1, backward of a FULL layer adds its dy to dx, and
 * leaves dy^T x as the gradient of W, whose trace is the sum of squares for dy = x. */
static struct net new_net(relora_dtype dtype)
{
    struct net n;
    struct rnd r = rnd_seed(1);
    relora_linear_options o = layer_options(RELORA_MODE_LORA, IN, OUT, RANK);
    relora_adam_options ao = adam_options();
    double *identity = doubles(OUT * OUT);
    o.dtype = dtype;
    o.flags = RELORA_LINEAR_BIAS | RELORA_LINEAR_TRAINABLE_SCALE;
    o.dropout = 0.1;
    n.l = new_filled_linear(&o, &r);
    ao.max_norm = 1;
    ao.weight_decay = 0.1;
    ao.flags |= RELORA_ADAM_SKIP_NOT_FINITE;
    n.adam = new_adam(&ao);
    OK(relora_adam_add_linear(n.adam, "l", n.l));
    o = layer_options(RELORA_MODE_FULL, OUT, OUT, 0);
    o.dtype = dtype;
    n.one = new_filled_linear(&o, &r);
    for (int i = 0; i < OUT; i++) identity[i * OUT + i] = 1;
    put(relora_linear_param(n.one, RELORA_PARAM_WEIGHT), identity);
    n.x = new_matrix(dtype, ROWS, IN);
    n.dx = new_matrix(dtype, ROWS, IN);
    n.y = new_matrix(dtype, ROWS, OUT);
    n.minus_wanted = new_matrix(dtype, ROWS, OUT);
    n.error = new_matrix(dtype, ROWS, OUT);
    n.squares = new_matrix(dtype, ROWS, OUT);
    n.lr = new_vector(RELORA_F32, 1);
    put_normal(n.x, &r, 1);
    put_normal(n.minus_wanted, &r, 1);
    return n;
}

/* With the learning rate in n->lr, or in `lr` if that is not below 0. */
static void step(struct net *n, double lr)
{
    OK(relora_linear_forward(n->l, env.st, n->x, n->y, CALL, RELORA_TRAIN));
    OK(relora_tensor_copy(n->error, n->minus_wanted, env.st));
    OK(relora_linear_backward(n->one, env.st, n->squares, n->y, n->error, CALL,
                              RELORA_OVERWRITE | RELORA_ACCUMULATE_DX));
    OK(relora_tensor_copy(n->squares, n->error, env.st));
    OK(relora_linear_backward(n->one, env.st, n->squares, n->error, NULL, CALL, RELORA_OVERWRITE));
    OK(relora_linear_backward(n->l, env.st, n->x, n->error, n->dx, CALL, RELORA_TRAIN | RELORA_OVERWRITE));
    if (lr < 0) OK(relora_adam_step_lr(n->adam, env.st, n->lr, 1, NULL));
    else OK(relora_adam_step(n->adam, env.st, lr, 1, NULL));
}

static double loss_of(struct net *n)
{
    double *g = get(relora_linear_grad(n->one, RELORA_PARAM_WEIGHT)), sum = 0;
    for (int i = 0; i < OUT; i++) sum += g[i * OUT + i];
    return sum / (ROWS * OUT);
}

static cudaGraphExec_t capture(struct net *n)
{
    cudaStream_t stream = native_of(env.st);
    cudaGraph_t graph;
    cudaGraphExec_t exec;
    CUDA_OK(cudaStreamBeginCapture(stream, cudaStreamCaptureModeGlobal));
    step(n, -1);
    CUDA_OK(cudaStreamEndCapture(stream, &graph));
    CUDA_OK(cudaGraphInstantiate(&exec, graph, 0));
    CUDA_OK(cudaGraphDestroy(graph));
    return exec;
}

static double put_rate(struct net *n, int step)
{
    float lr = 0.01f * (float)(step + 1);
    OK(relora_tensor_write(n->lr, env.st, &lr, sizeof lr));
    return (double)lr;
}

static void same(struct net *got, struct net *want)
{
    for (relora_param p = RELORA_PARAM_BIAS; p <= RELORA_PARAM_SCALE; p++) {
        int32_t i = p == RELORA_PARAM_BIAS ? 3 : p - RELORA_PARAM_A;
        UNCHANGED(relora_linear_param(got->l, p), snapshot(relora_linear_param(want->l, p)));
        UNCHANGED(relora_adam_moment(got->adam, i, RELORA_MOMENT_FIRST),
                  snapshot(relora_adam_moment(want->adam, i, RELORA_MOMENT_FIRST)));
    }
    UNCHANGED(got->dx, snapshot(want->dx));
    ck_assert_double_eq(loss_of(got), loss_of(want));
}

START_TEST(test_training_step)
{
    struct net graph = new_net(_i ? RELORA_BF16 : RELORA_F32), plain = new_net(_i ? RELORA_BF16 : RELORA_F32);
    int64_t steps;
    double first = 0;
    put_all(graph.squares, 0);
    put_all(plain.squares, 0);
    step(&plain, put_rate(&graph, 0));
    step(&graph, -1); /* one before the capture, as adam.h asks */
    cudaGraphExec_t exec = capture(&graph);
    OK(relora_adam_steps(graph.adam, env.st, 0, &steps));
    ck_assert_int_eq(steps, 1); /* capturing does nothing */
    for (int i = 0; i < STEPS; i++) {
        step(&plain, put_rate(&graph, i));
        CUDA_OK(cudaGraphLaunch(exec, native_of(env.st)));
        same(&graph, &plain);
        if (i == 0) first = loss_of(&graph);
    }
    OK(relora_adam_steps(graph.adam, env.st, 0, &steps));
    ck_assert_int_eq(steps, STEPS + 1);
    ck_assert_double_lt(loss_of(&graph), 0.9 * first);
    step(&plain, put_rate(&graph, 0));
    step(&graph, -1); /* and on without the graph */
    same(&graph, &plain);
    CUDA_OK(cudaGraphExecDestroy(exec));
}
END_TEST

/* What hands a result to the host cannot be captured: it says so, and that stream is finished. Another is not. */
START_TEST(test_not_to_be_captured)
{
    struct net n = new_net(RELORA_F32);
    cudaStream_t stream = native_of(env.st);
    cudaGraph_t graph = NULL;
    float value;
    put_rate(&n, 0);
    put_all(n.squares, 0);
    step(&n, -1);
    CUDA_OK(cudaStreamBeginCapture(stream, cudaStreamCaptureModeGlobal));
    FAILS(RELORA_E_BACKEND, relora_tensor_read(n.lr, env.st, &value, sizeof value), "apture");
    ck_assert_int_ne(cudaStreamEndCapture(stream, &graph), cudaSuccess);
    cudaGetLastError();
    relora_stream *other = new_stream();
    OK(relora_tensor_fill(n.lr, other, 0.25));
    OK(relora_tensor_read(n.lr, other, &value, sizeof value));
    ck_assert_float_eq(value, 0.25f);
}
END_TEST

static cudaGraph_t end_capture(cudaStream_t stream)
{
    cudaGraph_t graph = NULL;
    CUDA_OK(cudaStreamEndCapture(stream, &graph));
    CUDA_OK(cudaGraphDestroy(graph));
    return graph;
}

/* A stream that the host captures is no longer the library's business: releasing it, with the memory that it has, is no
 * part of the graph. */
START_TEST(test_release_of_a_captured_stream)
{
    cudaStream_t own = new_cuda_stream();
    struct net n = new_net(RELORA_F32);
    relora_stream *stream;
    put_all(n.squares, 0);
    OK(relora_stream_synchronize(env.st));
    OK(relora_stream_wrap(&stream, env.dev, own));
    for (int i = 0; i < 2; i++) OK(relora_linear_forward(n.l, stream, n.x, n.y, CALL, RELORA_TRAIN));
    CUDA_OK(cudaStreamBeginCapture(own, cudaStreamCaptureModeGlobal));
    relora_stream_release(stream);
    end_capture(own);
    step(&n, 0.1);
}
END_TEST

/* Asks an emulated device for memory that it has not; 0 on another, which would have to be filled first. */
static int lacks_memory(int64_t count)
{
#ifdef EMULATED_CUDA
    relora_tensor *t;
    size_t all;
    relora_status status;
    CUDA_OK(cudaMemGetInfo(&(size_t){0}, &all));
    emulated_cuda_memory(emulated_cuda_used(0));
    status = relora_tensor_create(&t, env.dev, RELORA_F32, 1, &count);
    emulated_cuda_memory(all);
    relora_tensor_release(t);
    ck_assert(status == RELORA_OK || status == RELORA_E_NO_MEMORY);
    return 1;
#else
    return count < 0;
#endif
}

/* What is released while a stream is captured is still read by what was queued on that stream before. */
START_TEST(test_release_in_a_capture)
{
    enum { N = 1 << 12, ROUNDS = 40 };
    relora_stream *second = new_stream();
    for (int round = 0; round < ROUNDS; round++) {
        relora_tensor *source, *target = new_vector(RELORA_F32, N), *other;
        OK(relora_tensor_create(&source, env.dev, RELORA_F32, 1, (int64_t[]){N}));
        put_all(source, 5);
        put_all(target, 0);
        OK(relora_stream_synchronize(env.st));
        OK(relora_tensor_copy(target, source, env.st));
        CUDA_OK(cudaStreamBeginCapture(native_of(env.st), cudaStreamCaptureModeRelaxed));
        relora_tensor_release(source);
        if (lacks_memory(N)) { /* what can be freed is, then */
            end_capture(native_of(env.st));
        } else {
            OK(relora_tensor_create(&other, env.dev, RELORA_F32, 1, (int64_t[]){N}));
            OK(relora_tensor_fill(other, second, 9));
            end_capture(native_of(env.st));
            relora_tensor_release(other);
        }
        ck_assert_double_eq(largest(get(target), N), 5);
    }
}
END_TEST

/* A blocking stream of the host is captured while the library knows the legacy stream, which waits for it. Memory that is
 * released meanwhile comes back. */
START_TEST(test_legacy_stream)
{
    cudaStream_t blocking;
    uint64_t free_bytes, total;
    new_wrapped(NULL);
    OK(relora_device_memory(env.dev, &free_bytes, &total));
    int64_t count = (int64_t)(free_bytes / 4 / 2);
    CUDA_OK(cudaStreamCreate(&blocking));
    for (int i = 0; i < 4; i++) {
        relora_tensor *t;
        OK(relora_tensor_create(&t, env.dev, RELORA_F32, 1, &count));
        CUDA_OK(cudaStreamBeginCapture(blocking, cudaStreamCaptureModeRelaxed));
        relora_tensor_release(t);
        end_capture(blocking);
    }
    CUDA_OK(cudaStreamDestroy(blocking));
}
END_TEST

Suite *graphs(void)
{
    Suite *s = suite_create("graphs");
    TCase *tc = env_case(s, "graphs", 60);
    tcase_set_tags(tc, "sanitize");
    tcase_add_loop_test(tc, test_training_step, 0, 2);
    tcase_add_test(tc, test_not_to_be_captured);
    tcase_add_test(tc, test_release_of_a_captured_stream);
    tcase_add_test(tc, test_release_in_a_capture);
    tcase_add_test(tc, test_legacy_stream);
    return s;
}
