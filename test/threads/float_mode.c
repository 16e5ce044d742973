/* A host sets a floating-point mode in one of its threads: before there were others, afterwards, or in the
 * others alone. The numbers do not notice, and the mode of the host is what it was. */
#include <fenv.h>
#include <stdio.h>
#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

#include "threads/numbers.h"

/* products and squares are denormal numbers, where F32 can hold them at all */
static const double scale = 1e-20;

/* ---- modes ---- */

static void upward(void) { fesetround(FE_UPWARD); }

static void toward_zero(void) { fesetround(FE_TOWARDZERO); }

static void downward_and_flags(void)
{
    fesetround(FE_DOWNWARD);
    feraiseexcept(FE_INEXACT | FE_OVERFLOW);
}

#if defined(__x86_64__)
static void flush(void) { _mm_setcsr(_mm_getcsr() | 0x8040u); /* results and operands */ }

static void flush_results(void) { _mm_setcsr(_mm_getcsr() | 0x8000u); }

static void traps(void)
{
    _mm_setcsr(_mm_getcsr() & ~0x0E80u); /* invalid, division by zero, overflow, underflow */
}

static uint32_t mode_now(void) { return _mm_getcsr(); }
#elif defined(__aarch64__)
static void control(uint64_t more)
{
    uint64_t fpcr;
    __asm__ volatile("mrs %0, fpcr" : "=r"(fpcr));
    __asm__ volatile("msr fpcr, %0" : : "r"(fpcr | more));
}

static void flush(void) { control(UINT64_C(1) << 24); }

static void flush_results(void) { control(UINT64_C(3) << 24); /* and NaNs by default */ }

static void traps(void) {}

static uint32_t mode_now(void)
{
    uint64_t fpcr;
    __asm__ volatile("mrs %0, fpcr" : "=r"(fpcr));
    return (uint32_t)fpcr;
}
#else
static void flush(void) {}
static void flush_results(void) {}
static void traps(void) {}

static uint32_t mode_now(void) { return (uint32_t)fegetround(); }
#endif

static void (*const modes[])(void) = {upward, toward_zero, downward_and_flags, flush, flush_results, traps};
enum { MODES = sizeof modes / sizeof *modes };

/* ---- where ---- */

struct place {
    void (*mode)(void);
    int32_t threads, early;
    int kept;
    struct numbers numbers;
};

static void *compute(void *user)
{
    struct place *p = user;
    if (!p->early) { /* the threads exist before */
#ifdef _OPENMP
#pragma omp parallel num_threads(p->threads)
#endif
        (void)mode_now();
    }
    p->mode();
    uint32_t before = mode_now();
    p->numbers = numbers_with(p->threads, scale);
    p->kept = mode_now() == before;
    return NULL;
}

#ifdef _OPENMP
/* The mode is set in the threads that OpenMP keeps, and not in the one that calls. */
static void *compute_beside(void *user)
{
    struct place *p = user;
#pragma omp parallel num_threads(p->threads)
    {
        fenv_t mine;
        fegetenv(&mine);
        p->mode();
#pragma omp master
        fesetenv(&mine);
    }
    p->numbers = numbers_with(p->threads, scale);
    p->kept = 1;
    return NULL;
}
#else
#define compute_beside compute
#endif

static void check_place(void *(*where)(void *), struct place *p, const struct numbers *want)
{
    char got[160], text[160];
    pthread_t t; /* whose mode goes with it */
    ck_assert_int_eq(pthread_create(&t, NULL, where, p), 0);
    pthread_join(t, NULL);
    ck_assert_msg(p->kept, "the host's mode was changed");
    ck_assert_msg(!numbers_differ(&p->numbers, want), "%d threads: %s, should be %s", p->threads,
                  numbers_text(&p->numbers, got), numbers_text(want, text));
}

START_TEST(test_modes)
{
    for (int32_t threads = 1; threads <= 2; threads++) {
        struct place p = {.mode = modes[_i], .threads = threads};
        struct numbers want = numbers_with(threads, scale);
        ck_assert_int_eq(want.status, RELORA_OK);
        check_place(compute, &p, &want);
        if (threads == 1) continue;
        p.early = 1;
        check_place(compute, &p, &want);
        check_place(compute_beside, &p, &want);
    }
}
END_TEST

Suite *threads_float_mode(void)
{
    Suite *s = suite_create("the host's floating-point mode");
    TCase *tc = tcase_create("mode");
    tcase_set_timeout(tc, 120);
    tcase_add_loop_test(tc, test_modes, 0, MODES);
    suite_add_tcase(s, tc);
    return s;
}
