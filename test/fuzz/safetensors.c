/* Any bytes as a safetensors file. They are refused with one line of text, or all that is in them can be
 * read, written with the writer, read back the same, and written again as the same bytes. */
#include "fuzz/fuzz.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "relora/relora.h"

#define REQUIRE(condition)                                      \
    do {                                                        \
        if (!(condition)) require_failed(#condition, __LINE__); \
    } while (0)

static relora_context *ctx;
static relora_device *device;
static relora_stream *stream;
static char folder[64], first_path[80], second_path[80];
static char last_error[1024];

static void require_failed(const char *condition, int line)
{
    fprintf(stderr, "safetensors.c:%d: %s\nthe last sentence was: %s\n", line, condition, last_error);
    abort();
}

/* ---- the environment, made once ---- */

static void listen(void *user, int32_t level, const char *message)
{
    (void)user, (void)level;
    snprintf(last_error, sizeof last_error, "%s", message);
    for (const char *c = message; *c; c++) REQUIRE((unsigned char)*c >= ' ' && *c != 127);
    REQUIRE(!strncmp(message, "relora_", 7)); /* the function comes first */
}

static void remove_folder(void)
{
    unlink(first_path);
    unlink(second_path);
    rmdir(folder);
}

static void open_environment(void)
{
    relora_context_options o;
    REQUIRE(relora_context_options_init(&o, sizeof o) == RELORA_OK);
    o.log = listen;
    o.log_level = RELORA_LOG_ERROR;
    REQUIRE(relora_context_create(&ctx, &o) == RELORA_OK);
    device = relora_device_get(ctx, RELORA_DEVICE_CPU, 0);
    REQUIRE(relora_stream_create(&stream, device) == RELORA_OK);
    strcpy(folder, access("/dev/shm", W_OK) ? "/tmp/relora-fuzz-XXXXXX" : "/dev/shm/relora-fuzz-XXXXXX");
    REQUIRE(mkdtemp(folder));
    snprintf(first_path, sizeof first_path, "%s/first", folder);
    snprintf(second_path, sizeof second_path, "%s/second", folder);
    atexit(remove_folder);
}

/* ---- one tensor ---- */

struct tensor {
    const char *name, *dtype;
    int32_t ndim;
    int64_t *shape;
    const void *data;
    size_t bytes;
};

static struct tensor get(const relora_reader *r, int32_t index)
{
    struct tensor t = {.name = relora_reader_name(r, index)};
    REQUIRE(t.name);
    t.dtype = relora_reader_dtype(r, t.name);
    REQUIRE(t.dtype);
    REQUIRE(relora_reader_shape(r, t.name, &t.ndim, NULL, 0) == RELORA_OK);
    t.shape = malloc((size_t)t.ndim * sizeof *t.shape + 1);
    REQUIRE(t.shape && relora_reader_shape(r, t.name, &t.ndim, t.shape, t.ndim) == RELORA_OK);
    REQUIRE(relora_reader_bytes(r, t.name, &t.data, &t.bytes) == RELORA_OK);
    return t;
}

/* Bits of an element by the format's own name: BF16, F8_E4M3, C64. */
static int bits_of(const char *dtype)
{
    return strcmp(dtype, "BOOL") ? atoi(dtype + strcspn(dtype, "0123456789")) : 8;
}

/* The bytes are what type and shape say, counted here without the library; nothing wraps round. */
static void check_size(const struct tensor *t)
{
    int64_t bits = bits_of(t->dtype);
    REQUIRE(bits >= 4 && bits <= 64);
    for (int32_t i = 0; i < t->ndim; i++) { /* without elements no other size matters */
        REQUIRE(t->shape[i] >= 0);
        if (!t->shape[i]) bits = 0;
    }
    for (int32_t i = 0; i < t->ndim && bits; i++) {
        REQUIRE(bits <= INT64_MAX / t->shape[i]);
        bits *= t->shape[i];
    }
    REQUIRE(bits % 8 == 0 && (uint64_t)bits / 8 == t->bytes);
}

/* Every byte must be there to be read; the sum keeps the compiler from leaving it out. */
static volatile unsigned touched;
static void touch(const struct tensor *t)
{
    for (size_t i = 0; i < t->bytes; i++) touched += ((const unsigned char *)t->data)[i];
}

static int all_finite(const relora_tensor *t, relora_dtype dtype, size_t bytes)
{
    const unsigned char *data = relora_tensor_data(t);
    size_t item = dtype == RELORA_F32 ? 4 : 2;
    for (size_t i = 0; i < bytes; i += item) {
        unsigned high = (unsigned)data[i + item - 1] << 8 | data[i + item - 2]; /* sign, exponent and more */
        if ((high & 0x7f80) == 0x7f80) return 0;
    }
    return 1;
}

/* Into tensors of the library, of its own type and of others; with RELORA_READ_FINITE the same, or nothing. */
static void read_into(relora_reader *r, const struct tensor *t, relora_dtype dtype, int same)
{
    relora_tensor *target;
    if (t->ndim > RELORA_MAX_DIMS || t->bytes > 1 << 20) return;
    relora_status made = relora_tensor_create(&target, device, dtype, t->ndim, t->shape);
    if (made == RELORA_E_OVERFLOW) return; /* [2^60, 0] has no elements, but strides */
    REQUIRE(made == RELORA_OK);
    relora_status status = relora_reader_read(r, stream, t->name, target, RELORA_READ_CONVERT);
    REQUIRE(status == RELORA_OK || status == RELORA_E_FORMAT);
    if (status == RELORA_OK && same && t->bytes)
        REQUIRE(!memcmp(relora_tensor_data(target), t->data, t->bytes));
    if (status == RELORA_OK) {
        size_t bytes = t->bytes * 8 / (size_t)bits_of(t->dtype) * (dtype == RELORA_F32 ? 4 : 2);
        int finite = all_finite(target, dtype, bytes);
        status = relora_reader_read(r, stream, t->name, target, RELORA_READ_CONVERT | RELORA_READ_FINITE);
        REQUIRE(status == (finite ? RELORA_OK : RELORA_E_NOT_FINITE));
    }
    relora_tensor_release(target);
}

/* `end` is that of the file: tensors lie one behind the other, up to there. */
static void read_all(relora_reader *r, const uint8_t *end)
{
    const unsigned char *next = NULL;
    for (int32_t i = 0; i < relora_reader_count(r); i++) {
        struct tensor t = get(r, i);
        int f32 = !strcmp(t.dtype, "F32"), bf16 = !strcmp(t.dtype, "BF16");
        int other = !strcmp(t.dtype, "F16") || !strcmp(t.dtype, "F64");
        REQUIRE(!next || t.data == next);
        next = (const unsigned char *)t.data + t.bytes;
        check_size(&t);
        touch(&t);
        if (f32 || bf16 || other) {
            read_into(r, &t, RELORA_F32, f32);
            read_into(r, &t, RELORA_BF16, bf16);
        }
        free(t.shape);
    }
    REQUIRE(!next || next == end);
    relora_status status = relora_reader_verify(r);
    REQUIRE(status == RELORA_OK || status == RELORA_E_FORMAT || status == RELORA_E_NOT_FOUND);
    REQUIRE((status != RELORA_E_NOT_FOUND) == !!relora_reader_metadata(r, "relora.xxh3"));
}

/* ---- writing ---- */

static int is_written_by_save(const char *key) { return !strcmp(key, "relora.xxh3"); }

/* 0 if the file has a name that the writer refuses: only the empty one. */
static int write_all(const relora_reader *r, const char *path)
{
    relora_writer *w;
    int whole = 1;
    REQUIRE(relora_writer_create(&w, ctx) == RELORA_OK);
    for (int32_t i = 0; i < relora_reader_count(r); i++) {
        struct tensor t = get(r, i);
        relora_status status = relora_writer_add_bytes(w, t.name, t.dtype, t.ndim, t.shape, t.data, t.bytes);
        REQUIRE(status == (t.name[0] ? RELORA_OK : RELORA_E_ARGUMENT));
        whole &= t.name[0] != '\0';
        free(t.shape);
    }
    for (int32_t i = 0; i < relora_reader_metadata_count(r); i++) {
        const char *key = relora_reader_metadata_key(r, i), *value = relora_reader_metadata(r, key);
        REQUIRE(key && value);
        if (!is_written_by_save(key)) REQUIRE(relora_writer_set_metadata(w, key, value) == RELORA_OK);
    }
    REQUIRE(relora_writer_save(w, stream, path, RELORA_SAVE_CHECKSUM) == RELORA_OK);
    relora_writer_release(w);
    return whole;
}

static void same_tensors(const relora_reader *a, const relora_reader *b)
{
    REQUIRE(relora_reader_count(a) == relora_reader_count(b));
    for (int32_t i = 0; i < relora_reader_count(a); i++) {
        struct tensor t = get(a, i);
        const void *data;
        size_t bytes;
        int32_t ndim = -1;
        int64_t *shape = malloc((size_t)t.ndim * sizeof *shape + 1);
        REQUIRE(relora_reader_dtype(b, t.name) && !strcmp(relora_reader_dtype(b, t.name), t.dtype));
        REQUIRE(relora_reader_shape(b, t.name, &ndim, shape, t.ndim) == RELORA_OK && ndim == t.ndim);
        REQUIRE(!memcmp(shape, t.shape, (size_t)ndim * sizeof *shape));
        REQUIRE(relora_reader_bytes(b, t.name, &data, &bytes) == RELORA_OK && bytes == t.bytes);
        REQUIRE(!bytes || !memcmp(data, t.data, bytes));
        free(shape);
        free(t.shape);
    }
}

static void same_metadata(const relora_reader *a, const relora_reader *b)
{
    int32_t pairs = 0;
    for (int32_t i = 0; i < relora_reader_metadata_count(a); i++) {
        const char *key = relora_reader_metadata_key(a, i), *value = relora_reader_metadata(b, key);
        if (is_written_by_save(key)) continue;
        REQUIRE(value && !strcmp(value, relora_reader_metadata(a, key)));
        pairs++;
    }
    REQUIRE(relora_reader_metadata_count(b) == pairs + 1);
}

static void same_files(void)
{
    FILE *a = fopen(first_path, "rb"), *b = fopen(second_path, "rb");
    REQUIRE(a && b);
    int c;
    do {
        c = getc(a);
        REQUIRE(c == getc(b));
    } while (c != EOF);
    fclose(a);
    fclose(b);
}

/* ---- the target ---- */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint8_t nothing[1];
    relora_reader *r = NULL, *back;
    if (!ctx) open_environment();
    relora_status status = relora_reader_open_memory(&r, ctx, data ? data : nothing, size);
    if (status != RELORA_OK) {
        REQUIRE(status == RELORA_E_FORMAT && !r);
        return 0;
    }
    read_all(r, data + size);
    if (write_all(r, first_path)) {
        REQUIRE(relora_reader_open(&back, ctx, first_path) == RELORA_OK);
        REQUIRE(relora_reader_verify(back) == RELORA_OK);
        same_tensors(r, back);
        same_metadata(r, back);
        write_all(back, second_path);
        relora_reader_release(back);
        same_files();
    }
    relora_reader_release(r);
    return 0;
}

#ifdef RELORA_LIBFUZZER
/* Mutations seldom hit the length of the header: mostly it is set to where the last bracket is. */
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t capacity, unsigned seed)
{
    size = LLVMFuzzerMutate(data, size, capacity);
    if (size < 9 || seed % 8 == 0) return size;
    size_t end = size;
    while (end > 8 && data[end - 1] != '}') end--;
    for (int i = 0; i < 8 && end > 8; i++) data[i] = (uint8_t)((uint64_t)(end - 8) >> (8 * i));
    return size;
}
#endif
