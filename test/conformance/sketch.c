/* RELORA_SKETCH: what a frozen A is renewed from, in a layer alone, in a cycle, and in a run that is resumed. */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include "conformance/basis.h"

enum { ROWS = 24, IN = 17, OUT = 13, RANK = 4, N = RANK * IN, CALL = 3, VARIANTS = 32 };
static const relora_order backwards[] = {RELORA_ORDER_SPLIT, RELORA_ORDER_FOLD, RELORA_ORDER_THROUGH};

struct bench {
    relora_linear_options options;
    relora_linear *l;
    relora_tensor *x, *dy, *dx;
};

static relora_linear_options options_of(int variant)
{
    relora_linear_options o =
        layer_options(variant & 1 ? RELORA_MODE_LOWRANK : RELORA_MODE_LORA, IN, OUT, RANK);
    o.init = RELORA_INIT_GRADIENT;
    o.dtype = variant & 2 ? RELORA_BF16 : RELORA_F32;
    o.flags = RELORA_LINEAR_BIAS | RELORA_LINEAR_FREEZE_A | (variant & 4 ? RELORA_LINEAR_IN_OUT : 0) |
              (variant & 8 ? RELORA_LINEAR_TRAINABLE_SCALE : 0);
    o.dropout = variant & 16 ? 0.4 : 0; /* takes no part in the sketch */
    return o;
}

static struct bench new_bench(const relora_linear_options *o, relora_order backward)
{
    struct rnd r = rnd_seed(5);
    struct bench b = {.options = *o, .l = new_filled_linear(o, &r)};
    b.x = new_matrix(o->dtype, ROWS, IN), b.dx = new_matrix(o->dtype, ROWS, IN);
    b.dy = new_matrix(o->dtype, ROWS, OUT);
    put_normal(b.x, &r, 1);
    put_normal(b.dy, &r, 0.1);
    OK(relora_linear_set_order(b.l, RELORA_ORDER_AUTO, backward));
    return b;
}

static relora_tensor *param(relora_linear *l, relora_param p) { return relora_linear_param(l, p); }
static relora_tensor *sketch_of(const struct bench *b) { return param(b->l, RELORA_PARAM_SKETCH); }

static void back(const struct bench *b, uint32_t flags)
{
    OK(relora_linear_backward(b->l, env.st, b->x, b->dy, b->dx, CALL, flags));
}

/* sum += A G^T G of the present x and dy */
static void add_sketch(const struct bench *b, double *sum)
{
    double *a = get(param(b->l, RELORA_PARAM_A)), *x = get(b->x), *dy = get(b->dy);
    double *g = doubles(OUT * IN), *half = doubles(RANK * OUT);
    for (int t = 0; t < ROWS; t++)
        for (int o = 0; o < OUT; o++)
            for (int i = 0; i < IN; i++) g[o * IN + i] += dy[t * OUT + o] * x[t * IN + i];
    for (int k = 0; k < RANK; k++)
        for (int o = 0; o < OUT; o++) half[k * OUT + o] = dot(a + k * IN, g + o * IN, IN);
    for (int k = 0; k < RANK; k++)
        for (int o = 0; o < OUT; o++)
            for (int i = 0; i < IN; i++) sum[k * IN + i] += half[k * OUT + o] * g[o * IN + i];
}

/* ---- the sum ---- */

/* Stored, then added by two more micro-batches: four products, of which each rounds its operands in BF16. In F32 the
 * longest of their sums counts, as elsewhere. */
START_TEST(test_values)
{
    relora_linear_options o = options_of(_i % VARIANTS);
    struct bench b = new_bench(&o, backwards[_i / VARIANTS]);
    struct rnd r = rnd_seed(6);
    double *want = doubles(N);
    int64_t k = o.dtype == RELORA_F32 ? ROWS : 4;
    put_all(sketch_of(&b), 9);
    for (uint32_t micro = 0; micro < 3; micro++) {
        put_normal(b.x, &r, 1);
        put_normal(b.dy, &r, 0.1);
        add_sketch(&b, want);
        back(&b, RELORA_TRAIN | RELORA_SKETCH | (micro ? 0 : RELORA_OVERWRITE));
        CLOSE(get(sketch_of(&b)), want, N, close_tolerance(0, o.dtype, largest(want, N), k));
    }
    ck_assert_double_gt(largest(want, N), 0.1);
}
END_TEST

static void *bits_of(relora_linear *l, relora_param p)
{
    return relora_linear_grad(l, p) ? snapshot(relora_linear_grad(l, p)) : NULL;
}

/* dx and the gradients are those of a backward without it, in the same order of products. */
START_TEST(test_nothing_else)
{
    relora_linear_options o = options_of(_i % VARIANTS);
    struct bench b = new_bench(&o, backwards[_i / VARIANTS]);
    back(&b, RELORA_TRAIN | RELORA_OVERWRITE);
    ck_assert_double_eq(largest(get(sketch_of(&b)), N), 0);
    void *dx = snapshot(b.dx), *grads[RELORA_PARAM_SKETCH + 1];
    for (relora_param p = RELORA_PARAM_WEIGHT; p <= RELORA_PARAM_SKETCH; p++) grads[p] = bits_of(b.l, p);
    ck_assert_ptr_null(grads[RELORA_PARAM_A]);
    ck_assert_ptr_null(grads[RELORA_PARAM_SKETCH]);
    put_all(b.dx, 9);
    back(&b, RELORA_TRAIN | RELORA_OVERWRITE | RELORA_SKETCH);
    UNCHANGED(b.dx, dx);
    for (relora_param p = RELORA_PARAM_WEIGHT; p <= RELORA_PARAM_SKETCH; p++)
        if (grads[p]) UNCHANGED(relora_linear_grad(b.l, p), grads[p]);
}
END_TEST

/* Only with both options; elsewhere the flag changes nothing. */
START_TEST(test_other_layers)
{
    relora_linear_options o = options_of(2);
    if (_i < 2) o.flags &= ~(uint32_t)RELORA_LINEAR_FREEZE_A;
    if (_i == 1) o.init = RELORA_INIT_UNIFORM;
    if (_i == 2) o.init = RELORA_INIT_MATCHED;
    if (_i == 3) o.mode = RELORA_MODE_FULL;
    struct bench b = new_bench(&o, RELORA_ORDER_AUTO);
    ck_assert_ptr_null(sketch_of(&b));
    back(&b, RELORA_OVERWRITE);
    void *grads[RELORA_PARAM_SKETCH];
    for (relora_param p = RELORA_PARAM_WEIGHT; p < RELORA_PARAM_SKETCH; p++) grads[p] = bits_of(b.l, p);
    back(&b, RELORA_OVERWRITE | RELORA_SKETCH);
    for (relora_param p = RELORA_PARAM_WEIGHT; p < RELORA_PARAM_SKETCH; p++)
        if (grads[p]) UNCHANGED(relora_linear_grad(b.l, p), grads[p]);
    relora_plan_report plain = {.struct_size = sizeof plain}, asked = plain;
    OK(relora_linear_plan(b.l, ROWS, 0, &plain));
    OK(relora_linear_plan(b.l, ROWS, RELORA_SKETCH, &asked));
    ck_assert_mem_eq(&plain, &asked, sizeof plain);
}
END_TEST

/* The three kinds of backward make the same bits; no rows add nothing. */
START_TEST(test_calls)
{
    relora_linear_options o = options_of(_i);
    struct bench b = new_bench(&o, RELORA_ORDER_AUTO);
    const uint32_t flags = RELORA_SKETCH | RELORA_OVERWRITE;
    relora_linear *others[] = {new_linear(&o), b.l};
    relora_tensor *dy[] = {b.dy, b.dy};
    if (o.mode == RELORA_MODE_LORA)
        OK(relora_linear_set_weight(others[0], param(b.l, RELORA_PARAM_WEIGHT), NULL));
    back(&b, flags);
    void *want = snapshot(sketch_of(&b));
    put_all(sketch_of(&b), 9);
    OK(relora_linear_backward_at(b.l, env.st, ROWS, relora_tensor_data(b.x), IN, relora_tensor_data(b.dy),
                                 OUT, NULL, 0, CALL, flags));
    UNCHANGED(sketch_of(&b), want);
    put_all(sketch_of(&b), 9);
    OK(relora_linear_backward_shared(others, 2, env.st, b.x, dy, b.dx, CALL, flags));
    UNCHANGED(sketch_of(&b), want);
    OK(relora_linear_backward_at(b.l, env.st, 0, NULL, IN, NULL, OUT, NULL, 0, CALL, RELORA_SKETCH));
    UNCHANGED(sketch_of(&b), want);
}
END_TEST

/* ---- the new A ---- */

/* A sketch is to a frozen A what the gradient is to others: a reset has the bits of relora_factors_renew(), and uses it
 * up, as zero_grad does. */
START_TEST(test_reset)
{
    relora_linear_options o = options_of(_i);
    struct bench b = new_bench(&o, RELORA_ORDER_AUTO);
    relora_factors_options fo;
    OK(relora_factors_options_init(&fo, sizeof fo));
    fo.init = RELORA_INIT_GRADIENT, fo.seed = o.seed, fo.layer = o.layer;
    relora_tensor *a = new_matrix(RELORA_F32, RANK, IN), *factor = new_matrix(RELORA_F32, OUT, RANK),
                  *gradient = new_matrix(RELORA_F32, RANK, IN);
    for (fo.cycle = 1; fo.cycle < 4; fo.cycle++) {
        back(&b, RELORA_SKETCH);
        if (fo.cycle == 3) OK(relora_linear_zero_grad(b.l, env.st));
        put(a, get(param(b.l, RELORA_PARAM_A)));
        put(gradient, get(sketch_of(&b)));
        ck_assert_int_eq(largest(get(gradient), N) > 0, fo.cycle < 3);
        OK(relora_factors_renew(env.st, a, factor, gradient, &fo, NULL));
        OK(relora_linear_reset(b.l, env.st, fo.cycle));
        UNCHANGED(param(b.l, RELORA_PARAM_A), snapshot(a));
        ck_assert_double_eq(largest(get(sketch_of(&b)), N), 0);
        ck_assert_double_eq(largest(get(param(b.l, RELORA_PARAM_B)), OUT * RANK), 0);
    }
}
END_TEST

/* Whoever sets gradients to 0 sets the sketch to 0. */
START_TEST(test_zero)
{
    relora_linear_options o = options_of(0);
    struct bench b = new_bench(&o, RELORA_ORDER_AUTO);
    relora_adam *adam = new_adam(NULL);
    relora_group *group = new_group();
    OK(relora_adam_add_linear(adam, "l", b.l));
    OK(relora_group_add_linear(group, "l", b.l));
    if (_i == 1) OK(relora_adam_flatten_grads(adam, env.st));
    back(&b, RELORA_SKETCH);
    if (_i < 2) OK(relora_adam_zero_grad(adam, env.st));
    else if (_i == 2) OK(relora_group_zero_grad(group, env.st));
    else OK(relora_linear_zero_grad(b.l, env.st));
    ck_assert_double_eq(largest(get(sketch_of(&b)), N), 0);
}
END_TEST

/* A gradient of W of RANK strong directions below noise: they are what A spans after two restarts, whatever it was. */
START_TEST(test_leading_directions)
{
    relora_linear_options o = options_of(_i % 4);
    struct bench b = new_bench(&o, RELORA_ORDER_AUTO);
    struct rnd r = rnd_seed(8);
    double *x = doubles(ROWS * IN), *dy = doubles(ROWS * OUT), *strong = doubles(N);
    for (int t = 0; t < ROWS; t++) { /* each of the first rows is a direction, and the others are weak */
        for (int i = 0; i < IN; i++) x[t * IN + i] = rnd_normal(&r);
        for (int i = 0; i < OUT; i++) dy[t * OUT + i] = (t < RANK ? 1 : 0.02) * rnd_normal(&r);
    }
    memcpy(strong, x, N * sizeof *x);
    put(b.x, x);
    put(b.dy, dy);
    put_normal(param(b.l, RELORA_PARAM_A), &r, 1);
    ck_assert_double_lt(inside(strong, RANK, get(param(b.l, RELORA_PARAM_A)), RANK, IN), 0.6);
    for (uint64_t cycle = 1; cycle <= 2; cycle++) {
        back(&b, RELORA_SKETCH);
        OK(relora_linear_reset(b.l, env.st, cycle));
    }
    ck_assert_double_gt(inside(strong, RANK, get(param(b.l, RELORA_PARAM_A)), RANK, IN), 0.99);
}
END_TEST

/* The sketch comes with A at the end of a warm start, empty, and goes with it. */
START_TEST(test_modes)
{
    relora_linear_options o = options_of(_i * 2);
    struct rnd r = rnd_seed(9);
    o.mode = RELORA_MODE_FULL;
    relora_linear *l = new_filled_linear(&o, &r);
    for (int turn = 0; turn < 2; turn++) {
        ck_assert_ptr_null(param(l, RELORA_PARAM_SKETCH));
        put_normal(relora_linear_grad(l, RELORA_PARAM_WEIGHT), &r, 1);
        OK(relora_linear_set_mode(l, env.st, RELORA_MODE_LORA));
        ck_assert_double_eq(largest(get(param(l, RELORA_PARAM_SKETCH)), N), 0);
        put_all(param(l, RELORA_PARAM_SKETCH), 1);
        OK(relora_linear_set_mode(l, env.st, RELORA_MODE_FULL));
    }
}
END_TEST

/* ---- in a cycle ---- */

enum { LAYERS = 3, EVERY = 4, LAST = 3 * EVERY + 2 };

struct world {
    struct bench b[LAYERS];
    relora_group *group;
    relora_adam *adam;
    relora_cycle *cycle;
    int asks; /* for sketches */
};

static struct world new_world(int32_t stagger)
{
    struct world w = {.group = new_group(), .adam = new_adam(NULL), .asks = 1};
    relora_cycle_options co = cycle_options(EVERY, 0);
    relora_reset_options ro = reset_options(RELORA_RESET_PROJECT, 1, 0);
    co.stagger = stagger;
    for (int i = 0; i < LAYERS; i++) {
        char name[8];
        relora_linear_options o = options_of(2 * i);
        o.layer = (uint64_t)i;
        w.b[i] = new_bench(&o, RELORA_ORDER_AUTO);
        snprintf(name, sizeof name, "l%d", i);
        OK(relora_group_add_linear(w.group, name, w.b[i].l));
    }
    OK(relora_adam_add_group(w.adam, w.group));
    w.cycle = new_cycle(&co, w.adam, &ro);
    OK(relora_cycle_add_group(w.cycle, w.group));
    return w;
}

/* Updates `from` to `to`, of two micro-batches. The host asks the calendar what follows. */
static void train(struct world *w, int64_t from, int64_t to, relora_merge_report *report)
{
    for (int64_t step = from; step < to; step++) {
        struct rnd r = rnd_seed(100 + (uint64_t)step);
        uint32_t next;
        OK(relora_cycle_due(w->cycle, step + 1, &next));
        OK(relora_group_zero_grad(w->group, env.st));
        for (int micro = 0; micro < 2; micro++)
            for (int i = 0; i < LAYERS; i++) {
                put_normal(w->b[i].x, &r, 1);
                put_normal(w->b[i].dy, &r, 1);
                back(&w->b[i], next && w->asks ? RELORA_SKETCH : 0);
            }
        OK(relora_adam_step(w->adam, env.st, next ? 0.0005 : 0.01, 1, NULL));
        OK(relora_cycle_advance(w->cycle, env.st, step + 1, NULL, report, NULL));
    }
}

/* The new A is that of the sketch, and the report says so. */
START_TEST(test_cycle)
{
    struct world w = new_world(0);
    relora_merge_report report = {.struct_size = sizeof report};
    double *want = doubles(N);
    train(&w, 0, EVERY, &report);
    struct rnd r = rnd_seed(100 + EVERY);
    for (int micro = 0; micro < 2; micro++)
        for (int i = 0; i < LAYERS; i++) {
            put_normal(w.b[i].x, &r, 1);
            put_normal(w.b[i].dy, &r, 1);
            if (i == 0) add_sketch(&w.b[0], want);
        }
    train(&w, EVERY, EVERY + 1, &report);
    ck_assert_int_eq(report.layers, LAYERS);
    ck_assert_double_gt(inside(want, RANK, get(param(w.b[0].l, RELORA_PARAM_A)), RANK, IN), 1 - 1e-9);
    ck_assert_double_eq_tol(report.gradient_after, 1, 1e-4);
    ck_assert_double_gt(report.gradient_before, 0.05);
    ck_assert_double_lt(report.gradient_before, 0.95);
    ck_assert_int_eq(env.lines[RELORA_LOG_WARN], 0);
}
END_TEST

/* A host that never asks gets MATCHED, and is told so once. */
START_TEST(test_told)
{
    struct world w = new_world(0), m = new_world(0);
    w.asks = 0;
    train(&w, 0, LAST, NULL);
    ck_assert_int_eq(env.lines[RELORA_LOG_WARN], 1);
    ck_assert_ptr_nonnull(strstr(env.warning, "relora_cycle_advance"));
    ck_assert_ptr_nonnull(strstr(env.warning, "\"l0\""));
    ck_assert_ptr_nonnull(strstr(env.warning, "RELORA_SKETCH"));
    OK(relora_linear_reset(m.b[0].l, env.st, 3));
    UNCHANGED(param(w.b[0].l, RELORA_PARAM_A), snapshot(param(m.b[0].l, RELORA_PARAM_A)));
    struct world end = new_world(0); /* which is no restart */
    OK(relora_cycle_finish(end.cycle, env.st, 2, NULL));
    ck_assert_int_eq(env.lines[RELORA_LOG_WARN], 1);
}
END_TEST

static relora_state *state_of(struct world *w)
{
    relora_state *s;
    OK(relora_state_create(&s, env.ctx));
    OK(relora_state_add_group(s, w->group));
    OK(relora_state_add_adam(s, "adam", w->adam));
    OK(relora_state_add_cycle(s, "cycle", w->cycle));
    return s;
}

/* Saved after any update, also the ones just before and after a restart. The sketch is not in the file. */
START_TEST(test_resume)
{
    char path[] = "/tmp/relora-sketch-XXXXXX";
    int made = mkstemp(path);
    relora_reader *file;
    ck_assert_int_ge(made, 0);
    close(made);
    struct world w = new_world(_i % 2 ? 2 : 0), x = new_world(_i % 2 ? 2 : 0);
    train(&w, 0, _i, NULL);
    relora_state *saved = state_of(&w), *loaded = state_of(&x);
    OK(relora_state_save(saved, env.st, path, 0));
    train(&w, _i, LAST, NULL);
    OK(relora_reader_open(&file, env.ctx, path));
    OK(relora_state_load(loaded, env.st, file));
    for (int32_t k = 0; k < relora_reader_count(file); k++)
        ck_assert_ptr_null(strstr(relora_reader_name(file, k), "sketch"));
    relora_reader_release(file);
    remove(path);
    train(&x, _i, LAST, NULL);
    for (int i = 0; i < LAYERS; i++)
        for (relora_param p = RELORA_PARAM_WEIGHT; p <= RELORA_PARAM_B; p++)
            UNCHANGED(param(x.b[i].l, p), snapshot(param(w.b[i].l, p)));
    relora_state_release(saved);
    relora_state_release(loaded);
}
END_TEST

Suite *sketch_suite(void)
{
    Suite *s = suite_create("sketch of the gradient");
    TCase *tc = env_case(s, "sum", 20);
    tcase_add_loop_test(tc, test_values, 0, 3 * VARIANTS);
    tcase_add_loop_test(tc, test_nothing_else, 0, 3 * VARIANTS);
    tcase_add_loop_test(tc, test_other_layers, 0, 4);
    tcase_add_loop_test(tc, test_calls, 0, 4);
    tc = env_case(s, "new A", 20);
    tcase_add_loop_test(tc, test_reset, 0, 4);
    tcase_add_loop_test(tc, test_zero, 0, 4);
    tcase_add_loop_test(tc, test_leading_directions, 0, 4);
    tcase_add_loop_test(tc, test_modes, 0, 2);
    tc = env_case(s, "cycle", 20);
    tcase_add_test(tc, test_cycle);
    tcase_add_test(tc, test_told);
    tcase_add_loop_test(tc, test_resume, 0, LAST);
    return s;
}
