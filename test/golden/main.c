#include "golden/golden_suites.h"

int main(void)
{
    SRunner *runner = srunner_create(golden_layer());
    srunner_add_suite(runner, golden_schedule());
    srunner_add_suite(runner, golden_prune());
    srunner_add_suite(runner, golden_trajectory());
    srunner_add_suite(runner, golden_polar());
    srunner_add_suite(runner, golden_restart());
    return env_run(runner);
}
