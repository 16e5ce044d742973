# Written by examples/bindings.py from include/relora: change the headers, then run `make bindings`.

const relora_comm_type = Int32
const relora_device_kind = Int32
const relora_dtype = Int32
const relora_init = Int32
const relora_isa = Int32
const relora_layout = Int32
const relora_linear_mode = Int32
const relora_moment = Int32
const relora_order = Int32
const relora_param = Int32
const relora_provider = Int32
const relora_reset_mode = Int32
const relora_rounding = Int32
const relora_schedule_kind = Int32
const relora_status = Int32

mutable struct relora_adam end
mutable struct relora_context end
mutable struct relora_cycle end
mutable struct relora_device end
mutable struct relora_group end
mutable struct relora_linear end
mutable struct relora_reader end
mutable struct relora_schedule end
mutable struct relora_state end
mutable struct relora_stream end
mutable struct relora_tensor end
mutable struct relora_writer end
mutable struct DLManagedTensorVersioned end

const RELORA_ADAM_DECOUPLED = UInt32(1)
const RELORA_ADAM_SKIP_NOT_FINITE = UInt32(2)
const RELORA_ADAM_SHARD_STATE = UInt32(4)
const RELORA_MOMENT_FIRST = relora_moment(1)
const RELORA_MOMENT_SECOND = relora_moment(2)
const RELORA_SAVE_CHECKSUM = UInt32(1)
const RELORA_READ_CONVERT = UInt32(1)
const RELORA_READ_FINITE = UInt32(2)
const RELORA_READ_ALLOW_MISSING = UInt32(4)
const RELORA_READ_ALLOW_LEFT_OVER = UInt32(8)
const RELORA_COMM_F32 = relora_comm_type(1)
const RELORA_COMM_F64 = relora_comm_type(2)
const RELORA_COMM_I64 = relora_comm_type(3)
const RELORA_LOG_OFF = Int32(0)
const RELORA_LOG_ERROR = Int32(1)
const RELORA_LOG_WARN = Int32(2)
const RELORA_LOG_INFO = Int32(3)
const RELORA_LOG_DEBUG = Int32(4)
const RELORA_CYCLE_MERGE = UInt32(1)
const RELORA_CYCLE_RESET = UInt32(2)
const RELORA_CYCLE_FINISH = UInt32(4)
const RELORA_MODE_FULL = relora_linear_mode(1)
const RELORA_MODE_LORA = relora_linear_mode(2)
const RELORA_MODE_LOWRANK = relora_linear_mode(3)
const RELORA_LINEAR_BIAS = UInt32(1)
const RELORA_LINEAR_TRAINABLE_SCALE = UInt32(2)
const RELORA_LINEAR_REFERENCE = UInt32(4)
const RELORA_LINEAR_KEEP_DELTA = UInt32(8)
const RELORA_LINEAR_TF32 = UInt32(16)
const RELORA_LINEAR_IN_OUT = UInt32(32)
const RELORA_LINEAR_FREEZE_A = UInt32(64)
const RELORA_LINEAR_FREEZE_B = UInt32(128)
const RELORA_INIT_UNIFORM = relora_init(1)
const RELORA_INIT_MATCHED = relora_init(2)
const RELORA_INIT_GRADIENT = relora_init(3)
const RELORA_INIT_GIVEN = relora_init(4)
const RELORA_PARAM_WEIGHT = relora_param(1)
const RELORA_PARAM_BIAS = relora_param(2)
const RELORA_PARAM_A = relora_param(3)
const RELORA_PARAM_B = relora_param(4)
const RELORA_PARAM_SCALE = relora_param(5)
const RELORA_PARAM_DELTA = relora_param(6)
const RELORA_PARAM_SKETCH = relora_param(7)
const RELORA_TRAIN = UInt32(1)
const RELORA_OVERWRITE = UInt32(2)
const RELORA_ACCUMULATE_DX = UInt32(4)
const RELORA_ACCUMULATE_Y = UInt32(8)
const RELORA_SKETCH = UInt32(16)
const RELORA_ORDER_AUTO = relora_order(1)
const RELORA_ORDER_SPLIT = relora_order(2)
const RELORA_ORDER_FOLD = relora_order(3)
const RELORA_ORDER_THROUGH = relora_order(4)
const RELORA_PROVIDER_OWN = relora_provider(1)
const RELORA_PROVIDER_ONEDNN = relora_provider(2)
const RELORA_PROVIDER_BLAS = relora_provider(3)
const RELORA_ISA_BASE = relora_isa(1)
const RELORA_ISA_NEON = relora_isa(2)
const RELORA_ISA_AVX2 = relora_isa(3)
const RELORA_ISA_AVX512 = relora_isa(4)
const RELORA_ISA_AMX = relora_isa(5)
const RELORA_RESET_ZERO = relora_reset_mode(1)
const RELORA_RESET_RANDOM = relora_reset_mode(2)
const RELORA_RESET_MAGNITUDE = relora_reset_mode(3)
const RELORA_RESET_KEEP = relora_reset_mode(4)
const RELORA_RESET_PROJECT = relora_reset_mode(5)
const RELORA_RESET_STEP_COUNT = UInt32(1)
const RELORA_RESET_INDEPENDENT = UInt32(2)
const RELORA_RESET_QUANTILE = UInt32(4)
const RELORA_MERGE_LOOK = UInt32(1)
const RELORA_MERGE_IN_OUT = UInt32(2)
const RELORA_SCHEDULE_CONSTANT = relora_schedule_kind(1)
const RELORA_SCHEDULE_LINEAR = relora_schedule_kind(2)
const RELORA_SCHEDULE_COSINE = relora_schedule_kind(3)
const RELORA_SCHEDULE_COSINE_RESTARTS = relora_schedule_kind(4)
const RELORA_LAYOUT_OWN = relora_layout(1)
const RELORA_LAYOUT_OUT_IN = relora_layout(2)
const RELORA_LAYOUT_IN_OUT = relora_layout(3)
const RELORA_OK = relora_status(0)
const RELORA_E_INTERNAL = relora_status(-1)
const RELORA_E_ARGUMENT = relora_status(-10)
const RELORA_E_STRUCT_SIZE = relora_status(-11)
const RELORA_E_SHAPE = relora_status(-12)
const RELORA_E_DTYPE = relora_status(-13)
const RELORA_E_DEVICE = relora_status(-14)
const RELORA_E_LAYOUT = relora_status(-15)
const RELORA_E_CONTEXT = relora_status(-16)
const RELORA_E_OVERFLOW = relora_status(-17)
const RELORA_E_STATE = relora_status(-20)
const RELORA_E_NOT_FOUND = relora_status(-21)
const RELORA_E_EXISTS = relora_status(-22)
const RELORA_E_READ_ONLY = relora_status(-23)
const RELORA_E_UNSUPPORTED = relora_status(-24)
const RELORA_E_NO_MEMORY = relora_status(-30)
const RELORA_E_BACKEND = relora_status(-40)
const RELORA_E_COMM = relora_status(-41)
const RELORA_E_IO = relora_status(-50)
const RELORA_E_FORMAT = relora_status(-51)
const RELORA_E_VERSION = relora_status(-52)
const RELORA_E_NOT_FINITE = relora_status(-60)
const RELORA_MAX_DIMS = Int32(8)
const RELORA_F32 = relora_dtype(1)
const RELORA_BF16 = relora_dtype(2)
const RELORA_DEVICE_CPU = relora_device_kind(1)
const RELORA_DEVICE_CUDA = relora_device_kind(2)
const RELORA_ROUND_NEAREST = relora_rounding(1)
const RELORA_ROUND_STOCHASTIC = relora_rounding(2)

mutable struct relora_adam_options
    struct_size::UInt32
    flags::UInt32
    beta1::Float64
    beta2::Float64
    eps::Float64
    weight_decay::Float64
    max_norm::Float64
    seed::UInt64
    rounding::relora_rounding
    reserved::Int32
    comm::Ptr{relora_comm}
    relora_adam_options() = new()
end

mutable struct relora_step_report
    struct_size::UInt32
    skipped::Int32
    grad_norm::Float64
    clip_factor::Float64
    relora_step_report() = new()
end

mutable struct relora_read_report
    struct_size::UInt32
    read::Int32
    missing::Int32
    left_over::Int32
    relora_read_report() = new()
end

mutable struct relora_comm
    struct_size::UInt32
    rank::Int32
    size::Int32
    memory::relora_device_kind
    sum::Ptr{Cvoid}
    reduce_scatter::Ptr{Cvoid}
    all_gather::Ptr{Cvoid}
    error::Ptr{Cvoid}
    user::Ptr{Cvoid}
    relora_comm() = new()
end

mutable struct relora_context_options
    struct_size::UInt32
    flags::UInt32
    threads::Int32
    log_level::Int32
    host_alloc::Ptr{Cvoid}
    host_free::Ptr{Cvoid}
    host_user::Ptr{Cvoid}
    log::Ptr{Cvoid}
    log_user::Ptr{Cvoid}
    module_dir::Ptr{UInt8}
    on_destroy::Ptr{Cvoid}
    destroy_user::Ptr{Cvoid}
    relora_context_options() = new()
end

mutable struct relora_cycle_options
    struct_size::UInt32
    flags::UInt32
    first_step::Int64
    merge_every::Int64
    reset_every::Int64
    before::Ptr{Cvoid}
    after::Ptr{Cvoid}
    hook_user::Ptr{Cvoid}
    period_growth::Int64
    stagger::Int64
    comm::Ptr{relora_comm}
    relora_cycle_options() = new()
end

mutable struct relora_linear_options
    struct_size::UInt32
    flags::UInt32
    mode::relora_linear_mode
    dtype::relora_dtype
    in_features::Int64
    out_features::Int64
    rank::Int64
    alpha::Float64
    dropout::Float64
    seed::UInt64
    layer::UInt64
    rounding::relora_rounding
    reserved::Int32
    init::relora_init
    reserved2::Int32
    relora_linear_options() = new()
end

mutable struct relora_merge_report
    struct_size::UInt32
    layers::Int32
    delta_norm::Float64
    weight_norm::Float64
    overlap::Float64
    gradient_before::Float64
    gradient_after::Float64
    relora_merge_report() = new()
end

mutable struct relora_full_rank_report
    struct_size::UInt32
    reserved::Int32
    delta_norm::Float64
    weight_norm::Float64
    grad_norm::Float64
    grad_rank::Float64
    relora_full_rank_report() = new()
end

mutable struct relora_plan_report
    struct_size::UInt32
    forward::relora_order
    backward::relora_order
    reserved::Int32
    forward_flops::Float64
    backward_flops::Float64
    forward_bytes::Int64
    backward_bytes::Int64
    forward_provider::relora_provider
    backward_provider::relora_provider
    forward_isa::relora_isa
    backward_isa::relora_isa
    forward_converts::Int32
    backward_converts::Int32
    product_bytes::Int64
    relora_plan_report() = new()
end

mutable struct relora_reset_options
    struct_size::UInt32
    flags::UInt32
    mode::relora_reset_mode
    reserved::Int32
    ratio::Float64
    seed::UInt64
    cycle::UInt64
    relora_reset_options() = new()
end

mutable struct relora_reset_report
    struct_size::UInt32
    params::Int32
    elements::Int64
    zeroed_first::Int64
    zeroed_second::Int64
    unpaired::Int64
    relora_reset_report() = new()
end

mutable struct relora_merge_options
    struct_size::UInt32
    flags::UInt32
    scale::Float64
    seed::UInt64
    layer::UInt64
    cycle::UInt64
    rounding::relora_rounding
    reserved::Int32
    relora_merge_options() = new()
end

mutable struct relora_factors_options
    struct_size::UInt32
    init::relora_init
    seed::UInt64
    layer::UInt64
    cycle::UInt64
    relora_factors_options() = new()
end

mutable struct relora_schedule_options
    struct_size::UInt32
    kind::relora_schedule_kind
    lr::Float64
    min_lr_ratio::Float64
    first_step::Int64
    total_steps::Int64
    warmup_steps::Int64
    restart_warmup_steps::Int64
    restart_every::Int64
    adjust_step::Int64
    period_growth::Int64
    relora_schedule_options() = new()
end

relora_step_report_init(report, size) =
    ccall((:relora_step_report_init, librelora), relora_status, (Ptr{relora_step_report}, Csize_t), report, size)

relora_adam_options_init(options, size) =
    ccall((:relora_adam_options_init, librelora), relora_status, (Ptr{relora_adam_options}, Csize_t), options, size)

relora_adam_create(out, device, options) =
    ccall((:relora_adam_create, librelora), relora_status, (Ptr{Ptr{relora_adam}}, Ptr{relora_device}, Ptr{relora_adam_options}), out, device, options)

relora_adam_release(adam) =
    ccall((:relora_adam_release, librelora), Cvoid, (Ptr{relora_adam},), adam)

relora_adam_add(adam, name, param, grad, index) =
    ccall((:relora_adam_add, librelora), relora_status, (Ptr{relora_adam}, Cstring, Ptr{relora_tensor}, Ptr{relora_tensor}, Ptr{Int32}), adam, name, param, grad, index)

relora_adam_add_moments(adam, name, param, grad, first, second, index) =
    ccall((:relora_adam_add_moments, librelora), relora_status, (Ptr{relora_adam}, Cstring, Ptr{relora_tensor}, Ptr{relora_tensor}, Ptr{relora_tensor}, Ptr{relora_tensor}, Ptr{Int32}), adam, name, param, grad, first, second, index)

relora_adam_set_moments(adam, index, first, second) =
    ccall((:relora_adam_set_moments, librelora), relora_status, (Ptr{relora_adam}, Int32, Ptr{relora_tensor}, Ptr{relora_tensor}), adam, index, first, second)

relora_adam_add_linear(adam, prefix, linear) =
    ccall((:relora_adam_add_linear, librelora), relora_status, (Ptr{relora_adam}, Cstring, Ptr{relora_linear}), adam, prefix, linear)

relora_adam_add_group(adam, group) =
    ccall((:relora_adam_add_group, librelora), relora_status, (Ptr{relora_adam}, Ptr{relora_group}), adam, group)

relora_adam_refresh(adam, stream) =
    ccall((:relora_adam_refresh, librelora), relora_status, (Ptr{relora_adam}, Ptr{relora_stream}), adam, stream)

relora_adam_set_factors(adam, index, lr_factor, weight_decay) =
    ccall((:relora_adam_set_factors, librelora), relora_status, (Ptr{relora_adam}, Int32, Float64, Float64), adam, index, lr_factor, weight_decay)

relora_adam_flatten_grads(adam, stream) =
    ccall((:relora_adam_flatten_grads, librelora), relora_status, (Ptr{relora_adam}, Ptr{relora_stream}), adam, stream)

relora_adam_flat_grad(adam) =
    ccall((:relora_adam_flat_grad, librelora), Ptr{relora_tensor}, (Ptr{relora_adam},), adam)

relora_adam_zero_grad(adam, stream) =
    ccall((:relora_adam_zero_grad, librelora), relora_status, (Ptr{relora_adam}, Ptr{relora_stream}), adam, stream)

relora_adam_step(adam, stream, lr, grad_scale, report) =
    ccall((:relora_adam_step, librelora), relora_status, (Ptr{relora_adam}, Ptr{relora_stream}, Float64, Float64, Ptr{relora_step_report}), adam, stream, lr, grad_scale, report)

relora_adam_step_lr(adam, stream, lr, grad_scale, report) =
    ccall((:relora_adam_step_lr, librelora), relora_status, (Ptr{relora_adam}, Ptr{relora_stream}, Ptr{relora_tensor}, Float64, Ptr{relora_step_report}), adam, stream, lr, grad_scale, report)

relora_adam_sum(adam, stream, tensor) =
    ccall((:relora_adam_sum, librelora), relora_status, (Ptr{relora_adam}, Ptr{relora_stream}, Ptr{relora_tensor}), adam, stream, tensor)

relora_adam_grad_norm(adam, stream, norm) =
    ccall((:relora_adam_grad_norm, librelora), relora_status, (Ptr{relora_adam}, Ptr{relora_stream}, Ptr{Float64}), adam, stream, norm)

relora_adam_reset(adam, stream, indices, count, options, report) =
    ccall((:relora_adam_reset, librelora), relora_status, (Ptr{relora_adam}, Ptr{relora_stream}, Ptr{Int32}, Int32, Ptr{relora_reset_options}, Ptr{relora_reset_report}), adam, stream, indices, count, options, report)

relora_adam_carry(adam, stream, from, indices, count, carried) =
    ccall((:relora_adam_carry, librelora), relora_status, (Ptr{relora_adam}, Ptr{relora_stream}, Ptr{relora_adam}, Ptr{Int32}, Int32, Ptr{Int32}), adam, stream, from, indices, count, carried)

relora_adam_count(adam) =
    ccall((:relora_adam_count, librelora), Int32, (Ptr{relora_adam},), adam)

relora_adam_name(adam, index) =
    ccall((:relora_adam_name, librelora), Cstring, (Ptr{relora_adam}, Int32), adam, index)

relora_adam_find(adam, name, index) =
    ccall((:relora_adam_find, librelora), relora_status, (Ptr{relora_adam}, Cstring, Ptr{Int32}), adam, name, index)

relora_adam_moment(adam, index, moment) =
    ccall((:relora_adam_moment, librelora), Ptr{relora_tensor}, (Ptr{relora_adam}, Int32, relora_moment), adam, index, moment)

relora_adam_steps(adam, stream, index, steps) =
    ccall((:relora_adam_steps, librelora), relora_status, (Ptr{relora_adam}, Ptr{relora_stream}, Int32, Ptr{Int64}), adam, stream, index, steps)

relora_adam_set_steps(adam, stream, index, steps) =
    ccall((:relora_adam_set_steps, librelora), relora_status, (Ptr{relora_adam}, Ptr{relora_stream}, Int32, Int64), adam, stream, index, steps)

relora_read_report_init(report, size) =
    ccall((:relora_read_report_init, librelora), relora_status, (Ptr{relora_read_report}, Csize_t), report, size)

relora_writer_create(out, ctx) =
    ccall((:relora_writer_create, librelora), relora_status, (Ptr{Ptr{relora_writer}}, Ptr{relora_context}), out, ctx)

relora_writer_release(writer) =
    ccall((:relora_writer_release, librelora), Cvoid, (Ptr{relora_writer},), writer)

relora_writer_add(writer, name, tensor) =
    ccall((:relora_writer_add, librelora), relora_status, (Ptr{relora_writer}, Cstring, Ptr{relora_tensor}), writer, name, tensor)

relora_writer_add_bytes(writer, name, dtype, ndim, shape, data, bytes) =
    ccall((:relora_writer_add_bytes, librelora), relora_status, (Ptr{relora_writer}, Cstring, Cstring, Int32, Ptr{Int64}, Ptr{Cvoid}, Csize_t), writer, name, dtype, ndim, shape, data, bytes)

relora_writer_set_metadata(writer, key, value) =
    ccall((:relora_writer_set_metadata, librelora), relora_status, (Ptr{relora_writer}, Cstring, Cstring), writer, key, value)

relora_writer_save(writer, stream, path, flags) =
    ccall((:relora_writer_save, librelora), relora_status, (Ptr{relora_writer}, Ptr{relora_stream}, Cstring, UInt32), writer, stream, path, flags)

relora_reader_open(out, ctx, path) =
    ccall((:relora_reader_open, librelora), relora_status, (Ptr{Ptr{relora_reader}}, Ptr{relora_context}, Cstring), out, ctx, path)

relora_reader_open_if_there(out, ctx, path) =
    ccall((:relora_reader_open_if_there, librelora), relora_status, (Ptr{Ptr{relora_reader}}, Ptr{relora_context}, Cstring), out, ctx, path)

relora_reader_open_memory(out, ctx, data, size) =
    ccall((:relora_reader_open_memory, librelora), relora_status, (Ptr{Ptr{relora_reader}}, Ptr{relora_context}, Ptr{Cvoid}, Csize_t), out, ctx, data, size)

relora_reader_release(reader) =
    ccall((:relora_reader_release, librelora), Cvoid, (Ptr{relora_reader},), reader)

relora_reader_count(reader) =
    ccall((:relora_reader_count, librelora), Int32, (Ptr{relora_reader},), reader)

relora_reader_name(reader, index) =
    ccall((:relora_reader_name, librelora), Cstring, (Ptr{relora_reader}, Int32), reader, index)

relora_reader_dtype(reader, name) =
    ccall((:relora_reader_dtype, librelora), Cstring, (Ptr{relora_reader}, Cstring), reader, name)

relora_reader_shape(reader, name, ndim, shape, capacity) =
    ccall((:relora_reader_shape, librelora), relora_status, (Ptr{relora_reader}, Cstring, Ptr{Int32}, Ptr{Int64}, Int32), reader, name, ndim, shape, capacity)

relora_reader_bytes(reader, name, data, bytes) =
    ccall((:relora_reader_bytes, librelora), relora_status, (Ptr{relora_reader}, Cstring, Ptr{Ptr{Cvoid}}, Ptr{Csize_t}), reader, name, data, bytes)

relora_reader_metadata_count(reader) =
    ccall((:relora_reader_metadata_count, librelora), Int32, (Ptr{relora_reader},), reader)

relora_reader_metadata_key(reader, index) =
    ccall((:relora_reader_metadata_key, librelora), Cstring, (Ptr{relora_reader}, Int32), reader, index)

relora_reader_metadata(reader, key) =
    ccall((:relora_reader_metadata, librelora), Cstring, (Ptr{relora_reader}, Cstring), reader, key)

relora_reader_read(reader, stream, name, target, flags) =
    ccall((:relora_reader_read, librelora), relora_status, (Ptr{relora_reader}, Ptr{relora_stream}, Cstring, Ptr{relora_tensor}, UInt32), reader, stream, name, target, flags)

relora_reader_read_group(reader, stream, group, flags, report) =
    ccall((:relora_reader_read_group, librelora), relora_status, (Ptr{relora_reader}, Ptr{relora_stream}, Ptr{relora_group}, UInt32, Ptr{relora_read_report}), reader, stream, group, flags, report)

relora_reader_verify(reader) =
    ccall((:relora_reader_verify, librelora), relora_status, (Ptr{relora_reader},), reader)

relora_comm_init(comm, size) =
    ccall((:relora_comm_init, librelora), relora_status, (Ptr{relora_comm}, Csize_t), comm, size)

relora_context_options_init(options, size) =
    ccall((:relora_context_options_init, librelora), relora_status, (Ptr{relora_context_options}, Csize_t), options, size)

relora_context_create(out, options) =
    ccall((:relora_context_create, librelora), relora_status, (Ptr{Ptr{relora_context}}, Ptr{relora_context_options}), out, options)

relora_context_release(ctx) =
    ccall((:relora_context_release, librelora), Cvoid, (Ptr{relora_context},), ctx)

relora_device_count(ctx, kind) =
    ccall((:relora_device_count, librelora), Int32, (Ptr{relora_context}, relora_device_kind), ctx, kind)

relora_device_get(ctx, kind, index) =
    ccall((:relora_device_get, librelora), Ptr{relora_device}, (Ptr{relora_context}, relora_device_kind, Int32), ctx, kind, index)

relora_device_get_kind(device) =
    ccall((:relora_device_get_kind, librelora), relora_device_kind, (Ptr{relora_device},), device)

relora_device_name(device) =
    ccall((:relora_device_name, librelora), Cstring, (Ptr{relora_device},), device)

relora_device_memory(device, free_bytes, total_bytes) =
    ccall((:relora_device_memory, librelora), relora_status, (Ptr{relora_device}, Ptr{UInt64}, Ptr{UInt64}), device, free_bytes, total_bytes)

relora_cycle_options_init(options, size) =
    ccall((:relora_cycle_options_init, librelora), relora_status, (Ptr{relora_cycle_options}, Csize_t), options, size)

relora_cycle_options_follow(options, schedule) =
    ccall((:relora_cycle_options_follow, librelora), relora_status, (Ptr{relora_cycle_options}, Ptr{relora_schedule}), options, schedule)

relora_cycle_create(out, ctx, options, adam, reset) =
    ccall((:relora_cycle_create, librelora), relora_status, (Ptr{Ptr{relora_cycle}}, Ptr{relora_context}, Ptr{relora_cycle_options}, Ptr{relora_adam}, Ptr{relora_reset_options}), out, ctx, options, adam, reset)

relora_cycle_add(cycle, linear) =
    ccall((:relora_cycle_add, librelora), relora_status, (Ptr{relora_cycle}, Ptr{relora_linear}), cycle, linear)

relora_cycle_add_group(cycle, group) =
    ccall((:relora_cycle_add_group, librelora), relora_status, (Ptr{relora_cycle}, Ptr{relora_group}), cycle, group)

relora_cycle_release(cycle) =
    ccall((:relora_cycle_release, librelora), Cvoid, (Ptr{relora_cycle},), cycle)

relora_cycle_due(cycle, step, events) =
    ccall((:relora_cycle_due, librelora), relora_status, (Ptr{relora_cycle}, Int64, Ptr{UInt32}), cycle, step, events)

relora_cycle_advance(cycle, stream, step, events, merge, reset) =
    ccall((:relora_cycle_advance, librelora), relora_status, (Ptr{relora_cycle}, Ptr{relora_stream}, Int64, Ptr{UInt32}, Ptr{relora_merge_report}, Ptr{relora_reset_report}), cycle, stream, step, events, merge, reset)

relora_cycle_finish(cycle, stream, step, merge) =
    ccall((:relora_cycle_finish, librelora), relora_status, (Ptr{relora_cycle}, Ptr{relora_stream}, Int64, Ptr{relora_merge_report}), cycle, stream, step, merge)

relora_tensor_from_dlpack(out, ctx, managed) =
    ccall((:relora_tensor_from_dlpack, librelora), relora_status, (Ptr{Ptr{relora_tensor}}, Ptr{relora_context}, Ptr{DLManagedTensorVersioned}), out, ctx, managed)

relora_tensor_to_dlpack(out, tensor, producer, consumer) =
    ccall((:relora_tensor_to_dlpack, librelora), relora_status, (Ptr{Ptr{DLManagedTensorVersioned}}, Ptr{relora_tensor}, Ptr{relora_stream}, Ptr{Cvoid}), out, tensor, producer, consumer)

relora_group_create(out, device) =
    ccall((:relora_group_create, librelora), relora_status, (Ptr{Ptr{relora_group}}, Ptr{relora_device}), out, device)

relora_group_release(group) =
    ccall((:relora_group_release, librelora), Cvoid, (Ptr{relora_group},), group)

relora_group_wrap(group, name, weight, bias, options, linear) =
    ccall((:relora_group_wrap, librelora), relora_status, (Ptr{relora_group}, Cstring, Ptr{relora_tensor}, Ptr{relora_tensor}, Ptr{relora_linear_options}, Ptr{Ptr{relora_linear}}), group, name, weight, bias, options, linear)

relora_group_add_linear(group, name, linear) =
    ccall((:relora_group_add_linear, librelora), relora_status, (Ptr{relora_group}, Cstring, Ptr{relora_linear}), group, name, linear)

relora_group_add_param(group, name, param, grad) =
    ccall((:relora_group_add_param, librelora), relora_status, (Ptr{relora_group}, Cstring, Ptr{relora_tensor}, Ptr{relora_tensor}), group, name, param, grad)

relora_group_wrap_at(group, name, weight, bias, options, linear) =
    ccall((:relora_group_wrap_at, librelora), relora_status, (Ptr{relora_group}, Cstring, Ptr{Cvoid}, Ptr{Cvoid}, Ptr{relora_linear_options}, Ptr{Ptr{relora_linear}}), group, name, weight, bias, options, linear)

relora_group_add_param_at(group, name, count, param, grad) =
    ccall((:relora_group_add_param_at, librelora), relora_status, (Ptr{relora_group}, Cstring, Int64, Ptr{Cvoid}, Ptr{Cvoid}), group, name, count, param, grad)

relora_group_linear_at(group, weight) =
    ccall((:relora_group_linear_at, librelora), Ptr{relora_linear}, (Ptr{relora_group}, Ptr{Cvoid}), group, weight)

relora_group_count(group) =
    ccall((:relora_group_count, librelora), Int32, (Ptr{relora_group},), group)

relora_group_find(group, name, index) =
    ccall((:relora_group_find, librelora), relora_status, (Ptr{relora_group}, Cstring, Ptr{Int32}), group, name, index)

relora_group_name(group, index) =
    ccall((:relora_group_name, librelora), Cstring, (Ptr{relora_group}, Int32), group, index)

relora_group_linear(group, index) =
    ccall((:relora_group_linear, librelora), Ptr{relora_linear}, (Ptr{relora_group}, Int32), group, index)

relora_group_value(group, index) =
    ccall((:relora_group_value, librelora), Ptr{relora_tensor}, (Ptr{relora_group}, Int32), group, index)

relora_group_grad(group, index) =
    ccall((:relora_group_grad, librelora), Ptr{relora_tensor}, (Ptr{relora_group}, Int32), group, index)

relora_group_set_mode(group, stream, mode) =
    ccall((:relora_group_set_mode, librelora), relora_status, (Ptr{relora_group}, Ptr{relora_stream}, relora_linear_mode), group, stream, mode)

relora_group_merge(group, stream, cycle, report) =
    ccall((:relora_group_merge, librelora), relora_status, (Ptr{relora_group}, Ptr{relora_stream}, UInt64, Ptr{relora_merge_report}), group, stream, cycle, report)

relora_group_reset(group, stream, cycle) =
    ccall((:relora_group_reset, librelora), relora_status, (Ptr{relora_group}, Ptr{relora_stream}, UInt64), group, stream, cycle)

relora_group_zero_grad(group, stream) =
    ccall((:relora_group_zero_grad, librelora), relora_status, (Ptr{relora_group}, Ptr{relora_stream}), group, stream)

relora_merge_report_init(report, size) =
    ccall((:relora_merge_report_init, librelora), relora_status, (Ptr{relora_merge_report}, Csize_t), report, size)

relora_full_rank_report_init(report, size) =
    ccall((:relora_full_rank_report_init, librelora), relora_status, (Ptr{relora_full_rank_report}, Csize_t), report, size)

relora_linear_options_init(options, size) =
    ccall((:relora_linear_options_init, librelora), relora_status, (Ptr{relora_linear_options}, Csize_t), options, size)

relora_linear_create(out, device, options) =
    ccall((:relora_linear_create, librelora), relora_status, (Ptr{Ptr{relora_linear}}, Ptr{relora_device}, Ptr{relora_linear_options}), out, device, options)

relora_linear_release(linear) =
    ccall((:relora_linear_release, librelora), Cvoid, (Ptr{relora_linear},), linear)

relora_linear_set_weight(linear, weight, bias) =
    ccall((:relora_linear_set_weight, librelora), relora_status, (Ptr{relora_linear}, Ptr{relora_tensor}, Ptr{relora_tensor}), linear, weight, bias)

relora_linear_wrap(out, device, weight, bias, options) =
    ccall((:relora_linear_wrap, librelora), relora_status, (Ptr{Ptr{relora_linear}}, Ptr{relora_device}, Ptr{relora_tensor}, Ptr{relora_tensor}, Ptr{relora_linear_options}), out, device, weight, bias, options)

relora_linear_set_mode(linear, stream, mode) =
    ccall((:relora_linear_set_mode, librelora), relora_status, (Ptr{relora_linear}, Ptr{relora_stream}, relora_linear_mode), linear, stream, mode)

relora_linear_get_mode(linear) =
    ccall((:relora_linear_get_mode, librelora), relora_linear_mode, (Ptr{relora_linear},), linear)

relora_linear_param(linear, param) =
    ccall((:relora_linear_param, librelora), Ptr{relora_tensor}, (Ptr{relora_linear}, relora_param), linear, param)

relora_linear_grad(linear, param) =
    ccall((:relora_linear_grad, librelora), Ptr{relora_tensor}, (Ptr{relora_linear}, relora_param), linear, param)

relora_linear_set_param(linear, param, tensor) =
    ccall((:relora_linear_set_param, librelora), relora_status, (Ptr{relora_linear}, relora_param, Ptr{relora_tensor}), linear, param, tensor)

relora_linear_set_grad(linear, param, tensor) =
    ccall((:relora_linear_set_grad, librelora), relora_status, (Ptr{relora_linear}, relora_param, Ptr{relora_tensor}), linear, param, tensor)

relora_linear_forward(linear, stream, x, y, call, flags) =
    ccall((:relora_linear_forward, librelora), relora_status, (Ptr{relora_linear}, Ptr{relora_stream}, Ptr{relora_tensor}, Ptr{relora_tensor}, UInt64, UInt32), linear, stream, x, y, call, flags)

relora_linear_backward(linear, stream, x, dy, dx, call, flags) =
    ccall((:relora_linear_backward, librelora), relora_status, (Ptr{relora_linear}, Ptr{relora_stream}, Ptr{relora_tensor}, Ptr{relora_tensor}, Ptr{relora_tensor}, UInt64, UInt32), linear, stream, x, dy, dx, call, flags)

relora_linear_forward_at(linear, stream, rows, x, ldx, y, ldy, call, flags) =
    ccall((:relora_linear_forward_at, librelora), relora_status, (Ptr{relora_linear}, Ptr{relora_stream}, Int64, Ptr{Cvoid}, Int64, Ptr{Cvoid}, Int64, UInt64, UInt32), linear, stream, rows, x, ldx, y, ldy, call, flags)

relora_linear_backward_at(linear, stream, rows, x, ldx, dy, lddy, dx, lddx, call, flags) =
    ccall((:relora_linear_backward_at, librelora), relora_status, (Ptr{relora_linear}, Ptr{relora_stream}, Int64, Ptr{Cvoid}, Int64, Ptr{Cvoid}, Int64, Ptr{Cvoid}, Int64, UInt64, UInt32), linear, stream, rows, x, ldx, dy, lddy, dx, lddx, call, flags)

relora_linear_forward_shared(linears, count, stream, x, y, call, flags) =
    ccall((:relora_linear_forward_shared, librelora), relora_status, (Ptr{Ptr{relora_linear}}, Int32, Ptr{relora_stream}, Ptr{relora_tensor}, Ptr{Ptr{relora_tensor}}, UInt64, UInt32), linears, count, stream, x, y, call, flags)

relora_linear_backward_shared(linears, count, stream, x, dy, dx, call, flags) =
    ccall((:relora_linear_backward_shared, librelora), relora_status, (Ptr{Ptr{relora_linear}}, Int32, Ptr{relora_stream}, Ptr{relora_tensor}, Ptr{Ptr{relora_tensor}}, Ptr{relora_tensor}, UInt64, UInt32), linears, count, stream, x, dy, dx, call, flags)

relora_linear_weight_grad(linear, stream, x, dy, dw, flags) =
    ccall((:relora_linear_weight_grad, librelora), relora_status, (Ptr{relora_linear}, Ptr{relora_stream}, Ptr{relora_tensor}, Ptr{relora_tensor}, Ptr{relora_tensor}, UInt32), linear, stream, x, dy, dw, flags)

relora_linear_zero_grad(linear, stream) =
    ccall((:relora_linear_zero_grad, librelora), relora_status, (Ptr{relora_linear}, Ptr{relora_stream}), linear, stream)

relora_linear_merge(linear, stream, cycle, report) =
    ccall((:relora_linear_merge, librelora), relora_status, (Ptr{relora_linear}, Ptr{relora_stream}, UInt64, Ptr{relora_merge_report}), linear, stream, cycle, report)

relora_linear_full_rank_step(linear, stream, grad, lr, step, report) =
    ccall((:relora_linear_full_rank_step, librelora), relora_status, (Ptr{relora_linear}, Ptr{relora_stream}, Ptr{relora_tensor}, Float64, UInt64, Ptr{relora_full_rank_report}), linear, stream, grad, lr, step, report)

relora_linear_reset(linear, stream, cycle) =
    ccall((:relora_linear_reset, librelora), relora_status, (Ptr{relora_linear}, Ptr{relora_stream}, UInt64), linear, stream, cycle)

relora_plan_report_init(report, size) =
    ccall((:relora_plan_report_init, librelora), relora_status, (Ptr{relora_plan_report}, Csize_t), report, size)

relora_linear_plan(linear, rows, flags, report) =
    ccall((:relora_linear_plan, librelora), relora_status, (Ptr{relora_linear}, Int64, UInt32, Ptr{relora_plan_report}), linear, rows, flags, report)

relora_linear_set_order(linear, forward, backward) =
    ccall((:relora_linear_set_order, librelora), relora_status, (Ptr{relora_linear}, relora_order, relora_order), linear, forward, backward)

relora_reset_report_init(report, size) =
    ccall((:relora_reset_report_init, librelora), relora_status, (Ptr{relora_reset_report}, Csize_t), report, size)

relora_reset_options_init(options, size) =
    ccall((:relora_reset_options_init, librelora), relora_status, (Ptr{relora_reset_options}, Csize_t), options, size)

relora_merge_options_init(options, size) =
    ccall((:relora_merge_options_init, librelora), relora_status, (Ptr{relora_merge_options}, Csize_t), options, size)

relora_merge(stream, weight, a, b, options, report) =
    ccall((:relora_merge, librelora), relora_status, (Ptr{relora_stream}, Ptr{relora_tensor}, Ptr{relora_tensor}, Ptr{relora_tensor}, Ptr{relora_merge_options}, Ptr{relora_merge_report}), stream, weight, a, b, options, report)

relora_linear_set_target(linear, weight, merge, user) =
    ccall((:relora_linear_set_target, librelora), relora_status, (Ptr{relora_linear}, Ptr{relora_tensor}, Ptr{Cvoid}, Ptr{Cvoid}), linear, weight, merge, user)

relora_full_rank_step(stream, weight, grad, lr, options, report) =
    ccall((:relora_full_rank_step, librelora), relora_status, (Ptr{relora_stream}, Ptr{relora_tensor}, Ptr{relora_tensor}, Float64, Ptr{relora_merge_options}, Ptr{relora_full_rank_report}), stream, weight, grad, lr, options, report)

relora_factors_draw(stream, a, b, seed, layer, cycle) =
    ccall((:relora_factors_draw, librelora), relora_status, (Ptr{relora_stream}, Ptr{relora_tensor}, Ptr{relora_tensor}, UInt64, UInt64, UInt64), stream, a, b, seed, layer, cycle)

relora_factors_options_init(options, size) =
    ccall((:relora_factors_options_init, librelora), relora_status, (Ptr{relora_factors_options}, Csize_t), options, size)

relora_factors_renew(stream, a, b, gradient, options, report) =
    ccall((:relora_factors_renew, librelora), relora_status, (Ptr{relora_stream}, Ptr{relora_tensor}, Ptr{relora_tensor}, Ptr{relora_tensor}, Ptr{relora_factors_options}, Ptr{relora_merge_report}), stream, a, b, gradient, options, report)

relora_moments_project(stream, first, second, a_old, a_new, beta1, beta2, steps) =
    ccall((:relora_moments_project, librelora), relora_status, (Ptr{relora_stream}, Ptr{relora_tensor}, Ptr{relora_tensor}, Ptr{relora_tensor}, Ptr{relora_tensor}, Float64, Float64, Int64), stream, first, second, a_old, a_new, beta1, beta2, steps)

relora_moments_reset(stream, first, second, index, options, report) =
    ccall((:relora_moments_reset, librelora), relora_status, (Ptr{relora_stream}, Ptr{relora_tensor}, Ptr{relora_tensor}, UInt64, Ptr{relora_reset_options}, Ptr{relora_reset_report}), stream, first, second, index, options, report)

relora_schedule_options_init(options, size) =
    ccall((:relora_schedule_options_init, librelora), relora_status, (Ptr{relora_schedule_options}, Csize_t), options, size)

relora_schedule_create(out, ctx, options) =
    ccall((:relora_schedule_create, librelora), relora_status, (Ptr{Ptr{relora_schedule}}, Ptr{relora_context}, Ptr{relora_schedule_options}), out, ctx, options)

relora_schedule_release(schedule) =
    ccall((:relora_schedule_release, librelora), Cvoid, (Ptr{relora_schedule},), schedule)

relora_schedule_lr(schedule, step, lr) =
    ccall((:relora_schedule_lr, librelora), relora_status, (Ptr{relora_schedule}, Int64, Ptr{Float64}), schedule, step, lr)

relora_schedule_next_restart(schedule, step, next) =
    ccall((:relora_schedule_next_restart, librelora), relora_status, (Ptr{relora_schedule}, Int64, Ptr{Int64}), schedule, step, next)

relora_state_create(out, ctx) =
    ccall((:relora_state_create, librelora), relora_status, (Ptr{Ptr{relora_state}}, Ptr{relora_context}), out, ctx)

relora_state_release(state) =
    ccall((:relora_state_release, librelora), Cvoid, (Ptr{relora_state},), state)

relora_state_add_tensor(state, name, tensor) =
    ccall((:relora_state_add_tensor, librelora), relora_status, (Ptr{relora_state}, Cstring, Ptr{relora_tensor}), state, name, tensor)

relora_state_add_linear(state, prefix, linear) =
    ccall((:relora_state_add_linear, librelora), relora_status, (Ptr{relora_state}, Cstring, Ptr{relora_linear}), state, prefix, linear)

relora_state_add_group(state, group) =
    ccall((:relora_state_add_group, librelora), relora_status, (Ptr{relora_state}, Ptr{relora_group}), state, group)

relora_state_add_adam(state, prefix, adam) =
    ccall((:relora_state_add_adam, librelora), relora_status, (Ptr{relora_state}, Cstring, Ptr{relora_adam}), state, prefix, adam)

relora_state_add_schedule(state, prefix, schedule) =
    ccall((:relora_state_add_schedule, librelora), relora_status, (Ptr{relora_state}, Cstring, Ptr{relora_schedule}), state, prefix, schedule)

relora_state_add_cycle(state, prefix, cycle) =
    ccall((:relora_state_add_cycle, librelora), relora_status, (Ptr{relora_state}, Cstring, Ptr{relora_cycle}), state, prefix, cycle)

relora_state_add_bytes(state, name, data, bytes) =
    ccall((:relora_state_add_bytes, librelora), relora_status, (Ptr{relora_state}, Cstring, Ptr{Cvoid}, Csize_t), state, name, data, bytes)

relora_state_set(state, key, value) =
    ccall((:relora_state_set, librelora), relora_status, (Ptr{relora_state}, Cstring, Cstring), state, key, value)

relora_state_save(state, stream, path, flags) =
    ccall((:relora_state_save, librelora), relora_status, (Ptr{relora_state}, Ptr{relora_stream}, Cstring, UInt32), state, stream, path, flags)

relora_state_load(state, stream, reader) =
    ccall((:relora_state_load, librelora), relora_status, (Ptr{relora_state}, Ptr{relora_stream}, Ptr{relora_reader}), state, stream, reader)

relora_state_set_export_layout(state, layout) =
    ccall((:relora_state_set_export_layout, librelora), relora_status, (Ptr{relora_state}, relora_layout), state, layout)

relora_state_export_merged(state, stream, path) =
    ccall((:relora_state_export_merged, librelora), relora_status, (Ptr{relora_state}, Ptr{relora_stream}, Cstring), state, stream, path)

relora_state_export_adapter(state, stream, folder, base_model) =
    ccall((:relora_state_export_adapter, librelora), relora_status, (Ptr{relora_state}, Ptr{relora_stream}, Cstring, Cstring), state, stream, folder, base_model)

relora_state_export_delta(state, stream, path) =
    ccall((:relora_state_export_delta, librelora), relora_status, (Ptr{relora_state}, Ptr{relora_stream}, Cstring), state, stream, path)

relora_status_name(status) =
    ccall((:relora_status_name, librelora), Cstring, (relora_status,), status)

relora_status_text(status) =
    ccall((:relora_status_text, librelora), Cstring, (relora_status,), status)

relora_context_error(ctx, buffer, capacity, length) =
    ccall((:relora_context_error, librelora), relora_status, (Ptr{relora_context}, Cstring, Csize_t, Ptr{Csize_t}), ctx, buffer, capacity, length)

relora_stream_create(out, device) =
    ccall((:relora_stream_create, librelora), relora_status, (Ptr{Ptr{relora_stream}}, Ptr{relora_device}), out, device)

relora_stream_wrap(out, device, native) =
    ccall((:relora_stream_wrap, librelora), relora_status, (Ptr{Ptr{relora_stream}}, Ptr{relora_device}, Ptr{Cvoid}), out, device, native)

relora_stream_native(stream) =
    ccall((:relora_stream_native, librelora), Ptr{Cvoid}, (Ptr{relora_stream},), stream)

relora_stream_wait(stream, other) =
    ccall((:relora_stream_wait, librelora), relora_status, (Ptr{relora_stream}, Ptr{relora_stream}), stream, other)

relora_stream_synchronize(stream) =
    ccall((:relora_stream_synchronize, librelora), relora_status, (Ptr{relora_stream},), stream)

relora_stream_error(stream, buffer, capacity, length) =
    ccall((:relora_stream_error, librelora), relora_status, (Ptr{relora_stream}, Cstring, Csize_t, Ptr{Csize_t}), stream, buffer, capacity, length)

relora_stream_release(stream) =
    ccall((:relora_stream_release, librelora), Cvoid, (Ptr{relora_stream},), stream)

relora_tensor_create(out, device, dtype, ndim, shape) =
    ccall((:relora_tensor_create, librelora), relora_status, (Ptr{Ptr{relora_tensor}}, Ptr{relora_device}, relora_dtype, Int32, Ptr{Int64}), out, device, dtype, ndim, shape)

relora_tensor_borrow(out, device, dtype, ndim, shape, strides, data, deleter, user) =
    ccall((:relora_tensor_borrow, librelora), relora_status, (Ptr{Ptr{relora_tensor}}, Ptr{relora_device}, relora_dtype, Int32, Ptr{Int64}, Ptr{Int64}, Ptr{Cvoid}, Ptr{Cvoid}, Ptr{Cvoid}), out, device, dtype, ndim, shape, strides, data, deleter, user)

relora_tensor_borrow_matrix(out, device, dtype, rows, cols, data) =
    ccall((:relora_tensor_borrow_matrix, librelora), relora_status, (Ptr{Ptr{relora_tensor}}, Ptr{relora_device}, relora_dtype, Int64, Int64, Ptr{Cvoid}), out, device, dtype, rows, cols, data)

relora_tensor_set_data(tensor, data) =
    ccall((:relora_tensor_set_data, librelora), relora_status, (Ptr{relora_tensor}, Ptr{Cvoid}), tensor, data)

relora_tensor_set_data_owned(tensor, data, deleter, user) =
    ccall((:relora_tensor_set_data_owned, librelora), relora_status, (Ptr{relora_tensor}, Ptr{Cvoid}, Ptr{Cvoid}, Ptr{Cvoid}), tensor, data, deleter, user)

relora_tensor_retain(tensor) =
    ccall((:relora_tensor_retain, librelora), Cvoid, (Ptr{relora_tensor},), tensor)

relora_tensor_release(tensor) =
    ccall((:relora_tensor_release, librelora), Cvoid, (Ptr{relora_tensor},), tensor)

relora_tensor_dtype(tensor) =
    ccall((:relora_tensor_dtype, librelora), relora_dtype, (Ptr{relora_tensor},), tensor)

relora_tensor_ndim(tensor) =
    ccall((:relora_tensor_ndim, librelora), Int32, (Ptr{relora_tensor},), tensor)

relora_tensor_dim(tensor, axis) =
    ccall((:relora_tensor_dim, librelora), Int64, (Ptr{relora_tensor}, Int32), tensor, axis)

relora_tensor_stride(tensor, axis) =
    ccall((:relora_tensor_stride, librelora), Int64, (Ptr{relora_tensor}, Int32), tensor, axis)

relora_tensor_count(tensor) =
    ccall((:relora_tensor_count, librelora), Int64, (Ptr{relora_tensor},), tensor)

relora_tensor_data(tensor) =
    ccall((:relora_tensor_data, librelora), Ptr{Cvoid}, (Ptr{relora_tensor},), tensor)

relora_tensor_device(tensor) =
    ccall((:relora_tensor_device, librelora), Ptr{relora_device}, (Ptr{relora_tensor},), tensor)

relora_tensor_write(tensor, stream, source, bytes) =
    ccall((:relora_tensor_write, librelora), relora_status, (Ptr{relora_tensor}, Ptr{relora_stream}, Ptr{Cvoid}, Csize_t), tensor, stream, source, bytes)

relora_tensor_read(tensor, stream, target, bytes) =
    ccall((:relora_tensor_read, librelora), relora_status, (Ptr{relora_tensor}, Ptr{relora_stream}, Ptr{Cvoid}, Csize_t), tensor, stream, target, bytes)

relora_tensor_copy(target, source, stream) =
    ccall((:relora_tensor_copy, librelora), relora_status, (Ptr{relora_tensor}, Ptr{relora_tensor}, Ptr{relora_stream}), target, source, stream)

relora_tensor_fill(tensor, stream, value) =
    ccall((:relora_tensor_fill, librelora), relora_status, (Ptr{relora_tensor}, Ptr{relora_stream}, Float64), tensor, stream, value)

relora_version() =
    ccall((:relora_version, librelora), UInt32, ())

relora_version_string() =
    ccall((:relora_version_string, librelora), Cstring, ())

relora_build_info() =
    ccall((:relora_build_info, librelora), Cstring, ())

# Places of fields and sizes, as the C compiler has them.
const LAYOUT = [
    (relora_adam_options, 72, [:struct_size => 0, :flags => 4, :beta1 => 8, :beta2 => 16, :eps => 24, :weight_decay => 32, :max_norm => 40, :seed => 48, :rounding => 56, :reserved => 60, :comm => 64]),
    (relora_step_report, 24, [:struct_size => 0, :skipped => 4, :grad_norm => 8, :clip_factor => 16]),
    (relora_read_report, 16, [:struct_size => 0, :read => 4, :missing => 8, :left_over => 12]),
    (relora_comm, 56, [:struct_size => 0, :rank => 4, :size => 8, :memory => 12, :sum => 16, :reduce_scatter => 24, :all_gather => 32, :error => 40, :user => 48]),
    (relora_context_options, 80, [:struct_size => 0, :flags => 4, :threads => 8, :log_level => 12, :host_alloc => 16, :host_free => 24, :host_user => 32, :log => 40, :log_user => 48, :module_dir => 56, :on_destroy => 64, :destroy_user => 72]),
    (relora_cycle_options, 80, [:struct_size => 0, :flags => 4, :first_step => 8, :merge_every => 16, :reset_every => 24, :before => 32, :after => 40, :hook_user => 48, :period_growth => 56, :stagger => 64, :comm => 72]),
    (relora_linear_options, 88, [:struct_size => 0, :flags => 4, :mode => 8, :dtype => 12, :in_features => 16, :out_features => 24, :rank => 32, :alpha => 40, :dropout => 48, :seed => 56, :layer => 64, :rounding => 72, :reserved => 76, :init => 80, :reserved2 => 84]),
    (relora_merge_report, 48, [:struct_size => 0, :layers => 4, :delta_norm => 8, :weight_norm => 16, :overlap => 24, :gradient_before => 32, :gradient_after => 40]),
    (relora_full_rank_report, 40, [:struct_size => 0, :reserved => 4, :delta_norm => 8, :weight_norm => 16, :grad_norm => 24, :grad_rank => 32]),
    (relora_plan_report, 80, [:struct_size => 0, :forward => 4, :backward => 8, :reserved => 12, :forward_flops => 16, :backward_flops => 24, :forward_bytes => 32, :backward_bytes => 40, :forward_provider => 48, :backward_provider => 52, :forward_isa => 56, :backward_isa => 60, :forward_converts => 64, :backward_converts => 68, :product_bytes => 72]),
    (relora_reset_options, 40, [:struct_size => 0, :flags => 4, :mode => 8, :reserved => 12, :ratio => 16, :seed => 24, :cycle => 32]),
    (relora_reset_report, 40, [:struct_size => 0, :params => 4, :elements => 8, :zeroed_first => 16, :zeroed_second => 24, :unpaired => 32]),
    (relora_merge_options, 48, [:struct_size => 0, :flags => 4, :scale => 8, :seed => 16, :layer => 24, :cycle => 32, :rounding => 40, :reserved => 44]),
    (relora_factors_options, 32, [:struct_size => 0, :init => 4, :seed => 8, :layer => 16, :cycle => 24]),
    (relora_schedule_options, 80, [:struct_size => 0, :kind => 4, :lr => 8, :min_lr_ratio => 16, :first_step => 24, :total_steps => 32, :warmup_steps => 40, :restart_warmup_steps => 48, :restart_every => 56, :adjust_step => 64, :period_growth => 72]),
]
