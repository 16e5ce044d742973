/* The text of a header through jansson, which does not always see that memory has run out.
 *
 * It gathers each token in a buffer that grows, and does not look whether it could: then a byte of the token is
 * missing, or it reads past the end. So it is first asked for a string of the size that buffer may reach; and it
 * is given the header with a pair in front, {"xxx...x":0, whose name is longer than any token of the file: the
 * buffer grows there, where it can be checked. */
#include <jansson.h>
#include <string.h>

#include "numeric.h"
#include "safetensors.h"

struct feed { /* the text to be, `at` bytes of which jansson has */
    const unsigned char *text;
    size_t length, name, at;
};

/* The longest stretch from quote to quote; a number lies between two as well. */
static size_t longest_token(const unsigned char *text, size_t length)
{
    size_t longest = 0, start = 0;
    int escaped = 0;
    for (size_t i = 0; i <= length; i++) {
        if (i == length || (text[i] == '"' && !escaped)) {
            if (i - start > longest) longest = i - start;
            start = i;
        }
        escaped = i < length && text[i] == '\\' && !escaped;
    }
    return longest;
}

static unsigned char feed_byte(const struct feed *f, size_t i)
{
    if (i < 2) return (unsigned char)"{\""[i];
    if ((i -= 2) < f->name) return 'x';
    if ((i -= f->name) < 4) return (unsigned char)"\":0,"[i];
    return f->text[i - 4 + 1]; /* what follows its { */
}

static size_t feed(void *to, size_t capacity, void *user)
{
    struct feed *f = user;
    size_t n = 0, end = 6 + f->name + f->length - 1;
    while (n < capacity && f->at < end) ((unsigned char *)to)[n++] = feed_byte(f, f->at++);
    return n;
}

static int is_empty(const unsigned char *text, size_t length) /* {} */
{
    size_t i = 1;
    while (i < length && strchr(" \t\r\n", text[i]) && text[i]) i++;
    return i < length && text[i] == '}';
}

/* NULL: bad JSON, or no memory. */
static json_t *load(const unsigned char *text, size_t length, json_error_t *error)
{
    *error = (json_error_t){0};
    if (is_empty(text, length)) return json_loadb((const char *)text, length, JSON_REJECT_DUPLICATES, error);
    /* odd: it does not grow for the last quote */
    struct feed f = {text, length, longest_token(text, length) | 1, 0};
    json_t *room = json_sprintf("%*s", 4 * (int)f.name, "");
    if (!room) return NULL;
    json_decref(room);
    json_t *root = json_load_callback(feed, &f, JSON_REJECT_DUPLICATES, error);
    error->position -= (int)f.name + 5;
    if (!root) return NULL;
    const char *name = json_object_iter_key(json_object_iter(root));
    if (name && strlen(name) == f.name && !json_object_del(root, name)) return root;
    json_decref(root);
    return NULL;
}

static int begins(const char *text, const char *with)
{
    return !strncmp(text, with, strlen(with));
}

/* Was it memory? Then jansson is silent, or does not like the pair in front, or calls a string bad that it has
 * read to the last quote. */
static int lacks_memory(const json_error_t *error, const unsigned char *text, size_t length)
{
    if (!error->text[0] || error->position < 1) return 1;
    if (!begins(error->text, "invalid token") && !begins(error->text, "string or")) return 0;
    return (size_t)error->position <= length && text[error->position - 1] == '"';
}

relora_status st_text_load(const struct call *c, json_t **root, const char *what, const unsigned char *text,
                           size_t length)
{
    json_error_t error;
    /* jansson has strtod() read a number, and counts on it to read all of it */
    struct numeric numeric = numeric_begin();
    *root = load(text, length, &error);
    numeric_end(numeric);
    if (*root) return RELORA_OK;
    if (lacks_memory(&error, text, length)) return call_fail_memory(c, 0);
    FAIL(c, RELORA_E_FORMAT, "%s: header, byte %d: %s", what, error.position, error.text);
}
