/* The schedule, as a state sees it. */
#ifndef RELORA_SRC_SCHEDULE_H
#define RELORA_SRC_SCHEDULE_H

#include "context.h"
#include "options.h"
#include "relora/schedule.h"
#include "text.h"

/* NULL for NULL. */
relora_context *schedule_context(const relora_schedule *schedule);

extern const struct options schedule_table;
const relora_schedule_options *schedule_options(const relora_schedule *schedule);

/* What it is (description.h), and whether a file's schedule is the same. */
void schedule_describe(const relora_schedule *schedule, struct text *text);
relora_status schedule_compare(const char *ours, const char *theirs, struct text *why);

#endif
