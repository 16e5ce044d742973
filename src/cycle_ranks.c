/* A cycle among other ranks: those that train together, and those that meet at merges alone. */
#include "adam_comm.h"
#include "cycle.h"

relora_status cycle_take_comm(const struct call *c, struct comm *apart, const relora_cycle_options *o,
                              const relora_reset_options *reset, const relora_adam *adam)
{
    if (adam && adam_is_sharded(adam) && reset->mode == RELORA_RESET_PROJECT)
        FAIL(c, RELORA_E_UNSUPPORTED, "reset.mode is PROJECT, but the moments of adam lie in shares");
    if (!o->comm) return RELORA_OK;
    if (!adam) FAIL(c, RELORA_E_ARGUMENT, "options.comm is given, but adam is NULL");
    TRY(comm_take(c, "options.comm", apart, adam->device, o->comm));
    if (comm_has_others(apart) && comm_has_others(&adam->comm))
        FAIL(c, RELORA_E_ARGUMENT, "options.comm is given, but the ranks of adam train together already");
    return comm_has_others(apart) ? comm_reserve(c, apart) : RELORA_OK;
}

/* What the optimizer trains; then W, A and B of each layer, of which some may be frozen. */
static const relora_tensor *compared_at(void *user, int32_t index, const char **name)
{
    static const relora_param parts[] = {RELORA_PARAM_WEIGHT, RELORA_PARAM_A, RELORA_PARAM_B};
    const relora_cycle *cycle = user;
    int32_t trained = cycle->adam->registry.count;
    if (index < trained) {
        const struct adam_entry *e = adam_at(cycle->adam, index);
        *name = e->is.name;
        return e->is.value;
    }
    const struct member *m = registry_at(&cycle->layers, (index - trained) / 3);
    *name = m->linear->name;
    return m->linear->param[parts[(index - trained) % 3]];
}

/* The frozen W of each layer. */
static const relora_tensor *weight_at(void *user, int32_t index, const char **name)
{
    const relora_cycle *cycle = user;
    const struct member *m = registry_at(&cycle->layers, index);
    *name = m->linear->name;
    return m->linear->options.mode == RELORA_MODE_LORA ? m->linear->param[RELORA_PARAM_WEIGHT] : NULL;
}

relora_status cycle_check_meeting(const struct call *c, const relora_cycle *cycle)
{
    if (!comm_has_others(&cycle->apart)) return RELORA_OK;
    for (int32_t i = 0; i < cycle->layers.count; i++) {
        const struct member *m = registry_at(&cycle->layers, i);
        if (m->linear->options.mode != RELORA_MODE_FULL) return RELORA_OK;
    }
    FAIL(c, RELORA_E_STATE,
         "all layers are in mode FULL, so ranks that train apart have no merge to meet at");
}

relora_status cycle_check_ranks(const struct call *c, relora_cycle *cycle)
{
    if (comm_has_others(&cycle->apart))
        return comm_check_same(c, &cycle->apart, cycle->layers.count, weight_at, cycle);
    if (!cycle->adam || !comm_has_others(&cycle->adam->comm)) return RELORA_OK;
    TRY(call_check_device(c, "adam", cycle->adam->device));
    return comm_check_same(c, &cycle->adam->comm, 3 * cycle->layers.count + cycle->adam->registry.count,
                           compared_at, cycle);
}

/* A and B of the layers of the cycle, and a trainable scale; but an A that stays is trained like the rest. */
static int is_restarted(const relora_cycle *cycle, const struct adam_entry *e)
{
    if (e->role == RELORA_PARAM_A && e->is.linear->options.init == RELORA_INIT_GIVEN) return 0;
    if (e->role != RELORA_PARAM_A && e->role != RELORA_PARAM_B && e->role != RELORA_PARAM_SCALE) return 0;
    for (int32_t i = 0; i < cycle->layers.count; i++)
        if (((const struct member *)registry_at(&cycle->layers, i))->linear == e->is.linear) return 1;
    return 0;
}

relora_status cycle_average_rest(const struct call *c, relora_cycle *cycle, uint64_t number)
{
    for (int32_t i = 0; i < cycle->adam->registry.count; i++) {
        const struct adam_entry *e = adam_at(cycle->adam, i);
        if (!is_restarted(cycle, e)) TRY(adam_average(c, &cycle->apart, cycle->adam, i, number));
    }
    return RELORA_OK;
}
