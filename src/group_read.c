/* The weights of a group by their names, from a file that may be of another program. */
#include <string.h>

#include "group.h"
#include "options.h"
#include "reader.h"

enum {
    GROUP_FLAGS =
        RELORA_READ_CONVERT | RELORA_READ_FINITE | RELORA_READ_ALLOW_MISSING | RELORA_READ_ALLOW_LEFT_OVER,
    READ_FLAGS = RELORA_READ_CONVERT | RELORA_READ_FINITE,
    MEMBER_TENSORS = 4, /* that one member reads at most */
    NAMES_SHOWN = 3
};

struct names { /* that only one side has, for a sentence */
    struct text text;
    int32_t count;
};

struct reading {
    const relora_reader *reader;
    const struct call *call;
    uint32_t flags;
    int32_t *found;       /* which tensor of the file each tensor of the group is, in their order; -1: none */
    int32_t count;        /* of those met so far */
    unsigned char *taken; /* whether a tensor of the file was met */
    struct names missing, left_over;
    relora_read_report report;
};

/* ---- looking ---- */

static void add_name(const struct reading *r, struct names *names, const char *what, const char *name)
{
    const char *before = !names->count ? "\"" : ", \"";
    if (names->count < NAMES_SHOWN)
        text_put(&names->text, "%s%.*s\"", before, (int)text_fit(name, LINEAR_NAME), name);
    if (names->count == NAMES_SHOWN) text_put(&names->text, ", ...");
    names->count++;
    call_log(r->call, RELORA_LOG_INFO, "%s: \"%s\"", what, name);
}

static relora_status look_at_tensor(struct reading *r, const char *name, const relora_tensor *target)
{
    int32_t index = st_header_find(&r->reader->header, name);
    if (tensor_lacks_memory(target)) FAIL(r->call, RELORA_E_STATE, "\"%s\" " NO_MEMORY_YET, name);
    r->found[r->count++] = index;
    if (index < 0) {
        add_name(r, &r->missing, "not in the file", name);
        return RELORA_OK;
    }
    if (r->taken[index])
        FAIL(r->call, RELORA_E_EXISTS, "two members of the group have a tensor \"%s\"", name);
    r->taken[index] = 1;
    return reader_check(r->call, r->reader, name, target, r->flags & READ_FLAGS);
}

static relora_status look_at_part(struct reading *r, const struct member *m, relora_param param)
{
    const relora_tensor *target = m->linear->param[param];
    struct text name = {.memory = &r->reader->ctx->memory};
    text_join(&name, m->name, linear_param_name(param));
    relora_status status =
        name.failed ? call_fail_memory(r->call, name.capacity) : look_at_tensor(r, name.data, target);
    text_free(&name);
    return status;
}

/* Is it a weight, and not what the library makes of it? */
static int is_weight(const relora_linear *linear, relora_param param)
{
    if (!linear->param[param] || param == RELORA_PARAM_SKETCH) return 0;
    if (linear->options.mode == RELORA_MODE_LOWRANK) return 1;
    return param == RELORA_PARAM_WEIGHT || param == RELORA_PARAM_BIAS;
}

static relora_status look_at_member(struct reading *r, const struct member *m)
{
    char label[LABEL_TEXT];
    if (m->value) return look_at_tensor(r, m->name, m->value);
    if (m->linear->options.mode != RELORA_MODE_LOWRANK && !m->linear->param[RELORA_PARAM_WEIGHT])
        FAIL(r->call, RELORA_E_STATE, "%s has no weight; call relora_linear_set_weight",
             linear_label(m->linear, label));
    for (relora_param p = RELORA_PARAM_WEIGHT; p < PARAM_COUNT; p++)
        if (is_weight(m->linear, p)) TRY(look_at_part(r, m, p));
    return RELORA_OK;
}

static relora_status compare_names(struct reading *r)
{
    for (int32_t i = 0; i < r->reader->header.count; i++)
        if (!r->taken[i]) add_name(r, &r->left_over, "not in the group", r->reader->header.tensors[i].name);
    if (r->missing.text.failed || r->left_over.text.failed)
        return call_fail_memory(r->call, r->missing.text.capacity);
    r->report.missing = r->missing.count;
    r->report.left_over = r->left_over.count;
    int lacks = r->missing.count && !(r->flags & RELORA_READ_ALLOW_MISSING);
    int exceeds = r->left_over.count && !(r->flags & RELORA_READ_ALLOW_LEFT_OVER);
    if (lacks && exceeds)
        FAIL(r->call, RELORA_E_NOT_FOUND,
             "the file lacks %d of the group's tensors (%s), and has %d that are not in the group (%s)",
             r->missing.count, r->missing.text.data, r->left_over.count, r->left_over.text.data);
    if (lacks)
        FAIL(r->call, RELORA_E_NOT_FOUND, "the file lacks %d of the group's tensors (%s)", r->missing.count,
             r->missing.text.data);
    if (exceeds)
        FAIL(r->call, RELORA_E_NOT_FOUND, "the file has %d that are not in the group (%s)",
             r->left_over.count, r->left_over.text.data);
    return RELORA_OK;
}

/* ---- reading ---- */

static relora_status read_tensor(struct reading *r, relora_tensor *target)
{
    int32_t index = r->found[r->count++];
    if (index < 0) return RELORA_OK;
    r->report.read++;
    return reader_copy(r->call, r->reader, index, target);
}

/* The new W has had no merge yet. */
static relora_status read_member(struct reading *r, const struct member *m)
{
    if (m->value) return read_tensor(r, m->value);
    for (relora_param p = RELORA_PARAM_WEIGHT; p < PARAM_COUNT; p++) {
        if (!is_weight(m->linear, p)) continue;
        const relora_tensor *delta = p == RELORA_PARAM_WEIGHT ? m->linear->param[RELORA_PARAM_DELTA] : NULL;
        if (delta && r->found[r->count] >= 0)
            TRY(call_queue(r->call, r->call->backend->fill(r->call->queue, tensor_view(delta), 0)));
        TRY(read_tensor(r, m->linear->param[p]));
    }
    return RELORA_OK;
}

static relora_status read_group(struct reading *r, const relora_group *group)
{
    if (!r->found || !r->taken) return call_fail_memory(r->call, (size_t)r->reader->header.count);
    for (int32_t i = 0; i < group->members.count; i++) TRY(look_at_member(r, group_at(group, i)));
    TRY(compare_names(r));
    r->count = 0;
    for (int32_t i = 0; i < group->members.count; i++) TRY(read_member(r, group_at(group, i)));
    return RELORA_OK;
}

static relora_status open_read(struct call *c, const relora_reader *reader, relora_stream *stream,
                               const relora_group *group, uint32_t flags)
{
    TRY(call_open(c, stream, "reader", reader ? reader->ctx : NULL, NULL));
    TRY(group_check_given(c, group));
    TRY(call_check_device(c, "group", group->device));
    if (flags & ~(uint32_t)GROUP_FLAGS)
        FAIL(c, RELORA_E_ARGUMENT, "flags is 0x%x, and only 0x%x is known", flags, GROUP_FLAGS);
    return RELORA_OK;
}

relora_status relora_reader_read_group(relora_reader *reader, relora_stream *stream,
                                       const relora_group *group, uint32_t flags, relora_read_report *report)
{
    struct call c = {.fn = "relora_reader_read_group", .ctx = group ? group->ctx : NULL};
    TRY(open_read(&c, reader, stream, group, flags));
    const struct memory *memory = &reader->ctx->memory;
    size_t targets = (size_t)group->members.count * MEMBER_TENSORS, tensors = (size_t)reader->header.count;
    struct reading r = {.reader = reader,
                        .call = &c,
                        .flags = flags,
                        .missing.text.memory = memory,
                        .left_over.text.memory = memory,
                        .report.struct_size = sizeof r.report};
    TRY(call_write_report(&c, "report", report, &r.report, sizeof r.report));
    r.found = memory_alloc(memory, targets * sizeof *r.found);
    r.taken = memory_alloc_zero(memory, tensors);
    relora_status status = read_group(&r, group);
    memory_free(memory, r.found, targets * sizeof *r.found);
    memory_free(memory, r.taken, tensors);
    text_free(&r.missing.text);
    text_free(&r.left_over.text);
    report_write(report, &r.report, sizeof r.report);
    return status;
}

relora_status relora_read_report_init(relora_read_report *report, size_t size)
{
    return report_init(report, size);
}
