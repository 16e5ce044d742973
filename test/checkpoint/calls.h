/* The system calls a save makes, watched: this program's own write(), fsync() and so on stand before those
 * of the C library, so that any of them can fail, do half its work, or be the last before a crash. */
#ifndef TEST_CHECKPOINT_CALLS_H
#define TEST_CHECKPOINT_CALLS_H

struct calls {
    int watch;            /* 0: everything passes and nothing is counted */
    const char *name;     /* the call that fails, "write"; NULL: any */
    int nth;              /* its how manieth call, from 1; 0: none; EVERY: each of them */
    int error;            /* errno of the failure; or */
    int done;             /* the call does its work, and fails then; or */
    int no_fsync;         /* and every fsync is EINVAL */
    int crash;            /* the process ends before the call is made; or */
    int nothing;          /* a write that fails returns 0; or */
    int partial;          /* every write writes one byte in seven */
    int interrupted;      /* every second call that may be interrupted is EINTR */
    void (*locked)(void); /* called after each lock that was got */
    int seen;             /* calls of that name */
    char trace[1024];     /* names in order, each followed by a space; equal neighbours once */
};
extern struct calls calls;

enum { CRASHED = 42 }; /* exit status */
enum { EVERY = -1 };

/** Watch from now on with everything else as in `plan`, until calls_stop(). */
void calls_start(struct calls plan);
void calls_stop(void);

#endif
