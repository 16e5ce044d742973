/* Calls on contexts, streams, tensors and layers. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "fuzz/api_world.h"

/* ---- contexts and streams ---- */

void make_context(void)
{
    relora_context_options o;
    relora_context *ctx = NOWHERE;
    REQUIRE(relora_context_options_init(&o, sizeof o) == RELORA_OK);
    uint8_t c = choose();
    o.log_level = c % 4 + RELORA_LOG_ERROR;
    context_listen(&o, c >= 240);
    if (c == 239) o.host_free = NULL; /* one without the other */
    const void *options = choose_options(&o, sizeof o, offsetof(relora_context_options, log_level));
    relora_context **out = choose() == 255 ? NULL : &ctx;
    relora_status status = CALL(relora_context_create, out, options);
    keep(CONTEXT, status, ctx, out != NULL);
}

void ask_error(void)
{
    const relora_context *ctx = pick(CONTEXT);
    size_t capacity = choose() % 64, length = 0, again = 0;
    char *buffer = borrow_bytes(capacity ? capacity : 1);
    if (CALL(relora_context_error, ctx, NULL, 0, &length) < 0) return;
    CALL(relora_context_error, ctx, buffer, capacity, &again);
    REQUIRE(length == again);
    if (capacity) REQUIRE(strlen(buffer) == (length < capacity ? length : capacity - 1));
    if (capacity) result_text(buffer);
}

void ask_device(void)
{
    uint64_t free_bytes = 1, all_bytes = 0;
    relora_context *ctx = pick(CONTEXT);
    int32_t kind = choose() % 4, index = choose() % 4 - 1, count = relora_device_count(ctx, kind);
    relora_device *device = relora_device_get(ctx, kind, index);
    REQUIRE(!!device == (index >= 0 && index < count));
    REQUIRE(relora_device_get_kind(device) == (device ? kind : 0));
    result_text(relora_device_name(device));
    int whole = choose() % 2;
    if (!device) end_operation(); /* no handle leads to a context */
    relora_status status = CALL(relora_device_memory, device, whole ? &free_bytes : NULL, &all_bytes);
    if (status == RELORA_OK && whole) REQUIRE(free_bytes <= all_bytes);
}

void make_stream(void)
{
    relora_stream *stream = NOWHERE;
    relora_device *device = pick_device();
    relora_stream **out = choose() == 255 ? NULL : &stream;
    relora_status status = CALL(relora_stream_create, out, device);
    keep(STREAM, status, stream, out != NULL);
}

void use_stream(void)
{
    relora_stream *stream = pick(STREAM), *other = pick(STREAM);
    if (choose() % 2) {
        CALL(relora_stream_wait, stream, other);
    } else {
        end_operation(); /* of the other stream this call knows nothing */
        stream = pick(STREAM);
        CALL(relora_stream_synchronize, stream);
    }
}

/* Every init writes exactly the bytes it was told of, and its size first. */
void init_options(void)
{
    uint8_t which = choose();
    size_t size = which % 8 == 7 ? (size_t)choose_number(4096) : (size_t)choose() % 128;
    size_t bytes = size > 8192 ? 8192 : size;
    void *options = which >= 248 ? NULL : borrow_bytes(bytes ? bytes : 1);
    relora_status status;
    call_begin("relora_options_init");
    switch (which % 6) {
    case 0: status = relora_context_options_init(options, size); break;
    case 1: status = relora_linear_options_init(options, size); break;
    case 2: status = relora_adam_options_init(options, size); break;
    case 3: status = relora_reset_options_init(options, size); break;
    case 4: status = relora_schedule_options_init(options, size); break;
    default: status = relora_cycle_options_init(options, size); break;
    }
    int good = options && size >= 4 && size <= 4096;
    REQUIRE((status == RELORA_OK) == good);
    if (good) result(options, size);
}

/* ---- tensors ---- */

static int32_t choose_shape(int64_t shape[10])
{
    uint8_t c = choose();
    int32_t ndim = c < 240 ? c % 4 : c % 10;
    for (int32_t i = 0; i < ndim; i++) {
        uint8_t size = choose();
        shape[i] = size < 250 ? size % 9 : choose_number(17);
    }
    return c == 255 ? -1 : ndim;
}

static relora_dtype choose_dtype(void)
{
    uint8_t c = choose();
    return c < 160 ? RELORA_F32 : c < 250 ? RELORA_BF16 : c - 252;
}

void make_tensor(void)
{
    int64_t shape[10];
    relora_tensor *t = NOWHERE;
    relora_device *device = pick_device();
    relora_dtype dtype = choose_dtype();
    int32_t ndim = choose_shape(shape);
    uint8_t seed = choose(), lost = choose();
    const int64_t *sizes = lost == 254 ? NULL : shape;
    relora_tensor **out = lost == 255 ? NULL : &t;
    relora_status status = CALL(relora_tensor_create, out, device, dtype, ndim, sizes);
    if (status == RELORA_OK) fill_tensor(t, seed);
    keep(TENSOR, status, t, out != NULL);
}

/* Up to 16 rows of 4 elements, at most 8 elements apart; then perhaps one stride is another. */
static int32_t choose_strides(int64_t shape[4], int64_t strides[4])
{
    uint8_t c = choose();
    int32_t ndim = c % 4;
    int64_t next = 1;
    for (int32_t i = ndim - 1; i >= 0; i--) {
        shape[i] = choose() % 5;
        strides[i] = next;
        next = i == ndim - 1 ? shape[i] + c / 4 % 5 : next * shape[i];
    }
    if (c >= 224 && ndim) strides[c / 4 % ndim] = choose_number(8);
    return ndim;
}

static int lies_in_block(const relora_tensor *t)
{
    struct rows rows = rows_of(t);
    return rows.count <= 1 || (rows.pitch <= BLOCK && (size_t)(rows.count - 1) * rows.pitch + rows.bytes <= BLOCK);
}

void borrow_tensor(void)
{
    int64_t shape[4], strides[4];
    relora_tensor *t = NOWHERE;
    relora_device *device = pick_device();
    relora_dtype dtype = choose_dtype();
    int32_t ndim = choose_strides(shape, strides);
    uint8_t block = choose(), how = choose(), seed = choose();
    unsigned char *data = how == 255 ? NULL : lent[block % BLOCKS] + (how >= 250);
    struct loan *loan = how % 2 ? loan_new() : NULL;
    const int64_t *used = how % 4 == 2 ? NULL : strides;
    relora_status status = CALL(relora_tensor_borrow, &t, device, dtype, ndim, shape, used, data,
                                loan ? loan_return : NULL, loan);
    if (status == RELORA_OK && loan) *loan = (struct loan){t, 1};
    if (status == RELORA_OK && !lies_in_block(t)) { /* only as long as nobody looks */
        relora_tensor_release(t);
        return;
    }
    if (status == RELORA_OK) fill_tensor(t, seed);
    keep(TENSOR, status, t, 1);
}

void point_tensor(void)
{
    relora_tensor *t = pick(TENSOR);
    uint8_t c = choose();
    void *data = c == 255 ? NULL : lent[c % BLOCKS] + (c >= 250);
    struct loan *loan = t && relora_tensor_data(t) != data ? loan_of(t) : NULL;
    if (loan) loan->owed++;
    if (CALL(relora_tensor_set_data, t, data) < 0 && loan) loan->owed--;
}

void keep_tensor(void)
{
    relora_tensor *t = pick_any_tensor();
    relora_tensor_retain(t);
    if (t) keep(TENSOR, RELORA_OK, t, 1);
}

/* Host memory for all elements, or for a few bytes more or less. */
static void *host_memory(const relora_tensor *t, size_t *bytes)
{
    struct rows rows = {0};
    uint8_t c = choose();
    if (t) rows = rows_of(t);
    *bytes = (size_t)rows.count * rows.bytes;
    if (c >= 224) *bytes = (*bytes + c) % 300;
    return c == 223 ? NULL : memset(borrow_bytes(*bytes ? *bytes : 1), c, *bytes ? *bytes : 1);
}

void write_tensor(void)
{
    size_t bytes;
    relora_tensor *t = pick_any_tensor();
    relora_stream *stream = pick(STREAM);
    const void *source = host_memory(t, &bytes);
    CALL(relora_tensor_write, t, stream, source, bytes);
}

void read_tensor(void)
{
    size_t bytes;
    const relora_tensor *t = pick_any_tensor();
    relora_stream *stream = pick(STREAM);
    void *target = host_memory(t, &bytes);
    if (CALL(relora_tensor_read, t, stream, target, bytes) == RELORA_OK && target) result(target, bytes);
}

void copy_tensor(void)
{
    relora_tensor *target = pick_any_tensor();
    const relora_tensor *source = pick_any_tensor();
    relora_stream *stream = pick(STREAM);
    CALL(relora_tensor_copy, target, source, stream);
}

void set_tensor(void)
{
    relora_tensor *t = pick_any_tensor();
    relora_stream *stream = pick(STREAM);
    double value = choose_real(0.25);
    CALL(relora_tensor_fill, t, stream, value);
}

void fill_any(void)
{
    relora_tensor *t = pick_any_tensor();
    uint8_t seed = choose();
    if (t) fill_tensor(t, seed);
}

static double number_at(const relora_tensor *t, int64_t i)
{
    float f = 0;
    const unsigned char *data = relora_tensor_data(t);
    int wide = relora_tensor_dtype(t) == RELORA_F32;
    memcpy((unsigned char *)&f + (wide ? 0 : 2), data + i * (wide ? 4 : 2), wide ? 4 : 2);
    return (double)f;
}

/* ---- layers ---- */

static relora_linear_options choose_layer(void)
{
    relora_linear_options o;
    REQUIRE(relora_linear_options_init(&o, sizeof o) == RELORA_OK);
    uint8_t mode = choose(), sizes = choose(), flags = choose();
    o.mode = mode < 128 ? RELORA_MODE_LORA : mode % 3 + 1;
    o.dtype = mode % 4 ? RELORA_F32 : RELORA_BF16;
    o.in_features = sizes % 8 + 1;
    o.out_features = sizes == 255 ? 300 : sizes / 8 % 8 + 1; /* more than one slice of a merge */
    o.rank = sizes / 64 + (o.mode != RELORA_MODE_FULL);
    o.flags = flags % 16;
    if (o.mode == RELORA_MODE_LOWRANK) o.flags &= ~(uint32_t)RELORA_LINEAR_KEEP_DELTA;
    o.rounding = flags & 16 ? RELORA_ROUND_NEAREST : RELORA_ROUND_STOCHASTIC;
    o.layer = flags / 32;
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

static relora_tensor *matrix(const relora_tensor *like, relora_dtype dtype, int64_t rows, int64_t cols, uint8_t seed)
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
        weight = matrix(any_part(linear), how % 8 ? RELORA_F32 : RELORA_BF16, out, in, how);
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
    relora_linear_mode mode = c < 200 ? RELORA_MODE_LORA : c % 6 - 1;
    CALL(relora_linear_set_mode, linear, stream, mode);
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

void forward(void)
{
    relora_tensor *m[3];
    relora_linear *linear = pick(LINEAR);
    relora_stream *stream = pick(STREAM);
    choose_matrices(linear, m, 2);
    uint64_t call = choose() % 4;
    uint32_t flags = choose_flags(RELORA_TRAIN);
    CALL(relora_linear_forward, linear, stream, m[0], m[1], call, flags);
}

void backward(void)
{
    relora_tensor *m[3];
    relora_linear *linear = pick(LINEAR);
    relora_stream *stream = pick(STREAM);
    choose_matrices(linear, m, 3);
    uint64_t call = choose() % 4;
    uint32_t flags = choose_flags(RELORA_TRAIN | RELORA_OVERWRITE | RELORA_ACCUMULATE_DX);
    CALL(relora_linear_backward, linear, stream, m[0], m[1], m[2], call, flags);
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
static void merge_and_compare(relora_linear *linear, relora_stream *stream, relora_dtype dtype, uint8_t seed)
{
    int64_t in, out;
    features(linear, &in, &out);
    relora_tensor *a = relora_linear_param(linear, RELORA_PARAM_A), *b = relora_linear_param(linear, RELORA_PARAM_B);
    relora_tensor *x = matrix(a, dtype, 3, in, seed), *w = matrix(a, dtype, out, in, seed / 2);
    relora_tensor *before = matrix(a, dtype, 3, out, 0), *after = matrix(a, dtype, 3, out, 0);
    if (!x || !w || !before || !after || CALL(relora_linear_set_weight, linear, w, NULL) < 0) return;
    fill_tensor(b, seed % 240);
    double scale = 1 + (double)in * largest(x) * (largest(w) + 2 * (double)relora_tensor_dim(a, 0) * largest(a) * largest(b));
    if (CALL(relora_linear_forward, linear, stream, x, before, 0, 0) < 0) return;
    if (CALL(relora_linear_merge, linear, stream, seed, NULL) < 0) return;
    if (CALL(relora_linear_reset, linear, stream, seed) < 0) return;
    if (CALL(relora_linear_forward, linear, stream, x, after, 0, 0) == RELORA_OK) compare(before, after, scale);
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
        merge_and_compare(linear, stream, o.dtype, seed);
    release_object(LINEAR, linear);
    release_object(STREAM, stream);
}
