/* A program of the time of 0.3.0: the order of products, and several layers over one x. */
#include "abi/caller.h"

enum { N = 8, ROWS = 4 };

static relora_linear *layer(uint64_t id, relora_tensor *weight)
{
    GUARDED(relora_linear_options, o);
    relora_linear *l;
    OK(relora_linear_options_init(&o.is, sizeof o.is));
    o.is.in_features = o.is.out_features = N;
    o.is.rank = 2;
    o.is.dropout = 0;
    o.is.layer = id;
    OK(relora_linear_create(&l, dev, &o.is));
    TRUE(o.guard == GUARD);
    OK(relora_linear_set_weight(l, weight, NULL));
    return l;
}

static void orders(relora_linear *l)
{
    GUARDED(relora_plan_report, plan);
    plan.is.struct_size = sizeof plan.is;
    OK(relora_linear_plan(l, ROWS, RELORA_TRAIN, &plan.is));
    TRUE(plan.guard == GUARD && plan.is.struct_size == sizeof plan.is && plan.is.forward_flops > 0);
    OK(relora_linear_set_order(l, RELORA_ORDER_FOLD, RELORA_ORDER_THROUGH));
    OK(relora_linear_plan(l, ROWS, RELORA_TRAIN, &plan.is));
    TRUE(plan.is.forward == RELORA_ORDER_FOLD && plan.is.backward == RELORA_ORDER_THROUGH);
    OK(relora_linear_set_order(l, RELORA_ORDER_AUTO, RELORA_ORDER_AUTO));
    TRUE(relora_linear_set_order(l, RELORA_ORDER_THROUGH, RELORA_ORDER_AUTO) == RELORA_E_ARGUMENT);
}

static void shared(relora_linear *const *layers, float *x, float *y0, float *y1)
{
    relora_tensor *tx = borrow(x, ROWS, N), *ty0 = borrow(y0, ROWS, N), *ty1 = borrow(y1, ROWS, N);
    relora_tensor *const y[2] = {ty0, ty1};
    const relora_tensor *dy[2] = {ty0, ty1}; /* 0.5 took a const from this parameter */
    float alone[ROWS * N];
    relora_tensor *ta = borrow(alone, ROWS, N), *dx = zeros(RELORA_F32, ROWS, N);
    OK(relora_linear_forward_shared(layers, 2, st, tx, y, 3, RELORA_TRAIN));
    for (int i = 0; i < 2; i++) {
        OK(relora_linear_forward(layers[i], st, tx, ta, 3, RELORA_TRAIN));
        for (int j = 0; j < ROWS * N; j++) TRUE(fabsf(alone[j] - (i ? y1 : y0)[j]) <= 1e-6f);
    }
    OK(relora_linear_backward_shared(layers, 2, st, tx, (void *)dy, dx, 3, RELORA_TRAIN));
    relora_tensor *all[] = {tx, ty0, ty1, ta, dx};
    for (int i = 0; i < 5; i++) relora_tensor_release(all[i]);
}

int main(void)
{
    float w0[N * N], w1[N * N], x[ROWS * N], y0[ROWS * N], y1[ROWS * N];
    open_context();
    for (int i = 0; i < N * N; i++) w0[i] = (float)(i % 5) / 8, w1[i] = (float)(i % 7) / 8;
    for (int i = 0; i < ROWS * N; i++) x[i] = (float)(i % 3) - 1;
    relora_tensor *tw0 = borrow(w0, N, N), *tw1 = borrow(w1, N, N);
    relora_linear *layers[2] = {layer(1, tw0), layer(2, tw1)};
    orders(layers[0]);
    shared(layers, x, y0, y1);
    relora_linear_release(layers[0]);
    relora_linear_release(layers[1]);
    relora_tensor_release(tw0);
    relora_tensor_release(tw1);
    return close_context();
}
