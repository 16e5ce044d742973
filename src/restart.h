/* The options of relora_merge() and relora_factors_renew(), as the tests of all tables see them. */
#ifndef RELORA_SRC_RESTART_H
#define RELORA_SRC_RESTART_H

#include "options.h"
#include "relora/restart.h"

extern const struct options merge_table, factors_table;

#endif
