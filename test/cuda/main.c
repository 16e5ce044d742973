#include <stdlib.h>
#include "cuda/suites.h"
#include "support/fixture.h"

int main(void)
{
    setenv("RELORA_TEST_DEVICE", "cuda", 1);
    SRunner *runner = srunner_create(same_layer());
    srunner_add_suite(runner, same_adam());
    srunner_add_suite(runner, same_reset());
    srunner_add_suite(runner, same_training());
    srunner_add_suite(runner, same_export());
    srunner_add_suite(runner, streams_suite());
    srunner_add_suite(runner, queueing());
    srunner_add_suite(runner, graphs());
    srunner_add_suite(runner, sectors());
    srunner_add_suite(runner, launches());
    srunner_add_suite(runner, memory_suite());
    srunner_add_suite(runner, dlpack_suite());
    srunner_add_suite(runner, devices_suite());
    srunner_add_suite(runner, failure());
    return env_run(runner);
}
