/* Where a layer without W is merged: a tensor of the host's, or a callback. */
#include <math.h>

#include "linear_merge.h"

static relora_status check_weight(const struct call *c, const relora_linear *linear,
                                  const relora_tensor *weight)
{
    /* of the type that it has */
    TRY(linear_check_param(c, linear, "weight", weight, RELORA_PARAM_WEIGHT, weight->shape.dtype));
    return linear_check_apart(c, linear, "weight", weight, linear->target);
}

relora_status relora_linear_set_target(relora_linear *linear, relora_tensor *weight, relora_merge_fn merge,
                                       void *user)
{
    struct call c = {.fn = "relora_linear_set_target",
                     .ctx = linear   ? linear->ctx
                            : weight ? weight->ctx
                                     : NULL};
    char label[LABEL_TEXT];
    if (!linear) FAIL(&c, RELORA_E_ARGUMENT, "linear is NULL");
    if (linear->options.mode != RELORA_MODE_LOWRANK)
        FAIL(&c, RELORA_E_STATE, "%s is in mode %s; only LOWRANK is merged into a target",
             linear_label(linear, label), linear_mode_name(linear->options.mode));
    if (weight && merge)
        FAIL(&c, RELORA_E_ARGUMENT, "weight and merge are given, but a layer has one target");
    if (weight) TRY(check_weight(&c, linear, weight));
    linear_replace(&linear->target, weight);
    linear->merge = merge;
    linear->merge_user = user;
    return RELORA_OK;
}

relora_status linear_read_scale(const struct call *c, const relora_linear *linear, double *s)
{
    const relora_tensor *scale = linear->param[RELORA_PARAM_SCALE];
    char label[LABEL_TEXT];
    float value;
    *s = linear_scale(linear).value;
    if (!scale) return RELORA_OK;
    TRY(tensor_check(c, scale, "a layer's scale"));
    TRY(tensor_read(c, scale, &value));
    if (!isfinite(value))
        FAIL(c, RELORA_E_NOT_FINITE, "the scale of %s is not finite", linear_label(linear, label));
    *s = tanh((double)value);
    return RELORA_OK;
}

static relora_status fill_options(const struct call *c, const relora_linear *linear, uint64_t cycle,
                                  uint32_t flags, relora_merge_options *options)
{
    const relora_linear_options *o = &linear->options;
    *options = (relora_merge_options){.struct_size = sizeof *options,
                                      .flags = flags | (linear_in_out(o) ? RELORA_MERGE_IN_OUT : 0),
                                      .seed = o->seed,
                                      .layer = o->layer,
                                      .cycle = cycle,
                                      .rounding = o->rounding};
    return linear_read_scale(c, linear, &options->scale);
}

/* Whatever negative number a host returns is its status; what it said to the log stays there. */
relora_status linear_call_merge(const struct call *c, relora_linear *linear, uint64_t cycle, uint32_t flags,
                                double squares[2])
{
    relora_merge_options options;
    relora_merge_report report = {.struct_size = sizeof report};
    char label[LABEL_TEXT];
    TRY(fill_options(c, linear, cycle, flags, &options));
    relora_status status = linear->merge(linear->merge_user, c->stream, linear->param[RELORA_PARAM_A],
                                         linear->param[RELORA_PARAM_B], &options, &report);
    if (status < 0)
        FAIL(c, status, "the host's merge of %s returned %s%s", linear_label(linear, label),
             relora_status_name(status),
             flags & RELORA_MERGE_LOOK ? "; nothing was merged" : " after it had agreed to it");
    squares[0] += report.delta_norm * report.delta_norm;
    squares[1] += report.weight_norm * report.weight_norm;
    return RELORA_OK;
}
