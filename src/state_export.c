/* What other programs read: plain weights, adapters as PEFT has them, the sum of all merges. */
#include <errno.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "file.h"
#include "numeric.h"
#include "state.h"

struct exporting {
    const relora_state *state;
    const struct call *call;
    relora_writer *writer;
    int32_t layers; /* exported */
};

static relora_status open_export(struct call *c, struct exporting *e, const relora_state *state,
                                 relora_stream *stream, const char *path_of, const char *path)
{
    *e = (struct exporting){.state = state, .call = c};
    TRY(call_open(c, stream, "state", state ? state->ctx : NULL, NULL));
    if (!path || !path[0]) FAIL(c, RELORA_E_ARGUMENT, "%s is NULL or empty", path_of);
    TRY(writer_create(c, &e->writer));
    relora_status status = writer_set_metadata(c, e->writer, "format", "pt"); /* transformers asks for it */
    if (status < 0) relora_writer_release(e->writer);
    return status;
}

/* Add one tensor under prefix + "." + name. */
static relora_status add_named(const struct exporting *e, const char *before, const char *prefix,
                               const char *name, relora_tensor *tensor)
{
    struct text text = {.memory = &e->state->ctx->memory};
    text_put(&text, "%s", before);
    text_join(&text, prefix, name);
    relora_status status = text.failed ? call_fail_memory(e->call, text.capacity)
                                       : writer_add(e->call, e->writer, text.data, tensor);
    text_free(&text);
    return status;
}

/* The layout that a layer's weight is to have in the file: is it [in, out]? */
static int is_in_out(const relora_state *state, const relora_linear *linear)
{
    return state->layout == RELORA_LAYOUT_OWN ? linear_in_out(&linear->options)
                                              : state->layout == RELORA_LAYOUT_IN_OUT;
}

/* Add what has the shape of W: the merged weight of a layer or, if it is not NULL, a tensor of it. */
static relora_status add_weight(const struct exporting *e, const struct state_part *part,
                                relora_tensor *tensor)
{
    relora_linear *linear = part->is.linear;
    int turned = is_in_out(e->state, linear) != linear_in_out(&linear->options);
    struct text text = {.memory = &e->state->ctx->memory};
    relora_status status;
    text_join(&text, part->is.name, "weight");
    if (text.failed) status = call_fail_memory(e->call, text.capacity);
    else if (!tensor) status = writer_add_merged(e->call, e->writer, text.data, linear, turned);
    else if (turned) status = writer_add_turned(e->call, e->writer, text.data, tensor);
    else status = writer_add(e->call, e->writer, text.data, tensor);
    text_free(&text);
    return status;
}

relora_status relora_state_set_export_layout(relora_state *state, relora_layout layout)
{
    if (!state) return RELORA_E_ARGUMENT;
    struct call c = {.fn = "relora_state_set_export_layout", .ctx = state->ctx};
    if (layout < RELORA_LAYOUT_OWN || layout > RELORA_LAYOUT_IN_OUT)
        FAIL(&c, RELORA_E_ARGUMENT, "layout is %d, not a RELORA_LAYOUT", layout);
    state->layout = layout;
    return RELORA_OK;
}

static relora_status save(const struct exporting *e, relora_status status, const char *path, const char *what)
{
    if (status >= 0 && !e->layers)
        status = call_fail(e->call, RELORA_E_NOT_FOUND, "no layer of the state %s", what);
    if (status >= 0) status = writer_save(e->call, e->writer, path, 0);
    relora_writer_release(e->writer);
    return status;
}

/* ---- plain weights ---- */

static relora_status add_merged(struct exporting *e, const struct state_part *part)
{
    if (part->kind == PART_TENSOR) {
        e->layers++;
        return writer_add(e->call, e->writer, part->is.name, part->is.value);
    }
    if (part->kind != PART_LINEAR) return RELORA_OK;
    relora_linear *linear = part->is.linear;
    relora_tensor *bias = linear->param[RELORA_PARAM_BIAS];
    if (linear->options.mode != RELORA_MODE_LOWRANK && !linear->param[RELORA_PARAM_WEIGHT])
        FAIL(e->call, RELORA_E_STATE, "\"%s\" has no weight; call relora_linear_set_weight", part->is.name);
    e->layers++;
    TRY(add_weight(e, part, NULL));
    return bias ? add_named(e, "", part->is.name, "bias", bias) : RELORA_OK;
}

relora_status relora_state_export_merged(relora_state *state, relora_stream *stream, const char *path)
{
    struct call c = {.fn = "relora_state_export_merged"};
    struct exporting e;
    relora_status status = RELORA_OK;
    TRY(open_export(&c, &e, state, stream, "path", path));
    for (int32_t i = 0; i < state->parts.count && status >= 0; i++)
        status = add_merged(&e, state_at(state, i));
    return save(&e, status, path, "has a weight");
}

/* ---- sum of all merges ---- */

relora_status relora_state_export_delta(relora_state *state, relora_stream *stream, const char *path)
{
    struct call c = {.fn = "relora_state_export_delta"};
    struct exporting e;
    relora_status status = RELORA_OK;
    TRY(open_export(&c, &e, state, stream, "path", path));
    for (int32_t i = 0; i < state->parts.count && status >= 0; i++) {
        const struct state_part *part = state_at(state, i);
        if (part->kind != PART_LINEAR || !part->is.linear->param[RELORA_PARAM_DELTA]) continue;
        e.layers++;
        status = add_weight(&e, part, part->is.linear->param[RELORA_PARAM_DELTA]);
    }
    return save(&e, status, path, "keeps a delta");
}

/* ---- adapters ---- */

static int is_adapter(const struct state_part *part)
{
    return part->kind == PART_LINEAR && part->is.linear->options.mode == RELORA_MODE_LORA;
}

static relora_status add_adapter(struct exporting *e, const struct state_part *part)
{
    static const char before[] = "base_model.model.";
    if (!is_adapter(part)) return RELORA_OK;
    e->layers++;
    TRY(add_named(e, before, part->is.name, "lora_A.weight", part->is.linear->param[RELORA_PARAM_A]));
    return add_named(e, before, part->is.name, "lora_B.weight", part->is.linear->param[RELORA_PARAM_B]);
}

/* alpha of a layer: PEFT scales by alpha / r, so a trainable scale s is alpha = s * r. */
static relora_status alpha_of(const struct exporting *e, const relora_linear *linear, double *alpha)
{
    *alpha = linear->options.alpha;
    if (!linear->param[RELORA_PARAM_SCALE]) return RELORA_OK;
    TRY(linear_read_scale(e->call, linear, alpha));
    *alpha *= (double)linear->options.rank;
    return RELORA_OK;
}

/* What is the same for all adapters: the least that PEFT reads. */
static json_t *config_base(const char *base_model, json_error_t *error)
{
    return json_pack_ex(error, 0, "{s:s, s:s, s:s, s:s, s:b, s:b, s:b, s:n}", "peft_type", "LORA",
                        "task_type", "CAUSAL_LM", "base_model_name_or_path", base_model, "bias", "none",
                        "inference_mode", 1, "init_lora_weights", 1, "use_rslora", 0, "modules_to_save");
}

static json_t *number(double x) /* whole numbers as PEFT writes them */
{
    return x == floor(x) && fabs(x) < 1e15 ? json_integer((json_int_t)x) : json_real(x);
}

/* Rank and alpha of the first layer, and a pattern for each that differs. */
static relora_status config_layers(const struct exporting *e, json_t *config)
{
    json_t *modules = json_array(), *ranks = json_object(), *alphas = json_object();
    const relora_linear *first = NULL;
    double first_alpha = 0, alpha;
    int failed = json_object_set_new(config, "target_modules", modules) != 0;
    failed |= json_object_set_new(config, "rank_pattern", ranks) != 0;
    failed |= json_object_set_new(config, "alpha_pattern", alphas) != 0;
    for (int32_t i = 0; i < e->state->parts.count && !failed; i++) {
        const struct state_part *part = state_at(e->state, i);
        if (!is_adapter(part)) continue;
        const relora_linear_options *o = &part->is.linear->options;
        TRY(alpha_of(e, part->is.linear, &alpha));
        failed |= json_array_append_new(modules, json_string(part->is.name)) != 0;
        if (!first) {
            first = part->is.linear;
            first_alpha = alpha;
            failed |=
                json_object_set_new(config, "fan_in_fan_out", json_boolean(is_in_out(e->state, first))) != 0;
            failed |= json_object_set_new(config, "r", json_integer(o->rank)) != 0;
            failed |= json_object_set_new(config, "lora_alpha", number(alpha)) != 0;
            failed |= json_object_set_new(config, "lora_dropout", number(o->dropout)) != 0;
        }
        if (is_in_out(e->state, part->is.linear) != is_in_out(e->state, first))
            FAIL(
                e->call, RELORA_E_UNSUPPORTED,
                "some layers have RELORA_LINEAR_IN_OUT and some not, but PEFT has one fan_in_fan_out for all: choose "
                "one with relora_state_set_export_layout");
        if (o->rank != first->options.rank)
            failed |= json_object_set_new(ranks, part->is.name, json_integer(o->rank)) != 0;
        if (alpha < first_alpha || alpha > first_alpha)
            failed |= json_object_set_new(alphas, part->is.name, number(alpha)) != 0;
    }
    return failed ? call_fail_memory(e->call, 0) : RELORA_OK;
}

static size_t config_text(const json_t *config, char *text, size_t bytes)
{
    struct numeric numeric = numeric_begin();
    size_t length =
        json_dumpb(config, text, bytes, JSON_INDENT(2) | JSON_SORT_KEYS | JSON_REAL_PRECISION(12));
    numeric_end(numeric);
    return length;
}

static relora_status write_config(const struct exporting *e, const json_t *config, const char *path)
{
    struct new_file file;
    const struct memory *memory = &e->state->ctx->memory;
    size_t bytes = config_text(config, NULL, 0);
    char *text = bytes ? memory_alloc(memory, bytes) : NULL;
    if (!text) return call_fail_memory(e->call, bytes);
    if (config_text(config, text, bytes) != bytes) {
        memory_free(memory, text, bytes);
        return call_fail_memory(e->call, bytes);
    }
    relora_status status = file_open_new(e->call, &file, path);
    if (status >= 0) status = file_write(&file, text, bytes);
    if (status >= 0) status = file_write(&file, "\n", 1);
    if (status >= 0) status = file_commit(&file);
    file_close_new(&file);
    memory_free(memory, text, bytes);
    return status;
}

static relora_status make_config(const struct exporting *e, const char *base_model, json_t **config)
{
    if (!base_model) FAIL(e->call, RELORA_E_ARGUMENT, "base_model is NULL");
    json_error_t error = {0};
    *config = config_base(base_model, &error);
    if (!*config && json_error_code(&error) != json_error_invalid_utf8) return call_fail_memory(e->call, 0);
    if (!*config) FAIL(e->call, RELORA_E_ARGUMENT, "base_model is not UTF-8");
    return config_layers(e, *config);
}

relora_status relora_state_export_adapter(relora_state *state, relora_stream *stream, const char *folder,
                                          const char *base_model)
{
    struct call c = {.fn = "relora_state_export_adapter"};
    struct exporting e;
    relora_status status = RELORA_OK;
    TRY(open_export(&c, &e, state, stream, "folder", folder));
    struct text tensors = {.memory = &state->ctx->memory}, settings = {.memory = &state->ctx->memory};
    json_t *config = NULL;
    int host = errno;
    text_put(&tensors, "%s/adapter_model.safetensors", folder);
    text_put(&settings, "%s/adapter_config.json", folder);
    if (tensors.failed || settings.failed) status = call_fail_memory(&c, tensors.capacity);
    for (int32_t i = 0; i < state->parts.count && status >= 0; i++)
        status = add_adapter(&e, state_at(state, i));
    if (status >= 0) status = make_config(&e, base_model, &config); /* before any file is touched */
    status = save(&e, status, tensors.failed ? "" : tensors.data, "is in mode LORA");
    if (status >= 0) status = write_config(&e, config, settings.data);
    json_decref(config);
    text_free(&tensors);
    text_free(&settings);
    errno = host;
    return status;
}
