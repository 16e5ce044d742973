#include "checkpoint/checkpoint.h"

int main(void)
{
    Suite *(*const suites[])(void) = {
        reader_arguments, state_arguments, bad_headers,     bad_files,     damage,         round_trips,
        tensors,          checksums,       save_faults,     save_crashes,  save_limits,    save_locks,
        big_files,        recorded_files,  python_reads,    state_loads,   state_refusals, state_files,
        state_resumes,    exports_merged,  exports_adapter, exports_delta, failing_json,   devices,
        conversions,      group_states,    group_reads,     old_states,    other_files,    locales,
        state_turns,      exports_layout,  state_bytes,
    };
    SRunner *runner = srunner_create(writer_arguments());
    for (size_t i = 0; i < sizeof suites / sizeof *suites; i++) srunner_add_suite(runner, suites[i]());
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
