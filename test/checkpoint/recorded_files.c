/* Files that the Python package wrote (make_files.py): every type, odd shapes, text beyond ASCII. */
#include <stdio.h>
#include "checkpoint/checkpoint.h"

static relora_reader *recorded(const char *name)
{
    char path[1024];
    snprintf(path, sizeof path, "%s/checkpoint/files/%s", RELORA_TEST_DATA, name);
    return open_path(path);
}

/* Element j of the array of that C type is `value`, a formula in j. */
#define HAS(r, name, dtype, type, value, ...)                                        \
    do {                                                                             \
        const int64_t shape_[] = {__VA_ARGS__};                                      \
        int32_t ndim_ = (int32_t)(sizeof shape_ / sizeof *shape_);                   \
        int64_t n_ = 1;                                                              \
        for (int32_t i_ = 0; i_ < ndim_; i_++) n_ *= shape_[i_];                     \
        type *want_ = scratch((size_t)n_ * sizeof(type));                            \
        for (int64_t j = 0; j < n_; j++) want_[j] = (type)(value);                   \
        has_tensor(r, name, dtype, ndim_, shape_, want_, (size_t)n_ * sizeof(type)); \
    } while (0)

START_TEST(test_types)
{
    relora_reader *r = recorded("types.safetensors");
    const uint16_t halves[] = {0xbc00, 0xb900, 0xb400, 0x3000, 0x3800, 0x3b00, 0x3d00}; /* -1 to 1.25 */
    const float complex[] = {-1, -4, -0.625f, -1, -0.25f, 2};
    ck_assert_int_eq(relora_reader_count(r), 13);
    HAS(r, "f64", "F64", double, 0.375 * (double)j - 1, 2, 3);
    HAS(r, "f32", "F32", float, 0.375 * (double)j - 1, 3, 5);
    has_tensor(r, "f16", "F16", 1, (int64_t[]){7}, halves, sizeof halves);
    HAS(r, "i64", "I64", int64_t, 3 * j - 4, 5);
    HAS(r, "i32", "I32", int32_t, 3 * j - 4, 2, 2, 2);
    HAS(r, "i16", "I16", int16_t, 3 * j - 4, 3);
    HAS(r, "i8", "I8", int8_t, 3 * j - 4, 9);
    HAS(r, "u64", "U64", uint64_t, 3 * j, 4);
    HAS(r, "u32", "U32", uint32_t, 3 * j, 4, 1);
    HAS(r, "u16", "U16", uint16_t, 3 * j, 3);
    HAS(r, "u8", "U8", uint8_t, 3 * j, 11);
    HAS(r, "bool", "BOOL", uint8_t, j % 3 == 0, 5);
    has_tensor(r, "c64", "C64", 1, (int64_t[]){3}, complex, sizeof complex);
    relora_tensor *t = new_matrix(RELORA_F32, 3, 5);
    OK(relora_reader_read(r, env.st, "f32", t, 0));
    for (int j = 0; j < 15; j++) ck_assert_double_eq(get(t)[j], 0.375 * j - 1);
}
END_TEST

START_TEST(test_shapes)
{
    relora_reader *r = recorded("shapes.safetensors");
    const float scalar = 2.5f;
    ck_assert_int_eq(relora_reader_count(r), 5);
    has_tensor(r, "scalar", "F32", 0, NULL, &scalar, 4);
    has_tensor(r, "empty", "F32", 1, (int64_t[]){0}, "", 0);
    has_tensor(r, "empty.matrix", "I64", 2, (int64_t[]){3, 0}, "", 0);
    HAS(r, "deep", "U8", uint8_t, 3 * j, 1, 2, 1, 3, 1, 2);
    HAS(r, "größe/日本", "F32", float, 0.375 * (double)j - 1, 2);
    ck_assert_int_eq(relora_reader_metadata_count(r), 3);
    ck_assert_str_eq(relora_reader_metadata(r, "format"), "np");
    ck_assert_str_eq(relora_reader_metadata(r, "größe"), "日本 \"quoted\" \n");
    ck_assert_str_eq(relora_reader_metadata(r, "empty"), "");
}
END_TEST

START_TEST(test_raw)
{
    relora_reader *r = recorded("raw.safetensors");
    ck_assert_int_eq(relora_reader_count(r), 7);
    HAS(r, "f8_e4m3", "F8_E4M3", uint8_t, 31 + 7 * j, 5);
    HAS(r, "f8_e5m2", "F8_E5M2", uint8_t, 62 + 7 * j, 5);
    HAS(r, "f8_e8m0", "F8_E8M0", uint8_t, 93 + 7 * j, 3);
    HAS(r, "f8_e4m3fnuz", "F8_E4M3FNUZ", uint8_t, 124 + 7 * j, 2);
    HAS(r, "f8_e5m2fnuz", "F8_E5M2FNUZ", uint8_t, 155 + 7 * j, 2);
    uint8_t four[6], sixteen[12];
    for (int k = 0; k < 6; k++) four[k] = (uint8_t)(186 + 7 * k);
    for (int k = 0; k < 12; k++) sixteen[k] = (uint8_t)(7 * k);
    has_tensor(r, "f4", "F4", 2, (int64_t[]){2, 6}, four, 6); /* two to a byte */
    has_tensor(r, "bf16", "BF16", 2, (int64_t[]){2, 3}, sixteen, 12);
    relora_tensor *t = new_matrix(RELORA_BF16, 2, 3);
    OK(relora_reader_read(r, env.st, "bf16", t, 0));
    UNCHANGED(t, sixteen);
}
END_TEST

/* What Python wrote can be written by us, and once more, and then it stays the same. */
START_TEST(test_saved_again)
{
    static const char *const names[] = {"types.safetensors", "shapes.safetensors", "raw.safetensors"};
    size_t size;
    relora_reader *r = recorded(names[_i]);
    OK(relora_writer_save(copy_of(r), env.st, at("one"), RELORA_SAVE_CHECKSUM));
    relora_reader *one = open_path(at("one"));
    OK(relora_reader_verify(one));
    ck_assert_int_eq(relora_reader_count(one), relora_reader_count(r));
    OK(relora_writer_save(copy_of(one), env.st, at("two"), RELORA_SAVE_CHECKSUM));
    void *bytes = slurp(at("one"), &size);
    holds(at("two"), bytes, size);
}
END_TEST

Suite *recorded_files(void)
{
    Suite *s = suite_create("files of the Python package");
    TCase *tc = env_case(s, "recorded", 10);
    tcase_add_test(tc, test_types);
    tcase_add_test(tc, test_shapes);
    tcase_add_test(tc, test_raw);
    tcase_add_loop_test(tc, test_saved_again, 0, 3);
    return s;
}
