/* Exchanges between ranks: through the host's table, by way of the host's memory where the table wants that.
 * */
#include "comm.h"

#include <limits.h>

#include "device.h"

static const char *const memory_names[] = {NULL, "CPU", "CUDA", NULL};

static const struct option comm_rows[] = {
    {FIELD(relora_comm, size), OPTION_I32, .value = 1, .low = 1, .high = INT32_MAX},
    {FIELD(relora_comm, rank), OPTION_I32, .high = INT32_MAX},
    {FIELD(relora_comm, memory), OPTION_ENUM, .value = RELORA_DEVICE_CPU, .names = memory_names},
    {FIELD(relora_comm, sum), OPTION_POINTER},
    {FIELD(relora_comm, reduce_scatter), OPTION_POINTER},
    {FIELD(relora_comm, all_gather), OPTION_POINTER},
    {FIELD(relora_comm, error), OPTION_POINTER},
    {FIELD(relora_comm, user), OPTION_POINTER},
};
const struct options comm_table = {
    ROWS(comm_rows), .size = sizeof(relora_comm), .first_size = END_OF(relora_comm, user), /* 0.6 */
};

relora_status relora_comm_init(relora_comm *comm, size_t size)
{
    return options_write(&comm_table, comm, size);
}

relora_status comm_take(const struct call *c, const char *name, struct comm *comm,
                        const relora_device *device, const relora_comm *table)
{
    *comm = (struct comm){.device = device};
    relora_comm *t = &comm->table;
    TRY(call_read_options(c, name, &comm_table, t, table));
    if (t->rank >= t->size)
        FAIL(c, RELORA_E_ARGUMENT, "%s.rank is %d, but %s.size is %d", name, t->rank, name, t->size);
    if (t->size > 1 && !(t->sum && t->reduce_scatter && t->all_gather))
        FAIL(c, RELORA_E_ARGUMENT, "%s.sum, .reduce_scatter or .all_gather is NULL", name);
    if (t->memory != RELORA_DEVICE_CPU && t->memory != device->backend->kind)
        FAIL(c, RELORA_E_DEVICE, "%s.memory is %s, but the device is %s", name, memory_names[t->memory],
             device->name);
    return RELORA_OK;
}

/* ---- memory ---- */

int64_t comm_part(const struct comm *comm)
{
    int64_t part = (int64_t)COMM_PIECE / comm->table.size / COMM_ALIGN * COMM_ALIGN;
    return part ? part : COMM_ALIGN;
}

static size_t wire_bytes(const struct comm *comm)
{
    return size_mul((size_t)comm_part(comm) * sizeof(float), (size_t)comm->table.size);
}

static int is_staged(const struct comm *comm)
{
    return comm->table.memory != comm->device->backend->kind;
}

relora_status comm_reserve(const struct call *c, struct comm *comm)
{
    const relora_device *device = comm->device;
    if (is_staged(comm)) comm->staged = memory_alloc(&device->ctx->memory, wire_bytes(comm));
    if (is_staged(comm) && !comm->staged) return call_fail_memory(c, wire_bytes(comm));
    relora_status status = device_alloc(c, device, device->queue, wire_bytes(comm), &comm->wire);
    if (status < 0) comm_free(comm);
    return status;
}

void comm_free(struct comm *comm)
{
    const relora_device *device = comm->device;
    memory_free(&device->ctx->memory, comm->staged, wire_bytes(comm));
    if (comm->wire) device->backend->release(device->queue, comm->wire, wire_bytes(comm));
    comm->wire = comm->staged = NULL;
}

/* ---- exchanges ---- */

static size_t type_bytes(relora_comm_type type)
{
    return type == RELORA_COMM_F32 ? sizeof(float) : sizeof(double);
}

static relora_status copy_bytes(const struct call *c, void *to, const void *from, size_t bytes, int to_host)
{
    struct copy copy = {to, from, 1, bytes, 0, 0, to_host ? COPY_TO_HOST : COPY_TO_DEVICE};
    TRY(call_queue(c, c->backend->copy(c->queue, &copy)));
    return to_host ? call_queue(c, c->backend->queue_sync(c->queue)) : RELORA_OK;
}

/* A failure finishes the stream: nobody knows which ranks have which numbers. */
static relora_status run(const struct call *c, const struct comm *comm, relora_comm_fn exchange,
                         const char *what, void *data, int64_t count, relora_comm_type type)
{
    const relora_comm *t = &comm->table;
    relora_status status = exchange(t->user, c->backend->queue_native(c->queue), data, count, type);
    if (status >= 0) return RELORA_OK;
    const char *text = t->error ? t->error(t->user) : NULL;
    call_note(c, RELORA_E_COMM);
    FAIL(c, RELORA_E_COMM, "rank %d of %d: the exchange of %s failed: %s", t->rank, t->size, what,
         text && text[0] ? text : relora_status_text(status));
}

static relora_status exchange(const struct call *c, const struct comm *comm, relora_comm_fn fn,
                              const char *what, void *data, int64_t parts, int64_t count,
                              relora_comm_type type)
{
    size_t bytes = (size_t)(parts * count) * type_bytes(type);
    if (!is_staged(comm)) return run(c, comm, fn, what, data, count, type);
    TRY(copy_bytes(c, comm->staged, data, bytes, 1));
    TRY(run(c, comm, fn, what, comm->staged, count, type));
    TRY(copy_bytes(c, data, comm->staged, bytes, 0));
    return call_queue(c, c->backend->queue_sync(c->queue)); /* the memory is for the next piece */
}

relora_status comm_sum(const struct call *c, const struct comm *comm, const char *what, void *data,
                       int64_t count, relora_comm_type type)
{
    return exchange(c, comm, comm->table.sum, what, data, 1, count, type);
}

relora_status comm_reduce_scatter(const struct call *c, const struct comm *comm, const char *what,
                                  int64_t count)
{
    return exchange(c, comm, comm->table.reduce_scatter, what, comm->wire, comm->table.size, count,
                    RELORA_COMM_F32);
}

relora_status comm_all_gather(const struct call *c, const struct comm *comm, const char *what, int64_t count)
{
    return exchange(c, comm, comm->table.all_gather, what, comm->wire, comm->table.size, count,
                    RELORA_COMM_F32);
}

relora_status comm_share_number(const struct call *c, const struct comm *comm, const char *what,
                                int64_t number)
{
    const relora_comm *t = &comm->table;
    int64_t *wire = comm->wire;
    TRY(copy_bytes(c, wire + t->rank, &number, sizeof number, 0));
    return exchange(c, comm, t->all_gather, what, wire, t->size, 1, RELORA_COMM_I64);
}

relora_status comm_number_of(const struct call *c, const struct comm *comm, int32_t rank, int64_t *number)
{
    return copy_bytes(c, number, (const int64_t *)comm->wire + rank, sizeof *number, 1);
}

relora_status comm_agree(const struct call *c, const struct comm *comm, relora_status status)
{
    TRY(comm_share_number(c, comm, "statuses", status));
    for (int32_t rank = 0; rank < comm->table.size && status >= 0; rank++) {
        int64_t other;
        TRY(comm_number_of(c, comm, rank, &other));
        if (other < 0)
            FAIL(c, (relora_status)other, "rank %d has failed: %s", rank,
                 relora_status_text((relora_status)other));
    }
    return status;
}
