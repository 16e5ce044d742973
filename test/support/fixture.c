#include "support/fixture.h"
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct env env;

struct deferred {
    void (*release)(void *);
    void *object;
    struct deferred *next;
};
static struct deferred *deferred;

static int skipped; /* tests of this process */
static int absent;  /* there is no device of env_kind() */

relora_device_kind env_kind(void)
{
    const char *name = getenv("RELORA_TEST_DEVICE");
    return name && strcmp(name, "cuda") == 0 ? RELORA_DEVICE_CUDA : RELORA_DEVICE_CPU;
}

int skip_if(int condition)
{
    skipped += condition != 0;
    return condition;
}

int cpu_only(void) { return skip_if(env_kind() != RELORA_DEVICE_CPU); }

static pthread_mutex_t listening = PTHREAD_MUTEX_INITIALIZER; /* some tests have several threads */

static void listen(void *user, int32_t level, const char *message)
{
    struct env *e = user;
    pthread_mutex_lock(&listening);
    if (level >= 0 && level < 5) e->lines[level]++;
    if (level == RELORA_LOG_ERROR) {
        e->errors++;
        snprintf(e->last, sizeof e->last, "%s", message);
    }
    if (level == RELORA_LOG_WARN) snprintf(e->warning, sizeof e->warning, "%s", message);
    if (level == RELORA_LOG_INFO) snprintf(e->info, sizeof e->info, "%s", message);
    pthread_mutex_unlock(&listening);
}

relora_context_options env_options(void)
{
    relora_context_options o;
    relora_context_options_init(&o, sizeof o);
    track_install(&env.mem, &o);
    o.module_dir = getenv("RELORA_TEST_MODULE_DIR");
    return o;
}

static const char *watched; /* the case whose test runs */

/* On a device nobody else ends a test that hangs: all share a process. What the program said so far is not lost. */
static void hangs(int signal)
{
    (void)signal;
    printf("\na test hangs: one of the case \"%s\"\n", watched);
    fflush(NULL);
    _exit(124);
}

static void watch(int on)
{
    const char *seconds = getenv("RELORA_TEST_SECONDS");
    if (!seconds) return;
    watched = tcase_name();
    if (on) signal(SIGALRM, hangs);
    alarm(on ? (unsigned)atoi(seconds) : 0);
}

static void open_environment(relora_device_kind kind, int32_t threads, const char *module_dir)
{
    watch(1);
    if (absent) ck_abort_msg("no device"); /* counted as skipped by env_run() */
    memset(&env, 0, sizeof env);
    track_init(&env.mem);
    relora_context_options o = env_options();
    o.threads = threads;
    if (module_dir) o.module_dir = module_dir;
    o.log = listen;
    o.log_user = &env;
    o.log_level = RELORA_LOG_DEBUG;
    OK(relora_context_create(&env.ctx, &o));
    env.dev = relora_device_get(env.ctx, kind, 0);
    ck_assert_ptr_nonnull(env.dev);
    OK(relora_stream_create(&env.st, env.dev));
}

void env_open_on(relora_device_kind kind, int32_t threads)
{
    open_environment(kind, threads, getenv("RELORA_TEST_MODULE_DIR"));
}

void env_open_threads(int32_t threads) { env_open_on(env_kind(), threads); }

void env_open_module(const char *module_dir) { open_environment(RELORA_DEVICE_CPU, 1, module_dir); }

void env_open(void) { env_open_threads(1); }

static void run_deferred(void)
{
    while (deferred) {
        struct deferred *d = deferred;
        deferred = d->next;
        d->release(d->object);
        free(d);
    }
}

void env_close(void)
{
    run_deferred();
    watch(0);
    relora_stream_release(env.st);
    relora_context_release(env.ctx);
    env.st = NULL;
    env.ctx = NULL;
    ck_assert_int_eq(env.mem.bytes, 0);
    ck_assert_int_eq(env.mem.blocks, 0);
    ck_assert_int_eq(env.mem.mistakes, 0);
}

void defer(void (*release)(void *), void *object)
{
    struct deferred *d = malloc(sizeof *d);
    d->release = release;
    d->object = object;
    d->next = deferred;
    deferred = d;
}

void *scratch(size_t bytes)
{
    void *p = calloc(1, bytes ? bytes : 1);
    defer(free, p);
    return p;
}

double *doubles(int64_t n) { return scratch((size_t)n * sizeof(double)); }

TCase *env_case(Suite *suite, const char *name, double seconds)
{
    TCase *tc = tcase_create(name);
    tcase_add_checked_fixture(tc, env_open, env_close);
    tcase_set_timeout(tc, seconds);
    suite_add_tcase(suite, tc);
    return tc;
}

/* Is there no device of env_kind(), and why? */
static int is_absent(char *reason, size_t capacity)
{
    relora_context *ctx = NULL;
    relora_context_options o = env_options();
    track_init(&env.mem);
    int none = relora_context_create(&ctx, &o) != RELORA_OK || !relora_device_get(ctx, env_kind(), 0);
    if (ctx) relora_context_error(ctx, reason, capacity, NULL);
    if (!reason[0]) snprintf(reason, capacity, "there is no such device");
    relora_context_release(ctx);
    return none;
}

int env_without_device(int tests, const char *reason)
{
    if (!getenv("RELORA_REQUIRE_DEVICE")) return printf("Skipped: %d, %s\n", tests, reason) < 0;
    printf("No test was run, and RELORA_REQUIRE_DEVICE is set: %s\n", reason);
    return 1;
}

static int run_on_device(SRunner *runner)
{
    char reason[1024] = "";
    absent = is_absent(reason, sizeof reason);
    srunner_set_fork_status(runner, CK_NOFORK);
    srunner_run_all(runner, absent ? CK_SILENT : CK_ENV);
    if (absent) return env_without_device(srunner_ntests_run(runner), reason);
    if (skipped) printf("Skipped: %d, not for this device\n", skipped);
    return srunner_ntests_failed(runner);
}

int env_run(SRunner *runner)
{
    int failed;
    if (env_kind() == RELORA_DEVICE_CPU) {
        srunner_run_all(runner, CK_ENV);
        failed = srunner_ntests_failed(runner);
    } else {
        failed = run_on_device(runner);
    }
    srunner_free(runner);
    return failed != 0;
}

static const char *error_text(char *buffer, size_t capacity)
{
    buffer[0] = 0;
    if (env.ctx) relora_context_error(env.ctx, buffer, capacity, NULL);
    return buffer;
}

void status_ok(relora_status status, const char *call, const char *file, int line)
{
    char text[1024];
    if (status != RELORA_OK)
        ck_abort_msg("%s:%d: %s is %s: %s", file, line, call, relora_status_name(status),
                     error_text(text, sizeof text));
    mark_point();
}

/* Is env.st an argument of the call, as written? */
static int names_stream(const char *call)
{
    const char *at = strstr(call, "env.st");
    return at && strcspn(at + 6, ",)") == 0;
}

void status_fails(relora_status got, relora_status want, const char *call, const char *const *words,
                  const char *file, int line)
{
    char text[1024], name[128];
    size_t n = strcspn(call, "( ");
    snprintf(name, sizeof name, "%.*s", (int)n, call);
    error_text(text, sizeof text);
    if (got != want)
        ck_abort_msg("%s:%d: %s is %s, expected %s; text: %s", file, line, call, relora_status_name(got),
                     relora_status_name(want), text);
    if (env.errors != 1) ck_abort_msg("%s:%d: %s logged %d error lines", file, line, name, env.errors);
    if (strcmp(text, env.last) != 0)
        ck_abort_msg("%s:%d: text \"%s\" but log \"%s\"", file, line, text, env.last);
    if (!strstr(text, name) || strchr(text, '\n'))
        ck_abort_msg("%s:%d: \"%s\" does not name %s in one line", file, line, text, name);
    if (names_stream(call)) {
        char own[sizeof text];
        status_ok(relora_stream_error(env.st, own, sizeof own, NULL), "relora_stream_error", file, line);
        if (strcmp(text, own) != 0)
            ck_abort_msg("%s:%d: text \"%s\" but that of the stream is \"%s\"", file, line, text, own);
    }
    for (; *words; words++)
        if (!strstr(text, *words))
            ck_abort_msg("%s:%d: \"%s\" does not mention \"%s\"", file, line, text, *words);
    mark_point();
}
