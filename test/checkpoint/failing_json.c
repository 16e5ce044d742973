/* jansson has an allocator of its own. It fails once, at each request in turn: no crash, nothing leaked, no
 * wrong file and no wrong reader. (The library cannot always tell this from bad JSON or bad UTF-8, so the
 * status may be that of either.) */
#include <jansson.h>
#include <stdlib.h>
#include "checkpoint/run.h"

static int64_t requests, refuse, outstanding;

static void *json_alloc(size_t size)
{
    if (++requests == refuse) return NULL;
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
        if (status == RELORA_OK) status = relora_reader_verify(r);
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
    OK(act(_i));
    if (made[_i]) {
        void *bytes = slurp(at(made[_i]), &size);
        want = raw_copy(bytes, size);
    }
    json_get_alloc_funcs(&was_malloc, &was_free);
    json_set_alloc_funcs(json_alloc, json_free);
    for (int64_t n = 1, met = 1; met; n++) {
        if (made[_i]) spit(at(made[_i]), "old", 3);
        relora_status status = act_refused(_i, n);
        met = requests >= n;
        failures += status < 0;
        ck_assert_msg(status == RELORA_OK || status == RELORA_E_NO_MEMORY || status == RELORA_E_FORMAT ||
                      status == RELORA_E_ARGUMENT, "request %d: %s", (int)n, relora_status_name(status));
        if (!made[_i]) continue;
        if (status == RELORA_OK) ck_assert_msg(is_file(made[_i], &want), "wrong at request %d", (int)n);
        else
            holds(at(made[_i]), "old", 3);
    }
    json_set_alloc_funcs(was_malloc, was_free);
    ck_assert_int_gt(failures, 10);
}
END_TEST

Suite *failing_json(void)
{
    Suite *s = suite_create("failing memory of jansson");
    TCase *tc = env_case(s, "json", 60);
    tcase_add_loop_test(tc, test_json, 0, 4);
    return s;
}
