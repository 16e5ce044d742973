/* Every function that makes an object, with options of every kind. */
#include "dlpack.h"
#include "oom/oom.h"
#include "relora/dlpack.h"
#include "support/modules.h"

START_TEST(test_context)
{
    relora_context_options o;
    OK(relora_context_options_init(&o, sizeof o));
    track_install(&env.mem, &o);
    o.module_dir = "somewhere";
    for (int64_t n = 1;; n++) {
        relora_context *ctx = POISON;
        track_refuse(&env.mem, n, _i);
        relora_status status = relora_context_create(&ctx, &o);
        if (!env.mem.refused) {
            OK(status);
            relora_context_release(ctx);
            ck_assert_int_gt(n, 5);
            break;
        }
        ck_assert_int_eq(status, RELORA_E_NO_MEMORY);
        ck_assert_ptr_null(ctx);
        oom_totals->refused[_i]++;
    }
    oom_totals->scenarios++;
}
END_TEST

static void make_stream(void)
{
    relora_stream *stream;
    oom_begin();
    MAKES(stream, relora_stream_create(&stream, env.dev));
    relora_stream_release(stream);
}

START_TEST(test_stream) { oom_play(make_stream, _i, 2); }
END_TEST

/* ---- tensors ---- */

static relora_dtype dtype;
static int32_t ndim;

static void make_tensor(void)
{
    const int64_t shape[RELORA_MAX_DIMS] = {2, 1, 3, 1, 2, 1, 2, 1};
    relora_tensor *t;
    oom_begin();
    MAKES(t, relora_tensor_create(&t, env.dev, dtype, ndim, shape));
    relora_tensor_release(t);
}

START_TEST(test_tensor)
{
    for (dtype = RELORA_F32; dtype <= RELORA_BF16; dtype++)
        for (ndim = 0; ndim <= RELORA_MAX_DIMS; ndim++) oom_play(make_tensor, _i, 2);
}
END_TEST

static int deleted;

static void delete_data(void *user, void *data)
{
    ck_assert_ptr_eq(user, &deleted);
    ck_assert_ptr_nonnull(data);
    deleted++;
}

static void check_not_deleted(void)
{
    oom_out_is_null();
    ck_assert_int_eq(deleted, 0);
}

static void make_borrowed(void)
{
    float data[6];
    relora_tensor *t = POISON;
    deleted = 0;
    oom_out = (void **)&t;
    oom_begin();
    SURVIVES(check_not_deleted, relora_tensor_borrow(&t, env.dev, RELORA_F32, 1, (int64_t[]){6}, NULL, data,
                                                     delete_data, &deleted));
    relora_tensor_release(t);
    ck_assert_int_eq(deleted, 1);
}

START_TEST(test_borrowed) { oom_play(make_borrowed, _i, 1); }
END_TEST

/* ---- layers: every mode, type and set of flags ---- */

static relora_linear_options layer;

static void make_linear(void)
{
    relora_linear *linear;
    oom_begin();
    MAKES(linear, relora_linear_create(&linear, env.dev, &layer));
    for (relora_param p = RELORA_PARAM_BIAS; p <= RELORA_PARAM_DELTA; p++)
        oom_result_of(relora_linear_param(linear, p));
    relora_linear_release(linear);
}

START_TEST(test_linear)
{
    const uint32_t all = RELORA_LINEAR_BIAS | RELORA_LINEAR_TRAINABLE_SCALE | RELORA_LINEAR_REFERENCE |
                         RELORA_LINEAR_KEEP_DELTA;
    for (relora_linear_mode mode = RELORA_MODE_FULL; mode <= RELORA_MODE_LOWRANK; mode++)
        for (uint32_t flags = 0; flags <= all; flags++) {
            if (mode == RELORA_MODE_LOWRANK && (flags & RELORA_LINEAR_KEEP_DELTA)) continue;
            for (dtype = RELORA_F32; dtype <= RELORA_BF16; dtype++) {
                layer = layer_options(mode, 6, 4, 2);
                layer.dtype = dtype;
                layer.flags = flags;
                oom_play(make_linear, _i, mode == RELORA_MODE_FULL ? 3 : 9);
            }
        }
}
END_TEST

static void wrap_weight(void)
{
    relora_linear_options o = layer_options(RELORA_MODE_LORA, 0, 0, 2);
    relora_tensor *w = new_matrix(RELORA_BF16, 6, 4), *bias = new_vector(RELORA_BF16, 6);
    relora_linear *linear;
    o.flags = RELORA_LINEAR_KEEP_DELTA;
    oom_begin();
    MAKES(linear, relora_linear_wrap(&linear, env.dev, w, bias, &o));
    for (relora_param p = RELORA_PARAM_A; p <= RELORA_PARAM_B; p++)
        oom_result_of(relora_linear_param(linear, p));
    relora_linear_release(linear);
}

START_TEST(test_wrap) { oom_play(wrap_weight, _i, 9); }
END_TEST

/* ---- optimizers, schedules, cycles ---- */

static void make_adam(void)
{
    relora_adam_options o = adam_options();
    relora_adam *adam;
    o.flags = RELORA_ADAM_SKIP_NOT_FINITE;
    o.max_norm = 1;
    oom_begin();
    MAKES(adam, relora_adam_create(&adam, env.dev, &o));
    relora_adam_release(adam);
    MAKES(adam, relora_adam_create(&adam, env.dev, NULL));
    relora_adam_release(adam);
}

START_TEST(test_adam) { oom_play(make_adam, _i, 2); }
END_TEST

static void make_schedules(void)
{
    relora_schedule_options o;
    OK(relora_schedule_options_init(&o, sizeof o));
    o.lr = 1e-3;
    o.total_steps = 20;
    oom_begin();
    for (o.kind = RELORA_SCHEDULE_CONSTANT; o.kind <= RELORA_SCHEDULE_COSINE_RESTARTS; o.kind++) {
        relora_schedule *schedule;
        double lr;
        o.restart_every = o.kind == RELORA_SCHEDULE_COSINE_RESTARTS ? 5 : 0;
        MAKES(schedule, relora_schedule_create(&schedule, env.ctx, &o));
        OK(relora_schedule_lr(schedule, 3, &lr));
        relora_schedule_release(schedule);
    }
}

START_TEST(test_schedules) { oom_play(make_schedules, _i, 4); }
END_TEST

static void make_cycles(void)
{
    relora_cycle_options o = cycle_options(5, 3);
    relora_reset_options reset = reset_options(RELORA_RESET_RANDOM, 0.5, RELORA_RESET_STEP_COUNT);
    relora_adam *adam;
    relora_cycle *cycle;
    OK(relora_adam_create(&adam, env.dev, NULL));
    oom_begin();
    MAKES(cycle, relora_cycle_create(&cycle, env.ctx, &o, adam, &reset));
    relora_cycle_release(cycle);
    MAKES(cycle, relora_cycle_create(&cycle, env.ctx, &o, NULL, NULL));
    relora_cycle_release(cycle);
    relora_adam_release(adam); /* a cycle that was not made keeps nothing alive: env_close() looks */
}

START_TEST(test_cycles) { oom_play(make_cycles, _i, 2); }
END_TEST

static void make_writer_and_state(void)
{
    relora_writer *writer;
    relora_state *state;
    oom_begin();
    MAKES(writer, relora_writer_create(&writer, env.ctx));
    relora_writer_release(writer);
    MAKES(state, relora_state_create(&state, env.ctx));
    relora_state_release(state);
}

START_TEST(test_writer_and_state) { oom_play(make_writer_and_state, _i, 2); }
END_TEST

/* ---- a device of a module, streams of the host, exchange with others ---- */

/* The list of devices, and the queue of one. It is no answer that there is no memory: the next question has one. */
START_TEST(test_device)
{
    for (int64_t n = 1;; n++) {
        env_close();
        env_open_module(MODULE("fake"));
        track_refuse(&env.mem, n, _i);
        relora_device *device = relora_device_get(env.ctx, RELORA_DEVICE_CUDA, 1);
        if (!env.mem.refused) {
            ck_assert_ptr_nonnull(device);
            ck_assert_int_eq(n, 3);
            break;
        }
        ck_assert_ptr_null(device);
        ck_assert_int_eq(env.errors, 1);
        ck_assert(strstr(env.last, "relora_device_get: ") && strstr(env.last, "out of memory"));
        track_refuse(&env.mem, 0, 0);
        ck_assert_ptr_nonnull(relora_device_get(env.ctx, RELORA_DEVICE_CUDA, 1));
        oom_totals->refused[_i]++;
    }
    oom_totals->scenarios++;
}
END_TEST

static void make_wrapped(void)
{
    relora_stream *stream;
    int theirs;
    env_close();
    env_open_fake();
    oom_begin();
    MAKES(stream, relora_stream_wrap(&stream, env.dev, &theirs));
    relora_stream_release(stream);
}

START_TEST(test_wrapped) { oom_play(make_wrapped, _i, 2); }
END_TEST

static void exchange(void)
{
    relora_tensor *t, *back;
    struct DLManagedTensorVersioned *managed;
    int theirs;
    env_close();
    env_open_fake();
    OK(relora_tensor_create(&t, env.dev, RELORA_BF16, 2, (int64_t[]){3, 5}));
    oom_begin();
    MAKES(managed, relora_tensor_to_dlpack(&managed, t, env.st, &theirs));
    MAKES(back, relora_tensor_from_dlpack(&back, env.ctx, managed));
    ck_assert_ptr_eq(relora_tensor_data(back), relora_tensor_data(t));
    relora_tensor_release(t);
    relora_tensor_release(back);
}

START_TEST(test_exchange) { oom_play(exchange, _i, 3); }
END_TEST

Suite *oom_constructors(void)
{
    Suite *s = suite_create("constructors");
    TCase *tc = env_case(s, "constructors", 60);
    tcase_add_loop_test(tc, test_context, 0, OOM_KINDS);
    tcase_add_loop_test(tc, test_stream, 0, OOM_KINDS);
    tcase_add_loop_test(tc, test_tensor, 0, OOM_KINDS);
    tcase_add_loop_test(tc, test_borrowed, 0, OOM_KINDS);
    tcase_add_loop_test(tc, test_linear, 0, OOM_KINDS);
    tcase_add_loop_test(tc, test_wrap, 0, OOM_KINDS);
    tcase_add_loop_test(tc, test_adam, 0, OOM_KINDS);
    tcase_add_loop_test(tc, test_schedules, 0, OOM_KINDS);
    tcase_add_loop_test(tc, test_cycles, 0, OOM_KINDS);
    tcase_add_loop_test(tc, test_writer_and_state, 0, OOM_KINDS);
    tcase_add_loop_test(tc, test_device, 0, OOM_KINDS);
    tcase_add_loop_test(tc, test_wrapped, 0, OOM_KINDS);
    tcase_add_loop_test(tc, test_exchange, 0, OOM_KINDS);
    return s;
}
