/* Several threads ask a context for CUDA at once: one of them loads the module, one of them opens the device, and
 * all get the same. */
#include "support/modules.h"
#include "threads/suites.h"
#include "threads/work.h"

enum { ASKERS = 8, ROUNDS = 30 };

struct asker {
    relora_context *ctx;
    int32_t count;
    relora_device *device;
    relora_status failed;
};

static void *ask(void *user)
{
    struct asker *a = user;
    relora_stream *st;
    a->count = relora_device_count(a->ctx, RELORA_DEVICE_CUDA);
    a->device = relora_device_get(a->ctx, RELORA_DEVICE_CUDA, 1);
    a->failed = relora_stream_create(&st, a->device);
    if (a->failed == RELORA_OK) relora_stream_release(st);
    return NULL;
}

START_TEST(test_once)
{
    for (int round = 0; round < ROUNDS; round++) {
        struct asker askers[ASKERS] = {0};
        struct fake *fake = fake_module();
        env_open_module(MODULE("fake"));
        env.lines[RELORA_LOG_INFO] = 0; /* what the CPU multiplies with */
        for (int i = 0; i < ASKERS; i++) askers[i].ctx = env.ctx;
        together(ask, askers, sizeof *askers, ASKERS);
        for (int i = 0; i < ASKERS; i++) {
            ck_assert_int_eq(askers[i].count, FAKE_DEVICES);
            ck_assert_ptr_eq(askers[i].device, askers[0].device);
            ck_assert_int_eq(askers[i].failed, RELORA_OK);
        }
        ck_assert_int_eq(fake->asked, 1);
        ck_assert_int_eq(fake->opened, 1 + ASKERS);
        ck_assert_int_eq(env.lines[RELORA_LOG_INFO], 1);
        env_close();
        ck_assert_int_eq(fake->closed, fake->opened);
    }
}
END_TEST

/* The log's callback runs without a lock: it may ask again. */
static relora_context *asking;
static int32_t answer;

static void ask_again(void *user, int32_t level, const char *message)
{
    (void)user, (void)message;
    if (level == RELORA_LOG_INFO) answer = relora_device_count(asking, RELORA_DEVICE_CUDA);
}

START_TEST(test_log)
{
    relora_context_options o;
    fake_module();
    OK(relora_context_options_init(&o, sizeof o));
    o.module_dir = MODULE("fake");
    o.log = ask_again;
    o.log_level = RELORA_LOG_INFO;
    OK(relora_context_create(&asking, &o));
    ck_assert_int_eq(relora_device_count(asking, RELORA_DEVICE_CUDA), FAKE_DEVICES);
    ck_assert_int_eq(answer, FAKE_DEVICES);
    relora_context_release(asking);
}
END_TEST

Suite *threads_module(void)
{
    Suite *s = suite_create("threads: module");
    TCase *tc = tcase_create("module");
    tcase_set_timeout(tc, 60);
    tcase_add_test(tc, test_once);
    tcase_add_test(tc, test_log);
    suite_add_tcase(s, tc);
    return s;
}
