/* The layer as an object: its options, modes, parameters and gradients. */
#include "linear.h"

#include <math.h>
#include <stdio.h>

#include "device.h"
#include "description.h"
#include "float_mode.h"
#include "linear_init.h"
#include "merge.h"
#include "renew.h"

/* ---- options ---- */

static const char *const mode_names[] = {NULL, "FULL", "LORA", "LOWRANK", NULL};
static const char *const flag_names[] = {"BIAS",   "TRAINABLE_SCALE", "REFERENCE", "KEEP_DELTA", "TF32",
                                         "IN_OUT", "FREEZE_A",        "FREEZE_B",  NULL};

static const struct option linear_rows[] = {
    {FIELD(relora_linear_options, mode), OPTION_ENUM, .value = RELORA_MODE_LORA, .names = mode_names},
    {FIELD(relora_linear_options, dtype), OPTION_ENUM, .value = RELORA_F32, .names = dtype_names},
    {FIELD(relora_linear_options, in_features), OPTION_I64, .low = 1, .high = NO_LIMIT},
    {FIELD(relora_linear_options, out_features), OPTION_I64, .low = 1, .high = NO_LIMIT},
    {FIELD(relora_linear_options, rank), OPTION_I64, .low = 0, .high = NO_LIMIT},
    {FIELD(relora_linear_options, alpha), OPTION_F64, .value = 32, .low = -NO_LIMIT, .high = NO_LIMIT},
    {FIELD(relora_linear_options, dropout), OPTION_F64, .value = 0.1, .low = 0, .high = 1, .below_high = 1},
    {FIELD(relora_linear_options, seed), OPTION_U64},
    {FIELD(relora_linear_options, layer), OPTION_U64},
    {FIELD(relora_linear_options, rounding), OPTION_ENUM, .value = RELORA_ROUND_STOCHASTIC,
     .names = rounding_names, .as_number = 1},
    {FIELD(relora_linear_options, flags), OPTION_FLAGS, .names = flag_names, .quiet = RELORA_LINEAR_TF32},
    {FIELD(relora_linear_options, reserved), OPTION_I32, .quiet = QUIET},
    {FIELD(relora_linear_options, init), OPTION_ENUM, .names = init_names, .since = 6},
    {FIELD(relora_linear_options, reserved2), OPTION_I32, .quiet = QUIET, .since = 6},
};
const struct options linear_table = {
    ROWS(linear_rows), .size = sizeof(relora_linear_options),
    .first_size = END_OF(relora_linear_options, reserved), /* 0.1 */
};

relora_status relora_linear_options_init(relora_linear_options *options, size_t size)
{
    return options_write(&linear_table, options, size);
}

/* At most one factor is frozen, and the authors' code freezes none. */
static relora_status check_frozen(const struct call *c, const relora_linear_options *o)
{
    const uint32_t both = RELORA_LINEAR_FREEZE_A | RELORA_LINEAR_FREEZE_B;
    if ((o->flags & both) == both)
        FAIL(c, RELORA_E_ARGUMENT, "options.flags has FREEZE_A and FREEZE_B, so no factor is trained");
    if ((o->flags & both) && (o->flags & RELORA_LINEAR_REFERENCE))
        FAIL(c, RELORA_E_ARGUMENT, "options.flags has REFERENCE, in which both factors are trained, and %s",
             o->flags & RELORA_LINEAR_FREEZE_A ? "FREEZE_A" : "FREEZE_B");
    return RELORA_OK;
}

/* What no row can say alone. */
static relora_status check_options(const struct call *c, const relora_linear_options *o)
{
    if (o->mode != RELORA_MODE_FULL && o->rank < 1)
        FAIL(c, RELORA_E_ARGUMENT, "options.rank is %lld, but %s needs 1 or more", (long long)o->rank,
             linear_mode_name(o->mode));
    if (!float_mode_fits_f32(float_mode_quotient(o->alpha, (double)(o->rank ? o->rank : 1))))
        FAIL(c, RELORA_E_ARGUMENT, "options.alpha is %g, and alpha / rank is not finite in F32", o->alpha);
    if (o->mode == RELORA_MODE_LOWRANK && (o->flags & RELORA_LINEAR_KEEP_DELTA))
        FAIL(c, RELORA_E_ARGUMENT, "options.flags has KEEP_DELTA, but LOWRANK has no W");
    if ((o->flags & RELORA_LINEAR_REFERENCE) && !renew_is_uniform(o->init))
        FAIL(c, RELORA_E_ARGUMENT, "options.init is %s, but REFERENCE needs UNIFORM", init_names[o->init]);
    if ((o->flags & RELORA_LINEAR_FREEZE_B) && !renew_is_uniform(o->init))
        FAIL(c, RELORA_E_ARGUMENT, "options.init is %s, but with FREEZE_B A begins at 0, and B is drawn",
             init_names[o->init]);
    return check_frozen(c, o);
}

/* ---- parameters ---- */

const char *linear_param_name(relora_param param)
{
    static const char *const names[PARAM_COUNT] = {
        NULL, "weight", "bias", "lora_A.weight", "lora_B.weight", "scaling", "delta", "sketch"};
    return names[param];
}

const char *linear_mode_name(relora_linear_mode mode)
{
    return mode_names[mode];
}

void linear_set_name(relora_linear *linear, const char *name)
{
    if (!linear->name[0]) memcpy(linear->name, name, text_fit(name, LINEAR_NAME));
}

const char *linear_label(const relora_linear *linear, char text[LABEL_TEXT])
{
    return layer_label(linear->name, linear->options.layer, text);
}

/* Shape of a parameter; its number of axes. */
static int32_t param_shape(const relora_linear_options *o, relora_param param, int64_t shape[2])
{
    switch (param) {
    case RELORA_PARAM_WEIGHT:
    case RELORA_PARAM_DELTA: shape[0] = linear_weight_rows(o), shape[1] = linear_weight_cols(o); return 2;
    case RELORA_PARAM_SKETCH:
    case RELORA_PARAM_A: shape[0] = o->rank, shape[1] = o->in_features; return 2;
    case RELORA_PARAM_B: shape[0] = o->out_features, shape[1] = o->rank; return 2;
    case RELORA_PARAM_BIAS: shape[0] = o->out_features; return 1;
    default: shape[0] = 1; return 1;
    }
}

static int is_trained(const relora_linear_options *o, relora_param param)
{
    switch (param) {
    case RELORA_PARAM_WEIGHT: return o->mode == RELORA_MODE_FULL;
    case RELORA_PARAM_BIAS: return (o->flags & RELORA_LINEAR_BIAS) != 0;
    case RELORA_PARAM_SCALE: return o->mode != RELORA_MODE_FULL && (o->flags & RELORA_LINEAR_TRAINABLE_SCALE);
    case RELORA_PARAM_DELTA:
    case RELORA_PARAM_SKETCH: return 0;
    case RELORA_PARAM_A: return o->mode != RELORA_MODE_FULL && !(o->flags & RELORA_LINEAR_FREEZE_A);
    default: return o->mode != RELORA_MODE_FULL && !(o->flags & RELORA_LINEAR_FREEZE_B);
    }
}

/* Does the layer make the values of a parameter itself? W is the host's. */
static int is_own(const relora_linear_options *o, relora_param param)
{
    if (param == RELORA_PARAM_WEIGHT) return 0;
    if (param == RELORA_PARAM_DELTA)
        return o->mode == RELORA_MODE_LORA && (o->flags & RELORA_LINEAR_KEEP_DELTA);
    if (param == RELORA_PARAM_SKETCH)
        return o->mode != RELORA_MODE_FULL && (o->flags & RELORA_LINEAR_FREEZE_A) &&
               o->init == RELORA_INIT_GRADIENT;
    if (param == RELORA_PARAM_A || param == RELORA_PARAM_B) return o->mode != RELORA_MODE_FULL;
    return is_trained(o, param);
}

static relora_status add_part(const struct call *c, relora_tensor **part, const relora_linear *linear,
                              relora_param param)
{
    int64_t shape[2];
    int32_t ndim = param_shape(&linear->options, param, shape);
    if (*part) return RELORA_OK;
    TRY(tensor_new(c, part, linear->device, RELORA_F32, ndim, shape));
    return tensor_preset(c, *part, 0);
}

/* Make, zeroed, what the mode needs and the layer lacks. */
static relora_status add_parts(const struct call *c, relora_linear *linear)
{
    for (relora_param p = RELORA_PARAM_WEIGHT; p < PARAM_COUNT; p++) {
        if (is_trained(&linear->options, p)) TRY(add_part(c, &linear->grad[p], linear, p));
        if (is_own(&linear->options, p)) TRY(add_part(c, &linear->param[p], linear, p));
    }
    return RELORA_OK;
}

/* Let go of what the mode does not need. */
static void drop_parts(relora_linear *linear)
{
    for (relora_param p = RELORA_PARAM_WEIGHT; p < PARAM_COUNT; p++) {
        if (!is_trained(&linear->options, p)) {
            relora_tensor_release(linear->grad[p]);
            linear->grad[p] = NULL;
        }
        if (!is_own(&linear->options, p) && p != RELORA_PARAM_WEIGHT) {
            relora_tensor_release(linear->param[p]);
            linear->param[p] = NULL;
        }
    }
}

struct draw linear_draw(const relora_linear *linear, enum draw_purpose purpose, uint64_t call)
{
    return draw_make(linear->options.seed, linear->options.layer, purpose, call);
}

/* ---- life ---- */

static void destroy(relora_linear *linear)
{
    for (relora_param p = RELORA_PARAM_WEIGHT; p < PARAM_COUNT; p++) {
        relora_tensor_release(linear->param[p]);
        relora_tensor_release(linear->grad[p]);
    }
    relora_tensor_release(linear->target);
    context_delete(linear->ctx, linear, sizeof *linear);
}

relora_status linear_options_read(const struct call *c, relora_linear_options *o,
                                  const relora_linear_options *from)
{
    if (!from) FAIL(c, RELORA_E_ARGUMENT, "options is NULL");
    return call_take_options(c, "options", &linear_table, o, from);
}

relora_status linear_create(const struct call *c, relora_linear **out, relora_device *device,
                            const relora_linear_options *options)
{
    relora_context *ctx = device->ctx;
    relora_linear_options o = *options;
    TRY(call_check_options(c, "options", &linear_table, &o));
    TRY(check_options(c, &o));
    relora_linear *linear = context_new(ctx, sizeof *linear);
    if (!linear) return call_fail_memory(c, sizeof *linear);
    linear->forward_order = linear->backward_order = RELORA_ORDER_AUTO;
    atomic_init(&linear->refs, 1);
    linear->ctx = ctx;
    linear->device = device;
    linear->options = o;
    relora_status status = add_parts(c, linear);
    if (status >= 0) status = linear_start_factors(c, linear);
    if (status < 0) {
        destroy(linear);
        return status;
    }
    *out = linear;
    return RELORA_OK;
}

relora_status relora_linear_create(relora_linear **out, relora_device *device,
                                   const relora_linear_options *options)
{
    struct call c = {.fn = "relora_linear_create", .ctx = device ? device->ctx : NULL};
    relora_linear_options o;
    if (!out) FAIL(&c, RELORA_E_ARGUMENT, "out is NULL");
    *out = NULL;
    if (!device) return RELORA_E_ARGUMENT;
    TRY(linear_options_read(&c, &o, options));
    return linear_create(&c, out, device, &o);
}

void linear_retain(relora_linear *linear)
{
    atomic_fetch_add_explicit(&linear->refs, 1, memory_order_relaxed);
}

void relora_linear_release(relora_linear *linear)
{
    if (linear && atomic_fetch_sub_explicit(&linear->refs, 1, memory_order_acq_rel) == 1) destroy(linear);
}

/* ---- weight and mode ---- */

relora_status linear_check_param(const struct call *c, const relora_linear *linear, const char *name,
                                 const relora_tensor *t, relora_param param, relora_dtype dtype)
{
    const relora_context *ctx = linear->ctx;
    char text[SHAPE_TEXT];
    int64_t dims[2];
    struct shape expected = {.ndim = param_shape(&linear->options, param, dims)};
    if (t->ctx != ctx) FAIL(c, RELORA_E_CONTEXT, "%s belongs to another context", name);
    if (t->device != linear->device)
        FAIL(c, RELORA_E_DEVICE, "%s is on %s, the layer on %s", name, t->device->name, linear->device->name);
    if (t->shape.dtype != dtype)
        FAIL(c, RELORA_E_DTYPE, "%s is %s, but must be %s", name, dtype_name(t->shape.dtype),
             dtype_name(dtype));
    memcpy(expected.dim, dims, sizeof dims);
    if (!shape_equal(&t->shape, &expected))
        FAIL(c, RELORA_E_SHAPE, "%s is %s, but the layer has in_features %lld, out_features %lld", name,
             shape_text(&t->shape, text), (long long)linear->options.in_features,
             (long long)linear->options.out_features);
    return RELORA_OK;
}

void linear_replace(relora_tensor **slot, relora_tensor *tensor)
{
    relora_tensor_retain(tensor);
    relora_tensor_release(*slot);
    *slot = tensor;
}

relora_status linear_set_weight(const struct call *c, relora_linear *linear, relora_tensor *weight,
                                relora_tensor *bias)
{
    const relora_linear_options *o = &linear->options;
    int needs = o->mode != RELORA_MODE_LOWRANK;
    if (needs && !weight) FAIL(c, RELORA_E_ARGUMENT, "weight is NULL");
    if (!needs && weight) FAIL(c, RELORA_E_ARGUMENT, "weight is given, but LOWRANK has none");
    if (bias && !(o->flags & RELORA_LINEAR_BIAS))
        FAIL(c, RELORA_E_ARGUMENT, "bias is given, but the layer has no RELORA_LINEAR_BIAS");
    if (weight) TRY(linear_check_param(c, linear, "weight", weight, RELORA_PARAM_WEIGHT, o->dtype));
    if (bias)
        TRY(linear_check_param(c, linear, "bias", bias, RELORA_PARAM_BIAS,
                               linear_param_dtype(o, RELORA_PARAM_BIAS, bias->shape.dtype)));
    const relora_tensor *beside = bias ? bias : linear->param[RELORA_PARAM_BIAS];
    if (weight && beside && views_overlap(tensor_view(weight), tensor_view(beside)))
        FAIL(c, RELORA_E_ARGUMENT, "the memory of bias overlaps that of weight");
    relora_tensor *delta = linear->param[RELORA_PARAM_DELTA];
    if (delta) TRY(tensor_preset(c, delta, 0)); /* of the new W nothing is merged yet */
    if (weight) linear_replace(&linear->param[RELORA_PARAM_WEIGHT], weight);
    if (bias) linear_replace(&linear->param[RELORA_PARAM_BIAS], bias);
    linear->generation++;
    return RELORA_OK;
}

relora_status relora_linear_set_weight(relora_linear *linear, relora_tensor *weight, relora_tensor *bias)
{
    const relora_tensor *first = weight ? weight : bias; /* where a sentence may go */
    struct call c = {.fn = "relora_linear_set_weight",
                     .ctx = linear  ? linear->ctx
                            : first ? first->ctx
                                    : NULL};
    if (!linear) FAIL(&c, RELORA_E_ARGUMENT, "linear is NULL");
    return linear_set_weight(&c, linear, weight, bias);
}

relora_status linear_prepare_mode(const struct call *c, relora_linear *linear, relora_linear_mode mode)
{
    const relora_linear_mode now = linear->options.mode;
    linear->options.mode = mode;
    relora_status status = add_parts(c, linear);
    if (status >= 0) status = linear_start_factors(c, linear);
    linear->options.mode = now;
    return status;
}

void linear_settle_mode(relora_linear *linear, relora_linear_mode mode)
{
    if (linear->options.mode != mode) linear->generation++;
    linear->options.mode = mode;
    drop_parts(linear);
}

relora_linear_mode relora_linear_get_mode(const relora_linear *linear)
{
    return linear ? linear->options.mode : 0;
}

relora_tensor *relora_linear_param(relora_linear *linear, relora_param param)
{
    return linear && param > 0 && param < PARAM_COUNT ? linear->param[param] : NULL;
}

relora_tensor *relora_linear_grad(relora_linear *linear, relora_param param)
{
    return linear && param > 0 && param < PARAM_COUNT ? linear->grad[param] : NULL;
}

int64_t linear_slice_rows(const relora_linear *linear, int64_t first)
{
    return merge_slice_rows(linear->device, linear_weight_rows(&linear->options), first);
}

struct scale linear_scale(const relora_linear *linear)
{
    const relora_tensor *scale = linear->param[RELORA_PARAM_SCALE];
    if (scale) return (struct scale){0, scale->data};
    return (struct scale){float_mode_quotient(linear->options.alpha, (double)linear->options.rank), NULL};
}

void linear_describe(const relora_linear *linear, struct text *text)
{
    description_put(text, &linear_table, &linear->options);
}

relora_status linear_compare(const char *ours, const char *theirs, struct text *why)
{
    static const struct options *const tables[] = {&linear_table, NULL};
    return description_compare(tables, ours, &theirs, NULL, why);
}

/* ---- gradients ---- */

relora_status linear_open(struct call *c, const relora_linear *linear, relora_stream *stream)
{
    return call_open(c, stream, "linear", linear ? linear->ctx : NULL, linear ? linear->device : NULL);
}

relora_status linear_zero_grad(const struct call *c, relora_linear *linear)
{
    TRY(linear_check_grads(c, linear));
    for (relora_param p = RELORA_PARAM_WEIGHT; p < PARAM_COUNT; p++)
        if (linear->grad[p]) TRY(call_queue(c, c->backend->fill(c->queue, tensor_view(linear->grad[p]), 0)));
    return linear_zero_sketch(c, linear);
}

relora_status relora_linear_zero_grad(relora_linear *linear, relora_stream *stream)
{
    struct call c = {.fn = "relora_linear_zero_grad"};
    TRY(linear_open(&c, linear, stream));
    return linear_zero_grad(&c, linear);
}
