/* A host in another locale: what is written, read and said has numbers with a point all the same, and the host's locale
 * is as it was. The locales are made here, in the folder of the test, from the sources in the package `locales`. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>
#include "checkpoint/run.h"

static const struct foreign {
    const char *source, *name, *charmap, *point;
} locales_of[] = {
    {"de_DE", "de_DE.UTF-8", "UTF-8", ","},
    {"ps_AF", "ps_AF.UTF-8", "UTF-8", "\u066b"}, /* two bytes */
    {"fr_CA", "fr_CA.ISO-8859-1", "ISO-8859-1", ","},
};
enum { LOCALES = sizeof locales_of / sizeof *locales_of };

static void make(const struct foreign *f)
{
    int status, log = open(at("log"), O_WRONLY | O_CREAT, 0600);
    pid_t child = fork();
    ck_assert_int_ge(child, 0);
    if (!child) {
        dup2(log, STDOUT_FILENO);
        dup2(log, STDERR_FILENO);
        execlp("localedef", "localedef", "-c", "-i", f->source, "-f", f->charmap, at(f->name), (char *)NULL);
        _exit(127);
    }
    close(log);
    ck_assert_int_eq(waitpid(child, &status, 0), child);
}

/* 0 where it cannot be made. The host may have set it for the process or for its thread. */
static int enter(const struct foreign *f, int thread)
{
    make(f);
    if (access(at(f->name), R_OK) < 0) { /* the status of localedef tells of warnings as well */
        printf("skipped: localedef makes no %s; the package `locales` has what it needs\n", f->name);
        return 0;
    }
    setenv("LOCPATH", at(""), 1);
    setlocale(LC_ALL, f->name);
    if (thread) {
        uselocale(duplocale(LC_GLOBAL_LOCALE));
        setlocale(LC_ALL, "C");
    }
    ck_assert_str_eq(localeconv()->decimal_point, f->point);
    return 1;
}

static void leave(const struct foreign *f, int thread, locale_t inside)
{
    ck_assert_str_eq(localeconv()->decimal_point, f->point);
    ck_assert(uselocale((locale_t)0) == inside);
    if (!thread) ck_assert_str_eq(setlocale(LC_ALL, NULL), f->name);
    uselocale(LC_GLOBAL_LOCALE);
    if (thread) freelocale(inside);
    setlocale(LC_ALL, "C");
    unsetenv("LOCPATH");
}

static struct run fractions(void)
{
    struct recipe recipe = recipe_of(0);
    recipe.linear.dropout = 0.375;
    recipe.linear.alpha = 1.25;
    recipe.schedule.lr = 0.0015;
    recipe.adam.weight_decay = 0.0625;
    recipe.reset.ratio = 0.9375;
    return new_run(&recipe, 1);
}

static void save_all(struct run *run, const char *file)
{
    OK(relora_state_save(run->state, env.st, at(file), RELORA_SAVE_CHECKSUM));
    OK(relora_state_export_adapter(run->state, env.st, at(""), "org/größe"));
}

/* Numbers that the file may not have, with a point and without. */
static void refuse_reals(void)
{
    static const char *const shapes[] = {"2.5", "0.0", "2.0e1", "1e3", "-1.5"};
    for (int i = 0; i < 5; i++) {
        char header[128];
        relora_reader *r;
        snprintf(header, sizeof header, "{\"a\":{\"dtype\":\"F32\",\"shape\":[%s],\"data_offsets\":[0,8]}}",
                 shapes[i]);
        struct raw file = raw_file(header, 8);
        FAILS(RELORA_E_FORMAT, relora_reader_open_memory(&r, env.ctx, file.bytes, file.size), "\"a\"",
              "shape[0]");
    }
}

START_TEST(test_locale)
{
    int thread = _i == LOCALES;
    const struct foreign *f = &locales_of[thread ? 1 : _i];
    struct run run = fractions();
    relora_schedule_options bad;
    relora_schedule *schedule;
    size_t size, config_size;
    save_all(&run, "C");
    void *bytes = slurp(at("C"), &size), *config = slurp(at("adapter_config.json"), &config_size);
    ck_assert_ptr_nonnull(memmem(config, config_size, "1.25", 4));
    if (!enter(f, thread)) return;
    locale_t inside = uselocale((locale_t)0);
    save_all(&run, "file");
    holds(at("file"), bytes, size);
    holds(at("adapter_config.json"), config, config_size);
    OK(relora_state_load(run.state, env.st, open_path(at("C"))));
    refuse_reals();
    OK(relora_schedule_options_init(&bad, sizeof bad));
    bad.total_steps = 1;
    bad.lr = -0.0015;
    FAILS(RELORA_E_ARGUMENT, relora_schedule_create(&schedule, env.ctx, &bad), "-0.0015");
    FAILS(RELORA_E_ARGUMENT, relora_adam_step(run.adam, env.st, -2.5, 1, NULL), "-2.5");
    OK(relora_linear_merge(run.linear, env.st, 1, NULL));
    const char *norm = strstr(env.info, "|dW| ");
    ck_assert_ptr_nonnull(norm);
    ck_assert_msg(strspn(norm + 5, "0123456789.e-") == strcspn(norm + 5, ",") && strchr(norm, '.'), "%s",
                  env.info);
    leave(f, thread, inside);
}
END_TEST

Suite *locales(void)
{
    Suite *s = suite_create("locales of the host");
    TCase *tc = env_case(s, "locales", 60);
    tcase_add_loop_test(tc, test_locale, 0, LOCALES + 1);
    return s;
}
