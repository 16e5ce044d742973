/* What the lanes of a warp do together. */
#include "internal.h"

namespace emulated {
namespace {

void count_votes(lane lanes[32], unsigned mask, unsigned (*answer)(unsigned yes, unsigned mask))
{
    unsigned yes = 0;
    for (unsigned i = 0; i < 32; i++) {
        int predicate;
        memcpy(&predicate, lanes[i].in, sizeof predicate);
        if (mask >> i & 1u && predicate) yes |= 1u << i;
    }
    unsigned result = answer(yes, mask);
    for (unsigned i = 0; i < 32; i++) /* others may not have read the result of their own vote yet */
        if (mask >> i & 1u) memcpy(lanes[i].out, &result, sizeof result);
}

void ballot(lane lanes[32], unsigned mask)
{
    count_votes(lanes, mask, [](unsigned yes, unsigned) { return yes; });
}

void any(lane lanes[32], unsigned mask)
{
    count_votes(lanes, mask, [](unsigned yes, unsigned) -> unsigned { return yes != 0; });
}

void all(lane lanes[32], unsigned mask)
{
    count_votes(lanes, mask, [](unsigned yes, unsigned asked) -> unsigned { return yes == asked; });
}

struct shuffle_in {
    uint64_t value;
    unsigned lane;
    int width;
    emulated_shuffle how;
};

/* The lane that `self` reads; itself where the documentation says that its value stays. */
unsigned source_of(unsigned self, const shuffle_in &s)
{
    unsigned width = (unsigned)s.width, first = self & ~(width - 1), last = first + width - 1;
    switch (s.how) {
    case EMULATED_SHUFFLE: return first + s.lane % width;
    case EMULATED_SHUFFLE_UP: return self < first + s.lane ? self : self - s.lane;
    case EMULATED_SHUFFLE_DOWN: return self + s.lane > last ? self : self + s.lane;
    case EMULATED_SHUFFLE_XOR: return (self ^ s.lane) > last ? self : self ^ s.lane;
    }
    return self;
}

void shuffle(lane lanes[32], unsigned mask)
{
    for (unsigned i = 0; i < 32; i++) {
        if (!(mask >> i & 1u)) continue;
        shuffle_in own, other;
        memcpy(&own, lanes[i].in, sizeof own);
        unsigned source = source_of(i, own);
        uint64_t value = ~(uint64_t)0; /* undefined, from a lane that does not take part */
        if (source < 32 && mask >> source & 1u) {
            memcpy(&other, lanes[source].in, sizeof other);
            value = other.value;
        }
        memcpy(lanes[i].out, &value, sizeof value);
    }
}

const together warp_barrier = {"__syncwarp()", nullptr};
const together votes[] = {{"__ballot_sync()", ballot}, {"__any_sync()", any}, {"__all_sync()", all}};
const together shuffles[] = {{"__shfl_sync()", shuffle}, {"__shfl_up_sync()", shuffle},
                             {"__shfl_down_sync()", shuffle}, {"__shfl_xor_sync()", shuffle}};

} // namespace
} // namespace emulated

using namespace emulated;

void emulated_warp_barrier(unsigned mask) { warp_meet(&warp_barrier, mask, nullptr, 0, nullptr, 0); }

unsigned emulated_warp_vote(emulated_vote vote, unsigned mask, int predicate)
{
    unsigned result;
    warp_meet(&votes[vote], mask, &predicate, sizeof predicate, &result, sizeof result);
    return result;
}

uint64_t emulated_warp_shuffle(emulated_shuffle how, unsigned mask, uint64_t value, unsigned lane, int width)
{
    if (width < 1 || width > 32 || (width & (width - 1))) die("%s of width %d", shuffles[how].name, width);
    shuffle_in in = {value, lane, width, how};
    uint64_t result;
    warp_meet(&shuffles[how], mask, &in, sizeof in, &result, sizeof result);
    return result;
}
