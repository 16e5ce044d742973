/* Bytes of the host in a state: saved from where they are, restored to there, and refused if they are not those. */
#include "checkpoint/checkpoint.h"

enum { LOADER = 2500 }; /* a Mersenne twister and its place */

struct host {
    unsigned char *loader; /* exactly LOADER bytes, so that a sanitizer sees one too many */
    int64_t position;
    relora_tensor *norm;
    relora_state *state;
};

static struct host new_host(int seed)
{
    struct rnd r = rnd_seed((uint64_t)seed);
    struct host h = {.loader = pattern(LOADER, seed), .position = seed, .norm = new_vector(RELORA_F32, 5)};
    put_normal(h.norm, &r, 1);
    h.state = new_state();
    OK(relora_state_add_tensor(h.state, "norm", h.norm));
    OK(relora_state_add_bytes(h.state, "loader", h.loader, LOADER));
    OK(relora_state_add_bytes(h.state, "nothing", NULL, 0));
    return h;
}

static void add_position(struct host *h)
{
    OK(relora_state_add_bytes(h->state, "position", &h->position, 8));
}

START_TEST(test_round_trip)
{
    struct host saved = new_host(1), loaded = new_host(2);
    add_position(&saved), add_position(&loaded);
    const unsigned char *want = pattern(LOADER, 3);
    memcpy(saved.loader, want, LOADER); /* after it was added: the save reads it */
    OK(relora_state_save(saved.state, env.st, at("file"), _i ? RELORA_SAVE_CHECKSUM : 0));
    relora_reader *reader = open_path(at("file"));
    has_tensor(reader, "loader", "U8", 1, (int64_t[]){LOADER}, want, LOADER);
    has_tensor(reader, "nothing", "U8", 1, (int64_t[]){0}, "", 0);
    OK(relora_state_load(loaded.state, env.st, reader));
    SAME_BYTES(loaded.loader, want, LOADER);
    ck_assert_int_eq(loaded.position, 1);
    UNCHANGED(loaded.norm, snapshot(saved.norm));
}
END_TEST

static void refused(relora_status status, const char *path, struct host *h, const char *word,
                    const char *other)
{
    void *norm = snapshot(h->norm), *loader = memcpy(scratch(LOADER), h->loader, LOADER);
    int64_t position = h->position;
    FAILS(status, relora_state_load(h->state, env.st, open_path(path)), word, other);
    SAME_BYTES(h->loader, loader, LOADER);
    ck_assert_int_eq(h->position, position);
    UNCHANGED(h->norm, norm);
}

/* Nothing is restored unless all of it is, whichever comes first. */
START_TEST(test_refused)
{
    struct host saved = new_host(1), less = new_host(2), other = new_host(2), more = new_host(2);
    unsigned char byte = 7;
    relora_tensor *tensor = new_vector(RELORA_F32, 2);
    add_position(&saved);
    OK(relora_state_save(saved.state, env.st, at("file"), 0));
    OK(relora_state_add_bytes(other.state, "position", &other.position, 7));
    refused(RELORA_E_SHAPE, at("file"), &other, "\"position\" has 7 bytes here", "8 in the file");
    /* a state that knows nothing of them, as every release before 0.6 */
    refused(RELORA_E_NOT_FOUND, at("file"), &less, "the file has 4 tensors", "take 3");
    add_position(&more);
    OK(relora_state_add_bytes(more.state, "generator", &byte, 1));
    refused(RELORA_E_NOT_FOUND, at("file"), &more, "\"generator\"", "no such tensor");
    struct host typed = new_host(2); /* a tensor of that name, in the file or here */
    OK(relora_state_add_tensor(typed.state, "position", tensor));
    refused(RELORA_E_SHAPE, at("file"), &typed, "\"position\"", "target");
    OK(relora_state_save(typed.state, env.st, at("typed"), 0));
    struct host plain = new_host(2);
    add_position(&plain);
    refused(RELORA_E_DTYPE, at("typed"), &plain, "\"position\" is F32 in the file", "U8");
}
END_TEST

START_TEST(test_twice)
{
    struct host h = new_host(1);
    OK(relora_state_add_bytes(h.state, "norm", &h.position, 8));
    FAILS(RELORA_E_EXISTS, relora_state_save(h.state, env.st, at("file"), 0), "norm");
    ck_assert_int_eq(files(), 0);
}
END_TEST

/* One of their bits, or one in the file's sum of them. */
START_TEST(test_damage)
{
    struct host saved = new_host(1), h = new_host(2);
    size_t size, data;
    OK(relora_state_save(saved.state, env.st, at("file"), RELORA_SAVE_CHECKSUM));
    unsigned char *file = slurp(at("file"), &size);
    raw_header((struct raw){file, size}, &data);
    for (size_t k = data; k + LOADER / 4 < size; k++)
        if (!memcmp(file + k, saved.loader, LOADER / 4)) {
            file[k + 1] ^= 1;
            break;
        }
    spit(at("file"), file, size);
    refused(RELORA_E_FORMAT, at("file"), &h, "\"loader\" is damaged", "checksum");
}
END_TEST

/* Other programs are given weights alone. */
START_TEST(test_exports)
{
    struct host h = new_host(1);
    OK(relora_state_export_merged(h.state, env.st, at("file")));
    relora_reader *reader = open_path(at("file"));
    ck_assert_int_eq(relora_reader_count(reader), 1);
    ck_assert_str_eq(relora_reader_name(reader, 0), "norm");
    relora_state *bytes = new_state();
    OK(relora_state_add_bytes(bytes, "position", &h.position, 8));
    FAILS(RELORA_E_NOT_FOUND, relora_state_export_merged(bytes, env.st, at("none")), "weight");
    OK(relora_state_save(bytes, env.st, at("alone"), 0)); /* they are something to save */
    OK(relora_state_load(bytes, env.st, open_path(at("alone"))));
}
END_TEST

Suite *state_bytes(void)
{
    Suite *s = suite_create("bytes in a state");
    TCase *tc = env_case(s, "bytes", 20);
    tcase_add_loop_test(tc, test_round_trip, 0, 2);
    tcase_add_test(tc, test_refused);
    tcase_add_test(tc, test_twice);
    tcase_add_test(tc, test_damage);
    tcase_add_test(tc, test_exports);
    return s;
}
