/* A Llama folder as Hugging Face has it: config.json says what the model computes, model.safetensors, or the
 * pieces that an index names, holds its weights. Nothing of config.json is passed over: what the model here
 * does not do is refused, with the key and its value. */
#ifndef PRETRAIN_LLAMA_H
#define PRETRAIN_LLAMA_H

#include <jansson.h>
#include <stddef.h>
#include "model.h"

struct trainer;

/* ---- llama_config.c ---- */

/* Shapes, heads, norms, rotary positions, the tied head and the vocabulary, as config.json of the folder
 * `path` says, or that beside the file `path`. *config is the whole of it, for json_decref(); NULL if `path` is
 * a file and nothing lies beside it, and then `model` is left alone. -1 after a sentence. */
int llama_read_config(struct model_config *model, json_t **config, const char *path);

/* The same as lines "key=value", without the vocabulary. */
enum { LLAMA_TEXT = 1024 };
void llama_describe(const struct model_config *model, char text[LLAMA_TEXT]);
/* Say on which of them `text`, from a checkpoint, differs; 0 if on none, else -1. */
int llama_compare(const struct model_config *model, const char *text);

/* llama_rope.c: how `config`, read from the file `path`, has positions turned. */
int llama_read_rope(struct rope *rope, const json_t *config, const char *path);

/* ---- llama_json.c ---- */

/* The object that a file holds; NULL after a sentence. */
json_t *llama_load(const char *path);
/* Is `path` what people have instead of a file, a Git LFS pointer or an HTML page? Then says so. */
int llama_is_stand_in(const char *path);
/* Of an object: the value of a key, NULL if it is missing or null. */
json_t *llama_get(const json_t *object, const char *key);
/* A value as text, shortened. */
enum { LLAMA_VALUE = 100 };
const char *llama_value(const json_t *value, char text[LLAMA_VALUE]);
/* A whole or a real number of an object; `name` is the key with what leads to it, for the sentence. If there
 * is none `*out` stays, unless it is below `low`: then a number must be there. */
int llama_whole(const json_t *object, const char *path, const char *name, int64_t low, int64_t high,
                int64_t *out);
int llama_above_0(const json_t *object, const char *path, const char *name, double *out);

/* ---- llama_weights.c ---- */

/* Does --init have every weight of such a model, in the file or its pieces, in the right shape, and nothing left over
 * that might be part of a model? To be asked before a model is made: what config.json says may be false. */
int llama_look(const struct trainer *trainer, const struct model_config *config);
/* First weights for the model of a trainer from there. */
int llama_init(const struct trainer *trainer);

/* ---- export.c ---- */

/* Write the trained model as such a folder. */
int llama_export(const struct trainer *trainer, const char *folder);

#endif
