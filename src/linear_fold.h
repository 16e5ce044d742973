/* W + s B A as one matrix. */
#ifndef RELORA_SRC_LINEAR_FOLD_H
#define RELORA_SRC_LINEAR_FOLD_H

#include "pass.h"

/* m->folded := W + s B A. Needs m->a and m->b, which are written here. */
relora_status fold_weight(const struct pass *p, struct pass_memory *m);

#endif
