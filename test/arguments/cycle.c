/* cycle.h with wrong arguments. */
#include "arguments/arguments.h"

#define BAD(field_, value_, ...)                                                                            \
    do {                                                                                                    \
        relora_cycle_options o_ = cycle_options(10, 0);                                                     \
        relora_cycle *c_ = POISON;                                                                          \
        o_.field_ = value_;                                                                                 \
        FAILS(RELORA_E_ARGUMENT, relora_cycle_create(&c_, env.ctx, &o_, NULL, NULL), #field_, __VA_ARGS__); \
        ck_assert_ptr_null(c_);                                                                             \
    } while (0)

/* T5: a period of 1 would never fire, x % 1 == 1, and is refused. */
START_TEST(test_fields)
{
    BAD(flags, 1, "1");
    BAD(first_step, -37, "-37");
    BAD(merge_every, 0, "0");
    BAD(merge_every, 1, "1");
    BAD(merge_every, -37, "-37");
    BAD(reset_every, 1, "1");
    BAD(period_growth, -1, "-1");
    BAD(stagger, -1, "-1");
    BAD(stagger, 4097, "4097", "4096");
    BAD(reset_every, -37, "-37");
}
END_TEST

START_TEST(test_struct_size)
{
    struct padded p;
    relora_cycle_options o = cycle_options(10, 0);
    relora_cycle *c = POISON;
    FAILS(RELORA_E_STRUCT_SIZE,
          relora_cycle_create(&c, env.ctx, bad_struct_size(&p, &o, sizeof o, _i), NULL, NULL), "struct_size");
    ck_assert_ptr_null(c);
}
END_TEST

START_TEST(test_create)
{
    struct stranger s = new_stranger();
    relora_cycle_options o = cycle_options(10, 0);
    relora_reset_options good = reset_options(RELORA_RESET_ZERO, 1, 0);
    relora_reset_options bad = reset_options(RELORA_RESET_MAGNITUDE, 1.125, 0);
    relora_adam *adam = new_adam(NULL), *far;
    relora_cycle *c = POISON;
    OK(relora_adam_create(&far, s.dev, NULL));
    FAILS(RELORA_E_ARGUMENT, relora_cycle_create(NULL, env.ctx, &o, NULL, NULL), "out");
    FAILS(RELORA_E_ARGUMENT, relora_cycle_create(NULL, NULL, &o, adam, NULL), "out");
    FAILS_SILENTLY(RELORA_E_ARGUMENT, relora_cycle_create(&c, NULL, &o, NULL, NULL));
    ck_assert_ptr_null(c);
    c = POISON; /* merge_every has no default */
    FAILS(RELORA_E_ARGUMENT, relora_cycle_create(&c, env.ctx, NULL, NULL, NULL), "");
    ck_assert_ptr_null(c);
    c = POISON;
    FAILS(RELORA_E_ARGUMENT, relora_cycle_create(&c, env.ctx, &o, NULL, &good), "reset");
    ck_assert_ptr_null(c);
    c = POISON;
    FAILS(RELORA_E_ARGUMENT, relora_cycle_create(&c, env.ctx, &o, adam, &bad), "ratio", "1.125");
    ck_assert_ptr_null(c);
    c = POISON;
    FAILS(RELORA_E_CONTEXT, relora_cycle_create(&c, env.ctx, &o, far, NULL), "adam");
    ck_assert_ptr_null(c);
    for (int i = 0; i < 3; i++) { /* with periods that differ */
        static const char *const words[] = {"PROJECT", "period_growth", "stagger"};
        relora_reset_options project = reset_options(RELORA_RESET_PROJECT, 1, 0);
        o = cycle_options(10, 5);
        o.period_growth = i == 1, o.stagger = i == 2;
        c = POISON;
        FAILS(RELORA_E_ARGUMENT, relora_cycle_create(&c, env.ctx, &o, adam, i ? &good : &project), words[i],
              "reset_every is 5", "10");
        ck_assert_ptr_null(c);
        o.reset_every = 10;
        OK(relora_cycle_create(&c, env.ctx, &o, adam, i ? &good : &project));
        relora_cycle_release(c);
    }
    relora_adam_release(far);
    relora_cycle_release(NULL);
}
END_TEST

START_TEST(test_follow)
{
    relora_schedule_options so;
    relora_cycle_options o = cycle_options(3, 4), was, small = {.struct_size = 8};
    OK(relora_schedule_options_init(&so, sizeof so));
    so.lr = 1;
    so.kind = RELORA_SCHEDULE_CONSTANT;
    relora_schedule *constant = new_schedule(&so);
    so.kind = RELORA_SCHEDULE_COSINE_RESTARTS;
    so.total_steps = 40, so.restart_every = 10;
    relora_schedule *good = new_schedule(&so);
    so.adjust_step = 2;
    relora_schedule *shifted = new_schedule(&so);
    was = o;
    FAILS_SILENTLY(RELORA_E_ARGUMENT, relora_cycle_options_follow(&o, NULL));
    FAILS_SILENTLY(RELORA_E_ARGUMENT, relora_cycle_options_follow(NULL, NULL));
    FAILS(RELORA_E_ARGUMENT, relora_cycle_options_follow(NULL, good), "options");
    FAILS(RELORA_E_STRUCT_SIZE, relora_cycle_options_follow(&small, good), "struct_size", "8");
    FAILS(RELORA_E_STATE, relora_cycle_options_follow(&o, constant), "restarts");
    FAILS(RELORA_E_UNSUPPORTED, relora_cycle_options_follow(&o, shifted), "adjust_step", "2");
    SAME_BYTES(&o, &was, sizeof o);
    ck_assert_int_eq(small.merge_every, 0);
}
END_TEST

static relora_linear *layer(relora_linear_mode mode, struct rnd *r)
{
    relora_linear_options o = layer_options(mode, 5, 3, 2);
    return new_filled_linear(&o, r);
}

START_TEST(test_add)
{
    struct stranger s = new_stranger();
    struct rnd r = rnd_seed(1);
    relora_cycle_options o = cycle_options(10, 0);
    relora_adam *adam = new_adam(NULL);
    relora_cycle *c = new_cycle(&o, adam, NULL), *far;
    relora_linear *l = layer(RELORA_MODE_LORA, &r), *unknown = layer(RELORA_MODE_LORA, &r);
    relora_linear_options bare = layer_options(RELORA_MODE_LORA, 5, 3, 2);
    OK(relora_adam_add_linear(adam, "l", l));
    OK(relora_cycle_create(&far, s.ctx, &o, NULL, NULL));
    FAILS_SILENTLY(RELORA_E_ARGUMENT, relora_cycle_add(NULL, NULL));
    FAILS(RELORA_E_ARGUMENT, relora_cycle_add(NULL, l), "cycle");
    FAILS(RELORA_E_ARGUMENT, relora_cycle_add(c, NULL), "linear");
    bare.mode = RELORA_MODE_FULL, bare.rank = 0;
    FAILS(RELORA_E_STATE, relora_cycle_add(c, new_filled_linear(&bare, &r)), "mode");
    bare = layer_options(RELORA_MODE_LORA, 5, 3, 2);
    FAILS(RELORA_E_STATE, relora_cycle_add(c, layer(RELORA_MODE_LOWRANK, &r)), "mode");
    FAILS(RELORA_E_STATE, relora_cycle_add(c, new_linear(&bare)), "weight");
    FAILS(RELORA_E_NOT_FOUND, relora_cycle_add(c, unknown), "adam");
    ck_assert_int_eq(relora_cycle_add(far, l), RELORA_E_CONTEXT);
    FAILS(RELORA_E_STATE, relora_cycle_advance(c, env.st, 11, NULL, NULL, NULL), ""); /* none was added */
    OK(relora_cycle_add(c, l));
    FAILS(RELORA_E_EXISTS, relora_cycle_add(c, l), "linear");
    relora_cycle_release(far);
}
END_TEST

START_TEST(test_calls)
{
    struct stranger s = new_stranger();
    struct rnd r = rnd_seed(2);
    relora_cycle_options o = cycle_options(10, 0);
    relora_cycle *c = new_cycle(&o, NULL, NULL);
    o.first_step = 41;
    relora_cycle *late = new_cycle(&o, NULL, NULL);
    relora_linear *l = layer(RELORA_MODE_LORA, &r);
    relora_merge_report bad_merge = {.struct_size = 3};
    relora_reset_report bad_reset = {.struct_size = 3};
    uint32_t events = 77;
    OK(relora_cycle_add(c, l));
    OK(relora_cycle_add(late, l));
    void *w = snapshot(relora_linear_param(l, RELORA_PARAM_WEIGHT));
    void *b = snapshot(relora_linear_param(l, RELORA_PARAM_B));
    FAILS_SILENTLY(RELORA_E_ARGUMENT, relora_cycle_due(NULL, 11, &events));
    FAILS(RELORA_E_ARGUMENT, relora_cycle_due(c, 11, NULL), "events");
    FAILS(RELORA_E_ARGUMENT, relora_cycle_due(c, -37, &events), "step", "-37");
    FAILS_SILENTLY(RELORA_E_ARGUMENT, relora_cycle_advance(NULL, NULL, 11, &events, NULL, NULL));
    FAILS(RELORA_E_ARGUMENT, relora_cycle_advance(NULL, env.st, 11, &events, NULL, NULL), "cycle");
    FAILS(RELORA_E_ARGUMENT, relora_cycle_advance(c, NULL, 11, &events, NULL, NULL), "stream");
    FAILS(RELORA_E_CONTEXT, relora_cycle_advance(c, s.st, 11, &events, NULL, NULL), "stream");
    FAILS(RELORA_E_ARGUMENT, relora_cycle_advance(c, env.st, -37, &events, NULL, NULL), "step", "-37");
    FAILS(RELORA_E_STRUCT_SIZE, relora_cycle_advance(c, env.st, 11, NULL, &bad_merge, NULL), "merge");
    FAILS(RELORA_E_STRUCT_SIZE, relora_cycle_advance(c, env.st, 11, NULL, NULL, &bad_reset), "reset");
    FAILS(RELORA_E_ARGUMENT, relora_cycle_finish(NULL, env.st, 11, NULL), "cycle");
    FAILS(RELORA_E_ARGUMENT, relora_cycle_finish(c, NULL, 11, NULL), "stream");
    FAILS(RELORA_E_CONTEXT, relora_cycle_finish(c, s.st, 11, NULL), "stream");
    FAILS(RELORA_E_ARGUMENT, relora_cycle_finish(c, env.st, -37, NULL), "step", "-37");
    FAILS(RELORA_E_ARGUMENT, relora_cycle_finish(late, env.st, 37, NULL), "step", "37", "41");
    FAILS(RELORA_E_STRUCT_SIZE, relora_cycle_finish(c, env.st, 11, &bad_merge), "merge");
    UNCHANGED(relora_linear_param(l, RELORA_PARAM_WEIGHT), w);
    UNCHANGED(relora_linear_param(l, RELORA_PARAM_B), b);
}
END_TEST

Suite *cycle_arguments(void)
{
    Suite *s = suite_create("arguments of cycle");
    TCase *tc = env_case(s, "cycle", 20);
    tcase_add_test(tc, test_fields);
    tcase_add_loop_test(tc, test_struct_size, 0, 5);
    tcase_add_test(tc, test_create);
    tcase_add_test(tc, test_follow);
    tcase_add_test(tc, test_add);
    tcase_add_test(tc, test_calls);
    return s;
}
