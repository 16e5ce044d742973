/* src/plan.c: what each order multiplies, counted again here product by product; and what AUTO makes of it. */
#include "unit/suites.h"
#include "plan.h"

/* Products as their three sides: T rows, n in, m out, r rank. */
struct order {
    relora_order order;
    const char *always, *for_dx;
};

static const struct order forward_orders[] = {
    {RELORA_ORDER_SPLIT, "Tnm Tnr Trm", ""}, /* x W^T, u = x A^T, u (s B)^T */
    {RELORA_ORDER_FOLD, "mrn Tnm", ""},      /* s B A, x V^T */
};
static const struct order backward_orders[] = {
    {RELORA_ORDER_SPLIT, "Tnr Tmr rTn mTr", "Tmn Trn"}, /* u, h = g B, h^T x, g^T u; g W, h A */
    {RELORA_ORDER_FOLD, "Tnr Tmr rTn mTr", "mrn Tmn"},  /* the same; s B A, g V */
    {RELORA_ORDER_THROUGH, "mTn rmn mnr", "mrn Tmn"},   /* G = g^T x, B^T G, G A^T; s B A, g V */
};

/* What is left of them where one factor is frozen, A and then B. */
static const struct order frozen_orders[2][3] = {
    {
        {RELORA_ORDER_SPLIT, "Tnr mTr", "Tmr Tmn Trn"}, /* u, g^T u; h, g W, h A */
        {RELORA_ORDER_FOLD, "Tnr mTr", "mrn Tmn"},
        {RELORA_ORDER_THROUGH, "mTn mnr", "mrn Tmn"}, /* G = g^T x, G A^T */
    },
    {
        {RELORA_ORDER_SPLIT, "Tmr rTn", "Tmn Trn"}, /* h, h^T x; g W, h A */
        {RELORA_ORDER_FOLD, "Tmr rTn", "mrn Tmn"},
        {RELORA_ORDER_THROUGH, "mTn rmn", "mrn Tmn"}, /* G = g^T x, B^T G */
    },
};

static double side(const struct plan_case *c, char name)
{
    return (double)(name == 'T' ? c->rows : name == 'n' ? c->in : name == 'm' ? c->out : c->rank);
}

static double products(const struct plan_case *c, const char *text)
{
    double sum = 0;
    for (; *text; text += 3 + (text[3] == ' ')) sum += side(c, text[0]) * side(c, text[1]) * side(c, text[2]);
    return sum;
}

static double flops(const struct plan_case *c, const struct order *o)
{
    return 2 * (products(c, o->always) + (c->wants_dx ? products(c, o->for_dx) : 0));
}

static struct plan_case free_case(int64_t rows, int64_t in, int64_t out, int64_t rank)
{
    return (struct plan_case){.rows = rows,
                              .in = in,
                              .out = out,
                              .rank = rank,
                              .dtype = RELORA_F32,
                              .device = RELORA_DEVICE_CPU,
                              .may_fold = 1,
                              .may_through = 1,
                              .wants_dx = 1};
}

/* What multiplies: each has costs of its own; a fold's are those of so many multiply-adds an element. */
static const struct machine {
    relora_dtype dtype;
    relora_provider provider;
    relora_isa isa;
    int32_t converts;
    double fold;
} machines[] = {
    {RELORA_F32, RELORA_PROVIDER_ONEDNN, RELORA_ISA_AVX512, 0, 50},
    {RELORA_F32, RELORA_PROVIDER_OWN, RELORA_ISA_AVX2, 0, 27},
    {RELORA_BF16, RELORA_PROVIDER_OWN, RELORA_ISA_AVX2, 1, 75},
    {RELORA_BF16, RELORA_PROVIDER_OWN, RELORA_ISA_AVX512, 1, 33},
    {RELORA_BF16, RELORA_PROVIDER_ONEDNN, RELORA_ISA_AVX512, 0, 96},
    {RELORA_BF16, RELORA_PROVIDER_ONEDNN, RELORA_ISA_AMX, 0, 700},
};
enum { MACHINES = sizeof machines / sizeof *machines, TILES = MACHINES - 1 };

static void put_on(struct plan_case *c, const struct machine *m)
{
    c->dtype = m->dtype, c->provider = m->provider, c->isa = m->isa, c->converts = m->converts;
}

/* Up to `most`, each size as likely as its double. */
static int64_t any_size(struct rnd *r, double most) { return (int64_t)exp(rnd_uniform(r, 0, log(most))); }

static struct plan_case any_case(struct rnd *r)
{
    struct plan_case c =
        free_case(any_size(r, 65537), any_size(r, 16385), any_size(r, 16385), any_size(r, 4097));
    uint64_t bits = rnd_bits(r);
    put_on(&c, &machines[bits / 8 % MACHINES]);
    c.wants_dx = (bits & 2) != 0;
    c.device = bits & 4 ? RELORA_DEVICE_CUDA : RELORA_DEVICE_CPU;
    return c;
}
enum { CASES = 6000 };

/* Up to 2^44, so exact in double whatever the order of the sums. */
START_TEST(test_products)
{
    struct rnd r = rnd_seed(1);
    for (int i = 0; i < CASES; i++) {
        struct plan_case c = any_case(&r);
        for (int k = 0; k < 2; k++) {
            struct plan p = plan_forward(&c, forward_orders[k].order);
            ck_assert_int_eq(p.order, forward_orders[k].order);
            ck_assert_double_eq(p.flops, flops(&c, &forward_orders[k]));
        }
        for (int k = 0; k < 3; k++) {
            struct plan p = plan_backward(&c, backward_orders[k].order);
            ck_assert_int_eq(p.order, backward_orders[k].order);
            ck_assert_double_eq(p.flops, flops(&c, &backward_orders[k]));
        }
    }
}
END_TEST

/* With one factor frozen. A trainable scale needs u and h all the same, so one product fewer is left out. */
START_TEST(test_frozen)
{
    struct rnd r = rnd_seed(7);
    for (int i = 0; i < CASES; i++) {
        struct plan_case c = any_case(&r);
        int b = i % 2;
        c.freezes_a = !b, c.freezes_b = b;
        for (int k = 0; k < 3; k++) {
            struct plan p = plan_backward(&c, frozen_orders[b][k].order);
            ck_assert_int_eq(p.order, frozen_orders[b][k].order);
            ck_assert_double_eq(p.flops, flops(&c, &frozen_orders[b][k]));
        }
        c.may_through = 0;
        double all = flops(&c, &backward_orders[0]);
        double left_out = 2 * products(&c, b ? "mTr" : "rTn");
        ck_assert_double_eq(plan_backward(&c, RELORA_ORDER_SPLIT).flops, all - left_out);
    }
}
END_TEST

/* Leaving one factor out costs no more, whatever is chosen, and moves the border: THROUGH saves more of SPLIT. */
START_TEST(test_frozen_is_cheaper)
{
    struct rnd r = rnd_seed(8);
    int moved = 0;
    for (int i = 0; i < CASES; i++) {
        struct plan_case c = any_case(&r);
        struct plan both = plan_backward(&c, RELORA_ORDER_AUTO);
        struct plan split = plan_backward(&c, RELORA_ORDER_SPLIT);
        c.freezes_a = i % 2, c.freezes_b = !c.freezes_a;
        struct plan one = plan_backward(&c, RELORA_ORDER_AUTO);
        ck_assert_double_lt(plan_backward(&c, RELORA_ORDER_SPLIT).flops, split.flops);
        moved += one.order != both.order;
    }
    ck_assert_int_gt(moved, 0);
}
END_TEST

/* AUTO is one of the orders, with the operations of that one. */
START_TEST(test_auto_counts)
{
    struct rnd r = rnd_seed(2);
    for (int i = 0; i < CASES; i++) {
        struct plan_case c = any_case(&r);
        struct plan f = plan_forward(&c, RELORA_ORDER_AUTO), b = plan_backward(&c, RELORA_ORDER_AUTO);
        ck_assert(f.order == RELORA_ORDER_SPLIT || f.order == RELORA_ORDER_FOLD);
        ck_assert(b.order >= RELORA_ORDER_SPLIT && b.order <= RELORA_ORDER_THROUGH);
        ck_assert_double_eq(f.flops, plan_forward(&c, f.order).flops);
        ck_assert_double_eq(b.flops, plan_backward(&c, b.order).flops);
    }
}
END_TEST

static double least(const struct plan_case *c, const struct order *orders, int n)
{
    double flops_of_best = INFINITY;
    for (int i = 0; i < n; i++) flops_of_best = fmin(flops_of_best, flops(c, &orders[i]));
    return flops_of_best;
}

/* For the sake of passes AUTO may take an order with more operations, but not many more. A pass over y, dx
 * or W costs at most as much as that of a fold; beside the product that makes the element, of 512 or more multiply-adds,
 * that is little, but for AMX. */
START_TEST(test_auto_is_near_the_least)
{
    struct rnd r = rnd_seed(3);
    for (int i = 0; i < CASES; i++) {
        int64_t in = 512 + any_size(&r, 8000), out = 512 + any_size(&r, 8000);
        struct plan_case c =
            free_case(512 + any_size(&r, 30000), in, out, any_size(&r, (double)(in < out ? in : out) / 4));
        put_on(&c, &machines[i % TILES]);
        double bound = 1 + machines[i % TILES].fold / 512;
        ck_assert_double_le(plan_forward(&c, RELORA_ORDER_AUTO).flops, bound * least(&c, forward_orders, 2));
        ck_assert_double_le(plan_backward(&c, RELORA_ORDER_AUTO).flops,
                            bound * least(&c, backward_orders, 3));
    }
}
END_TEST

/* Rows at which AUTO leaves SPLIT, found by halving. */
static double border(struct plan_case c, struct plan (*plan)(const struct plan_case *, relora_order))
{
    int64_t split = 0, other = INT64_C(1) << 40;
    while (other - split > 1) {
        c.rows = split + (other - split) / 2;
        if (plan(&c, RELORA_ORDER_AUTO).order == RELORA_ORDER_SPLIT) split = c.rows;
        else other = c.rows;
    }
    return (double)other;
}

/* By operations alone the fold pays forward from T = n m / (n + m) on, backward from T = m on, for any rank.
 * The pass over W raises that by up to its costs / r; the second pass over y or dx lowers it again, never below. */
START_TEST(test_borders)
{
    static const int64_t shapes[][3] = {{512, 512, 128},  {512, 1376, 128},  {2048, 2048, 128},
                                        {5461, 2048, 64}, {4096, 4096, 8},   {300, 5000, 17},
                                        {2048, 512, 512}, {768, 768, 100000}};
    const int64_t *s = shapes[_i % 8];
    struct plan_case c = free_case(0, s[0], s[1], s[2]);
    double n = (double)s[0], m = (double)s[1], more = machines[_i / 8].fold / (double)s[2];
    put_on(&c, &machines[_i / 8]);
    c.may_through = 0;
    double forward = border(c, plan_forward), backward = border(c, plan_backward);
    ck_assert_msg(forward >= floor(n * m / (n + m)) && forward <= n * m / (n + m) * (1 + more) + 1, "%g",
                  forward);
    ck_assert_msg(fabs(backward - m) <= more * m + 1, "%g", backward);
}
END_TEST

/* A fold of BF16 pays later where random words take long, or products little time; with AMX, THROUGH pays for
 * small layers alone. What does not tell how it multiplies is a library. */
START_TEST(test_machines)
{
    struct plan_case c = free_case(0, 1024, 1024, 8);
    double of[MACHINES];
    for (int i = 0; i < MACHINES; i++) {
        put_on(&c, &machines[i]);
        of[i] = border(c, plan_forward);
    }
    ck_assert_double_gt(of[2], of[3]);
    ck_assert_double_gt(of[4], of[3]);
    put_on(&c, &(struct machine){RELORA_F32, 0, 0, 0, 0});
    ck_assert_double_eq(border(c, plan_forward), of[0]);
    c.provider = RELORA_PROVIDER_BLAS;
    ck_assert_double_eq(border(c, plan_forward), of[0]);
    put_on(&c, &machines[TILES]);
    c.in = c.out = 512, c.rank = 512, c.rows = 4096;
    ck_assert_int_eq(plan_backward(&c, RELORA_ORDER_AUTO).order, RELORA_ORDER_THROUGH);
    c.in = c.out = 1024;
    ck_assert_int_eq(plan_backward(&c, RELORA_ORDER_AUTO).order, RELORA_ORDER_FOLD);
}
END_TEST

/* On a device a rank below 184 costs what reading costs, 184 a BF16 element, and adding to y or dx 368; a fold costs
 * 736 and the rank. So forward the fold pays from T = 864 n m / (184 n + 368 m) on, backward from T = 864 m / 368. */
START_TEST(test_device)
{
    static const int64_t shapes[][2] = {{2048, 2048}, {2048, 5461}, {4096, 4096}, {512, 1376}};
    struct plan_case c = free_case(16384, shapes[_i][0], shapes[_i][1], 128);
    double n = (double)c.in, m = (double)c.out;
    c.device = RELORA_DEVICE_CUDA;
    c.dtype = RELORA_BF16;
    ck_assert_int_eq(plan_forward(&c, RELORA_ORDER_AUTO).order, RELORA_ORDER_FOLD);
    ck_assert_int_eq(plan_backward(&c, RELORA_ORDER_AUTO).order, RELORA_ORDER_FOLD);
    c.may_through = 0;
    ck_assert_double_eq_tol(border(c, plan_forward), 864 * n * m / (184 * n + 368 * m), 1.0);
    ck_assert_double_eq_tol(border(c, plan_backward), 864 * m / 368, 1.0);
}
END_TEST

/* Below a rank of 184 in BF16, 28 in F32, a product with a factor waits for its large operand; never on the CPU. */
START_TEST(test_waits)
{
    struct plan_case c = free_case(16384, 2048, 2048, 183);
    c.device = RELORA_DEVICE_CUDA;
    c.dtype = RELORA_BF16;
    ck_assert(plan_waits(&c));
    c.rank = 184;
    ck_assert(!plan_waits(&c));
    c.rank = 27;
    c.dtype = RELORA_F32;
    ck_assert(plan_waits(&c));
    c.rank = 28;
    ck_assert(!plan_waits(&c));
    c.rank = 1;
    c.device = RELORA_DEVICE_CPU;
    ck_assert(!plan_waits(&c));
    c.dtype = RELORA_BF16;
    ck_assert(!plan_waits(&c));
}
END_TEST

/* A rank near the sides makes g^T x the cheapest way to the gradients, if it is allowed. */
START_TEST(test_large_rank)
{
    struct plan_case c = free_case(16384, 1024, 1024, 1024);
    c.dtype = _i % 2 ? RELORA_BF16 : RELORA_F32;
    c.wants_dx = _i / 2;
    ck_assert_int_eq(plan_backward(&c, RELORA_ORDER_AUTO).order, RELORA_ORDER_THROUGH);
    c.may_through = 0;
    ck_assert_int_eq(plan_backward(&c, RELORA_ORDER_AUTO).order,
                     c.wants_dx ? RELORA_ORDER_FOLD : RELORA_ORDER_SPLIT);
    c.rank = 64;
    c.may_through = 1;
    ck_assert_int_ne(plan_backward(&c, RELORA_ORDER_AUTO).order, RELORA_ORDER_THROUGH);
}
END_TEST

/* Without dx there is nothing to multiply by W + s B A. */
START_TEST(test_no_dx)
{
    struct rnd r = rnd_seed(4);
    for (int i = 0; i < CASES; i++) {
        struct plan_case c = any_case(&r);
        c.wants_dx = 0;
        ck_assert_int_ne(plan_backward(&c, RELORA_ORDER_AUTO).order, RELORA_ORDER_FOLD);
    }
}
END_TEST

/* What is not allowed falls back to SPLIT and its count, asked for or not. */
START_TEST(test_not_allowed)
{
    struct rnd r = rnd_seed(5);
    for (int i = 0; i < CASES; i++) {
        struct plan_case c = any_case(&r);
        c.may_fold = i % 2;
        c.may_through = 0;
        struct plan p = plan_backward(&c, RELORA_ORDER_THROUGH);
        ck_assert_int_eq(p.order, RELORA_ORDER_SPLIT);
        ck_assert_double_eq(p.flops, flops(&c, &backward_orders[0]));
        ck_assert_int_ne(plan_backward(&c, RELORA_ORDER_AUTO).order, RELORA_ORDER_THROUGH);
        if (c.may_fold) continue;
        c.may_through = 1; /* THROUGH folds for dx, so it needs both */
        for (relora_order o = RELORA_ORDER_AUTO; o <= RELORA_ORDER_THROUGH; o++) {
            ck_assert_int_eq(plan_backward(&c, o).order, RELORA_ORDER_SPLIT);
            if (o < RELORA_ORDER_THROUGH) ck_assert_int_eq(plan_forward(&c, o).order, RELORA_ORDER_SPLIT);
        }
        ck_assert_double_eq(plan_forward(&c, RELORA_ORDER_FOLD).flops, flops(&c, &forward_orders[0]));
    }
}
END_TEST

/* Each order costs a constant more than the one before and less for each row, so more rows never lead back:
 * the numbers of the orders rise. Twice the rows are no fewer operations either. */
START_TEST(test_more_rows)
{
    struct rnd r = rnd_seed(6);
    int seen[5] = {0};
    for (int i = 0; i < CASES / 10; i++) {
        struct plan_case c = any_case(&r);
        struct plan f = {0, 0}, b = {0, 0};
        for (c.rows = 1; c.rows < 1 << 20; c.rows *= 2) {
            struct plan next_f = plan_forward(&c, RELORA_ORDER_AUTO),
                        next_b = plan_backward(&c, RELORA_ORDER_AUTO);
            ck_assert(next_f.order >= f.order && next_b.order >= b.order);
            f = next_f, b = next_b;
            seen[b.order]++;
        }
    }
    for (relora_order o = RELORA_ORDER_SPLIT; o <= RELORA_ORDER_THROUGH; o++) ck_assert_int_gt(seen[o], 100);
}
END_TEST

/* No rows: no operations, no fold. All sizes at their largest: still a number. */
START_TEST(test_ends)
{
    struct plan_case none = free_case(0, 300, 500, 7),
                     huge = free_case(INT64_MAX, INT64_MAX, INT64_MAX, INT64_MAX);
    for (int dx = 0; dx < 2; dx++) {
        none.wants_dx = huge.wants_dx = dx;
        ck_assert_int_eq(plan_forward(&none, RELORA_ORDER_AUTO).order, RELORA_ORDER_SPLIT);
        ck_assert_int_eq(plan_backward(&none, RELORA_ORDER_AUTO).order, RELORA_ORDER_SPLIT);
        ck_assert_double_eq(plan_forward(&none, RELORA_ORDER_AUTO).flops, 0);
        ck_assert_double_eq(plan_backward(&none, RELORA_ORDER_AUTO).flops, 0);
        ck_assert(isfinite(plan_forward(&huge, RELORA_ORDER_AUTO).flops));
        ck_assert(isfinite(plan_backward(&huge, RELORA_ORDER_AUTO).flops));
    }
}
END_TEST

Suite *unit_plan(void)
{
    Suite *s = suite_create("plan");
    TCase *tc = tcase_create("plan");
    tcase_add_test(tc, test_products);
    tcase_add_test(tc, test_frozen);
    tcase_add_test(tc, test_frozen_is_cheaper);
    tcase_add_test(tc, test_auto_counts);
    tcase_add_test(tc, test_auto_is_near_the_least);
    tcase_add_loop_test(tc, test_borders, 0, 8 * MACHINES);
    tcase_add_test(tc, test_machines);
    tcase_add_loop_test(tc, test_device, 0, 4);
    tcase_add_test(tc, test_waits);
    tcase_add_loop_test(tc, test_large_rank, 0, 4);
    tcase_add_test(tc, test_no_dx);
    tcase_add_test(tc, test_not_allowed);
    tcase_add_test(tc, test_more_rows);
    tcase_add_test(tc, test_ends);
    suite_add_tcase(s, tc);
    return s;
}
