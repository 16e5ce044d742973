/* Shuffles and votes among the lanes of a warp. */
#include "tests.h"

enum { ALL = 0xFFFFFFFFu };

static __global__ void shuffle(int *out, double *wide)
{
    int lane = (int)threadIdx.x % 32, x = 100 * ((int)threadIdx.x / 32) + lane, *o = out + threadIdx.x * 5;
    o[0] = __shfl_sync(ALL, x, 5);
    o[1] = __shfl_up_sync(ALL, x, 3);
    o[2] = __shfl_down_sync(ALL, x, 4);
    o[3] = __shfl_xor_sync(ALL, x, 9);
    o[4] = __shfl_xor_sync(ALL, x, 3, 8) + 1000 * __shfl_sync(ALL, x, 9, 8);
    wide[threadIdx.x] = __shfl_down_sync(ALL, 0.5 * lane, 1);
}

START_TEST(shuffles)
{
    int got[64 * 5], *out = device_array<int>(320);
    double half[64], *wide = device_array<double>(64);
    run(shuffle, 1, 64, out, wide);
    to_host(got, out, 320);
    to_host(half, wide, 64);
    for (int i = 0; i < 64; i++) {
        int lane = i % 32, base = i / 32 * 100, *g = got + 5 * i;
        ck_assert_int_eq(g[0], base + 5);
        ck_assert_int_eq(g[1], base + (lane < 3 ? lane : lane - 3));
        ck_assert_int_eq(g[2], base + (lane > 27 ? lane : lane + 4));
        ck_assert_int_eq(g[3], base + (lane ^ 9));
        ck_assert_int_eq(g[4], base + (lane ^ 3) + 1000 * (base + lane / 8 * 8 + 1));
        ck_assert_double_eq(half[i], 0.5 * (lane == 31 ? 31 : lane + 1));
    }
}
END_TEST

static __global__ void vote(unsigned *out)
{
    int lane = (int)threadIdx.x;
    out[lane] = __ballot_sync(ALL, lane % 3 == 0);
    out[32 + lane] = (unsigned)(__any_sync(ALL, lane == 7) + 2 * __all_sync(ALL, lane < 31) + 4 * __all_sync(ALL, 1));
    if (lane < 16) out[64 + lane] = __ballot_sync(0xFFFFu, lane & 1);
}

START_TEST(votes)
{
    unsigned got[80], *out = device_array<unsigned>(80);
    run(vote, 1, 32, out);
    to_host(got, out, 80);
    for (int i = 0; i < 32; i++) ck_assert_uint_eq(got[i], 0x49249249u);
    for (int i = 32; i < 64; i++) ck_assert_uint_eq(got[i], 5);
    for (int i = 64; i < 80; i++) ck_assert_uint_eq(got[i], 0xAAAAu);
}
END_TEST

static __global__ void lanes_missing(int *out) { *out = __shfl_sync(ALL, 1, 0); }

static __global__ void lanes_gone(int *out)
{
    if (threadIdx.x > 3) return;
    *out = __shfl_sync(ALL, 1, 0);
}

static __global__ void not_in_mask(int *out)
{
    *out = __shfl_sync(0xFu, 1, 0);
}

static __global__ void masks_differ(int *out)
{
    *out = __shfl_sync(threadIdx.x < 16 ? ALL : 0xFFFF0000u, 1, 0);
}

static __global__ void others_elsewhere(int *out)
{
    if (threadIdx.x < 16) __syncwarp();
    else *out = __shfl_sync(ALL, 1, 0);
}

static __global__ void undefined_lane(unsigned *out)
{
    if (threadIdx.x < 16) out[threadIdx.x] = __shfl_sync(0xFFFFu, threadIdx.x, 20);
}

START_TEST(lanes_that_do_not_take_part)
{
    must_die([] { run(lanes_missing, 1, 20, device_array<int>(1)); }, "names lanes fff00000, which the block does not");
    must_die([] { run(lanes_gone, 1, 32, device_array<int>(1)); }, "which have returned");
    must_die([] { run(not_in_mask, 1, 32, device_array<int>(1)); }, "which is not in it");
    must_die([] { run(masks_differ, 1, 32, device_array<int>(1)); }, "with mask");
    must_die([] { run(others_elsewhere, 1, 32, device_array<int>(1)); }, "__syncwarp()");
}
END_TEST

START_TEST(value_of_no_lane)
{
    unsigned got[16], *out = device_array<unsigned>(16);
    run(undefined_lane, 1, 32, out);
    to_host(got, out, 16);
    for (int i = 0; i < 16; i++) ck_assert_uint_eq(got[i], 0xFFFFFFFFu);
}
END_TEST

Suite *warps(void)
{
    Suite *s = suite_create("warps");
    TCase *tc = tcase_create("warps");
    tcase_set_timeout(tc, 60);
    tcase_add_test(tc, shuffles);
    tcase_add_test(tc, votes);
    tcase_add_test(tc, lanes_that_do_not_take_part);
    tcase_add_test(tc, value_of_no_lane);
    suite_add_tcase(s, tc);
    return s;
}
