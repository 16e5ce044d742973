/* Is the order of products that the library chooses the fastest? Every order is forced in turn, over a
 * grid of shapes; the chosen one's time over the fastest's. */
#include "bench.h"
#include <stdlib.h>

enum { ORDERS = 3, MAX_CELLS = 2000 };
static const char *const order_names[] = {"auto", "auto", "split", "fold", "through"};

struct cell {
    relora_dtype dtype;
    struct shape shape;
    int64_t rank, tokens;
    int backward;
    relora_order chosen, fastest;
    double ms, slowdown;  /* of the chosen; its time over that of the fastest */
    double times[ORDERS]; /* ms of each order; 0 if it was left out */
};

struct pass {
    const struct bench *bench;
    relora_linear *layer;
    relora_tensor *x, *y, *dx, *dy;
    relora_order order;
};

static void forward(void *arg)
{
    struct pass *p = arg;
    CHECK(p->bench, relora_linear_forward(p->layer, p->bench->stream, p->x, p->y, 0, RELORA_TRAIN));
}

static void backward(void *arg)
{
    struct pass *p = arg;
    CHECK(p->bench, relora_linear_backward(p->layer, p->bench->stream, p->x, p->dy, p->dx, 0,
                                           RELORA_TRAIN | RELORA_OVERWRITE));
}

static void force(void *arg)
{
    struct pass *p = arg;
    relora_order ahead = p->order == RELORA_ORDER_THROUGH ? RELORA_ORDER_AUTO : p->order;
    CHECK(p->bench, relora_linear_set_order(p->layer, ahead, p->order));
}

/* Operations of a pass in the order that is forced. */
static double operations(struct pass *p, int is_backward)
{
    relora_plan_report plan = {.struct_size = sizeof plan};
    force(p);
    CHECK(p->bench, relora_linear_plan(p->layer, relora_tensor_dim(p->x, 0), RELORA_TRAIN, &plan));
    return is_backward ? plan.backward_flops : plan.forward_flops;
}

/* Orders that need twice as much as the cheapest cannot win and are left out. */
static void compare(struct cell *cell, const struct pass *pass, double seconds)
{
    struct pass passes[ORDERS];
    struct work works[ORDERS], *best = works;
    double needs[ORDERS], least = (double)INFINITY;
    int orders = cell->backward ? 3 : 2, count = 0;
    for (int i = 0; i < orders; i++) {
        passes[i] = *pass;
        passes[i].order = RELORA_ORDER_SPLIT + i;
        needs[i] = operations(&passes[i], cell->backward);
        if (needs[i] < least) least = needs[i];
    }
    for (int i = 0; i < orders; i++) {
        if (passes[i].order != cell->chosen && needs[i] > 2 * least) continue;
        works[count] = timed(cell->backward ? backward : forward, &passes[i]);
        works[count++].prepare = force;
    }
    alternate(works, count, seconds);
    for (int i = 1; i < count; i++)
        if (works[i].best < best->best) best = &works[i];
    for (int i = 0; i < count; i++)
        cell->times[((const struct pass *)works[i].arg)->order - RELORA_ORDER_SPLIT] = 1e3 * works[i].best;
    cell->fastest = ((const struct pass *)best->arg)->order;
    cell->ms = cell->times[cell->chosen - RELORA_ORDER_SPLIT];
    cell->slowdown = cell->ms / (1e3 * best->best);
}

/* Both directions of one layer and number of tokens. What looks slow is looked at again, longer. */
static int measure_cells(const struct bench *bench, struct cell *cells, struct cell cell, double seconds)
{
    struct pass pass = {
        .bench = bench,
        .layer = new_layer(bench, RELORA_MODE_LORA, cell.dtype, cell.shape, cell.rank, 0),
        .x = new_matrix(bench, cell.dtype, cell.tokens, cell.shape.in),
        .y = new_matrix(bench, cell.dtype, cell.tokens, cell.shape.out),
        .dx = new_matrix(bench, cell.dtype, cell.tokens, cell.shape.in),
        .dy = new_matrix(bench, cell.dtype, cell.tokens, cell.shape.out),
    };
    relora_plan_report plan = {.struct_size = sizeof plan};
    fill_random(bench, pass.x, 1);
    fill_random(bench, pass.dy, 0.01);
    CHECK(bench, relora_linear_plan(pass.layer, cell.tokens, RELORA_TRAIN, &plan));
    for (int i = 0; i < 2; i++) {
        cells[i] = cell;
        cells[i].backward = i;
        cells[i].chosen = i ? plan.backward : plan.forward;
        compare(&cells[i], &pass, seconds);
        if (cells[i].slowdown > 1.05) compare(&cells[i], &pass, 4 * seconds);
    }
    relora_linear_release(pass.layer);
    relora_tensor_release(pass.x);
    relora_tensor_release(pass.y);
    relora_tensor_release(pass.dx);
    relora_tensor_release(pass.dy);
    return 2;
}

/* One line for each case: what src/plan.c's costs are fitted to. */
static void write_cases(const char *path, const struct cell *cells, int count)
{
    FILE *file = fopen(path, "w");
    if (!file) perror(path), exit(1);
    fprintf(file, "# dtype tokens out in rank direction chosen, ms of split, fold and through\n");
    for (int i = 0; i < count; i++) {
        const struct cell *c = &cells[i];
        fprintf(file, "%s %d %d %d %d %s %s %.5g %.5g %.5g\n", dtype_name(c->dtype), (int)c->tokens,
                (int)c->shape.out, (int)c->shape.in, (int)c->rank, c->backward ? "backward" : "forward",
                order_names[c->chosen], c->times[0], c->times[1], c->times[2]);
    }
    if (fclose(file)) perror(path), exit(1);
}

static int by_slowdown(const void *a, const void *b)
{
    double x = ((const struct cell *)a)->slowdown, y = ((const struct cell *)b)->slowdown;
    return (x < y) - (x > y);
}

static void report(struct cell *cells, int count)
{
    int over = 0;
    qsort(cells, (size_t)count, sizeof *cells, by_slowdown);
    while (over < count && cells[over].slowdown > 1.05) over++;
    printf("  %d of %d more than 5 %% slower than the fastest; worst %.3f, 95th percentile %.3f\n", over,
           count, cells[0].slowdown, cells[count / 20].slowdown);
    for (int i = 0; i < over; i++) {
        const struct cell *c = &cells[i];
        printf("  %-4s %5d tokens %4d x %-4d rank %-3d %-8s %-7s is %.3f of %-7s (%.3f ms)\n",
               dtype_name(c->dtype), (int)c->tokens, (int)c->shape.out, (int)c->shape.in, (int)c->rank,
               c->backward ? "backward" : "forward", order_names[c->chosen], c->slowdown,
               order_names[c->fastest], c->ms);
    }
    add_row(cells[0].slowdown, "x", 1.05, LOWER, NO_BOUND, "order chosen / fastest order, worst of %d",
            count);
    add_row(cells[count / 20].slowdown, "x", 1.05, LOWER, NO_BOUND,
            "order chosen / fastest, 95th percentile");
    add_row(over, "cases", NO_TARGET, LOWER, NO_BOUND, "order chosen / fastest above 1.05");
}

static void grid(const struct bench *bench, const struct shape *layers, int layer_count, double seconds)
{
    static const int64_t ranks[] = {8, 32, 128, 512}, tokens[] = {64, 256, 1024, 4096};
    static struct cell cells[MAX_CELLS];
    const int times = bench->quick ? 3 : 4, all = 2 * layer_count * 4 * times;
    int count = 0;
    printf("\nThe order of products that is chosen, against every order\n");
    for (int i = bench->part - 1; i < all; i += bench->parts) {
        const int layer = i / times / 4 % layer_count;
        count += measure_cells(bench, &cells[count],
                               (struct cell){.dtype = i < all / 2 ? RELORA_F32 : RELORA_BF16,
                                             .shape = layers[layer],
                                             .rank = ranks[i / times % 4],
                                             .tokens = tokens[i % times]},
                               seconds);
    }
    if (bench->cases) write_cases(bench->cases, cells, count);
    report(cells, count);
}

void bench_plan(const struct bench *bench)
{
    static const struct shape layers[] = {{384, 384}, {512, 1376}, {1024, 1024}, {2048, 768}};
    grid(bench, layers, bench->quick ? 2 : 4, 0.01 * bench->seconds);
}

void bench_plan_long(const struct bench *bench)
{
    static const struct shape layers[] = {{384, 384},  {1024, 384},  {384, 1024}, {512, 512},
                                          {1376, 512}, {512, 1376},  {768, 768},  {2048, 768},
                                          {768, 2048}, {1024, 1024}, {2048, 2048}};
    grid(bench, layers, 11, 0.1 * bench->seconds);
}
