/* How every file says that something went wrong: one sentence on stderr, and -1 to pass on. */
#ifndef PRETRAIN_REPORT_H
#define PRETRAIN_REPORT_H

#include <relora/relora.h>

#ifdef __GNUC__
__attribute__((format(printf, 1, 2)))
#endif
int fail(const char *format, ...);

/* 0 if `status` is RELORA_OK; else -1 after saying what the library says. */
int check(const relora_context *ctx, relora_status status, const char *doing);

#endif
