#define _GNU_SOURCE /* sched_getaffinity */
#include "processors.h"

#include <limits.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "ranks.h"

/* ---- control groups ---- */

/* The first line of a file. 0 if there is none. */
static int read_line(const char *path, char *line, int size)
{
    FILE *file = fopen(path, "re");
    int good = file && fgets(line, size, file);
    if (file) fclose(file);
    return good;
}

/* The quota of one group, as its folder in the file system has it: version 2, or version 1. */
static int64_t quota_at(const char *folder)
{
    char path[PATH_MAX + 32], line[128];
    long long quota = 0, period = 100000;
    snprintf(path, sizeof path, "%s/cpu.max", folder);
    if (read_line(path, line, sizeof line)) {
        if (sscanf(line, "%lld %lld", &quota, &period) < 1) quota = 0; /* "max" */
    } else {
        snprintf(path, sizeof path, "%s/cpu.cfs_quota_us", folder);
        if (read_line(path, line, sizeof line)) sscanf(line, "%lld", &quota);
        snprintf(path, sizeof path, "%s/cpu.cfs_period_us", folder);
        if (read_line(path, line, sizeof line)) sscanf(line, "%lld", &period);
    }
    return quota > 0 && period > 0 ? (quota + period - 1) / period : 0;
}

static int64_t smaller(int64_t a, int64_t b)
{
    return a == 0 || (b > 0 && b < a) ? b : a;
}

/* The smallest quota of a group and all above it. */
static int64_t quota_upwards(const char *root, const char *mount, const char *group)
{
    char path[PATH_MAX];
    int top = snprintf(path, sizeof path, "%s/sys/fs/cgroup%s", root, mount);
    int length = snprintf(path, sizeof path, "%s/sys/fs/cgroup%s%s", root, mount, group);
    if (length >= (int)sizeof path) return 0;
    int64_t quota = quota_at(path);
    while (length > top) {
        while (length > top && path[length - 1] != '/') length--;
        while (length > top && path[length - 1] == '/') length--;
        path[length] = '\0';
        quota = smaller(quota, quota_at(path));
    }
    return quota;
}

/* Is "cpu" in a list such as "cpu,cpuacct"? */
static int has_cpu(const char *kinds)
{
    for (const char *kind = kinds; kind; kind = (kind = strchr(kind, ',')) ? kind + 1 : NULL)
        if (strncmp(kind, "cpu", 3) == 0 && (kind[3] == '\0' || kind[3] == ',')) return 1;
    return 0;
}

int64_t processors_quota(const char *root)
{
    static const char *const mounts[2][3] = {{"", "/unified", ""}, {"/cpu", "/cpu,cpuacct", "/cpuacct,cpu"}};
    char path[PATH_MAX], line[PATH_MAX];
    int64_t quota = 0;
    snprintf(path, sizeof path, "%s/proc/self/cgroup", root);
    FILE *file = fopen(path, "re");
    while (file && fgets(line, sizeof line, file)) { /* "4:cpu,cpuacct:/group", or "0::/group" of version 2 */
        char *kinds = strchr(line, ':'), *group = kinds ? strchr(kinds + 1, ':') : NULL;
        line[strcspn(line, "\n")] = '\0';
        if (!group) continue;
        *group++ = '\0';
        kinds++;
        if (*kinds && !has_cpu(kinds)) continue;
        for (int i = 0; i < 3; i++)
            quota = smaller(quota, quota_upwards(root, mounts[*kinds != '\0'][i], group));
    }
    if (file) fclose(file);
    return quota;
}

/* ---- how many ---- */

static int64_t affinity(void)
{
    for (int most = 1024; most <= 1 << 20; most *= 4) { /* the kernel refuses a mask smaller than its own */
        cpu_set_t *set = CPU_ALLOC((size_t)most);
        size_t size = CPU_ALLOC_SIZE((size_t)most);
        int count = set && sched_getaffinity(0, size, set) == 0 ? CPU_COUNT_S(size, set) : 0;
        if (set) CPU_FREE(set);
        if (count > 0) return count;
    }
    long online = sysconf(_SC_NPROCESSORS_ONLN);
    return online > 0 ? online : 1;
}

int64_t processors_allowed(void)
{
    return smaller(affinity(), processors_quota(""));
}

/* The first number of a variable such as OMP_NUM_THREADS=4,2; 0 if there is none. */
static int64_t number_of(const char *variable)
{
    const char *text = getenv(variable);
    char *end;
    long long value = text ? strtoll(text, &end, 10) : 0;
    return value > 0 && (*end == '\0' || strchr(", \t", *end)) ? value : 0;
}

/* Processes that a launcher has not bound to processors of their own share those of the machine. */
static int64_t share(int64_t count)
{
    int64_t here = ranks_launched_here();
    if (here == 1 || count < sysconf(_SC_NPROCESSORS_ONLN)) return count;
    return count > here ? count / here : 1;
}

int64_t processors_default(void)
{
    int64_t count = smaller(share(processors_allowed()), number_of("OMP_NUM_THREADS"));
    return smaller(count, number_of("OMP_THREAD_LIMIT"));
}
