/* What one source file does by itself, seen from inside. */
#ifndef TEST_UNIT_SUITES_H
#define TEST_UNIT_SUITES_H

#include <math.h>
#include <string.h>
#include "support/close.h"
#include "support/objects.h"

#define POISON ((void *)&env) /* what *out holds before a call that must set it */

Suite *unit_rng(void);
Suite *unit_convert(void);
Suite *unit_options(void);
Suite *unit_description(void);
Suite *unit_memory(void);
Suite *unit_shape(void);
Suite *unit_status(void);
Suite *unit_context(void);
Suite *unit_tensor(void);
Suite *unit_transfer(void);
Suite *unit_schedule(void);
Suite *unit_gemm(void);
Suite *unit_plan(void);
Suite *unit_devices(void);
Suite *unit_select(void);
Suite *unit_module(void);
Suite *unit_dlpack(void);

#endif
