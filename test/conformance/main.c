#include "conformance/suites.h"

typedef Suite *(*suite_fn)(void);
static const suite_fn suites[] = {
    linear_shape,    linear_gradient,    linear_dropout, linear_modes,    linear_accumulate, merge_suite,
    merge_rounding,  factors_suite,      adam_values,    adam_rules,      adam_flat,         reset_magnitude,
    reset_quantile,  reset_random,       reset_rules,    reset_transient, cycle_when,        cycle_work,
    linear_orders,   linear_order_rules, linear_fold,    linear_plan,     linear_shared,     adam_lr,
    layer_names,     group_members,      group_work,     restart_suite,   host_memory,       linear_at,
    in_out_suite,    weight_grad_suite,  linear_frozen,  bias_bf16,       gaps_suite,        linear_turns,
    full_rank_suite, linear_wrap_suite,  target_suite,   adam_carry,      partial_cycle,     init_suite,
    transport_suite, cycle_growth,       sketch_suite,
};

int main(void)
{
    SRunner *runner = srunner_create(linear_values());
    for (size_t i = 0; i < sizeof suites / sizeof *suites; i++) srunner_add_suite(runner, suites[i]());
    return env_run(runner);
}
