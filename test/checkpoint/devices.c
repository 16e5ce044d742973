/* A file is written and read through one stream, so by objects of its device. */
#include "checkpoint/run.h"
#include "support/modules.h"

static relora_stream *on_cpu;

static void open_devices(void)
{
    env_open_fake();
    OK(relora_stream_create(&on_cpu, relora_device_get(env.ctx, RELORA_DEVICE_CPU, 0)));
}

static void close_devices(void)
{
    relora_stream_release(on_cpu);
    env_close();
}

/* The whole run on the device, saved, loaded, trained on: what a CPU makes of it is the same file. */
START_TEST(test_device)
{
    struct recipe recipe = recipe_of(_i);
    relora_stream *st = env.st;
    relora_device *dev = env.dev;
    size_t size[2];
    void *bytes[2];
    for (int cpu = 0; cpu < 2; cpu++) {
        if (cpu) env.st = on_cpu, env.dev = relora_device_get(env.ctx, RELORA_DEVICE_CPU, 0);
        struct run run = new_run(&recipe, 1);
        train(&run, 0, 7);
        OK(relora_state_save(run.state, env.st, at("file"), 0));
        scramble(&run, 2);
        OK(relora_state_load(run.state, env.st, open_path(at("file"))));
        train(&run, 7, 14);
        OK(relora_state_save(run.state, env.st, at("file"), 0));
        bytes[cpu] = slurp(at("file"), &size[cpu]);
    }
    env.st = st;
    env.dev = dev;
    ck_assert_uint_eq(size[0], size[1]);
    ck_assert_int_eq(memcmp(bytes[0], bytes[1], size[0]), 0);
}
END_TEST

START_TEST(test_mixed)
{
    struct recipe recipe = recipe_of(2); /* LORA with a scale */
    struct run run = new_run(&recipe, 1);
    relora_writer *w = new_writer();
    OK(relora_state_save(run.state, env.st, at("file"), 0));
    relora_reader *r = open_path(at("file"));
    OK(relora_writer_add(w, "norm", run.norm));
    struct raw was = contents(&run);
    FAILS(RELORA_E_DEVICE, relora_writer_save(w, on_cpu, at("new"), 0), "norm", "CPU", "fake 0");
    FAILS(RELORA_E_DEVICE, relora_state_save(run.state, on_cpu, at("new"), 0), "CPU", "fake 0");
    FAILS(RELORA_E_DEVICE, relora_state_load(run.state, on_cpu, r), "CPU", "fake 0");
    FAILS(RELORA_E_DEVICE, relora_reader_read(r, on_cpu, "norm", run.norm, 0), "target", "CPU", "fake 0");
    FAILS(RELORA_E_DEVICE, relora_state_export_merged(run.state, on_cpu, at("new")), "CPU", "fake 0");
    FAILS(RELORA_E_DEVICE, relora_state_export_adapter(run.state, on_cpu, at(""), "base"), "scale", "CPU",
          "fake 0");
    ck_assert_int_eq(files(), 1);
    struct raw is = contents(&run);
    same_contents(&was, &is, "a refused file");
}
END_TEST

Suite *devices(void)
{
    Suite *s = suite_create("files of several devices");
    TCase *tc = tcase_create("devices");
    tcase_add_checked_fixture(tc, open_devices, close_devices);
    tcase_set_timeout(tc, 20);
    tcase_add_loop_test(tc, test_device, 0, RUN_KINDS);
    tcase_add_test(tc, test_mixed);
    suite_add_tcase(s, tc);
    return s;
}
