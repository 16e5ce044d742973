#include "program/suites.h"

int main(void)
{
    SRunner *runner = srunner_create(program_health());
    srunner_add_suite(runner, program_metrics());
    srunner_add_suite(runner, program_processors());
    srunner_add_suite(runner, program_progress());
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
