/* A program of the time of 0.5.0: a group of layers through a warm start, a merge and a file; the calendar of a
 * schedule; a restart by functions; memory of its own; who owns a buffer; whose failure a text is. */
#include "abi/caller.h"

enum {
    N = 4
};

static relora_tensor *matrix(float *data, int64_t rows, int64_t columns)
{
    relora_tensor *t = NULL;
    OK(relora_tensor_borrow_matrix(&t, dev, RELORA_F32, rows, columns, data));
    TRUE(relora_tensor_data(t) == data && relora_tensor_dim(t, 0) == rows && relora_tensor_dim(t, 1) == columns);
    return t;
}

static relora_linear *layer(uint64_t id, relora_tensor *weight)
{
    GUARDED(relora_linear_options, o);
    relora_linear *l = NULL;
    OK(relora_linear_options_init(&o.is, sizeof o.is));
    o.is.in_features = o.is.out_features = N;
    o.is.rank = 2;
    o.is.mode = RELORA_MODE_FULL;
    o.is.layer = id;
    OK(relora_linear_create(&l, dev, &o.is));
    TRUE(o.guard == GUARD);
    OK(relora_linear_set_weight(l, weight, NULL));
    return l;
}

static void list(relora_group *group, relora_tensor *const *t)
{
    GUARDED(relora_linear_options, o);
    relora_linear *wrapped = NULL, *own = layer(7, t[1]);
    int32_t index = -1;
    OK(relora_linear_options_init(&o.is, sizeof o.is));
    o.is.rank = 2;
    o.is.mode = RELORA_MODE_FULL;
    OK(relora_group_wrap(group, "in", t[0], NULL, &o.is, &wrapped));
    OK(relora_group_add_linear(group, "out", own));
    OK(relora_group_add_param(group, "norm", t[2], t[3]));
    TRUE(relora_group_add_linear(group, "again", own) == RELORA_E_EXISTS);
    TRUE(relora_group_count(group) == 3 && o.guard == GUARD);
    OK(relora_group_find(group, "norm", &index));
    TRUE(index == 2 && strcmp(relora_group_name(group, 2), "norm") == 0);
    TRUE(relora_group_find(group, "head", &index) == RELORA_E_NOT_FOUND);
    TRUE(relora_group_linear(group, 0) == wrapped && relora_group_linear(group, 1) == own);
    TRUE(!relora_group_linear(group, 2) && !relora_group_value(group, 0));
    TRUE(relora_group_value(group, 2) == t[2] && relora_group_grad(group, 2) == t[3]);
    relora_linear_release(own);
}

static void reports(void)
{
    GUARDED(relora_plan_report, plan);
    GUARDED(relora_step_report, step);
    GUARDED(relora_reset_report, reset);
    OK(relora_plan_report_init(&plan.is, sizeof plan.is));
    OK(relora_step_report_init(&step.is, sizeof step.is));
    OK(relora_reset_report_init(&reset.is, sizeof reset.is));
    TRUE(plan.guard == GUARD && step.guard == GUARD && reset.guard == GUARD);
    TRUE(plan.is.struct_size == sizeof plan.is && step.is.struct_size == sizeof step.is &&
         reset.is.struct_size == sizeof reset.is);
}

/* What a cycle takes from a schedule, and the group it restarts. */
static void calendar(relora_group *group, relora_adam *adam)
{
    GUARDED(relora_cycle_options, o);
    relora_schedule_options so;
    relora_schedule *schedule;
    relora_cycle *cycle;
    OK(relora_schedule_options_init(&so, sizeof so));
    so.lr = 1;
    so.total_steps = 20;
    so.restart_every = 5;
    OK(relora_schedule_create(&schedule, ctx, &so));
    OK(relora_cycle_options_init(&o.is, sizeof o.is));
    OK(relora_cycle_options_follow(&o.is, schedule));
    TRUE(o.is.merge_every == 5 && o.is.first_step == 0 && o.guard == GUARD);
    OK(relora_cycle_create(&cycle, ctx, &o.is, adam, NULL));
    OK(relora_cycle_add_group(cycle, group));
    relora_cycle_release(cycle);
    relora_schedule_release(schedule);
}

static void restart(relora_group *group, relora_tensor *grad)
{
    GUARDED(relora_merge_report, merge);
    relora_adam *adam;
    float ones[N] = {1, 1, 1, 1};
    OK(relora_group_set_mode(group, st, RELORA_MODE_LORA));
    OK(relora_adam_create(&adam, dev, NULL));
    OK(relora_adam_add_group(adam, group));
    TRUE(relora_adam_count(adam) == 5); /* A and B of two layers, and the norm */
    calendar(group, adam);
    OK(relora_tensor_write(grad, st, ones, sizeof ones));
    OK(relora_group_zero_grad(group, st));
    OK(relora_tensor_read(grad, st, ones, sizeof ones));
    TRUE(ones[0] == 0 && ones[N - 1] == 0);
    OK(relora_merge_report_init(&merge.is, sizeof merge.is));
    OK(relora_group_merge(group, st, 1, &merge.is));
    OK(relora_group_reset(group, st, 1));
    TRUE(merge.guard == GUARD && merge.is.struct_size == sizeof merge.is);
    relora_adam_release(adam);
}

/* The weights, into a file in memory and back by their names. */
static void weights(relora_group *group, float *w)
{
    GUARDED(relora_read_report, report);
    const float first = w[0];
    relora_state *state;
    relora_reader *reader = (relora_reader *)&failures;
    static const char file[] = "\x40\0\0\0\0\0\0\0"
                               "{\"norm\":{\"dtype\":\"F32\",\"shape\":[1,4],\"data_offsets\":[0,16]}}    "
                               "\0\0\x80\x3f"
                               "\0\0\0\x40"
                               "\0\0\x40\x40"
                               "\0\0\x80\x40"; /* 1, 2, 3, 4 */
    OK(relora_reader_open_if_there(&reader, ctx, "/nowhere/at/all"));
    TRUE(!reader);
    OK(relora_state_create(&state, ctx));
    OK(relora_state_add_group(state, group));
    OK(relora_reader_open_memory(&reader, ctx, file, sizeof file - 1));
    OK(relora_read_report_init(&report.is, sizeof report.is));
    TRUE(relora_reader_read_group(reader, st, group, 0, &report.is) == RELORA_E_NOT_FOUND);
    TRUE(report.is.missing == 2 && report.is.left_over == 0 && report.guard == GUARD);
    OK(relora_reader_read_group(reader, st, group, RELORA_READ_ALLOW_MISSING, &report.is));
    TRUE(report.is.read == 1 && w[0] == first);
    TRUE(((float *)relora_tensor_data(relora_group_value(group, 2)))[1] == 2);
    relora_reader_release(reader);
    relora_state_release(state);
}

/* A restart, and moments, without any object of the library. */
static void functions(void)
{
    GUARDED(relora_merge_options, o);
    float w[N * N] = {0}, a[2 * N], b[2 * N], m[2 * N], v[2 * N];
    relora_tensor *tw = matrix(w, N, N), *ta = matrix(a, 2, N), *tb = matrix(b, N, 2);
    relora_tensor *tm = matrix(m, 2, N), *tv = matrix(v, 2, N);
    OK(relora_merge_options_init(&o.is, sizeof o.is));
    TRUE(o.guard == GUARD && o.is.scale == 1 && o.is.struct_size == sizeof o.is);
    OK(relora_factors_draw(st, ta, tb, 3, 1, 0));
    TRUE(b[0] == 0 && a[0] != 0);
    for (int i = 0; i < 2 * N; i++) b[i] = 1, m[i] = (float)(i + 1), v[i] = 1;
    OK(relora_merge(st, tw, ta, tb, &o.is, NULL));
    TRUE(fabsf(w[0] - (a[0] + a[N])) < 1e-6f);
    OK(relora_moments_reset(st, tm, tv, 0, NULL, NULL)); /* 99 % of eight elements: seven go */
    TRUE(m[0] == 0 && v[0] == 0 && m[2 * N - 1] == 2 * N);
    relora_tensor *all[] = {tw, ta, tb, tm, tv};
    for (int i = 0; i < 5; i++) relora_tensor_release(all[i]);
}

/* Factors, gradients and moments in memory of the program's own, and passes over plain pointers. */
static void own_memory(void)
{
    float w[N * N] = {0}, a[2 * N], grad[2 * N] = {0}, m[2 * N] = {0}, v[2 * N] = {0}, p[N] = {1}, g[N] = {0};
    float pm[N] = {0}, pv[N] = {0}, x[2 * N], y[2 * N], dx[2 * N];
    relora_tensor *tw = matrix(w, N, N), *ta = matrix(a, 2, N), *tg = matrix(grad, 2, N), *tm = matrix(m, 2, N);
    relora_tensor *tv = matrix(v, 2, N), *tp = matrix(p, 1, N), *tpg = matrix(g, 1, N), *tpm = matrix(pm, 1, N);
    relora_tensor *tpv = matrix(pv, 1, N);
    relora_linear *l = layer(9, tw);
    relora_adam *adam;
    for (int i = 0; i < 2 * N; i++) a[i] = 1, x[i] = (float)i;
    OK(relora_linear_set_mode(l, st, RELORA_MODE_LORA));
    OK(relora_linear_set_param(l, RELORA_PARAM_A, ta));
    OK(relora_linear_set_grad(l, RELORA_PARAM_A, tg));
    TRUE(relora_linear_param(l, RELORA_PARAM_A) == ta && relora_linear_grad(l, RELORA_PARAM_A) == tg);
    OK(relora_adam_create(&adam, dev, NULL));
    OK(relora_adam_add_linear(adam, "l", l));
    OK(relora_adam_set_moments(adam, 0, tm, tv));
    OK(relora_adam_add_moments(adam, "p", tp, tpg, tpm, tpv, NULL));
    OK(relora_linear_forward_at(l, st, 2, x, N, y, N, 1, RELORA_TRAIN));
    OK(relora_linear_backward_at(l, st, 2, x, N, y, N, dx, N, 1, RELORA_TRAIN));
    TRUE(y[0] == 0 && dx[N] == 0);
    relora_adam_release(adam);
    relora_linear_release(l);
    relora_tensor *all[] = {tw, ta, tg, tm, tv, tp, tpg, tpm, tpv};
    for (int i = 0; i < 9; i++) relora_tensor_release(all[i]);
}

static int owners[2];
static void drop(void *user, void *data)
{
    (void)data;
    ++*(int *)user;
}

static void buffers(void)
{
    float a[N] = {0}, b[N] = {0};
    const int64_t shape[1] = {N};
    char text[200] = "";
    relora_tensor *t;
    OK(relora_tensor_borrow(&t, dev, RELORA_F32, 1, shape, NULL, a, drop, &owners[0]));
    OK(relora_tensor_set_data_owned(t, b, drop, &owners[1]));
    TRUE(owners[0] == 1 && owners[1] == 0 && relora_tensor_data(t) == b);
    TRUE(relora_tensor_write(t, st, a, 1) == RELORA_E_SHAPE); /* one byte of four floats */
    OK(relora_stream_error(st, text, sizeof text, NULL));
    TRUE(strstr(text, "relora_tensor_write") != NULL);
    relora_tensor_release(t);
    TRUE(owners[0] == 1 && owners[1] == 1);
}

static int ended;
static void end(void *user)
{
    ++*(int *)user;
}

static void last_word(void)
{
    GUARDED(relora_context_options, o);
    relora_context *other = NULL;
    OK(relora_context_options_init(&o.is, sizeof o.is));
    TRUE(!o.is.on_destroy && o.guard == GUARD);
    o.is.on_destroy = end;
    o.is.destroy_user = &ended;
    OK(relora_context_create(&other, &o.is));
    relora_context_release(other);
    TRUE(ended == 1);
}

int main(void)
{
    float w0[N * N], w1[N * N], norm[N] = {1, 1, 1, 1}, grad[N] = {0};
    relora_group *group;
    open_context();
    for (int i = 0; i < N * N; i++) w0[i] = (float)(i % 5) / 8, w1[i] = (float)(i % 7) / 8;
    relora_tensor *t[4] = {matrix(w0, N, N), matrix(w1, N, N), matrix(norm, 1, N), matrix(grad, 1, N)};
    OK(relora_group_create(&group, dev));
    list(group, t);
    reports();
    restart(group, t[3]);
    weights(group, w0);
    relora_group_release(group);
    for (int i = 0; i < 4; i++) relora_tensor_release(t[i]);
    functions();
    own_memory();
    buffers();
    last_word();
    return close_context();
}
