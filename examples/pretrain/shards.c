#include "shards.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <glob.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include "report.h"

int names_add(struct names *names, const char *name)
{
    char **more = realloc(names->name, (size_t)(names->count + 1) * sizeof *more);
    if (more) names->name = more;
    char *copy = more ? strdup(name) : NULL;
    if (!copy) return fail("no memory for the name %s", name);
    names->name[names->count++] = copy;
    return 0;
}

void names_free(struct names *names)
{
    for (int i = 0; i < names->count; i++) free(names->name[i]);
    free(names->name);
    *names = (struct names){0};
}

static int compare(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Is a word of the file's own name "val", as in fineweb_val_000000.bin or val.bin? */
static int is_held_out(const char *path)
{
    static const char *const words[] = {"val", "valid", "validation"};
    const char *slash = strrchr(path, '/');
    const char *at = slash ? slash + 1 : path;
    while (*at) {
        size_t length = 0;
        while (isalpha((unsigned char)at[length])) length++;
        for (size_t i = 0; i < sizeof words / sizeof *words; i++)
            if (length == strlen(words[i]) && strncasecmp(at, words[i], length) == 0) return 1;
        at += length ? length : 1;
    }
    return 0;
}

static int ends_in(const char *name, const char *end)
{
    size_t length = strlen(name), tail = strlen(end);
    return length > tail && strcmp(name + length - tail, end) == 0;
}

/* The files of a folder whose names end so, sorted. */
static int list_folder(const char *folder, const char *end, struct names *found)
{
    char path[PATH_MAX];
    DIR *dir = opendir(folder);
    if (!dir) return fail("cannot read the folder %s: %s", folder, strerror(errno));
    int result = 0;
    for (struct dirent *entry; !result && (entry = readdir(dir));)
        if (entry->d_name[0] != '.' && ends_in(entry->d_name, end) &&
            snprintf(path, sizeof path, "%s/%s", folder, entry->d_name) < (int)sizeof path)
            result = names_add(found, path);
    closedir(dir);
    if (found->count) qsort(found->name, (size_t)found->count, sizeof *found->name, compare);
    return result;
}

static int sort_out(const struct names *found, struct names *files, struct names *held_out)
{
    int result = 0;
    for (int i = 0; i < found->count && !result; i++)
        result = names_add(is_held_out(found->name[i]) ? held_out : files, found->name[i]);
    return result;
}

static int take_folder(const char *folder, struct names *files, struct names *held_out)
{
    struct names found = {0};
    int result = list_folder(folder, ".bin", &found);
    if (!result && !found.count) result = list_folder(folder, ".txt", &found);
    if (!result && !found.count) result = fail("the folder %s has no .bin and no .txt file", folder);
    if (!result) result = sort_out(&found, files, held_out);
    names_free(&found);
    return result;
}

static int take_pattern(const char *pattern, struct names *files, struct names *held_out)
{
    glob_t list;
    struct names found = {0};
    int result = glob(pattern, 0, NULL, &list);
    if (result == GLOB_NOMATCH) return fail("no file matches %s", pattern);
    if (result != 0) return fail("cannot look for %s", pattern);
    for (size_t i = 0; i < list.gl_pathc && !result; i++) result = names_add(&found, list.gl_pathv[i]);
    globfree(&list);
    if (!result) result = sort_out(&found, files, held_out);
    names_free(&found);
    return result;
}

static int take(const char *name, struct names *files, struct names *held_out)
{
    struct stat there;
    if (stat(name, &there) == 0)
        return S_ISDIR(there.st_mode) ? take_folder(name, files, held_out) : names_add(files, name);
    if (strpbrk(name, "*?[")) return take_pattern(name, files, held_out);
    if (!strchr(name, ',')) return names_add(files, name); /* opening it says what is wrong */
    char *parts = strdup(name), *rest = parts;
    int result = parts ? 0 : fail("no memory for the name %s", name);
    while (!result && rest) {
        char *part = rest;
        rest = strchr(part, ',');
        if (rest) *rest++ = '\0';
        if (*part) result = take(part, files, held_out);
    }
    free(parts);
    return result;
}

int shards_find(const struct names *given, struct names *files, struct names *held_out)
{
    int result = 0;
    for (int i = 0; i < given->count && !result; i++) result = take(given->name[i], files, held_out);
    return result;
}
