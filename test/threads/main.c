#include "threads/settings.h"

int main(int argc, char **argv)
{
    if (argc > 1) return settings_child(argv[1]);
    SRunner *runner = srunner_create(threads_fork()); /* before anything else, see there */
    srunner_add_suite(runner, threads_parallel());
    srunner_add_suite(runner, threads_any());
    srunner_add_suite(runner, threads_errors());
    srunner_add_suite(runner, threads_holds());
    srunner_add_suite(runner, threads_release());
    srunner_add_suite(runner, threads_counts());
    srunner_add_suite(runner, threads_host());
    srunner_add_suite(runner, threads_settings());
    srunner_add_suite(runner, threads_float_mode());
    srunner_add_suite(runner, threads_module());
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
