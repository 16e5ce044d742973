/* Forward and backward of a layer against the peak and against FULL, and every order of products alone, from
 * which the constants of src/plan.c follow. */
#include "bench_cuda.h"

enum { LAYERS = 3 };
static const struct shape layers[LAYERS] = {{2048, 2048}, {5461, 2048}, {4096, 4096}};

static int64_t tokens_of(const struct cuda *cuda)
{
    return cuda->smoke ? 64 : 16384;
}

struct run {
    const struct bench *bench;
    relora_linear *lora, *full;
    relora_tensor *x, *y, *dx, *dy;
};

/* One work: a layer, which passes of it, and the orders they are forced to take. */
struct pass {
    const struct run *run;
    relora_linear *layer;
    int forward, backward;
    relora_order order;
};

enum {
    AUTO,
    FULL,
    FULL_FORWARD,
    FORWARD_SPLIT,
    FORWARD_FOLD,
    FULL_BACKWARD,
    BACKWARD_SPLIT,
    BACKWARD_FOLD,
    BACKWARD_THROUGH,
    WORKS
};

static void force(void *arg)
{
    struct pass *p = arg;
    relora_order ahead = p->order == RELORA_ORDER_THROUGH ? RELORA_ORDER_AUTO : p->order;
    CHECK(p->run->bench, relora_linear_set_order(p->layer, ahead, p->order));
}

static void run_pass(void *arg)
{
    struct pass *p = arg;
    const struct run *r = p->run;
    relora_stream *stream = r->bench->stream;
    if (p->forward) CHECK(r->bench, relora_linear_forward(p->layer, stream, r->x, r->y, 0, RELORA_TRAIN));
    if (p->backward)
        CHECK(r->bench, relora_linear_backward(p->layer, stream, r->x, r->dy, r->dx, 0,
                                               RELORA_TRAIN | RELORA_OVERWRITE));
}

static struct run open_run(const struct cuda *cuda, struct shape shape, int64_t rank)
{
    const struct bench *bench = &cuda->bench;
    const int64_t tokens = tokens_of(cuda);
    struct run run = {
        .bench = bench,
        .lora = new_layer(bench, RELORA_MODE_LORA, RELORA_BF16, shape, rank, 0),
        .full = new_layer(bench, RELORA_MODE_FULL, RELORA_BF16, shape, 0, 0),
        .x = new_matrix(bench, RELORA_BF16, tokens, shape.in),
        .y = new_matrix(bench, RELORA_BF16, tokens, shape.out),
        .dx = new_matrix(bench, RELORA_BF16, tokens, shape.in),
        .dy = new_matrix(bench, RELORA_BF16, tokens, shape.out),
    };
    fill_random(bench, run.x, 1);
    fill_random(bench, run.dy, 0.01);
    return run;
}

static void close_run(struct run *run)
{
    relora_linear_release(run->lora);
    relora_linear_release(run->full);
    relora_tensor_release(run->x);
    relora_tensor_release(run->y);
    relora_tensor_release(run->dx);
    relora_tensor_release(run->dy);
}

static void measure(const struct cuda *cuda, struct run *run, struct work *works)
{
    const struct pass passes[WORKS] = {
        [AUTO] = {run, run->lora, 1, 1, RELORA_ORDER_AUTO},
        [FULL] = {run, run->full, 1, 1, RELORA_ORDER_AUTO},
        [FULL_FORWARD] = {run, run->full, 1, 0, RELORA_ORDER_AUTO},
        [FORWARD_SPLIT] = {run, run->lora, 1, 0, RELORA_ORDER_SPLIT},
        [FORWARD_FOLD] = {run, run->lora, 1, 0, RELORA_ORDER_FOLD},
        [FULL_BACKWARD] = {run, run->full, 0, 1, RELORA_ORDER_AUTO},
        [BACKWARD_SPLIT] = {run, run->lora, 0, 1, RELORA_ORDER_SPLIT},
        [BACKWARD_FOLD] = {run, run->lora, 0, 1, RELORA_ORDER_FOLD},
        [BACKWARD_THROUGH] = {run, run->lora, 0, 1, RELORA_ORDER_THROUGH},
    };
    struct pass mine[WORKS];
    for (int i = 0; i < WORKS; i++) {
        mine[i] = passes[i];
        works[i] = timed(run_pass, &mine[i]);
        works[i].prepare = force;
    }
    cuda_alternate(cuda, works, WORKS, 3 * cuda->bench.seconds);
}

/* ---- reporting ---- */

static const char *order_name(relora_order order)
{
    return order == RELORA_ORDER_SPLIT ? "SPLIT" : order == RELORA_ORDER_FOLD ? "FOLD" : "THROUGH";
}

/* The chosen orders, and what they cost over the fastest of those measured. */
static void report_choice(const struct run *run, const struct work *works, const char *name)
{
    relora_plan_report plan = {.struct_size = sizeof plan};
    CHECK(run->bench, relora_linear_set_order(run->lora, RELORA_ORDER_AUTO, RELORA_ORDER_AUTO));
    CHECK(run->bench, relora_linear_plan(run->lora, relora_tensor_dim(run->x, 0), RELORA_TRAIN, &plan));
    const struct work *forward = &works[FORWARD_SPLIT + (plan.forward - RELORA_ORDER_SPLIT)];
    const struct work *backward = &works[BACKWARD_SPLIT + (plan.backward - RELORA_ORDER_SPLIT)];
    double best_forward = forward->median, best_backward = backward->median;
    for (int i = FORWARD_SPLIT; i <= FORWARD_FOLD; i++) best_forward = fmin(best_forward, works[i].median);
    for (int i = BACKWARD_SPLIT; i <= BACKWARD_THROUGH; i++)
        best_backward = fmin(best_backward, works[i].median);
    printf("  chosen: %s, %s; over the fastest: %.3f, %.3f\n", order_name(plan.forward),
           order_name(plan.backward), forward->median / best_forward, backward->median / best_backward);
    add_row(forward->median / best_forward, "x", NO_TARGET, LOWER, NO_BOUND,
            "layer bf16 %s, forward: order chosen / fastest", name);
    add_row(backward->median / best_backward, "x", NO_TARGET, LOWER, NO_BOUND,
            "layer bf16 %s, backward: order chosen / fastest", name);
}

/* The `read`, `update` and `fold` of src/plan.c, in multiply-adds for each element, which the times say: with T rows,
 * W [m, n] and times in multiply-adds at the speed of FULL's product,
 *
 *     forward   SPLIT - FULL = T n read + T m update           FOLD - FULL = n m (r + fold)
 *     backward  SPLIT - one product = 2 T (n + m) read + T n update */
static void report_constants(const struct work *works, struct shape shape, double T, double r)
{
    const double m = (double)shape.out, n = (double)shape.in;
    const double speed = T * n * m / works[FULL_FORWARD].median;
    const double ahead = (works[FORWARD_SPLIT].median - works[FULL_FORWARD].median) * speed / T;
    const double back = (works[BACKWARD_SPLIT].median - works[FULL_FORWARD].median) * speed / T;
    const double det = n * n - 2 * m * (n + m);
    const double read = (n * ahead - m * back) / det, update = (n * back - 2 * (n + m) * ahead) / det;
    const double fold = (works[FORWARD_FOLD].median - works[FULL_FORWARD].median) * speed / (n * m) - r;
    printf("  for the planner, multiply-adds per element: read %.0f, update %.0f, fold %.0f\n", read, update,
           fold);
}

/* Seconds that forward and backward take at least, by the peak and the bandwidth that were measured: the products with
 * W by their operations, the four with a factor by their operations or by the bytes they move, whichever takes longer. A
 * layer in mode FULL, r 0, has three with W, one with a fold two. */
static double possible_seconds(const struct cuda *cuda, struct shape shape, double T, double r)
{
    const double m = (double)shape.out, n = (double)shape.in, products = r > 0 ? 2 : 3;
    const double operations = 4 * T * (n + m) * r, bytes = 2 * T * (2 * n + 2 * m + 4 * r);
    return products * 2 * T * n * m / cuda->peak +
           (r > 0 ? fmax(operations / cuda->peak, bytes / cuda->bandwidth) + 2 * n * m * r / cuda->peak : 0);
}

static void report(const struct cuda *cuda, const struct run *run, struct work *works, struct shape shape,
                   int64_t rank)
{
    const double T = (double)tokens_of(cuda), r = (double)rank;
    const double operations = layer_operations(T, shape, r, 0), full = layer_operations(T, shape, 0, 0);
    const double share = operations / works[AUTO].median / cuda->peak;
    const double possible = possible_seconds(cuda, shape, T, r),
                 possible_full = possible_seconds(cuda, shape, T, 0);
    char name[40];
    snprintf(name, sizeof name, "%dx%d", (int)shape.out, (int)shape.in);
    printf("%-10s %8.3f %8.3f %6d  %5.1f%% %7.3f | %7.3f %7.3f %7.3f | %7.3f %7.3f %7.3f %7.3f\n", name,
           1e3 * works[AUTO].best, 1e3 * works[AUTO].median, works[AUTO].rounds, 100 * share,
           ratio(&works[AUTO], &works[FULL]), 1e3 * works[FULL_FORWARD].median,
           1e3 * works[FORWARD_SPLIT].median, 1e3 * works[FORWARD_FOLD].median,
           1e3 * works[FULL_BACKWARD].median, 1e3 * works[BACKWARD_SPLIT].median,
           1e3 * works[BACKWARD_FOLD].median, 1e3 * works[BACKWARD_THROUGH].median);
    add_row(1e3 * works[AUTO].median, "ms", NO_TARGET, LOWER, NO_BOUND, "layer bf16 %s", name);
    add_row(share, "", NO_TARGET, HIGHER, NO_BOUND, "layer bf16 %s, share of the peak", name);
    add_row(possible / works[AUTO].median, "", 0.8, HIGHER, NO_BOUND,
            "layer bf16 %s, share of what is possible", name);
    add_row(ratio(&works[AUTO], &works[FULL]), "", possible / possible_full / 0.9, LOWER, operations / full,
            "layer bf16 %s, time over FULL", name);
    report_choice(run, works, name);
    report_constants(works, shape, T, r);
}

void cuda_bench_layer(struct cuda *cuda)
{
    const int64_t rank = cuda->smoke ? 8 : RANK;
    printf(
        "\nForward and backward of a layer in BF16, rank %d, %d tokens: ms. The share counts the operations of the\n"
        "cheapest exact order; times are medians of alternating rounds\n",
        (int)rank, (int)tokens_of(cuda));
    printf("%-10s %8s %8s %6s %7s %7s | %23s | %31s\n", "out x in", "best", "median", "rounds", "of peak",
           "/ FULL", "forward FULL SPLIT FOLD", "backward FULL SPLIT FOLD THROUGH");
    for (int i = 0; i < LAYERS; i++) {
        struct shape shape = layers[i];
        struct work works[WORKS];
        char name[40];
        if (cuda->smoke) shape = (struct shape){shape.out / 128, shape.in / 128};
        snprintf(name, sizeof name, "%d x %d", (int)shape.out, (int)shape.in);
        if (!cuda_has_time(cuda, 5 * cuda->bench.seconds, name)) continue;
        struct run run = open_run(cuda, shape, rank);
        measure(cuda, &run, works);
        report(cuda, &run, works, shape, rank);
        close_run(&run);
        fflush(stdout);
    }
}
