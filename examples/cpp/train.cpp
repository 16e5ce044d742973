// The trainer of examples/bindings.md in C++.
#include <relora/relora.hpp>

#include <cstdio>
#include <filesystem>

namespace {

constexpr std::size_t ROWS = 32, IN = 12, HIDDEN = 16, OUT = 4;
constexpr std::uint64_t STEPS = 24, SAVED = 12;

struct numbers { // SplitMix64, as values of [-1, 1) that a float holds exactly
    std::uint64_t state = 1;

    float next()
    {
        std::uint64_t z = state += 0x9E3779B97F4A7C15;
        z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9;
        z = (z ^ z >> 27) * 0x94D049BB133111EB;
        return static_cast<float>(static_cast<double>((z ^ z >> 31) >> 40) / 8388608 - 1);
    }

    std::shared_ptr<std::vector<float>> matrix(std::size_t count, float scale)
    {
        auto m = std::make_shared<std::vector<float>>(count);
        for (float &v : *m) v = scale * next();
        return m;
    }
};

relora::linear layer(const relora::device &cpu, std::int64_t in, std::int64_t out, std::uint64_t number)
{
    auto o = relora::defaults<relora_linear_options>();
    o.flags = RELORA_LINEAR_BIAS;
    o.in_features = in;
    o.out_features = out;
    o.rank = 2;
    o.alpha = 4;
    o.dropout = number == 1 ? 0.1 : 0;
    o.seed = 7;
    o.layer = number;
    return {cpu, o};
}

relora::adam optimizer(const relora::device &cpu)
{
    auto o = relora::defaults<relora_adam_options>();
    o.beta2 = 0.99;
    o.max_norm = 1;
    return relora::adam(cpu, o);
}

relora::schedule schedule(const relora::context &context)
{
    auto o = relora::defaults<relora_schedule_options>();
    o.lr = 0.05;
    o.total_steps = STEPS;
    o.warmup_steps = o.restart_warmup_steps = 2;
    o.restart_every = 8;
    return {context, o};
}

relora::cycle restarts(const relora::context &context, const relora::adam &adam)
{
    auto o = relora::defaults<relora_cycle_options>();
    auto reset = relora::defaults<relora_reset_options>();
    o.merge_every = 8;
    reset.ratio = 0.9;
    return {context, o, &adam, &reset};
}

// Everything of one run. The tensors are windows on vectors that they own together with us.
struct trainer {
    relora::context context;
    relora::device cpu = context.device();
    relora::stream stream{cpu};
    numbers draw;
    std::shared_ptr<std::vector<float>> w1 = draw.matrix(HIDDEN * IN, 0.5f), w2 = draw.matrix(OUT * HIDDEN, 0.5f);
    std::vector<float> given = *draw.matrix(ROWS * IN, 1), teacher = *draw.matrix(OUT * IN, 1), wanted;
    relora::tensor x{cpu, RELORA_F32, {ROWS, IN}}, h{cpu, RELORA_F32, {ROWS, HIDDEN}}, y{cpu, RELORA_F32, {ROWS, OUT}};
    relora::tensor dy{cpu, RELORA_F32, {ROWS, OUT}}, dh{cpu, RELORA_F32, {ROWS, HIDDEN}};
    relora::linear first = layer(cpu, IN, HIDDEN, 1), second = layer(cpu, HIDDEN, OUT, 2);
    relora::adam adam = optimizer(cpu);
    relora::schedule rate = schedule(context);
    relora::cycle cycle = restarts(context, adam);
    relora::state state{context};

    explicit trainer(relora::log_sink log = [](std::int32_t, std::string_view) {})
        : context(options(), std::move(log))
    {
        for (std::size_t r = 0; r < ROWS; r++)
            for (std::size_t o = 0; o < OUT; o++) {
                double sum = 0;
                for (std::size_t i = 0; i < IN; i++)
                    sum += static_cast<double>(given[r * IN + i]) * static_cast<double>(teacher[o * IN + i]);
                wanted.push_back(static_cast<float>(sum));
            }
        x.write(stream, given);
        first.set_weight(relora::tensor::share(cpu, w1, {HIDDEN, IN}));
        second.set_weight(relora::tensor::share(cpu, w2, {OUT, HIDDEN}));
        adam.add("first", first);
        adam.add("second", second);
        cycle.add(first);
        cycle.add(second);
        state.add("first", first);
        state.add("second", second);
        state.add("adam", adam);
        state.add("rate", rate);
        state.add("cycle", cycle);
    }

    static relora_context_options options()
    {
        auto o = relora::defaults<relora_context_options>();
        o.log_level = RELORA_LOG_ERROR;
        return o;
    }

    // Both layers with max(0, h) between them; dy gets the gradient of the loss.
    double forward(std::uint64_t call, std::uint32_t flags)
    {
        first.forward(stream, x, h, call, flags);
        for (float &v : h.values())
            if (v < 0) v = 0;
        second.forward(stream, h, y, call, flags);
        double loss = 0;
        const auto out = y.values(), grad = dy.values();
        for (std::size_t i = 0; i < wanted.size(); i++) {
            const double e = static_cast<double>(out[i]) - static_cast<double>(wanted[i]);
            loss += e * e / (2.0 * ROWS);
            grad[i] = static_cast<float>(e / ROWS);
        }
        return loss;
    }

    void backward(std::uint64_t call)
    {
        second.backward(stream, h, dy, dh, call, RELORA_TRAIN | RELORA_OVERWRITE);
        const auto hidden = h.values(), grad = dh.values();
        for (std::size_t i = 0; i < hidden.size(); i++)
            if (hidden[i] <= 0) grad[i] = 0;
        first.backward(stream, x, dh, {}, call, RELORA_TRAIN | RELORA_OVERWRITE);
    }

    void train(std::uint64_t from, const std::string &path, bool say)
    {
        for (std::uint64_t step = from; step < STEPS; step++) {
            if (step == SAVED && say) {
                state.set("step", std::to_string(step));
                state.save(stream, path);
            }
            const auto at = static_cast<std::int64_t>(step);
            const double loss = forward(step, RELORA_TRAIN), lr = rate.lr(at);
            backward(step);
            adam.step(stream, lr);
            const relora::restart r = cycle.advance(stream, at + 1);
            if (say && step % 4 == 0) std::printf("step %2d  loss %.5f  rate %.5f\n", static_cast<int>(step), loss, lr);
            if (say && r.events)
                std::printf("restart after %d: %d layers, |dW| %.4f, %lld moments kept\n", static_cast<int>(step + 1), r.merge.layers,
                            r.merge.delta_norm, static_cast<long long>(r.reset.elements - r.reset.zeroed_first));
        }
        cycle.finish(stream, STEPS);
    }
};

} // namespace

int main()
{
    const auto path = (std::filesystem::temp_directory_path() / "relora-train-cpp.safetensors").string();
    int lines = 0;
    trainer whole([&lines](std::int32_t, std::string_view) { lines++; });
    whole.train(0, path, true);
    std::printf("trained: loss %.5f\n", whole.forward(STEPS, 0));

    trainer resumed;
    {
        relora::reader file(resumed.context, path);
        resumed.state.load(resumed.stream, file);
        resumed.train(std::stoull(std::string(file.metadata("step"))), path, false);
    }
    std::printf("resumed: loss %.5f, %s weights\n", resumed.forward(STEPS, 0),
                *whole.w1 == *resumed.w1 && *whole.w2 == *resumed.w2 ? "the same" : "other");

    try {
        whole.second.forward(whole.stream, whole.x, whole.y, 0, 0);
    } catch (const relora::error &e) {
        std::printf("%s: %s\n", e.name(), e.what());
    }
    std::printf("%d line in the log\n", lines);
    std::filesystem::remove(path);
}
