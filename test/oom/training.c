/* Whole training loops: every mode, type and set of flags, with restarts; a warm start; and the calls of a host
 * that merges and resets by itself. */
#include "oom/net.h"

static struct recipe recipe;
static int kind;

static void result(const struct net *net)
{
    struct raw all = net_contents(net, 1);
    oom_result(all.bytes, all.size);
    for (int i = 0; i < NET_LAYERS; i++) {
        oom_result_of(net->y[i]);
        oom_result_of(net->dx[i]);
    }
}

static void train_on(struct net *net)
{
    if (recipe.linear.mode == RELORA_MODE_FULL && recipe.linear.rank) {
        net_train(net, 0, 2);
        net_end_warm_start(net);
    }
    net_train(net, 2, 6);
    if (net->cycle) SURVIVES(NULL, relora_cycle_finish(net->cycle, env.st, 6, NULL));
    result(net);
}

/* From the first object to the end of the run, with two restarts. */
static void train_all(void)
{
    struct net net;
    oom_begin();
    net_make(&net, &recipe);
    train_on(&net);
}

START_TEST(test_training)
{
    for (kind = 0; kind < RUN_KINDS; kind++) {
        recipe = recipe_of(kind);
        recipe.cycle.merge_every = recipe.cycle.reset_every = 2;
        oom_play(train_all, _i, 50);
    }
}
END_TEST

static void train_made(void)
{
    struct net net;
    net_make(&net, &recipe);
    oom_begin();
    train_on(&net);
}

/* Every way to reset moments. */
START_TEST(test_resets)
{
    static const uint32_t flags[] = {0, RELORA_RESET_INDEPENDENT, RELORA_RESET_QUANTILE,
                                     RELORA_RESET_INDEPENDENT | RELORA_RESET_QUANTILE,
                                     RELORA_RESET_STEP_COUNT};
    for (relora_reset_mode mode = RELORA_RESET_ZERO; mode <= RELORA_RESET_MAGNITUDE; mode++)
        for (size_t i = 0; i < sizeof flags / sizeof *flags; i++) {
            if ((flags[i] & RELORA_RESET_QUANTILE) && mode != RELORA_RESET_MAGNITUDE) continue;
            recipe = recipe_of(0);
            recipe.cycle.merge_every = recipe.cycle.reset_every = 2;
            recipe.reset = reset_options(mode, 0.7, flags[i]);
            oom_play(train_made, _i, 8);
        }
}
END_TEST

/* Every init of A, from a warm start and without, with moments that stay or go with it. */
START_TEST(test_inits)
{
    for (relora_init init = RELORA_INIT_MATCHED; init <= RELORA_INIT_GIVEN; init++)
        for (int k = 0; k < 2; k++) {
            recipe = recipe_of(0);
            recipe.linear.init = init;
            if (k) recipe.linear.mode = RELORA_MODE_FULL;
            recipe.cycle.merge_every = recipe.cycle.reset_every = 2;
            recipe.reset = reset_options(k ? RELORA_RESET_KEEP : RELORA_RESET_PROJECT, 0, 0);
            oom_play(train_all, _i, 50);
        }
}
END_TEST

/* The host's own calls, each the first to need its memory. */
static void by_hand(void)
{
    struct net net;
    double norm;
    relora_merge_report merge = {.struct_size = sizeof merge};
    relora_reset_report report = {.struct_size = sizeof report};
    net_make(&net, &recipe);
    for (int i = 0; i < NET_LAYERS; i++) put_all(relora_linear_grad(net.layer[i], RELORA_PARAM_A), 0.25);
    oom_begin();
    SURVIVES(NULL, relora_adam_grad_norm(net.adam, env.st, &norm));
    oom_result(&norm, sizeof norm);
    struct raw was = net_contents(&net, 1);
    SURVIVES(NULL, relora_adam_flatten_grads(net.adam, env.st));
    struct raw now = net_contents(&net, 1);
    same_contents(&was, &now, "contents of the gradients");
    SURVIVES(NULL, relora_adam_step(net.adam, env.st, 0.1, 1, NULL));
    SURVIVES(NULL, relora_adam_reset(net.adam, env.st, NULL, 0, &recipe.reset, &report));
    for (int i = 0; i < NET_LAYERS; i++) {
        SURVIVES(NULL, relora_linear_merge(net.layer[i], env.st, 1, &merge));
        SURVIVES(NULL, relora_linear_reset(net.layer[i], env.st, 1));
        oom_result(&merge, sizeof merge);
    }
    oom_result(&report, sizeof report);
    result(&net);
}

START_TEST(test_by_hand)
{
    for (kind = 0; kind < 4; kind++) { /* those in LORA */
        recipe = recipe_of(kind);
        recipe.reset = reset_options(RELORA_RESET_MAGNITUDE, 0.5, 0);
        oom_play(by_hand, _i, 8);
    }
}
END_TEST

Suite *oom_training(void)
{
    Suite *s = suite_create("training");
    TCase *tc = env_case(s, "training", 60);
    tcase_add_loop_test(tc, test_training, 0, OOM_KINDS);
    tcase_add_loop_test(tc, test_resets, 0, OOM_KINDS);
    tcase_add_loop_test(tc, test_inits, 0, OOM_KINDS);
    tcase_add_loop_test(tc, test_by_hand, 0, OOM_KINDS);
    return s;
}
