/* Memory of a device, ordered by streams, and copies. What is released stays with the pool, so that a
 * loop goes to the driver in its first step only. While a stream is captured into a graph nothing is
 * allocated on it, and what is released waits for the end of the capture: before that nothing can be ordered
 * behind the stream's work, and to free memory there would be a part of the graph. */
#include "cuda_queue.h"

static cudaError_t pool_make(struct cuda_pool *pool, int32_t device)
{
    cudaMemPoolProps props = {};
    props.allocType = cudaMemAllocationTypePinned;
    props.location.type = cudaMemLocationTypeDevice;
    props.location.id = device;
    uint64_t keep = UINT64_MAX;
    int wait = 0; /* for another stream to let go of memory: an allocation would have to wait with it */
    size_t free_bytes;
    cudaError_t error = cudaMemPoolCreate(&pool->blocks, &props);
    if (!error) error = cudaMemPoolSetAttribute(pool->blocks, cudaMemPoolAttrReleaseThreshold, &keep);
    if (!error)
        error = cudaMemPoolSetAttribute(pool->blocks, cudaMemPoolReuseAllowInternalDependencies, &wait);
    if (!error) error = cudaMemGetInfo(&free_bytes, &pool->total_bytes);
    if (!error) error = cudaStreamCreateWithFlags(&pool->releases, cudaStreamNonBlocking);
    if (!error) error = cudaEventCreateWithFlags(&pool->event, cudaEventDisableTiming);
    return error;
}

relora_status cuda_pool_open(struct queue *q)
{
    q->pool = (struct cuda_pool *)memory_alloc_zero(q->memory, sizeof *q->pool);
    if (!q->pool) return RELORA_E_NO_MEMORY;
    q->pool->memory = q->memory;
    pthread_mutex_init(&q->pool->lock, NULL);
    relora_status status = cuda_result(q, pool_make(q->pool, q->device), "making a pool of memory");
    return status < 0 ? status : cuda_staging_open(q);
}

cudaError_t cuda_captured(cudaStream_t stream, int32_t *captured)
{
    enum cudaStreamCaptureStatus status = cudaStreamCaptureStatusNone;
    cudaError_t error = cudaStreamIsCapturing(stream, &status);
    *captured = error || status != cudaStreamCaptureStatusNone;
    if (error != cudaErrorStreamCaptureImplicit) return error;
    cudaGetLastError(); /* the host must not find it in a call of its own */
    return cudaSuccess;
}

/* The caller holds the lock. */
static cudaError_t order(struct cuda_pool *pool, cudaStream_t earlier, cudaStream_t later)
{
    cudaError_t error = cudaEventRecord(pool->event, earlier);
    return error ? error : cudaStreamWaitEvent(later, pool->event, 0);
}

cudaError_t cuda_pool_order(struct cuda_pool *pool, cudaStream_t earlier, cudaStream_t later)
{
    pthread_mutex_lock(&pool->lock);
    cudaError_t error = order(pool, earlier, later);
    pthread_mutex_unlock(&pool->lock);
    return error;
}

/* ---- memory that cannot be freed yet ---- */

struct held {
    void *ptr;
    int32_t to_the_end; /* of the context: the queue that used it is gone, and cannot be waited for */
    struct held *next;
};

/* The caller holds the lock. Where there is no memory to remember it by, it is lost until the process ends. */
static void hold(struct cuda_pool *pool, void *ptr, int32_t to_the_end)
{
    struct held *h = (struct held *)memory_alloc_zero(pool->memory, sizeof *h);
    if (!h) return;
    h->ptr = ptr;
    h->to_the_end = to_the_end;
    h->next = pool->held;
    pool->held = h;
}

static void free_held(struct cuda_pool *pool, int32_t all)
{
    for (struct held **link = &pool->held; *link;) {
        struct held *h = *link;
        if (h->to_the_end && !all) {
            link = &h->next;
            continue;
        }
        *link = h->next;
        cudaFreeAsync(h->ptr, pool->releases);
        memory_free(pool->memory, h, sizeof *h);
    }
}

/* The caller holds the lock. Orders `releases` behind all queues and frees what was held back, if no queue is captured. */
static cudaError_t settle(struct cuda_pool *pool, int32_t *captured)
{
    cudaError_t error = cudaSuccess;
    *captured = 0;
    for (struct queue *q = pool->queues; q && !error && !*captured; q = q->next) error = cuda_captured(q->stream, captured);
    if (error || *captured) return error;
    for (struct queue *q = pool->queues; q && !error; q = q->next) error = order(pool, q->stream, pool->releases);
    if (!error) free_held(pool, 0);
    return error;
}

/* What the pool handed out CUDA keeps until the work that was queued is done with it; handles of cuBLASLt and pinned
 * memory wait for the device. */
void cuda_pool_close(struct queue *q)
{
    struct cuda_pool *pool = q->pool;
    cuda_products_free(pool);
    cuda_staging_close(q);
    if (pool->held) cudaDeviceSynchronize();
    free_held(pool, 1);
    if (pool->event) cudaEventDestroy(pool->event);
    if (pool->releases) cudaStreamDestroy(pool->releases);
    if (pool->blocks) cudaMemPoolDestroy(pool->blocks);
    pthread_mutex_destroy(&pool->lock);
    memory_free(q->memory, pool, sizeof *pool);
}

void cuda_pool_join(struct queue *q)
{
    pthread_mutex_lock(&q->pool->lock);
    q->next = q->pool->queues;
    q->pool->queues = q;
    pthread_mutex_unlock(&q->pool->lock);
}

void cuda_pool_leave(struct queue *q)
{
    struct cuda_pool *pool = q->pool;
    pthread_mutex_lock(&pool->lock);
    struct queue **link = &pool->queues;
    while (*link && *link != q) link = &(*link)->next;
    if (*link) {
        int32_t captured;
        *link = q->next;
        if (!cuda_captured(q->stream, &captured) && !captured)
            order(pool, q->stream, pool->releases); /* its work still runs, and later releases must not overtake it */
    }
    pthread_mutex_unlock(&pool->lock);
}

/* ---- what the table offers ---- */

static cudaError_t alloc(struct queue *q, size_t bytes, void **out)
{
    struct cuda_pool *pool = q->pool;
    cudaError_t error = cudaMallocFromPoolAsync(out, bytes, pool->blocks, q->stream);
    if (error != cudaErrorMemoryAllocation) return error;
    cudaGetLastError();
    int32_t captured;
    pthread_mutex_lock(&pool->lock);
    settle(pool, &captured);
    pthread_mutex_unlock(&pool->lock);
    cudaStreamSynchronize(pool->releases); /* rather wait for memory than do without */
    cudaMemPoolTrimTo(pool->blocks, 0);
    return cudaMallocFromPoolAsync(out, bytes, pool->blocks, q->stream);
}

relora_status cuda_alloc(struct queue *q, size_t bytes, void **out)
{
    const char *what = "an allocation";
    int32_t captured;
    *out = NULL;
    if (bytes > q->pool->total_bytes)
        return cuda_failed(q, RELORA_E_NO_MEMORY, what, "it is larger than the device's memory");
    device_scope scope(q);
    cudaError_t error = cuda_captured(q->stream, &captured);
    if (!error && captured)
        return cuda_failed(q, RELORA_E_BACKEND, what,
                           "the stream is captured into a graph; what is captured must have run once before");
    if (!error) error = alloc(q, bytes ? bytes : 1, out);
    if (!error && !q->parent) error = cudaStreamSynchronize(q->stream); /* ready for every queue */
    return cuda_result(q, error, what);
}

void cuda_release(struct queue *q, void *ptr, size_t bytes)
{
    (void)bytes;
    if (!ptr) return;
    struct cuda_pool *pool = q->pool;
    device_scope scope(q);
    int32_t captured = 0;
    cudaError_t error = q->parent ? cuda_captured(q->stream, &captured) : cudaSuccess;
    if (q->parent && !error && !captured) {
        cuda_result(q, cudaFreeAsync(ptr, q->stream), "a release");
        return;
    }
    pthread_mutex_lock(&pool->lock);
    if (!q->parent) error = settle(pool, &captured);
    if (captured) hold(pool, ptr, q->parent != NULL);
    else if (!error) error = cudaFreeAsync(ptr, pool->releases);
    pthread_mutex_unlock(&pool->lock);
    cuda_result(q, error, "a release");
}

relora_status cuda_copy(struct queue *q, const struct copy *c)
{
    int to_host = c->direction == copy::COPY_TO_HOST;
    enum cudaMemcpyKind kind = to_host ? cudaMemcpyDeviceToHost : cudaMemcpyDeviceToDevice;
    if (!c->bytes || c->rows <= 0) return RELORA_OK;
    device_scope scope(q);
    if (c->direction == copy::COPY_TO_DEVICE) return cuda_write(q, c);
    cudaError_t error;
    if (c->rows == 1 || (c->to_pitch == c->bytes && c->from_pitch == c->bytes))
        error = cudaMemcpyAsync(c->to, c->from, c->bytes * (size_t)c->rows, kind, q->stream);
    else
        error = cudaMemcpy2DAsync(c->to, c->to_pitch, c->from, c->from_pitch, c->bytes, (size_t)c->rows, kind,
                                  q->stream);
    return cuda_result(q, error, to_host ? "a copy to the host" : "a copy on the device");
}

void *cuda_scratch(struct queue *q, size_t bytes)
{
    if (bytes > q->scratch_bytes) {
        void *grown;
        if (cuda_alloc(q, bytes, &grown) < 0) return NULL;
        cuda_release(q, q->scratch, q->scratch_bytes);
        q->scratch = grown;
        q->scratch_bytes = bytes;
    }
    return q->scratch;
}
