/* What only a device has: the same bits as the CPU where they are promised, the host's own streams, work that
 * nobody waits for, graphs, its memory, and its failures. main() is in main.c. */
#ifndef TEST_CUDA_SUITES_H
#define TEST_CUDA_SUITES_H

#include <check.h>

Suite *same_layer(void);
Suite *same_adam(void);
Suite *same_reset(void);
Suite *same_training(void);
Suite *same_export(void);
Suite *streams_suite(void);
Suite *queueing(void);
Suite *graphs(void);
Suite *sectors(void);
Suite *launches(void);
Suite *memory_suite(void);
Suite *dlpack_suite(void);
Suite *devices_suite(void);
Suite *failure(void); /* the last: no device survives it */

#endif
