/* Reading config.json and the index of the pieces, and what to say of a value that does not fit. */
#include "llama.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include "report.h"

/* To open a pipe would wait for somebody who writes. */
static int is_regular(const char *path)
{
    struct stat info;
    return stat(path, &info) != 0 || S_ISREG(info.st_mode); /* if it is missing, opening says so */
}

int llama_is_stand_in(const char *path)
{
    char begin[64] = "";
    FILE *file = is_regular(path) ? fopen(path, "rb") : NULL;
    if (!file) return 0;
    size_t count = fread(begin, 1, sizeof begin - 1, file);
    fclose(file);
    begin[count] = '\0';
    if (strncmp(begin, "version https://git-lfs", 23) == 0)
        fail("%s is a Git LFS pointer, and `git lfs pull` fetches the file", path);
    else if (begin[0] == '<') fail("%s is an HTML page, which a server may send instead of a file", path);
    else return 0;
    return 1;
}

json_t *llama_load(const char *path)
{
    json_error_t error;
    if (!is_regular(path)) {
        fail("cannot read %s: it is no regular file", path);
        return NULL;
    }
    if (llama_is_stand_in(path)) return NULL;
    json_t *json = json_load_file(path, JSON_REJECT_DUPLICATES, &error);
    if (!json && error.line < 1) fail("cannot read %s: %s", path, strerror(errno));
    else if (!json) fail("%s is not JSON: line %d: %s", path, error.line, error.text);
    else if (!json_is_object(json)) {
        fail("%s is not a JSON object", path);
        json_decref(json);
        json = NULL;
    }
    return json;
}

json_t *llama_get(const json_t *object, const char *key)
{
    json_t *value = json_object_get(object, key);
    return json_is_null(value) ? NULL : value;
}

const char *llama_value(const json_t *value, char text[LLAMA_VALUE])
{
    char *all = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT | JSON_REAL_PRECISION(15));
    snprintf(text, LLAMA_VALUE, "%s", all ? all : "?");
    if (all && strlen(all) >= LLAMA_VALUE) memcpy(text + LLAMA_VALUE - 4, "...", 4);
    free(all);
    return text;
}

/* The last part of "rope_scaling.factor". */
static const char *key_of(const char *name)
{
    const char *dot = strrchr(name, '.');
    return dot ? dot + 1 : name;
}

int llama_whole(const json_t *object, const char *path, const char *name, int64_t low, int64_t high,
                int64_t *out)
{
    char text[LLAMA_VALUE];
    const json_t *value = llama_get(object, key_of(name));
    if (!value && *out >= low) return 0;
    if (!value) return fail("%s lacks \"%s\"", path, name);
    if (!json_is_integer(value) || json_integer_value(value) < low || json_integer_value(value) > high)
        return fail("%s: \"%s\" is %s; accepted is a whole number from %" PRId64 " to %" PRId64, path, name,
                    llama_value(value, text), low, high);
    *out = json_integer_value(value);
    return 0;
}

int llama_above_0(const json_t *object, const char *path, const char *name, double *out)
{
    char text[LLAMA_VALUE];
    const json_t *value = llama_get(object, key_of(name));
    if (!value && *out > 0.0) return 0;
    if (!value) return fail("%s lacks \"%s\"", path, name);
    if (!json_is_number(value) || json_number_value(value) < 1e-30 || json_number_value(value) > 1e30)
        return fail("%s: \"%s\" is %s; accepted is a number above 0", path, name, llama_value(value, text));
    *out = json_number_value(value);
    return 0;
}
