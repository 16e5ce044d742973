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

/* Open a file to go on after its first `rows` rows, or at the first row of a step above `step`; a new
 * one if there is none. */
static FILE *go_on(const char *folder, const char *name, const char *head, int64_t rows, int64_t step)
{
    char path[PATH_MAX], line[1024];
    FILE *file = NULL;
    if (snprintf(path, sizeof path, "%s/%s", folder, name) < (int)sizeof path)
        file = fopen(path, "r+");
    if (!file)
        return create(folder, name, head);
    setvbuf(file, NULL, _IOLBF, BUFSIZ);
    int ours = fgets(line, sizeof line, file) && strcmp(line, head) == 0;
    long end = ftell(file);
    while (ours && rows-- > 0 && fgets(line, sizeof line, file) && strchr(line, '\n') &&
           strtoll(line, NULL, 10) <= step)
        end = ftell(file);
    if (ours && fseek(file, end, SEEK_SET) == 0 && ftruncate(fileno(file), end) == 0)
        return file;
    fail(ours ? "cannot go on with %s" : "%s has other columns than this program writes; move it away", path);
    fclose(file);
    return NULL;
}

int metrics_open(struct metrics *metrics, const char *folder, int64_t rows, int64_t step)
{
    *metrics = (struct metrics){0};
    if (mkdir(folder, 0777) != 0 && errno != EEXIST)
        return fail("cannot make the folder %s: %s", folder, strerror(errno));
    static const char train_head[] = "step,loss,lr,grad_norm,clip,tokens_per_s,skipped,event\n";
    static const char eval_head[] = "step,val_loss,val_ppl\n";
    metrics->train = rows ? go_on(folder, "train.csv", train_head, rows, INT64_MAX)
                          : create(folder, "train.csv", train_head);
    metrics->eval = rows ? go_on(folder, "eval.csv", eval_head, INT64_MAX, step - 1)
                         : create(folder, "eval.csv", eval_head);
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
    fprintf(metrics->eval, "%" PRId64 ",%.5f,%.4f\n", step, plain(loss), plain(exp(loss)));
}

int metrics_summary(const char *folder, const char *line)
{
    FILE *file = create(folder, "summary.txt", line);
    if (!file)
        return -1;
    fputc('\n', file);
    return finish(file) ? fail("cannot write %s/summary.txt", folder) : 0;
}
