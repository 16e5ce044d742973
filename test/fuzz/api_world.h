/* The world in which api.c calls the library: the bytes that choose, an allocator that can fail, a few slots
 * for the handles of each kind, and what has to hold after every call. There is one world at a time. */
#ifndef TEST_FUZZ_API_WORLD_H
#define TEST_FUZZ_API_WORLD_H

#include <stddef.h>
#include <stdint.h>
#include "relora/relora.h"

#define REQUIRE(condition)                                                \
    do {                                                                  \
        if (!(condition)) require_failed(#condition, __FILE__, __LINE__); \
    } while (0)
_Noreturn void require_failed(const char *condition, const char *file, int line);

enum { CALLS_MAX = 600 }; /* of one input */

/* ---- api_world.c: life ---- */

/** A world whose fresh memory is full of `poison`. */
void world_open(const uint8_t *data, size_t size, int poison);
/** Release all that is left, and see that nothing stays behind. */
void world_close(void);
/** Check that the last two worlds gave the same results at every call. */
void worlds_compare(void);
int world_has_room(void); /* for another operation */
void end_operation(void);

/* ---- api_world.c: handles ---- */

enum kind {
    CONTEXT,
    STREAM,
    TENSOR,
    LINEAR,
    ADAM,
    SCHEDULE,
    CYCLE,
    WRITER,
    READER,
    STATE,
    MANAGED,
    GROUP,
    KINDS
};

/** One of the handles of a kind; sometimes NULL. */
void *pick(enum kind kind);
relora_device *pick_device(void);
/** Some tensor of a slot, of a layer or of an optimizer; borrowed. */
relora_tensor *pick_any_tensor(void);
/** Put what a constructor gave into a slot; who was there is released. `given`: it had an `out`. */
void keep(enum kind kind, relora_status status, void *object, int given);
void release_one(void);
/** Somebody else has it now. */
void forget(enum kind kind, const void *object);
void release_object(enum kind kind, void *object);
/** What `out` holds before a constructor is called: nobody may follow it. */
extern char nowhere;
#define NOWHERE ((void *)&nowhere)
/** A filled tensor on the device of another until the operation is over; NULL if memory failed. */
relora_tensor *temporary(const relora_tensor *like, relora_dtype dtype, int32_t ndim, const int64_t *shape,
                         uint8_t seed);

/** The same in F32, borrowed with NULL: whoever keeps it has a tensor without memory. */
relora_tensor *hollow(const relora_tensor *like, int32_t ndim, const int64_t *shape);

/* ---- api_world.c: calls ---- */

/** Call a function of the library and check what holds for all of them. Arguments must not choose. */
#define CALL(function, ...) (call_begin(#function), call_end(function(__VA_ARGS__)))
void call_begin(const char *function);
relora_status call_end(relora_status status);
/** A callback of this call has failed after it had agreed: what others did before it stays. */
void world_host_failed(void);
/** A hash of all that can be seen. */
uint64_t look(void);
/** Something else than a call has changed what can be seen. */
void world_touched(void);
/** Add to the results, which both worlds must share. */
void result(const void *bytes, size_t size);
void result_text(const char *text);
void context_listen(relora_context_options *options, int quiet);

/* ---- api_input.c: choices, made by the input; 0 when it is used up ---- */

void input_open(const uint8_t *data, size_t size);
void input_end_operation(void);
int input_has_odd_struct(void); /* that must be refused */
void input_mark_odd_struct(void);
uint8_t choose(void);
int chosen_all(void);
/** `usual` mostly; otherwise small, large, negative or extreme. */
int64_t choose_number(int64_t usual);
double choose_real(double usual);
/** A copy of an options struct on the heap, of exactly the size it claims: mostly its own, sometimes odd.
 *  Some of its first `safe` bytes may be overwritten. */
const void *choose_options(const void *options, size_t size, size_t safe);
/** A report to be filled, of any size, or NULL. */
void *choose_report(size_t size);
const char *choose_name(void);
/** Memory until the operation is over, of exactly this size. */
void *borrow_bytes(size_t size);

/* ---- api_paths.c ---- */

void paths_open(void);
void paths_close(void);
/** A path that can be written, or cannot; NULL is one. */
const char *choose_path(void);
const char *choose_folder(void);
/** Add a file that was written to the results, and remember it for read_back(). */
void result_file(const char *path);
/** The last such file with one byte changed, to the end of the world. */
const void *read_back(size_t *size, size_t at, uint8_t change);

/* ---- api_look.c ---- */

/** A hash of what can be seen of an object. */
uint64_t look_at(uint64_t h, enum kind kind, void *object);
uint64_t look_at_bytes(uint64_t h, const void *bytes, size_t size);
struct rows { /* where the elements of a tensor lie */
    unsigned char *data;
    int64_t count;
    size_t bytes, pitch;
};
struct rows rows_of(const relora_tensor *tensor);
/** Fill a tensor without the library; from 240 on, `seed` gives infinities, NaNs and other extremes. */
void fill_tensor(relora_tensor *tensor, uint8_t seed);

/* ---- api_memory.c ---- */

void memory_open(int poison);
void memory_close(void);
void memory_install(relora_context_options *options);
/** Refuse `count` requests after `wait` more. */
void memory_fail(int wait, int count);
int64_t memory_refused(void); /* requests so far */

enum { BLOCKS = 6, BLOCK = 512 };
extern unsigned char lent[BLOCKS][BLOCK]; /* that tensors borrow */
/** A deleter is owed one call for each block that a tensor was given. */
struct loan {
    const relora_tensor *tensor;
    int owed;
};
struct loan *loan_new(void);
struct loan *loan_of(const relora_tensor *tensor); /* NULL if it has no deleter */
void loan_return(void *user, void *data);          /* the deleter */

/* ---- api_objects.c: shapes ---- */

relora_dtype choose_dtype(void);
/** Up to 16 rows of 4 elements, at most 8 elements apart; then perhaps one stride is another. */
int32_t choose_strides(int64_t shape[4], int64_t strides[4]);
int lies_in_block(const relora_tensor *tensor);

/* ---- api_objects.c, api_exchange.c, api_layers.c, api_groups.c, api_restart.c,
 *      api_train.c, api_files.c: operations ---- */

/** Options of a layer, of small sizes. */
relora_linear_options choose_layer(void);

typedef void operation(void);
operation make_context, ask_error, ask_device, make_stream, use_stream, init_options, make_tensor,
    borrow_tensor, point_tensor, keep_tensor, write_tensor, read_tensor, copy_tensor, set_tensor, fill_any,
    make_linear, set_weight, set_mode, forward, backward, merge, reset, zero_linear, keep_y, wrap_stream,
    take_dlpack, give_dlpack;
operation make_adam, add_param, add_linear, set_factors, flatten, zero_adam, step, step_lr, ask_norm,
    reset_moments, ask_adam, set_steps, make_schedule, ask_schedule, make_cycle, add_member, ask_cycle,
    advance, finish;
operation make_writer, add_tensor, add_bytes, set_metadata, save_writer, open_file, open_memory, ask_reader,
    read_reader, make_state, add_to_state, save_state, load_state, export_state;
operation make_group, wrap_weight, add_to_group, ask_group, group_mode, group_work, give_group, read_group;
void step_full_rank(relora_linear *linear, relora_stream *stream); /* of merge() */
operation merge_tensors, draw_factors, prune_moments, lend_part, lend_moments, pass_at, set_target,
    carry_moments, wrap_at, add_param_at;

#endif
