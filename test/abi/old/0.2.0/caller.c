/* A program of the time of 0.2.0: files and states. Given names of state files, it loads each of them too, whatever
 * release wrote it; `--record FILE` writes one (test/abi/old_run.h). */
#include "abi/caller.h"
#include "abi/old_run.h"

static const char *folder = "."; /* for what it writes */
static uint32_t sums = RELORA_SAVE_CHECKSUM;

static const char *path_of(const char *name)
{
    static char paths[2][1024];
    static int next;
    char *path = paths[next++ % 2];
    snprintf(path, sizeof paths[0], "%s/caller-%s", folder, name);
    return path;
}

/* ---- writer and reader ---- */

static void *write_file(void)
{
    static uint8_t numbers[3] = {7, 8, 9};
    const int64_t three = 3;
    relora_writer *writer;
    relora_tensor *t = zeros(RELORA_F32, 2, 2);
    OK(relora_tensor_fill(t, st, 1.5));
    OK(relora_writer_create(&writer, ctx));
    OK(relora_writer_add(writer, "matrix", t));
    TRUE(relora_writer_add(writer, "matrix", t) == RELORA_E_EXISTS);
    OK(relora_writer_add_bytes(writer, "bytes", "U8", 1, &three, numbers, sizeof numbers));
    OK(relora_writer_set_metadata(writer, "key", "value"));
    OK(relora_writer_save(writer, st, path_of("file"), 0));
    relora_writer_release(writer);
    relora_tensor_release(t);
    return numbers;
}

static void read_file(relora_reader *reader, const void *numbers)
{
    relora_tensor *t = zeros(RELORA_F32, 2, 2), *half = zeros(RELORA_BF16, 2, 2);
    int64_t shape[2] = {0, 0};
    int32_t ndim = 0;
    const void *data = NULL;
    size_t bytes = 0;
    TRUE(relora_reader_count(reader) == 2 && relora_reader_metadata_count(reader) == 1);
    TRUE(strcmp(relora_reader_name(reader, 0), "matrix") == 0 || strcmp(relora_reader_name(reader, 1), "matrix") == 0);
    TRUE(strcmp(relora_reader_dtype(reader, "matrix"), "F32") == 0);
    OK(relora_reader_shape(reader, "matrix", &ndim, shape, 2));
    TRUE(ndim == 2 && shape[0] == 2 && shape[1] == 2);
    OK(relora_reader_bytes(reader, "bytes", &data, &bytes));
    TRUE(bytes == 3 && memcmp(data, numbers, bytes) == 0);
    TRUE(strcmp(relora_reader_metadata_key(reader, 0), "key") == 0);
    TRUE(strcmp(relora_reader_metadata(reader, "key"), "value") == 0);
    OK(relora_reader_read(reader, st, "matrix", t, 0));
    TRUE(((const float *)relora_tensor_data(t))[3] == 1.5f);
    TRUE(relora_reader_read(reader, st, "matrix", half, 0) == RELORA_E_DTYPE);
    OK(relora_reader_read(reader, st, "matrix", half, RELORA_READ_CONVERT));
    TRUE(((const uint16_t *)relora_tensor_data(half))[0] == 0x3fc0);
    TRUE(relora_reader_verify(reader) == RELORA_E_NOT_FOUND); /* it was saved without sums */
    relora_tensor_release(t);
    relora_tensor_release(half);
}

static void files(void)
{
    unsigned char bytes[4096];
    const void *numbers = write_file();
    relora_reader *reader = NULL;
    OK(relora_reader_open(&reader, ctx, path_of("file")));
    read_file(reader, numbers);
    relora_reader_release(reader);

    FILE *f = fopen(path_of("file"), "rb");
    size_t size = f ? fread(bytes, 1, sizeof bytes, f) : 0;
    if (f) fclose(f);
    OK(relora_reader_open_memory(&reader, ctx, bytes, size));
    read_file(reader, numbers);
    relora_reader_release(reader);
    TRUE(relora_reader_open_memory(&reader, ctx, bytes, size - 1) == RELORA_E_FORMAT && !reader);
    TRUE(relora_reader_open(&reader, ctx, path_of("nothing")) == RELORA_E_IO && !reader);
}

/* ---- states ---- */

static relora_reader *open_file(const char *path)
{
    relora_reader *reader;
    OK(relora_reader_open(&reader, ctx, path));
    return reader;
}

/* The run of a file goes on from it; and what was loaded can be saved with every bit, under the same descriptions. */
static void load(const char *path)
{
    struct old_run run;
    relora_reader *reader = open_file(path);
    old_run_make(&run, ctx, dev);
    OK(relora_state_load(run.state, run.stream, reader));
    OK(relora_state_save(run.state, run.stream, path_of("again"), sums));
    relora_reader *again = open_file(path_of("again"));
    if (sums) OK(relora_reader_verify(again));
    const char *differs = old_run_differs(reader, again);
    if (differs) printf("%s: loaded and saved again, %s differs\n", path, differs);
    TRUE(!differs);
    old_run_train(&run, OLD_STEPS, 2 * OLD_STEPS);
    relora_reader_release(again);
    relora_reader_release(reader);
    old_run_release(&run);
}

static void record(const char *path)
{
    struct old_run run;
    old_run_make(&run, ctx, dev);
    old_run_train(&run, 0, OLD_STEPS);
    OK(relora_state_save(run.state, run.stream, path, sums));
    old_run_release(&run);
}

/* Another run is refused, and the sentence names the field. */
static void refuse(const char *path)
{
    struct old_run run;
    relora_reader *reader = open_file(path);
    relora_schedule_options o;
    relora_state *state;
    char why[300];
    old_run_make(&run, ctx, dev);
    OK(relora_schedule_options_init(&o, sizeof o));
    o.lr = 0.06;
    o.total_steps = 20;
    o.restart_every = OLD_EVERY;
    relora_schedule_release(run.jagged);
    OK(relora_schedule_create(&run.jagged, ctx, &o));
    OK(relora_state_create(&state, ctx));
    OK(relora_state_add_schedule(state, "schedule", run.jagged));
    TRUE(relora_state_load(state, st, reader) == RELORA_E_STATE);
    OK(relora_context_error(ctx, why, sizeof why, NULL));
    TRUE(strstr(why, "relora.schedule.schedule") != NULL);
    relora_state_release(state);
    relora_reader_release(reader);
    old_run_release(&run);
}

static void exports(void)
{
    struct old_run run;
    old_run_make(&run, ctx, dev);
    old_run_train(&run, 0, OLD_STEPS);
    OK(relora_state_export_merged(run.state, run.stream, path_of("merged")));
    relora_reader *merged = open_file(path_of("merged"));
    TRUE(relora_reader_count(merged) == 4); /* two weights, a bias, the tensor of the host */
    OK(relora_state_export_adapter(run.state, run.stream, folder, "base"));
    OK(relora_state_export_delta(run.state, run.stream, path_of("delta")));
    relora_reader *delta = open_file(path_of("delta"));
    TRUE(relora_reader_count(delta) == 1 && strcmp(relora_reader_dtype(delta, "model.k_proj.weight"), "F32") == 0);
    relora_reader_release(merged);
    relora_reader_release(delta);
    old_run_release(&run);
}

int main(int argc, char **argv)
{
    open_context();
    if (argc == 3 && strcmp(argv[1], "--record") == 0) {
        record(argv[2]);
        return close_context();
    }
    if (argc > 1) folder = argv[1];
    if (strstr(relora_build_info(), "checksums=none")) sums = 0;
    files();
    record(path_of("state"));
    load(path_of("state"));
    refuse(path_of("state"));
    exports();
    for (int i = 2; i < argc; i++) load(argv[i]);
    return close_context();
}
