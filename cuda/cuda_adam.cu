/* The optimizer: one launch sweeps over the chunks of all parameters. What it needs is on the device: the
 * factor of clipping, whether to skip, step counts and the learning rate. */
#include "adam_math.h"
#include "cuda_random.cuh"
#include "cuda_tiles.cuh"

/* ---- the norm of all gradients ---- */

template <class G> static __device__ inline double chunk_squares(const G *grad, int64_t count)
{
    double sum = 0;
    int step = sizeof(G) == sizeof(float) ? FOUR * CUDA_THREADS : FOUR;
    struct eight e = eight_of(0, count, step, (int)threadIdx.x);
    for (; e.first < count; e.first += CUDA_THREADS * EIGHT) {
        float g[EIGHT];
        load_eight(g, grad, e);
        for (int k = 0; k < EIGHT; k++) sum += (double)g[k] * (double)g[k];
    }
    return block_sum(sum);
}

static __global__ void adam_squares_kernel(struct adam a)
{
    for (int64_t k = blockIdx.x; k < a.chunk_count; k += gridDim.x) {
        const struct adam_chunk chunk = a.chunks[k];
        const struct adam_param *p = &a.params[chunk.param];
        double sum = p->grad_dtype == RELORA_F32
                         ? chunk_squares((const float *)p->grad + chunk.start, chunk.count)
                         : chunk_squares((const bf16 *)p->grad + chunk.start, chunk.count);
        if (threadIdx.x == 0) a.partials[k] = sum;
    }
}

static __global__ void adam_control_kernel(struct adam a)
{
    double sum = block_sum_of(a.partials, a.chunk_count, 1);
    if (threadIdx.x == 0 && a.squares) *a.squares = sum;
    if (threadIdx.x == 0 && !a.squares) *a.control = adam_control_make(&a, sum);
}

static __global__ void adam_decide_kernel(struct adam a)
{
    *a.control = adam_control_make(&a, *a.squares);
}

static unsigned blocks_at_most(int64_t count, int64_t most)
{
    return (unsigned)(count < most ? count : most);
}

relora_status cuda_adam_norm(struct queue *q, const struct adam *a)
{
    relora_status status = cuda_launch(q, "the norm of the gradients", adam_squares_kernel,
                                       blocks_at_most(a->chunk_count, INT32_MAX), CUDA_THREADS, *a);
    if (status < 0) return status;
    return cuda_launch(q, "the norm of the gradients", adam_control_kernel, 1, CUDA_THREADS, *a);
}

relora_status cuda_adam_decide(struct queue *q, const struct adam *a)
{
    return cuda_launch(q, "the norm of the gradients", adam_decide_kernel, 1, 1, *a);
}

/* ---- the update ---- */

struct adam_ready { /* of one parameter, for this step */
    struct adam_constants constants;
    struct draw draw;
};

static __device__ inline bool is_skipped(const struct adam &a)
{
    return a.need_norm && a.control->skip;
}

/* A thread for each parameter counts the step: nobody else does, and the update comes after. */
static __global__ void adam_ready_kernel(struct adam a, struct adam_ready *ready)
{
    int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= a.param_count || is_skipped(a)) return;
    const struct adam_param *p = &a.params[i];
    int64_t t = ++*p->steps;
    ready[i].constants = adam_constants_make(&a, p, a.need_norm ? a.control->clip_factor : 1, t);
    ready[i].draw = p->draw;
    ready[i].draw.call = (uint64_t)t;
}

static __device__ inline void update_store(float *to, float x, uint32_t word, int stochastic)
{
    (void)word, (void)stochastic;
    *to = x;
}

static __device__ inline void update_store(bf16 *to, float x, uint32_t word, int stochastic)
{
    *to = stochastic ? bf16_stochastic(x, word) : bf16_nearest(x);
}

/* Elements i to i + 3 of a parameter, those below `end`. */
template <class P, class G>
static __device__ inline void update_four(const struct adam_ready *ready, const struct adam_param *p, int64_t i, int64_t end)
{
    P rounded[FOUR];
    float w[FOUR], g[FOUR], m[FOUR], v[FOUR];
    uint32_t words[FOUR] = {0};
    int stochastic = sizeof(P) == sizeof(bf16) && p->rounding != RELORA_ROUND_NEAREST;
    load_four(w, (const P *)p->param, i, end);
    load_four(g, (const G *)p->grad, i, end);
    load_four(m, p->m, i, end);
    load_four(v, p->v, i, end);
    if (stochastic) cuda_draw_four(words, ready->draw, (uint64_t)(p->first + i));
    for (int k = 0; k < FOUR; k++) {
        float moved = adam_element(&ready->constants, w[k], g[k], &m[k], &v[k]);
        update_store(&rounded[k], moved, words[k], stochastic);
    }
    store_four((P *)p->param, rounded, i, end);
    store_four(p->m, m, i, end);
    store_four(p->v, v, i, end);
}

/* PARTS blocks share a chunk, so that many blocks end at about the same time. Four elements at a time leave registers for
 * eight small blocks to a multiprocessor, and those have enough loads under way. */
enum { PARTS = 8, UPDATE_THREADS = 128, PART_STEP = UPDATE_THREADS * FOUR };

template <class P, class G>
static __device__ inline void update_part(const struct adam_ready *ready, const struct adam_param *p,
                                          const struct adam_chunk *chunk, int part)
{
    int64_t end = chunk->start + chunk->count;
    int64_t first = chunk->start + ((int64_t)part * UPDATE_THREADS + threadIdx.x) * FOUR;
    for (int64_t i = first; i < end; i += PARTS * PART_STEP) update_four<P, G>(ready, p, i, end);
}

/* A block has one part, number `before` + its own, and no loop over more: what such a loop needs after each part would
 * take registers from all of them. */
static __global__ void __launch_bounds__(UPDATE_THREADS, 8)
adam_update_kernel(struct adam a, const struct adam_ready *all, int64_t before)
{
    if (is_skipped(a)) return;
    int64_t k = before + blockIdx.x;
    const struct adam_chunk chunk = a.chunks[k / PARTS];
    const struct adam_param p = a.params[chunk.param];
    if (p.gap) return; /* of the kernel below */
    const struct adam_ready ready = all[chunk.param];
    int part = (int)(k % PARTS);
    if (p.param_dtype == RELORA_F32 && p.grad_dtype == RELORA_F32)
        update_part<float, float>(&ready, &p, &chunk, part);
    else if (p.param_dtype == RELORA_F32)
        update_part<float, bf16>(&ready, &p, &chunk, part);
    else if (p.grad_dtype == RELORA_F32)
        update_part<bf16, float>(&ready, &p, &chunk, part);
    else
        update_part<bf16, bf16>(&ready, &p, &chunk, part);
}

/* Parameters whose rows have gaps, an element at a time. It is a kernel of its own, because the division costs the
 * other registers that it has not. */
static __device__ inline void update_one(const struct adam_ready *ready, const struct adam_param *p, int64_t i)
{
    uint32_t words[FOUR] = {0};
    int64_t place = p->first + i, at = place + place / p->cols * p->gap;
    int is_f32 = p->param_dtype == RELORA_F32, stochastic = p->rounding != RELORA_ROUND_NEAREST;
    float *wide = (float *)p->param + at, grad;
    bf16 *narrow = (bf16 *)p->param + at;
    grad = p->grad_dtype == RELORA_F32 ? ((const float *)p->grad)[i] : widen(((const bf16 *)p->grad)[i]);
    float moved = adam_element(&ready->constants, is_f32 ? *wide : widen(*narrow), grad, &p->m[i], &p->v[i]);
    if (!is_f32 && stochastic) cuda_draw_four(words, ready->draw, (uint64_t)place / FOUR * FOUR);
    if (is_f32)
        *wide = moved;
    else
        update_store(narrow, moved, words[place % FOUR], stochastic);
}

static __global__ void adam_gaps_kernel(struct adam a, const struct adam_ready *all)
{
    if (is_skipped(a)) return;
    for (int64_t k = blockIdx.x; k < a.chunk_count * PARTS; k += gridDim.x) {
        const struct adam_chunk chunk = a.chunks[k / PARTS];
        const struct adam_param *p = &a.params[chunk.param];
        if (!p->gap) continue;
        int64_t end = chunk.start + chunk.count, first = chunk.start + k % PARTS * UPDATE_THREADS + threadIdx.x;
        for (int64_t i = first; i < end; i += PARTS * UPDATE_THREADS) update_one(&all[chunk.param], p, i);
    }
}

relora_status cuda_adam_step(struct queue *q, const struct adam *a)
{
    if (!a->param_count) return RELORA_OK;
    struct adam_ready *ready =
        (struct adam_ready *)cuda_scratch(q, (size_t)a->param_count * sizeof(struct adam_ready));
    if (!ready) return RELORA_E_NO_MEMORY;
    relora_status status = cuda_launch(q, "the update", adam_ready_kernel, (unsigned)((a->param_count + CUDA_THREADS - 1) / CUDA_THREADS),
                                       CUDA_THREADS, *a, ready);
    if (status < 0) return status;
    int64_t parts = a->chunk_count * PARTS;
    for (int64_t before = 0; before < parts && status >= 0; before += INT32_MAX)
        status = cuda_launch(q, "the update", adam_update_kernel, blocks_at_most(parts - before, INT32_MAX), UPDATE_THREADS,
                             *a, ready, before);
    if (status < 0 || !a->gaps) return status;
    return cuda_launch(q, "the update", adam_gaps_kernel, blocks_at_most(parts, INT32_MAX), UPDATE_THREADS, *a, ready);
}

cudaError_t cuda_load_adam(void)
{
    return cuda_load(adam_squares_kernel, adam_control_kernel, adam_decide_kernel, adam_ready_kernel, adam_update_kernel,
                     adam_gaps_kernel);
}
