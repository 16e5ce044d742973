/* Calls on tensors that restart a host's own model. */
#include <math.h>
#include <string.h>
#include "fuzz/api_world.h"

/* Two factors that belong together, mostly; sometimes any tensors. */
static void choose_factors(relora_tensor *like, relora_tensor **a, relora_tensor **b)
{
    uint8_t c = choose(), seed = choose();
    if (c >= 200 || !like || relora_tensor_ndim(like) != 2) {
        *a = pick_any_tensor();
        *b = pick_any_tensor();
        return;
    }
    int turn = c % 2; /* [in, out] */
    const int64_t rank = c / 2 % 3 + 1, out = relora_tensor_dim(like, turn),
                  in = relora_tensor_dim(like, !turn);
    *a = temporary(like, RELORA_F32, 2, (int64_t[]){rank, in}, seed);
    *b = temporary(like, RELORA_F32, 2, (int64_t[]){out, rank}, seed / 2);
}

/* A tensor of the shape of another, mostly. */
static relora_tensor *choose_like(const relora_tensor *like)
{
    uint8_t c = choose();
    int64_t shape[2];
    if (c >= 200 || !like || relora_tensor_ndim(like) > 2) return pick_any_tensor();
    for (int32_t i = 0; i < relora_tensor_ndim(like); i++) shape[i] = relora_tensor_dim(like, i);
    if (c >= 192) return hollow(like, relora_tensor_ndim(like), shape);
    return temporary(like, RELORA_F32, relora_tensor_ndim(like), shape, c);
}

/* A gradient that fits, mostly. */
static relora_tensor *choose_gradient(relora_tensor *like)
{
    uint8_t c = choose();
    if (c >= 208 || !like || relora_tensor_ndim(like) != 2) return pick_any_tensor();
    return temporary(like, RELORA_F32, 2, (int64_t[]){relora_tensor_dim(like, 0), relora_tensor_dim(like, 1)},
                     c);
}

void step_full_rank(relora_linear *linear, relora_stream *stream)
{
    relora_tensor *grad = choose_gradient(relora_linear_param(linear, RELORA_PARAM_WEIGHT));
    double lr = choose_real(0.01);
    uint64_t step = (uint64_t)choose_number(1);
    relora_full_rank_report *report = choose_report(sizeof *report);
    if (CALL(relora_linear_full_rank_step, linear, stream, grad, lr, step, report) == RELORA_OK && report)
        result(report, report->struct_size);
}

static void step_tensors(relora_stream *stream, relora_tensor *weight, const relora_merge_options *o)
{
    relora_tensor *grad = choose_gradient(weight);
    double lr = choose_real(0.01);
    if (!stream && !weight && !grad) return; /* the factors are handles that the call is not given */
    const void *options = choose_options(o, sizeof *o, sizeof *o);
    relora_full_rank_report *report = choose_report(sizeof *report);
    if (CALL(relora_full_rank_step, stream, weight, grad, lr, options, report) == RELORA_OK && report)
        result(report, report->struct_size);
}

void merge_tensors(void)
{
    relora_merge_options o;
    relora_tensor *a, *b;
    REQUIRE(relora_merge_options_init(&o, sizeof o) == RELORA_OK);
    relora_stream *stream = pick(STREAM);
    relora_tensor *weight = pick_any_tensor();
    choose_factors(weight, &a, &b);
    uint8_t c = choose();
    o.flags = c < 240 ? c % 4 : c;
    o.rounding = c / 4 % 2 + 1;
    o.scale = choose_real(1);
    o.cycle = (uint64_t)choose_number(1);
    if (o.cycle == 2) {
        step_tensors(stream, weight, &o);
        return;
    }
    const void *options = choose_options(&o, sizeof o, sizeof o);
    relora_merge_report *report = choose_report(sizeof *report);
    if (CALL(relora_merge, stream, weight, a, b, options, report) == RELORA_OK && report)
        result(report, report->struct_size);
}

static void renew_factors(relora_stream *stream, relora_tensor *a, relora_tensor *b, uint8_t c)
{
    relora_factors_options o;
    REQUIRE(relora_factors_options_init(&o, sizeof o) == RELORA_OK);
    o.init = c % 6;
    relora_tensor *gradient = c & 8 ? choose_like(a) : NULL; /* first, as it may be made */
    const void *options = choose_options(&o, sizeof o, sizeof o);
    relora_merge_report *report = choose_report(sizeof *report);
    if (CALL(relora_factors_renew, stream, a, b, gradient, options, report) < 0 || !report) return;
    if (report->struct_size >= sizeof *report)
        REQUIRE(report->overlap >= 0 && report->overlap <= 1.001 && report->gradient_before <= 1.001 &&
                report->gradient_after <= 1.001);
    result(report, report->struct_size);
}

static void project_moments(relora_stream *stream, relora_tensor *first, relora_tensor *second)
{
    relora_tensor *a, *b;
    choose_factors(first, &a, &b);
    double beta1 = choose_real(0.9), beta2 = choose_real(0.99);
    int64_t steps = choose_number(3);
    if (choose() % 4) first = b, second = choose_like(b);
    relora_tensor *now = choose_like(a);
    CALL(relora_moments_project, stream, first, second, a, now, beta1, beta2, steps);
}

void draw_factors(void)
{
    relora_tensor *a, *b;
    relora_stream *stream = pick(STREAM);
    relora_tensor *like = pick_any_tensor();
    choose_factors(like, &a, &b);
    uint64_t seed = (uint64_t)choose_number(1), layer = choose(), cycle = choose();
    if (!stream && !a && !b) return; /* `like` is a handle that the call is not given */
    if (cycle < 128) CALL(relora_factors_draw, stream, a, b, seed, layer, cycle);
    else renew_factors(stream, a, b, (uint8_t)cycle);
}

void prune_moments(void)
{
    relora_reset_options o;
    REQUIRE(relora_reset_options_init(&o, sizeof o) == RELORA_OK);
    relora_stream *stream = pick(STREAM);
    relora_tensor *first = pick_any_tensor(), *second = pick_any_tensor();
    uint8_t c = choose();
    if (c >= 224 && (stream || first || second)) {
        project_moments(stream, first, second);
        return;
    }
    o.mode = c % 5 + 1;
    o.flags = c / 5 % 8;
    o.ratio = choose_real(0.5);
    const void *options = choose_options(&o, sizeof o, sizeof o);
    relora_reset_report *report = choose_report(sizeof *report);
    if (CALL(relora_moments_reset, stream, first, second, c, options, report) == RELORA_OK && report)
        result(report, report->struct_size);
}

/* ---- objects over the host's memory ---- */

void lend_part(void)
{
    relora_linear *linear = pick(LINEAR);
    uint8_t c = choose();
    relora_param param = c / 2 % 8;
    relora_tensor *t = choose_like(relora_linear_param(linear, param));
    if (c % 2) {
        if (CALL(relora_linear_set_param, linear, param, t) == RELORA_OK)
            REQUIRE(relora_linear_param(linear, param) == t);
    } else if (CALL(relora_linear_set_grad, linear, param, t) == RELORA_OK) {
        REQUIRE(relora_linear_grad(linear, param) == t);
    }
}

void lend_moments(void)
{
    relora_adam *adam = pick(ADAM);
    uint8_t c = choose();
    int32_t index = c / 2 % 5 - 1, before = relora_adam_count(adam);
    if (c % 2) {
        relora_tensor *like = relora_adam_moment(adam, index, RELORA_MOMENT_FIRST);
        relora_tensor *first = choose_like(like), *second = choose_like(like);
        CALL(relora_adam_set_moments, adam, index, first, second);
        return;
    }
    const char *name = choose_name();
    relora_tensor *param = pick_any_tensor(), *grad = choose_like(param);
    relora_tensor *first = choose_like(param), *second = choose_like(param);
    relora_status status = CALL(relora_adam_add_moments, adam, name, param, grad, first, second, NULL);
    if (adam) REQUIRE(relora_adam_count(adam) == before + (status == RELORA_OK));
}

/* ---- branches, and what a new optimizer takes over ---- */

/* A host that refuses, fails after it has agreed, or merges into nothing. */
static relora_status merge_branch(void *user, relora_stream *stream, const relora_tensor *a,
                                  const relora_tensor *b, const relora_merge_options *options,
                                  relora_merge_report *report)
{
    const unsigned char *how = user;
    REQUIRE(stream && a && b && report && options->struct_size == sizeof *options);
    REQUIRE(relora_tensor_dim(a, 0) == relora_tensor_dim(b, 1) && isfinite(options->scale));
    if (options->flags & RELORA_MERGE_LOOK) return *how & 1 ? RELORA_E_IO : RELORA_OK;
    if (*how & 2) {
        world_host_failed();
        return RELORA_E_UNSUPPORTED;
    }
    report->delta_norm = 3, report->weight_norm = 4;
    return RELORA_OK;
}

void set_target(void)
{
    static unsigned char hows[4] = {0, 1, 2, 3};
    relora_linear *linear = pick(LINEAR);
    uint8_t c = choose();
    const relora_tensor *a = relora_linear_param(linear, RELORA_PARAM_A);
    const relora_tensor *b = relora_linear_param(linear, RELORA_PARAM_B);
    relora_tensor *weight = c & 1 ? pick_any_tensor() : NULL;
    if (a && b && c & 2) {
        int64_t shape[] = {relora_tensor_dim(b, 0), relora_tensor_dim(a, 1)};
        weight = temporary(a, c & 4 ? RELORA_F32 : RELORA_BF16, 2, shape, c);
    }
    relora_merge_fn by = c & 8 ? merge_branch : NULL;
    void *user = &hows[c / 16 % 4];
    if (CALL(relora_linear_set_target, linear, weight, by, user) == RELORA_OK) REQUIRE(!weight || !by);
}

void carry_moments(void)
{
    relora_adam *adam = pick(ADAM);
    relora_stream *stream = pick(STREAM);
    const relora_adam *from = pick(ADAM);
    uint8_t c = choose();
    int32_t indices[4], carried = -7, count = c % 4;
    for (int i = 0; i < 4; i++) indices[i] = choose() % 8 - 1;
    int32_t all = relora_adam_count(adam);
    if (CALL(relora_adam_carry, adam, stream, from, count ? indices : NULL, c < 240 ? count : c, &carried) ==
        RELORA_OK)
        REQUIRE(carried > 0 && carried <= all);
    else REQUIRE(carried == -7);
}
