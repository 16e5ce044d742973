/* Groups: what is refused memory has changed nothing, and no layer is left half way between two modes. */
#include <stdio.h>
#include "oom/oom.h"

enum { LAYERS = 6, MANY = 36, IN = 6, OUT = 4, RANK = 2 }; /* MANY is past the first array of a group */

static relora_group *group;
static relora_adam *adam;
static int32_t members;
static relora_linear *layer[LAYERS];

static const char *name_of(char name[16], int i)
{
    snprintf(name, 16, "l%d", i);
    return name;
}

/* Layers that will be LORA, and a head that will not. */
static void fill_group(relora_linear_mode mode)
{
    struct rnd rnd = rnd_seed(1);
    char name[16];
    relora_linear_options o = layer_options(mode, IN, OUT, RANK);
    group = new_group();
    o.flags = RELORA_LINEAR_BIAS | RELORA_LINEAR_TRAINABLE_SCALE;
    for (int i = 0; i < LAYERS; i++) {
        o.layer = (uint64_t)i;
        layer[i] = new_filled_linear(&o, &rnd);
        OK(relora_group_add_linear(group, name_of(name, i), layer[i]));
    }
    o.mode = RELORA_MODE_FULL, o.rank = 0, o.layer = 99;
    OK(relora_group_add_linear(group, "head", new_filled_linear(&o, &rnd)));
    OK(relora_group_add_param(group, "norm", new_vector(RELORA_F32, 3), new_vector(RELORA_F32, 3)));
    OK(relora_group_zero_grad(group, env.st));
    members = relora_group_count(group);
}

/* ---- filling one ---- */

static void check_members(void) { ck_assert_int_eq(relora_group_count(group), members); }

static void wrap_layers(void)
{
    relora_tensor *w[MANY];
    struct rnd rnd = rnd_seed(1);
    char name[16];
    relora_linear *l;
    relora_linear_options o = layer_options(RELORA_MODE_LORA, 0, 0, RANK);
    for (int i = 0; i < MANY; i++) {
        w[i] = new_matrix(RELORA_F32, OUT, IN);
        put_normal(w[i], &rnd, 1);
    }
    relora_tensor *norm = new_vector(RELORA_F32, 3);
    o.flags = RELORA_LINEAR_BIAS;
    oom_begin();
    MAKES(group, relora_group_create(&group, env.dev));
    defer((void (*)(void *))relora_group_release, group);
    for (int i = 0; i < MANY; i++) {
        members = i;
        l = POISON;
        SURVIVES(check_members, relora_group_wrap(group, name_of(name, i), w[i], NULL, &o, &l));
        oom_result_of(relora_linear_param(l, RELORA_PARAM_A));
    }
    members = MANY;
    SURVIVES(check_members, relora_group_add_param(group, "norm", norm, NULL));
}

START_TEST(test_wrap) { oom_play(wrap_layers, _i, 10 * MANY); }
END_TEST

/* The same over pointers; the tensors that are made for a member go if it is refused. */
static void wrap_pointers(void)
{
    char name[16];
    relora_linear *l;
    relora_linear_options o = layer_options(RELORA_MODE_LORA, IN, OUT, RANK);
    float *memory = new_floats(LAYERS * (OUT * IN + OUT) + 6), *norm = memory + LAYERS * (OUT * IN + OUT);
    group = new_group();
    oom_begin();
    for (int i = 0; i < LAYERS; i++) {
        float *w = memory + i * (OUT * IN + OUT);
        members = i;
        l = POISON;
        SURVIVES(check_members, relora_group_wrap_at(group, name_of(name, i), w, w + OUT * IN, &o, &l));
        oom_result_of(relora_linear_param(l, RELORA_PARAM_A));
    }
    members = LAYERS;
    SURVIVES(check_members, relora_group_add_param_at(group, "norm", 3, norm, norm + 3));
}

START_TEST(test_wrap_pointers) { oom_play(wrap_pointers, _i, 10 * LAYERS); }
END_TEST

/* ---- layers that are merged into targets ---- */

static relora_tensor *targets[2];
static void *targets_were[2];

static void check_targets(void)
{
    oom_end(); /* looking takes memory */
    for (int i = 0; i < 2; i++) UNCHANGED(targets[i], targets_were[i]);
}

static relora_status merge_target(void *user, relora_stream *stream, const relora_tensor *a,
                                  const relora_tensor *b, const relora_merge_options *options,
                                  relora_merge_report *report)
{
    return relora_merge(stream, user, a, b, options, report);
}

/* What a callback takes memory for, it takes when it is asked. */
static void merge_targets(void)
{
    struct rnd rnd = rnd_seed(1);
    char name[16];
    relora_linear_options o = layer_options(RELORA_MODE_LOWRANK, IN, OUT, RANK);
    group = new_group();
    for (int i = 0; i < 2; i++) {
        o.layer = (uint64_t)i;
        layer[i] = new_linear(&o);
        put_normal(relora_linear_param(layer[i], RELORA_PARAM_B), &rnd, 1);
        targets[i] = new_matrix(RELORA_BF16, OUT, IN);
        put_normal(targets[i], &rnd, 1);
        OK(relora_linear_set_target(layer[i], i ? targets[i] : NULL, i ? NULL : merge_target, targets[i]));
        OK(relora_group_add_linear(group, name_of(name, i), layer[i]));
    }
    relora_stream_release(env.st); /* a stream without a workspace */
    OK(relora_stream_create(&env.st, env.dev));
    for (int i = 0; i < 2; i++) targets_were[i] = snapshot(targets[i]);
    oom_begin();
    SURVIVES(check_targets, relora_group_merge(group, env.st, 1, NULL));
    for (int i = 0; i < 2; i++) oom_result_of(targets[i]);
}

START_TEST(test_targets) { oom_play(merge_targets, _i, 2); }
END_TEST

/* ---- the end of a warm start ---- */

static void check_full(void)
{
    for (int i = 0; i < LAYERS; i++) {
        ck_assert_int_eq(relora_linear_get_mode(layer[i]), RELORA_MODE_FULL);
        ck_assert_ptr_nonnull(relora_linear_grad(layer[i], RELORA_PARAM_WEIGHT));
        for (relora_param p = RELORA_PARAM_A; p <= RELORA_PARAM_SCALE; p++) {
            ck_assert_ptr_null(relora_linear_param(layer[i], p));
            ck_assert_ptr_null(relora_linear_grad(layer[i], p));
        }
    }
    OK(relora_group_zero_grad(group, env.st)); /* takes no memory */
}

static void leave_warm_start(void)
{
    fill_group(RELORA_MODE_FULL);
    oom_begin();
    SURVIVES(check_full, relora_group_set_mode(group, env.st, RELORA_MODE_LORA));
    oom_end();
    for (int i = 0; i < LAYERS; i++) {
        ck_assert_int_eq(relora_linear_get_mode(layer[i]), RELORA_MODE_LORA);
        oom_result_of(relora_linear_param(layer[i], RELORA_PARAM_A));
    }
}

START_TEST(test_set_mode) { oom_play(leave_warm_start, _i, 10 * LAYERS); }
END_TEST

/* An optimizer of the warm start still steps after a refusal. */
static void check_steps(void)
{
    check_full();
    oom_end();
    OK(relora_adam_step(adam, env.st, 0, 1, NULL));
}

static void leave_with_optimizer(void)
{
    fill_group(RELORA_MODE_FULL);
    adam = new_adam(NULL);
    OK(relora_adam_add_group(adam, group));
    OK(relora_adam_step(adam, env.st, 0.1, 1, NULL));
    oom_begin();
    SURVIVES(check_steps, relora_group_set_mode(group, env.st, RELORA_MODE_LORA));
}

START_TEST(test_optimizer) { oom_play(leave_with_optimizer, 0, 10 * LAYERS); }
END_TEST

/* ---- back to full rank ---- */

static void check_lora(void)
{
    for (int i = 0; i < LAYERS; i++) {
        ck_assert_int_eq(relora_linear_get_mode(layer[i]), RELORA_MODE_LORA);
        ck_assert_ptr_null(relora_linear_grad(layer[i], RELORA_PARAM_WEIGHT));
        for (relora_param p = RELORA_PARAM_A; p <= RELORA_PARAM_SCALE; p++)
            ck_assert_ptr_nonnull(relora_linear_grad(layer[i], p));
    }
}

/* The optimizer still has what it had, in the same order, or all of what it is to have. */
static void check_parameters(void)
{
    oom_end();
    ck_assert_int_eq(relora_adam_count(adam), 4 * LAYERS + 3);
    ck_assert_str_eq(relora_adam_name(adam, 1), "l0.lora_B.weight");
    int64_t steps;
    OK(relora_adam_steps(adam, env.st, 1, &steps));
    ck_assert_int_eq(steps, 1);
}

static void return_to_full(void)
{
    fill_group(RELORA_MODE_LORA);
    adam = new_adam(NULL);
    OK(relora_adam_add_group(adam, group));
    OK(relora_adam_step(adam, env.st, 0.1, 1, NULL));
    relora_stream_release(env.st); /* a stream without a workspace */
    OK(relora_stream_create(&env.st, env.dev));
    oom_begin();
    SURVIVES(check_lora, relora_group_set_mode(group, env.st, RELORA_MODE_FULL));
    SURVIVES(check_parameters, relora_adam_refresh(adam, env.st));
    oom_end();
    ck_assert_int_eq(relora_adam_count(adam), 2 * LAYERS + 3);
    OK(relora_adam_step(adam, env.st, 0.1, 1, NULL));
    for (int i = 0; i < LAYERS; i++) oom_result_of(relora_linear_param(layer[i], RELORA_PARAM_WEIGHT));
}

START_TEST(test_return) { oom_play(return_to_full, 0, 10 * LAYERS); }
END_TEST

/* ---- merging ---- */

static const void *weights[LAYERS], *factors[LAYERS];

static void check_weights(void)
{
    oom_end(); /* looking takes memory */
    for (int i = 0; i < LAYERS; i++) {
        UNCHANGED(relora_linear_param(layer[i], RELORA_PARAM_WEIGHT), weights[i]);
        UNCHANGED(relora_linear_param(layer[i], RELORA_PARAM_A), factors[i]);
    }
}

static void merge_group(void)
{
    fill_group(RELORA_MODE_LORA);
    relora_stream_release(env.st); /* a stream without a workspace */
    OK(relora_stream_create(&env.st, env.dev));
    for (int i = 0; i < LAYERS; i++) {
        weights[i] = snapshot(relora_linear_param(layer[i], RELORA_PARAM_WEIGHT));
        factors[i] = snapshot(relora_linear_param(layer[i], RELORA_PARAM_A));
    }
    oom_begin();
    SURVIVES(check_weights, relora_group_merge(group, env.st, 1, NULL));
    oom_end();
    OK(relora_group_reset(group, env.st, 1));
    for (int i = 0; i < LAYERS; i++) oom_result_of(relora_linear_param(layer[i], RELORA_PARAM_WEIGHT));
}

START_TEST(test_merge) { oom_play(merge_group, 0, 1); }
END_TEST

/* ---- putting one into another object ---- */

static void check_adam(void) { ck_assert_int_eq(relora_adam_count(adam), 0); }

static relora_cycle *cycle;
static relora_state *state;

static void check_cycle(void)
{
    FAILS(RELORA_E_STATE, relora_cycle_advance(cycle, env.st, 1, NULL, NULL, NULL), "no layer");
}

static void give_group(void)
{
    relora_cycle_options co = cycle_options(5, 0);
    fill_group(RELORA_MODE_LORA);
    adam = new_adam(NULL);
    cycle = new_cycle(&co, adam, NULL);
    state = new_state();
    oom_begin();
    SURVIVES(check_adam, relora_adam_add_group(adam, group));
    ck_assert_int_eq(relora_adam_count(adam), 4 * LAYERS + 3);
    SURVIVES(check_cycle, relora_cycle_add_group(cycle, group));
    SURVIVES(NULL, relora_state_add_group(state, group));
    oom_end();
    OK(relora_state_save(state, env.st, at("state"), 0)); /* a member that was added twice would be refused */
    OK(relora_cycle_advance(cycle, env.st, 6, NULL, NULL, NULL));
    oom_result_of(relora_linear_param(layer[LAYERS - 1], RELORA_PARAM_WEIGHT));
}

START_TEST(test_give) { oom_play(give_group, _i, 10 * LAYERS); }
END_TEST

/* ---- reading ---- */

static void read_group(void)
{
    fill_group(RELORA_MODE_LORA);
    state = new_state();
    OK(relora_state_add_group(state, group));
    OK(relora_state_export_merged(state, env.st, at("merged")));
    relora_reader *reader = open_path(at("merged"));
    for (int i = 0; i < LAYERS; i++) {
        put_all(relora_linear_param(layer[i], RELORA_PARAM_WEIGHT), 2);
        weights[i] = snapshot(relora_linear_param(layer[i], RELORA_PARAM_WEIGHT));
        factors[i] = snapshot(relora_linear_param(layer[i], RELORA_PARAM_A));
    }
    oom_begin();
    SURVIVES(check_weights, relora_reader_read_group(reader, env.st, group, 0, NULL));
    for (int i = 0; i < LAYERS; i++) oom_result_of(relora_linear_param(layer[i], RELORA_PARAM_WEIGHT));
}

START_TEST(test_read) { oom_play(read_group, 0, LAYERS); }
END_TEST

static relora_tensor *norm;
static const void *norm_before;

static void check_norm(void)
{
    oom_end();
    UNCHANGED(norm, norm_before);
}

/* The report of what the file lacks and of what is left over takes memory of its own. */
static void read_in_part(void)
{
    const uint32_t flags = RELORA_READ_ALLOW_MISSING | RELORA_READ_ALLOW_LEFT_OVER;
    fill_group(RELORA_MODE_LORA);
    state = new_state();
    OK(relora_state_add_group(state, group));
    OK(relora_state_export_merged(state, env.st, at("merged")));
    relora_reader *reader = open_path(at("merged"));
    relora_group *other = new_group();
    norm = new_vector(RELORA_F32, 3);
    put_all(norm, 2);
    norm_before = snapshot(norm);
    OK(relora_group_add_param(other, "norm", norm, NULL));
    OK(relora_group_add_param(other, "later", new_vector(RELORA_F32, 3), NULL));
    oom_begin();
    SURVIVES(check_norm, relora_reader_read_group(reader, env.st, other, flags, NULL));
    oom_result_of(norm);
}

START_TEST(test_read_in_part) { oom_play(read_in_part, 0, 2); }
END_TEST

Suite *oom_groups(void)
{
    Suite *s = suite_create("groups");
    TCase *tc = env_case(s, "groups", 60);
    tcase_add_loop_test(tc, test_wrap, 0, OOM_KINDS);
    tcase_add_loop_test(tc, test_wrap_pointers, 0, OOM_KINDS);
    tcase_add_loop_test(tc, test_targets, 0, OOM_KINDS);
    tcase_add_loop_test(tc, test_set_mode, 0, OOM_KINDS);
    tcase_add_test(tc, test_optimizer);
    tcase_add_test(tc, test_return);
    tcase_add_test(tc, test_merge);
    tcase_add_loop_test(tc, test_give, 0, OOM_KINDS);
    tcase_add_test(tc, test_read);
    tcase_add_test(tc, test_read_in_part);
    return s;
}
