#include "progress.h"

#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>
#include "report.h"

enum { BAR = 28, BAR_LEAST = 6, LINE = 256, PLAIN_LINES = 20 };
#define SILENCE 30.0 /* seconds without a line, at most */
#define REDRAW 0.1

double progress_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* A bar needs a terminal that can wipe a line. */
static int can_draw(void)
{
    const char *kind = getenv("TERM");
    return isatty(STDERR_FILENO) && kind && *kind && strcmp(kind, "dumb") != 0;
}

/* Asked each time, so the bar follows when the window changes. */
static int columns(void)
{
    struct winsize size;
    const char *text = getenv("COLUMNS");
    if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0) return size.ws_col;
    long given = text ? strtol(text, NULL, 10) : 0;
    return given > 0 && given < LINE ? (int)given : 80;
}

void progress_begin(struct progress *progress, int64_t first, int64_t total)
{
    double now = progress_now();
    *progress = (struct progress){.terminal = can_draw(),
                                  .first = first,
                                  .total = total,
                                  .step = first,
                                  .every = total / PLAIN_LINES > 0 ? total / PLAIN_LINES : 1,
                                  .started = now,
                                  .spoken = now,
                                  .polled = now,
                                  .loss = -1.0};
}

/* ---- text ---- */

static void print_time(double seconds, char text[24])
{
    if (!(seconds < 1e9)) snprintf(text, 24, "?");
    else if (seconds < 3600) snprintf(text, 24, "%d:%02d", (int)seconds / 60, (int)seconds % 60);
    else if (seconds < 100 * 3600)
        snprintf(text, 24, "%d:%02d:%02d", (int)seconds / 3600, (int)seconds / 60 % 60, (int)seconds % 60);
    else snprintf(text, 24, "%d days", (int)(seconds / 86400));
}

static double seconds_left(const struct progress *p)
{
    double done = (double)(p->step - p->first);
    return done > 0.0 ? (progress_now() - p->started) / done * (double)(p->total - p->step) : HUGE_VAL;
}

/* The count, and as much of the rest as fits into `room`; what matters least goes first. */
static int print_facts(const struct progress *p, double left, int room, char *text, size_t size)
{
    char time[24], part[4][40], loss[24] = "-";
    static const int order[] = {15, 11, 10, 2, 0}; /* speed 1, loss 2, rate 4, left 8 */
    print_time(left, time);
    if (p->loss >= 0.0) snprintf(loss, sizeof loss, "%.3f", p->loss);
    snprintf(part[0], sizeof part[0], "  %.0f tokens/s", p->tokens_per_s);
    snprintf(part[1], sizeof part[1], "  loss %s", loss);
    snprintf(part[2], sizeof part[2], "  lr %.2e", p->lr);
    snprintf(part[3], sizeof part[3], "  %s left", time);
    static const int shown[] = {1, 2, 0, 3}; /* loss, lr, speed, time */
    int length = 0;
    for (size_t i = 0; i < sizeof order / sizeof *order; i++) {
        length = snprintf(text, size, "%" PRId64 "/%" PRId64, p->step, p->total);
        for (int k = 0; k < 4; k++)
            if (order[i] >> shown[k] & 1)
                length += snprintf(text + length, size - (size_t)length, "%s", part[shown[k]]);
        if (length <= room) break;
    }
    return length;
}

void progress_draw(const struct progress *p, int columns, double left, char *text, size_t size)
{
    char facts[LINE];
    /* the last column would break the line */
    int room = columns < 1 ? 0 : (columns < LINE ? columns : LINE) - 1;
    int length = print_facts(p, left, room - BAR_LEAST - 3, facts, sizeof facts), bar = room - length - 3;
    if (bar < BAR_LEAST) {
        snprintf(text, size, "%.*s", room, facts);
        return;
    }
    bar = bar < BAR ? bar : BAR;
    int done = p->total ? (int)((double)p->step / (double)p->total * bar) : 0;
    done = done < bar ? done : bar;
    snprintf(text, size, "[%.*s%.*s] %s", done, "############################", bar - done,
             "----------------------------", facts);
}

static void draw(struct progress *p)
{
    char text[LINE + 8];
    if (report_is_muted()) return;
    progress_draw(p, columns(), seconds_left(p), text, sizeof text);
    fprintf(stderr, "\r%s\033[K", text);
    report_bar(1);
    p->drawn = progress_now();
}

static void print_plain(struct progress *p, const char *more)
{
    char text[LINE];
    if (report_is_muted()) return;
    print_facts(p, seconds_left(p), LINE, text, sizeof text);
    fprintf(stderr, "step %s%s\n", text, more);
    p->spoken = progress_now();
}

/* Would the next chance to speak come too late? */
static int is_silent(struct progress *p)
{
    double now = progress_now(), next = now + (now - p->polled);
    p->polled = now;
    return next - p->spoken >= SILENCE;
}

/* ---- calls ---- */

void progress_step(struct progress *p, int64_t step, double loss, double lr, double tokens_per_s)
{
    int is_first = p->step == p->first && step != p->first;
    if (isfinite(loss)) p->loss = p->loss < 0.0 ? loss : 0.9 * p->loss + 0.1 * loss;
    p->step = step;
    p->lr = lr;
    p->tokens_per_s = tokens_per_s;
    int late = is_silent(p);
    if (!p->terminal && (is_first || late || step % p->every == 0 || step == p->total)) print_plain(p, "");
    else if (p->terminal && (progress_now() - p->drawn > REDRAW || step == p->total)) draw(p);
}

void progress_part(struct progress *p, const char *what, int64_t part, int64_t parts)
{
    char more[80];
    int late = is_silent(p);
    if (!p->terminal && late) {
        snprintf(more, sizeof more, "  (%s %" PRId64 " of %" PRId64 ")", what, part, parts);
        print_plain(p, more);
    } else if (p->terminal && progress_now() - p->drawn > REDRAW) draw(p);
}

void progress_line(struct progress *p, const char *format, ...)
{
    char text[1024];
    va_list args;
    if (report_is_muted()) return;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    fprintf(stderr, "%s%s\n", p->terminal ? "\r\033[K" : "", text);
    report_bar(0);
    p->drawn = 0.0;
    p->spoken = progress_now();
}

void progress_end(struct progress *p)
{
    if (p->terminal && !report_is_muted()) fputs("\r\033[K", stderr);
    report_bar(0);
}
