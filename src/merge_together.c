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

/* A block of a factor of each rank, times its scale, into `to` and on: `step` elements from one rank's to the next. */
static relora_status gather_block(const struct call *c, const struct together *t, struct view from,
                                  struct scale scale, struct view to, int64_t step)
{
    const relora_comm *table = &t->comm->table;
    float *wire = t->comm->wire;
    int64_t n = from.rows * from.cols;
    struct view part = {wire + table->rank * n, from.rows, from.cols, from.cols, RELORA_F32};
    TRY(call_convert(c, part, from, scale));
    TRY(comm_all_gather(c, t->comm, "factors", n));
    for (int32_t r = 0; r < table->size; r++) {
        part.data = wire + r * n;
        TRY(call_copy(c, view_cols(to, r * step, to.cols), part));
    }
    return RELORA_OK;
}

static struct view block_at(struct view v, int64_t row, int64_t rows, int64_t col, int64_t cols)
{
    return view_cols(view_rows(v, row, at_most(v.rows - row, rows)), col, at_most(v.cols - col, cols));
}

/* A factor that is more than the wire takes, of each rank, into `to`: stacked, or side by side. As many rows at once
 * as fit, or a part of a row. */
static relora_status gather(const struct call *c, const struct together *t, struct view from,
                            struct scale scale, struct view to, int stacked)
{
    int64_t cols = at_most(from.cols, comm_part(t->comm)), rows = comm_part(t->comm) / cols;
    int64_t step = stacked ? from.rows * to.ld : from.cols;
    to.rows = from.rows, to.cols = from.cols; /* of rank 0 */
    for (int64_t row = 0; row < from.rows; row += rows)
        for (int64_t col = 0; col < from.cols; col += cols)
            TRY(gather_block(c, t, block_at(from, row, rows, col, cols), scale,
                             block_at(to, row, rows, col, cols), step));
    return RELORA_OK;
}

/* ---- several layers at once: where messages take long, one for each factor would take longest ---- */

static int64_t elements(const struct update *u)
{
    return u->a.rows * u->a.cols + u->b.rows * u->b.cols;
}

int32_t together_batch(const struct together *t, const struct update *updates, int32_t count)
{
    int64_t left = comm_part(t->comm);
    int32_t n = 0;
    while (n < count && elements(&updates[n]) <= left) left -= elements(&updates[n++]);
    return n || !count ? n : 1;
}

static int fits(const struct together *t, const struct update *updates, int32_t count)
{
    return count > 1 || elements(updates) <= comm_part(t->comm);
}

/* The factors of rank `r` of the update before which `before` elements lie in its part of the wire. */
static void place(const struct together *t, const struct update *u, int32_t r, int64_t all, int64_t before,
                  struct view *a, struct view *b)
{
    float *part = (float *)t->comm->wire + r * all + before;
    *a = (struct view){part, u->a.rows, u->a.cols, u->a.cols, RELORA_F32};
    *b = (struct view){part + u->a.rows * u->a.cols, u->b.rows, u->b.cols, u->b.cols, RELORA_F32};
}

static int64_t elements_of(const struct update *updates, int32_t count)
{
    int64_t sum = 0;
    for (int32_t i = 0; i < count; i++) sum += elements(&updates[i]);
    return sum;
}

relora_status together_send(const struct call *c, const struct together *t, const struct update *updates,
                            int32_t count)
{
    const struct scale one = {.value = 1};
    int64_t all = elements_of(updates, count);
    struct view a, b;
    if (!fits(t, updates, count)) return RELORA_OK;
    for (int32_t i = 0; i < count; i++) {
        place(t, &updates[i], t->comm->table.rank, all, elements_of(updates, i), &a, &b);
        TRY(call_convert(c, a, updates[i].a, one));
        TRY(call_convert(c, b, updates[i].b, updates[i].scale));
    }
    return comm_all_gather(c, t->comm, "factors", all);
}

static relora_status unpack(const struct call *c, const struct together *t, const struct update *updates,
                            int32_t count, int32_t index, const struct update *joined)
{
    const struct update *u = &updates[index];
    int64_t all = elements_of(updates, count), before = elements_of(updates, index);
    struct view a, b;
    for (int32_t r = 0; r < t->comm->table.size; r++) {
        place(t, u, r, all, before, &a, &b);
        TRY(call_copy(c, view_rows(joined->a, r * a.rows, a.rows), a));
        TRY(call_copy(c, view_cols(joined->b, r * b.cols, b.cols), b));
    }
    return RELORA_OK;
}

relora_status together_take(const struct call *c, const struct together *t, const struct update *updates,
                            int32_t count, int32_t index, struct update *update)
{
    const struct scale one = {.value = 1};
    const struct update *own = &updates[index];
    *update = joined(t, own);
    if (fits(t, updates, count)) return unpack(c, t, updates, count, index, update);
    TRY(gather(c, t, own->a, one, update->a, 1));
    return gather(c, t, own->b, own->scale, update->b, 0);
}
