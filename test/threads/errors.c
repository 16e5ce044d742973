/* Failures in several threads of one context at once: the code is always exact, the log pairs each text with
 * its call, and the text on the context is one whole sentence of somebody. */
#include <stdio.h>
#include "threads/work.h"

enum { KINDS = 8, TURNS = 10000, TEXT = 512 };

struct failing {
    relora_context *ctx;
    int number;
    char expected[KINDS][TEXT]; /* what its own calls say */
    const struct failing *all;
    int64_t wrong_codes, wrong_logs, wrong_texts;
};

/* Calls that fail, with sentences of very different length that name the thread. */
static relora_status provoke(const struct failing *f, int kind)
{
    relora_device *dev = relora_device_get(f->ctx, RELORA_DEVICE_CPU, 0);
    relora_tensor *t;
    relora_linear *l;
    relora_linear_options o;
    int64_t dim[] = {-1 - f->number, 3};
    for (int i = 0; i < kind; i++) dim[0] *= 100;
    switch (kind % 4) {
    case 0: return relora_tensor_create(&t, dev, RELORA_F32, 1, dim);
    case 1: return relora_tensor_create(&t, dev, 1000 + kind * 10000 + f->number, 2, dim);
    case 2: dim[0] = INT64_MAX - f->number - kind; return relora_tensor_create(&t, dev, RELORA_F32, 2, dim);
    default:
        relora_linear_options_init(&o, sizeof o);
        o.in_features = dim[0];
        return relora_linear_create(&l, dev, &o);
    }
}

static const relora_status codes[4] = {RELORA_E_ARGUMENT, RELORA_E_ARGUMENT, RELORA_E_OVERFLOW,
                                       RELORA_E_ARGUMENT};

static _Thread_local char logged[TEXT]; /* by the thread's own last call */
static _Thread_local int lines;

/* No lock of the library is held here, so asking is allowed. */
static void listen(void *user, int32_t level, const char *message)
{
    char text[TEXT];
    relora_context *const *ctx = user;
    if (level != RELORA_LOG_ERROR) return;
    snprintf(logged, sizeof logged, "%s", message);
    lines++;
    if (*ctx && relora_context_error(*ctx, text, sizeof text, NULL) != RELORA_OK) lines += 100;
}

static int is_one_of(const struct failing *all, const char *text)
{
    for (int i = 0; i < WORKERS; i++)
        for (int k = 0; k < KINDS; k++)
            if (!strcmp(all[i].expected[k], text)) return 1;
    return 0;
}

static void *fail_often(void *user)
{
    struct failing *f = user;
    char text[TEXT];
    for (int i = 0; i < TURNS; i++) {
        int kind = (i + f->number) % KINDS;
        size_t length = 0;
        lines = 0;
        f->wrong_codes += provoke(f, kind) != codes[kind % 4];
        f->wrong_logs += lines != 1 || strcmp(logged, f->expected[kind]) != 0;
        f->wrong_codes += relora_context_error(f->ctx, text, sizeof text, &length) != RELORA_OK;
        f->wrong_texts += !is_one_of(f->all, text) || strlen(text) != length;
    }
    return NULL;
}

START_TEST(test_errors_at_once)
{
    struct failing *all = scratch(WORKERS * sizeof *all);
    relora_context_options o;
    relora_context *ctx = NULL;
    OK(relora_context_options_init(&o, sizeof o));
    o.log = listen;
    o.log_user = &ctx;
    o.log_level = RELORA_LOG_ERROR;
    OK(relora_context_create(&ctx, &o));
    for (int i = 0; i < WORKERS; i++) {
        all[i].ctx = ctx;
        all[i].number = i;
        all[i].all = all;
        for (int k = 0; k < KINDS; k++) {
            ck_assert_int_eq(provoke(&all[i], k), codes[k % 4]);
            ck_assert(!is_one_of(all, logged)); /* each text is that of one call of one thread */
            OK(relora_context_error(ctx, all[i].expected[k], TEXT, NULL));
            ck_assert_str_eq(all[i].expected[k], logged);
        }
    }
    together(fail_often, all, sizeof *all, WORKERS);
    for (int i = 0; i < WORKERS; i++) {
        ck_assert_int_eq(all[i].wrong_codes, 0);
        ck_assert_int_eq(all[i].wrong_logs, 0);
        ck_assert_int_eq(all[i].wrong_texts, 0);
    }
    relora_context_release(ctx);
}
END_TEST

/* ---- a stream for each thread: then the text is exact too ---- */

struct streaming {
    relora_stream *st;
    relora_tensor *t;
    int number;
    int64_t wrong;
};

static void *fail_on_stream(void *user)
{
    struct streaming *s = user;
    char text[TEXT], wanted[64];
    for (int i = 0; i < TURNS; i++) {
        size_t bytes = 1 + (size_t)s->number * TURNS * 10 + (size_t)i;
        snprintf(wanted, sizeof wanted, "relora_tensor_write: bytes is %zu,", bytes);
        s->wrong += relora_tensor_write(s->t, s->st, wanted, bytes) != RELORA_E_SHAPE;
        s->wrong += relora_stream_error(s->st, text, sizeof text, NULL) != RELORA_OK;
        s->wrong += strncmp(text, wanted, strlen(wanted)) != 0;
    }
    return NULL;
}

/* Streams come and go meanwhile. */
static void *make_streams(void *user)
{
    struct streaming *s = user;
    for (int i = 0; i < TURNS / 10; i++) {
        relora_stream *st;
        s->wrong += relora_stream_create(&st, env.dev) != RELORA_OK;
        s->wrong += relora_stream_wait(st, NULL) != RELORA_E_ARGUMENT;
        relora_stream_release(st);
    }
    return NULL;
}

static void *stream_or_make(void *user)
{
    return ((struct streaming *)user)->st ? fail_on_stream(user) : make_streams(user);
}

START_TEST(test_errors_on_streams)
{
    struct streaming *all = scratch((WORKERS + 1) * sizeof *all);
    for (int i = 0; i < WORKERS; i++) {
        all[i].st = second_stream();
        all[i].t = new_vector(RELORA_F32, 3);
        all[i].number = i + 1;
    }
    together(stream_or_make, all, sizeof *all, WORKERS + 1);
    for (int i = 0; i <= WORKERS; i++) ck_assert_int_eq(all[i].wrong, 0);
}
END_TEST

Suite *threads_errors(void)
{
    Suite *s = suite_create("threads: errors");
    TCase *tc = env_case(s, "errors", 60);
    tcase_add_test(tc, test_errors_at_once);
    tcase_add_test(tc, test_errors_on_streams);
    return s;
}
