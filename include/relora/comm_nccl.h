/** @file relora/comm_nccl.h
 *  relora_comm over NCCL, as code that the host compiles with its own <nccl.h>. The library does not need
 *  NCCL, and this file is not part of the binary interface.
 *
 *      ncclComm_t nccl;                           // from ncclCommInitRank(), one rank for each GPU
 *      relora_comm_nccl table;
 *      relora_comm comm;
 *      relora_comm_nccl_open(&table, &comm, nccl);
 *      options.comm = &comm;                      // of relora_adam_options_init(), for a CUDA device
 *
 *  The communicator must be a blocking one, as ncclCommInitRank() makes it. Exchanges are queued in the
 *  stream of the call, and the host does not wait. If a rank fails later, a following exchange or
 *  ncclCommGetAsyncError() reports it; ncclCommAbort() then lets the streams end. */
#ifndef RELORA_COMM_NCCL_H
#define RELORA_COMM_NCCL_H

#include <nccl.h>
#include <stddef.h>
#include "relora/comm.h"

typedef struct relora_comm_nccl {
    ncclComm_t nccl; /**< of the host, which destroys it after everything made with the table */
    int rank;
    ncclResult_t result; /**< of the last exchange */
} relora_comm_nccl;

static inline ncclDataType_t relora_comm_nccl_type(relora_comm_type type)
{
    return type == RELORA_COMM_F32 ? ncclFloat32 : type == RELORA_COMM_F64 ? ncclFloat64 : ncclInt64;
}

/* The part of a rank in an array of parts. */
static inline void *relora_comm_nccl_part(void *data, int64_t index, relora_comm_type type)
{
    return (char *)data + (size_t)index * (type == RELORA_COMM_F32 ? sizeof(float) : sizeof(double));
}

static inline relora_status relora_comm_nccl_done(relora_comm_nccl *table, ncclResult_t result)
{
    ncclResult_t before = ncclSuccess;
    if (result == ncclSuccess) result = ncclCommGetAsyncError(table->nccl, &before);
    table->result = result == ncclSuccess ? before : result;
    return table->result == ncclSuccess ? RELORA_OK : RELORA_E_IO;
}

static inline relora_status relora_comm_nccl_sum(void *user, void *native, void *data, int64_t count,
                                                 relora_comm_type type)
{
    relora_comm_nccl *t = (relora_comm_nccl *)user;
    return relora_comm_nccl_done(t, ncclAllReduce(data, data, (size_t)count, relora_comm_nccl_type(type),
                                                  ncclSum, t->nccl, (cudaStream_t)native));
}

static inline relora_status relora_comm_nccl_reduce_scatter(void *user, void *native, void *data,
                                                            int64_t count, relora_comm_type type)
{
    relora_comm_nccl *t = (relora_comm_nccl *)user;
    void *own = relora_comm_nccl_part(data, t->rank * count, type);
    return relora_comm_nccl_done(t, ncclReduceScatter(data, own, (size_t)count, relora_comm_nccl_type(type),
                                                      ncclSum, t->nccl, (cudaStream_t)native));
}

static inline relora_status relora_comm_nccl_all_gather(void *user, void *native, void *data, int64_t count,
                                                        relora_comm_type type)
{
    relora_comm_nccl *t = (relora_comm_nccl *)user;
    void *own = relora_comm_nccl_part(data, t->rank * count, type);
    return relora_comm_nccl_done(t, ncclAllGather(own, data, (size_t)count, relora_comm_nccl_type(type),
                                                  t->nccl, (cudaStream_t)native));
}

static inline const char *relora_comm_nccl_error(void *user)
{
    return ncclGetErrorString(((relora_comm_nccl *)user)->result);
}

/** Fill `comm` for the ranks of `nccl`. `table` must stay where it is as long as `comm` is used.
 *  @return RELORA_E_IO if NCCL reports an error; table->result has it */
static inline relora_status relora_comm_nccl_open(relora_comm_nccl *table, relora_comm *comm, ncclComm_t nccl)
{
    int size = 0;
    table->nccl = nccl;
    table->rank = 0;
    table->result = ncclCommUserRank(nccl, &table->rank);
    if (table->result == ncclSuccess) table->result = ncclCommCount(nccl, &size);
    if (table->result != ncclSuccess) return RELORA_E_IO;
    relora_comm_init(comm, sizeof *comm);
    comm->rank = table->rank;
    comm->size = size;
    comm->memory = RELORA_DEVICE_CUDA;
    comm->sum = relora_comm_nccl_sum;
    comm->reduce_scatter = relora_comm_nccl_reduce_scatter;
    comm->all_gather = relora_comm_nccl_all_gather;
    comm->error = relora_comm_nccl_error;
    comm->user = table;
    return RELORA_OK;
}

#endif
