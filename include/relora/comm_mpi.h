/** @file relora/comm_mpi.h
 *  relora_comm over MPI, as code that the host compiles with its own <mpi.h>. The library does not need MPI,
 *  and this file is not part of the binary interface.
 *
 *      relora_comm_mpi mpi;
 *      relora_comm comm;
 *      MPI_Init(&argc, &argv);
 *      relora_comm_mpi_open(&mpi, &comm, MPI_COMM_WORLD);
 *      options.comm = &comm;                      // of relora_adam_options_init(), on every rank
 *      ...
 *      relora_comm_mpi_close(&mpi);               // after what was made with it
 *      MPI_Finalize();
 *
 *  Floating-point numbers are added in the order of the ranks, so runs with the same number of ranks give
 *  the same bits, whatever the network and the MPI. A rank that cannot go on calls relora_comm_mpi_leave();
 *  the others then get its sentence instead of waiting. If none comes, for example because a machine is
 *  gone, they give up after relora_comm_mpi.seconds. Then end the process, because MPI never finishes an
 *  exchange that was given up. */
#ifndef RELORA_COMM_MPI_H
#define RELORA_COMM_MPI_H

#include <mpi.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "relora/comm.h"

enum { RELORA_COMM_MPI_TEXT = 256, RELORA_COMM_MPI_LEAVE = 1 /* tag of a message */ };

typedef struct relora_comm_mpi {
    MPI_Comm comm;  /**< a duplicate */
    double seconds; /**< that an exchange may take; 600 unless you change it */
    int rank, size;
    int *counts, *firsts; /* of the parts of an exchange */
    void *parts;          /* of one rank, from all */
    size_t parts_bytes;
    char error[RELORA_COMM_MPI_TEXT];
} relora_comm_mpi;

static inline relora_status relora_comm_mpi_fail(relora_comm_mpi *mpi, const char *what, int code)
{
    char text[MPI_MAX_ERROR_STRING];
    int length = 0;
    MPI_Error_string(code, text, &length);
    snprintf(mpi->error, sizeof mpi->error, "%s: %.*s", what, length < 200 ? length : 200, text);
    return RELORA_E_IO;
}

/* Has another rank left? Then `error` has its sentence. */
static inline int relora_comm_mpi_is_left(relora_comm_mpi *mpi)
{
    MPI_Status from;
    int there = 0, used;
    if (MPI_Iprobe(MPI_ANY_SOURCE, RELORA_COMM_MPI_LEAVE, mpi->comm, &there, &from) || !there) return 0;
    used = snprintf(mpi->error, sizeof mpi->error, "rank %d has left: ", from.MPI_SOURCE);
    MPI_Recv(mpi->error + used, (int)sizeof mpi->error - used, MPI_CHAR, from.MPI_SOURCE,
             RELORA_COMM_MPI_LEAVE, mpi->comm, MPI_STATUS_IGNORE);
    mpi->error[sizeof mpi->error - 1] = 0;
    return 1;
}

/* Until the exchange is done, a rank has left, or it takes too long. */
static inline relora_status relora_comm_mpi_wait(relora_comm_mpi *mpi, MPI_Request request)
{
    double begin = MPI_Wtime();
    int done = 0, code;
    for (;;) {
        code = MPI_Test(&request, &done, MPI_STATUS_IGNORE);
        if (code) return relora_comm_mpi_fail(mpi, "MPI_Test", code);
        if (done) return RELORA_OK;
        if (relora_comm_mpi_is_left(mpi)) return RELORA_E_IO;
        if (MPI_Wtime() - begin > mpi->seconds) break;
        sched_yield();
    }
    snprintf(mpi->error, sizeof mpi->error, "no answer from another rank for %.0f seconds", mpi->seconds);
    return RELORA_E_IO;
}

static inline MPI_Datatype relora_comm_mpi_type(relora_comm_type type)
{
    return type == RELORA_COMM_F32 ? MPI_FLOAT : type == RELORA_COMM_F64 ? MPI_DOUBLE : MPI_INT64_T;
}

static inline size_t relora_comm_mpi_item(relora_comm_type type)
{
    return type == RELORA_COMM_F32 ? sizeof(float) : sizeof(double);
}

/* Cut `total` elements into a part for each rank. */
static inline void relora_comm_mpi_cut(relora_comm_mpi *mpi, int64_t total)
{
    int64_t part = (total + mpi->size - 1) / mpi->size;
    int r;
    for (r = 0; r < mpi->size; r++) {
        int64_t first = r * part < total ? r * part : total;
        mpi->firsts[r] = (int)first;
        mpi->counts[r] = (int)(total - first < part ? total - first : part);
    }
}

/* sum += x, element by element */
static inline void relora_comm_mpi_add(void *sum, const void *x, int count, relora_comm_type type)
{
    int i;
    if (type == RELORA_COMM_F32)
        for (i = 0; i < count; i++) ((float *)sum)[i] += ((const float *)x)[i];
    else if (type == RELORA_COMM_F64)
        for (i = 0; i < count; i++) ((double *)sum)[i] += ((const double *)x)[i];
    else
        for (i = 0; i < count; i++) ((uint64_t *)sum)[i] += ((const uint64_t *)x)[i];
}

/* Each rank gets its part, as mpi->counts cuts them, from all ranks, and adds them in order. */
static inline relora_status relora_comm_mpi_reduce(relora_comm_mpi *mpi, char *data, relora_comm_type type)
{
    size_t item = relora_comm_mpi_item(type), part = (size_t)mpi->counts[mpi->rank] * item;
    size_t bytes = part * (size_t)mpi->size;
    int *received = mpi->counts + mpi->size, *places = mpi->firsts + mpi->size, r, code;
    relora_status status;
    MPI_Request request;
    if (bytes > mpi->parts_bytes) {
        void *grown = realloc(mpi->parts, bytes);
        if (!grown) {
            snprintf(mpi->error, sizeof mpi->error, "no memory for %lu bytes", (unsigned long)bytes);
            return RELORA_E_NO_MEMORY;
        }
        mpi->parts = grown;
        mpi->parts_bytes = bytes;
    }
    for (r = 0; r < mpi->size; r++) {
        received[r] = mpi->counts[mpi->rank];
        places[r] = r * mpi->counts[mpi->rank];
    }
    code = MPI_Ialltoallv(data, mpi->counts, mpi->firsts, relora_comm_mpi_type(type), mpi->parts, received,
                          places, relora_comm_mpi_type(type), mpi->comm, &request);
    if (code) return relora_comm_mpi_fail(mpi, "MPI_Ialltoallv", code);
    status = relora_comm_mpi_wait(mpi, request);
    if (status < 0) return status;
    for (r = 1; r < mpi->size; r++)
        relora_comm_mpi_add(mpi->parts, (char *)mpi->parts + (size_t)r * part, mpi->counts[mpi->rank], type);
    if (part) memcpy(data + (size_t)mpi->firsts[mpi->rank] * item, mpi->parts, part);
    return RELORA_OK;
}

/* Each rank has its part; afterwards all ranks have all parts. */
static inline relora_status relora_comm_mpi_spread(relora_comm_mpi *mpi, char *data, relora_comm_type type)
{
    MPI_Request request;
    int code = MPI_Iallgatherv(MPI_IN_PLACE, 0, MPI_DATATYPE_NULL, data, mpi->counts, mpi->firsts,
                               relora_comm_mpi_type(type), mpi->comm, &request);
    if (code) return relora_comm_mpi_fail(mpi, "MPI_Iallgatherv", code);
    return relora_comm_mpi_wait(mpi, request);
}

static inline relora_status relora_comm_mpi_sum(void *user, void *native, void *data, int64_t count,
                                                relora_comm_type type)
{
    relora_comm_mpi *mpi = (relora_comm_mpi *)user;
    relora_status status;
    (void)native;
    relora_comm_mpi_cut(mpi, count);
    status = relora_comm_mpi_reduce(mpi, (char *)data, type);
    return status < 0 ? status : relora_comm_mpi_spread(mpi, (char *)data, type);
}

static inline relora_status relora_comm_mpi_reduce_scatter(void *user, void *native, void *data,
                                                           int64_t count, relora_comm_type type)
{
    relora_comm_mpi *mpi = (relora_comm_mpi *)user;
    (void)native;
    relora_comm_mpi_cut(mpi, count * mpi->size);
    return relora_comm_mpi_reduce(mpi, (char *)data, type);
}

static inline relora_status relora_comm_mpi_all_gather(void *user, void *native, void *data, int64_t count,
                                                       relora_comm_type type)
{
    relora_comm_mpi *mpi = (relora_comm_mpi *)user;
    (void)native;
    relora_comm_mpi_cut(mpi, count * mpi->size);
    return relora_comm_mpi_spread(mpi, (char *)data, type);
}

static inline const char *relora_comm_mpi_error(void *user)
{
    return ((relora_comm_mpi *)user)->error;
}

/** Fill `comm` for the ranks of `world`, which is duplicated, so all its ranks must make this call. `mpi`
 *  must stay where it is as long as `comm` is used.
 *  @return RELORA_E_IO if MPI fails, or RELORA_E_NO_MEMORY; mpi->error then has a sentence */
static inline relora_status relora_comm_mpi_open(relora_comm_mpi *mpi, relora_comm *comm, MPI_Comm world)
{
    int code;
    memset(mpi, 0, sizeof *mpi);
    mpi->comm = MPI_COMM_NULL;
    code = MPI_Comm_dup(world, &mpi->comm);
    if (code) return relora_comm_mpi_fail(mpi, "MPI_Comm_dup", code);
    MPI_Comm_set_errhandler(mpi->comm, MPI_ERRORS_RETURN);
    MPI_Comm_rank(mpi->comm, &mpi->rank);
    MPI_Comm_size(mpi->comm, &mpi->size);
    mpi->seconds = 600;
    mpi->counts = (int *)malloc(2 * (size_t)mpi->size * sizeof *mpi->counts);
    mpi->firsts = (int *)malloc(2 * (size_t)mpi->size * sizeof *mpi->firsts);
    snprintf(mpi->error, sizeof mpi->error, "no memory for %d ranks", mpi->size);
    if (!mpi->counts || !mpi->firsts) return RELORA_E_NO_MEMORY;
    mpi->error[0] = 0;
    relora_comm_init(comm, sizeof *comm);
    comm->rank = mpi->rank;
    comm->size = mpi->size;
    comm->sum = relora_comm_mpi_sum;
    comm->reduce_scatter = relora_comm_mpi_reduce_scatter;
    comm->all_gather = relora_comm_mpi_all_gather;
    comm->error = relora_comm_mpi_error;
    comm->user = mpi;
    return RELORA_OK;
}

/** Tell the other ranks that this one leaves, and why. Each gets the sentence in its present or next
 *  exchange. Returns when all have it, or after `seconds`. Do not exchange anything afterwards. */
static inline void relora_comm_mpi_leave(relora_comm_mpi *mpi, const char *why, double seconds)
{
    double begin = MPI_Wtime();
    int length = (int)strlen(why) + 1, r, done;
    if (length > RELORA_COMM_MPI_TEXT / 2) length = RELORA_COMM_MPI_TEXT / 2;
    for (r = 0; r < mpi->size; r++) {
        MPI_Request request;
        if (r == mpi->rank) continue;
        if (MPI_Issend((void *)(size_t)why, length, MPI_CHAR, r, RELORA_COMM_MPI_LEAVE, mpi->comm, &request))
            continue;
        for (done = 0; !done && MPI_Wtime() - begin < seconds; sched_yield()) {
            if (MPI_Test(&request, &done, MPI_STATUS_IGNORE)) break;
            relora_comm_mpi_is_left(mpi); /* two that leave do not wait for each other */
        }
    }
}

/** Free what relora_comm_mpi_open() made, after everything made with its table, and before MPI_Finalize(). */
static inline void relora_comm_mpi_close(relora_comm_mpi *mpi)
{
    free(mpi->counts);
    free(mpi->firsts);
    free(mpi->parts);
    if (mpi->comm != MPI_COMM_NULL) MPI_Comm_free(&mpi->comm);
    memset(mpi, 0, sizeof *mpi);
}

#endif
