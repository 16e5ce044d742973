/* Moments of an optimizer in memory of the host's; and what of its memory has not come yet. */
#include "adam_comm.h"

relora_status adam_check_memory(const struct call *c, const struct adam_entry *e, const char *what,
                                const relora_tensor *tensor)
{
    if (tensor_lacks_memory(tensor)) FAIL(c, RELORA_E_STATE, "%s of \"%s\" " NO_MEMORY_YET, what, e->is.name);
    return RELORA_OK;
}

relora_status adam_check_moments(const struct call *c, const relora_adam *adam, int32_t index)
{
    const struct adam_entry *e = adam_at(adam, index);
    if (adam_is_sharded(adam)) return RELORA_OK; /* they are the library's */
    TRY(adam_check_memory(c, e, "first", e->first));
    return adam_check_memory(c, e, "second", e->second);
}

static relora_status check_moment(const struct call *c, const relora_adam *adam, const char *what,
                                  int32_t index, const relora_tensor *t)
{
    const struct adam_entry *own = adam_at(adam, index);
    char a[SHAPE_TEXT], b[SHAPE_TEXT];
    TRY(adam_check_part(c, adam, what, own->is.name, t));
    TRY(adam_check_dense(c, what, own->is.name, t));
    if (t->shape.dtype != RELORA_F32)
        FAIL(c, RELORA_E_DTYPE, "%s of \"%s\" is %s, but must be F32", what, own->is.name,
             dtype_name(t->shape.dtype));
    if (!shape_equal(&t->shape, &own->is.value->shape))
        FAIL(c, RELORA_E_SHAPE, "param of \"%s\" is %s, but %s is %s", own->is.name,
             shape_text(&own->is.value->shape, a), what, shape_text(&t->shape, b));
    for (int32_t i = 0; i < adam->registry.count; i++) {
        const struct adam_entry *e = adam_at(adam, i);
        const relora_tensor *others[] = {e->is.value, e->is.grad, e->first, e->second};
        for (int k = 0; k < (i == index ? 2 : 4); k++) /* its moments now are to go */
            if (views_overlap(tensor_view(t), tensor_view(others[k])))
                FAIL(c, RELORA_E_EXISTS, "%s of \"%s\" shares memory with \"%s\"", what, own->is.name,
                     e->is.name);
    }
    return RELORA_OK;
}

static relora_status set_moments(const struct call *c, relora_adam *adam, int32_t index, relora_tensor *first,
                                 relora_tensor *second)
{
    struct adam_entry *e = adam_at(adam, index);
    if (adam_is_sharded(adam))
        FAIL(c, RELORA_E_STATE, "first and second of \"%s\" are given, but adam has RELORA_ADAM_SHARD_STATE",
             e->is.name);
    TRY(check_moment(c, adam, "first", index, first));
    TRY(check_moment(c, adam, "second", index, second));
    if (views_overlap(tensor_view(first), tensor_view(second)))
        FAIL(c, RELORA_E_ARGUMENT, "first and second of \"%s\" share memory", e->is.name);
    linear_replace(&e->first, first);
    linear_replace(&e->second, second);
    return RELORA_OK;
}

/* Without an optimizer sentences go to the context of a tensor. */
static relora_context *context_of(const relora_adam *adam, const relora_tensor *const *tensors, int count)
{
    if (adam) return adam->ctx;
    for (int i = 0; i < count; i++)
        if (tensors[i]) return tensors[i]->ctx;
    return NULL;
}

relora_status relora_adam_add_moments(relora_adam *adam, const char *name, relora_tensor *param,
                                      relora_tensor *grad, relora_tensor *first, relora_tensor *second,
                                      int32_t *index)
{
    const relora_tensor *tensors[] = {param, grad, first, second};
    struct call c = {.fn = "relora_adam_add_moments", .ctx = context_of(adam, tensors, 4)};
    TRY(adam_add(&c, adam, name, param, grad));
    int32_t last = adam->registry.count - 1;
    relora_status status = set_moments(&c, adam, last, first, second);
    if (status < 0) {
        adam_drop_last(adam);
        return status;
    }
    if (index) *index = last;
    return RELORA_OK;
}

relora_status relora_adam_set_moments(relora_adam *adam, int32_t index, relora_tensor *first,
                                      relora_tensor *second)
{
    const relora_tensor *tensors[] = {first, second};
    struct call c = {.fn = "relora_adam_set_moments", .ctx = context_of(adam, tensors, 2)};
    if (!adam) FAIL(&c, RELORA_E_ARGUMENT, "adam is NULL");
    TRY(adam_check_entry_index(&c, adam, index));
    return set_moments(&c, adam, index, first, second);
}
