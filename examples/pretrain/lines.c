#include "lines.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include "report.h"
#include "stop.h"

enum { BLOCK = 65536, LABEL_MOST = 1 << 20 };

struct line {
    int64_t text; /* place of its first byte */
    int32_t length, label;
};

/* What is known of the line that is being read. */
struct reading {
    struct data *data;
    const char *path;
    int64_t classes, room, number; /* number: of the line in its file */
    struct line line;
    enum { IN_LABEL, IN_TEXT } part;
    int digits;
};

static int refuse(const struct reading *r, const char *what)
{
    return fail("--classify: line %" PRId64 " of %s %s; expected is a whole number below %" PRId64
                ", a tab and a text",
                r->number + 1, r->path, what, r->classes);
}

static int keep(struct reading *r)
{
    struct data *data = r->data;
    if (r->part != IN_TEXT || r->line.length == 0) return refuse(r, "has no label or no text");
    if (data->line_count == r->room) {
        r->room = r->room ? 2 * r->room : 1024;
        struct line *more = realloc(data->lines, (size_t)r->room * sizeof *more);
        if (!more) return fail("--classify: no memory for %" PRId64 " lines", r->room);
        data->lines = more;
    }
    data->lines[data->line_count++] = r->line;
    r->number++;
    r->part = IN_LABEL;
    r->digits = 0;
    r->line = (struct line){0, 0, 0};
    return 0;
}

static int take_byte(struct reading *r, int32_t byte, int64_t place)
{
    if (byte == '\n') return keep(r);
    if (r->part == IN_TEXT) {
        r->line.length += r->line.length < INT32_MAX;
        return 0;
    }
    if (byte == '\t' && r->digits && r->line.label < r->classes) {
        r->part = IN_TEXT;
        r->line.text = place + 1;
        return 0;
    }
    if (byte < '0' || byte > '9' || r->line.label > LABEL_MOST)
        return refuse(r, byte == '\t' ? "has no label before its tab" : "does not begin with a label");
    r->line.label = 10 * r->line.label + (byte - '0');
    r->digits++;
    return 0;
}

/* One file. Its last line need not end with a newline. */
static int read_file(struct reading *r, struct source *s)
{
    int32_t bytes[BLOCK / sizeof(int32_t)];
    const int64_t block = (int64_t)(sizeof bytes / sizeof *bytes);
    r->path = s->path;
    r->number = 0;
    for (int64_t at = 0; at < s->tokens && !stop_asked(); at += block) {
        int64_t count = s->tokens - at < block ? s->tokens - at : block;
        if (source_read(s, at, count, bytes)) return -1;
        for (int64_t i = 0; i < count; i++)
            if (take_byte(r, bytes[i], s->first + at + i)) return -1;
    }
    return stop_asked() ? -1 : r->digits ? keep(r) : 0;
}

int lines_find(struct data *data, int64_t classes)
{
    struct reading r = {.data = data, .classes = classes};
    if (data->token_bytes != 1) return fail("--classify: %s holds tokens; expected is text", data->name);
    if (data->training == data->count)
        return fail("--classify needs separate files for validation: give --val-data");
    for (int i = 0; i < data->count; i++) {
        if (read_file(&r, &data->sources[i])) return -1;
        if (i < data->training) data->training_lines = data->line_count;
    }
    return 0;
}

int lines_row(const struct data *data, int64_t line, int64_t seq, int32_t *tokens, int32_t *targets)
{
    const struct line *l = &data->lines[line];
    int64_t length = l->length < seq ? l->length : seq;
    for (int64_t i = 0; i < seq; i++) {
        tokens[i] = 0;
        targets[i] = -1;
    }
    targets[length - 1] = l->label;
    return data_read(data, l->text, length, tokens);
}
