/* A file of a run that is not this one is refused with the field and both values, and nothing at all is
 * changed. One thing differs at a time. */
#include "checkpoint/run.h"

static void mode_full(struct recipe *r)
{
    r->linear.mode = RELORA_MODE_FULL;
    r->cycle_too = 0;
}
static void mode_lowrank(struct recipe *r)
{
    r->linear.mode = RELORA_MODE_LOWRANK;
    r->cycle_too = 0;
}
static void dtype(struct recipe *r) { r->linear.dtype = RELORA_BF16; }
static void in_features(struct recipe *r) { r->linear.in_features = RUN_IN + 1; }
static void out_features(struct recipe *r) { r->linear.out_features = RUN_OUT + 1; }
static void rank(struct recipe *r) { r->linear.rank = RUN_RANK + 1; }
static void alpha(struct recipe *r) { r->linear.alpha = nextafter(4, 5); }
static void dropout(struct recipe *r) { r->linear.dropout = 0.25; }
static void seed(struct recipe *r) { r->linear.seed++; }
static void layer(struct recipe *r) { r->linear.layer = 4; }
static void rounding(struct recipe *r) { r->linear.rounding = RELORA_ROUND_NEAREST; }
static void flag_bias(struct recipe *r) { r->linear.flags &= ~(uint32_t)RELORA_LINEAR_BIAS; }
static void flag_scale(struct recipe *r) { r->linear.flags |= RELORA_LINEAR_TRAINABLE_SCALE; }
static void flag_delta(struct recipe *r) { r->linear.flags |= RELORA_LINEAR_KEEP_DELTA; }
static void beta1(struct recipe *r) { r->adam.beta1 = 0.8; }
static void beta2(struct recipe *r) { r->adam.beta2 = 0.95; }
static void eps(struct recipe *r) { r->adam.eps = 1e-7; }
static void decay(struct recipe *r) { r->adam.weight_decay = 0.03; }
static void max_norm(struct recipe *r) { r->adam.max_norm = 0; }
static void adam_seed(struct recipe *r) { r->adam.seed = 18; }
static void adam_flags(struct recipe *r) { r->adam.flags ^= RELORA_ADAM_DECOUPLED; }
static void adam_skip(struct recipe *r) { r->adam.flags ^= RELORA_ADAM_SKIP_NOT_FINITE; }
static void adam_rounding(struct recipe *r) { r->adam.rounding = RELORA_ROUND_NEAREST; }
static void lr_factor(struct recipe *r) { r->lr_factor = 1; }
static void weight_decay(struct recipe *r) { r->weight_decay = 0; }
static void count(struct recipe *r) { r->extra_parameter = 1; }
static void lr(struct recipe *r) { r->schedule.lr = 0.06; }
static void kind(struct recipe *r)
{
    r->schedule.kind = RELORA_SCHEDULE_COSINE;
    r->schedule.restart_warmup_steps = 0; /* which that kind does not have */
}
static void min_lr(struct recipe *r) { r->schedule.min_lr_ratio = 0.2; }
static void first_step(struct recipe *r) { r->schedule.first_step = 3; }
static void total_steps(struct recipe *r) { r->schedule.total_steps = 2 * RUN_STEPS; }
static void warmup(struct recipe *r) { r->schedule.warmup_steps = 3; }
static void restart_warmup(struct recipe *r) { r->schedule.restart_warmup_steps = 3; }
static void restart_every(struct recipe *r) { r->schedule.restart_every = 2 * RUN_EVERY; }
static void adjust(struct recipe *r) { r->schedule.adjust_step = 1; }
static void cycle_first(struct recipe *r) { r->cycle.first_step = 2; }
static void merge_every(struct recipe *r) { r->cycle.merge_every = 2 * RUN_EVERY; }
static void reset_every(struct recipe *r) { r->cycle.reset_every = 4; }
static void reset_mode(struct recipe *r) { r->reset.mode = RELORA_RESET_MAGNITUDE; }
static void reset_flags(struct recipe *r) { r->reset.flags = 0; }
static void reset_ratio(struct recipe *r) { r->reset.ratio = 0.75; }
static void reset_seed(struct recipe *r) { r->reset.seed = 98; }
static void norm_shape(struct recipe *r) { r->norm = 8; }
static void norm_dtype(struct recipe *r) { r->norm_dtype = RELORA_BF16; }
static void norm_name(struct recipe *r) { r->norm_name = "nurm"; }
static void prefix(struct recipe *r) { r->prefix = 0; }

static const struct change {
    void (*change)(struct recipe *);
    relora_status status;
    const char *words[4];
} changes[] = {
    {mode_full, RELORA_E_STATE, {"relora.linear.layer", "mode=FULL", "mode=LORA"}},
    {mode_lowrank, RELORA_E_STATE, {"relora.linear.layer", "mode=LOWRANK", "mode=LORA"}},
    {dtype, RELORA_E_STATE, {"relora.linear.layer", "dtype=BF16", "dtype=F32"}},
    {in_features, RELORA_E_STATE, {"relora.linear.layer", "in_features=7", "in_features=6"}},
    {out_features, RELORA_E_STATE, {"relora.linear.layer", "out_features=6", "out_features=5"}},
    {rank, RELORA_E_STATE, {"relora.linear.layer", "rank=3", "rank=2"}},
    {alpha, RELORA_E_STATE, {"relora.linear.layer", "alpha=4.00000000000000", "alpha=4 "}},
    {dropout, RELORA_E_STATE, {"relora.linear.layer", "dropout=0.25", "dropout=0.20"}},
    {seed, RELORA_E_STATE, {"relora.linear.layer", "seed=1234567890123456790", "seed=1234567890123456789"}},
    {layer, RELORA_E_STATE, {"relora.linear.layer", "layer=4", "layer=3"}},
    {rounding, RELORA_E_STATE, {"relora.linear.layer", "rounding=NEAREST", "rounding=STOCHASTIC"}},
    {flag_bias, RELORA_E_STATE, {"relora.linear.layer", "flags=0", "flags=BIAS in"}},
    {flag_scale, RELORA_E_STATE, {"relora.linear.layer", "flags=BIAS|TRAINABLE_SCALE here", "flags=BIAS in"}},
    {flag_delta, RELORA_E_STATE, {"relora.linear.layer", "flags=BIAS|KEEP_DELTA here", "flags=BIAS in"}},
    {beta1, RELORA_E_STATE, {"relora.adam.adam", "beta1=0.8", "beta1=0.9"}},
    {beta2, RELORA_E_STATE, {"relora.adam.adam", "beta2=0.9", "beta2=0.999"}},
    {eps, RELORA_E_STATE, {"relora.adam.adam", "eps=", "e-08"}},
    {decay, RELORA_E_STATE, {"relora.adam.adam", "weight_decay=0.029", "weight_decay=0.02"}},
    {max_norm, RELORA_E_STATE, {"relora.adam.adam", "max_norm=0", "max_norm=2"}},
    {adam_seed, RELORA_E_STATE, {"relora.adam.adam", "seed=18", "seed=17"}},
    {adam_flags, RELORA_E_STATE, {"relora.adam.adam", "flags=0 here", "flags=DECOUPLED in"}},
    {adam_skip,
     RELORA_E_STATE,
     {"relora.adam.adam", "flags=DECOUPLED|SKIP_NOT_FINITE", "flags=DECOUPLED in"}},
    {adam_rounding, RELORA_E_STATE, {"relora.adam.adam", "rounding=NEAREST", "rounding=STOCHASTIC"}},
    {lr_factor, RELORA_E_STATE, {"relora.adam.adam", "lr_factor=1", "lr_factor=0.5"}},
    {weight_decay, RELORA_E_STATE, {"relora.adam.adam", "weight_decay=0", "weight_decay=0.01"}},
    {count, RELORA_E_STATE, {"relora.adam.adam", "count=4", "count=3"}},
    {lr, RELORA_E_STATE, {"relora.schedule.schedule", "lr=0.059", "lr=0.050"}},
    {kind, RELORA_E_STATE, {"relora.schedule.schedule", "kind=COSINE here", "kind=COSINE_RESTARTS in"}},
    {min_lr, RELORA_E_STATE, {"relora.schedule.schedule", "min_lr_ratio=0.2", "min_lr_ratio=0.1"}},
    {first_step, RELORA_E_STATE, {"relora.schedule.schedule", "first_step=3", "first_step=0"}},
    {total_steps, RELORA_E_STATE, {"relora.schedule.schedule", "total_steps=40", "total_steps=20"}},
    {warmup, RELORA_E_STATE, {"relora.schedule.schedule", "warmup_steps=3", "warmup_steps=2"}},
    {restart_warmup,
     RELORA_E_STATE,
     {"relora.schedule.schedule", "restart_warmup_steps=3", "restart_warmup_steps=2"}},
    {restart_every, RELORA_E_STATE, {"relora.schedule.schedule", "restart_every=10", "restart_every=5"}},
    {adjust, RELORA_E_STATE, {"relora.schedule.schedule", "adjust_step=1", "adjust_step=0"}},
    {cycle_first, RELORA_E_STATE, {"relora.cycle.cycle", "first_step=2", "first_step=0"}},
    {merge_every, RELORA_E_STATE, {"relora.cycle.cycle", "merge_every=10", "merge_every=5"}},
    {reset_every, RELORA_E_STATE, {"relora.cycle.cycle", "reset_every=4", "reset_every=3"}},
    {reset_mode, RELORA_E_STATE, {"relora.cycle.cycle", "reset mode=MAGNITUDE", "reset mode=RANDOM"}},
    {reset_flags, RELORA_E_STATE, {"relora.cycle.cycle", "reset flags=0", "reset flags=STEP_COUNT"}},
    {reset_ratio, RELORA_E_STATE, {"relora.cycle.cycle", "ratio=0.75", "ratio=0.5"}},
    {reset_seed, RELORA_E_STATE, {"relora.cycle.cycle", "seed=98", "seed=99"}},
    {norm_shape, RELORA_E_SHAPE, {"norm", "[8]", "[7]"}},
    {norm_dtype, RELORA_E_DTYPE, {"norm", "BF16", "F32"}},
    {norm_name, RELORA_E_NOT_FOUND, {"nurm"}},
    {prefix, RELORA_E_NOT_FOUND, {"relora.linear\""}},
};
enum { CHANGES = sizeof changes / sizeof *changes };

START_TEST(test_change)
{
    const struct change *c = &changes[_i];
    struct recipe theirs = recipe_of(0), ours = theirs;
    struct run saved = new_run(&theirs, 1);
    scramble(&saved, 31);
    OK(relora_state_save(saved.state, env.st, at("state"), RELORA_SAVE_CHECKSUM));
    c->change(&ours);
    struct run run = new_run(&ours, 2);
    scramble(&run, 32);
    struct raw was = contents(&run);
    FAILS(c->status, relora_state_load(run.state, env.st, open_path(at("state"))), c->words[0],
          c->words[1] ? c->words[1] : "", c->words[2] ? c->words[2] : "");
    struct raw after = contents(&run);
    same_contents(&was, &after, "a refused load changes nothing");
}
END_TEST

/* The same refusals in the other direction: the file is of the changed run. */
START_TEST(test_change_of_the_file)
{
    const struct change *c = &changes[_i];
    struct recipe ours = recipe_of(0), theirs = ours;
    c->change(&theirs);
    struct run saved = new_run(&theirs, 1);
    OK(relora_state_save(saved.state, env.st, at("state"), 0));
    struct run run = new_run(&ours, 2);
    scramble(&run, 32);
    struct raw was = contents(&run);
    relora_status status = relora_state_load(run.state, env.st, open_path(at("state")));
    ck_assert_int_eq(status, c->status);
    struct raw after = contents(&run);
    same_contents(&was, &after, "a refused load changes nothing");
}
END_TEST

Suite *state_refusals(void)
{
    Suite *s = suite_create("states refused");
    TCase *tc = env_case(s, "refusals", 20);
    tcase_add_loop_test(tc, test_change, 0, CHANGES);
    tcase_add_loop_test(tc, test_change_of_the_file, 0, CHANGES);
    return s;
}
