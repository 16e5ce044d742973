/* The one place where the CPU uses more than one thread. A loop does not care how many threads it gets: OpenMP
 * may give fewer than it is asked for, by a setting of the host, inside a parallel region of the host, or
 * because others use what there may be. After a fork its runtime waits for threads that are not there, so
 * in such a child, as in a build without OpenMP, a loop starts threads for itself and ends them. */
#include <fcntl.h>
#include <limits.h> /* tells which C library this is */
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>
#ifdef _OPENMP
#include <omp.h>
#endif

#if defined(__GLIBC__) && defined(__GLIBC_PREREQ)
#if __GLIBC_PREREQ(2, 32)
#include <sys/single_threaded.h>
#define HAD_NO_THREADS __libc_single_threaded
#endif
#endif
#ifndef HAD_NO_THREADS
#define HAD_NO_THREADS 0 /* nobody knows */
#endif

#include "cpu.h"
#include "float_mode.h"

struct loop {
    int64_t n;
    cpu_body body;
    void *job;
};

/* ---- threads of the loop's own ---- */

struct shares { /* of a loop, each of which is taken once */
    const struct loop *loop;
    int64_t count;
    atomic_int next;
};

static void *take_shares(void *user)
{
    struct shares *s = user;
    fenv_t host = float_mode_enter();
    for (int64_t k; (k = atomic_fetch_add(&s->next, 1)) < s->count;)
        for (int64_t i = s->loop->n * k / s->count; i < s->loop->n * (k + 1) / s->count; i++)
            s->loop->body(s->loop->job, i);
    float_mode_leave(&host);
    return NULL;
}

enum { OWN_THREADS = 64 }; /* at most; more would take longer to start than they save */

/* Threads that cannot be started are not missed: the others take their shares. */
static void run_own(const struct loop *loop, int64_t threads)
{
    pthread_t thread[OWN_THREADS];
    int64_t wanted = threads - 1 < OWN_THREADS ? threads - 1 : OWN_THREADS, started = 0;
    struct shares shares = {.loop = loop, .count = threads};
    atomic_init(&shares.next, 0);
    while (started < wanted && !pthread_create(&thread[started], NULL, take_shares, &shares)) started++;
    take_shares(&shares);
    for (int64_t i = 0; i < started; i++) pthread_join(thread[i], NULL);
}

/* ---- threads of OpenMP ---- */

#ifdef _OPENMP

int cpu_one_thread(void)
{
    int host = omp_get_max_threads();
    if (host != 1) omp_set_num_threads(1);
    return host;
}

void cpu_host_threads(int host)
{
    if (host != 1) omp_set_num_threads(host);
}

/* PF_FORKNOEXEC of Linux: forked, and no other program started since. */
static int is_forked(void)
{
    char text[256];
    int file = open("/proc/self/stat", O_RDONLY | O_CLOEXEC);
    if (file < 0) return 1; /* nobody knows: own threads work always */
    ssize_t n = read(file, text, sizeof text - 1);
    close(file);
    text[n > 0 ? n : 0] = '\0';
    const char *at = strrchr(text, ')'); /* the end of the program's name, field 2; the flags are field 9 */
    for (int field = 2; at && field < 9; field++) at = strchr(at + 1, ' ');
    unsigned long flags = 0;
    if (!at) return 1;
    for (at++; *at >= '0' && *at <= '9'; at++) flags = 10 * flags + (unsigned long)(*at - '0');
    return (flags & 0x40) != 0;
}

void cpu_loop_open(struct queue *q, const struct queue *parent)
{
    q->process = parent ? parent->process : getpid();
    q->own_threads = parent ? parent->own_threads : q->threads > 1 && !HAD_NO_THREADS && is_forked();
}

static void run_openmp(const struct loop *loop, int64_t threads)
{
#pragma omp parallel num_threads((int)threads)
    {
        fenv_t host = float_mode_enter();
#pragma omp for schedule(static) nowait
        for (int64_t i = 0; i < loop->n; i++) loop->body(loop->job, i);
        float_mode_leave(&host);
    }
}

static void run_threads(const struct queue *q, const struct loop *loop, int64_t threads)
{
    if (q->own_threads || q->process != getpid()) run_own(loop, threads);
    else run_openmp(loop, threads);
}

#else

int cpu_one_thread(void)
{
    return 1;
}

void cpu_host_threads(int host)
{
    (void)host;
}

void cpu_loop_open(struct queue *q, const struct queue *parent)
{
    (void)q, (void)parent;
}

static void run_threads(const struct queue *q, const struct loop *loop, int64_t threads)
{
    (void)q;
    run_own(loop, threads);
}

#endif

void cpu_loop(const struct queue *q, int64_t n, int worth_it, cpu_body body, void *job)
{
    struct loop loop = {n, body, job};
    int64_t threads = worth_it ? q->threads : 1;
    if (threads > n) threads = n;
    if (threads > 1) run_threads(q, &loop, threads);
    else
        for (int64_t i = 0; i < n; i++) body(job, i);
}
