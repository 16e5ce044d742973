/* Pre-train a small Llama by ReLoRA. What happens when is in train.c; what the model is, in model.h. */
#include <inttypes.h>
#include <limits.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include "checkpoint.h"
#include "data.h"
#include "llama.h"
#include "options.h"
#include "report.h"
#include "train.h"

static volatile sig_atomic_t stop;

static void on_signal(int number)
{
    (void)number;
    stop = 1;
}

/* The first Ctrl-C asks for an end, the second one is not caught. */
static void catch_signals(void)
{
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = on_signal;
    action.sa_flags = (int)SA_RESETHAND | SA_RESTART;
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    signal(SIGXFSZ, SIG_IGN); /* a file-size limit is an error of write(), not the end of the process */
}

static int open_data(const struct options *o, struct data *data, char *path, size_t size)
{
    if (o->data)
        return data_open(data, o->data, o->vocab, o->seq);
    mkdir(o->out, 0777); /* if that fails, writing the file says so */
    if (snprintf(path, size, "%s/kjv.txt", o->out) >= (int)size)
        return fail("the name %s is too long", o->out);
    return data_make_bible(path) ? -1 : data_open(data, path, o->vocab, o->seq);
}

static void print_header(const struct trainer *t)
{
    const struct options *o = t->options;
    const struct model_config *m = model_get_config(t->model);
    printf("model %s: %" PRId64 " layers of %" PRId64 " (ffn %" PRId64 ", %" PRId64 " heads), "
           "vocabulary %" PRId64 ", %.2f M parameters, %s\n", o->config ? o->init : sizes[o->size].name,
           m->layers, m->hidden, m->ffn, m->heads, m->vocab, (double)model_count_all(t->model) * 1e-6,
           options_choice("dtype", o->dtype));
    printf("data %s: %" PRId64 " tokens (%s), the last %" PRId64 " for validation\n", t->data->path,
           t->data->tokens, t->data->format, t->data->tokens - t->data->train_tokens);
    printf("method %s: %" PRId64 " updates of %" PRId64 " tokens (%" PRId64 " x %" PRId64 " x %" PRId64 ")",
           options_choice("method", o->method), o->steps, o->accumulate * o->batch * o->seq,
           o->accumulate, o->batch, o->seq);
    if (o->method != METHOD_FULL)
        printf(", rank %" PRId64, o->rank);
    if (o->method == METHOD_LORA || o->method == METHOD_RELORA)
        printf(", warm start %" PRId64, o->warm_start);
    if (o->method == METHOD_RELORA)
        printf(", %" PRId64 " restarts, one each %" PRId64 " updates", o->restarts, options_cycle(o));
    putchar('\n');
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

static int print_summary(const struct trainer *t)
{
    struct rusage usage;
    int64_t tokens = t->attempts * t->options->accumulate * t->options->batch * t->options->seq;
    double rate = t->seconds > 0.0 ? (double)tokens / t->seconds : 0.0;
    getrusage(RUSAGE_SELF, &usage);
    printf("validation loss %.4f, perplexity %.2f, after %" PRId64 " updates (%" PRId64 " skipped), %" PRId64
           " restarts\n", t->val_loss, exp(t->val_loss), t->step, t->skipped, t->restarts);
    printf("trainable parameters %" PRId64 " of %" PRId64 ", peak memory %.0f MB, %.0f tokens/s\n",
           model_count_trainable(t->model), model_count_all(t->model),
           (double)usage.ru_maxrss / 1024.0, rate);
    print_device_memory(t);
    char line[160];
    snprintf(line, sizeof line, "val_loss=%.4f val_ppl=%.2f tokens_per_s=%.0f restarts=%" PRId64,
             t->val_loss, exp(t->val_loss), rate, t->restarts);
    return metrics_summary(t->options->out, line);
}

/* What a trained model leaves behind; one that fails is no reason to lose the others. */
static int finish(struct trainer *t)
{
    const struct options *o = t->options;
    int failed = metrics_close(&t->metrics) != 0;
    if (o->export)
        failed |= llama_export(t, o->export) != 0;
    if (o->sample)
        failed |= sample_print(t) != 0;
    failed |= print_summary(t) != 0;
    if (t->save_failed)
        failed |= fail("the last checkpoint of this run could not be written") != 0;
    return failed ? -1 : 0;
}

static int run(const struct options *o, const struct data *data)
{
    struct trainer trainer;
    int result = trainer_open(&trainer, o, data, &stop);
    if (!result)
        result = checkpoint_prepare(&trainer);
    if (!result) {
        print_header(&trainer);
        result = trainer_run(&trainer);
    }
    if (!result)
        result = finish(&trainer);
    metrics_close(&trainer.metrics);
    trainer_close(&trainer);
    return result;
}

int main(int argc, char **argv)
{
    struct options options;
    struct data data;
    char path[PATH_MAX];
    int read = options_read(&options, argc, argv);
    if (read != 0)
        return read > 0 ? 0 : 2;
    catch_signals();
    if (open_data(&options, &data, path, sizeof path))
        return 1;
    int result = run(&options, &data);
    data_close(&data);
    json_decref(options.config);
    return result ? 1 : 0;
}
