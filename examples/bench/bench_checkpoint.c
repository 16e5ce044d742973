/* Saving and loading: against a plain copy of the same bytes, between the same memory and a file in the
 * same folder, which is flushed and renamed as a checkpoint has to be. */
#include "bench.h"
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

enum { TENSORS = 8, SIDE = 2896 }; /* 8 matrices of 32 MiB */
static const size_t tensor_bytes = (size_t)SIDE * SIDE * sizeof(float);

struct run {
    const struct bench *bench;
    relora_tensor *tensors[TENSORS];
    relora_writer *writer;
    uint32_t flags;
};

static const char ours[] = "bench.safetensors", plain[] = "bench.copy", temporary[] = "bench.copy.tmp";

static void fault(const char *what)
{
    perror(what);
    exit(1);
}

static void save(void *arg)
{
    struct run *run = arg;
    CHECK(run->bench, relora_writer_save(run->writer, run->bench->stream, ours, run->flags));
}

static void load(void *arg)
{
    struct run *run = arg;
    relora_reader *reader;
    CHECK(run->bench, relora_reader_open(&reader, run->bench->context, ours));
    for (int i = 0; i < TENSORS; i++) {
        char name[16];
        snprintf(name, sizeof name, "tensor %d", i);
        CHECK(run->bench, relora_reader_read(reader, run->bench->stream, name, run->tensors[i], 0));
    }
    relora_reader_release(reader);
}

static void write_plain(void *arg)
{
    struct run *run = arg;
    int fd = open(temporary, O_RDWR | O_CREAT | O_TRUNC, 0666);
    if (fd < 0) fault(temporary);
    for (int i = 0; i < TENSORS; i++)
        if (write(fd, relora_tensor_data(run->tensors[i]), tensor_bytes) != (ssize_t)tensor_bytes)
            fault("write");
    if (fsync(fd) || close(fd) || rename(temporary, plain)) fault(plain);
}

static void read_plain(void *arg)
{
    struct run *run = arg;
    int fd = open(plain, O_RDONLY);
    if (fd < 0) fault(plain);
    for (int i = 0; i < TENSORS; i++)
        if (read(fd, relora_tensor_data(run->tensors[i]), tensor_bytes) != (ssize_t)tensor_bytes)
            fault("read");
    close(fd);
}

static void row(const char *what, const struct work *own, const struct work *copy)
{
    const double gigabytes = (double)(TENSORS * tensor_bytes) * 1e-9;
    printf("  %-20s %7.2f GB/s (median %.2f)   plain %7.2f GB/s (median %.2f)   %3.0f%%\n", what,
           gigabytes / own->best, gigabytes / own->median, gigabytes / copy->best, gigabytes / copy->median,
           100 * copy->best / own->best);
    add_row(gigabytes / own->best, "GB/s", NO_TARGET, HIGHER, NO_BOUND, "checkpoint %s", what);
    add_row(copy->best / own->best, "", NO_TARGET, HIGHER, NO_BOUND, "checkpoint %s, of a plain copy", what);
}

void bench_checkpoint(const struct bench *bench)
{
    struct run run = {.bench = bench};
    CHECK(bench, relora_writer_create(&run.writer, bench->context));
    for (int i = 0; i < TENSORS; i++) {
        char name[16];
        snprintf(name, sizeof name, "tensor %d", i);
        run.tensors[i] = new_matrix(bench, RELORA_F32, SIDE, SIDE);
        fill_random(bench, run.tensors[i], 1);
        CHECK(bench, relora_writer_add(run.writer, name, run.tensors[i]));
    }
    printf("\nCheckpoint of %.0f MB in this folder\n", (double)(TENSORS * tensor_bytes) * 1e-6);
    for (int sums = 0; sums < 2; sums++) {
        struct work writing[] = {timed(write_plain, &run), timed(save, &run)};
        struct work reading[] = {timed(read_plain, &run), timed(load, &run)};
        run.flags = sums ? RELORA_SAVE_CHECKSUM : 0;
        alternate(writing, 2, bench->seconds);
        alternate(reading, 2, bench->seconds);
        row(sums ? "save with checksums" : "save", &writing[1], &writing[0]);
        row(sums ? "load with checksums" : "load", &reading[1], &reading[0]);
    }
    for (int i = 0; i < TENSORS; i++) relora_tensor_release(run.tensors[i]);
    relora_writer_release(run.writer);
    unlink(ours);
    unlink(plain);
}
