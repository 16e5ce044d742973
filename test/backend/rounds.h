/* A scenario played again and again, each time with another call of the backend failing, until none is left
 * to fail; and everything that must hold after any failure, whatever the scenario is. */
#ifndef TEST_BACKEND_ROUNDS_H
#define TEST_BACKEND_ROUNDS_H

#include <string.h>
#include "backend/faulty.h"
#include "support/close.h"
#include "support/objects.h"

struct scenario {
    /* The work, on env.st and `side`, which may be new ones when it is asked to go on after a failure.
     * Every call goes through CALL or MAKE. It ends with both streams synchronised. */
    relora_status (*run)(void);
    void (*mend)(void); /* after a failure, before `run` goes on: put back what it builds on; may be NULL */
    void *(*result)(size_t *size); /* what the work has made; lives until env_close() */
    void (*drop)(int backwards);   /* release all objects in one order or the other */
};

extern relora_stream *side; /* the second stream; the first is env.st */

/** Play it undisturbed, and then with each call failing in each way of enum fault. The result must always be
 *  that of the undisturbed run. `least` calls of the backend it makes at least. */
void play(const struct scenario *scenario, int64_t least);

/** What a scenario changed and measured here is none of the scenario's calls. */
void hold(void);
void unhold(void);

/** One call of a scenario that uses `stream`, NULL for none. A failure is checked and returned, except that a
 *  device without memory for a clean request is asked once more, at once, with the very same call. */
#define CALL(stream, call)                                           \
    do {                                                             \
        relora_status status_;                                       \
        do {                                                         \
            env.errors = 0;                                          \
            status_ = (call);                                        \
        } while (again(status_, stream, #call, __FILE__, __LINE__)); \
        if (status_ < 0) return status_;                             \
    } while (0)

/** The same for a constructor, unless its object is there already: `object` must be NULL after a failure. */
#define MAKE(object, call)                                         \
    do {                                                           \
        relora_status status_;                                     \
        if (object) break;                                         \
        do {                                                       \
            env.errors = 0;                                        \
            (object) = (void *)&env;                               \
            status_ = (call);                                      \
            if (status_ < 0) ck_assert_ptr_null(object);           \
        } while (again(status_, NULL, #call, __FILE__, __LINE__)); \
        if (status_ < 0) return status_;                           \
    } while (0)

int again(relora_status status, const relora_stream *stream, const char *call, const char *file, int line);

#endif
