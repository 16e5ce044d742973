#include "unit/suites.h"

typedef Suite *(*suite_fn)(void);
static const suite_fn suites[] = {unit_convert,  unit_options,  unit_description, unit_memory,
                                  unit_shape,    unit_status,   unit_context,     unit_tensor,
                                  unit_transfer, unit_schedule, unit_gemm,        unit_plan,
                                  unit_devices,  unit_select,   unit_module,      unit_dlpack};

int main(void)
{
    SRunner *runner = srunner_create(unit_rng());
    for (size_t i = 0; i < sizeof suites / sizeof *suites; i++) srunner_add_suite(runner, suites[i]());
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
