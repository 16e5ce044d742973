/* What was not given on the command line follows from the size and from what was. */
#include "options.h"

#include <inttypes.h>
#include "report.h"

static int64_t at_most(int64_t value, int64_t limit)
{
    return value < limit ? value : limit;
}

static void or_whole(int64_t *value, int64_t otherwise)
{
    if (*value < 0) *value = otherwise;
}

static void or_real(double *value, double otherwise)
{
    if (*value < 0.0) *value = otherwise;
}

static int has_warm_start(const struct options *o)
{
    return o->method == METHOD_LORA || o->method == METHOD_RELORA;
}

int64_t options_cycle(const struct options *o)
{
    return (o->steps - o->warm_start) / (o->restarts + 1);
}

int64_t options_restarts(const struct options *o)
{
    int64_t low_rank = o->end - o->warm_start, cycle = options_cycle(o);
    return o->method == METHOD_RELORA ? (low_rank + cycle - 1) / cycle - 1 : 0;
}

/* Equal cycles: the warm start takes what is left over. */
static int divide(struct options *o)
{
    int64_t cycles = o->restarts + 1, low_rank = o->steps - o->warm_start;
    int64_t shortest = o->method == METHOD_RELORA ? 2 : 1;
    if (low_rank < cycles * shortest)
        return fail("--steps %" PRId64 " without a warm start of %" PRId64 " leaves %" PRId64
                    " for low rank; "
                    "%" PRId64 " restarts need at least %" PRId64,
                    o->steps, o->warm_start, low_rank > 0 ? low_rank : 0, o->restarts, cycles * shortest);
    o->adjusted = low_rank % cycles;
    o->warm_start += o->adjusted;
    return 0;
}

static void take_size(struct options *o, const struct size *s)
{
    or_whole(&o->seq, s->seq);
    or_whole(&o->batch, s->batch);
    or_whole(&o->accumulate, s->accumulate);
    or_whole(&o->steps, s->steps);
    or_whole(&o->rank, at_most(128, o->model.hidden < 8 ? 1 : o->model.hidden / 4));
    or_real(&o->lr, s->lr);
    or_real(&o->beta2, s->beta2);
    or_real(&o->dropout, s->dropout);
    or_real(&o->init_std, s->init_std);
}

/* Of all projections; there is no use for a larger rank. */
static int64_t smallest_side(const struct model_config *m)
{
    return at_most(at_most(m->hidden, m->ffn), m->head_dim * at_most(m->heads, m->kv_heads));
}

/* What a classifier is not for. */
static int check_classes(const struct options *o)
{
    if (!o->classes) return 0;
    if (o->classes < 2) return fail("--classify %" PRId64 ": accepted are two classes or more", o->classes);
    if (!o->data.count) return fail("--classify needs --data and --val-data");
    return o->export ? fail("--export writes a language model, which --classify does not train") : 0;
}

int options_resolve(struct options *o)
{
    if (check_classes(o)) return -1;
    if (options_model(o) != 0) return -1;
    take_size(o, &sizes[o->size]);
    if (o->end < o->steps) o->end = o->steps;
    or_real(&o->lora_lr, 2 * o->lr);
    or_whole(&o->recompute, o->device == RELORA_DEVICE_CUDA ? RECOMPUTE_LIGHT : RECOMPUTE_NONE);
    or_real(&o->alpha, o->init_a == RELORA_INIT_UNIFORM ? 32 : (double)o->rank);
    or_whole(&o->warmup, at_most(500, o->steps / 20));
    or_whole(&o->warm_start, o->steps / 4);
    or_whole(&o->save_every, o->end < 20 ? 1 : o->end / 20);
    or_whole(&o->eval_every, o->end < 20 ? 1 : o->end / 20);
    if (o->method != METHOD_FULL && o->rank > smallest_side(&o->model))
        return fail("--rank %" PRId64
                    " is more than the smallest side of a projection of the model, %" PRId64,
                    o->rank, smallest_side(&o->model));
    if (o->frozen == RELORA_LINEAR_FREEZE_B && o->init_a != RELORA_INIT_UNIFORM)
        return fail("--init-a %s with --factors a: then A begins at 0, and B is drawn",
                    options_choice("init-a", o->init_a));
    if (o->method == METHOD_LOWRANK &&
        (o->init_a != RELORA_INIT_UNIFORM || o->frozen == RELORA_LINEAR_FREEZE_B))
        return fail("--method lowrank has no W and draws both factors; leave out --init-a and --factors a");
    if (o->full_rank_every && !has_warm_start(o))
        return fail("--full-rank-every %" PRId64 " is for --method lora and relora, whose W is frozen; with "
                    "--method %s there is no such W",
                    o->full_rank_every, options_choice("method", o->method));
    if (o->method != METHOD_RELORA) o->restarts = 0;
    if (!has_warm_start(o)) o->warm_start = 0;
    else if (divide(o) != 0) return -1;
    or_whole(&o->restart_warmup, at_most(100, options_cycle(o) / 10));
    if (o->warmup > o->steps)
        return fail("--warmup %" PRId64 " is longer than --steps %" PRId64, o->warmup, o->steps);
    if (has_warm_start(o) && o->restart_warmup > options_cycle(o))
        return fail("--restart-warmup %" PRId64 " is longer than a cycle of %" PRId64 " steps",
                    o->restart_warmup, options_cycle(o));
    return 0;
}
