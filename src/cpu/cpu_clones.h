/* A loop marked CPU_CLONES is compiled for wider vectors too, and the loader picks what the processor
 * has. The bits are the same in all: the build forbids to fuse a * b + c, and every sum has its order
 * in the source. Only for static functions, or the name of what picks would be seen outside; and not
 * under sanitizers, which are not ready when the loader asks.
 *
 * A build with CPPFLAGS=-DCPU_NO_AVX512 is for measuring: it does what it would on a processor without AVX-512. */
#ifndef RELORA_SRC_CPU_CLONES_H
#define RELORA_SRC_CPU_CLONES_H

#include <limits.h> /* tells which C library this is */

#if defined(__x86_64__) && defined(__GLIBC__) && defined(__OPTIMIZE__) && !defined(__clang__) && \
    __GNUC__ >= 12 && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#ifdef CPU_NO_AVX512
#define CPU_CLONES __attribute__((target_clones("arch=x86-64-v3", "default")))
#else
#define CPU_CLONES __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#endif
#else
#define CPU_CLONES
#endif

#endif
