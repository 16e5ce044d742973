/* A step in full rank of a layer whose W is frozen. */
#include "full_rank.h"
#include "linear.h"

/* W is there and not an optimizer's; the gradient fits, and shares no memory with what the step reads or writes. */
static relora_status check_step(const struct call *c, const relora_linear *linear, const relora_tensor *grad)
{
    char label[LABEL_TEXT];
    static const relora_param beside[] = {RELORA_PARAM_WEIGHT, RELORA_PARAM_DELTA};
    linear_label(linear, label);
    if (!grad) FAIL(c, RELORA_E_ARGUMENT, "grad is NULL");
    if (linear->options.mode != RELORA_MODE_LORA)
        FAIL(c, RELORA_E_STATE, "%s is in mode %s; only LORA has a frozen W", label,
             linear_mode_name(linear->options.mode));
    if (!linear->param[RELORA_PARAM_WEIGHT])
        FAIL(c, RELORA_E_STATE, "%s has no weight; call relora_linear_set_weight", label);
    TRY(linear_check_memory(c, linear, RELORA_PARAM_WEIGHT));
    TRY(linear_check_param(c, linear, "grad", grad, RELORA_PARAM_WEIGHT, RELORA_F32));
    if (tensor_lacks_memory(grad)) FAIL(c, RELORA_E_STATE, "grad " NO_MEMORY_YET);
    for (int i = 0; i < 2; i++) {
        const relora_tensor *t = linear->param[beside[i]];
        if (t && views_overlap(tensor_view(grad), tensor_view(t)))
            FAIL(c, RELORA_E_ARGUMENT, "the memory of grad overlaps that of the layer's %s",
                 linear_param_name(beside[i]));
    }
    return RELORA_OK;
}

relora_status relora_linear_full_rank_step(relora_linear *linear, relora_stream *stream, relora_tensor *grad,
                                           double lr, uint64_t step, relora_full_rank_report *report)
{
    struct call c = {.fn = "relora_linear_full_rank_step", .ctx = grad ? grad->ctx : NULL};
    relora_full_rank_report r = {.struct_size = sizeof r};
    TRY(linear_open(&c, linear, stream));
    TRY(check_step(&c, linear, grad));
    TRY(full_rank_check_lr(&c, lr));
    TRY(call_write_report(&c, "report", report, &r, sizeof r));
    const relora_linear_options *o = &linear->options;
    struct full_rank f = {.name = linear->name,
                          .weight = tensor_view(linear->param[RELORA_PARAM_WEIGHT]),
                          .grad = tensor_view(grad),
                          .lr = lr,
                          .rounding = o->rounding,
                          .seed = o->seed,
                          .layer = o->layer,
                          .count = step};
    if (linear->param[RELORA_PARAM_DELTA]) f.delta = tensor_view(linear->param[RELORA_PARAM_DELTA]);
    TRY(full_rank_run(&c, &f, &r));
    return report_write(report, &r, sizeof r);
}

relora_status relora_full_rank_report_init(relora_full_rank_report *report, size_t size)
{
    return report_init(report, size);
}
