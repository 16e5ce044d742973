#include "health.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>

enum {
    STILL = 20,        /* updates without a gradient */
    SKIPPED = 50,      /* steps in a row that are not finite, */
    SKIPPED_FIRST = 5, /* or before the first update: no weight has changed between them */
    LEAST = 50,
    MOST = 500
};
#define NOTHING 1e-12 /* a gradient of this norm moves nothing */

void health_begin(struct health *h, int64_t vocab, int64_t updates)
{
    int64_t patience = updates / 50;
    *h = (struct health){.chance = log((double)vocab),
                         .updates = updates,
                         .patience = patience < LEAST  ? LEAST
                                     : patience > MOST ? MOST
                                                       : patience};
}

/* No better than a guess, although it had been, or worse than it began. A run that has yet to learn is
 * neither. */
static int is_bad(const struct health *h, double loss)
{
    int had_learned = h->best < 0.95 * h->chance;
    return loss >= 0.98 * h->chance && (had_learned || loss > 1.3 * h->first);
}

/* How long it has been bad without getting better: one that falls again, from however high, may yet recover. */
static void count_bad(struct health *h, double loss)
{
    int bad = is_bad(h, h->mean) && is_bad(h, loss);
    if (!bad || h->bad == 0 || h->mean < 0.8 * h->worst) {
        h->bad = 0;
        h->worst = h->mean;
    }
    h->worst = h->mean > h->worst ? h->mean : h->worst;
    h->bad += bad;
}

static int say_bad(const struct health *h, char *text, size_t size)
{
    snprintf(text, size,
             "the run has died: its loss is %.4g, no better than guessing (%.4g), and had been %.4g; "
             "start again with a smaller learning rate (--lr, --lora-lr)",
             h->mean, h->chance, h->best);
    return 1;
}

static int say_still(const struct health *h, char *text, size_t size)
{
    if (h->still == h->seen)
        snprintf(text, size, "the run cannot learn: the first weights (--init, --init-std) have no gradient");
    else
        snprintf(text, size,
                 "the run has died: its loss is %.4g (a guess has %.4g), and the gradient is 0, so it "
                 "no longer learns; start again with a smaller learning rate (--lr, --lora-lr)",
                 h->mean, h->chance);
    return 1;
}

/* Skipped steps change no weight, so many in a row, or many in all, are the end. */
static int count_skipped(struct health *h, double loss, char *text, size_t size)
{
    h->lost = isfinite(loss) ? 0 : h->lost + 1;
    h->skipped++;
    h->all++;
    if (h->skipped < (h->seen ? SKIPPED : SKIPPED_FIRST) && h->all * 20 <= h->updates) return 0;
    if (h->lost < h->skipped)
        snprintf(text, size,
                 "%" PRId64 " updates were skipped because a gradient was not finite, the last %" PRId64
                 " in a row: start again with a smaller learning rate (--lr, --lora-lr)",
                 h->all, h->skipped);
    else if (h->seen)
        snprintf(
            text, size,
            "%" PRId64 " updates were skipped, the last %" PRId64 " in a row, because the loss "
            "itself was not finite: the weights have grown too large, or hold a NaN; continue from an earlier "
            "checkpoint, or start again with a smaller learning rate (--lr, --lora-lr)",
            h->all, h->skipped);
    else
        snprintf(text, size,
                 "the loss is not finite, and no update was made yet: the first weights (--init, "
                 "--init-std, or those of the checkpoint) are too large, or hold a NaN");
    return 1;
}

int health_step(struct health *h, double loss, double grad_norm, int skipped, char *text, size_t size)
{
    if (skipped || !isfinite(loss)) return count_skipped(h, loss, text, size);
    h->skipped = h->lost = 0;
    if (h->seen++ == 0) h->first = h->mean = h->best = loss;
    h->mean = 0.9 * h->mean + 0.1 * loss;
    h->best = h->mean < h->best ? h->mean : h->best;
    count_bad(h, loss);
    h->still = grad_norm <= NOTHING && loss >= 0.9 * h->chance ? h->still + 1 : 0;
    if (h->still >= STILL) return say_still(h, text, size);
    return h->bad >= h->patience ? say_bad(h, text, size) : 0;
}

int health_end(const struct health *h, double validation_loss, char *text, size_t size)
{
    if (!isfinite(validation_loss)) {
        snprintf(text, size, "the run has died: its validation loss is not finite");
        return 1;
    }
    if (h->still > 0) return say_still(h, text, size);
    return h->seen > 0 && is_bad(h, h->mean) ? say_bad(h, text, size) : 0;
}

int health_is_bad(const struct health *h)
{
    return h->bad > 0 || h->still > 0;
}

void health_write(const struct health *h, char *text, size_t size)
{
    snprintf(text, size, "%" PRId64 " %.9g %.9g %.9g %" PRId64 " %" PRId64, h->seen, h->first, h->mean,
             h->best, h->bad, h->still);
}

void health_read(struct health *h, const char *text)
{
    struct health read = *h;
    if (text && sscanf(text, "%" SCNd64 " %lg %lg %lg %" SCNd64 " %" SCNd64, &read.seen, &read.first,
                       &read.mean, &read.best, &read.bad, &read.still) == 6)
        *h = read;
}
