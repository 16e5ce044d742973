/* A stream whose device has failed: every call on it says so, names itself, and leaves the device alone. */
#include <stdio.h>
#include "backend/rounds.h"
#include "backend/suites.h"
#include "checkpoint/run.h"
#include "support/headers.h"

static struct run run;
static relora_stream *other;
static relora_writer *writer;
static relora_reader *reader;
static relora_linear *full;
static relora_group *group, *warm; /* of the run's layer; of the other */
static relora_tensor *copy, *weight_grad;

static void open_all(void)
{
    struct recipe recipe = recipe_of(2); /* LORA, F32, with a scale */
    recipe.linear.flags |= RELORA_LINEAR_KEEP_DELTA;
    relora_linear_options o = layer_options(RELORA_MODE_FULL, 4, 3, 2);
    env_open();
    relora_stream_release(env.st);
    faulty = (struct faulty){0};
    faulty_install(env.ctx);
    OK(relora_stream_create(&env.st, env.dev));
    OK(relora_stream_create(&other, env.dev));
    run = new_run(&recipe, 1);
    full = new_linear(&o);
    group = new_group();
    warm = new_group();
    OK(relora_group_add_linear(group, "layer", run.linear));
    OK(relora_group_add_linear(warm, "full", full));
    copy = new_vector(RELORA_F32, recipe.norm);
    weight_grad = new_matrix(RELORA_F32, RUN_OUT, RUN_IN);
    writer = new_writer();
    OK(relora_writer_add(writer, "norm", run.norm));
    OK(relora_state_save(run.state, env.st, at("file"), 0));
    reader = open_path(at("file"));
}

static void close_all(void)
{
    relora_stream_release(other);
    env_close();
    ck_assert_int_eq(faulty.bytes, 0);
    ck_assert_int_eq(faulty.queues, 0);
}

static void break_stream(void)
{
    faulty_plan(FAULT_DEVICE, 1);
    FAILS(RELORA_E_BACKEND, relora_tensor_fill(copy, env.st, 1), "faulty backend", "fill", "as planned");
    ck_assert_int_eq(faulty.calls, 1);
}

#define SAYS_SO(call) FAILS(RELORA_E_BACKEND, call, "is finished")

static void call_everything(void)
{
    unsigned char bytes[64];
    double norm;
    int64_t steps;
    int32_t first = 0;
    struct DLManagedTensorVersioned *shared;
    relora_tensor *weight = relora_linear_param(run.linear, RELORA_PARAM_WEIGHT);
    relora_tensor *a = relora_linear_param(run.linear, RELORA_PARAM_A),
                  *b = relora_linear_param(run.linear, RELORA_PARAM_B);
    relora_tensor *other_a = relora_linear_grad(run.linear, RELORA_PARAM_A),
                  *other_b = relora_linear_grad(run.linear, RELORA_PARAM_B);
    relora_tensor *y[] = {run.y};
    relora_tensor *dy[] = {run.dy};
    SAYS_SO(relora_stream_wait(env.st, other));
    SAYS_SO(relora_stream_synchronize(env.st));
    SAYS_SO(relora_tensor_write(run.norm, env.st, bytes, bytes_of(run.norm)));
    SAYS_SO(relora_tensor_read(run.norm, env.st, bytes, bytes_of(run.norm)));
    SAYS_SO(relora_tensor_copy(copy, run.norm, env.st));
    SAYS_SO(relora_tensor_fill(run.norm, env.st, 2));
    SAYS_SO(relora_tensor_to_dlpack(&shared, run.norm, env.st, NULL));
    SAYS_SO(relora_linear_set_mode(full, env.st, RELORA_MODE_LORA));
    SAYS_SO(relora_linear_forward(run.linear, env.st, run.x, run.y, 0, RELORA_TRAIN));
    SAYS_SO(relora_linear_backward(run.linear, env.st, run.x, run.dy, NULL, 0, RELORA_TRAIN));
    SAYS_SO(relora_linear_forward_at(run.linear, env.st, 0, NULL, RUN_IN, NULL, RUN_OUT, 0, 0));
    SAYS_SO(relora_linear_backward_at(run.linear, env.st, 0, NULL, RUN_IN, NULL, RUN_OUT, NULL, 0, 0, 0));
    SAYS_SO(relora_linear_forward_shared(&run.linear, 1, env.st, run.x, y, 0, RELORA_TRAIN));
    SAYS_SO(relora_linear_backward_shared(&run.linear, 1, env.st, run.x, dy, NULL, 0, RELORA_TRAIN));
    SAYS_SO(relora_linear_weight_grad(run.linear, env.st, run.x, run.dy, copy, 0));
    SAYS_SO(relora_linear_zero_grad(run.linear, env.st));
    SAYS_SO(relora_linear_merge(run.linear, env.st, 1, NULL));
    SAYS_SO(relora_linear_reset(run.linear, env.st, 1));
    SAYS_SO(relora_merge(env.st, weight, a, b, NULL, NULL));
    SAYS_SO(relora_full_rank_step(env.st, weight, weight_grad, 1, NULL, NULL));
    SAYS_SO(relora_linear_full_rank_step(run.linear, env.st, weight_grad, 1, 1, NULL));
    SAYS_SO(relora_factors_draw(env.st, a, b, 0, 0, 1));
    SAYS_SO(relora_factors_renew(env.st, a, b, other_a, NULL, NULL));
    SAYS_SO(relora_moments_reset(env.st, a, other_a, 0, NULL, NULL));
    SAYS_SO(relora_moments_project(env.st, b, other_b, a, other_a, 0.9, 0.99, 1));
    SAYS_SO(relora_group_set_mode(warm, env.st, RELORA_MODE_LORA));
    SAYS_SO(relora_group_merge(group, env.st, 1, NULL));
    SAYS_SO(relora_group_reset(group, env.st, 1));
    SAYS_SO(relora_group_zero_grad(group, env.st));
    SAYS_SO(relora_adam_flatten_grads(run.adam, env.st));
    SAYS_SO(relora_adam_zero_grad(run.adam, env.st));
    SAYS_SO(relora_adam_step(run.adam, env.st, 0.1, 1, NULL));
    SAYS_SO(relora_adam_step_lr(run.adam, env.st, copy, 1, NULL));
    SAYS_SO(relora_adam_refresh(run.adam, env.st));
    SAYS_SO(relora_adam_sum(run.adam, env.st, a));
    SAYS_SO(relora_adam_grad_norm(run.adam, env.st, &norm));
    SAYS_SO(relora_adam_reset(run.adam, env.st, &first, 1, NULL, NULL));
    SAYS_SO(relora_adam_carry(run.adam, env.st, run.adam, NULL, 0, NULL));
    SAYS_SO(relora_adam_steps(run.adam, env.st, 0, &steps));
    SAYS_SO(relora_adam_set_steps(run.adam, env.st, 0, 3));
    SAYS_SO(relora_cycle_advance(run.cycle, env.st, 1, NULL, NULL, NULL)); /* although nothing is due */
    SAYS_SO(relora_cycle_finish(run.cycle, env.st, 1, NULL));
    SAYS_SO(relora_writer_save(writer, env.st, at("new"), 0));
    SAYS_SO(relora_reader_read(reader, env.st, "norm", run.norm, 0));
    SAYS_SO(relora_reader_read_group(reader, env.st, group, 0, NULL));
    SAYS_SO(relora_state_save(run.state, env.st, at("new"), 0));
    SAYS_SO(relora_state_load(run.state, env.st, reader));
    SAYS_SO(relora_state_export_merged(run.state, env.st, at("new")));
    SAYS_SO(relora_state_export_adapter(run.state, env.st, at(""), "base"));
    SAYS_SO(relora_state_export_delta(run.state, env.st, at("new")));
}

START_TEST(test_every_call)
{
    open_all();
    struct raw was = contents(&run);
    break_stream();
    call_everything();
    ck_assert_int_eq(faulty.calls, 1);
    ck_assert_int_eq(files(), 1);
    ck_assert_int_eq(relora_linear_get_mode(full), RELORA_MODE_FULL);
    relora_stream_release(env.st);
    OK(relora_stream_create(&env.st, env.dev));
    struct raw is = contents(&run);
    same_contents(&was, &is, "a finished stream changes nothing");
    close_all();
}
END_TEST

/* What synchronises reports failures of the work before it, which nobody was told of. */
#define REPORTS(call)                                                              \
    do {                                                                           \
        relora_stream_release(env.st);                                             \
        OK(relora_stream_create(&env.st, env.dev));                                \
        faulty_plan(FAULT_VERY_LATE, 1);                                           \
        OK(relora_tensor_fill(copy, env.st, 1));                                   \
        FAILS(RELORA_E_BACKEND, call, "queue_sync", "as planned");                 \
        FAILS(RELORA_E_BACKEND, relora_stream_synchronize(env.st), "is finished"); \
    } while (0)

START_TEST(test_late_reports)
{
    relora_step_report step = {.struct_size = sizeof step};
    relora_reset_report reset = {.struct_size = sizeof reset};
    unsigned char bytes[64];
    double norm;
    int64_t steps;
    open_all();
    relora_merge_report merge = {.struct_size = sizeof merge};
    relora_factors_options renew;
    OK(relora_factors_options_init(&renew, sizeof renew));
    renew.init = RELORA_INIT_MATCHED;
    relora_tensor *weight = relora_linear_param(run.linear, RELORA_PARAM_WEIGHT);
    relora_tensor *a = relora_linear_param(run.linear, RELORA_PARAM_A),
                  *b = relora_linear_param(run.linear, RELORA_PARAM_B);
    relora_tensor *other_a = relora_linear_grad(run.linear, RELORA_PARAM_A);
    REPORTS(relora_stream_synchronize(env.st));
    REPORTS(relora_tensor_read(run.norm, env.st, bytes, bytes_of(run.norm)));
    REPORTS(relora_linear_merge(run.linear, env.st, 1, NULL));
    REPORTS(relora_group_merge(group, env.st, 1, NULL));
    REPORTS(relora_merge(env.st, weight, a, b, NULL, NULL));
    REPORTS(relora_factors_renew(env.st, a, b, other_a, &renew, &merge));
    REPORTS(relora_full_rank_step(env.st, weight, weight_grad, 1, NULL, NULL));
    REPORTS(relora_linear_full_rank_step(run.linear, env.st, weight_grad, 1, 1, NULL));
    REPORTS(relora_moments_reset(env.st, a, other_a, 0, NULL, &reset));
    REPORTS(relora_adam_grad_norm(run.adam, env.st, &norm));
    REPORTS(relora_adam_steps(run.adam, env.st, 0, &steps));
    REPORTS(relora_adam_step(run.adam, env.st, 0.1, 1, &step));
    REPORTS(relora_adam_reset(run.adam, env.st, NULL, 0, NULL, &reset));
    REPORTS(relora_cycle_advance(run.cycle, env.st, RUN_EVERY + 1, NULL, NULL, NULL));
    REPORTS(relora_cycle_finish(run.cycle, env.st, 1, NULL));
    REPORTS(relora_writer_save(writer, env.st, at("new"), 0));
    REPORTS(relora_state_save(run.state, env.st, at("new"), 0));
    REPORTS(relora_state_load(run.state, env.st, reader));
    REPORTS(relora_state_export_merged(run.state, env.st, at("new")));
    REPORTS(relora_state_export_adapter(run.state, env.st, at(""), "base"));
    REPORTS(relora_state_export_delta(run.state, env.st, at("new")));
    ck_assert_int_eq(files(), 1);
    close_all();
}
END_TEST

/* A finished stream cannot be waited for, and whoever tries is none the worse. */
START_TEST(test_waiting_for_it)
{
    open_all();
    break_stream();
    FAILS(RELORA_E_BACKEND, relora_stream_wait(other, env.st), "other is finished");
    OK(relora_tensor_fill(copy, other, 1));
    OK(relora_stream_synchronize(other));
    close_all();
}
END_TEST

/* Streams may be released whatever is waiting in them, a failure nobody asked for included. */
START_TEST(test_release_before_the_report)
{
    open_all();
    faulty_plan(FAULT_VERY_LATE, 1);
    OK(relora_tensor_fill(copy, env.st, 1));
    relora_stream_release(env.st);
    OK(relora_stream_create(&env.st, env.dev));
    OK(relora_tensor_fill(copy, env.st, 2));
    ck_assert_double_eq(get(copy)[0], 2);
    ck_assert_int_eq(faulty.told, 0);
    close_all();
}
END_TEST

static const char *source;
static int streams, synchronising;

static void is_called(const char *name, const char *comment, const char *declaration)
{
    char call[128];
    if (!strstr(declaration, "relora_stream *") || strstr(declaration, "relora_stream **")) return;
    if (!strstr(declaration, "relora_status relora_")) return; /* it cannot say so */
    if (strstr(comment, "@stream none")) return;               /* it asks nothing of the device */
    snprintf(call, sizeof call, "SAYS_SO(%s(", name);
    ck_assert_msg(strstr(source, call), "%s takes a stream and is not tested here", name);
    streams++;
    if (!strstr(comment, "@stream synchronises")) return;
    snprintf(call, sizeof call, "REPORTS(%s(", name);
    ck_assert_msg(strstr(source, call), "%s synchronises and is not tested here", name);
    synchronising++;
}

START_TEST(test_none_is_missing)
{
    source = test_source("backend/finished.c");
    streams = synchronising = 0;
    ck_assert_int_gt(each_function(is_called), 90);
    ck_assert_int_ge(streams, 28);
    ck_assert_int_ge(synchronising, 13);
}
END_TEST

Suite *backend_finished(void)
{
    Suite *s = suite_create("failing backend: a finished stream");
    TCase *tc = tcase_create("finished"), *headers = env_case(s, "headers", 20);
    tcase_set_timeout(tc, 20);
    tcase_add_test(tc, test_every_call);
    tcase_add_test(tc, test_late_reports);
    tcase_add_test(tc, test_waiting_for_it);
    tcase_add_test(tc, test_release_before_the_report);
    tcase_add_test(headers, test_none_is_missing);
    suite_add_tcase(s, tc);
    return s;
}
