#include "metrics.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "folder.h"
#include "report.h"

static const char *const files[] = {"train.csv", "eval.csv", "summary.txt"};
enum { TRAIN, EVAL, SUMMARY, FILES };
static const char *const heads[] = {"step,loss,lr,grad_norm,clip,tokens_per_s,skipped,event\n",
                                    "step,val_loss,val_ppl\n", ""};

static FILE *open_file(const char *folder, const char *name, const char *mode)
{
    char path[PATH_MAX];
    FILE *file = NULL;
    if (snprintf(path, sizeof path, "%s/%s", folder, name) >= (int)sizeof path) errno = ENAMETOOLONG;
    else file = fopen(path, mode);
    if (file) setvbuf(file, NULL, _IOLBF, BUFSIZ);
    return file;
}

static FILE *create(const char *folder, const char *name, const char *head)
{
    FILE *file = open_file(folder, name, "w+e");
    if (!file) {
        fail("cannot write %s/%s: %s", folder, name, strerror(errno));
        return NULL;
    }
    fputs(head, file);
    return file;
}

/* ---- what is there already ---- */

struct kept {
    int present, ours; /* is there such a file, and are its columns ours? */
    int64_t rows;      /* that are kept */
    long end;          /* of them in the file */
    int more;          /* are there rows after them? */
    int64_t last;      /* step of the last row of all */
    char row[1024];    /* the last row that is kept */
};

/* Look through a file whose first `rows` rows of steps up to `step` are to be kept. */
static void look(const char *folder, int which, int64_t rows, int64_t step, struct kept *kept)
{
    char line[1024];
    FILE *file = open_file(folder, files[which], "re");
    *kept = (struct kept){.present = file != NULL};
    if (!file) return;
    kept->ours = fgets(line, sizeof line, file) && strcmp(line, heads[which]) == 0;
    kept->end = ftell(file);
    while (fgets(line, sizeof line, file)) {
        kept->last = strtoll(line, NULL, 10);
        if (kept->more || kept->rows == rows || !strchr(line, '\n') || kept->last > step) {
            kept->more = 1;
            continue;
        }
        kept->rows++;
        kept->end = ftell(file);
        snprintf(kept->row, sizeof kept->row, "%s", line);
    }
    fclose(file);
}

/* Rows that are not kept, or a file that is not ours: something would be lost by writing over it. */
static int holds_more(const struct kept *kept)
{
    return kept->present && (!kept->ours || kept->more || kept->rows > 0);
}

/* 1 if train.csv is that of the run which goes on here. */
static int is_same_run(const struct kept *train, const struct metrics_place *place)
{
    size_t length = strlen(place->row);
    return place->rows > 0 && train->ours &&
           (length == 0 || (train->rows == place->rows && strncmp(train->row, place->row, length) == 0 &&
                            train->row[length] == ','));
}

/* ---- opening ---- */

/* Cut a file where its kept rows end, and go on there. */
static FILE *go_on(const char *folder, int which, const struct kept *kept)
{
    if (!kept->present || !kept->ours) return create(folder, files[which], heads[which]);
    FILE *file = open_file(folder, files[which], "r+e");
    if (file && fseek(file, kept->end, SEEK_SET) == 0 && ftruncate(fileno(file), kept->end) == 0) return file;
    fail("cannot continue %s/%s: %s", folder, files[which], strerror(errno));
    if (file) fclose(file);
    return NULL;
}

/* A new file that begins with the kept rows of one that was moved. */
static FILE *take_over(const char *folder, const char *moved, int which, const struct kept *kept)
{
    char line[1024];
    FILE *file = create(folder, files[which], heads[which]);
    FILE *old = file && kept->ours ? open_file(moved, files[which], "re") : NULL;
    if (!old) return file;
    if (fgets(line, sizeof line, old))
        for (int64_t i = 0; i < kept->rows && fgets(line, sizeof line, old); i++) fputs(line, file);
    fclose(old);
    return file;
}

static int set_aside(const char *folder, char *moved, int size)
{
    int result = folder_set_aside(folder, files, FILES, moved, size);
    if (result > 0) note("the files that an earlier run left in %s are now in %s", folder, moved);
    return result;
}

/* Just after a row, with errno 0 before it: the reason is not known later. */
static void look_for_error(struct metrics *m, FILE *file, const char *name)
{
    int error = errno ? errno : EIO;
    if (!ferror(file) || m->error) return;
    m->error = error;
    note("cannot write to %s/%s: %s; training goes on", m->folder, name, strerror(error));
}

int metrics_open(struct metrics *m, const char *folder, const struct metrics_place *place)
{
    struct kept train, eval, summary;
    char moved[PATH_MAX] = "";
    *m = (struct metrics){.folder = folder};
    snprintf(m->row, sizeof m->row, "%s", place->row);
    look(folder, TRAIN, place->rows, INT64_MAX, &train);
    look(folder, EVAL, INT64_MAX, place->step - 1, &eval);
    look(folder, SUMMARY, 0, 0, &summary);
    int same = is_same_run(&train, place) && (!eval.present || eval.ours);
    if (!same && (holds_more(&train) || holds_more(&eval) || summary.present)) {
        if (set_aside(folder, moved, sizeof moved) < 0) return -1;
        train.present = eval.present = 0;
    }
    if (same && train.more && train.last > place->most) { /* of a longer run that begins with ours */
        if (set_aside(folder, moved, sizeof moved) < 0) return -1;
        errno = 0;
        m->train = take_over(folder, moved, TRAIN, &train);
        if (m->train) look_for_error(m, m->train, files[TRAIN]);
        m->eval = take_over(folder, moved, EVAL, &eval);
    } else {
        errno = 0;
        m->train = go_on(folder, TRAIN, &train);
        if (m->train) look_for_error(m, m->train, files[TRAIN]);
        m->eval = m->train ? go_on(folder, EVAL, &eval) : NULL;
    }
    if (m->train && m->eval) {
        look_for_error(m, m->eval, files[EVAL]);
        return 0;
    }
    metrics_close(m);
    return -1;
}

/* ---- writing ---- */

static int finish(FILE *file)
{
    int bad = file && ferror(file);
    return (file && fclose(file) != 0) || bad;
}

int metrics_close(struct metrics *metrics)
{
    int bad = finish(metrics->train) | finish(metrics->eval);
    int error = metrics->error ? metrics->error : errno;
    metrics->train = metrics->eval = NULL;
    return bad ? fail("the metrics files in %s are not complete: %s", metrics->folder, strerror(error)) : 0;
}

/* A file without a name any more, as a new one. */
static FILE *write_again(FILE *old, const char *folder, const char *name)
{
    char bytes[BUFSIZ];
    struct stat status;
    if (fstat(fileno(old), &status) != 0 || status.st_nlink > 0) return old;
    FILE *file = open_file(folder, name, "w+e");
    if (!file) return old;
    off_t at = 0;
    for (ssize_t part; (part = pread(fileno(old), bytes, sizeof bytes, at)) > 0; at += part)
        if (fwrite(bytes, 1, (size_t)part, file) != (size_t)part) break; /* closing it says so */
    fclose(old);
    return file;
}

void metrics_keep(struct metrics *m)
{
    m->train = write_again(m->train, m->folder, files[TRAIN]);
    m->eval = write_again(m->eval, m->folder, files[EVAL]);
}

/* Without the sign that a NaN may carry. */
static double plain(double value)
{
    return isnan(value) ? fabs(value) : value;
}

void metrics_step(struct metrics *metrics, const struct metrics_row *row)
{
    snprintf(metrics->row, sizeof metrics->row, "%" PRId64 ",%.5f,%.6g,%.5g,%.5g", row->step,
             plain(row->loss), row->lr, plain(row->grad_norm), plain(row->clip));
    errno = 0;
    fprintf(metrics->train, "%s,%.0f,%d,%s\n", metrics->row, row->tokens_per_s, row->skipped, row->event);
    look_for_error(metrics, metrics->train, files[TRAIN]);
}

void metrics_eval(struct metrics *metrics, int64_t step, double loss)
{
    errno = 0;
    fprintf(metrics->eval, "%" PRId64 ",%.5f,%.4f\n", step, plain(loss), plain(exp(loss)));
    look_for_error(metrics, metrics->eval, files[EVAL]);
}

int metrics_summary(const char *folder, const char *line)
{
    FILE *file = create(folder, files[SUMMARY], line);
    if (!file) return -1;
    errno = 0;
    fputc('\n', file);
    int error = errno;
    return finish(file)
               ? fail("cannot write %s/%s: %s", folder, files[SUMMARY], strerror(error ? error : errno))
               : 0;
}
