/* Writers, readers and states of a test. */
#include "checkpoint/checkpoint.h"

char poison;

static void release_writer(void *p) { relora_writer_release(p); }
static void release_state(void *p) { relora_state_release(p); }
static void release_context(void *p) { relora_context_release(p); }
static void release_stream(void *p) { relora_stream_release(p); }
static void release_tensor(void *p) { relora_tensor_release(p); }

/* A reader may be released early: then its place is empty. A test that opens more at once fails. */
enum { PLACES = 64 };
static relora_reader *places[PLACES];

static void release_place(void *p)
{
    relora_reader **place = p;
    relora_reader_release(*place);
    *place = NULL;
}

static relora_reader *keep(relora_reader *reader)
{
    int i = 0;
    while (i < PLACES && places[i]) i++;
    ck_assert_int_lt(i, PLACES);
    places[i] = reader;
    defer(release_place, &places[i]);
    return reader;
}

void close_reader(relora_reader *reader)
{
    for (int i = 0; i < PLACES; i++)
        if (reader && places[i] == reader) {
            release_place(&places[i]);
            return;
        }
    ck_abort_msg("no such reader");
}

relora_writer *new_writer(void)
{
    relora_writer *w;
    OK(relora_writer_create(&w, env.ctx));
    defer(release_writer, w);
    return w;
}

relora_state *new_state(void)
{
    relora_state *s;
    OK(relora_state_create(&s, env.ctx));
    defer(release_state, s);
    return s;
}

relora_reader *open_path(const char *path)
{
    relora_reader *r;
    OK(relora_reader_open(&r, env.ctx, path));
    return keep(r);
}

relora_reader *open_raw(struct raw file)
{
    relora_reader *r;
    OK(relora_reader_open_memory(&r, env.ctx, file.bytes, file.size));
    return keep(r);
}

void add_pattern(relora_writer *w, const char *name, const char *dtype, int32_t ndim, const int64_t *shape,
                 size_t bytes, int seed)
{
    OK(relora_writer_add_bytes(w, name, dtype, ndim, shape, pattern(bytes, seed), bytes));
}

void has_tensor(const relora_reader *r, const char *name, const char *dtype, int32_t ndim,
                const int64_t *shape, const void *bytes, size_t size)
{
    int32_t n = -1;
    const void *data;
    size_t got;
    int64_t *dims = scratch((size_t)ndim * sizeof *dims);
    ck_assert_str_eq(relora_reader_dtype(r, name), dtype);
    OK(relora_reader_shape(r, name, &n, dims, ndim));
    ck_assert_int_eq(n, ndim);
    if (ndim) SAME_BYTES(dims, shape, (size_t)ndim * sizeof *dims);
    OK(relora_reader_bytes(r, name, &data, &got));
    ck_assert_uint_eq(got, size);
    SAME_BYTES(data, bytes, size);
}

relora_writer *copy_of(const relora_reader *r)
{
    relora_writer *w = new_writer();
    for (int32_t i = 0; i < relora_reader_count(r); i++) {
        int32_t ndim = 0;
        const void *data;
        size_t bytes;
        int64_t shape[64];
        const char *name = relora_reader_name(r, i);
        OK(relora_reader_shape(r, name, &ndim, shape, 64));
        ck_assert_int_le(ndim, 64);
        OK(relora_reader_bytes(r, name, &data, &bytes));
        OK(relora_writer_add_bytes(w, name, relora_reader_dtype(r, name), ndim, shape, data, bytes));
    }
    for (int32_t i = 0; i < relora_reader_metadata_count(r); i++) {
        const char *key = relora_reader_metadata_key(r, i);
        if (strcmp(key, "relora.xxh3")) /* saving makes it */
            OK(relora_writer_set_metadata(w, key, relora_reader_metadata(r, key)));
    }
    return w;
}

struct raw small_file(uint32_t flags)
{
    relora_writer *w = new_writer();
    size_t size;
    const int64_t first[] = {2, 3}, second[] = {4};
    add_pattern(w, "first", "F32", 2, first, 24, 1);
    add_pattern(w, "second", "BF16", 1, second, 8, 2);
    OK(relora_writer_set_metadata(w, "who", "me"));
    OK(relora_writer_save(w, env.st, at("small"), flags));
    void *bytes = slurp(at("small"), &size);
    return raw_copy(bytes, size);
}

struct other new_other(void)
{
    struct other o;
    relora_context_options options;
    OK(relora_context_options_init(&options, sizeof options));
    track_install(&env.mem, &options);
    OK(relora_context_create(&o.ctx, &options));
    defer(release_context, o.ctx);
    o.dev = relora_device_get(o.ctx, RELORA_DEVICE_CPU, 0);
    OK(relora_stream_create(&o.st, o.dev));
    defer(release_stream, o.st);
    OK(relora_tensor_create(&o.matrix, o.dev, RELORA_F32, 2, (int64_t[]){2, 3}));
    defer(release_tensor, o.matrix);
    OK(relora_tensor_fill(o.matrix, o.st, 0));
    return o;
}
