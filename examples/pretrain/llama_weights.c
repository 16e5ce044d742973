/* The weights of a folder or a file. Names are looked at before anything is read: each weight of the model is
 * there once, and nothing is there that the model has no place for. */
#include "llama.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include "report.h"
#include "train.h"

struct piece { /* a file */
    char path[PATH_MAX];
    relora_reader *reader;
};

struct weights {
    const struct trainer *t;
    const struct model_config *config;
    const char *from; /* of --init */
    struct piece *pieces;
    int count;
    int checkpoint; /* one of this program, with an optimizer beside the weights */
};

static const char embedding[] = "model.embed_tokens.weight", head[] = "lm_head.weight";

/* ---- files ---- */

static int join(char path[PATH_MAX], const char *folder, const char *name)
{
    int length = snprintf(path, PATH_MAX, "%s/%s", folder, name);
    return length >= PATH_MAX ? fail("the name %s is too long", folder) : 0;
}

/* Is it there, be it as a link to nothing? */
static int exists(const char *folder, const char *name)
{
    char path[PATH_MAX];
    struct stat info;
    return snprintf(path, sizeof path, "%s/%s", folder, name) < PATH_MAX && lstat(path, &info) == 0;
}

static int open_piece(struct weights *w, const char *path)
{
    struct piece *more = realloc(w->pieces, (size_t)(w->count + 1) * sizeof *more);
    if (!more) return fail("--init: no memory for the names of its files");
    w->pieces = more;
    struct piece *piece = &more[w->count];
    if (snprintf(piece->path, PATH_MAX, "%s", path) >= PATH_MAX) return fail("the name %s is too long", path);
    if (check(w->t->ctx, relora_reader_open(&piece->reader, w->t->ctx, path), "--init")) return -1;
    w->count++;
    return 0;
}

static struct piece *find_piece(const struct weights *w, const char *path)
{
    for (int i = 0; i < w->count; i++)
        if (strcmp(w->pieces[i].path, path) == 0) return &w->pieces[i];
    return NULL;
}

static int has(const struct piece *piece, const char *name)
{
    return relora_reader_dtype(piece->reader, name) != NULL;
}

/* A tensor of the index, in the file it is said to be in. */
static int open_indexed(struct weights *w, const char *index, const char *name, const json_t *file)
{
    const char *text = json_string_value(file);
    char path[PATH_MAX], value[LLAMA_VALUE];
    if (!text || !*text || strchr(text, '/'))
        return fail("%s: the file of \"%s\" is %s, not the name of one beside it", index, name,
                    llama_value(file, value));
    if (join(path, w->from, text)) return -1;
    if (!find_piece(w, path)) {
        if (!exists(w->from, text))
            return fail("%s names %s for \"%s\", but that file is not in the folder", index, text, name);
        if (open_piece(w, path)) return -1;
    }
    return has(find_piece(w, path), name)
               ? 0
               : fail("%s says that %s has \"%s\", but it does not", index, text, name);
}

static int open_index(struct weights *w)
{
    char path[PATH_MAX];
    const char *name;
    json_t *index, *map, *file;
    if (join(path, w->from, "model.safetensors.index.json") || !(index = llama_load(path))) return -1;
    map = llama_get(index, "weight_map");
    int result = json_object_size(map) > 0 ? 0 : fail("%s has no \"weight_map\" that names a tensor", path);
    json_object_foreach (map, name, file)
        if (result == 0) result = open_indexed(w, path, name, file);
    json_decref(index);
    return result;
}

/* The folder's weights as something that is not read here? */
static const char *other_form(const char *folder)
{
    static const char *const names[] = {"pytorch_model.bin",  "pytorch_model.bin.index.json",
                                        "tf_model.h5",        "consolidated.00.pth",
                                        "flax_model.msgpack", "adapter_model.safetensors"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (exists(folder, names[i])) return names[i];
    return NULL;
}

static int open_folder(struct weights *w)
{
    char path[PATH_MAX];
    if (exists(w->from, "model.safetensors"))
        return join(path, w->from, "model.safetensors") ? -1 : open_piece(w, path);
    if (exists(w->from, "model.safetensors.index.json")) return open_index(w);
    const char *other = other_form(w->from);
    return fail("--init %s: the folder has neither model.safetensors nor model.safetensors.index.json%s%s%s",
                w->from, other ? "; its " : "", other ? other : "",
                other ? " is not supported; save_pretrained() of transformers converts it to safetensors"
                      : "");
}

static int open_file(struct weights *w)
{
    if (open_piece(w, w->from)) return -1;
    const relora_reader *reader = w->count ? w->pieces[0].reader : NULL;
    w->checkpoint = relora_reader_metadata(reader, "options") != NULL;
    for (int32_t i = 0; i < relora_reader_count(reader); i++)
        if (strstr(relora_reader_name(reader, i), ".lora_A.weight"))
            return fail("--init %s: its weights lack their low-rank part; --export it first, or --resume it",
                        w->from);
    if (!w->checkpoint && !w->t->options->config)
        return fail("--init %s: there is no config.json beside it, which says what its weights mean",
                    w->from);
    const char *model = relora_reader_metadata(reader, "model");
    return w->checkpoint && model ? llama_compare(w->config, model) : 0;
}

static void close_all(struct weights *w)
{
    for (int i = 0; i < w->count; i++) relora_reader_release(w->pieces[i].reader);
    free(w->pieces);
}

/* ---- names ---- */

static struct piece *find(const struct weights *w, const char *name)
{
    for (int i = 0; i < w->count; i++)
        if (has(&w->pieces[i], name)) return &w->pieces[i];
    return NULL;
}

static int is_tied(const struct weights *w)
{
    return w->config->tied;
}

/* What a weight of the model is called in the file: a head that is the embedding may stand for both. */
static const char *stored_name(const struct weights *w, const char *name)
{
    return is_tied(w) && strcmp(name, embedding) == 0 && !find(w, name) ? head : name;
}

/* A head for classes begins at random. */
static int is_new(const struct weights *w, const char *name)
{
    return w->t->options->classes && strcmp(name, "score.weight") == 0;
}

static int check_missing(const struct weights *w)
{
    struct model_name weight;
    char first[sizeof weight.name] = "";
    int missing = 0;
    for (int i = 0; model_name_get(w->config, i, &weight); i++) {
        if (find(w, stored_name(w, weight.name)) || is_new(w, weight.name)) continue;
        if (!missing++) memcpy(first, weight.name, sizeof first);
    }
    if (!missing) return 0;
    fail("--init %s: there is no %s", w->from, first);
    return missing == 1 ? -1 : fail("and %d other tensors of the model are missing too", missing - 1);
}

static int is_weight(const struct weights *w, const char *name)
{
    struct model_name weight;
    for (int i = 0; model_name_get(w->config, i, &weight); i++)
        if (strcmp(stored_name(w, weight.name), name) == 0) return 1;
    return 0;
}

/* What old files have beside the weights, and a checkpoint. */
static int is_harmless(const struct weights *w, const char *name)
{
    return strstr(name, "rotary_emb.inv_freq") || strstr(name, "rotary_emb.cos_cached") ||
           strstr(name, "rotary_emb.sin_cached") || (w->checkpoint && strncmp(name, "optimizer.", 10) == 0) ||
           (w->t->options->classes && strcmp(name, head) == 0);
}

/* A head beside the embedding that it is tied to. */
static int check_copy(const struct weights *w)
{
    const void *one = NULL, *other = NULL;
    size_t bytes = 0, other_bytes = 0;
    if (check(w->t->ctx, relora_reader_bytes(find(w, embedding)->reader, embedding, &one, &bytes),
              "--init") ||
        check(w->t->ctx, relora_reader_bytes(find(w, head)->reader, head, &other, &other_bytes), "--init"))
        return -1;
    return bytes == other_bytes && memcmp(one, other, bytes) == 0
               ? 0
               : fail("--init %s: \"tie_word_embeddings\" is true, but %s is not the same as %s", w->from,
                      head, embedding);
}

static int check_left_over(const struct weights *w)
{
    const char *first = NULL;
    int left = 0;
    for (int i = 0; i < w->count; i++)
        for (int32_t k = 0; k < relora_reader_count(w->pieces[i].reader); k++) {
            const char *name = relora_reader_name(w->pieces[i].reader, k);
            if (find(w, name) != &w->pieces[i])
                return fail("--init %s: %s is in two of its files", w->from, name);
            if (is_weight(w, name) || is_harmless(w, name)) continue;
            if (is_tied(w) && strcmp(name, head) == 0) {
                if (check_copy(w)) return -1;
                continue;
            }
            if (!left++) first = name;
        }
    if (!left) return 0;
    fail("--init %s: the model has no place for %s", w->from, first);
    return left == 1 ? -1 : fail("nor for %d other tensors of the files", left - 1);
}

/* ---- shapes ---- */

enum { SHAPE_TEXT = 64 };

static void print_shape(int32_t dims, const int64_t shape[2], char text[SHAPE_TEXT])
{
    if (dims == 0) snprintf(text, SHAPE_TEXT, "one number");
    else if (dims == 1) snprintf(text, SHAPE_TEXT, "[%" PRId64 "]", shape[0]);
    else
        snprintf(text, SHAPE_TEXT, "[%" PRId64 ", %" PRId64 "%s]", shape[0], shape[1],
                 dims > 2 ? ", ..." : "");
}

static int check_shape(const struct weights *w, const struct model_name *weight)
{
    const char *name = stored_name(w, weight->name);
    const struct piece *piece = find(w, name);
    const int64_t wanted[2] = {weight->rows ? weight->rows : weight->cols, weight->cols};
    const int32_t dims = weight->rows ? 2 : 1;
    int64_t shape[2] = {0, 0};
    int32_t found = 0;
    if (check(w->t->ctx, relora_reader_shape(piece->reader, name, &found, shape, 2), "--init")) return -1;
    if (found == dims && shape[0] == wanted[0] && (dims == 1 || shape[1] == wanted[1])) return 0;
    char ours[SHAPE_TEXT], theirs[SHAPE_TEXT];
    print_shape(dims, wanted, ours);
    print_shape(found, shape, theirs);
    return fail("%s: %s is %s, but the model has %s%s", piece->path, name, theirs, ours,
                w->t->options->config ? ", as config.json says" : "");
}

static int check_shapes(const struct weights *w)
{
    struct model_name weight;
    for (int i = 0; model_name_get(w->config, i, &weight); i++)
        if (!is_new(w, weight.name) && check_shape(w, &weight)) return -1;
    return 0;
}

/* ---- values ---- */

static int read_all(const struct weights *w)
{
    struct model_param param;
    for (int i = 0; model_weight_get(w->t->model, i, &param); i++) {
        const char *name = stored_name(w, param.name);
        if (is_new(w, name)) continue;
        const struct piece *piece = find(w, name);
        if (check(w->t->ctx,
                  relora_reader_read(piece->reader, w->t->stream, name, param.value,
                                     RELORA_READ_CONVERT | RELORA_READ_FINITE),
                  piece->path))
            return -1;
    }
    return 0;
}

/* What was taken from config.json, on one line. */
static void print_model(const struct weights *w)
{
    char text[LLAMA_TEXT];
    llama_describe(w->config, text);
    printf("config.json: ");
    for (const char *at = text; *at; at++) {
        if (*at != '=' && *at != '\n') putchar(*at);
        else if (at[1]) fputs(*at == '=' ? " " : ", ", stdout);
    }
    putchar('\n');
}

static int open_all(struct weights *w)
{
    struct stat info;
    if (w->t->options->method == METHOD_LOWRANK)
        return fail("--init: with --method lowrank there is no full-rank weight to start from");
    int folder = stat(w->from, &info) == 0 && S_ISDIR(info.st_mode);
    if (folder ? open_folder(w) : open_file(w)) return -1;
    return check_missing(w) || check_left_over(w) || check_shapes(w) ? -1 : 0;
}

int llama_look(const struct trainer *t, const struct model_config *config)
{
    struct weights w = {.t = t, .config = config, .from = t->options->init};
    int result = open_all(&w);
    close_all(&w);
    return result;
}

int llama_init(const struct trainer *t)
{
    struct weights w = {.t = t, .config = model_get_config(t->model), .from = t->options->init};
    int result = open_all(&w) || read_all(&w) ? -1 : 0;
    if (result == 0) {
        if (t->options->config) print_model(&w);
        printf("first weights from %s%s\n", w.count == 1 ? w.pieces[0].path : w.from,
               w.count == 1 ? "" : ", in several files");
    }
    close_all(&w);
    return result;
}
