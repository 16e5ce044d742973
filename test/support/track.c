#include "support/track.h"
#include <stdlib.h>
#include <string.h>

enum { HEAD = 64, MARK = 0x7e1a };
static const size_t TOO_MUCH = (size_t)1 << 40; /* nobody has it, and ASan would stop the program */

struct head { /* lies in the 64 bytes before each block */
    size_t size, alignment;
    int mark;
};

void track_init(struct track *t)
{
    memset(t, 0, sizeof *t);
    pthread_mutex_init(&t->lock, NULL);
}

void track_refuse(struct track *t, int64_t nth, int lasting)
{
    pthread_mutex_lock(&t->lock);
    t->refused = 0;
    t->first = nth ? t->requests + nth : 0;
    t->last = !nth ? 0 : lasting ? INT64_MAX : t->first;
    pthread_mutex_unlock(&t->lock);
}

void track_peak(struct track *t) { t->peak = t->bytes; }

/* Count a request; is it one to refuse? */
static int refuses(struct track *t)
{
    pthread_mutex_lock(&t->lock);
    t->requests++;
    int refused = t->requests >= t->first && t->requests <= t->last;
    t->refused += refused;
    pthread_mutex_unlock(&t->lock);
    return refused;
}

void *track_alloc(void *user, size_t size, size_t alignment)
{
    struct track *t = user;
    int odd = size == 0 || alignment == 0 || alignment > 64 || (alignment & (alignment - 1)) != 0;
    if (refuses(t) || size > TOO_MUCH) return NULL;
    char *base = aligned_alloc(HEAD, HEAD + (size + HEAD - 1) / HEAD * HEAD);
    if (!base) return NULL;
    struct head head = {size, alignment, MARK};
    memcpy(base, &head, sizeof head);
    memset(base + HEAD, 0xa5, size); /* nobody may count on zeros */
    pthread_mutex_lock(&t->lock);
    t->mistakes += odd;
    t->bytes += (int64_t)size;
    if (t->bytes > t->peak) t->peak = t->bytes;
    t->blocks++;
    pthread_mutex_unlock(&t->lock);
    return base + HEAD;
}

void track_free(void *user, void *ptr, size_t size, size_t alignment)
{
    struct track *t = user;
    struct head head;
    if (!ptr) return;
    char *base = (char *)ptr - HEAD;
    memcpy(&head, base, sizeof head);
    pthread_mutex_lock(&t->lock);
    if (head.mark != MARK || head.size != size || head.alignment != alignment) t->mistakes++;
    t->bytes -= (int64_t)head.size;
    t->blocks--;
    pthread_mutex_unlock(&t->lock);
    free(base);
}

void track_install(struct track *t, relora_context_options *options)
{
    options->host_alloc = track_alloc;
    options->host_free = track_free;
    options->host_user = t;
}
