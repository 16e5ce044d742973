/* Queues of a device, their memory and copies. */
#include "cuda_kernels/twins.h"

enum { COUNT = 50000, BYTES = COUNT * 4 };

static struct queue *open_queue(void)
{
    struct queue_options o = {.memory = &memory_system, .threads = 1, .parent = cuda_queue};
    struct queue *q;
    ck_assert_int_eq(cuda->queue_open(0, &o, &q), RELORA_OK);
    return q;
}

static float *floats(struct queue *q)
{
    void *data;
    ck_assert_int_eq(cuda->alloc(q, BYTES, &data), RELORA_OK);
    return data;
}

static void fill(struct queue *q, float *data, double value)
{
    ck_assert_int_eq(cuda->fill(q, (struct view){data, 1, COUNT, COUNT, RELORA_F32}, value), RELORA_OK);
}

static void copy(struct queue *q, void *to, const void *from, int direction)
{
    struct copy c = {to, from, 1, BYTES, BYTES, BYTES, COPY_ON_DEVICE};
    c.direction = direction;
    ck_assert_int_eq(cuda->copy(q, &c), RELORA_OK);
}

static void all_are(struct queue *q, const float *data, float value)
{
    float *got = scratch(BYTES);
    copy(q, got, data, COPY_TO_HOST);
    ck_assert_int_eq(cuda->queue_sync(q), RELORA_OK);
    for (int i = 0; i < COUNT; i++) ck_assert_float_eq(got[i], value);
}

/* What a busy queue still reads is released through the device's own, before or after that queue is closed, and
 * the memory goes to the next who asks: only once it was read. A closed queue cannot be waited for, so that what
 * it copied is not looked at; the emulator sees when it reads too late. */
START_TEST(test_release)
{
    for (int round = 0; round < 20; round++) {
        struct queue *busy = open_queue(), *next = open_queue();
        float *x = floats(cuda_queue), *y = floats(cuda_queue);
        fill(busy, x, 1);
        for (int i = 0; i < 50; i++) copy(busy, y, x, COPY_ON_DEVICE);
        if (_i == 0) cuda->release(cuda_queue, x, BYTES);
        if (_i == 0) cuda->queue_wait(next, busy);
        cuda->queue_close(busy);
        if (_i == 1) cuda->release(cuda_queue, x, BYTES);
        float *z = floats(cuda_queue);
        fill(cuda_queue, z, 2);
        if (_i == 0) all_are(next, y, 1);
        all_are(cuda_queue, z, 2);
        cuda->release(cuda_queue, y, BYTES);
        cuda->release(cuda_queue, z, BYTES);
        cuda->queue_close(next);
    }
}
END_TEST

/* A queue's own memory: allocated and released in its order, without a wait. */
START_TEST(test_own_memory)
{
    struct queue *q = open_queue();
    float *y = floats(q);
    for (int i = 0; i < 20; i++) {
        float *x = floats(q);
        fill(q, x, i);
        copy(q, y, x, COPY_ON_DEVICE);
        cuda->release(q, x, BYTES);
    }
    all_are(q, y, 19);
    cuda->release(q, y, BYTES);
    cuda->queue_close(q);
}
END_TEST

START_TEST(test_wait)
{
    struct queue *first = open_queue(), *second = open_queue();
    float *x = floats(cuda_queue), *y = floats(cuda_queue);
    fill(first, x, 0);
    fill(second, y, 0);
    ck_assert_int_eq(cuda->queue_sync(second), RELORA_OK);
    fill(first, x, 3);
    ck_assert_int_eq(cuda->queue_wait(second, first), RELORA_OK);
    copy(second, y, x, COPY_ON_DEVICE);
    all_are(second, y, 3);
    cuda->release(cuda_queue, x, BYTES);
    cuda->release(cuda_queue, y, BYTES);
    cuda->queue_close(first);
    cuda->queue_close(second);
}
END_TEST

/* ---- copies ---- */

/* Pieces of rows, in every direction, leave alone what is between them. */
START_TEST(test_pieces)
{
    enum { ROWS = 37, PIECE = 10, TO = 24, FROM = 17 };
    struct twin x = twin_make(ROWS * FROM, RELORA_BF16, VALUES_ANY, 1),
                y = twin_make(ROWS * TO, RELORA_BF16, VALUES_ANY, 2);
    struct twin z = twin_make(ROWS * TO, RELORA_BF16, VALUES_ANY, 3);
    struct copy c = {.rows = ROWS, .bytes = PIECE * 2, .to_pitch = TO * 2, .from_pitch = FROM * 2};
    uint16_t *host = scratch(twin_bytes(z));
    c.to = y.cpu, c.from = x.cpu, c.direction = COPY_ON_DEVICE;
    ck_assert_int_eq(backend_cpu.copy(cpu_queue, &c), RELORA_OK);
    c.to = y.cuda, c.from = x.cuda;
    on_device(cuda->copy(cuda_queue, &c));
    SAME(y);

    c.to = z.cpu, c.from = x.cpu;
    ck_assert_int_eq(backend_cpu.copy(cpu_queue, &c), RELORA_OK);
    c.to = z.cuda, c.direction = COPY_TO_DEVICE;
    on_device(cuda->copy(cuda_queue, &c));
    SAME(z);

    memcpy(host, z.was, twin_bytes(z));
    c.to = host, c.from = x.cuda, c.direction = COPY_TO_HOST;
    on_device(cuda->copy(cuda_queue, &c));
    SAME_BYTES(host, z.cpu, twin_bytes(z));
}
END_TEST

START_TEST(test_nothing)
{
    struct copy c = {.rows = 5, .direction = COPY_TO_DEVICE};
    void *ptr;
    on_device(cuda->copy(cuda_queue, &c));
    c = (struct copy){.bytes = 5, .direction = COPY_TO_HOST};
    on_device(cuda->copy(cuda_queue, &c));
    on_device(cuda->alloc(cuda_queue, 0, &ptr));
    ck_assert_ptr_nonnull(ptr);
    cuda->release(cuda_queue, ptr, 0);
    cuda->release(cuda_queue, NULL, 0);
}
END_TEST

/* The source may be used again as soon as the call returns. */
START_TEST(test_source)
{
    struct queue *q = open_queue();
    float *x = floats(q), *source = scratch(BYTES);
    for (int i = 0; i < 20; i++) fill(q, x, 0);
    for (int i = 0; i < COUNT; i++) source[i] = 1;
    copy(q, x, source, COPY_TO_DEVICE);
    memset(source, 0, BYTES);
    all_are(q, x, 1);
    cuda->release(q, x, BYTES);
    cuda->queue_close(q);
}
END_TEST

/* ---- too much, and too many ---- */

static void refused(size_t bytes)
{
    void *ptr = &bytes;
    ck_assert_int_eq(cuda->alloc(cuda_queue, bytes, &ptr), RELORA_E_NO_MEMORY);
    ck_assert_ptr_null(ptr);
    ck_assert_ptr_nonnull(strstr(cuda->queue_error(cuda_queue), "allocation"));
}

START_TEST(test_no_memory)
{
    enum { MOST = 8 };
    void *part[MOST];
    uint64_t free_bytes, total;
    on_device(cuda->describe(0, NULL, 0, &free_bytes, &total));
    ck_assert(free_bytes <= total && total);
    refused((size_t)total + 1);
    refused((size_t)1 << 62);
    refused(SIZE_MAX - 1);
    for (int round = 0; round < 3; round++) { /* what was released is there for all who ask */
        int parts = 0;
        while (parts < MOST && cuda->alloc(cuda_queue, (size_t)total / 5, &part[parts]) >= 0) parts++;
        ck_assert_int_ge(parts, 3);
        ck_assert_int_lt(parts, MOST);
        refused((size_t)total / 5);
        while (parts) cuda->release(cuda_queue, part[--parts], (size_t)total / 5);
    }
    float *x = floats(cuda_queue);
    fill(cuda_queue, x, 4);
    all_are(cuda_queue, x, 4);
    cuda->release(cuda_queue, x, BYTES);
}
END_TEST

/* Queues come and go, each with a product: what they leave behind is used by the next. */
START_TEST(test_many_queues)
{
    struct matrix a = matrix_make((struct shape){16, 16, 0, 0}, RELORA_F32, VALUES_NORMAL, 1), b = a, c = a;
    struct gemm g = {.a = a.cuda, .b = b.cuda, .c = c.cuda, .accumulate = 1};
    int before = 0, many = 50; /* some of these may still have work to do */
    for (int i = 0; i < many; i++) {
        struct queue *q = open_queue();
        ck_assert_int_eq(cuda->gemm(q, &g), RELORA_OK);
        cuda->queue_close(q);
        on_device(RELORA_OK);
        if (i == 0) before = device_objects();
    }
    ck_assert_int_lt(device_objects(), before + many);
}
END_TEST

Suite *kernels_queue(void)
{
    Suite *s = suite_create("queue");
    TCase *tc = twin_case(s, "queue");
    twin_test(tc, test_release, 2);
    twin_test(tc, test_own_memory, 1);
    twin_test(tc, test_wait, 1);
    twin_test(tc, test_pieces, 1);
    twin_test(tc, test_nothing, 1);
    twin_test(tc, test_source, 1);
    twin_test(tc, test_no_memory, 1);
    twin_test(tc, test_many_queues, 1);
    return s;
}
