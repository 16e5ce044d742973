/* The product of fragments, the load of fragments, and copies that a thread waits for. */
#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>

#include "internal.h"

namespace emulated {
namespace {

/* ---- mma ---- */

uint64_t products, loads, passes; /* since they were last asked for */

struct mma_in {
    unsigned a[4], b[2];
    float c[4];
};

float half_of(unsigned pair, int which) { return __uint_as_float(which ? pair & 0xFFFF0000u : pair << 16); }

/* A sum as a tensor core makes it: all terms are shifted to the exponent of the largest and cut off, not rounded, KEPT
 * bits below its first; so is their sum, to what F32 holds. NVIDIA does not document it. Measurements by others say that
 * an A100 keeps one bit more than F32 and an H100 two, and that either cuts off: this is the coarser one. */
float truncated_sum(const double *terms, int count)
{
    enum { KEPT = 24 };
    int most = -1000;
    double sum = 0;
    for (int i = 0; i < count; i++)
        if (!std::isfinite(terms[i])) return (float)std::accumulate(terms, terms + count, 0.0);
    for (int i = 0; i < count; i++)
        if (terms[i] != 0) most = std::max(most, std::ilogb(terms[i]));
    for (int i = 0; i < count; i++) sum += std::trunc(std::ldexp(terms[i], KEPT - most));
    double whole = std::ldexp(sum, most - KEPT);
    float nearest = (float)whole;
    return std::fabs((double)nearest) > std::fabs(whole) ? std::nextafter(nearest, 0.0f) : nearest;
}

/* a[i] holds row g or g + 8 (i odd) and columns 2t, 2t + 1, plus 8 if i > 1; b[i] holds rows 2t, 2t + 1, plus 8 if
 * i is 1, of column g; c[i] is in row g or g + 8 (i > 1), column 2t + i % 2; g is the lane / 4, t the lane % 4. */
void mma(lane lanes[32], unsigned)
{
    float a[16][16], b[16][8], d[16][8];
    mma_in in[32];
    products++;
    for (int l = 0; l < 32; l++) {
        memcpy(&in[l], lanes[l].in, sizeof in[l]);
        int g = l / 4, t = l % 4;
        for (int i = 0; i < 4; i++)
            for (int h = 0; h < 2; h++) a[g + i % 2 * 8][2 * t + h + i / 2 * 8] = half_of(in[l].a[i], h);
        for (int i = 0; i < 2; i++)
            for (int h = 0; h < 2; h++) b[2 * t + h + i * 8][g] = half_of(in[l].b[i], h);
        for (int i = 0; i < 4; i++) d[g + i / 2 * 8][2 * t + i % 2] = in[l].c[i];
    }
    for (int row = 0; row < 16; row++)
        for (int col = 0; col < 8; col++) {
            double terms[17];
            for (int k = 0; k < 16; k++) terms[k] = (double)a[row][k] * (double)b[k][col];
            terms[16] = (double)d[row][col];
            d[row][col] = truncated_sum(terms, 17);
        }
    for (int l = 0; l < 32; l++) {
        float out[4];
        for (int i = 0; i < 4; i++) out[i] = d[l / 4 + i / 2 * 8][l % 4 * 2 + i % 2];
        memcpy(lanes[l].out, out, sizeof out);
    }
}

/* ---- ldmatrix: lane 8j + r gives row r of matrix j; lane l gets elements 2(l % 4), + 1 of row l / 4 ---- */

const uint16_t *row_of(const lane lanes[32], int number)
{
    const uint16_t *row;
    memcpy(&row, lanes[number].in, sizeof row);
    return row;
}

/* How often shared memory is read for eight rows: at a time it gives 16 bytes of each of eight places, by the address. */
int passes_for(const lane lanes[32], int first)
{
    int rows[8] = {};
    for (int l = first; l < first + 8; l++) rows[reinterpret_cast<uintptr_t>(row_of(lanes, l)) / 16 % 8]++;
    return *std::max_element(rows, rows + 8);
}

void load_matrices(lane lanes[32], int count, bool transposed)
{
    loads++;
    for (int j = 0; j < count; j++) passes += (uint64_t)passes_for(lanes, 8 * j);
    for (int j = 0; j < count; j++)
        for (int l = 0; l < 32; l++) {
            int row = l / 4, col = l % 4 * 2;
            unsigned first = transposed ? row_of(lanes, 8 * j + col)[row] : row_of(lanes, 8 * j + row)[col];
            unsigned second = transposed ? row_of(lanes, 8 * j + col + 1)[row] : row_of(lanes, 8 * j + row)[col + 1];
            unsigned pair = first | second << 16;
            memcpy(lanes[l].out + 4 * j, &pair, sizeof pair);
        }
}

const unsigned EVERYONE = 0xFFFFFFFFu;

const together product = {"mma", mma};
const together x4 = {"ldmatrix.x4", [](lane l[32], unsigned) { load_matrices(l, 4, false); }};
const together x4_trans = {"ldmatrix.x4.trans", [](lane l[32], unsigned) { load_matrices(l, 4, true); }};
const together x2 = {"ldmatrix.x2", [](lane l[32], unsigned) { load_matrices(l, 2, false); }};
const together x2_trans = {"ldmatrix.x2.trans", [](lane l[32], unsigned) { load_matrices(l, 2, true); }};

void load(const together *what, unsigned *out, int count, const void *row)
{
    if (reinterpret_cast<uintptr_t>(row) % 16) die("%s from %p, which is not aligned to 16 bytes", what->name, row);
    warp_meet(what, EVERYONE, &row, sizeof row, out, sizeof *out * (size_t)count);
}

/* ---- cp.async ---- */

struct late_copy {
    int thread, group;
    unsigned char *to;
    const unsigned char *from;
    int bytes, given;
};

std::vector<late_copy> late; /* of the block */
int groups[MOST_THREADS];    /* that each thread has closed */

} // namespace

void forget_late_copies()
{
    late.clear();
    memset(groups, 0, sizeof groups);
}

} // namespace emulated

using namespace emulated;

void emulated_cuda_matrices(uint64_t *products_made, uint64_t *loads_made, uint64_t *passes_made)
{
    std::lock_guard<std::recursive_mutex> held(lock);
    *products_made = products, *loads_made = loads, *passes_made = passes;
    products = loads = passes = 0;
}

void emulated_mma_m16n8k16(float d[4], const unsigned a[4], const unsigned b[2], const float c[4])
{
    mma_in in;
    memcpy(in.a, a, sizeof in.a);
    memcpy(in.b, b, sizeof in.b);
    memcpy(in.c, c, sizeof in.c);
    warp_meet(&product, EVERYONE, &in, sizeof in, d, 4 * sizeof *d);
}

void emulated_ldmatrix_x4(unsigned out[4], const void *row) { load(&x4, out, 4, row); }
void emulated_ldmatrix_x4_trans(unsigned out[4], const void *row) { load(&x4_trans, out, 4, row); }
void emulated_ldmatrix_x2(unsigned out[2], const void *row) { load(&x2, out, 2, row); }
void emulated_ldmatrix_x2_trans(unsigned out[2], const void *row) { load(&x2_trans, out, 2, row); }

void emulated_cp_async(void *to, const void *from, int bytes, int given)
{
    if (bytes != 4 && bytes != 8 && bytes != 16) die("cp.async of %d bytes", bytes);
    if (given < 0 || given > bytes) die("cp.async of %d bytes from %d", bytes, given);
    if (((uintptr_t)to | (uintptr_t)from) % (unsigned)bytes) die("cp.async of %d bytes that are not aligned", bytes);
    int thread = thread_number();
    late.push_back({thread, groups[thread], static_cast<unsigned char *>(to), static_cast<const unsigned char *>(from),
                    bytes, given});
}

void emulated_cp_async_commit() { groups[thread_number()]++; }

void emulated_cp_async_wait(int groups_left)
{
    int thread = thread_number(), last = groups[thread] - groups_left;
    auto arrives = [=](const late_copy &c) {
        if (c.thread != thread || c.group >= last) return false;
        memcpy(c.to, c.from, (size_t)c.given);
        memset(c.to + c.given, 0, (size_t)(c.bytes - c.given));
        return true;
    };
    late.erase(std::remove_if(late.begin(), late.end(), arrives), late.end());
}
