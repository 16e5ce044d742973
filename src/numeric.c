/* Numbers as text, whatever the locale of the host. The locale is set for the calling thread alone and put back, since
 * setlocale() is the host's. */
#include "numeric.h"

#include <stdio.h>

struct numeric numeric_begin(void)
{
    struct numeric n = {.own = newlocale(LC_ALL_MASK, "C", (locale_t)0)}; /* asks for no memory */
    n.host = uselocale(n.own); /* which changes nothing if there is none */
    return n;
}

void numeric_end(struct numeric n)
{
    uselocale(n.host);
    if (n.own) freelocale(n.own);
}

int numeric_print(char *buffer, size_t size, const char *format, va_list arguments)
{
    struct numeric n = numeric_begin();
    int length = vsnprintf(buffer, size, format, arguments);
    numeric_end(n);
    return length;
}

int numeric_text(char *buffer, size_t size, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    int length = numeric_print(buffer, size, format, arguments);
    va_end(arguments);
    return length;
}
