/* Floating-point operations, counted: what shares of the peak are shares of. */
#include "bench.h"

static double least(double a, double b)
{
    return a < b ? a : b;
}

/* Forward: x W^T + (x A^T) B^T, or x (W + B A)^T. Backward: dx and the factors' gradients from dy B and
 * x A^T, which is made anew; the same with dx = dy (W + B A); or all of it from dy^T x. */
double layer_operations(double T, struct shape shape, double r, int dropout)
{
    double m = (double)shape.out, n = (double)shape.in;
    double forward_apart = T * n * m + T * r * (n + m), forward_folded = T * n * m + n * m * r;
    double apart = T * n * m + 3 * T * n * r + 2 * T * m * r;
    double folded = T * n * m + 2 * T * r * (n + m) + n * m * r;
    double through_dw = 2 * T * n * m + 3 * n * m * r;
    if (r <= 0) return 6 * T * m * n;
    if (dropout) return 4 * T * m * n + 6 * T * r * (n + m);
    return 2 * (least(forward_apart, forward_folded) + least(least(apart, folded), through_dw));
}

/* Forward x, W and y; backward g, x, W and dx; in mode FULL the gradient of W, in F32. */
double layer_bytes(relora_dtype dtype, double T, struct shape shape, double r)
{
    double m = (double)shape.out, n = (double)shape.in, size = dtype == RELORA_F32 ? 4 : 2;
    return size * (3 * T * n + 2 * T * m + 2 * m * n) + (r > 0 ? 0 : 4 * m * n);
}

/* For each token:
 *     projection, full rank     6 m n per token: forward, dx and the gradient
 *     projection, low rank      the cheapest exact order; 4 m n + 6 r (m + n) if dropout forbids a fold
 *     head                      6 V d
 *     attention, causal         6 s d: two products over half of the s x s scores, and twice that backward */
double llama_operations(const struct llama *model, double tokens, double rank, int dropout)
{
    const struct shape square = {model->hidden, model->hidden};
    const struct shape wide = {model->ffn, model->hidden}, tall = {model->hidden, model->ffn};
    double projections = 4 * layer_operations(tokens, square, rank, dropout) +
                         2 * layer_operations(tokens, wide, rank, dropout) +
                         layer_operations(tokens, tall, rank, dropout);
    return model->layers * projections / tokens + llama_attention(model) +
           6.0 * model->vocabulary * model->hidden;
}

double llama_attention(const struct llama *model)
{
    return 6.0 * model->layers * model->sequence * model->hidden;
}

/* 6 for each parameter that is multiplied, W, A and B alike, though W needs no gradient; and attention. */
double llama_model_flops(const struct llama *model, double rank)
{
    double d = model->hidden, f = model->ffn, attention = 6.0 * model->sequence * d;
    double weights = 4 * d * d + 3 * d * f, factors = rank * (4 * 2 * d + 3 * (d + f));
    return model->layers * (6 * (weights + factors) + attention) + 6.0 * model->vocabulary * d;
}
