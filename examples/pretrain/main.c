/* Pre-train a small Llama by ReLoRA. What happens when is in train.c; what the model is, in model.h. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>
#include "checkpoint.h"
#include "data.h"
#include "folder.h"
#include "lines.h"
#include "llama.h"
#include "options.h"
#include "processors.h"
#include "ranks.h"
#include "report.h"
#include "stop.h"
#include "train.h"

/* ---- the process ---- */

/* A standard stream that is closed would be the next file that is opened, and get our words. */
static void open_standard_streams(void)
{
    int file;
    do file = open("/dev/null", O_RDWR);
    while (file >= 0 && file <= STDERR_FILENO);
    if (file > STDERR_FILENO) close(file);
}

/* What was printed has arrived, or is missed. */
static int flush_output(int status)
{
    errno = 0;
    if (fflush(stdout) == 0 && !ferror(stdout)) return status;
    fail("cannot write to the standard output: %s", errno ? strerror(errno) : "an earlier write failed");
    return status == STATUS_DONE ? STATUS_FAILED : status;
}

static void look_at_threads(const struct options *o)
{
    int64_t allowed = processors_allowed();
    if (o->threads > allowed)
        note("--threads is %" PRId64 ", but this process may use %" PRId64 " processor%s: more threads than "
             "processors are slower",
             o->threads, allowed, allowed == 1 ? "" : "s");
}

/* ---- what is printed ---- */

static void print_header(const struct trainer *t)
{
    const struct options *o = t->options;
    const struct model_config *m = model_get_config(t->model);
    char data[512];
    printf("model %s: %" PRId64 " layers of %" PRId64 " (ffn %" PRId64 ", %" PRId64 " heads), "
           "vocabulary %" PRId64 ", %.2f M parameters, %s\n",
           o->config ? o->init : sizes[o->size].name, m->layers, m->hidden, m->ffn, m->heads, m->vocab,
           (double)model_count_all(t->model) * 1e-6, options_choice("dtype", o->dtype));
    data_describe(t->data, data, sizeof data);
    printf("data %s: %s\n", t->data->name, data);
    printf("method %s: %" PRId64 " updates of %" PRId64 " tokens (%" PRId64 " x %" PRId64 " x %" PRId64 ")",
           options_choice("method", o->method), t->end, o->accumulate * o->batch * o->seq, o->accumulate,
           o->batch, o->seq);
    if (o->method != METHOD_FULL) printf(", rank %" PRId64, o->rank);
    if (o->method == METHOD_LORA || o->method == METHOD_RELORA)
        printf(", warm start %" PRId64, o->warm_start);
    if (o->method == METHOD_RELORA)
        printf(", %" PRId64 " restarts, one every %" PRId64 " updates", options_restarts(o),
               options_cycle(o));
    if (o->full_rank_every)
        printf(", a full-rank step of strength %g every %" PRId64 " updates", o->full_rank_strength,
               o->full_rank_every);
    if (t->ranks->count > 1)
        printf(", %d processes of %" PRId64 " thread%s", t->ranks->count, o->threads,
               o->threads > 1 ? "s" : "");
    if (t->ranks->count > 1 && o->sync) printf(", apart between restarts");
    putchar('\n');
    if (t->batch != o->batch)
        printf("(micro-batches are of %" PRId64 " sequences, so that they divide evenly)\n", t->batch);
    if (o->adjusted)
        printf("(the warm start is %" PRId64 " longer, so that all cycles are equal)\n", o->adjusted);
    fflush(stdout);
}

/* What all programs together take of the device: its driver knows no better. */
static void print_device_memory(const struct trainer *t)
{
    relora_device *device = relora_device_get(t->ctx, (relora_device_kind)t->options->device, 0);
    uint64_t free_bytes, total;
    if (t->options->device == RELORA_DEVICE_CUDA &&
        relora_device_memory(device, &free_bytes, &total) == RELORA_OK)
        printf("device %s: %.0f of %.0f MB in use\n", relora_device_name(device),
               (double)(total - free_bytes) * 1e-6, (double)total * 1e-6);
}

static void print_validation(const struct trainer *t)
{
    if (t->val_loss < 0.0) printf("no validation loss yet, ");
    else printf("validation loss %.4f, perplexity %.2f, ", t->val_loss, exp(t->val_loss));
    if (t->val_loss >= 0.0 && t->val_step != t->step) printf("after %" PRId64 " of ", t->val_step);
    else printf("after ");
    printf("%" PRId64 " updates (%" PRId64 " skipped), %" PRId64 " restarts\n", t->step, t->skipped,
           t->restarts);
}

/* getrusage() also counts the program that started this one, up to then. */
static double peak_megabytes(void)
{
    char line[256];
    double kilobytes = 0.0;
    struct rusage usage;
    FILE *file = fopen("/proc/self/status", "r");
    while (file && kilobytes <= 0.0 && fgets(line, sizeof line, file))
        if (strncmp(line, "VmHWM:", 6) == 0) kilobytes = strtod(line + 6, NULL);
    if (file) fclose(file);
    getrusage(RUSAGE_SELF, &usage);
    return (kilobytes > 0.0 ? kilobytes : (double)usage.ru_maxrss) / 1024.0;
}

static int print_summary(const struct trainer *t)
{
    int64_t tokens = t->attempts * t->options->accumulate * t->options->batch * t->options->seq;
    double rate = t->seconds > 0.0 ? (double)tokens / t->seconds : 0.0;
    double loss = t->val_loss < 0.0 ? (double)NAN : t->val_loss;
    double peak = peak_megabytes();
    print_validation(t);
    printf("trainable parameters %" PRId64 " of %" PRId64 ", peak memory %.0f MB, %.0f tokens/s\n",
           model_count_trainable(t->model), model_count_all(t->model), peak, rate);
    print_device_memory(t);
    struct model_memory memory;
    model_memory(t->model, &memory);
    char line[320], accuracy[32] = "";
    if (t->accuracy >= 0.0) snprintf(accuracy, sizeof accuracy, " accuracy=%.4f", t->accuracy);
    snprintf(line, sizeof line,
             "val_loss=%.4f val_ppl=%.2f tokens_per_s=%.0f restarts=%" PRId64 " updates=%" PRId64 "/%" PRId64
             " trained=%" PRId64 " parameters=%" PRId64 " moments_bytes=%" PRId64 " peak_mb=%.1f%s",
             loss, exp(loss), rate, t->restarts, t->step, t->end, model_count_trainable(t->model),
             memory.parameters, memory.moments, peak, accuracy);
    return metrics_summary(t->options->out, line);
}

static void print_stopped(const struct trainer *t)
{
    const struct options *o = t->options;
    const char *name = stop_asked() ? stop_name() : "a signal to another process";
    fprintf(stderr, "pretrain: stopped by %s after %" PRId64 " of %" PRId64 " updates; ", name, t->step,
            t->end);
    if (!o->save) fprintf(stderr, "there is no checkpoint, since --save was not given\n");
    else if (t->save_failed) fprintf(stderr, "the checkpoint could not be written\n");
    else fprintf(stderr, "--resume auto continues from the checkpoint in %s\n", o->save);
}

/* ---- the run ---- */

/* What a trained model leaves behind; one that fails is no reason to lose the others. A run that was stopped
 * has no time for a sample. Returns the status of the program. */
static int finish(struct trainer *t)
{
    const struct options *o = t->options;
    int failed = metrics_close(&t->metrics) != 0;
    if (t->ranks->index) return t->died ? STATUS_FAILED : t->stopped ? STATUS_STOPPED : STATUS_DONE;
    if (t->stopped) print_stopped(t);
    if (o->export) failed |= llama_export(t, o->export) != 0;
    if (o->sample && !o->classes && !t->stopped) failed |= sample_print(t) != 0;
    failed |= print_summary(t) != 0;
    if (t->save_failed) failed |= fail("the last checkpoint of this run could not be written") != 0;
    return failed || t->died ? STATUS_FAILED : t->stopped ? STATUS_STOPPED : STATUS_DONE;
}

static int open_folders(const struct options *o, struct folders *folders)
{
    return folders_open(folders, "out", o->out) || (o->save && folders_open(folders, "save", o->save)) ||
                   (o->export && folders_open(folders, "export", o->export))
               ? -1
               : 0;
}

static int open_data(const struct options *o, const struct ranks *ranks, struct data *data)
{
    struct names bible = {0};
    char path[PATH_MAX];
    if (o->data.count)
        return data_open(data, &o->data, &o->val_data, o->vocab, o->classes ? 0 : o->seq) ||
                       (o->classes && lines_find(data, o->classes))
                   ? -1
                   : 0;
    if (snprintf(path, sizeof path, "%s/kjv.txt", o->out) >= (int)sizeof path)
        return fail("the name %s is too long", o->out);
    int made = ranks->index ? 0 : data_make_bible(path);
    int result = ranks_agree(ranks, made) || names_add(&bible, path) ||
                         data_open(data, &bible, &o->val_data, o->vocab, o->seq)
                     ? -1
                     : 0;
    names_free(&bible);
    return result;
}

/* Everything up to the first update. Whatever can be wrong is found here. */
static int prepare(struct trainer *t, struct options *o, const struct ranks *ranks, struct data *data,
                   struct folders *folders)
{
    int opened = ranks->index ? 0 : open_folders(o, folders); /* one writes there */
    if (ranks_agree(ranks, opened) || trainer_start(t, o, ranks, folders)) return STATUS_FAILED;
    int status = checkpoint_find(t, o);
    if (status != STATUS_DONE) return status;
    if (open_data(o, ranks, data) || sample_check(o, data) || stop_asked() || trainer_open(t, data) ||
        stop_asked() || checkpoint_prepare(t))
        return STATUS_FAILED;
    return STATUS_DONE;
}

/* `*lost` unless this process ends together with the others. */
static int run(struct options *o, const struct ranks *ranks, int *lost)
{
    struct trainer t = {.options = o, .ranks = ranks};
    struct data data = {.count = 0};
    struct folders folders = {.count = 0};
    int status = prepare(&t, o, ranks, &data, &folders);
    if (status == STATUS_DONE) {
        print_header(&t);
        *lost = trainer_run(&t) != 0;
        status = *lost ? STATUS_FAILED : finish(&t);
    } else if (stop_asked()) {
        fail("stopped by %s before it began", stop_name());
        status = STATUS_STOPPED;
    }
    metrics_close(&t.metrics);
    trainer_close(&t);
    data_close(&data);
    folders_close(&folders);
    return status;
}

/* Every rank but the first is silent: what it has to say goes to the others when it leaves. */
static int run_in_ranks(struct options *o)
{
    struct ranks ranks;
    int lost = 1;
    if (ranks_begin(&ranks)) return STATUS_FAILED;
    int status = run(o, &ranks, &lost);
    ranks_end(&ranks, lost);
    return status;
}

static void be_silent(void)
{
    report_mute();
    if (!freopen("/dev/null", "w", stdout)) fail("no /dev/null");
}

/* A launcher ends all processes when one has failed. This one has nothing to say; the first one has, and its end is a
 * signal that ends this sleep. */
static void let_the_first_speak(void)
{
    const struct timespec longest = {.tv_sec = 10};
    nanosleep(&longest, NULL);
}

int main(int argc, char **argv)
{
    struct options options;
    open_standard_streams();
    stop_install();
    if (ranks_launched_index() > 0) be_silent();
    int read = options_read(&options, argc, argv);
    int status = read < 0 ? STATUS_USAGE : STATUS_DONE;
    if (read < 0 && ranks_launched_index() > 0) let_the_first_speak();
    if (read == 0) {
        if (options.threads > 1) processors_wait_asleep(argv);
        look_at_threads(&options);
        status = run_in_ranks(&options);
    }
    options_free(&options);
    return flush_output(status);
}
