/* Reads the safetensors files of test/golden, produced by the authors' PyTorch code. */
#ifndef TEST_SUPPORT_GOLDEN_H
#define TEST_SUPPORT_GOLDEN_H

#include <stdint.h>

struct golden; /* one open file */

/** `name` as "linear_0.safetensors". Fails the running test if it cannot be read. */
struct golden *golden_open(const char *name);
void golden_close(struct golden *g);
/** A whole array, widened to double; borrowed from `g`. Fails the test if there is none. */
const double *golden_values(struct golden *g, const char *name, int64_t *count);
int golden_has(struct golden *g, const char *name);
/** Dimension of an array, or -1. */
int64_t golden_dim(struct golden *g, const char *name, int axis);
/** From __metadata__; fails the test if there is none. */
const char *golden_text(struct golden *g, const char *key);
double golden_number(struct golden *g, const char *key);

#endif
