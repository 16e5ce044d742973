/* The allocator of the C library with this program's own malloc() and so on before it: the requests of every
 * library in the process are seen, one or all from one on can be refused, and it is known whose they were. */
#ifndef TEST_INTERPOSE_H
#define TEST_INTERPOSE_H

#include <stddef.h>
#include <stdint.h>

enum { LIBRARY_NAME = 32, SLACK = 300 };

/* what is refused after the n-th request */
enum interpose_how {
    REFUSE_ALONE,   /* nothing */
    REFUSE_LASTING, /* everything */
    REFUSE_LARGE,   /* what needs SLACK bytes more than were ever in use until the n-th */
    REFUSE_KINDS
};

/** Count from 0, and refuse the `nth` request from now on (0: none). */
void interpose_start(int64_t nth, enum interpose_how how);
/** Requests since interpose_start(). Nothing is counted or refused any more. */
int64_t interpose_stop(void);
/** How many of them librelora made itself. It asks the context's allocator for all it needs. */
int64_t interpose_ours(void);
/** "libdnnl.so.2" and so on: who made the first request that was refused; "" if none was. */
const char *interpose_asked_by(void);

/** The innermost library on the stack that is not of the C or C++ runtime; "?" if there is none. */
void library_of_stack(char name[LIBRARY_NAME]);

/** For a context's own allocator: neither counted nor refused. */
void *plain_alloc(void *user, size_t size, size_t alignment);
void plain_free(void *user, void *ptr, size_t size, size_t alignment);

#endif
