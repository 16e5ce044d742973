/* A layer made in one call is the one that relora_linear_create and relora_linear_set_weight make. */
#include "conformance/orders.h"

enum { IN = 12, OUT = 10, ROWS = 6, RANK = 3 };

static const struct kind {
    relora_linear_mode mode;
    relora_dtype dtype, bias; /* 0: none */
    uint32_t flags;
} kinds[] = {
    {RELORA_MODE_LORA, RELORA_F32, 0, 0},
    {RELORA_MODE_LORA, RELORA_F32, RELORA_F32, RELORA_LINEAR_TRAINABLE_SCALE},
    {RELORA_MODE_LORA, RELORA_BF16, RELORA_BF16, RELORA_LINEAR_KEEP_DELTA},
    {RELORA_MODE_LORA, RELORA_BF16, 0, RELORA_LINEAR_BIAS},
    {RELORA_MODE_FULL, RELORA_F32, 0, RELORA_LINEAR_IN_OUT},
    {RELORA_MODE_FULL, RELORA_BF16, RELORA_F32, RELORA_LINEAR_IN_OUT},
    {RELORA_MODE_LOWRANK, RELORA_F32, RELORA_F32, 0},
    {RELORA_MODE_LOWRANK, RELORA_BF16, RELORA_BF16, 0},
};
enum { KINDS = sizeof kinds / sizeof *kinds };

static relora_linear *made(const struct kind *k, const relora_linear_options *o, relora_tensor *w,
                           relora_tensor *bias)
{
    relora_linear_options own = *o;
    own.dtype = k->dtype, own.in_features = IN, own.out_features = OUT;
    if (bias) own.flags |= RELORA_LINEAR_BIAS;
    relora_linear *l = new_linear(&own);
    if (w || bias) OK(relora_linear_set_weight(l, w, bias));
    return l;
}

static struct bench bench_of(const struct kind *k, relora_linear *l)
{
    struct rnd r = rnd_seed(8);
    struct bench b = {.l = l,
                      .x = new_matrix(k->dtype, ROWS, IN),
                      .y = new_matrix(k->dtype, ROWS, OUT),
                      .dy = new_matrix(k->dtype, ROWS, OUT),
                      .dx = new_matrix(k->dtype, ROWS, IN)};
    put_normal(b.x, &r, 1);
    put_normal(b.dy, &r, 1);
    if (relora_linear_param(l, RELORA_PARAM_B)) put_normal(relora_linear_param(l, RELORA_PARAM_B), &r, 1);
    return b;
}

START_TEST(test_same_layer)
{
    const struct kind *k = &kinds[_i];
    struct rnd r = rnd_seed(7);
    int turned = (k->flags & RELORA_LINEAR_IN_OUT) != 0, low = k->mode == RELORA_MODE_LOWRANK;
    relora_linear_options o = layer_options(k->mode, low ? IN : 0, low ? OUT : 0, RANK);
    relora_tensor *w = low ? NULL : new_matrix(k->dtype, turned ? IN : OUT, turned ? OUT : IN);
    relora_tensor *bias = k->bias ? new_vector(k->bias, OUT) : NULL;
    relora_linear *l;
    o.flags = k->flags, o.seed = 3, o.layer = 41, o.dropout = 0.25;
    if (low) o.dtype = k->dtype;
    if (w) put_normal(w, &r, 1);
    if (bias) put_normal(bias, &r, 1);
    const relora_linear_options before = o;
    OK(relora_linear_wrap(&l, env.dev, w, bias, &o));
    defer((void (*)(void *))relora_linear_release, l);
    ck_assert_int_eq(memcmp(&o, &before, sizeof o), 0);
    ck_assert_ptr_eq(relora_linear_param(l, RELORA_PARAM_WEIGHT), w);
    if (bias) ck_assert_ptr_eq(relora_linear_param(l, RELORA_PARAM_BIAS), bias);
    struct bench one = bench_of(k, l), two = bench_of(k, made(k, &o, w, bias));
    struct bits a = bits_of(&one, RELORA_ORDER_AUTO, RELORA_ORDER_AUTO, RELORA_TRAIN);
    struct bits b = bits_of(&two, RELORA_ORDER_AUTO, RELORA_ORDER_AUTO, RELORA_TRAIN);
    same_bits(&a, &b);
}
END_TEST

/* The tensors live on with the layer, and go with it. */
START_TEST(test_ownership)
{
    relora_linear_options o = layer_options(RELORA_MODE_LORA, 0, 0, RANK);
    relora_tensor *w;
    relora_linear *l;
    OK(relora_tensor_create(&w, env.dev, RELORA_F32, 2, (int64_t[]){OUT, IN}));
    OK(relora_linear_wrap(&l, env.dev, w, NULL, &o));
    relora_tensor_release(w);
    put_all(relora_linear_param(l, RELORA_PARAM_WEIGHT), 1);
    relora_linear_release(l);
}
END_TEST

Suite *linear_wrap_suite(void)
{
    Suite *s = suite_create("linear in one call");
    TCase *tc = env_case(s, "linear_wrap", 20);
    tcase_add_loop_test(tc, test_same_layer, 0, KINDS);
    tcase_add_test(tc, test_ownership);
    return s;
}
