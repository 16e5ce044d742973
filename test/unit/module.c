/* src/module.c: modules that are none, and one that has two devices. */
#include <stdio.h>
#include "context.h"
#include "support/modules.h"
#include "unit/suites.h"

static relora_device *cuda(int32_t index) { return relora_device_get(env.ctx, RELORA_DEVICE_CUDA, index); }

/* ---- modules that are none ---- */

#ifdef __GLIBC__
#define NO_LIBRARY "invalid ELF header"
#else
#define NO_LIBRARY "Exec format error" /* musl */
#endif

static const struct {
    const char *folder, *words[2];
} none[] = {
    {MODULE("nowhere"), {"nowhere/librelora_cuda.so.0", "No such file"}},
    {MODULE("text"), {"text/librelora_cuda.so.0", NO_LIBRARY}},
    {MODULE("unresolved"), {"unresolved/librelora_cuda.so.0", "missing_on_this_system"}},
    {MODULE("no_symbol"), {"no_symbol/librelora_cuda.so.0", "not a module of librelora"}},
    {MODULE("other_release"), {"other_release/librelora_cuda.so.0", "another release"}},
    {MODULE("other_table"), {"other_table/librelora_cuda.so.0", "another release"}},
    {"", {"/librelora_cuda.so.0", "No such file"}},
};
enum { NONE = sizeof none / sizeof *none };

/* Counting says 0 and the reason once, in the log; asking for a device says it each time. The CPU stays. */
START_TEST(test_none)
{
    relora_tensor *t = POISON;
    env_open_module(none[_i].folder);
    ck_assert_int_eq(env.lines[RELORA_LOG_INFO], 1); /* what the CPU multiplies with */
    for (int i = 0; i < 3; i++) ck_assert_int_eq(relora_device_count(env.ctx, RELORA_DEVICE_CUDA), 0);
    ck_assert_int_eq(env.lines[RELORA_LOG_INFO], 2);
    ck_assert_int_eq(env.errors, 0);
    for (int i = 0; i < 2; i++) {
        ck_assert_msg(strstr(env.info, none[_i].words[i]), "\"%s\" lacks \"%s\"", env.info,
                      none[_i].words[i]);
        env.errors = 0;
        ck_assert_ptr_null(cuda(0));
        ck_assert_int_eq(env.errors, 1);
        ck_assert_ptr_nonnull(strstr(env.last, "relora_device_get: no CUDA: "));
        ck_assert_msg(strstr(env.last, none[_i].words[i]), "\"%s\" lacks \"%s\"", env.last,
                      none[_i].words[i]);
    }
    OK(relora_tensor_create(&t, env.dev, RELORA_F32, 0, NULL));
    relora_tensor_release(t);
    env_close();
}
END_TEST

START_TEST(test_long_folder)
{
    char folder[5000];
    memset(folder, 'x', sizeof folder - 1);
    folder[sizeof folder - 1] = '\0';
    env_open_module(folder);
    ck_assert_int_eq(relora_device_count(env.ctx, RELORA_DEVICE_CUDA), 0);
    ck_assert_ptr_nonnull(strstr(env.info, "module_dir is longer than 4075 bytes"));
    env_close();
}
END_TEST

/* A driver that is not there. */
START_TEST(test_no_device)
{
    struct fake *fake = fake_module();
    fake->devices = 0;
    fake->count_status = _i ? RELORA_E_BACKEND : RELORA_OK;
    env_open_module(MODULE("fake"));
    ck_assert_int_eq(relora_device_count(env.ctx, RELORA_DEVICE_CUDA), 0);
    ck_assert_int_eq(relora_device_count(env.ctx, RELORA_DEVICE_CUDA), 0);
    ck_assert_int_eq(fake->asked, 1);
    ck_assert_str_eq(env.info, "no CUDA: there is no CUDA device: no driver");
    ck_assert_ptr_null(cuda(0));
    ck_assert_str_eq(env.last, "relora_device_get: no CUDA: there is no CUDA device: no driver");
    env_close();
}
END_TEST

/* Without memory there is no answer: it is asked again. */
START_TEST(test_no_memory)
{
    struct fake *fake = fake_module();
    env_open_module(MODULE("fake"));
    fake->count_status = RELORA_E_NO_MEMORY;
    ck_assert_int_eq(relora_device_count(env.ctx, RELORA_DEVICE_CUDA), 0);
    ck_assert_str_eq(env.info, "no CUDA: out of memory");
    fake->count_status = RELORA_OK;
    track_refuse(&env.mem, 1, 0);
    ck_assert_ptr_null(cuda(1));
    ck_assert_str_eq(env.last, "relora_device_get: no CUDA: out of memory");
    ck_assert_int_eq(env.mem.refused, 1);
    ck_assert_ptr_nonnull(cuda(1));
    ck_assert_int_eq(fake->asked, 3);
    env_close();
}
END_TEST

/* ---- two devices ---- */

START_TEST(test_devices)
{
    uint64_t free_bytes = 0, total = 0;
    ck_assert_int_eq(relora_device_count(env.ctx, RELORA_DEVICE_CUDA), FAKE_DEVICES);
    ck_assert_int_eq(relora_device_count(env.ctx, RELORA_DEVICE_CPU), 1);
    ck_assert_str_eq(env.info, "librelora_cuda.so.0: CUDA devices: 2");
    for (int32_t i = 0; i < FAKE_DEVICES; i++) {
        char name[32];
        snprintf(name, sizeof name, "fake %d", (int)i);
        ck_assert_ptr_nonnull(cuda(i));
        ck_assert_ptr_eq(cuda(i), cuda(i));
        ck_assert_int_eq(relora_device_get_kind(cuda(i)), RELORA_DEVICE_CUDA);
        ck_assert_str_eq(relora_device_name(cuda(i)), name);
        OK(relora_device_memory(cuda(i), &free_bytes, &total));
        ck_assert_uint_gt(total, 0);
    }
    ck_assert_ptr_ne(cuda(0), cuda(1));
    static const int32_t bad[] = {-1, FAKE_DEVICES, INT32_MAX, INT32_MIN};
    for (int i = 0; i < 4; i++) {
        env.errors = 0;
        ck_assert_ptr_null(cuda(bad[i]));
        ck_assert_int_eq(env.errors, 1);
        ck_assert_ptr_nonnull(strstr(env.last, "relora_device_get: index is "));
    }
}
END_TEST

/* A device gets its queue when it is asked for, once; a stream's queue is a child of it. */
START_TEST(test_queues)
{
    struct fake *fake = fake_module();
    relora_stream *st;
    env_open_module(MODULE("fake"));
    ck_assert_int_eq(relora_device_count(env.ctx, RELORA_DEVICE_CUDA), FAKE_DEVICES);
    ck_assert_int_eq(fake->opened, 0);
    fake->open_status = RELORA_E_NO_MEMORY;
    ck_assert_ptr_null(cuda(1));
    ck_assert_ptr_nonnull(strstr(env.last, "relora_device_get: cannot open CUDA device 1: out of memory"));
    fake->open_status = RELORA_OK;
    fake->describe_status = RELORA_E_BACKEND;
    ck_assert_ptr_null(cuda(1));
    ck_assert_str_eq(env.last, "relora_device_get: cannot open CUDA device 1: fake 1 is too old");
    fake->describe_status = RELORA_OK;
    relora_device *second = cuda(1);
    ck_assert_ptr_nonnull(second);
    ck_assert_ptr_eq(cuda(1), second);
    ck_assert_int_eq(fake->opened, 1);
    ck_assert_int_eq(fake->last_device, 1);
    ck_assert_ptr_null(fake->last.parent);
    OK(relora_stream_create(&st, second));
    ck_assert_int_eq(fake->opened, 2);
    ck_assert_int_eq(fake->last_device, 1);
    ck_assert_ptr_eq(fake->last.parent, second->queue);
    ck_assert_int_eq(fake->last.wrap, 0);
    relora_stream_release(st);
    ck_assert_int_eq(fake->closed, 1);
    env_close();
    ck_assert_int_eq(fake->closed, 2);
}
END_TEST

/* Each context has its own. */
START_TEST(test_contexts)
{
    relora_context_options o;
    relora_context *other;
    OK(relora_context_options_init(&o, sizeof o));
    o.module_dir = MODULE("fake");
    OK(relora_context_create(&other, &o));
    relora_device *theirs = relora_device_get(other, RELORA_DEVICE_CUDA, 0);
    ck_assert_ptr_nonnull(theirs);
    ck_assert_ptr_ne(theirs, env.dev);
    relora_context_release(other);
    o.module_dir = MODULE("text");
    OK(relora_context_create(&other, &o));
    ck_assert_int_eq(relora_device_count(other, RELORA_DEVICE_CUDA), 0);
    relora_context_release(other);
    OK(relora_stream_synchronize(env.st));
}
END_TEST

/* The folder is copied, and one of the size of 0.1 has none. */
START_TEST(test_old_options)
{
    char folder[] = MODULE("fake");
    relora_context_options o;
    relora_context *ctx;
    OK(relora_context_options_init(&o, sizeof o));
    ck_assert_ptr_null(o.module_dir);
    o.module_dir = folder;
    OK(relora_context_create(&ctx, &o));
    folder[0] = '\0';
    ck_assert_int_eq(relora_device_count(ctx, RELORA_DEVICE_CUDA), FAKE_DEVICES);
    relora_context_release(ctx);
    o.module_dir = MODULE("fake");
    o.struct_size = offsetof(relora_context_options, module_dir);
    OK(relora_context_create(&ctx, &o));
    ck_assert_ptr_null(relora_device_get(ctx, RELORA_DEVICE_CUDA, 99));
    char text[512];
    OK(relora_context_error(ctx, text, sizeof text, NULL));
    ck_assert_msg(!strstr(text, "number of CUDA devices is 2"), "%s", text);
    relora_context_release(ctx);
    for (uint32_t size = offsetof(relora_context_options, module_dir) + 1; size < sizeof o; size++) {
        if (size % sizeof(void *) == 0) continue; /* that of a later release */
        o.struct_size = size;
        ck_assert_int_eq(relora_context_create(&ctx, &o), RELORA_E_STRUCT_SIZE);
    }
}
END_TEST

/* ---- the host's streams ---- */

START_TEST(test_wrap)
{
    struct fake *fake = fake_module();
    int theirs;
    relora_stream *st, *legacy;
    OK(relora_stream_wrap(&st, env.dev, &theirs));
    ck_assert_int_eq(fake->last.wrap, 1);
    ck_assert_ptr_eq(fake->last.native, &theirs);
    ck_assert_ptr_eq(fake->last.parent, env.dev->queue);
    ck_assert_ptr_eq(relora_stream_native(st), &theirs);
    OK(relora_stream_wrap(&legacy, env.dev, NULL));
    ck_assert_int_eq(fake->last.wrap, 1);
    ck_assert_ptr_null(relora_stream_native(legacy));
    ck_assert_ptr_nonnull(relora_stream_native(env.st));
    OK(relora_stream_wait(st, legacy));
    ck_assert_ptr_eq(fake->waiter, &theirs);
    ck_assert_ptr_null(fake->waited);
    relora_stream_release(legacy);
    relora_stream_release(st);
    fake->open_status = RELORA_E_BACKEND;
    st = POISON;
    FAILS(RELORA_E_BACKEND, relora_stream_wrap(&st, env.dev, &theirs), "queue", "fake 0");
    ck_assert_ptr_null(st);
}
END_TEST

/* ---- things of two devices in one call ---- */

START_TEST(test_mixing)
{
    relora_device *cpu = relora_device_get(env.ctx, RELORA_DEVICE_CPU, 0), *others[] = {cpu, cuda(1)};
    const char *const names[] = {"CPU", "fake 1"};
    for (int i = 0; i < 2; i++) {
        relora_stream *st;
        relora_tensor *here = new_vector(RELORA_F32, 3), *there;
        float values[3];
        OK(relora_stream_create(&st, others[i]));
        OK(relora_tensor_create(&there, others[i], RELORA_F32, 1, (int64_t[]){3}));
        FAILS(RELORA_E_DEVICE, relora_stream_wait(st, env.st), "fake 0", names[i]);
        FAILS(RELORA_E_DEVICE, relora_tensor_fill(here, st, 1), "fake 0", names[i]);
        FAILS(RELORA_E_DEVICE, relora_tensor_copy(here, there, env.st), "source", "fake 0", names[i]);
        FAILS(RELORA_E_DEVICE, relora_tensor_read(there, env.st, values, sizeof values), "fake 0", names[i]);
        OK(relora_tensor_fill(there, st, 1));
        relora_tensor_release(there);
        relora_stream_release(st);
    }
}
END_TEST

/* ---- what the device is told of an optimizer ---- */

static relora_tensor *param, *grad;

static relora_adam *new_optimizer(void)
{
    struct rnd r = rnd_seed(1);
    relora_adam *adam = new_adam(NULL);
    add_vector(adam, "p", 100, &r, &param, &grad);
    return adam;
}

/* One more step, and how much the host sent for it. */
static int uploads(relora_adam *adam, struct fake *fake)
{
    fake->uploads = 0;
    OK(relora_adam_step(adam, env.st, 0.01, 1, NULL));
    return fake->uploads;
}

START_TEST(test_adam_uploads)
{
    struct fake *fake = fake_module();
    struct rnd r = rnd_seed(2);
    relora_tensor *p, *g;
    relora_adam *adam = new_optimizer();
    float memory[100] = {0};
    relora_tensor *borrowed = new_borrowed(100, memory), *moving = new_borrowed(100, (float[100]){0});
    ck_assert_int_eq(uploads(adam, fake), 2); /* chunks and parameters */
    ck_assert_int_eq(uploads(adam, fake), 0);
    OK(relora_adam_set_factors(adam, 0, 1, 0)); /* as they are */
    ck_assert_int_eq(uploads(adam, fake), 0);
    OK(relora_adam_set_factors(adam, 0, 0.5, 0));
    ck_assert_int_eq(uploads(adam, fake), 1);
    ck_assert_int_eq(uploads(adam, fake), 0);
    OK(relora_adam_flatten_grads(adam, env.st));
    ck_assert_int_eq(uploads(adam, fake), 1);
    add_vector(adam, "q", 70000, &r, &p, &g);
    ck_assert_int_eq(uploads(adam, fake), 2);
    OK(relora_adam_add(adam, "moving", borrowed, moving, NULL));
    ck_assert_int_eq(uploads(adam, fake), 2);
    OK(relora_tensor_set_data(moving, scratch(sizeof memory)));
    ck_assert_int_eq(uploads(adam, fake), 1);
    ck_assert_int_eq(uploads(adam, fake), 0);
}
END_TEST

/* ---- TF32 is said of the products of forward and backward, and of no merge ---- */

static void pass(relora_linear *l, const relora_tensor *x, relora_tensor *y, relora_tensor *dx)
{
    OK(relora_linear_forward(l, env.st, x, y, 0, 0));
    OK(relora_linear_backward(l, env.st, x, y, dx, 0, RELORA_OVERWRITE));
}

START_TEST(test_tf32)
{
    struct fake *fake = fake_module();
    static const relora_order forward[] = {RELORA_ORDER_SPLIT, RELORA_ORDER_FOLD, RELORA_ORDER_FOLD};
    static const relora_order backward[] = {RELORA_ORDER_SPLIT, RELORA_ORDER_FOLD, RELORA_ORDER_THROUGH};
    relora_tensor *x = new_matrix(RELORA_F32, 3, 5), *y = new_matrix(RELORA_F32, 3, 4),
                  *dx = new_matrix(RELORA_F32, 3, 5);
    for (uint32_t flags = 0; flags <= RELORA_LINEAR_TF32; flags += RELORA_LINEAR_TF32) {
        struct rnd r = rnd_seed(1);
        relora_linear_options o = layer_options(RELORA_MODE_LORA, 5, 4, 2);
        o.flags = flags;
        relora_linear *l = new_filled_linear(&o, &r);
        put_normal(x, &r, 1);
        for (int i = 0; i < 3; i++) {
            OK(relora_linear_set_order(l, forward[i], backward[i]));
            fake->gemms = fake->tf32 = 0;
            pass(l, x, y, dx);
            ck_assert_int_ge(fake->gemms, 5);
            ck_assert_int_eq(fake->tf32, flags ? fake->gemms : 0);
        }
        fake->gemms = fake->tf32 = 0;
        OK(relora_linear_merge(l, env.st, 1, NULL));
        ck_assert_int_ge(fake->gemms, 1);
        ck_assert_int_eq(fake->tf32, 0);
    }
}
END_TEST

/* ---- slices: the CPU has its own, a backend that says nothing gets all rows at once, with the same W ---- */

START_TEST(test_slices)
{
    struct fake *fake = fake_module();
    relora_linear_options o = layer_options(RELORA_MODE_LORA, 5, 600, 2);
    relora_device *dev = env.dev;
    relora_stream *st = env.st, *on_cpu;
    void *merged[2];
    int64_t bytes[2];
    OK(relora_stream_create(&on_cpu, relora_device_get(env.ctx, RELORA_DEVICE_CPU, 0)));
    for (int cpu = 0; cpu < 2; cpu++) {
        relora_plan_report plan = {.struct_size = sizeof plan};
        struct rnd r = rnd_seed(1);
        if (cpu) env.dev = relora_device_get(env.ctx, RELORA_DEVICE_CPU, 0), env.st = on_cpu;
        o.dtype = RELORA_BF16;
        relora_linear *l = new_filled_linear(&o, &r);
        OK(relora_linear_set_order(l, RELORA_ORDER_FOLD, RELORA_ORDER_FOLD));
        OK(relora_linear_plan(l, 10, 0, &plan));
        bytes[cpu] = plan.forward_bytes;
        fake->gemms = 0;
        OK(relora_linear_merge(l, env.st, 1, NULL));
        ck_assert_int_eq(fake->gemms, cpu ? 0 : 2); /* one to see that there is memory */
        merged[cpu] = snapshot(relora_linear_param(l, RELORA_PARAM_WEIGHT));
    }
    env.dev = dev;
    env.st = st;
    relora_stream_release(on_cpu);
    SAME_BYTES(merged[0], merged[1], 600 * 5 * 2);
    ck_assert_int_gt(bytes[0], bytes[1] + 300 * 5 * 4);
}
END_TEST

Suite *unit_module(void)
{
    Suite *s = suite_create("module");
    TCase *none_case = tcase_create("none"), *two = fake_case(s, "two devices", 20);
    tcase_set_timeout(none_case, 20);
    tcase_add_loop_test(none_case, test_none, 0, NONE);
    tcase_add_test(none_case, test_long_folder);
    tcase_add_loop_test(none_case, test_no_device, 0, 2);
    tcase_add_test(none_case, test_no_memory);
    tcase_add_test(none_case, test_queues);
    tcase_add_test(none_case, test_old_options);
    suite_add_tcase(s, none_case);
    tcase_add_test(two, test_devices);
    tcase_add_test(two, test_contexts);
    tcase_add_test(two, test_wrap);
    tcase_add_test(two, test_mixing);
    tcase_add_test(two, test_adam_uploads);
    tcase_add_test(two, test_tf32);
    tcase_add_test(two, test_slices);
    return s;
}
