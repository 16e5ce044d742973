/* Finalizers run when they like, on threads of their own: releases in any order, from threads that made
 * nothing, while others work in the same context. The fixture has the bytes counted. */
#include <time.h>
#include "threads/work.h"

enum { MAKERS = 3, RELEASERS = 2, KITS = 6, HANDLES = 8, BAG = MAKERS * KITS * HANDLES };

struct handle {
    void (*release)(void *);
    void *object;
};

static struct bag { /* handles nobody needs any more */
    pthread_mutex_t lock;
    struct handle handles[BAG];
    int count, makers; /* makers still at work */
    struct rnd rnd;
} bag;

static void release_stream(void *p) { relora_stream_release(p); }
static void release_tensor(void *p) { relora_tensor_release(p); }
static void release_linear(void *p) { relora_linear_release(p); }
static void release_adam(void *p) { relora_adam_release(p); }
static void release_cycle(void *p) { relora_cycle_release(p); }

static void throw_away(const struct kit *k)
{
    const struct handle handles[HANDLES] = {
        {release_stream, k->st}, {release_linear, k->l}, {release_adam, k->adam}, {release_cycle, k->cycle},
        {release_tensor, k->w},  {release_tensor, k->x}, {release_tensor, k->y},  {release_tensor, k->dy},
    };
    pthread_mutex_lock(&bag.lock);
    for (int i = 0; i < HANDLES; i++) bag.handles[bag.count++] = handles[i];
    pthread_mutex_unlock(&bag.lock);
}

static void *make_and_throw_away(void *user)
{
    struct job *job = user;
    for (int i = 0; i < KITS && job->failed == RELORA_OK; i++) {
        struct kit k;
        memset(&k, 0, sizeof k);
        job->failed = make(job, &k);
        if (job->failed == RELORA_OK) job->failed = train(job, &k);
        throw_away(&k);
    }
    pthread_mutex_lock(&bag.lock);
    bag.makers--;
    pthread_mutex_unlock(&bag.lock);
    return NULL;
}

/* Any one of the bag; an empty handle if there is none. */
static struct handle draw(int *done)
{
    struct handle h = {0};
    pthread_mutex_lock(&bag.lock);
    *done = !bag.makers && !bag.count;
    if (bag.count) {
        int i = (int)(rnd_bits(&bag.rnd) % (uint64_t)bag.count);
        h = bag.handles[i];
        bag.handles[i] = bag.handles[--bag.count];
    }
    pthread_mutex_unlock(&bag.lock);
    return h;
}

static void *release_whatever(void *user)
{
    const struct timespec soon = {0, 1000000};
    (void)user;
    for (int done = 0; !done;) {
        struct handle h = draw(&done);
        if (h.release) h.release(h.object);
        else nanosleep(&soon, NULL);
    }
    return NULL;
}

START_TEST(test_release_beside_work)
{
    struct job *jobs = scratch(WORKERS * sizeof *jobs);
    pthread_t threads[MAKERS + RELEASERS];
    int64_t before = env.mem.bytes;
    bag = (struct bag){.makers = MAKERS, .rnd = rnd_seed(1)};
    pthread_mutex_init(&bag.lock, NULL);
    for (int i = 0; i < WORKERS; i++) {
        jobs[i].ctx = env.ctx;
        jobs[i].layer = (uint64_t)i;
    }
    for (int i = 0; i < MAKERS + RELEASERS; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL,
                                        i < MAKERS ? make_and_throw_away : release_whatever,
                                        i < MAKERS ? &jobs[i] : NULL),
                         0);
    for (int i = 0; i < MAKERS + RELEASERS; i++) pthread_join(threads[i], NULL);
    ck_assert_int_eq(env.mem.bytes, before);
    work(&jobs[MAKERS]); /* so that there are as many as compare() looks at */
    compare(jobs);
    pthread_mutex_destroy(&bag.lock);
}
END_TEST

/* ---- the context itself ---- */

struct part {
    struct job job;
    struct kit kit;
};

static void *train_and_drop(void *user)
{
    struct part *p = user;
    p->job.failed = train(&p->job, &p->kit);
    drop(&p->kit);
    return NULL;
}

/* The host lets go of the context while its objects are at work; who releases the last of them frees it. */
START_TEST(test_context_goes_first)
{
    struct part *parts = scratch(WORKERS * sizeof *parts);
    struct job *jobs = scratch(WORKERS * sizeof *jobs);
    pthread_t threads[WORKERS];
    relora_context_options o;
    relora_context *ctx;
    struct track mem;
    track_init(&mem);
    OK(relora_context_options_init(&o, sizeof o));
    track_install(&mem, &o);
    OK(relora_context_create(&ctx, &o));
    for (int i = 0; i < WORKERS; i++) {
        parts[i].job = (struct job){.ctx = ctx, .layer = (uint64_t)i};
        ck_assert_int_eq(make(&parts[i].job, &parts[i].kit), RELORA_OK);
    }
    for (int i = 0; i < WORKERS; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, train_and_drop, &parts[i]), 0);
    relora_context_release(ctx);
    for (int i = 0; i < WORKERS; i++) pthread_join(threads[i], NULL);
    ck_assert_int_eq(mem.bytes, 0);
    ck_assert_int_eq(mem.mistakes, 0);
    for (int i = 0; i < WORKERS; i++) {
        jobs[i] = parts[i].job;
        jobs[i].ctx = env.ctx; /* of the numbers alone */
    }
    compare(jobs);
}
END_TEST

Suite *threads_release(void)
{
    Suite *s = suite_create("threads: release");
    TCase *tc = env_case(s, "release", 60);
    tcase_add_test(tc, test_release_beside_work);
    tcase_add_test(tc, test_context_goes_first);
    return s;
}
