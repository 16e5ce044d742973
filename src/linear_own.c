/* Parameters and gradients of a layer in memory of the host's. */
#include "linear.h"

static relora_status check_apart(const relora_linear *linear, const char *fn, const relora_tensor *tensor,
                                 const relora_tensor *replaced)
{
    for (relora_param p = RELORA_PARAM_WEIGHT; p < PARAM_COUNT; p++) {
        const relora_tensor *others[] = {linear->param[p], linear->grad[p]};
        for (int i = 0; i < 2; i++)
            if (others[i] && others[i] != replaced && views_overlap(tensor_view(tensor), tensor_view(others[i])))
                FAIL(linear->ctx, RELORA_E_EXISTS, "%s: the memory of tensor overlaps that of %s%s of the layer", fn,
                     i ? "the gradient of " : "", linear_param_name(p));
    }
    return RELORA_OK;
}

static relora_status set(relora_linear *linear, const char *fn, relora_param param, relora_tensor **slot,
                         relora_tensor *tensor)
{
    char label[LABEL_TEXT];
    if (!*slot)
        FAIL(linear->ctx, RELORA_E_STATE, "%s: %s has no such %s in mode %s", fn, linear_label(linear, label),
             linear_param_name(param), linear_mode_name(linear->options.mode));
    TRY(linear_check_param(linear, fn, "tensor", tensor, param, RELORA_F32));
    if (!shape_is_dense(&tensor->shape))
        FAIL(linear->ctx, RELORA_E_LAYOUT, "%s: tensor has rows %lld apart, but %lld long", fn,
             (long long)tensor->shape.ld, (long long)tensor->shape.cols);
    TRY(check_apart(linear, fn, tensor, *slot));
    linear_replace(slot, tensor);
    linear->generation++;
    return RELORA_OK;
}

static relora_status check_arguments(const relora_linear *linear, const char *fn, relora_param param,
                                     relora_param first, const relora_tensor *tensor)
{
    if (!linear) FAIL(tensor ? tensor->ctx : NULL, RELORA_E_ARGUMENT, "%s: linear is NULL", fn);
    if (!tensor) FAIL(linear->ctx, RELORA_E_ARGUMENT, "%s: tensor is NULL", fn);
    if (param < first || param > RELORA_PARAM_SCALE)
        FAIL(linear->ctx, RELORA_E_ARGUMENT, "%s: param is %d, outside %d to %d", fn, param, first, RELORA_PARAM_SCALE);
    return RELORA_OK;
}

relora_status relora_linear_set_param(relora_linear *linear, relora_param param, relora_tensor *tensor)
{
    const char *fn = "relora_linear_set_param";
    TRY(check_arguments(linear, fn, param, RELORA_PARAM_BIAS, tensor));
    return set(linear, fn, param, &linear->param[param], tensor);
}

relora_status relora_linear_set_grad(relora_linear *linear, relora_param param, relora_tensor *tensor)
{
    const char *fn = "relora_linear_set_grad";
    TRY(check_arguments(linear, fn, param, RELORA_PARAM_WEIGHT, tensor));
    return set(linear, fn, param, &linear->grad[param], tensor);
}
