/* Calls on writers, readers and states. What a state has saved it must be able to load. */
#include <stdlib.h>
#include <string.h>
#include "fuzz/api_world.h"

/* ---- writers ---- */

void make_writer(void)
{
    relora_writer *writer = NOWHERE;
    relora_context *ctx = pick(CONTEXT);
    relora_writer **out = choose() == 255 ? NULL : &writer;
    relora_status status = CALL(relora_writer_create, out, ctx);
    keep(WRITER, status, writer, out != NULL);
}

void add_tensor(void)
{
    relora_writer *writer = pick(WRITER);
    const char *name = choose_name();
    relora_tensor *t = pick_any_tensor();
    CALL(relora_writer_add, writer, name, t);
}

void add_bytes(void)
{
    static const char *const dtypes[] = {"U8", "BF16",    "F32",  "I64", "C64",
                                         "F4", "F6_E2M3", "BOOL", "f32", NULL};
    static const unsigned char bytes[64] = "what a host may have, for as long as the writer lives";
    relora_writer *writer = pick(WRITER);
    const char *name = choose_name();
    uint8_t c = choose(), size = choose();
    const char *dtype = dtypes[c % 10];
    const int64_t shape[8] = {size % 4, choose_number(2), 1, 1, 1, 1, 1, 1};
    int32_t ndim = c < 240 ? c / 16 % 3 : c - 248;
    const void *data = size == 255 ? NULL : bytes;
    CALL(relora_writer_add_bytes, writer, name, dtype, ndim, c == 255 ? NULL : shape, data, size % 65);
}

void set_metadata(void)
{
    relora_writer *writer = pick(WRITER);
    const char *key = choose_name(), *value = choose_name();
    CALL(relora_writer_set_metadata, writer, key, value);
}

static uint32_t choose_checksum(void)
{
    uint8_t c = choose();
    return c < 250 ? c & RELORA_SAVE_CHECKSUM : c;
}

void save_writer(void)
{
    relora_writer *writer = pick(WRITER);
    relora_stream *stream = pick(STREAM);
    uint32_t flags = choose_checksum();
    const char *path = choose_path();
    if (CALL(relora_writer_save, writer, stream, path, flags) == RELORA_OK) result_file(path);
}

/* ---- readers ---- */

void open_file(void)
{
    relora_reader *reader = NOWHERE;
    relora_context *ctx = pick(CONTEXT);
    const char *path = choose_path();
    uint8_t c = choose();
    relora_reader **out = c == 255 ? NULL : &reader;
    relora_status status = c % 4 == 2 ? CALL(relora_reader_open_if_there, out, ctx, path)
                                      : CALL(relora_reader_open, out, ctx, path);
    if (c % 4 == 2 && status == RELORA_OK && !reader) return; /* it is not there */
    keep(READER, status, reader, out != NULL);
}

/* A file that was saved, whole, cut short, or with one byte changed. */
void open_memory(void)
{
    relora_reader *reader = NOWHERE;
    size_t size = 0;
    relora_context *ctx = pick(CONTEXT);
    uint8_t how = choose();
    size_t at = (size_t)choose() * 256;
    at += choose();
    const void *file = how == 255 ? NULL : read_back(&size, at, how & 1 ? choose() : 0);
    if (how & 2) size = size ? at % size : 0;
    relora_reader **out = how == 254 ? NULL : &reader;
    relora_status status = CALL(relora_reader_open_memory, out, ctx, file, size);
    keep(READER, status, reader, out != NULL);
}

static void ask_tensor(const relora_reader *reader, const char *name)
{
    int32_t ndim = -7;
    const void *data = NULL;
    size_t bytes = 0;
    int32_t capacity = choose() % 4;
    int64_t *shape = borrow_bytes((size_t)capacity * sizeof *shape + 1);
    if (CALL(relora_reader_shape, reader, name, &ndim, capacity ? shape : NULL, capacity) < 0) return;
    REQUIRE(relora_reader_dtype(reader, name) && ndim >= 0);
    result(shape, (size_t)(ndim < capacity ? ndim : capacity) * sizeof *shape);
    REQUIRE(CALL(relora_reader_bytes, reader, name, &data, &bytes) == RELORA_OK);
    result(data, bytes);
}

void ask_reader(void)
{
    relora_reader *reader = pick(READER);
    int32_t index = choose() % 8 - 1;
    const char *name = relora_reader_name(reader, index);
    REQUIRE(!!name == (index >= 0 && index < relora_reader_count(reader)));
    if (!name) name = choose_name();
    ask_tensor(reader, name);
    const char *key = relora_reader_metadata_key(reader, index);
    REQUIRE(!!key == (index >= 0 && index < relora_reader_metadata_count(reader)));
    if (key) REQUIRE(relora_reader_metadata(reader, key));
    result_text(key);
    result_text(relora_reader_metadata(reader, choose_name()));
    CALL(relora_reader_verify, reader);
}

/* A tensor as a file has it, but for the type. */
static relora_tensor *fitting(const relora_tensor *like, const relora_reader *reader, const char *name,
                              uint8_t c)
{
    int64_t shape[RELORA_MAX_DIMS];
    int32_t ndim = 0;
    if (CALL(relora_reader_shape, reader, name, &ndim, shape, RELORA_MAX_DIMS) < 0) return NULL;
    return temporary(like, c & 4 ? RELORA_F32 : RELORA_BF16, ndim, shape, c);
}

void read_reader(void)
{
    relora_reader *reader = pick(READER);
    relora_stream *stream = pick(STREAM);
    const char *name = relora_reader_name(reader, choose() % 8);
    relora_tensor *target = pick_any_tensor();
    uint8_t c = choose();
    uint32_t flags = c < 240 ? (c & RELORA_READ_CONVERT) | (c & 8 ? RELORA_READ_FINITE : 0) : c;
    if (!name) name = choose_name();
    if (reader && target && c & 2) target = fitting(target, reader, name, c);
    CALL(relora_reader_read, reader, stream, name, target, flags);
}

/* ---- states ---- */

void make_state(void)
{
    relora_state *state = NOWHERE;
    relora_context *ctx = pick(CONTEXT);
    relora_state **out = choose() == 255 ? NULL : &state;
    relora_status status = CALL(relora_state_create, out, ctx);
    keep(STATE, status, state, out != NULL);
}

/* In a block that no tensor borrows while nobody chooses its last one. */
static void add_state_bytes(relora_state *state, const char *name)
{
    uint8_t c = choose(), at = choose();
    void *data = c >= 250 ? NULL : &lent[BLOCKS - 1][at];
    size_t size = c == 249 ? SIZE_MAX : c % 64;
    CALL(relora_state_add_bytes, state, name, data, size);
}

void add_to_state(void)
{
    relora_state *state = pick(STATE);
    const char *name = choose_name();
    uint8_t c = choose() % 7;
    const char *value = c == 5 ? choose_name() : NULL;
    void *object = c == 0   ? pick(LINEAR)
                   : c == 1 ? pick_any_tensor()
                   : c == 2 ? pick(ADAM)
                   : c == 3 ? pick(SCHEDULE)
                   : c == 4 ? pick(CYCLE)
                            : NULL;
    if (c == 6) return add_state_bytes(state, name);
    switch (c) {
    case 0: CALL(relora_state_add_linear, state, name, object); break;
    case 1: CALL(relora_state_add_tensor, state, name, object); break;
    case 2: CALL(relora_state_add_adam, state, name, object); break;
    case 3: CALL(relora_state_add_schedule, state, name, object); break;
    case 4: CALL(relora_state_add_cycle, state, name, object); break;
    default: CALL(relora_state_set, state, name, value); break;
    }
}

/* What was saved is loaded at once: it fits, and changes nothing. Damaged, it changes nothing either. */
static void load_again(relora_state *state, relora_stream *stream, relora_context *ctx, const char *path)
{
    relora_reader *reader = NULL;
    uint64_t before = look();
    if (CALL(relora_reader_open, &reader, ctx, path) < 0) return; /* memory, or another context */
    relora_status status = CALL(relora_state_load, state, stream, reader);
    REQUIRE(status == RELORA_OK || status == RELORA_E_NO_MEMORY || status == RELORA_E_CONTEXT);
    REQUIRE(look() == before);
    release_object(READER, reader);
}

void save_state(void)
{
    relora_context *ctx = pick(CONTEXT);
    end_operation();
    relora_state *state = pick(STATE);
    relora_stream *stream = pick(STREAM);
    uint32_t flags = choose_checksum();
    const char *path = choose_path();
    if (CALL(relora_state_save, state, stream, path, flags) < 0) return;
    result_file(path);
    if (ctx) load_again(state, stream, ctx, path);
}

void load_state(void)
{
    fill_any(); /* so that there is something to restore */
    end_operation();
    relora_state *state = pick(STATE);
    relora_stream *stream = pick(STREAM);
    relora_reader *reader = pick(READER);
    CALL(relora_state_load, state, stream, reader);
}

void export_state(void)
{
    relora_state *state = pick(STATE);
    relora_stream *stream = pick(STREAM);
    uint8_t c = choose();
    const char *model = c >= 192 ? choose_name() : "base";
    const char *path = c % 3 == 2 ? choose_folder() : choose_path();
    relora_status status;
    if (c >= 128 && state) CALL(relora_state_set_export_layout, state, c % 5);
    if (c % 3 == 0) status = CALL(relora_state_export_merged, state, stream, path);
    else if (c % 3 == 1) status = CALL(relora_state_export_delta, state, stream, path);
    else status = CALL(relora_state_export_adapter, state, stream, path, model);
    if (status == RELORA_OK && c % 3 < 2) result_file(path);
}
