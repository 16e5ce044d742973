/* schedule.h with wrong arguments. */
#include "arguments/arguments.h"

static relora_schedule_options good(void)
{
    relora_schedule_options o;
    OK(relora_schedule_options_init(&o, sizeof o));
    o.lr = 1;
    o.total_steps = 100;
    o.warmup_steps = 5;
    o.restart_every = 25;
    o.restart_warmup_steps = 3;
    return o;
}

#define BAD(field_, value_, ...)                                                                   \
    do {                                                                                           \
        relora_schedule_options o_ = good();                                                       \
        relora_schedule *s_ = POISON;                                                              \
        o_.field_ = value_;                                                                        \
        FAILS(RELORA_E_ARGUMENT, relora_schedule_create(&s_, env.ctx, &o_), #field_, __VA_ARGS__); \
        ck_assert_ptr_null(s_);                                                                    \
    } while (0)

START_TEST(test_fields)
{
    BAD(kind, 0, "0", "COSINE_RESTARTS");
    BAD(kind, 5, "5", "CONSTANT, LINEAR, COSINE");
    BAD(lr, 0, "0");
    BAD(lr, -0.5, "-0.5");
    BAD(lr, NAN, "nan");
    BAD(lr, INFINITY, "inf");
    BAD(min_lr_ratio, -1e-30, "-1e-30");
    BAD(min_lr_ratio, 1.125, "1.125");
    BAD(min_lr_ratio, -0.5, "-0.5");
    BAD(min_lr_ratio, NAN, "nan");
    BAD(total_steps, 0, "0");
    BAD(total_steps, -37, "-37");
    BAD(warmup_steps, -3, "-3");
    BAD(restart_warmup_steps, -3, "-3");
    BAD(period_growth, -1, "-1");
    BAD(restart_warmup_steps, 26, "26", "25"); /* more than a cycle */
    BAD(restart_every, 0, "0", "restart_warmup_steps is 3");
    BAD(restart_every, 1, "1");
    BAD(restart_every, -25, "-25");
    BAD(restart_every, 49, "restart_warmup_steps is 3",
        "49 leaves 2 of total_steps 100"); /* no whole climb */
    BAD(restart_every, 101, "101", "100");
}
END_TEST

/* What a kind has no use for is refused, and the sentence names the kind. */
START_TEST(test_unused)
{
    static const struct {
        relora_schedule_kind kind;
        const char *name;
        int64_t warmup, every, adjust;
        const char *field;
    } cases[] = {
        {RELORA_SCHEDULE_CONSTANT, "CONSTANT", 0, 250, 0, "restart_every is 250"},
        {RELORA_SCHEDULE_LINEAR, "LINEAR", 0, 250, 0, "restart_every is 250"},
        {RELORA_SCHEDULE_LINEAR, "LINEAR", 7, 0, 0, "restart_warmup_steps is 7"},
        {RELORA_SCHEDULE_COSINE, "COSINE", 7, 25, 0, "restart_warmup_steps is 7"},
        {RELORA_SCHEDULE_COSINE, "COSINE", 0, 25, 3, "adjust_step is 3"},
        {RELORA_SCHEDULE_CONSTANT, "CONSTANT", 0, 0, -3, "adjust_step is -3"},
        {RELORA_SCHEDULE_COSINE_RESTARTS, "no restart", 7, 0, 0, "restart_warmup_steps is 7"},
        {RELORA_SCHEDULE_COSINE_RESTARTS, "no restart", 0, 0, 3, "adjust_step is 3"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        relora_schedule_options o = good();
        relora_schedule *s = POISON;
        o.kind = cases[i].kind;
        o.restart_warmup_steps = cases[i].warmup;
        o.restart_every = cases[i].every;
        o.adjust_step = cases[i].adjust;
        FAILS(RELORA_E_ARGUMENT, relora_schedule_create(&s, env.ctx, &o), cases[i].field, cases[i].name);
        ck_assert_ptr_null(s);
    }
}
END_TEST

/* Steps and a floor that a kind does not look at may be anything. */
START_TEST(test_ignored)
{
    relora_schedule_options o = good();
    o.kind = RELORA_SCHEDULE_CONSTANT;
    o.restart_warmup_steps = o.restart_every = 0;
    o.total_steps = -1;
    o.min_lr_ratio = NAN;
    new_schedule(&o);
    o.kind = RELORA_SCHEDULE_LINEAR;
    o.total_steps = 100;
    new_schedule(&o);
}
END_TEST

START_TEST(test_no_learning_rate)
{
    relora_schedule_options o;
    relora_schedule *s = POISON;
    OK(relora_schedule_options_init(&o, sizeof o));
    o.total_steps = 100;
    o.restart_every = 25;
    FAILS(RELORA_E_ARGUMENT, relora_schedule_create(&s, env.ctx, &o), "lr"); /* "has no default" */
    ck_assert_ptr_null(s);
}
END_TEST

START_TEST(test_cosine_restart_every)
{
    relora_schedule_options o = good();
    relora_schedule *s = POISON;
    o.kind = RELORA_SCHEDULE_COSINE;
    o.restart_warmup_steps = 0;
    o.restart_every = 24;
    FAILS(RELORA_E_ARGUMENT, relora_schedule_create(&s, env.ctx, &o), "restart_every", "24", "100");
    ck_assert_ptr_null(s);
}
END_TEST

START_TEST(test_struct_size)
{
    struct padded p;
    relora_schedule_options o = good();
    relora_schedule *s = POISON;
    FAILS(RELORA_E_STRUCT_SIZE, relora_schedule_create(&s, env.ctx, bad_struct_size(&p, &o, sizeof o, _i)),
          "struct_size");
    ck_assert_ptr_null(s);
}
END_TEST

START_TEST(test_calls)
{
    relora_schedule_options o = good();
    o.first_step = 50;
    relora_schedule *s = new_schedule(&o), *none = POISON;
    double lr = -7;
    int64_t next = 77;
    FAILS(RELORA_E_ARGUMENT, relora_schedule_create(NULL, env.ctx, &o), "out");
    FAILS_SILENTLY(RELORA_E_ARGUMENT, relora_schedule_create(&none, NULL, &o));
    ck_assert_ptr_null(none);
    FAILS_SILENTLY(RELORA_E_ARGUMENT, relora_schedule_lr(NULL, 60, &lr));
    FAILS(RELORA_E_ARGUMENT, relora_schedule_lr(s, 60, NULL), "lr");
    FAILS(RELORA_E_ARGUMENT, relora_schedule_lr(s, 49, &lr), "step", "49", "50");
    FAILS_SILENTLY(RELORA_E_ARGUMENT, relora_schedule_next_restart(NULL, 60, &next));
    FAILS(RELORA_E_ARGUMENT, relora_schedule_next_restart(s, 60, NULL), "next");
    ck_assert_double_eq(lr, -7);
    ck_assert_int_eq(next, 77);
    relora_schedule_release(NULL);
}
END_TEST

Suite *schedule_arguments(void)
{
    Suite *s = suite_create("arguments of schedule");
    TCase *tc = env_case(s, "schedule", 20);
    tcase_add_test(tc, test_fields);
    tcase_add_test(tc, test_unused);
    tcase_add_test(tc, test_ignored);
    tcase_add_test(tc, test_no_learning_rate);
    tcase_add_test(tc, test_cosine_restart_every);
    tcase_add_loop_test(tc, test_struct_size, 0, 5);
    tcase_add_test(tc, test_calls);
    return s;
}
