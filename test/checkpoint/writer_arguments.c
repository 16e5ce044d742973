/* The writer with each argument wrong in turn: the status, the sentence, nothing changed (the file that
 * is saved afterwards is the one saved before), nothing leaked. */
#include "checkpoint/checkpoint.h"

/* Not UTF-8: a lone byte, a continuation alone, overlong, a surrogate, past U+10FFFF, cut short. */
static const char *const not_utf8[] = {"\xff",     "a\x80", "\xc0\xaf", "\xed\xa0\x80", "\xf4\x90\x80\x80",
                                       "\xe2\x82", "b\xe2"};
enum { NOT_UTF8 = sizeof not_utf8 / sizeof *not_utf8 };

static relora_writer *one_tensor(void)
{
    relora_writer *w = new_writer();
    add_pattern(w, "here", "F32", 2, (int64_t[]){2, 3}, 24, 1);
    OK(relora_writer_set_metadata(w, "key", "value"));
    return w;
}

/* Fail unless `w` still makes the file that one_tensor() makes. */
static void unchanged_writer(relora_writer *w)
{
    size_t size;
    OK(relora_writer_save(one_tensor(), env.st, at("before"), 0));
    OK(relora_writer_save(w, env.st, at("after"), 0));
    void *bytes = slurp(at("before"), &size);
    holds(at("after"), bytes, size);
}

START_TEST(test_create)
{
    relora_writer *w = POISON;
    FAILS(RELORA_E_ARGUMENT, relora_writer_create(NULL, env.ctx), "out");
    FAILS_SILENTLY(RELORA_E_ARGUMENT, relora_writer_create(&w, NULL));
    ck_assert_ptr_null(w);
    FAILS_SILENTLY(RELORA_E_ARGUMENT, relora_writer_create(NULL, NULL));
    relora_writer_release(NULL);
}
END_TEST

START_TEST(test_add)
{
    relora_writer *w = one_tensor();
    relora_tensor *t = new_matrix(RELORA_F32, 2, 3);
    FAILS(RELORA_E_ARGUMENT, relora_writer_add(NULL, "x", t), "writer");
    FAILS_SILENTLY(RELORA_E_ARGUMENT, relora_writer_add(NULL, "x", NULL));
    FAILS(RELORA_E_ARGUMENT, relora_writer_add(w, NULL, t), "name");
    FAILS(RELORA_E_ARGUMENT, relora_writer_add(w, "", t), "name");
    FAILS(RELORA_E_ARGUMENT, relora_writer_add(w, "__metadata__", t), "name", "__metadata__");
    FAILS(RELORA_E_EXISTS, relora_writer_add(w, "here", t), "here");
    FAILS(RELORA_E_ARGUMENT, relora_writer_add(w, "x", NULL), "tensor");
    FAILS(RELORA_E_CONTEXT, relora_writer_add(w, "x", new_other().matrix), "tensor");
    for (int i = 0; i < NOT_UTF8; i++)
        FAILS(RELORA_E_ARGUMENT, relora_writer_add(w, not_utf8[i], t), "name", "UTF-8");
    unchanged_writer(w);
}
END_TEST

START_TEST(test_add_bytes_names)
{
    relora_writer *w = one_tensor();
    const int64_t two = 2;
    const float data[2] = {1, 2};
    FAILS_SILENTLY(RELORA_E_ARGUMENT, relora_writer_add_bytes(NULL, "x", "F32", 1, &two, data, 8));
    FAILS(RELORA_E_ARGUMENT, relora_writer_add_bytes(w, NULL, "F32", 1, &two, data, 8), "name");
    FAILS(RELORA_E_ARGUMENT, relora_writer_add_bytes(w, "", "F32", 1, &two, data, 8), "name");
    FAILS(RELORA_E_EXISTS, relora_writer_add_bytes(w, "here", "F32", 1, &two, data, 8), "here");
    FAILS(RELORA_E_ARGUMENT, relora_writer_add_bytes(w, "__metadata__", "F32", 1, &two, data, 8), "name");
    for (int i = 0; i < NOT_UTF8; i++)
        FAILS(RELORA_E_ARGUMENT, relora_writer_add_bytes(w, not_utf8[i], "F32", 1, &two, data, 8), "name",
              "UTF-8");
    unchanged_writer(w);
}
END_TEST

START_TEST(test_add_bytes_dtype)
{
    relora_writer *w = one_tensor();
    const int64_t two = 2;
    const float data[2] = {1, 2};
    const char *const unknown[] = {"", "f32", "F32 ", "F", "F3", "F322", "FLOAT", "F128", "\xff"};
    FAILS(RELORA_E_ARGUMENT, relora_writer_add_bytes(w, "x", NULL, 1, &two, data, 8), "dtype");
    for (size_t i = 0; i < sizeof unknown / sizeof *unknown; i++)
        FAILS(RELORA_E_ARGUMENT, relora_writer_add_bytes(w, "x", unknown[i], 1, &two, data, 8), "dtype",
              unknown[i]);
    unchanged_writer(w);
}
END_TEST

START_TEST(test_add_bytes_shape)
{
    relora_writer *w = one_tensor();
    const int64_t two[] = {2}, negative[] = {4, -37};
    const float data[2] = {1, 2};
    FAILS(RELORA_E_ARGUMENT, relora_writer_add_bytes(w, "x", "F32", -1, two, data, 8), "ndim", "-1");
    FAILS(RELORA_E_ARGUMENT, relora_writer_add_bytes(w, "x", "F32", INT32_MIN, two, data, 8), "ndim");
    FAILS(RELORA_E_ARGUMENT, relora_writer_add_bytes(w, "x", "F32", 1, NULL, data, 8), "shape");
    FAILS(RELORA_E_ARGUMENT, relora_writer_add_bytes(w, "x", "F32", 2, negative, data, 8), "shape[1]", "-37");
    FAILS(RELORA_E_ARGUMENT, relora_writer_add_bytes(w, "x", "F32", 1, two, NULL, 8), "data");
    const size_t wrong[] = {0, 1, 4, 7, 9, 16, SIZE_MAX};
    for (int i = 0; i < 7; i++)
        FAILS(RELORA_E_SHAPE, relora_writer_add_bytes(w, "x", "F32", 1, two, data, wrong[i]), "bytes", "8");
    FAILS(RELORA_E_SHAPE, relora_writer_add_bytes(w, "x", "F32", 0, NULL, data, 8), "bytes", "4");
    unchanged_writer(w);
}
END_TEST

START_TEST(test_add_bytes_overflow)
{
    relora_writer *w = one_tensor();
    const float data[2] = {1, 2};
    /* The last three wrap round 64 bits to the 8 or 0 bytes that are claimed. */
    const int64_t shapes[][4] = {{INT64_MAX, 1, 1, 1},         {INT64_MAX, INT64_MAX, 1, 1},
                                 {1LL << 58, 1, 1, 1},         {(1LL << 61) + 2, 1, 1, 1},
                                 {1LL << 32, 1LL << 32, 1, 2}, {1LL << 32, 1LL << 32, 1LL << 32, 1LL << 32}};
    for (int i = 0; i < 6; i++) {
        FAILS(RELORA_E_OVERFLOW, relora_writer_add_bytes(w, "x", "F32", 4, shapes[i], data, 8), "shape");
        FAILS(RELORA_E_OVERFLOW, relora_writer_add_bytes(w, "x", "F32", 4, shapes[i], data, 0), "shape");
    }
    const int64_t odd = 3; /* 12 bits; 18 bits */
    FAILS(RELORA_E_OVERFLOW, relora_writer_add_bytes(w, "x", "F4", 1, &odd, data, 1), "shape");
    FAILS(RELORA_E_OVERFLOW, relora_writer_add_bytes(w, "x", "F6_E2M3", 1, &odd, data, 2), "shape");
    unchanged_writer(w);
}
END_TEST

START_TEST(test_metadata)
{
    relora_writer *w = one_tensor();
    FAILS_SILENTLY(RELORA_E_ARGUMENT, relora_writer_set_metadata(NULL, "k", "v"));
    FAILS(RELORA_E_ARGUMENT, relora_writer_set_metadata(w, NULL, "v"), "key");
    FAILS(RELORA_E_ARGUMENT, relora_writer_set_metadata(w, "k", NULL), "value");
    FAILS(RELORA_E_ARGUMENT, relora_writer_set_metadata(w, "relora.xxh3", "00"), "key", "relora.xxh3");
    for (int i = 0; i < NOT_UTF8; i++) {
        FAILS(RELORA_E_ARGUMENT, relora_writer_set_metadata(w, not_utf8[i], "v"), "key", "UTF-8");
        FAILS(RELORA_E_ARGUMENT, relora_writer_set_metadata(w, "key", not_utf8[i]), "value", "UTF-8");
    }
    unchanged_writer(w);
}
END_TEST

START_TEST(test_save)
{
    relora_writer *w = one_tensor();
    const char *path = at("file");
    FAILS(RELORA_E_ARGUMENT, relora_writer_save(NULL, env.st, path, 0), "writer");
    FAILS_SILENTLY(RELORA_E_ARGUMENT, relora_writer_save(NULL, NULL, path, 0));
    FAILS(RELORA_E_ARGUMENT, relora_writer_save(w, NULL, path, 0), "stream");
    FAILS(RELORA_E_CONTEXT, relora_writer_save(w, new_other().st, path, 0), "stream");
    FAILS(RELORA_E_ARGUMENT, relora_writer_save(w, env.st, NULL, 0), "path");
    FAILS(RELORA_E_ARGUMENT, relora_writer_save(w, env.st, "", 0), "path");
    FAILS(RELORA_E_ARGUMENT, relora_writer_save(w, env.st, path, 2), "flags", "2");
    FAILS(RELORA_E_ARGUMENT, relora_writer_save(w, env.st, path, 1u << 31 | 1), "flags");
    ck_assert_int_eq(files(), 0);
    unchanged_writer(w);
}
END_TEST

Suite *writer_arguments(void)
{
    Suite *s = suite_create("arguments of the writer");
    TCase *tc = env_case(s, "writer", 20);
    tcase_add_test(tc, test_create);
    tcase_add_test(tc, test_add);
    tcase_add_test(tc, test_add_bytes_names);
    tcase_add_test(tc, test_add_bytes_dtype);
    tcase_add_test(tc, test_add_bytes_shape);
    tcase_add_test(tc, test_add_bytes_overflow);
    tcase_add_test(tc, test_metadata);
    tcase_add_test(tc, test_save);
    return s;
}
