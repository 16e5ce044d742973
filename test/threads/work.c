#include "threads/work.h"

relora_status make(struct job *job, struct kit *k)
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
    k->w = job->shared;
    if (k->w) relora_tensor_retain(k->w);
    else TRY(relora_tensor_create(&k->w, dev, RELORA_F32, 2, (int64_t[]){OUT, IN}));
    TRY(relora_tensor_create(&k->x, dev, RELORA_F32, 2, (int64_t[]){ROWS, IN}));
    TRY(relora_tensor_create(&k->y, dev, RELORA_F32, 2, (int64_t[]){ROWS, OUT}));
    TRY(relora_tensor_create(&k->dy, dev, RELORA_F32, 2, (int64_t[]){ROWS, OUT}));
    TRY(relora_linear_set_weight(k->l, k->w, NULL));
    TRY(relora_adam_create(&k->adam, dev, NULL));
    TRY(relora_adam_add_linear(k->adam, "l", k->l));
    if (job->shared) return RELORA_OK;
    TRY(relora_cycle_options_init(&yo, sizeof yo));
    yo.merge_every = 4;
    TRY(relora_cycle_create(&k->cycle, ctx, &yo, k->adam, NULL));
    return relora_cycle_add(k->cycle, k->l);
}

relora_status fill(relora_tensor *t, relora_stream *st, uint64_t seed)
{
    static const int64_t most = ROWS * IN > OUT * IN ? ROWS * IN : OUT * IN;
    struct rnd r = rnd_seed(seed);
    float values[ROWS * IN > OUT * IN ? ROWS * IN : OUT * IN];
    int64_t n = relora_tensor_count(t);
    if (n > most) return RELORA_E_INTERNAL;
    for (int64_t i = 0; i < n; i++) values[i] = (float)rnd_normal(&r);
    return relora_tensor_write(t, st, values, (size_t)n * 4);
}

relora_status train(struct job *job, struct kit *k)
{
    if (!job->shared) TRY(fill(k->w, k->st, 1));
    for (int64_t step = 0; step < STEPS; step++) {
        TRY(fill(k->x, k->st, 100 + (uint64_t)step));
        TRY(fill(k->dy, k->st, 200 + (uint64_t)step));
        TRY(relora_linear_forward(k->l, k->st, k->x, k->y, (uint64_t)step, RELORA_TRAIN));
        TRY(relora_linear_backward(k->l, k->st, k->x, k->dy, NULL, (uint64_t)step,
                                   RELORA_TRAIN | RELORA_OVERWRITE));
        TRY(relora_adam_step(k->adam, k->st, 0.01, 1, NULL));
        if (k->cycle) TRY(relora_cycle_advance(k->cycle, k->st, step + 1, NULL, NULL, NULL));
    }
    TRY(relora_tensor_read(k->w, k->st, job->weight, sizeof job->weight));
    return relora_tensor_read(relora_linear_param(k->l, RELORA_PARAM_B), k->st, job->factor,
                              sizeof job->factor);
}

void drop(struct kit *k)
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

void *work(void *user)
{
    struct job *job = user;
    struct kit k;
    memset(&k, 0, sizeof k);
    job->failed = make(job, &k);
    if (job->failed == RELORA_OK) job->failed = train(job, &k);
    drop(&k);
    return NULL;
}

void together(void *(*run)(void *), void *arguments, size_t size, int n)
{
    pthread_t threads[16];
    ck_assert_int_le(n, 16);
    for (int i = 0; i < n; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, run, (char *)arguments + (size_t)i * size), 0);
    for (int i = 0; i < n; i++) pthread_join(threads[i], NULL);
}

void compare(const struct job *jobs)
{
    for (int i = 0; i < WORKERS; i++) {
        struct job *alone = scratch(sizeof *alone);
        ck_assert_msg(jobs[i].failed == RELORA_OK, "worker %d: %s", i, relora_status_name(jobs[i].failed));
        alone->ctx = jobs[i].ctx;
        alone->shared = jobs[i].shared;
        alone->threads = jobs[i].threads;
        alone->layer = jobs[i].layer;
        work(alone);
        ck_assert_int_eq(alone->failed, RELORA_OK);
        SAME_BYTES(jobs[i].weight, alone->weight, sizeof alone->weight);
        SAME_BYTES(jobs[i].factor, alone->factor, sizeof alone->factor);
        if (i) ck_assert_int_ne(memcmp(jobs[i].factor, jobs[0].factor, sizeof jobs[i].factor), 0);
    }
}
