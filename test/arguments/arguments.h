/* Every public function with each argument wrong in turn. What is proven each time: the status, a
 * sentence that names the function, the argument and the values (FAILS), *out = NULL, nothing changed,
 * and, by the fixture, nothing leaked. */
#ifndef TEST_ARGUMENTS_H
#define TEST_ARGUMENTS_H

#include <math.h>
#include <string.h>
#include "support/close.h"
#include "support/objects.h"

extern char poison; /* what *out holds before a call that must fail */
#define POISON ((void *)&poison)

/** A second context with its own device, stream and tensor, to mix with env. */
struct stranger {
    relora_context *ctx;
    relora_device *dev;
    relora_stream *st;
};
struct stranger new_stranger(void); /* released at env_close() */
relora_tensor *stranger_matrix(struct stranger *s, relora_dtype dtype, int64_t rows, int64_t cols);

/** Options of `size` bytes and more, as a caller of another release would pass them. */
struct padded {
    _Alignas(8) unsigned char bytes[8192];
};
/** The struct_size cases that every options struct must refuse, in turn; returns NULL after the last. */
const void *bad_struct_size(struct padded *p, const void *good, size_t size, int which);

Suite *context_arguments(void);
Suite *tensor_arguments(void);
Suite *dlpack_arguments(void);
Suite *linear_options_arguments(void);
Suite *linear_arguments(void);
Suite *order_arguments(void);
Suite *adam_arguments(void);
Suite *adam_more_arguments(void);
Suite *comm_arguments(void);
Suite *schedule_arguments(void);
Suite *cycle_arguments(void);
Suite *group_arguments(void);
Suite *restart_arguments(void);
Suite *host_memory_arguments(void);
Suite *linear_at_arguments(void);
Suite *placeholder_arguments(void);
Suite *linear_wrap_arguments(void);

#endif
