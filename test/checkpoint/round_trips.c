/* What the writer wrote, the reader gives back: every type of the format, every kind of shape and name;
 * where in the file it lies; and saving what was read makes the same file. */
#include <stdio.h>
#include "checkpoint/checkpoint.h"

static const struct {
    const char *name;
    int bits;
} types[] = {
    {"BOOL", 8},    {"F4", 4},      {"F6_E2M3", 6}, {"F6_E3M2", 6},     {"U8", 8},          {"I8", 8},
    {"F8_E5M2", 8}, {"F8_E4M3", 8}, {"F8_E8M0", 8}, {"F8_E4M3FNUZ", 8}, {"F8_E5M2FNUZ", 8}, {"I16", 16},
    {"U16", 16},    {"F16", 16},    {"BF16", 16},   {"I32", 32},        {"U32", 32},        {"F32", 32},
    {"C64", 64},    {"F64", 64},    {"I64", 64},    {"U64", 64},
};
enum { TYPES = sizeof types / sizeof *types };

static int bits_of(const char *dtype)
{
    for (int i = 0; i < TYPES; i++)
        if (!strcmp(types[i].name, dtype)) return types[i].bits;
    ck_abort_msg("no type %s", dtype);
    return 0;
}

/* Fail unless saving what `path` holds makes the same bytes, with checksums or without. */
static void saves_again(const char *path, uint32_t flags)
{
    size_t size;
    void *bytes = slurp(path, &size);
    OK(relora_writer_save(copy_of(open_path(path)), env.st, at("again"), flags));
    holds(at("again"), bytes, size);
}

/* A tensor of 8 elements of each type, by itself. */
START_TEST(test_type)
{
    relora_writer *w = new_writer();
    const int64_t shape[] = {4, 2};
    size_t bytes = (size_t)types[_i].bits;
    add_pattern(w, "t", types[_i].name, 2, shape, bytes, _i);
    OK(relora_writer_save(w, env.st, at("file"), 0));
    relora_reader *r = open_path(at("file"));
    ck_assert_int_eq(relora_reader_count(r), 1);
    has_tensor(r, "t", types[_i].name, 2, shape, pattern(bytes, _i), bytes);
    saves_again(at("file"), 0);
}
END_TEST

static void type_name(char name[16], int i)
{
    snprintf(name, 16, "t%02d", (i * 7) % TYPES); /* names in another order than the types */
}

/* All types in one file: each in place, the widest first, then by name, so that all are aligned. */
START_TEST(test_all_types_and_their_order)
{
    relora_writer *w = new_writer();
    const int64_t eight = 8;
    char name[16];
    for (int i = 0; i < TYPES; i++) {
        type_name(name, i);
        add_pattern(w, name, types[i].name, 1, &eight, (size_t)types[i].bits, i);
    }
    add_pattern(w, "z", "F32", 0, NULL, 4, 99); /* after the other F32, before the 16 bits */
    add_pattern(w, "a", "F32", 0, NULL, 4, 98);
    OK(relora_writer_save(w, env.st, at("file"), RELORA_SAVE_CHECKSUM));
    relora_reader *r = open_path(at("file"));
    ck_assert_int_eq(relora_reader_count(r), TYPES + 2);
    OK(relora_reader_verify(r));
    const char *before = "", *before_type = "";
    int width = 64;
    size_t place = 0;
    const void *first = NULL;
    for (int i = 0; i < relora_reader_count(r); i++) {
        const void *data;
        size_t bytes;
        const char *type = relora_reader_dtype(r, relora_reader_name(r, i));
        OK(relora_reader_bytes(r, relora_reader_name(r, i), &data, &bytes));
        if (!first) first = data;
        ck_assert_int_le(bits_of(type), width);
        if (!strcmp(type, before_type)) ck_assert_str_gt(relora_reader_name(r, i), before);
        ck_assert_uint_eq((size_t)((const char *)data - (const char *)first), place);
        if (bits_of(type) >= 8) ck_assert_uint_eq((uintptr_t)data % (unsigned)(bits_of(type) / 8), 0);
        before = relora_reader_name(r, i);
        before_type = type;
        width = bits_of(type);
        place += bytes;
    }
    for (int i = 0; i < TYPES; i++) {
        type_name(name, i);
        has_tensor(r, name, types[i].name, 1, &eight, pattern((size_t)types[i].bits, i),
                   (size_t)types[i].bits);
    }
    saves_again(at("file"), RELORA_SAVE_CHECKSUM);
}
END_TEST

/* The order of adding does not matter: names decide. */
START_TEST(test_order_of_adding)
{
    size_t size;
    for (int k = 0; k < 2; k++) {
        relora_writer *w = new_writer();
        for (int i = 0; i < 100; i++) {
            char name[16];
            int n = k ? 99 - i : (i * 37) % 100;
            snprintf(name, sizeof name, "%d", n);
            add_pattern(w, name, n % 3 ? "U8" : "I16", 1, (int64_t[]){4}, n % 3 ? 4 : 8, n);
        }
        OK(relora_writer_save(w, env.st, at(k ? "one" : "two"), RELORA_SAVE_CHECKSUM));
    }
    void *bytes = slurp(at("one"), &size);
    holds(at("two"), bytes, size);
    relora_reader *r = open_path(at("one"));
    ck_assert_int_eq(relora_reader_count(r), 100); /* every one is found by name */
    has_tensor(r, "42", "I16", 1, (int64_t[]){4}, pattern(8, 42), 8);
    has_tensor(r, "41", "U8", 1, (int64_t[]){4}, pattern(4, 41), 4);
}
END_TEST

/* The data begin at a multiple of 8, and the header is followed by spaces only. */
START_TEST(test_alignment_of_the_data)
{
    size_t data;
    char name[64] = "";
    for (int i = 1; i < 20; i++) {
        relora_writer *w = new_writer();
        name[i - 1] = 'n';
        add_pattern(w, name, "U8", 1, (int64_t[]){3}, 3, i);
        OK(relora_writer_save(w, env.st, at("file"), 0));
        size_t size;
        void *bytes = slurp(at("file"), &size);
        char *header = raw_header(raw_copy(bytes, size), &data);
        ck_assert_uint_eq(data % 8, 0);
        ck_assert_uint_eq(size, data + 3);
        ck_assert_int_eq(header[0], '{');
        ck_assert_uint_eq(strspn(strrchr(header, '}') + 1, " "), strlen(strrchr(header, '}') + 1));
        ck_assert_uint_lt(strlen(strrchr(header, '}') + 1), 8);
    }
}
END_TEST

START_TEST(test_shapes)
{
    static const struct {
        const char *name, *dtype;
        int32_t ndim;
        int64_t shape[12];
        size_t bytes;
    } shapes[] = {
        {"scalar", "F32", 0, {0}, 4},
        {"scalar64", "I64", 0, {0}, 8},
        {"one", "F32", 1, {1}, 4},
        {"empty", "F32", 1, {0}, 0},
        {"empty too", "BF16", 3, {5, 0, 7}, 0},
        {"empty and huge", "U8", 2, {INT64_MAX / 16, 0}, 0},
        {"empty four bits", "F4", 1, {0}, 0},
        {"many", "U8", 12, {1, 2, 1, 2, 1, 2, 1, 2, 1, 2, 1, 2}, 64},
        {"ones", "F64", 12, {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1}, 8},
        {"four bits", "F4", 2, {3, 2}, 3},
        {"six bits", "F6_E3M2", 1, {4}, 3},
        {"large", "U16", 2, {300, 1000}, 600000},
    };
    enum { SHAPES = sizeof shapes / sizeof *shapes };
    relora_writer *w = new_writer();
    for (int i = 0; i < SHAPES; i++)
        add_pattern(w, shapes[i].name, shapes[i].dtype, shapes[i].ndim, shapes[i].shape, shapes[i].bytes, i);
    OK(relora_writer_save(w, env.st, at("file"), RELORA_SAVE_CHECKSUM));
    relora_reader *r = open_path(at("file"));
    OK(relora_reader_verify(r));
    for (int i = 0; i < SHAPES; i++)
        has_tensor(r, shapes[i].name, shapes[i].dtype, shapes[i].ndim, shapes[i].shape,
                   pattern(shapes[i].bytes, i), shapes[i].bytes);
    saves_again(at("file"), RELORA_SAVE_CHECKSUM);
}
END_TEST

/* NULL data is allowed where there is nothing, and an empty writer makes an empty file. */
START_TEST(test_nothing)
{
    relora_writer *w = new_writer();
    OK(relora_writer_save(w, env.st, at("file"), 0));
    holds(at("file"), "\10\0\0\0\0\0\0\0{}      ", 16);
    ck_assert_int_eq(relora_reader_count(open_path(at("file"))), 0);
    OK(relora_writer_save(w, env.st, at("sums"), RELORA_SAVE_CHECKSUM));
    OK(relora_reader_verify(open_path(at("sums"))));
    OK(relora_writer_add_bytes(w, "none", "F32", 2, (int64_t[]){3, 0}, NULL, 0));
    OK(relora_writer_save(w, env.st, at("file"), 0));
    has_tensor(open_path(at("file")), "none", "F32", 2, (int64_t[]){3, 0}, "", 0);
}
END_TEST

static const char *const texts[] = {
    "plain",        "with space",   "\"quoted\"",
    "back\\slash",  "a/b",          "line\nbreak",
    "tab\t",        "\x01\x1f\x7f", "ä",
    "日本語",       "\U0001F600",   "\u2028",
    "\xef\xbf\xbf", "e\u0301",      "{}",
    "__metadata",   "relora.xxh",   "model.layers.0.self_attn.q_proj.weight",
};
enum { TEXTS = sizeof texts / sizeof *texts };

START_TEST(test_names_and_metadata)
{
    relora_writer *w = new_writer();
    const int64_t two = 2;
    for (int i = 0; i < TEXTS; i++) {
        add_pattern(w, texts[i], "I16", 1, &two, 4, i);
        OK(relora_writer_set_metadata(w, texts[i], texts[(i + 5) % TEXTS]));
    }
    OK(relora_writer_set_metadata(w, "", "key of nothing"));
    OK(relora_writer_set_metadata(w, "nothing", ""));
    OK(relora_writer_save(w, env.st, at("file"), 0));
    relora_reader *r = open_path(at("file"));
    ck_assert_int_eq(relora_reader_count(r), TEXTS);
    ck_assert_int_eq(relora_reader_metadata_count(r), TEXTS + 2);
    for (int i = 0; i < TEXTS; i++) {
        has_tensor(r, texts[i], "I16", 1, &two, pattern(4, i), 4);
        ck_assert_str_eq(relora_reader_metadata(r, texts[i]), texts[(i + 5) % TEXTS]);
        ck_assert_str_eq(relora_reader_metadata_key(r, i), texts[i]);
    }
    ck_assert_str_eq(relora_reader_metadata(r, ""), "key of nothing");
    ck_assert_str_eq(relora_reader_metadata(r, "nothing"), "");
    saves_again(at("file"), 0);
}
END_TEST

/* A later value replaces an earlier one, where it stands; strings are copied when they are given. */
START_TEST(test_metadata_replaced)
{
    relora_writer *w = new_writer();
    char key[] = "key", value[] = "first";
    OK(relora_writer_set_metadata(w, key, value));
    OK(relora_writer_set_metadata(w, "other", "o"));
    strcpy(key, "XXX");
    strcpy(value, "XXXXX");
    OK(relora_writer_set_metadata(w, "key", "second, and longer"));
    OK(relora_writer_set_metadata(w, "key", "third"));
    OK(relora_writer_save(w, env.st, at("file"), 0));
    relora_reader *r = open_path(at("file"));
    ck_assert_int_eq(relora_reader_metadata_count(r), 2);
    ck_assert_str_eq(relora_reader_metadata_key(r, 0), "key");
    ck_assert_str_eq(relora_reader_metadata(r, "key"), "third");
    ck_assert_str_eq(relora_reader_metadata(r, "other"), "o");
}
END_TEST

/* Names, types and shapes are copied; more pairs than the first array of pairs holds. */
START_TEST(test_copied)
{
    relora_writer *w = new_writer();
    char name[] = "name", type[] = "F32";
    int64_t shape[] = {2, 3};
    OK(relora_writer_add_bytes(w, name, type, 2, shape, pattern(24, 1), 24));
    name[0] = type[0] = 'X';
    shape[0] = shape[1] = 99;
    for (int i = 0; i < 200; i++) {
        char key[16];
        snprintf(key, sizeof key, "key %d", i);
        OK(relora_writer_set_metadata(w, key, key));
    }
    OK(relora_writer_save(w, env.st, at("file"), 0));
    relora_reader *r = open_path(at("file"));
    has_tensor(r, "name", "F32", 2, (int64_t[]){2, 3}, pattern(24, 1), 24);
    ck_assert_int_eq(relora_reader_metadata_count(r), 200);
    ck_assert_str_eq(relora_reader_metadata(r, "key 137"), "key 137");
}
END_TEST

/* A writer can be saved again, and its values are those of that moment. */
START_TEST(test_saved_twice)
{
    relora_writer *w = new_writer();
    relora_tensor *t = new_vector(RELORA_F32, 2);
    float v[2];
    OK(relora_writer_add(w, "t", t));
    for (int i = 1; i < 3; i++) {
        put_all(t, i);
        OK(relora_writer_save(w, env.st, at("file"), RELORA_SAVE_CHECKSUM));
        v[0] = v[1] = (float)i;
        relora_reader *r = open_path(at("file"));
        OK(relora_reader_verify(r));
        has_tensor(r, "t", "F32", 1, (int64_t[]){2}, v, 8);
    }
}
END_TEST

Suite *round_trips(void)
{
    Suite *s = suite_create("round trips");
    TCase *tc = env_case(s, "round trips", 20);
    tcase_add_loop_test(tc, test_type, 0, TYPES);
    tcase_add_test(tc, test_all_types_and_their_order);
    tcase_add_test(tc, test_order_of_adding);
    tcase_add_test(tc, test_alignment_of_the_data);
    tcase_add_test(tc, test_shapes);
    tcase_add_test(tc, test_nothing);
    tcase_add_test(tc, test_names_and_metadata);
    tcase_add_test(tc, test_metadata_replaced);
    tcase_add_test(tc, test_copied);
    tcase_add_test(tc, test_saved_twice);
    return s;
}
