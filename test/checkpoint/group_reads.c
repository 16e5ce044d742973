/* The weights of a group out of a file, by their names. */
#include <stdio.h>
#include "checkpoint/checkpoint.h"

enum { IN = 3, OUT = 2, RANK = 1 };

struct model {
    relora_group *group;
    relora_linear *low, *full, *pure;
    relora_tensor *norm;
};

static relora_linear *add(struct model *m, const char *name, relora_linear_mode mode, relora_dtype dtype,
                          uint32_t flags)
{
    struct rnd r = rnd_seed(1);
    relora_linear_options o = layer_options(mode, IN, OUT, mode == RELORA_MODE_FULL ? 0 : RANK);
    o.dtype = dtype;
    o.flags = flags;
    o.layer = (uint64_t)relora_group_count(m->group);
    relora_linear *l = new_filled_linear(&o, &r);
    OK(relora_group_add_linear(m->group, name, l));
    return l;
}

static struct model new_model(void)
{
    struct model m = {.group = new_group(), .norm = new_vector(RELORA_F32, 4)};
    m.low = add(&m, "low", RELORA_MODE_LORA, RELORA_BF16, RELORA_LINEAR_BIAS | RELORA_LINEAR_KEEP_DELTA);
    put_all(relora_linear_param(m.low, RELORA_PARAM_DELTA), 5);
    put_all(m.norm, 9);
    OK(relora_group_add_param(m.group, "norm", m.norm, NULL));
    m.full = add(&m, "full", RELORA_MODE_FULL, RELORA_F32, 0);
    m.pure = add(&m, "pure", RELORA_MODE_LOWRANK, RELORA_F32, 0);
    return m;
}

/* A tensor of a file: its elements are value, value + 1, ... */
static void put_in(relora_writer *w, const char *name, int32_t ndim, int64_t rows, int64_t cols, double value)
{
    int64_t count = ndim == 2 ? rows * cols : rows;
    float *data = scratch((size_t)count * sizeof *data);
    for (int64_t i = 0; i < count; i++) data[i] = (float)(value + (double)i);
    OK(relora_writer_add_bytes(w, name, "F32", ndim, (int64_t[]){rows, cols}, data,
                               (size_t)count * sizeof *data));
}

enum part { LOW_WEIGHT, LOW_BIAS, NORM, FULL_WEIGHT, PURE_A, PURE_B, PARTS };

/* A file with all that the group reads, but for `without`; every tensor begins with 10 times its part. */
static relora_writer *new_file(int without)
{
    static const struct {
        const char *name;
        int32_t ndim;
        int64_t rows, cols;
    } parts[PARTS] = {{"low.weight", 2, OUT, IN},
                      {"low.bias", 1, OUT, 0},
                      {"norm", 1, 4, 0},
                      {"full.weight", 2, OUT, IN},
                      {"pure.lora_A.weight", 2, RANK, IN},
                      {"pure.lora_B.weight", 2, OUT, RANK}};
    relora_writer *w = new_writer();
    for (int i = 0; i < PARTS; i++)
        if (i != without) put_in(w, parts[i].name, parts[i].ndim, parts[i].rows, parts[i].cols, 10 * i);
    return w;
}

static relora_reader *saved(relora_writer *w)
{
    static int number;
    char name[16];
    snprintf(name, sizeof name, "file%d", number++);
    OK(relora_writer_save(w, env.st, at(name), RELORA_SAVE_CHECKSUM));
    return open_path(at(name));
}

static double first(relora_linear *l, relora_param p) { return get(relora_linear_param(l, p))[0]; }

static const uint32_t CONVERT = RELORA_READ_CONVERT;

START_TEST(test_everything)
{
    struct model m = new_model();
    relora_read_report report = {.struct_size = sizeof report};
    void *a = snapshot(relora_linear_param(m.low, RELORA_PARAM_A)),
         *b = snapshot(relora_linear_param(m.low, RELORA_PARAM_B));
    OK(relora_reader_read_group(saved(new_file(-1)), env.st, m.group, CONVERT | RELORA_READ_FINITE, &report));
    ck_assert_int_eq(report.read, PARTS);
    ck_assert_int_eq(report.missing, 0);
    ck_assert_int_eq(report.left_over, 0);
    double *w = get(relora_linear_param(m.low, RELORA_PARAM_WEIGHT));
    for (int i = 0; i < OUT * IN; i++) ck_assert_double_eq(w[i], i); /* BF16 now */
    ck_assert_double_eq(first(m.low, RELORA_PARAM_BIAS), 10);
    ck_assert_double_eq(get(m.norm)[3], 23);
    ck_assert_double_eq(first(m.full, RELORA_PARAM_WEIGHT), 30);
    ck_assert_double_eq(first(m.pure, RELORA_PARAM_A), 40);
    ck_assert_double_eq(first(m.pure, RELORA_PARAM_B), 50);
    ck_assert_double_eq(largest(get(relora_linear_param(m.low, RELORA_PARAM_DELTA)), OUT * IN), 0);
    UNCHANGED(relora_linear_param(m.low, RELORA_PARAM_A), a);
    UNCHANGED(relora_linear_param(m.low, RELORA_PARAM_B), b);
}
END_TEST

/* The sketch of a frozen A is no weight. */
START_TEST(test_sketch)
{
    struct rnd r = rnd_seed(1);
    relora_group *group = new_group();
    relora_read_report report = {.struct_size = sizeof report};
    relora_linear_options o = layer_options(RELORA_MODE_LOWRANK, IN, OUT, RANK);
    o.flags = RELORA_LINEAR_BIAS | RELORA_LINEAR_TRAINABLE_SCALE | RELORA_LINEAR_FREEZE_A;
    o.init = RELORA_INIT_GRADIENT;
    relora_linear *l = new_filled_linear(&o, &r);
    OK(relora_group_add_linear(group, "l", l));
    relora_writer *w = new_writer();
    put_in(w, "l.bias", 1, OUT, 0, 1);
    put_in(w, "l.lora_A.weight", 2, RANK, IN, 2);
    put_in(w, "l.lora_B.weight", 2, OUT, RANK, 3);
    put_in(w, "l.scaling", 1, 1, 0, 4);
    OK(relora_reader_read_group(saved(w), env.st, group, 0, &report));
    ck_assert_int_eq(report.read, 4);
    ck_assert_double_eq(first(l, RELORA_PARAM_A), 2);
    ck_assert_double_eq(first(l, RELORA_PARAM_SCALE), 4);
}
END_TEST

/* What relora_state_export_merged() writes goes back in. */
START_TEST(test_export)
{
    struct model m = {.group = new_group()}, other = {.group = new_group()};
    relora_state *state = new_state();
    m.low = add(&m, "low", RELORA_MODE_LORA, RELORA_F32, RELORA_LINEAR_BIAS);
    other.low = add(&other, "low", RELORA_MODE_FULL, RELORA_F32, RELORA_LINEAR_BIAS);
    OK(relora_state_add_group(state, m.group));
    OK(relora_state_export_merged(state, env.st, at("merged")));
    OK(relora_reader_read_group(open_path(at("merged")), env.st, other.group, 0, NULL));
    OK(relora_linear_merge(m.low, env.st, 1, NULL));
    UNCHANGED(relora_linear_param(other.low, RELORA_PARAM_WEIGHT),
              snapshot(relora_linear_param(m.low, RELORA_PARAM_WEIGHT)));
}
END_TEST

static void untouched(const struct model *m)
{
    struct model fresh = new_model();
    UNCHANGED(relora_linear_param(m->low, RELORA_PARAM_WEIGHT),
              snapshot(relora_linear_param(fresh.low, RELORA_PARAM_WEIGHT)));
    UNCHANGED(relora_linear_param(m->low, RELORA_PARAM_BIAS),
              snapshot(relora_linear_param(fresh.low, RELORA_PARAM_BIAS)));
    UNCHANGED(relora_linear_param(m->low, RELORA_PARAM_DELTA),
              snapshot(relora_linear_param(fresh.low, RELORA_PARAM_DELTA)));
    UNCHANGED(relora_linear_param(m->full, RELORA_PARAM_WEIGHT),
              snapshot(relora_linear_param(fresh.full, RELORA_PARAM_WEIGHT)));
    UNCHANGED(relora_linear_param(m->pure, RELORA_PARAM_A),
              snapshot(relora_linear_param(fresh.pure, RELORA_PARAM_A)));
    UNCHANGED(m->norm, snapshot(fresh.norm));
}

/* Each tensor of the group missing in turn: refused by name; allowed, it stays, and the others are read. */
START_TEST(test_missing)
{
    static const char *const names[] = {
        "\"low.weight\"",  "\"low.bias\"",           "\"norm\"",
        "\"full.weight\"", "\"pure.lora_A.weight\"", "\"pure.lora_B.weight\""};
    struct model m = new_model();
    relora_read_report report = {.struct_size = sizeof report};
    relora_reader *r = saved(new_file(_i));
    env.lines[RELORA_LOG_INFO] = 0; /* from here on */
    FAILS(RELORA_E_NOT_FOUND, relora_reader_read_group(r, env.st, m.group, CONVERT, &report), "lacks 1",
          names[_i]);
    ck_assert_int_eq(report.read, 0);
    ck_assert_int_eq(report.missing, 1);
    ck_assert_int_eq(env.lines[RELORA_LOG_INFO], 1);
    ck_assert_ptr_nonnull(strstr(env.info, names[_i]));
    untouched(&m);
    OK(relora_reader_read_group(r, env.st, m.group, CONVERT | RELORA_READ_ALLOW_MISSING, &report));
    ck_assert_int_eq(report.read, PARTS - 1);
    ck_assert_int_eq(report.missing, 1);
    ck_assert_int_eq(env.lines[RELORA_LOG_INFO], 2);
    struct model fresh = new_model();
    if (_i == LOW_WEIGHT)
        UNCHANGED(relora_linear_param(m.low, RELORA_PARAM_WEIGHT),
                  snapshot(relora_linear_param(fresh.low, RELORA_PARAM_WEIGHT)));
    ck_assert_double_eq(get(relora_linear_param(m.low, RELORA_PARAM_DELTA))[0], _i == LOW_WEIGHT ? 5 : 0);
    ck_assert_double_eq(get(m.norm)[0], _i == NORM ? 9 : 20);
    ck_assert_double_eq(first(m.low, RELORA_PARAM_BIAS) == 10, _i != LOW_BIAS);
}
END_TEST

START_TEST(test_left_over)
{
    struct model m = new_model();
    relora_read_report report = {.struct_size = sizeof report};
    relora_writer *w = new_file(-1);
    put_in(w, "low.lora_A.weight", 2, RANK, IN, 3); /* only W of such a layer is read */
    for (int i = 0; i < 4; i++) put_in(w, (const char *[]){"a", "b", "c", "d"}[i], 1, 2, 0, 0);
    relora_reader *r = saved(w);
    env.lines[RELORA_LOG_INFO] = 0; /* from here on */
    FAILS(RELORA_E_NOT_FOUND, relora_reader_read_group(r, env.st, m.group, CONVERT, &report), "has 5",
          "\"a\"", ", ...");
    ck_assert_int_eq(report.left_over, 5);
    ck_assert_int_eq(env.lines[RELORA_LOG_INFO], 5);
    untouched(&m);
    FAILS(RELORA_E_NOT_FOUND,
          relora_reader_read_group(r, env.st, m.group, CONVERT | RELORA_READ_ALLOW_MISSING, NULL),
          "not in the group");
    OK(relora_reader_read_group(r, env.st, m.group, CONVERT | RELORA_READ_ALLOW_LEFT_OVER, &report));
    ck_assert_int_eq(report.read, PARTS);
    ck_assert_int_eq(report.left_over, 5);
}
END_TEST

START_TEST(test_both)
{
    struct model m = new_model();
    relora_read_report report = {.struct_size = sizeof report};
    relora_writer *w = new_file(NORM);
    put_in(w, "module.norm", 1, 4, 0, 0);
    relora_reader *r = saved(w);
    const uint32_t allow[] = {0, RELORA_READ_ALLOW_MISSING, RELORA_READ_ALLOW_LEFT_OVER};
    FAILS(RELORA_E_NOT_FOUND, relora_reader_read_group(r, env.st, m.group, CONVERT, &report), "\"norm\"",
          "\"module.norm\"", "lacks 1", "has 1");
    for (int i = 1; i < 3; i++)
        FAILS(RELORA_E_NOT_FOUND, relora_reader_read_group(r, env.st, m.group, CONVERT | allow[i], NULL),
              i == 1 ? "module.norm" : "lacks");
    untouched(&m);
    OK(relora_reader_read_group(r, env.st, m.group, CONVERT | allow[1] | allow[2], &report));
    ck_assert_int_eq(report.read, PARTS - 1);
    ck_assert_int_eq(report.missing + report.left_over, 2);
}
END_TEST

/* The last tensor does not fit: nothing is read. */
START_TEST(test_does_not_fit)
{
    struct model m = new_model();
    relora_writer *shape = new_file(PURE_B), *number = new_file(PURE_B);
    put_in(shape, "pure.lora_B.weight", 2, RANK, OUT, 0);
    put_in(number, "pure.lora_B.weight", 2, OUT, RANK, NAN);
    FAILS(RELORA_E_DTYPE, relora_reader_read_group(saved(new_file(-1)), env.st, m.group, 0, NULL),
          "low.weight", "BF16");
    FAILS(RELORA_E_SHAPE, relora_reader_read_group(saved(shape), env.st, m.group, CONVERT, NULL),
          "pure.lora_B.weight");
    FAILS(RELORA_E_NOT_FINITE,
          relora_reader_read_group(saved(number), env.st, m.group, CONVERT | RELORA_READ_FINITE, NULL),
          "pure.lora_B.weight");
    untouched(&m);
}
END_TEST

START_TEST(test_group_is_wrong)
{
    struct model m = new_model();
    relora_linear_options o = layer_options(RELORA_MODE_FULL, IN, OUT, 0);
    relora_reader *r = saved(new_file(-1));
    /* as the layer names its own */
    OK(relora_group_add_param(m.group, "low.bias", new_vector(RELORA_F32, OUT), NULL));
    FAILS(RELORA_E_EXISTS, relora_reader_read_group(r, env.st, m.group, CONVERT, NULL), "low.bias");
    struct model bare = new_model();
    o.layer = 9;
    OK(relora_group_add_linear(bare.group, "bare", new_linear(&o)));
    FAILS(RELORA_E_STATE, relora_reader_read_group(r, env.st, bare.group, CONVERT, NULL), "layer \"bare\"",
          "weight");
    untouched(&bare);
}
END_TEST

START_TEST(test_arguments)
{
    struct model m = new_model();
    struct other other = new_other();
    relora_group *far;
    relora_reader *r = saved(new_file(-1));
    relora_read_report bad = {.struct_size = 3};
    OK(relora_group_create(&far, other.dev));
    FAILS_SILENTLY(RELORA_E_ARGUMENT, relora_reader_read_group(NULL, NULL, NULL, 0, NULL));
    FAILS(RELORA_E_ARGUMENT, relora_reader_read_group(NULL, env.st, m.group, 0, NULL), "reader");
    FAILS(RELORA_E_ARGUMENT, relora_reader_read_group(NULL, NULL, m.group, 0, NULL), "reader");
    FAILS(RELORA_E_ARGUMENT, relora_reader_read_group(r, NULL, m.group, 0, NULL), "stream");
    FAILS(RELORA_E_ARGUMENT, relora_reader_read_group(r, env.st, NULL, 0, NULL), "group");
    FAILS(RELORA_E_CONTEXT, relora_reader_read_group(r, other.st, m.group, 0, NULL), "stream");
    FAILS(RELORA_E_CONTEXT, relora_reader_read_group(r, env.st, far, 0, NULL), "group");
    FAILS(RELORA_E_ARGUMENT, relora_reader_read_group(r, env.st, m.group, 16, NULL), "flags", "0x10", "0xf");
    FAILS(RELORA_E_STRUCT_SIZE, relora_reader_read_group(r, env.st, m.group, CONVERT, &bad), "report");
    FAILS(RELORA_E_ARGUMENT, relora_reader_read(r, env.st, "norm", m.norm, RELORA_READ_ALLOW_MISSING),
          "flags");
    untouched(&m);
    relora_group_release(far);
}
END_TEST

Suite *group_reads(void)
{
    Suite *s = suite_create("reading groups");
    TCase *tc = env_case(s, "reads", 20);
    tcase_add_test(tc, test_everything);
    tcase_add_test(tc, test_sketch);
    tcase_add_test(tc, test_export);
    tcase_add_loop_test(tc, test_missing, 0, PARTS);
    tcase_add_test(tc, test_left_over);
    tcase_add_test(tc, test_both);
    tcase_add_test(tc, test_does_not_fit);
    tcase_add_test(tc, test_group_is_wrong);
    tcase_add_test(tc, test_arguments);
    return s;
}
