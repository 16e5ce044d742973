#include "train/suites.h"

int main(void)
{
    SRunner *runner = srunner_create(train_toy());
    srunner_add_suite(runner, train_resume());
    srunner_add_suite(runner, train_model());
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
