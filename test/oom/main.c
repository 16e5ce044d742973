#define _DEFAULT_SOURCE /* MAP_ANONYMOUS */
#include <stdio.h>
#include <sys/mman.h>
#include "oom/oom.h"

int main(void)
{
    oom_totals = mmap(NULL, sizeof *oom_totals, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (oom_totals == MAP_FAILED) return 1;
    SRunner *runner = srunner_create(oom_constructors());
    srunner_add_suite(runner, oom_registration());
    srunner_add_suite(runner, oom_training());
    srunner_add_suite(runner, oom_files());
    srunner_add_suite(runner, oom_steady());
    srunner_add_suite(runner, oom_groups());
    srunner_add_suite(runner, oom_restart());
    srunner_run_all(runner, CK_ENV);
    printf("%lld scenarios: %lld requests refused alone, %lld with all that followed\n",
           (long long)oom_totals->scenarios, (long long)oom_totals->refused[0],
           (long long)oom_totals->refused[1]);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
