/* Calls on contexts, streams and tensors. */
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
    size_t capacity = choose() % 64, length = 0, again = 0;
    char *buffer = borrow_bytes(capacity ? capacity : 1);
    if (capacity % 2) {
        const relora_stream *stream = pick(STREAM);
        CALL(relora_stream_error, stream, buffer, capacity, &length);
        return;
    }
    const relora_context *ctx = pick(CONTEXT);
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
    switch (which % 15) {
    case 0: status = relora_context_options_init(options, size); break;
    case 1: status = relora_linear_options_init(options, size); break;
    case 2: status = relora_adam_options_init(options, size); break;
    case 3: status = relora_reset_options_init(options, size); break;
    case 4: status = relora_schedule_options_init(options, size); break;
    case 5: status = relora_cycle_options_init(options, size); break;
    case 6: status = relora_step_report_init(options, size); break;
    case 7: status = relora_merge_report_init(options, size); break;
    case 8: status = relora_reset_report_init(options, size); break;
    case 9: status = relora_plan_report_init(options, size); break;
    case 10: status = relora_merge_options_init(options, size); break;
    case 12: status = relora_full_rank_report_init(options, size); break;
    case 13: status = relora_factors_options_init(options, size); break;
    case 14: status = relora_comm_init(options, size); break;
    default: status = relora_read_report_init(options, size); break;
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

relora_dtype choose_dtype(void)
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

int32_t choose_strides(int64_t shape[4], int64_t strides[4])
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

int lies_in_block(const relora_tensor *t)
{
    struct rows rows = rows_of(t);
    if (rows.count <= 1) return 1;
    return rows.pitch <= BLOCK && (size_t)(rows.count - 1) * rows.pitch + rows.bytes <= BLOCK;
}

void borrow_tensor(void)
{
    int64_t shape[4], strides[4];
    relora_tensor *t = NOWHERE;
    relora_device *device = pick_device();
    relora_dtype dtype = choose_dtype();
    int32_t ndim = choose_strides(shape, strides);
    uint8_t block = choose(), how = choose(), seed = choose();
    unsigned char *data = how >= 252 ? NULL : lent[block % BLOCKS] + (how >= 250);
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
    if (c % 3 == 0) {
        struct loan *next = loan_new();
        if (t) *next = (struct loan){t, 1};
        if (CALL(relora_tensor_set_data_owned, t, data, loan_return, next) < 0) next->owed = 0;
        return;
    }
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
