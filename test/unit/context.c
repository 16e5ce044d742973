/* src/context.c, src/device.c, src/stream.c: memory hooks, the log, the error text, lifetimes. */
#include "unit/suites.h"

START_TEST(test_device)
{
    uint64_t free_bytes = 0, total = 0;
    ck_assert_int_eq(relora_device_count(env.ctx, RELORA_DEVICE_CPU), 1);
    ck_assert_ptr_eq(relora_device_get(env.ctx, RELORA_DEVICE_CPU, 0), env.dev);
    ck_assert_int_eq(relora_device_get_kind(env.dev), RELORA_DEVICE_CPU);
    ck_assert_uint_gt(strlen(relora_device_name(env.dev)), 0);
    OK(relora_device_memory(env.dev, &free_bytes, &total));
    ck_assert_uint_gt(free_bytes, 1 << 20);
    ck_assert_uint_ge(total, free_bytes);
}
END_TEST

/* Everything the library keeps comes from the hooks; the fixture has checked that all of it went back. */
START_TEST(test_memory_hooks)
{
    int64_t before = env.mem.bytes;
    ck_assert_int_gt(before, 0);
    relora_tensor *t;
    OK(relora_tensor_create(&t, env.dev, RELORA_F32, 1, (int64_t[]){1000}));
    ck_assert_int_ge(env.mem.bytes, before + 4000);
    ck_assert_uint_eq((uintptr_t)relora_tensor_data(t) % 64, 0);
    relora_tensor_release(t);
    ck_assert_int_eq(env.mem.bytes, before);
}
END_TEST

static void fail_once(void)
{
    relora_tensor *t;
    (void)relora_tensor_create(&t, env.dev, RELORA_F32, -5, NULL);
}

START_TEST(test_error_text)
{
    char text[512], small[8];
    size_t length = 99;
    OK(relora_context_error(env.ctx, text, sizeof text, &length));
    ck_assert_str_eq(text, ""); /* nothing has failed yet */
    ck_assert_uint_eq(length, 0);
    fail_once();
    OK(relora_context_error(env.ctx, NULL, 0, &length));
    ck_assert_uint_gt(length, 20);
    OK(relora_context_error(env.ctx, text, sizeof text, NULL));
    ck_assert_uint_eq(strlen(text), length);
    ck_assert_ptr_nonnull(strstr(text, "relora_tensor_create"));
    memset(small, 'x', sizeof small);
    OK(relora_context_error(env.ctx, small, 5, &length));
    ck_assert_uint_eq(strlen(small), 4); /* cut, NUL-terminated, no byte behind */
    ck_assert_int_eq(small[5], 'x');
    ck_assert_int_eq(strncmp(small, text, 4), 0);
    ck_assert_uint_eq(length, strlen(text));
    memset(small, 'x', sizeof small);
    OK(relora_context_error(env.ctx, small, 0, NULL));
    ck_assert_int_eq(small[0], 'x');
    OK(relora_stream_synchronize(env.st)); /* a success does not clear it */
    OK(relora_context_error(env.ctx, small, sizeof small, &length));
    ck_assert_uint_gt(length, 20);
}
END_TEST

struct sink {
    int lines[5], total, newlines;
};

static void sink(void *user, int32_t level, const char *message)
{
    struct sink *s = user;
    s->total++;
    if (level >= 0 && level < 5) s->lines[level]++;
    s->newlines += strchr(message, '\n') != NULL;
}

/* A level lets through itself and what is graver: a failure and a merge are logged at 1 and 3. */
START_TEST(test_log_levels)
{
    struct sink got = {{0}, 0, 0};
    relora_context *ctx;
    relora_context_options o;
    relora_stream *st;
    relora_linear *l;
    relora_tensor *w;
    OK(relora_context_options_init(&o, sizeof o));
    o.log = sink;
    o.log_user = &got;
    o.log_level = _i;
    OK(relora_context_create(&ctx, &o));
    relora_device *dev = relora_device_get(ctx, RELORA_DEVICE_CPU, 0);
    OK(relora_stream_create(&st, dev));
    ck_assert_int_lt(relora_stream_wait(st, NULL), 0);
    relora_linear_options lo = layer_options(RELORA_MODE_LORA, 4, 4, 2);
    OK(relora_linear_create(&l, dev, &lo));
    OK(relora_tensor_create(&w, dev, RELORA_F32, 2, (int64_t[]){4, 4}));
    OK(relora_tensor_fill(w, st, 1));
    OK(relora_linear_set_weight(l, w, NULL));
    OK(relora_linear_merge(l, st, 1, NULL));
    relora_tensor_release(w);
    relora_linear_release(l);
    relora_context_release(ctx); /* outlived by the stream: a line at DEBUG */
    relora_stream_release(st);
    ck_assert_int_eq(got.lines[RELORA_LOG_ERROR], _i >= RELORA_LOG_ERROR ? 1 : 0);
    ck_assert_int_eq(got.lines[RELORA_LOG_INFO] > 0, _i >= RELORA_LOG_INFO);
    ck_assert_int_eq(got.lines[RELORA_LOG_DEBUG] > 0, _i >= RELORA_LOG_DEBUG);
    if (_i == RELORA_LOG_OFF) ck_assert_int_eq(got.total, 0);
    ck_assert_int_eq(got.newlines, 0);
}
END_TEST

/* on_destroy: once, and after everything else the library asks of the host. */
struct end {
    struct track *memory;
    int calls;
    int64_t bytes; /* that were still out at the call */
};

static void note_end(void *user)
{
    struct end *end = user;
    end->calls++;
    end->bytes = end->memory->bytes;
}

struct pile {
    struct end end;
    relora_context *ctx;
    relora_stream *st;
    relora_tensor *w;
    relora_linear *l;
    relora_adam *adam;
    relora_cycle *cycle;
    relora_schedule *schedule;
};

static void build(struct pile *p, struct track *t)
{
    relora_context_options o;
    relora_cycle_options co = cycle_options(5, 0);
    relora_schedule_options so;
    relora_linear_options lo = layer_options(RELORA_MODE_LORA, 6, 4, 2);
    track_init(t);
    OK(relora_context_options_init(&o, sizeof o));
    OK(relora_schedule_options_init(&so, sizeof so));
    so.kind = RELORA_SCHEDULE_CONSTANT;
    so.lr = 1;
    track_install(t, &o);
    p->end = (struct end){t, 0, -1};
    o.on_destroy = note_end;
    o.destroy_user = &p->end;
    OK(relora_context_create(&p->ctx, &o));
    relora_device *dev = relora_device_get(p->ctx, RELORA_DEVICE_CPU, 0);
    OK(relora_stream_create(&p->st, dev));
    OK(relora_tensor_create(&p->w, dev, RELORA_F32, 2, (int64_t[]){4, 6}));
    OK(relora_linear_create(&p->l, dev, &lo));
    OK(relora_linear_set_weight(p->l, p->w, NULL));
    OK(relora_adam_create(&p->adam, dev, NULL));
    OK(relora_adam_add_linear(p->adam, "l", p->l));
    OK(relora_cycle_create(&p->cycle, p->ctx, &co, p->adam, NULL));
    OK(relora_cycle_add(p->cycle, p->l));
    OK(relora_schedule_create(&p->schedule, p->ctx, &so));
}

static void drop(struct pile *p, int which)
{
    switch (which) {
    case 0: relora_context_release(p->ctx); break;
    case 1: relora_stream_release(p->st); break;
    case 2: relora_tensor_release(p->w); break;
    case 3: relora_linear_release(p->l); break;
    case 4: relora_adam_release(p->adam); break;
    case 5: relora_cycle_release(p->cycle); break;
    default: relora_schedule_release(p->schedule);
    }
}

/* Release in any order: memory goes with the last one, and not before. Under ASan also: no use after. */
START_TEST(test_release_order)
{
    enum { KINDS = 7 };
    static const int strides[] = {1, 2, 3, 4, 5, 6};
    struct pile p;
    struct track t;
    for (int first = 0; first < KINDS; first++) {
        build(&p, &t);
        for (int i = 0; i < KINDS; i++) {
            ck_assert_int_gt(t.bytes, 0);
            ck_assert_int_eq(p.end.calls, 0);
            drop(&p, (first + i * strides[_i]) % KINDS);
        }
        ck_assert_int_eq(p.end.calls, 1);
        ck_assert_int_eq(p.end.bytes, 0);
        ck_assert_int_eq(t.bytes, 0);
        ck_assert_int_eq(t.blocks, 0);
        ck_assert_int_eq(t.mistakes, 0);
    }
}
END_TEST

/* Two contexts never meet: text, memory and log of one know nothing of the other. */
START_TEST(test_two_contexts)
{
    struct pile p;
    struct track t;
    char text[64];
    build(&p, &t);
    fail_once();
    OK(relora_context_error(p.ctx, text, sizeof text, NULL));
    ck_assert_str_eq(text, "");
    int64_t here = env.mem.bytes, there = t.bytes;
    relora_tensor *w = new_vector(RELORA_F32, 100);
    ck_assert_int_gt(env.mem.bytes, here);
    ck_assert_int_eq(t.bytes, there);
    FAILS(RELORA_E_CONTEXT, relora_tensor_copy(w, p.w, env.st), "source");
    for (int i = 0; i < 7; i++) drop(&p, i);
}
END_TEST

/* An allocator that has nothing: no context, no crash. */
static void *no_memory(void *user, size_t size, size_t alignment)
{
    (void)user, (void)size, (void)alignment;
    return NULL;
}

static void no_free(void *user, void *ptr, size_t size, size_t alignment)
{
    (void)user, (void)ptr, (void)size, (void)alignment;
}

START_TEST(test_no_memory)
{
    relora_context *ctx = env.ctx;
    relora_context_options o;
    OK(relora_context_options_init(&o, sizeof o));
    o.host_alloc = no_memory;
    o.host_free = no_free;
    ck_assert_int_eq(relora_context_create(&ctx, &o), RELORA_E_NO_MEMORY);
    ck_assert_ptr_null(ctx);
}
END_TEST

/* The n-th request fails, for every n until all succeed: RELORA_E_NO_MEMORY, and nothing is left behind. */
static relora_status scenario(struct pile *p, const relora_context_options *o)
{
    relora_cycle_options co = cycle_options(5, 0);
    relora_linear_options lo = layer_options(RELORA_MODE_FULL, 6, 4, 2);
    relora_status s;
    if ((s = relora_context_create(&p->ctx, o)) < 0) return s;
    relora_device *dev = relora_device_get(p->ctx, RELORA_DEVICE_CPU, 0);
    if ((s = relora_stream_create(&p->st, dev)) < 0) return s;
    if ((s = relora_tensor_create(&p->w, dev, RELORA_F32, 2, (int64_t[]){4, 6})) < 0) return s;
    if ((s = relora_linear_create(&p->l, dev, &lo)) < 0) return s;
    if ((s = relora_linear_set_weight(p->l, p->w, NULL)) < 0) return s;
    if ((s = relora_linear_set_mode(p->l, p->st, RELORA_MODE_LORA)) < 0) return s;
    if ((s = relora_adam_create(&p->adam, dev, NULL)) < 0) return s;
    if ((s = relora_adam_add_linear(p->adam, "l", p->l)) < 0) return s;
    if ((s = relora_adam_flatten_grads(p->adam, p->st)) < 0) return s;
    if ((s = relora_tensor_fill(p->w, p->st, 1)) < 0) return s;
    if (relora_linear_forward(p->l, p->st, p->w, p->w, 0, 0) != RELORA_E_SHAPE) return RELORA_E_INTERNAL;
    if ((s = relora_adam_step(p->adam, p->st, 0.1, 1, NULL)) < 0) return s;
    if ((s = relora_adam_reset(p->adam, p->st, NULL, 0, NULL, NULL)) < 0) return s;
    if ((s = relora_cycle_create(&p->cycle, p->ctx, &co, p->adam, NULL)) < 0) return s;
    if ((s = relora_cycle_add(p->cycle, p->l)) < 0) return s;
    return relora_cycle_advance(p->cycle, p->st, 6, NULL, NULL, NULL);
}

START_TEST(test_every_allocation_fails_once)
{
    relora_status status = RELORA_E_NO_MEMORY;
    for (int64_t n = 0; status == RELORA_E_NO_MEMORY; n++) {
        struct track t;
        struct pile p = {0};
        relora_context_options o;
        track_init(&t);
        track_refuse(&t, n + 1, 1);
        OK(relora_context_options_init(&o, sizeof o));
        track_install(&t, &o);
        status = scenario(&p, &o);
        ck_assert_msg(status == RELORA_OK || status == RELORA_E_NO_MEMORY, "request %lld: %s", (long long)n,
                      relora_status_name(status));
        for (int i = 0; i < 7; i++) drop(&p, 6 - i);
        ck_assert_msg(t.blocks == 0, "request %lld fails and leaves %lld blocks", (long long)n,
                      (long long)t.blocks);
        if (status == RELORA_OK) ck_assert_int_gt(n, 15); /* the scenario does allocate */
    }
}
END_TEST

/* A context that was not made has nothing to be told the end of, and a program of 0.4 has no such field. */
START_TEST(test_no_end)
{
    struct track t;
    struct end end = {&t, 0, -1};
    relora_context *ctx;
    relora_context_options o;
    for (int64_t n = 0;; n++) {
        track_init(&t);
        track_refuse(&t, n + 1, 1);
        OK(relora_context_options_init(&o, sizeof o));
        track_install(&t, &o);
        o.on_destroy = note_end;
        o.destroy_user = &end;
        if (relora_context_create(&ctx, &o) == RELORA_OK) break;
        ck_assert_int_eq(end.calls, 0);
    }
    relora_context_release(ctx);
    ck_assert_int_eq(end.calls, 1);
    track_refuse(&t, 0, 0);
    o.struct_size = offsetof(relora_context_options, on_destroy);
    OK(relora_context_create(&ctx, &o));
    relora_context_release(ctx);
    ck_assert_int_eq(end.calls, 1);
}
END_TEST

/* The text of a stream: that of the calls it was given to, whichever handle came first. */
START_TEST(test_stream_text)
{
    char text[512], small[4];
    size_t length = 99;
    relora_stream *second = second_stream();
    relora_tensor *t = new_vector(RELORA_F32, 3);
    FAILS_SILENTLY(RELORA_E_ARGUMENT, relora_stream_error(NULL, text, sizeof text, NULL));
    fail_once(); /* without a stream */
    OK(relora_stream_error(env.st, text, sizeof text, &length));
    ck_assert_str_eq(text, "");
    ck_assert_uint_eq(length, 0);
    FAILS(RELORA_E_SHAPE, relora_tensor_write(t, env.st, text, 5), "bytes");
    ck_assert_int_eq(relora_tensor_read(t, second, NULL, 12), RELORA_E_ARGUMENT);
    fail_once();
    OK(relora_stream_error(env.st, text, sizeof text, &length));
    ck_assert_ptr_nonnull(strstr(text, "relora_tensor_write: bytes is 5"));
    ck_assert_uint_eq(length, strlen(text));
    OK(relora_stream_error(second, text, sizeof text, NULL));
    ck_assert_ptr_nonnull(strstr(text, "relora_tensor_read: target is NULL"));
    OK(relora_stream_error(second, small, sizeof small, NULL));
    ck_assert_str_eq(small, "rel");
    OK(relora_tensor_fill(t, second, 1)); /* a success does not clear it */
    OK(relora_stream_error(second, NULL, 0, &length));
    ck_assert_uint_gt(length, 20);
    relora_context *other;
    relora_stream *strange;
    OK(relora_context_create(&other, NULL));
    OK(relora_stream_create(&strange, relora_device_get(other, env_kind(), 0)));
    FAILS(RELORA_E_CONTEXT, relora_tensor_fill(t, strange, 1), "");
    OK(relora_stream_error(strange, text, sizeof text, NULL));
    ck_assert_ptr_nonnull(strstr(text, "relora_tensor_fill: stream belongs to another context"));
    relora_stream_release(strange);
    relora_context_release(other);
}
END_TEST

/* After RELORA_E_NO_MEMORY of set_mode the layer is as it was: mode, parts, gradient and output; and once
 * there is memory it succeeds. */
START_TEST(test_set_mode_without_memory)
{
    struct track t;
    struct pile p = {0};
    relora_context_options o;
    relora_linear_options lo = layer_options(RELORA_MODE_FULL, 6, 4, 2);
    lo.flags = RELORA_LINEAR_TRAINABLE_SCALE;
    track_init(&t);
    OK(relora_context_options_init(&o, sizeof o));
    track_install(&t, &o);
    OK(relora_context_create(&p.ctx, &o));
    relora_device *dev = relora_device_get(p.ctx, RELORA_DEVICE_CPU, 0);
    OK(relora_stream_create(&p.st, dev));
    OK(relora_tensor_create(&p.w, dev, RELORA_F32, 2, (int64_t[]){4, 6}));
    OK(relora_linear_create(&p.l, dev, &lo));
    OK(relora_linear_set_weight(p.l, p.w, NULL));
    OK(relora_tensor_fill(relora_linear_grad(p.l, RELORA_PARAM_WEIGHT), p.st, 5));
    relora_tensor *grad = relora_linear_grad(p.l, RELORA_PARAM_WEIGHT);
    int64_t blocks = t.blocks, failures = 0;
    relora_status status = RELORA_E_NO_MEMORY;
    for (int64_t n = 0; status == RELORA_E_NO_MEMORY; n++) {
        track_refuse(&t, n + 1, 1);
        status = relora_linear_set_mode(p.l, p.st, RELORA_MODE_LORA);
        if (status == RELORA_OK) break;
        failures++;
        ck_assert_int_eq(relora_linear_get_mode(p.l), RELORA_MODE_FULL);
        ck_assert_ptr_eq(relora_linear_grad(p.l, RELORA_PARAM_WEIGHT), grad);
        ck_assert_float_eq(((const float *)relora_tensor_data(grad))[23], 5);
        for (relora_param q = RELORA_PARAM_A; q <= RELORA_PARAM_SCALE; q++)
            ck_assert_ptr_null(relora_linear_param(p.l, q));
        ck_assert_int_eq(t.blocks, blocks);
    }
    ck_assert_int_eq(status, RELORA_OK);
    ck_assert_int_gt(failures, 5);
    ck_assert_int_eq(relora_linear_get_mode(p.l), RELORA_MODE_LORA);
    for (int i = 0; i < 7; i++) drop(&p, i);
    ck_assert_int_eq(t.blocks, 0);
}
END_TEST

Suite *unit_context(void)
{
    Suite *s = suite_create("context, device, stream");
    TCase *tc = env_case(s, "context", 20);
    tcase_add_test(tc, test_device);
    tcase_add_test(tc, test_memory_hooks);
    tcase_add_test(tc, test_error_text);
    tcase_add_loop_test(tc, test_log_levels, 0, 5);
    tcase_add_loop_test(tc, test_release_order, 0, 6);
    tcase_add_test(tc, test_two_contexts);
    tcase_add_test(tc, test_no_memory);
    tcase_add_test(tc, test_every_allocation_fails_once);
    tcase_add_test(tc, test_no_end);
    tcase_add_test(tc, test_stream_text);
    tcase_add_test(tc, test_set_mode_without_memory);
    return s;
}
