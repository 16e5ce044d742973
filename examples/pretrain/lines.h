/* Labelled lines: a label, a tab and a text each, for --classify. */
#ifndef PRETRAIN_LINES_H
#define PRETRAIN_LINES_H

#include "data.h"

/* Find the lines of opened text, whose labels are whole numbers below `classes`. There must be files of their own
 * for validation. -1 after a sentence, or without one if stop_asked(). */
int lines_find(struct data *data, int64_t classes);
/* The first `seq` bytes of a text, then zeros. The label is the target of its last byte there; every other target
 * is -1, which is none. -1 after a sentence. */
int lines_row(const struct data *data, int64_t line, int64_t seq, int32_t *tokens, int32_t *targets);

#endif
