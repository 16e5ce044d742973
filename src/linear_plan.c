/* The order of products of a layer, as the host sees and forces it. */
#include "linear_sketch.h"

relora_status relora_linear_set_order(relora_linear *linear, relora_order forward, relora_order backward)
{
    if (!linear) return RELORA_E_ARGUMENT;
    struct call c = {.fn = "relora_linear_set_order", .ctx = linear->ctx};
    if (forward < RELORA_ORDER_AUTO || forward > RELORA_ORDER_FOLD)
        FAIL(&c, RELORA_E_ARGUMENT, "forward is %d, not AUTO, SPLIT or FOLD", forward);
    if (backward < RELORA_ORDER_AUTO || backward > RELORA_ORDER_THROUGH)
        FAIL(&c, RELORA_E_ARGUMENT, "backward is %d, not a RELORA_ORDER", backward);
    linear->forward_order = forward;
    linear->backward_order = backward;
    return RELORA_OK;
}

/* FULL has one product forward and two backward, in no particular order. */
static void plan_report(const struct pass *p, relora_plan_report *r)
{
    const relora_linear *linear = p->linear;
    struct plan_case c = pass_plan_case(linear, p->rows, p->drops, 1);
    struct plan forward = plan_forward(&c, linear->forward_order);
    struct plan backward = plan_backward(&c, linear->backward_order);
    double whole = 2.0 * (double)p->rows * (double)c.in * (double)c.out;
    if (!pass_has_branch(linear)) forward.flops = whole, backward.flops = 2 * whole;
    if (linear->options.mode == RELORA_MODE_LOWRANK) forward.flops -= whole, backward.flops -= whole;
    r->forward = forward.order, r->backward = backward.order;
    r->forward_flops = forward.flops, r->backward_flops = backward.flops + 2 * sketch_products(p);
}

static int64_t bytes_of(const struct scratch *s)
{
    return s->used > INT64_MAX ? INT64_MAX : (int64_t)s->used;
}

relora_status relora_linear_plan(const relora_linear *linear, int64_t rows, uint32_t flags,
                                 relora_plan_report *report)
{
    relora_plan_report r = {.struct_size = sizeof r};
    if (!linear) return RELORA_E_ARGUMENT;
    struct call c = {.fn = "relora_linear_plan", .ctx = linear->ctx};
    if (rows < 0) FAIL(&c, RELORA_E_ARGUMENT, "rows is %lld, less than 0", (long long)rows);
    const uint32_t known = RELORA_TRAIN | RELORA_SKETCH;
    if (flags & ~known) FAIL(&c, RELORA_E_ARGUMENT, "flags is 0x%x, and only 0x%x is known", flags, known);
    if (!report) FAIL(&c, RELORA_E_ARGUMENT, "report is NULL");
    struct passes one = {.count = 1};
    struct pass *p = &one.pass[0];
    *p = (struct pass){.linear = linear,
                       .rows = rows,
                       .drops = pass_drops(linear, flags),
                       .wants_dx = 1,
                       .sketches = sketch_wanted(linear, flags)};
    struct scratch forward = {0}, backward = {0};
    plan_report(p, &r);
    p->order = r.forward;
    pass_layout_forward(&one, &forward);
    p->order = r.backward;
    pass_layout_backward(&one, &backward);
    sketch_reserve(p, &backward);
    r.forward_bytes = bytes_of(&forward);
    r.backward_bytes = bytes_of(&backward);
    TRY(pass_tell(&c, linear, rows, &r));
    return call_write_report(&c, "report", report, &r, sizeof r);
}

relora_status relora_plan_report_init(relora_plan_report *report, size_t size)
{
    return report_init(report, size);
}
