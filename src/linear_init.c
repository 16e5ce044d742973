/* How the factors of a layer begin: when it is made, when its warm start ends, and at a reset. */
#include "linear_init.h"

#include "merge.h"
#include "renew.h"

static struct view view_of(const relora_tensor *tensor)
{
    return tensor ? tensor_view(tensor) : (struct view){.data = NULL};
}

static struct renewal renewal_of(const relora_linear *linear, uint64_t cycle)
{
    const relora_linear_options *o = &linear->options;
    const relora_tensor *sketch = linear->param[RELORA_PARAM_SKETCH];
    return (struct renewal){.a = view_of(linear->param[RELORA_PARAM_A]),
                            .b = view_of(linear->param[RELORA_PARAM_B]),
                            .gradient = view_of(sketch ? sketch : linear->grad[RELORA_PARAM_A]),
                            .init = o->init,
                            .seed = o->seed,
                            .layer = o->layer,
                            .cycle = cycle,
                            .draws_b = (o->flags & RELORA_LINEAR_FREEZE_B) != 0};
}

/* ---- the gradient of W, before it is let go ---- */

struct sketch {                   /* of the rows of the gradient, as many as the rank */
    struct view test, half, rows; /* [rank, out] twice, [rank, in] */
};

/* c = a G, or a G^T with `transposed`; G is [out, in] or, as the layer has W, [in, out]. */
static relora_status times_gradient(const struct call *c, const relora_linear *linear, struct view a,
                                    int transposed, struct view to)
{
    struct gemm g = {.a = a,
                     .b = tensor_view(linear->grad[RELORA_PARAM_WEIGHT]),
                     .c = to,
                     .tb = transposed != linear_in_out(&linear->options)};
    return call_queue(c, c->backend->gemm(c->queue, &g));
}

/* A randomised range finder with one power step (Halko, Martinsson and Tropp 2011); the rows that it leaves are not
 * orthonormal yet. */
static relora_status sketch_weight(const struct call *c, const relora_linear *linear, const struct sketch *s,
                                   const struct renew_memory *memory)
{
    TRY(call_queue(c, c->backend->uniform(c->queue, s->test, 1, linear_draw(linear, DRAW_SKETCH, 0))));
    TRY(times_gradient(c, linear, s->test, 0, s->rows));
    TRY(renew_orthonormal(c, s->rows, memory->basis, memory->terms));
    TRY(times_gradient(c, linear, s->rows, 1, s->half));
    return times_gradient(c, linear, s->half, 0, s->rows);
}

/* ---- the first A ---- */

struct start {
    struct renewal renewal;
    struct renew_memory memory;
    struct sketch sketch; /* without rows, if there is no gradient of W to use */
};

static void lay_out_start(struct start *start, const relora_linear *linear, struct scratch *scratch)
{
    const relora_linear_options *o = &linear->options;
    int sketches = o->init == RELORA_INIT_GRADIENT && linear->grad[RELORA_PARAM_WEIGHT];
    int64_t rank = sketches ? o->rank : 0;
    start->memory = renew_lay_out(&start->renewal, scratch);
    start->sketch.test = scratch_take(scratch, rank, o->out_features, RELORA_F32);
    start->sketch.half = scratch_take(scratch, rank, o->out_features, RELORA_F32);
    start->sketch.rows = scratch_take(scratch, rank, o->in_features, RELORA_F32);
}

static relora_status run_start(const struct call *c, const relora_linear *linear, struct start *start)
{
    start->renewal.gradient = (struct view){.data = NULL}; /* that of A is new */
    if (start->sketch.rows.rows) {
        TRY(sketch_weight(c, linear, &start->sketch, &start->memory));
        start->renewal.gradient = start->sketch.rows;
    }
    return renew(c, &start->renewal, &start->memory);
}

/* A host that gives A can do so only later, and until then the layer must not be dead. */
static relora_status start_by_init(const struct call *c, const relora_linear *linear)
{
    struct start start = {.renewal = renewal_of(linear, 0)};
    struct scratch scratch = {0};
    relora_tensor *room;
    if (start.renewal.init == RELORA_INIT_GIVEN) start.renewal.init = RELORA_INIT_MATCHED;
    if (start.renewal.init == RELORA_INIT_GRADIENT) TRY(linear_check_grad(c, linear, RELORA_PARAM_WEIGHT));
    lay_out_start(&start, linear, &scratch);
    if (scratch.used == SIZE_MAX) return call_fail_memory(c, scratch.used);
    int64_t floats = (int64_t)(scratch.used / sizeof(float));
    TRY(tensor_new(c, &room, linear->device, RELORA_F32, 1, &floats));
    scratch = (struct scratch){room->data, 0};
    lay_out_start(&start, linear, &scratch);
    relora_status status = run_start(c, linear, &start);
    relora_tensor_release(room);
    return status;
}

relora_status linear_start_factors(const struct call *c, relora_linear *linear)
{
    const relora_linear_options *o = &linear->options;
    relora_device *device = linear->device;
    struct call own = *c; /* on the queue of the device, unless there is a gradient to wait for */
    if (o->mode == RELORA_MODE_FULL) return RELORA_OK;
    if (!c->stream) own.backend = device->backend, own.queue = device->queue;
    if (!renew_is_uniform(o->init)) {
        TRY(start_by_init(&own, linear));
    } else {
        struct renewal r = renewal_of(linear, 0);
        int dead = (o->flags & RELORA_LINEAR_REFERENCE) != 0;
        own.backend = device->backend, own.queue = device->queue;
        TRY(renew_uniform(&own, &r, dead));
    }
    /* the mode changes only after it, and the gradient of W goes */
    TRY(call_queue(&own, own.backend->queue_sync(own.queue)));
    relora_tensor *scale = linear->param[RELORA_PARAM_SCALE];
    return scale ? tensor_preset(c, scale, 1) : RELORA_OK;
}

/* ---- a reset ---- */

relora_status linear_zero_sketch(const struct call *c, const relora_linear *linear)
{
    const relora_tensor *sketch = linear->param[RELORA_PARAM_SKETCH];
    return sketch ? call_queue(c, c->backend->fill(c->queue, tensor_view(sketch), 0)) : RELORA_OK;
}

struct reset_memory {
    struct renew_memory renewal;
    struct transport_memory transport;
};

static struct reset_memory lay_out_reset(const struct renewal *r, struct scratch *scratch)
{
    struct reset_memory memory = {.renewal = renew_lay_out(r, scratch)};
    if (r->keeps) memory.transport = transport_lay_out(r->b.rows, r->b.cols, scratch);
    return memory;
}

static struct renewal renewal_at(const relora_linear *linear, const struct linear_reset *reset)
{
    struct renewal r = renewal_of(linear, reset->cycle);
    r.measures = reset->measures;
    r.forgets = reset->apart;
    r.keeps = reset->transport.first.data != NULL;
    return r;
}

relora_status linear_reset_reserve(const struct call *c, const relora_linear *linear,
                                   const struct linear_reset *reset)
{
    struct renewal r = renewal_at(linear, reset);
    struct scratch scratch = {0};
    if (r.init == RELORA_INIT_GRADIENT) TRY(linear_check_grad(c, linear, RELORA_PARAM_A));
    if (renew_is_uniform(r.init) && !r.keeps) return RELORA_OK;
    lay_out_reset(&r, &scratch);
    return scratch_open(c, &scratch);
}

static relora_status renew_factors(const struct call *c, const struct renewal *r,
                                   const struct linear_reset *reset)
{
    struct scratch scratch = {0};
    struct transport t = reset->transport;
    lay_out_reset(r, &scratch);
    TRY(scratch_open(c, &scratch));
    struct reset_memory memory = lay_out_reset(r, &scratch);
    TRY(renew(c, r, &memory.renewal));
    if (!r->keeps) return RELORA_OK;
    t.old = memory.renewal.old;
    t.now = r->a;
    return moments_transport(c, &t, &memory.transport);
}

relora_status linear_reset_run(const struct call *c, relora_linear *linear, const struct linear_reset *reset)
{
    struct renewal r = renewal_at(linear, reset);
    relora_tensor *scale = linear->param[RELORA_PARAM_SCALE];
    double start = linear->options.flags & RELORA_LINEAR_REFERENCE ? 0 : 1;
    char label[LABEL_TEXT];
    TRY(renew_factors(c, &r, reset));
    TRY(linear_zero_sketch(c, linear));
    if (scale) TRY(call_queue(c, c->backend->fill(c->queue, tensor_view(scale), start)));
    call_log(c, RELORA_LOG_DEBUG, "factors of %s drawn for cycle %llu", linear_label(linear, label),
             (unsigned long long)reset->cycle);
    return RELORA_OK;
}
