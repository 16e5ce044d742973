/* A LOWRANK layer that is merged into a tensor of the host or by its callback: the bits of a layer in mode LORA,
 * the order in which callbacks are asked and merge, and what is left when one of them fails. */
#include "conformance/suites.h"

enum { IN = 13, OUT = 7, RANK = 3, BRANCHES = 3, MOST_CALLS = 16 };

struct branch { /* a host's product, and the layer beside it */
    relora_linear *layer, *lora;
    relora_tensor *w;
    relora_status look, merge; /* what its callback returns */
};

static struct calls { /* of the callbacks, in order: the branch, and whether it was asked or merged */
    const struct branch *branch[MOST_CALLS];
    uint32_t flags[MOST_CALLS];
    int count;
} calls;

static relora_status merge_branch(void *user, relora_stream *stream, const relora_tensor *a,
                                  const relora_tensor *b, const relora_merge_options *options,
                                  relora_merge_report *report)
{
    const struct branch *branch = user;
    uint32_t look = options->flags & RELORA_MERGE_LOOK;
    ck_assert_int_lt(calls.count, MOST_CALLS);
    calls.branch[calls.count] = branch;
    calls.flags[calls.count++] = look;
    if (look && branch->look < 0) return branch->look;
    if (!look && branch->merge < 0) return branch->merge;
    return relora_merge(stream, branch->w, a, b, options, report);
}

static relora_linear_options options_of(relora_linear_mode mode, uint32_t flags, uint64_t number)
{
    relora_linear_options o = layer_options(mode, IN, OUT, RANK);
    o.flags = flags;
    o.seed = 5, o.layer = number;
    return o;
}

/* A layer in mode LORA and, with its factors and another copy of its W, a branch. */
static struct branch new_branch(relora_dtype dtype, uint32_t flags, uint64_t number)
{
    struct rnd r = rnd_seed(number + 1);
    int in_out = (flags & RELORA_LINEAR_IN_OUT) != 0;
    relora_linear_options lora = options_of(RELORA_MODE_LORA, flags, number);
    relora_linear_options low = options_of(RELORA_MODE_LOWRANK, flags, number);
    lora.dtype = dtype; /* that of the layer is F32 all the same */
    struct branch b = {.layer = new_linear(&low), .lora = new_filled_linear(&lora, &r)};
    b.w = new_matrix(dtype, in_out ? IN : OUT, in_out ? OUT : IN);
    put(b.w, get(relora_linear_param(b.lora, RELORA_PARAM_WEIGHT)));
    for (relora_param p = RELORA_PARAM_A; p <= RELORA_PARAM_SCALE; p++)
        if (relora_linear_param(b.lora, p))
            put(relora_linear_param(b.layer, p), get(relora_linear_param(b.lora, p)));
    return b;
}

static void same_as_lora(const struct branch *b)
{
    UNCHANGED(b->w, snapshot(relora_linear_param(b->lora, RELORA_PARAM_WEIGHT)));
    for (relora_param p = RELORA_PARAM_A; p <= RELORA_PARAM_SCALE; p++)
        if (relora_linear_param(b->lora, p))
            UNCHANGED(relora_linear_param(b->layer, p), snapshot(relora_linear_param(b->lora, p)));
}

static const struct kind {
    relora_dtype dtype;
    uint32_t flags;
    int callback;
} kinds[] = {
    {RELORA_F32, 0, 0},
    {RELORA_BF16, 0, 0},
    {RELORA_F32, RELORA_LINEAR_IN_OUT, 0},
    {RELORA_BF16, RELORA_LINEAR_TRAINABLE_SCALE, 0},
    {RELORA_F32, 0, 1},
    {RELORA_BF16, RELORA_LINEAR_IN_OUT, 1},
};
enum { KINDS = sizeof kinds / sizeof *kinds };

static void set_target(struct branch *b, int callback)
{
    OK(relora_linear_set_target(b->layer, callback ? NULL : b->w, callback ? merge_branch : NULL, b));
}

START_TEST(test_merge_is_that_of_lora)
{
    struct branch b = new_branch(kinds[_i].dtype, kinds[_i].flags, 1);
    relora_merge_report got = {.struct_size = sizeof got}, want = {.struct_size = sizeof want};
    set_target(&b, kinds[_i].callback);
    OK(relora_linear_merge(b.lora, env.st, 4, &want));
    OK(relora_linear_merge(b.layer, env.st, 4, &got));
    ck_assert_int_eq(got.layers, 1);
    ck_assert_double_gt(got.delta_norm, 0);
    ck_assert_double_eq_tol(got.delta_norm, want.delta_norm,
                            1e-15 * want.delta_norm); /* a root and its square */
    ck_assert_double_eq_tol(got.weight_norm, want.weight_norm, 1e-15 * want.weight_norm);
    same_as_lora(&b);
}
END_TEST

/* With a trainable scale a callback is given its tanh as a number, rounded once more than the product of the library. */
START_TEST(test_callback_scale)
{
    struct branch b = new_branch(RELORA_F32, RELORA_LINEAR_TRAINABLE_SCALE, 1);
    set_target(&b, 1);
    OK(relora_linear_merge(b.lora, env.st, 4, NULL));
    OK(relora_linear_merge(b.layer, env.st, 4, NULL));
    CLOSE(get(b.w), get(relora_linear_param(b.lora, RELORA_PARAM_WEIGHT)), (int64_t)OUT * IN,
          close_tolerance(0, RELORA_F32, 4, 2));
}
END_TEST

/* ---- in a cycle ---- */

struct world {
    struct branch b[BRANCHES]; /* the second has a tensor, the others a callback */
    relora_group *group;
    relora_adam *adam;
    relora_cycle *cycle, *reference;
};

static relora_linear *first_layer; /* of the cycle: in mode LORA */

static struct world *new_world(void)
{
    struct world *w = scratch(sizeof *w);
    struct rnd r = rnd_seed(9);
    relora_linear_options o = options_of(RELORA_MODE_LORA, 0, 77);
    relora_cycle_options co = cycle_options(10, 0);
    w->group = new_group();
    w->adam = new_adam(NULL);
    first_layer = new_filled_linear(&o, &r);
    OK(relora_group_add_linear(w->group, "first", first_layer));
    w->reference = new_cycle(&co, NULL, NULL);
    for (int i = 0; i < BRANCHES; i++) {
        const char *const names[] = {"q", "k", "v"};
        w->b[i] = new_branch(i ? RELORA_F32 : RELORA_BF16, i == 2 ? RELORA_LINEAR_IN_OUT : 0, (uint64_t)i);
        set_target(&w->b[i], i != 1);
        OK(relora_group_add_linear(w->group, names[i], w->b[i].layer));
        OK(relora_cycle_add(w->reference, w->b[i].lora));
    }
    OK(relora_adam_add_group(w->adam, w->group));
    w->cycle = new_cycle(&co, w->adam, NULL);
    OK(relora_cycle_add_group(w->cycle, w->group));
    calls.count = 0;
    return w;
}

static void called(int at, const struct branch *b, uint32_t flags)
{
    ck_assert_int_lt(at, calls.count);
    ck_assert_ptr_eq(calls.branch[at], b);
    ck_assert_uint_eq(calls.flags[at], flags);
}

static void all_same(const struct world *w)
{
    for (int i = 0; i < BRANCHES; i++) same_as_lora(&w->b[i]);
}

START_TEST(test_cycle)
{
    struct world *w = new_world();
    relora_merge_report report = {.struct_size = sizeof report};
    OK(relora_cycle_advance(w->reference, env.st, 11, NULL, NULL, NULL));
    OK(relora_cycle_advance(w->cycle, env.st, 11, NULL, &report, NULL));
    ck_assert_int_eq(report.layers, BRANCHES + 1);
    ck_assert_int_eq(calls.count, 4); /* both are asked, then both merge */
    called(0, &w->b[0], RELORA_MERGE_LOOK);
    called(1, &w->b[2], RELORA_MERGE_LOOK);
    called(2, &w->b[0], 0);
    called(3, &w->b[2], 0);
    all_same(w);
    OK(relora_cycle_advance(w->cycle, env.st, 12, NULL, &report, NULL)); /* nothing is due: nobody is asked */
    ck_assert_int_eq(calls.count, 4);
    OK(relora_cycle_finish(w->reference, env.st, 15, NULL));
    OK(relora_cycle_finish(w->cycle, env.st, 15, NULL));
    all_same(w);
    double *b = get(relora_linear_param(w->b[2].layer, RELORA_PARAM_B));
    for (int i = 0; i < OUT * RANK; i++) ck_assert_double_eq(b[i], 0);
}
END_TEST

struct bytes {
    relora_tensor *tensor;
    void *was;
};

/* Everything that a merge writes. */
static int all_tensors(const struct world *w, struct bytes all[3 * BRANCHES + 3])
{
    int n = 0;
    for (relora_param p = RELORA_PARAM_WEIGHT; p <= RELORA_PARAM_B; p += p == RELORA_PARAM_WEIGHT ? 2 : 1)
        all[n++].tensor = relora_linear_param(first_layer, p);
    for (int i = 0; i < BRANCHES; i++) {
        all[n++].tensor = w->b[i].w;
        all[n++].tensor = relora_linear_param(w->b[i].layer, RELORA_PARAM_A);
        all[n++].tensor = relora_linear_param(w->b[i].layer, RELORA_PARAM_B);
    }
    for (int i = 0; i < n; i++) all[i].was = snapshot(all[i].tensor);
    return n;
}

/* A callback that cannot merge says so when it is asked, and nothing changes anywhere. */
START_TEST(test_refused)
{
    struct world *w = new_world();
    struct bytes all[3 * BRANCHES + 3];
    int n = all_tensors(w, all);
    w->b[2].look = RELORA_E_IO;
    FAILS(RELORA_E_IO, relora_cycle_advance(w->cycle, env.st, 11, NULL, NULL, NULL), "layer \"v\"",
          "RELORA_E_IO", "nothing was merged");
    FAILS(RELORA_E_IO, relora_group_merge(w->group, env.st, 1, NULL), "layer \"v\"");
    for (int i = 0; i < n; i++) UNCHANGED(all[i].tensor, all[i].was);
    for (int i = 0; i < calls.count; i++) ck_assert_uint_eq(calls.flags[i], RELORA_MERGE_LOOK);
}
END_TEST

/* What the library can see it looks at before any callback is asked. */
START_TEST(test_not_finite)
{
    struct world *w = new_world();
    struct branch *b = &w->b[_i];
    relora_tensor *bad = _i == 1 ? b->w : relora_linear_param(b->layer, RELORA_PARAM_B);
    double *values = get(bad);
    values[2] = _i ? (double)NAN : (double)INFINITY;
    put(bad, values);
    struct bytes all[3 * BRANCHES + 3];
    int n = all_tensors(w, all);
    FAILS(RELORA_E_NOT_FINITE, relora_cycle_advance(w->cycle, env.st, 11, NULL, NULL, NULL),
          "nothing was merged", _i == 1 ? "weight of layer \"k\"" : "factor of layer");
    ck_assert_int_eq(calls.count, 0);
    for (int i = 0; i < n; i++) UNCHANGED(all[i].tensor, all[i].was);
}
END_TEST

/* A sum beyond the range of a target of the library's is seen; one of the host's is the host's affair. */
START_TEST(test_range)
{
    struct branch b = new_branch(RELORA_F32, 0, 0);
    set_target(&b, 0);
    put_all(relora_linear_param(b.layer, RELORA_PARAM_A), 1e20);
    put_all(relora_linear_param(b.layer, RELORA_PARAM_B), 1e20);
    FAILS(RELORA_E_NOT_FINITE, relora_linear_merge(b.layer, env.st, 1, NULL), "beyond the range of F32");
    calls.count = 0;
    set_target(&b, 1);
    b.look = b.merge = -1234;
    FAILS(-1234, relora_linear_merge(b.layer, env.st, 1, NULL), "nothing was merged");
    ck_assert_int_eq(calls.count, 1);
}
END_TEST

/* One that agreed and then fails: those before it have merged, nothing else; the same step is tried again. */
START_TEST(test_failed_after_agreeing)
{
    struct world *w = new_world();
    struct bytes all[3 * BRANCHES + 3];
    int n = all_tensors(w, all);
    w->b[2].merge = RELORA_E_IO;
    FAILS(RELORA_E_IO, relora_cycle_advance(w->cycle, env.st, 11, NULL, NULL, NULL), "layer \"v\"", "agreed");
    for (int i = 0; i < n; i++)
        if (i < 3 || i >= 6) UNCHANGED(all[i].tensor, all[i].was);
    w->b[2].merge = RELORA_OK;
    env.lines[RELORA_LOG_WARN] = 0;
    OK(relora_cycle_advance(w->cycle, env.st, 11, NULL, NULL, NULL));
    ck_assert_int_eq(env.lines[RELORA_LOG_WARN], 0);
    OK(relora_cycle_advance(w->reference, env.st, 11, NULL, NULL, NULL));
    all_same(w);
}
END_TEST

/* When the layers in LORA go over to full rank, a branch stays what it was, and nobody is asked to merge it. */
START_TEST(test_group_to_full)
{
    struct world *w = new_world();
    struct bytes all[3 * BRANCHES + 3];
    int n = all_tensors(w, all);
    OK(relora_group_set_mode(w->group, env.st, RELORA_MODE_FULL));
    ck_assert_int_eq(relora_linear_get_mode(first_layer), RELORA_MODE_FULL);
    ck_assert_int_eq(calls.count, 0);
    for (int i = 3; i < n; i++) UNCHANGED(all[i].tensor, all[i].was);
}
END_TEST

/* ---- a target that goes, and what is no target ---- */

START_TEST(test_without)
{
    struct world *w = new_world();
    OK(relora_linear_set_target(w->b[2].layer, NULL, NULL, NULL));
    FAILS(RELORA_E_STATE, relora_linear_merge(w->b[2].layer, env.st, 1, NULL), "layer \"v\"", "target");
    FAILS(RELORA_E_STATE, relora_cycle_advance(w->cycle, env.st, 11, NULL, NULL, NULL), "layer \"v\"",
          "target");
    ck_assert_int_eq(calls.count, 0);
    relora_merge_report report = {.struct_size = sizeof report};
    OK(relora_group_merge(w->group, env.st, 1, &report)); /* it is left out, as it always was */
    ck_assert_int_eq(report.layers, BRANCHES);
    set_target(&w->b[2], 0); /* the other way */
    OK(relora_linear_merge(w->b[2].layer, env.st, 1, NULL));
    OK(relora_linear_merge(w->b[2].lora, env.st, 1, NULL));
    same_as_lora(&w->b[2]);
}
END_TEST

/* A target is no second weight of another layer, but may be a parameter of the group, which saves it. */
START_TEST(test_shared)
{
    struct branch one = new_branch(RELORA_F32, 0, 1), other = new_branch(RELORA_F32, 0, 2);
    relora_cycle_options co = cycle_options(10, 0);
    relora_cycle *cycle = new_cycle(&co, NULL, NULL);
    relora_group *group = new_group();
    OK(relora_linear_set_target(one.layer, one.w, NULL, NULL));
    OK(relora_linear_set_target(other.layer, one.w, NULL, NULL));
    OK(relora_cycle_add(cycle, one.layer));
    FAILS(RELORA_E_EXISTS, relora_cycle_add(cycle, other.layer), "weight");
    OK(relora_linear_set_target(other.layer, relora_linear_param(one.lora, RELORA_PARAM_WEIGHT), NULL, NULL));
    OK(relora_cycle_add(cycle, other.layer));
    FAILS(RELORA_E_EXISTS, relora_cycle_add(cycle, one.lora), "weight");
    OK(relora_group_add_linear(group, "l", one.layer));
    OK(relora_group_add_param(group, "l.base", one.w, NULL));
}
END_TEST

Suite *target_suite(void)
{
    Suite *s = suite_create("targets of branches");
    TCase *tc = env_case(s, "target", 20);
    tcase_add_loop_test(tc, test_merge_is_that_of_lora, 0, KINDS);
    tcase_add_test(tc, test_callback_scale);
    tcase_add_test(tc, test_cycle);
    tcase_add_test(tc, test_refused);
    tcase_add_loop_test(tc, test_not_finite, 0, BRANCHES);
    tcase_add_test(tc, test_range);
    tcase_add_test(tc, test_failed_after_agreeing);
    tcase_add_test(tc, test_group_to_full);
    tcase_add_test(tc, test_without);
    tcase_add_test(tc, test_shared);
    return s;
}
