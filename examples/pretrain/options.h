/* The command line, and the model sizes with what is usual for each. */
#ifndef PRETRAIN_OPTIONS_H
#define PRETRAIN_OPTIONS_H

#include <stddef.h>
#include <stdint.h>
#include <relora/relora.h>
#include "model.h"
#include "shards.h"

enum method {
    METHOD_FULL,    /* full rank all the way */
    METHOD_LORA,    /* warm start, then low rank without a restart */
    METHOD_LOWRANK, /* low rank from scratch, no W */
    METHOD_RELORA   /* warm start, then restarts */
};

enum recipe {
    RECIPE_NONE,
    RECIPE_PAPER, /* ReLoRA as published */
    RECIPE_BEST   /* what has the least loss after 2,000 updates in docs/results.md */
};

/* A row of the table: the shape, and what the authors train it with (method.md 6.1), or for `demo`
 * what works in two minutes. The options override every field but the shape. */
struct size {
    const char *name;
    int64_t hidden, ffn, heads, layers;
    int64_t seq, batch, accumulate, steps;
    double lr, beta2, dropout, init_std;
};
extern const struct size sizes[];
extern const int size_count;

struct json_t;

struct options {
    int64_t size; /* index into sizes */
    int64_t hidden, ffn, heads,
        layers; /* of a shape that is not in the table; in the end those of `model`, or unset with --init */
    struct model_config model; /* its shape: that of the size, or of --init; vocab 0 if that is the data's */
    struct json_t *config;     /* what config.json of --init holds; NULL if there is none */
    int foreign_vocab;         /* model.vocab is that of a tokenizer: nobody said that bytes will do */
    int64_t recipe, method, dtype, device, reset, masks, order, recompute, shard_state, sync;
    int64_t init_a, frozen; /* of a new A; the flag of the factor that does not train */
    struct names data, val_data;
    const char *out, *prompt;
    const char *save, *resume, *init, *export;
    int64_t save_every, keep;
    int64_t vocab, classes;
    int64_t seq, batch, accumulate, steps, seed, threads;
    int64_t rank, warm_start, warmup, restarts, restart_warmup, full_rank_every;
    double full_rank_strength;
    double lr, lora_lr, min_lr_ratio;
    double alpha, dropout, init_std, reset_ratio;
    double beta1, beta2, eps, weight_decay, clip;
    int64_t eval_every, eval_batches, sample;
    double temperature;

    uint64_t given;   /* bit i: row i of the table of options was on the command line */
    int64_t end;      /* updates of the whole run: --steps, or more if it was prolonged */
    int64_t adjusted; /* steps added to the warm start so that the cycles are equal; 0 if none */
};

/* 0: go on; 1: --help or --version was printed; -1: something is wrong and was said. Those that were not given
 * are filled in by options_resolve(), which a run that resumes calls itself, after options_adopt(). */
int options_read(struct options *options, int argc, char **argv);
void options_free(struct options *options);
/* Fill in what was not given. */
int options_resolve(struct options *options);
/* Set what belongs to options->recipe and was not given. */
int options_take_recipe(struct options *options);
/* Was it on the command line? */
int options_given(const struct options *options, const char *name);
/* "relora", "magnitude": what an option that names a choice is set to. */
const char *options_choice(const char *option, int64_t value);
/* Every option that the numbers of a run depend on, a line "name=value" each; "prolonged=" for its end if that
 * is beyond --steps. */
void options_describe(const struct options *options, char *text, size_t size);
/* Take those that were not given from `text`, of a checkpoint, and resolve them all. Those that were given
 * must be as they are there, but that --steps may be more: that prolongs the run to options->end. *planned
 * receives the end that the checkpoint was made for. -1 after a sentence for each that differs. */
int options_adopt(struct options *options, const char *text, int64_t *planned);
/* Settle `size`, `model` and `vocab`, for which it looks at --init; options_resolve() calls it. */
int options_model(struct options *options);
/* The shape of a size; otherwise as a Llama without config.json. */
struct model_config options_shape(const struct size *size);
/* Updates in one cycle of the low-rank part, and the number of restarts till the end. */
int64_t options_cycle(const struct options *options);
int64_t options_restarts(const struct options *options);

#endif
