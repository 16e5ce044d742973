/* What is done to a whole group: every layer is looked at before the first one is changed. */
#include "group.h"
#include "linear_merge.h"
#include "options.h"

/* ---- the end of a warm start ---- */

/* Is it a layer that waits for the end of a warm start? */
static int is_warm(const struct member *m)
{
    return !m->value && m->linear->options.mode == RELORA_MODE_FULL && m->linear->options.rank;
}

static relora_status check_warm(const relora_group *group, const char *fn, relora_linear_mode mode)
{
    if (mode < RELORA_MODE_FULL || mode > RELORA_MODE_LOWRANK)
        FAIL(group->ctx, RELORA_E_ARGUMENT, "%s: mode is %d, not a RELORA_MODE", fn, mode);
    if (mode != RELORA_MODE_LORA)
        FAIL(group->ctx, RELORA_E_UNSUPPORTED, "%s: mode is %s; only FULL to LORA is offered", fn,
             linear_mode_name(mode));
    for (int32_t i = 0; i < group->members.count; i++)
        if (is_warm(group_at(group, i))) return RELORA_OK;
    FAIL(group->ctx, RELORA_E_STATE, "%s: no layer is in mode FULL with a rank of 1 or more", fn);
}

relora_status relora_group_set_mode(relora_group *group, relora_stream *stream, relora_linear_mode mode)
{
    GIVEN(stream);
    const char *fn = "relora_group_set_mode";
    relora_status status = RELORA_OK;
    TRY(group_check(group, stream, fn));
    TRY(check_warm(group, fn, mode));
    for (int32_t i = 0; i < group->members.count && status >= 0; i++)
        if (is_warm(group_at(group, i))) status = linear_prepare_lora(group_at(group, i)->linear, fn);
    for (int32_t i = 0; i < group->members.count; i++)
        if (is_warm(group_at(group, i))) linear_settle_mode(group_at(group, i)->linear, status >= 0);
    return stream_note(stream, status);
}

/* ---- the end of a cycle ---- */

relora_status relora_group_merge(relora_group *group, relora_stream *stream, uint64_t cycle,
                                 relora_merge_report *report)
{
    GIVEN(stream);
    const char *fn = "relora_group_merge";
    relora_merge_report r = {.struct_size = sizeof r};
    TRY(group_check(group, stream, fn));
    TRY(context_write_report(group->ctx, fn, "report", report, &r, sizeof r));
    struct merge_job job = {.layers = &group->members, .lora_only = 1, .merges = 1, .cycle = cycle};
    TRY(linear_merge_all(&job, stream, fn, &r));
    context_log(group->ctx, RELORA_LOG_INFO, "%s: %d layers, cycle %llu: |dW| %g, |W| %g", fn, r.layers,
                (unsigned long long)cycle, r.delta_norm, r.weight_norm);
    return report_write(report, &r, sizeof r);
}

relora_status relora_group_reset(relora_group *group, relora_stream *stream, uint64_t cycle)
{
    GIVEN(stream);
    const char *fn = "relora_group_reset";
    int32_t layers = 0;
    TRY(group_check(group, stream, fn));
    for (int32_t i = 0; i < group->members.count; i++) {
        const struct member *m = group_at(group, i);
        if (m->value || m->linear->options.mode == RELORA_MODE_FULL) continue;
        TRY(linear_reset_run(m->linear, stream, fn, cycle));
        layers++;
    }
    if (!layers) FAIL(group->ctx, RELORA_E_STATE, "%s: no layer has factors", fn);
    return RELORA_OK;
}

/* ---- gradients ---- */

relora_status relora_group_zero_grad(relora_group *group, relora_stream *stream)
{
    GIVEN(stream);
    const char *fn = "relora_group_zero_grad";
    TRY(group_check(group, stream, fn));
    for (int32_t i = 0; i < group->members.count; i++) {
        const struct member *m = group_at(group, i);
        if (!m->value) TRY(linear_zero_grad(m->linear, stream, fn));
        if (m->grad)
            TRY_QUEUE(stream, fn, group->device->backend->fill(stream->queue, tensor_view(m->grad), 0));
    }
    return RELORA_OK;
}
