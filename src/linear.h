/* The layer, as the optimizer and the cycle see it. */
#ifndef RELORA_SRC_LINEAR_H
#define RELORA_SRC_LINEAR_H

#include "options.h"
#include "relora/linear.h"
#include "tensor.h"
#include "text.h"

enum { PARAM_COUNT = RELORA_PARAM_DELTA + 1 }; /* relora_param is an index; 0 is not used */

struct relora_linear {
    atomic_int refs;
    relora_context *ctx;
    relora_device *device;
    relora_linear_options options;
    uint64_t generation; /* of mode and weight; an optimizer made for another refuses to step */
    relora_order forward_order, backward_order; /* what the host wants; AUTO at first */
    relora_tensor *param[PARAM_COUNT];
    relora_tensor *grad[PARAM_COUNT];
};

void linear_retain(relora_linear *linear);

extern const struct options linear_table;

/* What the layer is (description.h), and whether a file's layer is the same. */
void linear_describe(const relora_linear *linear, struct text *text);
relora_status linear_compare(const char *ours, const char *theirs, struct text *why);

/* "lora_A.weight" and so on: the name of a parameter in the authors' files. */
const char *linear_param_name(relora_param param);

const char *linear_mode_name(relora_linear_mode mode);

/* s as a number, or where the trainable one stands. */
struct scale linear_scale(const relora_linear *linear);

/* linear and stream: there, of one context and device, and the stream not finished. */
relora_status linear_check(const relora_linear *linear, const relora_stream *stream,
                           const char *function);

struct draw linear_draw(const relora_linear *linear, enum draw_purpose purpose, uint64_t call);

/* A and B of a cycle, on any queue of the device. Dead means A = 0 too: nothing can train then. */
relora_status linear_draw_factors(relora_linear *linear, struct queue *queue, uint64_t cycle,
                                  int dead);

/* W + s B A is made in slices: the rows of the one that begins at row `first`. */
int64_t linear_slice_rows(const relora_linear *linear, int64_t first);

/* A merge in parts, so that a cycle can look at every layer before it changes one, and waits for the
 * device once. linear_merge_check takes all memory that merging these layers needs, and may fail; after
 * it only the device can. Between _start and _end nothing else may use the stream's workspace. */
enum { MERGE_BATCH = 64 }; /* layers that are looked at together */
relora_status linear_merge_check(relora_linear *const *linears, int32_t count, relora_stream *stream,
                                 const char *function);
relora_status linear_merge_start(const relora_linear *first, relora_stream *stream, const char *function);
relora_status linear_merge_run(relora_linear *linear, relora_stream *stream, const char *function,
                               uint64_t cycle);
/* norms = the sums of |change of W|^2 and |W|^2 since _start */
relora_status linear_merge_end(const relora_linear *first, relora_stream *stream, const char *function,
                               double norms[2]);

/* One slice of W + s B A, rounded to nearest, into `out` on the device; W stays. */
relora_status linear_merged_rows(relora_linear *linear, relora_stream *stream, const char *function,
                                 int64_t first, struct view out);
relora_status linear_reset_run(relora_linear *linear, relora_stream *stream, const char *function,
                               uint64_t cycle);

#endif
