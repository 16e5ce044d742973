/* The cycle, as a state sees it. */
#ifndef RELORA_SRC_CYCLE_H
#define RELORA_SRC_CYCLE_H

#include "context.h"
#include "relora/cycle.h"
#include "text.h"

/* NULL for NULL. */
const relora_context *cycle_context(const relora_cycle *cycle);

/* What it is, a line "field=value" each: equal for cycles with the same calendar. */
void cycle_describe(const relora_cycle *cycle, struct text *text);

#endif
