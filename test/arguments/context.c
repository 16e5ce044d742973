/* context.h, stream.h, status.h with wrong arguments. */
#include <stdio.h>
#include "arguments/arguments.h"

static char heard[300];
static int lines;

static void hear(void *user, int32_t level, const char *message)
{
    (void)user;
    ck_assert_int_eq(level, RELORA_LOG_ERROR);
    snprintf(heard, sizeof heard, "%s", message);
    lines++;
}

/* There is no context to ask, but a log that was given hears the sentence. */
static void refused(relora_context_options o, relora_status status, const char *word)
{
    relora_context *ctx = POISON;
    FAILS_SILENTLY(status, relora_context_create(&ctx, &o));
    ck_assert_ptr_null(ctx);
    ctx = POISON;
    lines = 0;
    o.log = hear;
    if (o.log_level == RELORA_LOG_OFF) o.log_level = RELORA_LOG_ERROR;
    FAILS_SILENTLY(status, relora_context_create(&ctx, &o));
    ck_assert_ptr_null(ctx);
    if (o.log_level < RELORA_LOG_ERROR) return;
    ck_assert_int_eq(lines, 1);
    ck_assert_msg(strstr(heard, "relora_context_create: ") && strstr(heard, word), "%s", heard);
}

START_TEST(test_create_refuses_each_field)
{
    relora_context_options o = env_options();
    o.flags = 1;
    refused(o, RELORA_E_ARGUMENT, "options.flags is 0x1");
    const int32_t threads[] = {0, -1, 1025, INT32_MIN};
    for (int i = 0; i < 4; i++) {
        o = env_options();
        o.threads = threads[i];
        refused(o, RELORA_E_ARGUMENT, "options.threads is");
    }
    const int32_t levels[] = {-1, 5};
    for (int i = 0; i < 2; i++) {
        o = env_options();
        o.log_level = levels[i];
        refused(o, RELORA_E_ARGUMENT, "options.log_level is");
    }
    o = env_options();
    o.host_free = NULL; /* both or neither */
    refused(o, RELORA_E_ARGUMENT, "options.host_alloc is set without options.host_free");
    o = env_options();
    o.host_alloc = NULL;
    refused(o, RELORA_E_ARGUMENT, "options.host_free is set without options.host_alloc");
    FAILS_SILENTLY(RELORA_E_ARGUMENT, relora_context_create(NULL, NULL));
}
END_TEST

START_TEST(test_create_refuses_struct_size)
{
    struct padded p;
    relora_context_options o = env_options();
    const void *bad = bad_struct_size(&p, &o, sizeof o, _i);
    ck_assert_ptr_nonnull(bad);
    relora_context *ctx = POISON;
    FAILS_SILENTLY(RELORA_E_STRUCT_SIZE, relora_context_create(&ctx, bad));
    ck_assert_ptr_null(ctx);
}
END_TEST

/* An option of a later release: what is known of the struct can be read, so the log hears of it. */
START_TEST(test_create_refuses_later_options)
{
    struct {
        relora_context_options known;
        uint64_t later;
    } o = {env_options(), 1};
    relora_context *ctx = POISON;
    o.known.struct_size = sizeof o;
    o.known.log = hear;
    o.known.log_level = RELORA_LOG_ERROR;
    lines = 0;
    FAILS_SILENTLY(RELORA_E_STRUCT_SIZE, relora_context_create(&ctx, &o.known));
    ck_assert_ptr_null(ctx);
    ck_assert_msg(lines == 1 && strstr(heard, "options.struct_size"), "%s", heard);
}
END_TEST

typedef relora_status (*init_fn)(void *options, size_t size);
static relora_status init_context(void *o, size_t n) { return relora_context_options_init(o, n); }
static relora_status init_linear(void *o, size_t n) { return relora_linear_options_init(o, n); }
static relora_status init_adam(void *o, size_t n) { return relora_adam_options_init(o, n); }
static relora_status init_reset(void *o, size_t n) { return relora_reset_options_init(o, n); }
static relora_status init_schedule(void *o, size_t n) { return relora_schedule_options_init(o, n); }
static relora_status init_cycle(void *o, size_t n) { return relora_cycle_options_init(o, n); }
static relora_status init_merge(void *o, size_t n) { return relora_merge_options_init(o, n); }
static relora_status init_factors(void *o, size_t n) { return relora_factors_options_init(o, n); }
static relora_status init_step_report(void *o, size_t n) { return relora_step_report_init(o, n); }
static relora_status init_merge_report(void *o, size_t n) { return relora_merge_report_init(o, n); }
static relora_status init_reset_report(void *o, size_t n) { return relora_reset_report_init(o, n); }
static relora_status init_plan_report(void *o, size_t n) { return relora_plan_report_init(o, n); }
static relora_status init_read_report(void *o, size_t n) { return relora_read_report_init(o, n); }
static relora_status init_full_rank_report(void *o, size_t n) { return relora_full_rank_report_init(o, n); }
static const init_fn inits[] = {init_context,     init_linear,          init_adam,         init_reset,
                                init_schedule,    init_cycle,           init_merge,        init_factors,
                                init_step_report, init_merge_report,    init_reset_report, init_plan_report,
                                init_read_report, init_full_rank_report};
enum { INITS = sizeof inits / sizeof *inits };

START_TEST(test_options_init)
{
    unsigned char bytes[256];
    memset(bytes, 0xee, sizeof bytes);
    FAILS_SILENTLY(RELORA_E_ARGUMENT, inits[_i](NULL, 64));
    FAILS_SILENTLY(RELORA_E_STRUCT_SIZE, inits[_i](bytes, 0));
    FAILS_SILENTLY(RELORA_E_STRUCT_SIZE, inits[_i](bytes, 3));
    FAILS_SILENTLY(RELORA_E_STRUCT_SIZE, inits[_i](bytes, SIZE_MAX));
    for (size_t i = 0; i < sizeof bytes; i++) ck_assert_uint_eq(bytes[i], 0xee);
}
END_TEST

/* A report is empty, of the caller's size, and nothing behind it is written. */
START_TEST(test_report_init)
{
    static const size_t sizes[] = {4, 24, 56};
    for (int i = INITS - 5; i < INITS; i++) {
        for (int k = 0; k < 3; k++) {
            unsigned char bytes[64];
            uint32_t size;
            memset(bytes, 0xee, sizeof bytes);
            OK(inits[i](bytes, sizes[k]));
            memcpy(&size, bytes, sizeof size);
            ck_assert_uint_eq(size, sizes[k]);
            for (size_t j = 4; j < sizeof bytes; j++) ck_assert_uint_eq(bytes[j], j < sizes[k] ? 0 : 0xee);
        }
    }
}
END_TEST

START_TEST(test_null_handles)
{
    uint64_t n;
    relora_context_release(NULL);
    relora_stream_release(NULL);
    ck_assert_int_eq(relora_device_count(NULL, RELORA_DEVICE_CPU), 0);
    ck_assert_int_eq(relora_device_count(env.ctx, 0), 0);
    ck_assert_int_eq(relora_device_count(env.ctx, 77), 0);
    ck_assert_ptr_null(relora_device_get(NULL, RELORA_DEVICE_CPU, 0));
    ck_assert_int_eq(relora_device_get_kind(NULL), 0);
    ck_assert_str_eq(relora_device_name(NULL), "");
    FAILS_SILENTLY(RELORA_E_ARGUMENT, relora_device_memory(NULL, &n, &n));
    OK(relora_device_memory(env.dev, NULL, NULL));
    FAILS_SILENTLY(RELORA_E_ARGUMENT, relora_context_error(NULL, NULL, 0, NULL));
    FAILS_SILENTLY(RELORA_E_ARGUMENT, relora_stream_error(NULL, NULL, 0, NULL));
}
END_TEST

/* The sentence is of this call, not of one before it. */
START_TEST(test_device_get_says_why)
{
    const struct {
        relora_device_kind kind;
        int32_t index;
        const char *why;
    } wrong[] = {
        {RELORA_DEVICE_CPU, 1, "index is 1"}, {RELORA_DEVICE_CPU, -1, "index is -1"}, {77, 0, "kind is 77"}};
    for (int i = 0; i < 3; i++) {
        char text[200];
        ck_assert_ptr_null(relora_device_get(env.ctx, wrong[i].kind, wrong[i].index));
        OK(relora_context_error(env.ctx, text, sizeof text, NULL));
        ck_assert_msg(strstr(text, "relora_device_get: ") && strstr(text, wrong[i].why), "%s", text);
    }
}
END_TEST

START_TEST(test_streams)
{
    struct stranger s = new_stranger();
    relora_stream *st = POISON;
    FAILS_SILENTLY(RELORA_E_ARGUMENT, relora_stream_create(&st, NULL));
    ck_assert_ptr_null(st);
    FAILS(RELORA_E_ARGUMENT, relora_stream_create(NULL, env.dev), "out");
    FAILS(RELORA_E_ARGUMENT, relora_stream_wait(NULL, env.st), "stream");
    FAILS(RELORA_E_ARGUMENT, relora_stream_wait(env.st, NULL), "other");
    FAILS(RELORA_E_CONTEXT, relora_stream_wait(env.st, s.st), "other");
    FAILS_SILENTLY(RELORA_E_ARGUMENT, relora_stream_wait(NULL, NULL));
    FAILS_SILENTLY(RELORA_E_ARGUMENT, relora_stream_synchronize(NULL));
    st = POISON;
    FAILS_SILENTLY(RELORA_E_ARGUMENT, relora_stream_wrap(&st, NULL, NULL));
    ck_assert_ptr_null(st);
    FAILS(RELORA_E_ARGUMENT, relora_stream_wrap(NULL, env.dev, NULL), "out");
    st = POISON;
    FAILS(RELORA_E_UNSUPPORTED, relora_stream_wrap(&st, relora_device_get(env.ctx, RELORA_DEVICE_CPU, 0), &s),
          "CPU");
    ck_assert_ptr_null(st);
    ck_assert_ptr_null(relora_stream_native(NULL));
    if (env_kind() == RELORA_DEVICE_CPU) ck_assert_ptr_null(relora_stream_native(env.st));
}
END_TEST

Suite *context_arguments(void)
{
    Suite *s = suite_create("arguments of context, stream, options_init");
    TCase *tc = env_case(s, "context", 20);
    tcase_add_test(tc, test_create_refuses_each_field);
    tcase_add_test(tc, test_create_refuses_later_options);
    tcase_add_loop_test(tc, test_create_refuses_struct_size, 0, 5);
    tcase_add_loop_test(tc, test_options_init, 0, INITS);
    tcase_add_test(tc, test_report_init);
    tcase_add_test(tc, test_null_handles);
    tcase_add_test(tc, test_device_get_says_why);
    tcase_add_test(tc, test_streams);
    return s;
}
