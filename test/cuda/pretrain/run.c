/* Training: a few updates with a merge and a reset. */
#include "cuda/pretrain/pretrain.h"
#include "../examples/pretrain/train.h"

enum { STEPS = 7, EVERY = 4 };

/* What only the emulated device tells. */
extern int64_t emulated_cuda_kernels(void) __attribute__((weak));
extern int emulated_cuda_objects(void) __attribute__((weak));
extern void emulated_cuda_seed(uint64_t seed) __attribute__((weak));

static const struct model_config config = {.dtype = RELORA_F32,
                                           .vocab = 40,
                                           .hidden = 64,
                                           .ffn = 72,
                                           .heads = 2,
                                           .layers = 2,
                                           .rank = 8,
                                           .full_rank = 1,
                                           .mode = RELORA_MODE_FULL,
                                           .alpha = 16,
                                           .dropout = 0.1,
                                           .init_std = 0.1,
                                           .seed = 5,
                                           .threads = 1};

struct optimizer {
    relora_adam *adam;
    relora_cycle *cycle;
};

static void free_adam(void *p) { relora_adam_release(p); }
static void free_cycle(void *p) { relora_cycle_release(p); }

static struct optimizer new_optimizer(struct twin *t, enum side side)
{
    struct optimizer o;
    relora_adam_options options = adam_options();
    relora_cycle_options every = cycle_options(EVERY, 0);
    options.max_norm = 1;
    OK(relora_adam_create(&o.adam, device_of(side), &options));
    defer(free_adam, o.adam);
    OK(relora_adam_add_group(o.adam, model_group(t->model[side])));
    OK(relora_cycle_create(&o.cycle, env.ctx, &every, o.adam, NULL));
    defer(free_cycle, o.cycle);
    OK(relora_cycle_add_group(o.cycle, model_group(t->model[side])));
    return o;
}

static void queue_step(struct twin *t, const struct optimizer *o, enum side side, int64_t step)
{
    OK(relora_group_zero_grad(model_group(t->model[side]), stream_of(side)));
    OK(model_forward(t->model[side], t->acts[side], stream_of(side), t->tokens, t->targets, (uint64_t)step,
                     MODEL_GRADIENT | MODEL_DROPOUT));
    struct full_rank full = {.lr = 0.002, .number = (uint64_t)step};
    OK(model_backward(t->model[side], t->acts[side], stream_of(side), step % 3 == 0 ? &full : NULL));
    OK(relora_adam_step(o->adam, stream_of(side), 0.002, 1.0, NULL));
}

/* Losses of a few updates of the same batch, and the weights after them. */
static void train(relora_dtype dtype, double losses[SIDES][STEPS], struct twin **out)
{
    struct model_config c = config;
    c.dtype = dtype;
    struct twin *t = *out = new_twin(&c, 2, 33, 1);
    stir(t, 3);
    for (int side = CPU; side < SIDES; side++) {
        struct optimizer o = new_optimizer(t, side);
        uint32_t events = 0, all = 0;
        for (int64_t step = 0; step < STEPS; step++) {
            queue_step(t, &o, side, step);
            OK(model_take_loss(t->model[side], stream_of(side), &losses[side][step]));
            OK(relora_cycle_advance(o.cycle, stream_of(side), step + 1, &events, NULL, NULL));
            all |= events;
        }
        ck_assert_uint_eq(all, RELORA_CYCLE_MERGE | RELORA_CYCLE_RESET);
    }
}

START_TEST(test_train)
{
    double losses[SIDES][STEPS];
    struct twin *t;
    train(_i ? RELORA_BF16 : RELORA_F32, losses, &t);
    near(losses[GPU], losses[CPU], STEPS, _i ? 1e-2 : 1e-4, "losses");
    ck_assert_double_lt(losses[GPU][STEPS - 1], losses[GPU][0]);
}
END_TEST

/* The same bits every time, in whatever order the device runs what is independent. */
START_TEST(test_repeat)
{
    double losses[2][SIDES][STEPS];
    struct twin *t[2];
    struct model_param p[2];
    for (int run = 0; run < 2; run++) {
        if (emulated_cuda_seed) emulated_cuda_seed(11 + (uint64_t)run);
        train(_i ? RELORA_BF16 : RELORA_F32, losses[run], &t[run]);
    }
    if (emulated_cuda_seed) emulated_cuda_seed(1);
    SAME_BYTES(losses[0][GPU], losses[1][GPU], sizeof losses[0][GPU]);
    for (int i = 0; model_param_get(t[0]->model[GPU], i, &p[0]); i++) {
        ck_assert(model_param_get(t[1]->model[GPU], i, &p[1]));
        SAME_BYTES(values_of(p[0].value, GPU), values_of(p[1].value, GPU),
                   (size_t)(p[0].rows * p[0].cols) * sizeof(double));
    }
}
END_TEST

/* A step waits for nothing: a device that does nothing before it is waited for has done nothing. And after
 * the first one it takes no memory. */
START_TEST(test_queues_only)
{
    struct twin *t = new_twin(&config, 1, 16, 1);
    struct optimizer o = new_optimizer(t, GPU);
    if (!emulated_cuda_kernels) return;
    queue_step(t, &o, GPU, 0);
    OK(relora_stream_synchronize(gpu));
    emulated_cuda_seed(0);
    int64_t ran = emulated_cuda_kernels();
    int objects = emulated_cuda_objects();
    for (int64_t step = 1; step < 3; step++) queue_step(t, &o, GPU, step);
    ck_assert_int_eq(emulated_cuda_kernels(), ran);
    OK(relora_stream_synchronize(gpu));
    ck_assert_int_gt(emulated_cuda_kernels(), ran + 100);
    ck_assert_int_eq(emulated_cuda_objects(), objects);
    emulated_cuda_seed(1);
}
END_TEST

/* A run without a warm start never has gradients of W, which the pool of a device would keep. */
START_TEST(test_no_warm_start)
{
    static const char *const common[] = {"pretrain", "--data",  "text", "--device",   "cuda", "--method",
                                         "lora",     "--steps", "8",    "--restarts", "0",    "--rank",
                                         "4",        "--batch", "1",    "--seq",      "16",   "--warm-start",
                                         "0"};
    enum { COUNT = sizeof common / sizeof *common };
    char *arguments[COUNT], start[2] = {(char)('0' + _i), 0};
    struct options options;
    struct data data = {.vocab = 40};
    static struct folders folders;
    static const struct ranks alone = {.count = 1};
    struct trainer trainer;
    memcpy(arguments, common, sizeof common);
    arguments[COUNT - 1] = start;
    ck_assert_int_eq(options_read(&options, COUNT, arguments), 0);
    ck_assert_int_eq(trainer_start(&trainer, &options, &alone, &folders), 0);
    ck_assert_int_eq(trainer_open(&trainer, &data), 0);
    relora_linear *linear = model_projection(trainer.model, 0);
    ck_assert_int_eq(relora_linear_get_mode(linear), _i ? RELORA_MODE_FULL : RELORA_MODE_LORA);
    ck_assert_int_eq(relora_linear_grad(linear, RELORA_PARAM_WEIGHT) != NULL, _i);
    ck_assert_int_eq(model_set_lora(trainer.model, trainer.stream), RELORA_OK);
    for (int i = 0; (linear = model_projection(trainer.model, i)); i++) {
        ck_assert_int_eq(relora_linear_get_mode(linear), RELORA_MODE_LORA);
        ck_assert_ptr_null(relora_linear_grad(linear, RELORA_PARAM_WEIGHT));
    }
    trainer_close(&trainer);
}
END_TEST

Suite *run_suite(void)
{
    Suite *s = suite_create("training on a device");
    TCase *tc = both_case(s, "training");
    tcase_add_loop_test(tc, test_train, 0, 2);
    tcase_add_loop_test(tc, test_repeat, 0, 2);
    tcase_add_test(tc, test_queues_only);
    tcase_add_loop_test(tc, test_no_warm_start, 0, 2);
    return s;
}
