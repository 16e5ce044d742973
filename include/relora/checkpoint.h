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
    RELORA_SAVE_CHECKSUM = 1 /**< store an XXH3 sum of each tensor's bytes in the metadata;
                                  RELORA_E_UNSUPPORTED if the library was built without xxHash */
};

enum { /* flags of relora_reader_read; the last two are of relora_reader_read_group alone */
    RELORA_READ_CONVERT = 1, /**< the file may have F16, BF16, F32 or F64 where the tensor has another type.
                                  One rounding, to nearest, ties to even; a NaN stays one. What is beyond the
                                  range of the tensor's type becomes an infinity. Integers, F8 and all other
                                  types are never converted (RELORA_E_DTYPE). F16 and F64 since 0.5 */
    RELORA_READ_FINITE = 2,  /**< a NaN, an infinity, or a number that converting makes one, is
                                  RELORA_E_NOT_FINITE with the tensor and the place in the text, and `target` is
                                  not touched; since 0.5 */
    RELORA_READ_ALLOW_MISSING = 4,  /**< the file may lack tensors of the group, which stay as they are;
                                         since 0.5 */
    RELORA_READ_ALLOW_LEFT_OVER = 8 /**< the file may have tensors that are not in the group; since 0.5 */
};

typedef struct relora_read_report {
    uint32_t struct_size; /**< set by the caller; no more than this is written */
    int32_t read;         /**< tensors that were read */
    int32_t missing;      /**< tensors of the group that the file lacks */
    int32_t left_over;    /**< tensors of the file that are not in the group */
} relora_read_report;

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
 *  the folder flushed. A crash leaves the old file or the new one. RELORA_E_IO, with the system call and its
 *  reason as text, means that the new file is not in place: the old one is as it was, and the temporary is
 *  gone. The new file has the mode of the old one; a link at `path` is replaced, not followed; what is
 *  neither is refused. (A limit on file sizes reaches this call as an error only if the process ignores
 *  SIGXFSZ.) The temporary is locked: a second save to the same path at the same time is RELORA_E_IO. Values
 *  are streamed; a few MiB of memory are enough at any size.
 *
 *  Not every file system has all of that. Since 0.5 a lock, a mode, a flush of the folder that fails, whatever
 *  the reason, or a flush of the file that is not offered, is RELORA_OK: the new file is in place, and a line
 *  at RELORA_LOG_WARN says what it lacks, once for each reason and context. A flush of the file that fails
 *  for another reason, such as EIO or ENOSPC, is RELORA_E_IO: what was written may be lost.
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
/** The same, but a file that does not exist is no failure: `*out` is NULL then, and the status RELORA_OK. A run
 *  that starts or resumes asks this way, and still learns of a disk that cannot be read (RELORA_E_IO) or a
 *  damaged file (RELORA_E_FORMAT). @since 0.5 @threads any @stream none */
RELORA_API relora_status relora_reader_open_if_there(relora_reader **out, relora_context *ctx,
                                                     const char *path);
/** relora_reader_open() for bytes in memory; `data` must outlive the reader.
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
 *  RELORA_E_FORMAT if they differ, and `target` is not touched. (A library built without xxHash
 *  cannot, and says so in the log when the file is opened.)
 *  @param flags RELORA_READ_CONVERT, RELORA_READ_FINITE, both or 0
 *  @since 0.2 @threads one @stream queues */
RELORA_API relora_status relora_reader_read(relora_reader *reader, relora_stream *stream,
                                            const char *name, relora_tensor *target,
                                            uint32_t flags);
/** Read the weights of a model by their names: "<name>.weight" and "<name>.bias" of each layer, and each
 *  parameter under its own name. (A layer in LOWRANK has no weight; its A, B and trainable scale are read
 *  as a state names them.) The A and B of other layers are not touched; what RELORA_LINEAR_KEEP_DELTA keeps
 *  becomes 0. Everything is checked first, and nothing is changed unless all fits.
 *
 *  Names that only one side has are RELORA_E_NOT_FOUND without the flags that allow them. The text counts
 *  them and has the first of them; the log names each at RELORA_LOG_INFO, allowed or not.
 *  @param flags   any of the RELORA_READ_* flags
 *  @param report  may be NULL; it is filled also for RELORA_E_NOT_FOUND, with 0 tensors read
 *  @return as relora_reader_read(); RELORA_E_STATE if a layer has no weight
 *  @since 0.5 @threads one @stream queues */
RELORA_API relora_status relora_reader_read_group(relora_reader *reader, relora_stream *stream,
                                                  const relora_group *group, uint32_t flags,
                                                  relora_read_report *report);
/** Check every checksum the file has. @return RELORA_E_FORMAT naming the first tensor that differs,
 *  RELORA_E_NOT_FOUND if the file has none, RELORA_E_UNSUPPORTED from a library without xxHash.
 *  @since 0.2 @threads any @stream none */
RELORA_API relora_status relora_reader_verify(const relora_reader *reader);

RELORA_END
#endif
