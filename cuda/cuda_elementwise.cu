/* Each element from the same one of another matrix, or from its number in a draw. */
#include "cuda_random.cuh"
#include "cuda_tiles.cuh"
#include "element_math.h"

/* ---- one value ---- */

template <class T> static __global__ void fill_kernel(struct view y, T value, int step)
{
    tiling_walk(y, step, [&](int64_t i, struct eight e) {
        T to[EIGHT];
        for (int k = 0; k < EIGHT; k++) to[k] = value;
        store_eight(row_of<T>(y, i), to, e);
    });
}

relora_status cuda_fill(struct queue *q, struct view y, double value)
{
    relora_dtype dtype = y.dtype;
    struct tiling t = cuda_tiling(tiling_most(q), y);
    if (dtype == RELORA_F32)
        return cuda_launch(q, "a fill", fill_kernel<float>, t.blocks, t.threads, y, (float)value, t.step);
    return cuda_launch(q, "a fill", fill_kernel<bf16>, t.blocks, t.threads, y, bf16_of_double(value), t.step);
}

/* ---- y = round((y +) s * x) ---- */

struct conversions { /* of one pair of types; block z of the grid does the z-th */
    struct conversion list[CONVERSIONS];
};

template <class Y, class X>
static __global__ void convert_kernel(const __grid_constant__ struct conversions all, int step)
{
    const struct conversion &c = all.list[blockIdx.z];
    struct view y = c.y, x = c.x;
    float s = scale_value(c.scale);
    bool adds = sizeof(Y) == 4 && sizeof(X) == 4 && c.accumulate;
    tiling_walk(y, step, [&](int64_t i, struct eight e) {
        float from[EIGHT], before[EIGHT];
        Y to[EIGHT];
        load_eight(from, row_of<X>(x, i), e);
        if (adds) load_eight(before, row_of<Y>(y, i), e);
        for (int k = 0; k < EIGHT; k++) narrow(&to[k], adds ? before[k] + s * from[k] : s * from[k]);
        store_eight(row_of<Y>(y, i), to, e);
    });
}

static void (*convert_kernel_of(const struct conversion *c))(struct conversions, int)
{
    if (c->y.dtype == RELORA_F32)
        return c->x.dtype == RELORA_F32 ? convert_kernel<float, float> : convert_kernel<float, bf16>;
    return c->x.dtype == RELORA_F32 ? convert_kernel<bf16, float> : convert_kernel<bf16, bf16>;
}

static unsigned larger(unsigned a, unsigned b)
{
    return a > b ? a : b;
}

/* Those that one kernel can do with one shape of its blocks are one launch. */
relora_status cuda_convert(struct queue *q, const struct conversion *list, int32_t count)
{
    struct conversion all[CONVERSIONS];
    struct tiling tiling[CONVERSIONS];
    relora_status status = RELORA_OK;
    for (int i = 0; i < count; i++) {
        all[i] = list[i];
        tiling[i] = cuda_tiling(tiling_most(q), all[i].y, all[i].x);
    }
    unsigned done = 0; /* a bit of each */
    for (int i = 0; i < count && status >= 0; i++) {
        if (done >> i & 1) continue;
        struct conversions together = {};
        dim3 blocks(0, 0, 0);
        for (int k = i; k < count; k++) {
            if (done >> k & 1 || convert_kernel_of(&all[k]) != convert_kernel_of(&all[i]) ||
                tiling[k].threads.x != tiling[i].threads.x)
                continue;
            done |= 1u << k;
            together.list[blocks.z++] = all[k];
            blocks.x = larger(blocks.x, tiling[k].blocks.x);
            blocks.y = larger(blocks.y, tiling[k].blocks.y);
        }
        status = cuda_launch(q, "a conversion", convert_kernel_of(&all[i]), blocks, tiling[i].threads, together,
                             tiling[i].step);
    }
    return status;
}

/* ---- draws ---- */

template <class T>
static __global__ void dropout_kernel(struct dropout d, uint32_t threshold, float keep, int step)
{
    tiling_walk(d.y, step, [&](int64_t i, struct eight e) {
        float x[EIGHT], before[EIGHT];
        T y[EIGHT];
        uint32_t words[EIGHT];
        load_eight(x, row_of<T>(d.x, i), e);
        if (d.accumulate) load_eight(before, row_of<T>(d.y, i), e);
        cuda_draw_eight(words, d.draw, (uint64_t)(i * d.y.cols), e);
        for (int k = 0; k < EIGHT; k++) {
            float kept = dropout_element(x[k], words[k], threshold, keep);
            narrow(&y[k], d.accumulate ? before[k] + kept : kept);
        }
        store_eight(row_of<T>(d.y, i), y, e);
    });
}

relora_status cuda_dropout(struct queue *q, const struct dropout *dropout)
{
    struct dropout d = *dropout;
    uint32_t threshold = (uint32_t)draw_threshold(d.p); /* p is below 1 */
    struct tiling t = cuda_tiling(tiling_most(q), d.y, d.x);
    return cuda_launch(q, "dropout", d.y.dtype == RELORA_F32 ? dropout_kernel<float> : dropout_kernel<bf16>,
                       t.blocks, t.threads, d, threshold, dropout_keep(threshold), t.step);
}

static __global__ void uniform_kernel(struct view y, float bound, struct draw d, int step)
{
    tiling_walk(y, step, [&](int64_t i, struct eight e) {
        float to[EIGHT];
        uint32_t words[EIGHT];
        cuda_draw_eight(words, d, (uint64_t)(i * y.cols), e);
        for (int k = 0; k < EIGHT; k++) to[k] = uniform_element(words[k], bound);
        store_eight(row_of<float>(y, i), to, e);
    });
}

relora_status cuda_uniform(struct queue *q, struct view y, double bound, struct draw d)
{
    struct tiling t = cuda_tiling(tiling_most(q), y);
    return cuda_launch(q, "a uniform draw", uniform_kernel, t.blocks, t.threads, y, (float)bound, d, t.step);
}

/* ---- looking ---- */

template <class T> static __global__ void largest_kernel(struct view x, uint32_t *bits, int step)
{
    uint32_t most = 0;
    tiling_walk(x, step, [&](int64_t i, struct eight e) {
        float from[EIGHT];
        load_eight(from, row_of<T>(x, i), e);
        for (int k = 0; k < EIGHT; k++) { /* zeros beyond the end of a row */
            uint32_t size = bits_of_float(from[k]) & 0x7FFFFFFFu;
            most = size > most ? size : most;
        }
    });
    for (int lane = 16; lane > 0; lane /= 2) {
        uint32_t other = __shfl_xor_sync(0xFFFFFFFFu, most, lane);
        most = other > most ? other : most;
    }
    if (threadIdx.x % 32 == 0) atomicMax(bits, most);
}

relora_status cuda_largest(struct queue *q, struct view x, uint32_t *bits)
{
    struct tiling t = cuda_tiling(tiling_most(q), x);
    return cuda_launch(q, "the largest element", x.dtype == RELORA_F32 ? largest_kernel<float> : largest_kernel<bf16>,
                       t.blocks, t.threads, x, bits, t.step);
}

cudaError_t cuda_load_elementwise(void)
{
    return cuda_load(fill_kernel<float>, fill_kernel<bf16>, convert_kernel<float, float>, convert_kernel<float, bf16>,
                     convert_kernel<bf16, float>, convert_kernel<bf16, bf16>, dropout_kernel<float>,
                     dropout_kernel<bf16>, uniform_kernel, largest_kernel<float>, largest_kernel<bf16>);
}
