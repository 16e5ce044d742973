/* health.c with losses that are made up: what is called dead, when, and what never is. */
#include <math.h>
#include <string.h>
#include "../../examples/pretrain/health.h"
#include "program/suites.h"

enum { VOCAB = 256, UPDATES = 1000 };
static const double chance = 5.545177444479562; /* ln 256 */

static struct health health;
static char text[400];

static void setup(void)
{
    health_begin(&health, VOCAB, UPDATES);
    text[0] = '\0';
}

/* The same update again, at most `count` times. Returns after how many it was called dead; 0 if never. */
static int again(double loss, double grad_norm, int skipped, int count)
{
    for (int i = 1; i <= count; i++)
        if (health_step(&health, loss, grad_norm, skipped, text, sizeof text)) return i;
    return 0;
}

/* A loss that goes from one value to another in equal steps. */
static void lead(double from, double to, int count)
{
    for (int i = 0; i < count; i++)
        ck_assert_msg(!health_step(&health, from + (to - from) * i / count, 1, 0, text, sizeof text), "%s",
                      text);
}

START_TEST(test_back_to_chance)
{
    lead(5.7, 3, 100);
    int when = again(chance, 1e-3, 0, 500);
    ck_assert_int_ge(when, 50);
    ck_assert_int_le(when, 120);
    ck_assert_ptr_nonnull(strstr(text, "no better than guessing"));
}
END_TEST

START_TEST(test_exploded)
{
    lead(5.7, 5.6, 10);
    ck_assert_int_gt(again(300, 1e4, 0, 200), 0);
}
END_TEST

START_TEST(test_exploded_from_given_weights)
{
    lead(2.1, 2, 10);
    ck_assert_int_gt(again(6, 10, 0, 200), 0);
}
END_TEST

START_TEST(test_no_gradient)
{
    lead(5.7, 5, 30);
    ck_assert_int_eq(again(chance, 0, 0, 100), 20);
    ck_assert_ptr_nonnull(strstr(text, "gradient is 0"));
}
END_TEST

START_TEST(test_never_a_gradient)
{
    ck_assert_int_eq(again(chance, 0, 0, 100), 20);
    ck_assert_ptr_nonnull(strstr(text, "first weights"));
}
END_TEST

START_TEST(test_not_finite)
{
    lead(5.7, 5, 30);
    ck_assert_int_eq(again(4, NAN, 1, 100), 50);
    ck_assert_ptr_nonnull(strstr(text, "learning rate"));
    setup();
    ck_assert_int_eq(again(NAN, NAN, 1, 100), 5);
    ck_assert_ptr_nonnull(strstr(text, "first weights"));
    ck_assert_ptr_null(strstr(text, "learning rate"));
    setup();
    lead(5.7, 5, 30);
    ck_assert_int_eq(again(INFINITY, NAN, 1, 100), 50);
    ck_assert_ptr_nonnull(strstr(text, "weights"));
}
END_TEST

/* Here and there one that is skipped, until it is one in twenty of all. */
START_TEST(test_many_skipped)
{
    int skipped = 0;
    while (!again(4, NAN, 1, 1)) {
        skipped++;
        lead(4, 4, 3);
    }
    ck_assert_int_eq(skipped, UPDATES / 20);
}
END_TEST

/* ---- what is well ---- */

START_TEST(test_slow_beginnings)
{
    /* a tiny rate, or a long warmup, of small first weights */
    ck_assert_int_eq(again(chance, 1e-6, 0, 5000), 0);
    ck_assert_int_eq(again(chance + 0.03, 1, 0, 5000), 0);
    setup();
    ck_assert_int_eq(again(200, 100, 0, 5000), 0); /* large first weights that are not trained yet */
    lead(200, 3, 3000);
}
END_TEST

START_TEST(test_overshoot)
{
    lead(5.7, 5.5, 5);
    lead(5.5, 500, 10);
    for (int i = 0; i < 200; i++)
        ck_assert_msg(!health_step(&health, 500 * pow(0.97, i), 5, 0, text, sizeof text), "%s", text);
    lead(3, 2, 50);
}
END_TEST

START_TEST(test_spikes)
{
    for (int k = 0; k < 20; k++) {
        lead(k ? 3 : 5.7, 3, 40);
        ck_assert_int_eq(again(9, 50, 0, 30), 0);
        lead(9, 3, 20);
    }
}
END_TEST

/* A loss of almost nothing has almost no gradient. */
START_TEST(test_learned_by_heart)
{
    lead(5.7, 0, 100);
    ck_assert_int_eq(again(1e-9, 0, 0, 500), 0);
    ck_assert(!health_end(&health, 9, text, sizeof text)); /* of a text it has not seen it knows nothing */
}
END_TEST

START_TEST(test_ends)
{
    lead(5.7, 4, 60);
    ck_assert(!health_end(&health, 4, text, sizeof text));
    ck_assert(health_end(&health, NAN, text, sizeof text));
    again(chance, 1, 0, 40);
    ck_assert(health_end(&health, chance, text, sizeof text)); /* fewer than would end it on the way */
    setup();
    again(5.7, 1, 0, 3);
    /* a short run has not learned, and is not dead */
    ck_assert(!health_end(&health, 5.7, text, sizeof text));
}
END_TEST

START_TEST(test_kept)
{
    struct health other;
    char line[200];
    lead(5.7, 3, 100);
    again(chance, 1, 0, 40);
    health_write(&health, line, sizeof line);
    health_begin(&other, VOCAB, UPDATES);
    health_read(&other, line);
    health_read(&other, "nonsense");
    health_read(&other, NULL);
    int left = again(chance, 1, 0, 200);
    for (int i = 1; i < left; i++) ck_assert(!health_step(&other, chance, 1, 0, text, sizeof text));
    ck_assert(health_step(&other, chance, 1, 0, text, sizeof text));
}
END_TEST

Suite *program_health(void)
{
    Suite *s = suite_create("health");
    TCase *tc = tcase_create("health");
    tcase_add_checked_fixture(tc, setup, NULL);
    tcase_add_test(tc, test_back_to_chance);
    tcase_add_test(tc, test_exploded);
    tcase_add_test(tc, test_exploded_from_given_weights);
    tcase_add_test(tc, test_no_gradient);
    tcase_add_test(tc, test_never_a_gradient);
    tcase_add_test(tc, test_not_finite);
    tcase_add_test(tc, test_many_skipped);
    tcase_add_test(tc, test_slow_beginnings);
    tcase_add_test(tc, test_overshoot);
    tcase_add_test(tc, test_spikes);
    tcase_add_test(tc, test_learned_by_heart);
    tcase_add_test(tc, test_ends);
    tcase_add_test(tc, test_kept);
    suite_add_tcase(s, tc);
    return s;
}
