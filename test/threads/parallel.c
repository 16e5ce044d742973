/* Contexts in several threads at once, objects of one context in several threads at once, one W under layers
 * of several threads. What each gives beside others is what it gives alone, bit for bit. */
#include "threads/work.h"

START_TEST(test_contexts_of_their_own)
{
    struct job *jobs = scratch(WORKERS * sizeof *jobs);
    for (int i = 0; i < WORKERS; i++) {
        jobs[i].threads = i % 2 + 1;
        jobs[i].layer = (uint64_t)i;
    }
    together(work, jobs, sizeof *jobs, WORKERS);
    compare(jobs);
}
END_TEST

/* One context, a stream and objects for each thread: creating, training and releasing side by side. */
START_TEST(test_one_context)
{
    struct job *jobs = scratch(WORKERS * sizeof *jobs);
    for (int i = 0; i < WORKERS; i++) {
        jobs[i].ctx = env.ctx;
        jobs[i].layer = (uint64_t)i;
    }
    together(work, jobs, sizeof *jobs, WORKERS);
    compare(jobs);
}
END_TEST

/* The same with more than one thread inside each call. */
START_TEST(test_one_context_of_two_threads)
{
    struct job *jobs = scratch(WORKERS * sizeof *jobs);
    relora_context_options o;
    relora_context *ctx;
    OK(relora_context_options_init(&o, sizeof o));
    o.threads = 2;
    OK(relora_context_create(&ctx, &o));
    for (int i = 0; i < WORKERS; i++) {
        jobs[i].ctx = ctx;
        jobs[i].layer = (uint64_t)i;
    }
    together(work, jobs, sizeof *jobs, WORKERS);
    compare(jobs);
    relora_context_release(ctx);
}
END_TEST

/* A frozen W is no handle of the calls that use it: layers of several threads may read one at once. */
START_TEST(test_one_weight)
{
    struct job *jobs = scratch(WORKERS * sizeof *jobs);
    relora_tensor *w = new_matrix(RELORA_F32, OUT, IN);
    ck_assert_int_eq(fill(w, env.st, 1), RELORA_OK);
    void *was = snapshot(w);
    for (int i = 0; i < WORKERS; i++) {
        jobs[i].ctx = env.ctx;
        jobs[i].shared = w;
        jobs[i].layer = (uint64_t)i;
    }
    together(work, jobs, sizeof *jobs, WORKERS);
    compare(jobs);
    UNCHANGED(w, was);
    SAME_BYTES(jobs[WORKERS - 1].weight, was, sizeof jobs->weight);
}
END_TEST

Suite *threads_parallel(void)
{
    Suite *s = suite_create("threads: parallel");
    TCase *tc = env_case(s, "parallel", 60);
    tcase_add_test(tc, test_contexts_of_their_own);
    tcase_add_test(tc, test_one_context);
    tcase_add_test(tc, test_one_context_of_two_threads);
    tcase_add_test(tc, test_one_weight);
    return s;
}
