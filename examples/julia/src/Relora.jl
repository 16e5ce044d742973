"""
ReLoRA training building blocks: librelora from Julia.

Each function is a `ccall` of the C interface, whose headers are the manual; `api.jl` has all of them, with the structs
and constants, written by a program from the headers. Objects are released by the garbage collector, in any order, or by
`close`.

**Matrices are column-major here and row-major there.** A `Matrix` of size (in, out) *is* the W [out, in] of the library,
and a batch x [rows, in] is a `Matrix` of size (in, rows): one column for each row of theirs. Nothing is copied or
transposed.

An object stands for what it holds, an optimizer for its layers: what hangs together is used by one task at a time.
With `threads` above 1, call from tasks that stay on their thread.
"""
module Relora

const librelora = get(ENV, "RELORA_LIBRARY", "librelora.so.0")

include("api.jl")

# ---- failures ----

"A status below 0, with the sentence that says why."
struct ReloraError <: Exception
    status::Int32
    text::String
end

name(e::ReloraError) = unsafe_string(relora_status_name(e.status))

function Base.showerror(io::IO, e::ReloraError)
    text = isempty(e.text) ? unsafe_string(relora_status_text(e.status)) : e.text
    print(io, name(e), ": ", text)
end

function read_text(ask, handle)
    length = Ref{Csize_t}(0)
    ask(handle, Ptr{UInt8}(C_NULL), 0, length)
    buffer = zeros(UInt8, length[] + 1)
    GC.@preserve buffer begin
        ask(handle, pointer(buffer), Base.length(buffer), length)
        return unsafe_string(pointer(buffer))
    end
end

function check(status, context)
    status >= 0 && return nothing
    throw(ReloraError(status, context == C_NULL ? "" : read_text(relora_context_error, context)))
end

# ---- what the library holds for us: closures and arrays, by number ----

const kept = Dict{UInt,Any}()
const kept_lock = Threads.SpinLock() # one that finalizers may take
const kept_last = Ref(UInt(0))

function keep(thing)
    lock(kept_lock) do
        kept_last[] += 1
        kept[kept_last[]] = thing
        return Ptr{Cvoid}(kept_last[])
    end
end

lent(user) = lock(() -> kept[UInt(user)], kept_lock)

function drop(user)
    lock(() -> delete!(kept, UInt(user)), kept_lock)
    return nothing
end

on_log(user::Ptr{Cvoid}, level::Int32, message::Ptr{UInt8}) =
    try
        lent(user)(level, unsafe_string(message))
        nothing
    catch # nothing may be thrown through the library
        nothing
    end

on_destroy(user::Ptr{Cvoid}) = drop(user)
on_delete(user::Ptr{Cvoid}, data::Ptr{Cvoid}) = drop(user)

mutable struct Hooks
    before::Any
    after::Any
    thrown::Any
end

function call_hook(user, which, step, events)
    hooks = lent(user)
    try
        hook = getfield(hooks, which)
        hook === nothing || hook(step, events)
    catch e
        hooks.thrown = e
    end
    return nothing
end

on_before(user::Ptr{Cvoid}, step::Int64, events::UInt32) = call_hook(user, :before, step, events)
on_after(user::Ptr{Cvoid}, step::Int64, events::UInt32) = call_hook(user, :after, step, events)

log_function() = @cfunction(on_log, Cvoid, (Ptr{Cvoid}, Int32, Ptr{UInt8}))
destroy_function() = @cfunction(on_destroy, Cvoid, (Ptr{Cvoid},))
delete_function() = @cfunction(on_delete, Cvoid, (Ptr{Cvoid}, Ptr{Cvoid}))
before_function() = @cfunction(on_before, Cvoid, (Ptr{Cvoid}, Int64, UInt32))
after_function() = @cfunction(on_after, Cvoid, (Ptr{Cvoid}, Int64, UInt32))

# ---- handles ----

abstract type Object end

"`close(x)` releases an object at once; it must not be used any more."
function Base.close(x::Object)
    handle, x.handle = x.handle, typeof(x.handle)(C_NULL)
    handle == C_NULL || x.extra isa Group || release(x, handle)
    x.extra = nothing
    return nothing
end

for (T, handle, free) in ((:Context, :relora_context, :relora_context_release),
                          (:Stream, :relora_stream, :relora_stream_release),
                          (:Tensor, :relora_tensor, :relora_tensor_release),
                          (:Linear, :relora_linear, :relora_linear_release),
                          (:Group, :relora_group, :relora_group_release),
                          (:Adam, :relora_adam, :relora_adam_release),
                          (:Schedule, :relora_schedule, :relora_schedule_release),
                          (:Cycle, :relora_cycle, :relora_cycle_release),
                          (:Writer, :relora_writer, :relora_writer_release),
                          (:Reader, :relora_reader, :relora_reader_release),
                          (:State, :relora_state, :relora_state_release))
    @eval begin
        mutable struct $T <: Object
            handle::Ptr{$handle}
            context::Ptr{relora_context} # which the handle keeps alive; it has the text of failures
            extra::Any                   # what must live as long as this object
            function $T(::Val{:own}, handle, context, extra)
                return finalizer(close, new(handle, context, extra))
            end
            # of another object, which is the extra: not to be released
            $T(::Val{:lent}, handle, context, extra) = new(handle, context, extra)
        end
        release(::$T, handle) = $free(handle)
        # An object stands for its handle in a ccall, which keeps it alive meanwhile.
        Base.cconvert(::Type{Ptr{$handle}}, x::$T) = x
        Base.unsafe_convert(::Type{Ptr{$handle}}, x::$T) = x.handle
    end
end

check(status, x::Object) = check(status, x.context)

# The text of a stream is that of the caller's own call, whatever fails in other tasks.
function check(status, s::Stream)
    status >= 0 && return nothing
    throw(ReloraError(status, read_text(relora_stream_error, s)))
end

null(::Nothing) = C_NULL
null(x) = x

"Make an object by a constructor of the C interface, which fills in its first argument."
function make(T, H, context, create, arguments...; extra=nothing)
    out = Ref{Ptr{H}}(C_NULL)
    check(create(out, arguments...), context)
    return T(Val(:own), out[], context, extra)
end

"Set fields of a struct of options by name."
function set!(options, fields)
    for (field, value) in fields
        current = getfield(options, field)
        setfield!(options, field, convert(typeof(current), value))
    end
    return options
end

for (kind, init) in ((:relora_context_options, :relora_context_options_init),
                     (:relora_linear_options, :relora_linear_options_init),
                     (:relora_adam_options, :relora_adam_options_init),
                     (:relora_reset_options, :relora_reset_options_init),
                     (:relora_merge_options, :relora_merge_options_init),
                     (:relora_factors_options, :relora_factors_options_init),
                     (:relora_schedule_options, :relora_schedule_options_init),
                     (:relora_cycle_options, :relora_cycle_options_init))
    @eval function defaults(::Type{$kind}; fields...)
        options = $kind()
        check($init(Ref(options), sizeof($kind)), C_NULL)
        return set!(options, fields)
    end
end

for kind in (:relora_step_report, :relora_read_report, :relora_reset_report, :relora_merge_report, :relora_plan_report,
             :relora_full_rank_report)
    @eval function report(::Type{$kind})
        r = $kind()
        r.struct_size = sizeof($kind)
        return r
    end
end

version() = relora_version()
version_string() = unsafe_string(relora_version_string())
build_info() = unsafe_string(relora_build_info())

# ---- context, devices, streams ----

"""
    Context(; log=nothing, module_dir=nothing, threads=1, log_level=...)

`log(level, line)` is called as long as an object of the context lives.
"""
function Context(; log=nothing, module_dir=nothing, fields...)
    o = defaults(relora_context_options; fields...)
    folder = module_dir === nothing ? UInt8[] : vcat(codeunits(String(module_dir)), 0x00)
    isempty(folder) || (o.module_dir = pointer(folder))
    if log !== nothing
        o.log, o.log_user = log_function(), keep(log)
        o.on_destroy, o.destroy_user = destroy_function(), o.log_user
    end
    out = Ref{Ptr{relora_context}}(C_NULL)
    status = GC.@preserve folder relora_context_create(out, Ref(o))
    status < 0 && log !== nothing && drop(o.log_user)
    check(status, C_NULL)
    return Context(Val(:own), out[], out[], nothing)
end

device_count(c::Context, kind) = relora_device_count(c, kind)

struct Device
    handle::Ptr{relora_device}
    context::Context
end
Base.cconvert(::Type{Ptr{relora_device}}, d::Device) = d
Base.unsafe_convert(::Type{Ptr{relora_device}}, d::Device) = d.handle

function device(c::Context, kind, index=0)
    handle = relora_device_get(c, kind, index)
    handle == C_NULL && check(RELORA_E_NOT_FOUND, c)
    return Device(handle, c)
end

cpu(c::Context) = device(c, RELORA_DEVICE_CPU)
kind(d::Device) = relora_device_get_kind(d)
name(d::Device) = unsafe_string(relora_device_name(d))

"Free and total bytes."
function memory(d::Device)
    free, total = Ref{UInt64}(0), Ref{UInt64}(0)
    check(relora_device_memory(d, free, total), d.context)
    return free[], total[]
end

Stream(d::Device) = make(Stream, relora_stream, d.context.context, relora_stream_create, d)
"Over a cudaStream_t of the host, which must outlive the stream."
Stream(d::Device, native::Ptr{Cvoid}) = make(Stream, relora_stream, d.context.context, relora_stream_wrap, d, native)
native(s::Stream) = relora_stream_native(s)
Base.wait(s::Stream, other::Stream) = check(relora_stream_wait(s, other), s)
synchronize(s::Stream) = check(relora_stream_synchronize(s), s)

# ---- tensors ----

row_major(dims) = collect(Int64, reverse(dims))

"""
    Tensor(device, array)

A tensor over the memory of a `Float32` array, which is kept as long as the library needs it. The axes are the array's in
the opposite order: a `Matrix` of size (in, out) is W [out, in].
"""
function Tensor(d::Device, array::Array{Float32})
    dims, user = row_major(size(array)), keep(array)
    out = Ref{Ptr{relora_tensor}}(C_NULL)
    status = GC.@preserve dims relora_tensor_borrow(out, d, RELORA_F32, ndims(array), pointer(dims), C_NULL,
                                                    pointer(array), delete_function(), user)
    status < 0 && drop(user)
    check(status, d.context)
    return Tensor(Val(:own), out[], d.context.context, nothing)
end

"""
    Tensor(device, size; dtype=RELORA_F32)

Memory of the library's own, whose contents are undefined, for an array of this size: axes as of the array.
"""
function Tensor(d::Device, dims::Dims; dtype=RELORA_F32)
    turned = row_major(dims)
    return GC.@preserve turned make(Tensor, relora_tensor, d.context.context, relora_tensor_create, d, dtype,
                                    length(turned), pointer(turned))
end

"Other memory of the same size for a tensor made over an array."
function set_data!(t::Tensor, array::Array{Float32})
    size(array) == size(t) || throw(DimensionMismatch("the tensor is of size $(size(t))"))
    user = keep(array)
    status = relora_tensor_set_data_owned(t, pointer(array), delete_function(), user)
    status < 0 && drop(user)
    check(status, t)
end

"An address, of memory that the caller keeps."
set_data!(t::Tensor, address::Ptr{Cvoid}) = check(relora_tensor_set_data(t, address), t)

"One more reference to a tensor of the library's own; `nothing` for NULL."
function retained(handle, context)
    handle == C_NULL && return nothing
    relora_tensor_retain(handle)
    return Tensor(Val(:own), handle, context, nothing)
end

from_dlpack(c::Context, managed::Ptr{DLManagedTensorVersioned}) =
    make(Tensor, relora_tensor, c.context, relora_tensor_from_dlpack, c, managed)

function to_dlpack(t::Tensor, producer::Stream, consumer=C_NULL)
    out = Ref{Ptr{DLManagedTensorVersioned}}(C_NULL)
    check(relora_tensor_to_dlpack(out, t, producer, consumer), producer)
    return out[]
end

dtype(t::Tensor) = relora_tensor_dtype(t)
"As of an array: the axes of the library in the opposite order."
Base.size(t::Tensor) = Tuple(Int(relora_tensor_dim(t, i)) for i in relora_tensor_ndim(t)-1:-1:0)
Base.length(t::Tensor) = Int(relora_tensor_count(t))
Base.strides(t::Tensor) = Tuple(Int(relora_tensor_stride(t, i)) for i in relora_tensor_ndim(t)-1:-1:0)
kind(t::Tensor) = relora_device_get_kind(relora_tensor_device(t))

"""
    with(look, tensor)

`look(array)` with the F32 elements of a tensor of the CPU in place. The array must not leave `look`.
"""
function with(look, t::Tensor)
    dims, whole = size(t), strides(t)
    gaps = length(dims) > 1 && whole[end] * dims[end] != length(t)
    (dtype(t) == RELORA_F32 && kind(t) == RELORA_DEVICE_CPU && !gaps) ||
        throw(ArgumentError("with() needs F32 on the CPU without gaps"))
    (length(t) == 0 || relora_tensor_data(t) != C_NULL) || throw(ArgumentError("with() needs a tensor that has memory"))
    GC.@preserve t look(unsafe_wrap(Array, Ptr{Float32}(relora_tensor_data(t)), dims))
end

function write!(t::Tensor, s::Stream, from::Array)
    GC.@preserve from check(relora_tensor_write(t, s, pointer(from), sizeof(from)), s)
end

function read!(t::Tensor, s::Stream, to::Array)
    GC.@preserve to check(relora_tensor_read(t, s, pointer(to), sizeof(to)), s)
end

copy!(t::Tensor, source::Tensor, s::Stream) = check(relora_tensor_copy(t, source, s), s)
fill!(t::Tensor, s::Stream, value) = check(relora_tensor_fill(t, s, value), s)

# ---- the layer ----

"    Linear(device; in_features, out_features, rank, alpha, dropout, ...)"
Linear(d::Device; fields...) = make(Linear, relora_linear, d.context.context, relora_linear_create, d,
                                    Ref(defaults(relora_linear_options; fields...)))

"A layer over a weight, whose sizes and type it takes."
wrap(d::Device, weight, bias=nothing; fields...) = make(Linear, relora_linear, d.context.context, relora_linear_wrap, d,
                                                        null(weight), null(bias),
                                                        Ref(defaults(relora_linear_options; fields...)))

set_weight!(l::Linear, weight, bias=nothing) = check(relora_linear_set_weight(l, null(weight), null(bias)), l)
set_param!(l::Linear, which, t::Tensor) = check(relora_linear_set_param(l, which, t), l)
"What a LOWRANK layer is merged into; `nothing` for nothing."
set_target!(l::Linear, t) = check(relora_linear_set_target(l, null(t), C_NULL, C_NULL), l)
set_grad!(l::Linear, which, t::Tensor) = check(relora_linear_set_grad(l, which, t), l)
set_mode!(l::Linear, s::Stream, mode) = check(relora_linear_set_mode(l, s, mode), s)
mode(l::Linear) = relora_linear_get_mode(l)
param(l::Linear, which) = retained(relora_linear_param(l, which), l.context)
grad(l::Linear, which) = retained(relora_linear_grad(l, which), l.context)

forward!(l::Linear, s::Stream, x, y, call; flags=0) = check(relora_linear_forward(l, s, x, y, call, flags), s)
backward!(l::Linear, s::Stream, x, dy, dx, call; flags=0) =
    check(relora_linear_backward(l, s, x, dy, null(dx), call, flags), s)

"dw (+)= dy^T x, of a frozen W too"
weight_grad!(l::Linear, s::Stream, x, dy, dw; flags=0) = check(relora_linear_weight_grad(l, s, x, dy, dw, flags), s)

"Passes on pointers into memory of the layer's device; each row is ld elements behind the last."
forward_at!(l::Linear, s::Stream, rows, x, ldx, y, ldy, call; flags=0) =
    check(relora_linear_forward_at(l, s, rows, x, ldx, y, ldy, call, flags), s)
backward_at!(l::Linear, s::Stream, rows, x, ldx, dy, lddy, dx, lddx, call; flags=0) =
    check(relora_linear_backward_at(l, s, rows, x, ldx, dy, lddy, dx, lddx, call, flags), s)

function shared(run, layers, tensors)
    length(layers) == length(tensors) || throw(ArgumentError("as many tensors as layers are needed"))
    ls, ts = [l.handle for l in layers], [t.handle for t in tensors]
    GC.@preserve layers tensors ls ts run(pointer(ls), length(ls), pointer(ts))
end

"Layers that read the same x, and one y for each."
forward_shared!(layers, s::Stream, x, y, call; flags=0) =
    shared((l, n, t) -> check(relora_linear_forward_shared(l, n, s, x, t, call, flags), s), layers, y)
backward_shared!(layers, s::Stream, x, dy, dx, call; flags=0) =
    shared((l, n, t) -> check(relora_linear_backward_shared(l, n, s, x, t, null(dx), call, flags), s), layers, dy)

function plan(l::Linear, rows; flags=0)
    r = report(relora_plan_report)
    check(relora_linear_plan(l, rows, flags, Ref(r)), l)
    return r
end

set_order!(l::Linear, forward, backward) = check(relora_linear_set_order(l, forward, backward), l)
zero_grad!(l::Linear, s::Stream) = check(relora_linear_zero_grad(l, s), s)

function merge!(l::Linear, s::Stream, cycle)
    r = report(relora_merge_report)
    check(relora_linear_merge(l, s, cycle, Ref(r)), s)
    return r
end

"One step of the frozen W down the direction of its gradient, which is overwritten"
function full_rank_step!(l::Linear, s::Stream, grad, lr, step)
    r = report(relora_full_rank_report)
    check(relora_linear_full_rank_step(l, s, grad, lr, step, Ref(r)), s)
    return r
end

reset!(l::Linear, s::Stream, cycle) = check(relora_linear_reset(l, s, cycle), s)

# ---- restarts without objects ----

"W += s B A, for a program with factors of its own. Fields are those of `relora_merge_options`."
function merge!(weight::Tensor, a::Tensor, b::Tensor, s::Stream; fields...)
    r, o = report(relora_merge_report), Ref(defaults(relora_merge_options; fields...))
    check(relora_merge(s, weight, a, b, o, Ref(r)), s)
    return r
end

"W moves down the direction of its gradient, which is overwritten. Fields are those of `relora_merge_options`."
function full_rank_step!(weight::Tensor, grad::Tensor, s::Stream, lr; fields...)
    r, o = report(relora_full_rank_report), Ref(defaults(relora_merge_options; fields...))
    check(relora_full_rank_step(s, weight, grad, lr, o, Ref(r)), s)
    return r
end

"A drawn afresh for a cycle, B := 0."
draw_factors!(a::Tensor, b::Tensor, s::Stream, seed, layer, cycle) =
    check(relora_factors_draw(s, a, b, seed, layer, cycle), s)

"A new A by one of the inits, B := 0. Fields are those of `relora_factors_options`."
function renew_factors!(a::Tensor, b::Tensor, s::Stream, gradient=nothing; fields...)
    r, o = report(relora_merge_report), Ref(defaults(relora_factors_options; fields...))
    check(relora_factors_renew(s, a, b, null(gradient), o, Ref(r)), s)
    return r
end

"The moments of B, carried from one A to another."
project_moments!(first::Tensor, second::Tensor, s::Stream, a_old, a_new, beta1, beta2, steps) =
    check(relora_moments_project(s, first, second, a_old, a_new, beta1, beta2, steps), s)

"The partial reset of two moments. Fields are those of `relora_reset_options`."
function reset_moments!(first::Tensor, second::Tensor, s::Stream, index; fields...)
    r, o = report(relora_reset_report), Ref(defaults(relora_reset_options; fields...))
    check(relora_moments_reset(s, first, second, index, o, Ref(r)), s)
    return r
end

# ---- a model ----

"The layers and other parameters of a model, each under a name of its own."
Group(d::Device) = make(Group, relora_group, d.context.context, relora_group_create, d)

"A layer of the group, which it keeps; `nothing` for NULL."
lent_by(g::Group, linear) = linear == C_NULL ? nothing : Linear(Val(:lent), linear, g.context, g)

"Make a layer over a weight and add it; the group fills in what tells layers apart."
function wrap!(g::Group, name, weight, bias=nothing; fields...)
    linear, o = Ref{Ptr{relora_linear}}(C_NULL), Ref(defaults(relora_linear_options; fields...))
    check(relora_group_wrap(g, name, null(weight), null(bias), o, linear), g)
    return lent_by(g, linear[])
end

add!(g::Group, name, l::Linear) = check(relora_group_add_linear(g, name, l), g)
"A parameter of no layer; without a gradient it is only saved and read."
add!(g::Group, name, param::Tensor, grad=nothing) = check(relora_group_add_param(g, name, param, null(grad)), g)
Base.length(g::Group) = Int(relora_group_count(g))

function find(g::Group, name)
    index = Ref{Int32}(-1)
    check(relora_group_find(g, name, index), g)
    return index[]
end

function name(g::Group, index)
    text = relora_group_name(g, index)
    return text == C_NULL ? nothing : unsafe_string(text)
end

layer(g::Group, index) = lent_by(g, relora_group_linear(g, index))
value(g::Group, index) = retained(relora_group_value(g, index), g.context)
grad(g::Group, index) = retained(relora_group_grad(g, index), g.context)
set_mode!(g::Group, s::Stream, mode) = check(relora_group_set_mode(g, s, mode), s)

function merge!(g::Group, s::Stream, cycle)
    r = report(relora_merge_report)
    check(relora_group_merge(g, s, cycle, Ref(r)), s)
    return r
end

reset!(g::Group, s::Stream, cycle) = check(relora_group_reset(g, s, cycle), s)
zero_grad!(g::Group, s::Stream) = check(relora_group_zero_grad(g, s), s)

# ---- the optimizer ----

"    Adam(device; beta1, beta2, eps, weight_decay, max_norm, ...)"
Adam(d::Device; fields...) = make(Adam, relora_adam, d.context.context, relora_adam_create, d,
                                  Ref(defaults(relora_adam_options; fields...)))

"Register one parameter; its index, which begins at 0."
function add!(a::Adam, name, param::Tensor, grad::Tensor)
    index = Ref{Int32}(-1)
    check(relora_adam_add(a, name, param, grad, index), a)
    return index[]
end

"Register one parameter with moments of the program's; its index."
function add!(a::Adam, name, param::Tensor, grad::Tensor, first::Tensor, second::Tensor)
    index = Ref{Int32}(-1)
    check(relora_adam_add_moments(a, name, param, grad, first, second, index), a)
    return index[]
end

set_moments!(a::Adam, index, first::Tensor, second::Tensor) = check(relora_adam_set_moments(a, index, first, second), a)
add!(a::Adam, prefix, l::Linear) = check(relora_adam_add_linear(a, prefix, l), a)
add!(a::Adam, g::Group) = check(relora_adam_add_group(a, g), a)
set_factors!(a::Adam, index, lr_factor, decay) = check(relora_adam_set_factors(a, index, lr_factor, decay), a)
flatten_grads!(a::Adam, s::Stream) = check(relora_adam_flatten_grads(a, s), s)
flat_grad(a::Adam) = retained(relora_adam_flat_grad(a), a.context)
zero_grad!(a::Adam, s::Stream) = check(relora_adam_zero_grad(a, s), s)

function step!(a::Adam, s::Stream, lr::Real; grad_scale=1.0, reported=false)
    r = report(relora_step_report)
    check(relora_adam_step(a, s, lr, grad_scale, reported ? Ref(r) : C_NULL), s)
    return reported ? r : nothing
end

"The learning rate is read on the device."
step!(a::Adam, s::Stream, lr::Tensor; grad_scale=1.0) = check(relora_adam_step_lr(a, s, lr, grad_scale, C_NULL), s)

function grad_norm(a::Adam, s::Stream)
    norm = Ref{Float64}(0)
    check(relora_adam_grad_norm(a, s, norm), s)
    return norm[]
end

"Without indices every A and B that came with a layer."
function reset!(a::Adam, s::Stream, indices=Int32[]; fields...)
    r, list = report(relora_reset_report), collect(Int32, indices)
    o = Ref(defaults(relora_reset_options; fields...))
    GC.@preserve list check(relora_adam_reset(a, s, isempty(list) ? C_NULL : pointer(list), length(list), o, Ref(r)), s)
    return r
end

"Moments of parameters with the same names; without indices all of them. Gives their number."
function carry!(a::Adam, s::Stream, from::Adam, indices=Int32[])
    carried, list = Ref{Int32}(0), collect(Int32, indices)
    GC.@preserve list check(relora_adam_carry(a, s, from, isempty(list) ? C_NULL : pointer(list), length(list), carried), s)
    return Int(carried[])
end

Base.length(a::Adam) = Int(relora_adam_count(a))

function name(a::Adam, index)
    text = relora_adam_name(a, index)
    return text == C_NULL ? nothing : unsafe_string(text)
end

function find(a::Adam, name)
    index = Ref{Int32}(-1)
    check(relora_adam_find(a, name, index), a)
    return index[]
end

moment(a::Adam, index, which) = retained(relora_adam_moment(a, index, which), a.context)

function steps(a::Adam, s::Stream, index)
    n = Ref{Int64}(0)
    check(relora_adam_steps(a, s, index, n), s)
    return n[]
end

"Take the layers as they are now; indices may change."
refresh!(a::Adam, s::Stream) = check(relora_adam_refresh(a, s), s)
set_steps!(a::Adam, s::Stream, index, n) = check(relora_adam_set_steps(a, s, index, n), s)

# ---- rate and restarts ----

"    Schedule(context; lr, total_steps, kind, restart_every, ...)"
Schedule(c::Context; fields...) = make(Schedule, relora_schedule, c.context, relora_schedule_create, c,
                                       Ref(defaults(relora_schedule_options; fields...)))

function lr(s::Schedule, step)
    rate = Ref{Float64}(0)
    check(relora_schedule_lr(s, step, rate), s)
    return rate[]
end

"`nothing` if there is none any more."
function next_restart(s::Schedule, step)
    next = Ref{Int64}(-1)
    check(relora_schedule_next_restart(s, step, next), s)
    return next[] < 0 ? nothing : next[]
end

"""
    Cycle(context; adam=nothing, reset=nothing, before=nothing, after=nothing, follow=nothing,
          merge_every, reset_every, first_step)

`before(step, events)` and `after` are called around the work; what they throw comes out of `advance!` or `finish!`.
`reset` holds options of `reset!`, as in `(ratio=0.9,)`. With a schedule as `follow` its restarts are those of the cycle.
"""
function Cycle(c::Context; adam=nothing, reset=nothing, before=nothing, after=nothing, follow=nothing, fields...)
    hooks = Hooks(before, after, nothing)
    o, user = defaults(relora_cycle_options; fields...), keep(hooks)
    follow === nothing || check(relora_cycle_options_follow(Ref(o), follow), follow)
    set!(o, fields) # what is given stands before what the schedule says
    o.before, o.after, o.hook_user = before_function(), after_function(), user
    how = reset === nothing ? C_NULL : Ref(defaults(relora_reset_options; reset...))
    cycle = try
        make(Cycle, relora_cycle, c.context, relora_cycle_create, c, Ref(o), null(adam), how; extra=hooks)
    catch
        drop(user)
        rethrow()
    end
    finalizer(_ -> drop(user), hooks)
    return cycle
end

add!(y::Cycle, l::Linear) = check(relora_cycle_add(y, l), y)
add!(y::Cycle, g::Group) = check(relora_cycle_add_group(y, g), y)

function due(y::Cycle, step)
    events = Ref{UInt32}(0)
    check(relora_cycle_due(y, step, events), y)
    return events[]
end

function throw_again(hooks::Hooks)
    thrown, hooks.thrown = hooks.thrown, nothing
    thrown === nothing || throw(thrown)
    return nothing
end

"Do what is due after `step` updates."
function advance!(y::Cycle, s::Stream, step)
    events, merge, reset = Ref{UInt32}(0), report(relora_merge_report), report(relora_reset_report)
    status = relora_cycle_advance(y, s, step, events, Ref(merge), Ref(reset))
    throw_again(y.extra)
    check(status, s)
    return (events=events[], merge=merge, reset=reset)
end

function finish!(y::Cycle, s::Stream, step)
    merge = report(relora_merge_report)
    status = relora_cycle_finish(y, s, step, Ref(merge))
    throw_again(y.extra)
    check(status, s)
    return merge
end

# ---- files ----

Writer(c::Context) = make(Writer, relora_writer, c.context, relora_writer_create, c; extra=Any[])
add!(w::Writer, name, t::Tensor) = check(relora_writer_add(w, name, t), w)

"An array of any type the format knows, by the format's name, \"I64\". It is copied; axes turn around as in a tensor."
function add!(w::Writer, name, dtype::AbstractString, array::Array)
    copied, dims = copy(array), row_major(size(array))
    push!(w.extra, copied)
    GC.@preserve dims check(relora_writer_add_bytes(w, name, dtype, length(dims), pointer(dims), pointer(copied),
                                                    sizeof(copied)), w)
end

set_metadata!(w::Writer, key, value) = check(relora_writer_set_metadata(w, key, value), w)
save(w::Writer, s::Stream, path; flags=0) = check(relora_writer_save(w, s, path, flags), s)

"A file, which is mapped, or bytes in memory."
Reader(c::Context, path::AbstractString) = make(Reader, relora_reader, c.context, relora_reader_open, c, path)
function Reader(c::Context, bytes::Vector{UInt8})
    copied = copy(bytes)
    return make(Reader, relora_reader, c.context, relora_reader_open_memory, c, pointer(copied), sizeof(copied);
                extra=copied)
end

"`nothing` for a file that does not exist."
function reader_if_there(c::Context, path)
    out = Ref{Ptr{relora_reader}}(C_NULL)
    check(relora_reader_open_if_there(out, c, path), c)
    return out[] == C_NULL ? nothing : Reader(Val(:own), out[], c.context, nothing)
end

Base.keys(r::Reader) = [unsafe_string(relora_reader_name(r, i)) for i in 0:relora_reader_count(r)-1]

function dtype(r::Reader, name)
    text = relora_reader_dtype(r, name)
    return text == C_NULL ? nothing : unsafe_string(text)
end

"As of an array: the axes of the file in the opposite order."
function Base.size(r::Reader, name)
    n, dims = Ref{Int32}(0), zeros(Int64, 64)
    GC.@preserve dims check(relora_reader_shape(r, name, n, pointer(dims), length(dims)), r)
    return Tuple(Int(d) for d in reverse(dims[1:n[]]))
end

function bytes(r::Reader, name)
    data, size = Ref{Ptr{Cvoid}}(C_NULL), Ref{Csize_t}(0)
    check(relora_reader_bytes(r, name, data, size), r)
    return GC.@preserve r copy(unsafe_wrap(Array, Ptr{UInt8}(data[]), Int(size[])))
end

function metadata(r::Reader)
    names = [relora_reader_metadata_key(r, i) for i in 0:relora_reader_metadata_count(r)-1]
    return Dict(unsafe_string(k) => unsafe_string(relora_reader_metadata(r, k)) for k in names)
end

read!(r::Reader, s::Stream, name, target::Tensor; flags=0) = check(relora_reader_read(r, s, name, target, flags), s)

"The weights of a model by their names."
function read!(r::Reader, s::Stream, g::Group; flags=0)
    result = report(relora_read_report)
    check(relora_reader_read_group(r, s, g, flags, Ref(result)), s)
    return result
end

verify(r::Reader) = check(relora_reader_verify(r), r)

State(c::Context) = make(State, relora_state, c.context, relora_state_create, c; extra=Any[])
"Bytes that are saved from, and restored to, where they are. The array must not be resized."
function add!(t::State, name, bytes::Vector{UInt8})
    check(relora_state_add_bytes(t, name, pointer(bytes), sizeof(bytes)), t)
    push!(t.extra, bytes)
    return nothing
end
add!(t::State, name, part::Tensor) = check(relora_state_add_tensor(t, name, part), t)
add!(t::State, name, part::Linear) = check(relora_state_add_linear(t, name, part), t)
add!(t::State, g::Group) = check(relora_state_add_group(t, g), t)
add!(t::State, name, part::Adam) = check(relora_state_add_adam(t, name, part), t)
add!(t::State, name, part::Schedule) = check(relora_state_add_schedule(t, name, part), t)
add!(t::State, name, part::Cycle) = check(relora_state_add_cycle(t, name, part), t)
set!(t::State, key::AbstractString, value) = check(relora_state_set(t, key, value), t)
save(t::State, s::Stream, path; flags=0) = check(relora_state_save(t, s, path, flags), s)
load!(t::State, s::Stream, r::Reader) = check(relora_state_load(t, s, r), s)
"How exports write the weights of layers."
set_export_layout!(t::State, layout) = check(relora_state_set_export_layout(t, layout), t)
export_merged(t::State, s::Stream, path) = check(relora_state_export_merged(t, s, path), s)
export_adapter(t::State, s::Stream, folder, base="") = check(relora_state_export_adapter(t, s, folder, base), s)
export_delta(t::State, s::Stream, path) = check(relora_state_export_delta(t, s, path), s)

end
