/* How every file says that something went wrong: one sentence on stderr, and -1 to pass on. */
#ifndef PRETRAIN_REPORT_H
#define PRETRAIN_REPORT_H

#include <relora/relora.h>

#ifdef __GNUC__
#define REPORT_FORMAT __attribute__((format(printf, 1, 2)))
#else
#define REPORT_FORMAT
#endif

REPORT_FORMAT int fail(const char *format, ...);
/* The same for what is worth a word and no failure. */
REPORT_FORMAT void note(const char *format, ...);

/* 0 if `status` is RELORA_OK; else -1 after saying what the library says. */
int check(const relora_context *ctx, relora_status status, const char *doing);

/* Say nothing from now on: of several processes one speaks. */
void report_mute(void);
int report_is_muted(void);
/* The last sentence of fail(). */
const char *report_last(void);

/* A bar stands in the last line of the terminal: the next sentence wipes it away first. */
void report_bar(int shown);

#endif
