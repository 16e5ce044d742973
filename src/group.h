/* What has a name in a group, an optimizer, a cycle or a state: layers and parameters. */
#ifndef RELORA_SRC_GROUP_H
#define RELORA_SRC_GROUP_H

#include "linear.h"
#include "relora/group.h"

struct member {                  /* a layer, or one parameter */
    char *name;                  /* NULL in a cycle */
    relora_linear *linear;       /* the layer, or that of the parameter, or NULL */
    relora_tensor *value, *grad; /* the parameter; NULL for a whole layer */
};

/* An array of items that each begin with a struct member. Whoever keeps one knows the rest of them. */
struct registry {
    relora_context *ctx;
    size_t size; /* of an item */
    void *items;
    int32_t count, capacity;
    int32_t warned; /* of layers that draw the same numbers */
};

static inline void *registry_at(const struct registry *r, int32_t index)
{
    return (unsigned char *)r->items + (size_t)index * r->size;
}

/* RELORA_E_EXISTS if a member has that name, is that layer, or shares memory with it. `name` may be NULL;
 * that of `new` is not looked at. */
relora_status registry_check(const struct call *c, const struct registry *r, const char *name,
                             const struct member *added);

/* Append an item, zeroed but for its member: the name is copied, the handles are retained. `*item` is valid
 * until the next one comes. */
relora_status registry_add(const struct call *c, struct registry *r, const char *name,
                           const struct member *added, void **item);

/* Once for a registry: log that `linear`, which was just added, and another layer of it share their seed and
 * layer, and so draw the same A and the same masks. That is allowed, and hardly ever meant. */
void registry_warn(const struct call *c, struct registry *r, const relora_linear *linear);

/* Let go of the last items, so that `count` of them stay. */
void registry_shrink(struct registry *r, int32_t count);
void registry_free(struct registry *r);

struct relora_group {
    relora_context *ctx;
    relora_device *device;
    struct registry members; /* of struct member */
};

static inline const struct member *group_at(const relora_group *group, int32_t index)
{
    return registry_at(&group->members, index);
}

/* call_open() of a call about a group. */
relora_status group_open(struct call *c, const relora_group *group, relora_stream *stream);

/* The group that another object is given: there, and of the call's context. */
relora_status group_check_given(const struct call *c, const relora_group *group);

/* The public functions of these names, in an open call; `group` is there. */
relora_status group_wrap(const struct call *c, relora_group *group, const char *name, relora_tensor *weight,
                         relora_tensor *bias, const relora_linear_options *options, relora_linear **linear);
relora_status group_add_param(const struct call *c, relora_group *group, const char *name,
                              relora_tensor *param, relora_tensor *grad);

#endif
