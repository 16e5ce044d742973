#include "folder.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>
#include "report.h"

/* ---- making ---- */

/* Like mkdir -p. */
static int make_all(const char *folder)
{
    char path[PATH_MAX];
    if (snprintf(path, sizeof path, "%s", folder) >= (int)sizeof path) {
        errno = ENAMETOOLONG;
        return -1;
    }
    for (char *at = path + 1; *at; at++)
        if (*at == '/' && at[-1] != '/') {
            *at = '\0';
            mkdir(path, 0777); /* if that fails, the next one says so */
            *at = '/';
        }
    struct stat there;
    if (mkdir(path, 0777) == 0) return 0;
    int error = errno, found = stat(path, &there) == 0;
    if (found && S_ISDIR(there.st_mode)) return 0;
    errno = error != EEXIST ? error : found ? ENOTDIR : ENOENT; /* ENOENT: a link to nothing */
    return -1;
}

/* ---- locking ---- */

/* Who wrote the lock file: "process 12 of HOST"; "" if it does not say. */
static void read_owner(int file, char *text, size_t size)
{
    ssize_t length = pread(file, text, size - 1, 0);
    text[length > 0 ? length : 0] = '\0';
    text[strcspn(text, "\n")] = '\0';
}

static void write_owner(int file)
{
    char host[256] = "", text[320];
    gethostname(host, sizeof host - 1);
    int length = snprintf(text, sizeof text, "process %ld of %s\n", (long)getpid(), host);
    if (ftruncate(file, 0) != 0 || pwrite(file, text, (size_t)length, 0) != length)
        return; /* it is locked all the same */
}

/* 1 if it is ours; 0 if another run has it; -1 if it cannot be locked at all, errno says why. */
static int try_lock(int file)
{
    int result;
    while ((result = flock(file, LOCK_EX | LOCK_NB)) != 0 && errno == EINTR)
        ;
    if (result == 0) return 1;
    return errno == EWOULDBLOCK || errno == EAGAIN ? 0 : -1;
}

/* Is the file still the one that bears the name? The run that had it removes it. */
static int is_there(int file, const char *path)
{
    struct stat held, named;
    return fstat(file, &held) == 0 && stat(path, &named) == 0 && held.st_dev == named.st_dev &&
           held.st_ino == named.st_ino;
}

/* One that a killed run of another user left may be ours to lock, though not to write. */
static int open_lock(const char *path)
{
    int file = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (file < 0 && (errno == EACCES || errno == EPERM)) file = open(path, O_RDONLY | O_CLOEXEC);
    return file;
}

/* A descriptor that holds the lock; -1 after a sentence. */
static int lock_file(const char *path, const char *option, const char *folder)
{
    char owner[320];
    for (;;) {
        int file = open_lock(path);
        if (file < 0) return fail("--%s: cannot open %s: %s", option, path, strerror(errno));
        int result = try_lock(file);
        if (result > 0 && !is_there(file, path)) {
            close(file);
            continue;
        }
        if (result == 0) {
            read_owner(file, owner, sizeof owner);
            close(file);
            return fail(
                "--%s %s: another run writes to this folder%s%s; wait until it ends, or give each run "
                "its own folder",
                option, folder, owner[0] ? ", " : "", owner);
        }
        if (result < 0)
            note("--%s %s: the folder cannot be locked (%s); make sure that no other run writes to it",
                 option, folder, strerror(errno));
        write_owner(file);
        return file;
    }
}

int folders_open(struct folders *f, const char *option, const char *folder)
{
    char path[PATH_MAX];
    if (make_all(folder) != 0)
        return fail("--%s: cannot make the folder %s: %s", option, folder, strerror(errno));
    if (access(folder, W_OK | X_OK) != 0)
        return fail("--%s: cannot write to %s: %s", option, folder, strerror(errno));
    if (snprintf(path, sizeof path, "%s/pretrain.lock", folder) >= (int)sizeof path)
        return fail("--%s: the name %s is too long", option, folder);
    int slot = f->count;
    for (int i = f->count - 1; i >= 0; i--) {
        if (is_there(f->files[i], path)) return 0;    /* the same folder, by whatever name */
        if (strcmp(f->locks[i], path) == 0) slot = i; /* it was removed under the run, and is made again */
    }
    int file = lock_file(path, option, folder);
    if (file < 0) return -1;
    if (slot < f->count) close(f->files[slot]);
    else if (slot == FOLDERS || !(f->locks[f->count++] = strdup(path))) {
        close(file);
        f->count = slot;
        return fail("--%s: no memory", option);
    }
    f->files[slot] = file;
    return 0;
}

void folders_close(struct folders *f)
{
    for (int i = 0; i < f->count; i++) {
        if (is_there(f->files[i], f->locks[i])) unlink(f->locks[i]);
        close(f->files[i]);
        free(f->locks[i]);
    }
    f->count = 0;
}

/* ---- earlier runs ---- */

int folder_set_aside(const char *folder, const char *const *files, int count, char *moved, int size)
{
    char from[PATH_MAX], to[PATH_MAX];
    int found = 0, made = -1;
    for (int i = 0; i < count; i++) {
        snprintf(from, sizeof from, "%s/%s", folder, files[i]);
        found |= access(from, F_OK) == 0;
    }
    if (!found) return 0;
    for (int n = 1; made != 0; n++) {
        if (snprintf(moved, (size_t)size, "%s/earlier-%d", folder, n) >= size)
            return fail("the name %s is too long", folder);
        made = mkdir(moved, 0777);
        if (made != 0 && errno != EEXIST)
            return fail("cannot make the folder %s for the files that an earlier run left in %s: %s", moved,
                        folder, strerror(errno));
    }
    for (int i = 0; i < count; i++) {
        int whole = snprintf(from, sizeof from, "%s/%s", folder, files[i]) < (int)sizeof from &&
                    snprintf(to, sizeof to, "%s/%s", moved, files[i]) < (int)sizeof to;
        if (!whole || (rename(from, to) != 0 && errno != ENOENT))
            return fail("cannot move %s, of an earlier run, to %s: %s", from, moved, strerror(errno));
    }
    return 1;
}
