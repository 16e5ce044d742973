/* What the public calls promise, against references written in double or against themselves. */
#ifndef TEST_CONFORMANCE_SUITES_H
#define TEST_CONFORMANCE_SUITES_H

#include <math.h>
#include <string.h>
#include "support/close.h"
#include "support/objects.h"
#include "support/oracle.h"

Suite *linear_values(void);
Suite *linear_shape(void);
Suite *linear_gradient(void);
Suite *linear_dropout(void);
Suite *linear_modes(void);
Suite *linear_accumulate(void);
Suite *linear_orders(void);
Suite *linear_order_rules(void);
Suite *linear_fold(void);
Suite *linear_plan(void);
Suite *linear_shared(void);
Suite *merge_suite(void);
Suite *merge_rounding(void);
Suite *factors_suite(void);
Suite *adam_values(void);
Suite *adam_rules(void);
Suite *adam_flat(void);
Suite *adam_lr(void);
Suite *reset_magnitude(void);
Suite *reset_quantile(void);
Suite *reset_random(void);
Suite *reset_rules(void);
Suite *reset_transient(void);
Suite *cycle_when(void);
Suite *cycle_work(void);
Suite *layer_names(void);
Suite *group_members(void);
Suite *group_work(void);
Suite *restart_suite(void);
Suite *host_memory(void);
Suite *linear_at(void);
Suite *in_out_suite(void);
Suite *init_suite(void);
Suite *cycle_growth(void);
Suite *transport_suite(void);
Suite *target_suite(void);
Suite *adam_carry(void);
Suite *partial_cycle(void);
Suite *weight_grad_suite(void);
Suite *full_rank_suite(void);
Suite *linear_frozen(void);
Suite *linear_turns(void);
Suite *bias_bf16(void);
Suite *gaps_suite(void);
Suite *linear_wrap_suite(void);
Suite *sketch_suite(void);

#endif
