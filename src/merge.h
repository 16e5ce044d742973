/* W += s B A and factors drawn afresh, for whoever owns the tensors: a layer, or a host that has no layer. */
#ifndef RELORA_SRC_MERGE_H
#define RELORA_SRC_MERGE_H

#include "relora/linear.h"
#include "tensor.h"

enum {
    MERGE_BATCH = 64,
    MERGE_SUMS = 8 /* two squares, of the change of W and of W; then what a renewal measures (renew.h) */
};

struct update {                /* what one merge works on; a view without data is not there */
    const char *name;          /* in sentences; "" for none */
    struct view weight, delta; /* [out, in], or the other way round */
    struct view a, b;
    int32_t in_out; /* W and delta are [in, out] */
    struct scale scale;
    relora_rounding rounding;
    uint64_t seed, layer;
};

/* Is all of this finite, and will W + s B A be? Takes the memory that the products need, so that after it nothing
 * but the device can fail. At most MERGE_BATCH at once; waits for the stream. */
relora_status merge_look(const struct call *c, const struct update *updates, int32_t count);

/* Between merge_start() and merge_end(), any number of updates that were looked at. The squares of their change
 * and of W are added to what merge_start() is given. merge_end() reads the sums, and waits for the stream. The sums come
 * first in the workspace, and whatever else works in between leaves room for them there. */
relora_status merge_start(const struct call *c, const struct update *first, const double sums[MERGE_SUMS]);
relora_status merge_add(const struct call *c, const struct update *update, uint64_t cycle);
relora_status merge_end(const struct call *c, const struct update *first, double sums[MERGE_SUMS]);
double *merge_sums(struct scratch *scratch);
/* The sums, but for the number of layers, as a report tells them. */
void merge_report(const double sums[MERGE_SUMS], relora_merge_report *report);

/* `out` += s B A, rounded to nearest: rows `first` and on of W. */
relora_status merge_onto(const struct call *c, const struct update *update, int64_t first, struct view out);

/* Matrices of the size of W are made in slices: the rows of the one that begins at row `first` of `rows`. */
int64_t merge_slice_rows(const relora_device *device, int64_t rows, int64_t first);

/* The largest bits that a finite number of the type has as F32. */
uint32_t merge_largest_finite(relora_dtype dtype);

/* The factors of a cycle, on any queue of the device: one is drawn, by the rule of nn.Linear in PyTorch from the
 * length of its rows, and the other is 0. Dead means that both are: nothing can train then. */
relora_status merge_draw_factors(const struct backend *backend, struct queue *queue, struct view drawn,
                                 struct view other, struct draw draw, int dead);

#endif
