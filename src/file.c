/* A file that is replaced whole or not at all, and a file that is mapped.
 *
 * A new file is written beside its place, flushed, renamed, and then the folder is flushed. Only that order leaves
 * the old or the new contents after a crash at any instant: a rename may reach the disk before the data does. The
 * lock on the temporary keeps two savers of one path from mixing their bytes. */
#include "file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* "write of model.safetensors.tmp: No space left on device" */
enum { CALL_TEXT = 400 };
static const char *call_text(const char *call, const char *path, int error, char text[CALL_TEXT])
{
    enum { SHOWN = 240 }; /* of a long path the end, so that the reason has room */
    char reason[128] = "unknown error";
    size_t length = strlen(path);
    if (strerror_r(error, reason, sizeof reason)) snprintf(reason, sizeof reason, "error %d", error);
    snprintf(text, CALL_TEXT, "%s of %s%s: %s", call, length > SHOWN ? "..." : "",
             length > SHOWN ? path + length - SHOWN : path, reason);
    return text;
}

static relora_status fail_call(const struct call *c, const char *call, const char *path, int error)
{
    char text[CALL_TEXT];
    return call_fail(c, RELORA_E_IO, "%s", call_text(call, path, error, text));
}

static relora_status fail_new(const struct new_file *file, const char *call, const char *path)
{
    return fail_call(file->call, call, path, errno);
}

/* A precaution that this file system does not allow is no reason not to save. */
static void warn(const struct new_file *file, enum precaution precaution, const char *call, const char *path,
                 int error, const char *so)
{
    char text[CALL_TEXT];
    if (context_is_news(file->call->ctx, precaution, error))
        call_log(file->call, RELORA_LOG_WARN, "%s; %s", call_text(call, path, error, text), so);
}

/* A signal, or a file system over a network, may interrupt any of these. */
static int open_again(const char *path, int flags)
{
    int fd;
    do fd = open(path, flags, 0666);
    while (fd < 0 && errno == EINTR);
    return fd;
}

/* ---- replacing a file ---- */

static relora_status make_paths(struct new_file *file, const char *path)
{
    size_t n = strlen(path);
    const struct memory *memory = &file->call->ctx->memory;
    file->path_bytes = n + sizeof ".tmp";
    file->path = memory_alloc(memory, file->path_bytes);
    file->temporary = memory_alloc(memory, file->path_bytes);
    file->folder = memory_alloc(memory, file->path_bytes);
    if (!file->path || !file->temporary || !file->folder)
        return call_fail_memory(file->call, file->path_bytes);
    memcpy(file->path, path, n + 1);
    snprintf(file->temporary, file->path_bytes, "%s.tmp", path);
    const char *slash = strrchr(path, '/');
    size_t length = slash ? (size_t)(slash - path) : 0;
    if (slash == path) length = 1;
    memcpy(file->folder, slash ? path : ".", slash ? length : 1);
    file->folder[slash ? length : 1] = '\0';
    return RELORA_OK;
}

/* Is what we hold open what the name says? 1, 0, or -1 with errno if that cannot be told. */
static int is_named(int fd, const char *path)
{
    struct stat by_fd, by_name;
    if (lstat(path, &by_name) < 0) return errno == ENOENT ? 0 : -1;
    if (fstat(fd, &by_fd) < 0) return -1;
    return by_fd.st_dev == by_name.st_dev && by_fd.st_ino == by_name.st_ino;
}

/* What stands at the path may be replaced if it is a file or a link, or nothing. A file leaves its mode. */
static relora_status check_place(const struct new_file *file, mode_t *mode)
{
    struct stat info;
    *mode = 0;
    if (lstat(file->path, &info) < 0) return RELORA_OK; /* what is wrong, if anything, opening will tell */
    if (!S_ISREG(info.st_mode) && !S_ISLNK(info.st_mode))
        FAIL(file->call, RELORA_E_IO, "%s exists and is %s", file->path,
             S_ISDIR(info.st_mode) ? "a folder, not a regular file" : "not a regular file");
    if (S_ISREG(info.st_mode)) *mode = info.st_mode & 07777;
    return RELORA_OK;
}

/* Only a lock that somebody else has is in the way; some file systems have none. */
static relora_status lock(const struct new_file *file)
{
    int result;
    do result = flock(file->fd, LOCK_EX | LOCK_NB);
    while (result < 0 && errno == EINTR);
    if (!result) return RELORA_OK;
    if (errno == EWOULDBLOCK)
        FAIL(file->call, RELORA_E_IO, "flock of %s: another save to this path is in progress",
             file->temporary);
    warn(file, PRECAUTION_LOCK, "flock", file->temporary, errno,
         "saving continues without a lock, and would not notice another save to this path");
    return RELORA_OK;
}

/* Not ours to remove from now on. */
static void let_go(struct new_file *file)
{
    close(file->fd);
    file->fd = -1;
}

static relora_status check_and_lock(struct new_file *file)
{
    struct stat info;
    if (!fstat(file->fd, &info) && !S_ISREG(info.st_mode))
        FAIL(file->call, RELORA_E_IO, "%s exists and is not a regular file", file->temporary);
    return lock(file);
}

/* The one who had the lock before may have renamed the file: then there is another one to open. */
static relora_status open_temporary(struct new_file *file)
{
    for (int attempt = 0; attempt < 16; attempt++) {
        /* a link is not followed: whoever may write to the folder could lead us anywhere */
        file->fd = open_again(file->temporary, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW);
        if (file->fd < 0) return fail_new(file, "open", file->temporary);
        relora_status status = check_and_lock(file);
        int named = status < 0 ? 0 : is_named(file->fd, file->temporary);
        if (named < 0)
            warn(file, PRECAUTION_LOOK, "stat", file->temporary, errno,
                 "saving continues, and would not notice another save that takes this file away");
        if (named) return RELORA_OK;
        let_go(file);
        if (status < 0) return status;
    }
    FAIL(file->call, RELORA_E_IO, "open of %s: it keeps being replaced", file->temporary);
}

/* A leftover may be longer than what will be written. */
static relora_status empty(const struct new_file *file)
{
    int result;
    struct stat info;
    do result = ftruncate(file->fd, 0);
    while (result < 0 && errno == EINTR);
    int error = errno;
    if (!result || (!fstat(file->fd, &info) && !info.st_size)) return RELORA_OK;
    return fail_call(file->call, "ftruncate", file->temporary, error);
}

static void keep_mode(const struct new_file *file, mode_t mode)
{
    int result;
    do result = fchmod(file->fd, mode);
    while (result < 0 && errno == EINTR);
    if (result < 0)
        warn(file, PRECAUTION_MODE, "fchmod", file->temporary, errno,
             "the new file does not have the mode of the old one");
}

relora_status file_open_new(const struct call *c, struct new_file *file, const char *path)
{
    *file = (struct new_file){.call = c, .fd = -1, .folder_fd = -1};
    mode_t mode;
    TRY(make_paths(file, path));
    TRY(check_place(file, &mode));
    TRY(open_temporary(file));
    TRY(empty(file));
    if (mode) keep_mode(file, mode);
    /* a writable one need not be readable */
    file->folder_fd = open_again(file->folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (file->folder_fd < 0) file->folder_error = errno;
    return RELORA_OK;
}

relora_status file_write(struct new_file *file, const void *data, size_t bytes)
{
    const unsigned char *next = data;
    while (bytes) {
        ssize_t n = write(file->fd, next, bytes < INT32_MAX ? bytes : INT32_MAX);
        if (n < 0 && errno == EINTR) continue;
        if (!n) errno = EIO; /* neither written nor an error: not to be tried for ever */
        if (n <= 0) return fail_new(file, "write", file->temporary);
        next += n;
        bytes -= (size_t)n;
    }
    return RELORA_OK;
}

relora_status file_write_at(struct new_file *file, const void *data, size_t bytes, int64_t offset)
{
    const unsigned char *next = data;
    while (bytes) {
        ssize_t n = pwrite(file->fd, next, bytes, offset);
        if (n < 0 && errno == EINTR) continue;
        if (!n) errno = EIO; /* neither written nor an error: not to be tried for ever */
        if (n <= 0) return fail_new(file, "pwrite", file->temporary);
        next += n;
        bytes -= (size_t)n;
        offset += n;
    }
    return RELORA_OK;
}

static int flush(int fd)
{
    int result;
    do result = fsync(fd);
    while (result < 0 && errno == EINTR);
    return result;
}

/* Errors by which a file system or a sandbox says that it flushes nothing. With any other one, EIO or ENOSPC, what was
 * written may be lost. */
static int means_no_flush(int error)
{
    enum { KERNEL_ENOTSUPP = 524 }; /* not meant for programs; NFS lets it through */
    static const int errors[] = {EINVAL, ENOSYS, EOPNOTSUPP, KERNEL_ENOTSUPP, ENOTTY, EROFS, EPERM, EACCES};
    for (size_t i = 0; i < sizeof errors / sizeof *errors; i++)
        if (errors[i] == error) return 1;
    return 0;
}

/* Without fsync the last word on what was written comes with close(), for which the lock is not to be given up. */
static relora_status flush_file(const struct new_file *file)
{
    if (!flush(file->fd)) return RELORA_OK;
    if (!means_no_flush(errno)) return fail_new(file, "fsync", file->temporary);
    warn(file, PRECAUTION_FLUSH, "fsync", file->temporary, errno,
         "saving continues, but the new file may be lost if the power fails");
    int copy = fcntl(file->fd, F_DUPFD_CLOEXEC, 0);
    if (copy >= 0 && close(copy) < 0 && errno != EINTR) return fail_new(file, "close", file->temporary);
    return RELORA_OK;
}

/* Over a network the answer may be lost though the work is done: then the second try finds nothing to rename. */
static relora_status put_in_place(const struct new_file *file)
{
    int result;
    do result = rename(file->temporary, file->path);
    while (result < 0 && errno == EINTR);
    int error = errno;
    if (!result || is_named(file->fd, file->path) == 1) return RELORA_OK;
    return fail_call(file->call, "rename", file->temporary, error);
}

static void flush_folder(const struct new_file *file)
{
    const char *so = "the new file is in place, but the old one may be back if the power fails";
    if (file->folder_fd < 0) warn(file, PRECAUTION_FOLDER, "open", file->folder, file->folder_error, so);
    else if (flush(file->folder_fd) < 0) warn(file, PRECAUTION_FOLDER, "fsync", file->folder, errno, so);
}

relora_status file_commit(struct new_file *file)
{
    TRY(flush_file(file));
    TRY(put_in_place(file));
    let_go(file);
    flush_folder(file);
    return RELORA_OK;
}

void file_close_new(struct new_file *file)
{
    const struct memory *memory = &file->call->ctx->memory;
    if (file->fd >= 0) {
        unlink(file->temporary);
        close(file->fd);
    }
    if (file->folder_fd >= 0) close(file->folder_fd);
    memory_free(memory, file->path, file->path_bytes);
    memory_free(memory, file->temporary, file->path_bytes);
    memory_free(memory, file->folder, file->path_bytes);
}

/* ---- mapping a file ---- */

static relora_status map_open(const struct call *c, const char *path, int fd, const unsigned char **data,
                              uint64_t *size)
{
    struct stat info;
    if (fstat(fd, &info) < 0) return fail_call(c, "fstat", path, errno);
    if (!S_ISREG(info.st_mode))
        FAIL(c, RELORA_E_IO, "open of %s: %s, not a regular file", path,
             S_ISDIR(info.st_mode) ? "a folder" : "a device or a pipe");
    static const unsigned char nothing[1] = {0};
    *size = (uint64_t)info.st_size;
    *data = nothing;
    if (!*size) return RELORA_OK; /* mmap refuses 0 bytes; the format will say what is wrong */
    void *mapped = mmap(NULL, (size_t)*size, PROT_READ, MAP_PRIVATE, fd, 0); /* some have no MAP_SHARED */
    if (mapped == MAP_FAILED) return fail_call(c, "mmap", path, errno);
    *data = mapped;
    return RELORA_OK;
}

relora_status file_map(const struct call *c, const char *path, const unsigned char **data, uint64_t *size,
                       int *absent)
{
    int fd = open_again(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a FIFO must not block */
    if (absent && (*absent = fd < 0 && errno == ENOENT)) return RELORA_OK;
    if (fd < 0) return fail_call(c, "open", path, errno);
    relora_status status = map_open(c, path, fd, data, size);
    close(fd);
    return status;
}

void file_unmap(const unsigned char *data, uint64_t size)
{
    union {
        const unsigned char *read;
        void *mapped;
    } address = {data};
    if (size) munmap(address.mapped, (size_t)size);
}
