/* Contexts in several threads at once, objects of one context in several threads at once, releases from
 * a thread that made nothing. */
#include "threads/suites.h"

enum { WORKERS = 4, IN = 70, OUT = 50, RANK = 5, ROWS = 40, STEPS = 12 };

struct job {
    relora_context *ctx; /* shared, or NULL for one of its own */
    int32_t threads;     /* of its own context */
    uint64_t layer;
    relora_status failed;
    float weight[OUT * IN], factor[OUT * RANK];
};

struct kit {
    relora_context *own;
    relora_stream *st;
    relora_linear *l;
    relora_adam *adam;
    relora_cycle *cycle;
    relora_tensor *w, *x, *y, *dy;
};

#define TRY(call)                          \
    do {                                   \
        relora_status try_ = (call);       \
        if (try_ != RELORA_OK) return try_; \
    } while (0)

static relora_status make(struct job *job, struct kit *k)
{
    relora_context_options co;
    relora_linear_options lo;
    relora_cycle_options yo;
    TRY(relora_context_options_init(&co, sizeof co));
    co.threads = job->threads;
    if (!job->ctx) TRY(relora_context_create(&k->own, &co));
    relora_context *ctx = job->ctx ? job->ctx : k->own;
    relora_device *dev = relora_device_get(ctx, RELORA_DEVICE_CPU, 0);
    TRY(relora_stream_create(&k->st, dev));
    TRY(relora_linear_options_init(&lo, sizeof lo));
    lo.in_features = IN;
    lo.out_features = OUT;
    lo.rank = RANK;
    lo.layer = job->layer;
    TRY(relora_linear_create(&k->l, dev, &lo));
    TRY(relora_tensor_create(&k->w, dev, RELORA_F32, 2, (int64_t[]){OUT, IN}));
    TRY(relora_tensor_create(&k->x, dev, RELORA_F32, 2, (int64_t[]){ROWS, IN}));
    TRY(relora_tensor_create(&k->y, dev, RELORA_F32, 2, (int64_t[]){ROWS, OUT}));
    TRY(relora_tensor_create(&k->dy, dev, RELORA_F32, 2, (int64_t[]){ROWS, OUT}));
    TRY(relora_linear_set_weight(k->l, k->w, NULL));
    TRY(relora_adam_create(&k->adam, dev, NULL));
    TRY(relora_adam_add_linear(k->adam, "l", k->l));
    TRY(relora_cycle_options_init(&yo, sizeof yo));
    yo.merge_every = 4;
    TRY(relora_cycle_create(&k->cycle, ctx, &yo, k->adam, NULL));
    return relora_cycle_add(k->cycle, k->l);
}

static relora_status fill(relora_tensor *t, relora_stream *st, uint64_t seed)
{
    static const int64_t most = ROWS * IN > OUT * IN ? ROWS * IN : OUT * IN;
    struct rnd r = rnd_seed(seed);
    float values[ROWS * IN > OUT * IN ? ROWS * IN : OUT * IN];
    int64_t n = relora_tensor_count(t);
    if (n > most) return RELORA_E_INTERNAL;
    for (int64_t i = 0; i < n; i++) values[i] = (float)rnd_normal(&r);
    return relora_tensor_write(t, st, values, (size_t)n * 4);
}

static relora_status train(struct job *job, struct kit *k)
{
    TRY(fill(k->w, k->st, 1));
    for (int64_t step = 0; step < STEPS; step++) {
        TRY(fill(k->x, k->st, 100 + (uint64_t)step));
        TRY(fill(k->dy, k->st, 200 + (uint64_t)step));
        TRY(relora_linear_forward(k->l, k->st, k->x, k->y, (uint64_t)step, RELORA_TRAIN));
        TRY(relora_linear_backward(k->l, k->st, k->x, k->dy, NULL, (uint64_t)step, RELORA_TRAIN | RELORA_OVERWRITE));
        TRY(relora_adam_step(k->adam, k->st, 0.01, 1, NULL));
        TRY(relora_cycle_advance(k->cycle, k->st, step + 1, NULL, NULL, NULL));
    }
    TRY(relora_tensor_read(k->w, k->st, job->weight, sizeof job->weight));
    return relora_tensor_read(relora_linear_param(k->l, RELORA_PARAM_B), k->st, job->factor, sizeof job->factor);
}

static void drop(struct kit *k)
{
    relora_context_release(k->own);
    relora_cycle_release(k->cycle);
    relora_linear_release(k->l);
    relora_stream_release(k->st);
    relora_tensor_release(k->x);
    relora_adam_release(k->adam);
    relora_tensor_release(k->w);
    relora_tensor_release(k->y);
    relora_tensor_release(k->dy);
}

static void *work(void *user)
{
    struct job *job = user;
    struct kit k;
    memset(&k, 0, sizeof k);
    job->failed = make(job, &k);
    if (job->failed == RELORA_OK) job->failed = train(job, &k);
    drop(&k);
    return NULL;
}

static void together(struct job *jobs)
{
    pthread_t threads[WORKERS];
    for (int i = 0; i < WORKERS; i++) ck_assert_int_eq(pthread_create(&threads[i], NULL, work, &jobs[i]), 0);
    for (int i = 0; i < WORKERS; i++) pthread_join(threads[i], NULL);
}

/* What each gives beside others is what it gives alone: nothing is shared that should not be. */
static void compare(struct job *jobs, struct job *alone)
{
    for (int i = 0; i < WORKERS; i++) {
        ck_assert_msg(jobs[i].failed == RELORA_OK, "worker %d: %s", i, relora_status_name(jobs[i].failed));
        work(&alone[i]);
        ck_assert_int_eq(alone[i].failed, RELORA_OK);
        SAME_BYTES(jobs[i].weight, alone[i].weight, sizeof alone[i].weight);
        SAME_BYTES(jobs[i].factor, alone[i].factor, sizeof alone[i].factor);
        if (i) ck_assert_int_ne(memcmp(jobs[i].factor, jobs[0].factor, sizeof jobs[i].factor), 0);
    }
}

START_TEST(test_contexts_of_their_own)
{
    struct job *jobs = scratch(WORKERS * sizeof *jobs), *alone = scratch(WORKERS * sizeof *alone);
    for (int i = 0; i < WORKERS; i++) {
        jobs[i].threads = alone[i].threads = i % 2 + 1;
        jobs[i].layer = alone[i].layer = (uint64_t)i;
    }
    together(jobs);
    compare(jobs, alone);
}
END_TEST

/* One context, a stream and objects for each thread: creating, training and releasing side by side. */
START_TEST(test_one_context)
{
    struct job *jobs = scratch(WORKERS * sizeof *jobs), *alone = scratch(WORKERS * sizeof *alone);
    for (int i = 0; i < WORKERS; i++) {
        jobs[i].ctx = alone[i].ctx = env.ctx;
        jobs[i].layer = alone[i].layer = (uint64_t)i;
    }
    together(jobs);
    compare(jobs, alone);
}
END_TEST

static void *release_all(void *user)
{
    drop(user);
    return NULL;
}

/* Finalizers run on threads of their own; the fixture has the bytes counted. */
START_TEST(test_release_from_another_thread)
{
    struct job *job = scratch(sizeof *job);
    struct kit k;
    pthread_t thread;
    memset(&k, 0, sizeof k);
    job->ctx = env.ctx;
    int64_t before = env.mem.bytes;
    ck_assert_int_eq(make(job, &k), RELORA_OK);
    ck_assert_int_eq(train(job, &k), RELORA_OK);
    ck_assert_int_eq(pthread_create(&thread, NULL, release_all, &k), 0);
    pthread_join(thread, NULL);
    ck_assert_int_eq(env.mem.bytes, before);
}
END_TEST

static void *fail_often(void *user)
{
    relora_context *ctx = user;
    relora_device *dev = relora_device_get(ctx, RELORA_DEVICE_CPU, 0);
    intptr_t wrong = 0;
    for (int64_t i = 0; i < 2000; i++) {
        relora_tensor *t;
        char text[512] = "";
        int64_t dim = -1 - i % 7;
        wrong += relora_tensor_create(&t, dev, RELORA_F32, 1, &dim) != RELORA_E_ARGUMENT;
        wrong += relora_context_error(ctx, text, sizeof text, NULL) != RELORA_OK;
        wrong += strncmp(text, "relora_tensor_create: ", 22) != 0; /* whole, whoever wrote it last */
    }
    return (void *)wrong;
}

START_TEST(test_errors_at_once)
{
    pthread_t threads[WORKERS];
    relora_context *quiet; /* without a log: env counts lines without a lock */
    OK(relora_context_create(&quiet, NULL));
    for (int i = 0; i < WORKERS; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, fail_often, quiet), 0);
    for (int i = 0; i < WORKERS; i++) {
        void *wrong;
        pthread_join(threads[i], &wrong);
        ck_assert_ptr_null(wrong);
    }
    relora_context_release(quiet);
}
END_TEST

Suite *threads_parallel(void)
{
    Suite *s = suite_create("threads");
    TCase *tc = env_case(s, "parallel", 60);
    tcase_add_test(tc, test_contexts_of_their_own);
    tcase_add_test(tc, test_one_context);
    tcase_add_test(tc, test_release_from_another_thread);
    tcase_add_test(tc, test_errors_at_once);
    return s;
}
