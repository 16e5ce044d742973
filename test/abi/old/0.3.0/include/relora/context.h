/** @file relora/context.h
 *  The context owns what is shared: memory hooks, log sink, CPU thread count, device list.
 *  Nothing in the library is global: two contexts in one process never meet. */
#ifndef RELORA_CONTEXT_H
#define RELORA_CONTEXT_H

#include "relora/export.h"
#include "relora/status.h"
#include "relora/types.h"

RELORA_BEGIN

/** Return `size` bytes (never 0) at a multiple of `alignment` (a power of two, at most 64), or
 *  NULL. Called from whichever thread is inside a librelora call; must not unwind through it. */
typedef void *(*relora_alloc_fn)(void *user, size_t size, size_t alignment);
/** Give back what relora_alloc_fn returned; size and alignment are those of the request. */
typedef void (*relora_free_fn)(void *user, void *ptr, size_t size, size_t alignment);
/** One line without a newline; `message` is valid during the call only. */
typedef void (*relora_log_fn)(void *user, int32_t level, const char *message);

enum {
    RELORA_LOG_OFF = 0,
    RELORA_LOG_ERROR = 1, /**< every call that returns a failure, with its text */
    RELORA_LOG_WARN = 2,  /**< allowed, and probably not meant */
    RELORA_LOG_INFO = 3,  /**< merges and resets, with what they did */
    RELORA_LOG_DEBUG = 4  /**< growth of workspaces, objects that outlive their context */
};

typedef struct relora_context_options {
    uint32_t struct_size;       /**< set by relora_context_options_init() */
    uint32_t flags;             /**< 0 */
    int32_t threads;            /**< CPU threads including the caller, 1 to 1024; default 1. The
                                     host's own OpenMP setting is not changed */
    int32_t log_level;          /**< default RELORA_LOG_OFF */
    relora_alloc_fn host_alloc; /**< NULL: aligned_alloc; set both or neither */
    relora_free_fn host_free;
    void *host_user;
    relora_log_fn log;          /**< NULL: no output, ever */
    void *log_user;
} relora_context_options;

/** Fill `options` with defaults, writing exactly `size` bytes.
 *  @since 0.1 @threads any @stream none */
RELORA_API relora_status relora_context_options_init(relora_context_options *options, size_t size);

/** @param options NULL for all defaults. @since 0.1 @threads any @stream none */
RELORA_API relora_status relora_context_create(relora_context **out,
                                               const relora_context_options *options);

/** Drop the caller's reference. Memory goes when the last object made from `ctx` goes, so
 *  release order does not matter. NULL is allowed. @since 0.1 @threads any @stream none */
RELORA_API void relora_context_release(relora_context *ctx);

/** How many devices of a kind there are: 1 CPU; 0 if `ctx` is NULL or the kind is unknown.
 *  @since 0.1 @threads any @stream none */
RELORA_API int32_t relora_device_count(const relora_context *ctx, relora_device_kind kind);

/** Borrowed: lives as long as `ctx`. NULL if there is no such device.
 *  @since 0.1 @threads any @stream none */
RELORA_API relora_device *relora_device_get(relora_context *ctx, relora_device_kind kind,
                                            int32_t index);
/** 0 if `device` is NULL. @since 0.1 @threads any @stream none */
RELORA_API relora_device_kind relora_device_get_kind(const relora_device *device);
/** Borrowed: lives as long as the context. "" if `device` is NULL.
 *  @since 0.1 @threads any @stream none */
RELORA_API const char *relora_device_name(const relora_device *device);
/** Bytes of memory the device has, and how many of them are free now. Either pointer may be
 *  NULL. @since 0.1 @threads any @stream none */
RELORA_API relora_status relora_device_memory(const relora_device *device, uint64_t *free_bytes,
                                              uint64_t *total_bytes);

RELORA_END
#endif
