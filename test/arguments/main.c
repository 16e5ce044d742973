#include "arguments/arguments.h"

int main(void)
{
    SRunner *runner = srunner_create(context_arguments());
    srunner_add_suite(runner, tensor_arguments());
    srunner_add_suite(runner, dlpack_arguments());
    srunner_add_suite(runner, linear_options_arguments());
    srunner_add_suite(runner, linear_arguments());
    srunner_add_suite(runner, order_arguments());
    srunner_add_suite(runner, adam_arguments());
    srunner_add_suite(runner, adam_more_arguments());
    srunner_add_suite(runner, comm_arguments());
    srunner_add_suite(runner, schedule_arguments());
    srunner_add_suite(runner, cycle_arguments());
    srunner_add_suite(runner, group_arguments());
    srunner_add_suite(runner, restart_arguments());
    srunner_add_suite(runner, host_memory_arguments());
    srunner_add_suite(runner, linear_at_arguments());
    srunner_add_suite(runner, placeholder_arguments());
    srunner_add_suite(runner, linear_wrap_arguments());
    return env_run(runner);
}
