/* Numbers in text have a point, whatever locale the host has set: what it writes a program in another locale reads.
 * The calling thread has the locale "C" from numeric_begin() to numeric_end(), and its own again before anything of the
 * host's is called; other threads and setlocale() see nothing of it. */
#ifndef RELORA_SRC_NUMERIC_H
#define RELORA_SRC_NUMERIC_H

#include <locale.h>
#include <stdarg.h>
#include <stddef.h>

struct numeric {
    locale_t own, host;
};

struct numeric numeric_begin(void);
void numeric_end(struct numeric numeric);

/* vsnprintf(). */
int numeric_print(char *buffer, size_t size, const char *format, va_list arguments)
    __attribute__((format(printf, 3, 0)));
/* snprintf(). */
int numeric_text(char *buffer, size_t size, const char *format, ...) __attribute__((format(printf, 3, 4)));

#endif
