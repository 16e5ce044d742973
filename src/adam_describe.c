/* What an optimizer is: its options, and each parameter in order of registration. */
#include "adam.h"
#include "description.h"

static const struct option count_row[] = {{FIELD(struct registry, count), OPTION_I32}};
static const struct options registry = {ROWS(count_row)};

static const struct option factor_rows[] = {
    {FIELD(struct adam_entry, lr_factor), OPTION_F64, .value = 1},
    {FIELD(struct adam_entry, weight_decay), OPTION_F64},
};
static const struct options factors = {ROWS(factor_rows)};

static const char parameter[] = "parameter "; /* begins a part of its own */

static void put_options(struct text *text, const relora_adam *adam)
{
    description_put(text, &adam_table, &adam->options);
    description_put(text, &registry, &adam->registry);
}

static void put_name(struct text *text, const relora_adam *adam, int32_t index)
{
    text_put(text, "%s%d=%s\n", parameter, index, adam_at(adam, index)->is.name);
}

void adam_describe(const relora_adam *adam, struct text *text)
{
    put_options(text, adam);
    for (int32_t i = 0; i < adam->registry.count; i++) {
        put_name(text, adam, i);
        description_put(text, &factors, adam_at(adam, i));
    }
}

/* The name is compared as a whole: it may contain a newline. */
static relora_status compare_name(const relora_adam *adam, int32_t index, const char **theirs,
                                  struct text *why)
{
    struct text ours = {.memory = why->memory};
    relora_status status = RELORA_OK;
    put_name(&ours, adam, index);
    if (ours.failed) {
        status = RELORA_E_NO_MEMORY;
    } else if (strncmp(*theirs, ours.data, ours.used)) {
        text_put(why, "%.*s here, but %.*s in the file", (int)strcspn(ours.data, "\n"), ours.data,
                 (int)strcspn(*theirs, "\n"), *theirs);
        status = why->failed ? RELORA_E_NO_MEMORY : RELORA_E_STATE;
    } else {
        *theirs += ours.used;
    }
    text_free(&ours);
    return status;
}

/* One part: the options for index -1, or the factors of a parameter. */
static relora_status compare_part(const relora_adam *adam, int32_t index, const char **theirs,
                                  struct text *why)
{
    static const struct options *const of_all[] = {&adam_table, &registry, NULL};
    static const struct options *const of_one[] = {&factors, NULL};
    struct text ours = {.memory = why->memory};
    if (index < 0) put_options(&ours, adam);
    else description_put(&ours, &factors, adam_at(adam, index));
    relora_status status =
        ours.failed ? RELORA_E_NO_MEMORY
                    : description_compare(index < 0 ? of_all : of_one, ours.data, theirs, parameter, why);
    text_free(&ours);
    return status;
}

relora_status adam_compare(const relora_adam *adam, const char *theirs, struct text *why)
{
    relora_status status = compare_part(adam, -1, &theirs, why);
    for (int32_t i = 0; i < adam->registry.count && status >= 0; i++) {
        status = compare_name(adam, i, &theirs, why);
        if (status >= 0) status = compare_part(adam, i, &theirs, why);
    }
    if (status < 0 || !*theirs) return status;
    text_put(why, "the file has %.*s, which is one too many", (int)strcspn(theirs, "\n"), theirs);
    return why->failed ? RELORA_E_NO_MEMORY : RELORA_E_STATE;
}
