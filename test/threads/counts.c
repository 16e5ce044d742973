/* Reference counts that several threads change at once: one too few is memory freed in use, one too many is
 * memory left behind, which the fixture sees. */
#include "adam.h"
#include "threads/work.h"

enum { HOLDERS = 4, HOLDS = 1000000, OBJECTS = 50000, CYCLES = 10000, TURNS = 10 };

/* A tensor that several threads hold: each may let go first. */
static void *hold_and_release(void *user)
{
    relora_tensor *t = *(relora_tensor **)user;
    for (int i = 0; i < HOLDS; i++) {
        relora_tensor_retain(t);
        relora_tensor_release(t);
    }
    relora_tensor_release(t);
    return NULL;
}

static void count_up(void *user, void *data)
{
    (void)data;
    ++*(int *)user; /* a second call would be a race */
}

START_TEST(test_tensor)
{
    int64_t n = 3;
    float data[3] = {0};
    int deleted = 0;
    relora_tensor *held[HOLDERS];
    OK(relora_tensor_borrow(&held[0], env.dev, RELORA_F32, 1, &n, NULL, data, count_up, &deleted));
    for (int i = 1; i < HOLDERS; i++) {
        held[i] = held[0];
        relora_tensor_retain(held[i]);
    }
    together(hold_and_release, held, sizeof *held, HOLDERS);
    ck_assert_int_eq(deleted, 1);
}
END_TEST

/* The rest in a context with the system's allocator: the one that counts has a lock, and would put the threads
 * in a row. */
static relora_context *quiet;

static void open_quiet(void) { OK(relora_context_create(&quiet, NULL)); }

static void close_quiet(void)
{
    ck_assert_int_eq(atomic_load(&quiet->refs), 1);
    relora_context_release(quiet);
}

/* Every object holds its context, and a cycle its optimizer. */
static void *make_and_release(void *user)
{
    relora_adam *adam = *(relora_adam **)user;
    relora_cycle_options o;
    relora_cycle_options_init(&o, sizeof o);
    o.merge_every = 2;
    for (int i = 0; i < OBJECTS; i++) {
        relora_cycle *cycle;
        if (relora_cycle_create(&cycle, quiet, &o, adam, NULL) == RELORA_OK) relora_cycle_release(cycle);
    }
    for (int i = 0; i < HOLDS; i++) { /* what that does to the optimizer, without the rest */
        adam_retain(adam);
        relora_adam_release(adam);
    }
    return NULL;
}

START_TEST(test_context_and_optimizer)
{
    relora_adam *adam[HOLDERS];
    OK(relora_adam_create(&adam[0], relora_device_get(quiet, RELORA_DEVICE_CPU, 0), NULL));
    for (int i = 1; i < HOLDERS; i++) adam[i] = adam[0];
    together(make_and_release, adam, sizeof *adam, HOLDERS);
    ck_assert_int_eq(atomic_load(&adam[0]->refs), 1);
    relora_adam_release(adam[0]);
}
END_TEST

/* A layer is added to new cycles by one thread, while another releases old ones that hold it. */
struct cycles {
    relora_linear *linear; /* NULL: release them */
    relora_cycle *cycle[CYCLES];
};

static void *add_or_release(void *user)
{
    struct cycles *c = user;
    for (int i = 0; i < CYCLES; i++) {
        if (c->linear) relora_cycle_add(c->cycle[i], c->linear);
        else relora_cycle_release(c->cycle[i]);
    }
    return NULL;
}

static void make_cycles(struct cycles *c)
{
    relora_cycle_options o = cycle_options(2, 0);
    for (int i = 0; i < CYCLES; i++) OK(relora_cycle_create(&c->cycle[i], quiet, &o, NULL, NULL));
}

START_TEST(test_layer)
{
    relora_device *dev = relora_device_get(quiet, RELORA_DEVICE_CPU, 0);
    relora_linear_options o = layer_options(RELORA_MODE_LORA, 3, 2, 1);
    struct cycles *both = scratch(2 * sizeof *both), *old = &both[0], *new = &both[1];
    relora_linear *linear;
    relora_tensor *w;
    OK(relora_linear_create(&linear, dev, &o));
    OK(relora_tensor_create(&w, dev, RELORA_F32, 2, (int64_t[]){2, 3}));
    OK(relora_linear_set_weight(linear, w, NULL));
    make_cycles(old);
    old->linear = linear;
    add_or_release(old);
    for (int turn = 0; turn < TURNS; turn++) {
        ck_assert_int_eq(atomic_load(&linear->refs), CYCLES + 1);
        make_cycles(new);
        new->linear = linear;
        old->linear = NULL;
        together(add_or_release, both, sizeof *both, 2);
        *old = *new;
    }
    ck_assert_int_eq(atomic_load(&linear->refs), CYCLES + 1);
    old->linear = NULL;
    add_or_release(old);
    relora_tensor_release(w);
    relora_linear_release(linear);
}
END_TEST

Suite *threads_counts(void)
{
    Suite *s = suite_create("threads: counts");
    TCase *tc = env_case(s, "counts", 60);
    tcase_add_checked_fixture(tc, open_quiet, close_quiet);
    tcase_add_test(tc, test_tensor);
    tcase_add_test(tc, test_context_and_optimizer);
    tcase_add_test(tc, test_layer);
    return s;
}
