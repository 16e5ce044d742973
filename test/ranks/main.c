#include "ranks/world.h"

int main(void)
{
    SRunner *runner = srunner_create(ranks_steps());
    srunner_add_suite(runner, ranks_failures());
    srunner_add_suite(runner, ranks_resets());
    srunner_add_suite(runner, ranks_states());
    srunner_add_suite(runner, ranks_apart());
    srunner_add_suite(runner, ranks_turns());
    srunner_add_suite(runner, ranks_nccl());
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
