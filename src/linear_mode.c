/* From full-rank to low-rank training, at the end of a warm start, and back. */
#include "linear_mode.h"

#include "linear_merge.h"

relora_status linear_check_mode(const struct call *c, relora_linear_mode mode)
{
    if (mode < RELORA_MODE_FULL || mode > RELORA_MODE_LOWRANK)
        FAIL(c, RELORA_E_ARGUMENT, "mode is %d, not a RELORA_MODE", mode);
    return RELORA_OK;
}

int linear_takes_mode(const struct member *m, relora_linear_mode mode)
{
    if (m->value) return 0;
    const relora_linear_options *o = &m->linear->options;
    if (mode == RELORA_MODE_FULL) return o->mode == RELORA_MODE_LORA;
    return o->mode == RELORA_MODE_FULL && o->rank;
}

static const struct member *layer_at(const struct registry *layers, int32_t index, relora_linear_mode mode)
{
    const struct member *m = registry_at(layers, index);
    return linear_takes_mode(m, mode) ? m : NULL;
}

static int goes_to_full(void *user, int32_t index)
{
    const struct registry *const *layers = user;
    return layer_at(*layers, index, RELORA_MODE_FULL) != NULL;
}

/* W += s B A of each layer in mode LORA. Cycle 0 is no merge's. */
static relora_status merge_all(const struct call *c, const struct registry *layers)
{
    relora_merge_report r = {.struct_size = sizeof r};
    struct merge_job job = {.layers = layers, .merges = 1, .includes = goes_to_full, .user = &layers};
    TRY(linear_merge_all(c, &job, &r));
    call_log(c, RELORA_LOG_INFO, "%d layers to FULL: |dW| %g, |W| %g", r.layers, r.delta_norm, r.weight_norm);
    return RELORA_OK;
}

relora_status linear_change_mode(const struct call *c, const struct registry *layers, relora_linear_mode mode)
{
    const relora_linear_mode old = mode == RELORA_MODE_FULL ? RELORA_MODE_LORA : RELORA_MODE_FULL;
    relora_status status = RELORA_OK;
    for (int32_t i = 0; i < layers->count && status >= 0; i++) {
        const struct member *m = layer_at(layers, i, mode);
        if (m) status = linear_prepare_mode(c, m->linear, mode);
    }
    if (status >= 0 && mode == RELORA_MODE_FULL) status = merge_all(c, layers);
    for (int32_t i = 0; i < layers->count; i++) {
        const struct member *m = layer_at(layers, i, mode);
        if (m) linear_settle_mode(m->linear, status >= 0 ? mode : old);
    }
    return status;
}

static relora_status check_layer(const struct call *c, const relora_linear *linear, relora_linear_mode mode)
{
    char label[LABEL_TEXT];
    const relora_linear_options *o = &linear->options;
    if (mode == o->mode)
        FAIL(c, RELORA_E_STATE, "%s is in mode %s already", linear_label(linear, label),
             linear_mode_name(mode));
    if (o->mode == RELORA_MODE_LOWRANK || mode == RELORA_MODE_LOWRANK)
        FAIL(c, RELORA_E_UNSUPPORTED, "%s from mode %s to %s; only FULL to LORA and back is supported",
             linear_label(linear, label), linear_mode_name(o->mode), linear_mode_name(mode));
    if (!o->rank)
        FAIL(c, RELORA_E_STATE, "options.rank was 0 when %s was made, but LORA needs 1 or more",
             linear_label(linear, label));
    return RELORA_OK;
}

relora_status relora_linear_set_mode(relora_linear *linear, relora_stream *stream, relora_linear_mode mode)
{
    struct call c = {.fn = "relora_linear_set_mode"};
    TRY(linear_open(&c, linear, stream));
    TRY(linear_check_mode(&c, mode));
    TRY(check_layer(&c, linear, mode));
    struct member one = {.linear = linear};
    struct registry layers = {.ctx = linear->ctx, .size = sizeof one, .items = &one, .count = 1};
    return linear_change_mode(&c, &layers, mode);
}
