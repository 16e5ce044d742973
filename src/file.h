/* Files: replaced whole or not at all, and mapped for reading. */
#ifndef RELORA_SRC_FILE_H
#define RELORA_SRC_FILE_H

#include "call.h"

/* A file that will take the place of `path`; see file_open_new. */
struct new_file {
    const struct call *call;
    char *path, *temporary, *folder;
    size_t path_bytes;
    int fd, folder_fd;
    int folder_error; /* why there is no folder_fd */
};

/* Create "<path>.tmp" and lock it; a leftover of a killed process is taken over. Here and below, precautions that the
 * file system does not allow are warnings in the log. */
relora_status file_open_new(const struct call *c, struct new_file *file, const char *path);
relora_status file_write(struct new_file *file, const void *data, size_t bytes);
relora_status file_write_at(struct new_file *file, const void *data, size_t bytes, int64_t offset);
/* Flush, rename over the path, flush the folder. */
relora_status file_commit(struct new_file *file);
/* Release everything; a file that was not committed is removed. */
void file_close_new(struct new_file *file);

/* The bytes of a whole file, read-only. With `absent`, which is set then, a file that does not exist is no
 * failure. */
relora_status file_map(const struct call *c, const char *path, const unsigned char **data, uint64_t *size,
                       int *absent);
void file_unmap(const unsigned char *data, uint64_t size);

#endif
