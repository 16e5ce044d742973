// relora.hpp: memory that lives as long as it is used, callbacks that go when the context goes, exceptions that do not pass
// through C. Built with the address sanitizer where it can be.
#include <relora/relora.hpp>

#include <cstdio>
#include <cstdlib>

namespace {

void require(bool good, const char *what, int line)
{
    if (good) return;
    std::printf("ownership.cpp:%d: %s\n", line, what);
    std::exit(1);
}
#define REQUIRE(condition) require((condition), #condition, __LINE__)

template <typename Call> relora_status refused(Call call)
{
    try {
        call();
    } catch (const relora::error &e) {
        return e.status();
    }
    return RELORA_OK;
}

relora::linear layer(const relora::device &d)
{
    auto o = relora::defaults<relora_linear_options>();
    o.in_features = 3;
    o.out_features = 2;
    o.rank = 1;
    o.dropout = 0;
    return {d, o};
}

std::shared_ptr<std::vector<float>> vector(std::size_t n, float value)
{
    return std::make_shared<std::vector<float>>(n, value);
}

void shared_memory()
{
    auto w = vector(6, 2), other = vector(6, 3);
    {
        relora::linear l = layer(relora::context().device()); // whose context has gone but for the layer
        {
            relora::context context;
            relora::stream stream(context.device());
            relora::tensor t = relora::tensor::share(context.device(), w, {2, 3}), same = t;
            l = layer(context.device());
            l.set_weight(t);
            t.fill(stream, 0.5);
            REQUIRE((*w)[5] == 0.5f);
            same = relora::tensor(context.device(), RELORA_F32, {1});
            t.set_shared(std::shared_ptr<float>(other, other->data()));
            REQUIRE(w.use_count() == 1 && other.use_count() == 2);
            t.set_shared(std::shared_ptr<float>(other, other->data()));
            REQUIRE(other.use_count() == 2);
            REQUIRE(refused([&] { relora::tensor::share(context.device(), w, {7}); }) == RELORA_E_SHAPE);
            REQUIRE(refused([&] { relora::tensor::share(context.device(), w, {-2, -3}); }) == RELORA_E_ARGUMENT);
            REQUIRE(w.use_count() == 1);
        }
        REQUIRE(other.use_count() == 2); // the layer holds it
        REQUIRE(l.param(RELORA_PARAM_WEIGHT).values()[5] == 3);
        relora::linear moved = std::move(l);
        REQUIRE(!l && moved);
    }
    REQUIRE(other.use_count() == 1);
}

void callbacks()
{
    auto lines = std::make_shared<int>(0);
    {
        auto o = relora::defaults<relora_context_options>();
        o.log_level = RELORA_LOG_ERROR;
        auto context = std::make_unique<relora::context>(o, [lines](std::int32_t, std::string_view) {
            ++*lines;
            throw 1; // nobody shall see it
        });
        relora::stream stream(context->device());
        relora::tensor t(context->device(), RELORA_F32, {2, 3});
        relora::linear l = layer(context->device());
        t.fill(stream, 1);
        l.set_weight(t);
        auto c = relora::defaults<relora_cycle_options>();
        c.merge_every = 2;
        int after = 0;
        relora::cycle cycle(*context, c, nullptr, nullptr, [](std::int64_t, std::uint32_t) { throw std::string("before"); },
                            [&after](std::int64_t, std::uint32_t) { after++; });
        cycle.add(l);
        REQUIRE(cycle.advance(stream, 2).events == 0);
        try {
            cycle.advance(stream, 3);
            REQUIRE(!"it was thrown");
        } catch (const std::string &text) {
            REQUIRE(text == "before" && after == 1);
        }
        context.reset();
        try {
            t.write(stream, std::vector<float>(5));
            REQUIRE(!"it was thrown");
        } catch (const relora::error &e) {
            REQUIRE(std::string(e.what()).find("bytes is 20") != std::string::npos && *lines == 1);
        }
    }
    REQUIRE(lines.use_count() == 1);
    auto o = relora::defaults<relora_context_options>();
    o.threads = 0;
    REQUIRE(refused([&] { relora::context(o, [lines](std::int32_t, std::string_view) {}); }) == RELORA_E_ARGUMENT);
    REQUIRE(lines.use_count() == 1);
    static_assert(!std::is_constructible_v<relora::span<float>, std::vector<float>>);
    static_assert(std::is_constructible_v<relora::span<float>, std::vector<float> &>);
    static_assert(std::is_constructible_v<relora::span<float>, relora::span<float>>);
    static_assert(std::is_constructible_v<relora::span<const float>, std::vector<float>>);
    try {
        relora::context refused(o);
        REQUIRE(!"it was thrown");
    } catch (const relora::error &e) {
        REQUIRE(std::string(e.what()).find("options.threads is 0") != std::string::npos);
    }
}

void groups_and_files(const char *path)
{
    relora::context context;
    relora::stream stream(context.device());
    relora::group group(context.device());
    auto o = relora::defaults<relora_linear_options>();
    o.rank = 1;
    const auto w = relora::tensor::share(context.device(), vector(6, 1), {2, 3});
    const relora::linear lent = group.wrap("a", w, {}, o);
    group.add("norm", relora::tensor(context.device(), RELORA_F32, {3}), {});
    REQUIRE(group.count() == 2 && group.name(1) == "norm" && !group.layer(1) && !group.value(0));
    relora::adam adam(context.device());
    adam.add(group);
    REQUIRE(adam.name(0) == "a.lora_A.weight" && group.merge(stream, 1).layers == 1 && lent.mode() == RELORA_MODE_LORA);

    auto s = relora::defaults<relora_schedule_options>();
    s.lr = 1;
    s.total_steps = 8;
    s.restart_every = 4;
    const relora::schedule rate(context, s);
    relora::cycle cycle(context, relora::follow(rate), &adam);
    cycle.add(group);
    REQUIRE(cycle.due(5) == (RELORA_CYCLE_MERGE | RELORA_CYCLE_RESET));

    REQUIRE(!relora::reader::if_there(context, std::string(path) + "?"));
    relora::writer writer(context);
    writer.add("a.weight", w);
    writer.set_metadata("by", "C++");
    writer.save(stream, path);
    const auto reader = relora::reader::if_there(context, path);
    REQUIRE(reader && reader->metadata("by") == "C++" && reader->dims("a.weight") == std::vector<std::int64_t>({2, 3}));
    REQUIRE(refused([&] { reader->read(stream, group); }) == RELORA_E_NOT_FOUND);
    REQUIRE(reader->read(stream, group, RELORA_READ_ALLOW_MISSING).read == 1);
    relora::state state(context);
    state.add("b", relora::linear::wrap(context.device(), w, {}, o));
    state.set_export_layout(RELORA_LAYOUT_IN_OUT);
    state.export_merged(stream, path);
    REQUIRE(relora::reader(context, path).dims("b.weight") == std::vector<std::int64_t>({3, 2}));
    std::remove(path);
    const auto empty = relora::tensor::share(context.device(), std::shared_ptr<float>(), RELORA_F32, {3});
    REQUIRE(!empty.data() && refused([&] { empty.values(); }) == RELORA_E_STATE);
}

} // namespace

int main(int, char **argv)
{
    shared_memory();
    callbacks();
    groups_and_files(argv[1]);
    std::puts("ownership.cpp: all as it should be");
}
