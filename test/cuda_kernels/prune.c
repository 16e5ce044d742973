/* Partial resets: the same elements go, with the same bits, and the same counts come. */
#include "cuda_kernels/twins.h"

static const int64_t counts[] = {0, 1, 2, 9, 31, 2048, 16384, 3 * 16384 + 5, 100003};
static const double ratios[] = {0, 1e-9, 1.0 / 3, 0.5, 0.9, 0.99, 0.999999999, 1};
static const enum values kinds[] = {VALUES_NORMAL, VALUES_WIDE, VALUES_ANY, VALUES_FEW, VALUES_ZERO};
enum {
    COUNTS = sizeof counts / sizeof *counts,
    RATIOS = sizeof ratios / sizeof *ratios,
    KINDS = sizeof kinds / sizeof *kinds
};

struct moments {
    struct twin m, v, counts;
    int64_t shift;
    struct prune cpu, cuda;
};

static struct moments moments_make(int64_t count, int64_t shift, enum values kind)
{
    struct moments w = {.shift = shift};
    w.m = twin_make(count + shift + 8, RELORA_F32, kind, 1);
    w.v = twin_make(count + shift + 8, RELORA_F32, kind == VALUES_ANY ? VALUES_WIDE : kind, 2);
    w.counts = twin_make(6, RELORA_F32, VALUES_ZERO, 0);
    ((int64_t *)w.counts.cpu)[2] = 40; /* what is counted is added */
    twin_equalize(w.counts);
    w.cpu = (struct prune){.count = count,
                           .first = draw_make(3, 1, DRAW_PRUNE_FIRST, 7),
                           .second = draw_make(3, 1, DRAW_PRUNE_SECOND, 7)};
    w.cuda = w.cpu;
    w.cpu.m = (float *)w.m.cpu + shift, w.cpu.v = (float *)w.v.cpu + shift;
    w.cuda.m = (float *)w.m.cuda + shift, w.cuda.v = (float *)w.v.cuda + shift;
    return w;
}

static void prune_both(struct moments *w, relora_reset_mode mode, uint32_t flags, double ratio, int counted)
{
    w->cpu.mode = w->cuda.mode = mode;
    w->cpu.flags = w->cuda.flags = flags;
    w->cpu.ratio = w->cuda.ratio = ratio;
    w->cpu.counts = counted ? w->counts.cpu : NULL;
    w->cuda.counts = counted ? w->counts.cuda : NULL;
    BOTH(prune(cpu_queue, &w->cpu), prune(cuda_queue, &w->cuda));
    SAME(w->m);
    SAME(w->v);
    SAME(w->counts);
}

/* Every mode, and a second reset of what the first has left. */
static void reset_twice(int64_t count, int64_t shift, enum values kind, double ratio, int k)
{
    static const relora_reset_mode modes[] = {RELORA_RESET_ZERO, RELORA_RESET_RANDOM, RELORA_RESET_MAGNITUDE,
                                              RELORA_RESET_MAGNITUDE};
    uint32_t flags = (k % 4 == 3 ? RELORA_RESET_QUANTILE : 0u) | (k / 4 % 2 ? RELORA_RESET_INDEPENDENT : 0u);
    struct moments w = moments_make(count, shift, kind);
    prune_both(&w, modes[k % 4], flags, ratio, k % 3);
    prune_both(&w, modes[k % 4], flags, ratio / 2 + 0.25, 1);
    twins_release();
}

START_TEST(test_prune)
{
    int64_t count = counts[_i / KINDS];
    enum values kind = kinds[_i % KINDS];
    for (int r = 0; r < RATIOS; r++)
        for (int k = 0; k < 8; k++)
            if (count < 100 || (r + k + _i) % 4 == 3)
                reset_twice(count, r % 2 ? 0 : r % 3, kind, ratios[r], k);
}
END_TEST

/* Equals that straddle a tile's end, with others between them: the first ones stay. */
START_TEST(test_ties)
{
    int64_t count = 40000, first = 16384 - 3 + _i;
    struct moments w = moments_make(count, 0, VALUES_ZERO);
    float *m = w.m.cpu;
    for (int64_t i = 0; i < count; i++) m[i] = i % 2 || i < first ? 2.0f : -1.0f;
    twin_equalize(w.m);
    int64_t small = (count - first + 1 - first % 2) / 2; /* all of one magnitude */
    prune_both(&w, RELORA_RESET_MAGNITUDE, 0, ((double)small - 2.5) / (double)count, 1);
    ck_assert_int_eq(((int64_t *)w.counts.cpu)[0], small - 3);
}
END_TEST

/* The last test: every kernel has run by now, and all were loaded when the device was opened. */
START_TEST(test_loaded) { ck_assert_int_eq(device_late_loads(), 0); }
END_TEST

Suite *kernels_prune(void)
{
    Suite *s = suite_create("prune");
    TCase *tc = twin_case(s, "prune");
    twin_test(tc, test_prune, COUNTS * KINDS);
    twin_test(tc, test_ties, 6);
    twin_test(tc, test_loaded, 1);
    return s;
}
