/* Calls on layers. A merge and a reset together leave y as it was. */
#include <math.h>
#include <string.h>
#include "fuzz/api_world.h"

static double number_at(const relora_tensor *t, int64_t i)
{
    float f = 0;
    const unsigned char *data = relora_tensor_data(t);
    int wide = relora_tensor_dtype(t) == RELORA_F32;
    memcpy((unsigned char *)&f + (wide ? 0 : 2), data + i * (wide ? 4 : 2), wide ? 4 : 2);
    return (double)f;
}

relora_linear_options choose_layer(void)
{
    relora_linear_options o;
    REQUIRE(relora_linear_options_init(&o, sizeof o) == RELORA_OK);
    uint8_t mode = choose(), sizes = choose(), flags = choose();
    o.mode = mode < 128 ? RELORA_MODE_LORA : mode % 3 + 1;
    o.dtype = mode % 4 ? RELORA_F32 : RELORA_BF16;
    o.in_features = sizes % 8 + 1;
    o.out_features = sizes == 255 ? 300 : sizes / 8 % 8 + 1; /* more than one slice of a merge */
    o.rank = sizes / 64 + (o.mode != RELORA_MODE_FULL);
    o.flags = flags % 16 | (mode & 64 ? RELORA_LINEAR_IN_OUT : 0);
    if (mode & 32) o.flags |= mode & 16 ? RELORA_LINEAR_FREEZE_A : RELORA_LINEAR_FREEZE_B;
    if (sizes == 254) o.flags |= RELORA_LINEAR_FREEZE_A; /* which may be one too many */
    if (o.mode == RELORA_MODE_LOWRANK) o.flags &= ~(uint32_t)RELORA_LINEAR_KEEP_DELTA;
    o.rounding = flags & 16 ? RELORA_ROUND_NEAREST : RELORA_ROUND_STOCHASTIC;
    o.layer = flags / 32;
    o.init = mode / 4 % 16 < 5 ? mode / 4 % 16 : 0;
    if (sizes % 64 == 61)
        o.flags |= RELORA_LINEAR_FREEZE_A, o.init = RELORA_INIT_GRADIENT; /* with a sketch */
    o.dropout = flags & 32 ? 0 : 0.25;
    o.alpha = 2;
    return o;
}

/* The sizes of a layer, as far as its parameters tell. */
static void features(relora_linear *linear, int64_t *in, int64_t *out)
{
    relora_tensor *w = relora_linear_grad(linear, RELORA_PARAM_WEIGHT);
    relora_tensor *a = w ? w : relora_linear_param(linear, RELORA_PARAM_A);
    relora_tensor *b = w ? w : relora_linear_param(linear, RELORA_PARAM_B);
    *in = relora_tensor_dim(a, 1);
    *out = relora_tensor_dim(b, 0);
}

static relora_tensor *matrix(const relora_tensor *like, relora_dtype dtype, int64_t rows, int64_t cols,
                             uint8_t seed)
{
    const int64_t shape[2] = {rows, cols};
    return temporary(like, dtype, 2, shape, seed);
}

static relora_tensor *any_part(relora_linear *linear)
{
    relora_tensor *a = relora_linear_param(linear, RELORA_PARAM_A);
    return a ? a : relora_linear_grad(linear, RELORA_PARAM_WEIGHT);
}

void make_linear(void)
{
    relora_linear *linear = NOWHERE;
    relora_device *device = pick_device();
    relora_linear_options o = choose_layer();
    const void *options = choose_options(&o, sizeof o, sizeof o);
    uint8_t lost = choose();
    relora_linear **out = lost == 255 ? NULL : &linear;
    if (lost == 254) options = NULL;
    relora_status status = CALL(relora_linear_create, out, device, options);
    keep(LINEAR, status, linear, out != NULL);
}

void set_weight(void)
{
    int64_t in, out;
    relora_linear *linear = pick(LINEAR);
    relora_tensor *weight = NULL, *bias = NULL;
    uint8_t how = choose();
    if (linear && how < 200) { /* one that fits */
        features(linear, &in, &out);
        weight = matrix(any_part(linear), how % 8 ? RELORA_F32 : RELORA_BF16, how & 16 ? in : out,
                        how & 16 ? out : in, how);
        if (how & 32) bias = temporary(any_part(linear), how & 64 ? RELORA_BF16 : RELORA_F32, 1, &out, how);
    } else {
        weight = pick_any_tensor();
        bias = pick_any_tensor();
    }
    CALL(relora_linear_set_weight, linear, weight, bias);
}

void set_mode(void)
{
    relora_linear *linear = pick(LINEAR);
    relora_stream *stream = pick(STREAM);
    uint8_t c = choose();
    relora_linear_mode mode = c < 100 ? RELORA_MODE_LORA : c < 200 ? RELORA_MODE_FULL : c % 6 - 1;
    CALL(relora_linear_set_mode, linear, stream, mode);
    if (!(c & 64)) return;
    end_operation();
    relora_adam *adam = pick(ADAM);
    stream = pick(STREAM);
    CALL(relora_adam_refresh, adam, stream);
}

/* x and y, or x, dy and dx, for some rows; mostly of the layer's sizes. */
static void choose_matrices(relora_linear *linear, relora_tensor *m[3], int count)
{
    int64_t in, out;
    uint8_t how = choose();
    m[0] = m[1] = m[2] = NULL;
    if (!linear || how >= 208) {
        for (int i = 0; i < count; i++) m[i] = pick_any_tensor();
        return;
    }
    features(linear, &in, &out);
    const relora_tensor *like = any_part(linear), *w = relora_linear_param(linear, RELORA_PARAM_WEIGHT);
    relora_dtype dtype = w ? relora_tensor_dtype(w) : how & 1 ? RELORA_BF16 : RELORA_F32;
    uint8_t seed = choose();
    m[0] = matrix(like, dtype, how % 7, in, seed);
    m[1] = matrix(like, dtype, how % 7 + (how == 207), out, seed);
    if (count == 3 && how & 8) m[2] = matrix(like, dtype, how % 7, in, seed / 2);
}

static uint32_t choose_flags(uint32_t known)
{
    uint8_t c = choose();
    return c < 240 ? c & known : c;
}

/* One byte says the call, and now and then an order of products to force first, right or wrong. */
static uint64_t choose_call(relora_linear *linear)
{
    uint8_t c = choose();
    relora_plan_report report = {.struct_size = sizeof report};
    if (!linear) return c % 4;
    if (c >= 64 && c < 160) CALL(relora_linear_set_order, linear, c / 4 % 5, c / 16 % 6);
    if (c >= 160 && c < 176) {
        if (CALL(relora_linear_plan, linear, choose_number(5), c % 4 == 3 ? RELORA_SKETCH : c % 4, &report) ==
            0)
            result(&report, sizeof report);
    }
    return c % 4;
}

/* Sometimes as layers that share their input: one of them, or one twice, which is refused. */
static int32_t choose_shared(uint64_t call, uint32_t flags)
{
    return call == 3 ? 1 + (int32_t)(flags & RELORA_TRAIN) : 0;
}

void forward(void)
{
    relora_tensor *m[3];
    relora_linear *linear = pick(LINEAR);
    relora_stream *stream = pick(STREAM);
    choose_matrices(linear, m, 2);
    uint64_t call = choose_call(linear);
    uint32_t flags = choose_flags(RELORA_TRAIN | RELORA_ACCUMULATE_Y);
    int32_t shared = choose_shared(call, flags);
    relora_linear *const both[] = {linear, linear};
    relora_tensor *const y[] = {m[1], m[1]};
    if (shared) CALL(relora_linear_forward_shared, both, shared, stream, m[0], y, call, flags);
    else CALL(relora_linear_forward, linear, stream, m[0], m[1], call, flags);
}

/* One that fits, or any tensor. */
static relora_tensor *choose_weight_grad(relora_linear *linear, relora_tensor *m[3])
{
    int64_t in, out;
    uint8_t c = choose();
    if (!linear || c >= 208) return pick_any_tensor();
    features(linear, &in, &out);
    return matrix(m[0], RELORA_F32, c & 1 ? in : out, c & 1 ? out : in, c);
}

void backward(void)
{
    relora_tensor *m[3];
    relora_linear *linear = pick(LINEAR);
    relora_stream *stream = pick(STREAM);
    choose_matrices(linear, m, 3);
    uint64_t call = choose_call(linear);
    uint32_t flags = choose_flags(RELORA_TRAIN | RELORA_OVERWRITE | RELORA_ACCUMULATE_DX | RELORA_SKETCH);
    int32_t shared = choose_shared(call, flags);
    relora_linear *const both[] = {linear, linear};
    relora_tensor *const dy[] = {m[1], m[1]};
    if (call == 2 && m[0] && m[1]) {
        relora_tensor *dw = choose_weight_grad(linear, m);
        CALL(relora_linear_weight_grad, linear, stream, m[0], m[1], dw, flags & RELORA_OVERWRITE);
        return;
    }
    if (shared) CALL(relora_linear_backward_shared, both, shared, stream, m[0], dy, m[2], call, flags);
    else CALL(relora_linear_backward, linear, stream, m[0], m[1], m[2], call, flags);
}

/* Pointers into matrices that are large enough for the rows and the type, and now and then a wrong argument. */
void pass_at(void)
{
    relora_linear *linear = pick(LINEAR);
    relora_stream *stream = pick(STREAM);
    uint8_t how = choose(), seed = choose();
    int64_t in = 1, out = 1, rows = how % 7;
    relora_tensor *m[3] = {NULL};
    if (linear) {
        features(linear, &in, &out);
        const relora_tensor *w = relora_linear_param(linear, RELORA_PARAM_WEIGHT);
        int64_t wide = in > out ? in : out; /* W of a layer in FULL does not tell which is which */
        in = out = wide;
        for (int i = 0; i < 3; i++) {
            m[i] = matrix(any_part(linear), w ? relora_tensor_dtype(w) : RELORA_F32, rows, wide, seed / 2);
            if (!m[i]) return;
        }
    }
    uint64_t call = choose_call(linear);
    void *x = how == 200 ? NULL : relora_tensor_data(m[0]), *y = relora_tensor_data(m[1]),
         *dx = relora_tensor_data(m[2]);
    int64_t ldx = in - (how == 201), ldy = out - (how == 202), asked = how == 203 ? -1 : rows;
    uint32_t flags = choose_flags(RELORA_TRAIN | RELORA_ACCUMULATE_Y);
    if (seed % 2) {
        CALL(relora_linear_forward_at, linear, stream, asked, x, ldx, y, ldy, call, flags);
        return;
    }
    flags = choose_flags(RELORA_TRAIN | RELORA_OVERWRITE | RELORA_ACCUMULATE_DX | RELORA_SKETCH);
    CALL(relora_linear_backward_at, linear, stream, asked, x, ldx, y, ldy, seed & 2 ? dx : NULL, in, call,
         flags);
}

static int is_finite(const relora_tensor *t)
{
    int finite = 1;
    for (int64_t i = 0; i < relora_tensor_count(t); i++) finite &= isfinite(number_at(t, i)) != 0;
    return finite;
}

/* Only finite factors are merged. They must not be the layer's own W, which a host may also do. */
static void check_merged(relora_linear *linear)
{
    const relora_tensor *w = relora_linear_param(linear, RELORA_PARAM_WEIGHT);
    for (relora_param p = RELORA_PARAM_A; p <= RELORA_PARAM_SCALE; p++) {
        const relora_tensor *t = relora_linear_param(linear, p);
        REQUIRE(t == w || is_finite(t));
    }
}

void merge(void)
{
    relora_linear *linear = pick(LINEAR);
    relora_stream *stream = pick(STREAM);
    uint64_t cycle = (uint64_t)choose_number(1);
    if (cycle == 2) {
        step_full_rank(linear, stream);
        return;
    }
    relora_merge_report *report = choose_report(sizeof *report);
    if (CALL(relora_linear_merge, linear, stream, cycle, report) < 0) return;
    check_merged(linear);
    if (report) result(report, report->struct_size);
}

void reset(void)
{
    relora_linear *linear = pick(LINEAR);
    relora_stream *stream = pick(STREAM);
    uint64_t cycle = (uint64_t)choose_number(1);
    CALL(relora_linear_reset, linear, stream, cycle);
}

void zero_linear(void)
{
    relora_linear *linear = pick(LINEAR);
    relora_stream *stream = pick(STREAM);
    CALL(relora_linear_zero_grad, linear, stream);
}

/* ---- merge and reset together leave y as it was ---- */

static double largest(const relora_tensor *t)
{
    double most = 0;
    for (int64_t i = 0; i < relora_tensor_count(t); i++) most = fmax(most, fabs(number_at(t, i)));
    return most;
}

static void compare(const relora_tensor *before, const relora_tensor *after, double scale)
{
    double tolerance = (relora_tensor_dtype(before) == RELORA_F32 ? 1e-5 : 0.05) * scale;
    for (int64_t i = 0; i < relora_tensor_count(before); i++)
        REQUIRE(fabs(number_at(before, i) - number_at(after, i)) <= tolerance);
}

/* All values here are below 1, so that the sum of the sizes of all terms is known. */
static void merge_and_compare(relora_linear *linear, relora_stream *stream, const relora_linear_options *o,
                              uint8_t seed)
{
    const relora_dtype dtype = o->dtype;
    const int turned = (o->flags & RELORA_LINEAR_IN_OUT) != 0;
    int64_t in, out;
    features(linear, &in, &out);
    relora_tensor *a = relora_linear_param(linear, RELORA_PARAM_A);
    relora_tensor *b = relora_linear_param(linear, RELORA_PARAM_B);
    relora_tensor *x = matrix(a, dtype, 3, in, seed),
                  *w = matrix(a, dtype, turned ? in : out, turned ? out : in, seed / 2);
    relora_tensor *before = matrix(a, dtype, 3, out, 0), *after = matrix(a, dtype, 3, out, 0);
    if (!x || !w || !before || !after || CALL(relora_linear_set_weight, linear, w, NULL) < 0) return;
    fill_tensor(b, seed % 240);
    double branch = 2 * (double)relora_tensor_dim(a, 0) * largest(a) * largest(b);
    double scale = 1 + (double)in * largest(x) * (largest(w) + branch);
    if (CALL(relora_linear_forward, linear, stream, x, before, 0, 0) < 0) return;
    if (CALL(relora_linear_merge, linear, stream, seed, NULL) < 0) return;
    if (CALL(relora_linear_reset, linear, stream, seed) < 0) return;
    if (CALL(relora_linear_forward, linear, stream, x, after, 0, 0) < 0) return;
    compare(before, after, scale);
}

void keep_y(void)
{
    relora_linear *linear = NULL;
    relora_stream *stream = NULL;
    relora_device *device = pick_device();
    relora_linear_options o = choose_layer();
    uint8_t seed = choose() % 240;
    o.mode = RELORA_MODE_LORA;
    if (!o.rank) o.rank = 1;
    o.flags &= ~(uint32_t)RELORA_LINEAR_REFERENCE; /* whose A and B are both 0 */
    if (CALL(relora_stream_create, &stream, device) == RELORA_OK &&
        CALL(relora_linear_create, &linear, device, &o) == RELORA_OK)
        merge_and_compare(linear, stream, &o, seed);
    release_object(LINEAR, linear);
    release_object(STREAM, stream);
}
