/* Recipes: options that belong together, for those who do not want to choose each. */
#include "options_table.h"

#include <string.h>
#include "report.h"

static const struct setting {
    enum recipe recipe;
    const char *option, *value;
} settings[] = {
    /* The factors train from the first update, and W with them, by steps that keep no moments: docs/results.md. */
    {RECIPE_BEST, "method", "lora"},
    {RECIPE_BEST, "warm-start", "0"},
    {RECIPE_BEST, "full-rank-every", "1"},
    /* A quarter of the run in full rank, then three restarts. One mask clears both moments: with two, as in the authors'
     * code, small models need a low rate, and learn less (docs/results.md). */
    {RECIPE_PAPER, "method", "relora"},
};

static const struct option_row *row_named(const char *name)
{
    for (int i = 0; i < option_count; i++)
        if (strcmp(option_rows[i].name, name) == 0) return &option_rows[i];
    return NULL;
}

/* A recipe is nothing without its method. */
static int check_method(const struct options *o, const char *method)
{
    if (!options_given(o, "method") || strcmp(options_choice("method", o->method), method) == 0) return 0;
    return fail("--recipe %s is for --method %s, but --method %s was given; leave one of them out",
                options_choice("recipe", o->recipe), method, options_choice("method", o->method));
}

int options_take_recipe(struct options *o)
{
    for (size_t i = 0; i < sizeof settings / sizeof *settings; i++) {
        const struct setting *s = &settings[i];
        if (s->recipe != (enum recipe)o->recipe) continue;
        if (strcmp(s->option, "method") == 0 && check_method(o, s->value)) return -1;
        if (!options_given(o, s->option) && option_set(o, row_named(s->option), s->value)) return -1;
    }
    return 0;
}
