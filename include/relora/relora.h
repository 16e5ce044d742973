/** @file relora/relora.h
 *  Everything librelora offers. This file only includes the others. */
#ifndef RELORA_RELORA_H
#define RELORA_RELORA_H

#include "relora/export.h"
#include "relora/version.h"
#include "relora/types.h"
#include "relora/status.h"
#include "relora/context.h"
#include "relora/stream.h"
#include "relora/tensor.h"
#include "relora/dlpack.h"
#include "relora/plan.h"
#include "relora/linear.h"
#include "relora/group.h"
#include "relora/reset.h"
#include "relora/restart.h"
#include "relora/comm.h"
#include "relora/adam.h"
#include "relora/schedule.h"
#include "relora/cycle.h"
#include "relora/checkpoint.h"
#include "relora/state.h"

#endif
