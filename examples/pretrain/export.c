/* The trained model as Hugging Face's Llama reads it: config.json, generation_config.json and
 * model.safetensors with plain weights. Our rotary positions have their layout, so nothing is permuted. */
#include "llama.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "report.h"
#include "train.h"

/* Written beside its place and renamed: what is there may be that of --init, and must not be lost. */
static int temporary(char path[PATH_MAX], const char *folder, const char *name)
{
    return snprintf(path, PATH_MAX, "%s/%s.tmp", folder, name) >= PATH_MAX
               ? fail("the name %s is too long", folder)
               : 0;
}

static FILE *create(const char *folder, const char *name)
{
    char path[PATH_MAX];
    if (temporary(path, folder, name)) return NULL;
    FILE *file = fopen(path, "we");
    if (!file) fail("cannot write %s: %s", path, strerror(errno));
    errno = 0; /* a later one is that of a write */
    return file;
}

/* Is all of it on the disk? 0, or why not. Some file systems have no flush, and closing tells. */
static int complete(FILE *file)
{
    int bad = fflush(file) != 0 || ferror(file), error = !bad ? 0 : errno ? errno : EIO;
    if (!error && fsync(fileno(file)) != 0 && (errno == EIO || errno == ENOSPC || errno == EDQUOT))
        error = errno;
    return fclose(file) != 0 && !error ? errno : error;
}

static int finish(FILE *file, const char *folder, const char *name)
{
    char from[PATH_MAX], to[PATH_MAX];
    int error = complete(file);
    if (temporary(from, folder, name)) return -1;
    snprintf(to, sizeof to, "%.*s", (int)(strlen(from) - strlen(".tmp")), from);
    if (!error && rename(from, to) != 0) error = errno;
    if (!error) return 0;
    unlink(from);
    return fail("cannot write %s: %s", to, strerror(error));
}

static const char *dtype_of(const struct trainer *t)
{
    return model_get_config(t->model)->dtype == RELORA_F32 ? "float32" : "bfloat16";
}

static void print_model(const struct trainer *t, FILE *file)
{
    const struct model_config *c = model_get_config(t->model);
    fprintf(file, "{\n  \"architectures\": [\"LlamaForCausalLM\"],\n  \"model_type\": \"llama\",\n");
    fprintf(file, "  \"vocab_size\": %" PRId64 ",\n  \"hidden_size\": %" PRId64 ",\n", c->vocab, c->hidden);
    fprintf(file, "  \"intermediate_size\": %" PRId64 ",\n  \"num_hidden_layers\": %" PRId64 ",\n", c->ffn,
            c->layers);
    fprintf(file, "  \"num_attention_heads\": %" PRId64 ",\n  \"num_key_value_heads\": %" PRId64 ",\n",
            c->heads, c->kv_heads);
    fprintf(file, "  \"head_dim\": %" PRId64 ",\n  \"max_position_embeddings\": %" PRId64 ",\n", c->head_dim,
            t->options->seq);
    fprintf(file, "  \"hidden_act\": \"silu\",\n  \"rms_norm_eps\": 1e-06,\n  \"rope_theta\": 10000.0,\n");
    fprintf(file, "  \"attention_bias\": false,\n  \"mlp_bias\": false,\n");
    fprintf(file, "  \"initializer_range\": %g,\n  \"tie_word_embeddings\": false,\n", c->init_std);
    fprintf(file, "  \"bos_token_id\": null,\n  \"eos_token_id\": null,\n  \"use_cache\": true,\n");
    fprintf(file, "  \"torch_dtype\": \"%s\"\n}\n", dtype_of(t));
}

/* With as few digits as give the same numbers. */
static char *text_of(const json_t *config)
{
    const size_t style = JSON_INDENT(2);
    char *text = json_dumps(config, style | JSON_REAL_PRECISION(15));
    json_t *again = text ? json_loads(text, 0, NULL) : NULL;
    if (again && !json_equal(again, config)) {
        free(text);
        text = json_dumps(config, style | JSON_REAL_PRECISION(17));
    }
    json_decref(again);
    return text;
}

/* That of --init, for the model is still the same, but for the type and how far it was trained. */
static int print_config(const struct trainer *t, FILE *file)
{
    json_t *config = json_copy(t->options->config); /* only what is on top is changed */
    const json_t *positions = json_object_get(config, "max_position_embeddings");
    int failed = json_object_set_new(config, "torch_dtype", json_string(dtype_of(t))) != 0;
    if (json_object_get(config, "dtype"))
        failed |= json_object_set_new(config, "dtype", json_string(dtype_of(t))) != 0;
    if (json_number_value(positions) < (double)t->options->seq)
        failed |= json_object_set_new(config, "max_position_embeddings", json_integer(t->options->seq)) != 0;
    if (!json_object_get(config, "architectures"))
        failed |= json_object_set_new(config, "architectures", json_pack("[s]", "LlamaForCausalLM")) != 0;
    char *text = failed ? NULL : text_of(config);
    if (text) fprintf(file, "%s\n", text);
    free(text);
    json_decref(config);
    return text ? 0 : fail("--export: no memory for config.json");
}

static int write_config(const struct trainer *t, const char *folder)
{
    FILE *file = create(folder, "config.json");
    if (!file) return -1;
    int failed = 0;
    if (t->options->config) failed = print_config(t, file) != 0;
    else print_model(t, file);
    return finish(file, folder, "config.json") || failed ? -1 : 0;
}

/* Where a text begins and ends, as --init has it: which token, or which tokens. */
static void print_token(const struct trainer *t, FILE *file, const char *key)
{
    const json_t *value = llama_get(t->options->config, key);
    char *text = value ? json_dumps(value, JSON_ENCODE_ANY) : NULL;
    if (text) fprintf(file, "  \"%s\": %s,\n", key, text);
    free(text);
}

static int write_generation(const struct trainer *t, const char *folder)
{
    FILE *file = create(folder, "generation_config.json");
    if (!file) return -1;
    fprintf(file, "{\n");
    print_token(t, file, "bos_token_id");
    print_token(t, file, "eos_token_id");
    print_token(t, file, "pad_token_id");
    fprintf(file, "  \"do_sample\": true,\n  \"temperature\": %g,\n  \"max_length\": %" PRId64 "\n}\n",
            t->options->temperature > 0 ? t->options->temperature : 1.0, t->options->seq);
    return finish(file, folder, "generation_config.json");
}

int llama_export(const struct trainer *t, const char *folder)
{
    char path[PATH_MAX];
    relora_state *state;
    if (mkdir(folder, 0777) != 0 && errno != EEXIST)
        return fail("cannot make the folder %s: %s", folder, strerror(errno));
    if (snprintf(path, sizeof path, "%s/model.safetensors", folder) >= (int)sizeof path)
        return fail("the name %s is too long", folder);
    if (check(t->ctx, relora_state_create(&state, t->ctx), "--export")) return -1;
    relora_status status = relora_state_add_group(state, model_group(t->model));
    if (status >= 0) status = relora_state_export_merged(state, t->stream, path);
    relora_state_release(state);
    if (check(t->ctx, status, "--export") || write_config(t, folder) || write_generation(t, folder))
        return -1;
    printf("exported to %s\n", folder);
    return 0;
}
