#define _GNU_SOURCE /* syscall() */
#include "checkpoint/calls.h"
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
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

void calls_stop(void) { calls.watch = 0; }

static void note(const char *name)
{
    char *last = strrchr(calls.trace, ' ');
    size_t used = strlen(calls.trace), length = strlen(name);
    if (last && used > length && !strncmp(calls.trace + used - length - 1, name, length) &&
        (used == length + 1 || calls.trace[used - length - 2] == ' '))
        return;
    if (used + length + 2 < sizeof calls.trace) sprintf(calls.trace + used, "%s ", name);
}

static int interrupted(void)
{
    static int odd;
    if (!calls.interrupted || !(odd = !odd)) return 0;
    errno = EINTR;
    return 1;
}

/* 1 if this call fails, with errno set. */
static int fails(const char *name)
{
    if (!calls.watch) return 0;
    note(name);
    if (interrupted()) return 1;
    if (calls.name && strcmp(calls.name, name) != 0) return 0;
    if (++calls.seen != calls.nth && calls.nth != EVERY) return 0;
    if (calls.crash) _exit(CRASHED);
    if (!calls.error) return 0;
    errno = calls.error;
    return 1;
}

static size_t shortened(size_t bytes)
{
    return calls.watch && calls.partial && bytes > 7 ? bytes / 7 : bytes;
}

/* For what is made by the kernel alone: with the result of system call or of fails(). */
static long made(const char *name, long number, long a, long b, long c, long d)
{
    int failing = fails(name);
    if (failing && !(calls.done && errno != EINTR)) return -1;
    int error = errno;
    long result = syscall(number, a, b, c, d);
    if (failing) errno = error;
    return failing ? -1 : result;
}

ssize_t write(int fd, const void *data, size_t bytes)
{
    if (fails("write")) return calls.nothing && errno != EINTR ? 0 : -1;
    return syscall(SYS_write, fd, data, shortened(bytes));
}

ssize_t pwrite(int fd, const void *data, size_t bytes, off_t offset)
{
    if (fails("pwrite")) return calls.nothing && errno != EINTR ? 0 : -1;
    return syscall(SYS_pwrite64, fd, data, shortened(bytes), offset);
}

int fsync(int fd)
{
    struct stat info;
    int watch = calls.watch;
    calls.watch = 0;
    int folder = watch && !fstat(fd, &info) && S_ISDIR(info.st_mode);
    calls.watch = watch;
    if (watch && calls.no_fsync) {
        errno = EINVAL;
        return -1;
    }
    return (int)made(folder ? "fsync-folder" : "fsync", SYS_fsync, fd, 0, 0, 0);
}

int ftruncate(int fd, off_t length) { return (int)made("ftruncate", SYS_ftruncate, fd, length, 0, 0); }
int fchmod(int fd, mode_t mode) { return (int)made("fchmod", SYS_fchmod, fd, mode, 0, 0); }

int flock(int fd, int operation)
{
    int result = (int)made("flock", SYS_flock, fd, operation, 0, 0);
    if (!result && calls.watch && calls.locked) calls.locked();
    return result;
}

int rename(const char *from, const char *to)
{
    return (int)made("rename", SYS_renameat, AT_FDCWD, (long)from, AT_FDCWD, (long)to);
}

/* Noted only where they are to fail, so that a trace has what changes something. */
static int is_wanted(const char *name) { return calls.watch && calls.name && !strcmp(calls.name, name); }

int open(const char *path, int flags, ...)
{
    va_list arguments;
    va_start(arguments, flags);
    mode_t mode = (flags & O_CREAT) ? va_arg(arguments, mode_t) : 0;
    va_end(arguments);
    const char *name = (flags & O_DIRECTORY) ? "open-folder" : "open";
    if ((is_wanted(name) || calls.interrupted) && fails(name)) return -1;
    return (int)syscall(SYS_openat, AT_FDCWD, path, flags, mode);
}

int lstat(const char *path, struct stat *info)
{
    if (is_wanted("lstat") && fails("lstat")) return -1;
    return fstatat(AT_FDCWD, path, info, AT_SYMLINK_NOFOLLOW);
}

int fstat(int fd, struct stat *info)
{
    if (is_wanted("fstat") && fails("fstat")) return -1;
    return fstatat(fd, "", info, AT_EMPTY_PATH);
}

/* Closed all the same, as the kernel does. */
int close(int fd)
{
    int failing = is_wanted("close") && fails("close"), error = errno;
    int result = (int)syscall(SYS_close, fd);
    if (!failing) return result;
    errno = error;
    return -1;
}
