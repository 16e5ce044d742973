/* The CUDA backend: its queue, how kernels are started, and the entries of its table. As in src/cpu,
 * work is split by shape alone, so results do not depend on the device's size. */
#ifndef RELORA_CUDA_QUEUE_H
#define RELORA_CUDA_QUEUE_H

#include <cublasLt.h>
#include <cuda_runtime.h>
#include <pthread.h>

#include "backend.h"
#include "convert.h"

enum { CUDA_LEAST_CAPABILITY = 8 }; /* compute capability, its first number: what the module has code for */

struct cuda_staging;  /* of cuda_write.cu: pinned memory that writes pass through */
struct cuda_products; /* of cuda_gemm.cu: how products are computed, and with what */

struct cuda_pool { /* what the queues of a device share */
    const struct memory *memory;
    cudaMemPool_t blocks;
    size_t total_bytes;    /* of the device */
    cudaStream_t releases; /* waits for every queue before it frees, and no queue waits for it */
    pthread_mutex_t lock;  /* of what follows */
    cudaEvent_t event;
    struct queue *queues; /* all that are open */
    struct held *held;    /* what was released while a stream was captured */
    struct cuda_staging *staging;
    struct cuda_products *products; /* of queues that are closed, for those to come */
};

/* The driver's cuCtxGetCurrent and cuCtxSetCurrent: which context a thread has. */
struct cuda_driver {
    int (*get)(void **context);
    int (*set)(void *context);
};
cudaError_t cuda_driver_find(struct cuda_driver *driver);

struct queue { /* a device's own queue allocates, releases, copies and fills for any thread */
    const struct memory *memory;
    int32_t device, multiprocessors;
    struct cuda_driver driver;
    void *context; /* the device's primary one */
    cudaStream_t stream;
    int32_t wrapped; /* the stream is the host's */
    struct queue *parent;
    struct cuda_pool *pool; /* made by the device's own queue */
    struct queue *next;     /* of the pool's */
    void *scratch; /* on the device; grows and stays */
    size_t scratch_bytes;
    struct cuda_products *products;
    char error[192];
};

/* RELORA_OK, or the failure with its text on the queue. Lack of device memory is RELORA_E_NO_MEMORY
 * and leaves the device usable. `what` names the work: "the merge", "a copy to the host". */
relora_status cuda_result(struct queue *q, cudaError_t error, const char *what);

/* A failure that no CUDA error stands for; returns `status`. */
relora_status cuda_failed(struct queue *q, relora_status status, const char *what, const char *why);

/* Makes a device current for a scope: which one a host has current is its own affair. What is put back is the
 * thread's context, not its device: cudaSetDevice() would make a context on a device that nobody uses, if the host
 * never chose one, and would choose for hosts whose runtime chooses late. */
struct device_scope {
    explicit device_scope(const struct queue *q) : driver(q->driver), before(q->context), now(q->context), error(cudaSuccess)
    {
        driver.get(&before);
        if (before != now) driver.set(now);
    }
    /* Gives the device a context, if it has none. */
    device_scope(const struct cuda_driver &d, int32_t device) : driver(d), before(NULL), now(NULL)
    {
        driver.get(&before);
        error = cudaSetDevice(device);
        driver.get(&now);
    }
    ~device_scope()
    {
        if (before != now) driver.set(before);
    }
    void *context() const { return now; }
    cudaError_t result() const { return error; }
    device_scope(const device_scope &) = delete;
    device_scope &operator=(const device_scope &) = delete;

private:
    struct cuda_driver driver;
    void *before, *now;
    cudaError_t error;
};

/* Start `kernel` on the queue's stream; 0 blocks is nothing to do. Arguments are converted to the
 * types of the kernel's parameters. */
template <class... P, class... A>
static inline relora_status cuda_launch(struct queue *q, const char *what, void (*kernel)(P...), dim3 blocks,
                                        dim3 threads, A... arguments)
{
    if (!blocks.x || !blocks.y || !blocks.z) return RELORA_OK;
    device_scope scope(q);
    cudaLaunchConfig_t config = {};
    config.gridDim = blocks;
    config.blockDim = threads;
    config.stream = q->stream;
    return cuda_result(q, cudaLaunchKernelEx(&config, kernel, static_cast<P>(arguments)...), what);
}

/* Loads kernels, which CUDA would put off to their first launch: that may wait for all work of the device, and is not
 * possible in every capture. Each file has a function that loads its own; all are called when a device is opened. */
template <class... K> static inline cudaError_t cuda_load(K... kernels)
{
    const void *all[] = {(const void *)kernels...};
    struct cudaFuncAttributes attributes;
    cudaError_t error = cudaSuccess;
    for (const void *kernel : all)
        if (!error) error = cudaFuncGetAttributes(&attributes, kernel);
    return error;
}

enum { CUDA_THREADS = 256 }; /* of a block, unless a kernel says otherwise */

/* Blocks for `items`, `each` to a block, no more than a kernel that loops over the grid needs. */
static inline unsigned cuda_blocks(const struct queue *q, int64_t items, int64_t each)
{
    int64_t blocks = (items + each - 1) / each, most = (int64_t)q->multiprocessors * 16;
    return (unsigned)(blocks < most ? blocks : most);
}

/* At least `bytes` bytes on the device that live until the next request; NULL if there are none, with
 * the text on the queue. Never grows while the stream is captured, if the same work ran before. */
void *cuda_scratch(struct queue *q, size_t bytes);

relora_status cuda_queue_open(int32_t device, const struct queue_options *options, struct queue **out);
void cuda_queue_close(struct queue *q);
void *cuda_queue_native(const struct queue *q);
const char *cuda_queue_error(const struct queue *q);
relora_status cuda_queue_sync(struct queue *q);
relora_status cuda_queue_wait(struct queue *q, struct queue *other);

relora_status cuda_pool_open(struct queue *q);
void cuda_pool_close(struct queue *q);
void cuda_pool_join(struct queue *q);  /* before a queue's first work */
void cuda_pool_leave(struct queue *q); /* after its last */
/* Later work of `later` waits for all work now queued on `earlier`. */
cudaError_t cuda_pool_order(struct cuda_pool *pool, cudaStream_t earlier, cudaStream_t later);
/* Is the stream being captured into a graph? So it is if it is the legacy default one, and another that it waits for is
 * captured: nothing may be asked of it then. */
cudaError_t cuda_captured(cudaStream_t stream, int32_t *captured);

cudaError_t cuda_load_adam(void);
cudaError_t cuda_load_elementwise(void);
cudaError_t cuda_load_gemm_plain(void);
cudaError_t cuda_load_merge(void);
cudaError_t cuda_load_prune(void);
cudaError_t cuda_load_reduce(void);
cudaError_t cuda_load_span(void);
cudaError_t cuda_load_write(void);

relora_status cuda_alloc(struct queue *q, size_t bytes, void **out);
void cuda_release(struct queue *q, void *ptr, size_t bytes);
relora_status cuda_copy(struct queue *q, const struct copy *c);
relora_status cuda_write(struct queue *q, const struct copy *c); /* COPY_TO_DEVICE */
relora_status cuda_staging_open(struct queue *q);
void cuda_staging_close(struct queue *q);

relora_status cuda_gemm(struct queue *q, const struct gemm *g);
relora_status cuda_gemm_plain(struct queue *q, const struct gemm *g);
void cuda_gemm_close(struct queue *q);
void cuda_products_free(struct cuda_pool *pool);

relora_status cuda_fill(struct queue *q, struct view y, double value);
relora_status cuda_convert(struct queue *q, const struct conversion *list, int32_t count);
relora_status cuda_merge(struct queue *q, const struct merge *m);
relora_status cuda_fold(struct queue *q, const struct fold *f);
relora_status cuda_sum_rows(struct queue *q, float *sums, struct view x, int32_t accumulate);
relora_status cuda_dropout(struct queue *q, const struct dropout *d);
relora_status cuda_uniform(struct queue *q, struct view y, double bound, struct draw d);
relora_status cuda_scale_grad(struct queue *q, float *grad, const float *scale, struct view h,
                              struct view u, int32_t accumulate);
relora_status cuda_largest(struct queue *q, struct view x, uint32_t *bits);
relora_status cuda_adam_norm(struct queue *q, const struct adam *a);
relora_status cuda_adam_decide(struct queue *q, const struct adam *a);
relora_status cuda_adam_step(struct queue *q, const struct adam *a);
relora_status cuda_prune(struct queue *q, const struct prune *p);
relora_status cuda_span(struct queue *q, const struct span *s);
relora_status cuda_share(struct queue *q, const struct share *s);
relora_status cuda_project(struct queue *q, const struct project *p);

#endif
