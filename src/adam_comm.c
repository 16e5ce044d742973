/* What an optimizer exchanges with other ranks in a step. */
#include "adam_comm.h"

enum what { GRADS, PARAMS };

/* Elements `begin` to `end` of the row of all parameters, into `wire` or out of it. */
static relora_status copy_range(const struct call *c, const relora_adam *adam, enum what what, int to_wire,
                                int64_t begin, int64_t end, float *wire)
{
    for (int32_t i = 0; i < adam->registry.count && adam_at(adam, i)->at < end; i++) {
        const struct adam_entry *e = adam_at(adam, i);
        int64_t at = e->at, n = e->is.value->shape.count;
        int64_t low = begin > at ? begin : at, high = end < at + n ? end : at + n;
        if (low < high)
            TRY(comm_copy(c, what == GRADS ? e->is.grad : e->is.value, low - at, high - at, to_wire,
                          wire + (low - begin)));
    }
    return RELORA_OK;
}

/* Between the parameters there is nothing to send: zeros. */
static relora_status clear_wire(const struct call *c, const relora_adam *adam, int64_t count)
{
    struct view all = {adam->comm.wire, 1, count, count, RELORA_F32};
    return call_queue(c, c->backend->fill(c->queue, all, 0));
}

static int64_t at_most(int64_t x, int64_t most)
{
    return x < most ? x : most;
}

static relora_status sum_everywhere(const struct call *c, relora_adam *adam)
{
    int64_t total = adam_row(adam), piece = comm_part(&adam->comm) * adam->comm.table.size;
    float *wire = adam->comm.wire;
    for (int64_t begin = 0; begin < total; begin += piece) {
        int64_t n = at_most(total - begin, piece);
        TRY(clear_wire(c, adam, n));
        TRY(copy_range(c, adam, GRADS, 1, begin, begin + n, wire));
        TRY(comm_sum(c, &adam->comm, "gradients", wire, n, RELORA_COMM_F32));
        TRY(copy_range(c, adam, GRADS, 0, begin, begin + n, wire));
    }
    return RELORA_OK;
}

static relora_status sum_in_shares(const struct call *c, relora_adam *adam)
{
    const relora_comm *t = &adam->comm.table;
    float *wire = adam->comm.wire;
    for (int64_t done = 0; done < adam->share; done += comm_part(&adam->comm)) {
        int64_t n = at_most(adam->share - done, comm_part(&adam->comm));
        TRY(clear_wire(c, adam, n * t->size));
        for (int32_t r = 0; r < t->size; r++) {
            int64_t begin = r * adam->share + done;
            TRY(copy_range(c, adam, GRADS, 1, begin, begin + n, wire + r * n));
        }
        TRY(comm_reduce_scatter(c, &adam->comm, "gradients", n));
        int64_t begin = t->rank * adam->share + done;
        TRY(copy_range(c, adam, GRADS, 0, begin, begin + n, wire + t->rank * n));
    }
    return RELORA_OK;
}

relora_status adam_sum_grads(const struct call *c, relora_adam *adam)
{
    return adam_is_sharded(adam) ? sum_in_shares(c, adam) : sum_everywhere(c, adam);
}

relora_status adam_gather_params(const struct call *c, relora_adam *adam)
{
    const relora_comm *t = &adam->comm.table;
    float *wire = adam->comm.wire;
    for (int64_t done = 0; done < adam->share; done += comm_part(&adam->comm)) {
        int64_t n = at_most(adam->share - done, comm_part(&adam->comm));
        int64_t own = t->rank * adam->share + done;
        TRY(clear_wire(c, adam, n * t->size));
        TRY(copy_range(c, adam, PARAMS, 1, own, own + n, wire + t->rank * n));
        TRY(comm_all_gather(c, &adam->comm, "parameters", n));
        for (int32_t r = 0; r < t->size; r++) {
            int64_t begin = r * adam->share + done;
            TRY(copy_range(c, adam, PARAMS, 0, begin, begin + n, wire + r * n));
        }
    }
    return RELORA_OK;
}

/* From 0, so that the result is a function of the sum alone, not of what this rank had. */
static relora_status put_mean(const struct call *c, const struct relora_adam *adam, int32_t index,
                              int64_t first, int64_t end, struct merge merge)
{
    const struct adam_entry *e = adam_at(adam, index);
    float *wire = merge.x.data;
    while (first < end) {
        merge.y = comm_piece(e->is.value, first, end);
        merge.x = (struct view){wire, merge.y.rows, merge.y.cols, merge.y.cols, RELORA_F32};
        merge.first = (uint64_t)first;
        TRY(call_queue(c, c->backend->fill(c->queue, merge.y, 0)));
        TRY(call_queue(c, c->backend->merge(c->queue, &merge)));
        first += merge.y.rows * merge.y.cols;
        wire += merge.y.rows * merge.y.cols;
    }
    return RELORA_OK;
}

/* Elements `first` to `end` of the parameter at `index`, from the wire. */
struct averaged {
    int32_t index;
    int64_t first, end;
};

static relora_status average(const struct call *c, const struct comm *comm, const relora_adam *adam,
                             const struct averaged *parts, int32_t count, int64_t elements, uint64_t number)
{
    float *wire = comm->wire;
    if (!count) return RELORA_OK;
    TRY(comm_sum(c, comm, "parameters", wire, elements, RELORA_COMM_F32));
    for (int32_t i = 0; i < count; i++) {
        const struct averaged *part = &parts[i];
        const struct adam_entry *e = adam_at(adam, part->index);
        struct merge mean = {.x = {.data = wire},
                             .scale = {.value = 1.0 / comm->table.size},
                             .rounding =
                                 e->is.linear ? e->is.linear->options.rounding : adam->options.rounding,
                             .draw = draw_make(adam->options.seed, (uint64_t)part->index, DRAW_MEAN, number)};
        TRY(put_mean(c, adam, part->index, part->first, part->end, mean));
        wire += part->end - part->first;
    }
    return RELORA_OK;
}

/* The wire is filled before it is sent, with the elements of up to so many parameters. */
enum { AVERAGED_MOST = 64 };

relora_status adam_average(const struct call *c, const struct comm *comm, relora_adam *adam, uint64_t number,
                           int (*includes)(void *user, const struct adam_entry *entry), void *user)
{
    struct averaged parts[AVERAGED_MOST];
    int64_t room = comm_part(comm) * comm->table.size, used = 0;
    int32_t count = 0;
    for (int32_t i = 0; i < adam->registry.count; i++) {
        const struct adam_entry *e = adam_at(adam, i);
        int64_t n = includes(user, e) ? e->is.value->shape.count : 0;
        for (int64_t first = 0; first < n; first = parts[count - 1].end) {
            if (used == room || count == AVERAGED_MOST) {
                TRY(average(c, comm, adam, parts, count, used, number));
                count = 0, used = 0;
            }
            int64_t end = first + at_most(n - first, room - used);
            TRY(comm_copy(c, e->is.value, first, end, 1, (float *)comm->wire + used));
            parts[count++] = (struct averaged){i, first, end};
            used += end - first;
        }
    }
    return average(c, comm, adam, parts, count, used, number);
}

relora_status adam_sum_squares(const struct call *c, const relora_adam *adam, double *sum)
{
    return comm_sum(c, &adam->comm, "the norm", sum, 1, RELORA_COMM_F64);
}

relora_status relora_adam_sum(relora_adam *adam, relora_stream *stream, relora_tensor *tensor)
{
    struct call c = {.fn = "relora_adam_sum", .ctx = tensor ? tensor->ctx : NULL};
    TRY(adam_open(&c, adam, stream));
    TRY(tensor_check(&c, tensor, "tensor"));
    return comm_has_others(&adam->comm) ? comm_sum_tensor(&c, &adam->comm, "a tensor", tensor) : RELORA_OK;
}

static const relora_tensor *value_at(void *user, int32_t index, const char **name)
{
    const struct adam_entry *e = adam_at(user, index);
    *name = e->is.name;
    return e->is.value;
}

relora_status adam_check_same(const struct call *c, relora_adam *adam)
{
    if (adam->compared == adam->registry.count) return RELORA_OK;
    TRY(comm_check_same(c, &adam->comm, adam->registry.count, value_at, adam));
    adam->compared = adam->registry.count;
    return RELORA_OK;
}
