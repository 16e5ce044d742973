/* Every entry of the CUDA table beside the CPU's: the same arguments on both, and then the same bits. The
 * device's memory is touched through its table alone. */
#ifndef TEST_CUDA_KERNELS_TWINS_H
#define TEST_CUDA_KERNELS_TWINS_H

#include <math.h>
#include <string.h>
#include "backend.h"
#include "support/close.h"
#include "support/fixture.h"

Suite *kernels_elementwise(void);
Suite *kernels_random(void);
Suite *kernels_gemm(void);
Suite *kernels_queue(void);
Suite *kernels_reduce(void);
Suite *kernels_adam(void);
Suite *kernels_prune(void);
Suite *kernels_span(void);

/** The device's table, NULL without a device; opened and closed around each test, as the CPU's is. */
extern const struct backend *cuda;
extern struct queue *cuda_queue, *cpu_queue;

/** Streams, handles, descriptions and so on that exist, where the device is the emulator; otherwise 0. */
int device_objects(void);
/** Whether the emulator refuses to run products with odd leading dimensions, though it offers algorithms for them. */
void device_refuse_odd(int refuse);
int device_refused(void); /* products so far; 0 on a device */
/** Kernels of the module that were not loaded before their first launch; 0 on a device, where nobody counts them. */
int device_late_loads(void);

TCase *twin_case(Suite *suite, const char *name);
/** A test for _i from 0 to count - 1; all of them are counted. */
#define twin_test(tc, test, count) (twin_tests += (count), tcase_add_loop_test(tc, test, 0, count))
extern int twin_tests;

/** Work on both tables in turn; both must succeed. */
#define BOTH(cpu_call, cuda_call)                          \
    do {                                                   \
        ck_assert_int_eq(backend_cpu.cpu_call, RELORA_OK); \
        on_device(cuda->cuda_call);                        \
    } while (0)
void on_device(relora_status status);

/** The same bytes for both, until the end of the test. */
struct twin {
    void *cpu, *cuda, *was;
    int64_t count;
    relora_dtype dtype;
};

enum values {
    VALUES_NORMAL, /* around 1 */
    VALUES_WIDE,   /* of every size, both zeros and denormals among them */
    VALUES_ANY,    /* infinities and NaNs too */
    VALUES_FEW,    /* 9 different ones */
    VALUES_ZERO
};

struct twin twin_make(int64_t count, relora_dtype dtype, enum values values, uint64_t seed);
/** The device's memory of all twins so far: of use where one test makes many. */
void twins_release(void);
/** From the CPU to the device: where the two must not start apart. */
void twin_equalize(struct twin t);
/** What the device has, as the CPU would see it. */
void *twin_read(struct twin t);
/** Fails unless both have the same bits, a NaN being a NaN. */
#define SAME(twin) twin_same(twin, #twin, __FILE__, __LINE__)
void twin_same(struct twin t, const char *what, const char *file, int line);
/** Fails unless something has changed since the twin was made. */
#define CHANGED(twin) ck_assert_msg(memcmp((twin).cpu, (twin).was, twin_bytes(twin)), #twin " is unchanged")
size_t twin_bytes(struct twin t);

/** A matrix in a buffer of its own, with room before, between and after the rows. */
struct shape {
    int64_t rows, cols, gap, shift;
};
extern const struct shape shapes[];
int shape_count(void);

struct matrix {
    struct twin twin;
    struct view cpu, cuda;
};
struct matrix matrix_make(struct shape s, relora_dtype dtype, enum values values, uint64_t seed);

#endif
