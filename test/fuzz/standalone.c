/* Runs a fuzz target over the files given, and over those in the folders given, without libFuzzer: what
 * was found once stays tested. */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include "fuzz/fuzz.h"

static int inputs;

static int replay_file(const char *path)
{
    struct stat info;
    FILE *f = fopen(path, "rb");
    if (!f || stat(path, &info)) {
        perror(path);
        if (f) fclose(f);
        return 1;
    }
    size_t size = (size_t)info.st_size;
    uint8_t *data = malloc(size ? size : 1); /* no more, so that the sanitizer sees a byte too many */
    int failed = !data || fread(data, 1, size, f) != size;
    fclose(f);
    if (!failed) LLVMFuzzerTestOneInput(data, size);
    free(data);
    inputs++;
    return failed;
}

static int replay(const char *path)
{
    struct stat info;
    struct dirent *entry;
    int failed = 0;
    DIR *dir = !stat(path, &info) && S_ISDIR(info.st_mode) ? opendir(path) : NULL;
    if (!dir) return replay_file(path);
    while ((entry = readdir(dir))) {
        char name[2048];
        snprintf(name, sizeof name, "%s/%s", path, entry->d_name);
        if (entry->d_name[0] != '.') failed |= replay(name);
    }
    closedir(dir);
    return failed;
}

int main(int argc, char **argv)
{
    int failed = 0;
    for (int i = 1; i < argc; i++) failed |= replay(argv[i]);
    printf("%s: %d inputs\n", argv[0], inputs);
    return failed || !inputs;
}
