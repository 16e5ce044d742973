/* Calls on optimizers, schedules and cycles. */
#include <stddef.h>
#include <stdlib.h>
#include "fuzz/api_world.h"

static relora_status exchange(void *user, void *native, void *data, int64_t count, relora_comm_type type)
{
    (void)user, (void)native, (void)data, (void)count, (void)type;
    return RELORA_E_IO;
}

/* Tables of one rank, wrong ones, and those of several, for whose exchanges the allocator here has no memory. */
static const relora_comm *choose_comm(void)
{
    relora_comm comm;
    REQUIRE(relora_comm_init(&comm, sizeof comm) == RELORA_OK);
    uint8_t c = choose();
    comm.size = c % 4;
    comm.rank = c / 4 % 4;
    if (c & 16) comm.sum = comm.reduce_scatter = comm.all_gather = exchange;
    if (c & 32) comm.size = 1, comm.rank = 0;
    return choose_options(&comm, sizeof comm, offsetof(relora_comm, sum));
}

/* ---- the optimizer ---- */

void make_adam(void)
{
    relora_adam_options o;
    relora_adam *adam = NOWHERE;
    REQUIRE(relora_adam_options_init(&o, sizeof o) == RELORA_OK);
    relora_device *device = pick_device();
    uint8_t c = choose();
    o.flags = c % 4;
    if (c & 4) o.max_norm = 0.5;
    if (c & 8) o.weight_decay = 0.1;
    if (c & 16) o.rounding = RELORA_ROUND_NEAREST;
    if (c >= 224) o.flags |= RELORA_ADAM_SHARD_STATE;
    if (c % 32 == 31) o.comm = choose_comm();
    const void *options = choose_options(&o, sizeof o, offsetof(relora_adam_options, comm));
    uint8_t lost = choose();
    relora_adam **out = lost == 255 ? NULL : &adam;
    relora_status status = CALL(relora_adam_create, out, device, options);
    keep(ADAM, status, adam, out != NULL);
}

/* A new tensor of the same shape. */
static relora_tensor *partner(const relora_tensor *t, relora_dtype dtype, uint8_t seed)
{
    int64_t shape[RELORA_MAX_DIMS];
    if (!t) return NULL;
    for (int32_t i = 0; i < relora_tensor_ndim(t); i++) shape[i] = relora_tensor_dim(t, i);
    return temporary(t, dtype, relora_tensor_ndim(t), shape, seed);
}

void add_param(void)
{
    relora_adam *adam = pick(ADAM);
    relora_tensor *param = pick_any_tensor();
    uint8_t c = choose();
    const char *name = choose_name();
    int32_t index = -7;
    relora_tensor *grad = c >= 224 ? pick_any_tensor() : partner(param, c % 4 ? RELORA_F32 : RELORA_BF16, c);
    if (c % 8 >= 6) { /* any tensor may be a gradient, too */
        relora_tensor *other = param;
        param = grad;
        grad = other;
    }
    relora_status status = CALL(relora_adam_add, adam, name, param, grad, c % 16 ? &index : NULL);
    if (c % 16) REQUIRE(index == (status == RELORA_OK ? relora_adam_count(adam) - 1 : -7));
}

void add_linear(void)
{
    relora_adam *adam = pick(ADAM);
    relora_linear *linear = pick(LINEAR);
    const char *prefix = choose_name();
    CALL(relora_adam_add_linear, adam, prefix, linear);
}

static int32_t choose_index(void)
{
    uint8_t c = choose();
    return c < 224 ? c % 6 : c - 226;
}

void set_factors(void)
{
    relora_adam *adam = pick(ADAM);
    int32_t index = choose_index();
    double factor = choose_real(0.5), decay = choose_real(0.01);
    CALL(relora_adam_set_factors, adam, index, factor, decay);
}

void flatten(void)
{
    relora_adam *adam = pick(ADAM);
    relora_stream *stream = pick(STREAM);
    CALL(relora_adam_flatten_grads, adam, stream);
}

void zero_adam(void)
{
    relora_adam *adam = pick(ADAM);
    relora_stream *stream = pick(STREAM);
    CALL(relora_adam_zero_grad, adam, stream);
    if (choose() & 1) return;
    end_operation();
    adam = pick(ADAM);
    stream = pick(STREAM);
    relora_tensor *tensor = pick(TENSOR);
    CALL(relora_adam_sum, adam, stream, tensor);
}

void step(void)
{
    relora_adam *adam = pick(ADAM);
    relora_stream *stream = pick(STREAM);
    double lr = choose_real(0.01), scale = choose_real(1);
    relora_step_report *report = choose_report(sizeof *report);
    if (CALL(relora_adam_step, adam, stream, lr, scale, report) == RELORA_OK && report)
        result(report, report->struct_size);
}

void step_lr(void)
{
    const int64_t one[] = {1};
    relora_adam *adam = pick(ADAM);
    relora_stream *stream = pick(STREAM);
    const relora_tensor *lr = pick_any_tensor();
    uint8_t c = choose(), seed = choose();
    double scale = choose_real(1);
    if (lr && c < 200 && !(lr = temporary(lr, RELORA_F32, c % 2, one, seed))) return;
    CALL(relora_adam_step_lr, adam, stream, lr, scale, NULL);
}

void ask_norm(void)
{
    double norm = 0;
    relora_adam *adam = pick(ADAM);
    relora_stream *stream = pick(STREAM);
    uint8_t c = choose();
    CALL(relora_adam_grad_norm, adam, stream, c == 255 ? NULL : &norm);
    result(&norm, sizeof norm);
}

static relora_reset_options choose_reset(void)
{
    relora_reset_options o;
    REQUIRE(relora_reset_options_init(&o, sizeof o) == RELORA_OK);
    uint8_t c = choose();
    o.mode = c < 208 ? c % 3 + 1 : c < 224 ? RELORA_RESET_KEEP : RELORA_RESET_PROJECT;
    o.flags = c / 4 % 8;
    if (o.mode != RELORA_RESET_MAGNITUDE) o.flags &= ~(uint32_t)RELORA_RESET_QUANTILE;
    o.ratio = choose_real(0.75);
    o.cycle = c / 64;
    return o;
}

/* The report against the moments themselves: no more zeros than elements, and none unpaired by a joint reset
 * to zero. */
static void check_report(const relora_reset_report *r, size_t whole)
{
    if (r->struct_size < whole) return;
    REQUIRE(r->params > 0 && r->elements >= 0);
    REQUIRE(r->zeroed_first <= r->elements && r->zeroed_second <= r->elements);
    REQUIRE(r->unpaired >= 0 && r->unpaired <= r->zeroed_second);
}

void reset_moments(void)
{
    relora_adam *adam = pick(ADAM);
    relora_stream *stream = pick(STREAM);
    relora_reset_options o = choose_reset();
    const void *options = choose_options(&o, sizeof o, sizeof o);
    relora_reset_report *report = choose_report(sizeof *report);
    uint8_t c = choose();
    int32_t count = c < 240 ? c % 4 : c - 246, *indices = borrow_bytes(4 * sizeof *indices);
    for (int i = 0; i < 4; i++) indices[i] = i < count ? choose_index() : 0;
    if (c % 4 == 0) indices = NULL;
    if (count > 4) count = -1;
    if (CALL(relora_adam_reset, adam, stream, indices, count, options, report) == RELORA_OK && report) {
        check_report(report, sizeof *report);
        result(report, report->struct_size);
    }
}

void ask_adam(void)
{
    relora_adam *adam = pick(ADAM);
    relora_stream *stream = pick(STREAM);
    const char *name = choose_name();
    int32_t index = choose_index(), found = -7;
    int64_t steps = -7;
    result_text(relora_adam_name(adam, index));
    if (CALL(relora_adam_steps, adam, stream, index, &steps) == RELORA_OK) result(&steps, sizeof steps);
    end_operation();
    adam = pick(ADAM);
    if (CALL(relora_adam_find, adam, name, &found) == RELORA_OK)
        REQUIRE(found >= 0 && found < relora_adam_count(adam));
    else REQUIRE(found == -7);
}

void set_steps(void)
{
    relora_adam *adam = pick(ADAM);
    relora_stream *stream = pick(STREAM);
    int32_t index = choose_index();
    int64_t steps = choose_number(5);
    CALL(relora_adam_set_steps, adam, stream, index, steps);
}

/* ---- schedules ---- */

void make_schedule(void)
{
    relora_schedule_options o;
    relora_schedule *schedule = NOWHERE;
    REQUIRE(relora_schedule_options_init(&o, sizeof o) == RELORA_OK);
    relora_context *ctx = pick(CONTEXT);
    uint8_t c = choose();
    o.kind = c % 4 + 1;
    o.lr = 0.01;
    o.warmup_steps = c / 4 % 4;
    o.first_step = c / 16 % 4;
    o.total_steps = 24;
    if (o.kind >= RELORA_SCHEDULE_COSINE) o.restart_every = c & 64 ? 8 : 24;
    if (o.kind == RELORA_SCHEDULE_COSINE_RESTARTS && c >= 240) o.period_growth = c % 7;
    if (o.kind == RELORA_SCHEDULE_COSINE_RESTARTS) o.restart_warmup_steps = c / 64, o.adjust_step = c / 128;
    const void *options = choose_options(&o, sizeof o, sizeof o);
    uint8_t lost = choose();
    relora_schedule **out = lost == 255 ? NULL : &schedule;
    if (lost == 254) options = NULL;
    relora_status status = CALL(relora_schedule_create, out, ctx, options);
    keep(SCHEDULE, status, schedule, out != NULL);
}

/* A rate is finite and not negative; a restart lies ahead. */
void ask_schedule(void)
{
    double lr = -1;
    int64_t next = -7;
    relora_schedule *schedule = pick(SCHEDULE);
    uint8_t c = choose();
    int64_t at = choose_number(c);
    if (CALL(relora_schedule_lr, schedule, at, c == 255 ? NULL : &lr) == RELORA_OK)
        REQUIRE(lr >= 0 && lr <= 1e308);
    if (CALL(relora_schedule_next_restart, schedule, at, c == 255 ? NULL : &next) == RELORA_OK)
        REQUIRE(next == -1 || next > at);
    result(&lr, sizeof lr);
    result(&next, sizeof next);
    relora_cycle_options o;
    REQUIRE(relora_cycle_options_init(&o, c == 254 ? 4 : sizeof o) == RELORA_OK);
    if (c == 254) input_mark_odd_struct();
    if (CALL(relora_cycle_options_follow, c == 255 ? NULL : &o, schedule) == RELORA_OK)
        REQUIRE(o.merge_every > 0);
}

/* ---- cycles ---- */

static void hook(void *user, int64_t at, uint32_t events)
{
    REQUIRE(user == &nowhere && at >= 0 && events && events < 8);
    result(&events, sizeof events);
}

void make_cycle(void)
{
    relora_cycle_options o;
    relora_cycle *cycle = NOWHERE;
    REQUIRE(relora_cycle_options_init(&o, sizeof o) == RELORA_OK);
    relora_context *ctx = pick(CONTEXT);
    relora_adam *adam = pick(ADAM);
    uint8_t c = choose();
    o.first_step = c % 4;
    o.merge_every = 2 + c / 4 % 4;
    o.reset_every = c & 16 ? 3 : 0;
    o.period_growth = c >= 224 ? choose_number(c % 3) : 0;
    o.stagger = c >= 224 ? choose_number(c % 5) : c >= 192 ? c % 5 : 0;
    if (c % 32 == 31) o.comm = choose_comm();
    if (c & 32) o.before = o.after = hook;
    o.hook_user = &nowhere;
    const void *options = choose_options(&o, sizeof o, offsetof(relora_cycle_options, before));
    relora_reset_options r = choose_reset();
    const void *moments = c & 64 ? choose_options(&r, sizeof r, sizeof r) : NULL;
    uint8_t lost = choose();
    relora_cycle **out = lost == 255 ? NULL : &cycle;
    if (lost == 254) options = NULL;
    relora_status status = CALL(relora_cycle_create, out, ctx, options, adam, moments);
    keep(CYCLE, status, cycle, out != NULL);
}

void add_member(void)
{
    relora_cycle *cycle = pick(CYCLE);
    relora_linear *linear = pick(LINEAR);
    CALL(relora_cycle_add, cycle, linear);
}

void ask_cycle(void)
{
    uint32_t events = 9;
    relora_cycle *cycle = pick(CYCLE);
    uint8_t c = choose();
    int64_t at = choose_number(c % 32);
    if (CALL(relora_cycle_due, cycle, at, c == 255 ? NULL : &events) == RELORA_OK) REQUIRE(events < 4);
    result(&events, sizeof events);
}

void advance(void)
{
    uint32_t events = 9, due = 9;
    relora_cycle *cycle = pick(CYCLE);
    relora_stream *stream = pick(STREAM);
    uint8_t c = choose();
    int64_t at = choose_number(c % 32);
    relora_merge_report *merged = choose_report(sizeof *merged);
    relora_reset_report *zeroed = choose_report(sizeof *zeroed);
    if (CALL(relora_cycle_advance, cycle, stream, at, c == 255 ? NULL : &events, merged, zeroed) < 0) return;
    REQUIRE(relora_cycle_due(cycle, at, &due) == RELORA_OK &&
            (c == 255 || due == events || !events)); /* all in FULL */
    if (merged) result(merged, merged->struct_size);
    if (zeroed) result(zeroed, zeroed->struct_size);
}

void finish(void)
{
    relora_cycle *cycle = pick(CYCLE);
    relora_stream *stream = pick(STREAM);
    int64_t at = choose_number(12);
    relora_merge_report *merged = choose_report(sizeof *merged);
    if (CALL(relora_cycle_finish, cycle, stream, at, merged) == RELORA_OK && merged)
        result(merged, merged->struct_size);
}
