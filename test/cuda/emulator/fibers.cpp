/* Runs kernels: blocks one after another, the threads of a block as fibers on the calling thread. A fiber
 * that comes to the end of its thread takes the next one, so a kernel without barriers never switches. */
#include <link.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <numeric>

#include "internal.h"

uint3 threadIdx, blockIdx;
dim3 blockDim, gridDim;

namespace emulated {
namespace {

/* ---- switching between stacks ---- */

#if defined(__x86_64__)
using context = void *; /* the stack, with the registers that a function has to keep on its top */

extern "C" void emulated_switch(context *from, context to);
asm(R"(
    .text
    .hidden emulated_switch
    .globl emulated_switch
    .type emulated_switch, @function
emulated_switch:
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, (%rdi)
    movq %rsi, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    ret
    .size emulated_switch, . - emulated_switch
)");

void switch_to(context &from, context &to) { emulated_switch(&from, to); }

context new_context(char *stack, size_t bytes, void (*entry)())
{
    void **top = reinterpret_cast<void **>(stack + bytes);
    *--top = nullptr; /* where `entry`, which never returns, would; and the alignment that the ABI wants */
    *--top = reinterpret_cast<void *>(entry);
    for (int i = 0; i < 6; i++) *--top = nullptr;
    return top;
}
#else
#include <ucontext.h>
using context = ucontext_t;

void switch_to(context &from, context &to) { swapcontext(&from, &to); }

context new_context(char *stack, size_t bytes, void (*entry)())
{
    context made;
    getcontext(&made);
    made.uc_stack.ss_sp = stack;
    made.uc_stack.ss_size = bytes;
    made.uc_link = nullptr;
    makecontext(&made, entry, 0);
    return made;
}
#endif

/* ---- a block ---- */

struct fiber {
    context self;
};

struct thread {
    uint3 index;
    fiber *on;
    bool ended;
    const together *meeting; /* what its warp is at, or NULL */
    unsigned mask;
};

struct warp {
    unsigned exist, ended, here; /* lanes: that the block has, that have returned, that wait for the others */
    lane lanes[32];
};

const together block_barrier = {"__syncthreads()", nullptr};

struct block {
    const emulated_kernel *kernel;
    std::vector<thread> threads;
    std::vector<warp> warps;
    std::vector<int> ready; /* from `next` on: threads that can go on, in the order in which they will */
    size_t next;
    int live, at_barrier;
    thread *current;
    std::vector<fiber *> idle;
    context scheduler;
} b;

bool running;
alignas(256) unsigned char dynamic_shared[MOST_SHARED];

enum { STACK = 128 << 10 };

void run_threads();

fiber *new_fiber()
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    void *stack = mmap(nullptr, page + STACK, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);
    if (stack == MAP_FAILED) die("no memory for the stack of a thread");
    mprotect(stack, page, PROT_NONE); /* the stack grows towards it */
    fiber *f = new fiber;
    f->self = new_context(static_cast<char *>(stack) + page, STACK, run_threads);
    return f;
}

void become(thread *t)
{
    b.current = t;
    threadIdx = t->index;
}

thread *next_ready()
{
    if (b.next == b.ready.size()) return nullptr;
    return &b.threads[(size_t)b.ready[b.next++]];
}

int number_of(const thread *t) { return (int)(t - b.threads.data()); }
warp &warp_of(const thread *t) { return b.warps[(size_t)number_of(t) / 32]; }

/* Adds threads to those that can go on, in an order that chance decides. */
template <class Wanted> void make_ready(int first, int count, Wanted &&wanted)
{
    if (b.next == b.ready.size()) b.ready.clear(), b.next = 0;
    int step = 1 + (int)chance((uint64_t)count), start = (int)chance((uint64_t)count);
    while (std::gcd(step, count) != 1) step++;
    for (int i = 0; i < count; i++) {
        int t = first + (int)(((int64_t)i * step + start) % count);
        if (wanted(b.threads[(size_t)t])) b.ready.push_back(t);
    }
}

void leave_barrier()
{
    b.at_barrier = 0;
    make_ready(0, (int)b.threads.size(), [](thread &t) {
        bool waits = t.meeting == &block_barrier;
        if (waits) t.meeting = nullptr;
        return waits;
    });
}

void end_thread()
{
    thread *t = b.current;
    t->ended = true;
    t->on = nullptr;
    warp_of(t).ended |= 1u << number_of(t) % 32;
    b.live--;
    if (b.at_barrier && b.at_barrier == b.live) leave_barrier();
}

/* What every fiber does. */
void run_threads()
{
    fiber *self = b.current->on;
    for (;;) {
        b.kernel->thread();
        end_thread();
        thread *t = next_ready();
        if (t && !t->on) {
            t->on = self;
            become(t);
            continue;
        }
        if (t) b.next--;
        b.idle.push_back(self);
        switch_to(self->self, b.scheduler);
    }
}

void wait_here(thread *t)
{
    switch_to(t->on->self, b.scheduler);
}

/* Nothing can go on, and somebody has not returned. */
[[noreturn]] void stuck()
{
    for (thread &t : b.threads)
        if (t.meeting && t.meeting != &block_barrier) {
            become(&t);
            warp &w = warp_of(&t);
            die("%s with mask %08x waits for lanes %08x of its warp, which have returned or wait elsewhere", t.meeting->name,
                t.mask, t.mask & ~w.here);
        }
    die("no thread can go on"); /* if all were at the barrier, they would have left it */
}

void run_block(const emulated_kernel &kernel)
{
    int count = (int)(kernel.block.x * kernel.block.y * kernel.block.z);
    b.kernel = &kernel;
    b.threads.assign((size_t)count, thread{});
    b.warps.resize((size_t)(count + 31) / 32);
    for (warp &w : b.warps) w.exist = w.ended = w.here = 0;
    for (int i = 0; i < count; i++) {
        unsigned u = (unsigned)i;
        b.threads[u].index = {u % kernel.block.x, u / kernel.block.x % kernel.block.y,
                              u / kernel.block.x / kernel.block.y};
        b.warps[u / 32].exist |= 1u << u % 32;
    }
    forget_late_copies();
    if (emulated_counts_sectors) end_of_block(); /* of the one before */
    b.live = count;
    b.at_barrier = 0;
    b.ready.clear();
    b.next = 0;
    make_ready(0, count, [](thread &) { return true; });
    while (b.live) {
        thread *t = next_ready();
        if (!t) stuck();
        if (!t->on) {
            if (b.idle.empty()) b.idle.push_back(new_fiber());
            t->on = b.idle.back();
            b.idle.pop_back();
        }
        become(t);
        switch_to(b.scheduler, t->on->self);
    }
}

/* ---- shared memory: garbage at the start of a block ---- */

struct segment {
    uintptr_t function;
    unsigned char *start;
    size_t bytes;
};

/* The thread-local variables of the module that holds the kernel, for this thread of the host. */
int find_segment(dl_phdr_info *info, size_t, void *wanted)
{
    segment *s = static_cast<segment *>(wanted);
    bool here = false;
    size_t given = 0, all = 0;
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) &h = info->dlpi_phdr[i];
        if (h.p_type == PT_LOAD && s->function - info->dlpi_addr - h.p_vaddr < h.p_memsz) here = true;
        if (h.p_type == PT_TLS) given = h.p_filesz, all = h.p_memsz;
    }
    if (!here) return 0;
    s->start = static_cast<unsigned char *>(info->dlpi_tls_data);
    s->bytes = s->start ? all : 0;
    if (given) s->bytes = 0; /* there are variables with values: not only shared memory of kernels */
    return 1;
}

enum { GARBAGE = 0xFF };

/* The first block of a launch gets all of it filled, and shows which part of it the kernel uses. */
struct shared_memory {
    segment all;
    size_t low = 0, high = 0, dynamic;
    bool known = false;

    explicit shared_memory(const emulated_kernel &kernel) : dynamic(kernel.shared)
    {
        all = {reinterpret_cast<uintptr_t>(kernel.function), nullptr, 0};
        dl_iterate_phdr(find_segment, &all);
    }
    void fill()
    {
        memset(dynamic_shared, GARBAGE, dynamic);
        if (known) memset(all.start + low, GARBAGE, high - low);
        else if (all.bytes) memset(all.start, GARBAGE, all.bytes);
    }
    void learn()
    {
        if (known || !all.bytes) return;
        known = true;
        for (low = 0; low < all.bytes && all.start[low] == GARBAGE;) low++;
        for (high = all.bytes; high > low && all.start[high - 1] == GARBAGE;) high--;
    }
};

} // namespace

bool in_kernel() { return running; }
int thread_number() { return number_of(b.current); }

std::string where()
{
    if (!running) return "";
    char text[160];
    snprintf(text, sizeof text, ", block (%u, %u, %u), thread (%u, %u, %u)", blockIdx.x, blockIdx.y, blockIdx.z,
             threadIdx.x, threadIdx.y, threadIdx.z);
    return "kernel " + name_of(b.kernel->function) + text;
}

void run_kernel(const emulated_kernel &kernel)
{
    uint64_t blocks = (uint64_t)kernel.grid.x * kernel.grid.y * kernel.grid.z;
    uint64_t step = 1 + chance(blocks), start = chance(blocks);
    while (std::gcd(step, blocks) != 1) step++;
    gridDim = kernel.grid;
    blockDim = kernel.block;
    shared_memory shared(kernel);
    running = true;
    for (uint64_t i = 0; i < blocks; i++) {
        uint64_t n = (i * step + start) % blocks;
        blockIdx = {(unsigned)(n % kernel.grid.x), (unsigned)(n / kernel.grid.x % kernel.grid.y),
                    (unsigned)(n / kernel.grid.x / kernel.grid.y)};
        shared.fill();
        run_block(kernel);
        shared.learn();
    }
    running = false;
}

void warp_meet(const together *what, unsigned mask, const void *in, size_t in_bytes, void *out, size_t out_bytes)
{
    if (!running) die("%s outside of a kernel", what->name);
    thread *t = b.current;
    warp &w = warp_of(t);
    int first = number_of(t) / 32 * 32;
    unsigned self = (unsigned)number_of(t) % 32;
    if (!(mask >> self & 1u)) die("%s with mask %08x by lane %u, which is not in it", what->name, mask, self);
    if (mask & ~w.exist) die("%s with mask %08x names lanes %08x, which the block does not have", what->name, mask,
                             mask & ~w.exist);
    if (mask & w.ended) die("%s with mask %08x names lanes %08x, which have returned", what->name, mask,
                            mask & w.ended);
    memcpy(w.lanes[self].in, in, in_bytes);
    t->meeting = what;
    t->mask = mask;
    w.here |= 1u << self;
    for (unsigned i = 0; i < 32; i++) {
        const thread *other = &b.threads[(size_t)first + i];
        if (!((mask & w.here & ~(1u << self)) >> i & 1u)) continue;
        if (other->mask != mask || other->meeting != what)
            die("%s with mask %08x, but lane %u of the warp is at %s with mask %08x", what->name, mask, i,
                other->meeting->name, other->mask);
    }
    if ((w.here & mask) != mask) wait_here(t);
    else {
        if (what->complete) what->complete(w.lanes, mask);
        w.here &= ~mask;
        t->meeting = nullptr;
        make_ready(first, (int)std::min<size_t>(32, b.threads.size() - (size_t)first), [=](thread &other) {
            bool waits = &other != t && other.meeting == what && mask >> number_of(&other) % 32 & 1u;
            if (waits) other.meeting = nullptr;
            return waits;
        });
    }
    memcpy(out, w.lanes[self].out, out_bytes);
}

} // namespace emulated

using namespace emulated;

void emulated_block_barrier()
{
    if (!running) die("__syncthreads() outside of a kernel");
    thread *t = b.current;
    t->meeting = &block_barrier;
    b.at_barrier++;
    if (b.at_barrier == b.live) leave_barrier(); /* and let chance say who goes on first */
    wait_here(t);
}

void *emulated_dynamic_shared() { return dynamic_shared; }

void emulated_trap(const char *what) { die("%s", what); }
