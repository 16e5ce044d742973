#include "train/suites.h"

int main(void)
{
    SRunner *runner = srunner_create(train_toy());
    srunner_add_suite(runner, train_resume());
    srunner_add_suite(runner, train_model());
    return env_run(runner);
}
