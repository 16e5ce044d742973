/* The layer as an object: its options, modes, parameters and gradients. */
#include "linear.h"

#include <math.h>

#include "float_mode.h"
#include "options.h"
#include "state.h"

static const relora_linear_options linear_defaults = {
    .struct_size = sizeof(relora_linear_options),
    .mode = RELORA_MODE_LORA,
    .dtype = RELORA_F32,
    .alpha = 32,
    .dropout = 0.1,
    .rounding = RELORA_ROUND_STOCHASTIC,
};

relora_status relora_linear_options_init(relora_linear_options *options, size_t size)
{
    return options_write(options, size, &linear_defaults, sizeof linear_defaults);
}

static relora_status check_options(const relora_context *ctx, const char *fn,
                                   const relora_linear_options *o)
{
    const uint32_t known = RELORA_LINEAR_BIAS | RELORA_LINEAR_TRAINABLE_SCALE |
                           RELORA_LINEAR_REFERENCE | RELORA_LINEAR_KEEP_DELTA | RELORA_LINEAR_TF32;
    if (o->flags & ~known)
        FAIL(ctx, RELORA_E_ARGUMENT, "%s: options.flags is 0x%x, and only 0x%x is known", fn, o->flags,
             known);
    if (o->mode < RELORA_MODE_FULL || o->mode > RELORA_MODE_LOWRANK)
        FAIL(ctx, RELORA_E_ARGUMENT, "%s: options.mode is %d, not a RELORA_MODE", fn, o->mode);
    if (!dtype_size(o->dtype))
        FAIL(ctx, RELORA_E_ARGUMENT, "%s: options.dtype is %d, neither RELORA_F32 nor RELORA_BF16", fn,
             o->dtype);
    if (o->in_features < 1)
        FAIL(ctx, RELORA_E_ARGUMENT, "%s: options.in_features is %lld, less than 1", fn,
             (long long)o->in_features);
    if (o->out_features < 1)
        FAIL(ctx, RELORA_E_ARGUMENT, "%s: options.out_features is %lld, less than 1", fn,
             (long long)o->out_features);
    int64_t least = o->mode == RELORA_MODE_FULL ? 0 : 1;
    if (o->rank < least)
        FAIL(ctx, RELORA_E_ARGUMENT, "%s: options.rank is %lld, less than %lld", fn, (long long)o->rank,
             (long long)least);
    if (!isfinite((float)(o->alpha / (double)(o->rank ? o->rank : 1))))
        FAIL(ctx, RELORA_E_ARGUMENT, "%s: options.alpha is %g, and alpha / rank no finite F32", fn, o->alpha);
    if (o->mode == RELORA_MODE_LOWRANK && (o->flags & RELORA_LINEAR_KEEP_DELTA))
        FAIL(ctx, RELORA_E_ARGUMENT, "%s: options.flags has KEEP_DELTA, but LOWRANK never merges", fn);
    if (!(o->dropout >= 0 && o->dropout < 1))
        FAIL(ctx, RELORA_E_ARGUMENT, "%s: options.dropout is %g, outside [0, 1)", fn, o->dropout);
    if (o->rounding != RELORA_ROUND_NEAREST && o->rounding != RELORA_ROUND_STOCHASTIC)
        FAIL(ctx, RELORA_E_ARGUMENT, "%s: options.rounding is %d, not a RELORA_ROUND", fn, o->rounding);
    if (o->reserved)
        FAIL(ctx, RELORA_E_ARGUMENT, "%s: options.reserved is %d, not 0", fn, o->reserved);
    return RELORA_OK;
}

/* ---- parameters ---- */

const char *linear_param_name(relora_param param)
{
    static const char *const names[PARAM_COUNT] = {NULL,            "weight",        "bias",
                                                   "lora_A.weight", "lora_B.weight", "scaling",
                                                   "delta"};
    return names[param];
}

const char *linear_mode_name(relora_linear_mode mode)
{
    return mode == RELORA_MODE_FULL ? "FULL" : mode == RELORA_MODE_LORA ? "LORA" : "LOWRANK";
}

/* Shape of a parameter; its number of axes. */
static int32_t param_shape(const relora_linear_options *o, relora_param param, int64_t shape[2])
{
    switch (param) {
    case RELORA_PARAM_WEIGHT:
    case RELORA_PARAM_DELTA: shape[0] = o->out_features, shape[1] = o->in_features; return 2;
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
    case RELORA_PARAM_SCALE:
        return o->mode != RELORA_MODE_FULL && (o->flags & RELORA_LINEAR_TRAINABLE_SCALE);
    case RELORA_PARAM_DELTA: return 0;
    default: return o->mode != RELORA_MODE_FULL;
    }
}

/* Does the layer make the values of a parameter itself? W is the host's. */
static int is_own(const relora_linear_options *o, relora_param param)
{
    if (param == RELORA_PARAM_WEIGHT) return 0;
    if (param == RELORA_PARAM_DELTA)
        return o->mode == RELORA_MODE_LORA && (o->flags & RELORA_LINEAR_KEEP_DELTA);
    return is_trained(o, param);
}

static relora_status add_part(relora_tensor **part, const relora_linear *linear, const char *fn,
                              relora_param param)
{
    int64_t shape[2];
    int32_t ndim = param_shape(&linear->options, param, shape);
    if (*part) return RELORA_OK;
    TRY(tensor_new(part, linear->device, fn, RELORA_F32, ndim, shape));
    return tensor_preset(*part, fn, 0);
}

/* Make, zeroed, what the mode needs and the layer lacks. */
static relora_status add_parts(relora_linear *linear, const char *fn)
{
    for (relora_param p = RELORA_PARAM_WEIGHT; p < PARAM_COUNT; p++) {
        if (is_trained(&linear->options, p)) TRY(add_part(&linear->grad[p], linear, fn, p));
        if (is_own(&linear->options, p)) TRY(add_part(&linear->param[p], linear, fn, p));
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

/* A and B of a cycle, on any queue. A layer is dead when A and B are both 0; the authors'
 * code starts that way. */
relora_status linear_draw_factors(relora_linear *linear, struct queue *queue, uint64_t cycle,
                                  int dead)
{
    const struct backend *backend = linear->device->backend;
    const relora_linear_options *o = &linear->options;
    double bound = dead ? 0 : float_mode_quotient(1, float_mode_root((double)o->in_features));
    TRY(backend->uniform(queue, tensor_view(linear->param[RELORA_PARAM_A]), bound,
                         linear_draw(linear, DRAW_FACTOR_A, cycle)));
    return backend->fill(queue, tensor_view(linear->param[RELORA_PARAM_B]), 0);
}

static relora_status start_factors(relora_linear *linear, const char *fn)
{
    relora_device *device = linear->device;
    if (linear->options.mode == RELORA_MODE_FULL) return RELORA_OK;
    int dead = (linear->options.flags & RELORA_LINEAR_REFERENCE) != 0;
    TRY(device_finish(device, linear_draw_factors(linear, device->queue, 0, dead), fn));
    relora_tensor *scale = linear->param[RELORA_PARAM_SCALE];
    return scale ? tensor_preset(scale, fn, 1) : RELORA_OK;
}

/* ---- life ---- */

static void destroy(relora_linear *linear)
{
    for (relora_param p = RELORA_PARAM_WEIGHT; p < PARAM_COUNT; p++) {
        relora_tensor_release(linear->param[p]);
        relora_tensor_release(linear->grad[p]);
    }
    context_delete(linear->ctx, linear, sizeof *linear);
}

relora_status relora_linear_create(relora_linear **out, relora_device *device,
                                   const relora_linear_options *options)
{
    const char *fn = "relora_linear_create";
    relora_linear_options o = linear_defaults;
    if (!out) FAIL(device ? device->ctx : NULL, RELORA_E_ARGUMENT, "%s: out is NULL", fn);
    *out = NULL;
    if (!device) return RELORA_E_ARGUMENT;
    relora_context *ctx = device->ctx;
    if (!options) FAIL(ctx, RELORA_E_ARGUMENT, "%s: options is NULL", fn);
    relora_status status = options_read(&o, sizeof o, sizeof o, options);
    if (status < 0) return context_fail_options(ctx, status, fn, "options");
    TRY(check_options(ctx, fn, &o));

    relora_linear *linear = context_new(ctx, sizeof *linear);
    if (!linear) return context_fail_memory(ctx, fn, sizeof *linear);
    linear->forward_order = linear->backward_order = RELORA_ORDER_AUTO;
    atomic_init(&linear->refs, 1);
    linear->ctx = ctx;
    linear->device = device;
    linear->options = o;
    linear->options.struct_size = sizeof o;
    status = add_parts(linear, fn);
    if (status >= 0) status = start_factors(linear, fn);
    if (status < 0) {
        destroy(linear);
        return status;
    }
    *out = linear;
    return RELORA_OK;
}

void linear_retain(relora_linear *linear)
{
    atomic_fetch_add_explicit(&linear->refs, 1, memory_order_relaxed);
}

void relora_linear_release(relora_linear *linear)
{
    if (linear && atomic_fetch_sub_explicit(&linear->refs, 1, memory_order_acq_rel) == 1)
        destroy(linear);
}

/* ---- weight and mode ---- */

static relora_status check_weight(const relora_linear *linear, const char *fn, const char *name,
                                  const relora_tensor *t, relora_param param, relora_dtype dtype)
{
    const relora_context *ctx = linear->ctx;
    char text[SHAPE_TEXT];
    int64_t dims[2];
    struct shape expected = {.ndim = param_shape(&linear->options, param, dims)};
    if (t->ctx != ctx) FAIL(ctx, RELORA_E_CONTEXT, "%s: %s belongs to another context", fn, name);
    if (t->device != linear->device)
        FAIL(ctx, RELORA_E_DEVICE, "%s: %s is on %s, the layer on %s", fn, name, t->device->name,
             linear->device->name);
    if (t->shape.dtype != dtype)
        FAIL(ctx, RELORA_E_DTYPE, "%s: %s is %s, but must be %s", fn, name, dtype_name(t->shape.dtype),
             dtype_name(dtype));
    memcpy(expected.dim, dims, sizeof dims);
    if (!shape_equal(&t->shape, &expected))
        FAIL(ctx, RELORA_E_SHAPE, "%s: %s is %s, but the layer has in_features %lld, out_features %lld",
             fn, name, shape_text(&t->shape, text), (long long)linear->options.in_features,
             (long long)linear->options.out_features);
    return RELORA_OK;
}

static void replace(relora_tensor **slot, relora_tensor *tensor)
{
    relora_tensor_retain(tensor);
    relora_tensor_release(*slot);
    *slot = tensor;
}

relora_status relora_linear_set_weight(relora_linear *linear, relora_tensor *weight,
                                       relora_tensor *bias)
{
    const char *fn = "relora_linear_set_weight";
    if (!linear)
        FAIL(weight ? weight->ctx : bias ? bias->ctx : NULL, RELORA_E_ARGUMENT, "%s: linear is NULL", fn);
    const relora_linear_options *o = &linear->options;
    int needs = o->mode != RELORA_MODE_LOWRANK;
    if (needs && !weight) FAIL(linear->ctx, RELORA_E_ARGUMENT, "%s: weight is NULL", fn);
    if (!needs && weight)
        FAIL(linear->ctx, RELORA_E_ARGUMENT, "%s: weight is given, but LOWRANK has none", fn);
    if (bias && !(o->flags & RELORA_LINEAR_BIAS))
        FAIL(linear->ctx, RELORA_E_ARGUMENT, "%s: bias is given, but the layer has no RELORA_LINEAR_BIAS",
             fn);
    if (weight) TRY(check_weight(linear, fn, "weight", weight, RELORA_PARAM_WEIGHT, o->dtype));
    if (bias) TRY(check_weight(linear, fn, "bias", bias, RELORA_PARAM_BIAS, RELORA_F32));
    relora_tensor *delta = linear->param[RELORA_PARAM_DELTA];
    if (delta) TRY(tensor_preset(delta, fn, 0)); /* of the new W nothing is merged yet */
    if (weight) replace(&linear->param[RELORA_PARAM_WEIGHT], weight);
    if (bias) replace(&linear->param[RELORA_PARAM_BIAS], bias);
    linear->generation++;
    return RELORA_OK;
}

relora_status relora_linear_set_mode(relora_linear *linear, relora_stream *stream,
                                     relora_linear_mode mode)
{
    const char *fn = "relora_linear_set_mode";
    TRY(linear_check(linear, stream, fn));
    const relora_context *ctx = linear->ctx;
    relora_linear_options *o = &linear->options;
    if (mode < RELORA_MODE_FULL || mode > RELORA_MODE_LOWRANK)
        FAIL(ctx, RELORA_E_ARGUMENT, "%s: mode is %d, not a RELORA_MODE", fn, mode);
    if (mode == o->mode)
        FAIL(ctx, RELORA_E_STATE, "%s: the layer is in mode %s already", fn, linear_mode_name(mode));
    if (mode != RELORA_MODE_LORA || o->mode != RELORA_MODE_FULL)
        FAIL(ctx, RELORA_E_UNSUPPORTED, "%s: from mode %s to %s; only FULL to LORA is offered", fn,
             linear_mode_name(o->mode), linear_mode_name(mode));
    if (!o->rank)
        FAIL(ctx, RELORA_E_STATE, "%s: options.rank was 0 when the layer was made, LORA needs 1 or more",
             fn);
    o->mode = mode;
    relora_status status = add_parts(linear, fn);
    if (status >= 0) status = start_factors(linear, fn);
    if (status < 0) o->mode = RELORA_MODE_FULL;
    drop_parts(linear);
    if (status >= 0) linear->generation++;
    return stream_note(stream, status);
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

struct scale linear_scale(const relora_linear *linear)
{
    const relora_tensor *scale = linear->param[RELORA_PARAM_SCALE];
    if (scale) return (struct scale){0, scale->data};
    return (struct scale){float_mode_quotient(linear->options.alpha, (double)linear->options.rank), NULL};
}

void linear_describe(const relora_linear *linear, struct text *text)
{
    const relora_linear_options *o = &linear->options;
    text_put(text, "mode=%s\ndtype=%s\nin_features=%lld\nout_features=%lld\nrank=%lld\n",
             linear_mode_name(o->mode), dtype_name(o->dtype), (long long)o->in_features,
             (long long)o->out_features, (long long)o->rank);
    text_number(text, "alpha", o->alpha);
    text_number(text, "dropout", o->dropout);
    text_put(text, "seed=%llu\nlayer=%llu\nrounding=%d\nflags=%u\n", (unsigned long long)o->seed,
             (unsigned long long)o->layer, o->rounding, o->flags & ~(uint32_t)RELORA_LINEAR_TF32);
}

/* ---- gradients ---- */

relora_status linear_check(const relora_linear *linear, const relora_stream *stream,
                           const char *fn)
{
    if (!linear) FAIL(stream ? stream->ctx : NULL, RELORA_E_ARGUMENT, "%s: linear is NULL", fn);
    if (!stream) FAIL(linear->ctx, RELORA_E_ARGUMENT, "%s: stream is NULL", fn);
    if (stream->ctx != linear->ctx)
        FAIL(linear->ctx, RELORA_E_CONTEXT, "%s: stream belongs to another context than linear", fn);
    if (stream->device != linear->device)
        FAIL(linear->ctx, RELORA_E_DEVICE, "%s: stream is on %s, linear on %s", fn,
             stream->device->name, linear->device->name);
    return stream_check(stream, fn);
}

relora_status relora_linear_zero_grad(relora_linear *linear, relora_stream *stream)
{
    const char *fn = "relora_linear_zero_grad";
    TRY(linear_check(linear, stream, fn));
    for (relora_param p = RELORA_PARAM_WEIGHT; p < PARAM_COUNT; p++)
        if (linear->grad[p])
            TRY_QUEUE(stream, fn, stream->device->backend->fill(stream->queue,
                                                                tensor_view(linear->grad[p]), 0));
    return RELORA_OK;
}
