/* What programs of the time of 0.2 and later share: how they count failures, and a context that counts memory. */
#ifndef TEST_ABI_CALLER_H
#define TEST_ABI_CALLER_H

#include <relora/relora.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define OK(call) ok((call), #call, __LINE__)
#define TRUE(what) true_((what) != 0, #what, __LINE__)

/* A struct as large as it was, and behind it what the library must not touch. */
#define GUARDED(type, name) \
    struct {                \
        type is;            \
        uint64_t guard;     \
    } name = {.guard = GUARD}
static const uint64_t GUARD = UINT64_C(0x1122334455667788);

static relora_context *ctx;
static relora_device *dev;
static relora_stream *st;
static size_t outstanding;
static int failures;

static void ok(relora_status status, const char *call, int line)
{
    char why[300] = "";
    if (status == RELORA_OK) return;
    relora_context_error(ctx, why, sizeof why, NULL);
    printf("line %d: %s: %s: %s\n", line, call, relora_status_name(status), why);
    exit(1); /* what follows would make no sense */
}

static void true_(int holds, const char *what, int line)
{
    if (holds) return;
    printf("line %d: not so: %s\n", line, what);
    failures++;
}

static void *take(void *user, size_t size, size_t alignment)
{
    outstanding += size;
    (void)user;
    return aligned_alloc(alignment, (size + alignment - 1) / alignment * alignment);
}

static void give(void *user, void *ptr, size_t size, size_t alignment)
{
    outstanding -= size;
    (void)user, (void)alignment;
    free(ptr);
}

static void open_context(void)
{
    GUARDED(relora_context_options, o);
    OK(relora_context_options_init(&o.is, sizeof o.is));
    o.is.host_alloc = take;
    o.is.host_free = give;
    OK(relora_context_create(&ctx, &o.is));
    TRUE(o.guard == GUARD && o.is.struct_size == sizeof o.is);
    dev = relora_device_get(ctx, RELORA_DEVICE_CPU, 0);
    OK(relora_stream_create(&st, dev));
}

/* A tensor of its own, filled with 0. */
static inline relora_tensor *zeros(relora_dtype dtype, int64_t rows, int64_t columns)
{
    const int64_t shape[2] = {rows, columns};
    relora_tensor *t;
    OK(relora_tensor_create(&t, dev, dtype, 2, shape));
    OK(relora_tensor_fill(t, st, 0));
    return t;
}

/* Over memory of the program's own. */
static inline relora_tensor *borrow(float *data, int64_t rows, int64_t columns)
{
    const int64_t shape[2] = {rows, columns};
    relora_tensor *t;
    OK(relora_tensor_borrow(&t, dev, RELORA_F32, 2, shape, NULL, data, NULL, NULL));
    return t;
}

static int close_context(void)
{
    relora_stream_release(st);
    relora_context_release(ctx);
    TRUE(outstanding == 0);
    printf("compiled for %d.%d.%d, run with %s: %s\n", RELORA_VERSION_MAJOR, RELORA_VERSION_MINOR,
           RELORA_VERSION_PATCH, relora_version_string(), failures ? "failed" : "as it was");
    return failures != 0;
}

#endif
