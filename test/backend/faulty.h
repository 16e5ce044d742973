/* The CPU's backend table, except that one call of it fails: what a device may do, where there is none.
 * A context made to use it knows no difference, and everything above src/backend.h is tested as it is.
 * One more habit of devices is kept: what is copied to the host is not there before queue_sync. */
#ifndef TEST_BACKEND_FAULTY_H
#define TEST_BACKEND_FAULTY_H

#include "context.h"

enum fault {
    FAULT_MEMORY = 1, /* the call does nothing and has no memory */
    FAULT_DEVICE,     /* the call does nothing and says so: the device failed */
    FAULT_LATE,       /* it queues its work, which fails: the next call on that queue says so */
    FAULT_VERY_LATE,  /* the same, and only queue_sync says so */
    FAULT_LOST        /* this call and all later ones on every queue fail */
};

struct faulty {
    enum fault kind;
    int64_t at;            /* number of the call that fails, from 1; 0: none */
    int held;              /* calls are neither counted nor failed: the test itself is at work */
    int64_t calls;         /* that could fail, so far */
    const char *entry;     /* of the call that failed; NULL before */
    int told;              /* how often a failure was returned */
    int64_t bytes, queues; /* outstanding */
    int after;             /* calls on the queue of a stream whose failure was told before */
};
extern struct faulty faulty;

/** Let call number `at` from now on fail; 0: none. */
void faulty_plan(enum fault kind, int64_t at);
/** Give the device of a context without objects this table in place of the CPU's. */
void faulty_install(relora_context *ctx);

#endif
