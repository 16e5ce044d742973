/** @file relora/context.h
 *  The context owns what its objects share: the allocator, the log, the number of CPU threads and the
 *  list of devices. Nothing in the library is global, so two contexts in one process are independent. */
#ifndef RELORA_CONTEXT_H
#define RELORA_CONTEXT_H

#include "relora/export.h"
#include "relora/status.h"
#include "relora/types.h"

RELORA_BEGIN

/** Return `size` bytes (never 0) at a multiple of `alignment` (a power of two, at most 64), or NULL.
 *
 *  These rules hold for every callback in these headers. It is called on a thread that is inside a
 *  call of the library, and on several at once if several threads are inside. It must return: no C++
 *  exception, longjmp or panic may leave it. The allocator and the log, with their user pointers, must
 *  stay valid until `on_destroy` of the same options is called, because an object keeps its context
 *  alive after relora_context_release(). */
typedef void *(*relora_alloc_fn)(void *user, size_t size, size_t alignment);
/** Free what relora_alloc_fn returned; size and alignment are those of the request. */
typedef void (*relora_free_fn)(void *user, void *ptr, size_t size, size_t alignment);
/** Receive one line without a newline; `message` is valid during the call only. */
typedef void (*relora_log_fn)(void *user, int32_t level, const char *message);
/** The context no longer exists, and the library no longer uses its allocator and its log. */
typedef void (*relora_destroy_fn)(void *user);

enum {
    RELORA_LOG_OFF = 0,
    RELORA_LOG_ERROR = 1, /**< every call that fails, with its text */
    RELORA_LOG_WARN = 2,  /**< allowed, but probably not intended */
    RELORA_LOG_INFO = 3,  /**< merges and resets, with what they did; whether CUDA is available */
    RELORA_LOG_DEBUG = 4  /**< growth of workspaces, objects that outlive their context */
};

typedef struct relora_context_options {
    uint32_t struct_size;       /**< set by relora_context_options_init() */
    uint32_t flags;             /**< 0 */
    int32_t threads;            /**< CPU threads including the caller, 1 to 1024; default 1. If OpenMP
                                     gives fewer, results are the same. The host's own OpenMP setting
                                     does not change. With more than 1, OpenMP keeps a pool for each
                                     calling thread; a forked child starts threads for each loop */
    int32_t log_level;          /**< default RELORA_LOG_OFF */
    relora_alloc_fn host_alloc; /**< NULL: aligned_alloc. Set both or neither */
    relora_free_fn host_free;
    void *host_user;
    relora_log_fn log; /**< NULL: no log */
    void *log_user;
    const char *module_dir;       /**< folder of librelora_cuda.so.0, copied. NULL: beside librelora.so (or
                                     beside the program, if it is linked with librelora.a), then the
                                     loader's path. Since 0.4 */
    relora_destroy_fn on_destroy; /**< called once, when the memory of the context has been freed: by
                                       relora_context_release(), or with the last object made from
                                       it. Not called if relora_context_create() fails. Since 0.5 */
    void *destroy_user;           /**< since 0.5 */
} relora_context_options;

/** Fill `options` with the defaults, writing exactly `size` bytes.
 *  @since 0.1 @threads any @stream none */
RELORA_API relora_status relora_context_options_init(relora_context_options *options, size_t size);

/** Create a context. A failure passes its text to options.log, if that is set and log_level allows
 *  it, because there is no context yet to keep the text.
 *  @param options NULL for all defaults
 *  @since 0.1 @threads any @stream none */
RELORA_API relora_status relora_context_create(relora_context **out, const relora_context_options *options);

/** Drop the caller's reference. The memory is freed with the last object made from `ctx`, so objects
 *  may be released in any order. NULL is allowed. @since 0.1 @threads any @stream none */
RELORA_API void relora_context_release(relora_context *ctx);

/** Number of devices of a kind. There is one CPU. The result is 0 if `ctx` is NULL or the kind is
 *  unknown. A context's first call for CUDA loads librelora_cuda.so.0, which is never unloaded. Without
 *  that module, a driver and a GPU the result is 0, and the log says why at RELORA_LOG_INFO.
 *  @since 0.1 @threads any @stream none */
RELORA_API int32_t relora_device_count(const relora_context *ctx, relora_device_kind kind);

/** A device. Borrowed: lives as long as `ctx`. NULL if there is no such device; for CUDA
 *  relora_context_error() then says why.
 *  @since 0.1 @threads any @stream none */
RELORA_API relora_device *relora_device_get(relora_context *ctx, relora_device_kind kind, int32_t index);
/** Kind of the device; 0 if `device` is NULL. @since 0.1 @threads any @stream none */
RELORA_API relora_device_kind relora_device_get_kind(const relora_device *device);
/** Name of the device; "" if `device` is NULL. Borrowed: lives as long as the context.
 *  @since 0.1 @threads any @stream none */
RELORA_API const char *relora_device_name(const relora_device *device);
/** Bytes of memory of the device, and how many of them are free now. Either pointer may be NULL.
 *  RELORA_E_BACKEND if the device does not answer.
 *  @since 0.1 @threads any @stream none */
RELORA_API relora_status relora_device_memory(const relora_device *device, uint64_t *free_bytes,
                                              uint64_t *total_bytes);

RELORA_END
#endif
