/* Parameters of layers that have changed since they were added: their mode, weight or memory. */
#include <string.h>

#include "adam_comm.h"
#include "text.h"

/* "layer" of "layer.lora_A.weight" */
static void put_prefix(struct text *text, const struct adam_entry *e)
{
    size_t length = strlen(e->is.name) - strlen(linear_param_name(e->role)) - 1;
    text_put(text, "%.*s", (int)length, e->is.name);
}

/* What the layer of the entry trains now, under the same prefix. */
static relora_status add_layer(const struct call *c, relora_adam *adam, const struct adam_entry *e,
                               const struct registry *old)
{
    struct text prefix = {.memory = &adam->ctx->memory};
    put_prefix(&prefix, e);
    relora_status status = prefix.failed ? call_fail_memory(c, prefix.capacity)
                                         : adam_add_linear(c, adam, prefix.data, e->is.linear, old);
    text_free(&prefix);
    return status;
}

static int is_first_of_layer(const struct registry *old, int32_t index)
{
    const struct adam_entry *e = registry_at(old, index);
    for (int32_t i = 0; i < index; i++)
        if (((const struct adam_entry *)registry_at(old, i))->is.linear == e->is.linear) return 0;
    return 1;
}

/* Everything once more, in its order. */
static relora_status add_all(const struct call *c, relora_adam *adam, const struct registry *old)
{
    for (int32_t i = 0; i < old->count; i++) {
        const struct adam_entry *e = registry_at(old, i);
        if (!e->is.linear) TRY(adam_register(c, adam, e->is.name, &e->is, 0, e));
        else if (is_first_of_layer(old, i)) TRY(add_layer(c, adam, e, old));
    }
    return RELORA_OK;
}

/* What has come since is not to be moments that were lent before. */
static relora_status check_new(const struct call *c, const relora_adam *adam, const struct registry *old)
{
    for (int32_t i = 0; i < adam->registry.count; i++) {
        const struct adam_entry *e = adam_at(adam, i);
        if (e->is.linear && !adam_find_part(old, e->is.linear, e->role))
            TRY(adam_check_lent(c, adam, e->is.name, &e->is));
    }
    return RELORA_OK;
}

static void let_go(relora_adam *adam, const struct registry *parameters)
{
    const struct registry now = adam->registry;
    adam->registry = *parameters;
    adam_drop_entries(adam, 0);
    registry_free(&adam->registry);
    adam->registry = now;
}

relora_status relora_adam_refresh(relora_adam *adam, relora_stream *stream)
{
    struct call c = {.fn = "relora_adam_refresh"};
    TRY(adam_open(&c, adam, stream));
    if (adam_is_sharded(adam))
        FAIL(&c, RELORA_E_UNSUPPORTED,
             "adam has RELORA_ADAM_SHARD_STATE, and its shares would change; make a new "
             "optimizer");
    struct registry old = adam->registry;
    adam->registry = (struct registry){.ctx = old.ctx, .size = old.size, .warned = old.warned};
    relora_status status = add_all(&c, adam, &old);
    if (status >= 0) status = check_new(&c, adam, &old);
    const struct registry made = adam->registry;
    if (status < 0) adam->registry = old;
    else adam_plan_free(adam), adam->compared = 0;
    let_go(adam, status < 0 ? &made : &old);
    return status;
}
