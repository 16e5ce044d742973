/* A checkpoint is a relora_state: parameters, optimizer, schedule and cycle of the present phase, and
 * as texts of our own where the run is and what it was started with. */
#include "checkpoint.h"

#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "llama.h"
#include "report.h"
#include "saved.h"
#include "stop.h"

enum { OPTIONS_TEXT = 4096 };

/* ---- what goes in ---- */

static int is_low_rank(const struct trainer *t)
{
    relora_linear *first = model_projection(t->model, 0);
    return relora_linear_get_mode(first) != RELORA_MODE_FULL;
}

/* Does each process have a file of its own? At the end of the warm start they are still together. */
static int is_apart(const struct trainer *t)
{
    return t->cycle && trainer_is_apart(t);
}

/* The checksums of the library are of tensors, and it compares its own texts. Ours have a sum of their own. */
static const char sum_key[] = "texts_sum";

static uint64_t sum_of(const char *key, const char *value)
{
    uint64_t sum = 1469598103934665603u; /* FNV-1a, the zero between them included */
    for (size_t i = 0; i <= strlen(key); i++) sum = (sum ^ (unsigned char)key[i]) * 1099511628211u;
    for (size_t i = 0; value[i]; i++) sum = (sum ^ (unsigned char)value[i]) * 1099511628211u;
    return sum;
}

struct texts { /* in the state, and the sum of their sums, whose order is of no matter */
    relora_state *state;
    uint64_t sum;
};

static relora_status set_text(struct texts *texts, const char *key, const char *value)
{
    texts->sum += sum_of(key, value);
    return relora_state_set(texts->state, key, value);
}

static relora_status set_number(struct texts *texts, const char *key, int64_t value)
{
    char text[32];
    snprintf(text, sizeof text, "%" PRId64, value);
    return set_text(texts, key, text);
}

static relora_status set_sum(const struct texts *texts)
{
    char text[32];
    snprintf(text, sizeof text, "%016" PRIx64, texts->sum);
    return relora_state_set(texts->state, sum_key, text);
}

/* Checkpoints of before 0.6 have no sum. */
static int texts_are_whole(const relora_reader *reader)
{
    char text[32];
    const char *key, *sum = relora_reader_metadata(reader, sum_key);
    uint64_t found = 0;
    for (int32_t i = 0; (key = relora_reader_metadata_key(reader, i)); i++)
        if (strncmp(key, "relora.", 7) != 0 && strcmp(key, sum_key) != 0)
            found += sum_of(key, relora_reader_metadata(reader, key));
    snprintf(text, sizeof text, "%016" PRIx64, found);
    return !sum || strcmp(sum, text) == 0;
}

static relora_status add_objects(const struct trainer *t, relora_state *state)
{
    relora_status status = relora_state_add_group(state, model_group(t->model));
    if (status >= 0) status = relora_state_add_adam(state, "optimizer", t->adam);
    if (status >= 0) status = relora_state_add_schedule(state, "run", t->schedule);
    if (status >= 0 && t->cycle) status = relora_state_add_cycle(state, "run", t->cycle);
    return status;
}

static relora_status add_position(const struct trainer *t, relora_state *state)
{
    char options[OPTIONS_TEXT], model[LLAMA_TEXT], seconds[40], health[160];
    struct texts texts = {.state = state};
    health_write(&t->health, health, sizeof health);
    options_describe(t->options, options, sizeof options);
    llama_describe(model_get_config(t->model), model);
    snprintf(seconds, sizeof seconds, "%.6f", t->seconds);
    const struct {
        const char *key;
        int64_t value;
    } numbers[] = {{"step", t->step},
                   {"attempts", t->attempts},
                   {"skipped", t->skipped},
                   {"restarts", t->restarts},
                   {"low_rank", is_low_rank(t)},
                   {"data_tokens", t->data->tokens},
                   {"data_sum", t->data->sum},
                   {"data_whole_sum", t->data->whole_sum},
                   {"vocab", t->data->vocab},
                   {"threads", t->options->threads},
                   {"device", t->options->device}};
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        relora_status status = set_number(&texts, numbers[i].key, numbers[i].value);
        if (status < 0) return status;
    }
    relora_status status = is_apart(t) ? set_number(&texts, "apart", t->ranks->count) : RELORA_OK;
    if (status >= 0) status = set_text(&texts, "options", options);
    if (status >= 0) status = set_text(&texts, "model", model);
    if (status >= 0) status = set_text(&texts, "health", health);
    if (status >= 0) status = set_text(&texts, "row", t->metrics.train ? t->metrics.row : t->row);
    if (status >= 0) status = set_text(&texts, "seconds", seconds);
    return status < 0 ? status : set_sum(&texts);
}

/* ---- saving ---- */

static int write_state(const struct trainer *t, const char *path)
{
    relora_state *state;
    if (check(t->ctx, relora_state_create(&state, t->ctx), "checkpoint")) return -1;
    relora_status status = add_objects(t, state);
    if (status >= 0) status = add_position(t, state);
    if (status >= 0) status = relora_state_save(state, t->stream, path, RELORA_SAVE_CHECKSUM);
    relora_state_release(state);
    return check(t->ctx, status, "cannot save a checkpoint; earlier ones are as they were");
}

/* The file of the first process comes last: where it is, there are those of the others too. */
static int write_apart(const struct trainer *t, const char *path)
{
    char own[PATH_MAX] = "";
    int rank = t->ranks->index, written = 0;
    if (rank) written = saved_path_of_rank(own, path, rank) || write_state(t, own);
    if (ranks_agree(t->ranks, written) == 0 && ranks_agree(t->ranks, rank ? 0 : write_state(t, path)) == 0)
        return 0;
    if (rank && access(path, F_OK) != 0) unlink(own); /* nobody would find it, or remove it */
    return -1;
}

int checkpoint_save(struct trainer *t)
{
    char path[PATH_MAX];
    int first = t->ranks->index == 0; /* but all have a part in it */
    int ready = saved_path(path, t->options->save, t->step) ||
                (first && folders_open(t->folders, "save", t->options->save)); /* it may be gone by now */
    if (ranks_agree(t->ranks, ready) || (is_apart(t) ? write_apart(t, path) : write_state(t, path)))
        return -1;
    if (first) saved_drop_old(t->options->save, t->options->keep, t->step, t->ranks->count, &t->told_of_old);
    return 0;
}

/* ---- going on ---- */

/* A new run must not mix its checkpoints with those of another. */
static int check_folder(const struct trainer *t, const struct options *o, int64_t step)
{
    int64_t *steps;
    int count = saved_steps(o->save, &steps);
    int64_t newest = count > 0 ? steps[0] : -1;
    free(steps);
    if (count < 0) return -1;
    if (newest < 0 || (t->from && newest <= step)) return 0;
    if (t->from && strcmp(o->resume, "auto") == 0) return 0; /* the newer ones were found damaged */
    return fail("--save %s: the folder has a checkpoint after step %" PRId64 ", of another run; continue it "
                "with --resume auto, or choose another folder",
                o->save, newest);
}

/* A number that checkpoint_save() put in; -1 if it is not there. */
static int64_t get_number(const relora_reader *reader, const char *key)
{
    const char *text = relora_reader_metadata(reader, key);
    return text ? strtoll(text, NULL, 10) : -1;
}

/* Make the objects of the phase the checkpoint was made in; each phase begins at a known step. */
static int enter_phase_of(struct trainer *t, const relora_reader *reader)
{
    t->step = 0;
    if (get_number(reader, "low_rank") != 1) return phase_full(t);
    t->step = t->options->warm_start;
    return phase_low_rank(t);
}

/* Checkpoints of before 0.5 do not say it: their model was that of the size. */
static int compare_model(const struct trainer *t, const struct options *o)
{
    char size[LLAMA_TEXT];
    const char *text = relora_reader_metadata(t->from, "model");
    const struct model_config shape = options_shape(&sizes[o->size]);
    llama_describe(&shape, size);
    return llama_compare(&o->model, text ? text : size);
}

/* What one process has of its own, another number of them cannot go on from. */
static int compare_ranks(const struct trainer *t)
{
    int64_t apart = get_number(t->from, "apart");
    if (apart < 0 || apart == t->ranks->count) return 0;
    return fail("--resume: the checkpoint is one of %" PRId64
                " processes that train apart (--sync restart), each with "
                "its own factors and moments, but %d %s started",
                apart, t->ranks->count, t->ranks->count == 1 ? "was" : "were");
}

static int compare_end(const struct trainer *t)
{
    int64_t step = get_number(t->from, "step");
    return step <= t->planned ? 0
                              : fail("--resume: the checkpoint is of step %" PRId64 " of a run of %" PRId64,
                                     step, t->planned);
}

/* The vocabulary may be the data's, or was given. Checkpoints of before 0.6 do not say it. */
static int take_vocab(const struct trainer *t, struct options *o)
{
    int64_t vocab = get_number(t->from, "vocab");
    if (vocab < 0) return 0;
    if (o->vocab && o->vocab != vocab)
        return fail("--vocab is %" PRId64 ", but the checkpoint was made with %" PRId64, o->vocab, vocab);
    o->vocab = vocab;
    return 0;
}

/* The data must be those that the checkpoint was trained on; its size is compared first. */
static int compare_data(const struct trainer *t)
{
    int64_t tokens = get_number(t->from, "data_tokens"), whole = get_number(t->from, "data_whole_sum");
    if (tokens != t->data->tokens)
        return fail("--resume: the data has %" PRId64 " tokens, but the checkpoint's had %" PRId64,
                    t->data->tokens, tokens);
    if (get_number(t->from, "data_sum") != t->data->sum || (whole >= 0 && whole != t->data->whole_sum))
        return fail("--resume: %s is not the data that the checkpoint was trained on", t->data->name);
    return 0;
}

/* What may differ, and tells in the last digits. */
static void note_differences(const struct trainer *t)
{
    int64_t threads = get_number(t->from, "threads"), device = get_number(t->from, "device");
    if (threads != t->options->threads)
        printf("note: --threads is %" PRId64 ", was %" PRId64 "; losses may differ in the last digits\n",
               t->options->threads, threads);
    if (device > 0 && device != t->options->device)
        printf("note: --device is %s, was %s; losses may differ in the last digits\n",
               options_choice("device", t->options->device), options_choice("device", device));
}

static void restore_position(struct trainer *t)
{
    const char *row = relora_reader_metadata(t->from, "row");
    t->step = get_number(t->from, "step");
    t->attempts = get_number(t->from, "attempts");
    t->skipped = get_number(t->from, "skipped");
    t->restarts = get_number(t->from, "restarts");
    t->seconds = strtod(relora_reader_metadata(t->from, "seconds"), NULL);
    t->health.all = t->skipped;
    health_read(&t->health, relora_reader_metadata(t->from, "health"));
    snprintf(t->row, sizeof t->row, "%s", row ? row : "");
    t->place = (struct metrics_place){.rows = t->attempts,
                                      .step = t->step,
                                      .row = t->row,
                                      .most = t->options->end > t->planned ? t->step : t->planned};
    t->resumed = 1;
}

static int restore(struct trainer *t)
{
    relora_state *state;
    if (compare_data(t)) return -1;
    note_differences(t);
    if (enter_phase_of(t, t->from) || check(t->ctx, relora_state_create(&state, t->ctx), "resume")) return -1;
    relora_status status = add_objects(t, state);
    if (status >= 0) status = relora_state_load(state, t->stream, t->from);
    relora_state_release(state);
    if (check(t->ctx, status, "cannot resume")) return -1;
    restore_position(t);
    if (t->options->end > t->end && phase_prolong(t, t->options->end)) return -1;
    printf("resumed from %s, after step %" PRId64 "\n", t->from_path, t->step);
    if (t->end > t->planned)
        printf("prolonged from %" PRId64 " to %" PRId64 " updates\n", t->planned, t->end);
    relora_reader_release(t->from);
    t->from = NULL;
    return 0;
}

/* The file if it is whole, to its last byte; else NULL, after saying why. */
static relora_reader *open_whole(const struct trainer *t, const char *path)
{
    relora_reader *reader;
    if (check(t->ctx, relora_reader_open(&reader, t->ctx, path), "--resume")) return NULL;
    relora_status status = relora_reader_verify(reader);
    int bad = status != RELORA_E_NOT_FOUND && check(t->ctx, status, path);
    if (!bad && !texts_are_whole(reader))
        bad = fail("%s is damaged: its texts are not those that were saved", path);
    if (!bad) return reader;
    relora_reader_release(reader);
    return NULL;
}

/* The file of this process, if it is whole; NULL after saying why, or if another process does not have its own. */
static relora_reader *open_own(const struct trainer *t, const char *path)
{
    char own[PATH_MAX];
    relora_reader *reader = open_whole(t, path);
    int rank = t->ranks->index;
    if (reader && rank && get_number(reader, "apart") == t->ranks->count) {
        relora_reader_release(reader);
        reader = saved_path_of_rank(own, path, rank) ? NULL : open_whole(t, own);
    }
    if (ranks_agree(t->ranks, !reader) == 0) return reader;
    if (reader) fail("%s: the file of another process is missing or damaged", path);
    relora_reader_release(reader);
    return NULL;
}

/* Is `result` so on every process? */
static int all_have(const struct trainer *t, int result)
{
    return ranks_agree(t->ranks, !result) == 0;
}

/* The newest checkpoint of a folder that is whole. *found is how many files were looked at. */
static relora_reader *open_newest(const struct trainer *t, const char *folder, char path[PATH_MAX],
                                  int *found)
{
    int64_t *steps;
    relora_reader *reader = NULL;
    *found = saved_steps(folder, &steps);
    for (int i = 0; all_have(t, i < *found && saved_path(path, folder, steps[i]) == 0) && !reader; i++) {
        reader = open_own(t, path);
        if (!reader) fail("%s is skipped", path);
    }
    free(steps);
    return reader;
}

/* t->from and its path; still NULL if --resume auto finds nothing. -1 after a sentence. */
static int find_file(struct trainer *t, const struct options *o)
{
    const char *from = o->resume;
    int automatic = strcmp(from, "auto") == 0, folder, found = 1;
    struct stat info;
    if (automatic) from = o->save;
    if (snprintf(t->from_path, sizeof t->from_path, "%s", from) >= (int)sizeof t->from_path)
        return fail("the name %s is too long", from);
    folder = automatic || (stat(from, &info) == 0 && S_ISDIR(info.st_mode));
    if (folder) t->from = open_newest(t, from, t->from_path, &found);
    else t->from = open_own(t, from);
    if (!t->from && automatic && found == 0) {
        printf("no checkpoint in %s: a new run begins\n", from);
        return 0;
    }
    if (t->from) return 0;
    return found == 0 ? fail("--resume %s: the folder has no checkpoint", from)
           : folder   ? fail("--resume %s: no good checkpoint was found", from)
                      : -1;
}

/* Numbers that a run can have. */
static int check_position(const struct trainer *t)
{
    int64_t step = get_number(t->from, "step"), attempts = get_number(t->from, "attempts");
    return step >= 0 && attempts >= step && get_number(t->from, "skipped") >= 0 &&
                   get_number(t->from, "restarts") >= 0
               ? 0
               : -1;
}

int checkpoint_find(struct trainer *t, struct options *o)
{
    if (o->resume && find_file(t, o)) return STATUS_FAILED;
    if (o->resume && !t->from && options_resolve(o)) return STATUS_USAGE;
    if (t->from) {
        const char *text = relora_reader_metadata(t->from, "options");
        if (!text || !relora_reader_metadata(t->from, "seconds") || check_position(t)) {
            fail("--resume: the file is not a checkpoint of this program");
            return STATUS_FAILED;
        }
        if (compare_ranks(t) || take_vocab(t, o) || options_adopt(o, text, &t->planned) || compare_end(t) ||
            compare_model(t, o))
            return STATUS_FAILED;
    }
    if (o->save && check_folder(t, o, t->from ? get_number(t->from, "step") : -1)) return STATUS_FAILED;
    return STATUS_DONE;
}

int checkpoint_prepare(struct trainer *t)
{
    t->place = (struct metrics_place){0, 0, 0, ""};
    const struct options *o = t->options;
    int tidies = o->save && t->ranks->index == 0;
    if (t->from && restore(t)) return -1;
    if (tidies) saved_tidy(o->save, o->keep, t->resumed ? t->step : -1, t->ranks->count, &t->told_of_old);
    if (t->resumed) return 0;
    return t->options->init ? llama_init(t) : 0;
}
