/* The CPU backend: its queue, which runs everything at once, and its kernels. Loops are split by
 * shape, never by the number of threads, so results do not depend on it. */
#ifndef RELORA_SRC_CPU_H
#define RELORA_SRC_CPU_H

#include <sys/types.h>

#include "backend.h"
#include "convert.h"

struct gemm_cache; /* of cpu_gemm_onednn.c */

struct queue {
    const struct memory *memory;
    int32_t threads;
    int32_t own_threads; /* for loops; and of which process, see cpu_loop.c */
    pid_t process;
    void *scratch; /* grows and stays */
    size_t scratch_bytes;
    struct gemm_cache *gemm_cache;
};

/* Of a queue, or without one: where nothing may depend on how many there are. */
static inline int32_t cpu_threads(const struct queue *q)
{
    return q ? q->threads : 1;
}

/* At least `bytes` bytes that live until the next request; NULL if there are none. */
void *cpu_scratch(struct queue *q, size_t bytes);

enum {
    CPU_BLOCK = 65536,   /* elements that one thread takes at a time */
    CPU_SERIAL = 1 << 15 /* below so many elements a loop is not worth a second thread */
};

/* body(job, i) for every i below n, in any order, on no more than the threads of the queue: on one unless
 * it is `worth_it`. How many there really are is unknown, and nothing may depend on it. */
typedef void (*cpu_body)(void *job, int64_t i);
void cpu_loop(const struct queue *q, int64_t n, int worth_it, cpu_body body, void *job);
void cpu_loop_open(struct queue *q, const struct queue *parent);

/* Matrix libraries ask OpenMP how many threads they may have: between these, one. The host's number of the calling
 * thread is put back. Without OpenMP they do nothing. */
int cpu_one_thread(void);
void cpu_host_threads(int host);

/* Words of a draw, a batch at a time. */
enum { DRAW_BATCH = 256 };

struct draw_words {
    uint32_t word[DRAW_BATCH + 4]; /* a batch may begin inside a block */
};

/* The words of elements first, first + 1, ..., n of them, at most DRAW_BATCH; they lie in `words`. */
const uint32_t *cpu_draw_words(struct draw_words *words, struct draw d, uint64_t first, int64_t n);

float cpu_scale_value(struct scale s);

struct rank { /* of the k-th smallest magnitude, k from 0 */
    uint32_t magnitude;
    int64_t below, equal; /* how many are smaller, and how many are the same */
};

relora_status cpu_select(struct queue *q, const float *x, int64_t n, int64_t k, struct rank *rank);

static inline int view_is_large(struct view v)
{
    return v.rows * v.cols > CPU_SERIAL;
}

/* Row `i` of a view. */
static inline float *row_f32(struct view v, int64_t i)
{
    return (float *)v.data + i * v.ld;
}

static inline bf16 *row_bf16(struct view v, int64_t i)
{
    return (bf16 *)v.data + i * v.ld;
}

struct gemm_cut { /* of a product into pieces, the last of a row or column the smallest */
    int64_t rows, cols, down, across;
};

struct gemm_cut cpu_gemm_cut(const struct gemm *g, int32_t threads);
struct gemm cpu_gemm_piece(const struct gemm *g, const struct gemm_cut *cut, int64_t i);

/* The product, by the first of the providers of this build that can make it. */
relora_status cpu_gemm(struct queue *q, const struct gemm *g);
relora_status cpu_gemm_tell(const struct queue *q, const struct gemm *g, struct gemm_path *path);
/* Of views of one shape, F32 and BF16; by one thread */
void cpu_gemm_widen(struct view to, struct view from);
void cpu_gemm_round(struct view to, struct view from);
/* c += bias in every row */
void cpu_gemm_add_bias(struct view c, const float *bias);

/* The providers. They return RELORA_E_UNSUPPORTED for a product that another has to make. Telling how one is made
 * makes nothing, and keeps nothing. */

/* of the library's own product; PLAIN is NEON on ARM */
enum own_tile { OWN_PLAIN, OWN_AVX2, OWN_AVX512, OWN_TILES };
enum own_tile cpu_gemm_own_best(void); /* on this processor */
relora_status cpu_gemm_own(struct queue *q, const struct gemm *g, enum own_tile tile);
relora_status cpu_gemm_own_tell(const struct queue *q, const struct gemm *g, struct gemm_path *path);
#if RELORA_ONEDNN
relora_status cpu_gemm_onednn(struct queue *q, const struct gemm *g);
relora_status cpu_gemm_onednn_tell(const struct queue *q, const struct gemm *g, struct gemm_path *path);
void cpu_gemm_cache_free(struct queue *q);
#endif
#ifdef RELORA_BLAS
relora_status cpu_gemm_blas(struct queue *q, const struct gemm *g);
relora_status cpu_gemm_blas_tell(const struct queue *q, const struct gemm *g, struct gemm_path *path);
#endif

/* The oracle of the tests: slow, in double. It makes products without elements or depth, too. */
relora_status cpu_gemm_portable(struct queue *q, const struct gemm *g);

relora_status cpu_fill(struct queue *q, struct view y, double value);
relora_status cpu_convert(struct queue *q, const struct conversion *list, int32_t count);
relora_status cpu_merge(struct queue *q, const struct merge *m);
relora_status cpu_fold(struct queue *q, const struct fold *f);
relora_status cpu_sum_rows(struct queue *q, float *sums, struct view x, int32_t accumulate);
relora_status cpu_scale_grad(struct queue *q, float *grad, const float *scale, struct view h, struct view u,
                             int32_t accumulate);
relora_status cpu_largest(struct queue *q, struct view x, uint32_t *bits);
relora_status cpu_dropout(struct queue *q, const struct dropout *d);
relora_status cpu_uniform(struct queue *q, struct view y, double bound, struct draw d);
relora_status cpu_adam_norm(struct queue *q, const struct adam *a);
relora_status cpu_adam_decide(struct queue *q, const struct adam *a);
relora_status cpu_adam_step(struct queue *q, const struct adam *a);
relora_status cpu_prune(struct queue *q, const struct prune *p);
relora_status cpu_span(struct queue *q, const struct span *s);
relora_status cpu_share(struct queue *q, const struct share *s);
relora_status cpu_project(struct queue *q, const struct project *p);

#endif
