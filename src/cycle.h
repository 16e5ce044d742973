/* The cycle, as a state sees it. */
#ifndef RELORA_SRC_CYCLE_H
#define RELORA_SRC_CYCLE_H

#include "call.h"
#include "context.h"
#include "options.h"
#include "relora/cycle.h"
#include "text.h"

/* NULL for NULL. */
relora_context *cycle_context(const relora_cycle *cycle);

extern const struct options cycle_table;

/* What no row can say alone. */
relora_status cycle_check_options(const struct call *c, const relora_cycle_options *o,
                                  const relora_reset_options *reset);

/* What it is (description.h), and whether a file's cycle is the same. */
void cycle_describe(const relora_cycle *cycle, struct text *text);
relora_status cycle_compare(const char *ours, const char *theirs, struct text *why);

#endif
