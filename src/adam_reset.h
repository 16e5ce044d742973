/* The partial reset, as the cycle uses it. */
#ifndef RELORA_SRC_ADAM_RESET_H
#define RELORA_SRC_ADAM_RESET_H

#include "adam.h"

/* relora_adam_reset() by options that were read, in an open call of whatever function. Of PROJECT what is left: the
 * moments of B are counted, and those of A zeroed. */
relora_status adam_reset(const struct call *c, relora_adam *adam, const int32_t *indices, int32_t count,
                         const relora_reset_options *options, relora_reset_report *report);

extern const struct options reset_table;

/* Read and check what goes by `name` in sentences; NULL gives the defaults. */
relora_status reset_options_read(const struct call *c, relora_reset_options *options, const char *name,
                                 const relora_reset_options *from);
/* Can these be used without a cycle? */
relora_status reset_options_alone(const struct call *c, const relora_reset_options *options);

#endif
