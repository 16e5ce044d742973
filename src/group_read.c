/* The weights of a group by their names, from a file that may be of another program. */
#include <string.h>

#include "group.h"
#include "options.h"
#include "reader.h"

enum {
    GROUP_FLAGS = RELORA_READ_CONVERT | RELORA_READ_FINITE | RELORA_READ_ALLOW_MISSING | RELORA_READ_ALLOW_LEFT_OVER,
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
    relora_stream *stream;
    const char *fn;
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
    context_log(r->reader->ctx, RELORA_LOG_INFO, "%s: %s: \"%s\"", r->fn, what, name);
}

static relora_status look_at_tensor(struct reading *r, const char *name, const relora_tensor *target)
{
    const relora_context *ctx = r->reader->ctx;
    int32_t index = st_header_find(&r->reader->header, name);
    r->found[r->count++] = index;
    if (index < 0) {
        add_name(r, &r->missing, "not in the file", name);
        return RELORA_OK;
    }
    if (r->taken[index])
        FAIL(ctx, RELORA_E_EXISTS, "%s: two members of the group have a tensor \"%s\"", r->fn, name);
    r->taken[index] = 1;
    return reader_check(r->reader, r->fn, name, target, r->flags & READ_FLAGS);
}

static relora_status look_at_part(struct reading *r, const struct member *m, relora_param param)
{
    const relora_tensor *target = m->linear->param[param];
    struct text name = {.memory = &r->reader->ctx->memory};
    text_join(&name, m->name, linear_param_name(param));
    relora_status status = name.failed ? context_fail_memory(r->reader->ctx, r->fn, name.capacity)
                                       : look_at_tensor(r, name.data, target);
    text_free(&name);
    return status;
}

/* Is it a weight, and not what the library makes of it? */
static int is_weight(const relora_linear *linear, relora_param param)
{
    if (!linear->param[param]) return 0;
    if (linear->options.mode == RELORA_MODE_LOWRANK) return 1;
    return param == RELORA_PARAM_WEIGHT || param == RELORA_PARAM_BIAS;
}

static relora_status look_at_member(struct reading *r, const struct member *m)
{
    char label[LABEL_TEXT];
    if (m->value) return look_at_tensor(r, m->name, m->value);
    if (m->linear->options.mode != RELORA_MODE_LOWRANK && !m->linear->param[RELORA_PARAM_WEIGHT])
        FAIL(r->reader->ctx, RELORA_E_STATE, "%s: %s has no weight; call relora_linear_set_weight", r->fn,
             linear_label(m->linear, label));
    for (relora_param p = RELORA_PARAM_WEIGHT; p < PARAM_COUNT; p++)
        if (is_weight(m->linear, p)) TRY(look_at_part(r, m, p));
    return RELORA_OK;
}

static relora_status compare_names(struct reading *r)
{
    const relora_context *ctx = r->reader->ctx;
    for (int32_t i = 0; i < r->reader->header.count; i++)
        if (!r->taken[i]) add_name(r, &r->left_over, "not in the group", r->reader->header.tensors[i].name);
    if (r->missing.text.failed || r->left_over.text.failed)
        return context_fail_memory(ctx, r->fn, r->missing.text.capacity);
    r->report.missing = r->missing.count;
    r->report.left_over = r->left_over.count;
    int lacks = r->missing.count && !(r->flags & RELORA_READ_ALLOW_MISSING);
    int exceeds = r->left_over.count && !(r->flags & RELORA_READ_ALLOW_LEFT_OVER);
    if (lacks && exceeds)
        FAIL(ctx, RELORA_E_NOT_FOUND,
             "%s: the file lacks %d of the group's tensors (%s), and has %d that are not in the group (%s)", r->fn,
             r->missing.count, r->missing.text.data, r->left_over.count, r->left_over.text.data);
    if (lacks)
        FAIL(ctx, RELORA_E_NOT_FOUND, "%s: the file lacks %d of the group's tensors (%s)", r->fn,
             r->missing.count, r->missing.text.data);
    if (exceeds)
        FAIL(ctx, RELORA_E_NOT_FOUND, "%s: the file has %d that are not in the group (%s)", r->fn,
             r->left_over.count, r->left_over.text.data);
    return RELORA_OK;
}

/* ---- reading ---- */

static relora_status read_tensor(struct reading *r, relora_tensor *target)
{
    int32_t index = r->found[r->count++];
    if (index < 0) return RELORA_OK;
    r->report.read++;
    return reader_copy(r->reader, r->stream, r->fn, index, target);
}

/* The new W has had no merge yet. */
static relora_status read_member(struct reading *r, const struct member *m)
{
    if (m->value) return read_tensor(r, m->value);
    for (relora_param p = RELORA_PARAM_WEIGHT; p < PARAM_COUNT; p++) {
        if (!is_weight(m->linear, p)) continue;
        const relora_tensor *delta = p == RELORA_PARAM_WEIGHT ? m->linear->param[RELORA_PARAM_DELTA] : NULL;
        if (delta && r->found[r->count] >= 0)
            TRY_QUEUE(r->stream, r->fn,
                      r->stream->device->backend->fill(r->stream->queue, tensor_view(delta), 0));
        TRY(read_tensor(r, m->linear->param[p]));
    }
    return RELORA_OK;
}

static relora_status read_group(struct reading *r, const relora_group *group)
{
    if (!r->found || !r->taken)
        return context_fail_memory(group->ctx, r->fn, (size_t)r->reader->header.count);
    for (int32_t i = 0; i < group->members.count; i++) TRY(look_at_member(r, group_at(group, i)));
    TRY(compare_names(r));
    r->count = 0;
    for (int32_t i = 0; i < group->members.count; i++) TRY(read_member(r, group_at(group, i)));
    return RELORA_OK;
}

static relora_status check_read(const relora_reader *reader, const relora_stream *stream,
                                const relora_group *group, const char *fn, uint32_t flags)
{
    if (!reader)
        FAIL(stream ? stream->ctx : group ? group->ctx : NULL, RELORA_E_ARGUMENT, "%s: reader is NULL", fn);
    if (!stream) FAIL(reader->ctx, RELORA_E_ARGUMENT, "%s: stream is NULL", fn);
    if (stream->ctx != reader->ctx)
        FAIL(reader->ctx, RELORA_E_CONTEXT, "%s: stream belongs to another context than reader", fn);
    TRY(group_check_given(group, reader->ctx, fn));
    TRY(group_check(group, stream, fn));
    if (flags & ~(uint32_t)GROUP_FLAGS)
        FAIL(reader->ctx, RELORA_E_ARGUMENT, "%s: flags is 0x%x, and only 0x%x is known", fn, flags, GROUP_FLAGS);
    return RELORA_OK;
}

relora_status relora_reader_read_group(relora_reader *reader, relora_stream *stream,
                                       const relora_group *group, uint32_t flags, relora_read_report *report)
{
    GIVEN(stream);
    const char *fn = "relora_reader_read_group";
    TRY(check_read(reader, stream, group, fn, flags));
    const struct memory *memory = &reader->ctx->memory;
    size_t targets = (size_t)group->members.count * MEMBER_TENSORS, tensors = (size_t)reader->header.count;
    struct reading r = {.reader = reader, .stream = stream, .fn = fn, .flags = flags,
                        .missing.text.memory = memory, .left_over.text.memory = memory,
                        .report.struct_size = sizeof r.report};
    TRY(context_write_report(reader->ctx, fn, "report", report, &r.report, sizeof r.report));
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
