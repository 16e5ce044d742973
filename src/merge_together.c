/* Factors of all ranks, side by side, as one pair. */
#include "merge_together.h"

static int64_t at_most(int64_t x, int64_t most)
{
    return x < most ? x : most;
}

/* What `update` becomes, in the memory of `t`. */
static struct update joined(const struct together *t, const struct update *u)
{
    struct update all = *u;
    int64_t rank = u->a.rows * t->comm->table.size;
    all.a = (struct view){t->a->data, rank, u->a.cols, u->a.cols, RELORA_F32};
    all.b = (struct view){t->b->data, u->b.rows, rank, rank, RELORA_F32};
    all.scale = (struct scale){.value = 1.0 / t->comm->table.size};
    return all;
}

void together_count(struct together *t, const struct update *u)
{
    int64_t a = u->a.rows * u->a.cols * t->comm->table.size, b = u->b.rows * u->b.cols * t->comm->table.size;
    if (a > t->a_elements) t->a_elements = a;
    if (b > t->b_elements) t->b_elements = b;
}

relora_status together_open(const struct call *c, struct together *t, relora_device *device)
{
    TRY(tensor_new(c, &t->a, device, RELORA_F32, 1, &t->a_elements));
    TRY(tensor_new(c, &t->b, device, RELORA_F32, 1, &t->b_elements));
    TRY(call_queue(c, c->backend->fill(c->queue, tensor_view(t->a), 0)));
    return call_queue(c, c->backend->fill(c->queue, tensor_view(t->b), 0));
}

void together_close(struct together *t)
{
    relora_tensor_release(t->a);
    relora_tensor_release(t->b);
}

relora_status together_look(const struct call *c, const struct together *t, const struct update *update)
{
    struct update all = joined(t, update);
    return merge_look(c, &all, 1);
}

static relora_status copy_rows(const struct call *c, struct view to, struct view from)
{
    const struct copy copy = {.to = to.data,
                              .from = from.data,
                              .rows = to.rows,
                              .bytes = (size_t)to.cols * sizeof(float),
                              .to_pitch = (size_t)to.ld * sizeof(float),
                              .from_pitch = (size_t)from.ld * sizeof(float),
                              .direction = COPY_ON_DEVICE};
    return call_queue(c, c->backend->copy(c->queue, &copy));
}

/* A factor of each rank, times its scale, into `to`: stacked, or side by side. As many rows at once as fit
 * the wire. */
static relora_status gather(const struct call *c, const struct together *t, struct view from,
                            struct scale scale, struct view to, int stacked)
{
    const relora_comm *table = &t->comm->table;
    float *wire = t->comm->wire;
    int64_t most = comm_part(t->comm) / from.cols;
    if (!most) FAIL(c, RELORA_E_UNSUPPORTED, "a row of a factor is more than what is sent at once");
    for (int64_t row = 0; row < from.rows; row += most) {
        int64_t rows = at_most(from.rows - row, most), n = rows * from.cols;
        struct view own = {wire + table->rank * n, rows, from.cols, from.cols, RELORA_F32};
        TRY(call_convert(c, own, view_rows(from, row, rows), scale));
        TRY(comm_all_gather(c, t->comm, "factors", n));
        for (int32_t r = 0; r < table->size; r++) {
            struct view part = {wire + r * n, rows, from.cols, from.cols, RELORA_F32};
            struct view place = stacked ? view_rows(to, r * from.rows + row, rows)
                                        : view_cols(view_rows(to, row, rows), r * from.cols, from.cols);
            TRY(copy_rows(c, place, part));
        }
    }
    return RELORA_OK;
}

relora_status together_gather(const struct call *c, const struct together *t, struct update *update)
{
    const struct scale one = {.value = 1};
    struct update all = joined(t, update);
    TRY(gather(c, t, update->a, one, all.a, 1));
    TRY(gather(c, t, update->b, update->scale, all.b, 0));
    *update = all;
    return RELORA_OK;
}
