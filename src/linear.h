/* The layer, as the optimizer and the cycle see it. */
#ifndef RELORA_SRC_LINEAR_H
#define RELORA_SRC_LINEAR_H

#include "options.h"
#include "relora/linear.h"
#include "relora/restart.h"
#include "tensor.h"
#include "text.h"

enum {
    PARAM_COUNT = RELORA_PARAM_SKETCH + 1 /* relora_param is an index; 0 is not used */
};

struct relora_linear {
    atomic_int refs;
    relora_context *ctx;
    relora_device *device;
    relora_linear_options options;
    uint64_t generation; /* of mode and weight; an optimizer made for another refuses to step */
    relora_order forward_order, backward_order; /* what the host wants; AUTO at first */
    int32_t sketched;           /* was a backward ever called with RELORA_SKETCH? For the log alone */
    char name[LINEAR_NAME + 1]; /* under which it was registered first, for sentences; "" before */
    relora_tensor *param[PARAM_COUNT];
    relora_tensor *grad[PARAM_COUNT];
    relora_tensor *target; /* LOWRANK: what it is merged into, or */
    relora_merge_fn merge; /* by whom */
    void *merge_user;
};

/* Has the layer something to merge, and a place for it? */
static inline int linear_merges(const relora_linear *linear)
{
    return linear->options.mode == RELORA_MODE_LORA || linear->target || linear->merge;
}

static inline int linear_in_out(const relora_linear_options *o)
{
    return (o->flags & RELORA_LINEAR_IN_OUT) != 0;
}

static inline int64_t linear_weight_rows(const relora_linear_options *o)
{
    return linear_in_out(o) ? o->in_features : o->out_features;
}

static inline int64_t linear_weight_cols(const relora_linear_options *o)
{
    return linear_in_out(o) ? o->out_features : o->in_features;
}

/* What merges write: W, or the target of a LOWRANK layer. NULL if there is none, or it is the host's affair. */
static inline relora_tensor *linear_weight(const relora_linear *linear)
{
    return linear->target ? linear->target : linear->param[RELORA_PARAM_WEIGHT];
}

void linear_retain(relora_linear *linear);

extern const struct options linear_table;

/* What the layer is (description.h), and whether a file's layer is the same. */
void linear_describe(const relora_linear *linear, struct text *text);
relora_status linear_compare(const char *ours, const char *theirs, struct text *why);

/* The public functions of these names, in an open call; `options` are complete, the handles checked. */
relora_status linear_create(const struct call *c, relora_linear **out, relora_device *device,
                            const relora_linear_options *options);
relora_status linear_wrap(const struct call *c, relora_linear **out, relora_device *device,
                          relora_tensor *weight, relora_tensor *bias, const relora_linear_options *options);
relora_status linear_set_weight(const struct call *c, relora_linear *linear, relora_tensor *weight,
                                relora_tensor *bias);
relora_status linear_zero_grad(const struct call *c, relora_linear *linear);

/* What a new A was made of, or is not made of after all; nothing if the layer has no sketch. */
relora_status linear_zero_sketch(const struct call *c, const relora_linear *linear);

/* Does `tensor` share memory with a parameter or a gradient of the layer, other than `replaced`? */
relora_status linear_check_apart(const struct call *c, const relora_linear *linear, const char *name,
                                 const relora_tensor *tensor, const relora_tensor *replaced);

/* Is a tensor of the host's, `name` in sentences, one for this parameter? */
relora_status linear_check_param(const struct call *c, const relora_linear *linear, const char *name,
                                 const relora_tensor *tensor, relora_param param, relora_dtype dtype);
/* The type it must have. A bias may have that of the layer. */
relora_dtype linear_param_dtype(const relora_linear_options *o, relora_param param, relora_dtype given);
void linear_replace(relora_tensor **slot, relora_tensor *tensor);

/* The host's options over the defaults. Their values are not looked at yet. */
relora_status linear_options_read(const struct call *c, relora_linear_options *options,
                                  const relora_linear_options *from);

/* Another mode in two steps, so that the first can be taken for many layers before the second: make what the
 * mode needs, beside what there is; then let go of the rest or, with the old mode, of what was made. */
relora_status linear_prepare_mode(const struct call *c, relora_linear *linear, relora_linear_mode mode);
void linear_settle_mode(relora_linear *linear, relora_linear_mode mode);

/* "lora_A.weight" and so on: the name of a parameter in the authors' files. */
const char *linear_param_name(relora_param param);

const char *linear_mode_name(relora_linear_mode mode);

/* Keep the first name that the layer is given. */
void linear_set_name(relora_linear *linear, const char *name);

/* The layer in a sentence, `layer "head"`, or `layer 3` by its option before it has a name. Returns `text`. */
const char *linear_label(const relora_linear *linear, char text[LABEL_TEXT]);

/* Have the parameters from `first` on their memory, and have the gradients, or one of them? What the layer lacks is not
 * looked at. */
relora_status linear_check_memory(const struct call *c, const relora_linear *linear, relora_param first);
relora_status linear_check_grad(const struct call *c, const relora_linear *linear, relora_param param);
relora_status linear_check_grads(const struct call *c, const relora_linear *linear);

/* s as a number, or where the trainable one stands. */
struct scale linear_scale(const relora_linear *linear);
/* s as a number in either case; waits for the stream if it is trainable. */
relora_status linear_read_scale(const struct call *c, const relora_linear *linear, double *s);

/* call_open() of a call about a layer. */
relora_status linear_open(struct call *c, const relora_linear *linear, relora_stream *stream);

struct draw linear_draw(const relora_linear *linear, enum draw_purpose purpose, uint64_t call);

/* W + s B A is made in slices: the rows of the one that begins at row `first`. */
int64_t linear_slice_rows(const relora_linear *linear, int64_t first);

#endif
