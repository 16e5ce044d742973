/* config.json: what is taken, what must have the one value that the model here has, what does not matter. A
 * key that is in none of the three lists is refused, for it may change what the model computes. */
#include "llama.h"

#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include "report.h"

static const char *const taken[] = {"vocab_size",        "hidden_size",         "intermediate_size",
                                    "num_hidden_layers", "num_attention_heads", "num_key_value_heads",
                                    "head_dim",          "rms_norm_eps",        "rope_theta",
                                    "rope_scaling",      "rope_parameters",     "tie_word_embeddings"};

static const struct {
    const char *key, *accepted; /* values, as JSON writes them */
} fixed[] = {
    {"model_type", "\"llama\""},
    {"architectures", "[\"LlamaForCausalLM\"] or [\"LLaMAForCausalLM\"]"},
    {"hidden_act", "\"silu\" or \"swish\""},
    {"attention_bias", "false"},
    {"mlp_bias", "false"},
    {"attention_dropout", "0 or 0.0"},
    {"hidden_dropout", "0 or 0.0"},
    {"embd_pdrop", "0 or 0.0"},
    {"resid_pdrop", "0 or 0.0"},
    {"partial_rotary_factor", "1 or 1.0"},
    {"rope_interleaved", "false"},
    {"sliding_window", "null"},
    {"use_sliding_window", "false"},
    {"quantization_config", "null"},
    {"auto_map", "null"},
    {"is_encoder_decoder", "false"},
    {"add_cross_attention", "false"},
    {"pruned_heads", "{}"},
    {"torch_dtype", "\"float32\" or \"bfloat16\" or \"float16\" or \"float64\""},
    {"dtype", "\"float32\" or \"bfloat16\" or \"float16\" or \"float64\""},
};

/* How the text is made and named, how transformers goes about it: no part of what the model computes. */
/* clang-format off */
static const char *const ignored[] = {
    "max_position_embeddings", "initializer_range", "use_cache", "transformers_version", "pretraining_tp",
    "max_sequence_length", "is_llama_config", "transformers.js_config", "unsloth_version", "unsloth_fixed",
    "gradient_checkpointing", "bos_token_id", "eos_token_id", "pad_token_id", "sep_token_id", "unk_token_id",
    "decoder_start_token_id", "tokenizer_class", "prefix", "problem_type", "finetuning_task", "id2label",
    "label2id", "num_labels", "task_specific_params", "return_dict", "output_hidden_states",
    "output_attentions", "torchscript", "use_bfloat16", "tf_legacy_loss", "chunk_size_feed_forward",
    "is_decoder", "tie_encoder_decoder", "max_length", "min_length", "do_sample", "early_stopping",
    "num_beams", "num_beam_groups", "diversity_penalty", "temperature", "top_k", "top_p", "typical_p",
    "repetition_penalty", "length_penalty", "no_repeat_ngram_size", "encoder_no_repeat_ngram_size",
    "bad_words_ids", "num_return_sequences", "output_scores", "return_dict_in_generate",
    "forced_bos_token_id", "forced_eos_token_id", "remove_invalid_values", "exponential_decay_length_penalty",
    "suppress_tokens", "begin_suppress_tokens"};
/* clang-format on */

static int is_listed(const char *key, const char *const *list, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(key, list[i]) == 0) return 1;
    return 0;
}

/* Is `value` one of "a or b or c"? */
static int is_accepted(const char *value, const char *accepted)
{
    size_t length = strlen(value);
    while (accepted) {
        const char *next = strstr(accepted, " or ");
        size_t here = next ? (size_t)(next - accepted) : strlen(accepted);
        if (here == length && strncmp(accepted, value, length) == 0) return 1;
        accepted = next ? next + 4 : NULL;
    }
    return 0;
}

static int check_key(const char *path, const char *key, const json_t *value)
{
    char text[LLAMA_VALUE];
    llama_value(value, text);
    for (size_t i = 0; i < sizeof fixed / sizeof *fixed; i++)
        if (strcmp(key, fixed[i].key) == 0)
            return is_accepted(text, fixed[i].accepted)
                       ? 0
                       : fail("%s: \"%s\" is %s, which is not supported; accepted is %s", path, key, text,
                              fixed[i].accepted);
    if (key[0] == '_' || is_listed(key, taken, sizeof taken / sizeof *taken) ||
        is_listed(key, ignored, sizeof ignored / sizeof *ignored))
        return 0;
    return fail("%s: \"%s\" is %s, and the key is unknown; remove it if it does not change what the model "
                "computes",
                path, key, text);
}

/* Says everything that is wrong, not only the first; but of another kind of model no more than that. */
static int check_keys(const char *path, json_t *config)
{
    const char *key;
    json_t *value = llama_get(config, "model_type");
    int result = 0;
    if (!value) return fail("%s lacks \"model_type\", which must be \"llama\"", path);
    if (check_key(path, "model_type", value)) return -1;
    json_object_foreach (config, key, value)
        if (!json_is_null(value) && check_key(path, key, value)) result = -1;
    return result;
}

static int read_shape(struct model_config *m, const json_t *config, const char *path)
{
    m->vocab = m->hidden = m->ffn = m->layers = m->heads = m->kv_heads = m->head_dim = 0;
    if (llama_whole(config, path, "vocab_size", 2, 1 << 24, &m->vocab) ||
        llama_whole(config, path, "hidden_size", 1, 1 << 20, &m->hidden) ||
        llama_whole(config, path, "intermediate_size", 1, 1 << 22, &m->ffn) ||
        llama_whole(config, path, "num_hidden_layers", 1, 1 << 14, &m->layers) ||
        llama_whole(config, path, "num_attention_heads", 1, 1 << 14, &m->heads))
        return -1;
    m->kv_heads = m->heads;
    if (llama_whole(config, path, "num_key_value_heads", 1, m->heads, &m->kv_heads)) return -1;
    if (m->heads % m->kv_heads)
        return fail("%s: \"num_key_value_heads\" is %" PRId64
                    ", which does not divide \"num_attention_heads\", "
                    "%" PRId64,
                    path, m->kv_heads, m->heads);
    m->head_dim = m->hidden / m->heads;
    if (!llama_get(config, "head_dim") && m->hidden % m->heads)
        return fail("%s: \"hidden_size\" is %" PRId64 ", not a multiple of \"num_attention_heads\", %" PRId64
                    ", and there is no \"head_dim\"",
                    path, m->hidden, m->heads);
    if (llama_whole(config, path, "head_dim", 1, 1 << 14, &m->head_dim)) return -1;
    return m->head_dim % 2 == 0 ? 0
                                : fail("%s: the heads have %" PRId64 " columns (\"head_dim\"), and rotary "
                                       "positions turn pairs of them",
                                       path, m->head_dim);
}

static int read_model(struct model_config *m, json_t *config, const char *path)
{
    char text[LLAMA_VALUE];
    const json_t *tied = llama_get(config, "tie_word_embeddings");
    if (check_keys(path, config) || read_shape(m, config, path) || llama_read_rope(&m->rope, config, path))
        return -1;
    if (tied && !json_is_boolean(tied))
        return fail("%s: \"tie_word_embeddings\" is %s, neither true nor false", path,
                    llama_value(tied, text));
    m->tied = json_is_true(tied);
    m->norm_eps = 1e-6;
    return llama_above_0(config, path, "rms_norm_eps", &m->norm_eps);
}

/* Where config.json is to be, of a folder or beside a file. */
static int find_config(char file[PATH_MAX], const char *path, int *folder)
{
    struct stat info;
    if (stat(path, &info) != 0) return fail("--init %s: there is no such file or folder", path);
    *folder = S_ISDIR(info.st_mode);
    const char *slash = *folder ? NULL : strrchr(path, '/');
    int length = *folder ? (int)strlen(path) : slash ? (int)(slash - path) : 0;
    const char *between = length || slash ? "/" : "";
    return snprintf(file, PATH_MAX, "%.*s%sconfig.json", length, path, between) >= PATH_MAX
               ? fail("the name %s is too long", path)
               : 0;
}

/* Folders without it are often no model at all. */
static int no_config(const char *folder)
{
    char weights[PATH_MAX];
    int length = snprintf(weights, sizeof weights, "%s/model.safetensors", folder);
    if (length < PATH_MAX && llama_is_stand_in(weights)) return -1;
    return fail("--init %s: the folder has no config.json, which says what its weights mean", folder);
}

int llama_read_config(struct model_config *model, json_t **config, const char *path)
{
    char file[PATH_MAX];
    struct stat info;
    int folder = 0;
    *config = NULL;
    if (find_config(file, path, &folder)) return -1;
    if (stat(file, &info) != 0) return folder ? no_config(path) : 0;
    *config = llama_load(file);
    if (*config && read_model(model, *config, file) == 0) return 0;
    json_decref(*config);
    *config = NULL;
    return -1;
}

/* ---- for checkpoints ---- */

struct lines {
    char *text;
    size_t size, used;
};

static void add_whole(struct lines *l, const char *key, int64_t value)
{
    l->used += (size_t)snprintf(l->text + l->used, l->size - l->used, "%s=%" PRId64 "\n", key, value);
}

/* As short as reads back the same. */
static void add_real(struct lines *l, const char *key, double value)
{
    char digits[32];
    snprintf(digits, sizeof digits, "%.15g", value);
    if (strtod(digits, NULL) < value || strtod(digits, NULL) > value)
        snprintf(digits, sizeof digits, "%.17g", value);
    l->used += (size_t)snprintf(l->text + l->used, l->size - l->used, "%s=%s\n", key, digits);
}

static void add_text(struct lines *l, const char *key, const char *value)
{
    l->used += (size_t)snprintf(l->text + l->used, l->size - l->used, "%s=%s\n", key, value);
}

void llama_describe(const struct model_config *m, char text[LLAMA_TEXT])
{
    static const char *const kinds[] = {"default", "linear", "llama3"};
    struct lines l = {text, LLAMA_TEXT, 0};
    add_whole(&l, "hidden_size", m->hidden);
    add_whole(&l, "intermediate_size", m->ffn);
    add_whole(&l, "num_hidden_layers", m->layers);
    add_whole(&l, "num_attention_heads", m->heads);
    add_whole(&l, "num_key_value_heads", m->kv_heads);
    add_whole(&l, "head_dim", m->head_dim);
    add_real(&l, "rms_norm_eps", m->norm_eps);
    add_text(&l, "tie_word_embeddings", m->tied ? "true" : "false");
    add_real(&l, "rope_theta", m->rope.theta);
    add_text(&l, "rope_scaling", kinds[m->rope.kind]);
    if (m->rope.kind == ROPE_DEFAULT) return;
    add_real(&l, "factor", m->rope.factor);
    if (m->rope.kind != ROPE_LLAMA3) return;
    add_real(&l, "low_freq_factor", m->rope.low);
    add_real(&l, "high_freq_factor", m->rope.high);
    add_whole(&l, "original_max_position_embeddings", m->rope.original);
}

int llama_compare(const struct model_config *model, const char *text)
{
    char now[LLAMA_TEXT];
    int result = 0;
    llama_describe(model, now);
    const char *a = now, *b = text;
    while ((*a || *b) && result == 0) { /* after a line that differs, those that follow may have other keys */
        int here = (int)strcspn(a, "\n"), there = (int)strcspn(b, "\n");
        if (here != there || strncmp(a, b, (size_t)here) != 0)
            result = fail("the model has %.*s, but the checkpoint's has %.*s; --init and --size must be as "
                          "they were",
                          here, a, there, b);
        a += here + (a[here] != '\0');
        b += there + (b[there] != '\0');
    }
    return result;
}
