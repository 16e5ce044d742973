/* The schedule, as a state sees it. */
#ifndef RELORA_SRC_SCHEDULE_H
#define RELORA_SRC_SCHEDULE_H

#include "context.h"
#include "relora/schedule.h"
#include "text.h"

/* NULL for NULL. */
const relora_context *schedule_context(const relora_schedule *schedule);

/* What it is, a line "field=value" each: equal for schedules that give the same rates. */
void schedule_describe(const relora_schedule *schedule, struct text *text);

#endif
