/* From full-rank to low-rank training and back, for one layer or for many. */
#ifndef RELORA_SRC_LINEAR_MODE_H
#define RELORA_SRC_LINEAR_MODE_H

#include "group.h"

/* RELORA_E_ARGUMENT if it is none. */
relora_status linear_check_mode(const struct call *c, relora_linear_mode mode);

/* Does a change to that mode concern the member? */
int linear_takes_mode(const struct member *m, relora_linear_mode mode);

/* Change every layer of the registry that is concerned or, but for a failure of the device, none. To FULL each
 * is merged first, and the call waits for the stream. */
relora_status linear_change_mode(const struct call *c, const struct registry *layers,
                                 relora_linear_mode mode);

#endif
