/* Two whole runs of the authors' code: a two-layer net with clipping, the jagged schedule, merges and
 * partial resets. Every input is in the file, so each update is compared. */
#include "golden/golden_suites.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ROWS = 32, IN = 16, HIDDEN = 24, OUT = 8, RANK = 4, MAX_UPDATES = 100 };
static const char *const files[] = {"trajectory_magnitude.safetensors", "trajectory_zero.safetensors"};

struct net {
    struct golden *g;
    relora_linear *l0, *l1;
    relora_tensor *gain, *dgain;
    relora_tensor *x, *h, *act, *y, *dy, *dact, *dh, *dx;
    relora_adam *adam;
    relora_schedule *schedule;
    relora_reset_options reset;
    int updates, every;
    double losses[MAX_UPDATES], lrs[MAX_UPDATES], norms[MAX_UPDATES];
};

static const double *init_values(struct net *n, const char *format, const char *layer, const char *name)
{
    char full[64];
    snprintf(full, sizeof full, format, layer, name);
    return golden_values(n->g, full, NULL);
}

static relora_linear *make_layer(struct net *n, const char *name, int64_t in, int64_t out)
{
    relora_linear_options o = layer_options(RELORA_MODE_LORA, in, out, RANK);
    o.alpha = golden_number(n->g, "alpha");
    int bias = strcmp(golden_text(n->g, "bias"), "True") == 0;
    if (bias) o.flags = RELORA_LINEAR_BIAS;
    relora_linear *l = new_linear(&o);
    relora_tensor *w = new_matrix(RELORA_F32, out, in);
    put(w, init_values(n, "init.%s.%s", name, "weight"));
    OK(relora_linear_set_weight(l, w, NULL));
    put(relora_linear_param(l, RELORA_PARAM_A), init_values(n, "init.%s.%s", name, "lora_A"));
    put(relora_linear_param(l, RELORA_PARAM_B), init_values(n, "init.%s.%s", name, "lora_B"));
    if (bias) put(relora_linear_param(l, RELORA_PARAM_BIAS), init_values(n, "init.%s.%s", name, "bias"));
    return l;
}

static void make_optimizer(struct net *n)
{
    relora_adam_options o = adam_options();
    o.beta2 = 0.95; /* "betas" of both files: 0.9,0.95 */
    o.weight_decay = golden_number(n->g, "weight_decay");
    o.max_norm = golden_number(n->g, "clip_grad_norm");
    n->adam = new_adam(&o);
    OK(relora_adam_add_linear(n->adam, "l0", n->l0));
    OK(relora_adam_add_linear(n->adam, "l1", n->l1));
    OK(relora_adam_add(n->adam, "gain", n->gain, n->dgain, NULL));
    int zero = strcmp(golden_text(n->g, "reset_mode"), "zero") == 0;
    n->reset = zero ? reset_options(RELORA_RESET_ZERO, 1, 0)
                    : reset_options(RELORA_RESET_MAGNITUDE, golden_number(n->g, "reset_ratio"),
                                    RELORA_RESET_QUANTILE | RELORA_RESET_INDEPENDENT);
}

static void make_schedule(struct net *n)
{
    relora_schedule_options o;
    OK(relora_schedule_options_init(&o, sizeof o));
    o.lr = golden_number(n->g, "lr");
    o.total_steps = n->updates;
    o.warmup_steps = 5; /* "first_warmup=5 restart_warmup=8 min_ratio=0.1" */
    o.restart_warmup_steps = 8;
    o.restart_every = n->every;
    n->schedule = new_schedule(&o);
}

static struct net *new_net(const char *file)
{
    struct net *n = scratch(sizeof *n);
    n->g = open_golden(file);
    n->updates = (int)golden_number(n->g, "total_steps");
    n->every = (int)golden_number(n->g, "restart_every");
    ck_assert_int_le(n->updates, MAX_UPDATES);
    n->l0 = make_layer(n, "l0", IN, HIDDEN);
    n->l1 = make_layer(n, "l1", HIDDEN, OUT);
    n->gain = new_vector(RELORA_F32, IN);
    n->dgain = new_vector(RELORA_F32, IN);
    put_all(n->gain, 1);
    n->x = new_matrix(RELORA_F32, ROWS, IN);
    n->dx = new_matrix(RELORA_F32, ROWS, IN);
    n->h = new_matrix(RELORA_F32, ROWS, HIDDEN);
    n->act = new_matrix(RELORA_F32, ROWS, HIDDEN);
    n->dh = new_matrix(RELORA_F32, ROWS, HIDDEN);
    n->dact = new_matrix(RELORA_F32, ROWS, HIDDEN);
    n->y = new_matrix(RELORA_F32, ROWS, OUT);
    n->dy = new_matrix(RELORA_F32, ROWS, OUT);
    make_optimizer(n);
    make_schedule(n);
    return n;
}

static void forward(struct net *n, const double *x, double *gained)
{
    double *gain = get(n->gain);
    for (int i = 0; i < ROWS * IN; i++) gained[i] = x[i] * gain[i % IN];
    put(n->x, gained);
    OK(relora_linear_forward(n->l0, env.st, n->x, n->h, 0, RELORA_TRAIN));
    double *h = get(n->h);
    for (int i = 0; i < ROWS * HIDDEN; i++) h[i] = h[i] > 0 ? h[i] : 0;
    put(n->act, h);
    OK(relora_linear_forward(n->l1, env.st, n->act, n->y, 0, RELORA_TRAIN));
}

static double loss_and_gradient(struct net *n, const double *target)
{
    double *y = get(n->y), *dy = doubles(ROWS * OUT), loss = 0;
    for (int i = 0; i < ROWS * OUT; i++) {
        loss += (y[i] - target[i]) * (y[i] - target[i]) / (ROWS * OUT);
        dy[i] = 2 * (y[i] - target[i]) / (ROWS * OUT);
    }
    put(n->dy, dy);
    return loss;
}

static void backward(struct net *n, const double *x)
{
    double *dgain = doubles(IN);
    OK(relora_linear_backward(n->l1, env.st, n->act, n->dy, n->dact, 0, RELORA_TRAIN | RELORA_OVERWRITE));
    double *act = get(n->act), *dh = get(n->dact);
    for (int i = 0; i < ROWS * HIDDEN; i++) dh[i] = act[i] > 0 ? dh[i] : 0;
    put(n->dh, dh);
    OK(relora_linear_backward(n->l0, env.st, n->x, n->dh, n->dx, 0, RELORA_TRAIN | RELORA_OVERWRITE));
    double *dx = get(n->dx);
    for (int i = 0; i < ROWS * IN; i++) dgain[i % IN] += dx[i] * x[i];
    put(n->dgain, dgain);
}

static void restart(struct net *n, int number)
{
    struct {
        relora_linear *l;
        const char *name;
    } layers[] = {{n->l0, "l0"}, {n->l1, "l1"}};
    for (int i = 0; i < 2; i++) {
        char name[64];
        snprintf(name, sizeof name, "reset%d.%s.lora_A", number, layers[i].name);
        OK(relora_linear_merge(layers[i].l, env.st, (uint64_t)number + 1, NULL));
        OK(relora_linear_reset(layers[i].l, env.st, (uint64_t)number + 1));
        put(relora_linear_param(layers[i].l, RELORA_PARAM_A), golden_values(n->g, name, NULL));
    }
    OK(relora_adam_reset(n->adam, env.st, NULL, 0, &n->reset, NULL));
}

static void update(struct net *n, int u) /* u = 1, 2, ... */
{
    const double *x = golden_values(n->g, "x", NULL) + (u - 1) * ROWS * IN;
    const double *target = golden_values(n->g, "y", NULL) + (u - 1) * ROWS * OUT;
    double *gained = doubles(ROWS * IN), lr;
    relora_step_report report = {.struct_size = sizeof report};
    forward(n, x, gained);
    n->losses[u - 1] = loss_and_gradient(n, target);
    backward(n, x);
    OK(relora_schedule_lr(n->schedule, u - 1, &lr));
    OK(relora_adam_step(n->adam, env.st, lr, 1, &report));
    n->lrs[u - 1] = lr;
    n->norms[u - 1] = report.grad_norm;
    if (u % n->every == 1 && u > n->every) restart(n, u / n->every - 1);
}

static void near(const double *got, const double *want, int from, int to, double relative, const char *what)
{
    for (int i = from; i < to; i++)
        ck_assert_msg(fabs(got[i] - want[i]) <= relative * fabs(want[i]),
                      "%s of update %d: %.9g, expected %.9g", what, i + 1, got[i], want[i]);
}

static void final_near(struct net *n, const char *name, const relora_tensor *got)
{
    char full[64];
    int64_t count;
    snprintf(full, sizeof full, "final.%s", name);
    const double *want = golden_values(n->g, full, &count);
    ck_assert_int_eq(relora_tensor_count(got), count);
    /* as the losses over the whole run: 1e-3 of the largest value */
    close_check(get(got), want, count, 1e-3 * largest(want, count), full, __FILE__, __LINE__);
}

static void finals(struct net *n, relora_linear *l, const char *layer)
{
    static const char *const names[] = {"weight", "bias", "lora_A", "lora_B"};
    char name[64];
    int32_t index;
    for (relora_param p = RELORA_PARAM_WEIGHT; p <= RELORA_PARAM_B; p++) {
        snprintf(name, sizeof name, "%s.%s", layer, names[p - 1]);
        if (relora_linear_param(l, p)) final_near(n, name, relora_linear_param(l, p));
        if (p < RELORA_PARAM_A) continue;
        snprintf(name, sizeof name, "%s.%s.weight", layer, names[p - 1]);
        OK(relora_adam_find(n->adam, name, &index));
        snprintf(name, sizeof name, "%s.%s.exp_avg", layer, names[p - 1]);
        final_near(n, name, relora_adam_moment(n->adam, index, RELORA_MOMENT_FIRST));
        snprintf(name, sizeof name, "%s.%s.exp_avg_sq", layer, names[p - 1]);
        final_near(n, name, relora_adam_moment(n->adam, index, RELORA_MOMENT_SECOND));
    }
}

START_TEST(test_trajectory)
{
    struct net *n = new_net(files[_i]);
    for (int u = 1; u <= n->updates; u++) update(n, u);
    near(n->lrs, golden_values(n->g, "lrs", NULL), 0, n->updates, 1e-12, "learning rate");
    /* README: losses 1e-4 relative over the first 60 updates, 1e-3 over all; gradient norms likewise */
    near(n->losses, golden_values(n->g, "losses", NULL), 0, 60, 1e-4, "loss");
    near(n->losses, golden_values(n->g, "losses", NULL), 60, n->updates, 1e-3, "loss");
    near(n->norms, golden_values(n->g, "grad_norms", NULL), 0, 60, 1e-4, "gradient norm");
    near(n->norms, golden_values(n->g, "grad_norms", NULL), 60, n->updates, 1e-3, "gradient norm");
    finals(n, n->l0, "l0");
    finals(n, n->l1, "l1");
    final_near(n, "gain", n->gain);
}
END_TEST

Suite *golden_trajectory(void)
{
    Suite *s = suite_create("golden trajectory");
    TCase *tc = env_case(s, "trajectory", 60);
    tcase_add_loop_test(tc, test_trajectory, 0, 2);
    return s;
}
