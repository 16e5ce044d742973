/* The other ranks, as an object knows them: exchanges through the host's table, on any device. */
#ifndef RELORA_SRC_COMM_H
#define RELORA_SRC_COMM_H

#include "relora/comm.h"
#include "tensor.h"

struct comm {
    relora_comm table; /* of size 1 if there are no others */
    const relora_device *device;
    void *wire;   /* on the device: a piece of what is exchanged */
    void *staged; /* on the host, if the table wants it there and the device is another */
};

enum {
    COMM_PIECE = 1 << 22
}; /* elements of F32 in the wire, for all ranks together; more with very many ranks */

extern const struct options comm_table;

/* Take the host's table for an object on `device`, checked; NULL gives one of size 1. */
relora_status comm_take(const struct call *c, const char *name, struct comm *comm,
                        const relora_device *device, const relora_comm *table);

static inline int comm_has_others(const struct comm *comm)
{
    return comm->table.size > 1;
}

/* Elements that one rank has in a piece: a multiple of COMM_ALIGN. */
enum { COMM_ALIGN = 16 };
int64_t comm_part(const struct comm *comm);

/* The memory of the wire, without which nothing can be exchanged. */
relora_status comm_reserve(const struct call *c, struct comm *comm);
void comm_free(struct comm *comm);

/* Exchanges of what lies on the device, `what` in sentences; a scatter and a gather of the wire alone. */
relora_status comm_sum(const struct call *c, const struct comm *comm, const char *what, void *data,
                       int64_t count, relora_comm_type type);
relora_status comm_reduce_scatter(const struct call *c, const struct comm *comm, const char *what,
                                  int64_t count);
relora_status comm_all_gather(const struct call *c, const struct comm *comm, const char *what, int64_t count);

/* comm_tensor.c: elements `first` to `end` of a tensor into `wire`, or out of it; BF16 as F32. */
relora_status comm_copy(const struct call *c, const relora_tensor *tensor, int64_t first, int64_t end,
                        int to_wire, float *wire);
/* Some of these elements, as many as are a matrix: all, or where rows have gaps the rest of a row or whole
 * rows. */
struct view comm_piece(const relora_tensor *tensor, int64_t first, int64_t end);
/* A tensor becomes its sum over all ranks. */
relora_status comm_sum_tensor(const struct call *c, const struct comm *comm, const char *what,
                              const relora_tensor *tensor);

/* One number of each rank to all of them; then, until the next exchange, that of a rank. No memory is
 * needed. */
relora_status comm_share_number(const struct call *c, const struct comm *comm, const char *what,
                                int64_t number);
relora_status comm_number_of(const struct call *c, const struct comm *comm, int32_t rank, int64_t *number);

/* The status of the first rank that has failed, on all of them: what each can fail in by itself comes before
 * it. */
relora_status comm_agree(const struct call *c, const struct comm *comm, relora_status status);

/* Do all ranks have the same bits in `count` tensors? at() gives one of them and its name. If not,
 * RELORA_E_STATE on all ranks, with the first that differs. */
typedef const relora_tensor *(*comm_item_fn)(void *user, int32_t index, const char **name);
relora_status comm_check_same(const struct call *c, const struct comm *comm, int32_t count, comm_item_fn at,
                              void *user);

#endif
