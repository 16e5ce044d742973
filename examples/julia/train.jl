# The trainer of examples/train.md in Julia: julia examples/julia/train.jl
isdefined(@__MODULE__, :Relora) || include(joinpath(@__DIR__, "src", "Relora.jl"))

module Train

using Printf
using ..Relora
using ..Relora: Adam, Context, Cycle, Linear, Reader, ReloraError, Schedule, State, Stream, Tensor

const ROWS, IN, HIDDEN, OUT, STEPS, SAVED = 32, 12, 16, 4, 24, 12

# SplitMix64, as values of [-1, 1) that a Float32 holds exactly.
mutable struct Numbers
    state::UInt64
end

function next!(n::Numbers)
    n.state += 0x9E3779B97F4A7C15
    z = n.state
    z = (z ⊻ (z >> 30)) * 0xBF58476D1CE4E5B9
    z = (z ⊻ (z >> 27)) * 0x94D049BB133111EB
    return Float32(Float64((z ⊻ (z >> 31)) >> 40) / 8388608 - 1)
end

# A matrix [rows, columns] of theirs, drawn row after row, is one of size (columns, rows) here.
function draw!(n::Numbers, columns, rows, scale)
    m = Matrix{Float32}(undef, columns, rows)
    for i in eachindex(m)
        m[i] = Float32(scale) * next!(n)
    end
    return m
end

struct Trainer
    context::Context
    stream::Stream
    w::Vector{Matrix{Float32}}
    wanted::Matrix{Float32}
    hidden::Matrix{Float32}
    out::Matrix{Float32}
    dout::Matrix{Float32}
    dhidden::Matrix{Float32}
    x::Tensor
    h::Tensor
    y::Tensor
    dy::Tensor
    dh::Tensor
    layers::Vector{Linear}
    adam::Adam
    rate::Schedule
    cycle::Cycle
    state::State
end

layer(cpu, inputs, outputs, number) =
    Linear(cpu; flags=Relora.RELORA_LINEAR_BIAS, in_features=inputs, out_features=outputs, rank=2, alpha=4, seed=7,
           layer=number, dropout=number == 1 ? 0.1 : 0)

function Trainer(log)
    context = Context(; log=log, log_level=Relora.RELORA_LOG_ERROR)
    cpu = Relora.cpu(context)
    numbers = Numbers(1)
    w = [draw!(numbers, IN, HIDDEN, 0.5), draw!(numbers, HIDDEN, OUT, 0.5)]
    given, teacher = draw!(numbers, IN, ROWS, 1), draw!(numbers, IN, OUT, 1)
    wanted = Matrix{Float32}(undef, OUT, ROWS)
    for r in 1:ROWS, o in 1:OUT
        sum = 0.0
        for i in 1:IN
            sum += Float64(given[i, r]) * Float64(teacher[i, o])
        end
        wanted[o, r] = sum
    end
    matrices = [zeros(Float32, n, ROWS) for n in (HIDDEN, OUT, OUT, HIDDEN)]
    tensors = [Tensor(cpu, m) for m in matrices]
    layers = [layer(cpu, IN, HIDDEN, 1), layer(cpu, HIDDEN, OUT, 2)]
    adam = Adam(cpu; beta2=0.99, max_norm=1)
    rate = Schedule(context; lr=0.05, total_steps=STEPS, warmup_steps=2, restart_warmup_steps=2, restart_every=8)
    cycle = Cycle(context; adam=adam, reset=(ratio=0.9,), merge_every=8)
    state = State(context)
    for (name, l, m) in zip(("first", "second"), layers, w)
        Relora.set_weight!(l, Tensor(cpu, m))
        Relora.add!(adam, name, l)
        Relora.add!(cycle, l)
        Relora.add!(state, name, l)
    end
    Relora.add!(state, "adam", adam)
    Relora.add!(state, "rate", rate)
    Relora.add!(state, "cycle", cycle)
    return Trainer(context, Stream(cpu), w, wanted, matrices..., Tensor(cpu, given), tensors..., layers, adam, rate,
                   cycle, state)
end

# Both layers with max(0, h) between them; dout gets the gradient of the loss.
function forward!(t::Trainer, call, flags)
    Relora.forward!(t.layers[1], t.stream, t.x, t.h, call; flags=flags)
    t.hidden .= max.(t.hidden, 0)
    Relora.forward!(t.layers[2], t.stream, t.h, t.y, call; flags=flags)
    loss = 0.0
    for i in eachindex(t.out)
        e = Float64(t.out[i]) - Float64(t.wanted[i])
        loss += e * e / (2 * ROWS)
        t.dout[i] = e / ROWS
    end
    return loss
end

function backward!(t::Trainer, call)
    flags = Relora.RELORA_TRAIN | Relora.RELORA_OVERWRITE
    Relora.backward!(t.layers[2], t.stream, t.h, t.dy, t.dh, call; flags=flags)
    t.dhidden[t.hidden .<= 0] .= 0
    Relora.backward!(t.layers[1], t.stream, t.x, t.dh, nothing, call; flags=flags)
end

function train!(t::Trainer, from, path, say)
    for step in from:STEPS-1
        if step == SAVED && say !== nothing
            Relora.set!(t.state, "step", string(step))
            Relora.save(t.state, t.stream, path)
        end
        loss, rate = forward!(t, step, Relora.RELORA_TRAIN), Relora.lr(t.rate, step)
        backward!(t, step)
        Relora.step!(t.adam, t.stream, rate)
        r = Relora.advance!(t.cycle, t.stream, step + 1)
        say === nothing && continue
        step % 4 == 0 && @printf(say, "step %2d  loss %.5f  rate %.5f\n", step, loss, rate)
        r.events == 0 && continue
        @printf(say, "restart after %d: %d layers, |dW| %.4f, %d moments kept\n", step + 1, r.merge.layers,
                r.merge.delta_norm, r.reset.elements - r.reset.zeroed_first)
    end
    Relora.finish!(t.cycle, t.stream, STEPS)
end

function run(say)
    path = tempname() * ".safetensors"
    lines = Ref(0)
    whole = Trainer((level, line) -> lines[] += 1)
    train!(whole, 0, path, say)
    @printf(say, "trained: loss %.5f\n", forward!(whole, STEPS, 0))

    resumed = Trainer(nothing)
    file = Reader(resumed.context, path)
    Relora.load!(resumed.state, resumed.stream, file)
    train!(resumed, parse(Int, Relora.metadata(file)["step"]), path, nothing)
    close(file)
    rm(path)
    @printf(say, "resumed: loss %.5f, %s weights\n", forward!(resumed, STEPS, 0),
            whole.w == resumed.w ? "the same" : "other")

    try
        Relora.forward!(whole.layers[2], whole.stream, whole.x, whole.y, 0)
    catch e
        e isa ReloraError || rethrow()
        println(say, Relora.name(e), ": ", e.text)
    end
    println(say, lines[], " line in the log")
end

end

abspath(PROGRAM_FILE) == @__FILE__() && Train.run(stdout)
