/* The numbers are the same bits under every OpenMP setting of the host, from inside its parallel regions and
 * from all its threads, and the settings are afterwards what they were. What OpenMP reads from the environment
 * takes a process of its own: this program, started with the name of a place to compute in. */
#include "threads/settings.h"

#ifdef _OPENMP
#include <omp.h>
#include <spawn.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "threads/numbers.h"

enum { THREADS = 3 }; /* as many pieces, some with an edge of their own */

struct result {
    struct numbers numbers;
    int kept; /* the settings of the thread that computed */
};

struct setting {
    int threads, dynamic, levels, chunk;
    omp_sched_t schedule;
};

static struct setting setting_now(void)
{
    struct setting s;
    memset(&s, 0, sizeof s);
    s.threads = omp_get_max_threads();
    s.dynamic = omp_get_dynamic();
    s.levels = omp_get_max_active_levels();
    omp_get_schedule(&s.schedule, &s.chunk);
    return s;
}

static void compute(struct result *r)
{
    struct setting before = setting_now();
    r->numbers = numbers_with(THREADS, 1);
    struct setting after = setting_now();
    r->kept = memcmp(&before, &after, sizeof before) == 0;
}

static void *compute_in_thread(void *result)
{
    compute(result);
    return NULL;
}

/* ---- places: where in the host ---- */

static void plain(struct result *r) { compute(r); }

static void thread(struct result *r)
{
    pthread_t t;
    if (pthread_create(&t, NULL, compute_in_thread, r) == 0) pthread_join(t, NULL);
}

static void region(struct result *r)
{
#pragma omp parallel num_threads(3)
#pragma omp single
    compute(r);
}

/* The others are busy, and count against a limit of threads. */
static void busy(struct result *r)
{
#pragma omp parallel num_threads(3)
#pragma omp master
    compute(r);
}

static void worker(struct result *r)
{
#pragma omp parallel num_threads(2)
    if (omp_get_thread_num() == omp_get_num_threads() - 1) compute(r);
}

static void nested(struct result *r)
{
#pragma omp parallel num_threads(2)
#pragma omp single
    {
#pragma omp parallel num_threads(2)
#pragma omp single
        compute(r);
    }
}

static void alone(struct result *r) /* a region that is there, with one thread */
{
#pragma omp parallel num_threads(1)
    compute(r);
}

static void task(struct result *r)
{
#pragma omp parallel num_threads(2)
#pragma omp single
#pragma omp task
    compute(r);
}

static const struct place {
    const char *name;
    void (*run)(struct result *r);
} places[] = {{"plain", plain},   {"thread", thread}, {"region", region}, {"busy", busy},
              {"worker", worker}, {"nested", nested}, {"alone", alone},   {"task", task}};
enum { PLACES = sizeof places / sizeof *places };

static void look(const char *what, const struct result *r, const struct result *want)
{
    char got[160], text[160];
    ck_assert_msg(r->kept, "%s: a setting of the host was changed", what);
    ck_assert_msg(!numbers_differ(&r->numbers, &want->numbers), "%s: %s, should be %s", what,
                  numbers_text(&r->numbers, got), numbers_text(&want->numbers, text));
}

/* ---- settings by calls ---- */

static void dynamic(void) { omp_set_dynamic(1); }

static void one_number(void) { omp_set_num_threads(1); }

static void large_number(void) { omp_set_num_threads(7); }

static void no_level(void) { omp_set_max_active_levels(0); }

static void two_levels(void)
{
    omp_set_max_active_levels(2);
    omp_set_dynamic(1);
}

static void many_levels(void)
{
    omp_set_max_active_levels(5);
    omp_set_num_threads(3);
    omp_set_schedule(omp_sched_dynamic, 3);
}

static const struct {
    const char *name;
    void (*make)(void);
} settings[] = {{"dynamic", dynamic},   {"one", one_number},        {"seven", large_number},
                {"no level", no_level}, {"two levels", two_levels}, {"five levels", many_levels}};
enum { SETTINGS = sizeof settings / sizeof *settings };

START_TEST(test_calls)
{
    static struct result want, r;
    char what[64];
    plain(&want);
    ck_assert_int_eq(want.numbers.status, RELORA_OK);
    settings[_i].make();
    for (int i = 0; i < PLACES; i++) {
        memset(&r, 0, sizeof r);
        places[i].run(&r);
        snprintf(what, sizeof what, "%s, %s", settings[_i].name, places[i].name);
        look(what, &r, &want);
    }
}
END_TEST

/* ---- settings by the environment ---- */

int settings_child(const char *place)
{
    static struct result r;
    for (int i = 0; i < PLACES; i++)
        if (strcmp(place, places[i].name) == 0) places[i].run(&r);
    return fwrite(&r, sizeof r, 1, stdout) != 1;
}

/* This program, in the environment of the test with `more`, up to three settings. */
static void in_environment(const char *const more[3], const char *place, struct result *r)
{
    extern char **environ;
    char name[] = "settings", argument[16], *arguments[] = {name, argument, NULL}, *environment[256];
    int n = 0, ends[2], status;
    posix_spawn_file_actions_t actions;
    pid_t child;
    snprintf(argument, sizeof argument, "%s", place);
    for (int i = 0; i < 3 && more[i]; i++) environment[n++] = (char *)(uintptr_t)more[i];
    for (char **e = environ; *e && n < 255; e++)
        if (strncmp(*e, "OMP_", 4) != 0 && strncmp(*e, "GOMP_", 5) != 0) environment[n++] = *e;
    environment[n] = NULL;
    ck_assert_int_eq(pipe(ends), 0);
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, ends[1], 1);
    posix_spawn_file_actions_addclose(&actions, ends[0]);
    ck_assert_int_eq(posix_spawn(&child, "/proc/self/exe", &actions, NULL, arguments, environment), 0);
    posix_spawn_file_actions_destroy(&actions);
    close(ends[1]);
    size_t got = 0;
    for (ssize_t k; got < sizeof *r && (k = read(ends[0], (char *)r + got, sizeof *r - got)) > 0;)
        got += (size_t)k;
    close(ends[0]);
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert_msg(status == 0 && got == sizeof *r, "%s, %s: ended with 0x%x after %zu bytes", more[0], place,
                  status, got);
}

static const struct {
    const char *place, *setting[3];
} environments[] = {
    {"plain", {"OMP_DYNAMIC=true"}},
    {"plain", {"OMP_THREAD_LIMIT=1"}},
    {"plain", {"OMP_THREAD_LIMIT=2"}},
    {"thread", {"OMP_THREAD_LIMIT=2"}},
    {"plain", {"OMP_THREAD_LIMIT=3", "OMP_DYNAMIC=true"}},
    {"busy", {"OMP_THREAD_LIMIT=4", "OMP_MAX_ACTIVE_LEVELS=3"}},
    {"worker", {"OMP_THREAD_LIMIT=4", "OMP_NESTED=true"}},
    {"nested", {"OMP_THREAD_LIMIT=5", "OMP_MAX_ACTIVE_LEVELS=9"}},
    {"alone", {"OMP_THREAD_LIMIT=3", "OMP_NESTED=true"}},
    {"plain", {"OMP_MAX_ACTIVE_LEVELS=0"}},
    {"region", {"OMP_MAX_ACTIVE_LEVELS=1"}},
    {"region", {"OMP_NESTED=true", "OMP_DYNAMIC=true"}},
    {"plain", {"OMP_NUM_THREADS=1"}},
    {"nested", {"OMP_NUM_THREADS=4,3,2", "OMP_NESTED=true"}},
    {"plain", {"OMP_PROC_BIND=true", "OMP_PLACES={0}"}},
    {"plain", {"OMP_STACKSIZE=128k"}},
    {"task", {"OMP_WAIT_POLICY=passive", "OMP_SCHEDULE=dynamic,1", "OMP_CANCELLATION=true"}},
};
enum { ENVIRONMENTS = sizeof environments / sizeof *environments };

START_TEST(test_environment)
{
    static struct result want, r;
    char what[128];
    const char *const *s = environments[_i].setting;
    plain(&want);
    in_environment(s, environments[_i].place, &r);
    snprintf(what, sizeof what, "%s %s, %s", s[0], s[1] ? s[1] : "", environments[_i].place);
    look(what, &r, &want);
}
END_TEST

Suite *threads_settings(void)
{
    Suite *s = suite_create("OpenMP settings, same numbers");
    TCase *tc = tcase_create("settings");
    tcase_set_timeout(tc, 120);
    tcase_add_loop_test(tc, test_calls, 0, SETTINGS);
    tcase_add_loop_test(tc, test_environment, 0, ENVIRONMENTS);
    suite_add_tcase(s, tc);
    return s;
}

#else /* a build without OpenMP has none */

int settings_child(const char *place)
{
    (void)place;
    return 1;
}

Suite *threads_settings(void) { return suite_create("OpenMP settings: no OpenMP"); }

#endif
