/* A file cut off anywhere, or with any byte changed: refused, or read as it was written. */
#include <stdlib.h>
#include "checkpoint/checkpoint.h"

START_TEST(test_cut_anywhere)
{
    struct raw whole = small_file(_i ? RELORA_SAVE_CHECKSUM : 0);
    for (size_t n = 0; n < whole.size; n++) {
        relora_reader *r = POISON;
        unsigned char *part = malloc(n ? n : 1); /* not a byte more, for the sanitizer */
        memcpy(part, whole.bytes, n);
        relora_status status = relora_reader_open_memory(&r, env.ctx, part, n);
        free(part);
        ck_assert_msg(status == RELORA_E_FORMAT && !r, "cut at %zu of %zu: %d", n, whole.size, status);
    }
    ck_assert_int_eq(relora_reader_count(open_raw(whole)), 2);
}
END_TEST

START_TEST(test_one_byte_more)
{
    struct raw whole = small_file(RELORA_SAVE_CHECKSUM);
    unsigned char *more = scratch(whole.size + 1);
    relora_reader *r = POISON;
    memcpy(more, whole.bytes, whole.size);
    FAILS(RELORA_E_FORMAT, relora_reader_open_memory(&r, env.ctx, more, whole.size + 1), "header");
}
END_TEST

struct target {
    const char *name;
    relora_tensor *tensor;
    void *written, *before;
};

/* Read into a tensor that holds something else: either what was written, or a refusal and no change. */
static int read_honestly(relora_reader *r, const struct target *t)
{
    put_all(t->tensor, 77);
    relora_status status = relora_reader_read(r, env.st, t->name, t->tensor, 0);
    const void *want = status == RELORA_OK ? t->written : t->before;
    void *got = malloc(bytes_of(t->tensor));
    OK(relora_tensor_read(t->tensor, env.st, got, bytes_of(t->tensor)));
    int same = !memcmp(got, want, bytes_of(t->tensor));
    free(got);
    return same && (status == RELORA_OK || status == RELORA_E_FORMAT || status == RELORA_E_NOT_FOUND ||
                    status == RELORA_E_SHAPE || status == RELORA_E_DTYPE);
}

static struct target make_target(const char *name, relora_tensor *tensor, int seed)
{
    struct target t = {name, tensor, pattern(bytes_of(tensor), seed), NULL};
    put_all(tensor, 77);
    t.before = snapshot(tensor);
    return t;
}

/* Every byte of a file with checksums, changed in many ways. In the data none may pass. */
START_TEST(test_change_anywhere)
{
    static const unsigned char changes[] = {1, 2, 4, 8, 16, 32, 64, 128, 0x0f, 0x1c, 0xff};
    struct raw file = small_file(RELORA_SAVE_CHECKSUM);
    size_t data, accepted = 0;
    raw_header(file, &data);
    ck_assert_uint_eq(file.size, data + 32);
    struct target targets[] = {make_target("first", new_matrix(RELORA_F32, 2, 3), 1),
                               make_target("second", new_vector(RELORA_BF16, 4), 2)};
    for (size_t i = 0; i < file.size; i++)
        for (size_t c = 0; c < sizeof changes; c++) {
            relora_reader *r = NULL;
            file.bytes[i] ^= changes[c];
            if (relora_reader_open_memory(&r, env.ctx, file.bytes, file.size) == RELORA_OK) {
                accepted++;
                int good = relora_reader_verify(r) == RELORA_OK;
                ck_assert_msg(!good || i < data, "verify misses byte %zu ^ %d", i, changes[c]);
                for (int t = 0; t < 2; t++)
                    ck_assert_msg(read_honestly(r, &targets[t]), "%s differs: byte %zu ^ %d", targets[t].name,
                                  i, changes[c]);
                relora_reader_release(r);
            }
            file.bytes[i] ^= changes[c];
        }
    ck_assert_uint_ge(accepted, 32 * sizeof changes); /* at least all of the data was tried */
    relora_reader *r = open_raw(file);
    OK(relora_reader_verify(r));
    for (int t = 0; t < 2; t++) {
        OK(relora_reader_read(r, env.st, targets[t].name, targets[t].tensor, 0));
        UNCHANGED(targets[t].tensor, targets[t].written);
    }
}
END_TEST

Suite *damage(void)
{
    Suite *s = suite_create("damage");
    TCase *tc = env_case(s, "damage", 60);
    tcase_add_loop_test(tc, test_cut_anywhere, 0, 2);
    tcase_add_test(tc, test_one_byte_more);
    tcase_add_test(tc, test_change_anywhere);
    return s;
}
