/* A tensor of a file into one of the library: of the same type, or converted. */
#include <math.h>
#include <string.h>

#include "convert.h"
#include "reader.h"

enum { PIECE_ELEMENTS = 4096, READ_FLAGS = RELORA_READ_CONVERT | RELORA_READ_FINITE };

/* Elements as the target has them; the file's bytes have no alignment. */
union piece {
    float wide[PIECE_ELEMENTS];
    bf16 narrow[PIECE_ELEMENTS];
};

/* ---- converting ---- */

static uint64_t load_bits(const unsigned char *from, int32_t bits)
{
    uint64_t x = 0;
    for (int32_t i = 0; i < bits / 8; i++) x |= (uint64_t)from[i] << (8 * i);
    return x;
}

static float to_wide(enum st_number type, uint64_t bits)
{
    switch (type) {
    case ST_F64: return float_of_bits(narrow_double_bits(bits, 23));
    case ST_BF16: return bf16_to_float((bf16)bits);
    case ST_F16: return f16_to_float((uint16_t)bits);
    default: return float_of_bits((uint32_t)bits);
    }
}

/* Each with one rounding. */
static bf16 to_narrow(enum st_number type, uint64_t bits)
{
    return type == ST_F64 ? (bf16)narrow_double_bits(bits, 7) : bf16_nearest(to_wide(type, bits));
}

/* `n` elements at `from`, as `to_dtype` has them. */
static void fill_piece(union piece *to, relora_dtype to_dtype, const struct st_dtype *type,
                       const unsigned char *from, int64_t n)
{
    size_t item = (size_t)type->bits / 8;
    if (type->dtype == to_dtype) {
        memcpy(to, from, (size_t)n * item);
        return;
    }
    for (int64_t i = 0; i < n; i++) {
        uint64_t bits = load_bits(from + (size_t)i * item, type->bits);
        if (to_dtype == RELORA_F32) to->wide[i] = to_wide(type->number, bits);
        else to->narrow[i] = to_narrow(type->number, bits);
    }
}

static relora_status copy_converted(const struct call *c, const struct st_tensor *t,
                                    const unsigned char *from, relora_tensor *target)
{
    const struct shape *s = &target->shape;
    size_t from_item = (size_t)t->dtype->bits / 8, to_item = dtype_size(s->dtype);
    int dense = shape_is_dense(s);
    int64_t rows = dense ? 1 : s->rows, cols = dense ? s->count : s->cols;
    union piece piece;
    for (int64_t i = 0; i < rows; i++)
        for (int64_t j = 0; j < cols; j += PIECE_ELEMENTS) {
            int64_t n = cols - j < PIECE_ELEMENTS ? cols - j : PIECE_ELEMENTS;
            fill_piece(&piece, s->dtype, t->dtype, from + (size_t)(i * cols + j) * from_item, n);
            struct copy copy = {(unsigned char *)target->data + (size_t)(i * s->ld + j) * to_item,
                                &piece,
                                1,
                                (size_t)n * to_item,
                                0,
                                0,
                                COPY_TO_DEVICE};
            TRY(call_queue(c, c->backend->copy(c->queue, &copy)));
        }
    return RELORA_OK;
}

/* ---- checking ---- */

static relora_status check_same_shape(const struct call *c, const struct st_tensor *t,
                                      const relora_tensor *target)
{
    char text[SHAPE_TEXT], stored[SHAPE_TEXT];
    struct shape s = {.ndim = t->ndim < RELORA_MAX_DIMS ? t->ndim : RELORA_MAX_DIMS};
    for (int32_t i = 0; i < s.ndim; i++) s.dim[i] = t->shape[i];
    if (t->ndim > RELORA_MAX_DIMS || !shape_equal(&s, &target->shape))
        FAIL(c, RELORA_E_SHAPE, "target is %s, but \"%s\" is %s in the file",
             shape_text(&target->shape, text), t->name, shape_text(&s, stored));
    return RELORA_OK;
}

static relora_status check_type(const struct call *c, const struct st_tensor *t, const relora_tensor *target,
                                uint32_t flags)
{
    int convertible = t->dtype->number != ST_OTHER;
    if (t->dtype->dtype == target->shape.dtype || (convertible && flags & RELORA_READ_CONVERT))
        return RELORA_OK;
    FAIL(c, RELORA_E_DTYPE, "target is %s, but \"%s\" is %s in the file%s", dtype_name(target->shape.dtype),
         t->name, t->dtype->name,
         convertible ? ", and RELORA_READ_CONVERT was not given" : ", which is not converted");
}

/* The place of element `index` in the tensor, as a sentence has it. */
static const char *place_text(const struct shape *s, int64_t index, char text[SHAPE_TEXT])
{
    struct shape place = {.ndim = s->ndim};
    for (int32_t i = s->ndim - 1; i >= 0; i--) {
        place.dim[i] = index % s->dim[i];
        index /= s->dim[i];
    }
    return shape_text(&place, text);
}

static int piece_is_finite(const union piece *piece, relora_dtype dtype, int64_t i)
{
    uint32_t bits = dtype == RELORA_F32 ? bits_of_float(piece->wide[i]) : (uint32_t)piece->narrow[i] << 16;
    return !bf16_is_special(bits);
}

/* What the file holds there, which is no finite number for the target. */
static const char *what_is_it(const struct st_dtype *type, const unsigned char *from)
{
    uint64_t bits = load_bits(from, type->bits);
    if (type->number == ST_F64) {
        uint64_t size = bits & 0x7FFFFFFFFFFFFFFFu, infinity = 0x7FF0000000000000u;
        return size > infinity    ? "a NaN"
               : size == infinity ? "an infinity"
                                  : "a number beyond the range of target";
    }
    float x = to_wide(type->number, bits);
    return isnan(x) ? "a NaN" : isinf(x) ? "an infinity" : "a number beyond the range of target";
}

static relora_status check_finite(const struct call *c, const relora_reader *reader,
                                  const struct st_tensor *t, const relora_tensor *target)
{
    char text[SHAPE_TEXT];
    const struct shape *s = &target->shape;
    const unsigned char *from = reader_bytes_of(reader, t);
    size_t item = (size_t)t->dtype->bits / 8;
    union piece piece;
    for (int64_t j = 0; j < s->count; j += PIECE_ELEMENTS) {
        int64_t n = s->count - j < PIECE_ELEMENTS ? s->count - j : PIECE_ELEMENTS;
        fill_piece(&piece, s->dtype, t->dtype, from + (size_t)j * item, n);
        for (int64_t i = 0; i < n; i++)
            if (!piece_is_finite(&piece, s->dtype, i))
                FAIL(c, RELORA_E_NOT_FINITE, "\"%s\" has %s at %s", t->name,
                     what_is_it(t->dtype, from + (size_t)(j + i) * item), place_text(s, j + i, text));
    }
    return RELORA_OK;
}

relora_status reader_check(const struct call *c, const relora_reader *reader, const char *name,
                           const relora_tensor *target, uint32_t flags)
{
    int32_t index = -1;
    TRY(reader_find(c, reader, name, &index));
    const struct st_tensor *t = &reader->header.tensors[index];
    TRY(check_same_shape(c, t, target));
    TRY(check_type(c, t, target, flags));
    TRY(reader_check_sum(c, reader, index));
    return flags & RELORA_READ_FINITE ? check_finite(c, reader, t, target) : RELORA_OK;
}

/* ---- copying ---- */

relora_status reader_copy(const struct call *c, const relora_reader *reader, int32_t index,
                          relora_tensor *target)
{
    const struct st_tensor *t = &reader->header.tensors[index];
    const struct shape *s = &target->shape;
    const unsigned char *from = reader_bytes_of(reader, t);
    if (t->dtype->dtype != s->dtype) return copy_converted(c, t, from, target);
    size_t item = dtype_size(s->dtype), row = (size_t)s->cols * item, pitch = (size_t)s->ld * item;
    struct copy copy = {target->data, from, s->rows, row, pitch, row, COPY_TO_DEVICE};
    return call_queue(c, c->backend->copy(c->queue, &copy));
}

relora_status relora_reader_read(relora_reader *reader, relora_stream *stream, const char *name,
                                 relora_tensor *target, uint32_t flags)
{
    struct call c = {.fn = "relora_reader_read", .ctx = target ? target->ctx : NULL};
    TRY(call_open(&c, stream, "reader", reader ? reader->ctx : NULL, NULL));
    TRY(tensor_check(&c, target, "target"));
    if (flags & ~(uint32_t)READ_FLAGS)
        FAIL(&c, RELORA_E_ARGUMENT, "flags is 0x%x, and only 0x%x is known", flags, READ_FLAGS);
    TRY(reader_check(&c, reader, name, target, flags));
    return reader_copy(&c, reader, st_header_find(&reader->header, name), target);
}
