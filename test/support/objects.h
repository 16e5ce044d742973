/* Short ways to make tensors, layers and optimizers in the environment of fixture.h, all released at
 * env_close(), and to move doubles in and out of tensors. */
#ifndef TEST_SUPPORT_OBJECTS_H
#define TEST_SUPPORT_OBJECTS_H

#include "support/fixture.h"

/** One more stream of env.dev. */
relora_stream *second_stream(void);
relora_tensor *new_tensor(relora_dtype dtype, int32_t ndim, const int64_t *shape);
relora_tensor *new_matrix(relora_dtype dtype, int64_t rows, int64_t cols);
relora_tensor *new_vector(relora_dtype dtype, int64_t n);
/** `n` floats of zeros in the memory of env.dev, until env_close(): what a host would lend. */
float *new_floats(int64_t n);
/** F32 over the `n` floats at `data`, which lie there, one axis. */
relora_tensor *new_borrowed(int64_t n, float *data);

/** Write doubles, rounded to the dtype of the tensor; read them back. */
void put(relora_tensor *t, const double *values);
void put_all(relora_tensor *t, double value);
void put_normal(relora_tensor *t, struct rnd *r, double scale);
double *get(const relora_tensor *t); /* lives until env_close() */
/** Bytes of all elements, and a copy of them until env_close(). */
size_t bytes_of(const relora_tensor *t);
void *snapshot(const relora_tensor *t);
/** Fail the test unless `t` still holds the bytes of `snapshot`. */
#define UNCHANGED(t, was) unchanged(t, was, #t, __FILE__, __LINE__)
void unchanged(const relora_tensor *t, const void *was, const char *what, const char *file, int line);

/** Defaults for a layer without dropout, all F32. */
relora_linear_options layer_options(relora_linear_mode mode, int64_t in, int64_t out, int64_t rank);
relora_linear *new_linear(const relora_linear_options *options);
/** The same with a random W (and bias, A, B if the layer has them), at which every gradient is alive. */
relora_linear *new_filled_linear(const relora_linear_options *options, struct rnd *r);
relora_group *new_group(void);
relora_adam_options adam_options(void);
relora_adam *new_adam(const relora_adam_options *options);
/** A parameter of `n` random elements with a random gradient; its tensors may be asked for. */
int32_t add_vector(relora_adam *adam, const char *name, int64_t n, struct rnd *r, relora_tensor **param,
                   relora_tensor **grad);
relora_reset_options reset_options(relora_reset_mode mode, double ratio, uint32_t flags);
relora_cycle_options cycle_options(int64_t merge_every, int64_t reset_every);
relora_cycle *new_cycle(const relora_cycle_options *options, relora_adam *adam,
                        const relora_reset_options *reset);
relora_schedule *new_schedule(const relora_schedule_options *options);

#endif
