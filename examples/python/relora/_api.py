# Written by examples/bindings.py from include/relora: change the headers, then run `make bindings`.
from ctypes import (CFUNCTYPE, Structure, c_char_p, c_double, c_int32, c_int64, c_size_t, c_uint32,
                    c_uint64, c_void_p)

__all__ = ['ADAM_DECOUPLED', 'ADAM_SKIP_NOT_FINITE', 'ADAM_SHARD_STATE', 'MOMENT_FIRST', 'MOMENT_SECOND',
           'SAVE_CHECKSUM', 'READ_CONVERT', 'READ_FINITE', 'READ_ALLOW_MISSING', 'READ_ALLOW_LEFT_OVER', 'COMM_F32',
           'COMM_F64', 'COMM_I64', 'LOG_OFF', 'LOG_ERROR', 'LOG_WARN', 'LOG_INFO', 'LOG_DEBUG', 'CYCLE_MERGE',
           'CYCLE_RESET', 'CYCLE_FINISH', 'MODE_FULL', 'MODE_LORA', 'MODE_LOWRANK', 'LINEAR_BIAS',
           'LINEAR_TRAINABLE_SCALE', 'LINEAR_REFERENCE', 'LINEAR_KEEP_DELTA', 'LINEAR_TF32', 'LINEAR_IN_OUT',
           'LINEAR_FREEZE_A', 'LINEAR_FREEZE_B', 'INIT_UNIFORM', 'INIT_MATCHED', 'INIT_GRADIENT', 'INIT_GIVEN',
           'PARAM_WEIGHT', 'PARAM_BIAS', 'PARAM_A', 'PARAM_B', 'PARAM_SCALE', 'PARAM_DELTA', 'PARAM_SKETCH',
           'TRAIN', 'OVERWRITE', 'ACCUMULATE_DX', 'ACCUMULATE_Y', 'SKETCH', 'ORDER_AUTO', 'ORDER_SPLIT',
           'ORDER_FOLD', 'ORDER_THROUGH', 'PROVIDER_OWN', 'PROVIDER_ONEDNN', 'PROVIDER_BLAS', 'ISA_BASE',
           'ISA_NEON', 'ISA_AVX2', 'ISA_AVX512', 'ISA_AMX', 'RESET_ZERO', 'RESET_RANDOM', 'RESET_MAGNITUDE',
           'RESET_KEEP', 'RESET_PROJECT', 'RESET_STEP_COUNT', 'RESET_INDEPENDENT', 'RESET_QUANTILE', 'MERGE_LOOK',
           'MERGE_IN_OUT', 'SCHEDULE_CONSTANT', 'SCHEDULE_LINEAR', 'SCHEDULE_COSINE', 'SCHEDULE_COSINE_RESTARTS',
           'LAYOUT_OWN', 'LAYOUT_OUT_IN', 'LAYOUT_IN_OUT', 'OK', 'E_INTERNAL', 'E_ARGUMENT', 'E_STRUCT_SIZE',
           'E_SHAPE', 'E_DTYPE', 'E_DEVICE', 'E_LAYOUT', 'E_CONTEXT', 'E_OVERFLOW', 'E_STATE', 'E_NOT_FOUND',
           'E_EXISTS', 'E_READ_ONLY', 'E_UNSUPPORTED', 'E_NO_MEMORY', 'E_BACKEND', 'E_COMM', 'E_IO', 'E_FORMAT',
           'E_VERSION', 'E_NOT_FINITE', 'MAX_DIMS', 'F32', 'BF16', 'DEVICE_CPU', 'DEVICE_CUDA', 'ROUND_NEAREST',
           'ROUND_STOCHASTIC']

ABI = 0
ADAM_DECOUPLED = 1
ADAM_SKIP_NOT_FINITE = 2
ADAM_SHARD_STATE = 4
MOMENT_FIRST = 1
MOMENT_SECOND = 2
SAVE_CHECKSUM = 1
READ_CONVERT = 1
READ_FINITE = 2
READ_ALLOW_MISSING = 4
READ_ALLOW_LEFT_OVER = 8
COMM_F32 = 1
COMM_F64 = 2
COMM_I64 = 3
LOG_OFF = 0
LOG_ERROR = 1
LOG_WARN = 2
LOG_INFO = 3
LOG_DEBUG = 4
CYCLE_MERGE = 1
CYCLE_RESET = 2
CYCLE_FINISH = 4
MODE_FULL = 1
MODE_LORA = 2
MODE_LOWRANK = 3
LINEAR_BIAS = 1
LINEAR_TRAINABLE_SCALE = 2
LINEAR_REFERENCE = 4
LINEAR_KEEP_DELTA = 8
LINEAR_TF32 = 16
LINEAR_IN_OUT = 32
LINEAR_FREEZE_A = 64
LINEAR_FREEZE_B = 128
INIT_UNIFORM = 1
INIT_MATCHED = 2
INIT_GRADIENT = 3
INIT_GIVEN = 4
PARAM_WEIGHT = 1
PARAM_BIAS = 2
PARAM_A = 3
PARAM_B = 4
PARAM_SCALE = 5
PARAM_DELTA = 6
PARAM_SKETCH = 7
TRAIN = 1
OVERWRITE = 2
ACCUMULATE_DX = 4
ACCUMULATE_Y = 8
SKETCH = 16
ORDER_AUTO = 1
ORDER_SPLIT = 2
ORDER_FOLD = 3
ORDER_THROUGH = 4
PROVIDER_OWN = 1
PROVIDER_ONEDNN = 2
PROVIDER_BLAS = 3
ISA_BASE = 1
ISA_NEON = 2
ISA_AVX2 = 3
ISA_AVX512 = 4
ISA_AMX = 5
RESET_ZERO = 1
RESET_RANDOM = 2
RESET_MAGNITUDE = 3
RESET_KEEP = 4
RESET_PROJECT = 5
RESET_STEP_COUNT = 1
RESET_INDEPENDENT = 2
RESET_QUANTILE = 4
MERGE_LOOK = 1
MERGE_IN_OUT = 2
SCHEDULE_CONSTANT = 1
SCHEDULE_LINEAR = 2
SCHEDULE_COSINE = 3
SCHEDULE_COSINE_RESTARTS = 4
LAYOUT_OWN = 1
LAYOUT_OUT_IN = 2
LAYOUT_IN_OUT = 3
OK = 0
E_INTERNAL = -1
E_ARGUMENT = -10
E_STRUCT_SIZE = -11
E_SHAPE = -12
E_DTYPE = -13
E_DEVICE = -14
E_LAYOUT = -15
E_CONTEXT = -16
E_OVERFLOW = -17
E_STATE = -20
E_NOT_FOUND = -21
E_EXISTS = -22
E_READ_ONLY = -23
E_UNSUPPORTED = -24
E_NO_MEMORY = -30
E_BACKEND = -40
E_COMM = -41
E_IO = -50
E_FORMAT = -51
E_VERSION = -52
E_NOT_FINITE = -60
MAX_DIMS = 8
F32 = 1
BF16 = 2
DEVICE_CPU = 1
DEVICE_CUDA = 2
ROUND_NEAREST = 1
ROUND_STOCHASTIC = 2

relora_comm_fn = CFUNCTYPE(c_int32, c_void_p, c_void_p, c_void_p, c_int64, c_int32)
relora_comm_error_fn = CFUNCTYPE(c_char_p, c_void_p)
relora_alloc_fn = CFUNCTYPE(c_void_p, c_void_p, c_size_t, c_size_t)
relora_free_fn = CFUNCTYPE(None, c_void_p, c_void_p, c_size_t, c_size_t)
relora_log_fn = CFUNCTYPE(None, c_void_p, c_int32, c_char_p)
relora_destroy_fn = CFUNCTYPE(None, c_void_p)
relora_cycle_hook_fn = CFUNCTYPE(None, c_void_p, c_int64, c_uint32)
relora_merge_fn = CFUNCTYPE(c_int32, c_void_p, c_void_p, c_void_p, c_void_p, c_void_p, c_void_p)
relora_deleter_fn = CFUNCTYPE(None, c_void_p, c_void_p)


class relora_adam_options(Structure):
    _fields_ = [
        ('struct_size', c_uint32),
        ('flags', c_uint32),
        ('beta1', c_double),
        ('beta2', c_double),
        ('eps', c_double),
        ('weight_decay', c_double),
        ('max_norm', c_double),
        ('seed', c_uint64),
        ('rounding', c_int32),
        ('reserved', c_int32),
        ('comm', c_void_p),
    ]


class relora_step_report(Structure):
    _fields_ = [
        ('struct_size', c_uint32),
        ('skipped', c_int32),
        ('grad_norm', c_double),
        ('clip_factor', c_double),
    ]


class relora_read_report(Structure):
    _fields_ = [
        ('struct_size', c_uint32),
        ('read', c_int32),
        ('missing', c_int32),
        ('left_over', c_int32),
    ]


class relora_comm(Structure):
    _fields_ = [
        ('struct_size', c_uint32),
        ('rank', c_int32),
        ('size', c_int32),
        ('memory', c_int32),
        ('sum', relora_comm_fn),
        ('reduce_scatter', relora_comm_fn),
        ('all_gather', relora_comm_fn),
        ('error', relora_comm_error_fn),
        ('user', c_void_p),
    ]


class relora_context_options(Structure):
    _fields_ = [
        ('struct_size', c_uint32),
        ('flags', c_uint32),
        ('threads', c_int32),
        ('log_level', c_int32),
        ('host_alloc', relora_alloc_fn),
        ('host_free', relora_free_fn),
        ('host_user', c_void_p),
        ('log', relora_log_fn),
        ('log_user', c_void_p),
        ('module_dir', c_char_p),
        ('on_destroy', relora_destroy_fn),
        ('destroy_user', c_void_p),
    ]


class relora_cycle_options(Structure):
    _fields_ = [
        ('struct_size', c_uint32),
        ('flags', c_uint32),
        ('first_step', c_int64),
        ('merge_every', c_int64),
        ('reset_every', c_int64),
        ('before', relora_cycle_hook_fn),
        ('after', relora_cycle_hook_fn),
        ('hook_user', c_void_p),
        ('period_growth', c_int64),
        ('stagger', c_int64),
        ('comm', c_void_p),
    ]


class relora_linear_options(Structure):
    _fields_ = [
        ('struct_size', c_uint32),
        ('flags', c_uint32),
        ('mode', c_int32),
        ('dtype', c_int32),
        ('in_features', c_int64),
        ('out_features', c_int64),
        ('rank', c_int64),
        ('alpha', c_double),
        ('dropout', c_double),
        ('seed', c_uint64),
        ('layer', c_uint64),
        ('rounding', c_int32),
        ('reserved', c_int32),
        ('init', c_int32),
        ('reserved2', c_int32),
    ]


class relora_merge_report(Structure):
    _fields_ = [
        ('struct_size', c_uint32),
        ('layers', c_int32),
        ('delta_norm', c_double),
        ('weight_norm', c_double),
        ('overlap', c_double),
        ('gradient_before', c_double),
        ('gradient_after', c_double),
    ]


class relora_full_rank_report(Structure):
    _fields_ = [
        ('struct_size', c_uint32),
        ('reserved', c_int32),
        ('delta_norm', c_double),
        ('weight_norm', c_double),
        ('grad_norm', c_double),
        ('grad_rank', c_double),
    ]


class relora_plan_report(Structure):
    _fields_ = [
        ('struct_size', c_uint32),
        ('forward', c_int32),
        ('backward', c_int32),
        ('reserved', c_int32),
        ('forward_flops', c_double),
        ('backward_flops', c_double),
        ('forward_bytes', c_int64),
        ('backward_bytes', c_int64),
        ('forward_provider', c_int32),
        ('backward_provider', c_int32),
        ('forward_isa', c_int32),
        ('backward_isa', c_int32),
        ('forward_converts', c_int32),
        ('backward_converts', c_int32),
        ('product_bytes', c_int64),
    ]


class relora_reset_options(Structure):
    _fields_ = [
        ('struct_size', c_uint32),
        ('flags', c_uint32),
        ('mode', c_int32),
        ('reserved', c_int32),
        ('ratio', c_double),
        ('seed', c_uint64),
        ('cycle', c_uint64),
    ]


class relora_reset_report(Structure):
    _fields_ = [
        ('struct_size', c_uint32),
        ('params', c_int32),
        ('elements', c_int64),
        ('zeroed_first', c_int64),
        ('zeroed_second', c_int64),
        ('unpaired', c_int64),
    ]


class relora_merge_options(Structure):
    _fields_ = [
        ('struct_size', c_uint32),
        ('flags', c_uint32),
        ('scale', c_double),
        ('seed', c_uint64),
        ('layer', c_uint64),
        ('cycle', c_uint64),
        ('rounding', c_int32),
        ('reserved', c_int32),
    ]


class relora_factors_options(Structure):
    _fields_ = [
        ('struct_size', c_uint32),
        ('init', c_int32),
        ('seed', c_uint64),
        ('layer', c_uint64),
        ('cycle', c_uint64),
    ]


class relora_schedule_options(Structure):
    _fields_ = [
        ('struct_size', c_uint32),
        ('kind', c_int32),
        ('lr', c_double),
        ('min_lr_ratio', c_double),
        ('first_step', c_int64),
        ('total_steps', c_int64),
        ('warmup_steps', c_int64),
        ('restart_warmup_steps', c_int64),
        ('restart_every', c_int64),
        ('adjust_step', c_int64),
        ('period_growth', c_int64),
    ]


# name: result, parameters
FUNCTIONS = {
    'relora_step_report_init': (c_int32, [c_void_p, c_size_t]),
    'relora_adam_options_init': (c_int32, [c_void_p, c_size_t]),
    'relora_adam_create': (c_int32, [c_void_p, c_void_p, c_void_p]),
    'relora_adam_release': (None, [c_void_p]),
    'relora_adam_add': (c_int32, [c_void_p, c_char_p, c_void_p, c_void_p, c_void_p]),
    'relora_adam_add_moments': (c_int32, [c_void_p, c_char_p, c_void_p, c_void_p, c_void_p, c_void_p, c_void_p]),
    'relora_adam_set_moments': (c_int32, [c_void_p, c_int32, c_void_p, c_void_p]),
    'relora_adam_add_linear': (c_int32, [c_void_p, c_char_p, c_void_p]),
    'relora_adam_add_group': (c_int32, [c_void_p, c_void_p]),
    'relora_adam_refresh': (c_int32, [c_void_p, c_void_p]),
    'relora_adam_set_factors': (c_int32, [c_void_p, c_int32, c_double, c_double]),
    'relora_adam_flatten_grads': (c_int32, [c_void_p, c_void_p]),
    'relora_adam_flat_grad': (c_void_p, [c_void_p]),
    'relora_adam_zero_grad': (c_int32, [c_void_p, c_void_p]),
    'relora_adam_step': (c_int32, [c_void_p, c_void_p, c_double, c_double, c_void_p]),
    'relora_adam_step_lr': (c_int32, [c_void_p, c_void_p, c_void_p, c_double, c_void_p]),
    'relora_adam_sum': (c_int32, [c_void_p, c_void_p, c_void_p]),
    'relora_adam_grad_norm': (c_int32, [c_void_p, c_void_p, c_void_p]),
    'relora_adam_reset': (c_int32, [c_void_p, c_void_p, c_void_p, c_int32, c_void_p, c_void_p]),
    'relora_adam_carry': (c_int32, [c_void_p, c_void_p, c_void_p, c_void_p, c_int32, c_void_p]),
    'relora_adam_count': (c_int32, [c_void_p]),
    'relora_adam_name': (c_char_p, [c_void_p, c_int32]),
    'relora_adam_find': (c_int32, [c_void_p, c_char_p, c_void_p]),
    'relora_adam_moment': (c_void_p, [c_void_p, c_int32, c_int32]),
    'relora_adam_steps': (c_int32, [c_void_p, c_void_p, c_int32, c_void_p]),
    'relora_adam_set_steps': (c_int32, [c_void_p, c_void_p, c_int32, c_int64]),
    'relora_read_report_init': (c_int32, [c_void_p, c_size_t]),
    'relora_writer_create': (c_int32, [c_void_p, c_void_p]),
    'relora_writer_release': (None, [c_void_p]),
    'relora_writer_add': (c_int32, [c_void_p, c_char_p, c_void_p]),
    'relora_writer_add_bytes': (c_int32, [c_void_p, c_char_p, c_char_p, c_int32, c_void_p, c_void_p, c_size_t]),
    'relora_writer_set_metadata': (c_int32, [c_void_p, c_char_p, c_char_p]),
    'relora_writer_save': (c_int32, [c_void_p, c_void_p, c_char_p, c_uint32]),
    'relora_reader_open': (c_int32, [c_void_p, c_void_p, c_char_p]),
    'relora_reader_open_if_there': (c_int32, [c_void_p, c_void_p, c_char_p]),
    'relora_reader_open_memory': (c_int32, [c_void_p, c_void_p, c_void_p, c_size_t]),
    'relora_reader_release': (None, [c_void_p]),
    'relora_reader_count': (c_int32, [c_void_p]),
    'relora_reader_name': (c_char_p, [c_void_p, c_int32]),
    'relora_reader_dtype': (c_char_p, [c_void_p, c_char_p]),
    'relora_reader_shape': (c_int32, [c_void_p, c_char_p, c_void_p, c_void_p, c_int32]),
    'relora_reader_bytes': (c_int32, [c_void_p, c_char_p, c_void_p, c_void_p]),
    'relora_reader_metadata_count': (c_int32, [c_void_p]),
    'relora_reader_metadata_key': (c_char_p, [c_void_p, c_int32]),
    'relora_reader_metadata': (c_char_p, [c_void_p, c_char_p]),
    'relora_reader_read': (c_int32, [c_void_p, c_void_p, c_char_p, c_void_p, c_uint32]),
    'relora_reader_read_group': (c_int32, [c_void_p, c_void_p, c_void_p, c_uint32, c_void_p]),
    'relora_reader_verify': (c_int32, [c_void_p]),
    'relora_comm_init': (c_int32, [c_void_p, c_size_t]),
    'relora_context_options_init': (c_int32, [c_void_p, c_size_t]),
    'relora_context_create': (c_int32, [c_void_p, c_void_p]),
    'relora_context_release': (None, [c_void_p]),
    'relora_device_count': (c_int32, [c_void_p, c_int32]),
    'relora_device_get': (c_void_p, [c_void_p, c_int32, c_int32]),
    'relora_device_get_kind': (c_int32, [c_void_p]),
    'relora_device_name': (c_char_p, [c_void_p]),
    'relora_device_memory': (c_int32, [c_void_p, c_void_p, c_void_p]),
    'relora_cycle_options_init': (c_int32, [c_void_p, c_size_t]),
    'relora_cycle_options_follow': (c_int32, [c_void_p, c_void_p]),
    'relora_cycle_create': (c_int32, [c_void_p, c_void_p, c_void_p, c_void_p, c_void_p]),
    'relora_cycle_add': (c_int32, [c_void_p, c_void_p]),
    'relora_cycle_add_group': (c_int32, [c_void_p, c_void_p]),
    'relora_cycle_release': (None, [c_void_p]),
    'relora_cycle_due': (c_int32, [c_void_p, c_int64, c_void_p]),
    'relora_cycle_advance': (c_int32, [c_void_p, c_void_p, c_int64, c_void_p, c_void_p, c_void_p]),
    'relora_cycle_finish': (c_int32, [c_void_p, c_void_p, c_int64, c_void_p]),
    'relora_tensor_from_dlpack': (c_int32, [c_void_p, c_void_p, c_void_p]),
    'relora_tensor_to_dlpack': (c_int32, [c_void_p, c_void_p, c_void_p, c_void_p]),
    'relora_group_create': (c_int32, [c_void_p, c_void_p]),
    'relora_group_release': (None, [c_void_p]),
    'relora_group_wrap': (c_int32, [c_void_p, c_char_p, c_void_p, c_void_p, c_void_p, c_void_p]),
    'relora_group_add_linear': (c_int32, [c_void_p, c_char_p, c_void_p]),
    'relora_group_add_param': (c_int32, [c_void_p, c_char_p, c_void_p, c_void_p]),
    'relora_group_wrap_at': (c_int32, [c_void_p, c_char_p, c_void_p, c_void_p, c_void_p, c_void_p]),
    'relora_group_add_param_at': (c_int32, [c_void_p, c_char_p, c_int64, c_void_p, c_void_p]),
    'relora_group_linear_at': (c_void_p, [c_void_p, c_void_p]),
    'relora_group_count': (c_int32, [c_void_p]),
    'relora_group_find': (c_int32, [c_void_p, c_char_p, c_void_p]),
    'relora_group_name': (c_char_p, [c_void_p, c_int32]),
    'relora_group_linear': (c_void_p, [c_void_p, c_int32]),
    'relora_group_value': (c_void_p, [c_void_p, c_int32]),
    'relora_group_grad': (c_void_p, [c_void_p, c_int32]),
    'relora_group_set_mode': (c_int32, [c_void_p, c_void_p, c_int32]),
    'relora_group_merge': (c_int32, [c_void_p, c_void_p, c_uint64, c_void_p]),
    'relora_group_reset': (c_int32, [c_void_p, c_void_p, c_uint64]),
    'relora_group_zero_grad': (c_int32, [c_void_p, c_void_p]),
    'relora_merge_report_init': (c_int32, [c_void_p, c_size_t]),
    'relora_full_rank_report_init': (c_int32, [c_void_p, c_size_t]),
    'relora_linear_options_init': (c_int32, [c_void_p, c_size_t]),
    'relora_linear_create': (c_int32, [c_void_p, c_void_p, c_void_p]),
    'relora_linear_release': (None, [c_void_p]),
    'relora_linear_set_weight': (c_int32, [c_void_p, c_void_p, c_void_p]),
    'relora_linear_wrap': (c_int32, [c_void_p, c_void_p, c_void_p, c_void_p, c_void_p]),
    'relora_linear_set_mode': (c_int32, [c_void_p, c_void_p, c_int32]),
    'relora_linear_get_mode': (c_int32, [c_void_p]),
    'relora_linear_param': (c_void_p, [c_void_p, c_int32]),
    'relora_linear_grad': (c_void_p, [c_void_p, c_int32]),
    'relora_linear_set_param': (c_int32, [c_void_p, c_int32, c_void_p]),
    'relora_linear_set_grad': (c_int32, [c_void_p, c_int32, c_void_p]),
    'relora_linear_forward': (c_int32, [c_void_p, c_void_p, c_void_p, c_void_p, c_uint64, c_uint32]),
    'relora_linear_backward': (c_int32, [c_void_p, c_void_p, c_void_p, c_void_p, c_void_p, c_uint64, c_uint32]),
    'relora_linear_forward_at': (c_int32, [c_void_p, c_void_p, c_int64, c_void_p, c_int64, c_void_p, c_int64, c_uint64, c_uint32]),
    'relora_linear_backward_at': (c_int32, [c_void_p, c_void_p, c_int64, c_void_p, c_int64, c_void_p, c_int64, c_void_p, c_int64, c_uint64, c_uint32]),
    'relora_linear_forward_shared': (c_int32, [c_void_p, c_int32, c_void_p, c_void_p, c_void_p, c_uint64, c_uint32]),
    'relora_linear_backward_shared': (c_int32, [c_void_p, c_int32, c_void_p, c_void_p, c_void_p, c_void_p, c_uint64, c_uint32]),
    'relora_linear_weight_grad': (c_int32, [c_void_p, c_void_p, c_void_p, c_void_p, c_void_p, c_uint32]),
    'relora_linear_zero_grad': (c_int32, [c_void_p, c_void_p]),
    'relora_linear_merge': (c_int32, [c_void_p, c_void_p, c_uint64, c_void_p]),
    'relora_linear_full_rank_step': (c_int32, [c_void_p, c_void_p, c_void_p, c_double, c_uint64, c_void_p]),
    'relora_linear_reset': (c_int32, [c_void_p, c_void_p, c_uint64]),
    'relora_plan_report_init': (c_int32, [c_void_p, c_size_t]),
    'relora_linear_plan': (c_int32, [c_void_p, c_int64, c_uint32, c_void_p]),
    'relora_linear_set_order': (c_int32, [c_void_p, c_int32, c_int32]),
    'relora_reset_report_init': (c_int32, [c_void_p, c_size_t]),
    'relora_reset_options_init': (c_int32, [c_void_p, c_size_t]),
    'relora_merge_options_init': (c_int32, [c_void_p, c_size_t]),
    'relora_merge': (c_int32, [c_void_p, c_void_p, c_void_p, c_void_p, c_void_p, c_void_p]),
    'relora_linear_set_target': (c_int32, [c_void_p, c_void_p, relora_merge_fn, c_void_p]),
    'relora_full_rank_step': (c_int32, [c_void_p, c_void_p, c_void_p, c_double, c_void_p, c_void_p]),
    'relora_factors_draw': (c_int32, [c_void_p, c_void_p, c_void_p, c_uint64, c_uint64, c_uint64]),
    'relora_factors_options_init': (c_int32, [c_void_p, c_size_t]),
    'relora_factors_renew': (c_int32, [c_void_p, c_void_p, c_void_p, c_void_p, c_void_p, c_void_p]),
    'relora_moments_project': (c_int32, [c_void_p, c_void_p, c_void_p, c_void_p, c_void_p, c_double, c_double, c_int64]),
    'relora_moments_reset': (c_int32, [c_void_p, c_void_p, c_void_p, c_uint64, c_void_p, c_void_p]),
    'relora_schedule_options_init': (c_int32, [c_void_p, c_size_t]),
    'relora_schedule_create': (c_int32, [c_void_p, c_void_p, c_void_p]),
    'relora_schedule_release': (None, [c_void_p]),
    'relora_schedule_lr': (c_int32, [c_void_p, c_int64, c_void_p]),
    'relora_schedule_next_restart': (c_int32, [c_void_p, c_int64, c_void_p]),
    'relora_state_create': (c_int32, [c_void_p, c_void_p]),
    'relora_state_release': (None, [c_void_p]),
    'relora_state_add_tensor': (c_int32, [c_void_p, c_char_p, c_void_p]),
    'relora_state_add_linear': (c_int32, [c_void_p, c_char_p, c_void_p]),
    'relora_state_add_group': (c_int32, [c_void_p, c_void_p]),
    'relora_state_add_adam': (c_int32, [c_void_p, c_char_p, c_void_p]),
    'relora_state_add_schedule': (c_int32, [c_void_p, c_char_p, c_void_p]),
    'relora_state_add_cycle': (c_int32, [c_void_p, c_char_p, c_void_p]),
    'relora_state_add_bytes': (c_int32, [c_void_p, c_char_p, c_void_p, c_size_t]),
    'relora_state_set': (c_int32, [c_void_p, c_char_p, c_char_p]),
    'relora_state_save': (c_int32, [c_void_p, c_void_p, c_char_p, c_uint32]),
    'relora_state_load': (c_int32, [c_void_p, c_void_p, c_void_p]),
    'relora_state_set_export_layout': (c_int32, [c_void_p, c_int32]),
    'relora_state_export_merged': (c_int32, [c_void_p, c_void_p, c_char_p]),
    'relora_state_export_adapter': (c_int32, [c_void_p, c_void_p, c_char_p, c_char_p]),
    'relora_state_export_delta': (c_int32, [c_void_p, c_void_p, c_char_p]),
    'relora_status_name': (c_char_p, [c_int32]),
    'relora_status_text': (c_char_p, [c_int32]),
    'relora_context_error': (c_int32, [c_void_p, c_char_p, c_size_t, c_void_p]),
    'relora_stream_create': (c_int32, [c_void_p, c_void_p]),
    'relora_stream_wrap': (c_int32, [c_void_p, c_void_p, c_void_p]),
    'relora_stream_native': (c_void_p, [c_void_p]),
    'relora_stream_wait': (c_int32, [c_void_p, c_void_p]),
    'relora_stream_synchronize': (c_int32, [c_void_p]),
    'relora_stream_error': (c_int32, [c_void_p, c_char_p, c_size_t, c_void_p]),
    'relora_stream_release': (None, [c_void_p]),
    'relora_tensor_create': (c_int32, [c_void_p, c_void_p, c_int32, c_int32, c_void_p]),
    'relora_tensor_borrow': (c_int32, [c_void_p, c_void_p, c_int32, c_int32, c_void_p, c_void_p, c_void_p, relora_deleter_fn, c_void_p]),
    'relora_tensor_borrow_matrix': (c_int32, [c_void_p, c_void_p, c_int32, c_int64, c_int64, c_void_p]),
    'relora_tensor_set_data': (c_int32, [c_void_p, c_void_p]),
    'relora_tensor_set_data_owned': (c_int32, [c_void_p, c_void_p, relora_deleter_fn, c_void_p]),
    'relora_tensor_retain': (None, [c_void_p]),
    'relora_tensor_release': (None, [c_void_p]),
    'relora_tensor_dtype': (c_int32, [c_void_p]),
    'relora_tensor_ndim': (c_int32, [c_void_p]),
    'relora_tensor_dim': (c_int64, [c_void_p, c_int32]),
    'relora_tensor_stride': (c_int64, [c_void_p, c_int32]),
    'relora_tensor_count': (c_int64, [c_void_p]),
    'relora_tensor_data': (c_void_p, [c_void_p]),
    'relora_tensor_device': (c_void_p, [c_void_p]),
    'relora_tensor_write': (c_int32, [c_void_p, c_void_p, c_void_p, c_size_t]),
    'relora_tensor_read': (c_int32, [c_void_p, c_void_p, c_void_p, c_size_t]),
    'relora_tensor_copy': (c_int32, [c_void_p, c_void_p, c_void_p]),
    'relora_tensor_fill': (c_int32, [c_void_p, c_void_p, c_double]),
    'relora_version': (c_uint32, []),
    'relora_version_string': (c_char_p, []),
    'relora_build_info': (c_char_p, []),
}

# struct: size, places of its fields, as the C compiler has them
LAYOUT = {
    relora_adam_options: (72, {'struct_size': 0, 'flags': 4, 'beta1': 8, 'beta2': 16, 'eps': 24, 'weight_decay': 32, 'max_norm': 40, 'seed': 48, 'rounding': 56, 'reserved': 60, 'comm': 64}),
    relora_step_report: (24, {'struct_size': 0, 'skipped': 4, 'grad_norm': 8, 'clip_factor': 16}),
    relora_read_report: (16, {'struct_size': 0, 'read': 4, 'missing': 8, 'left_over': 12}),
    relora_comm: (56, {'struct_size': 0, 'rank': 4, 'size': 8, 'memory': 12, 'sum': 16, 'reduce_scatter': 24, 'all_gather': 32, 'error': 40, 'user': 48}),
    relora_context_options: (80, {'struct_size': 0, 'flags': 4, 'threads': 8, 'log_level': 12, 'host_alloc': 16, 'host_free': 24, 'host_user': 32, 'log': 40, 'log_user': 48, 'module_dir': 56, 'on_destroy': 64, 'destroy_user': 72}),
    relora_cycle_options: (80, {'struct_size': 0, 'flags': 4, 'first_step': 8, 'merge_every': 16, 'reset_every': 24, 'before': 32, 'after': 40, 'hook_user': 48, 'period_growth': 56, 'stagger': 64, 'comm': 72}),
    relora_linear_options: (88, {'struct_size': 0, 'flags': 4, 'mode': 8, 'dtype': 12, 'in_features': 16, 'out_features': 24, 'rank': 32, 'alpha': 40, 'dropout': 48, 'seed': 56, 'layer': 64, 'rounding': 72, 'reserved': 76, 'init': 80, 'reserved2': 84}),
    relora_merge_report: (48, {'struct_size': 0, 'layers': 4, 'delta_norm': 8, 'weight_norm': 16, 'overlap': 24, 'gradient_before': 32, 'gradient_after': 40}),
    relora_full_rank_report: (40, {'struct_size': 0, 'reserved': 4, 'delta_norm': 8, 'weight_norm': 16, 'grad_norm': 24, 'grad_rank': 32}),
    relora_plan_report: (80, {'struct_size': 0, 'forward': 4, 'backward': 8, 'reserved': 12, 'forward_flops': 16, 'backward_flops': 24, 'forward_bytes': 32, 'backward_bytes': 40, 'forward_provider': 48, 'backward_provider': 52, 'forward_isa': 56, 'backward_isa': 60, 'forward_converts': 64, 'backward_converts': 68, 'product_bytes': 72}),
    relora_reset_options: (40, {'struct_size': 0, 'flags': 4, 'mode': 8, 'reserved': 12, 'ratio': 16, 'seed': 24, 'cycle': 32}),
    relora_reset_report: (40, {'struct_size': 0, 'params': 4, 'elements': 8, 'zeroed_first': 16, 'zeroed_second': 24, 'unpaired': 32}),
    relora_merge_options: (48, {'struct_size': 0, 'flags': 4, 'scale': 8, 'seed': 16, 'layer': 24, 'cycle': 32, 'rounding': 40, 'reserved': 44}),
    relora_factors_options: (32, {'struct_size': 0, 'init': 4, 'seed': 8, 'layer': 16, 'cycle': 24}),
    relora_schedule_options: (80, {'struct_size': 0, 'kind': 4, 'lr': 8, 'min_lr_ratio': 16, 'first_step': 24, 'total_steps': 32, 'warmup_steps': 40, 'restart_warmup_steps': 48, 'restart_every': 56, 'adjust_step': 64, 'period_growth': 72}),
}
