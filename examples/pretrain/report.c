#include "report.h"

#include <stdarg.h>
#include <stdio.h>

int fail(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fputs("pretrain: ", stderr);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
    return -1;
}

int check(const relora_context *ctx, relora_status status, const char *doing)
{
    char text[512] = "";
    if (status == RELORA_OK)
        return 0;
    if (ctx)
        relora_context_error(ctx, text, sizeof text, NULL);
    return fail("%s: %s (%s)%s%s", doing, relora_status_name(status), relora_status_text(status),
                text[0] ? ": " : "", text);
}
