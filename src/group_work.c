/* What is done to a whole group: every layer is looked at before the first one is changed. */
#include "group.h"
#include "linear_merge.h"
#include "linear_mode.h"
#include "options.h"

/* ---- the end of a warm start, and back ---- */

relora_status relora_group_set_mode(relora_group *group, relora_stream *stream, relora_linear_mode mode)
{
    struct call c = {.fn = "relora_group_set_mode"};
    int32_t taken = 0;
    TRY(group_open(&c, group, stream));
    TRY(linear_check_mode(&c, mode));
    if (mode == RELORA_MODE_LOWRANK)
        FAIL(&c, RELORA_E_UNSUPPORTED, "mode is LOWRANK; only FULL to LORA and back is supported");
    for (int32_t i = 0; i < group->members.count; i++) taken += linear_takes_mode(group_at(group, i), mode);
    if (!taken)
        FAIL(&c, RELORA_E_STATE, "no layer is in mode %s",
             mode == RELORA_MODE_LORA ? "FULL with a rank of 1 or more" : "LORA");
    return linear_change_mode(&c, &group->members, mode);
}

/* ---- the end of a cycle ---- */

relora_status relora_group_merge(relora_group *group, relora_stream *stream, uint64_t cycle,
                                 relora_merge_report *report)
{
    struct call c = {.fn = "relora_group_merge"};
    relora_merge_report r = {.struct_size = sizeof r};
    TRY(group_open(&c, group, stream));
    TRY(call_write_report(&c, "report", report, &r, sizeof r));
    struct merge_job job = {.layers = &group->members, .lora_only = 1, .merges = 1, .cycle = cycle};
    TRY(linear_merge_all(&c, &job, &r));
    call_log(&c, RELORA_LOG_INFO, "%d layers, cycle %llu: |dW| %g, |W| %g", r.layers,
             (unsigned long long)cycle, r.delta_norm, r.weight_norm);
    return report_write(report, &r, sizeof r);
}

static int has_factors(const struct member *m)
{
    return !m->value && m->linear->options.mode != RELORA_MODE_FULL;
}

relora_status relora_group_reset(relora_group *group, relora_stream *stream, uint64_t cycle)
{
    struct call c = {.fn = "relora_group_reset"};
    const struct linear_reset reset = {.cycle = cycle};
    int32_t layers = 0;
    TRY(group_open(&c, group, stream));
    for (int32_t i = 0; i < group->members.count; i++) {
        if (!has_factors(group_at(group, i))) continue;
        TRY(linear_check_memory(&c, group_at(group, i)->linear, RELORA_PARAM_A));
        TRY(linear_reset_reserve(&c, group_at(group, i)->linear, &reset));
        layers++;
    }
    if (!layers) FAIL(&c, RELORA_E_STATE, "no layer has factors");
    for (int32_t i = 0; i < group->members.count; i++)
        if (has_factors(group_at(group, i))) TRY(linear_reset_run(&c, group_at(group, i)->linear, &reset));
    return RELORA_OK;
}

/* ---- gradients ---- */

static relora_status check_grads(const struct call *c, const struct member *m)
{
    if (!m->value) return linear_check_grads(c, m->linear);
    if (m->grad && tensor_lacks_memory(m->grad))
        FAIL(c, RELORA_E_STATE, "the gradient of \"%s\" " NO_MEMORY_YET, m->name);
    return RELORA_OK;
}

relora_status relora_group_zero_grad(relora_group *group, relora_stream *stream)
{
    struct call c = {.fn = "relora_group_zero_grad"};
    TRY(group_open(&c, group, stream));
    for (int32_t i = 0; i < group->members.count; i++) TRY(check_grads(&c, group_at(group, i)));
    for (int32_t i = 0; i < group->members.count; i++) {
        const struct member *m = group_at(group, i);
        if (!m->value) TRY(linear_zero_grad(&c, m->linear));
        if (m->grad) TRY(call_queue(&c, c.backend->fill(c.queue, tensor_view(m->grad), 0)));
    }
    return RELORA_OK;
}
