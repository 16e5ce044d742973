/* What is measured on the CPU and on a device alike: a product, steps of Adam, resets of its moments. */
#include "bench.h"

/* ---- a product: x W^T of a layer in mode FULL ---- */

struct product product_open(const struct bench *bench, relora_dtype dtype, struct shape shape, int64_t tokens)
{
    struct product p = {bench, new_layer(bench, RELORA_MODE_FULL, dtype, shape, 0, 0),
                        new_matrix(bench, dtype, tokens, shape.in),
                        new_matrix(bench, dtype, tokens, shape.out)};
    fill_random(bench, p.x, 1);
    return p;
}

void product_run(void *product)
{
    struct product *p = product;
    CHECK(p->bench, relora_linear_forward(p->layer, p->bench->stream, p->x, p->y, 0, 0));
}

void product_close(struct product *p)
{
    relora_linear_release(p->layer);
    relora_tensor_release(p->x);
    relora_tensor_release(p->y);
}

/* ---- Adam ---- */

/* The optimizer keeps what it was given. */
static void add_param(const struct bench *bench, relora_adam *adam, const char *name, int64_t rows,
                      int64_t cols)
{
    relora_tensor *param = new_matrix(bench, RELORA_F32, rows, cols),
                  *grad = new_matrix(bench, RELORA_F32, rows, cols);
    fill_random(bench, param, 0.02);
    fill_random(bench, grad, 0.01);
    CHECK(bench, relora_adam_add(adam, name, param, grad, NULL));
    relora_tensor_release(param);
    relora_tensor_release(grad);
}

relora_adam *new_adam(const struct bench *bench, int64_t elements, int tensors, double max_norm)
{
    relora_adam_options options;
    relora_adam *adam;
    relora_adam_options_init(&options, sizeof options);
    options.max_norm = max_norm;
    CHECK(bench, relora_adam_create(&adam, bench->device, &options));
    for (int i = 0; i < tensors; i++) {
        char name[16];
        snprintf(name, sizeof name, "p%d", i);
        add_param(bench, adam, name, elements / tensors / 100, 100);
    }
    return adam;
}

/* ---- resets ---- */

struct reset reset_open(const struct bench *bench, int64_t rows, int64_t cols)
{
    struct reset r = {.bench = bench};
    CHECK(bench, relora_adam_create(&r.adam, bench->device, NULL));
    add_param(bench, r.adam, "p", rows, cols);
    r.first = relora_adam_moment(r.adam, 0, RELORA_MOMENT_FIRST);
    r.second = relora_adam_moment(r.adam, 0, RELORA_MOMENT_SECOND);
    r.first_start = new_matrix(bench, RELORA_F32, rows, cols);
    r.second_start = new_matrix(bench, RELORA_F32, rows, cols);
    fill_random(bench, r.first_start, 0.01);
    fill_random(bench, r.second_start, 0.0001);
    return r;
}

void reset_prepare(void *reset)
{
    struct reset *r = reset;
    CHECK(r->bench, relora_tensor_copy(r->first, r->first_start, r->bench->stream));
    CHECK(r->bench, relora_tensor_copy(r->second, r->second_start, r->bench->stream));
}

void reset_run(void *reset)
{
    struct reset *r = reset;
    const int32_t index = 0;
    relora_reset_options options;
    relora_reset_options_init(&options, sizeof options);
    options.flags = r->flags;
    CHECK(r->bench, relora_adam_reset(r->adam, r->bench->stream, &index, 1, &options, NULL));
}

void reset_close(struct reset *r)
{
    relora_tensor_release(r->first_start);
    relora_tensor_release(r->second_start);
    relora_adam_release(r->adam);
}
