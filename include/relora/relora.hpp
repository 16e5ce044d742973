/** @file relora/relora.hpp
 *  librelora for C++17. Handles are move-only objects that release themselves, in any order; a failure is an
 *  exception with the status and the sentence; host memory goes in and out as spans. Every class has get(), the
 *  handle of the C interface, and every function here is a call of that interface and nothing more: relora.h and
 *  what it includes are the manual. */
#ifndef RELORA_RELORA_HPP
#define RELORA_RELORA_HPP

#include <algorithm>
#include <cstdint>
#include <exception>
#include <functional>
#include <initializer_list>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "relora/relora.h"

namespace relora {

/** A status below 0, with the sentence that says why. */
class error : public std::runtime_error {
public:
    error(relora_status status, const std::string &text)
        : std::runtime_error(text.empty() ? relora_status_text(status) : text), status_(status) {}
    relora_status status() const noexcept { return status_; }
    const char *name() const noexcept { return relora_status_name(status_); }

private:
    relora_status status_;
};

/** Elements that lie one after another in the host's memory: what std::span is in C++20. Elements that may be
 *  written to are not those of a container that is about to go. */
template <typename T> class span {
    template <typename C> using owner = std::conditional_t<std::is_lvalue_reference_v<C>, C, const C &>;

public:
    span() = default;
    span(T *data, std::size_t size) : data_(data), size_(size) {}
    template <std::size_t N> span(T (&array)[N]) : data_(array), size_(N) {}
    template <typename C,
              typename = std::enable_if_t<std::is_convertible_v<decltype(std::declval<owner<C>>().data()), T *>>>
    span(C &&container) : data_(container.data()), size_(container.size()) {}

    T *data() const { return data_; }
    std::size_t size() const { return size_; }
    T *begin() const { return data_; }
    T *end() const { return data_ + size_; }
    T &operator[](std::size_t i) const { return data_[i]; }

private:
    T *data_ = nullptr;
    std::size_t size_ = 0;
};

/** Sizes of up to RELORA_MAX_DIMS axes, as in `{rows, columns}`. */
class shape {
public:
    shape(std::initializer_list<std::int64_t> dims) { copy(dims.begin(), dims.size()); }
    shape(span<const std::int64_t> dims) { copy(dims.data(), dims.size()); }

    const std::int64_t *data() const { return dim_; }
    std::int32_t ndim() const { return ndim_; }
    const std::int64_t *begin() const { return dim_; }
    const std::int64_t *end() const { return dim_ + ndim_; }

private:
    void copy(const std::int64_t *dims, std::size_t n)
    {
        if (n > RELORA_MAX_DIMS) throw error(RELORA_E_ARGUMENT, "relora::shape: more axes than RELORA_MAX_DIMS");
        ndim_ = static_cast<std::int32_t>(n);
        std::copy_n(dims, n, dim_);
    }
    std::int64_t dim_[RELORA_MAX_DIMS];
    std::int32_t ndim_;
};

namespace detail {

template <typename Ask> std::string text(Ask ask)
{
    std::size_t length = 0;
    ask(nullptr, 0, &length);
    std::string line(length + 1, '\0');
    ask(line.data(), line.size(), &length);
    line.resize(std::min(length, line.size() - 1));
    return line;
}

inline void check(relora_status status, const relora_context *ctx)
{
    if (status >= 0) return;
    throw error(status, text([ctx](char *to, std::size_t n, std::size_t *length) {
                    return relora_context_error(ctx, to, n, length);
                }));
}

inline void check(relora_status status, const relora_stream *stream)
{
    if (status >= 0) return;
    throw error(status, text([stream](char *to, std::size_t n, std::size_t *length) {
                    return relora_stream_error(stream, to, n, length);
                }));
}

inline void check(relora_status status)
{
    if (status < 0) throw error(status, "");
}

inline void release(relora_context *p) { relora_context_release(p); }
inline void release(relora_stream *p) { relora_stream_release(p); }
inline void release(relora_tensor *p) { relora_tensor_release(p); }
inline void release(relora_linear *p) { relora_linear_release(p); }
inline void release(relora_group *p) { relora_group_release(p); }
inline void release(relora_adam *p) { relora_adam_release(p); }
inline void release(relora_schedule *p) { relora_schedule_release(p); }
inline void release(relora_cycle *p) { relora_cycle_release(p); }
inline void release(relora_writer *p) { relora_writer_release(p); }
inline void release(relora_reader *p) { relora_reader_release(p); }
inline void release(relora_state *p) { relora_state_release(p); }

struct releaser {
    bool owned = true; // a layer that a group lends is not
    template <typename T> void operator()(T *p) const
    {
        if (owned) release(p);
    }
};

/** A handle, and the context that it keeps alive, for the sentence of a failure. */
template <typename T> class object {
public:
    T *get() const noexcept { return handle_.get(); }
    explicit operator bool() const noexcept { return handle_ != nullptr; }
    /** Give the handle up: whoever takes it releases it. */
    T *release_handle() noexcept { return handle_.release(); }

protected:
    object() = default;
    object(T *handle, relora_context *ctx) : handle_(handle), ctx_(ctx) {}

    void ok(relora_status status) const { check(status, ctx_); }
    relora_context *ctx() const { return ctx_; }
    /** The first parameter of a constructor of the C interface. */
    template <typename Make> void make(relora_context *ctx, Make &&create)
    {
        T *handle = nullptr;
        check(create(&handle), ctx);
        handle_.reset(handle);
        ctx_ = ctx;
    }
    void hold(T *handle, relora_context *ctx, bool owned = true)
    {
        handle_ = std::unique_ptr<T, releaser>(handle, releaser{owned});
        ctx_ = ctx;
    }

private:
    std::unique_ptr<T, releaser> handle_;
    relora_context *ctx_ = nullptr;
};

inline relora_status init(relora_context_options *o) { return relora_context_options_init(o, sizeof *o); }
inline relora_status init(relora_linear_options *o) { return relora_linear_options_init(o, sizeof *o); }
inline relora_status init(relora_adam_options *o) { return relora_adam_options_init(o, sizeof *o); }
inline relora_status init(relora_reset_options *o) { return relora_reset_options_init(o, sizeof *o); }
inline relora_status init(relora_schedule_options *o) { return relora_schedule_options_init(o, sizeof *o); }
inline relora_status init(relora_merge_options *o) { return relora_merge_options_init(o, sizeof *o); }
inline relora_status init(relora_factors_options *o) { return relora_factors_options_init(o, sizeof *o); }
inline relora_status init(relora_cycle_options *o) { return relora_cycle_options_init(o, sizeof *o); }

inline std::string_view view(const char *text) { return text ? text : std::string_view(); }

} // namespace detail

/** A struct of options with its defaults: `auto o = relora::defaults<relora_linear_options>(); o.rank = 8;` */
template <typename Options> Options defaults()
{
    Options o;
    detail::check(detail::init(&o));
    return o;
}

/** A report, ready to be filled in. */
template <typename Report> Report report()
{
    Report r{};
    r.struct_size = sizeof r;
    return r;
}

inline std::uint32_t version() { return relora_version(); }
inline std::string_view version_string() { return relora_version_string(); }
inline std::string_view build_info() { return relora_build_info(); }

/** Borrowed from its context. */
class device {
public:
    device(relora_device *handle, relora_context *ctx) : handle_(handle), ctx_(ctx) {}
    relora_device *get() const noexcept { return handle_; }
    relora_context *ctx() const noexcept { return ctx_; }
    relora_device_kind kind() const { return relora_device_get_kind(handle_); }
    std::string_view name() const { return relora_device_name(handle_); }
    /** Free and total bytes. */
    std::pair<std::uint64_t, std::uint64_t> memory() const
    {
        std::pair<std::uint64_t, std::uint64_t> m;
        detail::check(relora_device_memory(handle_, &m.first, &m.second), ctx_);
        return m;
    }

private:
    relora_device *handle_;
    relora_context *ctx_;
};

/** Receives a level and a line. What it throws is dropped. */
using log_sink = std::function<void(std::int32_t, std::string_view)>;

class context : public detail::object<relora_context> {
public:
    explicit context(const relora_context_options &options = defaults<relora_context_options>()) { create(options); }
    /** With a log, which lives as long as the context itself: until its last object goes. `on_destroy` of
     *  the options is taken for that. */
    context(relora_context_options options, log_sink log)
    {
        auto sink = std::make_unique<log_sink>(std::move(log));
        options.log = [](void *user, std::int32_t level, const char *line) {
            try {
                (*static_cast<log_sink *>(user))(level, line);
            } catch (...) {
            }
        };
        options.log_user = options.destroy_user = sink.get();
        options.on_destroy = [](void *user) { delete static_cast<log_sink *>(user); };
        create(options);
        sink.release();
    }

    int device_count(relora_device_kind kind) const { return relora_device_count(get(), kind); }
    relora::device device(relora_device_kind kind = RELORA_DEVICE_CPU, std::int32_t index = 0) const
    {
        relora_device *d = relora_device_get(get(), kind, index);
        if (!d) detail::check(RELORA_E_NOT_FOUND, get());
        return {d, get()};
    }

private:
    void create(const relora_context_options &options)
    {
        relora_context *ctx = nullptr;
        const relora_status status = relora_context_create(&ctx, &options);
        if (status < 0) throw error(status, refusal(options));
        hold(ctx, ctx);
    }
    // Why there is no context: only a log hears it.
    static std::string refusal(relora_context_options options)
    {
        std::string heard;
        options.log = [](void *user, std::int32_t, const char *line) {
            try {
                *static_cast<std::string *>(user) = line;
            } catch (...) {
            }
        };
        options.log_user = &heard;
        options.on_destroy = nullptr;
        if (options.log_level == RELORA_LOG_OFF) options.log_level = RELORA_LOG_ERROR;
        relora_context *ctx = nullptr;
        relora_context_create(&ctx, &options);
        relora_context_release(ctx);
        return heard;
    }
};

class stream : public detail::object<relora_stream> {
public:
    explicit stream(const device &d)
    {
        make(d.ctx(), [&](auto out) { return relora_stream_create(out, d.get()); });
    }
    /** Over the host's own cudaStream_t. */
    static stream wrap(const device &d, void *native)
    {
        stream s;
        s.make(d.ctx(), [&](auto out) { return relora_stream_wrap(out, d.get(), native); });
        return s;
    }
    void *native() const { return relora_stream_native(get()); }
    void wait(const stream &other) const { detail::check(relora_stream_wait(get(), other.get()), get()); }
    void synchronize() const { detail::check(relora_stream_synchronize(get()), get()); }

private:
    stream() = default;
};

/** A reference to a tensor: a copy is one more. */
class tensor : public detail::object<relora_tensor> {
public:
    tensor() = default;
    tensor(const device &d, relora_dtype dtype, const shape &dims)
    {
        make(d.ctx(), [&](auto out) { return relora_tensor_create(out, d.get(), dtype, dims.ndim(), dims.data()); });
    }
    tensor(const tensor &other) : object(other.get(), other.ctx()) { relora_tensor_retain(get()); }
    tensor(tensor &&) = default;
    tensor &operator=(tensor other)
    {
        hold(other.release_handle(), other.ctx());
        return *this;
    }

    /** Over memory of the host, which must outlive the tensor and whatever holds it. */
    static tensor borrow(const device &d, span<float> memory, const shape &dims)
    {
        check_size(memory.size(), dims);
        return over(d, RELORA_F32, memory.data(), dims, nullptr, nullptr);
    }
    /** Over memory that the tensor owns together with others. It may be empty, and come later by set_shared(). */
    template <typename T>
    static tensor share(const device &d, std::shared_ptr<T> memory, relora_dtype dtype, const shape &dims)
    {
        auto owner = std::make_unique<std::shared_ptr<void>>(memory);
        tensor t = over(d, dtype, owner->get(), dims, drop_owner, owner.get());
        owner.release();
        return t;
    }
    /** Over the elements of a vector, which the tensor owns together with others. */
    static tensor share(const device &d, const std::shared_ptr<std::vector<float>> &memory, const shape &dims)
    {
        check_size(memory->size(), dims);
        return share(d, std::shared_ptr<float>(memory, memory->data()), RELORA_F32, dims);
    }
    /** Take over what another framework shares; on a failure it is still the caller's. */
    static tensor from_dlpack(const context &c, DLManagedTensorVersioned *managed)
    {
        tensor t;
        t.make(c.get(), [&](auto out) { return relora_tensor_from_dlpack(out, c.get(), managed); });
        return t;
    }
    /** One more reference to a tensor that the library owns. */
    static tensor retained(relora_tensor *handle, relora_context *ctx)
    {
        relora_tensor_retain(handle);
        return tensor(handle, ctx);
    }
    DLManagedTensorVersioned *to_dlpack(const stream &producer, void *consumer = nullptr) const
    {
        DLManagedTensorVersioned *managed = nullptr;
        detail::check(relora_tensor_to_dlpack(&managed, get(), producer.get(), consumer), producer.get());
        return managed;
    }

    /** Other borrowed memory of the same size. */
    void set_data(span<float> memory) const
    {
        check_count(memory.size());
        ok(relora_tensor_set_data(get(), memory.data()));
    }
    template <typename T> void set_shared(std::shared_ptr<T> memory) const
    {
        auto owner = std::make_unique<std::shared_ptr<void>>(memory);
        ok(relora_tensor_set_data_owned(get(), owner->get(), drop_owner, owner.get()));
        owner.release();
    }

    relora_dtype dtype() const { return relora_tensor_dtype(get()); }
    std::int32_t ndim() const { return relora_tensor_ndim(get()); }
    std::int64_t dim(std::int32_t axis) const { return relora_tensor_dim(get(), axis); }
    std::int64_t stride(std::int32_t axis) const { return relora_tensor_stride(get(), axis); }
    std::int64_t count() const { return relora_tensor_count(get()); }
    void *data() const { return relora_tensor_data(get()); }
    relora::device device() const { return {relora_tensor_device(get()), ctx()}; }
    /** The F32 elements of a tensor of the CPU without gaps. */
    span<float> values() const
    {
        const relora_device_kind kind = relora_device_get_kind(relora_tensor_device(get()));
        const bool whole = ndim() < 2 || dim(0) < 2 || stride(0) * dim(0) == count();
        if (dtype() != RELORA_F32 || kind != RELORA_DEVICE_CPU || !whole)
            throw error(RELORA_E_LAYOUT, "relora::tensor::values: not F32 on the CPU without gaps");
        if (!data() && count()) throw error(RELORA_E_STATE, "relora::tensor::values: the tensor has no memory yet");
        return {static_cast<float *>(data()), static_cast<std::size_t>(count())};
    }

    void write(const stream &s, span<const float> from) const
    {
        detail::check(relora_tensor_write(get(), s.get(), from.data(), from.size() * sizeof(float)), s.get());
    }
    void read(const stream &s, span<float> to) const
    {
        detail::check(relora_tensor_read(get(), s.get(), to.data(), to.size() * sizeof(float)), s.get());
    }
    void copy(const stream &s, const tensor &source) const
    {
        detail::check(relora_tensor_copy(get(), source.get(), s.get()), s.get());
    }
    void fill(const stream &s, double value) const { detail::check(relora_tensor_fill(get(), s.get(), value), s.get()); }

private:
    tensor(relora_tensor *handle, relora_context *ctx) : object(handle, ctx) {}
    static void check_size(std::size_t elements, const shape &dims)
    {
        std::int64_t n = 1;
        for (std::int64_t d : dims) n *= d;
        if (n < 0 || static_cast<std::size_t>(n) != elements)
            throw error(RELORA_E_SHAPE, "relora::tensor: the memory has another number of elements than the shape");
    }
    void check_count(std::size_t elements) const
    {
        if (static_cast<std::int64_t>(elements) != count())
            throw error(RELORA_E_SHAPE, "relora::tensor: the memory has another number of elements than the tensor");
    }
    static void drop_owner(void *user, void *) { delete static_cast<std::shared_ptr<void> *>(user); }
    static tensor over(const relora::device &d, relora_dtype dtype, void *data, const shape &dims, relora_deleter_fn deleter,
                       void *user)
    {
        tensor t;
        t.make(d.ctx(), [&](auto out) {
            return relora_tensor_borrow(out, d.get(), dtype, dims.ndim(), dims.data(), nullptr, data, deleter, user);
        });
        return t;
    }
};

/** Restarts of a program with factors and moments of its own (relora/restart.h). */
inline relora_merge_report merge(const stream &s, const tensor &weight, const tensor &a, const tensor &b,
                                 const relora_merge_options &options)
{
    auto r = report<relora_merge_report>();
    detail::check(relora_merge(s.get(), weight.get(), a.get(), b.get(), &options, &r), s.get());
    return r;
}
/** W -= lr * 0.2 sqrt(max(in, out)) U V^T; U V^T replaces the gradient. */
inline relora_full_rank_report full_rank_step(const stream &s, const tensor &weight, const tensor &grad, double lr,
                                              const relora_merge_options &options)
{
    auto r = report<relora_full_rank_report>();
    detail::check(relora_full_rank_step(s.get(), weight.get(), grad.get(), lr, &options, &r), s.get());
    return r;
}
inline void draw_factors(const stream &s, const tensor &a, const tensor &b, std::uint64_t seed, std::uint64_t layer,
                         std::uint64_t cycle)
{
    detail::check(relora_factors_draw(s.get(), a.get(), b.get(), seed, layer, cycle), s.get());
}
/** Without a gradient of A, GRADIENT is MATCHED. */
inline relora_merge_report renew_factors(const stream &s, const tensor &a, const tensor &b, const tensor &gradient,
                                         const relora_factors_options &options)
{
    auto r = report<relora_merge_report>();
    detail::check(relora_factors_renew(s.get(), a.get(), b.get(), gradient.get(), &options, &r), s.get());
    return r;
}
inline void project_moments(const stream &s, const tensor &first, const tensor &second, const tensor &a_old,
                            const tensor &a_new, double beta1, double beta2, std::int64_t steps)
{
    detail::check(relora_moments_project(s.get(), first.get(), second.get(), a_old.get(), a_new.get(), beta1, beta2,
                                         steps),
                  s.get());
}
inline relora_reset_report reset_moments(const stream &s, const tensor &first, const tensor &second,
                                         std::uint64_t index, const relora_reset_options &options)
{
    auto r = report<relora_reset_report>();
    detail::check(relora_moments_reset(s.get(), first.get(), second.get(), index, &options, &r), s.get());
    return r;
}

class linear : public detail::object<relora_linear> {
public:
    linear(const device &d, const relora_linear_options &options)
    {
        make(d.ctx(), [&](auto out) { return relora_linear_create(out, d.get(), &options); });
    }
    /** A layer over a weight of the host; the sizes and the type are those of the weight. */
    static linear wrap(const device &d, const tensor &weight, const tensor &bias, const relora_linear_options &options)
    {
        linear l;
        l.make(d.ctx(), [&](auto out) { return relora_linear_wrap(out, d.get(), weight.get(), bias.get(), &options); });
        return l;
    }
    /** A layer that something else owns and that lives long enough. */
    static linear lent(relora_linear *handle, relora_context *ctx)
    {
        linear l;
        l.hold(handle, ctx, false);
        return l;
    }
    void set_weight(const tensor &weight, const tensor &bias = {}) const
    {
        ok(relora_linear_set_weight(get(), weight.get(), bias.get()));
    }
    void set_mode(const stream &s, relora_linear_mode mode) const
    {
        detail::check(relora_linear_set_mode(get(), s.get(), mode), s.get());
    }
    relora_linear_mode mode() const { return relora_linear_get_mode(get()); }
    /** An empty tensor if the layer has no such parameter now. */
    tensor param(relora_param p) const { return tensor::retained(relora_linear_param(get(), p), ctx()); }
    tensor grad(relora_param p) const { return tensor::retained(relora_linear_grad(get(), p), ctx()); }

    void forward(const stream &s, const tensor &x, const tensor &y, std::uint64_t call, std::uint32_t flags) const
    {
        detail::check(relora_linear_forward(get(), s.get(), x.get(), y.get(), call, flags), s.get());
    }
    /** An empty dx is not computed. */
    void backward(const stream &s, const tensor &x, const tensor &dy, const tensor &dx, std::uint64_t call,
                  std::uint32_t flags) const
    {
        detail::check(relora_linear_backward(get(), s.get(), x.get(), dy.get(), dx.get(), call, flags), s.get());
    }
    /** Layers that read the same x. */
    static void forward_shared(span<relora_linear *const> layers, const stream &s, const tensor &x,
                               span<relora_tensor *const> y, std::uint64_t call, std::uint32_t flags)
    {
        same_number(layers.size(), y.size());
        detail::check(relora_linear_forward_shared(layers.data(), static_cast<std::int32_t>(layers.size()), s.get(),
                                                   x.get(), y.data(), call, flags),
                      s.get());
    }
    static void backward_shared(span<relora_linear *const> layers, const stream &s, const tensor &x,
                                span<relora_tensor *const> dy, const tensor &dx, std::uint64_t call,
                                std::uint32_t flags)
    {
        same_number(layers.size(), dy.size());
        detail::check(relora_linear_backward_shared(layers.data(), static_cast<std::int32_t>(layers.size()), s.get(),
                                                    x.get(), dy.data(), dx.get(), call, flags),
                      s.get());
    }

    relora_plan_report plan(std::int64_t rows, std::uint32_t flags) const
    {
        auto r = report<relora_plan_report>();
        ok(relora_linear_plan(get(), rows, flags, &r));
        return r;
    }
    void set_order(relora_order forward, relora_order backward) const
    {
        ok(relora_linear_set_order(get(), forward, backward));
    }
    void zero_grad(const stream &s) const { detail::check(relora_linear_zero_grad(get(), s.get()), s.get()); }
    /** Passes on memory of the layer's device, in its type; rows begin `ld` elements apart. */
    void forward_at(const stream &s, std::int64_t rows, const void *x, std::int64_t ldx, void *y, std::int64_t ldy,
                    std::uint64_t call, std::uint32_t flags) const
    {
        detail::check(relora_linear_forward_at(get(), s.get(), rows, x, ldx, y, ldy, call, flags), s.get());
    }
    void backward_at(const stream &s, std::int64_t rows, const void *x, std::int64_t ldx, const void *dy,
                     std::int64_t lddy, void *dx, std::int64_t lddx, std::uint64_t call, std::uint32_t flags) const
    {
        detail::check(relora_linear_backward_at(get(), s.get(), rows, x, ldx, dy, lddy, dx, lddx, call, flags),
                      s.get());
    }
    /** dw (+)= dy^T x, also for a frozen W. */
    void weight_grad(const stream &s, const tensor &x, const tensor &dy, const tensor &dw, std::uint32_t flags) const
    {
        detail::check(relora_linear_weight_grad(get(), s.get(), x.get(), dy.get(), dw.get(), flags), s.get());
    }
    /** Memory of the program as a parameter, or as a gradient. */
    void set_param(relora_param param, const tensor &t) const { ok(relora_linear_set_param(get(), param, t.get())); }
    void set_grad(relora_param param, const tensor &t) const { ok(relora_linear_set_grad(get(), param, t.get())); }
    /** What a LOWRANK layer is merged into. A callback is used with `user` as long as the layer lives. */
    void set_target(const tensor &weight) const { ok(relora_linear_set_target(get(), weight.get(), nullptr, nullptr)); }
    void set_target(relora_merge_fn merger, void *user) const
    {
        ok(relora_linear_set_target(get(), nullptr, merger, user));
    }
    relora_merge_report merge(const stream &s, std::uint64_t cycle) const
    {
        auto r = report<relora_merge_report>();
        detail::check(relora_linear_merge(get(), s.get(), cycle, &r), s.get());
        return r;
    }
    /** One step of the frozen W against its orthogonalised gradient; `grad` is overwritten. */
    relora_full_rank_report full_rank_step(const stream &s, const tensor &grad, double lr, std::uint64_t step) const
    {
        auto r = report<relora_full_rank_report>();
        detail::check(relora_linear_full_rank_step(get(), s.get(), grad.get(), lr, step, &r), s.get());
        return r;
    }
    void reset(const stream &s, std::uint64_t cycle) const
    {
        detail::check(relora_linear_reset(get(), s.get(), cycle), s.get());
    }

private:
    linear() = default;
    static void same_number(std::size_t a, std::size_t b)
    {
        if (a != b) throw error(RELORA_E_ARGUMENT, "relora::linear: as many tensors as layers are needed");
    }
};

/** The layers and other parameters of a model, each with its own name. */
class group : public detail::object<relora_group> {
public:
    explicit group(const device &d)
    {
        make(d.ctx(), [&](auto out) { return relora_group_create(out, d.get()); });
    }
    /** Make a layer over a weight of the host and add it. What is returned lives as long as the group. */
    linear wrap(const std::string &name, const tensor &weight, const tensor &bias, const relora_linear_options &o) const
    {
        relora_linear *l = nullptr;
        ok(relora_group_wrap(get(), name.c_str(), weight.get(), bias.get(), &o, &l));
        return linear::lent(l, ctx());
    }
    void add(const std::string &name, const linear &l) const { ok(relora_group_add_linear(get(), name.c_str(), l.get())); }
    /** A parameter of no layer; without a gradient it is only saved and read. */
    void add(const std::string &name, const tensor &param, const tensor &grad) const
    {
        ok(relora_group_add_param(get(), name.c_str(), param.get(), grad.get()));
    }
    std::int32_t count() const { return relora_group_count(get()); }
    std::int32_t find(const std::string &name) const
    {
        std::int32_t index = -1;
        ok(relora_group_find(get(), name.c_str(), &index));
        return index;
    }
    std::string_view name(std::int32_t index) const { return detail::view(relora_group_name(get(), index)); }
    /** Lives as long as the group; empty if the member is not a layer. */
    linear layer(std::int32_t index) const { return linear::lent(relora_group_linear(get(), index), ctx()); }
    tensor value(std::int32_t index) const { return tensor::retained(relora_group_value(get(), index), ctx()); }
    tensor grad(std::int32_t index) const { return tensor::retained(relora_group_grad(get(), index), ctx()); }
    void set_mode(const stream &s, relora_linear_mode mode) const
    {
        detail::check(relora_group_set_mode(get(), s.get(), mode), s.get());
    }
    relora_merge_report merge(const stream &s, std::uint64_t cycle) const
    {
        auto r = report<relora_merge_report>();
        detail::check(relora_group_merge(get(), s.get(), cycle, &r), s.get());
        return r;
    }
    void reset(const stream &s, std::uint64_t cycle) const
    {
        detail::check(relora_group_reset(get(), s.get(), cycle), s.get());
    }
    void zero_grad(const stream &s) const { detail::check(relora_group_zero_grad(get(), s.get()), s.get()); }
};

class adam : public detail::object<relora_adam> {
public:
    explicit adam(const device &d, const relora_adam_options &options = defaults<relora_adam_options>())
    {
        make(d.ctx(), [&](auto out) { return relora_adam_create(out, d.get(), &options); });
    }
    std::int32_t add(const std::string &name, const tensor &param, const tensor &grad) const
    {
        std::int32_t index = -1;
        ok(relora_adam_add(get(), name.c_str(), param.get(), grad.get(), &index));
        return index;
    }
    /** With moments of the program. */
    std::int32_t add(const std::string &name, const tensor &param, const tensor &grad, const tensor &first,
                     const tensor &second) const
    {
        std::int32_t index = -1;
        ok(relora_adam_add_moments(get(), name.c_str(), param.get(), grad.get(), first.get(), second.get(), &index));
        return index;
    }
    void set_moments(std::int32_t index, const tensor &first, const tensor &second) const
    {
        ok(relora_adam_set_moments(get(), index, first.get(), second.get()));
    }
    void add(const std::string &prefix, const linear &layer) const
    {
        ok(relora_adam_add_linear(get(), prefix.c_str(), layer.get()));
    }
    void add(const group &g) const { ok(relora_adam_add_group(get(), g.get())); }
    void set_factors(std::int32_t index, double lr_factor, double weight_decay) const
    {
        ok(relora_adam_set_factors(get(), index, lr_factor, weight_decay));
    }
    void flatten_grads(const stream &s) const { detail::check(relora_adam_flatten_grads(get(), s.get()), s.get()); }
    tensor flat_grad() const { return tensor::retained(relora_adam_flat_grad(get()), ctx()); }
    void zero_grad(const stream &s) const { detail::check(relora_adam_zero_grad(get(), s.get()), s.get()); }

    void step(const stream &s, double lr, double grad_scale = 1) const
    {
        detail::check(relora_adam_step(get(), s.get(), lr, grad_scale, nullptr), s.get());
    }
    /** The same with a report, which waits for the stream. */
    relora_step_report step_reported(const stream &s, double lr, double grad_scale = 1) const
    {
        auto r = report<relora_step_report>();
        detail::check(relora_adam_step(get(), s.get(), lr, grad_scale, &r), s.get());
        return r;
    }
    /** The learning rate is read on the device. */
    void step(const stream &s, const tensor &lr, double grad_scale = 1) const
    {
        detail::check(relora_adam_step_lr(get(), s.get(), lr.get(), grad_scale, nullptr), s.get());
    }
    double grad_norm(const stream &s) const
    {
        double norm = 0;
        detail::check(relora_adam_grad_norm(get(), s.get(), &norm), s.get());
        return norm;
    }
    /** No index means every A and B that came with a layer. */
    relora_reset_report reset(const stream &s, const relora_reset_options &options,
                              span<const std::int32_t> indices = {}) const
    {
        auto r = report<relora_reset_report>();
        detail::check(relora_adam_reset(get(), s.get(), indices.size() ? indices.data() : nullptr,
                                        static_cast<std::int32_t>(indices.size()), &options, &r),
                      s.get());
        return r;
    }

    /** Moments of parameters with the same names; no index means all of them. Returns how many. */
    std::int32_t carry(const stream &s, const adam &from, span<const std::int32_t> indices = {}) const
    {
        std::int32_t carried = 0;
        detail::check(relora_adam_carry(get(), s.get(), from.get(), indices.size() ? indices.data() : nullptr,
                                        static_cast<std::int32_t>(indices.size()), &carried),
                      s.get());
        return carried;
    }

    std::int32_t count() const { return relora_adam_count(get()); }
    std::string_view name(std::int32_t index) const { return detail::view(relora_adam_name(get(), index)); }
    std::int32_t find(const std::string &name) const
    {
        std::int32_t index = -1;
        ok(relora_adam_find(get(), name.c_str(), &index));
        return index;
    }
    tensor moment(std::int32_t index, relora_moment which) const
    {
        return tensor::retained(relora_adam_moment(get(), index, which), ctx());
    }
    std::int64_t steps(const stream &s, std::int32_t index) const
    {
        std::int64_t n = 0;
        detail::check(relora_adam_steps(get(), s.get(), index, &n), s.get());
        return n;
    }
    void set_steps(const stream &s, std::int32_t index, std::int64_t n) const
    {
        detail::check(relora_adam_set_steps(get(), s.get(), index, n), s.get());
    }
    /** Follow layers that have changed; indices may change too. */
    void refresh(const stream &s) const { detail::check(relora_adam_refresh(get(), s.get()), s.get()); }
};

class schedule : public detail::object<relora_schedule> {
public:
    schedule(const context &c, const relora_schedule_options &options)
    {
        make(c.get(), [&](auto out) { return relora_schedule_create(out, c.get(), &options); });
    }
    double lr(std::int64_t step) const
    {
        double lr = 0;
        ok(relora_schedule_lr(get(), step, &lr));
        return lr;
    }
    void follow(relora_cycle_options &o) const { ok(relora_cycle_options_follow(&o, get())); }
    std::int64_t next_restart(std::int64_t step) const
    {
        std::int64_t next = -1;
        ok(relora_schedule_next_restart(get(), step, &next));
        return next;
    }
};

/** Options of a cycle whose restarts are those of a schedule. */
inline relora_cycle_options follow(const schedule &s)
{
    auto o = defaults<relora_cycle_options>();
    s.follow(o);
    return o;
}

/** What relora::cycle::advance() did. */
struct restart {
    std::uint32_t events;
    relora_merge_report merge;
    relora_reset_report reset;
};

using cycle_hook = std::function<void(std::int64_t, std::uint32_t)>;

class cycle : public detail::object<relora_cycle> {
public:
    /** The hooks of the options are those given here. What one throws comes out of advance() or finish(), once
     *  the work is done. */
    cycle(const context &c, relora_cycle_options options, const adam *optimizer = nullptr,
          const relora_reset_options *reset = nullptr, cycle_hook before = nullptr, cycle_hook after = nullptr)
        : hooks_(std::make_unique<hooks>(hooks{std::move(before), std::move(after), nullptr}))
    {
        options.before = [](void *user, std::int64_t step, std::uint32_t events) {
            auto h = static_cast<hooks *>(user);
            h->run(h->before, step, events);
        };
        options.after = [](void *user, std::int64_t step, std::uint32_t events) {
            auto h = static_cast<hooks *>(user);
            h->run(h->after, step, events);
        };
        options.hook_user = hooks_.get();
        make(c.get(), [&](auto out) {
            return relora_cycle_create(out, c.get(), &options, optimizer ? optimizer->get() : nullptr, reset);
        });
    }
    void add(const linear &layer) const { ok(relora_cycle_add(get(), layer.get())); }
    void add(const group &g) const { ok(relora_cycle_add_group(get(), g.get())); }
    std::uint32_t due(std::int64_t step) const
    {
        std::uint32_t events = 0;
        ok(relora_cycle_due(get(), step, &events));
        return events;
    }
    restart advance(const stream &s, std::int64_t step) const
    {
        restart r{0, report<relora_merge_report>(), report<relora_reset_report>()};
        relora_status status = relora_cycle_advance(get(), s.get(), step, &r.events, &r.merge, &r.reset);
        hooks_->rethrow();
        detail::check(status, s.get());
        return r;
    }
    relora_merge_report finish(const stream &s, std::int64_t step) const
    {
        auto r = report<relora_merge_report>();
        relora_status status = relora_cycle_finish(get(), s.get(), step, &r);
        hooks_->rethrow();
        detail::check(status, s.get());
        return r;
    }

private:
    struct hooks {
        cycle_hook before, after;
        std::exception_ptr thrown;
        void run(const cycle_hook &hook, std::int64_t step, std::uint32_t events)
        {
            try {
                if (hook) hook(step, events);
            } catch (...) {
                thrown = std::current_exception();
            }
        }
        void rethrow()
        {
            if (thrown) std::rethrow_exception(std::exchange(thrown, nullptr));
        }
    };
    std::unique_ptr<hooks> hooks_;
};

class writer : public detail::object<relora_writer> {
public:
    explicit writer(const context &c)
    {
        make(c.get(), [&](auto out) { return relora_writer_create(out, c.get()); });
    }
    void add(const std::string &name, const tensor &t) const { ok(relora_writer_add(get(), name.c_str(), t.get())); }
    /** `bytes` must live until the writer is released; `dtype` is the format's name, "I64". */
    void add_bytes(const std::string &name, const char *dtype, const shape &dims, span<const unsigned char> bytes) const
    {
        ok(relora_writer_add_bytes(get(), name.c_str(), dtype, dims.ndim(), dims.data(),
                                   bytes.data(), bytes.size()));
    }
    void set_metadata(const std::string &key, const std::string &value) const
    {
        ok(relora_writer_set_metadata(get(), key.c_str(), value.c_str()));
    }
    void save(const stream &s, const std::string &path, std::uint32_t flags = 0) const
    {
        detail::check(relora_writer_save(get(), s.get(), path.c_str(), flags), s.get());
    }
};

class reader : public detail::object<relora_reader> {
public:
    reader(const context &c, const std::string &path)
    {
        make(c.get(), [&](auto out) { return relora_reader_open(out, c.get(), path.c_str()); });
    }
    /** Nothing for a file that does not exist. */
    static std::optional<reader> if_there(const context &c, const std::string &path)
    {
        reader r;
        r.make(c.get(), [&](auto out) { return relora_reader_open_if_there(out, c.get(), path.c_str()); });
        if (!r) return std::nullopt;
        return r;
    }
    /** Over bytes that must outlive the reader. */
    reader(const context &c, span<const unsigned char> bytes)
    {
        make(c.get(), [&](auto out) { return relora_reader_open_memory(out, c.get(), bytes.data(), bytes.size()); });
    }
    std::int32_t count() const { return relora_reader_count(get()); }
    std::string_view name(std::int32_t index) const { return detail::view(relora_reader_name(get(), index)); }
    std::string_view dtype(const std::string &name) const { return detail::view(relora_reader_dtype(get(), name.c_str())); }
    std::vector<std::int64_t> dims(const std::string &name) const
    {
        std::int32_t n = 0;
        ok(relora_reader_shape(get(), name.c_str(), &n, nullptr, 0));
        std::vector<std::int64_t> dims(static_cast<std::size_t>(n));
        ok(relora_reader_shape(get(), name.c_str(), &n, dims.data(), n));
        return dims;
    }
    span<const unsigned char> bytes(const std::string &name) const
    {
        const void *data = nullptr;
        std::size_t size = 0;
        ok(relora_reader_bytes(get(), name.c_str(), &data, &size));
        return {static_cast<const unsigned char *>(data), size};
    }
    std::int32_t metadata_count() const { return relora_reader_metadata_count(get()); }
    std::string_view metadata_key(std::int32_t index) const
    {
        return detail::view(relora_reader_metadata_key(get(), index));
    }
    std::string_view metadata(const std::string &key) const
    {
        return detail::view(relora_reader_metadata(get(), key.c_str()));
    }
    void read(const stream &s, const std::string &name, const tensor &target, std::uint32_t flags = 0) const
    {
        detail::check(relora_reader_read(get(), s.get(), name.c_str(), target.get(), flags), s.get());
    }
    /** The weights of a model by their names. */
    relora_read_report read(const stream &s, const group &g, std::uint32_t flags = 0) const
    {
        auto r = report<relora_read_report>();
        detail::check(relora_reader_read_group(get(), s.get(), g.get(), flags, &r), s.get());
        return r;
    }
    void verify() const { ok(relora_reader_verify(get())); }

private:
    reader() = default;
};

class state : public detail::object<relora_state> {
public:
    explicit state(const context &c)
    {
        make(c.get(), [&](auto out) { return relora_state_create(out, c.get()); });
    }
    void add(const std::string &name, const tensor &t) const { ok(relora_state_add_tensor(get(), name.c_str(), t.get())); }
    void add(const std::string &prefix, const linear &l) const { ok(relora_state_add_linear(get(), prefix.c_str(), l.get())); }
    void add(const group &g) const { ok(relora_state_add_group(get(), g.get())); }
    void add(const std::string &prefix, const adam &a) const { ok(relora_state_add_adam(get(), prefix.c_str(), a.get())); }
    void add(const std::string &prefix, const schedule &c) const
    {
        ok(relora_state_add_schedule(get(), prefix.c_str(), c.get()));
    }
    void add(const std::string &prefix, const cycle &c) const { ok(relora_state_add_cycle(get(), prefix.c_str(), c.get())); }
    /** Bytes that are saved from, and restored to, where they are; they must live as long as the state. */
    void add_bytes(const std::string &name, span<unsigned char> bytes) const
    {
        ok(relora_state_add_bytes(get(), name.c_str(), bytes.data(), bytes.size()));
    }
    void set(const std::string &key, const std::string &value) const
    {
        ok(relora_state_set(get(), key.c_str(), value.c_str()));
    }
    void save(const stream &s, const std::string &path, std::uint32_t flags = 0) const
    {
        detail::check(relora_state_save(get(), s.get(), path.c_str(), flags), s.get());
    }
    void load(const stream &s, const reader &from) const
    {
        detail::check(relora_state_load(get(), s.get(), from.get()), s.get());
    }
    /** How exports write the weights of layers. */
    void set_export_layout(relora_layout layout) const { ok(relora_state_set_export_layout(get(), layout)); }
    void export_merged(const stream &s, const std::string &path) const
    {
        detail::check(relora_state_export_merged(get(), s.get(), path.c_str()), s.get());
    }
    void export_adapter(const stream &s, const std::string &folder, const std::string &base_model = "") const
    {
        detail::check(relora_state_export_adapter(get(), s.get(), folder.c_str(), base_model.c_str()), s.get());
    }
    void export_delta(const stream &s, const std::string &path) const
    {
        detail::check(relora_state_export_delta(get(), s.get(), path.c_str()), s.get());
    }
};

} // namespace relora

#endif
