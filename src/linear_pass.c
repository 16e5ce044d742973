/* Forward and backward: arguments, the order of products, and the temporaries it needs. */
#include "linear_pass.h"

#include "linear_fold.h"
#include "linear_sketch.h"
#include "linear_split.h"
#include "linear_stack.h"
#include "linear_through.h"

/* ---- arguments ---- */

static relora_status check_matrix(const struct pass *p, const char *name, const relora_tensor *t,
                                  int64_t cols)
{
    const relora_linear_options *o = &p->linear->options;
    char text[SHAPE_TEXT];
    TRY(tensor_check(p->call, t, name));
    if (t->shape.dtype != o->dtype)
        FAIL(p->call, RELORA_E_DTYPE, "%s is %s, but the layer is %s", name, dtype_name(t->shape.dtype),
             dtype_name(o->dtype));
    if (t->shape.cols != cols || t->shape.ndim < 1)
        FAIL(p->call, RELORA_E_SHAPE, "%s is %s, but its last axis must be %lld", name,
             shape_text(&t->shape, text), (long long)cols);
    if (t->shape.rows != p->rows)
        FAIL(p->call, RELORA_E_SHAPE, "%s is %s with %lld rows, but x has %lld", name,
             shape_text(&t->shape, text), (long long)t->shape.rows, (long long)p->rows);
    return RELORA_OK;
}

static relora_status check_apart(const struct pass *p, const char *name, const relora_tensor *t,
                                 const char *other_name, const relora_tensor *other)
{
    if (views_overlap(tensor_view(t), tensor_view(other)))
        FAIL(p->call, RELORA_E_ARGUMENT, "the memory of %s overlaps that of %s", name, other_name);
    return RELORA_OK;
}

static relora_status pass_open(const struct call *c, struct pass *p, relora_linear *linear,
                               const relora_tensor *x, uint64_t call, uint32_t flags, uint32_t known)
{
    char label[LABEL_TEXT];
    const relora_linear_options *o = &linear->options;
    *p = (struct pass){.linear = linear, .call = c};
    if (x) p->rows = x->shape.rows;
    TRY(check_matrix(p, "x", x, o->in_features));
    p->x = tensor_view(x);
    if (flags & ~known) FAIL(c, RELORA_E_ARGUMENT, "flags is 0x%x, and only 0x%x is known", flags, known);
    if (o->mode != RELORA_MODE_LOWRANK && !linear->param[RELORA_PARAM_WEIGHT])
        FAIL(c, RELORA_E_STATE, "%s has no weight; call relora_linear_set_weight",
             linear_label(linear, label));
    TRY(linear_check_memory(c, linear, RELORA_PARAM_WEIGHT));
    p->drops = pass_drops(linear, flags);
    p->adds = (flags & RELORA_ACCUMULATE_Y) != 0;
    p->mask = linear_draw(linear, DRAW_DROPOUT, call);
    p->rounding = linear_draw(linear, DRAW_FOLD, call);
    return RELORA_OK;
}

/* ---- forward ---- */

static relora_status forward_products(const struct pass *p, struct pass_memory *m)
{
    struct view y = p->y;
    const float *bias;
    TRY(pass_bias(p, m, &bias));
    int in_out = linear_in_out(&p->linear->options);
    struct gemm g = {.a = p->x, .tb = !in_out, .c = y, .bias = bias, .accumulate = p->adds};
    if (p->linear->options.mode == RELORA_MODE_LOWRANK) return split_forward(p, m, y, p->adds, bias);
    if (p->order == RELORA_ORDER_FOLD) {
        TRY(fold_weight(p, m));
        g.b = m->folded;
        return pass_product(p, g);
    }
    g.b = pass_param(p, RELORA_PARAM_WEIGHT);
    TRY(pass_product(p, g));
    return pass_has_branch(p->linear) ? split_forward(p, m, y, 1, NULL) : RELORA_OK;
}

relora_status pass_forward_open(const struct call *c, struct pass *p, relora_linear *linear,
                                const relora_tensor *x, const char *y_name, const relora_tensor *y,
                                uint64_t call, uint32_t flags)
{
    TRY(pass_open(c, p, linear, x, call, flags, RELORA_TRAIN | RELORA_ACCUMULATE_Y));
    TRY(check_matrix(p, y_name, y, linear->options.out_features));
    p->y = tensor_view(y);
    return check_apart(p, y_name, y, "x", x);
}

relora_status pass_forward_run(struct passes *all)
{
    struct scratch scratch = {0};
    for (int32_t i = 0; i < all->count; i++) {
        struct pass *p = &all->pass[i];
        struct plan_case c = pass_plan_case(p->linear, p->rows, p->drops, 0);
        p->order = plan_forward(&c, p->linear->forward_order).order;
    }
    stack_plan_forward(all);
    pass_layout_forward(all, &scratch);
    TRY(scratch_open(all->pass[0].call, &scratch));
    pass_layout_forward(all, &scratch);
    TRY(pass_cast(all));
    TRY(stack_u(all));
    for (int32_t i = 0; i < all->count; i++) TRY(forward_products(&all->pass[i], &all->memory[i]));
    return RELORA_OK;
}

relora_status relora_linear_forward(relora_linear *linear, relora_stream *stream, const relora_tensor *x,
                                    relora_tensor *y, uint64_t call, uint32_t flags)
{
    const relora_tensor *first = x ? x : y; /* where a sentence may go */
    struct call c = {.fn = "relora_linear_forward", .ctx = first ? first->ctx : NULL};
    struct passes one = {.count = 1};
    TRY(linear_open(&c, linear, stream));
    TRY(pass_forward_open(&c, &one.pass[0], linear, x, "y", y, call, flags));
    return pass_forward_run(&one);
}

/* ---- backward ---- */

/* dW = g^T x, or its transpose */
static relora_status weight_product(const struct pass *p, struct view g, struct view dw, int accumulate)
{
    int in_out = linear_in_out(&p->linear->options);
    return pass_product(
        p, (struct gemm){
               .a = in_out ? p->x : g, .ta = 1, .b = in_out ? g : p->x, .c = dw, .accumulate = accumulate});
}

/* Add to the gradients, or store them, of W or of A, B and scale; and of the bias. */
static relora_status backward_params(const struct pass *p, struct pass_memory *m, struct view g,
                                     int accumulate)
{
    if (!pass_has_branch(p->linear)) TRY(weight_product(p, g, pass_grad(p, RELORA_PARAM_WEIGHT), accumulate));
    else if (p->order == RELORA_ORDER_THROUGH) TRY(through_backward(p, m, g, accumulate));
    else TRY(split_backward(p, m, g, accumulate));
    const relora_tensor *db = p->linear->grad[RELORA_PARAM_BIAS];
    if (!db) return RELORA_OK;
    return call_queue(p->call, p->call->backend->sum_rows(p->call->queue, db->data, g, accumulate));
}

/* dx = g W + drop'(h A), stored or added */
static relora_status backward_input(const struct pass *p, struct pass_memory *m, struct view g,
                                    struct view dx, int accumulate)
{
    struct gemm product = {
        .a = g, .tb = linear_in_out(&p->linear->options), .c = dx, .accumulate = accumulate};
    if (p->linear->options.mode == RELORA_MODE_LOWRANK) return split_input(p, m, dx, accumulate);
    if (pass_has_branch(p->linear) && p->order != RELORA_ORDER_SPLIT) {
        TRY(fold_weight(p, m));
        product.b = m->folded;
        return pass_product(p, product);
    }
    product.b = pass_param(p, RELORA_PARAM_WEIGHT);
    TRY(pass_product(p, product));
    return pass_has_branch(p->linear) ? split_input(p, m, dx, 1) : RELORA_OK;
}

relora_status pass_backward_open(const struct call *c, struct pass *p, relora_linear *linear,
                                 const relora_tensor *x, const char *dy_name, const relora_tensor *dy,
                                 const relora_tensor *dx, uint64_t call, uint32_t flags)
{
    const uint32_t known = RELORA_TRAIN | RELORA_OVERWRITE | RELORA_ACCUMULATE_DX | RELORA_SKETCH;
    TRY(pass_open(c, p, linear, x, call, flags, known));
    TRY(linear_check_grads(c, linear));
    p->sketches = sketch_wanted(linear, flags);
    linear->sketched |= p->sketches;
    TRY(check_matrix(p, dy_name, dy, p->linear->options.out_features));
    p->y = tensor_view(dy);
    p->wants_dx = dx != NULL;
    if (!dx) return RELORA_OK;
    TRY(check_matrix(p, "dx", dx, p->linear->options.in_features));
    TRY(check_apart(p, "dx", dx, dy_name, dy));
    return check_apart(p, "dx", dx, "x", x);
}

static relora_status backward_products(const struct pass *p, struct pass_memory *m, relora_tensor *dx,
                                       uint32_t flags)
{
    TRY(backward_params(p, m, p->y, !(flags & RELORA_OVERWRITE)));
    if (!dx) return RELORA_OK;
    return backward_input(p, m, p->y, tensor_view(dx), (flags & RELORA_ACCUMULATE_DX) != 0);
}

relora_status pass_backward_run(struct passes *all, relora_tensor *dx, uint32_t flags)
{
    struct scratch scratch = {0};
    int adds = !(flags & RELORA_OVERWRITE);
    for (int32_t i = 0; i < all->count; i++) {
        struct pass *p = &all->pass[i];
        struct plan_case c = pass_plan_case(p->linear, p->rows, p->drops, p->wants_dx);
        p->order = plan_backward(&c, p->linear->backward_order).order;
    }
    stack_plan_backward(all);
    pass_layout_backward(all, &scratch);
    for (int32_t i = 0; i < all->count; i++) sketch_reserve(&all->pass[i], &scratch);
    TRY(scratch_open(all->pass[0].call, &scratch));
    pass_layout_backward(all, &scratch);
    TRY(pass_cast(all));
    TRY(stack_u(all));
    for (int32_t i = 0; i < all->count; i++) {
        TRY(backward_products(&all->pass[i], &all->memory[i], dx, flags));
        flags |= RELORA_ACCUMULATE_DX;
    }
    TRY(stack_a_grads(all, adds));
    for (int32_t i = 0; i < all->count; i++) TRY(sketch_add(&all->pass[i], adds));
    return RELORA_OK;
}

relora_status relora_linear_backward(relora_linear *linear, relora_stream *stream, const relora_tensor *x,
                                     const relora_tensor *dy, relora_tensor *dx, uint64_t call,
                                     uint32_t flags)
{
    const relora_tensor *first = x ? x : dy ? dy : dx; /* where a sentence may go */
    struct call c = {.fn = "relora_linear_backward", .ctx = first ? first->ctx : NULL};
    struct passes one = {.count = 1};
    TRY(linear_open(&c, linear, stream));
    TRY(pass_backward_open(&c, &one.pass[0], linear, x, "dy", dy, dx, call, flags));
    return pass_backward_run(&one, dx, flags);
}

/* ---- the gradient of W alone ---- */

static relora_status check_weight_grad(const struct pass *p, const relora_tensor *x, const relora_tensor *dy,
                                       const relora_tensor *dw)
{
    const relora_linear *linear = p->linear;
    TRY(check_matrix(p, "dy", dy, linear->options.out_features));
    TRY(tensor_check(p->call, dw, "dw"));
    TRY(linear_check_param(p->call, linear, "dw", dw, RELORA_PARAM_WEIGHT, RELORA_F32));
    TRY(check_apart(p, "dw", dw, "x", x));
    TRY(check_apart(p, "dw", dw, "dy", dy));
    for (relora_param i = RELORA_PARAM_WEIGHT; i < PARAM_COUNT; i++)
        if (linear->param[i]) TRY(check_apart(p, "dw", dw, linear_param_name(i), linear->param[i]));
    return RELORA_OK;
}

relora_status relora_linear_weight_grad(relora_linear *linear, relora_stream *stream, const relora_tensor *x,
                                        const relora_tensor *dy, relora_tensor *dw, uint32_t flags)
{
    const relora_tensor *first = x ? x : dy ? dy : dw; /* where a sentence may go */
    struct call c = {.fn = "relora_linear_weight_grad", .ctx = first ? first->ctx : NULL};
    struct pass p;
    TRY(linear_open(&c, linear, stream));
    TRY(pass_open(&c, &p, linear, x, 0, flags, RELORA_OVERWRITE));
    TRY(check_weight_grad(&p, x, dy, dw));
    return weight_product(&p, tensor_view(dy), tensor_view(dw), !(flags & RELORA_OVERWRITE));
}
