/* How many of the validation's lines the model gives their label. */
#include "train.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include "lines.h"
#include "report.h"
#include "stop.h"

static int64_t likeliest(const float *scores, int64_t classes)
{
    int64_t best = 0;
    for (int64_t i = 1; i < classes; i++) best = scores[i] > scores[best] ? i : best;
    return best;
}

/* The last byte of a text is where its label is the target. */
static int64_t last_of(const int32_t *targets, int64_t seq)
{
    int64_t at = seq - 1;
    while (at > 0 && targets[at] < 0) at--;
    return at;
}

static int count_right(struct trainer *t, struct activations *acts, float *scores)
{
    const struct data *data = t->data;
    int64_t seq = t->options->seq, right = 0, count = data->line_count - data->training_lines;
    for (int64_t line = 0; line < count; line++) {
        if (stop_look()) return t->stopped = 1, -1;
        if (lines_row(data, data->training_lines + line, seq, t->tokens, t->targets)) return -1;
        int64_t at = last_of(t->targets, seq);
        if (check(t->ctx, model_next(t->model, acts, t->stream, t->tokens, at, scores), "classification"))
            return -1;
        right += likeliest(scores, t->options->classes) == t->targets[at];
        progress_part(&t->progress, "line to classify", line + 1, count);
    }
    t->accuracy = (double)right / (double)count;
    printf("%" PRId64 " of %" PRId64 " lines get the right label, %.2f %%\n", right, count,
           100.0 * t->accuracy);
    return 0;
}

int classify(struct trainer *t)
{
    struct activations *acts = NULL;
    float *scores = calloc((size_t)t->options->classes, sizeof *scores);
    int result = -1;
    if (!scores) fail("no memory for the scores of the classes");
    else if (!check(t->ctx, activations_create(&acts, t->model, t->stream, 1, t->options->seq),
                    "cannot classify"))
        result = count_right(t, acts, scores);
    activations_destroy(acts);
    free(scores);
    return result;
}
