/* How many processors the process may use, and how its threads wait for each other. */
#ifndef PRETRAIN_PROCESSORS_H
#define PRETRAIN_PROCESSORS_H

#include <stdint.h>

/* What the affinity mask and the quotas of control groups leave, 1 or more. */
int64_t processors_allowed(void);
/* The default of --threads: that, or less if OMP_NUM_THREADS or OMP_THREAD_LIMIT says so. */
int64_t processors_default(void);
/* Processors that the quota of a control group is worth, rounded up; 0 if there is none. `root` stands before
 * "/proc/self/cgroup" and "/sys/fs/cgroup": "" but in tests. */
int64_t processors_quota(const char *root);

/* Have waiting threads sleep soon instead of spinning, which costs most of the speed where other programs run
 * too. The OpenMP runtime reads its environment before main(), so this starts the program again with
 * GOMP_SPINCOUNT and KMP_BLOCKTIME, once. Returns, and changes nothing, where the user has set them or
 * OMP_WAIT_POLICY, or where the program cannot be started again. */
void processors_wait_asleep(char **argv);

#endif
