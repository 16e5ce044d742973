/* Copies and memset. Pageable memory of the host is read at the call, after a wait for the stream if it is much; pinned
 * memory, and all of it where a device can touch pageable memory, when the copy runs. Memory of the host is written
 * when the copy runs. In a graph everything is read when the graph runs. */
#include <cstring>

#include "internal.h"

namespace emulated {
namespace {

const size_t MOST_STAGED = 64 << 10; /* of pageable memory, without a wait for the stream */

struct piece { /* of a copy: rows of `bytes` bytes */
    unsigned char *to;
    const unsigned char *from;
    size_t bytes, rows, to_pitch, from_pitch;
    bool to_device, from_device;
};

bool known_kind(cudaMemcpyKind kind, const piece &p)
{
    if (kind == cudaMemcpyDefault) return true;
    return p.to_device == (kind == cudaMemcpyHostToDevice || kind == cudaMemcpyDeviceToDevice) &&
           p.from_device == (kind == cudaMemcpyDeviceToHost || kind == cudaMemcpyDeviceToDevice);
}

void do_copy(const piece &p)
{
    open_memory open(-1);
    for (size_t i = 0; i < p.rows; i++) {
        unsigned char *to = p.to + i * p.to_pitch;
        const unsigned char *from = p.from + i * p.from_pitch;
        if (p.to_device) must_be_usable(to, p.bytes, -1, "a copy");
        if (p.from_device) must_be_usable(from, p.bytes, -1, "a copy");
        if (to < from + p.bytes && from < to + p.bytes) die("a copy between regions that overlap");
        memcpy(to, from, p.bytes);
    }
}

/* A copy whose source is what it was at the call. */
std::function<void()> from_snapshot(piece p)
{
    auto held = std::make_shared<std::vector<unsigned char>>(p.rows * p.bytes);
    for (size_t i = 0; i < p.rows; i++) memcpy(held->data() + i * p.bytes, p.from + i * p.from_pitch, p.bytes);
    p.from_pitch = p.bytes;
    return [p, held]() mutable {
        p.from = held->data();
        do_copy(p);
    };
}

cudaError_t copy(piece p, cudaMemcpyKind kind, cudaStream_t stream)
{
    CUstream_st *s = find_stream(stream);
    if (!s) return failed(cudaErrorInvalidResourceHandle);
    if (!p.bytes || !p.rows) return cudaSuccess;
    if (!p.to || !p.from) return failed(cudaErrorInvalidValue);
    p.to_device = is_device_address(p.to);
    p.from_device = is_device_address(p.from);
    if ((unsigned)kind > cudaMemcpyDefault) return failed(cudaErrorInvalidMemcpyDirection);
    if (!known_kind(kind, p)) return failed(cudaErrorInvalidValue);
    bool pageable = !is_pinned(p.from) && !is_pinned(p.to) && p.from_device != p.to_device && !is_capturing(s);
    if (pageable && p.bytes * p.rows > MOST_STAGED) run_until(s->last);
    bool at_once = pageable && p.to_device && !pageable_is_accessible();
    return enqueue(stream, "a copy", at_once ? from_snapshot(p) : [p] { do_copy(p); });
}

cudaError_t wait_for_legacy()
{
    run_until(find_stream(nullptr)->last);
    return failed(cudaSuccess);
}

} // namespace
} // namespace emulated

using namespace emulated;

cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t bytes, cudaMemcpyKind kind, cudaStream_t stream)
{
    EMULATED_CALL();
    return copy({(unsigned char *)to, (const unsigned char *)from, bytes, 1, bytes, bytes, false, false}, kind, stream);
}

cudaError_t cudaMemcpy2DAsync(void *to, size_t to_pitch, const void *from, size_t from_pitch, size_t width,
                              size_t height, cudaMemcpyKind kind, cudaStream_t stream)
{
    EMULATED_CALL();
    if (width > to_pitch || width > from_pitch) return failed(cudaErrorInvalidPitchValue);
    return copy({(unsigned char *)to, (const unsigned char *)from, width, height, to_pitch, from_pitch, false, false},
                kind, stream);
}

cudaError_t cudaMemcpy(void *to, const void *from, size_t bytes, cudaMemcpyKind kind)
{
    EMULATED_CALL();
    if (cudaError_t error = unsafe_in_capture()) return failed(error);
    cudaError_t error = copy({(unsigned char *)to, (const unsigned char *)from, bytes, 1, bytes, bytes, false, false},
                             kind, nullptr);
    return error != cudaSuccess ? error : wait_for_legacy();
}

cudaError_t cudaMemsetAsync(void *ptr, int value, size_t bytes, cudaStream_t stream)
{
    EMULATED_CALL();
    if (!bytes) return cudaSuccess;
    if (!is_device_address(ptr) && !is_pinned(ptr)) return failed(cudaErrorInvalidValue);
    return enqueue(stream, "a memset", [=] {
        open_memory open(-1);
        if (is_device_address(ptr)) must_be_usable(ptr, bytes, -1, "a memset");
        memset(ptr, value, bytes);
    });
}

cudaError_t cudaMemset(void *ptr, int value, size_t bytes)
{
    EMULATED_CALL();
    if (cudaError_t error = unsafe_in_capture()) return failed(error);
    cudaError_t error = cudaMemsetAsync(ptr, value, bytes, nullptr);
    return error != cudaSuccess ? error : wait_for_legacy();
}

void emulated_cuda_peek(void *to, const void *ptr, size_t bytes)
{
    std::lock_guard<std::recursive_mutex> held(lock);
    open_memory open(-1);
    must_be_usable(ptr, bytes, -1, "emulated_cuda_peek");
    memcpy(to, ptr, bytes);
}
