/* src/options.h: structs that cross the ABI, between callers and libraries of different releases; what a table's
 * rows refuse, and what every table has to be. */
#include "unit/suites.h"
#include "adam_reset.h"
#include "cycle.h"
#include "options.h"
#include "restart.h"
#include "schedule.h"

struct old {
    uint32_t struct_size, flags;
    double a;
};
struct now {
    uint32_t struct_size, flags;
    double a, b;
};

static const struct now defaults = {sizeof(struct now), 5, 1.5, 2.5};
enum { LEAST = sizeof(struct old), TAIL = 16 };

static const struct option now_rows[] = {
    {FIELD(struct now, flags), OPTION_FLAGS, .value = 5},
    {FIELD(struct now, a), OPTION_F64, .value = 1.5},
    {FIELD(struct now, b), OPTION_F64, .value = 2.5, .since = 5},
};
static const struct options now_options = {ROWS(now_rows), .size = sizeof(struct now), .first_size = LEAST};

struct later {
    struct now known;
    unsigned char tail[TAIL];
};

static relora_status read(struct now *to, const void *from) { return options_take(&now_options, to, from); }

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
    const uint32_t sizes[] = {0, 1, 4, LEAST - 1, OPTIONS_MAX + 1, UINT32_MAX};
    from.now = defaults;
    from.now.a = 77;
    for (int i = 0; i < 6; i++) {
        from.now.struct_size = sizes[i];
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
    ck_assert_int_eq(options_write(&now_options, bytes, size), RELORA_OK);
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
    const uint32_t sizes[] = {0, 3, OPTIONS_MAX + 1};
    for (int i = 0; i < 3; i++) {
        memcpy(bytes, &sizes[i], 4);
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
    ck_assert(r.mode == RELORA_RESET_MAGNITUDE && r.ratio == 0.99 && r.flags == 0 && r.seed == 0 &&
              r.cycle == 0);
    ck_assert(s.kind == RELORA_SCHEDULE_COSINE_RESTARTS && s.lr == 0 && s.min_lr_ratio == 0.1 &&
              s.first_step == 0);
    ck_assert(s.warmup_steps == 0 && s.restart_warmup_steps == 0 && s.adjust_step == 0);
    ck_assert(y.flags == 0 && y.first_step == 0 && y.reset_every == 0 && !y.before && !y.after);
}
END_TEST

/* ---- the tables of the structs ---- */

static const struct options *const tables[] = {&context_table, &linear_table,   &adam_table,
                                               &reset_table,   &schedule_table, &cycle_table,
                                               &merge_table,   &factors_table,  &comm_table};
enum { TABLES = sizeof tables / sizeof *tables, LARGEST = 256 };

static size_t size_of(const struct option *row)
{
    if (row->type == OPTION_POINTER) return sizeof(void *);
    return row->type == OPTION_I32 || row->type == OPTION_ENUM || row->type == OPTION_FLAGS ? 4 : 8;
}

/* Each byte behind struct_size belongs to one row, and the struct of the first release to rows as old as it. */
START_TEST(test_rows_cover)
{
    const struct options *table = tables[_i];
    unsigned char covered[LARGEST] = {1, 1, 1, 1};
    size_t first = 0;
    for (int i = 0; i < table->count; i++) {
        const struct option *row = &table->rows[i];
        for (size_t k = 0; k < size_of(row); k++) {
            ck_assert_msg(!covered[row->at + k], "two rows for byte %zu, the second is %s", row->at + k,
                          row->name);
            covered[row->at + k] = 1;
        }
        if (!row->since && row->at + size_of(row) > first) first = row->at + size_of(row);
        if (row->since) ck_assert_msg(row->at >= table->first_size, "%s is newer than the struct", row->name);
    }
    for (size_t k = 0; k < table->size; k++) ck_assert_msg(covered[k], "no row for byte %zu", k);
    ck_assert_uint_eq(first, table->first_size);
}
END_TEST

/* An option of a release after 0.4 is not used if it is 0, for libraries that do not know it. */
START_TEST(test_rows_have_zero_unused)
{
    const struct options *table = tables[_i];
    for (int i = 0; i < table->count; i++) {
        const struct option *row = &table->rows[i];
        int refuses_zero = row->type == OPTION_ENUM ? !row->names[0] : row->low > 0;
        if (row->since > 4)
            ck_assert_msg(row->value == 0 || refuses_zero, "%s is used if it is 0", row->name);
    }
}
END_TEST

static void put_integer(const struct option *row, unsigned char *options, int64_t value)
{
    int32_t narrow = (int32_t)value;
    memcpy(options + row->at, size_of(row) == 4 ? (void *)&narrow : (void *)&value, size_of(row));
}

static void put_number(const struct option *row, unsigned char *options, double value)
{
    memcpy(options + row->at, &value, sizeof value);
}

/* Options of a kind in which each field is one that may be. */
static void make_good(const struct options *table, int64_t kind, unsigned char *options)
{
    OK(options_write(table, options, table->size));
    for (int i = 0; i < table->count; i++) {
        const struct option *row = &table->rows[i];
        int usable = row->type == OPTION_I64 || row->type == OPTION_I32;
        if (usable && row->value < row->low) put_integer(row, options, (int64_t)row->low);
        if (row->type == OPTION_F64 && row->above_low && row->value <= row->low)
            put_number(row, options, row->low + 1);
    }
    if (kind) put_integer(&table->rows[0], options, kind);
}

static const struct options *now_table;
static int64_t now_kind;
static unsigned char bad[LARGEST];
static char why[OPTIONS_WHY];

static void refused(const struct option *row, const char *what)
{
    why[0] = '\0';
    ck_assert_msg(options_check(now_table, bad, "it", why) == RELORA_E_ARGUMENT, "%s in %s is accepted", what,
                  row->name);
    ck_assert_msg(strstr(why, row->name) && !strncmp(why, "it.", 3), "%s: %s", row->name, why);
    make_good(now_table, now_kind, bad);
}

static void refuse_numbers(const struct option *row)
{
    const double wrong[] = {NAN, INFINITY, -INFINITY};
    for (int i = 0; i < 3; i++) {
        put_number(row, bad, wrong[i]);
        refused(row, "no finite number");
    }
    if (isfinite(row->low)) {
        put_number(row, bad, row->above_low ? row->low : row->low - 0.5);
        refused(row, "too little");
    }
    if (isfinite(row->high)) {
        put_number(row, bad, row->below_high ? row->high : nextafter(row->high, HUGE_VAL));
        refused(row, "too much");
    }
}

static void refuse_integers(const struct option *row)
{
    put_integer(row, bad, (int64_t)row->low - 1);
    refused(row, "too little");
    if (!isfinite(row->high)) return;
    put_integer(row, bad, (int64_t)row->high + 1);
    refused(row, "too much");
}

static void refuse(const struct option *row)
{
    int count = option_name_count(row);
    switch (row->type) {
    case OPTION_F64: refuse_numbers(row); break;
    case OPTION_I32:
    case OPTION_I64: refuse_integers(row); break;
    case OPTION_FLAGS:
        put_integer(row, bad, INT64_C(1) << count);
        refused(row, "an unknown flag");
        break;
    case OPTION_ENUM:
        put_integer(row, bad, count);
        refused(row, "an unknown kind");
        put_integer(row, bad, row->names[0] ? -1 : 0);
        refused(row, "no kind");
        break;
    default: break;
    }
}

/* A field that another kind uses, but not this one. */
static void refuse_unused(const struct option *row)
{
    if (row->ignored) {
        put_number(row, bad, NAN);
        OK(options_check(now_table, bad, "it", why));
        make_good(now_table, now_kind, bad);
        return;
    }
    put_integer(row, bad, 250);
    refused(row, "a field that is not used");
    put_integer(row, bad, 250);
    options_check(now_table, bad, "it", why);
    ck_assert_msg(strstr(why, "250, but is not used by") && strstr(why, now_table->rows[0].names[now_kind]),
                  "%s", why);
    make_good(now_table, now_kind, bad);
}

/* In every kind, each row accepts what is good, and refuses what its bounds say, by name. */
START_TEST(test_rows_refuse)
{
    now_table = tables[_i];
    int64_t kinds = now_table->rows[0].type == OPTION_ENUM ? option_name_count(&now_table->rows[0]) - 1 : 0;
    for (now_kind = kinds ? 1 : 0; now_kind <= kinds; now_kind++) {
        make_good(now_table, now_kind, bad);
        ck_assert_msg(options_check(now_table, bad, "it", why) == RELORA_OK, "%s", why);
        for (int i = 0; i < now_table->count; i++) {
            const struct option *row = &now_table->rows[i];
            int used = !row->kinds || row->kinds >> now_kind & 1;
            if (used) refuse(row);
            else refuse_unused(row);
        }
    }
}
END_TEST

/* A number that only another kind uses. */
START_TEST(test_unused_number)
{
    struct toy {
        uint32_t struct_size;
        int32_t kind;
        double rate;
    } toy = {sizeof toy, 1, 0};
    static const char *const kinds[] = {NULL, "ROUND", "SQUARE", NULL};
    static const struct option rows[] = {
        {FIELD(struct toy, kind), OPTION_ENUM, .value = 1, .names = kinds},
        {FIELD(struct toy, rate), OPTION_F64, .high = 1, .kinds = 1 << 2},
    };
    static const struct options table = {ROWS(rows), .size = sizeof toy, .first_size = sizeof toy};
    OK(options_check(&table, &toy, "it", why));
    toy.rate = 0.5;
    ck_assert_int_eq(options_check(&table, &toy, "it", why), RELORA_E_ARGUMENT);
    ck_assert_str_eq(why, "it.rate is 0.5, but is not used by ROUND");
    toy.kind = 2;
    OK(options_check(&table, &toy, "it", why));
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
    tcase_add_loop_test(tc, test_rows_cover, 0, TABLES);
    tcase_add_loop_test(tc, test_rows_have_zero_unused, 0, TABLES);
    tcase_add_loop_test(tc, test_rows_refuse, 0, TABLES);
    tcase_add_test(tc, test_unused_number);
    suite_add_tcase(s, tc);
    return s;
}
