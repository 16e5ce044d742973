#include "report.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>

static atomic_int muted;
static char last[200]; /* for the main thread, when all is over */

void report_mute(void)
{
    atomic_store(&muted, 1);
}

int report_is_muted(void)
{
    return atomic_load(&muted);
}

const char *report_last(void)
{
    return last[0] ? last : "it has failed";
}

static atomic_int bar; /* sentences come from the thread that makes batches too */

void report_bar(int shown)
{
    atomic_store(&bar, shown);
}

static void say(const char *who, const char *format, va_list args)
{
    char text[8192]; /* written in one piece, so that two threads do not mix theirs */
    vsnprintf(text, sizeof text, format, args);
    if (report_is_muted()) return;
    fprintf(stderr, "%s%s: %s\n", atomic_exchange(&bar, 0) ? "\r\033[K" : "", who, text);
}

int fail(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(last, sizeof last, format, args);
    va_end(args);
    va_start(args, format);
    say("pretrain", format, args);
    va_end(args);
    return -1;
}

void note(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    say("note", format, args);
    va_end(args);
}

int check(const relora_context *ctx, relora_status status, const char *doing)
{
    char text[512] = "";
    if (status == RELORA_OK) return 0;
    if (ctx) relora_context_error(ctx, text, sizeof text, NULL);
    return fail("%s: %s (%s)%s%s", doing, relora_status_name(status), relora_status_text(status),
                text[0] ? ": " : "", text);
}
