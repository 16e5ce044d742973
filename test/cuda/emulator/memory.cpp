/* Device memory: one range of addresses for each device, which the host can touch only while the emulator
 * runs something. Every allocation is filled with NaNs, has red zones around it, and is poisoned at its end. */
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstdio>
#include <cstring>
#include <deque>

#include "internal.h"

namespace emulated {
namespace {

enum { PATTERN = 2 << 20, LARGE = 8 << 20, WATCHED = 256 << 10 }; /* PATTERN: a large page, which stays whole */
enum { ALIGNMENT = 512, RED_ZONE = 256, FRESH = 0xFF, RED = 0xA5, POISON = 0xFB };
const size_t ARENA = (size_t)64 << 30;       /* of addresses, for each device */
const size_t MOST_REMEMBERED = (size_t)8 << 20; /* of freed memory that is watched for writes */

struct device {
    uintptr_t start = 0, top = 0; /* up to `top` it has been handed out */
    std::map<uintptr_t, allocation> allocations;
    std::deque<allocation> freed; /* not to be handed out yet; announced ones of streams included */
    std::map<uintptr_t, size_t> gaps;
    size_t used = 0, remembered = 0;
} d[MOST_DEVICES];

std::map<uintptr_t, size_t> pinned;
size_t limit = (size_t)1 << 30;
unsigned open_now; /* a bit for each device */

/* In steps of PATTERN, so that large pages stay whole: then it is fast. */
void protect(unsigned which, int protection)
{
    for (int i = 0; i < MOST_DEVICES; i++)
        if (which >> i & 1u && d[i].top > d[i].start) {
            size_t bytes = (d[i].top - d[i].start + PATTERN - 1) / PATTERN * PATTERN;
            mprotect(reinterpret_cast<void *>(d[i].start), bytes, protection);
        }
}

struct sigaction before_us;

/* The host touched device memory, most likely: say so before it ends as it would have. */
void on_fault(int, siginfo_t *info, void *)
{
    if (is_device_address(info->si_addr)) {
        char text[120];
        int n = snprintf(text, sizeof text, "emulated CUDA: %s touched %s memory at %p\n",
                         in_kernel() ? "a kernel" : "the host", in_kernel() ? "another device's" : "device",
                         info->si_addr);
        if (write(2, text, (size_t)n) < 0) return;
    }
    sigaction(SIGSEGV, &before_us, nullptr);
}

/* The low halves of addresses are large numbers, so that a small one beside rubbish is not taken for one. */
void prepare(device &dev)
{
    if (dev.start) return;
    const uintptr_t four = (uintptr_t)4 << 30, offset = 0x5A600000;
    void *range = mmap(nullptr, ARENA + 2 * four, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (range == MAP_FAILED) die("no addresses for device memory");
    dev.start = dev.top = (reinterpret_cast<uintptr_t>(range) + four - 1) / four * four + offset;
    madvise(reinterpret_cast<void *>(dev.start), ARENA, MADV_HUGEPAGE);
    struct sigaction now = {};
    now.sa_sigaction = on_fault;
    now.sa_flags = SA_SIGINFO;
    static bool listening;
    if (!listening) sigaction(SIGSEGV, &now, &before_us);
    listening = true;
}

size_t room_for(size_t bytes)
{
    return (bytes + 2 * RED_ZONE + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
}

/* An allocation starts RED_ZONE after a multiple of ALIGNMENT less RED_ZONE, so at a multiple of ALIGNMENT. */
uintptr_t take_range(device &dev, size_t bytes)
{
    size_t room = room_for(bytes);
    for (auto gap = dev.gaps.begin(); gap != dev.gaps.end(); ++gap) {
        if (gap->second < room) continue;
        uintptr_t start = gap->first;
        size_t rest = gap->second - room;
        dev.gaps.erase(gap);
        if (rest) dev.gaps[start + room] = rest;
        return start + RED_ZONE;
    }
    uintptr_t start = dev.top == dev.start ? dev.top + ALIGNMENT - RED_ZONE : dev.top;
    if (start + room > dev.start + ARENA) die("no addresses left for device memory");
    dev.top = start + room;
    if (open_now) protect(open_now, PROT_READ | PROT_WRITE);
    return start + RED_ZONE;
}

void give_range(device &dev, const allocation &a)
{
    uintptr_t start = a.start - RED_ZONE;
    size_t room = room_for(a.bytes);
    auto after = dev.gaps.lower_bound(start);
    if (after != dev.gaps.end() && after->first == start + room) {
        room += after->second;
        after = dev.gaps.erase(after);
    }
    if (after != dev.gaps.begin()) {
        auto before = std::prev(after);
        if (before->first + before->second == start) {
            before->second += room;
            return;
        }
    }
    dev.gaps[start] = room;
}

bool all_are(uintptr_t start, size_t bytes, unsigned char value)
{
    const unsigned char *p = reinterpret_cast<const unsigned char *>(start);
    return !bytes || (p[0] == value && memcmp(p, p + 1, bytes - 1) == 0);
}

/* A file of pages that all hold `value`. */
int pattern(int value)
{
    static std::map<int, int> files;
    auto found = files.find(value);
    if (found != files.end()) return found->second;
    int file = memfd_create("emulated device memory", MFD_CLOEXEC);
    std::vector<unsigned char> bytes(PATTERN, (unsigned char)value);
    if (file >= 0 && pwrite(file, bytes.data(), PATTERN, 0) != PATTERN) file = -1;
    return files[value] = file;
}

/* Maps `file`, or fresh memory if it is -1, over the whole large pages of a piece: from `first` to `last`. */
void map_inside(uintptr_t start, size_t bytes, int file, uintptr_t *first, uintptr_t *last)
{
    *first = (start + PATTERN - 1) / PATTERN * PATTERN;
    *last = (start + bytes) / PATTERN * PATTERN;
    int flags = MAP_PRIVATE | MAP_FIXED | MAP_NORESERVE | (file < 0 ? MAP_ANONYMOUS : 0);
    for (uintptr_t p = *first; p < *last; p += PATTERN)
        if (mmap(reinterpret_cast<void *>(p), PATTERN, PROT_READ | PROT_WRITE, flags, file, 0) == MAP_FAILED)
            die("no memory for the device's");
    if (file < 0) madvise(reinterpret_cast<void *>(*first), *last - *first, MADV_HUGEPAGE);
}

/* Large pieces cost no memory until they are written to. */
void fill(uintptr_t start, size_t bytes, int value)
{
    uintptr_t first = start, last = start;
    int file = bytes > LARGE ? pattern(value) : -1;
    if (file >= 0) map_inside(start, bytes, file, &first, &last);
    memset(reinterpret_cast<void *>(start), value, first - start);
    memset(reinterpret_cast<void *>(last), value, start + bytes - last);
}

size_t gap_after(const allocation &a) { return room_for(a.bytes) - RED_ZONE - a.bytes; }

/* From here on its contents count. */
void begin(allocation &a)
{
    open_memory open(a.device);
    fill(a.start - RED_ZONE, RED_ZONE, RED);
    fill(a.start, a.bytes, FRESH);
    fill(a.start + a.bytes, gap_after(a), RED);
    a.now = state::live;
}

void check_one(const allocation &a, const char *after)
{
    if (!all_are(a.start - RED_ZONE, RED_ZONE, RED))
        die("%s wrote before an allocation of %zu bytes", after, a.bytes);
    if (!all_are(a.start + a.bytes, gap_after(a), RED))
        die("%s wrote behind an allocation of %zu bytes", after, a.bytes);
}

/* The fewer pages there are, the faster they are protected. */
void drop_pages(const allocation &a)
{
    uintptr_t first, last;
    if (a.bytes > LARGE) map_inside(a.start, a.bytes, -1, &first, &last);
}

/* Its addresses are not given away at once, so that late writes show. */
void finish(uintptr_t start, int number)
{
    device &dev = d[number];
    open_memory open(number);
    auto found = dev.allocations.find(start);
    allocation a = found->second;
    check_one(a, "something");
    fill(a.start, a.bytes, POISON);
    a.now = state::freed;
    dev.allocations.erase(found);
    dev.used -= a.bytes;
    if (a.pool) a.pool->used -= a.bytes;
    dev.remembered += a.bytes;
    dev.freed.push_back(a);
    while (dev.remembered > MOST_REMEMBERED) {
        allocation &old = dev.freed.front();
        if (!all_are(old.start, std::min<size_t>(old.bytes, WATCHED), POISON))
            die("something wrote to memory that had been freed");
        dev.remembered -= old.bytes;
        drop_pages(old);
        give_range(dev, old);
        dev.freed.pop_front();
    }
}

cudaError_t take(void **out, size_t bytes, int number, state now, CUmemPoolHandle_st *pool)
{
    device &dev = d[number];
    prepare(dev);
    *out = nullptr;
    if (!bytes) return cudaSuccess;
    if (bytes > limit - std::min(limit, dev.used)) run_everything(number); /* frees that are queued */
    if (bytes > limit - std::min(limit, dev.used)) return failed(cudaErrorMemoryAllocation);
    allocation a = {take_range(dev, bytes), bytes, number, now, now == state::announced, pool};
    dev.used += bytes;
    if (pool) pool->used += bytes;
    dev.allocations[a.start] = a;
    if (now == state::live) begin(dev.allocations[a.start]);
    *out = reinterpret_cast<void *>(a.start);
    return cudaSuccess;
}

} // namespace

static void open_exactly(unsigned which)
{
    if (which & ~open_now) protect(which & ~open_now, PROT_READ | PROT_WRITE);
    if (open_now & ~which) protect(open_now & ~which, PROT_NONE);
    open_now = which;
}

open_memory::open_memory(int device) : before(open_now)
{
    open_exactly(device < 0 ? (1u << MOST_DEVICES) - 1 : 1u << device);
}

open_memory::~open_memory() { open_exactly(before); }

bool is_device_address(const void *ptr)
{
    uintptr_t p = reinterpret_cast<uintptr_t>(ptr);
    for (const device &dev : d)
        if (p >= dev.start && p < dev.top) return true;
    return false;
}

/* The one that `ptr` is in, or in the red zones of; also one just freed. */
allocation *find_allocation(const void *ptr)
{
    uintptr_t p = reinterpret_cast<uintptr_t>(ptr);
    for (device &dev : d) {
        if (!dev.start || p - dev.start >= ARENA) continue;
        auto after = dev.allocations.upper_bound(p + RED_ZONE);
        if (after != dev.allocations.begin()) {
            allocation &a = std::prev(after)->second;
            if (p - (a.start - RED_ZONE) < room_for(a.bytes)) return &a;
        }
        for (allocation &a : dev.freed)
            if (p - (a.start - RED_ZONE) < room_for(a.bytes)) return &a;
    }
    return nullptr;
}

bool is_pinned(const void *ptr)
{
    uintptr_t p = reinterpret_cast<uintptr_t>(ptr);
    auto after = pinned.upper_bound(p);
    return after != pinned.begin() && p - std::prev(after)->first < std::prev(after)->second;
}

void must_be_usable(const void *ptr, size_t bytes, int number, const char *what)
{
    allocation *a = find_allocation(ptr);
    if (!a) die("%s uses %p, which is no memory of a device", what, ptr);
    if (a->now == state::announced) die("%s uses memory before its allocation's turn in its stream", what);
    if (a->now == state::freed) die("%s uses %p, which has been freed", what, ptr);
    if (number >= 0 && a->device != number) die("%s on device %d uses memory of device %d", what, number, a->device);
    uintptr_t p = reinterpret_cast<uintptr_t>(ptr);
    if (p < a->start || p - a->start > a->bytes || bytes > a->bytes - (p - a->start))
        die("%s uses bytes %td to %td of an allocation of %zu", what, (ptrdiff_t)(p - a->start),
            (ptrdiff_t)(p - a->start + bytes), a->bytes);
}

void check_red_zones(int number, const char *after)
{
    open_memory open(number);
    for (auto &entry : d[number].allocations)
        if (entry.second.now == state::live) check_one(entry.second, after);
}

size_t used_memory(int number) { return d[number].used; }

int memory_objects()
{
    size_t count = pinned.size();
    for (device &dev : d) count += dev.allocations.size();
    return (int)count;
}

void forget_memory()
{
    for (device &dev : d) {
        if (dev.start) mmap(reinterpret_cast<void *>(dev.start), dev.top - dev.start, PROT_NONE,
                            MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0); /* old pointers fault */
        dev = device();
    }
    pinned.clear();
    open_now = 0;
}

size_t memory_limit() { return limit; }
void set_memory_limit(size_t bytes) { limit = bytes; }

} // namespace emulated

using namespace emulated;

cudaError_t cudaMalloc(void **ptr, size_t bytes)
{
    EMULATED_CALL();
    if (cudaError_t error = unsafe_in_capture()) return failed(error);
    if (!ptr) return failed(cudaErrorInvalidValue);
    return take(ptr, bytes, current_device(), state::live, nullptr);
}

cudaError_t cudaFree(void *ptr)
{
    EMULATED_CALL();
    if (!ptr) return cudaSuccess;
    if (cudaError_t error = unsafe_in_capture()) return failed(error);
    allocation *a = find_allocation(ptr);
    if (!a || a->now == state::freed || a->start != reinterpret_cast<uintptr_t>(ptr))
        return failed(cudaErrorInvalidValue);
    int number = a->device;
    run_everything(number);
    if (!find_allocation(ptr) || find_allocation(ptr)->now != state::live) die("cudaFree after cudaFreeAsync");
    finish(reinterpret_cast<uintptr_t>(ptr), number);
    return cudaSuccess;
}

cudaError_t cudaMallocHost(void **ptr, size_t bytes)
{
    EMULATED_CALL();
    if (cudaError_t error = unsafe_in_capture()) return failed(error);
    if (!ptr) return failed(cudaErrorInvalidValue);
    void *memory = bytes ? mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) : nullptr;
    if (memory == MAP_FAILED) return failed(cudaErrorMemoryAllocation);
    if (bytes) {
        memset(memory, FRESH, bytes);
        pinned[reinterpret_cast<uintptr_t>(memory)] = bytes;
    }
    *ptr = memory;
    return cudaSuccess;
}

cudaError_t cudaFreeHost(void *ptr)
{
    EMULATED_CALL();
    if (!ptr) return cudaSuccess;
    if (cudaError_t error = unsafe_in_capture()) return failed(error);
    auto found = pinned.find(reinterpret_cast<uintptr_t>(ptr));
    if (found == pinned.end()) return failed(cudaErrorInvalidValue);
    for (int i = 0; i < devices(); i++) run_everything(i);
    munmap(ptr, found->second);
    pinned.erase(found);
    return cudaSuccess;
}

static cudaError_t take_ordered(void **ptr, size_t bytes, int number, CUmemPoolHandle_st *pool, cudaStream_t stream)
{
    CUstream_st *s = find_stream(stream);
    if (!ptr) return failed(cudaErrorInvalidValue);
    if (!s || s->device != number) return failed(cudaErrorInvalidResourceHandle);
    if (is_capturing(s)) return spoil(s, cudaErrorStreamCaptureUnsupported);
    cudaError_t error = take(ptr, bytes, number, state::announced, pool);
    if (error != cudaSuccess || !*ptr) return error;
    uintptr_t start = reinterpret_cast<uintptr_t>(*ptr);
    return enqueue(stream, "an allocation", [=] { begin(d[number].allocations.at(start)); });
}

cudaError_t cudaMallocAsync(void **ptr, size_t bytes, cudaStream_t stream)
{
    EMULATED_CALL();
    return take_ordered(ptr, bytes, device_of(stream), nullptr, stream);
}

cudaError_t cudaMallocFromPoolAsync(void **ptr, size_t bytes, cudaMemPool_t pool, cudaStream_t stream)
{
    EMULATED_CALL();
    if (!pool) return failed(cudaErrorInvalidValue);
    return take_ordered(ptr, bytes, pool->device, pool, stream);
}

cudaError_t cudaFreeAsync(void *ptr, cudaStream_t stream)
{
    EMULATED_CALL();
    CUstream_st *s = find_stream(stream);
    if (!s) return failed(cudaErrorInvalidResourceHandle);
    if (!ptr) return cudaSuccess;
    if (is_capturing(s)) return spoil(s, cudaErrorStreamCaptureUnsupported);
    allocation *a = find_allocation(ptr);
    if (!a || !a->ordered || a->now == state::freed || a->start != reinterpret_cast<uintptr_t>(ptr))
        return failed(cudaErrorInvalidValue);
    int number = a->device;
    return enqueue(stream, "a free", [=] {
        must_be_usable(ptr, 1, number, "cudaFreeAsync");
        finish(reinterpret_cast<uintptr_t>(ptr), number);
    });
}

static std::set<CUmemPoolHandle_st *> pools;
static CUmemPoolHandle_st default_pools[MOST_DEVICES];

namespace emulated {
int pool_objects() { return (int)pools.size(); }
}

cudaError_t cudaMemPoolCreate(cudaMemPool_t *pool, const cudaMemPoolProps *properties)
{
    EMULATED_CALL();
    if (!pool || !properties || properties->allocType != cudaMemAllocationTypePinned ||
        properties->location.type != cudaMemLocationTypeDevice || properties->location.id < 0 ||
        properties->location.id >= devices())
        return failed(cudaErrorInvalidValue);
    *pool = new CUmemPoolHandle_st;
    (*pool)->device = properties->location.id;
    pools.insert(*pool);
    return cudaSuccess;
}

cudaError_t cudaMemPoolDestroy(cudaMemPool_t pool)
{
    EMULATED_CALL();
    if (!pools.count(pool)) return failed(cudaErrorInvalidValue);
    pools.erase(pool);
    for (auto &entry : d[pool->device].allocations) /* they live on, in no pool */
        if (entry.second.pool == pool) entry.second.pool = nullptr;
    delete pool;
    return cudaSuccess;
}

cudaError_t cudaDeviceGetDefaultMemPool(cudaMemPool_t *pool, int number)
{
    EMULATED_CALL();
    if (!pool || number < 0 || number >= devices()) return failed(cudaErrorInvalidValue);
    *pool = &default_pools[number];
    (*pool)->device = number;
    return cudaSuccess;
}

cudaError_t cudaMemPoolSetAttribute(cudaMemPool_t pool, cudaMemPoolAttr attribute, void *value)
{
    EMULATED_CALL();
    if (!pool || !value) return failed(cudaErrorInvalidValue);
    if (attribute == cudaMemPoolAttrReleaseThreshold) memcpy(&pool->threshold, value, sizeof pool->threshold);
    return cudaSuccess;
}

cudaError_t cudaMemPoolGetAttribute(cudaMemPool_t pool, cudaMemPoolAttr attribute, void *value)
{
    EMULATED_CALL();
    if (!pool || !value) return failed(cudaErrorInvalidValue);
    uint64_t number = 1;
    if (attribute == cudaMemPoolAttrReleaseThreshold) number = pool->threshold;
    if (attribute == cudaMemPoolAttrReservedMemCurrent || attribute == cudaMemPoolAttrUsedMemCurrent)
        number = pool->used;
    memcpy(value, &number, attribute < cudaMemPoolAttrReleaseThreshold ? sizeof(int) : sizeof number);
    return cudaSuccess;
}

cudaError_t cudaMemPoolTrimTo(cudaMemPool_t pool, size_t)
{
    EMULATED_CALL();
    return pool ? cudaSuccess : failed(cudaErrorInvalidValue);
}

cudaError_t cudaPointerGetAttributes(cudaPointerAttributes *attributes, const void *ptr)
{
    EMULATED_CALL();
    if (!attributes) return failed(cudaErrorInvalidValue);
    *attributes = {cudaMemoryTypeUnregistered, -1, nullptr, nullptr};
    allocation *a = find_allocation(ptr);
    if (a && a->now != state::freed) *attributes = {cudaMemoryTypeDevice, a->device, (void *)ptr, nullptr};
    else if (is_pinned(ptr)) *attributes = {cudaMemoryTypeHost, current_device(), (void *)ptr, (void *)ptr};
    return cudaSuccess;
}

cudaError_t cudaMemGetInfo(size_t *free_bytes, size_t *total_bytes)
{
    EMULATED_CALL();
    if (!free_bytes || !total_bytes) return failed(cudaErrorInvalidValue);
    size_t used = used_memory(current_device());
    *total_bytes = limit;
    *free_bytes = limit - std::min(limit, used);
    return cudaSuccess;
}
