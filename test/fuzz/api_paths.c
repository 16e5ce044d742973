/* A temporary folder, and the files that calls write there. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "fuzz/api_world.h"

enum { SAVES = 6 }; /* enough; writing files is slow */
static const size_t FILE_MAX = 64 << 10;

static unsigned char *files[SAVES]; /* as they were written */
static size_t file_sizes[SAVES];
static void *copies[CALLS_MAX]; /* for readers of memory */
static int saves, file_count, copy_count;

enum { PATHS = 4 };
static char folder[64], paths[PATHS][96];

static void remove_files(void)
{
    for (int i = 0; i < PATHS; i++) unlink(paths[i]);
}

static void remove_folder(void)
{
    remove_files();
    rmdir(folder);
}

static void make_folder(void)
{
    strcpy(folder, access("/dev/shm", W_OK) ? "/tmp/relora-api-XXXXXX" : "/dev/shm/relora-api-XXXXXX");
    REQUIRE(mkdtemp(folder));
    static const char *const names[PATHS] = {"first", "second", "adapter_model.safetensors",
                                             "adapter_config.json"};
    for (int i = 0; i < PATHS; i++) snprintf(paths[i], sizeof paths[i], "%s/%s", folder, names[i]);
    atexit(remove_folder);
}

const char *choose_path(void)
{
    uint8_t c = choose();
    const char *odd[] = {folder, "", NULL, "/nowhere/at/all"};
    if (c < 200 && saves++ < SAVES) return paths[c % PATHS];
    return odd[c % 4];
}

const char *choose_folder(void)
{
    uint8_t c = choose();
    const char *odd[] = {"", NULL, "/nowhere/at/all", paths[0]};
    return c < 200 && saves++ < SAVES ? folder : odd[c % 4];
}

void result_file(const char *path)
{
    FILE *f = fopen(path, "rb");
    REQUIRE(f);
    unsigned char *bytes = malloc(FILE_MAX);
    REQUIRE(bytes);
    size_t size = fread(bytes, 1, FILE_MAX, f);
    fclose(f);
    result(bytes, size);
    REQUIRE(file_count < SAVES); /* choose_path() gives no more */
    files[file_count] = bytes;
    file_sizes[file_count++] = size;
}

const void *read_back(size_t *size, size_t at, uint8_t change)
{
    if (!file_count) return NULL;
    *size = file_sizes[file_count - 1];
    unsigned char *copy = malloc(*size);
    REQUIRE(copy && copy_count < CALLS_MAX);
    memcpy(copy, files[file_count - 1], *size);
    copy[at % *size] ^= change;
    return copies[copy_count++] = copy;
}

void paths_open(void)
{
    if (!folder[0]) make_folder();
    remove_files();
    saves = 0;
}

void paths_close(void)
{
    while (file_count) free(files[--file_count]);
    while (copy_count) free(copies[--copy_count]);
}
