/* Strings that grow. */
#include "text.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "numeric.h"

static int text_reserve(struct text *text, size_t more)
{
    size_t need = size_add(text->used, size_add(more, 1));
    if (text->failed || need <= text->capacity) return !text->failed;
    size_t capacity = size_mul(need, 2);
    char *grown = memory_alloc(text->memory, capacity);
    if (!grown) return !(text->failed = 1);
    if (text->used) memcpy(grown, text->data, text->used);
    memory_free(text->memory, text->data, text->capacity);
    text->data = grown;
    text->capacity = capacity;
    return 1;
}

void text_put(struct text *text, const char *format, ...)
{
    va_list arguments, again;
    va_start(arguments, format);
    va_copy(again, arguments);
    int n = numeric_print(NULL, 0, format, arguments);
    if (n >= 0 && text_reserve(text, (size_t)n)) {
        numeric_print(text->data + text->used, (size_t)n + 1, format, again);
        text->used += (size_t)n;
    }
    va_end(again);
    va_end(arguments);
}

void text_join(struct text *text, const char *prefix, const char *name)
{
    text_put(text, "%s%s%s", prefix, prefix[0] ? "." : "", name);
}

void text_free(struct text *text)
{
    memory_free(text->memory, text->data, text->capacity);
    *text = (struct text){.memory = text->memory};
}

size_t text_fit(const char *string, size_t limit)
{
    size_t length = strlen(string);
    if (length <= limit) return length;
    while (limit && ((unsigned char)string[limit] & 0xC0) == 0x80) limit--;
    return limit;
}

const char *layer_label(const char *name, uint64_t layer, char text[LABEL_TEXT])
{
    if (name[0]) snprintf(text, LABEL_TEXT, "layer \"%s\"", name);
    else snprintf(text, LABEL_TEXT, "layer %llu", (unsigned long long)layer);
    return text;
}
