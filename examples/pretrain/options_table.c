/* Every option: what it accepts, its default, and its line of --help. */
#include "options_table.h"

static const struct choice methods[] = {{"full", METHOD_FULL},
                                        {"lora", METHOD_LORA},
                                        {"lowrank", METHOD_LOWRANK},
                                        {"relora", METHOD_RELORA},
                                        {NULL, 0}};
static const struct choice recipes[] = {
    {"none", RECIPE_NONE}, {"paper", RECIPE_PAPER}, {"best", RECIPE_BEST}, {NULL, 0}};
static const struct choice dtypes[] = {{"f32", RELORA_F32}, {"bf16", RELORA_BF16}, {NULL, 0}};
static const struct choice devices[] = {{"cpu", RELORA_DEVICE_CPU}, {"cuda", RELORA_DEVICE_CUDA}, {NULL, 0}};
static const struct choice masks[] = {{"joint", 0}, {"independent", RELORA_RESET_INDEPENDENT}, {NULL, 0}};
static const struct choice orders[] = {
    {"auto", RELORA_ORDER_AUTO}, {"split", RELORA_ORDER_SPLIT}, {"fold", RELORA_ORDER_FOLD}, {NULL, 0}};
static const struct choice recomputes[] = {
    {"none", RECOMPUTE_NONE}, {"light", RECOMPUTE_LIGHT}, {"blocks", RECOMPUTE_BLOCKS}, {NULL, 0}};
static const struct choice syncs[] = {{"every", 0}, {"restart", 1}, {NULL, 0}};
static const struct choice shards[] = {{"none", 0}, {"moments", 1}, {NULL, 0}};
static const struct choice resets[] = {{"zero", RELORA_RESET_ZERO},           {"random", RELORA_RESET_RANDOM},
                                       {"magnitude", RELORA_RESET_MAGNITUDE}, {"keep", RELORA_RESET_KEEP},
                                       {"project", RELORA_RESET_PROJECT},     {NULL, 0}};
static const struct choice inits[] = {{"uniform", RELORA_INIT_UNIFORM},
                                      {"matched", RELORA_INIT_MATCHED},
                                      {"gradient", RELORA_INIT_GRADIENT},
                                      {NULL, 0}};
static const struct choice factors[] = {
    {"both", 0}, {"a", RELORA_LINEAR_FREEZE_B}, {"b", RELORA_LINEAR_FREEZE_A}, {NULL, 0}};

#define AT(field) offsetof(struct options, field)
#define BIG 1e12

const struct option_row option_rows[] = {
    {"size", "NAME", "model size, see below (demo; with --init the settings of the nearest size)", CHOICE,
     AT(size), 0, 0, UNSET, NULL, BOUND},
    {"hidden", "N", "hidden size (by size)", WHOLE, AT(hidden), 2, 65536, UNSET, NULL, BOUND},
    {"ffn", "N", "columns of the feed-forward part (by size)", WHOLE, AT(ffn), 1, 1 << 20, UNSET, NULL,
     BOUND},
    {"heads", "N", "attention heads (by size)", WHOLE, AT(heads), 1, 65536, UNSET, NULL, BOUND},
    {"layers", "N", "blocks (by size)", WHOLE, AT(layers), 1, 65536, UNSET, NULL, BOUND},
    {"recipe", "NAME",
     "paper: ReLoRA as published; best: no warm start, and each update also moves W in full rank, without"
     " moments; other options take precedence (none)",
     CHOICE, AT(recipe), 0, 0, RECIPE_NONE, recipes, BOUND},
    {"method", "NAME", "full, lora, lowrank or relora (relora)", CHOICE, AT(method), 0, 0, METHOD_RELORA,
     methods, BOUND},
    {"data", "FILE",
     "text, or tokens in a .bin of nanoGPT or llm.c; files, a 'pattern*' or a folder (the Bible)", LIST,
     AT(data), 0, 0, 0, NULL, FREE},
    {"val-data", "FILE",
     "the same for validation (files with val in their names, or the last tenth of --data)", LIST,
     AT(val_data), 0, 0, 0, NULL, FREE},
    {"vocab", "N", "size of the vocabulary (from --init; 256 for text; the largest token + 1 for .bin)",
     WHOLE, AT(vocab), 2, 1 << 24, 0, NULL, FREE},
    {"classify", "N",
     "N classes: --data and --val-data hold lines of a label below N, a tab and a text; 0 for none (0)",
     WHOLE, AT(classes), 0, 65536, 0, NULL, BOUND},
    {"out", "DIR", "folder for train.csv, eval.csv and summary.txt (out)", TEXT, AT(out), 0, 0, 0, NULL,
     FREE},
    {"dtype", "NAME", "type of projections, head and their inputs: f32 or bf16 (f32)", CHOICE, AT(dtype), 0,
     0, RELORA_F32, dtypes, BOUND},
    {"device", "NAME", "cpu, or cuda for the first NVIDIA GPU (cpu)", CHOICE, AT(device), 0, 0,
     RELORA_DEVICE_CPU, devices, FREE},
    {"threads", "N", "CPU threads (one for each processor that the process may use)", WHOLE, AT(threads), 1,
     1024, UNSET, NULL, FREE},
    {"seed", "N", "seed of all random numbers (1)", WHOLE, AT(seed), 0, BIG, 1, NULL, BOUND},
    {"steps", "N", "updates of the whole run; a larger number prolongs a resumed run (by size)", WHOLE,
     AT(steps), 1, 4e9, UNSET, NULL, BOUND},
    {"batch", "N", "sequences in a micro-batch (by size)", WHOLE, AT(batch), 1, 65536, UNSET, NULL, BOUND},
    {"seq", "N", "tokens in a sequence (by size)", WHOLE, AT(seq), 2, 65536, UNSET, NULL, BOUND},
    {"accumulate", "N", "micro-batches in an update (by size)", WHOLE, AT(accumulate), 1, 1 << 20, UNSET,
     NULL, BOUND},
    {"lr", "X", "peak learning rate of full-rank training (by size)", REAL, AT(lr), ABOVE_0, F32_MOST, UNSET,
     NULL, BOUND},
    {"lora-lr", "X", "peak learning rate of low-rank training (twice --lr)", REAL, AT(lora_lr), ABOVE_0,
     F32_MOST, UNSET, NULL, BOUND},
    {"min-lr-ratio", "X", "share of the peak at which the cosine ends (0.1)", REAL, AT(min_lr_ratio), 0, 1,
     0.1, NULL, BOUND},
    {"warmup", "N", "steps of the first climb of the learning rate (500, at most a 20th of the run)", WHOLE,
     AT(warmup), 0, 4e9, UNSET, NULL, BOUND},
    {"warm-start", "N", "full-rank steps before low-rank training (a quarter of the run)", WHOLE,
     AT(warm_start), 0, 4e9, UNSET, NULL, BOUND},
    {"restarts", "N", "merges before the end; they divide low-rank training into N + 1 equal cycles (3)",
     WHOLE, AT(restarts), 0, 1 << 20, 3, NULL, BOUND},
    {"restart-warmup", "N", "steps of the climb in each cycle (100, at most a 10th of a cycle)", WHOLE,
     AT(restart_warmup), 0, 4e9, UNSET, NULL, BOUND},
    {"rank", "N", "rank of A and B (128, at most a quarter of the hidden size)", WHOLE, AT(rank), 1, 65536,
     UNSET, NULL, BOUND},
    {"alpha", "X",
     "the product of B and A is scaled by alpha / rank (32; with --init-a matched or gradient, the rank)",
     REAL, AT(alpha), ABOVE_0, F32_MOST, UNSET, NULL, BOUND},
    {"init-a", "NAME",
     "a new A: uniform, as published; matched: orthonormal rows; or gradient: rows in the row space of the"
     " gradient of W (uniform)",
     CHOICE, AT(init_a), 0, 0, RELORA_INIT_UNIFORM, inits, BOUND},
    {"factors", "NAME", "which factors are trained: both, a or b (both)", CHOICE, AT(frozen), 0, 0, 0,
     factors, BOUND},
    {"dropout", "X", "dropout of the input of A, below 1 (by size)", REAL, AT(dropout), 0, BELOW_1, UNSET,
     NULL, BOUND},
    {"order", "NAME", "order of products in a low-rank layer: auto, split or fold (auto)", CHOICE, AT(order),
     0, 0, RELORA_ORDER_AUTO, orders, FREE},
    {"recompute", "NAME",
     "what the backward pass recomputes: none; light: what takes one pass over other activations; blocks:"
     " all but the input of each block (none on a CPU, light on a GPU)",
     CHOICE, AT(recompute), 0, 0, UNSET, recomputes, FREE},
    {"shard-state", "NAME",
     "under mpirun: none, or moments: each process keeps only a share of the moments (none)", CHOICE,
     AT(shard_state), 0, 0, 0, shards, FREE},
    {"sync", "NAME",
     "under mpirun: every, or restart: between restarts each process trains by itself (every)", CHOICE,
     AT(sync), 0, 0, 0, syncs, BOUND},
    {"init-std", "X", "standard deviation of the first weights (by size)", REAL, AT(init_std), 0, 10, UNSET,
     NULL, BOUND},
    {"reset", "NAME",
     "moments at a restart: zero clears all, random or magnitude a share; keep; or project, from the old A to"
     " the new one (magnitude)",
     CHOICE, AT(reset), 0, 0, RELORA_RESET_MAGNITUDE, resets, BOUND},
    {"reset-ratio", "X", "share of the moments that random and magnitude clear (0.99)", REAL, AT(reset_ratio),
     0, 1, 0.99, NULL, BOUND},
    {"full-rank-every", "N",
     "in low-rank training, each N-th update also moves W in full rank, without moments; 0: never (0)", WHOLE,
     AT(full_rank_every), 0, 4e9, 0, NULL, BOUND},
    {"full-rank-strength", "X", "length of that step, in learning rates (1)", REAL, AT(full_rank_strength),
     ABOVE_0, F32_MOST, 1, NULL, BOUND},
    {"reset-masks", "NAME",
     "joint: a restart clears the same elements of both moments; or independent, as in the authors' code"
     " (joint)",
     CHOICE, AT(masks), 0, 0, 0, masks, BOUND},
    {"beta1", "X", "Adam's beta1, below 1 (0.9)", REAL, AT(beta1), 0, BELOW_1, 0.9, NULL, BOUND},
    {"beta2", "X", "Adam's beta2, below 1 (by size)", REAL, AT(beta2), 0, BELOW_1, UNSET, NULL, BOUND},
    {"eps", "X", "Adam's epsilon (1e-8)", REAL, AT(eps), ABOVE_0, 1, 1e-8, NULL, BOUND},
    {"weight-decay", "X", "decoupled weight decay, as in AdamW (0)", REAL, AT(weight_decay), 0, 1e3, 0, NULL,
     BOUND},
    {"clip", "X", "largest gradient norm; 0 for no limit (1)", REAL, AT(clip), 0, ANY, 1, NULL, BOUND},
    {"eval-every", "N", "steps between evaluations; 0 evaluates only at the end (a 20th of the run)", WHOLE,
     AT(eval_every), 0, 4e9, UNSET, NULL, FREE},
    {"eval-batches", "N", "micro-batches in an evaluation (20)", WHOLE, AT(eval_batches), 1, 1 << 30, 20,
     NULL, FREE},
    {"sample", "N", "tokens of sample text at the end; 0 for none (300)", WHOLE, AT(sample), 0, 1 << 20, 300,
     NULL, FREE},
    {"prompt", "TEXT", "beginning of the sample, for byte data (\"In the beginning\")", TEXT, AT(prompt), 0,
     0, 0, NULL, FREE},
    {"temperature", "X", "temperature of the sample; 0 takes the likeliest token (0.8)", REAL,
     AT(temperature), 0, 100, 0.8, NULL, FREE},
    {"save", "DIR", "folder for checkpoints; a stopped run also writes one", TEXT, AT(save), 0, 0, 0, NULL,
     FREE},
    {"save-every", "N", "updates between checkpoints; 0 saves only at the end (a 20th of the run)", WHOLE,
     AT(save_every), 0, 4e9, UNSET, NULL, FREE},
    {"keep", "N", "number of newest checkpoints to keep; 0 for all (3)", WHOLE, AT(keep), 0, 1 << 30, 3, NULL,
     FREE},
    {"resume", "PATH", "continue from a checkpoint, from the newest good one in a folder, or auto: in --save",
     TEXT, AT(resume), 0, 0, 0, NULL, FREE},
    {"init", "PATH", "model and weights from a Hugging Face Llama folder, or weights from a checkpoint", TEXT,
     AT(init), 0, 0, 0, NULL, FREE},
    {"export", "DIR", "write the trained model as a Hugging Face Llama folder", TEXT, AT(export), 0, 0, 0,
     NULL, FREE},
};
const int option_count = sizeof option_rows / sizeof *option_rows;
_Static_assert(sizeof option_rows / sizeof *option_rows <= 64, "a bit of `given` for each");
