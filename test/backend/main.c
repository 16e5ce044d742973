#include "backend/suites.h"

int main(void)
{
    SRunner *runner = srunner_create(backend_constructors());
    srunner_add_suite(runner, backend_training());
    srunner_add_suite(runner, backend_files());
    srunner_add_suite(runner, backend_finished());
    srunner_add_suite(runner, backend_groups());
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
