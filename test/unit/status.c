/* src/status.c and src/version.c. Values are pinned: a binding may have them hard-coded. */
#include "unit/suites.h"
#include <stdio.h>

static const struct {
    relora_status status;
    int value;
    const char *name;
} statuses[] = {
    {RELORA_OK, 0, "RELORA_OK"},
    {RELORA_E_INTERNAL, -1, "RELORA_E_INTERNAL"},
    {RELORA_E_ARGUMENT, -10, "RELORA_E_ARGUMENT"},
    {RELORA_E_STRUCT_SIZE, -11, "RELORA_E_STRUCT_SIZE"},
    {RELORA_E_SHAPE, -12, "RELORA_E_SHAPE"},
    {RELORA_E_DTYPE, -13, "RELORA_E_DTYPE"},
    {RELORA_E_DEVICE, -14, "RELORA_E_DEVICE"},
    {RELORA_E_LAYOUT, -15, "RELORA_E_LAYOUT"},
    {RELORA_E_CONTEXT, -16, "RELORA_E_CONTEXT"},
    {RELORA_E_OVERFLOW, -17, "RELORA_E_OVERFLOW"},
    {RELORA_E_STATE, -20, "RELORA_E_STATE"},
    {RELORA_E_NOT_FOUND, -21, "RELORA_E_NOT_FOUND"},
    {RELORA_E_EXISTS, -22, "RELORA_E_EXISTS"},
    {RELORA_E_READ_ONLY, -23, "RELORA_E_READ_ONLY"},
    {RELORA_E_UNSUPPORTED, -24, "RELORA_E_UNSUPPORTED"},
    {RELORA_E_NO_MEMORY, -30, "RELORA_E_NO_MEMORY"},
    {RELORA_E_BACKEND, -40, "RELORA_E_BACKEND"},
    {RELORA_E_COMM, -41, "RELORA_E_COMM"},
    {RELORA_E_IO, -50, "RELORA_E_IO"},
    {RELORA_E_FORMAT, -51, "RELORA_E_FORMAT"},
    {RELORA_E_VERSION, -52, "RELORA_E_VERSION"},
    {RELORA_E_NOT_FINITE, -60, "RELORA_E_NOT_FINITE"},
};
enum { COUNT = sizeof statuses / sizeof *statuses };

START_TEST(test_names)
{
    ck_assert_int_eq(statuses[_i].status, statuses[_i].value);
    ck_assert_str_eq(relora_status_name(statuses[_i].status), statuses[_i].name);
    const char *text = relora_status_text(statuses[_i].status);
    ck_assert_uint_gt(strlen(text), 5);
    ck_assert_ptr_null(strchr(text, '\n'));
    for (int k = 0; k < _i; k++) ck_assert_str_ne(text, relora_status_text(statuses[k].status));
}
END_TEST

START_TEST(test_unknown)
{
    static const relora_status unknown[] = {1, -2, -25, -99, INT32_MAX, INT32_MIN};
    for (int i = 0; i < 6; i++) {
        ck_assert_str_eq(relora_status_name(unknown[i]), "RELORA_E_?");
        ck_assert_uint_gt(strlen(relora_status_text(unknown[i])), 5);
    }
}
END_TEST

#define TEXT2(x) #x
#define TEXT(x) TEXT2(x)
#if RELORA_ONEDNN
#define GEMM "gemm=onednn-"
#elif defined(RELORA_BLAS)
#define GEMM "gemm=" TEXT(RELORA_BLAS) ","
#else
#define GEMM "gemm=own,"
#endif

START_TEST(test_version)
{
    char text[32];
    uint32_t version = RELORA_VERSION_MAJOR << 16 | RELORA_VERSION_MINOR << 8 | RELORA_VERSION_PATCH;
    ck_assert_uint_eq(relora_version(), version);
    snprintf(text, sizeof text, "%d.%d.%d", RELORA_VERSION_MAJOR, RELORA_VERSION_MINOR, RELORA_VERSION_PATCH);
    ck_assert_str_eq(relora_version_string(), text);
    ck_assert_ptr_nonnull(strstr(relora_build_info(), GEMM));
    ck_assert_ptr_nonnull(strstr(relora_build_info(), ",threads="));
}
END_TEST

Suite *unit_status(void)
{
    Suite *s = suite_create("status and version");
    TCase *tc = tcase_create("status");
    tcase_add_loop_test(tc, test_names, 0, COUNT);
    tcase_add_test(tc, test_unknown);
    tcase_add_test(tc, test_version);
    suite_add_tcase(s, tc);
    return s;
}
