/* A cycle among other ranks: those that train together, and those that meet at merges alone. */
#include "adam_comm.h"
#include "cycle.h"
#include "linear_merge.h"

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

/* What the optimizer trains; then W, or what stands for it, A and B of each layer, of which some may be frozen. */
static const relora_tensor *compared_at(void *user, int32_t index, const char **name)
{
    const relora_cycle *cycle = user;
    int32_t trained = cycle->adam->registry.count, part = (index - trained) % 3;
    if (index < trained) {
        const struct adam_entry *e = adam_at(cycle->adam, index);
        *name = e->is.name;
        return e->is.value;
    }
    const struct member *m = registry_at(&cycle->layers, (index - trained) / 3);
    *name = m->linear->name;
    return part ? m->linear->param[part == 1 ? RELORA_PARAM_A : RELORA_PARAM_B] : linear_weight(m->linear);
}

/* What each layer is merged into; in FULL it is none. */
static const relora_tensor *weight_at(void *user, int32_t index, const char **name)
{
    const relora_cycle *cycle = user;
    const struct member *m = registry_at(&cycle->layers, index);
    *name = m->linear->name;
    return m->linear->options.mode == RELORA_MODE_FULL ? NULL : linear_weight(m->linear);
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
    int apart = comm_has_others(&cycle->apart);
    if (!apart && (!cycle->adam || !comm_has_others(&cycle->adam->comm))) return RELORA_OK;
    TRY(call_check_device(c, "adam", cycle->adam->device));
    if (apart) return comm_check_same(c, &cycle->apart, cycle->layers.count, weight_at, cycle);
    return comm_check_same(c, &cycle->adam->comm, 3 * cycle->layers.count + cycle->adam->registry.count,
                           compared_at, cycle);
}

struct rest {
    const relora_cycle *cycle;
    const struct merge_job *job;
};

/* All but A and B of the layers of the cycle, and a trainable scale; but an A that stays when its layer is merged is
 * trained like the rest. */
static int is_of_the_rest(void *user, const struct adam_entry *e)
{
    const struct rest *rest = user;
    if (e->role != RELORA_PARAM_A && e->role != RELORA_PARAM_B && e->role != RELORA_PARAM_SCALE) return 1;
    for (int32_t i = 0; i < rest->cycle->layers.count; i++)
        if (((const struct member *)registry_at(&rest->cycle->layers, i))->linear == e->is.linear)
            return e->role == RELORA_PARAM_A && e->is.linear->options.init == RELORA_INIT_GIVEN &&
                   rest->job->includes(rest->job->user, i);
    return 1;
}

relora_status cycle_average_rest(const struct call *c, const relora_cycle *cycle, const struct merge_job *job)
{
    struct rest rest = {cycle, job};
    return adam_average(c, &cycle->apart, cycle->adam, job->cycle, is_of_the_rest, &rest);
}
