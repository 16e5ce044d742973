/* The program started again by itself, for an environment that is read before main(). */
#include "processors.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/stat.h>
#include <unistd.h>

static int set_unless_there(const char *name, const char *value)
{
    return getenv(name) == NULL && setenv(name, value, 1) == 0;
}

/* The file of this program. 0 if it cannot be told: no /proc, replaced since, or run by the loader as
 * "ld.so pretrain", whose file is not ours. */
static int find_program(char path[PATH_MAX])
{
    struct stat running, there;
    ssize_t length = readlink("/proc/self/exe", path, PATH_MAX - 1);
    if (length <= 0 || length >= PATH_MAX - 1 || getauxval(AT_BASE) == 0) return 0;
    path[length] = '\0';
    return stat("/proc/self/exe", &running) == 0 && stat(path, &there) == 0 &&
           running.st_dev == there.st_dev && running.st_ino == there.st_ino;
}

/* valgrind lets a program that starts another one out of its hands. */
static int is_watched(void)
{
    const char *preloaded = getenv("LD_PRELOAD");
    return preloaded && strstr(preloaded, "vgpreload");
}

void processors_wait_asleep(char **argv)
{
    char path[PATH_MAX];
    if (getenv("OMP_WAIT_POLICY") || is_watched() || !find_program(path)) return;
    int gnu = set_unless_there("GOMP_SPINCOUNT", "2000"), llvm = set_unless_there("KMP_BLOCKTIME", "1");
    if (gnu || llvm) execv(path, argv); /* both are set there, so it comes here but once */
}
