/* A layer with all it reads and writes, multiplied in any order; what it wrote, bit for bit. */
#ifndef TEST_CONFORMANCE_ORDERS_H
#define TEST_CONFORMANCE_ORDERS_H

#include "conformance/suites.h"

enum { ORDER_SHAPES = 11, ORDERS = 4 };
extern const int64_t order_shapes[ORDER_SHAPES][4]; /* rows, in, out, rank */
extern const relora_order orders[ORDERS][2];        /* forward, backward */

struct bench {
    relora_linear_options options;
    relora_linear *l;
    relora_tensor *x, *y, *dy, *dx;
};

/** s = 2, which is exact in BF16, so that s B is rounded as B is. */
relora_linear_options order_options(relora_linear_mode mode, const int64_t *shape, relora_dtype dtype,
                                    uint32_t flags);
struct bench new_bench(const relora_linear_options *o, int64_t rows, uint64_t seed);
void bench_forward(const struct bench *b, uint32_t flags);
void bench_backward(const struct bench *b, relora_tensor *dx, uint32_t flags);
relora_plan_report bench_plan(const struct bench *b, uint32_t flags);

struct bits { /* everything a forward and a backward write: y, dx and gradients */
    void *of[8];
    size_t size[8];
    int n;
};

struct bits bits_of(const struct bench *b, relora_order forward, relora_order backward, uint32_t flags);
void same_bits(const struct bits *a, const struct bits *b);
/** 0: y, 1: dx, 2 and on: gradients */
int bits_differ(const struct bits *a, const struct bits *b, int which);

#endif
