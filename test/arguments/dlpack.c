/* dlpack.h with wrong arguments; test/unit/dlpack.c has structs of every wrong kind. */
#include "arguments/arguments.h"
#include "dlpack.h"
#include "relora/dlpack.h"

START_TEST(test_from_dlpack)
{
    struct DLManagedTensorVersioned managed = {.major = 2};
    relora_tensor *t = POISON;
    FAILS(RELORA_E_ARGUMENT, relora_tensor_from_dlpack(NULL, env.ctx, &managed), "out");
    FAILS_SILENTLY(RELORA_E_ARGUMENT, relora_tensor_from_dlpack(NULL, NULL, &managed));
    FAILS_SILENTLY(RELORA_E_ARGUMENT, relora_tensor_from_dlpack(&t, NULL, &managed));
    ck_assert_ptr_null(t);
    t = POISON;
    FAILS(RELORA_E_ARGUMENT, relora_tensor_from_dlpack(&t, env.ctx, NULL), "managed");
    ck_assert_ptr_null(t);
    t = POISON;
    FAILS(RELORA_E_VERSION, relora_tensor_from_dlpack(&t, env.ctx, &managed), "managed", "2");
    ck_assert_ptr_null(t);
}
END_TEST

START_TEST(test_to_dlpack)
{
    struct stranger s = new_stranger();
    relora_tensor *t = new_vector(RELORA_F32, 3);
    struct DLManagedTensorVersioned *m = POISON;
    FAILS(RELORA_E_ARGUMENT, relora_tensor_to_dlpack(NULL, t, env.st, NULL), "out");
    FAILS_SILENTLY(RELORA_E_ARGUMENT, relora_tensor_to_dlpack(&m, NULL, NULL, NULL));
    ck_assert_ptr_null(m);
    m = POISON;
    FAILS(RELORA_E_ARGUMENT, relora_tensor_to_dlpack(&m, NULL, env.st, NULL), "tensor");
    ck_assert_ptr_null(m);
    m = POISON;
    ck_assert_int_eq(relora_tensor_to_dlpack(&m, t, s.st, NULL), RELORA_E_CONTEXT);
    ck_assert_ptr_null(m);
}
END_TEST

Suite *dlpack_arguments(void)
{
    Suite *s = suite_create("arguments of dlpack");
    TCase *tc = env_case(s, "dlpack", 20);
    tcase_add_test(tc, test_from_dlpack);
    tcase_add_test(tc, test_to_dlpack);
    return s;
}
