/* fork: the child may use the library with as many threads as it likes, also after a parallel region, whose
 * threads it does not have. */
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>
#include "threads/work.h"

enum { SIZE = 200, PATIENCE = 40 /* seconds; a child that hangs is ended */ };

struct numbers {
    relora_status status;
    uint32_t bits[SIZE];
};

/* Enough work that two threads share it: y = x W^T + s B A, and a step. */
static relora_status compute(relora_context *ctx, struct numbers *n)
{
    relora_device *dev = relora_device_get(ctx, RELORA_DEVICE_CPU, 0);
    const int64_t shape[] = {SIZE, SIZE};
    relora_stream *st = NULL;
    relora_tensor *w = NULL, *x = NULL, *y = NULL;
    relora_linear *l = NULL;
    relora_adam *a = NULL;
    relora_linear_options o;
    static float values[SIZE * SIZE];
    struct rnd r = rnd_seed(5);
    for (int i = 0; i < SIZE * SIZE; i++) values[i] = (float)rnd_normal(&r);
    TRY(relora_linear_options_init(&o, sizeof o));
    o.in_features = o.out_features = SIZE;
    o.rank = 16;
    TRY(relora_stream_create(&st, dev));
    TRY(relora_tensor_create(&w, dev, RELORA_F32, 2, shape));
    TRY(relora_tensor_create(&x, dev, RELORA_F32, 2, shape));
    TRY(relora_tensor_create(&y, dev, RELORA_F32, 2, shape));
    TRY(relora_tensor_write(w, st, values, sizeof values));
    TRY(relora_tensor_write(x, st, values, sizeof values));
    TRY(relora_linear_create(&l, dev, &o));
    TRY(relora_linear_set_weight(l, w, NULL));
    TRY(relora_adam_create(&a, dev, NULL));
    TRY(relora_adam_add_linear(a, "l", l));
    for (uint64_t step = 0; step < 3; step++) {
        TRY(relora_linear_forward(l, st, x, y, step, RELORA_TRAIN));
        TRY(relora_linear_backward(l, st, x, y, NULL, step, RELORA_TRAIN | RELORA_OVERWRITE));
        TRY(relora_adam_step(a, st, 0.01, 1, NULL));
    }
    TRY(relora_tensor_read(y, st, values, sizeof values));
    memcpy(n->bits, values + SIZE * (SIZE - 1), sizeof n->bits);
    relora_adam_release(a);
    relora_linear_release(l);
    relora_tensor_release(y);
    relora_tensor_release(x);
    relora_tensor_release(w);
    relora_stream_release(st);
    return RELORA_OK;
}

static relora_context *context(int32_t threads)
{
    relora_context_options o;
    relora_context *ctx = NULL;
    relora_context_options_init(&o, sizeof o);
    o.threads = threads;
    relora_context_create(&ctx, &o);
    return ctx;
}

/* What a child computes in `ctx`, or in a context of its own with two threads if that is NULL. */
static struct numbers in_child(relora_context *ctx)
{
    struct numbers n = {.status = RELORA_E_INTERNAL};
    int ends[2], status;
    ck_assert_int_eq(pipe(ends), 0);
    pid_t child = fork();
    ck_assert_int_ge(child, 0);
    if (!child) {
        alarm(PATIENCE);
        relora_context *own = ctx ? ctx : context(2);
        n.status = compute(own, &n);
        relora_context_release(own);
        _exit(write(ends[1], &n, sizeof n) != (ssize_t)sizeof n);
    }
    close(ends[1]);
    ssize_t got = read(ends[0], &n, sizeof n); /* less than a pipe holds at once */
    close(ends[0]);
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 0, "the child ended with status 0x%x", status);
    ck_assert_int_eq(got, sizeof n);
    ck_assert_int_eq(n.status, RELORA_OK);
    return n;
}

START_TEST(test_fork)
{
    struct numbers never = in_child(NULL), before, after, here;
    /* the parent has only made a context */
    relora_context *ctx = context(2);
    before = in_child(ctx);
    SAME_BYTES(before.bits, never.bits, sizeof never.bits);
    relora_context_release(ctx);
    /* the parent has computed, with one thread */
    ctx = context(1);
    ck_assert_int_eq(compute(ctx, &here), RELORA_OK);
    after = in_child(NULL);
    SAME_BYTES(after.bits, never.bits, sizeof never.bits);
    struct numbers one = in_child(ctx);
    SAME_BYTES(one.bits, here.bits, sizeof here.bits);
    relora_context_release(ctx);
    /* and none of this is in the parent's way */
    ctx = context(2);
    ck_assert_int_eq(compute(ctx, &here), RELORA_OK);
    SAME_BYTES(here.bits, never.bits, sizeof never.bits);
    relora_context_release(ctx);
}
END_TEST

/* The parent has computed with two threads, which the child does not have. */
static void fork_after(relora_context *ctx, const struct numbers *here)
{
    struct numbers inherited = in_child(ctx), own = in_child(NULL);
    SAME_BYTES(inherited.bits, here->bits, sizeof here->bits);
    SAME_BYTES(own.bits, here->bits, sizeof here->bits);
}

START_TEST(test_fork_after_threads)
{
    struct numbers here, again, one, alone;
    relora_context *ctx = context(2), *single = context(1);
    ck_assert_int_eq(compute(ctx, &here), RELORA_OK);
    fork_after(ctx, &here);
    ck_assert_int_eq(compute(single, &alone), RELORA_OK);
    one = in_child(single);
    SAME_BYTES(one.bits, alone.bits, sizeof alone.bits);
    ck_assert_int_eq(compute(ctx, &again), RELORA_OK); /* the parent goes on */
    SAME_BYTES(again.bits, here.bits, sizeof here.bits);
    relora_context_release(ctx);
    relora_context_release(single);
}
END_TEST

static void *fork_in_thread(void *result)
{
    struct numbers *here = result;
    relora_context *ctx = context(2);
    here->status = compute(ctx, here);
    fork_after(ctx, here);
    relora_context_release(ctx);
    return NULL;
}

#ifndef __SANITIZE_THREAD__ /* which ends a child that starts threads, if there were any beside the one that forks */
START_TEST(test_fork_in_thread)
{
    struct numbers here;
    pthread_t thread;
    ck_assert_int_eq(pthread_create(&thread, NULL, fork_in_thread, &here), 0);
    pthread_join(thread, NULL);
    ck_assert_int_eq(here.status, RELORA_OK);
    fork_after(NULL, &here);
}
END_TEST
#endif

/* A child that has computed forks itself. */
START_TEST(test_fork_twice)
{
    struct numbers here;
    int status;
    relora_context *ctx = context(2);
    ck_assert_int_eq(compute(ctx, &here), RELORA_OK);
    pid_t child = fork();
    ck_assert_int_ge(child, 0);
    if (!child) {
        struct numbers mine;
        alarm(PATIENCE);
        relora_status failed = compute(ctx, &mine);
        pid_t grandchild = failed ? -1 : fork();
        if (!grandchild) failed = compute(ctx, &mine);
        else if (grandchild > 0) waitpid(grandchild, &status, 0);
        _exit(failed || grandchild < 0 || (grandchild > 0 && status) ||
              memcmp(mine.bits, here.bits, sizeof here.bits));
    }
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert_int_eq(status, 0);
    relora_context_release(ctx);
}
END_TEST

Suite *threads_fork(void)
{
    Suite *s = suite_create("threads: fork");
    TCase *tc = tcase_create("fork");
    tcase_set_timeout(tc, 200);
    tcase_add_test(tc, test_fork);
    tcase_add_test(tc, test_fork_after_threads);
#ifndef __SANITIZE_THREAD__
    tcase_add_test(tc, test_fork_in_thread);
#endif
    tcase_add_test(tc, test_fork_twice);
    suite_add_tcase(s, tc);
    return s;
}
