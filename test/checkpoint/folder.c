/* A folder for each test, below TMPDIR or /tmp, and whole files in and out of memory. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include "checkpoint/checkpoint.h"

static char folder[256];

static void remove_all(const char *path)
{
    struct dirent *entry;
    chmod(path, 0700);
    DIR *dir = opendir(path);
    while (dir && (entry = readdir(dir))) {
        char name[1024];
        if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, "..")) continue;
        snprintf(name, sizeof name, "%s/%s", path, entry->d_name);
        if (unlink(name) < 0) remove_all(name);
    }
    if (dir) closedir(dir);
    rmdir(path);
}

static void remove_folder(void *path)
{
    remove_all(path);
    folder[0] = '\0';
}

const char *at(const char *name)
{
    if (!folder[0]) {
        const char *base = getenv("TMPDIR");
        snprintf(folder, sizeof folder, "%s/relora-test-XXXXXX", base && base[0] ? base : "/tmp");
        ck_assert_ptr_nonnull(mkdtemp(folder));
        defer(remove_folder, folder);
    }
    size_t bytes = strlen(folder) + strlen(name) + 2;
    char *path = scratch(bytes);
    snprintf(path, bytes, "%s/%s", folder, name);
    return path;
}

int files(void)
{
    int n = 0;
    DIR *dir = opendir(at(""));
    ck_assert_ptr_nonnull(dir);
    while (readdir(dir)) n++;
    closedir(dir);
    return n - 2; /* . and .. */
}

int exists(const char *path)
{
    struct stat info;
    return lstat(path, &info) == 0;
}

void *slurp(const char *path, size_t *size)
{
    FILE *f = fopen(path, "rb");
    if (!f) ck_abort_msg("cannot open %s: %s", path, strerror(errno));
    fseek(f, 0, SEEK_END);
    *size = (size_t)ftell(f);
    rewind(f);
    void *bytes = scratch(*size);
    ck_assert_uint_eq(fread(bytes, 1, *size, f), *size);
    fclose(f);
    return bytes;
}

void spit(const char *path, const void *bytes, size_t size)
{
    FILE *f = fopen(path, "wb");
    if (!f) ck_abort_msg("cannot write %s: %s", path, strerror(errno));
    ck_assert_uint_eq(fwrite(bytes, 1, size, f), size);
    ck_assert_int_eq(fclose(f), 0);
}

void holds(const char *path, const void *bytes, size_t size)
{
    size_t got;
    void *there = slurp(path, &got);
    ck_assert_uint_eq(got, size);
    SAME_BYTES(there, bytes, size);
}

int open_files(void)
{
    int n = 0;
    for (int fd = 0; fd < 256; fd++) n += fcntl(fd, F_GETFD) >= 0;
    return n;
}

int mappings(void)
{
    int n = 0;
    char line[1024];
    FILE *f = fopen("/proc/self/maps", "r");
    const char *path = at("");
    while (f && fgets(line, sizeof line, f)) n += strstr(line, path) != NULL;
    if (f) fclose(f);
    return n;
}
