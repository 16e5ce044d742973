/** @file relora/checkpoint.h
 *  Files in the safetensors format: https://huggingface.co/docs/safetensors. A writer collects tensors
 *  and saves them so that a crash leaves either the old file or the new one. A reader checks the whole
 *  header of a file before it gives anything out. state.h builds a training checkpoint on both. */
#ifndef RELORA_CHECKPOINT_H
#define RELORA_CHECKPOINT_H

#include "relora/export.h"
#include "relora/status.h"
#include "relora/types.h"

RELORA_BEGIN

/* flags of relora_writer_save */
enum {
    RELORA_SAVE_CHECKSUM = 1 /**< store an XXH3 sum of each tensor's bytes in the metadata;
                                  RELORA_E_UNSUPPORTED if the library was built without xxHash */
};

/* flags of relora_reader_read(); the last two are of relora_reader_read_group() alone */
enum {
    RELORA_READ_CONVERT = 1, /**< convert F16, BF16, F32 or F64 in the file to the type of the tensor, with
                                  one rounding to nearest, ties to even. A NaN stays a NaN, and a number
                                  beyond the range of the tensor's type becomes an infinity. Integers, F8
                                  and other types are never converted (RELORA_E_DTYPE). F16 and F64 since
                                  0.5 */
    RELORA_READ_FINITE = 2,  /**< refuse a NaN or an infinity, in the file or after conversion:
                                  RELORA_E_NOT_FINITE, with the tensor and the place in the text, and
                                  `target` does not change. Since 0.5 */
    RELORA_READ_ALLOW_MISSING = 4,  /**< accept a file that lacks tensors of the group: they stay as
                                         they are. Since 0.5 */
    RELORA_READ_ALLOW_LEFT_OVER = 8 /**< accept a file with tensors that are not in the group. Since 0.5 */
};

typedef struct relora_read_report {
    uint32_t struct_size; /**< set by the caller; no more than this is written */
    int32_t read;         /**< tensors that were read */
    int32_t missing;      /**< tensors of the group that the file lacks */
    int32_t left_over;    /**< tensors of the file that are not in the group */
} relora_read_report;

/** Prepare a report: 0 everywhere, and struct_size for the `size` bytes that the caller has. Setting
 *  struct_size by hand does the same. @since 0.5 @threads any @stream none */
RELORA_API relora_status relora_read_report_init(relora_read_report *report, size_t size);

/** Create an empty writer. @since 0.2 @threads any @stream none */
RELORA_API relora_status relora_writer_create(relora_writer **out, relora_context *ctx);
/** Free the writer. NULL is allowed. @since 0.2 @threads any @stream none */
RELORA_API void relora_writer_release(relora_writer *writer);

/** Add a tensor. `name` is copied. `tensor` is retained, and its values are read when the file is
 *  saved. The name must be UTF-8, not empty, and new (RELORA_E_EXISTS).
 *  @since 0.2 @threads one @stream none */
RELORA_API relora_status relora_writer_add(relora_writer *writer, const char *name, relora_tensor *tensor);

/** Add host memory of any type of the format. `data` is row-major and little-endian, and must stay
 *  valid until the writer is released. The name is as for relora_writer_add().
 *  @param dtype name of the type in the format, such as "I64", "F16" or "U8"
 *  @param bytes size of `data`; must agree with dtype and shape (RELORA_E_SHAPE)
 *  @since 0.2 @threads one @stream none */
RELORA_API relora_status relora_writer_add_bytes(relora_writer *writer, const char *name, const char *dtype,
                                                 int32_t ndim, const int64_t *shape, const void *data,
                                                 size_t bytes);

/** Set one pair of the file's metadata; a later value replaces an earlier one. Both strings must be
 *  UTF-8 and are copied. The key "relora.xxh3" is refused. @since 0.2 @threads one @stream none */
RELORA_API relora_status relora_writer_set_metadata(relora_writer *writer, const char *key,
                                                    const char *value);

/** Write the file. It is written to `path` with ".tmp" appended, flushed to the disk and renamed to
 *  `path`; then the folder is flushed. A crash leaves the old file or the new one. RELORA_E_IO, with
 *  the system call and its reason in the text, means that the new file is not in place: the old one is
 *  unchanged, and the temporary file has been removed. The new file has the mode of the old one. A
 *  symbolic link at `path` is replaced, not followed; anything else that is not a regular file is
 *  refused. The temporary file is locked, so a second save to the same path at the same time is
 *  RELORA_E_IO. A limit on file sizes reaches this call as an error only if the process ignores
 *  SIGXFSZ. Values are streamed: a few MiB of memory are enough for a file of any size. All tensors must be
 *  on the device of `stream`. RELORA_E_OVERFLOW if the header exceeds the 100 MB of the format.
 *
 *  Some file systems lack part of this. Since 0.5 the call returns RELORA_OK if only the lock, the mode
 *  or the flush of the folder fails, or if the file system has no flush of files: the new file is in
 *  place, and a line at RELORA_LOG_WARN says what is missing, once for each reason and context. If the
 *  flush of the file fails for another reason, such as EIO or ENOSPC, the result is RELORA_E_IO,
 *  because the data may be lost.
 *  @param flags RELORA_SAVE_CHECKSUM or 0
 *  @since 0.2 @threads one @stream synchronises */
RELORA_API relora_status relora_writer_save(relora_writer *writer, relora_stream *stream, const char *path,
                                            uint32_t flags);

/** Open a file and check its header: its length, UTF-8, JSON without duplicate keys, known types,
 *  shapes without overflow, ranges without gap or overlap, no unknown fields, and nothing behind the
 *  last tensor. The file is mapped, and must not be shortened while the reader exists. Parsing the
 *  header takes about 30 times its size in memory.
 *  @return RELORA_E_IO, or RELORA_E_FORMAT with the tensor or the offset in the text
 *  @since 0.2 @threads any @stream none */
RELORA_API relora_status relora_reader_open(relora_reader **out, relora_context *ctx, const char *path);
/** relora_reader_open() for a run that starts or resumes: if the file does not exist, `*out` is NULL and the
 *  status is RELORA_OK. A disk that cannot be read is still RELORA_E_IO, and a damaged file
 *  RELORA_E_FORMAT. @since 0.5 @threads any @stream none */
RELORA_API relora_status relora_reader_open_if_there(relora_reader **out, relora_context *ctx,
                                                     const char *path);
/** relora_reader_open() for a file in memory; `data` must outlive the reader.
 *  @since 0.2 @threads any @stream none */
RELORA_API relora_status relora_reader_open_memory(relora_reader **out, relora_context *ctx, const void *data,
                                                   size_t size);
/** Free the reader and unmap its file. NULL is allowed. @since 0.2 @threads any @stream none */
RELORA_API void relora_reader_release(relora_reader *reader);

/** Number of tensors; -1 if `reader` is NULL. @since 0.2 @threads any @stream none */
RELORA_API int32_t relora_reader_count(const relora_reader *reader);
/** Name of a tensor; tensors are numbered in the order of their bytes in the file. NULL if there is no
 *  such tensor. Borrowed: lives as long as `reader`. @since 0.2 @threads any @stream none */
RELORA_API const char *relora_reader_name(const relora_reader *reader, int32_t index);
/** Type of a tensor by its name in the format, such as "F32"; NULL if there is no such tensor.
 *  Borrowed. @since 0.2 @threads any @stream none */
RELORA_API const char *relora_reader_dtype(const relora_reader *reader, const char *name);
/** Shape of a tensor. At most `capacity` entries are written; `ndim` receives their full number.
 *  RELORA_E_NOT_FOUND if there is no tensor of that name. @since 0.2 @threads any @stream none */
RELORA_API relora_status relora_reader_shape(const relora_reader *reader, const char *name, int32_t *ndim,
                                             int64_t *shape, int32_t capacity);
/** The bytes of a tensor in the mapped file, with any alignment. Borrowed: valid as long as `reader`.
 *  The checksum is not verified. RELORA_E_NOT_FOUND if there is no tensor of that name.
 *  @since 0.2 @threads any @stream none */
RELORA_API relora_status relora_reader_bytes(const relora_reader *reader, const char *name, const void **data,
                                             size_t *bytes);

/** Number of metadata pairs; -1 if `reader` is NULL. @since 0.2 @threads any @stream none */
RELORA_API int32_t relora_reader_metadata_count(const relora_reader *reader);
/** Key of a pair; NULL if there is no such pair. Borrowed: lives as long as `reader`.
 *  @since 0.2 @threads any @stream none */
RELORA_API const char *relora_reader_metadata_key(const relora_reader *reader, int32_t index);
/** Value of a key; NULL if there is no such key. Borrowed: lives as long as `reader`.
 *  @since 0.2 @threads any @stream none */
RELORA_API const char *relora_reader_metadata(const relora_reader *reader, const char *key);

/** Copy a tensor of the file into `target`, which must have the same shape and, without
 *  RELORA_READ_CONVERT, the same dtype. If the file has checksums, the bytes are verified first. After a
 *  failure of these checks `target` has not changed. A library built without xxHash cannot verify checksums,
 *  and says so in the log when the file is opened.
 *  @param flags RELORA_READ_CONVERT, RELORA_READ_FINITE, both or 0
 *  @return RELORA_E_NOT_FOUND if there is no tensor of that name; RELORA_E_SHAPE or RELORA_E_DTYPE if it does
 *          not fit; RELORA_E_FORMAT if its bytes differ from the checksum; RELORA_E_NOT_FINITE
 *  @since 0.2 @threads one @stream queues */
RELORA_API relora_status relora_reader_read(relora_reader *reader, relora_stream *stream, const char *name,
                                            relora_tensor *target, uint32_t flags);
/** Read the weights of a model by their names: "<name>.weight" and "<name>.bias" of each layer, and each
 *  parameter under its own name. (A layer in LOWRANK has no weight; its A, B and trainable scale are read
 *  as a state names them.) The A and B of other layers are not touched; a delta (RELORA_LINEAR_KEEP_DELTA)
 *  becomes 0. Everything is checked first, and nothing changes unless all fits.
 *
 *  Names that only one side has are RELORA_E_NOT_FOUND without the flags that allow them. The text counts
 *  them and shows the first few; the log names each at RELORA_LOG_INFO, allowed or not.
 *  @param flags   any of the RELORA_READ_* flags
 *  @param report  may be NULL; it is also filled for RELORA_E_NOT_FOUND, with 0 tensors read
 *  @return as relora_reader_read(); RELORA_E_STATE if a layer has no weight; RELORA_E_EXISTS if two members
 *          read the same name
 *  @since 0.5 @threads one @stream queues */
RELORA_API relora_status relora_reader_read_group(relora_reader *reader, relora_stream *stream,
                                                  const relora_group *group, uint32_t flags,
                                                  relora_read_report *report);
/** Verify every checksum of the file.
 *  @return RELORA_E_FORMAT, naming the first tensor that differs; RELORA_E_NOT_FOUND if the file has no
 *          checksums; RELORA_E_UNSUPPORTED from a library built without xxHash
 *  @since 0.2 @threads any @stream none */
RELORA_API relora_status relora_reader_verify(const relora_reader *reader);

RELORA_END
#endif
