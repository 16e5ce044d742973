/* What the headers tag "queues" or "none" returns while its stream is held back, and has its effect once the stream
 * goes on; memory given back meanwhile stays what it was until the work on it is done. */
#include <math.h>
#include <string.h>
#include "cuda/device.h"
#include "cuda/suites.h"
#include "support/close.h"

#ifdef EMULATED_CUDA
#include "emulator.h"
#endif

enum { ROWS = 33, IN = 40, OUT = 24, RANK = 4, ROUNDS = 2, MANY = 1 << 18, WIDE = 300 };

struct bench { /* what can be changed once only is there for each round */
    relora_linear *l[2], *full[ROUNDS];
    relora_adam *adam, *flat[ROUNDS];
    relora_tensor *x, *y[2], *dy[2], *dx, *dw, *lr, *other, *many, *block;
    relora_stream *second;
};

static relora_adam *adam_of(relora_linear *l)
{
    relora_adam_options o = adam_options();
    o.flags |= RELORA_ADAM_SKIP_NOT_FINITE;
    o.max_norm = 1;
    relora_adam *adam = new_adam(&o);
    OK(relora_adam_add_linear(adam, "l", l));
    return adam;
}

static void release_tensor(void *p) { relora_tensor_release(p); }

/* Columns of a wider matrix. */
static relora_tensor *new_block(int64_t rows, int64_t cols, int64_t ld)
{
    relora_tensor *t;
    OK(relora_tensor_borrow(&t, env.dev, RELORA_F32, 2, (int64_t[]){rows, cols}, (int64_t[]){ld, 1},
                            new_cuda_floats(rows * ld), NULL, NULL));
    defer(release_tensor, t);
    return t;
}

static struct bench new_bench(void)
{
    struct bench b;
    struct rnd r = rnd_seed(1);
    relora_linear_options o = layer_options(RELORA_MODE_LORA, IN, OUT, RANK);
    o.dtype = RELORA_BF16;
    o.flags = RELORA_LINEAR_BIAS;
    o.dropout = 0.1;
    for (int i = 0; i < 2; i++) b.l[i] = new_filled_linear(&o, &r);
    for (int i = 0; i < ROUNDS; i++) b.flat[i] = adam_of(new_filled_linear(&o, &r));
    o.mode = RELORA_MODE_FULL;
    for (int i = 0; i < ROUNDS; i++) b.full[i] = new_filled_linear(&o, &r);
    b.adam = adam_of(b.l[0]);
    b.x = new_matrix(RELORA_BF16, ROWS, IN);
    b.dx = new_matrix(RELORA_BF16, ROWS, IN);
    b.dw = new_matrix(RELORA_F32, OUT, IN);
    for (int i = 0; i < 2; i++) {
        b.y[i] = new_matrix(RELORA_BF16, ROWS, OUT);
        b.dy[i] = new_matrix(RELORA_BF16, ROWS, OUT);
        put_normal(b.dy[i], &r, 1);
    }
    put_normal(b.x, &r, 1);
    b.lr = new_vector(RELORA_F32, 1);
    b.other = new_matrix(RELORA_F32, ROWS, IN);
    b.many = new_vector(RELORA_F32, MANY);
    b.block = new_block(WIDE, WIDE / 2, WIDE);
    b.second = new_stream();
    return b;
}

static void layers(struct bench *b, uint64_t call)
{
    relora_tensor *dy[] = {b->dy[0], b->dy[1]};
    uint32_t flags = RELORA_TRAIN | RELORA_OVERWRITE;
    QUEUES(relora_linear_forward(b->l[0], env.st, b->x, b->y[0], call, RELORA_TRAIN));
    QUEUES(relora_linear_backward(b->l[0], env.st, b->x, b->dy[0], b->dx, call, flags));
    QUEUES(relora_linear_forward(b->l[0], env.st, b->x, b->y[0], call, 0)); /* a fold, perhaps */
    QUEUES(relora_linear_forward_shared(b->l, 2, env.st, b->x, b->y, call, RELORA_TRAIN));
    QUEUES(relora_linear_backward_shared(b->l, 2, env.st, b->x, dy, b->dx, call, flags));
    QUEUES(relora_linear_weight_grad(b->l[0], env.st, b->x, b->dy[0], b->dw, 0));
    QUEUES(relora_linear_zero_grad(b->l[1], env.st));
    QUEUES(relora_linear_reset(b->l[1], env.st, call));
    QUEUES(relora_linear_set_mode(b->full[call], env.st, RELORA_MODE_LORA));
}

static void optimizers(struct bench *b, int round)
{
    static const relora_reset_mode modes[] = {RELORA_RESET_ZERO, RELORA_RESET_RANDOM, RELORA_RESET_MAGNITUDE};
    QUEUES(relora_adam_step(b->adam, env.st, 0.01, 1, NULL));
    QUEUES(relora_adam_step_lr(b->adam, env.st, b->lr, 1, NULL));
    for (int i = 0; i < 3; i++) {
        relora_reset_options o = reset_options(modes[i], 0.9, RELORA_RESET_STEP_COUNT);
        QUEUES(relora_adam_reset(b->adam, env.st, NULL, 0, &o, NULL));
    }
    relora_reset_options o = reset_options(RELORA_RESET_MAGNITUDE, 0.9, RELORA_RESET_QUANTILE);
    QUEUES(relora_adam_reset(b->adam, env.st, NULL, 0, &o, NULL));
    QUEUES(relora_adam_set_steps(b->adam, env.st, 0, 3));
    QUEUES(relora_adam_refresh(b->adam, env.st));
    QUEUES(relora_adam_sum(b->adam, env.st, b->lr));
    QUEUES(relora_adam_zero_grad(b->adam, env.st));
    QUEUES(relora_adam_flatten_grads(b->flat[round], env.st));
}

static void tensors(struct bench *b)
{
    float *values = scratch(MANY * sizeof *values), rate = 0.5f;
    for (int i = 0; i < MANY; i++) values[i] = (float)(i % 1000);
    QUEUES(relora_tensor_write(b->other, env.st, values, ROWS * IN * sizeof *values));
    QUEUES(relora_tensor_write(b->lr, env.st, &rate, sizeof rate));
    QUEUES(relora_tensor_write(b->many, env.st, values, MANY * sizeof *values));
    QUEUES(relora_tensor_write(b->block, env.st, values, bytes_of(b->block)));
    rate = 99; /* "source may be reused on return" */
    for (int i = 0; i < MANY; i++) values[i] = -1;
    QUEUES(relora_tensor_fill(b->other, env.st, 2));
    QUEUES(relora_tensor_copy(b->dx, b->other, env.st));
    QUEUES(relora_stream_wait(b->second, env.st));
    QUEUES(relora_tensor_copy(b->other, b->dx, b->second));
    QUEUES(relora_stream_wait(env.st, b->second));
}

/* Making and releasing has nothing to do with a stream. */
static void objects(relora_stream *st)
{
    relora_linear_options o = layer_options(RELORA_MODE_LORA, IN, OUT, RANK);
    relora_linear *l;
    relora_adam *adam;
    relora_tensor *t;
    QUEUES(relora_tensor_create(&t, env.dev, RELORA_F32, 2, (int64_t[]){OUT, IN}));
    QUEUES(relora_linear_create(&l, env.dev, &o));
    QUEUES(relora_linear_set_weight(l, t, NULL));
    QUEUES(relora_adam_create(&adam, env.dev, NULL));
    QUEUES(relora_adam_add_linear(adam, "l", l));
    QUEUES(relora_tensor_fill(t, st, 1));
    relora_tensor_release(t);
    relora_linear_release(l);
    relora_adam_release(adam);
    relora_stream_release(st);
    ck_assert_msg(gate_held(), "a release waited for the stream");
}

static void everything(struct bench *b, int round, relora_stream *last)
{
    layers(b, (uint64_t)round);
    optimizers(b, round);
    tensors(b);
    objects(last);
}

static void check_written(const struct bench *b)
{
    ck_assert_double_eq(*get(b->lr), 0.5);
    ck_assert_double_eq(largest(get(b->other), ROWS * IN), 2);
    const double *many = get(b->many), *block = get(b->block);
    for (int i = 0; i < MANY; i++) ck_assert_double_eq(many[i], i % 1000);
    for (int i = 0; i < WIDE * WIDE / 2; i++) ck_assert_double_eq(block[i], i % 1000);
}

/* Once without a gate, when cuBLASLt loads kernels of its own and workspaces grow; that may wait. Then behind one, with
 * all of it at hand. A device may read the host's memory by itself, or have it read by the driver: in either case what
 * is written has been read when the call returns. CUDA may wait where a stream is made, so the last ones are there. */
START_TEST(test_nothing_waits)
{
#ifdef EMULATED_CUDA
    emulated_cuda_pageable(_i);
#endif
    struct bench b = new_bench();
    relora_stream *last[ROUNDS];
    for (int i = 0; i < ROUNDS; i++) OK(relora_stream_create(&last[i], env.dev));
    gate_none();
    everything(&b, 0, last[0]);
    OK(relora_stream_synchronize(env.st));
    gate_close(native_of(env.st));
    everything(&b, 1, last[1]);
    gate_open();
    OK(relora_stream_synchronize(env.st));
    check_written(&b);
#ifdef EMULATED_CUDA
    emulated_cuda_pageable(0);
#endif
}
END_TEST

/* More than is written at a time without a wait: the same, but for the wait. */
START_TEST(test_large_writes)
{
    enum { N = (5 << 20) / 4, TIMES = 3 };
    float *values = scratch(N * sizeof *values);
    relora_tensor *t[TIMES];
    for (int k = 0; k < TIMES; k++) {
        t[k] = new_vector(RELORA_F32, _i ? N : N / 3);
        for (int i = 0; i < N; i++) values[i] = (float)(i + k);
        OK(relora_tensor_write(t[k], env.st, values, bytes_of(t[k])));
    }
    for (int k = 0; k < TIMES; k++) {
        const double *got = get(t[k]);
        for (int i = 0; i < (_i ? N : N / 3); i++) ck_assert_double_eq(got[i], (double)(float)(i + k));
    }
}
END_TEST

/* The sum of a and b in a held stream; then both are released, and others take as much memory and write into it. */
START_TEST(test_release_while_queued)
{
    enum { N = 1 << 16, OTHERS = 8 };
    relora_tensor *source, *sum = new_vector(RELORA_F32, N), *others[OTHERS];
    relora_stream *second = new_stream();
    OK(relora_tensor_create(&source, env.dev, RELORA_F32, 1, (int64_t[]){N}));
    put_all(source, 5);
    put_all(sum, 0);
    OK(relora_stream_synchronize(env.st));
    gate_close(native_of(env.st));
    QUEUES(relora_tensor_copy(sum, source, env.st));
    relora_tensor_release(source);
    ck_assert(gate_held());
    for (int i = 0; i < OTHERS; i++) {
        others[i] = new_vector(RELORA_F32, N);
        QUEUES(relora_tensor_fill(others[i], second, 9));
    }
#ifndef EMULATED_CUDA
    /* an emulated device that waits for one stream runs whatever it likes */
    OK(relora_stream_synchronize(second));
    ck_assert(gate_held());
#endif
    gate_open();
    double *values = get(sum);
    for (int i = 0; i < N; i++) ck_assert_double_eq(values[i], 5);
}
END_TEST

/* A released stream's work still happens. */
START_TEST(test_release_of_a_stream)
{
    relora_stream *first;
    relora_tensor *t = new_vector(RELORA_F32, 4096);
    OK(relora_stream_create(&first, env.dev));
    put_all(t, 1);
    OK(relora_stream_synchronize(env.st));
    gate_close(native_of(first));
    QUEUES(relora_tensor_fill(t, first, 6));
    OK(relora_stream_wait(env.st, first));
    relora_stream_release(first);
    ck_assert(gate_held());
    gate_open();
    ck_assert_double_eq(get(t)[4095], 6);
}
END_TEST

struct lent {
    int called, held;
};

static void give_back(void *user, void *data)
{
    struct lent *lent = user;
    (void)data;
    lent->called++;
    lent->held = gate_held();
}

/* Lent memory is given back at once: its host knows what is queued on it. */
START_TEST(test_release_of_lent_memory)
{
    enum { N = 4096 };
    struct lent lent = {0, 0};
    relora_tensor *t, *copy = new_vector(RELORA_F32, N);
    OK(relora_tensor_borrow(&t, env.dev, RELORA_F32, 1, (int64_t[]){N}, NULL, new_cuda_floats(N), give_back,
                            &lent));
    put_all(t, 4);
    OK(relora_stream_synchronize(env.st));
    gate_close(native_of(env.st));
    QUEUES(relora_tensor_copy(copy, t, env.st));
    relora_tensor_release(t);
    ck_assert_int_eq(lent.called, 1);
    ck_assert(lent.held && gate_held());
    gate_open();
    ck_assert_double_eq(get(copy)[N - 1], 4);
}
END_TEST

Suite *queueing(void)
{
    Suite *s = suite_create("queueing");
    TCase *tc = env_case(s, "queueing", 60);
    tcase_add_loop_test(tc, test_nothing_waits, 0, 2);
    tcase_add_loop_test(tc, test_large_writes, 0, 2);
    tcase_add_test(tc, test_release_while_queued);
    tcase_add_test(tc, test_release_of_a_stream);
    tcase_add_test(tc, test_release_of_lent_memory);
    return s;
}
