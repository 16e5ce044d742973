/* A training run in small: one layer, an optimizer, a schedule, a cycle, a tensor of the host, and the
 * state that holds them. A recipe says how it is made, so that a test can change one thing. */
#ifndef TEST_CHECKPOINT_RUN_H
#define TEST_CHECKPOINT_RUN_H

#include "checkpoint/checkpoint.h"

enum { RUN_IN = 6, RUN_OUT = 5, RUN_RANK = 2, RUN_ROWS = 4, RUN_STEPS = 20, RUN_EVERY = 5, RUN_RESET = 3 };

struct recipe {
    relora_linear_options linear;
    relora_adam_options adam;
    relora_schedule_options schedule;
    relora_cycle_options cycle;
    relora_reset_options reset;
    double lr_factor, weight_decay; /* of the first parameter */
    int extra_parameter;            /* one more in the optimizer */
    int cycle_too;                  /* is there a cycle? Only in LORA */
    relora_dtype norm_dtype;        /* of the tensor of the host, [norm] */
    int64_t norm;
    const char *norm_name;
    int prefix; /* names of the layer "layer", or with 0 "" */
};

struct run {
    struct recipe recipe;
    relora_linear *linear;
    relora_tensor *norm, *x, *y, *dy;
    relora_adam *adam;
    relora_schedule *schedule;
    relora_cycle *cycle;
    relora_state *state;
};

/** Which of mode, dtype, flags and way to restart: RUN_KINDS of them. */
enum { RUN_KINDS = 13 };
struct recipe recipe_of(int kind);

/** Objects with random contents that depend on `seed`; nothing else does. */
struct run new_run(const struct recipe *recipe, uint64_t seed);
/** Change every byte that a state holds, step counts included. */
void scramble(struct run *run, uint64_t seed);

/** Everything a state holds, one after the other. */
struct raw contents(const struct run *run);
/** Fail unless both hold the same, naming the tensor that differs. */
void same_contents(const struct raw *a, const struct raw *b, const char *what);

/** Updates `from` to `to` of the run: forward, backward, step, cycle. */
void train(struct run *run, int from, int to);

#endif
