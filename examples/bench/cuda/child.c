/* Another program, watched while it runs. */
#include "bench_cuda.h"
#include <fcntl.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static double used_bytes(void)
{
    size_t available = 0, total = 0;
    CUDA(cudaMemGetInfo(&available, &total));
    return (double)(total - available);
}

static void run_here(char *const *arguments, const char *log, double seconds)
{
    alarm((unsigned)seconds); /* which outlives execv() */
    int file = open(log, O_WRONLY | O_CREAT | O_TRUNC, 0666);
    if (file < 0 || dup2(file, STDOUT_FILENO) < 0 || dup2(file, STDERR_FILENO) < 0) _exit(126);
    execv(arguments[0], arguments);
    _exit(127);
}

int cuda_run_program(char *const *arguments, const char *log, double seconds, double *most_bytes)
{
    const struct timespec pause = {.tv_nsec = 20 * 1000 * 1000};
    const double before = used_bytes();
    int status = 0;
    pid_t child = fork();
    *most_bytes = 0;
    if (child == 0) run_here(arguments, log, seconds);
    if (child < 0) return -1;
    while (waitpid(child, &status, WNOHANG) == 0) {
        double used = used_bytes() - before;
        if (used > *most_bytes) *most_bytes = used;
        nanosleep(&pause, NULL);
    }
    return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : -1;
}
