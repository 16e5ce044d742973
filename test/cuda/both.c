#include "cuda/both.h"
#include <stdio.h>
#include <stdlib.h>

static void add(struct results *r, const char *name, relora_dtype dtype, const void *bytes, size_t size)
{
    ck_assert_int_lt(r->n, RESULTS);
    struct result *result = &r->of[r->n++];
    snprintf(result->name, sizeof result->name, "%s", name);
    result->dtype = dtype;
    result->size = size;
    result->bytes = malloc(size + 1); /* not scratch(): it has to outlive a context */
    memcpy(result->bytes, bytes, size);
}

void keep(struct results *r, const char *name, const relora_tensor *t)
{
    add(r, name, relora_tensor_dtype(t), snapshot(t), bytes_of(t));
}

void keep_bytes(struct results *r, const char *name, const void *bytes, size_t size)
{
    add(r, name, 0, bytes, size);
}

static void free_pair(void *object)
{
    struct pair *p = object;
    for (int i = 0; i < p->cpu.n; i++) free(p->cpu.of[i].bytes);
    for (int i = 0; i < p->device.n; i++) free(p->device.of[i].bytes);
    free(p);
}

struct pair *on_both(work_fn work, int variant)
{
    struct pair *p = calloc(1, sizeof *p);
    env_close();
    env_open_on(RELORA_DEVICE_CPU, 1);
    work(&p->cpu, variant);
    env_close();
    env_open();
    defer(free_pair, p);
    work(&p->device, variant);
    ck_assert_int_gt(p->cpu.n, 0);
    ck_assert_int_eq(p->cpu.n, p->device.n);
    for (int i = 0; i < p->cpu.n; i++) ck_assert_uint_eq(p->cpu.of[i].size, p->device.of[i].size);
    return p;
}

static int all_zero(const struct results *r)
{
    for (int i = 0; i < r->n; i++)
        for (size_t k = 0; k < r->of[i].size; k++)
            if (((const unsigned char *)r->of[i].bytes)[k]) return 0;
    return 1;
}

/* Gives every NaN the same bits: a device's arithmetic has one of its own, a CPU's keeps that of an operand. */
static void level_nans(struct result *r)
{
    uint32_t *wide = r->bytes;
    uint16_t *narrow = r->bytes;
    for (size_t i = 0; r->dtype == RELORA_F32 && i < r->size / sizeof *wide; i++)
        if ((wide[i] & 0x7FFFFFFFu) > 0x7F800000u) wide[i] = 0x7FFFFFFFu;
    for (size_t i = 0; r->dtype == RELORA_BF16 && i < r->size / sizeof *narrow; i++)
        if ((narrow[i] & 0x7FFFu) > 0x7F80u) narrow[i] = 0x7FFFu;
}

void same_on_both(work_fn work, int variant)
{
    struct pair *p = on_both(work, variant);
    ck_assert(!all_zero(&p->cpu));
    for (int i = 0; i < p->cpu.n; i++) {
        struct result *want = &p->cpu.of[i], *got = &p->device.of[i];
        level_nans(want);
        level_nans(got);
        same_bytes(got->bytes, want->bytes, want->size, want->name, __FILE__, __LINE__);
    }
}

static double *widened(const struct result *r, int64_t *count)
{
    int64_t n = *count = (int64_t)(r->size / (r->dtype == RELORA_BF16 ? 2 : 4));
    double *values = doubles(n);
    for (int64_t i = 0; i < n; i++)
        values[i] = r->dtype == RELORA_BF16 ? (double)bf16_value(((const uint16_t *)r->bytes)[i])
                                            : (double)((const float *)r->bytes)[i];
    return values;
}

void near_on_both(work_fn work, int variant, int64_t k)
{
    struct pair *p = on_both(work, variant);
    ck_assert(!all_zero(&p->cpu));
    for (int i = 0; i < p->cpu.n; i++) {
        int64_t n;
        ck_assert_int_ne(p->cpu.of[i].dtype, 0);
        double *want = widened(&p->cpu.of[i], &n), *got = widened(&p->device.of[i], &n);
        double tolerance = close_tolerance(0, p->cpu.of[i].dtype, largest(want, n), k);
        close_check(got, want, n, tolerance, p->cpu.of[i].name, __FILE__, __LINE__);
    }
}
