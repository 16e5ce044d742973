/* A module that passes the CPU off as CUDA devices: everything that can be tested of several devices, of the host's
 * streams and of loading, where there is no GPU. The variable `fake`, which a test finds by dlsym, directs it. */
#ifndef TEST_MODULES_FAKE_H
#define TEST_MODULES_FAKE_H

#include "backend.h"

enum { FAKE_DEVICES = 2 };

struct fake {
    int32_t devices; /* how many it has */
    /* what these entries answer, unless it is RELORA_OK: then they do their work */
    relora_status count_status, describe_status, open_status, wait_status;
    int32_t asked;             /* calls of count */
    int32_t opened, closed;    /* queues */
    int32_t waits;             /* calls of queue_wait */
    void *waiter, *waited;     /* native streams of the last one */
    struct queue_options last; /* of queue_open */
    int32_t last_device;
    int32_t uploads;     /* copies to the device */
    int32_t gemms, tf32; /* products, and how many of them could be in TF32 */
};

#endif
