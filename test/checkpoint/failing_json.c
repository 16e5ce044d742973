/* jansson has an allocator of its own. It fails at each request in turn, once or from then on: no crash, nothing
 * leaked, no wrong file and no wrong reader, and no other status than RELORA_E_NO_MEMORY. */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include "checkpoint/run.h"

static int64_t requests, refuse, outstanding;
static int lasting;

static void *json_alloc(size_t size)
{
    if (++requests == refuse || (lasting && refuse && requests > refuse)) return NULL;
    outstanding++;
    return malloc(size);
}

static void json_free(void *p)
{
    if (p) outstanding--;
    free(p);
}

static struct run run;
static struct raw file;

/* Every name, place and pair of a file: what its header says. */
static char *header_of(const relora_reader *r)
{
    char *text = scratch(4096);
    size_t n = 0;
    for (int32_t i = 0; i < relora_reader_count(r); i++) {
        const char *name = relora_reader_name(r, i);
        const void *data;
        size_t bytes;
        int32_t ndim;
        int64_t shape[8] = {0};
        OK(relora_reader_bytes(r, name, &data, &bytes));
        OK(relora_reader_shape(r, name, &ndim, shape, 8));
        n += (size_t)snprintf(text + n, 4096 - n, "%s %s %d %d %d at %d\n", name,
                              relora_reader_dtype(r, name), (int)ndim, (int)shape[0], (int)shape[1],
                              (int)((const unsigned char *)data - file.bytes));
    }
    for (int32_t i = 0; i < relora_reader_metadata_count(r); i++) {
        const char *key = relora_reader_metadata_key(r, i);
        n += (size_t)snprintf(text + n, 4096 - n, "%s=%s\n", key, relora_reader_metadata(r, key));
    }
    ck_assert_uint_lt(n, 4096);
    return text;
}

static char *header;

static relora_status act(int which)
{
    relora_reader *r = NULL;
    relora_status status;
    switch (which) {
    case 0: return relora_state_save(run.state, env.st, at("file"), RELORA_SAVE_CHECKSUM);
    case 1: return relora_state_export_merged(run.state, env.st, at("file"));
    case 2: return relora_state_export_adapter(run.state, env.st, at(""), "base");
    default:
        status = relora_reader_open_memory(&r, env.ctx, file.bytes, file.size);
        if (status == RELORA_OK) {
            if (!header) header = header_of(r);
            ck_assert_str_eq(header_of(r), header);
            status = relora_reader_verify(r);
        }
        relora_reader_release(r);
        return status;
    }
}

/* The `n`th request of this is refused. */
static relora_status act_refused(int which, int64_t n)
{
    requests = outstanding = 0;
    refuse = n;
    relora_status status = act(which);
    refuse = 0;
    ck_assert_int_eq(outstanding, 0);
    return status;
}

static int is_file(const char *name, const struct raw *want)
{
    size_t size;
    void *bytes = slurp(at(name), &size);
    return size == want->size && !memcmp(bytes, want->bytes, size);
}

START_TEST(test_json)
{
    static const char *const made[] = {"file", "file", "adapter_config.json", NULL};
    struct recipe recipe = recipe_of(3);
    struct raw want = {NULL, 0};
    size_t size;
    int failures = 0;
    json_malloc_t was_malloc;
    json_free_t was_free;
    run = new_run(&recipe, 1);
    file = small_file(RELORA_SAVE_CHECKSUM);
    int which = _i % 4;
    lasting = _i / 4;
    header = NULL;
    OK(act(which));
    if (made[which]) {
        void *bytes = slurp(at(made[which]), &size);
        want = raw_copy(bytes, size);
    }
    json_get_alloc_funcs(&was_malloc, &was_free);
    json_set_alloc_funcs(json_alloc, json_free);
    for (int64_t n = 1, met = 1; met; n++) {
        if (made[which]) spit(at(made[which]), "old", 3);
        relora_status status = act_refused(which, n);
        met = requests >= n;
        failures += status < 0;
        ck_assert_msg(status == RELORA_OK || status == RELORA_E_NO_MEMORY, "request %d: %s", (int)n,
                      relora_status_name(status));
        if (!made[which]) continue;
        if (status == RELORA_OK) ck_assert_msg(is_file(made[which], &want), "wrong at request %d", (int)n);
        else holds(at(made[which]), "old", 3);
    }
    json_set_alloc_funcs(was_malloc, was_free);
    ck_assert_int_gt(failures, 10);
}
END_TEST

Suite *failing_json(void)
{
    Suite *s = suite_create("failing memory of jansson");
    TCase *tc = env_case(s, "json", 60);
    tcase_add_loop_test(tc, test_json, 0, 8);
    return s;
}
