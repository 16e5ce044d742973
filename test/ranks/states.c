/* Checkpoints and restarts of several ranks. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "ranks/world.h"

static const uint32_t ways[] = {0, RELORA_ADAM_SHARD_STATE};
enum { WAYS = sizeof ways / sizeof *ways };

static char folder[64], path[96];

static void open_folder(void)
{
    strcpy(folder, "/tmp/relora-ranks-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/state.safetensors", folder);
}

static void close_folder(void)
{
    unlink(path);
    rmdir(folder);
}

static int says(struct rank *rank, const char *word)
{
    char text[512];
    relora_context_error(rank->ctx, text, sizeof text, NULL);
    return strstr(text, word) != NULL;
}

static relora_state *state_of(struct rank *rank, struct world *w)
{
    relora_state *state;
    RANK_OK(rank, relora_state_create(&state, rank->ctx));
    for (int i = 0; i < PLAIN; i++) {
        char name[8];
        snprintf(name, sizeof name, "p%d", i);
        RANK_OK(rank, relora_state_add_tensor(state, name, w->value[i]));
    }
    for (int i = 0; i < LAYERS; i++) {
        char name[8];
        snprintf(name, sizeof name, "l%d", i);
        RANK_OK(rank, relora_state_add_linear(state, name, w->layer[i]));
    }
    RANK_OK(rank, relora_state_add_adam(state, "adam", w->adam));
    return state;
}

/* ---- n ranks save, m go on ---- */

static void some_steps(struct rank *rank, struct world *w, int64_t first, int64_t last)
{
    for (int64_t step = first; step < last; step++) world_step(rank, w, step, NULL);
    RANK_OK(rank, relora_adam_reset(w->adam, rank->st, NULL, 0, NULL, NULL));
}

static void undisturbed(struct rank *rank, struct world *w)
{
    some_steps(rank, w, 0, 3);
    some_steps(rank, w, 3, 6);
    world_keep(rank, w);
}

static void until_saved(struct rank *rank, struct world *w)
{
    some_steps(rank, w, 0, 3);
    relora_state *state = state_of(rank, w);
    RANK_OK(rank, relora_state_save(state, rank->st, path, RELORA_SAVE_CHECKSUM));
    relora_state_release(state);
}

static void from_there_on(struct rank *rank, struct world *w)
{
    relora_reader *reader;
    relora_state *state = state_of(rank, w);
    RANK_OK(rank, relora_reader_open(&reader, rank->ctx, path));
    RANK_OK(rank, relora_state_load(state, rank->st, reader));
    relora_reader_release(reader);
    relora_state_release(state);
    some_steps(rank, w, 3, 6);
    world_keep(rank, w);
}

/* What the ranks of the second half have as gradients must not depend on how many they are. */
static void first_only(struct rank *rank, struct world *w)
{
    const struct plan *plan = rank->user;
    w->first = 0;
    w->data = rank->comm.rank == 0 ? 4 : 0;
    plan->next(rank, w);
}

static void compare(int32_t save_size, uint32_t save_flags, int32_t load_size, uint32_t load_flags)
{
    struct plan alone = {.work = undisturbed, .of = 4};
    struct plan save = {.flags = save_flags, .work = first_only, .next = until_saved, .of = 4};
    struct plan load = {.flags = load_flags, .work = first_only, .next = from_there_on, .of = 4};
    world_run(1, NULL, &alone);
    world_run(save_size, NULL, &save);
    world_run(load_size, NULL, &load);
    world_same(&load, load_size, &alone);
    world_free(&alone);
    world_free(&load);
}

START_TEST(test_other_number)
{
    static const int32_t sizes[][2] = {{1, 3}, {4, 3}, {4, 1}, {3, 4}, {2, 2}};
    uint32_t save = ways[_i % WAYS], load = ways[_i / WAYS % WAYS];
    compare(sizes[_i / 4][0], save, sizes[_i / 4][1], load);
}
END_TEST

/* ---- a save that fails ---- */

static void cannot_save(struct rank *rank, struct world *w)
{
    world_step(rank, w, 0, NULL);
    relora_state *state = state_of(rank, w);
    relora_status status = relora_state_save(state, rank->st, "/nonexistent/x.safetensors", 0);
    RANK_TRUE(rank, status == RELORA_E_IO);
    RANK_TRUE(rank, says(rank, rank->comm.rank ? "rank 0 has failed" : "/nonexistent"));
    RANK_OK(rank, relora_state_save(state, rank->st, path, 0)); /* the ranks are still together */
    world_step(rank, w, 1, NULL);
    relora_state_release(state);
}

START_TEST(test_cannot_save)
{
    struct plan plan = {.flags = ways[_i], .work = cannot_save};
    world_run(3, NULL, &plan);
}
END_TEST

/* A stream of another device than that of the exchanges is refused before the first of them. */
static void other_stream(struct rank *rank, struct world *w)
{
    relora_stream *cpu;
    relora_state *state = state_of(rank, w);
    RANK_OK(rank, relora_stream_create(&cpu, relora_device_get(rank->ctx, RELORA_DEVICE_CPU, 0)));
    RANK_TRUE(rank, relora_state_save(state, cpu, path, 0) == RELORA_E_DEVICE);
    RANK_TRUE(rank, says(rank, "adam on fake 0") && rank->exchanges == 0);
    RANK_OK(rank, relora_state_save(state, rank->st, path, 0));
    relora_stream_release(cpu);
    relora_state_release(state);
}

START_TEST(test_other_stream)
{
    struct plan plan = {.flags = ways[_i], .work = other_stream};
    world_run(2, world_on_fake, &plan);
}
END_TEST

/* Memory refused on one rank alone, at each request: all ranks have a status and go on together. */
static void one_starves(struct rank *rank, struct world *w)
{
    world_step(rank, w, 0, NULL);
    for (int64_t n = 1; n < 200; n++) {
        relora_state *state = state_of(rank, w);
        int starved = rank->comm.rank == *(const int *)((struct plan *)rank->user)->more;
        if (starved) track_refuse(&rank->mem, n, 0);
        relora_status status = relora_state_save(state, rank->st, path, 0);
        track_refuse(&rank->mem, 0, 0);
        relora_state_release(state);
        RANK_TRUE(rank, status == RELORA_OK || status == RELORA_E_NO_MEMORY);
        if (status == RELORA_E_NO_MEMORY && !starved)
            RANK_TRUE(rank, says(rank, "has failed: out of memory"));
        if (status == RELORA_OK && n > 120) break;
    }
    RANK_OK(rank, relora_adam_zero_grad(w->adam, rank->st));
    world_step(rank, w, 1, NULL);
}

START_TEST(test_one_starves)
{
    int who = _i / WAYS;
    struct plan plan = {.flags = ways[_i % WAYS], .work = one_starves, .more = &who};
    world_run(2, NULL, &plan);
}
END_TEST

/* An exchange that fails while a state is saved leaves the file as it was. */
static void leave_while_saving(struct rank *rank)
{
    if (rank->comm.rank == 1) rank->fails_at = *(int64_t *)((struct plan *)rank->user)->more;
}

static void save_again(struct rank *rank, struct world *w)
{
    world_step(rank, w, 0, NULL);
    relora_state *state = state_of(rank, w);
    relora_status status = relora_state_save(state, rank->st, path, 0);
    RANK_TRUE(rank, status == RELORA_E_COMM);
    relora_state_release(state);
}

static void read_all(char *bytes, size_t size)
{
    FILE *f = fopen(path, "rb");
    ck_assert_ptr_nonnull(f);
    memset(bytes, 0, size);
    ck_assert_uint_gt(fread(bytes, 1, size, f), 100);
    fclose(f);
}

START_TEST(test_rank_that_leaves)
{
    static char before[1 << 21], after[1 << 21];
    int64_t at = 4 + 3 * _i; /* after the step; the last exchange tells that the file is written */
    struct plan good = {.flags = RELORA_ADAM_SHARD_STATE, .work = until_saved};
    struct plan bad = {.flags = RELORA_ADAM_SHARD_STATE, .work = save_again, .more = &at};
    world_run(3, NULL, &good);
    read_all(before, sizeof before);
    world_run(3, leave_while_saving, &bad);
    read_all(after, sizeof after);
    ck_assert(memcmp(before, after, sizeof before) == 0);
}
END_TEST

/* ---- restarts ---- */

static relora_cycle *cycle_of(struct rank *rank, struct world *w)
{
    relora_cycle_options o;
    relora_cycle *cycle;
    relora_cycle_options_init(&o, sizeof o);
    o.merge_every = 2;
    RANK_OK(rank, relora_cycle_create(&cycle, rank->ctx, &o, w->adam, NULL));
    for (int i = 0; i < LAYERS; i++) RANK_OK(rank, relora_cycle_add(cycle, w->layer[i]));
    return cycle;
}

static void restarts(struct rank *rank, struct world *w)
{
    relora_cycle *cycle = cycle_of(rank, w);
    int done = 0;
    for (int64_t step = 1; step < 9; step++) {
        uint32_t events;
        world_step(rank, w, step, NULL);
        RANK_OK(rank, relora_cycle_advance(cycle, rank->st, step, &events, NULL, NULL));
        done += events != 0;
    }
    RANK_TRUE(rank, done == 3);
    RANK_OK(rank, relora_cycle_finish(cycle, rank->st, 8, NULL));
    world_keep(rank, w);
    relora_cycle_release(cycle);
}

/* After three restarts W and A have the same bits on all ranks, which are those of one. */
START_TEST(test_restarts)
{
    struct plan plan = {.flags = ways[_i % WAYS], .work = restarts}, alone = {.work = restarts};
    int32_t size = 2 + _i / WAYS;
    alone.of = size;
    world_as_one(size, NULL, &plan, &alone);
}
END_TEST

/* One bit of W is other on one rank: no rank restarts, and each says which. */
static void drifts(struct rank *rank, struct world *w)
{
    relora_cycle *cycle = cycle_of(rank, w);
    int which = *(const int *)((struct plan *)rank->user)->more;
    relora_tensor *t = which == 0   ? w->weight[1]
                       : which == 1 ? relora_linear_param(w->layer[0], RELORA_PARAM_A)
                                    : w->value[2];
    for (int64_t step = 1; step < 3; step++) {
        world_step(rank, w, step, NULL);
        RANK_OK(rank, relora_cycle_advance(cycle, rank->st, step, NULL, NULL, NULL));
    }
    world_step(rank, w, 3, NULL);
    unsigned char *bytes = relora_tensor_data(t);
    if (rank->comm.rank == 2) bytes[3] ^= 1;
    world_keep(rank, w);
    RANK_TRUE(rank, relora_cycle_advance(cycle, rank->st, 3, NULL, NULL, NULL) == RELORA_E_STATE);
    RANK_TRUE(rank, says(rank, which == 0   ? "\"l1\" of rank 2"
                               : which == 1 ? "\"l0.lora_A.weight\" of rank 2"
                                            : "\"p2\" of rank 2"));
    if (rank->comm.rank == 2) bytes[3] ^= 1;
    RANK_OK(rank, relora_cycle_advance(cycle, rank->st, 3, NULL, NULL, NULL));
    relora_cycle_release(cycle);
}

START_TEST(test_drift)
{
    struct plan plan = {.flags = ways[_i % WAYS], .work = drifts};
    int which = _i / WAYS % 3;
    if (_i / WAYS / 3) plan.mode = RELORA_MODE_LOWRANK; /* and W is the target */
    plan.more = &which;
    world_run(3, NULL, &plan);
    world_free(&plan);
}
END_TEST

Suite *ranks_states(void)
{
    Suite *s = suite_create("states");
    TCase *tc = tcase_create("states");
    tcase_set_timeout(tc, 60);
    tcase_add_checked_fixture(tc, open_folder, close_folder);
    tcase_add_loop_test(tc, test_other_number, 0, 20);
    tcase_add_loop_test(tc, test_cannot_save, 0, WAYS);
    tcase_add_loop_test(tc, test_other_stream, 0, WAYS);
    tcase_add_loop_test(tc, test_one_starves, 0, 2 * WAYS);
    tcase_add_loop_test(tc, test_rank_that_leaves, 0, 6);
    tcase_add_loop_test(tc, test_restarts, 0, 3 * WAYS);
    tcase_add_loop_test(tc, test_drift, 0, 2 * 3 * WAYS);
    suite_add_tcase(s, tc);
    return s;
}
