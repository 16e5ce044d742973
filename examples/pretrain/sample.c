/* Text by the trained model, one token at a time. Each is drawn by temperature from its own counter. */
#include "train.h"

#include <ctype.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "philox.h"
#include "report.h"
#include "stop.h"

static int64_t choose(float *logits, int64_t count, double temperature, double chance)
{
    int64_t best = 0;
    double sum = 0.0;
    for (int64_t i = 1; i < count; i++) best = logits[i] > logits[best] ? i : best;
    if (temperature <= 0.0) return best;
    double top = (double)logits[best];
    for (int64_t i = 0; i < count; i++) {
        logits[i] = (float)exp(((double)logits[i] - top) / temperature);
        sum += (double)logits[i];
    }
    for (int64_t i = 0; i < count; i++) {
        chance -= (double)logits[i] / sum;
        if (chance < 0.0) return i;
    }
    return best;
}

/* Bytes of the UTF-8 character that begins here; 0 if none does. */
static int64_t character(const int32_t *token, int64_t left)
{
    int32_t lead = token[0];
    int64_t length = lead < 0x80 ? 1 : lead < 0xC2 ? 0 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
    if (length > left || lead > 0xF4 || (length == 1 && lead != '\n' && !isprint((int)lead))) return 0;
    for (int64_t i = 1; i < length; i++)
        if ((token[i] & 0xC0) != 0x80) return 0;
    return length;
}

static void print_text(const struct data *data, const int32_t *tokens, int64_t count)
{
    for (int64_t i = 0; data->token_bytes > 1 && i < count; i++)
        printf("%s%" PRId32, i ? " " : "", tokens[i]);
    for (int64_t i = 0; data->token_bytes == 1 && i < count;) {
        int64_t length = character(tokens + i, count - i);
        if (!length) putchar('?');
        for (int64_t j = 0; j < length; j++) putchar((int)tokens[i + j]);
        i += length ? length : 1;
    }
    putchar('\n');
}

/* How much of the prompt goes into a sequence: its end. */
static const char *tail_of(const char *prompt, int64_t seq)
{
    int64_t length = (int64_t)strlen(prompt);
    return length > seq ? prompt + length - seq : prompt;
}

int sample_check(const struct options *o, const struct data *data)
{
    const char *tail = tail_of(o->prompt, o->seq);
    if (!o->sample || o->classes || data->token_bytes > 1) return 0;
    for (int64_t i = 0; tail[i]; i++)
        if ((unsigned char)tail[i] >= data->vocab)
            return fail("--prompt has a byte of value %d, but the vocabulary has only %" PRId64
                        "; give another one, or --sample 0",
                        (unsigned char)tail[i], data->vocab);
    return 0;
}

/* The prompt, or for a .bin, which has no letters, how its validation part begins. */
static int64_t begin(const struct trainer *t, int32_t *tokens, int64_t seq)
{
    const char *tail = tail_of(t->options->prompt, seq);
    int64_t length = 0;
    if (t->data->token_bytes > 1) {
        length = seq < 8 ? seq : 8;
        return data_window(t->data, t->data->train_tokens, length, tokens, t->targets) ? -1 : length;
    }
    for (; tail[length]; length++) tokens[length] = (unsigned char)tail[length];
    return length;
}

/* `tokens` has room for seq + sample. The model sees the last seq of them; rotary positions only know
 * distances. */
static int continue_text(struct trainer *t, struct activations *acts, int32_t *tokens, float *logits)
{
    const struct options *o = t->options;
    int64_t length = begin(t, tokens, o->seq);
    if (length < 0) return -1;
    for (int64_t i = 0; i < o->sample && !stop_look(); i++, length++) {
        if (!t->progress.terminal) progress_part(&t->progress, "token of the sample", i, o->sample);
        int64_t first = length > o->seq ? length - o->seq : 0;
        if (check(t->ctx, model_next(t->model, acts, t->stream, tokens + first, length - first - 1, logits),
                  "sample"))
            return -1;
        double chance = unit(draw((uint64_t)o->seed, STREAM_SAMPLE, 0, (uint64_t)i).word[0]);
        tokens[length] = (int32_t)choose(logits, t->data->vocab, o->temperature, chance);
    }
    print_text(t->data, tokens, length);
    return 0;
}

int sample_print(struct trainer *t)
{
    const struct options *o = t->options;
    struct activations *acts = NULL;
    int32_t *tokens = calloc((size_t)(o->seq + o->sample), sizeof *tokens);
    float *logits = calloc((size_t)t->data->vocab, sizeof *logits);
    int result = -1;
    if (!tokens || !logits) fail("no memory for a sample");
    else if (!check(t->ctx, activations_create(&acts, t->model, t->stream, 1, o->seq),
                    "cannot make a sample"))
        result = continue_text(t, acts, tokens, logits);
    activations_destroy(acts);
    free(tokens);
    free(logits);
    return result;
}
