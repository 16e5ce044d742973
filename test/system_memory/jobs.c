#include "system_memory/jobs.h"

#include <stdio.h>
#include <stdlib.h>

#include "support/random.h"
#include "system_memory/interpose.h"

enum { IN = 24, OUT = 20, RANK = 4, ROWS = 16 };

static struct {
    int64_t outstanding;
    relora_context *ctx;
    relora_device *device;
    relora_stream *stream;
    relora_tensor *w, *x, *y, *dy, *dx;
    relora_linear *linear;
    relora_adam *adam;
    relora_cycle *cycle;
    relora_state *state;
    char path[256], folder[256];
} job;

static void must(relora_status status)
{
    char text[512] = "";
    if (status >= 0) return;
    relora_context_error(job.ctx, text, sizeof text, NULL);
    fprintf(stderr, "preparing: %s: %s\n", relora_status_name(status), text);
    exit(3);
}

static relora_tensor *matrix(struct rnd *rnd, relora_dtype dtype, int64_t rows, int64_t cols)
{
    relora_tensor *t;
    float values[IN * IN];
    relora_tensor *f32;
    for (int64_t i = 0; i < rows * cols; i++) values[i] = (float)rnd_normal(rnd);
    must(relora_tensor_create(&t, job.device, dtype, 2, (int64_t[]){rows, cols}));
    must(relora_tensor_borrow(&f32, job.device, RELORA_F32, 2, (int64_t[]){rows, cols}, NULL, values, NULL,
                              NULL));
    must(relora_tensor_copy(t, f32, job.stream));
    relora_tensor_release(f32);
    return t;
}

static void open_layer(struct rnd *rnd, relora_dtype dtype)
{
    relora_linear_options o;
    must(relora_linear_options_init(&o, sizeof o));
    o.in_features = IN;
    o.out_features = OUT;
    o.rank = RANK;
    o.dtype = dtype;
    o.flags = RELORA_LINEAR_BIAS | RELORA_LINEAR_KEEP_DELTA;
    must(relora_linear_create(&job.linear, job.device, &o));
    must(relora_linear_set_weight(job.linear, job.w, NULL));
    relora_tensor *b = matrix(rnd, RELORA_F32, OUT, RANK);
    must(relora_tensor_copy(relora_linear_param(job.linear, RELORA_PARAM_B), b, job.stream));
    relora_tensor_release(b);
}

static void open_optimizer(void)
{
    relora_cycle_options o;
    must(relora_cycle_options_init(&o, sizeof o));
    o.merge_every = 2;
    must(relora_adam_create(&job.adam, job.device, NULL));
    must(relora_adam_add_linear(job.adam, "layer", job.linear));
    must(relora_cycle_create(&job.cycle, job.ctx, &o, job.adam, NULL));
    must(relora_cycle_add(job.cycle, job.linear));
    must(relora_state_create(&job.state, job.ctx));
    must(relora_state_add_linear(job.state, "layer", job.linear));
    must(relora_state_add_adam(job.state, "adam", job.adam));
    must(relora_state_set(job.state, "step", "7"));
}

void job_open(const struct job *which, const char *folder)
{
    relora_context_options o;
    struct rnd rnd = rnd_seed(1);
    snprintf(job.folder, sizeof job.folder, "%s", folder);
    snprintf(job.path, sizeof job.path, "%s/file", folder);
    must(relora_context_options_init(&o, sizeof o));
    o.threads = which->threads;
    o.host_alloc = plain_alloc;
    o.host_free = plain_free;
    o.host_user = &job.outstanding;
    must(relora_context_create(&job.ctx, &o));
    job.device = relora_device_get(job.ctx, RELORA_DEVICE_CPU, 0);
    must(relora_stream_create(&job.stream, job.device));
    job.w = matrix(&rnd, which->dtype, OUT, IN);
    job.x = matrix(&rnd, which->dtype, ROWS, IN);
    job.y = matrix(&rnd, which->dtype, ROWS, OUT);
    job.dy = matrix(&rnd, which->dtype, ROWS, OUT);
    job.dx = matrix(&rnd, which->dtype, ROWS, IN);
    open_layer(&rnd, which->dtype);
    open_optimizer();
    if (which->prepare) which->prepare();
}

int64_t job_close(void)
{
    relora_state_release(job.state);
    relora_cycle_release(job.cycle);
    relora_adam_release(job.adam);
    relora_linear_release(job.linear);
    relora_tensor *tensors[] = {job.w, job.x, job.y, job.dy, job.dx};
    for (size_t i = 0; i < sizeof tensors / sizeof *tensors; i++) relora_tensor_release(tensors[i]);
    relora_stream_release(job.stream);
    relora_context_release(job.ctx);
    return job.outstanding;
}

/* ---- results: FNV-1a ---- */

static uint64_t mix(uint64_t hash, const void *bytes, size_t size)
{
    const unsigned char *b = bytes;
    for (size_t i = 0; i < size; i++) hash = (hash ^ b[i]) * 0x100000001b3u;
    return hash;
}

static uint64_t mix_tensor(uint64_t hash, const relora_tensor *t)
{
    size_t item = relora_tensor_dtype(t) == RELORA_BF16 ? 2 : 4;
    return t ? mix(hash, relora_tensor_data(t), (size_t)relora_tensor_count(t) * item) : hash;
}

static uint64_t result_numbers(void)
{
    uint64_t hash = mix_tensor(mix_tensor(1, job.y), job.dx);
    for (relora_param p = RELORA_PARAM_WEIGHT; p <= RELORA_PARAM_DELTA; p++)
        hash = mix_tensor(mix_tensor(hash, relora_linear_param(job.linear, p)),
                          relora_linear_grad(job.linear, p));
    for (int32_t i = 0; i < relora_adam_count(job.adam); i++)
        hash = mix_tensor(hash, relora_adam_moment(job.adam, i, RELORA_MOMENT_FIRST));
    return hash;
}

static uint64_t mix_file(uint64_t hash, const char *name)
{
    char path[512], bytes[4096];
    snprintf(path, sizeof path, "%s/%s", job.folder, name);
    FILE *f = fopen(path, "rb");
    for (size_t n; f && (n = fread(bytes, 1, sizeof bytes, f)) > 0;) hash = mix(hash, bytes, n);
    if (f) fclose(f);
    return hash;
}

static uint64_t result_files(void)
{
    uint64_t hash = mix_file(1, "file");
    hash = mix_file(hash, "adapter_model.safetensors");
    return mix_file(hash, "adapter_config.json");
}

/* ---- acts ---- */

static relora_status pass(void)
{
    relora_status status = relora_linear_forward(job.linear, job.stream, job.x, job.y, 1, RELORA_TRAIN);
    if (status < 0) return status;
    return relora_linear_backward(job.linear, job.stream, job.x, job.dy, job.dx, 1,
                                  RELORA_TRAIN | RELORA_OVERWRITE);
}

static void prepare_restart(void)
{
    must(pass());
    must(relora_adam_step(job.adam, job.stream, 0.1, 1, NULL));
}

static relora_status restart(void)
{
    relora_merge_report merge = {.struct_size = sizeof merge};
    relora_reset_report reset = {.struct_size = sizeof reset};
    return relora_cycle_advance(job.cycle, job.stream, 3, NULL, &merge, &reset);
}

static relora_status merge(void) { return relora_linear_merge(job.linear, job.stream, 1, NULL); }

static relora_status save(void)
{
    relora_status status = relora_state_save(job.state, job.stream, job.path, RELORA_SAVE_CHECKSUM);
    return status < 0 ? status : relora_state_export_adapter(job.state, job.stream, job.folder, "base");
}

static void prepare_load(void) { must(save()); }

static relora_status load(void)
{
    relora_reader *reader;
    relora_status status = relora_reader_open(&reader, job.ctx, job.path);
    if (status >= 0) status = relora_state_load(job.state, job.stream, reader);
    relora_reader_release(reader);
    return status;
}

const struct job jobs[] = {
    {"pass, F32, 1 thread", 1, RELORA_F32, 15, NULL, pass, result_numbers},
    {"pass, BF16, 1 thread", 1, RELORA_BF16, 15, NULL, pass, result_numbers},
    {"pass, F32, 2 threads", 2, RELORA_F32, 15, NULL, pass, result_numbers},
    {"merge, F32, 1 thread", 1, RELORA_F32, 15, prepare_restart, merge, result_numbers},
    {"restart, F32, 2 threads", 2, RELORA_F32, 15, prepare_restart, restart, result_numbers},
    {"save", 1, RELORA_F32, 150, NULL, save, result_files},
    {"load", 1, RELORA_F32, 150, prepare_load, load, result_numbers},
};
const int job_count = sizeof jobs / sizeof *jobs;
