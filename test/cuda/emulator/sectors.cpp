/* How well a kernel's accesses of global memory fit together: a warp's access costs the 32-byte sectors that it touches. */
#include "internal.h"

bool emulated_counts_sectors;

namespace emulated {
namespace {

struct access { /* of a warp */
    std::set<uintptr_t> sectors;
    uint64_t bytes = 0;
};

uint64_t all_bytes, all_touched;
std::map<std::pair<int, int>, access> accesses; /* by warp and number, in the block that runs */
std::map<int, int> count;                       /* by thread: the n-th accesses of a warp's threads are one */

} // namespace

void end_of_block()
{
    for (const auto &entry : accesses) {
        all_bytes += entry.second.bytes;
        all_touched += 32 * entry.second.sectors.size();
    }
    accesses.clear();
    count.clear();
}

} // namespace emulated

void emulated_access(const void *address, size_t bytes)
{
    int thread = emulated::thread_number();
    auto &access = emulated::accesses[{thread / 32, emulated::count[thread]++}];
    uintptr_t first = reinterpret_cast<uintptr_t>(address) / 32, last = (reinterpret_cast<uintptr_t>(address) + bytes - 1) / 32;
    for (uintptr_t sector = first; sector <= last; sector++) access.sectors.insert(sector);
    access.bytes += bytes;
}

void emulated_cuda_count_sectors(int on)
{
    std::lock_guard<std::recursive_mutex> held(emulated::lock);
    emulated::end_of_block();
    emulated_counts_sectors = on != 0;
    if (on) emulated::all_bytes = emulated::all_touched = 0;
}

void emulated_cuda_sectors(uint64_t *bytes, uint64_t *touched)
{
    std::lock_guard<std::recursive_mutex> held(emulated::lock);
    *bytes = emulated::all_bytes;
    *touched = emulated::all_touched;
}
