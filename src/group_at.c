/* Members of a group on plain pointers. */
#include "group.h"

/* A tensor over memory of the host; none for NULL. */
static relora_status lend(const struct call *c, const relora_group *group, relora_tensor **tensor,
                          relora_dtype dtype, int32_t ndim, const int64_t *shape, void *data)
{
    if (!data) return RELORA_OK;
    return tensor_over(c, tensor, group->device, dtype, ndim, shape, NULL, data,
                       (struct owner){.memory = MEMORY_BORROWED});
}

relora_status relora_group_wrap_at(relora_group *group, const char *name, void *weight, void *bias,
                                   const relora_linear_options *options, relora_linear **linear)
{
    struct call c = {.fn = "relora_group_wrap_at", .ctx = group ? group->ctx : NULL};
    relora_linear_options o;
    relora_tensor *w = NULL, *b = NULL;
    if (linear) *linear = NULL;
    if (!group) return RELORA_E_ARGUMENT;
    TRY(linear_options_read(&c, &o, options));
    const int64_t shape[] = {linear_weight_rows(&o), linear_weight_cols(&o)};
    relora_status status = lend(&c, group, &w, o.dtype, 2, shape, weight);
    if (status >= 0) status = lend(&c, group, &b, RELORA_F32, 1, &o.out_features, bias);
    if (status >= 0) status = group_wrap(&c, group, name, w, b, options, linear);
    relora_tensor_release(w);
    relora_tensor_release(b);
    return status;
}

relora_status relora_group_add_param_at(relora_group *group, const char *name, int64_t count, void *param,
                                        void *grad)
{
    struct call c = {.fn = "relora_group_add_param_at", .ctx = group ? group->ctx : NULL};
    relora_tensor *p = NULL, *g = NULL;
    if (!group) return RELORA_E_ARGUMENT;
    relora_status status = lend(&c, group, &p, RELORA_F32, 1, &count, param);
    if (status >= 0) status = lend(&c, group, &g, RELORA_F32, 1, &count, grad);
    if (status >= 0) status = group_add_param(&c, group, name, p, g);
    relora_tensor_release(p);
    relora_tensor_release(g);
    return status;
}

relora_linear *relora_group_linear_at(const relora_group *group, const void *weight)
{
    for (int32_t i = 0; weight && i < relora_group_count(group); i++) {
        relora_linear *linear = group_at(group, i)->linear;
        const relora_tensor *w = linear ? linear_weight(linear) : NULL;
        if (w && w->data == weight) return linear;
    }
    return NULL;
}
