#include "modules/fake.h"

#include <pthread.h>
#include <stdio.h>

extern struct fake fake;
__attribute__((visibility("default"))) struct fake fake = {.devices = FAKE_DEVICES};

/* The host's streams under the CPU's queues, which know nothing of them. */
enum { QUEUES = 256 };
static struct {
    const struct queue *queue;
    void *native;
} queues[QUEUES];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static void *native_of(const struct queue *q)
{
    for (int i = 0; i < QUEUES; i++)
        if (queues[i].queue == q) return queues[i].native;
    return NULL;
}

static void note(const struct queue *from, const struct queue *to, void *native)
{
    for (int i = 0; i < QUEUES; i++) {
        if (queues[i].queue != from) continue;
        queues[i].queue = to;
        queues[i].native = native;
        return;
    }
}

static relora_status count(int32_t *devices)
{
    pthread_mutex_lock(&lock);
    fake.asked++;
    *devices = fake.devices;
    relora_status status = fake.count_status;
    pthread_mutex_unlock(&lock);
    return status;
}

static relora_status describe(int32_t device, char *name, size_t capacity, uint64_t *free_bytes,
                              uint64_t *total_bytes)
{
    if (device >= fake.devices) {
        if (name) snprintf(name, capacity, "no driver");
        return RELORA_E_BACKEND;
    }
    if (fake.describe_status < 0) {
        if (name) snprintf(name, capacity, "fake %d is too old", device);
        return fake.describe_status;
    }
    relora_status status = backend_cpu.describe(0, NULL, 0, free_bytes, total_bytes);
    if (name) snprintf(name, capacity, "fake %d", device);
    return status;
}

static relora_status queue_open(int32_t device, const struct queue_options *options, struct queue **out)
{
    pthread_mutex_lock(&lock);
    relora_status status = fake.open_status;
    if (status >= 0) status = backend_cpu.queue_open(0, options, out);
    if (status >= 0) {
        fake.opened++;
        fake.last = *options;
        fake.last_device = device;
        note(NULL, *out, options->wrap ? options->native : *out);
    }
    pthread_mutex_unlock(&lock);
    return status;
}

static void queue_close(struct queue *q)
{
    pthread_mutex_lock(&lock);
    fake.closed++;
    note(q, NULL, NULL);
    pthread_mutex_unlock(&lock);
    backend_cpu.queue_close(q);
}

static void *queue_native(const struct queue *q)
{
    pthread_mutex_lock(&lock);
    void *native = native_of(q);
    pthread_mutex_unlock(&lock);
    return native;
}

static relora_status queue_wait(struct queue *q, struct queue *other)
{
    pthread_mutex_lock(&lock);
    fake.waits++;
    fake.waiter = native_of(q);
    fake.waited = native_of(other);
    relora_status status = fake.wait_status;
    pthread_mutex_unlock(&lock);
    return status;
}

static relora_status copy(struct queue *q, const struct copy *c)
{
    pthread_mutex_lock(&lock);
    fake.uploads += c->direction == COPY_TO_DEVICE;
    pthread_mutex_unlock(&lock);
    return backend_cpu.copy(q, c);
}

static relora_status gemm(struct queue *q, const struct gemm *g)
{
    pthread_mutex_lock(&lock);
    fake.gemms++;
    fake.tf32 += g->tf32;
    pthread_mutex_unlock(&lock);
    return backend_cpu.gemm(q, g);
}

static struct backend table;

__attribute__((visibility("default"))) const struct backend *relora_cuda_backend(uint32_t version);
const struct backend *relora_cuda_backend(uint32_t version)
{
    if (version != BACKEND_VERSION) return NULL;
    pthread_mutex_lock(&lock);
    table = backend_cpu;
    table.kind = RELORA_DEVICE_CUDA;
    table.name = "fake";
    table.slice_rows = 0;
    table.count = count;
    table.describe = describe;
    table.queue_open = queue_open;
    table.queue_close = queue_close;
    table.queue_native = queue_native;
    table.queue_wait = queue_wait;
    table.copy = copy;
    table.gemm = gemm;
    pthread_mutex_unlock(&lock);
    return &table;
}
