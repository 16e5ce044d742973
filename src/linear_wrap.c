/* A layer over a weight of the host, in one call. */
#include "linear.h"

/* A number of features that the host has set must be that of the weight. */
static relora_status take_features(const struct call *c, const char *field, int64_t *features,
                                   const relora_tensor *weight, int32_t axis)
{
    char text[SHAPE_TEXT];
    if (*features && *features != weight->shape.dim[axis])
        FAIL(c, RELORA_E_SHAPE, "options.%s is %lld, but weight is %s", field, (long long)*features,
             shape_text(&weight->shape, text));
    *features = weight->shape.dim[axis];
    return RELORA_OK;
}

static relora_status fill_options(const struct call *c, const relora_device *device,
                                  const relora_tensor *weight, relora_linear_options *o)
{
    char text[SHAPE_TEXT];
    if (weight->ctx != device->ctx) FAIL(c, RELORA_E_CONTEXT, "weight belongs to another context");
    if (weight->device != device)
        FAIL(c, RELORA_E_DEVICE, "weight is on %s, not on %s", weight->device->name, device->name);
    if (weight->shape.ndim != 2)
        FAIL(c, RELORA_E_SHAPE, "weight is %s, and must be %s", shape_text(&weight->shape, text),
             linear_in_out(o) ? "[in, out]" : "[out, in]");
    o->dtype = weight->shape.dtype;
    TRY(take_features(c, "out_features", &o->out_features, weight, linear_in_out(o)));
    return take_features(c, "in_features", &o->in_features, weight, !linear_in_out(o));
}

relora_status linear_wrap(const struct call *c, relora_linear **out, relora_device *device,
                          relora_tensor *weight, relora_tensor *bias, const relora_linear_options *options)
{
    relora_linear_options o = *options;
    relora_linear *linear;
    if (bias) o.flags |= RELORA_LINEAR_BIAS;
    if (weight) TRY(fill_options(c, device, weight, &o));
    TRY(linear_create(c, &linear, device, &o));
    relora_status status = linear_set_weight(c, linear, weight, bias);
    if (status < 0) {
        relora_linear_release(linear);
        return status;
    }
    *out = linear;
    return RELORA_OK;
}

relora_status relora_linear_wrap(relora_linear **out, relora_device *device, relora_tensor *weight,
                                 relora_tensor *bias, const relora_linear_options *options)
{
    const relora_tensor *first = weight ? weight : bias; /* where a sentence may go */
    struct call c = {.fn = "relora_linear_wrap", .ctx = device ? device->ctx : first ? first->ctx : NULL};
    relora_linear_options o;
    if (!out) FAIL(&c, RELORA_E_ARGUMENT, "out is NULL");
    *out = NULL;
    if (!device) FAIL(&c, RELORA_E_ARGUMENT, "device is NULL");
    TRY(linear_options_read(&c, &o, options));
    return linear_wrap(&c, out, device, weight, bias, &o);
}
