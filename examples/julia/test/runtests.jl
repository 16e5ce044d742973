# What Julia adds, and the trainer. A library that is broken is noticed here: `make check-julia` runs it with one.
using Test
include(joinpath(@__DIR__, "..", "train.jl"))

@testset "same in every language" begin
    out = IOBuffer()
    Train.run(out)
    @test String(take!(out)) == read(joinpath(@__DIR__, "..", "..", "train.txt"), String)
end

@testset "layouts" begin
    for (type, size, fields) in Relora.LAYOUT
        @test sizeof(type) == size
        for (field, at) in fields
            @test fieldoffset(type, findfirst(==(field), fieldnames(type))) == at
        end
    end
end

@testset "column-major, and kept" begin
    context = Relora.Context()
    cpu = Relora.cpu(context)
    stream = Relora.Stream(cpu)
    w = Float32[1 2; 3 4; 5 6] # (in, out) = (3, 2)
    kept = length(Relora.kept)
    weight = Relora.Tensor(cpu, w)
    @test size(weight) == (3, 2)
    layer = Relora.Linear(cpu; in_features=3, out_features=2, rank=1, dropout=0)
    Relora.set_weight!(layer, weight)
    x, y = Relora.Tensor(cpu, (3, 1)), Relora.Tensor(cpu, (2, 1))
    Relora.write!(x, stream, Float32[1, 10, 100])
    Relora.forward!(layer, stream, x, y, 0)
    Relora.with(v -> (@test v == w' * Float32[1, 10, 100][:, :]), y)
    @test_throws Relora.ReloraError Relora.set_weight!(layer, Relora.Tensor(cpu, Float32[1 2 3; 4 5 6]))
    close(weight)
    @test length(Relora.kept) > kept # the layer holds it
    close(layer)
end

@testset "hooks" begin
    context = Relora.Context()
    cpu = Relora.cpu(context)
    stream = Relora.Stream(cpu)
    layer = Relora.Linear(cpu; in_features=3, out_features=2, rank=1)
    Relora.set_weight!(layer, Relora.Tensor(cpu, ones(Float32, 3, 2)))
    seen = Int[]
    cycle = Relora.Cycle(context; before=(step, events) -> error("before"), after=(step, events) -> push!(seen, step),
                         merge_every=2)
    Relora.add!(cycle, layer)
    @test Relora.advance!(cycle, stream, 2).events == 0
    @test_throws ErrorException Relora.advance!(cycle, stream, 3)
    @test seen == [3]
end
