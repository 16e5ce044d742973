#include "oom/net.h"

static void release_linear(void *p) { relora_linear_release(p); }
static void release_adam(void *p) { relora_adam_release(p); }
static void release_schedule(void *p) { relora_schedule_release(p); }
static void release_cycle(void *p) { relora_cycle_release(p); }
static void release_tensor(void *p) { relora_tensor_release(p); }

/* ---- contents ---- */

static void append(struct raw *all, const void *bytes, size_t size)
{
    if (all->bytes) memcpy(all->bytes + all->size, bytes, size);
    all->size += size;
}

static void append_tensor(struct raw *all, const relora_tensor *t)
{
    if (t) append(all, relora_tensor_data(t), bytes_of(t));
}

static void collect(const struct net *net, int gradients, struct raw *all)
{
    all->size = 0;
    for (int i = 0; i < NET_LAYERS; i++)
        for (relora_param p = RELORA_PARAM_WEIGHT; p <= RELORA_PARAM_SKETCH; p++) {
            if (gradients || p < RELORA_PARAM_SKETCH)
                append_tensor(all, relora_linear_param(net->layer[i], p));
            if (gradients) append_tensor(all, relora_linear_grad(net->layer[i], p));
        }
    for (int32_t i = 0; i < relora_adam_count(net->adam); i++) {
        int64_t steps = -1;
        append_tensor(all, relora_adam_moment(net->adam, i, RELORA_MOMENT_FIRST));
        append_tensor(all, relora_adam_moment(net->adam, i, RELORA_MOMENT_SECOND));
        relora_adam_steps(net->adam, env.st, i, &steps);
        append(all, &steps, sizeof steps);
    }
}

struct raw net_contents(const struct net *net, int gradients)
{
    struct raw all = {NULL, 0};
    collect(net, gradients, &all);
    all.bytes = scratch(all.size);
    collect(net, gradients, &all);
    return all;
}

/* What a call that is refused memory must not have changed. (Remembered only while a refusal is to come.) */
static struct {
    const struct net *net;
    struct raw was;
    int gradients;
} kept;

static void keep(const struct net *net, int gradients)
{
    kept.net = net;
    kept.gradients = gradients;
    if (env.mem.last) kept.was = net_contents(net, gradients);
}

static void check_kept(void)
{
    struct raw now = net_contents(kept.net, kept.gradients);
    same_contents(&kept.was, &now, "what is trained, after a call without memory");
}

/* ---- making ---- */

static relora_tensor *make_tensor(relora_dtype dtype, int64_t rows, int64_t cols)
{
    relora_tensor *t;
    MAKES(t, relora_tensor_create(&t, env.dev, dtype, 2, (int64_t[]){rows, cols}));
    defer(release_tensor, t);
    return t;
}

static void make_layer(struct net *net, int i, struct rnd *rnd)
{
    relora_linear_options o = net->recipe.linear;
    o.layer = (uint64_t)i;
    if (i) o.out_features = 520;
    MAKES(net->layer[i], relora_linear_create(&net->layer[i], env.dev, &o));
    defer(release_linear, net->layer[i]);
    if (o.mode != RELORA_MODE_LOWRANK) {
        relora_tensor *w = make_tensor(o.dtype, o.out_features, o.in_features);
        put_normal(w, rnd, 0.5);
        SURVIVES(NULL, relora_linear_set_weight(net->layer[i], w, NULL));
    }
    for (relora_param p = RELORA_PARAM_BIAS; p <= RELORA_PARAM_B; p++)
        if (relora_linear_param(net->layer[i], p))
            put_normal(relora_linear_param(net->layer[i], p), rnd, 0.3);
    net->x[i] = make_tensor(o.dtype, RUN_ROWS, o.in_features);
    net->dx[i] = make_tensor(o.dtype, RUN_ROWS, o.in_features);
    net->y[i] = make_tensor(o.dtype, RUN_ROWS, o.out_features);
    net->dy[i] = make_tensor(o.dtype, RUN_ROWS, o.out_features);
}

static void make_optimizer(struct net *net)
{
    static const char *const names[NET_LAYERS] = {"first", "second"};
    MAKES(net->adam, relora_adam_create(&net->adam, env.dev, &net->recipe.adam));
    defer(release_adam, net->adam);
    for (int i = 0; i < NET_LAYERS; i++) {
        keep(net, 1); /* all of the layer's parameters are registered, or none */
        SURVIVES(check_kept, relora_adam_add_linear(net->adam, names[i], net->layer[i]));
    }
}

static void make_cycle(struct net *net)
{
    MAKES(net->cycle,
          relora_cycle_create(&net->cycle, env.ctx, &net->recipe.cycle, net->adam, &net->recipe.reset));
    defer(release_cycle, net->cycle);
    for (int i = 0; i < NET_LAYERS; i++) SURVIVES(NULL, relora_cycle_add(net->cycle, net->layer[i]));
}

void net_make(struct net *net, const struct recipe *recipe)
{
    struct rnd rnd = rnd_seed(1);
    *net = (struct net){.recipe = *recipe};
    for (int i = 0; i < NET_LAYERS; i++) make_layer(net, i, &rnd);
    make_optimizer(net);
    MAKES(net->schedule, relora_schedule_create(&net->schedule, env.ctx, &recipe->schedule));
    defer(release_schedule, net->schedule);
    if (recipe->linear.mode == RELORA_MODE_LORA) make_cycle(net);
}

void net_end_warm_start(struct net *net)
{
    for (int i = 0; i < NET_LAYERS; i++) {
        keep(net, 1);
        SURVIVES(check_kept, relora_linear_set_mode(net->layer[i], env.st, RELORA_MODE_LORA));
    }
    make_optimizer(net);
    make_cycle(net);
}

/* ---- training: x and dy are functions of the step and of what was trained before ---- */

static void aim(struct net *net, int i, struct rnd *rnd)
{
    int64_t n = relora_tensor_count(net->y[i]);
    double *y = get(net->y[i]);
    for (int64_t k = 0; k < n; k++) y[k] -= rnd_normal(rnd);
    put(net->dy[i], y);
}

static relora_status micro_batch(struct net *net, int i, uint64_t call, uint32_t flags)
{
    return relora_linear_backward(net->layer[i], env.st, net->x[i], net->dy[i], net->dx[i], call,
                                  RELORA_TRAIN | RELORA_SKETCH | flags);
}

/* Both micro-batches, as a host would after the second was refused: the gradient may hold part of it. */
static relora_status backward(struct net *net, int i, uint64_t call)
{
    relora_status status = micro_batch(net, i, call, RELORA_OVERWRITE);
    return status < 0 ? status : micro_batch(net, i, call + 1, RELORA_ACCUMULATE_DX);
}

static void pass(struct net *net, int i, int step)
{
    struct rnd rnd = rnd_seed((uint64_t)step + 1000);
    uint64_t call = 2 * (uint64_t)step;
    put_normal(net->x[i], &rnd, 1);
    keep(net, 1);
    SURVIVES(check_kept,
             relora_linear_forward(net->layer[i], env.st, net->x[i], net->y[i], call, RELORA_TRAIN));
    aim(net, i, &rnd);
    keep(net, 0);
    SURVIVES(check_kept, backward(net, i, call));
}

void net_train(struct net *net, int from, int to)
{
    for (int step = from; step < to; step++) {
        double lr;
        relora_step_report report = {.struct_size = sizeof report};
        relora_merge_report merge = {.struct_size = sizeof merge};
        relora_reset_report reset = {.struct_size = sizeof reset};
        for (int i = 0; i < NET_LAYERS; i++) pass(net, i, step);
        OK(relora_schedule_lr(net->schedule, step, &lr));
        keep(net, 1);
        SURVIVES(check_kept, relora_adam_step(net->adam, env.st, lr, 0.5, &report));
        if (net->cycle)
            SURVIVES(NULL, relora_cycle_advance(net->cycle, env.st, step + 1, NULL, &merge, &reset));
    }
}
