/* How the products of a layer are made: what their provider tells of each, from its shape alone. */
#include "pass.h"
#include "path.h"
#include "shape.h"

static struct view shape(int64_t rows, int64_t cols, relora_dtype dtype)
{
    return (struct view){NULL, rows, cols, cols, dtype};
}

struct paths {
    const struct call *call;
    const struct relora_device *device;
    size_t bytes; /* that the largest needs */
};

static relora_status tell(struct paths *p, const struct gemm *g, struct gemm_path *path)
{
    const struct backend *backend = p->device->backend;
    relora_status status = backend->gemm_tell(p->device->queue, g, path);
    if (path->bytes > p->bytes) p->bytes = path->bytes;
    return call_backend(p->call, status, backend, p->device->queue);
}

/* The products with W: y, dx, and the gradient of W, also where it stands for those of A and B. */
static relora_status tell_weight(struct paths *p, const relora_linear *linear, int64_t rows,
                                 struct gemm_path path[2])
{
    const relora_linear_options *o = &linear->options;
    static const float some_bias = 0;
    const float *bias = linear->param[RELORA_PARAM_BIAS] ? &some_bias : NULL;
    int in_out = linear_in_out(o);
    struct view x = shape(rows, o->in_features, o->dtype), y = shape(rows, o->out_features, o->dtype);
    struct view w = shape(linear_weight_rows(o), linear_weight_cols(o), o->dtype);
    struct gemm_path gradient;
    TRY(tell(p, &(struct gemm){.a = x, .b = w, .tb = !in_out, .c = y, .bias = bias}, &path[0]));
    TRY(tell(p, &(struct gemm){.a = y, .b = w, .tb = in_out, .c = x}, &path[1]));
    return tell(p,
                &(struct gemm){.a = in_out ? x : y,
                               .ta = 1,
                               .b = in_out ? y : x,
                               .c = shape(w.rows, w.cols, RELORA_F32),
                               .accumulate = 1},
                &gradient);
}

/* Those with A and B. The last makes dx, the one before y. */
static relora_status tell_factors(struct paths *p, const relora_linear *linear, int64_t rows,
                                  struct gemm_path path[2])
{
    const relora_linear_options *o = &linear->options;
    int64_t n = o->in_features, m = o->out_features, r = o->rank;
    struct view x = shape(rows, n, o->dtype), y = shape(rows, m, o->dtype), u = shape(rows, r, o->dtype);
    struct view a = shape(r, n, o->dtype), b = shape(m, r, o->dtype), w = shape(m, n, RELORA_F32);
    struct view wide_a = shape(r, n, RELORA_F32), wide_b = shape(m, r, RELORA_F32);
    const struct gemm products[] = {
        {.a = y, .b = b, .c = u},
        {.a = u, .ta = 1, .b = x, .c = wide_a, .accumulate = 1},
        {.a = y, .ta = 1, .b = u, .c = wide_b, .accumulate = 1},
        {.a = wide_b, .ta = 1, .b = w, .c = wide_a, .accumulate = 1},
        {.a = w, .b = wide_a, .tb = 1, .c = wide_b, .accumulate = 1},
        {.a = b, .b = a, .c = w}, /* a fold, in slices */
        {.a = x, .b = a, .tb = 1, .c = u},
        {.a = u, .b = b, .tb = 1, .c = y, .accumulate = 1},
        {.a = u, .b = a, .c = x, .accumulate = 1},
    };
    enum { PRODUCTS = sizeof products / sizeof *products };
    struct gemm_path last[PRODUCTS];
    for (int i = 0; i < PRODUCTS; i++) TRY(tell(p, &products[i], &last[i]));
    path[0] = last[PRODUCTS - 3];
    path[1] = last[PRODUCTS - 1];
    return RELORA_OK;
}

/* Those of a sketch that are unlike the products with A and B. */
static relora_status tell_sketch(struct paths *p, const relora_linear *linear, int64_t rows)
{
    const relora_linear_options *o = &linear->options;
    struct view y = shape(rows, o->out_features, o->dtype), thin = shape(rows, o->rank, o->dtype);
    struct view half = shape(o->rank, o->out_features, o->dtype);
    struct gemm_path path;
    TRY(tell(p, &(struct gemm){.a = thin, .ta = 1, .b = y, .c = half}, &path));
    return tell(p, &(struct gemm){.a = y, .b = half, .tb = 1, .c = thin}, &path);
}

/* Are they matrices that there could be? Others overflow what counts their bytes. */
static int is_possible(const relora_linear_options *o, int64_t rows)
{
    const int64_t sizes[] = {rows, o->in_features, o->out_features, o->rank};
    int64_t largest = 1, second = 1;
    for (int i = 0; i < 4; i++) {
        if (sizes[i] > INT32_MAX) return 0;
        if (sizes[i] > largest) second = largest, largest = sizes[i];
        else if (sizes[i] > second) second = sizes[i];
    }
    return largest * second <= INT64_C(1) << 48;
}

static void log_paths(const struct call *c, const relora_linear *linear, int64_t rows,
                      const struct gemm_path path[2])
{
    const relora_linear_options *o = &linear->options;
    char text[2][PATH_TEXT];
    call_log(c, RELORA_LOG_INFO, "%lld rows of %lld to %lld in %s: forward by %s, backward by %s",
             (long long)rows, (long long)o->in_features, (long long)o->out_features, dtype_name(o->dtype),
             path_text(&path[0], text[0]), path_text(&path[1], text[1]));
}

relora_status pass_tell(const struct call *c, const relora_linear *linear, int64_t rows,
                        relora_plan_report *r)
{
    struct paths p = {.call = c, .device = linear->device};
    struct gemm_path path[2] = {{0}}, factors[2] = {{0}};
    const relora_linear_options *o = &linear->options;
    if (!p.device->backend->gemm_tell || !is_possible(o, rows)) return RELORA_OK;
    if (o->mode != RELORA_MODE_LOWRANK) TRY(tell_weight(&p, linear, rows, path));
    if (o->mode != RELORA_MODE_FULL)
        TRY(tell_factors(&p, linear, rows, o->mode == RELORA_MODE_LOWRANK ? path : factors));
    if (linear->param[RELORA_PARAM_SKETCH]) TRY(tell_sketch(&p, linear, rows));
    r->forward_provider = path[0].provider, r->backward_provider = path[1].provider;
    r->forward_isa = path[0].isa, r->backward_isa = path[1].isa;
    r->forward_converts = path[0].converts, r->backward_converts = path[1].converts;
    r->product_bytes = (int64_t)p.bytes;
    log_paths(c, linear, rows, path);
    return RELORA_OK;
}
