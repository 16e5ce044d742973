/* src/description.h: what a state says of an object, written by one release and read by another. */
#include <stdio.h>
#include <stdlib.h>
#include "unit/suites.h"
#include "description.h"

struct old {
    uint32_t struct_size;
    int32_t kind;
    double rate;
    uint32_t flags;
    int32_t steps;
    uint64_t seed;
};
struct now {
    struct old old;
    double later;
    int32_t shape;
};

static const char *const kinds[] = {NULL, "ROUND", "SQUARE", NULL};
static const char *const flags[] = {"RED", "GREEN", NULL};

static const struct option old_rows[] = {
    {FIELD(struct old, kind), OPTION_ENUM, .value = 1, .names = kinds, .as_number = 1},
    {FIELD(struct old, rate), OPTION_F64, .value = 0.5},
    {FIELD(struct old, flags), OPTION_FLAGS, .names = flags, .quiet = 2},
    {FIELD(struct old, steps), OPTION_I32, .quiet = QUIET},
    {FIELD(struct old, seed), OPTION_U64},
};
static const struct option now_rows[] = {
    {FIELD(struct now, old.kind), OPTION_ENUM, .value = 1, .names = kinds, .as_number = 1},
    {FIELD(struct now, later), OPTION_F64, .since = 5},
    {FIELD(struct now, shape), OPTION_ENUM, .value = 2, .names = kinds, .since = 5},
};
static const struct options old_table = {ROWS(old_rows), .size = sizeof(struct old)};
static const struct options now_table = {ROWS(now_rows), .size = sizeof(struct now), .heading = "now "};
static const struct options *const tables[] = {&old_table, NULL}, *const both[] = {&old_table, &now_table,
                                                                                   NULL};

static const struct old some = {sizeof some, 2, 1.0 / 3, 3, 77, UINT64_MAX};

static char *text_of(const struct options *table, const void *options)
{
    struct text text = {.memory = &memory_system};
    text_put(&text, "%s", "");
    description_put(&text, table, options);
    ck_assert(!text.failed);
    char *copy = scratch(text.used + 1);
    memcpy(copy, text.data, text.used + 1);
    text_free(&text);
    return copy;
}

/* Byte for byte what releases to 0.4 wrote; a newer field only where it is not at its default. */
START_TEST(test_written)
{
    struct now now = {.old = some, .later = 0, .shape = 2};
    now.old.kind = 1;
    ck_assert_str_eq(text_of(&old_table, &some),
                     "kind=2\nrate=0.33333333333333331\nflags=1\nseed=18446744073709551615\n");
    ck_assert_str_eq(text_of(&now_table, &now), "now old.kind=1\n");
    now.later = 0.25;
    now.shape = 1;
    ck_assert_str_eq(text_of(&now_table, &now), "now old.kind=1\nnow later=0.25\nnow shape=ROUND\n");
}
END_TEST

static const struct {
    const char *theirs, *why; /* NULL: they agree */
} old_cases[] = {
    {"kind=2\nrate=0.33333333333333331\nflags=1\nseed=18446744073709551615\n", NULL},
    {"seed=18446744073709551615\nflags=1\nrate=0.33333333333333331\nkind=2", NULL},
    {"kind=SQUARE\nrate=0.33333333333333331\nflags=1\nseed=18446744073709551615\n", NULL},
    {"kind=2\nrate=0.33333333333333331\nflags=1\nseed=18446744073709551615\nlater=0\n", NULL},
    {"kind=1\nrate=0.33333333333333331\nflags=1\nseed=18446744073709551615\n",
     "kind=SQUARE here, but kind=ROUND in the file"},
    {"kind=7\nrate=0.33333333333333331\nflags=1\nseed=18446744073709551615\n",
     "kind=SQUARE here, but kind=7 in the file"},
    {"kind=2\nrate=0.33333333333333331\nflags=5\nseed=18446744073709551615\n",
     "flags=RED here, but flags=RED|0x4 in the file"},
    {"kind=2\nflags=1\nseed=18446744073709551615\n",
     "rate=0.33333333333333331 here, but rate=0.5 in the file, which leaves it at its default"},
    {"kind=2\nrate=0.33333333333333331\nflags=1\nseed=0\n",
     "seed=18446744073709551615 here, but seed=0 in the file"},
    {"kind=2\nrate=0.33333333333333331\nflags=1\nseed=18446744073709551615\nlater=2\n",
     "the file has later=2, which this release does not know"},
    {"kind=2\nrate=0.33333333333333331\nflags=1\nseed=18446744073709551615\nsteps=77\n",
     "the file has steps=77, which this release does not know"},
    {"kind=2\nrate=0.33333333333333331\nrate=0.33333333333333331\nflags=1\nseed=18446744073709551615\n",
     "rate is in the file twice"},
    {"kind=2\nrate=0.33333333333333331\nflags=1\nseed=18446744073709551615\nwhat", "the file has what="},
    {"kind=2\nrate=0.33333333333333331\nflags=1\nseed=18446744073709551615\n\n", "the file has ="},
    {"=2\n=", "kind=SQUARE here, but kind=ROUND in the file, which leaves it at its default"},
    {"kind2\n", "kind=SQUARE here, but kind=ROUND"},
    {"", "kind=SQUARE here, but kind=ROUND in the file, which leaves it at its default"},
};
enum { OLD_CASES = sizeof old_cases / sizeof *old_cases };

static relora_status compare(const struct options *const *of, const char *ours, const char *theirs,
                             const char *why)
{
    struct text said = {.memory = &memory_system};
    const char *at = theirs;
    relora_status status = description_compare(of, ours, &at, NULL, &said);
    ck_assert_msg(!why == !said.data && (!why || strstr(said.data, why)), "%s",
                  said.data ? said.data : "nothing");
    if (status >= 0) ck_assert_int_eq(*at, '\0');
    text_free(&said);
    return status;
}

START_TEST(test_compared)
{
    const char *why = old_cases[_i].why;
    relora_status status = compare(tables, text_of(&old_table, &some), old_cases[_i].theirs, why);
    ck_assert_int_eq(status, why ? RELORA_E_STATE : RELORA_OK);
}
END_TEST

/* A file of an older release says nothing of a newer field; one of a newer release only where it is used. */
START_TEST(test_between_releases)
{
    struct now now = {.old = some, .later = 0, .shape = 2};
    char old_text[400], now_text[400];
    snprintf(old_text, sizeof old_text, "%snow old.kind=2\n", text_of(&old_table, &some));
    ck_assert_int_eq(compare(both, old_text, old_text, NULL), RELORA_OK);
    now.shape = 1;
    snprintf(now_text, sizeof now_text, "%s%s", text_of(&old_table, &some), text_of(&now_table, &now));
    ck_assert_int_eq(compare(both, now_text, now_text, NULL), RELORA_OK);
    ck_assert_int_eq(
        compare(both, now_text, old_text, "now shape=ROUND here, but now shape=SQUARE in the file, which"),
        RELORA_E_STATE);
    ck_assert_int_eq(
        compare(both, old_text, now_text, "now shape=SQUARE here, but now shape=ROUND in the file"),
        RELORA_E_STATE);
    ck_assert_int_eq(
        compare(tables, text_of(&old_table, &some), now_text, "now old.kind=2, which this release"),
        RELORA_E_STATE);
}
END_TEST

/* A part ends at the line that begins the next one, and is not looked for behind it. */
START_TEST(test_parts)
{
    struct text said = {.memory = &memory_system};
    const char *ours = text_of(&old_table, &some),
               *theirs = "kind=2\nflags=1\nseed=18446744073709551615\npart 1\n"
                         "rate=0.33333333333333331\n",
               *at = theirs;
    ck_assert_int_eq(description_compare(tables, ours, &at, "part ", &said), RELORA_E_STATE);
    ck_assert_ptr_nonnull(strstr(said.data, "rate"));
    text_free(&said);
    char good[200];
    snprintf(good, sizeof good, "%spart 1\nwhatever=2\n", ours);
    at = good;
    OK(description_compare(tables, ours, &at, "part ", &said));
    ck_assert_str_eq(at, "part 1\nwhatever=2\n");
}
END_TEST

/* Lines that a file repeats without end cost no more than their length. */
START_TEST(test_long)
{
    enum { LINES = 200000 };
    char *theirs = malloc(4 * LINES + 200);
    int n = snprintf(theirs, 200, "%s", text_of(&old_table, &some));
    for (int i = 0; i < LINES; i++) memcpy(theirs + n + 4 * i, "x=0\n", 5);
    ck_assert_int_eq(compare(tables, text_of(&old_table, &some), theirs, NULL), RELORA_OK);
    free(theirs);
}
END_TEST

Suite *unit_description(void)
{
    Suite *s = suite_create("description");
    TCase *tc = env_case(s, "description", 10);
    tcase_add_test(tc, test_written);
    tcase_add_loop_test(tc, test_compared, 0, OLD_CASES);
    tcase_add_test(tc, test_between_releases);
    tcase_add_test(tc, test_parts);
    tcase_add_test(tc, test_long);
    return s;
}
