#define _GNU_SOURCE /* RTLD_NOLOAD */
#include "cuda_kernels/twins.h"
#include <dlfcn.h>
#include <stdlib.h>
#include "context.h"

const struct backend *cuda;
struct queue *cuda_queue, *cpu_queue;
int twin_tests;

static void close_queues(void *unused)
{
    (void)unused;
    twins_release();
    cuda->queue_close(cuda_queue);
    backend_cpu.queue_close(cpu_queue);
}

static void open_queues(void)
{
    struct queue_options o = {.memory = &env.ctx->memory, .threads = 1};
    ck_assert_int_eq(backend_cpu.queue_open(0, &o, &cpu_queue), RELORA_OK);
    ck_assert_int_eq(cuda->queue_open(0, &o, &cuda_queue), RELORA_OK);
    defer(close_queues, NULL);
}

TCase *twin_case(Suite *suite, const char *name)
{
    TCase *tc = env_case(suite, name, 120);
    tcase_add_checked_fixture(tc, open_queues, NULL);
    return tc;
}

void on_device(relora_status status)
{
    if (status == RELORA_OK) status = cuda->queue_sync(cuda_queue);
    if (status != RELORA_OK)
        ck_abort_msg("%s: %s", relora_status_name(status), cuda->queue_error(cuda_queue));
}

/* What the emulator counts; 0 on a device. */
static int emulator_count(const char *function)
{
    void *emulator = dlopen("libemulated_cuda.so", RTLD_NOW | RTLD_NOLOAD);
    if (!emulator) return 0;
    union {
        void *object;
        int (*function)(void);
    } count = {dlsym(emulator, function)};
    ck_assert_ptr_nonnull(count.object);
    int counted = count.function();
    dlclose(emulator); /* it stays, for the module needs it */
    return counted;
}

void device_refuse_odd(int refuse)
{
    void *emulator = dlopen("libemulated_cuda.so", RTLD_NOW | RTLD_NOLOAD);
    if (!emulator) return;
    union {
        void *object;
        void (*function)(int);
    } set = {dlsym(emulator, "emulated_cuda_refuse_odd")};
    ck_assert_ptr_nonnull(set.object);
    set.function(refuse);
    dlclose(emulator);
}

int device_objects(void) { return emulator_count("emulated_cuda_objects"); }

int device_refused(void) { return emulator_count("emulated_cuda_refused"); }

int device_late_loads(void) { return emulator_count("emulated_cuda_late_loads"); }

/* ---- values ---- */

static float any_value(struct rnd *r)
{
    static const float special[] = {0.0f, -0.0f, INFINITY, -INFINITY, NAN, 1e-40f, -1e-45f, 3e38f};
    uint64_t bits = rnd_bits(r);
    return bits % 4 ? ldexpf((float)rnd_normal(r), (int)(bits >> 8 & 63) - 32) : special[bits >> 8 & 7];
}

static float value_of(enum values values, struct rnd *r)
{
    float x = any_value(r);
    switch (values) {
    case VALUES_NORMAL: return (float)rnd_normal(r);
    case VALUES_WIDE: return isfinite(x) ? x : 0.0f;
    case VALUES_ANY: return x;
    case VALUES_FEW: return (float)((int)(rnd_bits(r) % 9) - 4);
    default: return 0.0f;
    }
}

/* ---- twins ---- */

static size_t size_of(relora_dtype dtype) { return dtype == RELORA_F32 ? sizeof(float) : sizeof(uint16_t); }

size_t twin_bytes(struct twin t) { return (size_t)t.count * size_of(t.dtype); }

static struct block { /* of the device's memory */
    void *data;
    size_t bytes;
    struct block *next;
} * blocks;

void twins_release(void)
{
    while (blocks) {
        struct block *b = blocks;
        blocks = b->next;
        cuda->release(cuda_queue, b->data, b->bytes);
        free(b);
    }
}

static void *device_memory(size_t bytes)
{
    struct block *b = malloc(sizeof *b);
    b->bytes = bytes;
    on_device(cuda->alloc(cuda_queue, b->bytes, &b->data));
    b->next = blocks;
    blocks = b;
    return b->data;
}

static void transfer(void *to, const void *from, size_t bytes, int direction)
{
    struct copy c = {.to = to, .from = from, .rows = 1, .bytes = bytes};
    c.direction = direction;
    if (bytes) on_device(cuda->copy(cuda_queue, &c));
}

struct twin twin_make(int64_t count, relora_dtype dtype, enum values values, uint64_t seed)
{
    struct twin t = {.count = count, .dtype = dtype};
    struct rnd r = rnd_seed(seed);
    t.cuda = device_memory(twin_bytes(t) + 16); /* never nothing */
    t.cpu = scratch(twin_bytes(t));
    t.was = scratch(twin_bytes(t));
    for (int64_t i = 0; i < count; i++) {
        float x = value_of(values, &r);
        if (dtype == RELORA_F32) ((float *)t.cpu)[i] = x;
        else ((uint16_t *)t.cpu)[i] = bf16_of(x);
    }
    memcpy(t.was, t.cpu, twin_bytes(t));
    twin_equalize(t);
    return t;
}

void twin_equalize(struct twin t) { transfer(t.cuda, t.cpu, twin_bytes(t), COPY_TO_DEVICE); }

void *twin_read(struct twin t)
{
    void *got = scratch(twin_bytes(t));
    transfer(got, t.cuda, twin_bytes(t), COPY_TO_HOST);
    return got;
}

static uint32_t bits_at(const void *data, relora_dtype dtype, int64_t i)
{
    uint32_t bits = 0;
    if (dtype == RELORA_F32) memcpy(&bits, (const float *)data + i, sizeof bits);
    else bits = (uint32_t)((const uint16_t *)data)[i] << 16;
    return (bits & 0x7FFFFFFFu) > 0x7F800000u ? 0x7FC00000u : bits; /* whatever a NaN carries */
}

void twin_same(struct twin t, const char *what, const char *file, int line)
{
    const void *got = twin_read(t);
    for (int64_t i = 0; i < t.count; i++) {
        uint32_t want = bits_at(t.cpu, t.dtype, i), have = bits_at(got, t.dtype, i);
        if (want != have)
            ck_abort_msg("%s:%d: %s: element %lld of %lld is 0x%08x on the CPU, 0x%08x on the device", file,
                         line, what, (long long)i, (long long)t.count, want, have);
    }
    mark_point();
}

/* ---- matrices ---- */

const struct shape shapes[] = {
    {1, 1, 0, 0},    {1, 7, 0, 0},     {1, 8, 0, 0},     {3, 8, 0, 0},    {5, 9, 0, 0},    {33, 17, 3, 0},
    {7, 64, 0, 0},   {7, 64, 8, 0},    {7, 64, 0, 1},    {6, 24, 4, 4},   {2, 1000, 0, 0}, {300, 20, 0, 3},
    {9, 2047, 1, 8}, {40, 256, 16, 0}, {1, 20011, 0, 0}, {2000, 1, 2, 0}, {0, 5, 0, 0},    {5, 0, 4, 0},
};

int shape_count(void) { return sizeof shapes / sizeof *shapes; }

struct matrix matrix_make(struct shape s, relora_dtype dtype, enum values values, uint64_t seed)
{
    int64_t ld = s.cols + s.gap;
    struct matrix m = {.twin = twin_make(s.shift + s.rows * ld + 16, dtype, values, seed)};
    size_t shift = (size_t)s.shift * size_of(dtype);
    m.cpu = (struct view){(char *)m.twin.cpu + shift, s.rows, s.cols, ld, dtype};
    m.cuda = (struct view){(char *)m.twin.cuda + shift, s.rows, s.cols, ld, dtype};
    return m;
}
