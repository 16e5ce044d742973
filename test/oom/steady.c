/* Steady state: what a training loop has done once, a step, a merge, a reset, it does again without asking the
 * context for memory. On one thread and on two. */
#include "oom/net.h"

enum { FIRST = 4, LAST = 12 }; /* restarts follow updates 3, 5, 7, ...: one before FIRST */

static struct recipe recipe_with(int kind)
{
    struct recipe recipe = recipe_of(kind);
    recipe.cycle.merge_every = recipe.cycle.reset_every = 2;
    return recipe;
}

static void stays_steady(const struct recipe *recipe, int32_t threads)
{
    struct net net;
    env_close();
    env_open_threads(threads);
    net_make(&net, recipe);
    net_train(&net, 0, FIRST);
    int64_t requests = env.mem.requests;
    net_train(&net, FIRST, LAST);
    ck_assert_int_eq(env.mem.requests, requests);
}

/* Every mode and type, with and without each part and option. */
START_TEST(test_layers)
{
    static const uint32_t flags[] = {
        0, RELORA_LINEAR_BIAS, RELORA_LINEAR_TRAINABLE_SCALE, RELORA_LINEAR_REFERENCE,
        RELORA_LINEAR_BIAS | RELORA_LINEAR_TRAINABLE_SCALE | RELORA_LINEAR_KEEP_DELTA};
    struct recipe recipe = recipe_with(0);
    for (relora_linear_mode mode = RELORA_MODE_FULL; mode <= RELORA_MODE_LOWRANK; mode++)
        for (relora_dtype dtype = RELORA_F32; dtype <= RELORA_BF16; dtype++)
            for (size_t f = 0; f < sizeof flags / sizeof *flags; f++)
                for (int drops = 0; drops < 2; drops++) {
                    recipe.linear.mode = mode;
                    recipe.linear.dtype = dtype;
                    recipe.linear.flags = flags[f];
                    if (mode == RELORA_MODE_LOWRANK)
                        recipe.linear.flags &= ~(uint32_t)RELORA_LINEAR_KEEP_DELTA;
                    recipe.linear.dropout = drops ? 0.2 : 0;
                    recipe.linear.rounding = drops ? RELORA_ROUND_STOCHASTIC : RELORA_ROUND_NEAREST;
                    stays_steady(&recipe, _i + 1);
                }
}
END_TEST

START_TEST(test_optimizers)
{
    for (uint32_t flags = 0; flags < 4; flags++)
        for (int clips = 0; clips < 2; clips++) {
            struct recipe recipe = recipe_with(0);
            recipe.adam.flags = flags;
            recipe.adam.max_norm = clips;
            stays_steady(&recipe, _i + 1);
        }
}
END_TEST

static int is_reset(relora_reset_mode mode, uint32_t flags)
{
    return mode == RELORA_RESET_MAGNITUDE || !(flags & RELORA_RESET_QUANTILE);
}

START_TEST(test_resets)
{
    for (relora_reset_mode mode = RELORA_RESET_ZERO; mode <= RELORA_RESET_MAGNITUDE; mode++)
        for (uint32_t flags = 0; flags < 8; flags++) {
            struct recipe recipe = recipe_with(0);
            if (!is_reset(mode, flags)) continue;
            recipe.reset = reset_options(mode, 0.7, flags);
            stays_steady(&recipe, _i + 1);
        }
}
END_TEST

/* A host that calls everything itself, in every round once. */
static void round_by_hand(struct net *net, int round)
{
    double norm;
    relora_merge_report merge = {.struct_size = sizeof merge};
    relora_reset_report report = {.struct_size = sizeof report};
    net_train(net, round, round + 1);
    OK(relora_adam_grad_norm(net->adam, env.st, &norm));
    for (int i = 0; i < NET_LAYERS; i++) {
        OK(relora_linear_merge(net->layer[i], env.st, (uint64_t)round, &merge));
        OK(relora_linear_reset(net->layer[i], env.st, (uint64_t)round));
        OK(relora_linear_zero_grad(net->layer[i], env.st));
    }
    OK(relora_adam_zero_grad(net->adam, env.st));
    for (relora_reset_mode mode = RELORA_RESET_ZERO; mode <= RELORA_RESET_MAGNITUDE; mode++)
        for (uint32_t flags = 0; flags < 8; flags++) {
            relora_reset_options o = reset_options(mode, 0.3, flags);
            if (is_reset(mode, flags)) OK(relora_adam_reset(net->adam, env.st, NULL, 0, &o, &report));
        }
    OK(relora_stream_synchronize(env.st));
}

START_TEST(test_by_hand)
{
    for (int kind = 0; kind < 4; kind++) { /* those in LORA */
        struct net net;
        struct recipe recipe = recipe_of(kind);
        env_close();
        env_open_threads(_i + 1);
        net_make(&net, &recipe);
        OK(relora_adam_flatten_grads(net.adam, env.st));
        round_by_hand(&net, 0);
        int64_t requests = env.mem.requests;
        for (int round = 1; round < 4; round++) round_by_hand(&net, round);
        ck_assert_int_eq(env.mem.requests, requests);
    }
}
END_TEST

/* A warm start asks anew only for what the change makes: factors, an optimizer, a cycle, their first restart. */
START_TEST(test_warm_start)
{
    for (int kind = 4; kind < 6; kind++) { /* those in FULL */
        struct net net;
        struct recipe recipe = recipe_with(kind);
        env_close();
        env_open_threads(_i + 1);
        net_make(&net, &recipe);
        net_train(&net, 0, 1);
        int64_t requests = env.mem.requests;
        net_train(&net, 1, 2);
        ck_assert_int_eq(env.mem.requests, requests);
        net_end_warm_start(&net);
        net_train(&net, 2, FIRST);
        requests = env.mem.requests;
        net_train(&net, FIRST, LAST);
        ck_assert_int_eq(env.mem.requests, requests);
    }
}
END_TEST

Suite *oom_steady(void)
{
    Suite *s = suite_create("steady state");
    TCase *tc = env_case(s, "steady", 60);
    tcase_add_loop_test(tc, test_layers, 0, 2);
    tcase_add_loop_test(tc, test_optimizers, 0, 2);
    tcase_add_loop_test(tc, test_resets, 0, 2);
    tcase_add_loop_test(tc, test_by_hand, 0, 2);
    tcase_add_loop_test(tc, test_warm_start, 0, 2);
    return s;
}
