#include "tests.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <string>

void must_die(void (*body)(void), const char *words)
{
    int ends[2];
    ck_assert_int_eq(pipe(ends), 0);
    pid_t child = fork();
    if (child == 0) {
        dup2(ends[1], 2);
        body();
        _exit(0);
    }
    close(ends[1]);
    std::string text;
    char part[512];
    for (ssize_t n; (n = read(ends[0], part, sizeof part)) > 0;) text.append(part, (size_t)n);
    close(ends[0]);
    int status;
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert_msg(WIFSIGNALED(status), "nothing noticed it");
    ck_assert_msg(WTERMSIG(status) == SIGABRT || WTERMSIG(status) == SIGSEGV, "signal %d", WTERMSIG(status));
    ck_assert_msg(text.find(words) != std::string::npos, "\"%s\" is not in: %s", words, text.c_str());
}

int main(void)
{
    SRunner *runner = srunner_create(kernels());
    srunner_add_suite(runner, warps());
    srunner_add_suite(runner, tensor_core());
    srunner_add_suite(runner, memory());
    srunner_add_suite(runner, streams());
    srunner_add_suite(runner, graphs());
    srunner_add_suite(runner, blas());
    srunner_add_suite(runner, errors());
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
