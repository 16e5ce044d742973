/* Updates in several ranks: the bits of one rank that has the data of all. */
#include <math.h>
#include <string.h>
#include "ranks/world.h"

enum { STEPS = 5 };

static const uint32_t ways[] = {0, RELORA_ADAM_SHARD_STATE};
enum { WAYS = sizeof ways / sizeof *ways };

static void updates(struct rank *rank, struct world *w)
{
    relora_step_report report = {.struct_size = sizeof report};
    for (int64_t step = 0; step < STEPS; step++) {
        world_step(rank, w, step, &report);
        world_keep_bytes(rank, &report, sizeof report);
    }
    world_keep(rank, w);
}

/* Run a plan in `size` ranks and alone. */
static void compare(int32_t size, struct plan plan)
{
    struct plan alone = plan;
    plan.of = alone.of = size;
    alone.flags &= ~(uint32_t)RELORA_ADAM_SHARD_STATE;
    world_as_one(size, NULL, &plan, &alone);
}

/* `_i`: number of ranks, and whether they share moments */
START_TEST(test_like_one)
{
    compare(1 + _i / WAYS, (struct plan){.flags = ways[_i % WAYS], .work = updates});
}
END_TEST

/* The norm is that of all gradients, so the factor is the same everywhere. */
START_TEST(test_clipped)
{
    compare(1 + _i / WAYS, (struct plan){.flags = ways[_i % WAYS], .max_norm = 0.5, .work = updates});
}
END_TEST

/* ---- a device that is not where the table wants its data ---- */

static void steps_and_reset(struct rank *rank, struct world *w)
{
    for (int64_t step = 0; step < STEPS; step++) {
        world_step(rank, w, step, NULL);
        RANK_OK(rank, relora_adam_reset(w->adam, rank->st, NULL, 0, NULL, NULL));
    }
    world_keep(rank, w);
}

/* What it has goes to the host and back. */
START_TEST(test_by_way_of_the_host)
{
    struct plan plan = {.flags = ways[_i], .max_norm = 0.5, .work = steps_and_reset};
    struct plan alone = {.max_norm = 0.5, .work = steps_and_reset, .of = 3};
    world_as_one(3, world_on_fake, &plan, &alone);
}
END_TEST

/* ---- NaN ---- */

static void one_bad_gradient(struct rank *rank, struct world *w)
{
    relora_step_report report = {.struct_size = sizeof report};
    for (int64_t step = 0; step < STEPS; step++) {
        world_set_grads(rank, w, step);
        if (step == 2 && w->first + w->data == 3) ((float *)relora_tensor_data(w->grad[0]))[5] = NAN;
        RANK_OK(rank, relora_adam_step(w->adam, rank->st, 0.01, 0.25, &report));
        world_keep_bytes(rank, &report.skipped, sizeof report.skipped);
        RANK_TRUE(rank, report.skipped == (step == 2));
    }
    for (int32_t i = 0; i < PARAMS; i++) {
        int64_t steps;
        RANK_OK(rank, relora_adam_steps(w->adam, rank->st, i, &steps));
        RANK_TRUE(rank, steps == STEPS - 1);
    }
    world_keep(rank, w);
}

START_TEST(test_skips)
{
    compare(3, (struct plan){.flags = RELORA_ADAM_SKIP_NOT_FINITE | ways[_i], .work = one_bad_gradient});
}
END_TEST

/* Without that flag, clipping refuses the step on every rank, and changes nothing. */
static void refused(struct rank *rank, struct world *w)
{
    char text[512];
    world_step(rank, w, 0, NULL);
    world_set_grads(rank, w, 1);
    if (rank->comm.rank == 1) ((float *)relora_tensor_data(w->grad[0]))[5] = INFINITY;
    RANK_TRUE(rank, relora_adam_step(w->adam, rank->st, 0.01, 0.25, NULL) == RELORA_E_NOT_FINITE);
    relora_context_error(rank->ctx, text, sizeof text, NULL);
    RANK_TRUE(rank, strstr(text, "gradient") && strstr(text, "nothing was changed"));
    world_step(rank, w, 2, NULL);
    world_keep(rank, w);
}

static void without_it(struct rank *rank, struct world *w)
{
    world_step(rank, w, 0, NULL);
    world_step(rank, w, 2, NULL);
    world_keep(rank, w);
}

START_TEST(test_refuses)
{
    struct plan plan = {.flags = ways[_i], .max_norm = 1, .work = refused};
    struct plan other = {.max_norm = 1, .work = without_it, .of = 3};
    world_as_one(3, NULL, &plan, &other);
}
END_TEST

/* ---- ranks without data ---- */

static void idle(struct rank *rank, struct world *w)
{
    if (rank->comm.size > 1) w->data = rank->comm.rank == 0 ? 3 : 0;
    updates(rank, w);
}

START_TEST(test_idle_ranks)
{
    struct plan plan = {.flags = ways[_i], .work = idle}, alone = {.work = updates, .of = 3};
    world_as_one(4, NULL, &plan, &alone);
}
END_TEST

/* ---- memory ---- */

static void measure(struct rank *rank, struct world *w)
{
    int64_t *bytes = ((struct plan *)rank->user)->more;
    int64_t before = rank->mem.bytes;
    world_step(rank, w, 0, NULL);
    bytes[rank->comm.rank] = rank->mem.bytes - before;
    RANK_TRUE(rank, !relora_adam_moment(w->adam, 0, RELORA_MOMENT_FIRST));
}

/* The first step takes memory for a share of the moments. All shares together are the moments. */
START_TEST(test_shares_of_memory)
{
    int64_t bytes[RANKS_MOST] = {0}, sum = 0;
    struct plan plan = {.flags = RELORA_ADAM_SHARD_STATE, .work = measure, .more = bytes};
    int64_t moments = 2 * 4 * (70000 + 77 + 3 + 1024 + 1 + 31 * 33 + LAYERS * RANK * (IN + OUT));
    world_run(4, NULL, &plan);
    for (int r = 0; r < 4; r++) {
        ck_assert_int_gt(bytes[r], moments / 4);
        sum += bytes[r];
    }
    ck_assert_int_ge(sum, moments);
    ck_assert_int_lt(sum, moments + moments / 10);
}
END_TEST

/* ---- many elements ---- */

enum { MANY = 9 << 20 };

static void many_elements(struct rank *rank)
{
    struct plan *plan = rank->user;
    const int64_t n = MANY;
    relora_tensor *value, *grad;
    relora_adam *adam;
    relora_adam_options o;
    relora_adam_options_init(&o, sizeof o);
    o.flags |= plan->flags;
    o.comm = &rank->comm;
    RANK_OK(rank, relora_tensor_create(&value, rank->dev, RELORA_F32, 1, &n));
    RANK_OK(rank, relora_tensor_create(&grad, rank->dev, RELORA_F32, 1, &n));
    float *p = relora_tensor_data(value), *g = relora_tensor_data(grad);
    memset(p, 0, MANY * sizeof *p);
    for (int64_t i = 0; i < MANY; i++) g[i] = (float)(i % 7 - 3) * (float)(rank->comm.rank + 1);
    RANK_OK(rank, relora_adam_create(&adam, rank->dev, &o));
    RANK_OK(rank, relora_adam_add(adam, "p", value, grad, NULL));
    RANK_OK(rank, relora_adam_step(adam, rank->st, 1, 1, NULL));
    for (int64_t i = 0; i < MANY; i++) /* the first update of Adam is the sign of the gradient */
        RANK_TRUE(rank, fabsf(p[i] - (i % 7 < 3 ? 1.0f : i % 7 > 3 ? -1.0f : 0.0f)) < 1e-4f);
    for (int64_t i = 0; i < MANY && !plan->flags; i++) RANK_TRUE(rank, g[i] == (float)(i % 7 - 3) * 3);
    relora_adam_release(adam);
    relora_tensor_release(value);
    relora_tensor_release(grad);
}

/* More than one piece of the wire holds: nothing is sent twice or left out. */
START_TEST(test_pieces)
{
    struct plan plan = {.flags = ways[_i]};
    struct rank *ranks = ranks_run(2, NULL, many_elements, &plan);
    for (int r = 0; r < 2; r++) ck_assert_int_eq(ranks[r].bad_memory, 0);
    ck_assert_uint_ge(ranks[0].sent_bytes, (uint64_t)MANY * 4);
    ck_assert_uint_lt(ranks[0].sent_bytes, (uint64_t)MANY * 4 + 200000);
}
END_TEST

Suite *ranks_steps(void)
{
    Suite *s = suite_create("steps");
    TCase *tc = tcase_create("steps");
    tcase_set_timeout(tc, 60);
    tcase_add_loop_test(tc, test_like_one, 0, 8 * WAYS);
    tcase_add_loop_test(tc, test_clipped, 0, 4 * WAYS);
    tcase_add_loop_test(tc, test_by_way_of_the_host, 0, WAYS);
    tcase_add_loop_test(tc, test_skips, 0, WAYS);
    tcase_add_loop_test(tc, test_refuses, 0, WAYS);
    tcase_add_loop_test(tc, test_idle_ranks, 0, WAYS);
    tcase_add_test(tc, test_shares_of_memory);
    tcase_add_loop_test(tc, test_pieces, 0, WAYS);
    suite_add_tcase(s, tc);
    return s;
}
