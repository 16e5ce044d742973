/* Ranks that differ, that fail, and that are told so. */
#include <stdio.h>
#include <string.h>
#include "ranks/world.h"

static const uint32_t ways[] = {0, RELORA_ADAM_SHARD_STATE};
enum { WAYS = sizeof ways / sizeof *ways };

static int says(struct rank *rank, const char *word)
{
    char text[512];
    relora_context_error(rank->ctx, text, sizeof text, NULL);
    return strstr(text, word) != NULL;
}

/* ---- parameters that differ ---- */

static void one_differs(struct rank *rank, struct world *w)
{
    if (rank->comm.rank == 1) ((float *)relora_tensor_data(w->value[3]))[0] += 1;
    world_set_grads(rank, w, 0);
    RANK_TRUE(rank, relora_adam_step(w->adam, rank->st, 0.01, 1, NULL) == RELORA_E_STATE);
    RANK_TRUE(rank, says(rank, "\"p3\" of rank 1") && says(rank, "rank 0"));
    if (rank->comm.rank == 1) ((float *)relora_tensor_data(w->value[3]))[0] -= 1;
    world_step(rank, w, 0, NULL); /* nothing has happened yet */
}

START_TEST(test_differing_parameters)
{
    struct plan plan = {.flags = ways[_i], .work = one_differs};
    world_run(3, NULL, &plan);
}
END_TEST

/* ---- what shares do not allow ---- */

static void carry_in_shares(struct rank *rank, struct world *w)
{
    relora_adam *plain, *sharded = w->adam;
    RANK_OK(rank, relora_adam_create(&plain, rank->dev, NULL));
    RANK_OK(rank, relora_adam_add(plain, "p0", w->value[0], w->grad[0], NULL));
    RANK_TRUE(rank, relora_adam_carry(sharded, rank->st, plain, NULL, 0, NULL) == RELORA_E_UNSUPPORTED);
    RANK_TRUE(rank, says(rank, "SHARD_STATE") && says(rank, "adam has"));
    RANK_TRUE(rank, relora_adam_carry(plain, rank->st, sharded, NULL, 0, NULL) == RELORA_E_UNSUPPORTED);
    RANK_TRUE(rank, says(rank, "SHARD_STATE") && says(rank, "from has"));
    relora_adam_release(plain);
}

static void project_in_shares(struct rank *rank, struct world *w)
{
    relora_cycle *cycle;
    relora_cycle_options o;
    relora_reset_options reset;
    relora_cycle_options_init(&o, sizeof o);
    relora_reset_options_init(&reset, sizeof reset);
    o.merge_every = 2;
    reset.mode = RELORA_RESET_PROJECT;
    RANK_TRUE(rank,
              relora_cycle_create(&cycle, rank->ctx, &o, w->adam, &reset) == RELORA_E_UNSUPPORTED && !cycle);
    RANK_TRUE(rank, says(rank, "PROJECT") && says(rank, "shares"));
}

static void no_share(struct rank *rank, struct world *w)
{
    double norm;
    carry_in_shares(rank, w);
    project_in_shares(rank, w);
    RANK_TRUE(rank, relora_adam_grad_norm(w->adam, rank->st, &norm) == RELORA_E_UNSUPPORTED);
    RANK_TRUE(rank, says(rank, "SHARD_STATE"));
    RANK_TRUE(rank, relora_adam_set_moments(w->adam, 0, w->grad[0], w->value[0]) == RELORA_E_STATE);
    RANK_TRUE(rank, says(rank, "SHARD_STATE"));
    RANK_TRUE(rank,
              relora_adam_refresh(w->adam, rank->st) == RELORA_E_UNSUPPORTED && says(rank, "SHARD_STATE"));
    world_step(rank, w, 0, NULL);
    RANK_TRUE(rank, relora_adam_add(w->adam, "late", w->value[0], w->grad[0], NULL) == RELORA_E_STATE);
    RANK_TRUE(rank, says(rank, "late"));
    world_step(rank, w, 1, NULL);
}

START_TEST(test_shares_refuse)
{
    struct plan plan = {.flags = RELORA_ADAM_SHARD_STATE, .work = no_share};
    world_run(2, NULL, &plan);
}
END_TEST

/* ---- exchanges that fail ---- */

struct fault {
    int32_t rank;
    int64_t at;
};

static void plan_fault(struct rank *rank)
{
    const struct fault *fault = ((struct plan *)rank->user)->more;
    if (rank->comm.rank == fault->rank) rank->fails_at = fault->at;
}

/* Until one fails. All calls are exchanges, so the other ranks fail in the same call. */
static void go_on(struct rank *rank, struct world *w)
{
    const struct fault *fault = ((struct plan *)rank->user)->more;
    char expected[32];
    relora_status status = RELORA_OK;
    for (int64_t step = 0; step < 3 && status == RELORA_OK; step++) {
        world_set_grads(rank, w, step);
        status = relora_adam_step(w->adam, rank->st, 0.01, 1, NULL);
        if (status == RELORA_OK) status = relora_adam_reset(w->adam, rank->st, NULL, 0, NULL, NULL);
    }
    snprintf(expected, sizeof expected, "rank %d has left", (int)fault->rank);
    RANK_TRUE(rank, status == RELORA_E_COMM);
    RANK_TRUE(rank, says(rank, rank->comm.rank == fault->rank ? "as planned" : expected));
    RANK_TRUE(rank, says(rank, rank->comm.rank == 2 ? "rank 2 of 3" : "of 3"));
    RANK_TRUE(rank, relora_stream_synchronize(rank->st) == RELORA_E_COMM); /* the stream is finished */
    RANK_TRUE(rank, says(rank, "an exchange with other ranks failed before"));
}

/* `_i`: which exchange */
START_TEST(test_rank_that_leaves)
{
    for (int way = 0; way < WAYS; way++)
        for (int32_t r = 0; r < 3; r++) {
            struct fault fault = {r, 1 + _i};
            struct plan plan = {.flags = ways[way], .max_norm = 1, .work = go_on, .more = &fault};
            world_run(3, plan_fault, &plan);
        }
}
END_TEST

/* ---- no memory ---- */

static void starve(struct rank *rank, struct world *w)
{
    world_set_grads(rank, w, 0);
    for (int64_t n = 1;; n++) {
        track_refuse(&rank->mem, n, 0); /* in all ranks alike: they fail alike */
        relora_status status = relora_adam_step(w->adam, rank->st, 0.01, 0.25, NULL);
        int refused = rank->mem.refused > 0;
        track_refuse(&rank->mem, 0, 0);
        RANK_TRUE(rank, status == (refused ? RELORA_E_NO_MEMORY : RELORA_OK));
        if (!refused) break;
        RANK_TRUE(rank, n < 100);
    }
    int64_t requests = rank->mem.requests;
    world_step(rank, w, 1, NULL);
    world_step(rank, w, 2, NULL);
    RANK_TRUE(rank, rank->mem.requests == requests); /* none in the steady state */
    world_keep(rank, w);
}

static void not_starved(struct rank *rank, struct world *w)
{
    for (int64_t step = 0; step < 3; step++) world_step(rank, w, step, NULL);
    world_keep(rank, w);
}

START_TEST(test_no_memory)
{
    struct plan plan = {.flags = ways[_i], .work = starve}, other = {.work = not_starved, .of = 3};
    world_as_one(3, NULL, &plan, &other);
}
END_TEST

/* A constructor that needs memory for exchanges, refused at each request. */
static void starve_constructors(struct rank *rank, struct world *w)
{
    relora_adam_options o;
    relora_cycle_options y;
    relora_adam_options_init(&o, sizeof o);
    relora_cycle_options_init(&y, sizeof y);
    y.merge_every = 2;
    o.comm = y.comm = &rank->comm;
    for (int which = 0; which < 2; which++)
        for (int64_t n = 1;; n++) {
            relora_adam *adam = NULL;
            relora_cycle *cycle = NULL;
            track_refuse(&rank->mem, n, 0);
            relora_status status = which ? relora_cycle_create(&cycle, rank->ctx, &y, w->adam, NULL)
                                         : relora_adam_create(&adam, rank->dev, &o);
            int refused = rank->mem.refused > 0;
            track_refuse(&rank->mem, 0, 0);
            relora_adam_release(adam);
            relora_cycle_release(cycle);
            RANK_TRUE(rank, status == (refused ? RELORA_E_NO_MEMORY : RELORA_OK));
            if (!refused) {
                RANK_TRUE(rank, n > 2);
                break;
            }
        }
}

START_TEST(test_constructors)
{
    struct plan plan = {.apart = 1, .work = starve_constructors};
    world_run(2, NULL, &plan);
}
END_TEST

Suite *ranks_failures(void)
{
    Suite *s = suite_create("failures");
    TCase *tc = tcase_create("failures");
    tcase_set_timeout(tc, 60);
    tcase_add_loop_test(tc, test_differing_parameters, 0, WAYS);
    tcase_add_test(tc, test_shares_refuse);
    tcase_add_loop_test(tc, test_rank_that_leaves, 0, 4);
    tcase_add_loop_test(tc, test_no_memory, 0, WAYS);
    tcase_add_test(tc, test_constructors);
    suite_add_tcase(s, tc);
    return s;
}
