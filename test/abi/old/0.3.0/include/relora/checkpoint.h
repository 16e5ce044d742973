/** @file relora/checkpoint.h
 *  Files in safetensors form: https://huggingface.co/docs/safetensors. A writer collects tensors and
 *  saves them so that a crash leaves the old file or the new one; a reader checks a file whole before
 *  it gives anything out. state.h builds a training checkpoint on both. */
#ifndef RELORA_CHECKPOINT_H
#define RELORA_CHECKPOINT_H

#include "relora/export.h"
#include "relora/status.h"
#include "relora/types.h"

RELORA_BEGIN

enum { /* flags of relora_writer_save */
    RELORA_SAVE_CHECKSUM = 1 /**< store an XXH3 sum of each tensor's bytes in the metadata */
};

enum { /* flags of relora_reader_read */
    RELORA_READ_CONVERT = 1 /**< F32 and BF16 may differ between file and tensor; to nearest */
};

/** @since 0.2 @threads any @stream none */
RELORA_API relora_status relora_writer_create(relora_writer **out, relora_context *ctx);
/** NULL is allowed. @since 0.2 @threads any @stream none */
RELORA_API void relora_writer_release(relora_writer *writer);

/** Add a tensor. `name` is copied and `tensor` retained; its values are read at save. Names are UTF-8,
 *  not empty, and new (RELORA_E_EXISTS). @since 0.2 @threads one @stream none */
RELORA_API relora_status relora_writer_add(relora_writer *writer, const char *name,
                                           relora_tensor *tensor);

/** Add host memory of any type the format knows: `dtype` is the format's own name, "I64", "F16",
 *  "U8" and so on; `data` is row-major, little-endian, and must live until the writer is released.
 *  @param bytes must be what dtype and shape say (RELORA_E_SHAPE)
 *  @since 0.2 @threads one @stream none */
RELORA_API relora_status relora_writer_add_bytes(relora_writer *writer, const char *name,
                                                 const char *dtype, int32_t ndim,
                                                 const int64_t *shape, const void *data,
                                                 size_t bytes);

/** Set one pair of the file's metadata, replacing an earlier value. Both strings are UTF-8 and
 *  copied. @since 0.2 @threads one @stream none */
RELORA_API relora_status relora_writer_set_metadata(relora_writer *writer, const char *key,
                                                    const char *value);

/** Write the file: into `path` with ".tmp" appended, flushed to the disk, renamed over `path`, and
 *  the folder flushed. A crash leaves the old file or the new one. Any failure up to the renaming
 *  leaves the old one and removes the temporary; if only flushing the folder fails, the new one is in
 *  place. Both are RELORA_E_IO with the system call and its reason as text. The new file has the mode
 *  of the old one; a link at `path` is replaced, not followed; what is neither is refused. (A limit
 *  on file sizes reaches this call as an error only if the process ignores SIGXFSZ.) The
 *  temporary is locked: a second save to the same path at the same time is RELORA_E_IO. Values are
 *  streamed; a few MiB of memory are enough at any size.
 *  @param flags RELORA_SAVE_CHECKSUM or 0
 *  @since 0.2 @threads one @stream synchronises */
RELORA_API relora_status relora_writer_save(relora_writer *writer, relora_stream *stream,
                                            const char *path, uint32_t flags);

/** Open and check a file: header length, UTF-8, JSON without duplicate keys, known types, shapes
 *  without overflow, ranges without gap or overlap, no other fields, and nothing behind them. The file
 *  is mapped, not read; it must not be shortened while the reader lives. While the header is taken
 *  apart it needs some 30 times its size in memory.
 *  @return RELORA_E_IO, or RELORA_E_FORMAT with the tensor or the offset in the text
 *  @since 0.2 @threads any @stream none */
RELORA_API relora_status relora_reader_open(relora_reader **out, relora_context *ctx,
                                            const char *path);
/** The same for bytes in memory; `data` must outlive the reader.
 *  @since 0.2 @threads any @stream none */
RELORA_API relora_status relora_reader_open_memory(relora_reader **out, relora_context *ctx,
                                                   const void *data, size_t size);
/** NULL is allowed. @since 0.2 @threads any @stream none */
RELORA_API void relora_reader_release(relora_reader *reader);

/** Number of tensors; -1 if `reader` is NULL. @since 0.2 @threads any @stream none */
RELORA_API int32_t relora_reader_count(const relora_reader *reader);
/** Names in the order of their bytes in the file. Borrowed: lives as long as `reader`. NULL if there
 *  is no such tensor. @since 0.2 @threads any @stream none */
RELORA_API const char *relora_reader_name(const relora_reader *reader, int32_t index);
/** Type of a tensor by the format's name, "F32"; NULL if there is no such tensor. Borrowed.
 *  @since 0.2 @threads any @stream none */
RELORA_API const char *relora_reader_dtype(const relora_reader *reader, const char *name);
/** Shape of a tensor: at most `capacity` entries are written; `ndim` receives the full number.
 *  RELORA_E_NOT_FOUND if there is none of that name. @since 0.2 @threads any @stream none */
RELORA_API relora_status relora_reader_shape(const relora_reader *reader, const char *name,
                                             int32_t *ndim, int64_t *shape, int32_t capacity);
/** The bytes of a tensor where they lie, on the host, of any alignment. Borrowed: valid as long as
 *  `reader`. A checksum is not looked at. @since 0.2 @threads any @stream none */
RELORA_API relora_status relora_reader_bytes(const relora_reader *reader, const char *name,
                                             const void **data, size_t *bytes);

/** Number of metadata pairs; -1 if `reader` is NULL. @since 0.2 @threads any @stream none */
RELORA_API int32_t relora_reader_metadata_count(const relora_reader *reader);
/** Borrowed: lives as long as `reader`. NULL if there is no such pair.
 *  @since 0.2 @threads any @stream none */
RELORA_API const char *relora_reader_metadata_key(const relora_reader *reader, int32_t index);
/** Value of a key. Borrowed: lives as long as `reader`. NULL if there is no such key.
 *  @since 0.2 @threads any @stream none */
RELORA_API const char *relora_reader_metadata(const relora_reader *reader, const char *key);

/** Copy a tensor of the file into `target`, which must have its shape and, without
 *  RELORA_READ_CONVERT, its dtype. If the file has checksums the bytes are checked first:
 *  RELORA_E_FORMAT if they differ, and `target` is not touched.
 *  @since 0.2 @threads one @stream queues */
RELORA_API relora_status relora_reader_read(relora_reader *reader, relora_stream *stream,
                                            const char *name, relora_tensor *target,
                                            uint32_t flags);
/** Check every checksum the file has. @return RELORA_E_FORMAT naming the first tensor that differs,
 *  RELORA_E_NOT_FOUND if the file has none. @since 0.2 @threads any @stream none */
RELORA_API relora_status relora_reader_verify(const relora_reader *reader);

RELORA_END
#endif
