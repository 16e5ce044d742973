/* The cycle, as a state sees it. */
#ifndef RELORA_SRC_CYCLE_H
#define RELORA_SRC_CYCLE_H

#include "adam.h"
#include "context.h"
#include "options.h"
#include "relora/cycle.h"
#include "text.h"

struct merge_job; /* linear_merge.h */

struct relora_cycle {
    relora_context *ctx;
    relora_cycle_options options;
    relora_adam *adam;
    struct comm apart; /* ranks that meet at merges alone; of size 1 if there are none */
    relora_reset_options reset;
    struct registry layers; /* of struct member */
    int32_t *indices;       /* room for those of their factors in the optimizer, two for each */
    int32_t index_capacity;
    int64_t advanced;       /* the step of the last relora_cycle_advance(); -1 before the first */
    int32_t warned;         /* of a restart at a high rate */
    int32_t told_of_sketch; /* of a frozen A that has none */
};

/* NULL for NULL. */
relora_context *cycle_context(const relora_cycle *cycle);

extern const struct options cycle_table;

/* What no row can say alone. */
relora_status cycle_check_options(const struct call *c, const relora_cycle_options *o,
                                  const relora_reset_options *reset);

/* What it is (description.h), and whether a file's cycle is the same. */
void cycle_describe(const relora_cycle *cycle, struct text *text);
relora_status cycle_compare(const char *ours, const char *theirs, struct text *why);

/* Lines of the log: cycle_notes.c. */
void cycle_note_step(const struct call *c, relora_cycle *cycle, int64_t step);
void cycle_note_rate(const struct call *c, relora_cycle *cycle, int64_t step);
void cycle_note_sketch(const struct call *c, relora_cycle *cycle, const relora_linear *linear);

/* The ranks of a cycle: cycle_ranks.c. The table of the options, for ranks that meet at merges alone. */
relora_status cycle_take_comm(const struct call *c, struct comm *apart, const relora_cycle_options *options,
                              const relora_reset_options *reset, const relora_adam *adam);

/* Before a restart. Ranks that train together have the same bits, and so they do after it; those that train
 * apart, the same W. */
relora_status cycle_check_ranks(const struct call *c, relora_cycle *cycle);

/* Ranks that train apart need a layer to merge, or they would never meet. */
relora_status cycle_check_meeting(const struct call *c, const relora_cycle *cycle);

/* After a merge of ranks that train apart: what was not merged and drawn afresh becomes its mean. */
relora_status cycle_average_rest(const struct call *c, const relora_cycle *cycle,
                                 const struct merge_job *job);

#endif
