/* The parts of a restart on tensors of the host: arguments, and the code that layers and optimizers share. */
#include "restart.h"

#include "adam_reset.h"
#include "float_mode.h"
#include "full_rank.h"
#include "linear.h"
#include "merge.h"
#include "moments.h"
#include "renew.h"

static const char *const flag_names[] = {"LOOK", "IN_OUT", NULL};

static const struct option merge_rows[] = {
    {FIELD(relora_merge_options, flags), OPTION_FLAGS, .names = flag_names},
    {FIELD(relora_merge_options, scale), OPTION_F64, .value = 1, .low = -NO_LIMIT, .high = NO_LIMIT},
    {FIELD(relora_merge_options, seed), OPTION_U64},
    {FIELD(relora_merge_options, layer), OPTION_U64},
    {FIELD(relora_merge_options, cycle), OPTION_U64},
    {FIELD(relora_merge_options, rounding), OPTION_ENUM, .value = RELORA_ROUND_STOCHASTIC,
     .names = rounding_names},
    {FIELD(relora_merge_options, reserved), OPTION_I32},
};
const struct options merge_table = {
    ROWS(merge_rows), .size = sizeof(relora_merge_options),
    .first_size = END_OF(relora_merge_options, reserved), /* 0.5 */
};

static const struct option factors_rows[] = {
    {FIELD(relora_factors_options, init), OPTION_ENUM, .value = RELORA_INIT_UNIFORM, .names = init_names},
    {FIELD(relora_factors_options, seed), OPTION_U64},
    {FIELD(relora_factors_options, layer), OPTION_U64},
    {FIELD(relora_factors_options, cycle), OPTION_U64},
};
const struct options factors_table = {
    ROWS(factors_rows), .size = sizeof(relora_factors_options),
    .first_size = END_OF(relora_factors_options, cycle), /* 0.6 */
};

relora_status relora_factors_options_init(relora_factors_options *options, size_t size)
{
    return options_write(&factors_table, options, size);
}

relora_status relora_merge_options_init(relora_merge_options *options, size_t size)
{
    return options_write(&merge_table, options, size);
}

/* ---- arguments ---- */

struct argument {
    const char *name;
    const relora_tensor *tensor;
};

static relora_status check_apart(const struct call *c, const struct argument *one,
                                 const struct argument *other)
{
    if (views_overlap(tensor_view(one->tensor), tensor_view(other->tensor)))
        FAIL(c, RELORA_E_ARGUMENT, "the memory of %s overlaps that of %s", one->name, other->name);
    return RELORA_OK;
}

/* All there, and of one device with the stream; none shares memory with the first. Without a stream the text
 * goes to the context of the first tensor that is there. */
static relora_status open_restart(struct call *c, relora_stream *stream, const struct argument *arguments,
                                  int count)
{
    for (int i = 0; i < count && !c->ctx; i++)
        if (arguments[i].tensor) c->ctx = arguments[i].tensor->ctx;
    TRY(call_open(c, stream, "stream", stream ? stream->ctx : NULL, NULL));
    for (int i = 0; i < count; i++) TRY(tensor_check(c, arguments[i].tensor, arguments[i].name));
    for (int i = 1; i < count; i++) TRY(check_apart(c, &arguments[0], &arguments[i]));
    return RELORA_OK;
}

static relora_status check_f32(const struct call *c, const struct argument *argument)
{
    const relora_tensor *t = argument->tensor;
    if (t->shape.dtype != RELORA_F32)
        FAIL(c, RELORA_E_DTYPE, "%s is %s, but must be F32", argument->name, dtype_name(t->shape.dtype));
    return RELORA_OK;
}

/* [rank, in] and [out, rank] */
static relora_status check_factors(const struct call *c, const struct argument *a, const struct argument *b)
{
    char text[2][SHAPE_TEXT];
    const struct argument *factors[] = {a, b};
    for (int i = 0; i < 2; i++) {
        const struct shape *s = &factors[i]->tensor->shape;
        TRY(check_f32(c, factors[i]));
        if (s->ndim != 2 || !s->count)
            FAIL(c, RELORA_E_SHAPE, "%s is %s, not a matrix with elements", factors[i]->name,
                 shape_text(s, text[0]));
    }
    if (a->tensor->shape.dim[0] != b->tensor->shape.dim[1])
        FAIL(c, RELORA_E_SHAPE, "%s is %s and %s is %s, but must be [rank, in] and [out, rank]", a->name,
             shape_text(&a->tensor->shape, text[0]), b->name, shape_text(&b->tensor->shape, text[1]));
    return RELORA_OK;
}

/* ---- the merge ---- */

static relora_status read_options(const struct call *c, relora_merge_options *o,
                                  const relora_merge_options *from)
{
    TRY(call_read_options(c, "options", &merge_table, o, from));
    if (!float_mode_fits_f32(o->scale))
        FAIL(c, RELORA_E_ARGUMENT, "options.scale is %g, not finite in F32", o->scale);
    return RELORA_OK;
}

static relora_status check_weight(const struct call *c, const relora_tensor *weight, const struct update *u)
{
    char text[SHAPE_TEXT];
    int64_t out = u->b.rows, in = u->a.cols, rows = u->in_out ? in : out, cols = u->in_out ? out : in;
    const struct shape *s = &weight->shape;
    if (s->ndim != 2 || s->dim[0] != rows || s->dim[1] != cols)
        FAIL(c, RELORA_E_SHAPE, "weight is %s, but a and b have in %lld and out %lld, and W is %s",
             shape_text(s, text), (long long)in, (long long)out, u->in_out ? "[in, out]" : "[out, in]");
    return RELORA_OK;
}

static relora_status merge_update(const struct call *c, const struct update *u, const relora_merge_options *o,
                                  relora_merge_report *r)
{
    char label[LABEL_TEXT];
    double sums[MERGE_SUMS] = {0};
    TRY(merge_look(c, u, 1));
    if (o->flags & RELORA_MERGE_LOOK) return RELORA_OK;
    TRY(merge_start(c, u, sums));
    TRY(merge_add(c, u, o->cycle));
    TRY(merge_end(c, u, sums));
    merge_report(sums, r);
    r->layers = 1;
    call_log(c, RELORA_LOG_INFO, "%s, cycle %llu: |dW| %g, |W| %g", layer_label(u->name, u->layer, label),
             (unsigned long long)o->cycle, r->delta_norm, r->weight_norm);
    return RELORA_OK;
}

relora_status relora_merge(relora_stream *stream, relora_tensor *weight, const relora_tensor *a,
                           const relora_tensor *b, const relora_merge_options *options,
                           relora_merge_report *report)
{
    struct call c = {.fn = "relora_merge"};
    relora_merge_report r = {.struct_size = sizeof r};
    relora_merge_options o;
    const struct argument arguments[] = {{"weight", weight}, {"a", a}, {"b", b}};
    TRY(open_restart(&c, stream, arguments, 3));
    TRY(check_factors(&c, &arguments[1], &arguments[2]));
    TRY(read_options(&c, &o, options));
    struct update u = {.name = "",
                       .weight = tensor_view(weight),
                       .a = tensor_view(a),
                       .b = tensor_view(b),
                       .in_out = (o.flags & RELORA_MERGE_IN_OUT) != 0,
                       .scale = {.value = o.scale},
                       .rounding = o.rounding,
                       .seed = o.seed,
                       .layer = o.layer};
    TRY(check_weight(&c, weight, &u));
    TRY(call_write_report(&c, "report", report, &r, sizeof r));
    TRY(merge_update(&c, &u, &o, &r));
    return report_write(report, &r, sizeof r);
}

/* ---- a step in full rank ---- */

static relora_status check_gradient(const struct call *c, const relora_tensor *weight,
                                    const struct argument *grad)
{
    char text[2][SHAPE_TEXT];
    const struct shape *w = &weight->shape, *g = &grad->tensor->shape;
    TRY(check_f32(c, grad));
    if (w->ndim != 2 || !w->count)
        FAIL(c, RELORA_E_SHAPE, "weight is %s, not a matrix with elements", shape_text(w, text[0]));
    if (!shape_equal(w, g))
        FAIL(c, RELORA_E_SHAPE, "weight is %s, but grad is %s", shape_text(w, text[0]),
             shape_text(g, text[1]));
    return RELORA_OK;
}

relora_status relora_full_rank_step(relora_stream *stream, relora_tensor *weight, relora_tensor *grad,
                                    double lr, const relora_merge_options *options,
                                    relora_full_rank_report *report)
{
    struct call c = {.fn = "relora_full_rank_step"};
    relora_full_rank_report r = {.struct_size = sizeof r};
    relora_merge_options o;
    const struct argument arguments[] = {{"weight", weight}, {"grad", grad}};
    TRY(open_restart(&c, stream, arguments, 2));
    TRY(check_gradient(&c, weight, &arguments[1]));
    TRY(full_rank_check_lr(&c, lr));
    TRY(read_options(&c, &o, options));
    TRY(call_write_report(&c, "report", report, &r, sizeof r));
    struct full_rank f = {.name = "",
                          .weight = tensor_view(weight),
                          .grad = tensor_view(grad),
                          .lr = float_mode_product(lr, o.scale),
                          .rounding = o.rounding,
                          .seed = o.seed,
                          .layer = o.layer,
                          .count = o.cycle,
                          .only_looks = (o.flags & RELORA_MERGE_LOOK) != 0};
    TRY(full_rank_run(&c, &f, &r));
    return report_write(report, &r, sizeof r);
}

/* ---- factors and moments ---- */

relora_status relora_factors_draw(relora_stream *stream, relora_tensor *a, relora_tensor *b, uint64_t seed,
                                  uint64_t layer, uint64_t cycle)
{
    struct call c = {.fn = "relora_factors_draw"};
    const struct argument arguments[] = {{"a", a}, {"b", b}};
    TRY(open_restart(&c, stream, arguments, 2));
    TRY(check_factors(&c, &arguments[0], &arguments[1]));
    return call_queue(&c, merge_draw_factors(stream->device->backend, c.queue, tensor_view(a), tensor_view(b),
                                             draw_make(seed, layer, DRAW_FACTOR_A, cycle), 0));
}

/* The gradient of A: none, or one more matrix like it. */
static relora_status check_gradient_of_a(const struct call *c, const struct argument arguments[3])
{
    char text[2][SHAPE_TEXT];
    const struct argument *a = &arguments[0], *gradient = &arguments[2];
    if (!gradient->tensor) return RELORA_OK;
    TRY(tensor_check(c, gradient->tensor, gradient->name));
    TRY(check_f32(c, gradient));
    if (!shape_equal(&a->tensor->shape, &gradient->tensor->shape))
        FAIL(c, RELORA_E_SHAPE, "gradient is %s, but a is %s", shape_text(&gradient->tensor->shape, text[0]),
             shape_text(&a->tensor->shape, text[1]));
    for (int i = 0; i < 2; i++) TRY(check_apart(c, gradient, &arguments[i]));
    return RELORA_OK;
}

/* The sums are there only if somebody wants them. */
static relora_status renew_factors(const struct call *c, const struct renewal *r, relora_merge_report *report)
{
    double sums[MERGE_SUMS] = {0};
    struct scratch scratch = {0};
    renew_lay_out(r, &scratch);
    TRY(scratch_open(c, &scratch));
    struct renew_memory memory = renew_lay_out(r, &scratch);
    struct copy down = {memory.sums, sums, 1, sizeof sums, 0, 0, COPY_TO_DEVICE};
    struct copy up = {sums, memory.sums, 1, sizeof sums, 0, 0, COPY_TO_HOST};
    if (r->measures) TRY(call_queue(c, c->backend->copy(c->queue, &down)));
    TRY(renew(c, r, &memory));
    if (!r->measures) return RELORA_OK;
    TRY(call_queue(c, c->backend->copy(c->queue, &up)));
    TRY(call_queue(c, c->backend->queue_sync(c->queue)));
    merge_report(sums, report);
    return RELORA_OK;
}

relora_status relora_factors_renew(relora_stream *stream, relora_tensor *a, relora_tensor *b,
                                   const relora_tensor *gradient, const relora_factors_options *options,
                                   relora_merge_report *report)
{
    struct call c = {.fn = "relora_factors_renew"};
    relora_merge_report nothing = {.struct_size = sizeof nothing}, r = {.struct_size = sizeof r, .layers = 1};
    relora_factors_options o;
    const struct argument arguments[] = {{"a", a}, {"b", b}, {"gradient", gradient}};
    TRY(open_restart(&c, stream, arguments, 2));
    TRY(check_factors(&c, &arguments[0], &arguments[1]));
    TRY(check_gradient_of_a(&c, arguments));
    TRY(call_read_options(&c, "options", &factors_table, &o, options));
    TRY(call_write_report(&c, "report", report, &nothing, sizeof nothing));
    struct renewal renewal = {.a = tensor_view(a),
                              .b = tensor_view(b),
                              .init = o.init,
                              .seed = o.seed,
                              .layer = o.layer,
                              .cycle = o.cycle,
                              .measures = report != NULL};
    if (gradient) renewal.gradient = tensor_view(gradient);
    TRY(renew_factors(&c, &renewal, &r));
    return report_write(report, &r, sizeof r);
}

static relora_status check_moments(const struct call *c, const struct argument moments[2])
{
    char text[2][SHAPE_TEXT];
    for (int i = 0; i < 2; i++) {
        const struct shape *s = &moments[i].tensor->shape;
        TRY(check_f32(c, &moments[i]));
        if (!shape_is_dense(s))
            FAIL(c, RELORA_E_LAYOUT, "%s has rows %lld apart, but %lld long", moments[i].name,
                 (long long)s->ld, (long long)s->cols);
    }
    if (!shape_equal(&moments[0].tensor->shape, &moments[1].tensor->shape))
        FAIL(c, RELORA_E_SHAPE, "first is %s, but second is %s",
             shape_text(&moments[0].tensor->shape, text[0]), shape_text(&moments[1].tensor->shape, text[1]));
    return RELORA_OK;
}

relora_status relora_moments_reset(relora_stream *stream, relora_tensor *first, relora_tensor *second,
                                   uint64_t index, const relora_reset_options *options,
                                   relora_reset_report *report)
{
    struct call c = {.fn = "relora_moments_reset"};
    relora_reset_report r = {.struct_size = sizeof r, .params = 1};
    relora_reset_report nothing = {.struct_size = sizeof nothing};
    relora_reset_options o;
    int64_t *counts = NULL;
    const struct argument moments[] = {{"first", first}, {"second", second}};
    TRY(open_restart(&c, stream, moments, 2));
    TRY(check_moments(&c, moments));
    TRY(reset_options_read(&c, &o, "options", options));
    TRY(reset_options_alone(&c, &o));
    if (o.flags & RELORA_RESET_STEP_COUNT)
        FAIL(&c, RELORA_E_ARGUMENT, "options.flags has STEP_COUNT, but the step count is the caller's");
    TRY(call_write_report(&c, "report", report, &nothing, sizeof nothing));
    if (report) TRY(moments_count(&c, &counts));
    TRY(moments_reset(&c, first->data, second->data, first->shape.count, index, &o, counts));
    if (!report) return RELORA_OK;
    TRY(moments_counted(&c, counts, &r));
    r.elements = first->shape.count;
    return report_write(report, &r, sizeof r);
}

/* Both [rank, in], and the moments [out, rank]; an A may be the other, but no moment. */
static relora_status check_both_a(const struct call *c, const struct argument arguments[4])
{
    char text[2][SHAPE_TEXT];
    for (int i = 2; i < 4; i++) {
        TRY(check_factors(c, &arguments[i], &arguments[0]));
        TRY(check_apart(c, &arguments[1], &arguments[i]));
    }
    const struct shape *old = &arguments[2].tensor->shape, *now = &arguments[3].tensor->shape;
    if (!shape_equal(old, now))
        FAIL(c, RELORA_E_SHAPE, "a_old is %s, but a_new is %s", shape_text(old, text[0]),
             shape_text(now, text[1]));
    return RELORA_OK;
}

static relora_status check_beta(const struct call *c, const char *name, double beta)
{
    if (!(beta >= 0 && beta < 1)) FAIL(c, RELORA_E_ARGUMENT, "%s is %g, outside [0, 1)", name, beta);
    return RELORA_OK;
}

relora_status relora_moments_project(relora_stream *stream, relora_tensor *first, relora_tensor *second,
                                     const relora_tensor *a_old, const relora_tensor *a_new, double beta1,
                                     double beta2, int64_t steps)
{
    struct call c = {.fn = "relora_moments_project"};
    const struct argument arguments[] = {
        {"first", first}, {"second", second}, {"a_old", a_old}, {"a_new", a_new}};
    struct scratch scratch = {0};
    TRY(open_restart(&c, stream, arguments, 4));
    TRY(check_moments(&c, arguments));
    TRY(check_both_a(&c, arguments));
    TRY(check_beta(&c, "beta1", beta1));
    TRY(check_beta(&c, "beta2", beta2));
    if (steps < 0) FAIL(&c, RELORA_E_ARGUMENT, "steps is %lld, less than 0", (long long)steps);
    struct transport t = {.first = tensor_view(first),
                          .second = tensor_view(second),
                          .old = tensor_view(a_old),
                          .now = tensor_view(a_new),
                          .beta1 = beta1,
                          .beta2 = beta2,
                          .count = steps};
    transport_lay_out(t.first.rows, t.first.cols, &scratch);
    TRY(scratch_open(&c, &scratch));
    struct transport_memory memory = transport_lay_out(t.first.rows, t.first.cols, &scratch);
    return moments_transport(&c, &t, &memory);
}
