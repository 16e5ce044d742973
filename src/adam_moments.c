/* Moments of an optimizer in memory of the host's. */
#include "adam.h"

relora_status adam_check_lent(const relora_adam *adam, const char *fn, const char *name, const struct member *m)
{
    for (int32_t i = 0; i < adam->registry.count; i++) {
        const struct adam_entry *e = adam_at(adam, i);
        struct view first = tensor_view(e->first), second = tensor_view(e->second);
        struct view value = tensor_view(m->value), grad = tensor_view(m->grad);
        if (views_overlap(first, value) || views_overlap(second, value) || views_overlap(first, grad) ||
            views_overlap(second, grad))
            FAIL(adam->ctx, RELORA_E_EXISTS, "%s: param or grad of \"%s\" shares memory with a moment of \"%s\"", fn,
                 name, e->is.name);
    }
    return RELORA_OK;
}

static relora_status check_moment(const relora_adam *adam, const char *fn, const char *what, int32_t index,
                                  const relora_tensor *t)
{
    const struct adam_entry *own = adam_at(adam, index);
    char a[SHAPE_TEXT], b[SHAPE_TEXT];
    TRY(adam_check_part(adam, fn, what, own->is.name, t));
    if (t->shape.dtype != RELORA_F32)
        FAIL(adam->ctx, RELORA_E_DTYPE, "%s: %s of \"%s\" is %s, but must be F32", fn, what, own->is.name,
             dtype_name(t->shape.dtype));
    if (!shape_equal(&t->shape, &own->is.value->shape))
        FAIL(adam->ctx, RELORA_E_SHAPE, "%s: param of \"%s\" is %s, but %s is %s", fn, own->is.name,
             shape_text(&own->is.value->shape, a), what, shape_text(&t->shape, b));
    for (int32_t i = 0; i < adam->registry.count; i++) {
        const struct adam_entry *e = adam_at(adam, i);
        const relora_tensor *others[] = {e->is.value, e->is.grad, e->first, e->second};
        for (int k = 0; k < (i == index ? 2 : 4); k++) /* its moments now are to go */
            if (views_overlap(tensor_view(t), tensor_view(others[k])))
                FAIL(adam->ctx, RELORA_E_EXISTS, "%s: %s of \"%s\" shares memory with \"%s\"", fn, what, own->is.name,
                     e->is.name);
    }
    return RELORA_OK;
}

static relora_status set_moments(relora_adam *adam, const char *fn, int32_t index, relora_tensor *first,
                                 relora_tensor *second)
{
    struct adam_entry *e = adam_at(adam, index);
    TRY(check_moment(adam, fn, "first", index, first));
    TRY(check_moment(adam, fn, "second", index, second));
    if (views_overlap(tensor_view(first), tensor_view(second)))
        FAIL(adam->ctx, RELORA_E_ARGUMENT, "%s: first and second of \"%s\" share memory", fn, e->is.name);
    linear_replace(&e->first, first);
    linear_replace(&e->second, second);
    return RELORA_OK;
}

/* Without an optimizer the text goes to the context of a tensor. */
static relora_status check_there(const relora_adam *adam, const char *fn, const relora_tensor *const *tensors,
                                 int count)
{
    const relora_context *ctx = NULL;
    for (int i = 0; i < count && !ctx; i++)
        if (tensors[i]) ctx = tensors[i]->ctx;
    if (!adam) FAIL(ctx, RELORA_E_ARGUMENT, "%s: adam is NULL", fn);
    return RELORA_OK;
}

relora_status relora_adam_add_moments(relora_adam *adam, const char *name, relora_tensor *param, relora_tensor *grad,
                                      relora_tensor *first, relora_tensor *second, int32_t *index)
{
    const char *fn = "relora_adam_add_moments";
    TRY(check_there(adam, fn, (const relora_tensor *[]){param, grad, first, second}, 4));
    TRY(adam_add(adam, fn, name, param, grad));
    int32_t last = adam->registry.count - 1;
    relora_status status = set_moments(adam, fn, last, first, second);
    if (status < 0) {
        adam_drop_last(adam);
        return status;
    }
    if (index) *index = last;
    return RELORA_OK;
}

relora_status relora_adam_set_moments(relora_adam *adam, int32_t index, relora_tensor *first, relora_tensor *second)
{
    const char *fn = "relora_adam_set_moments";
    TRY(check_there(adam, fn, (const relora_tensor *[]){first, second}, 2));
    TRY(adam_check_entry_index(adam, fn, index));
    return set_moments(adam, fn, index, first, second);
}
