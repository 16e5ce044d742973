/* The partial reset of moments in shares: the bits of one rank, in every mode. */
#include "ranks/world.h"

static const struct {
    relora_reset_mode mode;
    double ratio;
    uint32_t flags;
} modes[] = {
    {RELORA_RESET_MAGNITUDE, 0.9, 0},
    {RELORA_RESET_MAGNITUDE, 0.29, 0},
    {RELORA_RESET_MAGNITUDE, 1, 0},
    {RELORA_RESET_MAGNITUDE, 0.9, RELORA_RESET_INDEPENDENT},
    {RELORA_RESET_MAGNITUDE, 0.9, RELORA_RESET_INDEPENDENT | RELORA_RESET_QUANTILE},
    {RELORA_RESET_RANDOM, 0.9, 0},
    {RELORA_RESET_RANDOM, 0.9, RELORA_RESET_INDEPENDENT | RELORA_RESET_STEP_COUNT},
    {RELORA_RESET_ZERO, 1, RELORA_RESET_STEP_COUNT},
};
enum { MODES = sizeof modes / sizeof *modes };

/* Gradients have few magnitudes, so there are ties for the reset to decide between. */
static void steps_and_resets(struct rank *rank, struct world *w)
{
    const int *mode = ((struct plan *)rank->user)->more;
    static const int32_t all[PARAMS] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9};
    relora_reset_options o;
    relora_reset_options_init(&o, sizeof o);
    o.mode = modes[*mode].mode;
    o.ratio = modes[*mode].ratio;
    o.flags = modes[*mode].flags;
    for (int64_t step = 0; step < 6; step++) {
        relora_reset_report report = {.struct_size = sizeof report};
        world_step(rank, w, step, NULL);
        o.cycle = (uint64_t)step;
        if (step % 2) RANK_OK(rank, relora_adam_reset(w->adam, rank->st, all, PARAMS, &o, &report));
        else RANK_OK(rank, relora_adam_reset(w->adam, rank->st, NULL, 0, &o, &report));
        RANK_TRUE(rank, report.params == (step % 2 ? PARAMS : 2 * LAYERS) && report.zeroed_first > 0);
        world_keep_bytes(rank, &report, sizeof report);
    }
    world_keep(rank, w);
}

/* `_i`: number of ranks, and mode */
START_TEST(test_like_one)
{
    int size = 2 + _i / MODES, mode = _i % MODES;
    struct plan plan = {.flags = RELORA_ADAM_SHARD_STATE, .work = steps_and_resets, .more = &mode};
    struct plan alone = {.work = steps_and_resets, .of = size, .more = &mode};
    world_as_one(size, NULL, &plan, &alone);
}
END_TEST

/* A reset may come before the first step. */
static void reset_first(struct rank *rank, struct world *w)
{
    RANK_OK(rank, relora_adam_reset(w->adam, rank->st, NULL, 0, NULL, NULL));
    world_step(rank, w, 0, NULL);
    world_keep(rank, w);
}

START_TEST(test_before_a_step)
{
    struct plan plan = {.flags = RELORA_ADAM_SHARD_STATE, .work = reset_first};
    struct plan alone = {.work = reset_first, .of = 3};
    world_as_one(3, NULL, &plan, &alone);
}
END_TEST

Suite *ranks_resets(void)
{
    Suite *s = suite_create("resets");
    TCase *tc = tcase_create("resets");
    tcase_set_timeout(tc, 60);
    tcase_add_loop_test(tc, test_like_one, 0, 4 * MODES);
    tcase_add_test(tc, test_before_a_step);
    suite_add_tcase(s, tc);
    return s;
}
