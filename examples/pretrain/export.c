/* The trained model as Hugging Face's Llama reads it: config.json, generation_config.json and
 * model.safetensors with plain weights. Our rotary positions have their layout, so nothing is permuted. */
#include "checkpoint.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include "report.h"

static FILE *create(const char *folder, const char *name)
{
    char path[PATH_MAX];
    FILE *file = NULL;
    if (snprintf(path, sizeof path, "%s/%s", folder, name) < (int)sizeof path)
        file = fopen(path, "w");
    if (!file)
        fail("cannot write %s/%s: %s", folder, name, strerror(errno));
    return file;
}

static int finish(FILE *file, const char *folder, const char *name)
{
    int bad = ferror(file);
    return fclose(file) != 0 || bad ? fail("cannot write %s/%s: %s", folder, name, strerror(errno)) : 0;
}

static int write_config(const struct trainer *t, const char *folder)
{
    const struct model_config *c = model_get_config(t->model);
    FILE *file = create(folder, "config.json");
    if (!file)
        return -1;
    fprintf(file, "{\n  \"architectures\": [\"LlamaForCausalLM\"],\n  \"model_type\": \"llama\",\n");
    fprintf(file, "  \"vocab_size\": %" PRId64 ",\n  \"hidden_size\": %" PRId64 ",\n", c->vocab, c->hidden);
    fprintf(file, "  \"intermediate_size\": %" PRId64 ",\n  \"num_hidden_layers\": %" PRId64 ",\n", c->ffn,
            c->layers);
    fprintf(file, "  \"num_attention_heads\": %" PRId64 ",\n  \"num_key_value_heads\": %" PRId64 ",\n",
            c->heads, c->heads);
    fprintf(file, "  \"head_dim\": %" PRId64 ",\n  \"max_position_embeddings\": %" PRId64 ",\n",
            c->hidden / c->heads, t->options->seq);
    fprintf(file, "  \"hidden_act\": \"silu\",\n  \"rms_norm_eps\": 1e-06,\n  \"rope_theta\": 10000.0,\n");
    fprintf(file, "  \"attention_bias\": false,\n  \"mlp_bias\": false,\n");
    fprintf(file, "  \"initializer_range\": %g,\n  \"tie_word_embeddings\": false,\n", c->init_std);
    fprintf(file, "  \"bos_token_id\": null,\n  \"eos_token_id\": null,\n  \"use_cache\": true,\n");
    fprintf(file, "  \"torch_dtype\": \"%s\"\n}\n", c->dtype == RELORA_F32 ? "float32" : "bfloat16");
    return finish(file, folder, "config.json");
}

static int write_generation(const struct trainer *t, const char *folder)
{
    FILE *file = create(folder, "generation_config.json");
    if (!file)
        return -1;
    fprintf(file, "{\n  \"do_sample\": true,\n  \"temperature\": %g,\n  \"max_length\": %" PRId64 "\n}\n",
            t->options->temperature > 0 ? t->options->temperature : 1.0, t->options->seq);
    return finish(file, folder, "generation_config.json");
}

int export_llama(const struct trainer *t, const char *folder)
{
    char path[PATH_MAX];
    relora_state *state;
    if (mkdir(folder, 0777) != 0 && errno != EEXIST)
        return fail("cannot make the folder %s: %s", folder, strerror(errno));
    if (snprintf(path, sizeof path, "%s/model.safetensors", folder) >= (int)sizeof path)
        return fail("the name %s is too long", folder);
    if (check(t->ctx, relora_state_create(&state, t->ctx), "--export"))
        return -1;
    relora_status status = model_add_to_state(t->model, state);
    if (status >= 0)
        status = relora_state_export_merged(state, t->stream, path);
    relora_state_release(state);
    if (check(t->ctx, status, "--export") || write_config(t, folder) || write_generation(t, folder))
        return -1;
    printf("exported to %s\n", folder);
    return 0;
}
