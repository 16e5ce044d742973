/* The default text: the King James Bible of Debian's package bible-kjv, 4.4 MB. */
#include "data.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include "report.h"
#include "stop.h"

enum { NOT_FOUND = 127 }; /* exit status, as in the shell */

/* Runs in the child. */
static void run_bible(int out)
{
    if (dup2(out, STDOUT_FILENO) >= 0) execlp("bible", "bible", "-f", "gen1:1-rev22:21", (char *)NULL);
    _exit(errno == ENOENT ? NOT_FOUND : 126);
}

/* Wait for the child, or end it when an end is asked for. Its status as waitpid() has it; -1 if it was ended. */
static int wait_for(pid_t child)
{
    const struct timespec moment = {0, 10000000};
    int status = -1;
    pid_t done;
    while ((done = waitpid(child, &status, WNOHANG)) == 0 || (done < 0 && errno == EINTR)) {
        if (stop_asked()) {
            kill(child, SIGKILL);
            waitpid(child, &status, 0);
            return -1;
        }
        nanosleep(&moment, NULL);
    }
    return done < 0 ? -1 : status;
}

/* Exit status of the child; -1, after a sentence unless stop_asked(), if there was none. */
static int print_bible(const char *path)
{
    int out = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (out < 0) return fail("cannot write %s: %s", path, strerror(errno));
    pid_t child = fork();
    if (child == 0) run_bible(out);
    int error = errno;
    close(out);
    if (child < 0) return fail("cannot start a process: %s", strerror(error));
    int status = wait_for(child);
    if (status >= 0 && WIFEXITED(status)) return WEXITSTATUS(status);
    return stop_asked() ? -1 : fail("`bible` was ended by a signal");
}

int data_make_bible(const char *path)
{
    char partial[PATH_MAX];
    struct stat there;
    if (stat(path, &there) == 0 && there.st_size > 0) return 0;
    if (snprintf(partial, sizeof partial, "%s.partial", path) >= (int)sizeof partial)
        return fail("the name %s is too long", path);
    int status = print_bible(partial);
    if (status == 0 && stat(partial, &there) == 0 && there.st_size > 0) {
        if (rename(partial, path) == 0) return 0;
        return fail("cannot rename %s to %s: %s", partial, path, strerror(errno));
    }
    unlink(partial);
    if (status < 0) return -1;
    if (status == NOT_FOUND)
        return fail("the default text comes from the program `bible`, which is not installed: "
                    "apt install bible-kjv, or give a text with --data FILE");
    return fail("`bible -f gen1:1-rev22:21` failed (status %d): give a text with --data FILE", status);
}
