/* The model of examples/pretrain on a CUDA device beside the same model on the CPU. The device is a GPU or
 * the emulated one, whichever the module in RELORA_TEST_MODULE_DIR knows; the kernels are those linked with
 * the program. */
#ifndef TEST_CUDA_PRETRAIN_H
#define TEST_CUDA_PRETRAIN_H

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "../examples/pretrain/model.h"
#include "../examples/pretrain/ops.h"
#include "support/close.h"
#include "support/objects.h"

enum side { CPU, GPU, SIDES };

/** env.st is the CPU's stream; opened with the environment of each test. */
extern relora_stream *gpu;
relora_stream *stream_of(enum side side);
relora_device *device_of(enum side side);
/** A test case whose environment has both. */
TCase *both_case(Suite *suite, const char *name);

/** Like get() and put(), of a tensor of either side. */
double *values_of(const relora_tensor *t, enum side side);
void set_values(relora_tensor *t, enum side side, const double *values);

/** Fail unless the norm of the difference is within `share` of the norm of `want`, which is not 0. */
void near(const double *got, const double *want, int64_t n, double share, const char *what);

/** A model, its activations and a batch for it, equal on both sides. */
struct twin {
    struct model_config config;
    struct model *model[SIDES];
    struct activations *acts[SIDES];
    int64_t batch, seq;
    int32_t *tokens, *targets;
};
struct twin *new_twin(const struct model_config *config, int64_t batch, int64_t seq, int lora);
/** Other numbers for norms and factors, which at first are 1 and 0, and for the batch. */
void stir(struct twin *t, uint64_t seed);

Suite *kernels_suite(void);
Suite *model_suite(void);
Suite *run_suite(void);

#endif
