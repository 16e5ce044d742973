/* A handle stands for what it holds (types.h): a step of an optimizer and a forward of one of its layers are
 * two uses of the layer, although they have no handle in common. One at a time, in two threads, they give what
 * one thread gives; the thread sanitizer, which knows that both touch A and B, agrees. Without the lock it
 * reports the race: that is why there is such a rule. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "threads/work.h"

enum { TURNS = 50, REPORTED = 66 /* how a program ends in which the thread sanitizer found a race */ };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

struct user_of_layer {
    relora_stream *st;
    relora_adam *adam;     /* of the thread that steps */
    relora_linear *linear; /* of the thread that computes */
    relora_tensor *x, *y;
    int locks;
    int64_t failures;
};

static void *step_or_compute(void *user)
{
    struct user_of_layer *u = user;
    for (int i = 0; i < TURNS; i++) {
        if (u->locks) pthread_mutex_lock(&lock);
        relora_status status = u->adam ? relora_adam_step(u->adam, u->st, 0.01, 1, NULL)
                                       : relora_linear_forward(u->linear, u->st, u->x, u->y, 0, RELORA_TRAIN);
        if (u->locks) pthread_mutex_unlock(&lock);
        u->failures += status != RELORA_OK;
    }
    return NULL;
}

static void both(int locks)
{
    struct rnd r = rnd_seed(1);
    relora_linear_options o = layer_options(RELORA_MODE_LORA, IN, OUT, RANK);
    struct user_of_layer users[2] = {{.st = env.st, .locks = locks}, {.st = second_stream(), .locks = locks}};
    users[0].adam = new_adam(NULL);
    users[1].linear = new_filled_linear(&o, &r);
    users[1].x = new_matrix(RELORA_F32, ROWS, IN);
    users[1].y = new_matrix(RELORA_F32, ROWS, OUT);
    put_normal(users[1].x, &r, 1);
    OK(relora_adam_add_linear(users[0].adam, "l", users[1].linear));
    OK(relora_tensor_fill(relora_linear_grad(users[1].linear, RELORA_PARAM_B), env.st, 0.1));
    together(step_or_compute, users, sizeof *users, 2);
    ck_assert_int_eq(users[0].failures + users[1].failures, 0);
}

START_TEST(test_one_at_a_time) { both(1); }
END_TEST

#ifdef __SANITIZE_THREAD__
START_TEST(test_at_once)
{
    if (!freopen("/dev/null", "w", stderr)) ck_abort_msg("no /dev/null"); /* the report is expected */
    both(0);
}
END_TEST
#endif

Suite *threads_holds(void)
{
    Suite *s = suite_create("threads: what a handle holds");
    TCase *tc = env_case(s, "holds", 60);
    tcase_add_test(tc, test_one_at_a_time);
#ifdef __SANITIZE_THREAD__
    /* In one process with the other tests it would end that as if they had races, and hide what they have. */
    const char *forks = getenv("CK_FORK");
    if (!forks || strcmp(forks, "no") != 0) tcase_add_exit_test(tc, test_at_once, REPORTED);
#endif
    return s;
}
