/* A string that grows, for names and descriptions. */
#ifndef RELORA_SRC_TEXT_H
#define RELORA_SRC_TEXT_H

#include "memory.h"

struct text {
    const struct memory *memory;
    char *data; /* NUL-terminated once anything was put in */
    size_t used, capacity;
    int failed; /* memory ran out */
};

void text_put(struct text *text, const char *format, ...) __attribute__((format(printf, 2, 3)));
void text_free(struct text *text);

/* How many bytes of a string to take, at most `limit`, so that no character of UTF-8 is cut apart. */
size_t text_fit(const char *string, size_t limit);

/* "prefix.name", or "name" after an empty prefix. */
void text_join(struct text *text, const char *prefix, const char *name);

/* A layer in a sentence: `layer "head"`, or `layer 3` before it has a name. Returns `text`. */
enum {
    LINEAR_NAME = 95, /* bytes of a name that a sentence shows */
    LABEL_TEXT = LINEAR_NAME + 16
};
const char *layer_label(const char *name, uint64_t layer, char text[LABEL_TEXT]);

#endif
