/* src/options.h: structs that cross the ABI, between callers and libraries of different releases. */
#include "unit/suites.h"
#include "options.h"

struct old { uint32_t struct_size, flags; double a; };
struct now { uint32_t struct_size, flags; double a, b; };

static const struct now defaults = {sizeof(struct now), 5, 1.5, 2.5};
enum { LEAST = sizeof(struct old), TAIL = 16 };

struct later { struct now known; unsigned char tail[TAIL]; };

static relora_status read(struct now *to, const void *from)
{
    *to = defaults;
    return options_read(to, sizeof *to, LEAST, from);
}

/* An old caller's missing tail keeps the default. */
START_TEST(test_read_smaller)
{
    struct old o = {sizeof o, 7, 9.5};
    struct now n;
    ck_assert_int_eq(read(&n, &o), RELORA_OK);
    ck_assert_uint_eq(n.flags, 7);
    ck_assert_double_eq(n.a, 9.5);
    ck_assert_double_eq(n.b, 2.5);
}
END_TEST

/* A new caller's extra tail is accepted while it is zero, and refused when used. */
START_TEST(test_read_larger)
{
    struct later l = {{sizeof l, 7, 9.5, 8.5}, {0}};
    struct now n;
    ck_assert_int_eq(read(&n, &l), RELORA_OK);
    ck_assert_double_eq(n.b, 8.5);
    for (int i = 0; i < TAIL; i++) {
        memset(l.tail, 0, TAIL);
        l.tail[i] = 1;
        ck_assert_int_eq(read(&n, &l), RELORA_E_STRUCT_SIZE);
        ck_assert_double_eq(n.b, 2.5);
    }
}
END_TEST

START_TEST(test_read_refuses)
{
    static union {
        struct now now;
        unsigned char room[2 * OPTIONS_MAX];
    } from;
    struct now n;
    const uint32_t bad[] = {0, 1, 4, LEAST - 1, OPTIONS_MAX + 1, UINT32_MAX};
    from.now = defaults;
    from.now.a = 77;
    for (int i = 0; i < 6; i++) {
        from.now.struct_size = bad[i];
        ck_assert_int_eq(read(&n, &from), RELORA_E_STRUCT_SIZE);
        ck_assert_double_eq(n.a, 1.5);
    }
    ck_assert_int_eq(read(&n, NULL), RELORA_OK); /* NULL: all defaults */
    ck_assert_double_eq(n.a, 1.5);
}
END_TEST

/* init writes exactly what the caller has: the rest of the buffer keeps its bytes. */
START_TEST(test_write)
{
    _Alignas(8) unsigned char bytes[64];
    static const size_t sizes[] = {4, 8, 16, 24, 32, 40, 64};
    size_t size = sizes[_i];
    uint32_t n;
    memset(bytes, 0xee, sizeof bytes);
    ck_assert_int_eq(options_write(bytes, size, &defaults, sizeof defaults), RELORA_OK);
    memcpy(&n, bytes, sizeof n);
    ck_assert_uint_eq(n, size); /* the caller's size, not ours */
    size_t known = size < sizeof defaults ? size : sizeof defaults;
    ck_assert_int_eq(memcmp(bytes + 4, (const char *)&defaults + 4, known - 4), 0);
    for (size_t i = known; i < size; i++) ck_assert_uint_eq(bytes[i], 0);
    for (size_t i = size; i < sizeof bytes; i++) ck_assert_uint_eq(bytes[i], 0xee);
}
END_TEST

/* Reports: never past the caller's struct_size, which stays what it was. */
START_TEST(test_report)
{
    _Alignas(8) unsigned char bytes[64];
    const uint32_t sizes[] = {4, 8, 16, 32, 48};
    uint32_t size = sizes[_i], n;
    memset(bytes, 0xee, sizeof bytes);
    memcpy(bytes, &size, sizeof size);
    ck_assert_int_eq(report_write(bytes, &defaults, sizeof defaults), RELORA_OK);
    memcpy(&n, bytes, sizeof n);
    ck_assert_uint_eq(n, size);
    size_t known = size < sizeof defaults ? size : sizeof defaults;
    ck_assert_int_eq(memcmp(bytes + 4, (const char *)&defaults + 4, known - 4), 0);
    for (size_t i = known; i < size; i++) ck_assert_uint_eq(bytes[i], 0);
    for (size_t i = size; i < sizeof bytes; i++) ck_assert_uint_eq(bytes[i], 0xee);
}
END_TEST

START_TEST(test_report_refuses)
{
    _Alignas(8) unsigned char bytes[64] = {0};
    const uint32_t bad[] = {0, 3, OPTIONS_MAX + 1};
    for (int i = 0; i < 3; i++) {
        memcpy(bytes, &bad[i], 4);
        ck_assert_int_eq(report_write(bytes, &defaults, sizeof defaults), RELORA_E_STRUCT_SIZE);
        ck_assert_uint_eq(bytes[8], 0);
    }
    ck_assert_int_eq(report_write(NULL, &defaults, sizeof defaults), RELORA_OK);
}
END_TEST

/* Every default that a header promises. */
START_TEST(test_public_defaults)
{
    relora_context_options c;
    relora_linear_options l;
    relora_schedule_options s;
    relora_cycle_options y;
    relora_adam_options a = adam_options();
    relora_reset_options r;
    OK(relora_context_options_init(&c, sizeof c));
    OK(relora_linear_options_init(&l, sizeof l));
    OK(relora_schedule_options_init(&s, sizeof s));
    OK(relora_cycle_options_init(&y, sizeof y));
    OK(relora_reset_options_init(&r, sizeof r));
    ck_assert(c.struct_size == sizeof c && c.threads == 1 && c.log_level == RELORA_LOG_OFF);
    ck_assert(!c.host_alloc && !c.host_free && !c.log && c.flags == 0);
    ck_assert(l.mode == RELORA_MODE_LORA && l.dtype == RELORA_F32 && l.rounding == RELORA_ROUND_STOCHASTIC);
    ck_assert(l.alpha == 32 && l.dropout == 0.1 && l.seed == 0 && l.flags == 0 && l.reserved == 0);
    ck_assert(a.flags == RELORA_ADAM_DECOUPLED && a.beta1 == 0.9 && a.beta2 == 0.999 && a.eps == 1e-8);
    ck_assert(a.weight_decay == 0 && a.max_norm == 0 && a.seed == 0 && a.rounding == RELORA_ROUND_STOCHASTIC);
    ck_assert(r.mode == RELORA_RESET_MAGNITUDE && r.ratio == 0.99 && r.flags == 0 && r.seed == 0 && r.cycle == 0);
    ck_assert(s.kind == RELORA_SCHEDULE_COSINE_RESTARTS && s.lr == 0 && s.min_lr_ratio == 0.1 && s.first_step == 0);
    ck_assert(s.warmup_steps == 0 && s.restart_warmup_steps == 0 && s.adjust_step == 0);
    ck_assert(y.flags == 0 && y.first_step == 0 && y.reset_every == 0 && !y.before && !y.after);
}
END_TEST

Suite *unit_options(void)
{
    Suite *s = suite_create("options");
    TCase *tc = tcase_create("options");
    tcase_add_test(tc, test_read_smaller);
    tcase_add_test(tc, test_read_larger);
    tcase_add_test(tc, test_read_refuses);
    tcase_add_loop_test(tc, test_write, 0, 7);
    tcase_add_loop_test(tc, test_report, 0, 5);
    tcase_add_test(tc, test_report_refuses);
    tcase_add_test(tc, test_public_defaults);
    suite_add_tcase(s, tc);
    return s;
}
