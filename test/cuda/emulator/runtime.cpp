/* Devices, errors on purpose and others, chance, and what a launch checks. */
#include <dlfcn.h>
#include <pthread.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "internal.h"

namespace emulated {

std::recursive_mutex lock;

namespace {

struct settings {
    int devices = 1;
    bool pageable = false, refuse_odd = false;
    uint64_t seed = 1, state = 1;
} now;

struct planned { /* a failure on purpose */
    int64_t after = 0;
    cudaError_t error = cudaSuccess;
    std::string function;
} call_failure, kernel_failure;

int64_t calls, kernels;
cudaError_t device_error; /* of a broken device */
int depth;                /* of calls that other calls make: they are not counted, and do not fail */
thread_local int this_device;
struct context {
    bool made;
} contexts[MOST_DEVICES];
thread_local context *this_context; /* what the driver calls current; NULL: none yet */
thread_local cudaError_t last_error;

bool breaks(cudaError_t error)
{
    return (error >= cudaErrorIllegalAddress && error <= cudaErrorLaunchFailure &&
            error != cudaErrorLaunchOutOfResources) || error == cudaErrorECCUncorrectable;
}

/* The environment, once. */
void configure()
{
    static bool done;
    if (done) return;
    done = true;
    if (const char *s = getenv("EMULATED_CUDA_DEVICES")) emulated_cuda_devices(atoi(s));
    if (const char *s = getenv("EMULATED_CUDA_MEMORY")) emulated_cuda_memory(strtoull(s, nullptr, 10));
    if (const char *s = getenv("EMULATED_CUDA_PAGEABLE")) emulated_cuda_pageable(atoi(s));
    if (const char *s = getenv("EMULATED_CUDA_SEED")) emulated_cuda_seed(strtoull(s, nullptr, 10));
    if (const char *s = getenv("EMULATED_CUDA_FAIL")) {
        char *rest, *function;
        int64_t n = strtoll(s, &rest, 10);
        long error = *rest == ':' ? strtol(rest + 1, &function, 10) : 0;
        if (error) emulated_cuda_fail(n, (cudaError_t)error, *function == ':' ? function + 1 : nullptr);
    }
}

bool due(planned *p, const char *function)
{
    if (!p->after || (function && !p->function.empty() && p->function != function)) return false;
    return --p->after == 0;
}

/* Calls that say what they say on a device that is broken, or on none. */
bool always_answers(const char *function)
{
    return !strcmp(function, "cudaGetDeviceCount") || !strcmp(function, "cudaDriverGetVersion") ||
           !strcmp(function, "cudaRuntimeGetVersion");
}

/* Calls that need no context. All others make the thread's device one, if there is none. */
bool is_about_devices(const char *function)
{
    static const char *const names[] = {"cudaGetDevice", "cudaSetDevice", "cudaGetDeviceProperties",
                                        "cudaDeviceGetAttribute", "cudaGetDriverEntryPointByVersion",
                                        "cudaPointerGetAttributes", "cuCtxGetCurrent", "cuCtxSetCurrent"};
    for (const char *name : names)
        if (!strcmp(function, name)) return true;
    return always_answers(function);
}

void enter(int device)
{
    this_device = device;
    this_context = &contexts[device];
    this_context->made = true;
}

} // namespace

call::call(const char *function) : held(lock), error(cudaSuccess)
{
    configure();
    if (depth++) return;
    calls++;
    if (!this_context && this_device < now.devices && !is_about_devices(function)) enter(this_device);
    if (due(&call_failure, function)) error = call_failure.error;
    else if (!always_answers(function)) error = !now.devices ? cudaErrorNoDevice : device_error;
    if (error != cudaSuccess) failed(error);
}

call::~call() { depth--; }

cudaError_t failed(cudaError_t error)
{
    if (breaks(error)) device_error = error;
    if (error == cudaSuccess) error = device_error;
    if (error != cudaSuccess) last_error = error;
    return error;
}

void broken(cudaError_t error) { device_error = error; }

int devices() { return now.devices; }
int current_device() { return this_context ? (int)(this_context - contexts) : this_device; }
bool strictly_lazy() { return now.seed == 0; }
bool pageable_is_accessible() { return now.pageable; }
bool odd_is_refused() { return now.refuse_odd; }

/* xorshift64*: any numbers will do. */
uint64_t chance(uint64_t below)
{
    now.state ^= now.state >> 12;
    now.state ^= now.state << 25;
    now.state ^= now.state >> 27;
    return below ? (now.state * 0x2545F4914F6CDD1Du >> 32) % below : 0;
}

bool kernel_fails(cudaError_t *error)
{
    kernels++;
    if (device_error != cudaSuccess) return *error = device_error, true;
    if (!due(&kernel_failure, nullptr)) return false;
    *error = kernel_failure.error;
    return true;
}

void die(const char *format, ...)
{
    std::string place = where();
    fprintf(stderr, "emulated CUDA: %s%s", place.c_str(), place.empty() ? "" : ": ");
    va_list args;
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fprintf(stderr, "\n");
    fflush(stderr);
    abort();
}

/* Most kernels are known to their own file alone, so a tool that reads the debug information is asked. */
std::string name_of(const void *function)
{
    Dl_info info;
    if (!dladdr(function, &info)) return "?";
    if (info.dli_sname && info.dli_saddr == function) return info.dli_sname;
    char command[1024], name[512] = "";
    size_t offset = (size_t)((uintptr_t)function - (uintptr_t)info.dli_fbase);
    snprintf(command, sizeof command, "addr2line -f -C -e '%s' 0x%zx 2>/dev/null", info.dli_fname, offset);
    if (FILE *tool = popen(command, "r")) {
        if (!fgets(name, sizeof name, tool)) name[0] = 0;
        pclose(tool);
    }
    name[strcspn(name, "\n")] = 0;
    if (name[0] && name[0] != '?') return name;
    snprintf(name, sizeof name, "at %s+0x%zx", info.dli_fname, offset);
    return name;
}

/* ---- launches ---- */

namespace {

std::map<const void *, int> shared_limits; /* that cudaFuncSetAttribute raised */
std::set<const void *> loaded;             /* kernels */
int late_loads;

/* The stack of this thread of the host: no address in it is for a kernel. */
bool is_on_stack(uintptr_t word)
{
    static thread_local uintptr_t low, high;
    if (!high) {
        pthread_attr_t attributes;
        void *start;
        size_t bytes;
        if (pthread_getattr_np(pthread_self(), &attributes)) return false;
        pthread_attr_getstack(&attributes, &start, &bytes);
        pthread_attr_destroy(&attributes);
        low = (uintptr_t)start;
        high = low + bytes;
    }
    return word >= low && word < high;
}

/* Words that look like addresses, wherever in the arguments they are: those of memory that is known. */
std::vector<uintptr_t> addresses_in(const emulated_argument *arguments, size_t count)
{
    std::vector<uintptr_t> found;
    for (size_t i = 0; i < count; i++)
        for (size_t at = 0; at + sizeof(uintptr_t) <= arguments[i].bytes; at += sizeof(uintptr_t)) {
            uintptr_t word;
            memcpy(&word, (const char *)arguments[i].data + at, sizeof word);
            if (is_on_stack(word)) die("argument %zu of a kernel points to the stack of the host", i + 1);
            if (find_allocation((const void *)word)) found.push_back(word);
        }
    return found;
}

bool fits(const emulated_kernel &k)
{
    const dim3 &g = k.grid, &t = k.block;
    if (!g.x || !g.y || !g.z || g.x > 0x7FFFFFFFu || g.y > 65535 || g.z > 65535) return false;
    return t.x && t.y && t.z && t.x <= 1024 && t.y <= 1024 && t.z <= 64 && t.x * t.y * t.z <= MOST_THREADS;
}

void run_checked(const emulated_kernel &k, const std::vector<uintptr_t> &addresses, int device)
{
    cudaError_t error;
    if (kernel_fails(&error)) return broken(error);
    for (uintptr_t word : addresses) {
        allocation *a = find_allocation((const void *)word);
        const char *wrong = !a                            ? "memory that was freed long ago"
                            : a->now == state::announced ? "memory before its allocation's turn in its stream"
                            : a->now == state::freed     ? "memory that has been freed"
                            : a->device != device        ? "memory of another device"
                                                          : nullptr;
        if (wrong) die("kernel %s gets %p, which is %s", name_of(k.function).c_str(), (void *)word, wrong);
    }
    open_memory open(device);
    run_kernel(k);
    check_red_zones(device, "a kernel");
}

} // namespace

void load_late(const void *kernel)
{
    if (!loaded.insert(kernel).second) return;
    late_loads++;
    run_everything(current_device());
}

} // namespace emulated

using namespace emulated;

cudaError_t emulated_launch(emulated_kernel kernel, const emulated_argument *arguments, size_t count,
                            cudaStream_t stream)
{
    call this_call("cudaLaunchKernel");
    if (this_call.error != cudaSuccess) return this_call.error;
    CUstream_st *s = find_stream(stream);
    if (!s || s->device != current_device()) return failed(cudaErrorInvalidResourceHandle);
    if (!kernel.function) return failed(cudaErrorInvalidDeviceFunction);
    if (!fits(kernel)) return failed(cudaErrorInvalidConfiguration);
    auto raised = shared_limits.find(kernel.function);
    if (kernel.shared > (size_t)(raised == shared_limits.end() ? MOST_STATIC_SHARED : raised->second))
        return failed(cudaErrorInvalidValue);
    if (!is_capturing(s)) load_late(kernel.function);
    int device = s->device;
    std::vector<uintptr_t> addresses = addresses_in(arguments, count);
    return enqueue(stream, "a kernel", [=] { run_checked(kernel, addresses, device); });
}

cudaError_t cudaFuncGetAttributes(cudaFuncAttributes *attributes, const void *kernel)
{
    EMULATED_CALL();
    if (!attributes) return failed(cudaErrorInvalidValue);
    if (!kernel) return failed(cudaErrorInvalidDeviceFunction);
    *attributes = cudaFuncAttributes();
    attributes->maxThreadsPerBlock = MOST_THREADS;
    attributes->binaryVersion = attributes->ptxVersion = 90;
    loaded.insert(kernel);
    return cudaSuccess;
}

cudaError_t cudaFuncSetAttribute(const void *kernel, cudaFuncAttribute attribute, int value)
{
    EMULATED_CALL();
    if (!kernel) return failed(cudaErrorInvalidDeviceFunction);
    if (attribute != cudaFuncAttributeMaxDynamicSharedMemorySize) return cudaSuccess;
    if (value < 0 || value > MOST_SHARED) return failed(cudaErrorInvalidValue);
    shared_limits[kernel] = value;
    return cudaSuccess;
}

/* ---- devices ---- */

cudaError_t cudaGetDeviceCount(int *count)
{
    EMULATED_CALL();
    if (!count) return failed(cudaErrorInvalidValue);
    *count = now.devices;
    return now.devices ? cudaSuccess : failed(cudaErrorNoDevice);
}

cudaError_t cudaGetDevice(int *device)
{
    EMULATED_CALL();
    if (!device) return failed(cudaErrorInvalidValue);
    *device = current_device();
    return cudaSuccess;
}

cudaError_t cudaSetDevice(int device)
{
    EMULATED_CALL();
    if (device < 0 || device >= now.devices) return failed(cudaErrorInvalidDevice);
    enter(device); /* as from CUDA 12 on */
    return cudaSuccess;
}

cudaError_t cudaGetDriverEntryPoint(const char *symbol, void **function, unsigned long long flags,
                                    cudaDriverEntryPointQueryResult *result)
{
    return cudaGetDriverEntryPointByVersion(symbol, function, CUDART_VERSION, flags, result);
}

static int context_get_current(void **context)
{
    call this_call("cuCtxGetCurrent");
    if (!context) return cudaErrorInvalidValue;
    *context = this_context;
    return cudaSuccess;
}

static int context_set_current(void *context)
{
    call this_call("cuCtxSetCurrent");
    struct context *wanted = static_cast<struct context *>(context);
    if (wanted && (wanted < contexts || wanted >= contexts + MOST_DEVICES || !wanted->made)) return 201;
    this_context = wanted;
    return cudaSuccess;
}

cudaError_t cudaGetDriverEntryPointByVersion(const char *symbol, void **function, unsigned,
                                             unsigned long long, cudaDriverEntryPointQueryResult *result)
{
    EMULATED_CALL();
    if (!symbol || !function) return failed(cudaErrorInvalidValue);
    *function = !strcmp(symbol, "cuCtxGetCurrent")   ? reinterpret_cast<void *>(context_get_current)
                : !strcmp(symbol, "cuCtxSetCurrent") ? reinterpret_cast<void *>(context_set_current)
                                                     : nullptr;
    if (result) *result = *function ? cudaDriverEntryPointSuccess : cudaDriverEntryPointSymbolNotFound;
    return cudaSuccess;
}

cudaError_t cudaGetDeviceProperties(cudaDeviceProp *p, int device)
{
    EMULATED_CALL();
    if (!p) return failed(cudaErrorInvalidValue);
    if (device < 0 || device >= now.devices) return failed(cudaErrorInvalidDevice);
    *p = cudaDeviceProp();
    snprintf(p->name, sizeof p->name, "emulated device %d", device);
    p->totalGlobalMem = memory_limit();
    p->sharedMemPerBlock = MOST_STATIC_SHARED;
    p->sharedMemPerBlockOptin = MOST_SHARED;
    p->sharedMemPerMultiprocessor = MOST_SHARED + 1024;
    p->regsPerBlock = 65536;
    p->warpSize = 32;
    p->maxThreadsPerBlock = MOST_THREADS;
    p->maxThreadsPerMultiProcessor = 2048;
    p->multiProcessorCount = MULTIPROCESSORS;
    p->maxThreadsDim[0] = p->maxThreadsDim[1] = 1024, p->maxThreadsDim[2] = 64;
    p->maxGridSize[0] = 0x7FFFFFFF, p->maxGridSize[1] = p->maxGridSize[2] = 65535;
    p->major = 9;
    p->l2CacheSize = 50 << 20;
    p->memoryBusWidth = 6144;
    p->asyncEngineCount = 3;
    p->memoryPoolsSupported = 1;
    return cudaSuccess;
}

cudaError_t cudaDeviceGetAttribute(int *value, cudaDeviceAttr attribute, int device)
{
    EMULATED_CALL();
    if (!value) return failed(cudaErrorInvalidValue);
    cudaDeviceProp p;
    if (cudaError_t error = cudaGetDeviceProperties(&p, device)) return error;
    switch (attribute) {
    case cudaDevAttrMaxThreadsPerBlock: *value = p.maxThreadsPerBlock; break;
    case cudaDevAttrMaxSharedMemoryPerBlock: *value = (int)p.sharedMemPerBlock; break;
    case cudaDevAttrWarpSize: *value = p.warpSize; break;
    case cudaDevAttrClockRate: *value = 1980000; break;
    case cudaDevAttrMultiProcessorCount: *value = p.multiProcessorCount; break;
    case cudaDevAttrIntegrated: *value = 0; break;
    case cudaDevAttrPageableMemoryAccess: *value = now.pageable; break;
    case cudaDevAttrMemoryClockRate: *value = 3201000; break;
    case cudaDevAttrGlobalMemoryBusWidth: *value = p.memoryBusWidth; break;
    case cudaDevAttrL2CacheSize: *value = p.l2CacheSize; break;
    case cudaDevAttrMaxThreadsPerMultiProcessor: *value = p.maxThreadsPerMultiProcessor; break;
    case cudaDevAttrComputeCapabilityMajor: *value = p.major; break;
    case cudaDevAttrComputeCapabilityMinor: *value = p.minor; break;
    case cudaDevAttrMaxSharedMemoryPerMultiprocessor: *value = (int)p.sharedMemPerMultiprocessor; break;
    case cudaDevAttrMaxSharedMemoryPerBlockOptin: *value = (int)p.sharedMemPerBlockOptin; break;
    case cudaDevAttrMemoryPoolsSupported: *value = p.memoryPoolsSupported; break;
    default: return failed(cudaErrorInvalidValue);
    }
    return cudaSuccess;
}

cudaError_t cudaDriverGetVersion(int *version)
{
    EMULATED_CALL();
    if (!version) return failed(cudaErrorInvalidValue);
    *version = now.devices ? CUDART_VERSION : 0;
    return cudaSuccess;
}

cudaError_t cudaRuntimeGetVersion(int *version)
{
    EMULATED_CALL();
    if (!version) return failed(cudaErrorInvalidValue);
    *version = CUDART_VERSION;
    return cudaSuccess;
}

/* ---- errors ---- */

cudaError_t cudaPeekAtLastError() { return device_error != cudaSuccess ? device_error : last_error; }

cudaError_t cudaGetLastError()
{
    cudaError_t error = cudaPeekAtLastError();
    last_error = cudaSuccess;
    return error;
}

const char *cudaGetErrorName(cudaError_t error)
{
    switch (error) {
#define NAME(name) case name: return #name
        NAME(cudaSuccess);
        NAME(cudaErrorInvalidValue);
        NAME(cudaErrorMemoryAllocation);
        NAME(cudaErrorInitializationError);
        NAME(cudaErrorCudartUnloading);
        NAME(cudaErrorInvalidConfiguration);
        NAME(cudaErrorInvalidPitchValue);
        NAME(cudaErrorInvalidMemcpyDirection);
        NAME(cudaErrorInsufficientDriver);
        NAME(cudaErrorDevicesUnavailable);
        NAME(cudaErrorInvalidDeviceFunction);
        NAME(cudaErrorNoDevice);
        NAME(cudaErrorInvalidDevice);
        NAME(cudaErrorNoKernelImageForDevice);
        NAME(cudaErrorECCUncorrectable);
        NAME(cudaErrorInvalidResourceHandle);
        NAME(cudaErrorNotReady);
        NAME(cudaErrorIllegalAddress);
        NAME(cudaErrorLaunchOutOfResources);
        NAME(cudaErrorLaunchTimeout);
        NAME(cudaErrorAssert);
        NAME(cudaErrorHardwareStackError);
        NAME(cudaErrorIllegalInstruction);
        NAME(cudaErrorMisalignedAddress);
        NAME(cudaErrorInvalidAddressSpace);
        NAME(cudaErrorInvalidPc);
        NAME(cudaErrorLaunchFailure);
        NAME(cudaErrorNotPermitted);
        NAME(cudaErrorNotSupported);
        NAME(cudaErrorStreamCaptureUnsupported);
        NAME(cudaErrorStreamCaptureInvalidated);
        NAME(cudaErrorStreamCaptureMerge);
        NAME(cudaErrorStreamCaptureUnmatched);
        NAME(cudaErrorStreamCaptureUnjoined);
        NAME(cudaErrorStreamCaptureIsolation);
        NAME(cudaErrorStreamCaptureImplicit);
        NAME(cudaErrorCapturedEvent);
        NAME(cudaErrorStreamCaptureWrongThread);
        NAME(cudaErrorUnknown);
#undef NAME
    }
    return "unrecognized error code";
}

const char *cudaGetErrorString(cudaError_t error)
{
    return error == cudaSuccess ? "no error" : error == cudaErrorMemoryAllocation ? "out of memory" :
           error == cudaErrorNoDevice ? "no CUDA-capable device is detected" : cudaGetErrorName(error);
}

/* ---- emulator.h ---- */

void emulated_cuda_devices(int count) { now.devices = count < 0 ? 0 : count > MOST_DEVICES ? MOST_DEVICES : count; }
void emulated_cuda_refuse_odd(int refuse) { now.refuse_odd = refuse != 0; }
void emulated_cuda_pageable(int accessible) { now.pageable = accessible != 0; }
void emulated_cuda_memory(size_t bytes) { set_memory_limit(bytes); }

void emulated_cuda_seed(uint64_t seed)
{
    now.seed = seed;
    now.state = seed * 0x9E3779B97F4A7C15u + 0x1234567u;
}

void emulated_cuda_fail(int64_t n, cudaError_t error, const char *function)
{
    call_failure = {n, error, function ? function : ""};
}

void emulated_cuda_fail_kernel(int64_t n, cudaError_t error) { kernel_failure = {n, error, ""}; }
int64_t emulated_cuda_calls() { return calls; }
int64_t emulated_cuda_kernels() { return kernels; }
int emulated_cuda_contexts(int device) { return contexts[device].made; }
int emulated_cuda_late_loads() { return late_loads; }
size_t emulated_cuda_used(int device) { return used_memory(device); }

int emulated_cuda_objects()
{
    return stream_objects() + graph_objects() + memory_objects() + pool_objects() + blas_objects();
}

void emulated_cuda_reset()
{
    std::lock_guard<std::recursive_mutex> held(lock);
    forget_streams();
    forget_graphs();
    forget_memory();
    for (context &c : contexts) c.made = false;
    this_context = nullptr;
    this_device = 0;
    device_error = last_error = cudaSuccess;
    call_failure = kernel_failure = planned();
}
