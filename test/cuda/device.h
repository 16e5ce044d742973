/* A host that uses CUDA itself: its streams and memory, and a gate that holds a stream back. */
#ifndef TEST_CUDA_DEVICE_H
#define TEST_CUDA_DEVICE_H

#include <cuda_runtime_api.h>
#include "support/objects.h"

#define CUDA_OK(call) cuda_ok((call), #call, __FILE__, __LINE__)
void cuda_ok(cudaError_t error, const char *call, const char *file, int line);

/** All of these live until env_close(). */
cudaStream_t new_cuda_stream(void);
relora_stream *new_wrapped(cudaStream_t native);
relora_stream *new_stream(void);
float *new_cuda_floats(int64_t n);   /* on the device */
float *new_pinned_floats(int64_t n); /* of the host: a copy from there waits for nobody */
cudaStream_t native_of(const relora_stream *stream);

/** Nothing that is queued on `stream` from now on happens before gate_open(). One gate at a time; it opens by
 *  itself after half a minute, so that a test whose call waits behind it fails, and does not hang. */
void gate_close(cudaStream_t stream);
/** For a while there is none, and gate_held() is true all the same. */
void gate_none(void);
/** True until something queued behind the gate has happened. */
int gate_held(void);
void gate_open(void);

/** The call must return with success, and without waiting for what is behind the gate. */
#define QUEUES(call)                                                   \
    do {                                                               \
        OK(call);                                                      \
        ck_assert_msg(gate_held(), "%s waited for the stream", #call); \
    } while (0)

#endif
