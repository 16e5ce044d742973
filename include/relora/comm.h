/** @file relora/comm.h
 *  How one process of a training run talks to the others. The library links neither MPI nor NCCL. The host
 *  fills this table with functions of its transport, and an optimizer or a cycle calls them.
 *  relora/comm_mpi.h and relora/comm_nccl.h fill one in a single call. A run of one process needs none of
 *  this.
 *
 *  A process is a rank. All ranks make the same calls in the same order, with the same parameters, options
 *  and numbers; only their data differ. A rank that fails before it has communicated, for example because
 *  there is no memory, leaves the others waiting. It must end, or make the communicator fail, and a
 *  communicator should give up after a while. */
#ifndef RELORA_COMM_H
#define RELORA_COMM_H

#include "relora/export.h"
#include "relora/status.h"
#include "relora/types.h"

RELORA_BEGIN

/** What is sent. The library sends BF16 as F32. */
typedef int32_t relora_comm_type;
enum {
    RELORA_COMM_F32 = 1,
    RELORA_COMM_F64 = 2,
    RELORA_COMM_I64 = 3 /**< whole numbers; a sum of them wraps around */
};

/** One exchange between all ranks, in place.
 *  @param native the cudaStream_t of the call, in which the work is queued; NULL for the CPU, where the
 *                exchange is done on return
 *  @param data   elements at a multiple of 64 bytes, in the memory that relora_comm.memory names
 *  @param count  1 or more; its meaning is that of the function
 *  @return RELORA_OK, or any negative status. Then the call of the library fails with RELORA_E_COMM, and its
 *          stream is finished: nobody knows which ranks have which numbers. The rules for every callback are
 *          in relora/context.h */
typedef relora_status (*relora_comm_fn)(void *user, void *native, void *data, int64_t count,
                                        relora_comm_type type);
/** Why the last exchange failed, in one line; valid until the next one. */
typedef const char *(*relora_comm_error_fn)(void *user);

typedef struct relora_comm {
    uint32_t struct_size;      /**< set by relora_comm_init() */
    int32_t rank;              /**< 0 to size - 1 */
    int32_t size;              /**< number of ranks; default 1 */
    relora_device_kind memory; /**< where `data` of the functions is. CPU, the default: the library copies
                                        data of a GPU to the host and waits for it. CUDA: data stays on the
                                        GPU; refused for an optimizer on the CPU (RELORA_E_DEVICE) */
    relora_comm_fn sum;        /**< `count` elements become the sum over all ranks, with the same bits on
                                        each of them */
    relora_comm_fn
        reduce_scatter;         /**< `data` is `size` parts of `count` elements. Part `rank` becomes its sum
                                        over all ranks; the others may become anything */
    relora_comm_fn all_gather;  /**< `data` is `size` parts of `count` elements. Each rank has filled part
                                        `rank`; after the call each has all of them */
    relora_comm_error_fn error; /**< may be NULL */
    void *user;                 /**< first argument of each function; must stay valid until the optimizers
                                        and cycles made with this table are released */
} relora_comm;

/** Fill `comm` with the defaults, which are those of a run without other ranks, writing exactly `size` bytes.
 *  @since 0.6 @threads any @stream none */
RELORA_API relora_status relora_comm_init(relora_comm *comm, size_t size);

RELORA_END
#endif
