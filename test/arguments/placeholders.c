/* Tensors borrowed with NULL, in the place of every argument and every part of an object: RELORA_E_STATE with what it
 * is, and nothing has changed; with memory, the call succeeds. */
#include <stdio.h>
#include "arguments/arguments.h"

enum { ROWS = 2, IN = 5, OUT = 3, RANK = 2, N = 6 };

static relora_tensor *hollow(relora_dtype dtype, int32_t ndim, int64_t rows, int64_t cols)
{
    relora_tensor *t;
    OK(relora_tensor_borrow(&t, env.dev, dtype, ndim, ndim == 1 ? &cols : (int64_t[]){rows, cols}, NULL, NULL,
                            NULL, NULL));
    defer((void (*)(void *))relora_tensor_release, t);
    ck_assert_ptr_null(relora_tensor_data(t));
    return t;
}

/* What the layer or the optimizer has, but without memory. */
static relora_tensor *hollow_like(const relora_tensor *t)
{
    int32_t ndim = relora_tensor_ndim(t);
    return hollow(relora_tensor_dtype(t), ndim, relora_tensor_dim(t, 0), relora_tensor_dim(t, ndim - 1));
}

static void fill(relora_tensor *t) { OK(relora_tensor_set_data(t, new_floats(relora_tensor_count(t)))); }

#define HOLLOW(call, role) FAILS(RELORA_E_STATE, call, role " has no memory yet; call relora_tensor_set_data")

START_TEST(test_tensor)
{
    float values[N] = {0};
    relora_tensor *t = hollow(RELORA_F32, 1, 1, N), *other = new_vector(RELORA_F32, N);
    struct DLManagedTensorVersioned *managed = POISON;
    HOLLOW(relora_tensor_write(t, env.st, values, sizeof values), "tensor");
    HOLLOW(relora_tensor_read(t, env.st, values, sizeof values), "tensor");
    HOLLOW(relora_tensor_fill(t, env.st, 1), "tensor");
    HOLLOW(relora_tensor_copy(t, other, env.st), "target");
    HOLLOW(relora_tensor_copy(other, t, env.st), "source");
    HOLLOW(relora_tensor_to_dlpack(&managed, t, NULL, NULL), "tensor");
    ck_assert_ptr_null(managed);
    HOLLOW(relora_tensor_to_dlpack(&managed, t, env.st, NULL), "tensor");
    fill(t);
    OK(relora_tensor_write(t, env.st, values, sizeof values));
    OK(relora_tensor_copy(other, t, env.st));
}
END_TEST

static int deleted;
static void *deleted_user, *deleted_data;
static void delete_one(void *user, void *data) { deleted++, deleted_user = user, deleted_data = data; }

/* The deleter is called for NULL as for any other memory: `user` may be all that there is to give back. */
START_TEST(test_deleter)
{
    float *six = new_floats(N);
    relora_tensor *t;
    int64_t n = N;
    for (int how = 0; how < 3; how++) {
        deleted = 0;
        OK(relora_tensor_borrow(&t, env.dev, RELORA_F32, 1, &n, NULL, NULL, delete_one, &n));
        if (how == 1) OK(relora_tensor_set_data(t, six));
        if (how == 2) OK(relora_tensor_set_data_owned(t, six, NULL, NULL));
        ck_assert_int_eq(deleted, how > 0);
        if (how) ck_assert_ptr_null(deleted_data);
        relora_tensor_release(t);
        ck_assert_int_eq(deleted, how == 1 ? 2 : 1);
        ck_assert_ptr_eq(deleted_user, &n);
        ck_assert_ptr_eq(deleted_data, how == 1 ? six : NULL);
    }
}
END_TEST

/* ---- layers ---- */

static relora_linear *layer(relora_linear_mode mode)
{
    static uint64_t number;
    struct rnd r = rnd_seed(1);
    relora_linear_options o = layer_options(mode, IN, OUT, RANK);
    o.flags = RELORA_LINEAR_BIAS | RELORA_LINEAR_TRAINABLE_SCALE;
    if (mode == RELORA_MODE_LORA) o.flags |= RELORA_LINEAR_KEEP_DELTA;
    o.layer = number++;
    return new_filled_linear(&o, &r);
}

START_TEST(test_activations)
{
    relora_linear *l = layer(RELORA_MODE_LORA);
    relora_tensor *x = new_matrix(RELORA_F32, ROWS, IN), *y = new_matrix(RELORA_F32, ROWS, OUT);
    relora_tensor *dx = new_matrix(RELORA_F32, ROWS, IN), *no_x = hollow_like(x), *no_y = hollow_like(y);
    relora_tensor *all[] = {x, y, dx};
    for (int i = 0; i < 3; i++) put_all(all[i], 1);
    HOLLOW(relora_linear_forward(l, env.st, no_x, y, 0, 0), "x");
    HOLLOW(relora_linear_forward(l, env.st, x, no_y, 0, 0), "y");
    HOLLOW(relora_linear_backward(l, env.st, no_x, y, dx, 0, 0), "x");
    HOLLOW(relora_linear_backward(l, env.st, x, no_y, dx, 0, 0), "dy");
    HOLLOW(relora_linear_backward(l, env.st, x, y, no_x, 0, 0), "dx");
    relora_linear *both[] = {l, layer(RELORA_MODE_LORA)};
    relora_tensor *ys[] = {y, no_y};
    void *before = snapshot(y);
    HOLLOW(relora_linear_forward_shared(both, 2, env.st, x, ys, 0, 0), "y[1]");
    HOLLOW(relora_linear_backward_shared(both, 2, env.st, x, ys, dx, 0, 0), "dy[1]");
    UNCHANGED(y, before);
    relora_tensor *no_dw = hollow(RELORA_F32, 2, OUT, IN);
    HOLLOW(relora_linear_weight_grad(l, env.st, x, y, no_dw, 0), "dw");
    HOLLOW(relora_linear_full_rank_step(l, env.st, no_dw, 0.1, 1, NULL), "grad");
    fill(no_x), fill(no_y);
    OK(relora_linear_forward(l, env.st, no_x, no_y, 0, 0));
    OK(relora_linear_backward(l, env.st, x, y, no_x, 0, 0));
}
END_TEST

static const char *const param_names[] = {NULL,     "weight", "bias", "lora_A.weight", "lora_B.weight",
                                          "scaling"};

/* "bias of layer 3", or with "the gradient of " before it, in `text`. */
static const char *role_of(char text[128], const char *what, relora_param p, const char *layer_text)
{
    snprintf(text, 128, "%s%s of %s has no memory yet", what, param_names[p], layer_text);
    return text;
}

START_TEST(test_params)
{
    relora_param p = _i;
    char role[128];
    relora_linear *l = layer(RELORA_MODE_LORA);
    relora_group *g = new_group();
    relora_tensor *t = hollow_like(relora_linear_param(l, p));
    relora_tensor *x = new_matrix(RELORA_F32, ROWS, IN), *y = new_matrix(RELORA_F32, ROWS, OUT);
    relora_state *state;
    put_all(x, 1);
    if (p == RELORA_PARAM_WEIGHT) OK(relora_linear_set_weight(l, t, NULL));
    else OK(relora_linear_set_param(l, p, t));
    OK(relora_group_add_linear(g, "other", layer(RELORA_MODE_LORA)));
    OK(relora_group_add_linear(g, "head", l));
    relora_linear *other = relora_group_linear(g, 0);
    void *w = snapshot(relora_linear_param(other, RELORA_PARAM_WEIGHT)),
         *a = snapshot(relora_linear_param(other, RELORA_PARAM_A));
    OK(relora_state_create(&state, env.ctx));
    OK(relora_state_add_group(state, g));
    role_of(role, "", p, "layer \"head\"");
    FAILS(RELORA_E_STATE, relora_linear_forward(l, env.st, x, y, 0, 0), role);
    FAILS(RELORA_E_STATE, relora_linear_forward_at(l, env.st, 1, x, IN, y, OUT, 0, 0), role);
    FAILS(RELORA_E_STATE, relora_linear_backward(l, env.st, x, y, NULL, 0, 0), role);
    FAILS(RELORA_E_STATE, relora_linear_merge(l, env.st, 1, NULL), role);
    FAILS(RELORA_E_STATE, relora_group_merge(g, env.st, 1, NULL), role);
    FAILS(RELORA_E_STATE, relora_linear_weight_grad(l, env.st, x, y, new_matrix(RELORA_F32, OUT, IN), 0),
          role);
    FAILS(RELORA_E_STATE,
          relora_linear_full_rank_step(l, env.st, new_matrix(RELORA_F32, OUT, IN), 0.1, 1, NULL), role);
    FAILS(RELORA_E_STATE, relora_state_save(state, env.st, "/nowhere/x", 0), param_names[p]);
    FAILS(RELORA_E_STATE, relora_state_export_merged(state, env.st, "/nowhere/x"), role);
    if (p >= RELORA_PARAM_A) {
        FAILS(RELORA_E_STATE, relora_linear_reset(l, env.st, 1), role);
        FAILS(RELORA_E_STATE, relora_group_reset(g, env.st, 1), role);
        FAILS(RELORA_E_STATE, relora_state_export_adapter(state, env.st, "/nowhere", ""),
              p == RELORA_PARAM_SCALE ? "scale" : param_names[p]);
    }
    UNCHANGED(relora_linear_param(other, RELORA_PARAM_WEIGHT), w);
    UNCHANGED(relora_linear_param(other, RELORA_PARAM_A), a);
    relora_state_release(state);
    fill(t);
    OK(relora_linear_forward(l, env.st, x, y, 0, 0));
    OK(relora_group_merge(g, env.st, 1, NULL));
    OK(relora_group_reset(g, env.st, 1));
}
END_TEST

START_TEST(test_grads)
{
    char role[128];
    relora_linear *l = layer(_i == RELORA_PARAM_WEIGHT ? RELORA_MODE_FULL : RELORA_MODE_LORA);
    relora_group *g = new_group();
    relora_tensor *t = hollow_like(relora_linear_grad(l, _i));
    relora_tensor *x = new_matrix(RELORA_F32, ROWS, IN), *y = new_matrix(RELORA_F32, ROWS, OUT);
    put_all(x, 1), put_all(y, 1);
    OK(relora_linear_set_grad(l, _i, t));
    OK(relora_group_add_linear(g, "other", layer(RELORA_MODE_LORA)));
    OK(relora_group_add_linear(g, "head", l));
    relora_tensor *other = relora_linear_grad(relora_group_linear(g, 0), RELORA_PARAM_A);
    put_all(other, 3);
    void *before = snapshot(other);
    role_of(role, "the gradient of ", _i, "layer \"head\"");
    FAILS(RELORA_E_STATE, relora_linear_backward(l, env.st, x, y, NULL, 0, 0), role);
    FAILS(RELORA_E_STATE, relora_linear_backward_at(l, env.st, 1, x, IN, y, OUT, NULL, 0, 0, 0), role);
    FAILS(RELORA_E_STATE, relora_linear_zero_grad(l, env.st), role);
    FAILS(RELORA_E_STATE, relora_group_zero_grad(g, env.st), role);
    UNCHANGED(other, before);
    OK(relora_linear_forward(l, env.st, x, y, 0, 0)); /* needs none */
    fill(t);
    OK(relora_group_zero_grad(g, env.st));
    OK(relora_linear_backward(l, env.st, x, y, NULL, 0, 0));
}
END_TEST

/* Two without memory share none; the end of a warm start does not need W. */
START_TEST(test_weight_and_bias)
{
    relora_linear_options o = layer_options(RELORA_MODE_FULL, IN, OUT, RANK);
    o.flags = RELORA_LINEAR_BIAS;
    relora_linear *l = new_linear(&o);
    relora_group *g = new_group();
    OK(relora_linear_set_weight(l, hollow(RELORA_F32, 2, OUT, IN), hollow(RELORA_F32, 1, 1, OUT)));
    OK(relora_linear_set_grad(l, RELORA_PARAM_WEIGHT, hollow(RELORA_F32, 2, OUT, IN)));
    OK(relora_group_add_linear(g, "l", l));
    OK(relora_group_add_param(g, "p", hollow(RELORA_F32, 1, 1, N), hollow(RELORA_F32, 1, 1, N)));
    HOLLOW(relora_group_zero_grad(g, env.st), "the gradient of weight of layer \"l\"");
    OK(relora_group_set_mode(g, env.st, RELORA_MODE_LORA));
    HOLLOW(relora_group_zero_grad(g, env.st), "the gradient of \"p\"");
    HOLLOW(relora_group_merge(g, env.st, 1, NULL), "weight of layer \"l\"");
}
END_TEST

/* The gradient that a new A is made of, at the end of a warm start or at a restart; no other gradient is needed there. */
START_TEST(test_gradient_init)
{
    relora_param p = _i ? RELORA_PARAM_A : RELORA_PARAM_WEIGHT;
    relora_linear_options o = layer_options(_i ? RELORA_MODE_LORA : RELORA_MODE_FULL, IN, OUT, RANK);
    struct rnd r = rnd_seed(1);
    relora_group *g = new_group();
    relora_cycle_options co = cycle_options(2, 0);
    relora_cycle *cycle = new_cycle(&co, NULL, NULL);
    char role[128];
    o.flags = RELORA_LINEAR_BIAS, o.init = RELORA_INIT_GRADIENT;
    relora_linear *l = new_filled_linear(&o, &r);
    relora_tensor *t = hollow_like(relora_linear_grad(l, p));
    OK(relora_linear_set_grad(l, p, t));
    OK(relora_linear_set_grad(l, RELORA_PARAM_BIAS, hollow(RELORA_F32, 1, 1, OUT)));
    OK(relora_group_add_linear(g, "l", l));
    OK(relora_cycle_add(cycle, l));
    void *w = snapshot(relora_linear_param(l, RELORA_PARAM_WEIGHT));
    role_of(role, "the gradient of ", p, "layer \"l\"");
    if (_i) {
        FAILS(RELORA_E_STATE, relora_linear_reset(l, env.st, 1), role);
        FAILS(RELORA_E_STATE, relora_group_reset(g, env.st, 1), role);
        FAILS(RELORA_E_STATE, relora_cycle_advance(cycle, env.st, 3, NULL, NULL, NULL), role);
    } else {
        FAILS(RELORA_E_STATE, relora_linear_set_mode(l, env.st, RELORA_MODE_LORA), role);
        FAILS(RELORA_E_STATE, relora_group_set_mode(g, env.st, RELORA_MODE_LORA), role);
        ck_assert_int_eq(relora_linear_get_mode(l), RELORA_MODE_FULL);
    }
    UNCHANGED(relora_linear_param(l, RELORA_PARAM_WEIGHT), w);
    fill(t);
    if (!_i) OK(relora_group_set_mode(g, env.st, RELORA_MODE_LORA));
    OK(relora_cycle_advance(cycle, env.st, 3, NULL, NULL, NULL));
}
END_TEST

/* ---- optimizers and cycles ---- */

START_TEST(test_adam)
{
    static const char *const roles[] = {"param", "grad", "first", "second"};
    relora_tensor *host[4];
    relora_adam *adam = new_adam(NULL);
    relora_reset_options o = reset_options(RELORA_RESET_ZERO, 0, 0);
    char role[64];
    double norm;
    struct rnd r = rnd_seed(1);
    relora_tensor *p, *g;
    add_vector(adam, "before", N, &r, &p, &g);
    void *was = snapshot(p), *grad_was = snapshot(g);
    for (int i = 0; i < 4; i++)
        host[i] = i == _i ? hollow(RELORA_F32, 1, 1, N) : new_borrowed(N, new_floats(N));
    OK(relora_adam_add_moments(adam, "p", host[0], host[1], host[2], host[3], NULL));
    snprintf(role, sizeof role, "%s of \"p\" has no memory yet", roles[_i]);
    FAILS(RELORA_E_STATE, relora_adam_step(adam, env.st, 0.1, 1, NULL), role);
    FAILS(RELORA_E_STATE, relora_adam_grad_norm(adam, env.st, &norm), role);
    if (_i == 1) FAILS(RELORA_E_STATE, relora_adam_zero_grad(adam, env.st), role);
    if (_i > 1) FAILS(RELORA_E_STATE, relora_adam_reset(adam, env.st, (int32_t[]){0, 1}, 2, &o, NULL), role);
    UNCHANGED(p, was);
    UNCHANGED(g, grad_was);
    fill(host[_i]);
    OK(relora_adam_step(adam, env.st, 0.1, 1, NULL));
    HOLLOW(relora_adam_step_lr(adam, env.st, hollow(RELORA_F32, 1, 1, 1), 1, NULL), "lr");
}
END_TEST

static void count_call(void *user, int64_t step, uint32_t events)
{
    (void)step, (void)events;
    ++*(int *)user;
}

/* Moments that cannot be reset keep the cycle from merging. */
START_TEST(test_cycle)
{
    relora_linear *l = layer(RELORA_MODE_LORA);
    relora_adam *adam = new_adam(NULL);
    relora_cycle_options o = cycle_options(2, 0);
    int calls = 0;
    o.before = count_call, o.hook_user = &calls;
    OK(relora_adam_add_linear(adam, "l", l));
    relora_tensor *moments[2];
    for (int i = 0; i < 2; i++) moments[i] = new_matrix(RELORA_F32, RANK, IN);
    moments[_i] = hollow(RELORA_F32, 2, RANK, IN);
    OK(relora_adam_set_moments(adam, 0, moments[0], moments[1]));
    relora_cycle *cycle = new_cycle(&o, adam, NULL);
    OK(relora_cycle_add(cycle, l));
    void *w = snapshot(relora_linear_param(l, RELORA_PARAM_WEIGHT));
    void *a = snapshot(relora_linear_param(l, RELORA_PARAM_A));
    FAILS(RELORA_E_STATE, relora_cycle_advance(cycle, env.st, 3, NULL, NULL, NULL),
          _i ? "second of \"l.lora_A.weight\" has no memory" : "first of \"l.lora_A.weight\" has no memory");
    UNCHANGED(relora_linear_param(l, RELORA_PARAM_WEIGHT), w);
    UNCHANGED(relora_linear_param(l, RELORA_PARAM_A), a);
    ck_assert_int_eq(calls, 0);
    fill(moments[_i]);
    OK(relora_cycle_advance(cycle, env.st, 3, NULL, NULL, NULL));
    ck_assert_int_eq(calls, 1);
}
END_TEST

/* ---- functions on tensors ---- */

START_TEST(test_restart)
{
    relora_tensor *w = new_matrix(RELORA_F32, OUT, IN), *a = new_matrix(RELORA_F32, RANK, IN);
    relora_tensor *b = new_matrix(RELORA_F32, OUT, RANK), *m = new_vector(RELORA_F32, N);
    relora_tensor *no_w = hollow_like(w), *no_a = hollow_like(a), *no_b = hollow_like(b),
                  *no_m = hollow_like(m);
    relora_reset_options o = reset_options(RELORA_RESET_ZERO, 0, 0);
    HOLLOW(relora_full_rank_step(env.st, no_w, w, 0.1, NULL, NULL), "weight");
    HOLLOW(relora_full_rank_step(env.st, w, no_w, 0.1, NULL, NULL), "grad");
    HOLLOW(relora_merge(env.st, no_w, a, b, NULL, NULL), "weight");
    HOLLOW(relora_merge(env.st, w, no_a, b, NULL, NULL), "a");
    HOLLOW(relora_merge(env.st, w, a, no_b, NULL, NULL), "b");
    HOLLOW(relora_factors_draw(env.st, no_a, b, 0, 0, 1), "a");
    HOLLOW(relora_factors_draw(env.st, a, no_b, 0, 0, 1), "b");
    HOLLOW(relora_moments_reset(env.st, no_m, m, 0, &o, NULL), "first");
    HOLLOW(relora_moments_reset(env.st, m, no_m, 0, &o, NULL), "second");
}
END_TEST

/* ---- files ---- */

static relora_reader *new_reader(void) /* of a state with a tensor "t" */
{
    static unsigned char file[256];
    static const char header[] =
        "{\"__metadata__\":{\"relora.state\":\"1\"},\"t\":{\"dtype\":\"F32\",\"shape\":[6],"
        "\"data_offsets\":[0,24]}}";
    relora_reader *reader;
    size_t length = (sizeof header - 1 + 7) / 8 * 8;
    memset(file, 0, sizeof file);
    memset(file + 8, ' ', length);
    memcpy(file + 8, header, sizeof header - 1);
    file[0] = (unsigned char)length;
    OK(relora_reader_open_memory(&reader, env.ctx, file, 8 + length + 24));
    defer((void (*)(void *))relora_reader_release, reader);
    return reader;
}

START_TEST(test_files)
{
    relora_tensor *t = hollow(RELORA_F32, 1, 1, N);
    relora_reader *reader = new_reader();
    relora_group *g = new_group();
    relora_writer *writer;
    relora_state *state;
    OK(relora_writer_create(&writer, env.ctx));
    OK(relora_state_create(&state, env.ctx));
    OK(relora_writer_add(writer, "w", t));
    OK(relora_state_add_tensor(state, "t", t));
    OK(relora_group_add_param(g, "t", t, NULL));
    HOLLOW(relora_writer_save(writer, env.st, "/nowhere/x", 0), "\"w\"");
    HOLLOW(relora_state_save(state, env.st, "/nowhere/x", 0), "t");
    HOLLOW(relora_state_export_merged(state, env.st, "/nowhere/x"), "\"t\"");
    HOLLOW(relora_state_load(state, env.st, reader), "t");
    HOLLOW(relora_reader_read(reader, env.st, "t", t, 0), "target");
    HOLLOW(relora_reader_read_group(reader, env.st, g, 0, NULL), "\"t\"");
    fill(t);
    OK(relora_reader_read_group(reader, env.st, g, 0, NULL));
    OK(relora_state_load(state, env.st, reader));
    relora_writer_release(writer);
    relora_state_release(state);
}
END_TEST

Suite *placeholder_arguments(void)
{
    Suite *s = suite_create("tensors without memory");
    TCase *tc = env_case(s, "placeholders", 20);
    tcase_add_test(tc, test_tensor);
    tcase_add_test(tc, test_deleter);
    tcase_add_test(tc, test_activations);
    tcase_add_loop_test(tc, test_params, RELORA_PARAM_WEIGHT, RELORA_PARAM_DELTA);
    tcase_add_loop_test(tc, test_grads, RELORA_PARAM_WEIGHT, RELORA_PARAM_DELTA);
    tcase_add_test(tc, test_weight_and_bias);
    tcase_add_loop_test(tc, test_gradient_init, 0, 2);
    tcase_add_loop_test(tc, test_adam, 0, 4);
    tcase_add_loop_test(tc, test_cycle, 0, 2);
    tcase_add_test(tc, test_restart);
    tcase_add_test(tc, test_files);
    return s;
}
