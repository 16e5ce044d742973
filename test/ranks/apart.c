/* Ranks that meet at merges alone. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "ranks/world.h"

enum { EVERY = 3, FIRST_MERGE = EVERY + 1 };

static int says(struct rank *rank, const char *word)
{
    char text[512];
    relora_context_error(rank->ctx, text, sizeof text, NULL);
    return strstr(text, word) != NULL;
}

/* reset_every of 0 resets moments at each merge. */
static relora_cycle *cycle_every(struct rank *rank, struct world *w, int64_t reset_every)
{
    relora_cycle_options o;
    relora_cycle *cycle;
    relora_cycle_options_init(&o, sizeof o);
    o.merge_every = EVERY;
    o.reset_every = reset_every;
    o.comm = &rank->comm;
    RANK_OK(rank, relora_cycle_create(&cycle, rank->ctx, &o, w->adam, NULL));
    for (int i = 0; i < LAYERS; i++) RANK_OK(rank, relora_cycle_add(cycle, w->layer[i]));
    return cycle;
}

static relora_cycle *cycle_of(struct rank *rank, struct world *w) { return cycle_every(rank, w, 0); }

/* Local updates until the one that a merge follows. */
static void train(struct rank *rank, struct world *w, relora_cycle *cycle)
{
    for (int64_t step = 1; step <= FIRST_MERGE; step++) {
        world_step(rank, w, step, NULL);
        if (step < FIRST_MERGE) RANK_OK(rank, relora_cycle_advance(cycle, rank->st, step, NULL, NULL, NULL));
    }
}

/* ---- the mean ---- */

struct means { /* what each rank has before the merge, and rank 0 after it */
    float w0[OUT * IN], after[OUT * IN];
    float a[RANKS_MOST][RANK * IN], b[RANKS_MOST][OUT * RANK], p2[RANKS_MOST][3], p2_after[3];
};

static const float *floats(relora_tensor *t) { return relora_tensor_data(t); }

static void merge_once(struct rank *rank, struct world *w)
{
    struct means *m = ((struct plan *)rank->user)->more;
    int32_t r = rank->comm.rank;
    relora_cycle *cycle = cycle_of(rank, w);
    relora_merge_report report = {.struct_size = sizeof report};
    train(rank, w, cycle);
    if (r == 0) memcpy(m->w0, floats(w->weight[0]), sizeof m->w0);
    memcpy(m->a[r], floats(relora_linear_param(w->layer[0], RELORA_PARAM_A)), sizeof m->a[r]);
    memcpy(m->b[r], floats(relora_linear_param(w->layer[0], RELORA_PARAM_B)), sizeof m->b[r]);
    memcpy(m->p2[r], floats(w->value[2]), sizeof m->p2[r]);
    RANK_OK(rank, relora_cycle_advance(cycle, rank->st, FIRST_MERGE, NULL, &report, NULL));
    RANK_TRUE(rank, report.layers == LAYERS && report.delta_norm > 0);
    if (r == 0) {
        memcpy(m->after, floats(w->weight[0]), sizeof m->after);
        memcpy(m->p2_after, floats(w->value[2]), sizeof m->p2_after);
    }
    world_keep(rank, w);
    world_keep_bytes(rank, &report, sizeof report);
    relora_cycle_release(cycle);
}

static void check_mean(const struct means *m, int32_t size)
{
    const double s = 32.0 / RANK;
    double most = 0;
    for (int i = 0; i < OUT; i++)
        for (int j = 0; j < IN; j++) {
            double delta = 0;
            for (int32_t r = 0; r < size; r++)
                for (int k = 0; k < RANK; k++)
                    delta += s / size * (double)m->b[r][i * RANK + k] * (double)m->a[r][k * IN + j];
            double change = (double)m->after[i * IN + j] - (double)m->w0[i * IN + j];
            ck_assert_double_eq_tol(change, delta, 1e-6);
            if (fabs(delta) > most) most = fabs(delta);
        }
    ck_assert_double_gt(most, 1e-3); /* there was something to merge */
}

/* W gets the mean of s B A, which is not that of the mean factors; all ranks have the same bits afterwards. */
START_TEST(test_mean)
{
    struct means *m = calloc(1, sizeof *m);
    struct plan plan = {.apart = 1, .work = merge_once, .more = m};
    world_run(_i, NULL, &plan);
    check_mean(m, _i);
    world_same(&plan, _i, &plan);
    for (int k = 0; k < 3; k++) {
        double mean = 0;
        for (int r = 0; r < _i; r++) mean += (double)m->p2[r][k] / _i;
        ck_assert_double_eq_tol((double)m->p2_after[k], mean, 1e-6);
    }
    ck_assert(memcmp(m->b[0], m->b[1], sizeof m->b[0]) != 0); /* they were apart */
    world_free(&plan);
    free(m);
}
END_TEST

/* ---- several restarts ---- */

static void restarts(struct rank *rank, struct world *w)
{
    relora_cycle *cycle = cycle_of(rank, w);
    for (int64_t step = 1; step < 11; step++) {
        world_step(rank, w, step, NULL);
        RANK_OK(rank, relora_cycle_advance(cycle, rank->st, step, NULL, NULL, NULL));
    }
    RANK_OK(rank, relora_cycle_finish(cycle, rank->st, 10, NULL));
    world_keep(rank, w);
    relora_cycle_release(cycle);
}

START_TEST(test_restarts)
{
    struct plan plan = {.apart = 1, .work = restarts};
    world_run(_i, NULL, &plan);
    world_same(&plan, _i, &plan);
    world_free(&plan);
}
END_TEST

/* Nothing is sent between merges. */
static void count_bytes(struct rank *rank, struct world *w)
{
    relora_cycle *cycle = cycle_of(rank, w);
    train(rank, w, cycle);
    RANK_TRUE(rank, rank->exchanges == 0);
    RANK_OK(rank, relora_cycle_advance(cycle, rank->st, FIRST_MERGE, NULL, NULL, NULL));
    /* factors of the others, and twice the rest of what is trained */
    uint64_t factors = 4u * LAYERS * RANK * (IN + OUT), rest = 4u * (70000 + 77 + 3 + 1024 + 1 + 31 * 33);
    uint64_t numbers = 200 + (uint64_t)PARAMS * 8;
    RANK_TRUE(rank, rank->sent_bytes >= factors + rest && rank->sent_bytes < factors + rest + numbers);
    relora_cycle_release(cycle);
}

START_TEST(test_bytes)
{
    struct plan plan = {.apart = 1, .work = count_bytes};
    world_run(2, NULL, &plan);
}
END_TEST

/* ---- failures ---- */

/* One rank has a NaN: W stays as it is on all of them, and they are still together. */
static void one_nan(struct rank *rank, struct world *w)
{
    relora_cycle *cycle = cycle_of(rank, w);
    train(rank, w, cycle);
    float *b = relora_tensor_data(relora_linear_param(w->layer[1], RELORA_PARAM_B)), was = b[7];
    float before = floats(w->weight[0])[5];
    if (rank->comm.rank == 1) b[7] = NAN;
    relora_status status = relora_cycle_advance(cycle, rank->st, FIRST_MERGE, NULL, NULL, NULL);
    RANK_TRUE(rank, status == RELORA_E_NOT_FINITE && floats(w->weight[0])[5] == before);
    RANK_TRUE(rank, says(rank, rank->comm.rank == 1 ? "a factor of layer" : "rank 1 has failed"));
    b[7] = was;
    RANK_OK(rank, relora_cycle_advance(cycle, rank->st, FIRST_MERGE, NULL, NULL, NULL));
    world_keep(rank, w);
    relora_cycle_release(cycle);
}

START_TEST(test_nan)
{
    struct plan plan = {.apart = 1, .work = one_nan};
    world_run(3, NULL, &plan);
    world_same(&plan, 3, &plan);
    world_free(&plan);
}
END_TEST

/* W must be equal before, also where it is the target of a layer beside a product of the host. */
static void drifted(struct rank *rank, struct world *w)
{
    relora_cycle *cycle = cycle_of(rank, w);
    train(rank, w, cycle);
    unsigned char *bytes = relora_tensor_data(w->weight[0]);
    if (rank->comm.rank == 2) bytes[1] ^= 4;
    RANK_TRUE(rank, relora_cycle_advance(cycle, rank->st, FIRST_MERGE, NULL, NULL, NULL) == RELORA_E_STATE);
    RANK_TRUE(rank, says(rank, "of rank 2 differs"));
    relora_cycle_release(cycle);
}

START_TEST(test_drift)
{
    struct plan plan = {.apart = 1, .mode = _i ? RELORA_MODE_LOWRANK : RELORA_MODE_LORA, .work = drifted};
    world_run(3, NULL, &plan);
}
END_TEST

/* What the host merges cannot become a mean: it is asked, but merges nothing. */
static relora_status only_asked(void *user, relora_stream *stream, const relora_tensor *a,
                                const relora_tensor *b, const relora_merge_options *options,
                                relora_merge_report *report)
{
    (void)stream, (void)a, (void)b, (void)report;
    RANK_TRUE(user, (options->flags & RELORA_MERGE_LOOK) != 0);
    return RELORA_OK;
}

static void merged_by_the_host(struct rank *rank, struct world *w)
{
    relora_cycle *cycle = cycle_of(rank, w);
    train(rank, w, cycle);
    float before = floats(w->weight[0])[5];
    RANK_OK(rank, relora_linear_set_target(w->layer[1], NULL, only_asked, rank));
    relora_status status = relora_cycle_advance(cycle, rank->st, FIRST_MERGE, NULL, NULL, NULL);
    RANK_TRUE(rank, status == RELORA_E_UNSUPPORTED && says(rank, "merged by a callback"));
    RANK_TRUE(rank, floats(w->weight[0])[5] == before);
    RANK_OK(rank, relora_linear_set_target(w->layer[1], w->weight[1], NULL, NULL));
    RANK_OK(rank, relora_cycle_advance(cycle, rank->st, FIRST_MERGE, NULL, NULL, NULL));
    world_keep(rank, w);
    relora_cycle_release(cycle);
}

START_TEST(test_callback)
{
    struct plan plan = {.apart = 1, .mode = RELORA_MODE_LOWRANK, .work = merged_by_the_host};
    world_run(2, NULL, &plan);
    world_same(&plan, 2, &plan);
    world_free(&plan);
}
END_TEST

/* A stream of another device than that of the exchanges is refused before the first of them. */
static void other_stream(struct rank *rank, struct world *w)
{
    relora_stream *cpu;
    relora_cycle *cycle = cycle_every(rank, w, 1000); /* no moments to look at first */
    train(rank, w, cycle);
    RANK_OK(rank, relora_stream_create(&cpu, relora_device_get(rank->ctx, RELORA_DEVICE_CPU, 0)));
    RANK_TRUE(rank, relora_cycle_advance(cycle, cpu, FIRST_MERGE, NULL, NULL, NULL) == RELORA_E_DEVICE);
    RANK_TRUE(rank, says(rank, "adam on fake 0") && rank->exchanges == 0);
    RANK_OK(rank, relora_cycle_advance(cycle, rank->st, FIRST_MERGE, NULL, NULL, NULL));
    world_keep(rank, w);
    relora_stream_release(cpu);
    relora_cycle_release(cycle);
}

START_TEST(test_other_stream)
{
    struct plan plan = {.apart = 1, .work = other_stream};
    world_run(2, world_on_fake, &plan);
    world_same(&plan, 2, &plan);
    world_free(&plan);
}
END_TEST

/* Memory refused on rank 1 alone, at each request of a merge. */
static void one_starves(struct rank *rank, struct world *w)
{
    relora_cycle *cycle = cycle_every(rank, w, 1000);
    train(rank, w, cycle);
    relora_status status = RELORA_E_NO_MEMORY;
    for (int64_t n = 1; status == RELORA_E_NO_MEMORY && n < 100; n++) {
        float before = floats(w->weight[0])[5];
        if (rank->comm.rank == 1)
            track_refuse(&rank->mem, n + 1, 0); /* the first is for the comparison of W */
        status = relora_cycle_advance(cycle, rank->st, FIRST_MERGE, NULL, NULL, NULL);
        track_refuse(&rank->mem, 0, 0);
        RANK_TRUE(rank,
                  status == RELORA_OK || (status == RELORA_E_NO_MEMORY && floats(w->weight[0])[5] == before));
    }
    RANK_TRUE(rank, status == RELORA_OK);
    world_keep(rank, w);
    relora_cycle_release(cycle);
}

START_TEST(test_one_starves)
{
    struct plan plan = {.apart = 1, .work = one_starves};
    world_run(2, NULL, &plan);
    world_same(&plan, 2, &plan);
    world_free(&plan);
}
END_TEST

static void fails_at(struct rank *rank)
{
    if (rank->comm.rank == 1) rank->fails_at = *(int *)((struct plan *)rank->user)->more;
}

static void left(struct rank *rank, struct world *w)
{
    relora_cycle *cycle = cycle_of(rank, w);
    train(rank, w, cycle);
    RANK_TRUE(rank, relora_cycle_advance(cycle, rank->st, FIRST_MERGE, NULL, NULL, NULL) == RELORA_E_COMM);
    RANK_TRUE(rank, says(rank, rank->comm.rank == 1 ? "as planned" : "rank 1 has left"));
    relora_cycle_release(cycle);
}

/* In the comparison, the agreement, the factors, the rest: a merge makes no more exchanges where all fits into one. */
START_TEST(test_rank_that_leaves)
{
    int at = 1 + _i;
    struct plan plan = {.apart = 1, .work = left, .more = &at};
    world_run(3, fails_at, &plan);
}
END_TEST

/* ---- more than goes at once ---- */

enum { SMALL = 70, LONG = 5 << 20 };

static const struct sizes {
    int64_t out, in, rank;
} sizes[] = {
    {33000, 64, 64},        /* factors that are more than the wire takes */
    {3, (2 << 20) + 70, 2}, /* and so is a row of A */
};
enum { SIZES = sizeof sizes / sizeof *sizes };

static float value_of(int64_t i, int32_t r) { return (float)((i * 7 + r * 5) % 9 - 4) / 64; }

static relora_tensor *filled(relora_tensor *t, int32_t r)
{
    float *x = relora_tensor_data(t);
    for (int64_t i = 0; i < relora_tensor_count(t); i++) x[i] = value_of(i, r);
    return t;
}

static relora_tensor *vector(struct rank *rank, int64_t n)
{
    relora_tensor *t;
    RANK_OK(rank, relora_tensor_create(&t, rank->dev, RELORA_F32, 1, &n));
    return t;
}

static double mean_of(int64_t i) { return ((double)value_of(i, 0) + (double)value_of(i, 1)) / 2; }

/* Every value is a small multiple of 1/64, so means and products are exact. */
static void check_pieces(struct rank *rank, const struct sizes *s, relora_tensor *w,
                         relora_tensor *const *values)
{
    const float *x = relora_tensor_data(w);
    for (int64_t at = 0; at < s->out * s->in; at += 997) {
        double sum = 0;
        for (int32_t r = 0; r < 2; r++)
            for (int64_t k = 0; k < s->rank; k++)
                sum += (double)value_of(at / s->in * s->rank + k, r) *
                       (double)value_of(k * s->in + at % s->in, r);
        RANK_TRUE(rank, (double)x[at] == sum / 2);
    }
    for (int v = 0; v <= SMALL; v++) {
        const float *y = relora_tensor_data(values[v]);
        for (int64_t i = 0; i < relora_tensor_count(values[v]); i++)
            RANK_TRUE(rank, (double)y[i] == mean_of(i));
    }
}

/* Factors and a parameter that are more than the wire takes, and more parameters than go together. */
static void pieces(struct rank *rank)
{
    const struct sizes *s = rank->user;
    const int64_t shape[] = {s->out, s->in};
    relora_tensor *w, *values[SMALL + 1], *grads[SMALL + 1];
    relora_linear *layer;
    relora_linear_options lo;
    relora_adam *adam;
    relora_cycle *cycle;
    relora_cycle_options co;
    int32_t r = rank->comm.rank;
    RANK_OK(rank, relora_tensor_create(&w, rank->dev, RELORA_F32, 2, shape));
    RANK_OK(rank, relora_tensor_fill(w, rank->st, 0));
    relora_linear_options_init(&lo, sizeof lo);
    lo.in_features = s->in, lo.out_features = s->out, lo.rank = s->rank, lo.alpha = (double)s->rank;
    RANK_OK(rank, relora_linear_create(&layer, rank->dev, &lo));
    RANK_OK(rank, relora_linear_set_weight(layer, w, NULL));
    RANK_OK(rank, relora_adam_create(&adam, rank->dev, NULL));
    RANK_OK(rank, relora_adam_add_linear(adam, "layer", layer));
    for (int v = 0; v <= SMALL; v++) {
        char name[8];
        snprintf(name, sizeof name, "v%d", v);
        values[v] = filled(vector(rank, v == 3 ? LONG : 5), r);
        grads[v] = vector(rank, v == 3 ? LONG : 5);
        RANK_OK(rank, relora_adam_add(adam, name, values[v], grads[v], NULL));
    }
    filled(relora_linear_param(layer, RELORA_PARAM_A), r);
    filled(relora_linear_param(layer, RELORA_PARAM_B), r);
    relora_cycle_options_init(&co, sizeof co);
    co.merge_every = 2, co.comm = &rank->comm;
    RANK_OK(rank, relora_cycle_create(&cycle, rank->ctx, &co, adam, NULL));
    RANK_OK(rank, relora_cycle_add(cycle, layer));
    RANK_OK(rank, relora_cycle_finish(cycle, rank->st, 1, NULL));
    check_pieces(rank, s, w, values);
    relora_cycle_release(cycle);
    relora_adam_release(adam);
    relora_linear_release(layer);
    relora_tensor_release(w);
    for (int v = 0; v <= SMALL; v++) relora_tensor_release(values[v]), relora_tensor_release(grads[v]);
}

START_TEST(test_pieces)
{
    struct sizes s = sizes[_i];
    const struct rank *ranks = ranks_run(2, NULL, pieces, &s);
    for (int r = 0; r < 2; r++) ck_assert_int_eq(ranks[r].bad_memory, 0);
}
END_TEST

/* ---- arguments ---- */

static void wrong(struct rank *rank, struct world *w)
{
    relora_cycle_options o;
    relora_cycle *cycle;
    relora_cycle_options_init(&o, sizeof o);
    o.merge_every = EVERY;
    o.comm = &rank->comm;
    RANK_TRUE(rank, relora_cycle_create(&cycle, rank->ctx, &o, w->adam, NULL) == RELORA_E_ARGUMENT && !cycle);
    RANK_TRUE(rank, says(rank, "train together already"));
    RANK_TRUE(rank, relora_cycle_create(&cycle, rank->ctx, &o, NULL, NULL) == RELORA_E_ARGUMENT && !cycle);
    RANK_TRUE(rank, says(rank, "adam is NULL"));
    rank->comm.size = 0;
    RANK_TRUE(rank, relora_cycle_create(&cycle, rank->ctx, &o, w->adam, NULL) == RELORA_E_ARGUMENT && !cycle);
    RANK_TRUE(rank, says(rank, "options.comm.size is 0"));
}

START_TEST(test_arguments)
{
    struct plan plan = {.work = wrong};
    world_run(2, NULL, &plan);
}
END_TEST

Suite *ranks_apart(void)
{
    Suite *s = suite_create("apart");
    TCase *tc = tcase_create("apart");
    tcase_set_timeout(tc, 60);
    tcase_add_loop_test(tc, test_mean, 2, 6);
    tcase_add_loop_test(tc, test_restarts, 1, 5);
    tcase_add_test(tc, test_bytes);
    tcase_add_test(tc, test_nan);
    tcase_add_loop_test(tc, test_drift, 0, 2);
    tcase_add_test(tc, test_callback);
    tcase_add_test(tc, test_other_stream);
    tcase_add_test(tc, test_one_starves);
    tcase_add_loop_test(tc, test_rank_that_leaves, 0, 4);
    tcase_add_loop_test(tc, test_pieces, 0, SIZES);
    tcase_add_test(tc, test_arguments);
    suite_add_tcase(s, tc);
    return s;
}
