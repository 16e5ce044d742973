/* Rotary positions: rope_theta, and their scaling as "rope_scaling" or, in later versions, "rope_parameters". */
#include "llama.h"

#include <stdio.h>
#include <string.h>
#include "report.h"

struct scaling { /* the object that says it */
    json_t *json;
    const char *path, *key;
};

/* rope_theta may stand in the object or beside it, or in both. */
static int read_theta(struct rope *rope, const json_t *config, const struct scaling *s)
{
    double outside = 10000.0;
    char name[64];
    if (llama_above_0(config, s->path, "rope_theta", &outside)) return -1;
    rope->theta = outside;
    snprintf(name, sizeof name, "%s.rope_theta", s->key);
    if (s->json && llama_above_0(s->json, s->path, name, &rope->theta)) return -1;
    if (llama_get(config, "rope_theta") && (rope->theta < outside || rope->theta > outside))
        return fail("%s: \"rope_theta\" is %.15g, but \"%s\" is %.15g", s->path, outside, name, rope->theta);
    return 0;
}

static int read_kind(struct rope *rope, const struct scaling *s)
{
    static const char *const names[] = {"default", "linear", "llama3"};
    char text[LLAMA_VALUE];
    const json_t *now = llama_get(s->json, "rope_type"), *formerly = llama_get(s->json, "type");
    const json_t *type = now ? now : formerly;
    rope->kind = ROPE_DEFAULT;
    if (now && formerly && !json_equal(now, formerly))
        return fail("%s: \"%s\" has two types, %s", s->path, s->key, llama_value(s->json, text));
    if (!type) return 0;
    for (int i = ROPE_DEFAULT; i <= ROPE_LLAMA3; i++)
        if (json_is_string(type) && strcmp(json_string_value(type), names[i]) == 0) {
            rope->kind = i;
            return 0;
        }
    return fail("%s: \"%s\" is %s; accepted types are default, linear and llama3", s->path, s->key,
                llama_value(s->json, text));
}

/* Nothing but what the type has. */
static int check_keys(const struct rope *rope, const struct scaling *s)
{
    static const struct {
        const char *key;
        int first; /* kind that has it */
    } known[] = {{"rope_type", ROPE_DEFAULT},
                 {"type", ROPE_DEFAULT},
                 {"rope_theta", ROPE_DEFAULT},
                 {"factor", ROPE_LINEAR},
                 {"low_freq_factor", ROPE_LLAMA3},
                 {"high_freq_factor", ROPE_LLAMA3},
                 {"original_max_position_embeddings", ROPE_LLAMA3}};
    char text[LLAMA_VALUE];
    const char *key;
    json_t *value;
    json_object_foreach (s->json, key, value) {
        int found = json_is_null(value);
        for (size_t i = 0; i < sizeof known / sizeof *known; i++)
            found |= strcmp(key, known[i].key) == 0 && (int)rope->kind >= known[i].first;
        if (strcmp(key, "partial_rotary_factor") == 0)
            found |= json_number_value(value) >= 1.0 && json_number_value(value) <= 1.0;
        if (!found)
            return fail("%s: \"%s.%s\" is %s, which is not supported", s->path, s->key, key,
                        llama_value(value, text));
    }
    return 0;
}

static int read_llama3(struct rope *rope, const struct scaling *s)
{
    char name[3][64];
    snprintf(name[0], sizeof name[0], "%s.low_freq_factor", s->key);
    snprintf(name[1], sizeof name[1], "%s.high_freq_factor", s->key);
    snprintf(name[2], sizeof name[2], "%s.original_max_position_embeddings", s->key);
    if (llama_above_0(s->json, s->path, name[0], &rope->low) ||
        llama_above_0(s->json, s->path, name[1], &rope->high) ||
        llama_whole(s->json, s->path, name[2], 1, 1 << 30, &rope->original))
        return -1;
    return rope->low < rope->high ? 0
                                  : fail("%s: \"%s\" is %.15g, not below \"%s\", %.15g", s->path, name[0],
                                         rope->low, name[1], rope->high);
}

int llama_read_rope(struct rope *rope, const json_t *config, const char *path)
{
    char text[LLAMA_VALUE], name[64];
    json_t *scaling = llama_get(config, "rope_scaling"), *parameters = llama_get(config, "rope_parameters");
    const struct scaling s = {scaling ? scaling : parameters, path,
                              scaling ? "rope_scaling" : "rope_parameters"};
    *rope = (struct rope){.kind = ROPE_DEFAULT};
    if (scaling && parameters && !json_equal(scaling, parameters))
        return fail("%s: \"rope_scaling\" is %s, and \"rope_parameters\" says something else", path,
                    llama_value(scaling, text));
    if (s.json && !json_is_object(s.json))
        return fail("%s: \"%s\" is %s, not an object", path, s.key, llama_value(s.json, text));
    if (read_theta(rope, config, &s)) return -1;
    if (!s.json) return 0;
    if (read_kind(rope, &s) || check_keys(rope, &s)) return -1;
    snprintf(name, sizeof name, "%s.factor", s.key);
    if (rope->kind != ROPE_DEFAULT && llama_above_0(s.json, path, name, &rope->factor)) return -1;
    return rope->kind == ROPE_LLAMA3 ? read_llama3(rope, &s) : 0;
}
