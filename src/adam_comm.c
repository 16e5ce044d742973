/* What an optimizer exchanges with other ranks in a step. */
#include "adam_comm.h"

/* Between views of as many rows. */
static relora_status copy_between(const struct call *c, struct view to, struct view from)
{
    const struct scale one = {.value = 1};
    const struct copy copy = {.to = to.data,
                              .from = from.data,
                              .rows = to.rows,
                              .bytes = (size_t)to.cols * sizeof(float),
                              .to_pitch = (size_t)to.ld * sizeof(float),
                              .from_pitch = (size_t)from.ld * sizeof(float),
                              .direction = COPY_ON_DEVICE};
    int plain = to.dtype == RELORA_F32 && from.dtype == RELORA_F32;
    return plain ? call_queue(c, c->backend->copy(c->queue, &copy)) : call_convert(c, to, from, one);
}

/* Some of the elements `first` to `end` of a tensor, as many as are a matrix: all, or where rows have gaps
 * the rest of
 * a row or whole rows. */
static struct view piece_of(const relora_tensor *t, int64_t first, int64_t end)
{
    const struct shape *s = &t->shape;
    int dense = shape_is_dense(s);
    int64_t column = dense ? 0 : first % s->cols, left = end - first;
    int64_t cols = dense || column + left < s->cols ? left : s->cols - column;
    int64_t rows = dense || column || left < s->cols ? 1 : left / s->cols;
    int64_t at = dense ? first : first / s->cols * s->ld + column;
    unsigned char *data = (unsigned char *)t->data + (size_t)at * dtype_size(s->dtype);
    return (struct view){data, rows, cols, dense ? cols : s->ld, s->dtype};
}

/* Elements `first` to `end` of a tensor into `wire`, or out of it. */
static relora_status copy_elements(const struct call *c, const relora_tensor *t, int64_t first, int64_t end,
                                   int to_wire, float *wire)
{
    while (first < end) {
        struct view own = piece_of(t, first, end);
        struct view out = {wire, own.rows, own.cols, own.cols, RELORA_F32};
        TRY(to_wire ? copy_between(c, out, own) : copy_between(c, own, out));
        first += own.rows * own.cols;
        wire += own.rows * own.cols;
    }
    return RELORA_OK;
}

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
            TRY(copy_elements(c, what == GRADS ? e->is.grad : e->is.value, low - at, high - at, to_wire,
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
        merge.y = piece_of(e->is.value, first, end);
        merge.x = (struct view){wire, merge.y.rows, merge.y.cols, merge.y.cols, RELORA_F32};
        merge.first = (uint64_t)first;
        TRY(call_queue(c, c->backend->fill(c->queue, merge.y, 0)));
        TRY(call_queue(c, c->backend->merge(c->queue, &merge)));
        first += merge.y.rows * merge.y.cols;
        wire += merge.y.rows * merge.y.cols;
    }
    return RELORA_OK;
}

relora_status adam_average(const struct call *c, const struct comm *comm, relora_adam *adam, int32_t index,
                           uint64_t number)
{
    const struct adam_entry *e = adam_at(adam, index);
    int64_t n = e->is.value->shape.count, piece = comm_part(comm) * comm->table.size;
    struct merge mean = {.x = {.data = comm->wire},
                         .scale = {.value = 1.0 / comm->table.size},
                         .rounding = e->is.linear ? e->is.linear->options.rounding : adam->options.rounding,
                         .draw = draw_make(adam->options.seed, (uint64_t)index, DRAW_MEAN, number)};
    for (int64_t begin = 0; begin < n; begin += piece) {
        int64_t end = begin + at_most(n - begin, piece);
        TRY(copy_elements(c, e->is.value, begin, end, 1, comm->wire));
        TRY(comm_sum(c, comm, "parameters", comm->wire, end - begin, RELORA_COMM_F32));
        TRY(put_mean(c, adam, index, begin, end, mean));
    }
    return RELORA_OK;
}

relora_status adam_sum_squares(const struct call *c, const relora_adam *adam, double *sum)
{
    return comm_sum(c, &adam->comm, "the norm", sum, 1, RELORA_COMM_F64);
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
