/* The system's own memory runs out. What jansson, OpenMP and oneDNN ask malloc() and its kin for is refused: the
 * n-th request of a job, alone, with all that follow, or with those that need much more. Each time in a process
 * of its own, because another library may end it; how is counted and printed. Asked of this library: a
 * clean status or success, the same numbers once there is memory, nothing left behind, no request of its own.
 *
 *     starve [all]        without `all`, only a sample of the requests of each job */
#define _GNU_SOURCE
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "system_memory/interpose.h"
#include "system_memory/jobs.h"

enum { SHOWN = 3, SECONDS = 30 /* of one process, after which it hangs */ };

struct outcome {                                /* written by the child, read by the parent */
    int64_t requests, again, ours, outstanding; /* again: requests when everything had been done once */
    relora_status status, retried;
    uint64_t result;
    int done;
    char asked_by[LIBRARY_NAME], ended_in[LIBRARY_NAME];
};
static struct outcome *outcome;

/* ---- the child ---- */

static void note_end(void)
{
    interpose_stop();
    if (!outcome->done) library_of_stack(outcome->ended_in);
    strcpy(outcome->asked_by, interpose_asked_by());
}

static void on_signal(int number)
{
    note_end();
    signal(number, SIG_DFL);
    raise(number);
}

static void watch_end(void)
{
    static char stack[1 << 16];
    const int signals[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGALRM};
    stack_t alternate = {.ss_sp = stack, .ss_size = sizeof stack};
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_ONSTACK | SA_NODEFER};
    library_of_stack(outcome->ended_in); /* the first time it loads a library, which needs memory */
    sigaltstack(&alternate, NULL);
    for (size_t i = 0; i < sizeof signals / sizeof *signals; i++) sigaction(signals[i], &action, NULL);
    atexit(note_end);
    setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
    alarm(SECONDS);
}

static void child(const struct job *job, const char *folder, int64_t nth, enum interpose_how how)
{
    if (!freopen("/dev/null", "w", stderr)) exit(4); /* who ends a process says so there */
    watch_end();
    job_open(job, folder);
    interpose_start(nth, how);
    outcome->status = job->act();
    outcome->requests = interpose_stop();
    outcome->ours = interpose_ours();
    strcpy(outcome->asked_by, interpose_asked_by());
    if (outcome->status < 0) outcome->retried = job->act();
    outcome->result = job->result();
    interpose_start(0, REFUSE_ALONE);
    job->act();
    outcome->again = interpose_stop();
    outcome->outstanding = job_close();
    outcome->done = 1;
    _exit(0);
}

/* Its wait status. */
static int run(const struct job *job, const char *folder, int64_t nth, enum interpose_how how)
{
    int status = 0;
    memset(outcome, 0, sizeof *outcome);
    fflush(stdout);
    pid_t pid = fork();
    if (pid < 0) exit(2);
    if (!pid) child(job, folder, nth, how);
    waitpid(pid, &status, 0);
    return status;
}

/* ---- what became of it ---- */

struct tally {
    int tried, refused, succeeded, ended; /* the last three add up to the first */
    int faults;                           /* of this library */
    struct {
        char name[LIBRARY_NAME + 24];
        int count;
    } way[16];
};

static void count_end(struct tally *t, int status)
{
    char name[sizeof t->way[0].name];
    size_t i = 0;
    if (WIFEXITED(status)) snprintf(name, sizeof name, "%s exit(%d)", outcome->ended_in, WEXITSTATUS(status));
    else snprintf(name, sizeof name, "%s %s", outcome->ended_in, strsignal(WTERMSIG(status)));
    while (i < 15 && t->way[i].count && strcmp(t->way[i].name, name)) i++;
    strcpy(t->way[i].name, name);
    t->way[i].count++;
    t->ended++;
}

static void fault(struct tally *t, const struct job *job, int64_t nth, const char *what)
{
    if (t->faults++ >= SHOWN) return;
    printf("    %s: request %lld, of %s: %s (%s, then %s)\n", job->name, (long long)nth, outcome->asked_by,
           what, relora_status_name(outcome->status), relora_status_name(outcome->retried));
}

static void judge(struct tally *t, const struct job *job, int64_t nth, int status, uint64_t result)
{
    t->tried++;
    if (!outcome->done) {
        count_end(t, status);
        if (!strncmp(outcome->ended_in, "librelora", strlen("librelora")))
            fault(t, job, nth, "it ends in librelora");
        if (!strncmp(outcome->ended_in, "libjansson", strlen("libjansson")))
            fault(t, job, nth, "it ends in jansson");
        return;
    }
    t->refused += outcome->status < 0;
    t->succeeded += outcome->status >= 0;
    if (outcome->status < 0 && outcome->status != RELORA_E_NO_MEMORY)
        fault(t, job, nth, "another status than NO_MEMORY");
    if (outcome->retried < 0) fault(t, job, nth, "no success when memory is back");
    else if (outcome->result != result) fault(t, job, nth, "another result");
    if (outcome->outstanding) fault(t, job, nth, "blocks left behind");
    if (outcome->ours) fault(t, job, nth, "librelora itself asks the system");
}

static int play(const struct job *job, const char *folder, int all)
{
    static const char *const names[REFUSE_KINDS] = {"alone", "lasting", "large"};
    int faults = 0;
    int end = run(job, folder, 0, REFUSE_ALONE);
    struct outcome plain = *outcome;
    if (!plain.done || plain.status < 0 || plain.outstanding || plain.ours) {
        printf("%s: fails without any refusal: %x, %s\n", job->name, end, relora_status_name(plain.status));
        return 1;
    }
    int64_t step = all || plain.requests < job->samples ? 1 : plain.requests / job->samples;
    printf("%s: %lld requests of the system, %lld when it is done again\n", job->name,
           (long long)plain.requests, (long long)plain.again);
    for (int how = 0; how < REFUSE_KINDS; how++) {
        struct tally t = {0};
        for (int64_t n = 1; n <= plain.requests; n += step)
            judge(&t, job, n, run(job, folder, n, (enum interpose_how)how), plain.result);
        printf("  %-8s %4d refused: %d NO_MEMORY, %d no harm, %d ended the process", names[how], t.tried,
               t.refused, t.succeeded, t.ended);
        for (int i = 0; i < 16 && t.way[i].count; i++)
            printf("%s %d in %s", i ? "," : ":", t.way[i].count, t.way[i].name);
        putchar('\n');
        faults += t.faults;
    }
    return faults;
}

static void remove_files(const char *folder)
{
    static const char *const names[] = {"file",
                                        "file.tmp",
                                        "adapter_model.safetensors",
                                        "adapter_model.safetensors.tmp",
                                        "adapter_config.json",
                                        "adapter_config.json.tmp"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char path[256];
        snprintf(path, sizeof path, "%s/%s", folder, names[i]);
        unlink(path);
    }
    rmdir(folder);
}

int main(int argc, char **argv)
{
    char folder[] = "/tmp/relora-starve-XXXXXX";
    int faults = 0, all = argc > 1 && !strcmp(argv[1], "all");
    outcome = mmap(NULL, sizeof *outcome, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (outcome == MAP_FAILED || !mkdtemp(folder)) return 2;
    for (int j = 0; j < job_count; j++) faults += play(&jobs[j], folder, all);
    remove_files(folder);
    if (faults) printf("%d faults of librelora\n", faults);
    return faults != 0;
}
