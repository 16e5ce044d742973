#include "train.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysinfo.h>
#include "checkpoint.h"
#include "llama.h"
#include "report.h"
#include "stop.h"

/* What the layers begin as. Without a warm start they never have gradients of W, which are more than all else. */
static relora_linear_mode first_mode(const struct options *o)
{
    if (o->method == METHOD_LOWRANK) return RELORA_MODE_LOWRANK;
    return o->method == METHOD_FULL || o->warm_start > 0 ? RELORA_MODE_FULL : RELORA_MODE_LORA;
}

/* The system gives memory away that it does not have, and ends those who use it. */
static int check_memory(const struct model_config *config)
{
    struct sysinfo machine;
    double wanted = model_least_bytes(config);
    if (config->device != RELORA_DEVICE_CPU || sysinfo(&machine) != 0) return 0;
    double there = ((double)machine.totalram + (double)machine.totalswap) * (double)machine.mem_unit;
    if (wanted <= there) return 0;
    return fail(
        "the model takes %.0f GB at least, and this machine has %.0f GB; choose a smaller one (--size, "
        "--hidden, --ffn, --layers, --vocab)",
        wanted * 1e-9, there * 1e-9);
}

static int create_model(struct trainer *t)
{
    const struct options *o = t->options;
    int full = o->method == METHOD_FULL;
    struct model_config config = o->model;
    config.vocab = t->data->vocab;
    config.classes = o->classes;
    config.tied = config.tied && !o->classes;
    config.dtype = (relora_dtype)o->dtype;
    config.mode = first_mode(o);
    config.rank = full ? 0 : o->rank;
    config.alpha = o->alpha;
    config.init_a = (relora_init)o->init_a;
    config.frozen = (uint32_t)o->frozen;
    config.dropout = o->dropout;
    config.order = (relora_order)o->order;
    config.full_rank = o->full_rank_every > 0;
    config.recompute = (enum recompute)o->recompute;
    config.init_std = o->init_std;
    config.seed = (uint64_t)o->seed;
    config.device = (relora_device_kind)o->device;
    config.threads = (int)o->threads;
    if (o->foreign_vocab && t->data->token_bytes == 1)
        return fail(
            "%s is text, whose tokens are bytes, but \"vocab_size\" of --init %s is %" PRId64 ": that "
            "model has a tokenizer's. Give tokens in a .bin; or, if its tokens are bytes, --vocab %" PRId64,
            t->data->name, o->init, o->vocab, o->vocab);
    if (o->init && !t->from && llama_look(t, &config)) return -1;
    if (check_memory(&config)) return -1;
    size_t window = (size_t)(t->batch * o->seq) * sizeof(int32_t);
    t->tokens = malloc(window);
    t->targets = malloc(window);
    if (!t->tokens || !t->targets)
        return fail("no memory for a batch of %" PRId64 " x %" PRId64 " tokens", t->batch, o->seq);
    if (check(t->ctx, model_create(&t->model, t->ctx, t->stream, &config), "cannot make the model"))
        return -1;
    relora_status status = activations_create(&t->acts, t->model, t->stream, t->batch, o->seq);
    if (status == RELORA_E_UNSUPPORTED)
        return fail(
            "--device %s: it supports heads of at most 128 columns, an even hidden size of at most 8192 (2048 "
            "if it is not a multiple of 8) and at most 65535 heads in a micro-batch, but the model has "
            "%" PRId64 " heads of %" PRId64 " columns and a hidden size of %" PRId64
            ", the micro-batch %" PRId64 " sequences",
            options_choice("device", o->device), config.heads, config.head_dim, config.hidden, t->batch);
    return check(t->ctx, status, "cannot make the activations; try a smaller --batch");
}

/* The one of --device; NULL after a sentence. */
static relora_device *find_device(const struct trainer *t)
{
    char text[512] = "";
    relora_device_kind kind = (relora_device_kind)t->options->device;
    if (!model_ops(kind)) {
        fail(
            "--device cuda: this program was built without CUDA; with nvcc, `make CUDA=1 pretrain` includes it");
        return NULL;
    }
    relora_device *device = relora_device_get(t->ctx, kind, 0);
    if (!device) {
        relora_context_error(t->ctx, text, sizeof text, NULL);
        fail("--device %s: there is no such device%s%s", options_choice("device", kind), text[0] ? ": " : "",
             text);
    }
    return device;
}

/* What the library warns of is no failure of a call, and would be seen nowhere else. */
static void pass_on(void *user, int32_t level, const char *message)
{
    (void)user;
    if (level == RELORA_LOG_WARN) note("%s", message);
}

int trainer_start(struct trainer *t, const struct options *options, const struct ranks *ranks,
                  struct folders *folders)
{
    *t = (struct trainer){.options = options,
                          .ranks = ranks,
                          .folders = folders,
                          .val_loss = -1.0,
                          .accuracy = -1.0,
                          .saved = -1};
    relora_context_options context;
    relora_context_options_init(&context, sizeof context);
    context.threads = (int32_t)options->threads;
    context.log_level = RELORA_LOG_WARN;
    context.log = pass_on;
    return check(NULL, relora_context_create(&t->ctx, &context), "cannot start the library");
}

int trainer_open(struct trainer *t, struct data *data)
{
    t->data = data;
    division_make(t);
    if (t->ranks->count > 1 && division_check(t)) return -1;
    t->end = t->from ? t->planned : t->options->end;
    relora_device *device = find_device(t);
    if (!device || check(t->ctx, relora_stream_create(&t->stream, device), "stream") || create_model(t))
        return -1;
    health_begin(&t->health, t->options->classes ? t->options->classes : data->vocab, t->options->end);
    return 0;
}

void trainer_close(struct trainer *t)
{
    feed_close(t->feed);
    relora_reader_release(t->from);
    relora_cycle_release(t->cycle);
    relora_schedule_release(t->schedule);
    relora_adam_release(t->adam);
    activations_destroy(t->acts);
    model_destroy(t->model);
    relora_stream_release(t->stream);
    relora_context_release(t->ctx);
    free(t->tokens);
    free(t->targets);
}

/* An end was asked for: what is under way is dropped. Processes that are apart end when they have agreed. */
static int is_stopped(struct trainer *t)
{
    if (!trainer_is_apart(t) && stop_look()) t->stopped = 1;
    return t->stopped;
}

/* -1, for a batch or a window that could not be had. */
static int lose_data(struct trainer *t)
{
    t->data_failed = !is_stopped(t); /* a long look at a file ends too when it is asked to */
    return -1;
}

/* Does the update under way move the frozen matrices too? */
static int is_full_rank(const struct trainer *t)
{
    const struct options *o = t->options;
    return t->cycle && o->full_rank_every && (t->step + 1 - o->warm_start) % o->full_rank_every == 0;
}

/* Does a restart follow the update under way? A frozen A is renewed from the gradients of that one. */
static int is_last_of_cycle(const struct trainer *t)
{
    uint32_t events = 0;
    if (!t->cycle || t->options->method != METHOD_RELORA) return 0;
    return relora_cycle_due(t->cycle, t->step + 1, &events) == RELORA_OK && events;
}

static int backward(struct trainer *t, struct full_rank *step)
{
    return check(t->ctx, model_backward(t->model, t->acts, t->stream, step), "backward");
}

/* Queue forward and backward of every micro-batch; the gradients add up. The last backward is left to a step in full rank,
 * if there is one: until then the update can be dropped. */
static int accumulate(struct trainer *t, int leaves_last)
{
    unsigned flags = MODEL_DROPOUT | MODEL_GRADIENT | MODEL_FIRST | (is_last_of_cycle(t) ? MODEL_SKETCH : 0);
    if (t->ranks->index >= t->accumulate && /* no micro-batch is left for it */
        check(t->ctx, relora_group_zero_grad(model_group(t->model), t->stream), "zero_grad"))
        return -1;
    for (int64_t micro = t->ranks->index; micro < t->accumulate; micro += t->ranks->count) {
        uint64_t call =
            (uint64_t)(t->attempts * t->accumulate + micro); /* no two of all ranks drop the same */
        const int32_t *tokens, *targets;
        if (is_stopped(t)) return -1;
        if (feed_next(t->feed, &tokens, &targets)) return lose_data(t);
        if (check(t->ctx, model_forward(t->model, t->acts, t->stream, tokens, targets, call, flags),
                  "forward"))
            return -1;
        flags &= ~(unsigned)MODEL_FIRST;
        if (leaves_last && micro >= division_last(t)) return 0;
        if (backward(t, NULL)) return -1;
        if (micro + 1 < t->accumulate) progress_part(&t->progress, "micro-batch", micro + 1, t->accumulate);
    }
    return 0;
}

/* The last backward. All processes have a part in it, in the same order. */
static int step_full_rank(struct trainer *t, struct full_rank *step)
{
    step->adam = t->adam;
    if (division_has_last(t)) return backward(t, step);
    return check(t->ctx, model_follow(t->model, t->acts, t->stream, step), "full-rank step");
}

/* Targets in a sequence: of labelled lines only the last token has one, and the mean is over those. */
static double targets_in(const struct trainer *t)
{
    return t->options->classes ? 1.0 : (double)t->options->seq;
}

/* An end that one rank was asked for, or data that one has lost, is the business of all: none may wait for the others. */
static int agree(struct trainer *t, int result)
{
    enum { SOMETIMES = 16 }; /* steps of processes that are apart */
    int apart = trainer_is_apart(t);
    double flags[3] = {result != 0, t->stopped || (apart && stop_look()), t->data_failed};
    if (t->ranks->count == 1 || (apart && (result || t->attempts % SOMETIMES))) return result;
    if (ranks_sum(t->ranks, flags, 3)) return -1;
    t->stopped = flags[1] > 0.0;
    t->data_failed = flags[2] > 0.0;
    return flags[0] > 0.0 || t->stopped ? -1 : 0;
}

/* The mean over `count` forwards, of all processes if they have made them together. */
static int take_loss(struct trainer *t, int64_t count, int together, double *loss)
{
    if (check(t->ctx, model_take_loss(t->model, t->stream, loss), "loss") ||
        (together && ranks_sum(t->ranks, loss, 1)))
        return -1;
    *loss *= (double)t->options->seq / targets_in(t) / (double)count;
    return 0;
}

static int evaluate_own(struct trainer *t, int64_t batches)
{
    const struct options *o = t->options;
    for (int64_t b = t->ranks->index; b < batches; b += t->ranks->count) {
        if (is_stopped(t)) return -1;
        for (int64_t row = 0; row < t->batch; row++)
            if (data_validation_row(t->data, b * t->batch + row, batches * t->batch, o->seq,
                                    t->tokens + row * o->seq, t->targets + row * o->seq))
                return lose_data(t);
        if (check(t->ctx, model_forward(t->model, t->acts, t->stream, t->tokens, t->targets, 0, 0),
                  "evaluation"))
            return -1;
        progress_part(&t->progress, "batch of the evaluation", b + 1, batches);
    }
    return 0;
}

/* The windows are the same each time, so that losses can be compared. */
static int evaluate(struct trainer *t)
{
    const struct options *o = t->options;
    int64_t enough = (data_validation_windows(t->data, o->seq) + o->batch - 1) / o->batch;
    int64_t batches = (o->eval_batches < enough ? o->eval_batches : enough) * (o->batch / t->batch);
    if (agree(t, evaluate_own(t, batches))) return -1;
    if (take_loss(t, batches, 1, &t->val_loss)) return -1;
    t->val_step = t->step;
    if (t->ranks->index) return 0;
    if (folders_open(t->folders, "out", o->out) == 0) /* it may be gone since the run began */
        metrics_keep(&t->metrics);
    metrics_eval(&t->metrics, t->step, t->val_loss);
    return 0;
}

static double percent(int64_t part, int64_t whole)
{
    return whole ? 100.0 * (double)part / (double)whole : 0.0;
}

/* A uniform A is drawn without a look at the old one, and where B alone is trained there may be no gradient. */
static void tell_new_a(struct trainer *t, const relora_merge_report *merge)
{
    if (merge->overlap > 0)
        progress_line(&t->progress,
                      "step %" PRId64 ": of the new A %.0f %% lies in the row space of the old one", t->step,
                      100 * merge->overlap);
    if (merge->gradient_after > 0)
        progress_line(&t->progress,
                      "step %" PRId64 ": of the gradient the old A kept %.0f %%, the new one keeps %.0f %%",
                      t->step, 100 * merge->gradient_before, 100 * merge->gradient_after);
}

/* Merge and reset if the update just done is one that they follow. */
static int advance(struct trainer *t, const char **event)
{
    uint32_t events = 0;
    relora_merge_report merge = {.struct_size = sizeof merge};
    relora_reset_report reset = {.struct_size = sizeof reset};
    if (!t->cycle || t->options->method != METHOD_RELORA) return 0; /* LoRA is merged at its end alone */
    if (check(t->ctx, relora_cycle_advance(t->cycle, t->stream, t->step, &events, &merge, &reset), "restart"))
        return -1;
    if (!events) return 0;
    t->restarts++;
    *event = "restart";
    progress_line(&t->progress,
                  "step %" PRId64 ": restart %" PRId64 ": merged %d layers, |dW|/|W| = %.3f; "
                  "reset %d moments, %.1f %% of m and %.1f %% of v are zero",
                  t->step, t->restarts, merge.layers, merge.delta_norm / merge.weight_norm, reset.params,
                  percent(reset.zeroed_first, reset.elements), percent(reset.zeroed_second, reset.elements));
    tell_new_a(t, &merge);
    return 0;
}

/* The first one of a process is told of, for the others are much the same. */
static void tell_full_rank(struct trainer *t, const struct full_rank *step, const char **event)
{
    if (!step->layers) return;
    *event = "full_rank";
    if (t->stepped) return;
    t->stepped = 1;
    progress_line(&t->progress,
                  "step %" PRId64 ": full-rank step of %d layers, |dW|/|W| = %.5f; the gradients have an "
                  "effective rank of %.1f on average",
                  t->step + 1, step->layers, sqrt(step->changed / step->weight), step->rank / step->layers);
}

/* An update that was skipped moves neither schedule nor cycle; but if one process skips it alone, it keeps pace. */
static int count_update(struct trainer *t, const relora_step_report *report, const char **event)
{
    t->attempts++;
    t->skipping = report->skipped && !trainer_is_apart(t);
    t->skipped += report->skipped != 0;
    if (t->skipping) return 0;
    t->step++;
    return advance(t, event);
}

/* After the row of the step is written: is there any sense in going on? */
static int look_at_health(struct trainer *t, const struct metrics_row *row)
{
    char text[400];
    int dead = health_step(&t->health, row->loss, row->grad_norm, row->skipped, text, sizeof text);
    return dead ? fail("%s", text) : 0;
}

/* `last` is decided here, once, so that the file and the loop agree. */
static int train_step(struct trainer *t, int *last)
{
    const struct options *o = t->options;
    relora_step_report report = {.struct_size = sizeof report};
    struct metrics_row row = {.event = ""};
    struct full_rank step = {.number = (uint64_t)t->attempts};
    double begin = progress_now();

    if (check(t->ctx, relora_schedule_lr(t->schedule, t->step, &row.lr), "learning rate")) return -1;
    step.lr = row.lr * o->full_rank_strength;
    int moves = step.lr > 0.0 && is_full_rank(t);
    if (agree(t, accumulate(t, moves)) || (moves && step_full_rank(t, &step)) ||
        check(t->ctx,
              relora_adam_step(t->adam, t->stream, row.lr,
                               (double)o->seq / targets_in(t) / (double)division_micros(t), &report),
              "update") || /* the report of which is the one thing waited for in a step; */
        take_loss(t, division_micros(t), !trainer_is_apart(t), &row.loss)) /* the loss is there by then */
        return -1;
    tell_full_rank(t, &step, &row.event);
    if (count_update(t, &report, &row.event)) return -1;

    double seconds = progress_now() - begin;
    t->seconds += seconds;
    *last = t->step >= t->end;
    row.step = t->step;
    row.grad_norm = report.grad_norm;
    row.clip = report.clip_factor;
    row.skipped = report.skipped;
    row.tokens_per_s = (double)(o->batch * o->accumulate * o->seq) / seconds;
    if (*last) row.event = "finish";
    else if (t->step == o->warm_start && !report.skipped && t->step > 0 && !t->cycle)
        row.event = "warm_start_end";
    if (t->ranks->index == 0) metrics_step(&t->metrics, &row);
    progress_step(&t->progress, t->step, row.loss, row.lr, row.tokens_per_s);
    return look_at_health(t, &row);
}

static void print_memory(struct trainer *t)
{
    char memory[240];
    trainer_memory(t, memory, sizeof memory);
    progress_line(&t->progress, "step %" PRId64 ": memory: %s", t->step, memory);
}

static int enter_phase(struct trainer *t)
{
    const struct options *o = t->options;
    int warm = o->method != METHOD_LOWRANK && (o->method == METHOD_FULL || o->warm_start > 0);
    if (t->step == 0 && !t->adam) {
        if (warm ? phase_full(t) : phase_low_rank(t)) return -1;
        print_memory(t);
        return 0;
    }
    if (!warm || o->method == METHOD_FULL || t->step != o->warm_start || t->cycle) return 0;
    if (phase_low_rank(t)) return -1;
    progress_line(&t->progress,
                  "step %" PRId64 ": low rank begins: rank %" PRId64 ", %" PRId64 " of %" PRId64
                  " parameters are trained",
                  t->step, o->rank, model_count_trainable(t->model), model_count_all(t->model));
    print_memory(t);
    return 0;
}

/* The first A may come from the last gradient of W, which no checkpoint has: then low rank begins before one is written. */
static int enter_before_saving(struct trainer *t, int last)
{
    return last || t->options->init_a != RELORA_INIT_GRADIENT ? 0 : enter_phase(t);
}

/* Fold the last cycle into W, so that nothing of it is lost. */
static int finish(struct trainer *t)
{
    relora_merge_report merge = {.struct_size = sizeof merge};
    if (!t->cycle) return 0;
    if (check(t->ctx, relora_cycle_finish(t->cycle, t->stream, t->step, &merge), "last merge")) return -1;
    progress_line(&t->progress, "step %" PRId64 ": last merge: %d layers, |dW|/|W| = %.3f", t->step,
                  merge.layers, merge.delta_norm / merge.weight_norm);
    return 0;
}

static int evaluate_on_the_way(struct trainer *t, int last)
{
    if (last || t->skipping || t->options->eval_every == 0 || t->step % t->options->eval_every != 0) return 0;
    if (evaluate(t)) return -1;
    progress_line(&t->progress, "step %" PRId64 ": validation loss %.4f", t->step, t->val_loss);
    return 0;
}

static void save(struct trainer *t)
{
    t->save_failed = checkpoint_save(t) != 0;
    if (!t->save_failed) t->saved = t->step;
}

/* After everything that belongs to the step. A disk that is full is no reason to lose the run. */
static void save_on_the_way(struct trainer *t, int last)
{
    const struct options *o = t->options;
    int due = last || (!t->skipping && o->save_every && t->step % o->save_every == 0);
    if (o->save && due && !ranks_agree(t->ranks, health_is_bad(&t->health))) save(t);
}

/* ---- the run ---- */

/* Metrics, the bar, and the batches. */
static int begin(struct trainer *t, int *last)
{
    const struct options *o = t->options;
    const struct feed_shape shape = {(uint64_t)o->seed, o->seq,          t->batch,
                                     t->accumulate,     t->ranks->index, t->ranks->count};
    int opened = t->ranks->index ? 0 : metrics_open(&t->metrics, o->out, &t->place);
    if (ranks_agree(t->ranks, opened)) return -1;
    progress_begin(&t->progress, t->step, t->end);
    *last = t->step >= t->end;
    if (!*last && feed_own(&shape) && !(t->feed = feed_open(t->data, &shape, t->attempts))) return -1;
    return t->step > 0 ? evaluate_on_the_way(t, *last) : 0; /* resumed where an evaluation belongs */
}

/* The loop was left before the end. What was trained so far is saved, unless it is no good, or the others are still at it:
 * processes that are apart do not know of data that one has lost. */
static int leave(struct trainer *t)
{
    const struct options *o = t->options;
    if (!t->stopped && (!t->data_failed || trainer_is_apart(t))) return -1;
    if (o->save && t->saved != t->step) save(t);
    if (t->data_failed) return -1;
    return o->export ? finish(t) : 0;
}

int trainer_run(struct trainer *t)
{
    char text[400];
    int last = 0, result = begin(t, &last);
    while (!last && !result) {
        result = enter_phase(t) || train_step(t, &last) || evaluate_on_the_way(t, last) ||
                         enter_before_saving(t, last)
                     ? -1
                     : 0;
        if (!result) save_on_the_way(t, last);
    }
    if (result) result = t->adam ? leave(t) : -1;
    else if (finish(t) || evaluate(t) || (t->options->classes && classify(t)))
        result = t->stopped ? 0 : -1; /* the checkpoint is there */
    else if (t->ranks->index == 0 && data_check(t->data)) result = is_stopped(t) ? 0 : -1;
    else if (health_end(&t->health, t->val_loss, text, sizeof text)) {
        t->died = 1;
        fail("%s", text);
    }
    progress_end(&t->progress);
    return result;
}
