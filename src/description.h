/* What an object of a state is: lines "field=value" in the file's metadata, by which a load sees whether the
 * objects it was given are those of the file.
 *
 * Fields are compared one by one. One that is not in the file has its default; so a field that is added later
 * is written only where it differs from that, and files of releases that do not know each other's fields fit
 * as long as these are not used. */
#ifndef RELORA_SRC_DESCRIPTION_H
#define RELORA_SRC_DESCRIPTION_H

#include "options.h"
#include "text.h"

/* A line for each field of `options` that a state tells of. */
void description_put(struct text *text, const struct options *table, const void *options);

/* Two descriptions by the rows of `tables`, whose last is NULL. *theirs, of a file, is read up to its end or to a line
 * that begins with `until`, and moves there; NULL: to its end. RELORA_E_STATE: `why` names the first field that
 * differs, and both values, or one that this release does not know. RELORA_E_NO_MEMORY: no room for `why`. */
relora_status description_compare(const struct options *const *tables, const char *ours, const char **theirs,
                                  const char *until, struct text *why);

#endif
