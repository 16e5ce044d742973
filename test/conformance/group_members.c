/* What a group holds: layers made over weights of the host, layers and parameters made by hand. */
#include "conformance/suites.h"

enum { IN = 6, OUT = 5, RANK = 2 };

static relora_tensor *weight(relora_dtype dtype, int64_t out, int64_t in, uint64_t seed)
{
    struct rnd r = rnd_seed(seed);
    relora_tensor *w = new_matrix(dtype, out, in);
    put_normal(w, &r, 0.5);
    return w;
}

static relora_linear_options template(void) /* without anything that tells layers apart */
{
    relora_linear_options o = layer_options(RELORA_MODE_LORA, 0, 0, RANK);
    o.seed = 11;
    return o;
}

/* Is it what relora_linear_create() makes of these options? The draws of A and of a mask say so. */
static void is_like(relora_linear *l, relora_linear_options o, relora_tensor *w)
{
    relora_linear *by_hand = new_linear(&o);
    ck_assert_ptr_eq(relora_linear_param(l, RELORA_PARAM_WEIGHT), w);
    ck_assert_int_eq(relora_linear_get_mode(l), o.mode);
    UNCHANGED(relora_linear_param(l, RELORA_PARAM_A), snapshot(relora_linear_param(by_hand, RELORA_PARAM_A)));
    ck_assert_int_eq(relora_linear_param(l, RELORA_PARAM_BIAS) != NULL, (o.flags & RELORA_LINEAR_BIAS) != 0);
}

/* One options struct for all layers: number, shape, type and bias are filled in for each. */
START_TEST(test_wrap)
{
    relora_group *g = new_group();
    relora_linear_options o = template(), was = o;
    relora_tensor *w[] = {weight(RELORA_F32, OUT, IN, 1), weight(RELORA_BF16, IN, OUT, 2),
                          weight(RELORA_F32, 7, 3, 3)};
    relora_tensor *bias = new_vector(RELORA_F32, 7), *norm = new_vector(RELORA_F32, 4);
    relora_linear *l[3];
    OK(relora_group_wrap(g, "first", w[0], NULL, &o, &l[0]));
    OK(relora_group_add_param(g, "norm", norm, NULL)); /* is no layer, and does not count as one */
    OK(relora_group_wrap(g, "second", w[1], NULL, &o, &l[1]));
    o.in_features = 3, o.out_features = 7; /* may be said, too */
    OK(relora_group_wrap(g, "third", w[2], bias, &o, &l[2]));
    o = was;
    o.in_features = IN, o.out_features = OUT, o.layer = 0;
    is_like(l[0], o, w[0]);
    o.in_features = OUT, o.out_features = IN, o.layer = 1, o.dtype = RELORA_BF16;
    is_like(l[1], o, w[1]);
    o.in_features = 3, o.out_features = 7, o.layer = 2, o.dtype = RELORA_F32, o.flags = RELORA_LINEAR_BIAS;
    is_like(l[2], o, w[2]);
    ck_assert_ptr_eq(relora_linear_param(l[2], RELORA_PARAM_BIAS), bias);
    ck_assert_int_eq(env.lines[RELORA_LOG_WARN], 0);
}
END_TEST

/* The masks of wrapped layers differ, as their numbers do. */
START_TEST(test_masks_differ)
{
    relora_group *g = new_group();
    relora_linear_options o = layer_options(RELORA_MODE_LORA, 0, 0, RANK);
    relora_tensor *x = new_matrix(RELORA_F32, 8, IN),
                  *y[] = {new_matrix(RELORA_F32, 8, OUT), new_matrix(RELORA_F32, 8, OUT)};
    o.dropout = 0.5;
    put_all(x, 1);
    for (int i = 0; i < 2; i++) {
        relora_linear *l;
        OK(relora_group_wrap(g, i ? "b" : "a", weight(RELORA_F32, OUT, IN, 1), NULL, &o, &l));
        put_all(relora_linear_param(l, RELORA_PARAM_A), 1);
        put_all(relora_linear_param(l, RELORA_PARAM_B), 1);
        OK(relora_linear_forward(l, env.st, x, y[i], 3, RELORA_TRAIN));
    }
    ck_assert_int_ne(memcmp(snapshot(y[0]), snapshot(y[1]), bytes_of(y[0])), 0);
}
END_TEST

START_TEST(test_wrap_lowrank)
{
    relora_group *g = new_group();
    relora_linear_options o = layer_options(RELORA_MODE_LOWRANK, IN, OUT, RANK);
    relora_linear *l;
    o.flags = RELORA_LINEAR_BIAS; /* one of its own */
    OK(relora_group_wrap(g, "low", NULL, NULL, &o, &l));
    is_like(l, o, NULL);
    ck_assert_double_eq(largest(get(relora_linear_param(l, RELORA_PARAM_BIAS)), OUT), 0);
}
END_TEST

/* The same members on plain pointers: the bits of a pass, the layer found by its weight, and its target. */
START_TEST(test_pointers)
{
    relora_group *g = new_group(), *other = new_group();
    relora_linear_options o = layer_options(RELORA_MODE_LORA, IN, OUT, RANK);
    struct rnd r = rnd_seed(3);
    float *w = new_floats(2 * OUT * IN + OUT + 8), *b = w + OUT * IN, *p = b + OUT, *target = p + 8;
    relora_tensor *tw = new_matrix(RELORA_F32, OUT, IN), *tb = new_vector(RELORA_F32, OUT);
    relora_tensor *x = new_matrix(RELORA_F32, 4, IN), *y = new_matrix(RELORA_F32, 4, OUT),
                  *want = new_matrix(RELORA_F32, 4, OUT), *all = new_borrowed(2 * OUT * IN + OUT + 8, w);
    relora_linear *l, *plain, *low;
    put_normal(all, &r, 1);
    put_normal(x, &r, 1);
    put(tw, get(all));
    put(tb, get(all) + OUT * IN);
    if (_i) o.flags = RELORA_LINEAR_IN_OUT, tw = new_matrix(RELORA_F32, IN, OUT), put(tw, get(all));
    OK(relora_group_wrap_at(g, "l", w, b, &o, &l));
    OK(relora_group_add_param_at(g, "norm", 4, p, p + 4));
    FAILS(RELORA_E_EXISTS, relora_group_add_param_at(g, "table", 4, p + 7, NULL), "norm");
    o.in_features = o.out_features = 0;
    OK(relora_group_wrap(other, "l", tw, tb, &o, &plain));
    OK(relora_linear_forward(l, env.st, x, y, 0, 0));
    OK(relora_linear_forward(plain, env.st, x, want, 0, 0));
    UNCHANGED(y, snapshot(want));
    ck_assert_ptr_eq(relora_tensor_data(relora_linear_param(l, RELORA_PARAM_BIAS)), b);
    ck_assert_ptr_eq(relora_tensor_data(relora_group_value(g, 1)), p);
    ck_assert_int_eq(relora_tensor_count(relora_group_grad(g, 1)), 4);
    ck_assert_ptr_eq(relora_group_linear_at(g, w), l);
    ck_assert_ptr_null(relora_group_linear_at(g, w + 1));
    ck_assert_ptr_null(relora_group_linear_at(g, p)); /* no layer */
    o = layer_options(RELORA_MODE_LOWRANK, IN, OUT, RANK);
    OK(relora_group_wrap_at(g, "low", NULL, NULL, &o, &low));
    ck_assert_ptr_null(relora_group_linear_at(g, NULL));
    relora_tensor *t;
    OK(relora_tensor_borrow_matrix(&t, env.dev, RELORA_F32, OUT, IN, target));
    OK(relora_linear_set_target(low, t, NULL, NULL));
    relora_tensor_release(t);
    ck_assert_ptr_eq(relora_group_linear_at(g, target), low);
}
END_TEST

START_TEST(test_looking)
{
    relora_group *g = new_group();
    relora_linear_options o = layer_options(RELORA_MODE_LORA, IN, OUT, RANK);
    relora_tensor *p = new_vector(RELORA_F32, 4), *dp = new_vector(RELORA_F32, 4),
                  *frozen = new_vector(RELORA_BF16, 3);
    char name[] = "head";
    int32_t index = -1;
    o.layer = 5;
    relora_linear *l, *made = new_linear(&o);
    ck_assert_int_eq(relora_group_count(g), 0);
    OK(relora_group_wrap(g, name, weight(RELORA_F32, OUT, IN, 1), NULL, &o, &l));
    name[0] = 'x'; /* names are copied */
    OK(relora_group_add_param(g, "norm", p, dp));
    OK(relora_group_add_param(g, "table", frozen, NULL));
    OK(relora_group_add_linear(g, "made", made));
    ck_assert_int_eq(relora_group_count(g), 4);
    static const char *const names[] = {"head", "norm", "table", "made"};
    relora_linear *const linears[] = {l, NULL, NULL, made};
    relora_tensor *const values[] = {NULL, p, frozen, NULL}, *const grads[] = {NULL, dp, NULL, NULL};
    for (int32_t i = 0; i < 4; i++) {
        ck_assert_str_eq(relora_group_name(g, i), names[i]);
        ck_assert_ptr_eq(relora_group_linear(g, i), linears[i]);
        ck_assert_ptr_eq(relora_group_value(g, i), values[i]);
        ck_assert_ptr_eq(relora_group_grad(g, i), grads[i]);
        OK(relora_group_find(g, names[i], &index));
        ck_assert_int_eq(index, i);
    }
}
END_TEST

/* Everything in a group is held by it, and what others hold outlives it. */
START_TEST(test_holds)
{
    struct rnd r = rnd_seed(1);
    relora_group *g;
    relora_tensor *w, *p;
    relora_linear *l;
    relora_linear_options o = template();
    relora_adam *adam = new_adam(NULL);
    OK(relora_group_create(&g, env.dev));
    OK(relora_tensor_create(&w, env.dev, RELORA_F32, 2, (int64_t[]){OUT, IN}));
    OK(relora_tensor_create(&p, env.dev, RELORA_F32, 1, (int64_t[]){3}));
    put_normal(w, &r, 1);
    put_all(p, 2);
    OK(relora_group_wrap(g, "l", w, NULL, &o, &l));
    OK(relora_group_add_param(g, "p", p, NULL));
    relora_tensor_release(w);
    relora_tensor_release(p);
    ck_assert_double_eq(get(relora_group_value(g, 1))[2], 2);
    OK(relora_adam_add_group(adam, g));
    relora_group_release(g);
    OK(relora_linear_zero_grad(l, env.st)); /* the optimizer has it */
    OK(relora_adam_step(adam, env.st, 0.1, 1, NULL));
}
END_TEST

START_TEST(test_twins)
{
    relora_group *g = new_group();
    relora_linear_options o = layer_options(RELORA_MODE_LORA, IN, OUT, RANK);
    OK(relora_group_wrap(g, "wrapped", weight(RELORA_F32, OUT, IN, 1), NULL, &o, NULL)); /* number 0 */
    OK(relora_group_add_linear(g, "made", new_linear(&o)));
    ck_assert_int_eq(env.lines[RELORA_LOG_WARN], 1);
    ck_assert_ptr_nonnull(
        strstr(env.warning, "relora_group_add_linear: layer \"wrapped\" and layer \"made\""));
    OK(relora_group_add_linear(g, "again", new_linear(&o)));
    ck_assert_int_eq(env.lines[RELORA_LOG_WARN], 1); /* one line is enough */
}
END_TEST

/* A failed wrap leaves nothing behind: neither a member nor a hold on the weight. */
START_TEST(test_refused_wrap)
{
    relora_group *g = new_group();
    relora_linear_options o = template();
    relora_tensor *w = weight(RELORA_F32, OUT, IN, 1);
    relora_linear *l, *first;
    OK(relora_group_wrap(g, "a", w, NULL, &o, &first));
    FAILS(RELORA_E_EXISTS, relora_group_wrap(g, "b", w, NULL, &o, &l), "weight", "layer \"a\"");
    ck_assert_ptr_null(l);
    ck_assert_int_eq(relora_group_count(g), 1);
    OK(relora_group_wrap(g, "b", weight(RELORA_F32, OUT, IN, 2), NULL, &o, &l));
    o.in_features = IN, o.out_features = OUT, o.layer = 1;
    is_like(l, o, relora_linear_param(l, RELORA_PARAM_WEIGHT)); /* the refused one took no number */
}
END_TEST

Suite *group_members(void)
{
    Suite *s = suite_create("group members");
    TCase *tc = env_case(s, "members", 20);
    tcase_add_test(tc, test_wrap);
    tcase_add_test(tc, test_masks_differ);
    tcase_add_test(tc, test_wrap_lowrank);
    tcase_add_loop_test(tc, test_pointers, 0, 2);
    tcase_add_test(tc, test_looking);
    tcase_add_test(tc, test_holds);
    tcase_add_test(tc, test_twins);
    tcase_add_test(tc, test_refused_wrap);
    return s;
}
