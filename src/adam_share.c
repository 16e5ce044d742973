/* Moments in shares: which elements are this rank's, and all of them for the moment when somebody asks. */
#include "adam_comm.h"

int64_t adam_span(int64_t count)
{
    return (count + COMM_ALIGN - 1) / COMM_ALIGN * COMM_ALIGN;
}

int64_t adam_row(const relora_adam *adam)
{
    if (!adam->registry.count) return 0;
    const struct adam_entry *last = adam_at(adam, adam->registry.count - 1);
    return last->at + adam_span(last->is.value->shape.count);
}

struct adam_own adam_own(const relora_adam *adam, int32_t index)
{
    const struct adam_entry *e = adam_at(adam, index);
    int64_t n = e->is.value->shape.count;
    if (!adam_is_sharded(adam)) return (struct adam_own){0, n};
    int64_t begin = adam->comm.table.rank * adam->share - e->at, end = begin + adam->share;
    if (begin < 0) begin = 0;
    if (end > n) end = n;
    return begin < end ? (struct adam_own){begin, end - begin} : (struct adam_own){0, 0};
}

static relora_status make_share(const struct call *c, relora_adam *adam, int32_t index)
{
    struct adam_entry *e = adam_at(adam, index);
    struct adam_own own = adam_own(adam, index);
    if (!own.count) return RELORA_OK;
    for (int i = 0; i < 2; i++) {
        relora_tensor **moment = i ? &e->second : &e->first;
        TRY(tensor_new(c, moment, adam->device, RELORA_F32, 1, &own.count));
        TRY(tensor_preset(c, *moment, 0));
    }
    return RELORA_OK;
}

static void drop_shares(relora_adam *adam)
{
    adam->share = 0;
    for (int32_t i = 0; i < adam->registry.count; i++) {
        struct adam_entry *e = adam_at(adam, i);
        relora_tensor_release(e->first);
        relora_tensor_release(e->second);
        e->first = e->second = NULL;
    }
}

relora_status adam_share(const struct call *c, relora_adam *adam)
{
    int64_t size = adam->comm.table.size;
    if (!adam_is_sharded(adam) || adam->share || !adam->registry.count) return RELORA_OK;
    adam->share = adam_span((adam_row(adam) + size - 1) / size);
    for (int32_t i = 0; i < adam->registry.count; i++) {
        relora_status status = make_share(c, adam, i);
        if (status >= 0) continue;
        drop_shares(adam);
        return status;
    }
    return RELORA_OK;
}

/* ---- the whole of a moment ---- */

static relora_tensor *moment_of(const relora_adam *adam, int32_t index, relora_moment moment)
{
    const struct adam_entry *e = adam_at(adam, index);
    return moment == RELORA_MOMENT_FIRST ? e->first : e->second;
}

static relora_status copy_share(const struct call *c, const relora_adam *adam, int32_t index, void *to,
                                const void *from)
{
    struct adam_own own = adam_own(adam, index);
    struct copy copy = {to, from, 1, (size_t)own.count * sizeof(float), 0, 0, COPY_ON_DEVICE};
    return own.count ? call_queue(c, c->backend->copy(c->queue, &copy)) : RELORA_OK;
}

/* Every element is one rank's, and 0 elsewhere. As whole numbers the sum keeps each bit, of -0 and of a NaN
 * too. A share begins and ends at a multiple of COMM_ALIGN, so no number is made of two ranks' elements. */
relora_status adam_gather_moment(const struct call *c, const relora_adam *adam, int32_t index,
                                 relora_moment moment, float *whole)
{
    const relora_tensor *share = moment_of(adam, index, moment);
    int64_t n = adam_at(adam, index)->is.value->shape.count;
    int64_t piece = comm_part(&adam->comm) * adam->comm.table.size;
    float *wire = adam->comm.wire;
    struct view all = {whole, 1, n, n, RELORA_F32};
    TRY(call_queue(c, c->backend->fill(c->queue, all, 0)));
    if (share) TRY(copy_share(c, adam, index, whole + adam_own(adam, index).first, share->data));
    for (int64_t begin = 0; begin < n; begin += piece) {
        int64_t length = n - begin < piece ? n - begin : piece;
        struct view padded = {wire, 1, adam_span(length), adam_span(length), RELORA_F32};
        struct copy out = {wire, whole + begin, 1, (size_t)length * sizeof *whole, 0, 0, COPY_ON_DEVICE};
        struct copy back = {whole + begin, wire, 1, (size_t)length * sizeof *whole, 0, 0, COPY_ON_DEVICE};
        TRY(call_queue(c, c->backend->fill(c->queue, padded, 0)));
        TRY(call_queue(c, c->backend->copy(c->queue, &out)));
        TRY(comm_sum(c, &adam->comm, "moments", wire, adam_span(length) / 2, RELORA_COMM_I64));
        TRY(call_queue(c, c->backend->copy(c->queue, &back)));
    }
    return RELORA_OK;
}

relora_status adam_take_share(const struct call *c, const relora_adam *adam, int32_t index,
                              relora_moment moment, const float *whole)
{
    const relora_tensor *share = moment_of(adam, index, moment);
    return share ? copy_share(c, adam, index, share->data, whole + adam_own(adam, index).first) : RELORA_OK;
}
