/* Everything that makes objects: nothing half made is handed out, registered or left behind, and the same
 * call succeeds afterwards. */
#include "backend/rounds.h"
#include "backend/suites.h"

enum { IN = 6, OUT = 5, RANK = 2, LAYERS = 3 };

static struct made {
    relora_stream *st;
    relora_tensor *w, *bias, *param, *grad;
    relora_linear *layers[LAYERS];
    relora_adam *adam;
    int32_t registered; /* layers in adam */
} made;

static relora_linear_options options(relora_linear_mode mode)
{
    relora_linear_options o = layer_options(mode, IN, OUT, RANK);
    o.layer = (uint64_t)mode;
    o.flags = RELORA_LINEAR_BIAS | RELORA_LINEAR_TRAINABLE_SCALE;
    if (mode != RELORA_MODE_LOWRANK) o.flags |= RELORA_LINEAR_KEEP_DELTA;
    return o;
}

static relora_status make_layers(void)
{
    for (int i = 0; i < LAYERS; i++) {
        relora_linear_options o = options(RELORA_MODE_FULL + i);
        MAKE(made.layers[i], relora_linear_create(&made.layers[i], env.dev, &o));
        if (o.mode == RELORA_MODE_LOWRANK) continue;
        /* as often as it takes: with a delta there is work in it */
        CALL(NULL, relora_linear_set_weight(made.layers[i], made.w, i ? NULL : made.bias));
    }
    return RELORA_OK;
}

/* All parameters of a layer or none. */
static relora_status register_layers(void)
{
    static const char *const prefixes[LAYERS] = {"full", "lora", "lowrank"};
    static const int32_t params[LAYERS + 1] = {1, 3, 7, 11}; /* "own"; W, bias; twice A, B, scale, bias */
    for (int i = made.registered; i < LAYERS; i++) {
        ck_assert_int_eq(relora_adam_count(made.adam), params[i]);
        CALL(NULL, relora_adam_add_linear(made.adam, prefixes[i], made.layers[i]));
        made.registered++;
    }
    ck_assert_int_eq(relora_adam_count(made.adam), params[LAYERS]);
    return RELORA_OK;
}

static relora_status run(void)
{
    const int64_t matrix[] = {OUT, IN}, vector[] = {OUT};
    int32_t index;
    MAKE(made.st, relora_stream_create(&made.st, env.dev));
    MAKE(made.w, relora_tensor_create(&made.w, env.dev, RELORA_F32, 2, matrix));
    MAKE(made.bias, relora_tensor_create(&made.bias, env.dev, RELORA_F32, 1, vector));
    MAKE(made.param, relora_tensor_create(&made.param, env.dev, RELORA_BF16, 1, vector));
    MAKE(made.grad, relora_tensor_create(&made.grad, env.dev, RELORA_F32, 1, vector));
    CALL(side, relora_tensor_fill(made.w, side, 0.5));
    CALL(side, relora_tensor_fill(made.bias, side, 0.25));
    CALL(side, relora_stream_synchronize(side));
    if (made.registered == 0) TRY(make_layers());
    MAKE(made.adam, relora_adam_create(&made.adam, env.dev, NULL));
    if (relora_adam_count(made.adam) == 0)
        CALL(NULL, relora_adam_add(made.adam, "own", made.param, made.grad, &index));
    return register_layers();
}

static size_t append(unsigned char *to, size_t used, const relora_tensor *t)
{
    if (!t) return used;
    if (to) memcpy(to + used, snapshot(t), bytes_of(t));
    return used + bytes_of(t);
}

static size_t collect(unsigned char *to)
{
    size_t used = 0;
    for (int i = 0; i < LAYERS; i++)
        for (relora_param p = RELORA_PARAM_WEIGHT; p <= RELORA_PARAM_DELTA; p++) {
            used = append(to, used, relora_linear_param(made.layers[i], p));
            used = append(to, used, relora_linear_grad(made.layers[i], p));
        }
    for (int32_t i = 0; i < relora_adam_count(made.adam); i++) {
        int64_t steps;
        used = append(to, used, relora_adam_moment(made.adam, i, RELORA_MOMENT_FIRST));
        used = append(to, used, relora_adam_moment(made.adam, i, RELORA_MOMENT_SECOND));
        OK(relora_adam_steps(made.adam, env.st, i, &steps));
        if (to) memcpy(to + used, &steps, sizeof steps);
        used += sizeof steps;
    }
    return used;
}

static void *result(size_t *size)
{
    *size = collect(NULL);
    void *bytes = scratch(*size);
    collect(bytes);
    return bytes;
}

static void drop(int backwards)
{
    if (backwards) relora_adam_release(made.adam);
    for (int i = 0; i < LAYERS; i++) relora_linear_release(made.layers[backwards ? LAYERS - 1 - i : i]);
    relora_tensor_release(made.grad);
    relora_tensor_release(made.param);
    relora_tensor_release(made.bias);
    relora_tensor_release(made.w);
    relora_stream_release(made.st);
    if (!backwards) relora_adam_release(made.adam);
    made = (struct made){0};
}

START_TEST(test_constructors) { play(&(struct scenario){run, NULL, result, drop}, 60); }
END_TEST

/* A device that does not even say what it is. */
START_TEST(test_questions)
{
    uint64_t total = 0;
    env_open();
    relora_stream_release(env.st);
    env.st = NULL;
    faulty = (struct faulty){0};
    faulty_install(env.ctx);
    faulty_plan(FAULT_DEVICE, 1);
    ck_assert_int_eq(relora_device_count(env.ctx, RELORA_DEVICE_CPU), 0);
    ck_assert_int_eq(relora_device_count(env.ctx, RELORA_DEVICE_CPU), 1);
    faulty_plan(FAULT_DEVICE, 1);
    ck_assert_ptr_null(relora_device_get(env.ctx, RELORA_DEVICE_CPU, 0));
    ck_assert_ptr_eq(relora_device_get(env.ctx, RELORA_DEVICE_CPU, 0), env.dev);
    faulty_plan(FAULT_DEVICE, 1);
    FAILS(RELORA_E_BACKEND, relora_device_memory(env.dev, NULL, &total), "memory");
    OK(relora_device_memory(env.dev, NULL, &total));
    ck_assert_uint_gt(total, 0);
    env_close();
}
END_TEST

Suite *backend_constructors(void)
{
    Suite *s = suite_create("failing backend: constructors");
    TCase *tc = tcase_create("constructors");
    tcase_set_timeout(tc, 60);
    tcase_add_test(tc, test_constructors);
    tcase_add_test(tc, test_questions);
    suite_add_tcase(s, tc);
    return s;
}
