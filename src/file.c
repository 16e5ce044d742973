#include "file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* "relora_writer_save: write of model.safetensors.tmp: No space left on device" */
static relora_status fail_call(const relora_context *ctx, const char *fn, const char *call,
                               const char *path, int error)
{
    enum { SHOWN = 240 }; /* of a long path the end, so that the reason has room */
    char reason[128] = "unknown error";
    size_t length = strlen(path);
    if (strerror_r(error, reason, sizeof reason)) snprintf(reason, sizeof reason, "error %d", error);
    return context_fail(ctx, RELORA_E_IO, "%s: %s of %s%s: %s", fn, call, length > SHOWN ? "..." : "",
                        length > SHOWN ? path + length - SHOWN : path, reason);
}

static relora_status fail_new(const struct new_file *file, const char *call, const char *path)
{
    return fail_call(file->ctx, file->fn, call, path, errno);
}

/* ---- replacing a file ---- */

static relora_status make_paths(struct new_file *file, const char *path)
{
    size_t n = strlen(path);
    const struct memory *memory = &file->ctx->memory;
    file->path_bytes = n + sizeof ".tmp";
    file->path = memory_alloc(memory, file->path_bytes);
    file->temporary = memory_alloc(memory, file->path_bytes);
    file->folder = memory_alloc(memory, file->path_bytes);
    if (!file->path || !file->temporary || !file->folder)
        return context_fail_memory(file->ctx, file->fn, file->path_bytes);
    memcpy(file->path, path, n + 1);
    snprintf(file->temporary, file->path_bytes, "%s.tmp", path);
    const char *slash = strrchr(path, '/');
    size_t length = slash ? (size_t)(slash - path) : 0;
    if (slash == path) length = 1;
    memcpy(file->folder, slash ? path : ".", slash ? length : 1);
    file->folder[slash ? length : 1] = '\0';
    return RELORA_OK;
}

/* Is what we have locked still what the name says? The one who held it before may have renamed it. */
static int is_named(int fd, const char *path)
{
    struct stat by_fd, by_name;
    return !fstat(fd, &by_fd) && !lstat(path, &by_name) && by_fd.st_dev == by_name.st_dev &&
           by_fd.st_ino == by_name.st_ino;
}

/* A link is not followed: whoever may write to the folder could lead us anywhere. */
static int open_or_create(const char *path, int *created)
{
    const int flags = O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW;
    int fd = open(path, flags | O_EXCL, 0666);
    *created = fd >= 0;
    return *created || errno != EEXIST ? fd : open(path, flags, 0666);
}

/* What stands at the path may be replaced if it is a file or a link, or nothing. A file leaves its mode. */
static relora_status check_place(const struct new_file *file, mode_t *mode)
{
    struct stat info;
    *mode = 0;
    if (lstat(file->path, &info) < 0) return RELORA_OK; /* what is wrong, if anything, opening will tell */
    if (!S_ISREG(info.st_mode) && !S_ISLNK(info.st_mode))
        FAIL(file->ctx, RELORA_E_IO, "%s: %s is there and is not a regular file", file->fn, file->path);
    if (S_ISREG(info.st_mode)) *mode = info.st_mode & 07777;
    return RELORA_OK;
}

/* Some file systems have no locks; then nobody else can be seen. */
static int is_lockless(int error)
{
    return error == ENOSYS || error == EOPNOTSUPP;
}

static relora_status open_temporary(struct new_file *file)
{
    for (int attempt = 0; attempt < 16; attempt++) {
        int created;
        struct stat info;
        file->fd = open_or_create(file->temporary, &created);
        if (file->fd < 0) return fail_new(file, "open", file->temporary);
        if (!fstat(file->fd, &info) && !S_ISREG(info.st_mode)) {
            close(file->fd); /* not ours to remove */
            file->fd = -1;
            FAIL(file->ctx, RELORA_E_IO, "%s: %s is there and is not a regular file", file->fn,
                 file->temporary);
        }
        if (flock(file->fd, LOCK_EX | LOCK_NB) < 0 && !is_lockless(errno)) {
            int error = errno;
            if (created && error != EWOULDBLOCK) unlink(file->temporary);
            close(file->fd);
            file->fd = -1;
            if (error == EWOULDBLOCK)
                FAIL(file->ctx, RELORA_E_IO, "%s: flock of %s: another save to this path is under way",
                     file->fn, file->temporary);
            return fail_call(file->ctx, file->fn, "flock", file->temporary, error);
        }
        if (is_named(file->fd, file->temporary)) return RELORA_OK;
        close(file->fd);
        file->fd = -1;
    }
    FAIL(file->ctx, RELORA_E_IO, "%s: open of %s: it keeps being replaced", file->fn, file->temporary);
}

relora_status file_open_new(struct new_file *file, const relora_context *ctx, const char *function,
                            const char *path)
{
    *file = (struct new_file){.ctx = ctx, .fn = function, .fd = -1, .folder_fd = -1};
    mode_t mode;
    TRY(make_paths(file, path));
    TRY(check_place(file, &mode));
    TRY(open_temporary(file));
    if (mode && fchmod(file->fd, mode) < 0) return fail_new(file, "fchmod", file->temporary);
    file->folder_fd = open(file->folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC); /* now, while it may fail */
    if (file->folder_fd < 0) return fail_new(file, "open", file->folder);
    if (ftruncate(file->fd, 0) < 0) return fail_new(file, "ftruncate", file->temporary);
    return RELORA_OK;
}

relora_status file_write(struct new_file *file, const void *data, size_t bytes)
{
    const unsigned char *next = data;
    while (bytes) {
        ssize_t n = write(file->fd, next, bytes < INT32_MAX ? bytes : INT32_MAX);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return fail_new(file, "write", file->temporary);
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
        if (n < 0) return fail_new(file, "pwrite", file->temporary);
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

relora_status file_commit(struct new_file *file)
{
    if (flush(file->fd) < 0) return fail_new(file, "fsync", file->temporary);
    if (rename(file->temporary, file->path) < 0) return fail_new(file, "rename", file->temporary);
    close(file->fd);
    file->fd = -1;
    if (flush(file->folder_fd) < 0 && errno != EINVAL) /* some file systems cannot flush a folder */
        return fail_new(file, "the new file is in place, but fsync", file->folder);
    return RELORA_OK;
}

void file_close_new(struct new_file *file)
{
    const struct memory *memory = &file->ctx->memory;
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

static relora_status map_open(const relora_context *ctx, const char *fn, const char *path, int fd,
                              const unsigned char **data, uint64_t *size)
{
    struct stat info;
    if (fstat(fd, &info) < 0) return fail_call(ctx, fn, "fstat", path, errno);
    if (!S_ISREG(info.st_mode)) FAIL(ctx, RELORA_E_IO, "%s: open of %s: not a regular file", fn, path);
    static const unsigned char nothing[1] = {0};
    *size = (uint64_t)info.st_size;
    *data = nothing;
    if (!*size) return RELORA_OK; /* mmap refuses 0 bytes; the format will say what is wrong */
    void *mapped = mmap(NULL, (size_t)*size, PROT_READ, MAP_SHARED, fd, 0);
    if (mapped == MAP_FAILED) return fail_call(ctx, fn, "mmap", path, errno);
    *data = mapped;
    return RELORA_OK;
}

relora_status file_map(const relora_context *ctx, const char *function, const char *path,
                       const unsigned char **data, uint64_t *size)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a FIFO must not block */
    if (fd < 0) return fail_call(ctx, function, "open", path, errno);
    relora_status status = map_open(ctx, function, path, fd, data, size);
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
