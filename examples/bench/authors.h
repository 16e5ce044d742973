/* A layer as the authors' Python code executes it, with this library's products: to compare with. */
#ifndef BENCH_AUTHORS_H
#define BENCH_AUTHORS_H

#include "bench.h"

struct authors;

struct authors *authors_create(const struct bench *bench, relora_dtype dtype, struct shape shape,
                               int64_t rank, int64_t tokens);
void authors_destroy(struct authors *authors);
void authors_forward_backward(struct authors *authors, const relora_tensor *x, relora_tensor *y,
                              const relora_tensor *dy, relora_tensor *dx);

#endif
