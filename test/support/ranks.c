#include "support/ranks.h"
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct ranks {
    int32_t size, arrived;
    int64_t turn; /* of the barrier */
    int left;     /* 1 + the rank that has left */
    pthread_mutex_t lock;
    pthread_cond_t changed;
    const void *data[RANKS_MOST]; /* of the exchange under way */
    int64_t count[RANKS_MOST];
    struct rank rank[RANKS_MOST];
};

static struct ranks *last;

void rank_ok(const struct rank *rank, relora_status status, const char *call, const char *file, int line)
{
    char text[1024] = "";
    if (status == RELORA_OK) return;
    relora_context_error(rank->ctx, text, sizeof text, NULL);
    fprintf(stderr, "%s:%d: rank %d: %s is %s: %s\n", file, line, rank->comm.rank, call,
            relora_status_name(status), text);
    abort();
}

void rank_true(const struct rank *rank, int condition, const char *what, const char *file, int line)
{
    if (condition) return;
    fprintf(stderr, "%s:%d: rank %d: not so: %s\n", file, line, rank->comm.rank, what);
    abort();
}

/* ---- exchanges ---- */

/* Wait until all ranks are here; -1 if one never will be. */
static int meet(struct rank *rank)
{
    struct ranks *all = rank->all;
    pthread_mutex_lock(&all->lock);
    int64_t turn = all->turn;
    if (++all->arrived == all->size) {
        all->arrived = 0;
        all->turn++;
        pthread_cond_broadcast(&all->changed);
    }
    while (all->turn == turn && !all->left) pthread_cond_wait(&all->changed, &all->lock);
    int here = all->turn != turn;
    if (!here) snprintf(rank->error, sizeof rank->error, "rank %d has left", all->left - 1);
    pthread_mutex_unlock(&all->lock);
    return here ? 0 : -1;
}

static void leave(struct rank *rank)
{
    struct ranks *all = rank->all;
    pthread_mutex_lock(&all->lock);
    all->left = 1 + rank->comm.rank;
    pthread_cond_broadcast(&all->changed);
    pthread_mutex_unlock(&all->lock);
}

static size_t item_bytes(relora_comm_type type) { return type == RELORA_COMM_F32 ? 4 : 8; }

/* Element i summed in the order of the ranks. */
static void sum_element(const struct ranks *all, void *to, int64_t at, int64_t i, relora_comm_type type)
{
    float f32 = 0;
    double f64 = 0;
    uint64_t whole = 0;
    for (int32_t r = 0; r < all->size; r++) {
        if (type == RELORA_COMM_F32)
            f32 = r ? f32 + ((const float *)all->data[r])[i] : ((const float *)all->data[r])[i];
        else if (type == RELORA_COMM_F64) f64 += ((const double *)all->data[r])[i];
        else whole += ((const uint64_t *)all->data[r])[i];
    }
    if (type == RELORA_COMM_F32) ((float *)to)[at] = f32;
    else if (type == RELORA_COMM_F64) ((double *)to)[at] = f64;
    else ((uint64_t *)to)[at] = whole;
}

/* What every exchange begins with: all have laid open their data, and agree about its size. */
static relora_status begin(struct rank *rank, void *data, int64_t count)
{
    struct ranks *all = rank->all;
    if (++rank->exchanges == rank->fails_at) {
        snprintf(rank->error, sizeof rank->error, "as planned");
        leave(rank);
        return RELORA_E_IO;
    }
    rank_true(rank, (uintptr_t)data % 64 == 0 && count > 0, "the data is aligned, and there is some",
              __FILE__, __LINE__);
    all->data[rank->comm.rank] = data;
    all->count[rank->comm.rank] = count;
    if (meet(rank)) return RELORA_E_IO;
    for (int32_t r = 0; r < all->size; r++)
        rank_true(rank, all->count[r] == count, "all ranks send as much", __FILE__, __LINE__);
    return RELORA_OK;
}

/* All have read before anybody writes, and nobody goes on before. */
static relora_status end(struct rank *rank, void *to, void *from, size_t bytes)
{
    int there = meet(rank) == 0;
    if (there) memcpy(to, from, bytes);
    free(from);
    return there && meet(rank) == 0 ? RELORA_OK : RELORA_E_IO;
}

static relora_status sum_of(struct rank *rank, void *data, int64_t first, int64_t count, int64_t whole,
                            relora_comm_type type)
{
    size_t item = item_bytes(type);
    relora_status status = begin(rank, data, whole);
    if (status < 0) return status;
    void *sums = malloc((size_t)count * item);
    for (int64_t i = 0; i < count; i++) sum_element(rank->all, sums, i, first + i, type);
    return end(rank, (char *)data + (size_t)first * item, sums, (size_t)count * item);
}

static relora_status sum(void *user, void *native, void *data, int64_t count, relora_comm_type type)
{
    struct rank *rank = user;
    (void)native;
    rank->sent_bytes +=
        2 * (uint64_t)count * item_bytes(type) * (uint64_t)(rank->comm.size - 1) / (uint64_t)rank->comm.size;
    return sum_of(rank, data, 0, count, count, type);
}

static relora_status reduce_scatter(void *user, void *native, void *data, int64_t count,
                                    relora_comm_type type)
{
    struct rank *rank = user;
    (void)native;
    rank->sent_bytes += (uint64_t)count * item_bytes(type) * (uint64_t)(rank->comm.size - 1);
    relora_status status = sum_of(rank, data, rank->comm.rank * count, count, rank->comm.size * count, type);
    for (int64_t i = 0; status >= 0 && i < rank->comm.size * count * (int64_t)item_bytes(type); i++)
        if (i / ((int64_t)item_bytes(type) * count) != rank->comm.rank) ((unsigned char *)data)[i] = 0xA5;
    return status;
}

static relora_status all_gather(void *user, void *native, void *data, int64_t count, relora_comm_type type)
{
    struct rank *rank = user;
    size_t part = (size_t)count * item_bytes(type), all = part * (size_t)rank->comm.size;
    (void)native;
    rank->sent_bytes += part * (uint64_t)(rank->comm.size - 1);
    relora_status status = begin(rank, data, count);
    if (status < 0) return status;
    char *copy = malloc(all);
    for (int32_t r = 0; r < rank->comm.size; r++)
        memcpy(copy + (size_t)r * part, (const char *)rank->all->data[r] + (size_t)r * part, part);
    return end(rank, data, copy, all);
}

static const char *error_of(void *user) { return ((struct rank *)user)->error; }

/* ---- threads ---- */

static void open_rank(struct rank *rank)
{
    relora_context_options options;
    relora_context_options_init(&options, sizeof options);
    track_init(&rank->mem);
    track_install(&rank->mem, &options);
    options.module_dir = rank->module_dir;
    if (relora_context_create(&rank->ctx, &options) < 0) abort();
    rank->dev = relora_device_get(rank->ctx, rank->module_dir ? RELORA_DEVICE_CUDA : RELORA_DEVICE_CPU, 0);
    RANK_OK(rank, relora_stream_create(&rank->st, rank->dev));
}

static void close_rank(struct rank *rank)
{
    relora_stream_release(rank->st);
    relora_context_release(rank->ctx);
    rank->bad_memory = rank->mem.bytes != 0 || rank->mem.blocks != 0 || rank->mem.mistakes != 0;
}

struct job {
    struct rank *rank;
    rank_fn body;
};

static void *work(void *argument)
{
    struct job *job = argument;
    open_rank(job->rank);
    job->body(job->rank);
    close_rank(job->rank);
    return NULL;
}

static void make_rank(struct ranks *all, int32_t r, void *user)
{
    struct rank *rank = &all->rank[r];
    *rank = (struct rank){.user = user, .all = all};
    relora_comm_init(&rank->comm, sizeof rank->comm);
    rank->comm.rank = r;
    rank->comm.size = all->size;
    rank->comm.sum = sum;
    rank->comm.reduce_scatter = reduce_scatter;
    rank->comm.all_gather = all_gather;
    rank->comm.error = error_of;
    rank->comm.user = rank;
}

struct rank *ranks_run(int32_t size, rank_fn prepare, rank_fn body, void *user)
{
    pthread_t threads[RANKS_MOST];
    struct job jobs[RANKS_MOST];
    free(last);
    last = calloc(1, sizeof *last);
    last->size = size;
    pthread_mutex_init(&last->lock, NULL);
    pthread_cond_init(&last->changed, NULL);
    for (int32_t r = 0; r < size; r++) {
        make_rank(last, r, user);
        if (prepare) prepare(&last->rank[r]);
        jobs[r] = (struct job){&last->rank[r], body};
    }
    for (int32_t r = 0; r < size; r++)
        if (pthread_create(&threads[r], NULL, work, &jobs[r])) abort();
    for (int32_t r = 0; r < size; r++) pthread_join(threads[r], NULL);
    return last->rank;
}

struct rank *rank_run(const relora_comm *comm, rank_fn body, void *user)
{
    static struct rank rank;
    rank = (struct rank){.comm = *comm, .user = user};
    struct job job = {&rank, body};
    work(&job);
    return &rank;
}
