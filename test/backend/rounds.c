#include "backend/rounds.h"
#include <stdio.h>
#include <stdlib.h>

relora_stream *side;

static const relora_stream *blamed; /* the stream of the call that reported the device's failure */

/* Objects that have nothing to do with the failure: a stream of the same context, and another context. */
static struct bystander {
    relora_context *ctx;
    relora_stream *st;
    relora_tensor *tensor;
} near, far;
static struct track far_memory;

/* ---- the world of one round ---- */

static void open_bystander(struct bystander *b, relora_context *ctx)
{
    int64_t three = 3;
    b->ctx = ctx;
    relora_device *dev = relora_device_get(ctx, RELORA_DEVICE_CPU, 0);
    OK(relora_stream_create(&b->st, dev));
    OK(relora_tensor_create(&b->tensor, dev, RELORA_F32, 1, &three));
}

static void close_bystander(struct bystander *b)
{
    relora_stream_release(b->st);
    relora_tensor_release(b->tensor);
}

static void open_world(void)
{
    relora_context_options o;
    env_open();
    relora_stream_release(env.st);
    faulty = (struct faulty){0};
    faulty_install(env.ctx);
    OK(relora_stream_create(&env.st, env.dev));
    OK(relora_stream_create(&side, env.dev));
    open_bystander(&near, env.ctx);
    track_init(&far_memory);
    OK(relora_context_options_init(&o, sizeof o));
    track_install(&far_memory, &o);
    OK(relora_context_create(&far.ctx, &o));
    faulty_install(far.ctx);
    open_bystander(&far, far.ctx);
    blamed = NULL;
}

static void close_world(const struct scenario *s, int backwards)
{
    s->drop(backwards);
    close_bystander(&near);
    close_bystander(&far);
    relora_context_release(far.ctx);
    relora_stream_release(side);
    env_close();
    ck_assert_int_eq(far_memory.bytes, 0);
    ck_assert_int_eq(faulty.bytes, 0);
    ck_assert_int_eq(faulty.queues, 0);
}

void hold(void) { faulty.held++; }

void unhold(void) { faulty.held--; }

/* ---- one call ---- */

int again(relora_status status, const relora_stream *stream, const char *call, const char *file, int line)
{
    char text[1024], name[128];
    relora_status expected = faulty.kind == FAULT_MEMORY ? RELORA_E_NO_MEMORY : RELORA_E_BACKEND;
    snprintf(name, sizeof name, "%.*s: ", (int)strcspn(call, "("), call);
    if (status >= 0) {
        if (env.errors) ck_abort_msg("%s:%d: %ssucceeds and logs \"%s\"", file, line, name, env.last);
        return 0;
    }
    relora_context_error(env.ctx, text, sizeof text, NULL);
    const char *where = faulty.entry ? faulty.entry : "nothing";
    if (status != expected || !faulty.entry)
        ck_abort_msg("%s:%d: %s%s after %s failed (kind %d): %s", file, line, name,
                     relora_status_name(status), where, faulty.kind, text);
    if (env.errors != 1 || strcmp(text, env.last) != 0)
        ck_abort_msg("%s:%d: %s%d lines logged after %s failed, text \"%s\", last line \"%s\"", file, line,
                     name, env.errors, where, text, env.last);
    if (strncmp(text, name, strlen(name)) != 0)
        ck_abort_msg("%s:%d: \"%s\" does not begin with \"%s\"", file, line, text, name);
    int says = strcmp(where, "queue_open") == 0 ? strstr(text, "queue") != NULL
               : status == RELORA_E_BACKEND     ? strstr(text, "as planned") != NULL
                                                : strstr(text, "memory") || strstr(text, "as planned");
    if (!says) ck_abort_msg("%s:%d: \"%s\" does not say what failed", file, line, text);
    if (faulty.told != 1) ck_abort_msg("%s:%d: %sthe backend failed %d times", file, line, name, faulty.told);
    if (status == RELORA_E_BACKEND) blamed = stream;
    return status == RELORA_E_NO_MEMORY && (!strcmp(where, "alloc") || !strcmp(where, "queue_open"));
}

/* ---- after a failure ---- */

/* The stream of the call that failed is finished and says so without asking the device again; the other one,
 * and both after a mere lack of memory, are as good as new. */
static void renew(relora_stream **st)
{
    if (*st != blamed) {
        OK(relora_stream_synchronize(*st));
        return;
    }
    int64_t calls = faulty.calls;
    FAILS(RELORA_E_BACKEND, relora_stream_synchronize(*st), "finished");
    ck_assert_int_eq(faulty.calls, calls);
    relora_stream_release(*st);
    OK(relora_stream_create(st, env.dev));
}

static void works(const struct bystander *b)
{
    float values[3] = {0};
    OK(relora_tensor_fill(b->tensor, b->st, 7));
    OK(relora_tensor_read(b->tensor, b->st, values, sizeof values));
    for (int i = 0; i < 3; i++) ck_assert_float_eq(values[i], 7);
    OK(relora_stream_synchronize(b->st));
}

/* A device that is gone for good: whoever asks hears it once, and is told the short way afterwards. */
static void check_lost(void)
{
    relora_stream *st = (void *)&env;
    FAILS(RELORA_E_BACKEND, relora_tensor_fill(near.tensor, near.st, 1), "as planned");
    FAILS(RELORA_E_BACKEND, relora_tensor_fill(near.tensor, near.st, 1), "finished");
    FAILS(RELORA_E_BACKEND, relora_stream_create(&st, env.dev), "queue");
    ck_assert_ptr_null(st);
}

/* ---- rounds ---- */

static void compare(const struct scenario *s, const void *expected, size_t expected_size)
{
    size_t size;
    hold();
    void *got = s->result(&size);
    unhold();
    ck_assert_uint_eq(size, expected_size);
    SAME_BYTES(got, expected, size);
}

static void recover(const struct scenario *s)
{
    renew(&env.st);
    renew(&side);
    if (s->mend) s->mend();
    OK(s->run());
}

/* Did the call that had to fail come to pass? */
static int play_round(const struct scenario *s, enum fault kind, int64_t at, const void *expected,
                      size_t size)
{
    open_world();
    faulty_plan(kind, at);
    relora_status status = s->run();
    int met = faulty.entry != NULL;
    if (kind != FAULT_LOST) faulty.at = 0;
    if (met && !faulty.told)
        ck_abort_msg("kind %d, call %d: the failure of %s was never reported", kind, (int)at, faulty.entry);
    if (status < 0 && kind == FAULT_LOST) check_lost();
    else if (status < 0) recover(s);
    if (kind != FAULT_LOST || !met) compare(s, expected, size);
    if (kind != FAULT_LOST) {
        works(&near);
        works(&far);
    }
    ck_assert_int_eq(faulty.after, 0);
    close_world(s, (int)(at % 2));
    return met;
}

void play(const struct scenario *s, int64_t least)
{
    size_t size;
    open_world();
    faulty_plan(FAULT_DEVICE, 0);
    OK(s->run());
    ck_assert_int_ge(faulty.calls, least);
    void *result = s->result(&size), *expected = malloc(size);
    memcpy(expected, result, size);
    close_world(s, 0);
    for (enum fault kind = FAULT_MEMORY; kind <= FAULT_LOST; kind++)
        for (int64_t at = 1; play_round(s, kind, at, expected, size);) at++;
    free(expected);
}
