#define _GNU_SOURCE /* syscall() */
#include "checkpoint/calls.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

struct calls calls;

void calls_start(struct calls plan)
{
    calls = plan;
    calls.seen = 0;
    calls.trace[0] = '\0';
    calls.watch = 1;
}

void calls_stop(void)
{
    calls.watch = 0;
}

static void note(const char *name)
{
    char *last = strrchr(calls.trace, ' ');
    size_t used = strlen(calls.trace), length = strlen(name);
    if (last && used > length && !strncmp(calls.trace + used - length - 1, name, length) &&
        (used == length + 1 || calls.trace[used - length - 2] == ' '))
        return;
    if (used + length + 2 < sizeof calls.trace) sprintf(calls.trace + used, "%s ", name);
}

/* 1 if this call fails, with errno set. */
static int fails(const char *name)
{
    if (!calls.watch) return 0;
    note(name);
    if (calls.name && strcmp(calls.name, name) != 0) return 0;
    if (++calls.seen != calls.nth) return 0;
    if (calls.crash) _exit(CRASHED);
    if (!calls.error) return 0;
    errno = calls.error;
    return 1;
}

static size_t shortened(size_t bytes)
{
    return calls.watch && calls.partial && bytes > 7 ? bytes / 7 : bytes;
}

static int interrupted(void)
{
    static int odd;
    if (!calls.watch || !calls.interrupted || !(odd = !odd)) return 0;
    errno = EINTR;
    return 1;
}

ssize_t write(int fd, const void *data, size_t bytes)
{
    if (fails("write") || interrupted()) return -1;
    return syscall(SYS_write, fd, data, shortened(bytes));
}

ssize_t pwrite(int fd, const void *data, size_t bytes, off_t offset)
{
    if (fails("pwrite") || interrupted()) return -1;
    return syscall(SYS_pwrite64, fd, data, shortened(bytes), offset);
}

int fsync(int fd)
{
    struct stat info;
    int folder = calls.watch && !fstat(fd, &info) && S_ISDIR(info.st_mode);
    return fails(folder ? "fsync-folder" : "fsync") ? -1 : (int)syscall(SYS_fsync, fd);
}

int ftruncate(int fd, off_t length)
{
    return fails("ftruncate") ? -1 : (int)syscall(SYS_ftruncate, fd, length);
}

int flock(int fd, int operation)
{
    int result = fails("flock") ? -1 : (int)syscall(SYS_flock, fd, operation);
    if (!result && calls.watch && calls.locked) calls.locked();
    return result;
}

int rename(const char *from, const char *to)
{
    return fails("rename") ? -1 : (int)syscall(SYS_renameat, AT_FDCWD, from, AT_FDCWD, to);
}
