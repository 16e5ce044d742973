/** @file relora/version.h
 *  The one place the version is written; Makefile, relora.pc and SONAME read it here. */
#ifndef RELORA_VERSION_H
#define RELORA_VERSION_H

#include <stdint.h>
#include "relora/export.h"

#define RELORA_VERSION_MAJOR 0
#define RELORA_VERSION_MINOR 6
#define RELORA_VERSION_PATCH 0
/** SONAME number. Bumped only when an existing binary could break. */
#define RELORA_ABI 0

RELORA_BEGIN

/** Version of the loaded library as (major << 16) | (minor << 8) | patch.
 *  @since 0.1 @threads any @stream none */
RELORA_API uint32_t relora_version(void);

/** "0.6.0", static storage. @since 0.1 @threads any @stream none */
RELORA_API const char *relora_version_string(void);

/** Comma-separated build facts such as "gemm=onednn-2.6.3,threads=openmp,checksums=xxh3", static
 *  storage. @since 0.1 @threads any @stream none */
RELORA_API const char *relora_build_info(void);

RELORA_END
#endif
