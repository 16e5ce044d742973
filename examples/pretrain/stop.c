#include "stop.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stddef.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* `timeout` and terminals that close send the same signal twice at once; a person takes longer. */
enum { SAME_MS = 250 };

static const struct {
    int number;
    const char *name;
    int always; /* caught although the parent ignores it: shells ignore INT for what runs behind them */
} signals[] = {
    {SIGINT, "SIGINT", 1},
    {SIGTERM, "SIGTERM", 1},
    {SIGHUP, "SIGHUP", 0},
    {SIGUSR1, "SIGUSR1", 0},
    {SIGUSR2, "SIGUSR2", 0},
    {SIGXCPU, "SIGXCPU", 0},
#ifdef SIGPWR
    {SIGPWR, "SIGPWR", 0},
#endif
    {SIGPIPE, "SIGPIPE, since nobody reads the output any more,", 1},
};
enum { SIGNALS = sizeof signals / sizeof *signals };

static atomic_int asked;
static atomic_llong first_ms; /* of the first INT or TERM */

static void on_signal(int number)
{
    int saved = errno, nothing = 0;
    long long none = 0;
    struct timespec t;
    atomic_compare_exchange_strong(&asked, &nothing, number);
    if (number == SIGINT || number == SIGTERM) {
        clock_gettime(CLOCK_MONOTONIC, &t);
        long long now = (long long)t.tv_sec * 1000 + t.tv_nsec / 1000000 + 1;
        if (!atomic_compare_exchange_strong(&first_ms, &none, now) && now - none > SAME_MS) {
            signal(number, SIG_DFL);
            raise(number); /* comes through when this handler returns */
        }
    }
    errno = saved;
}

void stop_install(void)
{
    struct sigaction action, old;
    sigset_t all;
    memset(&action, 0, sizeof action);
    action.sa_handler = on_signal;
    action.sa_flags = SA_RESTART;
    sigemptyset(&action.sa_mask);
    sigemptyset(&all);
    for (int i = 0; i < SIGNALS; i++) {
        sigaddset(&all, signals[i].number);
        if (sigaction(signals[i].number, NULL, &old) == 0 && (old.sa_handler != SIG_IGN || signals[i].always))
            sigaction(signals[i].number, &action, NULL);
    }
    sigaddset(&all, SIGCHLD);
    signal(SIGCHLD, SIG_DFL); /* ignored, the end of a child could not be waited for */
    signal(SIGXFSZ, SIG_IGN); /* a file-size limit is an error of write(), not the end of the process */
    sigprocmask(SIG_UNBLOCK, &all, NULL); /* a parent may have left them blocked */
}

int stop_asked(void)
{
    return atomic_load(&asked);
}

/* A pipe tells by itself when its last reader has gone. A terminal that has gone is told by HUP, to who wants to know. */
int stop_look(void)
{
    struct pollfd output[2] = {{.fd = STDOUT_FILENO}, {.fd = STDERR_FILENO}};
    struct stat status;
    int nothing = 0;
    if (poll(output, 2, 0) > 0)
        for (int i = 0; i < 2; i++)
            if ((output[i].revents & POLLERR) && fstat(output[i].fd, &status) == 0 &&
                (S_ISFIFO(status.st_mode) || S_ISSOCK(status.st_mode)))
                atomic_compare_exchange_strong(&asked, &nothing, SIGPIPE);
    return stop_asked();
}

const char *stop_name(void)
{
    for (int i = 0; i < SIGNALS; i++)
        if (signals[i].number == atomic_load(&asked)) return signals[i].name;
    return "";
}
