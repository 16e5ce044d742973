/* Calls on groups, and on what takes one. */
#include <stdlib.h>
#include "fuzz/api_world.h"

void make_group(void)
{
    relora_group *group = NOWHERE;
    relora_device *device = pick_device();
    relora_group **out = choose() == 255 ? NULL : &group;
    relora_status status = CALL(relora_group_create, out, device);
    keep(GROUP, status, group, out != NULL);
}

/* A matrix that may be a weight, in a slot. */
static void make_matrix(void)
{
    relora_tensor *t = NOWHERE;
    relora_device *device = pick_device();
    uint8_t c = choose();
    const int64_t shape[2] = {c % 8 + 1, c / 8 % 8 + 1};
    relora_status status =
        CALL(relora_tensor_create, &t, device, c & 64 ? RELORA_BF16 : RELORA_F32, 2, shape);
    if (status == RELORA_OK) fill_tensor(t, c);
    keep(TENSOR, status, t, 1);
    end_operation();
}

void wrap_weight(void)
{
    relora_linear *linear = NOWHERE;
    make_matrix();
    relora_linear_options o = choose_layer();
    const char *name = choose_name();
    relora_tensor *weight = pick_any_tensor();
    uint8_t c = choose();
    relora_tensor *bias = c >= 224 ? pick_any_tensor() : NULL;
    if (c % 8) o.in_features = o.out_features = 0;
    const void *options = choose_options(&o, sizeof o, sizeof o);
    if (c & 16) {
        relora_device *device = pick_device();
        relora_linear **out = c == 255 ? NULL : &linear;
        relora_status made = CALL(relora_linear_wrap, out, device, weight, bias, options);
        keep(LINEAR, made, linear, out != NULL);
        return;
    }
    relora_group *group = pick(GROUP);
    int32_t before = relora_group_count(group);
    relora_status status =
        CALL(relora_group_wrap, group, name, weight, bias, options, c & 2 ? NULL : &linear);
    REQUIRE(c & 2 || (status == RELORA_OK ? linear && linear != NOWHERE : !linear));
    REQUIRE(relora_group_count(group) == before + (status == RELORA_OK));
}

void add_to_group(void)
{
    relora_group *group = pick(GROUP);
    const char *name = choose_name();
    uint8_t c = choose();
    if (c % 2) {
        relora_linear *linear = pick(LINEAR);
        CALL(relora_group_add_linear, group, name, linear);
        return;
    }
    relora_tensor *param = pick_any_tensor(), *grad = c & 4 ? pick_any_tensor() : NULL;
    CALL(relora_group_add_param, group, name, param, grad);
}

void ask_group(void)
{
    relora_group *group = pick(GROUP);
    int32_t index = choose() % 6 - 1, found = -7;
    const char *name = relora_group_name(group, index);
    REQUIRE(!!name == (index >= 0 && index < relora_group_count(group)));
    if (!name) name = choose_name();
    if (CALL(relora_group_find, group, name, &found) == RELORA_OK)
        REQUIRE(found >= 0 && found < relora_group_count(group));
    else REQUIRE(found == -7);
}

void group_mode(void)
{
    relora_group *group = pick(GROUP);
    relora_stream *stream = pick(STREAM);
    uint8_t c = choose();
    relora_linear_mode mode = c < 200 ? RELORA_MODE_LORA : c % 6 - 1;
    if (CALL(relora_group_set_mode, group, stream, mode) < 0) return;
    REQUIRE(mode == RELORA_MODE_LORA || mode == RELORA_MODE_FULL);
}

void group_work(void)
{
    relora_group *group = pick(GROUP);
    relora_stream *stream = pick(STREAM);
    uint8_t c = choose();
    uint64_t cycle = (uint64_t)choose_number(1);
    if (c % 3 == 0) CALL(relora_group_reset, group, stream, cycle);
    if (c % 3 == 1) CALL(relora_group_zero_grad, group, stream);
    if (c % 3 != 2) return;
    relora_merge_report *report = choose_report(sizeof *report);
    if (CALL(relora_group_merge, group, stream, cycle, report) == RELORA_OK && report)
        result(report, report->struct_size);
}

void give_group(void)
{
    relora_group *group = pick(GROUP);
    uint8_t c = choose() % 3;
    if (c == 0) {
        relora_adam *adam = pick(ADAM);
        CALL(relora_adam_add_group, adam, group);
    } else if (c == 1) {
        relora_cycle *cycle = pick(CYCLE);
        CALL(relora_cycle_add_group, cycle, group);
    } else {
        relora_state *state = pick(STATE);
        CALL(relora_state_add_group, state, group);
    }
}

void read_group(void)
{
    relora_reader *reader = pick(READER);
    relora_stream *stream = pick(STREAM);
    relora_group *group = pick(GROUP);
    uint8_t c = choose();
    relora_read_report *report = choose_report(sizeof *report);
    relora_status status =
        CALL(relora_reader_read_group, reader, stream, group, c < 240 ? c % 16 : c, report);
    if (report && (status == RELORA_OK || status == RELORA_E_NOT_FOUND)) result(report, report->struct_size);
}

/* ---- members on plain pointers: in the blocks that tensors borrow ---- */

static void *choose_place(void)
{
    uint8_t c = choose(), at = choose();
    return c >= 240 ? NULL : &lent[c % BLOCKS][at % 64 * 4 + (c >= 230)];
}

void wrap_at(void)
{
    relora_linear *linear = NOWHERE;
    relora_group *group = pick(GROUP);
    relora_linear_options o = choose_layer();
    if (o.in_features > 8) o.in_features = 8; /* what lies behind any place */
    if (o.out_features > 8) o.out_features = 8;
    const char *name = choose_name();
    void *weight = choose_place(), *bias = choose() % 2 ? choose_place() : NULL;
    const void *options =
        choose_options(&o, sizeof o, offsetof(relora_linear_options, in_features)); /* of the place */
    int32_t before = relora_group_count(group);
    relora_status status = CALL(relora_group_wrap_at, group, name, weight, bias, options, &linear);
    REQUIRE(status == RELORA_OK ? linear && linear != NOWHERE : !linear);
    REQUIRE(relora_group_count(group) == before + (status == RELORA_OK));
    if (status == RELORA_OK && weight) REQUIRE(relora_group_linear_at(group, weight));
}

void add_param_at(void)
{
    relora_group *group = pick(GROUP);
    const char *name = choose_name();
    void *param = choose_place(), *grad = choose() % 2 ? choose_place() : NULL;
    int64_t count = choose() % 32 - 1;
    CALL(relora_group_add_param_at, group, name, count, param, grad);
}
