/* What the files of the emulator know of each other. One lock is held by every call of the runtime, so
 * nothing here is shared between threads of the host. */
#ifndef EMULATOR_INTERNAL_H
#define EMULATOR_INTERNAL_H

#include <cstdarg>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "cuda_runtime.h"
#include "emulator.h"

namespace emulated
{

/* ---- runtime.cpp: devices, errors, chance ---- */

enum {
    MOST_DEVICES = 2,
    MULTIPROCESSORS = 5,
    MOST_THREADS = 1024,
    MOST_STATIC_SHARED = 48 << 10,
    MOST_SHARED = 227 << 10
};

extern std::recursive_mutex lock;

/* The first thing in every call: takes the lock, and says whether the call is to fail. */
struct call {
    std::unique_lock<std::recursive_mutex> held;
    cudaError_t error;
    explicit call(const char *function);
    ~call();
    call(const call &) = delete;
};
#define EMULATED_CALL()                          \
    emulated::call emulated_this_call(__func__); \
    if (emulated_this_call.error != cudaSuccess) return emulated_this_call.error

cudaError_t failed(cudaError_t error); /* remembers it for cudaGetLastError */
void broken(cudaError_t error);        /* the device is, from now on */
int devices(void);
int current_device(void); /* of this thread: that of its context, or the one that it would get a context of */
uint64_t chance(uint64_t below);
bool strictly_lazy(void);
bool pageable_is_accessible(void);
bool odd_is_refused(void);
void load_late(const void *kernel); /* unless it is loaded: waits for the device, as the first launch may */
bool kernel_fails(cudaError_t *error); /* counts one that runs */

/* A mistake of the program under test that a real device would not report: says so and aborts. */
[[noreturn]] void die(const char *format, ...) __attribute__((format(printf, 1, 2)));
std::string name_of(const void *function);

/* ---- fibers.cpp ---- */

bool in_kernel(void);
std::string where(void); /* kernel, block and thread that run; empty outside of one */
void run_kernel(const emulated_kernel &kernel);
int thread_number(void);       /* in its block, of the one that runs */
void forget_late_copies(void); /* of the block before */
void end_of_block(void);       /* sectors.cpp: its accesses are complete */

/* What the lanes of a warp do together: `complete` makes every lane's `out` of all lanes' `in`. */
struct lane {
    unsigned char in[64], out[64];
};
struct together {
    const char *name;
    void (*complete)(lane lanes[32], unsigned mask);
};
void warp_meet(const together *what, unsigned mask, const void *in, size_t in_bytes, void *out,
               size_t out_bytes);

/* ---- memory.cpp ---- */

enum class state { announced, live, freed }; /* announced: the stream has not come to the allocation yet */
struct allocation {
    uintptr_t start;
    size_t bytes;
    int device;
    state now;
    bool ordered; /* by a stream */
    struct CUmemPoolHandle_st *pool;
};

/* While one of these lives the memory of one device can be touched, or of all (-1), and no other. */
struct open_memory {
    explicit open_memory(int device);
    ~open_memory();
    unsigned before;
};
allocation *find_allocation(const void *ptr); /* NULL if it is no memory of a device */
bool is_device_address(const void *ptr);
bool is_pinned(const void *ptr);
void must_be_usable(const void *ptr, size_t bytes, int device, const char *what);
void check_red_zones(int device, const char *after);
size_t used_memory(int device);
int memory_objects(void);
int pool_objects(void);
size_t memory_limit(void);
void set_memory_limit(size_t bytes);
void forget_memory(void);

/* ---- streams.cpp ---- */

struct op { /* queued work; may run more than once if it belongs to a graph */
    const char *what;
    std::function<void()> work;
    std::vector<std::shared_ptr<op>> after;
    bool done = false;
    CUstream_st *stream = nullptr;
    double time = 0; /* at which it was done */
};

cudaError_t enqueue(cudaStream_t stream, const char *what, std::function<void()> work);
/* NULL if there is none; 0 is the current device's legacy one */
CUstream_st *find_stream(cudaStream_t stream);
bool legacy_is_drawn_in(const CUstream_st *stream); /* into a capture of a blocking stream */
void run_until(const std::shared_ptr<op> &wanted);
void run_everything(int device);
void maybe_run_something(void);
int device_of(cudaStream_t stream);
int stream_objects(void);
void forget_streams(void);

/* ---- graphs.cpp ---- */

struct node;
struct capture;
bool is_capturing(const CUstream_st *stream);
cudaError_t capture_op(CUstream_st *stream, const char *what, std::function<void()> work);
/* Calls that a capture forbids while any or this thread's stream is captured: an error that spoils it. */
cudaError_t unsafe_in_capture(void);
cudaError_t spoil(CUstream_st *stream, cudaError_t error);
cudaError_t capture_wait(CUstream_st *stream, CUevent_st *event);
int graph_objects(void);
void forget_graphs(void);

int blas_objects(void);

} // namespace emulated

/* ---- the objects behind the handles ---- */

struct CUstream_st {
    int device;
    bool legacy, blocking, destroyed = false;
    std::vector<std::shared_ptr<emulated::op>> queue; /* from `next` on it is not done */
    size_t next = 0;
    std::shared_ptr<emulated::op> last;
    std::shared_ptr<emulated::capture> capturing;
    std::vector<std::shared_ptr<emulated::node>> heads; /* in the capture: what the next node follows */
};

struct CUevent_st {
    int device;
    bool timed;
    std::shared_ptr<emulated::op> recorded;
    std::shared_ptr<emulated::capture> captured;
    std::vector<std::shared_ptr<emulated::node>> heads;
};

struct CUmemPoolHandle_st {
    int device;
    bool closed = false;
    uint64_t threshold = 0;
    size_t used = 0;
};

#endif
