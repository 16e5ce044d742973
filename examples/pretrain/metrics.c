#include "metrics.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "report.h"

static FILE *create(const char *folder, const char *name, const char *head)
{
    char path[PATH_MAX];
    if (snprintf(path, sizeof path, "%s/%s", folder, name) >= (int)sizeof path) {
        fail("the name %s/%s is too long", folder, name);
        return NULL;
    }
    FILE *file = fopen(path, "w");
    if (!file) {
        fail("cannot write %s: %s", path, strerror(errno));
        return NULL;
    }
    setvbuf(file, NULL, _IOLBF, BUFSIZ);
    fputs(head, file);
    return file;
}

/* Open a file for the rows after `step`: a new one, or what there is cut off behind the last row that
 * belongs to a step up to it. */
static FILE *go_on(const char *folder, const char *name, const char *head, int64_t resumed,
                   int64_t step)
{
    char path[PATH_MAX], line[1024];
    if (resumed == 0 || snprintf(path, sizeof path, "%s/%s", folder, name) >= (int)sizeof path)
        return create(folder, name, head);
    FILE *file = fopen(path, "r+");
    if (file)
        setvbuf(file, NULL, _IOLBF, BUFSIZ);
    if (!file || !fgets(line, sizeof line, file) || strcmp(line, head) != 0) {
        if (file)
            fclose(file);
        return create(folder, name, head);
    }
    long end = ftell(file);
    while (fgets(line, sizeof line, file) && strchr(line, '\n') && strtoll(line, NULL, 10) <= step)
        end = ftell(file);
    if (fseek(file, end, SEEK_SET) != 0 || ftruncate(fileno(file), end) != 0) {
        fail("cannot go on with %s: %s", path, strerror(errno));
        fclose(file);
        return NULL;
    }
    return file;
}

int metrics_open(struct metrics *metrics, const char *folder, int64_t step)
{
    *metrics = (struct metrics){0};
    if (mkdir(folder, 0777) != 0 && errno != EEXIST)
        return fail("cannot make the folder %s: %s", folder, strerror(errno));
    metrics->train = go_on(folder, "train.csv", "step,loss,lr,grad_norm,clip,tokens_per_s,skipped,event\n", step,
                           step);
    metrics->eval = go_on(folder, "eval.csv", "step,val_loss,val_ppl\n", step, step - 1);
    if (metrics->train && metrics->eval)
        return 0;
    metrics_close(metrics);
    return -1;
}

static int finish(FILE *file)
{
    int bad = file && ferror(file);
    return (file && fclose(file) != 0) || bad;
}

int metrics_close(struct metrics *metrics)
{
    int bad = finish(metrics->train) | finish(metrics->eval);
    *metrics = (struct metrics){0};
    return bad ? fail("the metrics files are not complete: %s", strerror(errno)) : 0;
}

/* Without the sign that a NaN may carry. */
static double plain(double value)
{
    return isnan(value) ? fabs(value) : value;
}

void metrics_step(struct metrics *metrics, const struct metrics_row *row)
{
    fprintf(metrics->train, "%" PRId64 ",%.5f,%.6g,%.5g,%.5g,%.0f,%d,%s\n", row->step,
            plain(row->loss), row->lr, plain(row->grad_norm), plain(row->clip), row->tokens_per_s,
            row->skipped, row->event);
}

void metrics_eval(struct metrics *metrics, int64_t step, double loss)
{
    fprintf(metrics->eval, "%" PRId64 ",%.5f,%.4f\n", step, loss, exp(loss));
}

int metrics_summary(const char *folder, const char *line)
{
    FILE *file = create(folder, "summary.txt", line);
    if (!file)
        return -1;
    fputc('\n', file);
    return finish(file) ? fail("cannot write %s/summary.txt", folder) : 0;
}
