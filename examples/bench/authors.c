/* What autograd executes for y = F.linear(x, W) + lora_B(lora_A(x)) * s, one operation after the other:
 *
 *     forward   y = x W^T    u = x A^T    z = u B^T    z *= s    y += z
 *     backward  dz = s dy    dB = dz^T u  h = dz B     dA = h^T x    e = h A    dx = dy W    dx += e
 *
 * Each product is one of a layer in mode FULL, whose backward makes the gradient of its weight and of
 * its input: just what B and A need. Since W is frozen and only dx is wanted, dy W is the forward of a
 * layer that holds W transposed, which is as fast (within 5 %, and rather faster). The rest is plain loops. */
#include "authors.h"
#include <stdlib.h>
#include <string.h>

struct authors {
    const struct bench *bench;
    relora_linear *w, *transposed, *a, *b;
    relora_tensor *u, *z, *h, *e;
    float scale;
};

static float from_bf16(uint16_t value)
{
    uint32_t bits = (uint32_t)value << 16;
    float wide;
    memcpy(&wide, &bits, sizeof wide);
    return wide;
}

/* y = s x */
static void scale(const struct authors *p, relora_tensor *to, const relora_tensor *from)
{
    const int64_t count = relora_tensor_count(from);
    const float s = p->scale;
    if (relora_tensor_dtype(from) == RELORA_F32) {
        float *y = relora_tensor_data(to);
        const float *x = relora_tensor_data(from);
#pragma omp parallel for simd num_threads(p->bench->threads) schedule(static)
        for (int64_t i = 0; i < count; i++) y[i] = s * x[i];
    } else {
        uint16_t *y = relora_tensor_data(to);
        const uint16_t *x = relora_tensor_data(from);
#pragma omp parallel for simd num_threads(p->bench->threads) schedule(static)
        for (int64_t i = 0; i < count; i++) y[i] = round_to_bf16(s * from_bf16(x[i]));
    }
}

/* y += x */
static void add(const struct authors *p, relora_tensor *to, const relora_tensor *from)
{
    const int64_t count = relora_tensor_count(from);
    if (relora_tensor_dtype(from) == RELORA_F32) {
        float *y = relora_tensor_data(to);
        const float *x = relora_tensor_data(from);
#pragma omp parallel for simd num_threads(p->bench->threads) schedule(static)
        for (int64_t i = 0; i < count; i++) y[i] += x[i];
    } else {
        uint16_t *y = relora_tensor_data(to);
        const uint16_t *x = relora_tensor_data(from);
#pragma omp parallel for simd num_threads(p->bench->threads) schedule(static)
        for (int64_t i = 0; i < count; i++) y[i] = round_to_bf16(from_bf16(y[i]) + from_bf16(x[i]));
    }
}

static void forward(const struct authors *p, relora_linear *layer, const relora_tensor *x, relora_tensor *y)
{
    CHECK(p->bench, relora_linear_forward(layer, p->bench->stream, x, y, 0, RELORA_TRAIN));
}

static void backward(const struct authors *p, relora_linear *layer, const relora_tensor *x,
                     const relora_tensor *dy, relora_tensor *dx)
{
    CHECK(p->bench,
          relora_linear_backward(layer, p->bench->stream, x, dy, dx, 0, RELORA_TRAIN | RELORA_OVERWRITE));
}

void authors_forward_backward(struct authors *p, const relora_tensor *x, relora_tensor *y,
                              const relora_tensor *dy, relora_tensor *dx)
{
    forward(p, p->w, x, y);
    forward(p, p->a, x, p->u);
    forward(p, p->b, p->u, p->z);
    scale(p, p->z, p->z);
    add(p, y, p->z);

    scale(p, p->z, dy);
    backward(p, p->b, p->u, p->z, p->h);
    backward(p, p->a, x, p->h, p->e);
    forward(p, p->transposed, dy, dx);
    add(p, dx, p->e);
}

struct authors *authors_create(const struct bench *bench, relora_dtype dtype, struct shape shape,
                               int64_t rank, int64_t tokens)
{
    const struct shape transposed = {shape.in, shape.out}, a = {rank, shape.in}, b = {shape.out, rank};
    struct authors *p = malloc(sizeof *p);
    if (!p) exit(1);
    *p = (struct authors){
        .bench = bench,
        .w = new_layer(bench, RELORA_MODE_FULL, dtype, shape, 0, 0),
        .transposed = new_layer(bench, RELORA_MODE_FULL, dtype, transposed, 0, 0),
        .a = new_layer(bench, RELORA_MODE_FULL, dtype, a, 0, 0),
        .b = new_layer(bench, RELORA_MODE_FULL, dtype, b, 0, 0),
        .u = new_matrix(bench, dtype, tokens, rank),
        .z = new_matrix(bench, dtype, tokens, shape.out),
        .h = new_matrix(bench, dtype, tokens, rank),
        .e = new_matrix(bench, dtype, tokens, shape.in),
        .scale = 0.25f,
    };
    return p;
}

void authors_destroy(struct authors *p)
{
    relora_linear_release(p->w);
    relora_linear_release(p->transposed);
    relora_linear_release(p->a);
    relora_linear_release(p->b);
    relora_tensor_release(p->u);
    relora_tensor_release(p->z);
    relora_tensor_release(p->h);
    relora_tensor_release(p->e);
    free(p);
}
