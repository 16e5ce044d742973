/* What a device must be able to do. src/cpu fills one such table, cuda/ another, in a module of its own;
 * nothing above this line of the library knows which one it is talking to. Entries that can fail
 * return RELORA_E_NO_MEMORY or RELORA_E_BACKEND and nothing else: arguments are checked before they
 * get here. Pointers in structs point to the device unless a comment says otherwise; the structs
 * themselves are the host's, and may go when the call returns. Compiles as C and as CUDA. */
#ifndef RELORA_SRC_BACKEND_H
#define RELORA_SRC_BACKEND_H

#include "memory.h"
#include "relora/adam.h"
#include "relora/plan.h"
#include "relora/types.h"
#include "rng.h"

enum { BACKEND_VERSION = 5 }; /* of this file and those it includes; a module made with another is refused */

struct queue; /* a backend's own stream state */

struct queue_options {
    const struct memory *memory; /* of the host; outlives the queue */
    int32_t threads;             /* of the host */
    /* NULL for a device's own queue, of which there is one in a context, closed last; else that one.
     * What is allocated through it is ready for every queue, and what is released through it goes
     * when the work now queued anywhere on the device is done. */
    struct queue *parent;
    int32_t wrap; /* work goes to the host's stream `native`, and is not to be closed */
    void *native;
};

struct view { /* a checked tensor as a matrix: rows of contiguous elements, `ld` elements apart */
    void *data;
    int64_t rows, cols, ld;
    relora_dtype dtype;
};

struct copy { /* `rows` pieces of `bytes` bytes, as far apart as the pitches say */
    void *to;
    const void *from;
    int64_t rows;
    size_t bytes, to_pitch, from_pitch;
    enum { COPY_TO_DEVICE = 1, COPY_TO_HOST, COPY_ON_DEVICE } direction;
};

struct scale { /* s = value, or tanh(*trainable) */
    double value;
    const float *trainable;
};

struct conversion { /* y = (y +) s * x, rounded to y's type */
    struct view y, x;
    struct scale scale;
    int32_t accumulate; /* both are F32 then */
};
enum { CONVERSIONS = 16 }; /* in one call, at most */

struct gemm { /* c = op(a) op(b) (+ c) (+ bias in every row); a and b of one dtype, c of it or F32 */
    struct view a, b, c;
    int32_t ta, tb, accumulate;
    int32_t tf32; /* F32 operands may be rounded to 10 bits, where that is faster */
    const float *bias;
};

struct gemm_path { /* how a product is made */
    relora_provider provider;
    relora_isa isa;
    int32_t converts; /* BF16 operands to F32, for it */
    size_t bytes;     /* of the queue, to work in */
};

struct merge { /* y = round(y + s * x); norms += {|change of y|^2, |y|^2} as stored */
    struct view y, x;
    struct scale scale;
    relora_rounding rounding;
    struct draw draw;
    uint64_t first;    /* index of y's first element among the elements of the draw */
    double *norms;     /* may be NULL; then so is partials */
    double *partials;  /* on the device, two for each row of y */
    struct view delta; /* F32, += the change of y as stored; may have no data */
};

struct fold { /* y = w + x rounded stochastically, BF16 from BF16 and F32 */
    struct view y, w, x;
    struct draw draw;
    uint64_t first; /* index of y's first element among the elements of the draw */
};

struct dropout { /* y = (y +) mask * x / (1 - p); element i is dropped by word i of the draw */
    struct view y, x;
    double p;
    struct draw draw;
    int32_t accumulate;
};

struct adam_param { /* one registered parameter; all without gaps, but rows of `param` may have them */
    void *param;    /* its first element; if there are gaps, that of the whole parameter */
    void *grad;
    float *m, *v;
    int64_t count;
    int64_t cols; /* of `param`; not read if gap is 0 */
    int64_t gap;  /* elements from the end of a row of it to the next */
    relora_dtype param_dtype, grad_dtype;
    double lr_factor, weight_decay;
    relora_rounding rounding;
    int32_t reserved; /* 0, in place of padding: two of these are equal if their bytes are */
    struct draw draw; /* its `call` is the step count */
    int64_t *steps;
    int64_t first; /* index of its first element in the whole parameter; a multiple of 4 */
};

struct adam_chunk { /* a piece of one parameter; a multiple of 4 elements starts it */
    int32_t param;
    int64_t start, count;
};

struct adam_control { /* what one step decides, on the device */
    double grad_norm, clip_factor;
    int32_t skip;
};

struct adam {                        /* one update of all parameters */
    const struct adam_param *params; /* on the device, as is chunks */
    const struct adam_chunk *chunks;
    int64_t param_count, chunk_count;
    const float *lr_device; /* if not NULL, the learning rate is there when the step runs, not in lr */
    double lr, grad_scale, beta1, beta2, eps, max_norm;
    uint32_t flags;    /* of relora_adam_options */
    int32_t gaps;      /* some parameter has rows with gaps */
    int32_t need_norm; /* 0: neither clipping, nor skipping, nor a report */
    double *partials;  /* on the device, one for each chunk */
    struct adam_control *control;
    double *squares; /* on the device; if not NULL, adam_norm() puts the sum there and decides nothing */
};

struct prune { /* zero a share of m and v; mode, flags and ratio are those of relora_reset_options */
    float *m, *v;
    int64_t count;
    relora_reset_mode mode;
    uint32_t flags;
    double ratio;
    struct draw first, second;
    int64_t *counts; /* on the device, += {zero in m, zero in v, m alone}; may be NULL */
};

/* The rows of `basis` become orthonormal, and those of y the same times `length`. They span what these rows do,
 * one after the other as far as there is room: those of `first`; those of `then`, if any of `first` was of use;
 * those of `last`; and, with `complete`, unit vectors. What is not spanned then is rows of 0. */
struct span {
    struct view y;                 /* F32, or without data; may be one of those it is made from */
    struct view first, then, last; /* F32, `rows` x `cols`; may have no data */
    int64_t rows, cols;            /* no more rows than columns */
    int32_t complete;
    double length;
    double *basis; /* on the device, rows x cols */
    double *terms; /* on the device, one for each row */
};

struct share {           /* sums += {|x projected on the basis|^2, |x|^2} */
    struct view x;       /* F32 */
    const double *basis; /* orthonormal rows, or rows of 0, of as many columns */
    int64_t rows;
    double *sums;
    double *partials; /* on the device, two for each row of x */
};

struct
    project { /* Adam's moments of B [out, rank] from one A [rank, in] to another; span_math.h has the formula */
    struct view m, v;           /* without gaps */
    struct view m_from, v_from; /* what they were: copies */
    struct view old, now;       /* the two A */
    double beta1, beta2;
    const int64_t *steps; /* on the device, or NULL: `count` */
    int64_t count;
    double *map; /* on the device, rank x 2 rank */
};

struct backend {
    uint32_t version; /* BACKEND_VERSION */
    relora_device_kind kind;
    const char *name;

    /* devices and queues */
    relora_status (*count)(int32_t *count);
    /* Of a device that is not there, or cannot be used, it fails, with the reason in `name`. */
    relora_status (*describe)(int32_t device, char *name, size_t capacity, uint64_t *free_bytes,
                              uint64_t *total_bytes);
    relora_status (*queue_open)(int32_t device, const struct queue_options *options, struct queue **out);
    void (*queue_close)(struct queue *q); /* does not wait: what is queued still runs, and counts as queued */
    void *(*queue_native)(const struct queue *q);      /* a cudaStream_t; NULL on the CPU */
    const char *(*queue_error)(const struct queue *q); /* text of its last failure */
    /* Never for want of memory: what copies to the host were asked for must have come, or never will. */
    relora_status (*queue_sync)(struct queue *q);
    relora_status (*queue_wait)(struct queue *q, struct queue *other);

    /* memory */
    relora_status (*alloc)(struct queue *q, size_t bytes, void **out);
    void (*release)(struct queue *q, void *ptr, size_t bytes);
    relora_status (*copy)(struct queue *q, const struct copy *c);

    /* arithmetic */
    relora_status (*fill)(struct queue *q, struct view y, double value);
    /* `count` of them, none of which reads or writes what another one writes */
    relora_status (*convert)(struct queue *q, const struct conversion *list, int32_t count);
    relora_status (*gemm)(struct queue *q, const struct gemm *g);
    /* How gemm() would make it, of shapes alone: its views have no data. By any thread, whatever runs on the queue.
     * Without a queue: by one thread. NULL: nobody knows. */
    relora_status (*gemm_tell)(const struct queue *q, const struct gemm *g, struct gemm_path *path);
    relora_status (*merge)(struct queue *q, const struct merge *m);
    relora_status (*fold)(struct queue *q, const struct fold *f);
    relora_status (*sum_rows)(struct queue *q, float *sums, struct view x, int32_t accumulate);
    relora_status (*dropout)(struct queue *q, const struct dropout *d);
    relora_status (*uniform)(struct queue *q, struct view y, double bound, struct draw d);
    /* *grad (+)= (1 - tanh(*scale)^2) * sum of h * u */
    relora_status (*scale_grad)(struct queue *q, float *grad, const float *scale, struct view h,
                                struct view u, int32_t accumulate);
    /* *bits = max(*bits, those of each |x| as F32): numbers, then infinity, then NaNs */
    relora_status (*largest)(struct queue *q, struct view x, uint32_t *bits);
    relora_status (*adam_norm)(struct queue *q, const struct adam *a);
    relora_status (*adam_decide)(struct queue *q, const struct adam *a); /* from *squares */
    relora_status (*adam_step)(struct queue *q, const struct adam *a);
    relora_status (*prune)(struct queue *q, const struct prune *p);
    relora_status (*span)(struct queue *q, const struct span *s);
    relora_status (*share)(struct queue *q, const struct share *s);
    relora_status (*project)(struct queue *q, const struct project *p);

    int64_t slice_rows; /* of W + s B A, that are made at a time at least; 0: all of them */
    /* rows of temporaries begin at multiples of this, where products like that; at least 1 */
    int64_t row_bytes;
};

extern const struct backend backend_cpu;

/* The one symbol of a module: its table, or NULL if `version` is not its own. */
typedef const struct backend *(*backend_entry)(uint32_t version);

#endif
