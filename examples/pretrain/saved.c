#include "saved.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "report.h"

static const char name_format[] = "step-%08" PRId64 ".safetensors";
static const char name_ending[] = ".safetensors", rank_format[] = ".rank-%d.safetensors";

/* Step of a file that checkpoint_save() has named so, or -1. */
static int64_t step_of(const char *name)
{
    char again[64];
    if (strncmp(name, "step-", 5) != 0) return -1;
    long long step = strtoll(name + 5, NULL, 10);
    snprintf(again, sizeof again, name_format, (int64_t)step);
    return strcmp(again, name) == 0 ? step : -1;
}

static int newest_first(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return x < y ? 1 : x > y ? -1 : 0;
}

int saved_steps(const char *folder, int64_t **steps)
{
    *steps = NULL;
    DIR *dir = opendir(folder);
    if (!dir && errno == ENOENT) return 0;
    if (!dir) {
        fail("cannot read the folder %s: %s", folder, strerror(errno));
        return -1;
    }
    int count = 0, room = 0;
    for (struct dirent *entry; (entry = readdir(dir));) {
        int64_t step = step_of(entry->d_name);
        if (step < 0) continue;
        if (count == room) {
            int64_t *more = realloc(*steps, (size_t)(room = 2 * room + 8) * sizeof *more);
            if (!more) {
                closedir(dir);
                fail("no memory for the list of checkpoints in %s", folder);
                return -1;
            }
            *steps = more;
        }
        (*steps)[count++] = step;
    }
    closedir(dir);
    if (count) qsort(*steps, (size_t)count, sizeof **steps, newest_first);
    return count;
}

int saved_path(char path[PATH_MAX], const char *folder, int64_t step)
{
    char name[64];
    snprintf(name, sizeof name, name_format, step);
    return snprintf(path, PATH_MAX, "%s/%s", folder, name) >= PATH_MAX
               ? fail("the name %s is too long", folder)
               : 0;
}

int saved_path_of_rank(char path[PATH_MAX], const char *first, int rank)
{
    size_t length = strlen(first), ending = sizeof name_ending - 1;
    int stem = length > ending && strcmp(first + length - ending, name_ending) == 0 ? (int)(length - ending)
                                                                                    : (int)length;
    int used = snprintf(path, PATH_MAX, "%.*s", stem, first);
    if (used < PATH_MAX) used += snprintf(path + used, (size_t)(PATH_MAX - used), rank_format, rank);
    return used >= PATH_MAX ? fail("the name %s is too long", first) : 0;
}

/* One that stays does no harm but to the disk, which is said once. */
static void drop_file(const char *path, int *told)
{
    if (unlink(path) == 0 || errno == ENOENT) return;
    if (!*told) note("cannot remove %s: %s; what --keep is to remove may stay", path, strerror(errno));
    *told = 1;
}

/* Those of other processes are found by the name of the first one's, which therefore goes last. */
static void drop(const char *folder, int64_t step, int ranks, int *told)
{
    char path[PATH_MAX], other[PATH_MAX];
    if (saved_path(path, folder, step)) return;
    for (int rank = 1; rank < ranks; rank++)
        if (saved_path_of_rank(other, path, rank) == 0) drop_file(other, told);
    drop_file(path, told);
}

void saved_drop_old(const char *folder, int64_t keep, int64_t last, int ranks, int *told)
{
    int64_t *steps, kept = 0;
    int count = saved_steps(folder, &steps);
    for (int i = 0; i < count; i++)
        if (steps[i] <= last && keep && ++kept > keep) drop(folder, steps[i], ranks, told);
    free(steps);
}

/* "step-00000012.safetensors.tmp", or that of another process */
static int is_unfinished(const char *name)
{
    static const char ending[] = ".safetensors.tmp";
    size_t length = strlen(name), tail = sizeof ending - 1;
    return strncmp(name, "step-", 5) == 0 && length > tail && strcmp(name + length - tail, ending) == 0;
}

void saved_tidy(const char *folder, int64_t keep, int64_t from, int ranks, int *told)
{
    char path[PATH_MAX];
    struct stat info;
    DIR *dir = opendir(folder);
    if (!dir) return; /* the first save says why */
    for (struct dirent *entry; (entry = readdir(dir));)
        if (is_unfinished(entry->d_name) &&
            snprintf(path, sizeof path, "%s/%s", folder, entry->d_name) < (int)sizeof path &&
            lstat(path, &info) == 0 && S_ISREG(info.st_mode))
            drop_file(path, told);
    closedir(dir);
    if (from >= 0 && saved_path(path, folder, from) == 0 && access(path, F_OK) == 0)
        saved_drop_old(folder, keep, from, ranks, told);
}
