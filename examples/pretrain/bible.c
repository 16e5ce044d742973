/* The default text: the King James Bible of Debian's package bible-kjv, 4.4 MB. */
#include "data.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
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
static void run_bible(const int ends[2])
{
    int ready = dup2(ends[1], STDOUT_FILENO) >= 0;
    close(ends[0]);
    close(ends[1]);
    if (ready) execlp("bible", "bible", "-f", "gen1:1-rev22:21", (char *)NULL);
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

static int write_all(int file, const char *bytes, size_t count)
{
    for (ssize_t part; count > 0; bytes += part, count -= (size_t)part)
        if ((part = write(file, bytes, count)) < 0) {
            if (errno != EINTR) return -1;
            part = 0;
        }
    return 0;
}

/* What the child prints, up to its end or until an end is asked for. -1: it could not be written, errno says why. The
 * child itself may not notice that a disk is full. */
static int copy(int from, int to)
{
    enum { MOMENT_MS = 100 };
    char bytes[8192];
    while (!stop_asked()) {
        struct pollfd input = {.fd = from, .events = POLLIN};
        if (poll(&input, 1, MOMENT_MS) <= 0) continue;
        ssize_t count = read(from, bytes, sizeof bytes);
        if (count < 0 && errno == EINTR) continue;
        if (count <= 0) return (int)count;
        if (write_all(to, bytes, (size_t)count)) return -1;
    }
    return 0;
}

/* Exit status of the child, whose words come from `from`; -1, after a sentence unless stop_asked(), if there is none. */
static int take(pid_t child, int from, int to, const char *path)
{
    int error = copy(from, to) ? errno : 0;
    if (!error && fsync(to) != 0 && errno != EINVAL && errno != EROFS) error = errno;
    if (error) kill(child, SIGKILL);
    int status = wait_for(child);
    if (error) return fail("cannot write %s: %s", path, strerror(error));
    if (status >= 0 && WIFEXITED(status)) return WEXITSTATUS(status);
    return stop_asked() ? -1 : fail("`bible` was ended by a signal");
}

static int print_bible(const char *path)
{
    int ends[2], status = -1;
    int out = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (out < 0) return fail("cannot write %s: %s", path, strerror(errno));
    pid_t child = pipe(ends) == 0 ? fork() : -2;
    if (child == 0) run_bible(ends);
    int error = errno;
    if (child != -2) close(ends[1]);
    if (child < 0) fail("cannot start a process: %s", strerror(error));
    else status = take(child, ends[0], out, path);
    if (child != -2) close(ends[0]);
    close(out);
    return status;
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
