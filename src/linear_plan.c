/* The order of products of a layer, as the host sees and forces it. */
#include "pass.h"

relora_status relora_linear_set_order(relora_linear *linear, relora_order forward, relora_order backward)
{
    const char *fn = "relora_linear_set_order";
    if (!linear) return RELORA_E_ARGUMENT;
    if (forward < RELORA_ORDER_AUTO || forward > RELORA_ORDER_FOLD)
        FAIL(linear->ctx, RELORA_E_ARGUMENT, "%s: forward is %d, not AUTO, SPLIT or FOLD", fn, forward);
    if (backward < RELORA_ORDER_AUTO || backward > RELORA_ORDER_THROUGH)
        FAIL(linear->ctx, RELORA_E_ARGUMENT, "%s: backward is %d, not a RELORA_ORDER", fn, backward);
    linear->forward_order = forward;
    linear->backward_order = backward;
    return RELORA_OK;
}

/* FULL has one product forward and two backward, in no particular order. */
static void plan_report(const relora_linear *linear, int64_t rows, int drops, relora_plan_report *r)
{
    struct plan_case c = pass_plan_case(linear, rows, drops, 1);
    struct plan forward = plan_forward(&c, linear->forward_order);
    struct plan backward = plan_backward(&c, linear->backward_order);
    double whole = 2.0 * (double)rows * (double)c.in * (double)c.out;
    if (!pass_has_branch(linear)) forward.flops = whole, backward.flops = 2 * whole;
    if (linear->options.mode == RELORA_MODE_LOWRANK) forward.flops -= whole, backward.flops -= whole;
    r->forward = forward.order, r->backward = backward.order;
    r->forward_flops = forward.flops, r->backward_flops = backward.flops;
}

static int64_t bytes_of(const struct scratch *s)
{
    return s->used > INT64_MAX ? INT64_MAX : (int64_t)s->used;
}

relora_status relora_linear_plan(const relora_linear *linear, int64_t rows, uint32_t flags,
                                 relora_plan_report *report)
{
    const char *fn = "relora_linear_plan";
    relora_plan_report r = {.struct_size = sizeof r};
    if (!linear) return RELORA_E_ARGUMENT;
    if (rows < 0) FAIL(linear->ctx, RELORA_E_ARGUMENT, "%s: rows is %lld, less than 0", fn, (long long)rows);
    if (flags & ~(uint32_t)RELORA_TRAIN)
        FAIL(linear->ctx, RELORA_E_ARGUMENT, "%s: flags is 0x%x, and only 0x%x is known", fn, flags,
             RELORA_TRAIN);
    if (!report) FAIL(linear->ctx, RELORA_E_ARGUMENT, "%s: report is NULL", fn);
    struct pass p = {.linear = linear, .rows = rows, .drops = pass_drops(linear, flags)};
    struct scratch forward = {0}, backward = {0};
    plan_report(linear, rows, p.drops, &r);
    p.order = r.forward;
    pass_layout_forward(&p, &forward);
    p.order = r.backward;
    pass_layout_backward(&p, 1, &backward);
    r.forward_bytes = bytes_of(&forward);
    r.backward_bytes = bytes_of(&backward);
    return context_write_report(linear->ctx, fn, "report", report, &r, sizeof r);
}

relora_status relora_plan_report_init(relora_plan_report *report, size_t size)
{
    return report_init(report, size);
}
