/* The two phases of a run. Each has an optimizer and a schedule of its own: what is trained in one is
 * frozen in the other. */
#include "train.h"

#include <stdio.h>
#include "report.h"

/* Drop what the previous phase had. */
static void leave(struct trainer *t)
{
    relora_cycle_release(t->cycle);
    relora_schedule_release(t->schedule);
    relora_adam_release(t->adam);
    t->cycle = NULL;
    t->schedule = NULL;
    t->adam = NULL;
}

static int make_adam(struct trainer *t)
{
    const struct options *o = t->options;
    relora_adam_options options;
    relora_adam_options_init(&options, sizeof options);
    options.flags |= RELORA_ADAM_SKIP_NOT_FINITE;
    options.beta1 = o->beta1;
    options.beta2 = o->beta2;
    options.eps = o->eps;
    options.weight_decay = o->weight_decay;
    options.max_norm = o->clip;
    options.seed = (uint64_t)o->seed;
    options.comm = trainer_is_apart(t) ? NULL : ranks_comm(t->ranks);
    if (o->shard_state) options.flags |= RELORA_ADAM_SHARD_STATE;
    relora_device *device = relora_device_get(t->ctx, (relora_device_kind)o->device, 0);
    if (check(t->ctx, relora_adam_create(&t->adam, device, &options), "cannot make the optimizer")) return -1;
    return check(t->ctx, relora_adam_add_group(t->adam, model_group(t->model)),
                 "cannot register the parameters");
}

/* One cosine over the whole run. */
static int make_cosine(struct trainer *t, double lr, int64_t warmup)
{
    const struct options *o = t->options;
    relora_schedule_options options;
    relora_schedule_options_init(&options, sizeof options);
    options.kind = RELORA_SCHEDULE_COSINE;
    options.lr = lr;
    options.min_lr_ratio = o->min_lr_ratio;
    options.first_step = t->step;
    options.total_steps = t->end - t->step;
    options.warmup_steps = warmup;
    return check(t->ctx, relora_schedule_create(&t->schedule, t->ctx, &options), "schedule");
}

/* One cosine over what is left of the run, with a climb at each restart. Of a run that was prolonged the last
 * cycle may be cut short: the curve has it whole. */
static int make_jagged(struct trainer *t)
{
    const struct options *o = t->options;
    int64_t cycle = options_cycle(o);
    relora_schedule_options options;
    relora_schedule_options_init(&options, sizeof options);
    options.kind = RELORA_SCHEDULE_COSINE_RESTARTS;
    options.lr = o->lora_lr;
    options.min_lr_ratio = o->min_lr_ratio;
    options.first_step = t->step;
    options.total_steps = (t->end - t->step + cycle - 1) / cycle * cycle;
    options.warmup_steps = o->restart_warmup;
    options.restart_warmup_steps = o->restart_warmup;
    options.restart_every = cycle;
    return check(t->ctx, relora_schedule_create(&t->schedule, t->ctx, &options), "schedule");
}

static int make_cycle(struct trainer *t)
{
    const struct options *o = t->options;
    relora_cycle_options options;
    relora_reset_options reset;
    relora_cycle_options_init(&options, sizeof options);
    options.first_step = t->step;
    options.merge_every = options_cycle(o) < 2 ? 2 : options_cycle(o);
    relora_reset_options_init(&reset, sizeof reset);
    options.comm = trainer_is_apart(t) ? ranks_comm(t->ranks) : NULL;
    reset.mode = (relora_reset_mode)o->reset;
    reset.flags = (uint32_t)o->masks;
    reset.ratio = o->reset_ratio;
    reset.seed = (uint64_t)o->seed;
    if (check(t->ctx, relora_cycle_create(&t->cycle, t->ctx, &options, t->adam, &reset), "cycle")) return -1;
    return check(t->ctx, relora_cycle_add_group(t->cycle, model_group(t->model)),
                 "cannot add the layers to the cycle");
}

void trainer_memory(const struct trainer *t, char *text, size_t size)
{
    struct model_memory m;
    model_memory(t->model, &m);
    if (t->options->shard_state) m.moments /= t->ranks->count; /* up to a few elements */
    char step[64] = "";
    if (m.full_rank) snprintf(step, sizeof step, "; gradient of one W %.1f MB", (double)m.full_rank * 1e-6);
    double n = (double)m.parameters, all = (double)(m.weights + m.gradients + m.moments);
    snprintf(text, size,
             "%.1f bytes per parameter (weights %.1f, gradients %.1f, moments %.1f), %.1f MB; "
             "activations %.1f MB%s%s",
             all / n, (double)m.weights / n, (double)m.gradients / n, (double)m.moments / n, all * 1e-6,
             (double)activations_bytes(t->acts) * 1e-6,
             t->options->recompute == RECOMPUTE_BLOCKS ? ", recomputed: one more forward in each step" : "",
             step);
}

/* The curve of the low-rank phase, which begins at t->step. */
static int make_low_rank_schedule(struct trainer *t)
{
    const struct options *o = t->options;
    if (o->method == METHOD_LOWRANK) return make_cosine(t, o->lora_lr, o->warmup);
    return o->method == METHOD_RELORA ? make_jagged(t) : make_cosine(t, o->lora_lr, o->restart_warmup);
}

int phase_full(struct trainer *t)
{
    leave(t);
    return make_adam(t) || make_cosine(t, t->options->lr, t->options->warmup) ? -1 : 0;
}

int phase_low_rank(struct trainer *t)
{
    leave(t);
    if (t->options->method != METHOD_LOWRANK &&
        check(t->ctx, model_set_lora(t->model, t->stream), "cannot go over to low rank"))
        return -1;
    if (make_adam(t) || (t->options->method != METHOD_LOWRANK && make_cycle(t))) return -1;
    return make_low_rank_schedule(t);
}

int phase_prolong(struct trainer *t, int64_t end)
{
    const struct options *o = t->options;
    int64_t step = t->step;
    int low_rank = t->cycle || o->method == METHOD_LOWRANK;
    relora_schedule_release(t->schedule);
    t->schedule = NULL;
    t->end = end;
    t->step = low_rank ? o->warm_start : 0; /* where the phase began */
    int result = low_rank ? make_low_rank_schedule(t) : make_cosine(t, o->lr, o->warmup);
    t->step = step;
    return result;
}
