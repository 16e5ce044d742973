/* Handles in their slots, and what has to hold after every call. */
#include "dlpack.h"
#include "fuzz/api_world.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SLOTS = 6, HOST_ERRNO = 12345 /* of nobody */ };

static struct world {
    void *slots[KINDS][SLOTS];
    relora_tensor *temporaries[8];
    int temporary_count;
    int handles; /* other than NULL that were picked for this operation */
    size_t size; /* of the input */

    const char *function;
    uint64_t before; /* what the world looked like */
    int touched;     /* no longer: something else than a call has changed it */
    int64_t refused_before;
    int host_failed;
    int errors, quiet; /* lines of the log since the call began; is there a context without a log? */
    char last_error[1024];
} w;

struct call {
    const char *function;
    uint64_t results; /* of all calls so far */
};
static struct call calls[2][CALLS_MAX]; /* of this world and of the one before */
static int call_count[2], turn;
static uint64_t results;

char nowhere;

void require_failed(const char *condition, const char *file, int line)
{
    fprintf(stderr, "%s:%d: %s\nin call %d, %s; the last error was: %s\n", file, line, condition,
            call_count[turn], w.function ? w.function : "none", w.last_error);
    abort();
}

void result(const void *bytes, size_t size) { results = look_at_bytes(results, bytes, size); }

void result_text(const char *text) { result(text ? text : "", text ? strlen(text) + 1 : 0); }

/* ---- the log ---- */

static void listen(void *user, int32_t level, const char *message)
{
    REQUIRE(user == &w && level >= RELORA_LOG_ERROR && level <= RELORA_LOG_DEBUG);
    for (const char *c = message; *c; c++) REQUIRE((unsigned char)*c >= ' ' && *c != 127);
    result_text(message);
    if (level != RELORA_LOG_ERROR) return;
    REQUIRE(!strncmp(message, "relora_", 7) && strstr(message, ": "));
    snprintf(w.last_error, sizeof w.last_error, "%s", message);
    w.errors++;
}

void context_listen(relora_context_options *options, int quiet)
{
    memory_install(options);
    w.quiet |= quiet;
    if (quiet) return;
    options->log = listen;
    options->log_user = &w;
}

/* ---- calls ---- */

uint64_t look(void)
{
    uint64_t h = look_at_bytes(0, lent, sizeof lent);
    for (int kind = 0; kind < KINDS; kind++)
        for (int i = 0; i < SLOTS; i++) h = look_at(h, (enum kind)kind, w.slots[kind][i]);
    for (int i = 0; i < w.temporary_count; i++) h = look_at(h, TENSOR, w.temporaries[i]);
    return h;
}

void world_touched(void) { w.touched = 1; }

int world_has_room(void) { return call_count[turn] <= CALLS_MAX - 64; /* an operation makes fewer */ }

void call_begin(const char *function)
{
    w.function = function;
    w.errors = 0;
    w.refused_before = memory_refused();
    w.host_failed = 0;
    if (w.touched) w.before = look();
    w.touched = 0;
    errno = HOST_ERRNO;
}

static int starts(const char *text, const char *with) { return !strncmp(text, with, strlen(with)); }

/* What a failing call may have changed: nothing, but for memory that runs out in the middle of a result. */
static int must_keep(relora_status status)
{
    static const char *const partial[] = {
        "relora_linear_forward",         "relora_linear_backward",       "relora_linear_forward_shared",
        "relora_linear_backward_shared", "relora_linear_forward_at",     "relora_linear_backward_at",
        "relora_full_rank_step",         "relora_linear_full_rank_step", "relora_adam_reset",
        "relora_cycle_advance"};
    if (status >= 0 || w.host_failed) return 0;
    for (size_t i = 0; i < sizeof partial / sizeof *partial; i++)
        if (status == RELORA_E_NO_MEMORY && !strcmp(w.function, partial[i])) return 0;
    return 1;
}

/* One line for a failure, with the name of the function, unless no handle leads to a context. A context that
 * is not made has only the log of its options, if they can be read. */
static void check_text(relora_status status)
{
    int composed = starts(w.function, "relora_cycle_") || starts(w.function, "relora_state_");
    int unmade = !strcmp(w.function, "relora_context_create");
    if (status >= 0 || (!w.handles && !unmade)) {
        REQUIRE(!w.errors);
        return;
    }
    REQUIRE(w.errors == 1 || ((w.quiet || unmade) && !w.errors));
    if (w.errors && !composed)
        REQUIRE(starts(w.last_error, w.function) && w.last_error[strlen(w.function)] == ':');
}

void world_host_failed(void) { w.host_failed = 1; }

relora_status call_end(relora_status status)
{
    int host = errno;
    uint64_t now = look();
    int64_t refused = memory_refused() - w.refused_before;
    REQUIRE(host == HOST_ERRNO);
    REQUIRE(strcmp(relora_status_name(status), "RELORA_E_?") && relora_status_text(status)[0]);
    REQUIRE(status != RELORA_E_INTERNAL && status != RELORA_E_BACKEND);
    REQUIRE((status == RELORA_E_NO_MEMORY) == (refused != 0));
    REQUIRE(input_has_odd_struct() ? status < 0 : status != RELORA_E_STRUCT_SIZE);
    REQUIRE(!must_keep(status) || now == w.before);
    w.before = now;
    check_text(status);
    result(&status, sizeof status);
    result(&now, sizeof now);
    REQUIRE(call_count[turn] < CALLS_MAX);
    calls[turn][call_count[turn]++] = (struct call){w.function, results};
    return status;
}

/* ---- handles ---- */

static void *peek(enum kind kind)
{
    uint8_t c = choose();
    for (int i = 0; i < SLOTS && c < 244; i++)
        if (w.slots[kind][(c + i) % SLOTS]) return w.slots[kind][(c + i) % SLOTS];
    return NULL;
}

void *pick(enum kind kind)
{
    void *object = peek(kind);
    w.handles += object != NULL;
    return object;
}

relora_device *pick_device(void) { return relora_device_get(pick(CONTEXT), RELORA_DEVICE_CPU, 0); }

relora_tensor *pick_any_tensor(void)
{
    uint8_t c = choose();
    relora_tensor *t = NULL;
    if (c % 8 == 7) {
        relora_adam *adam = peek(ADAM);
        uint8_t which = choose();
        t = which % 2 ? relora_adam_flat_grad(adam) : relora_adam_moment(adam, which / 8 % 4, which / 2 % 4);
    } else if (c % 8 >= 5) {
        relora_linear *linear = peek(LINEAR);
        relora_param p = choose() % 8;
        t = c % 8 == 5 ? relora_linear_param(linear, p) : relora_linear_grad(linear, p);
    } else t = peek(TENSOR);
    w.handles += t != NULL;
    return t;
}

static void delete_managed(struct DLManagedTensorVersioned *managed)
{
    if (managed && managed->deleter) managed->deleter(managed);
}

void release_object(enum kind kind, void *object)
{
    call_begin("release");
    switch (kind) {
    case CONTEXT: relora_context_release(object); break;
    case STREAM: relora_stream_release(object); break;
    case TENSOR: relora_tensor_release(object); break;
    case LINEAR: relora_linear_release(object); break;
    case ADAM: relora_adam_release(object); break;
    case SCHEDULE: relora_schedule_release(object); break;
    case CYCLE: relora_cycle_release(object); break;
    case WRITER: relora_writer_release(object); break;
    case READER: relora_reader_release(object); break;
    case STATE: relora_state_release(object); break;
    case GROUP: relora_group_release(object); break;
    default: delete_managed(object); break;
    }
    call_end(RELORA_OK);
}

static void release_slot(int kind, int slot)
{
    void *object = w.slots[kind][slot];
    w.slots[kind][slot] = NULL;
    w.touched = 1;
    if (object) release_object(kind, object);
}

void release_one(void)
{
    uint8_t kind = choose(), slot = choose();
    if (kind >= 250) release_object(slot % KINDS, NULL);
    else release_slot(kind % KINDS, slot % SLOTS);
}

void forget(enum kind kind, const void *object)
{
    for (int i = 0; i < SLOTS; i++)
        if (w.slots[kind][i] == object) w.slots[kind][i] = NULL;
}

void keep(enum kind kind, relora_status status, void *object, int given)
{
    if (!given) {
        REQUIRE(status == RELORA_E_ARGUMENT && object == NOWHERE);
        return;
    }
    REQUIRE((status >= 0) == (object != NULL) && object != NOWHERE);
    if (!object) return;
    uint8_t c = choose();
    int slot = c % SLOTS;
    /* an empty one */
    for (int i = 0; i < SLOTS && c < 160 && w.slots[kind][slot]; i++) slot = (c + i) % SLOTS;
    release_slot(kind, slot);
    w.slots[kind][slot] = object;
    w.touched = 1;
}

relora_tensor *temporary(const relora_tensor *like, relora_dtype dtype, int32_t ndim, const int64_t *shape,
                         uint8_t seed)
{
    relora_tensor *t = NOWHERE;
    relora_device *device = relora_tensor_device(like);
    REQUIRE(w.temporary_count < (int)(sizeof w.temporaries / sizeof *w.temporaries));
    if (CALL(relora_tensor_create, &t, device, dtype, ndim, shape) < 0) return NULL;
    fill_tensor(t, seed);
    w.handles++;
    w.touched = 1;
    return w.temporaries[w.temporary_count++] = t;
}

relora_tensor *hollow(const relora_tensor *like, int32_t ndim, const int64_t *shape)
{
    relora_tensor *t = NOWHERE;
    relora_device *device = relora_tensor_device(like);
    REQUIRE(w.temporary_count < (int)(sizeof w.temporaries / sizeof *w.temporaries));
    if (CALL(relora_tensor_borrow, &t, device, RELORA_F32, ndim, shape, NULL, NULL, NULL, NULL) < 0)
        return NULL;
    w.handles++;
    w.touched = 1;
    return w.temporaries[w.temporary_count++] = t;
}

/* ---- life ---- */

void end_operation(void)
{
    input_end_operation(); /* first: no odd struct is given to what follows */
    while (w.temporary_count) {
        relora_tensor *t = w.temporaries[--w.temporary_count];
        w.touched = 1;
        release_object(TENSOR, t);
    }
    w.handles = 0;
}

void world_open(const uint8_t *data, size_t size, int poison)
{
    memset(&w, 0, sizeof w);
    input_open(data, size);
    memory_open(poison);
    paths_open();
    w.touched = 1;
    w.size = size;
    call_count[turn] = 0;
    results = 0;
}

void world_close(void)
{
    enum { ALL = KINDS * SLOTS };
    memory_fail(0, 0);
    for (int i = 0; i < ALL; i++) { /* in an order that the input decides */
        int slot = (7 * i + (int)(w.size % ALL)) % ALL;
        release_slot(slot / SLOTS, slot % SLOTS);
    }
    memory_close();
    paths_close();
    turn = !turn;
}

void worlds_compare(void)
{
    for (int i = 0; i < call_count[0] && i < call_count[1]; i++) {
        if (calls[0][i].results == calls[1][i].results) continue;
        fprintf(stderr, "call %d, %s, differs between two runs\n", i, calls[0][i].function);
        abort();
    }
    REQUIRE(call_count[0] == call_count[1]);
}
