/* Every number that a program compiled in: constants, and where each field of a public struct lies. Once released
 * none of these lines is changed or removed, but the size of a struct that gets a field at its end. New lines come
 * from `make abi-pins`, which also says when some are missing. */
#include <relora/relora.h>

#define CONSTANT(name, value) \
    _Static_assert(name == (value), #name " is another number than in earlier releases")
#define FIELD(type, offset, kind, field)                                              \
    _Static_assert(offsetof(type, field) == (offset), #type "." #field " has moved"); \
    _Static_assert(_Generic(((type *)0)->field, kind : 1, default : 0), #type "." #field " has another type")
#define SIZE(type, bytes)                   \
    _Static_assert(sizeof(type) == (bytes), \
                   #type " has another size: correct it, if a field was added at the end")

_Static_assert(sizeof(void *) == 8, "the offsets below are those of a machine with 64-bit pointers");

/* ---- types.h ---- */
CONSTANT(RELORA_F32, 1);
CONSTANT(RELORA_BF16, 2);
CONSTANT(RELORA_DEVICE_CPU, 1);
CONSTANT(RELORA_DEVICE_CUDA, 2);
CONSTANT(RELORA_ROUND_NEAREST, 1);
CONSTANT(RELORA_ROUND_STOCHASTIC, 2);

/* ---- status.h ---- */
CONSTANT(RELORA_OK, 0);
CONSTANT(RELORA_E_INTERNAL, -1);
CONSTANT(RELORA_E_ARGUMENT, -10);
CONSTANT(RELORA_E_STRUCT_SIZE, -11);
CONSTANT(RELORA_E_SHAPE, -12);
CONSTANT(RELORA_E_DTYPE, -13);
CONSTANT(RELORA_E_DEVICE, -14);
CONSTANT(RELORA_E_LAYOUT, -15);
CONSTANT(RELORA_E_CONTEXT, -16);
CONSTANT(RELORA_E_OVERFLOW, -17);
CONSTANT(RELORA_E_STATE, -20);
CONSTANT(RELORA_E_NOT_FOUND, -21);
CONSTANT(RELORA_E_EXISTS, -22);
CONSTANT(RELORA_E_READ_ONLY, -23);
CONSTANT(RELORA_E_UNSUPPORTED, -24);
CONSTANT(RELORA_E_NO_MEMORY, -30);
CONSTANT(RELORA_E_BACKEND, -40);
CONSTANT(RELORA_E_IO, -50);
CONSTANT(RELORA_E_FORMAT, -51);
CONSTANT(RELORA_E_VERSION, -52);
CONSTANT(RELORA_E_NOT_FINITE, -60);

/* ---- context.h ---- */
CONSTANT(RELORA_LOG_OFF, 0);
CONSTANT(RELORA_LOG_ERROR, 1);
CONSTANT(RELORA_LOG_WARN, 2);
CONSTANT(RELORA_LOG_INFO, 3);
CONSTANT(RELORA_LOG_DEBUG, 4);

FIELD(relora_context_options, 0, uint32_t, struct_size);
FIELD(relora_context_options, 4, uint32_t, flags);
FIELD(relora_context_options, 8, int32_t, threads);
FIELD(relora_context_options, 12, int32_t, log_level);
FIELD(relora_context_options, 16, relora_alloc_fn, host_alloc);
FIELD(relora_context_options, 24, relora_free_fn, host_free);
FIELD(relora_context_options, 32, void *, host_user);
FIELD(relora_context_options, 40, relora_log_fn, log);
FIELD(relora_context_options, 48, void *, log_user);
FIELD(relora_context_options, 56, const char *, module_dir);
FIELD(relora_context_options, 64, relora_destroy_fn, on_destroy);
FIELD(relora_context_options, 72, void *, destroy_user);
SIZE(relora_context_options, 80);

/* ---- tensor.h ---- */
CONSTANT(RELORA_MAX_DIMS, 8);

/* ---- linear.h ---- */
CONSTANT(RELORA_MODE_FULL, 1);
CONSTANT(RELORA_MODE_LORA, 2);
CONSTANT(RELORA_MODE_LOWRANK, 3);
CONSTANT(RELORA_LINEAR_BIAS, 1);
CONSTANT(RELORA_LINEAR_TRAINABLE_SCALE, 2);
CONSTANT(RELORA_LINEAR_REFERENCE, 4);
CONSTANT(RELORA_LINEAR_KEEP_DELTA, 8);
CONSTANT(RELORA_LINEAR_TF32, 16);
CONSTANT(RELORA_PARAM_WEIGHT, 1);
CONSTANT(RELORA_PARAM_BIAS, 2);
CONSTANT(RELORA_PARAM_A, 3);
CONSTANT(RELORA_PARAM_B, 4);
CONSTANT(RELORA_PARAM_SCALE, 5);
CONSTANT(RELORA_PARAM_DELTA, 6);
CONSTANT(RELORA_TRAIN, 1);
CONSTANT(RELORA_OVERWRITE, 2);
CONSTANT(RELORA_ACCUMULATE_DX, 4);

FIELD(relora_linear_options, 0, uint32_t, struct_size);
FIELD(relora_linear_options, 4, uint32_t, flags);
FIELD(relora_linear_options, 8, relora_linear_mode, mode);
FIELD(relora_linear_options, 12, relora_dtype, dtype);
FIELD(relora_linear_options, 16, int64_t, in_features);
FIELD(relora_linear_options, 24, int64_t, out_features);
FIELD(relora_linear_options, 32, int64_t, rank);
FIELD(relora_linear_options, 40, double, alpha);
FIELD(relora_linear_options, 48, double, dropout);
FIELD(relora_linear_options, 56, uint64_t, seed);
FIELD(relora_linear_options, 64, uint64_t, layer);
FIELD(relora_linear_options, 72, relora_rounding, rounding);
FIELD(relora_linear_options, 76, int32_t, reserved);
SIZE(relora_linear_options, 88);

FIELD(relora_merge_report, 0, uint32_t, struct_size);
FIELD(relora_merge_report, 4, int32_t, layers);
FIELD(relora_merge_report, 8, double, delta_norm);
FIELD(relora_merge_report, 16, double, weight_norm);
SIZE(relora_merge_report, 48);

/* ---- adam.h ---- */
CONSTANT(RELORA_ADAM_DECOUPLED, 1);
CONSTANT(RELORA_ADAM_SKIP_NOT_FINITE, 2);
CONSTANT(RELORA_MOMENT_FIRST, 1);
CONSTANT(RELORA_MOMENT_SECOND, 2);
CONSTANT(RELORA_RESET_ZERO, 1);
CONSTANT(RELORA_RESET_RANDOM, 2);
CONSTANT(RELORA_RESET_MAGNITUDE, 3);
CONSTANT(RELORA_RESET_STEP_COUNT, 1);
CONSTANT(RELORA_RESET_INDEPENDENT, 2);
CONSTANT(RELORA_RESET_QUANTILE, 4);

FIELD(relora_adam_options, 0, uint32_t, struct_size);
FIELD(relora_adam_options, 4, uint32_t, flags);
FIELD(relora_adam_options, 8, double, beta1);
FIELD(relora_adam_options, 16, double, beta2);
FIELD(relora_adam_options, 24, double, eps);
FIELD(relora_adam_options, 32, double, weight_decay);
FIELD(relora_adam_options, 40, double, max_norm);
FIELD(relora_adam_options, 48, uint64_t, seed);
FIELD(relora_adam_options, 56, relora_rounding, rounding);
FIELD(relora_adam_options, 60, int32_t, reserved);

FIELD(relora_step_report, 0, uint32_t, struct_size);
FIELD(relora_step_report, 4, int32_t, skipped);
FIELD(relora_step_report, 8, double, grad_norm);
FIELD(relora_step_report, 16, double, clip_factor);
SIZE(relora_step_report, 24);

FIELD(relora_reset_options, 0, uint32_t, struct_size);
FIELD(relora_reset_options, 4, uint32_t, flags);
FIELD(relora_reset_options, 8, relora_reset_mode, mode);
FIELD(relora_reset_options, 12, int32_t, reserved);
FIELD(relora_reset_options, 16, double, ratio);
FIELD(relora_reset_options, 24, uint64_t, seed);
FIELD(relora_reset_options, 32, uint64_t, cycle);
SIZE(relora_reset_options, 40);

FIELD(relora_reset_report, 0, uint32_t, struct_size);
FIELD(relora_reset_report, 4, int32_t, params);
FIELD(relora_reset_report, 8, int64_t, elements);
FIELD(relora_reset_report, 16, int64_t, zeroed_first);
FIELD(relora_reset_report, 24, int64_t, zeroed_second);
FIELD(relora_reset_report, 32, int64_t, unpaired);
SIZE(relora_reset_report, 40);

/* ---- schedule.h ---- */
CONSTANT(RELORA_SCHEDULE_CONSTANT, 1);
CONSTANT(RELORA_SCHEDULE_LINEAR, 2);
CONSTANT(RELORA_SCHEDULE_COSINE, 3);
CONSTANT(RELORA_SCHEDULE_COSINE_RESTARTS, 4);

FIELD(relora_schedule_options, 0, uint32_t, struct_size);
FIELD(relora_schedule_options, 4, relora_schedule_kind, kind);
FIELD(relora_schedule_options, 8, double, lr);
FIELD(relora_schedule_options, 16, double, min_lr_ratio);
FIELD(relora_schedule_options, 24, int64_t, first_step);
FIELD(relora_schedule_options, 32, int64_t, total_steps);
FIELD(relora_schedule_options, 40, int64_t, warmup_steps);
FIELD(relora_schedule_options, 48, int64_t, restart_warmup_steps);
FIELD(relora_schedule_options, 56, int64_t, restart_every);
FIELD(relora_schedule_options, 64, int64_t, adjust_step);
SIZE(relora_schedule_options, 80);

/* ---- cycle.h ---- */
CONSTANT(RELORA_CYCLE_MERGE, 1);
CONSTANT(RELORA_CYCLE_RESET, 2);
CONSTANT(RELORA_CYCLE_FINISH, 4);

FIELD(relora_cycle_options, 0, uint32_t, struct_size);
FIELD(relora_cycle_options, 4, uint32_t, flags);
FIELD(relora_cycle_options, 8, int64_t, first_step);
FIELD(relora_cycle_options, 16, int64_t, merge_every);
FIELD(relora_cycle_options, 24, int64_t, reset_every);
FIELD(relora_cycle_options, 32, relora_cycle_hook_fn, before);
FIELD(relora_cycle_options, 40, relora_cycle_hook_fn, after);
FIELD(relora_cycle_options, 48, void *, hook_user);

/* ---- checkpoint.h ---- */
CONSTANT(RELORA_SAVE_CHECKSUM, 1);
CONSTANT(RELORA_READ_CONVERT, 1);
CONSTANT(RELORA_ORDER_AUTO, 1);
CONSTANT(RELORA_ORDER_SPLIT, 2);
CONSTANT(RELORA_ORDER_FOLD, 3);
CONSTANT(RELORA_ORDER_THROUGH, 4);
FIELD(relora_plan_report, 0, uint32_t, struct_size);
FIELD(relora_plan_report, 4, relora_order, forward);
FIELD(relora_plan_report, 8, relora_order, backward);
FIELD(relora_plan_report, 12, int32_t, reserved);
FIELD(relora_plan_report, 16, double, forward_flops);
FIELD(relora_plan_report, 24, double, backward_flops);
FIELD(relora_plan_report, 32, int64_t, forward_bytes);
FIELD(relora_plan_report, 40, int64_t, backward_bytes);
SIZE(relora_plan_report, 80);
CONSTANT(RELORA_READ_FINITE, 2);
CONSTANT(RELORA_READ_ALLOW_MISSING, 4);
CONSTANT(RELORA_READ_ALLOW_LEFT_OVER, 8);
FIELD(relora_read_report, 0, uint32_t, struct_size);
FIELD(relora_read_report, 4, int32_t, read);
FIELD(relora_read_report, 8, int32_t, missing);
FIELD(relora_read_report, 12, int32_t, left_over);
SIZE(relora_read_report, 16);
CONSTANT(RELORA_MERGE_LOOK, 1);
CONSTANT(RELORA_MERGE_IN_OUT, 2);
FIELD(relora_merge_options, 0, uint32_t, struct_size);
FIELD(relora_merge_options, 4, uint32_t, flags);
FIELD(relora_merge_options, 8, double, scale);
FIELD(relora_merge_options, 16, uint64_t, seed);
FIELD(relora_merge_options, 24, uint64_t, layer);
FIELD(relora_merge_options, 32, uint64_t, cycle);
FIELD(relora_merge_options, 40, relora_rounding, rounding);
FIELD(relora_merge_options, 44, int32_t, reserved);
SIZE(relora_merge_options, 48);
CONSTANT(RELORA_ACCUMULATE_Y, 8);
CONSTANT(RELORA_LINEAR_IN_OUT, 32);
CONSTANT(RELORA_ADAM_SHARD_STATE, 4);
CONSTANT(RELORA_COMM_F32, 1);
CONSTANT(RELORA_COMM_F64, 2);
CONSTANT(RELORA_COMM_I64, 3);
CONSTANT(RELORA_E_COMM, -41);
FIELD(relora_adam_options, 64, const relora_comm *, comm);
SIZE(relora_adam_options, 72);
FIELD(relora_comm, 0, uint32_t, struct_size);
FIELD(relora_comm, 4, int32_t, rank);
FIELD(relora_comm, 8, int32_t, size);
FIELD(relora_comm, 12, relora_device_kind, memory);
FIELD(relora_comm, 16, relora_comm_fn, sum);
FIELD(relora_comm, 24, relora_comm_fn, reduce_scatter);
FIELD(relora_comm, 32, relora_comm_fn, all_gather);
FIELD(relora_comm, 40, relora_comm_error_fn, error);
FIELD(relora_comm, 48, void *, user);
SIZE(relora_comm, 56);
CONSTANT(RELORA_LINEAR_FREEZE_A, 64);
CONSTANT(RELORA_LINEAR_FREEZE_B, 128);
FIELD(relora_full_rank_report, 0, uint32_t, struct_size);
FIELD(relora_full_rank_report, 4, int32_t, reserved);
FIELD(relora_full_rank_report, 8, double, delta_norm);
FIELD(relora_full_rank_report, 16, double, weight_norm);
FIELD(relora_full_rank_report, 24, double, grad_norm);
FIELD(relora_full_rank_report, 32, double, grad_rank);
SIZE(relora_full_rank_report, 40);
CONSTANT(RELORA_PROVIDER_OWN, 1);
CONSTANT(RELORA_PROVIDER_ONEDNN, 2);
CONSTANT(RELORA_PROVIDER_BLAS, 3);
CONSTANT(RELORA_ISA_BASE, 1);
CONSTANT(RELORA_ISA_NEON, 2);
CONSTANT(RELORA_ISA_AVX2, 3);
CONSTANT(RELORA_ISA_AVX512, 4);
CONSTANT(RELORA_ISA_AMX, 5);
FIELD(relora_plan_report, 48, relora_provider, forward_provider);
FIELD(relora_plan_report, 52, relora_provider, backward_provider);
FIELD(relora_plan_report, 56, relora_isa, forward_isa);
FIELD(relora_plan_report, 60, relora_isa, backward_isa);
FIELD(relora_plan_report, 64, int32_t, forward_converts);
FIELD(relora_plan_report, 68, int32_t, backward_converts);
FIELD(relora_plan_report, 72, int64_t, product_bytes);
CONSTANT(RELORA_INIT_UNIFORM, 1);
CONSTANT(RELORA_INIT_MATCHED, 2);
CONSTANT(RELORA_INIT_GRADIENT, 3);
CONSTANT(RELORA_INIT_GIVEN, 4);
CONSTANT(RELORA_RESET_KEEP, 4);
CONSTANT(RELORA_RESET_PROJECT, 5);
FIELD(relora_linear_options, 80, relora_init, init);
FIELD(relora_linear_options, 84, int32_t, reserved2);
FIELD(relora_merge_report, 24, double, overlap);
FIELD(relora_merge_report, 32, double, gradient_before);
FIELD(relora_merge_report, 40, double, gradient_after);
FIELD(relora_factors_options, 0, uint32_t, struct_size);
FIELD(relora_factors_options, 4, relora_init, init);
FIELD(relora_factors_options, 8, uint64_t, seed);
FIELD(relora_factors_options, 16, uint64_t, layer);
FIELD(relora_factors_options, 24, uint64_t, cycle);
SIZE(relora_factors_options, 32);
CONSTANT(RELORA_LAYOUT_OWN, 1);
CONSTANT(RELORA_LAYOUT_OUT_IN, 2);
CONSTANT(RELORA_LAYOUT_IN_OUT, 3);
FIELD(relora_cycle_options, 56, int64_t, period_growth);
FIELD(relora_cycle_options, 64, int64_t, stagger);
FIELD(relora_schedule_options, 72, int64_t, period_growth);
FIELD(relora_cycle_options, 72, const relora_comm *, comm);
SIZE(relora_cycle_options, 80);
CONSTANT(RELORA_PARAM_SKETCH, 7);
CONSTANT(RELORA_SKETCH, 16);
