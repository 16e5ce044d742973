/* The list of things that make up a run. */
#ifndef RELORA_SRC_STATE_H
#define RELORA_SRC_STATE_H

#include "adam.h"
#include "reader.h"
#include "relora/state.h"
#include "writer.h"

struct state_part {
    enum { PART_TENSOR = 1, PART_LINEAR, PART_ADAM, PART_TEXT } kind;
    char *name;  /* or prefix */
    char *text;  /* PART_TEXT: the value of a metadata pair whose key is `name` */
    relora_tensor *tensor;
    relora_linear *linear;
    relora_adam *adam;
};

struct relora_state {
    relora_context *ctx;
    struct state_part *parts;
    int32_t count, capacity;
};

/* A string that grows; `failed` once memory ran out. */
struct text {
    const struct memory *memory;
    char *data; /* NUL-terminated once anything was put in */
    size_t used, capacity;
    int failed;
};

void text_put(struct text *text, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* "field=number" and a newline, exact, with a point whatever the host's locale. */
void text_number(struct text *text, const char *field, double value);
void text_free(struct text *text);

/* "prefix.name", or "name" after an empty prefix. */
void text_join(struct text *text, const char *prefix, const char *name);

/* What an object is, a line "field=value" each: equal for objects that can take each other's state. */
void linear_describe(const relora_linear *linear, struct text *text);
void adam_describe(const relora_adam *adam, struct text *text);
void schedule_describe(const relora_schedule *schedule, struct text *text);
void cycle_describe(const relora_cycle *cycle, struct text *text);

/* The context of an object whose struct its own file keeps to itself; NULL for NULL. */
const relora_context *schedule_context(const relora_schedule *schedule);
const relora_context *cycle_context(const relora_cycle *cycle);

#endif
