/* Replicas that have drifted apart train on as if nothing were wrong. So ranks compare what must be equal,
 * by the checksum of its bytes; in a build without checksums nothing is seen. */
#include "checksum.h"
#include "comm.h"

enum { BUFFER_BYTES = 1 << 20 };

struct sameness {
    const struct call *call;
    const struct comm *comm;
    void *buffer;
};

/* Row after row; without gaps it is all one row. */
static relora_status add_tensor(const struct sameness *s, checksum *sum, const relora_tensor *tensor)
{
    const struct call *c = s->call;
    if (!tensor || !tensor->data)
        return RELORA_OK; /* not there, or without memory so far, which is said elsewhere */
    const struct view v = tensor_view(tensor);
    size_t row = (size_t)v.cols * dtype_size(v.dtype), pitch = (size_t)v.ld * dtype_size(v.dtype);
    size_t rows = (size_t)v.rows;
    if (v.ld == v.cols) row *= rows, rows = 1;
    for (size_t i = 0; i < rows; i++)
        for (size_t done = 0; done < row;) {
            size_t n = row - done < BUFFER_BYTES ? row - done : BUFFER_BYTES;
            const unsigned char *from = (const unsigned char *)v.data + i * pitch + done;
            struct copy copy = {s->buffer, from, 1, n, 0, 0, COPY_TO_HOST};
            TRY(call_queue(c, c->backend->copy(c->queue, &copy)));
            TRY(call_queue(c, c->backend->queue_sync(c->queue)));
            checksum_add(sum, s->buffer, n);
            done += n;
        }
    return RELORA_OK;
}

/* The first rank whose tensors `first` to `last` have another sum than those of rank 0; 0 if there is none.
 * */
static relora_status compare(const struct sameness *s, int32_t first, int32_t last, comm_item_fn at,
                             void *user, int32_t *rank)
{
    const char *name;
    int64_t of_first, other;
    checksum sum;
    checksum_begin(&sum);
    for (int32_t i = first; i < last; i++) TRY(add_tensor(s, &sum, at(user, i, &name)));
    TRY(comm_share_number(s->call, s->comm, "checksums", checksum_number(&sum)));
    TRY(comm_number_of(s->call, s->comm, 0, &of_first));
    for (*rank = 1; *rank < s->comm->table.size; ++*rank) {
        TRY(comm_number_of(s->call, s->comm, *rank, &other));
        if (other != of_first) return RELORA_OK;
    }
    *rank = 0;
    return RELORA_OK;
}

/* All at once; only if they differ, one after the other. All ranks see the same numbers, and so do the same.
 * */
static relora_status check(const struct sameness *s, int32_t count, comm_item_fn at, void *user)
{
    const char *name = "";
    int32_t rank;
    TRY(compare(s, 0, count, at, user, &rank));
    if (!rank) return RELORA_OK;
    for (int32_t i = 0; i < count; i++) {
        TRY(compare(s, i, i + 1, at, user, &rank));
        if (!rank) continue;
        at(user, i, &name);
        FAIL(s->call, RELORA_E_STATE, "\"%s\" of rank %d differs from that of rank 0; nothing was done", name,
             rank);
    }
    return RELORA_OK;
}

relora_status comm_check_same(const struct call *c, const struct comm *comm, int32_t count, comm_item_fn at,
                              void *user)
{
    const struct memory *memory = &c->ctx->memory;
    struct sameness s = {c, comm, memory_alloc(memory, BUFFER_BYTES)};
    if (!s.buffer) return call_fail_memory(c, BUFFER_BYTES);
    relora_status status = check(&s, count, at, user);
    memory_free(memory, s.buffer, BUFFER_BYTES);
    return status;
}
