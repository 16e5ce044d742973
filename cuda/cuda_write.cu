/* What the host writes to the device. The source may be used again when the call returns, and the call does not
 * wait for what is queued. A copy from memory that is not pinned promises neither of the two: the driver may wait
 * for the stream before it reads, and a device that can read such memory by itself reads it late. So a few bytes go
 * along with a kernel, as its argument, and more by way of pinned memory of our own, in pieces that become free in
 * the order of their streams. There are 4 MiB of it for each device of a context: a write that is larger waits for
 * its stream, and so does one that finds all of it under way. */
#include "cuda_queue.h"

#include <string.h>

enum { PIECES = 64, SMALL_BYTES = 512 };
static const size_t PIECE_BYTES = 64 << 10;

struct cuda_staging {
    pthread_mutex_t lock;
    unsigned char *memory;     /* pinned */
    cudaEvent_t done[PIECES]; /* behind the copy from a piece */
    uint64_t next;
};

static const char *const what = "a copy to the device";

relora_status cuda_staging_open(struct queue *q)
{
    struct cuda_staging *s = (struct cuda_staging *)memory_alloc_zero(q->memory, sizeof *s);
    if (!s) return RELORA_E_NO_MEMORY;
    q->pool->staging = s;
    pthread_mutex_init(&s->lock, NULL);
    cudaError_t error = cudaMallocHost(&s->memory, PIECES * PIECE_BYTES);
    for (int i = 0; i < PIECES && !error; i++) error = cudaEventCreateWithFlags(&s->done[i], cudaEventDisableTiming);
    return cuda_result(q, error, "pinned memory");
}

void cuda_staging_close(struct queue *q)
{
    struct cuda_staging *s = q->pool->staging;
    if (!s) return;
    for (int i = 0; i < PIECES; i++)
        if (s->done[i]) cudaEventDestroy(s->done[i]);
    if (s->memory) cudaFreeHost(s->memory); /* waits for the device */
    pthread_mutex_destroy(&s->lock);
    memory_free(q->memory, s, sizeof *s);
}

/* ---- a few bytes ---- */

struct small {
    unsigned char bytes[SMALL_BYTES];
};

static __global__ void write_kernel(struct small from, unsigned char *to, int count)
{
    int i = (int)threadIdx.x;
    if (i < count) to[i] = from.bytes[i];
}

static relora_status write_small(struct queue *q, void *to, const void *from, size_t bytes)
{
    struct small small;
    memcpy(small.bytes, from, bytes);
    memset(small.bytes + bytes, 0, sizeof small.bytes - bytes);
    return cuda_launch(q, what, write_kernel, 1, SMALL_BYTES, small, (unsigned char *)to, (int)bytes);
}

cudaError_t cuda_load_write(void)
{
    return cuda_load(write_kernel);
}

/* ---- more of them ---- */

/* `c` fits into a piece. A host may capture one of its streams meanwhile, which a wait for an event would spoil if it
 * were not said that this one has nothing to do with it. */
static cudaError_t write_piece(struct queue *q, const struct copy *c)
{
    struct cuda_staging *s = q->pool->staging;
    enum cudaStreamCaptureMode mode = cudaStreamCaptureModeRelaxed;
    pthread_mutex_lock(&s->lock);
    unsigned char *piece = s->memory + s->next % PIECES * PIECE_BYTES;
    cudaEvent_t done = s->done[s->next++ % PIECES];
    cudaThreadExchangeStreamCaptureMode(&mode);
    cudaError_t error = cudaEventSynchronize(done);
    cudaThreadExchangeStreamCaptureMode(&mode);
    for (int64_t i = 0; i < c->rows && !error; i++)
        memcpy(piece + (size_t)i * c->bytes, (const unsigned char *)c->from + (size_t)i * c->from_pitch, c->bytes);
    if (!error)
        error = cudaMemcpy2DAsync(c->to, c->to_pitch, piece, c->bytes, c->bytes, (size_t)c->rows,
                                  cudaMemcpyHostToDevice, q->stream);
    if (!error) error = cudaEventRecord(done, q->stream);
    pthread_mutex_unlock(&s->lock);
    return error;
}

static struct copy part_of(const struct copy *c, int64_t row, int64_t rows, size_t from, size_t bytes)
{
    struct copy part = *c;
    part.to = (unsigned char *)c->to + (size_t)row * c->to_pitch + from;
    part.from = (const unsigned char *)c->from + (size_t)row * c->from_pitch + from;
    part.rows = rows;
    part.bytes = bytes;
    if (rows == 1) part.to_pitch = part.from_pitch = bytes;
    return part;
}

/* As many whole rows at a time as fit into a piece, or a row in several. */
static cudaError_t write_staged(struct queue *q, const struct copy *c)
{
    int64_t rows = c->bytes < PIECE_BYTES ? (int64_t)(PIECE_BYTES / c->bytes) : 1;
    cudaError_t error = cudaSuccess;
    for (int64_t row = 0; row < c->rows; row += rows)
        for (size_t from = 0; from < c->bytes && !error; from += PIECE_BYTES) {
            size_t bytes = c->bytes - from < PIECE_BYTES ? c->bytes - from : PIECE_BYTES;
            struct copy part = part_of(c, row, c->rows - row < rows ? c->rows - row : rows, from, bytes);
            error = write_piece(q, &part);
        }
    return error;
}

static cudaError_t write_direct(struct queue *q, const struct copy *c, int32_t wait)
{
    cudaError_t error = cudaMemcpy2DAsync(c->to, c->to_pitch, c->from, c->from_pitch, c->bytes, (size_t)c->rows,
                                          cudaMemcpyHostToDevice, q->stream);
    return error || !wait ? error : cudaStreamSynchronize(q->stream);
}

relora_status cuda_write(struct queue *q, const struct copy *copy)
{
    struct copy c = *copy;
    int32_t captured;
    if (c.rows > 1 && c.to_pitch == c.bytes && c.from_pitch == c.bytes) {
        c.bytes *= (size_t)c.rows;
        c.rows = 1;
    }
    if (c.rows == 1) c.to_pitch = c.from_pitch = c.bytes;
    if (c.rows == 1 && c.bytes <= SMALL_BYTES) return write_small(q, c.to, c.from, c.bytes);
    cudaError_t error = cuda_captured(q->stream, &captured);
    if (error) return cuda_result(q, error, what);
    if (captured) return cuda_result(q, write_direct(q, &c, 0), what); /* it is read when the graph is launched */
    size_t most = PIECES / 2 * PIECE_BYTES; /* pieces need not be full */
    error = c.bytes * (size_t)c.rows > most ? write_direct(q, &c, 1) : write_staged(q, &c);
    return cuda_result(q, error, what);
}
