/* W -= step U V^T: looking at all there is, the direction of the gradient in its place, and the step. */
#include "full_rank.h"

#include <float.h>
#include <math.h>

#include "convert.h"
#include "float_mode.h"
#include "merge.h"
#include "polar.h"
#include "text.h"

enum part { PART_W, PART_DELTA, PART_GRAD, PARTS };

struct memory_of_step { /* on the device */
    double *norms;      /* of struct merge */
    uint32_t *largest;  /* element of each part, by its bits */
    struct polar_memory polar;
};

static struct memory_of_step lay_out(const struct full_rank *f, struct scratch *scratch)
{
    struct memory_of_step memory;
    memory.norms = scratch_bytes(scratch, 2 * sizeof *memory.norms);
    memory.largest = scratch_bytes(scratch, PARTS * sizeof *memory.largest);
    memory.polar = polar_lay_out(f->grad, scratch);
    return memory;
}

static relora_status open_memory(const struct call *c, const struct full_rank *f,
                                 struct memory_of_step *memory)
{
    struct scratch scratch = {0};
    lay_out(f, &scratch);
    TRY(scratch_open(c, &scratch));
    *memory = lay_out(f, &scratch);
    return RELORA_OK;
}

static relora_status to_device(const struct call *c, void *to, const void *from, size_t bytes)
{
    struct copy down = {to, from, 1, bytes, 0, 0, COPY_TO_DEVICE};
    return call_queue(c, c->backend->copy(c->queue, &down));
}

static relora_status to_host(const struct call *c, void *to, const void *from, size_t bytes)
{
    struct copy up = {to, from, 1, bytes, 0, 0, COPY_TO_HOST};
    TRY(call_queue(c, c->backend->copy(c->queue, &up)));
    return call_queue(c, c->backend->queue_sync(c->queue));
}

/* ---- looking ---- */

/* lr * 0.2 * sqrt(the longer side): then the elements of a step have the root mean square 0.2 lr. */
static double length_of(const struct full_rank *f)
{
    int64_t longer = f->weight.rows > f->weight.cols ? f->weight.rows : f->weight.cols;
    return float_mode_product(f->lr, float_mode_product(0.2, float_mode_root((double)longer)));
}

/* No element of U V^T is more than its largest singular value, which is below 1.01. */
static int is_bounded(relora_dtype dtype, uint32_t largest, double length)
{
    volatile double step = length, range = (double)float_of_bits(merge_largest_finite(dtype));
    fenv_t host = float_mode_enter();
    volatile int bounded = (double)float_of_bits(largest) + 1.01 * fabs(step) < range / 1.01;
    float_mode_leave(&host);
    return bounded;
}

static relora_status check_largest(const struct call *c, const struct full_rank *f,
                                   const uint32_t largest[PARTS])
{
    char label[LABEL_TEXT];
    uint32_t most = merge_largest_finite(RELORA_F32);
    double length = length_of(f);
    layer_label(f->name, f->layer, label);
    if (largest[PART_GRAD] > most)
        FAIL(c, RELORA_E_NOT_FINITE, "the gradient of %s is not finite; nothing was changed", label);
    if (largest[PART_W] > most || largest[PART_DELTA] > most)
        FAIL(c, RELORA_E_NOT_FINITE, "the weight of %s is not finite; nothing was changed", label);
    if (!is_bounded(f->weight.dtype, largest[PART_W], length) ||
        !is_bounded(RELORA_F32, largest[PART_DELTA], length))
        FAIL(c, RELORA_E_NOT_FINITE, "the weight of %s could leave the range of %s; nothing was changed",
             label, dtype_name(f->weight.dtype));
    return RELORA_OK;
}

static relora_status look(const struct call *c, const struct full_rank *f,
                          const struct memory_of_step *memory, uint32_t largest[PARTS])
{
    const struct view parts[PARTS] = {[PART_W] = f->weight, [PART_DELTA] = f->delta, [PART_GRAD] = f->grad};
    size_t bytes = PARTS * sizeof *largest;
    memset(largest, 0, bytes);
    TRY(to_device(c, memory->largest, largest, bytes));
    for (int i = 0; i < PARTS; i++)
        if (parts[i].data) TRY(call_queue(c, c->backend->largest(c->queue, parts[i], &memory->largest[i])));
    TRY(to_host(c, largest, memory->largest, bytes));
    return check_largest(c, f, largest);
}

/* ---- doing it ---- */

static relora_status add_direction(const struct call *c, const struct full_rank *f,
                                   const struct memory_of_step *memory, double norms[2])
{
    struct merge m = {.y = f->weight,
                      .x = f->grad,
                      .scale = {.value = -length_of(f)},
                      .rounding = f->rounding,
                      .draw = draw_make(f->seed, f->layer, DRAW_FULL_RANK, f->count),
                      .norms = memory->norms,
                      .partials = memory->polar.partials,
                      .delta = f->delta};
    norms[0] = norms[1] = 0;
    TRY(to_device(c, memory->norms, norms, 2 * sizeof *norms));
    TRY(call_queue(c, c->backend->merge(c->queue, &m)));
    return to_host(c, norms, memory->norms, 2 * sizeof *norms);
}

relora_status full_rank_check_lr(const struct call *c, double lr)
{
    if (!(lr >= 0 && lr <= (double)FLT_MAX))
        FAIL(c, RELORA_E_ARGUMENT, "lr is %g, and must be 0 or more, and finite in F32", lr);
    return RELORA_OK;
}

relora_status full_rank_run(const struct call *c, const struct full_rank *f, relora_full_rank_report *r)
{
    struct memory_of_step memory;
    struct polar_sizes sizes = {0};
    uint32_t largest[PARTS];
    double norms[2];
    char label[LABEL_TEXT];
    if (!float_mode_fits_f32(length_of(f)))
        FAIL(c, RELORA_E_ARGUMENT, "lr is %g, too large for a step that is finite in F32", f->lr);
    TRY(open_memory(c, f, &memory));
    TRY(look(c, f, &memory, largest));
    if (f->only_looks) return RELORA_OK;
    if (largest[PART_GRAD]) TRY(polar_factor(c, f->grad, largest[PART_GRAD], &memory.polar, &sizes));
    TRY(add_direction(c, f, &memory, norms));
    r->delta_norm = float_mode_root(norms[0]);
    r->weight_norm = float_mode_root(norms[1]);
    r->grad_norm = sizes.norm;
    r->grad_rank = sizes.rank;
    call_log(c, RELORA_LOG_DEBUG, "%s, step %llu: |dW| %g, |W| %g, rank of the gradient %g",
             layer_label(f->name, f->layer, label), (unsigned long long)f->count, r->delta_norm,
             r->weight_norm, r->grad_rank);
    return RELORA_OK;
}
