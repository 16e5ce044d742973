/* Moments that one optimizer takes over from another. */
#include "adam_comm.h"

static int32_t index_of(const relora_adam *adam, const char *name)
{
    for (int32_t i = 0; i < adam->registry.count; i++)
        if (!strcmp(adam_at(adam, i)->is.name, name)) return i;
    return -1;
}

struct carrying {
    relora_adam *adam;
    const relora_adam *from;
    const int32_t *indices; /* NULL: all that both have */
    int32_t count;
};

static int32_t length_of(const struct carrying *k)
{
    return k->indices ? k->count : k->adam->registry.count;
}

/* The parameter at place `i` of the list, and its twin; 0 if there is none. */
static int find_pair(const struct carrying *k, int32_t i, const struct adam_entry **from,
                     const struct adam_entry **to)
{
    *to = adam_at(k->adam, k->indices ? k->indices[i] : i);
    int32_t index = index_of(k->from, (*to)->is.name);
    if (index < 0) return 0;
    *from = adam_at(k->from, index);
    return 1;
}

/* A host may have lent both optimizers the same moments: they are there already. */
static int is_shared(const relora_tensor *from, const relora_tensor *to)
{
    return from->data == to->data;
}

/* Otherwise nothing that is written may be what is still to be read. */
static relora_status check_apart(const struct call *c, const relora_adam *from, const relora_tensor *to,
                                 const char *name, const relora_tensor *twin)
{
    for (int32_t i = 0; i < from->registry.count; i++) {
        const relora_tensor *theirs[] = {adam_at(from, i)->first, adam_at(from, i)->second};
        for (int k = 0; k < 2; k++)
            if (!(theirs[k] == twin && is_shared(twin, to)) &&
                views_overlap(tensor_view(to), tensor_view(theirs[k])))
                FAIL(c, RELORA_E_ARGUMENT,
                     "a moment of \"%s\" in adam shares memory with one of \"%s\" in from", name,
                     adam_at(from, i)->is.name);
    }
    return RELORA_OK;
}

static relora_status check_pair(const struct call *c, const relora_adam *all, const struct adam_entry *from,
                                const struct adam_entry *to)
{
    char a[SHAPE_TEXT], b[SHAPE_TEXT];
    const struct adam_entry *entries[] = {from, to};
    for (int i = 0; i < 2; i++) {
        TRY(adam_check_memory(c, entries[i], "first", entries[i]->first));
        TRY(adam_check_memory(c, entries[i], "second", entries[i]->second));
    }
    if (!shape_equal(&from->first->shape, &to->first->shape))
        FAIL(c, RELORA_E_SHAPE, "\"%s\" is %s in adam, but %s in from", to->is.name,
             shape_text(&to->first->shape, a), shape_text(&from->first->shape, b));
    TRY(check_apart(c, all, to->first, to->is.name, from->first));
    return check_apart(c, all, to->second, to->is.name, from->second);
}

/* How many there are. */
static relora_status check_pairs(const struct call *c, const struct carrying *k, int32_t *pairs)
{
    const struct adam_entry *from, *to;
    if (k->indices) TRY(adam_check_listed(c, k->adam, k->indices, k->count));
    else if (k->count) FAIL(c, RELORA_E_ARGUMENT, "indices is NULL, but count is %d, not 0", k->count);
    *pairs = 0;
    for (int32_t i = 0; i < length_of(k); i++) {
        if (find_pair(k, i, &from, &to)) {
            TRY(check_pair(c, k->from, from, to));
            (*pairs)++;
        } else if (k->indices) {
            FAIL(c, RELORA_E_NOT_FOUND, "indices[%d] is \"%s\", which from does not have", i, to->is.name);
        }
    }
    if (!*pairs) FAIL(c, RELORA_E_NOT_FOUND, "adam and from have no parameter of the same name");
    return RELORA_OK;
}

static relora_status copy(const struct call *c, void *to, const void *from, size_t bytes)
{
    struct copy copy = {to, from, 1, bytes, 0, 0, COPY_ON_DEVICE};
    return bytes && to != from ? call_queue(c, c->backend->copy(c->queue, &copy)) : RELORA_OK;
}

static relora_status carry_pair(const struct call *c, const struct adam_entry *from,
                                const struct adam_entry *to)
{
    size_t bytes = shape_bytes(&to->first->shape);
    TRY(copy(c, to->first->data, from->first->data, bytes));
    TRY(copy(c, to->second->data, from->second->data, bytes));
    return copy(c, to->steps, from->steps, sizeof *to->steps);
}

static relora_status check_from(const struct call *c, const relora_adam *adam, const relora_adam *from)
{
    if (!from) FAIL(c, RELORA_E_ARGUMENT, "from is NULL");
    if (from == adam) FAIL(c, RELORA_E_ARGUMENT, "from is adam itself");
    if (from->ctx != adam->ctx) FAIL(c, RELORA_E_CONTEXT, "from belongs to another context than adam");
    if (from->device != adam->device)
        FAIL(c, RELORA_E_DEVICE, "from is on %s, adam on %s", from->device->name, adam->device->name);
    if (adam_is_sharded(adam) || adam_is_sharded(from))
        FAIL(c, RELORA_E_UNSUPPORTED, "%s has RELORA_ADAM_SHARD_STATE, so no rank has whole moments",
             adam_is_sharded(adam) ? "adam" : "from");
    return RELORA_OK;
}

relora_status relora_adam_carry(relora_adam *adam, relora_stream *stream, const relora_adam *from,
                                const int32_t *indices, int32_t count, int32_t *carried)
{
    struct call c = {.fn = "relora_adam_carry", .ctx = from ? from->ctx : NULL};
    struct carrying k = {adam, from, indices, count};
    const struct adam_entry *theirs, *ours;
    int32_t pairs;
    TRY(adam_open(&c, adam, stream));
    TRY(check_from(&c, adam, from));
    TRY(check_pairs(&c, &k, &pairs));
    for (int32_t i = 0; i < length_of(&k); i++)
        if (find_pair(&k, i, &theirs, &ours)) TRY(carry_pair(&c, theirs, ours));
    call_log(&c, RELORA_LOG_INFO, "moments of %d of %d parameters carried over", pairs, adam->registry.count);
    if (carried) *carried = pairs;
    return RELORA_OK;
}
