/* Ranks as threads of one process, so that no test of the library needs MPI. Each has a context of its own. The sums
 * are made in the order of the ranks. */
#ifndef TEST_SUPPORT_RANKS_H
#define TEST_SUPPORT_RANKS_H

#include "relora/relora.h"
#include "support/track.h"

enum { RANKS_MOST = 8 };

struct ranks; /* what they have in common */

struct rank {
    relora_comm comm;
    struct track mem;
    relora_context *ctx;
    relora_device *dev;
    relora_stream *st;
    void *user;
    const char *module_dir; /* of a module whose device the rank takes; NULL: the CPU */
    int64_t exchanges;      /* calls of the table so far */
    int64_t fails_at;       /* the exchange, from 1, in which this rank fails and leaves; 0: none */
    uint64_t sent_bytes;    /* that a good ring sends for it */
    int bad_memory;         /* bytes were left */
    char error[80];
    struct ranks *all;
};

/** body(rank) of each of `size` ranks in a thread of its own, with a context, and all of them at once. `prepare` may set
 *  fields of each rank first; NULL is allowed. The ranks stay valid until the next run. */
typedef void (*rank_fn)(struct rank *rank);
struct rank *ranks_run(int32_t size, rank_fn prepare, rank_fn body, void *user);

/** body() in this process, which is the rank that `comm` says. */
struct rank *rank_run(const relora_comm *comm, rank_fn body, void *user);

/** The call must succeed, or the process ends with a sentence: a thread cannot leave by longjmp. */
#define RANK_OK(rank, call) rank_ok((rank), (call), #call, __FILE__, __LINE__)
void rank_ok(const struct rank *rank, relora_status status, const char *call, const char *file, int line);
#define RANK_TRUE(rank, condition) rank_true((rank), (condition), #condition, __FILE__, __LINE__)
void rank_true(const struct rank *rank, int condition, const char *what, const char *file, int line);

#endif
