/* Every option: what it accepts, its default, and its line of --help. */
#include "options_table.h"

static const struct choice methods[] = {{"full", METHOD_FULL}, {"lora", METHOD_LORA},
                                        {"lowrank", METHOD_LOWRANK}, {"relora", METHOD_RELORA},
                                        {NULL, 0}};
static const struct choice dtypes[] = {{"f32", RELORA_F32}, {"bf16", RELORA_BF16}, {NULL, 0}};
static const struct choice devices[] = {{"cpu", RELORA_DEVICE_CPU}, {"cuda", RELORA_DEVICE_CUDA}, {NULL, 0}};
static const struct choice orders[] = {{"auto", RELORA_ORDER_AUTO}, {"split", RELORA_ORDER_SPLIT},
                                       {"fold", RELORA_ORDER_FOLD}, {NULL, 0}};
static const struct choice recomputes[] = {{"none", 0}, {"blocks", 1}, {NULL, 0}};
static const struct choice resets[] = {{"zero", RELORA_RESET_ZERO}, {"random", RELORA_RESET_RANDOM},
                                       {"magnitude", RELORA_RESET_MAGNITUDE}, {NULL, 0}};

#define AT(field) offsetof(struct options, field)
#define BIG 1e12

const struct option_row option_rows[] = {
    {"size", "NAME", "model size, see below (demo; with --init its own, and settings of the nearest)", CHOICE,
     AT(size), 0, 0, UNSET, NULL, BOUND},
    {"method", "NAME", "full, lora, lowrank or relora (relora)", CHOICE, AT(method), 0, 0,
     METHOD_RELORA, methods, BOUND},
    {"data", "FILE", "text, or tokens in a .bin of nanoGPT or llm.c; or several: names, a 'pattern*' in quotes, a"
     " folder (the King James Bible)", LIST, AT(data), 0, 0, 0, NULL, FREE},
    {"val-data", "FILE", "the same for validation (what has val in its name in a folder; or the last tenth)", LIST,
     AT(val_data), 0, 0, 0, NULL, FREE},
    {"vocab", "N", "size of the vocabulary (that of --init; 256 for text; for .bin the largest token + 1)", WHOLE,
     AT(vocab), 2, 1 << 24, 0, NULL, FREE},
    {"out", "DIR", "folder for train.csv, eval.csv and summary.txt (out)", TEXT, AT(out), 0, 0, 0, NULL, FREE},
    {"dtype", "NAME", "f32 or bf16: of projections, head, and what enters them (f32)", CHOICE,
     AT(dtype), 0, 0, RELORA_F32, dtypes, BOUND},
    {"device", "NAME", "cpu or cuda, the first NVIDIA GPU (cpu)", CHOICE, AT(device), 0, 0, RELORA_DEVICE_CPU,
     devices, FREE},
    {"threads", "N", "CPU threads (all processors that the process may use)", WHOLE, AT(threads), 1, 1024, UNSET, NULL, FREE},
    {"seed", "N", "everything random follows from it (1)", WHOLE, AT(seed), 0, BIG, 1, NULL, BOUND},
    {"steps", "N", "updates of the whole run; more than the checkpoint's prolong a resumed one (by size)", WHOLE, AT(steps), 1, 4e9, UNSET, NULL, BOUND},
    {"batch", "N", "sequences in a micro-batch (by size)", WHOLE, AT(batch), 1, 65536, UNSET, NULL, BOUND},
    {"seq", "N", "tokens in a sequence (by size)", WHOLE, AT(seq), 2, 65536, UNSET, NULL, BOUND},
    {"accumulate", "N", "micro-batches in an update (by size)", WHOLE, AT(accumulate), 1, 1 << 20,
     UNSET, NULL, BOUND},
    {"lr", "X", "peak learning rate of full-rank training (by size)", REAL, AT(lr), ABOVE_0, ANY,
     UNSET, NULL, BOUND},
    {"lora-lr", "X", "peak of low-rank training (twice --lr)", REAL, AT(lora_lr), ABOVE_0, ANY, UNSET,
     NULL, BOUND},
    {"min-lr-ratio", "X", "the cosine ends at this share of the peak (0.1)", REAL,
     AT(min_lr_ratio), 0, 1, 0.1, NULL, BOUND},
    {"warmup", "N", "steps of the first climb (500, at most a 20th of the run)", WHOLE, AT(warmup), 0,
     4e9, UNSET, NULL, BOUND},
    {"warm-start", "N", "full-rank steps before low rank begins (a quarter of the run)", WHOLE,
     AT(warm_start), 0, 4e9, UNSET, NULL, BOUND},
    {"restarts", "N", "merges on the way; they cut the low-rank part into N + 1 equal cycles (3)",
     WHOLE, AT(restarts), 0, 1 << 20, 3, NULL, BOUND},
    {"restart-warmup", "N", "steps of the climb in each cycle (100, at most a 10th of one)", WHOLE,
     AT(restart_warmup), 0, 4e9, UNSET, NULL, BOUND},
    {"rank", "N", "rank of A and B (128, at most a quarter of the hidden size)", WHOLE, AT(rank), 1,
     65536, UNSET, NULL, BOUND},
    {"alpha", "X", "scale of the product is alpha / rank (32)", REAL, AT(alpha), ABOVE_0, ANY, 32, NULL, BOUND},
    {"dropout", "X", "of what enters A, below 1 (by size)", REAL, AT(dropout), 0, BELOW_1, UNSET, NULL, BOUND},
    {"order", "NAME", "of the products of a low-rank layer: auto, split or fold (auto)", CHOICE, AT(order),
     0, 0, RELORA_ORDER_AUTO, orders, FREE},
    {"recompute", "NAME", "none, or blocks: keep what enters a block, make the rest again in the backward"
     " (none)", CHOICE, AT(recompute), 0, 0, 0, recomputes, FREE},
    {"init-std", "X", "of the first weights (by size)", REAL, AT(init_std), 0, 10, UNSET, NULL, BOUND},
    {"reset", "NAME", "moments at a restart: zero, random or magnitude (magnitude)", CHOICE,
     AT(reset), 0, 0, RELORA_RESET_MAGNITUDE, resets, BOUND},
    {"reset-ratio", "X", "share of the moments that random and magnitude clear (0.99)", REAL,
     AT(reset_ratio), 0, 1, 0.99, NULL, BOUND},
    {"beta1", "X", "of Adam, below 1 (0.9)", REAL, AT(beta1), 0, BELOW_1, 0.9, NULL, BOUND},
    {"beta2", "X", "of Adam, below 1 (by size)", REAL, AT(beta2), 0, BELOW_1, UNSET, NULL, BOUND},
    {"eps", "X", "of Adam (1e-8)", REAL, AT(eps), ABOVE_0, 1, 1e-8, NULL, BOUND},
    {"weight-decay", "X", "decoupled, as in AdamW (0)", REAL, AT(weight_decay), 0, 1e3, 0, NULL, BOUND},
    {"clip", "X", "largest gradient norm; 0 for no limit (1)", REAL, AT(clip), 0, ANY, 1, NULL, BOUND},
    {"eval-every", "N", "steps between evaluations; 0 for one at the end (a 20th of the run)", WHOLE,
     AT(eval_every), 0, 4e9, UNSET, NULL, FREE},
    {"eval-batches", "N", "micro-batches in an evaluation (20)", WHOLE, AT(eval_batches), 1, 1 << 30,
     20, NULL, FREE},
    {"sample", "N", "tokens to write at the end; 0 for none (300)", WHOLE, AT(sample), 0, 1 << 20, 300,
     NULL, FREE},
    {"prompt", "TEXT", "how that text begins, for byte data (\"In the beginning\")", TEXT, AT(prompt), 0,
     0, 0, NULL, FREE},
    {"temperature", "X", "of the sample; 0 takes the likeliest token (0.8)", REAL, AT(temperature), 0,
     100, 0.8, NULL, FREE},
    {"save", "DIR", "folder for checkpoints; a run that is stopped leaves one there too", TEXT, AT(save), 0, 0, 0, NULL, FREE},
    {"save-every", "N", "updates between checkpoints; 0 for the end alone (a 20th of the run)", WHOLE,
     AT(save_every), 0, 4e9, UNSET, NULL, FREE},
    {"keep", "N", "newest checkpoints that stay; 0 for all (3)", WHOLE, AT(keep), 0, 1 << 30, 3, NULL, FREE},
    {"resume", "PATH", "go on from a checkpoint, the newest good one of a folder, or auto: of --save", TEXT,
     AT(resume), 0, 0, 0, NULL, FREE},
    {"init", "PATH", "model and first weights of a Llama folder of Hugging Face, or weights of a checkpoint", TEXT,
     AT(init), 0, 0, 0, NULL, FREE},
    {"export", "DIR", "write the trained model as a Hugging Face Llama folder", TEXT, AT(export), 0, 0, 0,
     NULL, FREE},
};
const int option_count = sizeof option_rows / sizeof *option_rows;
_Static_assert(sizeof option_rows / sizeof *option_rows <= 64, "a bit of `given` for each");
