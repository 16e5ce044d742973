/* What changes layers in several ranks, beside updates and merges: steps in full rank, other ways to begin a new A, and
 * layers that go over to low rank and back. The bits are those of one rank. */
#include <string.h>
#include "ranks/world.h"

static int says(struct rank *rank, const char *word)
{
    char text[512];
    relora_context_error(rank->ctx, text, sizeof text, NULL);
    return strstr(text, word) != NULL;
}

static void compare(int32_t size, rank_fn prepare, struct plan plan)
{
    struct plan alone = plan;
    plan.of = alone.of = size;
    world_run(1, prepare, &alone);
    world_run(size, prepare, &plan);
    world_same(&plan, size, &alone);
    world_free(&plan);
    world_free(&alone);
}

/* ---- steps in full rank ---- */

/* With rows that lie apart. */
static void full_rank_steps(struct rank *rank, struct world *w)
{
    static float memory[RANKS_MOST][OUT * 32];
    const int64_t shape[] = {OUT, IN}, strides[] = {32, 1};
    float was[OUT * IN];
    relora_tensor *gradient, *gapped;
    memcpy(was, relora_tensor_data(w->weight[0]), sizeof was);
    RANK_OK(rank, relora_tensor_create(&gradient, rank->dev, RELORA_F32, 2, shape));
    RANK_OK(rank, relora_tensor_borrow(&gapped, rank->dev, RELORA_F32, 2, shape, strides,
                                       memory[rank->comm.rank], NULL, NULL));
    for (uint64_t step = 1; step < 4; step++) {
        world_step(rank, w, (int64_t)step, NULL);
        for (int i = 0; i < LAYERS; i++) {
            world_fill(rank, w, gradient, (int64_t)step + 10 * i);
            RANK_OK(rank, relora_tensor_copy(gapped, gradient, rank->st));
            RANK_OK(rank, relora_adam_sum(w->adam, rank->st, gapped));
            RANK_OK(rank, relora_linear_full_rank_step(w->layer[i], rank->st, gapped, 0.01, step, NULL));
        }
    }
    RANK_TRUE(rank, memcmp(was, relora_tensor_data(w->weight[0]), sizeof was) != 0);
    relora_tensor_release(gradient);
    relora_tensor_release(gapped);
    world_keep(rank, w);
}

/* A module that passes the CPU off as a GPU: what it has goes to the host and back. */
static void on_fake(struct rank *rank) { rank->module_dir = RELORA_TEST_MODULES "/fake"; }

/* `_i`: number of ranks, and by way of the host */
START_TEST(test_full_rank)
{
    compare(1 + _i / 2, _i % 2 ? on_fake : NULL, (struct plan){.work = full_rank_steps});
}
END_TEST

static void sums(struct rank *rank, struct world *w)
{
    const int64_t n = 9 << 20; /* more than one piece */
    relora_tensor *t;
    RANK_OK(rank, relora_tensor_create(&t, rank->dev, RELORA_BF16, 1, &n));
    uint16_t *x = relora_tensor_data(t);
    for (int64_t i = 0; i < n; i++) x[i] = i % 2 ? 0x3F80 : 0xC000; /* 1 and -2 */
    RANK_OK(rank, relora_adam_sum(w->adam, rank->st, t));
    for (int64_t i = 0; i < n; i++) RANK_TRUE(rank, x[i] == (i % 2 ? 0x4040 : 0xC0C0)); /* 3 and -6 */
    relora_tensor_release(t);
    RANK_TRUE(rank, relora_adam_sum(w->adam, rank->st, NULL) == RELORA_E_ARGUMENT);
    world_step(rank, w, 1, NULL); /* they are still together */
}

START_TEST(test_sums)
{
    struct plan plan = {.work = sums};
    world_run(3, NULL, &plan);
}
END_TEST

static void fails_at_first(struct rank *rank)
{
    if (rank->comm.rank == 1) rank->fails_at = 1;
}

static void left(struct rank *rank, struct world *w)
{
    RANK_TRUE(rank, relora_adam_sum(w->adam, rank->st, w->grad[0]) == RELORA_E_COMM);
    RANK_TRUE(rank, says(rank, rank->comm.rank == 1 ? "as planned" : "the exchange of a tensor failed"));
}

START_TEST(test_rank_that_leaves)
{
    struct plan plan = {.work = left};
    world_run(3, fails_at_first, &plan);
}
END_TEST

/* ---- a new A ---- */

static relora_cycle *cycle_of(struct rank *rank, struct world *w, int apart)
{
    relora_cycle_options o;
    relora_reset_options reset;
    relora_cycle *cycle;
    relora_cycle_options_init(&o, sizeof o);
    relora_reset_options_init(&reset, sizeof reset);
    o.merge_every = 2;
    if (apart) o.comm = &rank->comm;
    if (((struct plan *)rank->user)->more) reset.mode = RELORA_RESET_PROJECT;
    RANK_OK(rank, relora_cycle_create(&cycle, rank->ctx, &o, w->adam, &reset));
    for (int i = 0; i < LAYERS; i++) RANK_OK(rank, relora_cycle_add(cycle, w->layer[i]));
    return cycle;
}

static void restarts(struct rank *rank, struct world *w)
{
    int apart = ((struct plan *)rank->user)->apart;
    relora_cycle *cycle = cycle_of(rank, w, apart);
    for (int64_t step = 1; step < 8; step++) {
        uint32_t events;
        world_step(rank, w, step, NULL);
        RANK_OK(rank, relora_cycle_advance(cycle, rank->st, step, &events, NULL, NULL));
        if (!events && apart) continue;
        world_keep(rank, w);
        for (int i = 0; i < LAYERS; i++) { /* which a step need not train */
            const relora_tensor *a = relora_linear_param(w->layer[i], RELORA_PARAM_A);
            if (a) world_keep_bytes(rank, relora_tensor_data(a), RANK * IN * sizeof(float));
        }
    }
    relora_cycle_release(cycle);
}

static const relora_init inits[] = {RELORA_INIT_MATCHED, RELORA_INIT_GRADIENT, RELORA_INIT_GIVEN};
enum { INITS = sizeof inits / sizeof *inits };
static int projects = 1;

/* `_i`: the init, with moments that are reset or projected, of 2 and 3 ranks */
START_TEST(test_inits)
{
    struct plan plan = {
        .init = inits[_i % INITS], .work = restarts, .more = _i / INITS % 2 ? &projects : NULL};
    compare(2 + _i / INITS / 2, NULL, plan);
}
END_TEST

/* Ranks that were apart have the same factors after a merge, as well as the same W. */
START_TEST(test_inits_apart)
{
    struct plan plan = {
        .apart = 1, .init = inits[_i % INITS], .work = restarts, .more = _i / INITS % 2 ? &projects : NULL};
    int32_t size = 2 + _i / INITS / 2;
    world_run(size, NULL, &plan);
    world_same(&plan, size, &plan);
    world_free(&plan);
}
END_TEST

/* Too few rows to make an A of. The old one cannot complete it: each rank has another. */
static void few_rows(struct rank *rank, struct world *w)
{
    relora_cycle *cycle = cycle_of(rank, w, 1);
    for (int64_t step = 1; step < 4; step++) {
        world_step(rank, w, step, NULL);
        for (int i = 0; i < LAYERS; i++) {
            float *gradient = relora_tensor_data(relora_linear_grad(w->layer[i], RELORA_PARAM_A));
            memset(gradient + IN, 0, (RANK - 1) * IN * sizeof *gradient);
        }
        RANK_OK(rank, relora_cycle_advance(cycle, rank->st, step, NULL, NULL, NULL));
    }
    world_keep(rank, w);
    relora_cycle_release(cycle);
}

START_TEST(test_few_rows)
{
    struct plan plan = {.apart = 1, .init = RELORA_INIT_GRADIENT, .work = few_rows};
    world_run(3, NULL, &plan);
    world_same(&plan, 3, &plan);
    world_free(&plan);
}
END_TEST

/* Groups that restart one after the other: an A that stays becomes its mean when its own layer is merged, not before. */
static void given_in_turn(struct rank *rank, struct world *w)
{
    relora_cycle_options o;
    relora_cycle *cycle;
    relora_cycle_options_init(&o, sizeof o);
    o.merge_every = 4, o.stagger = LAYERS, o.comm = &rank->comm;
    RANK_OK(rank, relora_cycle_create(&cycle, rank->ctx, &o, w->adam, NULL));
    for (int i = 0; i < LAYERS; i++) RANK_OK(rank, relora_cycle_add(cycle, w->layer[i]));
    for (int64_t step = 1; step < 8; step++) {
        const void *a[LAYERS];
        float was[LAYERS][RANK * IN];
        world_step(rank, w, step, NULL);
        for (int i = 0; i < LAYERS; i++) {
            a[i] = relora_tensor_data(relora_linear_param(w->layer[i], RELORA_PARAM_A));
            memcpy(was[i], a[i], sizeof was[i]);
        }
        RANK_OK(rank, relora_cycle_advance(cycle, rank->st, step, NULL, NULL, NULL));
        for (int i = 0; i < LAYERS; i++) {
            int restarts = step == (i ? 7 : 5);
            RANK_TRUE(rank, restarts || memcmp(a[i], was[i], sizeof was[i]) == 0);
            if (restarts) world_keep_bytes(rank, a[i], sizeof was[i]);
        }
    }
    relora_cycle_release(cycle);
}

START_TEST(test_given_in_turn)
{
    struct plan plan = {.apart = 1, .init = RELORA_INIT_GIVEN, .work = given_in_turn};
    world_run(2, NULL, &plan);
    world_same(&plan, 2, &plan);
    world_free(&plan);
}
END_TEST

/* A frozen A has no gradient that a step could sum: a restart sums its sketch. Moments may lie in shares then. */
START_TEST(test_frozen)
{
    struct plan plan = {.init = RELORA_INIT_GRADIENT,
                        .layer_flags = RELORA_LINEAR_FREEZE_A,
                        .flags = _i % 3 == 1 ? RELORA_ADAM_SHARD_STATE : 0,
                        .apart = _i % 3 == 2,
                        .work = restarts,
                        .more = _i % 3 == 1 ? NULL : &projects};
    int32_t size = 2 + _i / 3;
    if (!plan.apart) {
        compare(size, NULL, plan);
        return;
    }
    world_run(size, NULL, &plan);
    world_same(&plan, size, &plan);
    world_free(&plan);
}
END_TEST

/* ---- low rank and back ---- */

static void change(struct rank *rank, struct world *w, relora_linear_mode mode)
{
    for (int i = 0; i < LAYERS; i++) RANK_OK(rank, relora_linear_set_mode(w->layer[i], rank->st, mode));
    RANK_OK(rank, relora_adam_refresh(w->adam, rank->st));
}

static void turns(struct rank *rank, struct world *w)
{
    for (int64_t step = 1; step < 10; step++) {
        world_step(rank, w, step, NULL);
        if (step % 3 == 0) change(rank, w, step == 6 ? RELORA_MODE_FULL : RELORA_MODE_LORA);
        world_keep(rank, w);
    }
}

/* With GRADIENT the first A is that of the gradient of W, which is the sum. */
START_TEST(test_turns)
{
    struct plan plan = {.mode = RELORA_MODE_FULL, .init = inits[_i % INITS], .work = turns};
    compare(2 + _i / INITS, NULL, plan);
}
END_TEST

/* Layers that are in FULL when the others are merged: their W is one of what becomes its mean. */
static void one_in_full(struct rank *rank, struct world *w)
{
    RANK_OK(rank, relora_linear_set_mode(w->layer[1], rank->st, RELORA_MODE_FULL));
    RANK_OK(rank, relora_adam_refresh(w->adam, rank->st));
    restarts(rank, w);
}

START_TEST(test_one_in_full)
{
    struct plan plan = {.apart = 1, .work = one_in_full};
    world_run(3, NULL, &plan);
    world_same(&plan, 3, &plan);
    world_free(&plan);
}
END_TEST

/* ---- what cannot be ---- */

static void all_in_full(struct rank *rank, struct world *w)
{
    relora_cycle *cycle = cycle_of(rank, w, 1);
    change(rank, w, RELORA_MODE_FULL);
    for (int64_t step = 1; step < 3; step++)
        RANK_OK(rank, relora_cycle_advance(cycle, rank->st, step, NULL, NULL, NULL));
    RANK_TRUE(rank, relora_cycle_advance(cycle, rank->st, 3, NULL, NULL, NULL) == RELORA_E_STATE);
    RANK_TRUE(rank, says(rank, "all layers are in mode FULL"));
    RANK_TRUE(rank, relora_cycle_finish(cycle, rank->st, 3, NULL) == RELORA_E_STATE);
    relora_cycle_release(cycle);
}

START_TEST(test_all_in_full)
{
    struct plan plan = {.apart = 1, .work = all_in_full};
    world_run(2, NULL, &plan);
}
END_TEST

/* What a branch is merged into must be the same everywhere, like a W. */
static void drifted_target(struct rank *rank, struct world *w)
{
    int apart = ((struct plan *)rank->user)->apart;
    relora_linear_options o;
    relora_cycle_options co;
    relora_linear *branch;
    relora_cycle *cycle;
    relora_linear_options_init(&o, sizeof o);
    relora_cycle_options_init(&co, sizeof co);
    o.mode = RELORA_MODE_LOWRANK, o.in_features = IN, o.out_features = OUT, o.rank = RANK;
    co.merge_every = 2, co.comm = apart ? &rank->comm : NULL;
    RANK_OK(rank, relora_linear_create(&branch, rank->dev, &o));
    RANK_OK(rank, relora_linear_set_target(branch, w->weight[0], NULL, NULL));
    RANK_OK(rank, relora_adam_add_linear(w->adam, "branch", branch));
    RANK_OK(rank, relora_cycle_create(&cycle, rank->ctx, &co, w->adam, NULL));
    RANK_OK(rank, relora_cycle_add(cycle, branch));
    if (rank->comm.rank == 1) *(float *)relora_tensor_data(w->weight[0]) += 1;
    world_step(rank, w, 1, NULL);
    RANK_TRUE(rank, relora_cycle_advance(cycle, rank->st, 3, NULL, NULL, NULL) == RELORA_E_STATE);
    RANK_TRUE(rank, says(rank, "\"branch\" of rank 1 differs"));
    relora_cycle_release(cycle);
    relora_linear_release(branch);
}

START_TEST(test_drifted_target)
{
    struct plan plan = {.apart = _i, .work = drifted_target};
    world_run(2, NULL, &plan);
}
END_TEST

/* A gradient in shares is no gradient to make an A of. */
static void in_shares(struct rank *rank, struct world *w)
{
    static const relora_linear_mode modes[] = {RELORA_MODE_FULL, RELORA_MODE_LORA, RELORA_MODE_LOWRANK};
    for (int i = 0; i < 3; i++) {
        relora_linear_options o;
        relora_linear *layer;
        relora_linear_options_init(&o, sizeof o);
        o.in_features = IN;
        o.out_features = OUT;
        o.rank = RANK;
        o.mode = modes[i];
        o.init = RELORA_INIT_GRADIENT;
        RANK_OK(rank, relora_linear_create(&layer, rank->dev, &o));
        if (i < 2) RANK_OK(rank, relora_linear_set_weight(layer, w->weight[0], NULL));
        RANK_TRUE(rank, relora_adam_add_linear(w->adam, "late", layer) == RELORA_E_UNSUPPORTED);
        RANK_TRUE(rank, says(rank, "\"late\" has init GRADIENT") && says(rank, "SHARD_STATE"));
        relora_linear_release(layer);
    }
    world_step(rank, w, 1, NULL);
}

START_TEST(test_in_shares)
{
    struct plan plan = {.flags = RELORA_ADAM_SHARD_STATE, .work = in_shares};
    world_run(2, NULL, &plan);
}
END_TEST

Suite *ranks_turns(void)
{
    Suite *s = suite_create("turns");
    TCase *tc = tcase_create("turns");
    tcase_set_timeout(tc, 60);
    tcase_add_loop_test(tc, test_full_rank, 0, 8);
    tcase_add_test(tc, test_sums);
    tcase_add_test(tc, test_rank_that_leaves);
    tcase_add_loop_test(tc, test_inits, 0, 4 * INITS);
    tcase_add_loop_test(tc, test_inits_apart, 0, 4 * INITS);
    tcase_add_test(tc, test_few_rows);
    tcase_add_test(tc, test_given_in_turn);
    tcase_add_loop_test(tc, test_frozen, 0, 6);
    tcase_add_loop_test(tc, test_turns, 0, 2 * INITS);
    tcase_add_test(tc, test_one_in_full);
    tcase_add_test(tc, test_all_in_full);
    tcase_add_loop_test(tc, test_drifted_target, 0, 2);
    tcase_add_test(tc, test_in_shares);
    suite_add_tcase(s, tc);
    return s;
}
