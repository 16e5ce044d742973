#include "progress.h"

#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { BAR = 28, PLAIN_LINES = 20 };

double progress_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

void progress_begin(struct progress *progress, int64_t first, int64_t total)
{
    *progress = (struct progress){.terminal = isatty(STDERR_FILENO), .first = first, .total = total,
                                  .every = total / PLAIN_LINES > 0 ? total / PLAIN_LINES : 1,
                                  .started = progress_now(), .loss = -1.0};
}

static void clear(struct progress *progress)
{
    if (progress->bar_shown)
        fputs("\r\033[K", stderr);
    progress->bar_shown = 0;
}

static void draw_bar(struct progress *progress, int64_t step, const char *text)
{
    char bar[BAR + 1];
    int done = (int)(step * BAR / progress->total);
    memset(bar, '-', BAR);
    memset(bar, '#', (size_t)done);
    bar[BAR] = '\0';
    fprintf(stderr, "\r[%s] %s\033[K", bar, text);
    fflush(stderr);
    progress->bar_shown = 1;
}

void progress_step(struct progress *progress, int64_t step, double loss, double lr,
                   double tokens_per_s)
{
    double now = progress_now();
    if (isfinite(loss))
        progress->loss = progress->loss < 0.0 ? loss : 0.9 * progress->loss + 0.1 * loss;
    int due = progress->terminal ? now - progress->drawn > 0.1 : step % progress->every == 0;
    if (!due && step != progress->total)
        return;
    progress->drawn = now;
    double done = (double)(step - progress->first), left = 0.0;
    if (done > 0.0)
        left = (now - progress->started) / done * (double)(progress->total - step);
    char text[160];
    snprintf(text, sizeof text, "%" PRId64 "/%" PRId64 "  loss %.3f  lr %.2e  %.0f tokens/s  %d:%02d left",
             step, progress->total, progress->loss, lr, tokens_per_s, (int)left / 60, (int)left % 60);
    if (progress->terminal)
        draw_bar(progress, step, text);
    else
        fprintf(stderr, "step %s\n", text);
}

void progress_line(struct progress *progress, const char *format, ...)
{
    va_list args;
    clear(progress);
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
    progress->drawn = 0.0;
}

void progress_end(struct progress *progress)
{
    clear(progress);
}
