/* Scenarios under failing memory. A scenario is played again and again, each time in an environment of its
 * own, with the n-th request it makes of the context's allocator refused, for n = 1, 2, 3, ... until it makes
 * no more: once with that request alone refused, and once with every request after it too. */
#ifndef TEST_OOM_H
#define TEST_OOM_H

#include "checkpoint/run.h"

enum { OOM_KINDS = 2 }; /* of refusal: alone, lasting; for tcase_add_loop_test */

/** Play `scenario` for every n; there must be at least `least`. */
void oom_play(void (*scenario)(void), int lasting, int64_t least);
/** Inside a scenario: what it asks for from now on counts. */
void oom_begin(void);
/** Refuse nothing from now on, for calls that are no part of the scenario. */
void oom_end(void);
/** Inside a scenario: something that came out of it. With every n it must be what it is without a refusal. */
void oom_result(const void *bytes, size_t size);
void oom_result_of(const relora_tensor *tensor); /* NULL is allowed */

/** A call that, if it is refused memory, says so with a status, a sentence and one log line, leaves everything
 *  as `check` demands (NULL: nothing to look at), says the same again while memory stays out, and succeeds
 *  when memory is back. It is made up to three times. */
#define SURVIVES(check, call) while (oom_again((call), (check), #call, __FILE__, __LINE__))
/** The same for a call that makes *out, which must be NULL after a failure. */
#define MAKES(out, call)                 \
    do {                                 \
        oom_out = (void **)&(out);       \
        (out) = POISON;                  \
        SURVIVES(oom_out_is_null, call); \
    } while (0)
int oom_again(relora_status status, void (*check)(void), const char *call, const char *file, int line);
extern void **oom_out;
void oom_out_is_null(void);

/** Memory that the runner and its tests share, for the figures that main() prints. */
struct oom_totals {
    int64_t scenarios, refused[OOM_KINDS]; /* times a request was the first to be refused */
};
extern struct oom_totals *oom_totals;

Suite *oom_constructors(void);
Suite *oom_registration(void);
Suite *oom_training(void);
Suite *oom_files(void);
Suite *oom_steady(void);
Suite *oom_groups(void);
Suite *oom_restart(void);

#endif
