/* Parameters and gradients of a layer in memory of the host's. */
#include "linear.h"

/* ---- what has come with NULL ---- */

static relora_status fail_memory(const struct call *c, const relora_linear *linear, const char *what,
                                 relora_param param)
{
    char label[LABEL_TEXT];
    FAIL(c, RELORA_E_STATE, "%s%s of %s " NO_MEMORY_YET, what, linear_param_name(param),
         linear_label(linear, label));
}

relora_status linear_check_memory(const struct call *c, const relora_linear *linear, relora_param first)
{
    for (relora_param p = first; p < PARAM_COUNT; p++)
        if (linear->param[p] && tensor_lacks_memory(linear->param[p])) return fail_memory(c, linear, "", p);
    return RELORA_OK;
}

relora_status linear_check_grad(const struct call *c, const relora_linear *linear, relora_param param)
{
    if (linear->grad[param] && tensor_lacks_memory(linear->grad[param]))
        return fail_memory(c, linear, "the gradient of ", param);
    return RELORA_OK;
}

relora_status linear_check_grads(const struct call *c, const relora_linear *linear)
{
    for (relora_param p = RELORA_PARAM_WEIGHT; p < PARAM_COUNT; p++) TRY(linear_check_grad(c, linear, p));
    return RELORA_OK;
}

/* ---- giving a layer memory ---- */

relora_dtype linear_param_dtype(const relora_linear_options *o, relora_param param, relora_dtype given)
{
    int is_layers = param == RELORA_PARAM_WEIGHT || (param == RELORA_PARAM_BIAS && given == o->dtype);
    return is_layers ? o->dtype : RELORA_F32;
}

relora_status linear_check_apart(const struct call *c, const relora_linear *linear, const char *name,
                                 const relora_tensor *tensor, const relora_tensor *replaced)
{
    for (relora_param p = RELORA_PARAM_WEIGHT; p < PARAM_COUNT; p++) {
        const relora_tensor *others[] = {linear->param[p], linear->grad[p]};
        for (int i = 0; i < 2; i++)
            if (others[i] && others[i] != replaced &&
                views_overlap(tensor_view(tensor), tensor_view(others[i])))
                FAIL(c, RELORA_E_EXISTS, "the memory of %s overlaps that of %s%s of the layer", name,
                     i ? "the gradient of " : "", linear_param_name(p));
    }
    if (linear->target && linear->target != replaced &&
        views_overlap(tensor_view(tensor), tensor_view(linear->target)))
        FAIL(c, RELORA_E_EXISTS, "the memory of %s overlaps that of the target of the layer", name);
    return RELORA_OK;
}

static relora_status set(const struct call *c, relora_linear *linear, relora_param param,
                         relora_tensor **slot, relora_tensor *tensor, relora_dtype dtype)
{
    char label[LABEL_TEXT];
    if (!*slot)
        FAIL(c, RELORA_E_STATE, "%s has no such %s in mode %s", linear_label(linear, label),
             linear_param_name(param), linear_mode_name(linear->options.mode));
    TRY(linear_check_param(c, linear, "tensor", tensor, param, dtype));
    if (!shape_is_dense(&tensor->shape))
        FAIL(c, RELORA_E_LAYOUT, "tensor has rows %lld apart, but %lld long", (long long)tensor->shape.ld,
             (long long)tensor->shape.cols);
    TRY(linear_check_apart(c, linear, "tensor", tensor, *slot));
    linear_replace(slot, tensor);
    linear->generation++;
    return RELORA_OK;
}

static relora_status check_arguments(const struct call *c, const relora_linear *linear, relora_param param,
                                     relora_param first, const relora_tensor *tensor)
{
    if (!linear) FAIL(c, RELORA_E_ARGUMENT, "linear is NULL");
    if (!tensor) FAIL(c, RELORA_E_ARGUMENT, "tensor is NULL");
    if (param < first || param > RELORA_PARAM_SCALE)
        FAIL(c, RELORA_E_ARGUMENT, "param is %d, outside %d to %d", param, first, RELORA_PARAM_SCALE);
    return RELORA_OK;
}

relora_status relora_linear_set_param(relora_linear *linear, relora_param param, relora_tensor *tensor)
{
    struct call c = {.fn = "relora_linear_set_param",
                     .ctx = linear   ? linear->ctx
                            : tensor ? tensor->ctx
                                     : NULL};
    TRY(check_arguments(&c, linear, param, RELORA_PARAM_BIAS, tensor));
    relora_dtype dtype = linear_param_dtype(&linear->options, param, tensor->shape.dtype);
    return set(&c, linear, param, &linear->param[param], tensor, dtype);
}

relora_status relora_linear_set_grad(relora_linear *linear, relora_param param, relora_tensor *tensor)
{
    struct call c = {.fn = "relora_linear_set_grad",
                     .ctx = linear   ? linear->ctx
                            : tensor ? tensor->ctx
                                     : NULL};
    TRY(check_arguments(&c, linear, param, RELORA_PARAM_WEIGHT, tensor));
    return set(&c, linear, param, &linear->grad[param], tensor, RELORA_F32);
}
