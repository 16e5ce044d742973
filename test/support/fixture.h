/* What almost every test needs: a context with a counting allocator and a listening log, a device and a
 * stream. Opened by a checked fixture, so in the child and not in the runner (CK_FORK). The device is the
 * CPU, or what RELORA_TEST_DEVICE says: with "cuda" the same tests run on a GPU, by the module that is in
 * RELORA_TEST_MODULE_DIR (test/cuda/README.md). */
#ifndef TEST_SUPPORT_FIXTURE_H
#define TEST_SUPPORT_FIXTURE_H

#include <check.h>
#include "relora/relora.h"
#include "support/random.h"
#include "support/track.h"

struct env {
    relora_context *ctx;
    relora_device *dev;
    relora_stream *st;
    struct track mem;
    int errors;         /* lines received at RELORA_LOG_ERROR */
    int lines[5];       /* lines received at each level */
    char last[1024];    /* text of the last one at RELORA_LOG_ERROR */
    char warning[1024]; /* and at RELORA_LOG_WARN */
    char info[1024];    /* and at RELORA_LOG_INFO */
};
extern struct env env;

/** The kind of every env.dev of this process. */
relora_device_kind env_kind(void);
/** `condition`, and one more test counted as skipped if it is true: `if (skip_if(...)) return;`. */
int skip_if(int condition);
/** For a test that is about the CPU alone: `if (cpu_only()) return;`. */
int cpu_only(void);

/** Defaults, the counting allocator, and the module of the device under test. */
relora_context_options env_options(void);
void env_open(void); /* one thread */
void env_open_threads(int32_t threads);
void env_open_on(relora_device_kind kind, int32_t threads);
/** With module_dir, NULL for none; env.dev is the CPU all the same. */
void env_open_module(const char *module_dir);
/** Releases what was deferred, then everything else, and fails unless no byte is outstanding. */
void env_close(void);

/** `release(object)` at env_close(), last come first served. */
void defer(void (*release)(void *), void *object);
/** Zeroed memory that lives until env_close(). */
void *scratch(size_t bytes);
double *doubles(int64_t n);

/** A test case with the environment around each test, `seconds` of time for each. */
TCase *env_case(Suite *suite, const char *name, double seconds);
/** Run all of it, say what was skipped, and free it: what main() returns. On a device the tests share the
 *  process, because no device survives a fork; with RELORA_TEST_SECONDS one that takes longer ends the program, by name
 *  and with status 124. Where there is no such device all of them are skipped. */
int env_run(SRunner *runner);

/** For a program all of whose tests want a device that is not there: what main() returns. They are counted as
 *  skipped, which is no failure unless RELORA_REQUIRE_DEVICE is set. */
int env_without_device(int tests, const char *reason);

/** The call must succeed; if not, its text is in the report. */
#define OK(call) status_ok((call), #call, __FILE__, __LINE__)
void status_ok(relora_status status, const char *call, const char *file, int line);

/** The call must fail with `status`, log exactly one line, and leave a text on env.ctx that names the
 *  function (the word before the first bracket of the call) and contains every word given. */
#define FAILS(status, call, ...)                                              \
    do {                                                                      \
        env.errors = 0;                                                       \
        const char *const fails_words[] = {__VA_ARGS__, NULL};                \
        status_fails((call), status, #call, fails_words, __FILE__, __LINE__); \
    } while (0)
void status_fails(relora_status got, relora_status want, const char *call, const char *const *words,
                  const char *file, int line);

/** The same for a call without a handle, which has no context to leave a text on. */
#define FAILS_SILENTLY(status, call) ck_assert_int_eq((call), (status))

#endif
