/* Every function that any thread may call, called by several at once on the same handles, while the layer is
 * at work in one more thread. The answers are those a single thread got before. */
#include <stdatomic.h>
#include <stdio.h>
#include "checkpoint/checkpoint.h"
#include "dlpack.h"
#include "support/headers.h"
#include "support/modules.h"
#include "threads/work.h"

enum { ASKERS = 4, TURNS = 200 };

static struct handles { /* shared by all threads */
    relora_device *dev;
    relora_tensor *x;
    relora_linear *linear;
    relora_group *group;
    relora_adam *adam;
    relora_schedule *schedule;
    relora_cycle *cycle;
    relora_reader *reader;
    relora_context *cuda; /* a context with such a device */
    struct DLManagedTensorVersioned *shared;
    const char *path; /* of the file the reader has open */
    void *bytes;      /* what is in it */
    size_t size;
} handles;

/* ---- asking: a number made of all answers ---- */

static void add(uint64_t *sum, uint64_t answer) { *sum = (*sum ^ answer) * 1099511628211u; }

static atomic_int failures; /* of calls that should succeed, in any thread */

static void ok(relora_status status)
{
    if (status != RELORA_OK) atomic_fetch_add(&failures, 1);
}

static void add_text(uint64_t *sum, const char *text)
{
    while (*text) add(sum, (unsigned char)*text++);
}

static void ask_context(uint64_t *sum)
{
    const struct handles *h = &handles;
    char text[512];
    uint64_t total = 0;
    add(sum, relora_version());
    add_text(sum, relora_version_string());
    add_text(sum, relora_build_info());
    add_text(sum, relora_status_name(RELORA_E_SHAPE));
    add_text(sum, relora_status_text(RELORA_E_SHAPE));
    ok(relora_context_error(env.ctx, text, sizeof text, NULL));
    add_text(sum, text);
    ok(relora_stream_error(env.st, text, sizeof text, NULL));
    add_text(sum, text);
    add(sum, (uint64_t)relora_device_count(env.ctx, RELORA_DEVICE_CPU));
    add(sum, relora_device_get(env.ctx, RELORA_DEVICE_CPU, 0) == h->dev);
    add(sum, (uint64_t)relora_device_count(h->cuda, RELORA_DEVICE_CUDA));
    add(sum, (uint64_t)(uintptr_t)relora_device_get(h->cuda, RELORA_DEVICE_CUDA, 1));
    add(sum, (uint64_t)relora_device_get_kind(h->dev));
    add_text(sum, relora_device_name(h->dev));
    ok(relora_device_memory(h->dev, NULL, &total));
    add(sum, total);
}

static void ask_tensor(uint64_t *sum)
{
    relora_tensor *x = handles.x;
    relora_tensor_retain(x);
    add(sum, (uint64_t)relora_tensor_dtype(x));
    add(sum, (uint64_t)relora_tensor_ndim(x));
    add(sum, (uint64_t)relora_tensor_dim(x, 1));
    add(sum, (uint64_t)relora_tensor_stride(x, 0));
    add(sum, (uint64_t)relora_tensor_count(x));
    add(sum, (uint64_t)(uintptr_t)relora_tensor_data(x));
    add(sum, relora_tensor_device(x) == handles.dev);
    relora_tensor_release(x);
}

static void ask_training(uint64_t *sum)
{
    const struct handles *h = &handles;
    int32_t index = -1;
    uint32_t events = 0;
    int64_t next = 0;
    double lr = 0;
    relora_plan_report plan;
    ok(relora_plan_report_init(&plan, sizeof plan));
    ok(relora_linear_plan(h->linear, 300, 0, &plan));
    add(sum, (uint64_t)plan.forward);
    add(sum, (uint64_t)plan.backward_bytes);
    add(sum, (uint64_t)relora_linear_get_mode(h->linear));
    add(sum, (uint64_t)(uintptr_t)relora_linear_param(h->linear, RELORA_PARAM_A));
    add(sum, (uint64_t)(uintptr_t)relora_linear_grad(h->linear, RELORA_PARAM_B));
    add(sum, (uint64_t)relora_group_count(h->group));
    add_text(sum, relora_group_name(h->group, 1));
    ok(relora_group_find(h->group, "norm", &index));
    add(sum, (uint64_t)index);
    add(sum, relora_group_linear(h->group, 0) == h->linear);
    const void *weight = relora_tensor_data(relora_linear_param(h->linear, RELORA_PARAM_WEIGHT));
    add(sum, relora_group_linear_at(h->group, weight) == h->linear);
    add(sum, relora_group_value(h->group, 1) == h->x);
    add(sum, relora_group_grad(h->group, 1) == NULL);
    add(sum, (uint64_t)relora_adam_count(h->adam));
    add_text(sum, relora_adam_name(h->adam, 1));
    ok(relora_adam_find(h->adam, "l.lora_B.weight", &index));
    add(sum, (uint64_t)index);
    add(sum, (uint64_t)(uintptr_t)relora_adam_moment(h->adam, 1, RELORA_MOMENT_SECOND));
    add(sum, (uint64_t)(uintptr_t)relora_adam_flat_grad(h->adam));
    ok(relora_cycle_due(h->cycle, 5, &events));
    add(sum, events);
    ok(relora_schedule_lr(h->schedule, 7, &lr));
    add(sum, (uint64_t)(lr * 1e12));
    ok(relora_schedule_next_restart(h->schedule, 7, &next));
    add(sum, (uint64_t)next);
}

static void ask_reader(uint64_t *sum)
{
    const relora_reader *r = handles.reader;
    const void *data = NULL;
    size_t size = 0;
    int64_t shape[2] = {0};
    int32_t ndim = 0;
    add(sum, (uint64_t)relora_reader_count(r));
    add_text(sum, relora_reader_name(r, 0));
    add_text(sum, relora_reader_dtype(r, "x"));
    ok(relora_reader_shape(r, "x", &ndim, shape, 2));
    add(sum, (uint64_t)(ndim * 1000000 + shape[0] * 1000 + shape[1]));
    ok(relora_reader_bytes(r, "x", &data, &size));
    add(sum, (uint64_t)(uintptr_t)data + size);
    add(sum, (uint64_t)relora_reader_metadata_count(r));
    add_text(sum, relora_reader_metadata_key(r, 0));
    add_text(sum, relora_reader_metadata(r, "who"));
    ok(relora_reader_verify(r));
}

/* ---- making and releasing, out of shared handles ---- */

static void make_objects(void)
{
    const struct handles *h = &handles;
    int64_t n = 3;
    float data[3] = {0};
    relora_stream *st;
    relora_tensor *t, *b, *m;
    relora_linear *l, *wrapped;
    relora_group *g;
    relora_adam *a;
    relora_linear_options lo;
    relora_adam_options ao;
    relora_reset_options ro;
    ok(relora_linear_options_init(&lo, sizeof lo));
    ok(relora_adam_options_init(&ao, sizeof ao));
    ok(relora_reset_options_init(&ro, sizeof ro));
    lo.in_features = lo.out_features = lo.rank = 4;
    ok(relora_stream_create(&st, h->dev));
    ok(relora_tensor_create(&t, h->dev, RELORA_F32, 1, &n));
    ok(relora_tensor_borrow(&b, h->dev, RELORA_F32, 1, &n, NULL, data, NULL, NULL));
    ok(relora_tensor_borrow_matrix(&m, h->dev, RELORA_F32, 3, 1, data));
    ok(relora_linear_create(&l, h->dev, &lo));
    lo.in_features = lo.out_features = 0;
    ok(relora_linear_wrap(&wrapped, h->dev, relora_linear_param(h->linear, RELORA_PARAM_WEIGHT), NULL, &lo));
    ok(relora_group_create(&g, h->dev));
    ok(relora_adam_create(&a, h->dev, &ao));
    relora_stream_release(st);
    relora_tensor_release(t);
    relora_tensor_release(b);
    relora_tensor_release(m);
    relora_linear_release(l);
    relora_linear_release(wrapped);
    relora_group_release(g);
    relora_adam_release(a);
}

static void make_device_objects(void)
{
    struct DLManagedTensorVersioned managed = *handles.shared; /* its deleter stays with the original */
    relora_stream *st;
    relora_tensor *t;
    managed.deleter = NULL;
    ok(relora_stream_wrap(&st, relora_device_get(handles.cuda, RELORA_DEVICE_CUDA, 0), &managed));
    if (relora_stream_native(st) != (void *)&managed) ok(RELORA_E_INTERNAL);
    ok(relora_tensor_from_dlpack(&t, env.ctx, &managed));
    relora_tensor_release(t);
    relora_stream_release(st);
}

static void make_others(void)
{
    const struct handles *h = &handles;
    relora_context *ctx;
    relora_cycle *c;
    relora_schedule *s;
    relora_state *state;
    relora_writer *w;
    relora_reader *file, *there, *memory;
    relora_context_options xo;
    relora_cycle_options co;
    relora_schedule_options so;
    relora_merge_options mo;
    relora_factors_options fo;
    ok(relora_context_options_init(&xo, sizeof xo));
    ok(relora_cycle_options_init(&co, sizeof co));
    ok(relora_schedule_options_init(&so, sizeof so));
    ok(relora_step_report_init(&(relora_step_report){0}, sizeof(relora_step_report)));
    ok(relora_merge_options_init(&mo, sizeof mo));
    ok(relora_factors_options_init(&fo, sizeof fo));
    ok(relora_merge_report_init(&(relora_merge_report){0}, sizeof(relora_merge_report)));
    ok(relora_full_rank_report_init(&(relora_full_rank_report){0}, sizeof(relora_full_rank_report)));
    ok(relora_comm_init(&(relora_comm){0}, sizeof(relora_comm)));
    ok(relora_reset_report_init(&(relora_reset_report){0}, sizeof(relora_reset_report)));
    ok(relora_read_report_init(&(relora_read_report){0}, sizeof(relora_read_report)));
    co.merge_every = 4;
    so.lr = 1;
    so.total_steps = 10;
    so.restart_every = 5;
    ok(relora_context_create(&ctx, &xo));
    ok(relora_cycle_create(&c, env.ctx, &co, h->adam, NULL)); /* one more holder of adam */
    ok(relora_schedule_create(&s, env.ctx, &so));
    ok(relora_state_create(&state, env.ctx));
    ok(relora_writer_create(&w, env.ctx));
    ok(relora_cycle_options_follow(&co, h->schedule));
    ok(relora_reader_open(&file, env.ctx, h->path));
    ok(relora_reader_open_if_there(&there, env.ctx, h->path));
    ok(relora_reader_open_memory(&memory, env.ctx, h->bytes, h->size));
    relora_context_release(ctx);
    relora_cycle_release(c);
    relora_schedule_release(s);
    relora_state_release(state);
    relora_writer_release(w);
    relora_reader_release(file);
    relora_reader_release(there);
    relora_reader_release(memory);
}

/* ---- the threads ---- */

struct asker {
    int turns;
    uint64_t sum; /* of one turn */
    int different;
};

static uint64_t ask_all(void)
{
    uint64_t sum = 0;
    ask_context(&sum);
    ask_tensor(&sum);
    ask_training(&sum);
    ask_reader(&sum);
    make_objects();
    make_device_objects();
    make_others();
    return sum;
}

static void *ask(void *user)
{
    struct asker *a = user;
    for (int i = 0; i < a->turns; i++) a->different += ask_all() != a->sum;
    return NULL;
}

struct worker {
    struct kit *kit;
    relora_status failed;
};

/* The handles that are asked about are at work meanwhile. */
static void *use(void *user)
{
    struct worker *w = user;
    struct kit *k = w->kit;
    for (uint64_t i = 0; i < TURNS && w->failed == RELORA_OK; i++) {
        w->failed = relora_linear_forward(k->l, k->st, k->x, k->y, i, RELORA_TRAIN);
        if (w->failed == RELORA_OK)
            w->failed = relora_linear_backward(k->l, k->st, k->x, k->dy, NULL, i, RELORA_TRAIN);
        if (w->failed == RELORA_OK) w->failed = relora_adam_step(k->adam, k->st, 0.01, 1, NULL);
    }
    return NULL;
}

static void open_file(relora_tensor *x)
{
    relora_writer *w;
    OK(relora_writer_create(&w, env.ctx));
    OK(relora_writer_add(w, "x", x));
    OK(relora_writer_set_metadata(w, "who", "any"));
    handles.path = at("file");
    OK(relora_writer_save(w, env.st, handles.path, RELORA_SAVE_CHECKSUM));
    relora_writer_release(w);
    handles.bytes = slurp(handles.path, &handles.size);
    OK(relora_reader_open(&handles.reader, env.ctx, handles.path));
}

static void open_handles(struct kit *kit)
{
    struct job job = {.ctx = env.ctx};
    relora_schedule_options so;
    OK(relora_schedule_options_init(&so, sizeof so));
    so.lr = 0.1;
    so.total_steps = 100;
    so.restart_every = 20;
    ck_assert_int_eq(make(&job, kit), RELORA_OK);
    ck_assert_int_eq(train(&job, kit), RELORA_OK);
    handles = (struct handles){
        .dev = env.dev, .x = kit->x, .linear = kit->l, .adam = kit->adam, .cycle = kit->cycle};
    handles.schedule = new_schedule(&so);
    handles.group = new_group();
    OK(relora_group_add_linear(handles.group, "l", kit->l));
    OK(relora_group_add_param(handles.group, "norm", kit->x, NULL));
    relora_context_options co;
    fake_module();
    OK(relora_context_options_init(&co, sizeof co));
    co.module_dir = MODULE("fake");
    OK(relora_context_create(&handles.cuda, &co));
    OK(relora_tensor_to_dlpack(&handles.shared, kit->x, env.st, NULL));
    open_file(kit->x);
    /* a text to read */
    FAILS(RELORA_E_NOT_FOUND, relora_adam_find(kit->adam, "none", &(int32_t){0}), "none");
}

START_TEST(test_any)
{
    static struct kit kit;
    struct asker askers[ASKERS] = {0};
    struct worker worker = {.kit = &kit};
    pthread_t thread;
    kit = (struct kit){0};
    open_handles(&kit);
    uint64_t sum = ask_all();
    ck_assert_msg(failures == 0, "%s", env.last);
    ck_assert_uint_eq(ask_all(), sum);
    for (int i = 0; i < ASKERS; i++) askers[i] = (struct asker){.turns = TURNS, .sum = sum};
    ck_assert_int_eq(pthread_create(&thread, NULL, use, &worker), 0);
    together(ask, askers, sizeof *askers, ASKERS);
    pthread_join(thread, NULL);
    ck_assert_int_eq(worker.failed, RELORA_OK);
    ck_assert_int_eq(failures, 0);
    for (int i = 0; i < ASKERS; i++) ck_assert_int_eq(askers[i].different, 0);
    relora_reader_release(handles.reader);
    relora_context_release(handles.cuda);
    handles.shared->deleter(handles.shared);
    drop(&kit);
}
END_TEST

static const char *source;
static int found;

static void is_asked(const char *name, const char *comment, const char *declaration)
{
    char call[128];
    (void)declaration;
    int any = strstr(comment, "@threads any") != NULL, one = strstr(comment, "@threads one") != NULL;
    ck_assert_msg(any + one == 1, "%s must say who may call it", name);
    snprintf(call, sizeof call, "%s(", name);
    ck_assert_msg(one || strstr(source, call), "any thread may call %s, and none does here", name);
    found += any;
}

START_TEST(test_none_is_missing)
{
    source = test_source("threads/any.c");
    found = 0;
    ck_assert_int_gt(each_function(is_asked), 90);
    ck_assert_int_gt(found, 60);
}
END_TEST

Suite *threads_any(void)
{
    Suite *s = suite_create("threads: any");
    TCase *tc = env_case(s, "any", 60);
    tcase_add_test(tc, test_any);
    tcase_add_test(tc, test_none_is_missing);
    return s;
}
