#include "fuzz/api_world.h"
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    SLOTS = 6,
    CALLS = 600,            /* more than any input of 1024 bytes makes */
    ALIGNED = 64,
    HOST_ERRNO = 12345,     /* of nobody */
};
static const size_t BLOCK_MAX = 128 << 10, TOTAL_MAX = 4 << 20, FILE_MAX = 64 << 10;
static const size_t FILE_BUFFER = 1 << 20; /* what saving asks for */

struct call {
    const char *function;
    uint64_t results; /* of all calls so far */
};

static struct world {
    const uint8_t *data;
    size_t size, at;

    void *slots[KINDS][SLOTS];
    int handles;    /* other than NULL that were picked for this operation */
    int odd_struct; /* an options struct of this operation must be refused */
    int contexts, saves;

    int poison;
    int64_t blocks, refused;
    size_t bytes;
    int fail_wait, fail_count;

    relora_tensor *temporaries[8];
    void *borrowed[16];
    int temporary_count, borrowed_count;
    struct loan loans[CALLS];
    int loan_count;
    unsigned char *files[8];
    size_t file_sizes[8];
    int file_count, copy_count;
    void *copies[CALLS]; /* of files, for readers of memory */

    const char *function;
    uint64_t before; /* what the world looked like */
    int touched;     /* no longer: something else than a call has changed it */
    int64_t refused_before;
    int errors, quiet; /* lines of the log since the call began; is there a context without a log? */
    char last_error[1024];
} w;

static struct call calls[2][CALLS]; /* of this world and of the one before */
static int call_count[2], turn;
static uint64_t results;

char nowhere;
unsigned char lent[BLOCKS][BLOCK];

void require_failed(const char *condition, const char *file, int line)
{
    fprintf(stderr, "%s:%d: %s\nin call %d, %s; the last error was: %s\n", file, line, condition,
            call_count[turn], w.function ? w.function : "none", w.last_error);
    abort();
}

/* ---- memory: counted, poisoned, of exact size, and refused on demand ---- */

struct head {
    size_t size, alignment;
    unsigned char mark[ALIGNED - 2 * sizeof(size_t)];
};

static void *give(void *user, size_t size, size_t alignment)
{
    void *base;
    REQUIRE(user == &w && size && alignment && alignment <= ALIGNED && !(alignment & (alignment - 1)));
    int fails = w.fail_count && !w.fail_wait;
    if (fails) w.fail_count--;
    else if (w.fail_count)
        w.fail_wait--;
    if (fails || (size > BLOCK_MAX && size != FILE_BUFFER) || w.bytes + size > TOTAL_MAX) {
        w.refused++;
        return NULL;
    }
    REQUIRE(!posix_memalign(&base, ALIGNED, sizeof(struct head) + size));
    struct head *head = base;
    *head = (struct head){.size = size, .alignment = alignment};
    memset(head->mark, 0x5c, sizeof head->mark);
#ifndef RELORA_NO_POISON /* for valgrind, to which poison is as good as any value */
    memset(head + 1, w.poison, size);
#endif
    w.blocks++;
    w.bytes += size;
    return head + 1;
}

static void take_back(void *user, void *ptr, size_t size, size_t alignment)
{
    REQUIRE(user == &w && ptr);
    struct head *head = (struct head *)ptr - 1;
    REQUIRE(head->size == size && head->alignment == alignment);
    for (size_t i = 0; i < sizeof head->mark; i++) REQUIRE(head->mark[i] == 0x5c);
    w.blocks--;
    w.bytes -= size;
    free(head);
}

void fail_memory(int wait, int count)
{
    w.fail_wait = wait;
    w.fail_count = count;
}

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
    options->host_alloc = give;
    options->host_free = take_back;
    options->host_user = &w;
    if (quiet) {
        w.quiet = 1;
        return;
    }
    options->log = listen;
    options->log_user = &w;
}

/* ---- choices ---- */

uint8_t choose(void)
{
    return w.at < w.size ? w.data[w.at++] : 0;
}

int chosen_all(void)
{
    return w.at >= w.size || call_count[turn] > CALLS - 64;
}

int64_t choose_number(int64_t usual)
{
    static const int64_t odd[] = {0, 1, -1, 2, 3, 7, 64, 257, 4097, INT64_C(1) << 31, INT64_C(1) << 53,
                                  INT64_C(1) << 60, INT64_C(1) << 62, INT64_MAX, INT64_MIN, INT32_MIN};
    uint8_t c = choose();
    if (c < 176) return usual;
    if (c < 224) return (c - 176) % 12;
    return odd[c % (sizeof odd / sizeof *odd)];
}

double choose_real(double usual)
{
    static const double odd[] = {0.0, -0.0, 1, -1, 0.5, 0.999, 1e-8, 1e-45, 1e19, 1e38, 1e39, 1e308, 1e-308,
                                 -1e300, (double)INFINITY, -(double)INFINITY, (double)NAN};
    uint8_t c = choose();
    return c < 200 ? usual : odd[c % (sizeof odd / sizeof *odd)];
}

void *borrow_bytes(size_t size)
{
    void *bytes = malloc(size);
    REQUIRE(bytes && w.borrowed_count < (int)(sizeof w.borrowed / sizeof *w.borrowed));
    return w.borrowed[w.borrowed_count++] = bytes;
}

/* One field becomes something else: half of them an integer, half a double. */
static void spoil_field(unsigned char *bytes, size_t safe)
{
    static const int32_t words[] = {0, 1, 2, 3, 4, 5, 16, 255, 100000, -1, INT32_MAX, INT32_MIN};
    size_t at = 4 + 4 * (size_t)choose() % (safe - 4);
    uint8_t c = choose();
    int32_t word = words[c % (sizeof words / sizeof *words)];
    double real = choose_real(c);
    int64_t number = choose_number(word);
    if (at % 8 || at + 8 > safe) memcpy(bytes + at, &word, sizeof word);
    else
        memcpy(bytes + at, c & 64 ? (void *)&number : (void *)&real, 8);
}

/* Sizes that no release had, sizes of a later release that uses nothing new, and of one that does. */
static uint32_t odd_size(size_t size, int *tail)
{
    const uint32_t sizes[] = {0, 3, 4, (uint32_t)size - 1, (uint32_t)size + 4, (uint32_t)size + 8, 4096, 4097};
    uint8_t c = choose();
    *tail = c & 8;
    return c < 192 ? (uint32_t)size : sizes[c % 8];
}

const void *choose_options(const void *options, size_t size, size_t safe)
{
    int tail;
    uint32_t claimed = odd_size(size, &tail);
    size_t bytes = claimed < 4 ? 4 : claimed;
    unsigned char *copy = borrow_bytes(bytes);
    memset(copy, 0, bytes);
    memcpy(copy, options, bytes < size ? bytes : size);
    for (uint8_t c = choose(); c >= 160 && bytes >= size; c = choose()) spoil_field(copy, safe);
    memcpy(copy, &claimed, sizeof claimed);
    if (claimed > size && tail) copy[claimed - 1] = 1;
    w.odd_struct |= claimed < size || claimed > 4096 || (claimed > size && tail);
    return copy;
}

void *choose_report(size_t size)
{
    int unused;
    uint32_t claimed = odd_size(size, &unused);
    size_t bytes = claimed < 4 ? 4 : claimed;
    if (choose() >= 200) return NULL;
    unsigned char *report = borrow_bytes(bytes);
    memset(report, 0x77, bytes);
    memcpy(report, &claimed, sizeof claimed);
    w.odd_struct |= claimed < 4 || claimed > 4096;
    return report;
}

/* Longer than any line of the log, of letters that are not bytes. */
static const char *long_name(void)
{
    static char name[2001];
    for (size_t i = 0; i < sizeof name - 1; i += 2) memcpy(name + i, "\xc3\xa9", 2);
    return name;
}

const char *choose_name(void)
{
    const char *const names[] = {"a", "b", "c", "model.q", "model.k", "relora.x", "", "__metadata__",
                                        "\xff\xfe", "\xc3\xa9\n", "a.lora_A.weight", long_name(), NULL};
    uint8_t c = choose();
    return names[c < 180 ? c % 5 : c % 13];
}

/* ---- files ---- */

enum { PATHS = 4 };
static char folder[64], paths[PATHS][96];

static void remove_files(void)
{
    for (int i = 0; i < PATHS; i++) unlink(paths[i]);
}

static void remove_folder(void)
{
    remove_files();
    rmdir(folder);
}

static void make_folder(void)
{
    strcpy(folder, access("/dev/shm", W_OK) ? "/tmp/relora-api-XXXXXX" : "/dev/shm/relora-api-XXXXXX");
    REQUIRE(mkdtemp(folder));
    static const char *const names[PATHS] = {"first", "second", "adapter_model.safetensors", "adapter_config.json"};
    for (int i = 0; i < PATHS; i++) snprintf(paths[i], sizeof paths[i], "%s/%s", folder, names[i]);
    atexit(remove_folder);
}

const char *choose_path(void)
{
    uint8_t c = choose();
    const char *odd[] = {folder, "", NULL, "/nowhere/at/all"};
    if (c < 200 && w.saves++ < 6) return paths[c % PATHS];
    return odd[c % 4];
}

const char *choose_folder(void)
{
    uint8_t c = choose();
    const char *odd[] = {"", NULL, "/nowhere/at/all", paths[0]};
    return c < 200 && w.saves++ < 6 ? folder : odd[c % 4];
}

void result_file(const char *path)
{
    FILE *f = fopen(path, "rb");
    REQUIRE(f);
    unsigned char *bytes = malloc(FILE_MAX);
    REQUIRE(bytes);
    size_t size = fread(bytes, 1, FILE_MAX, f);
    fclose(f);
    result(bytes, size);
    int i = w.file_count++ % (int)(sizeof w.files / sizeof *w.files);
    REQUIRE(!w.files[i]); /* choose_path() gives fewer */
    w.files[i] = bytes;
    w.file_sizes[i] = size;
}

const void *read_back(size_t *size, size_t at, uint8_t change)
{
    if (!w.file_count) return NULL;
    *size = w.file_sizes[w.file_count - 1];
    unsigned char *copy = malloc(*size);
    REQUIRE(copy && w.copy_count < CALLS);
    memcpy(copy, w.files[w.file_count - 1], *size);
    copy[at % *size] ^= change;
    return w.copies[w.copy_count++] = copy;
}

/* ---- what can be seen ---- */

#ifdef __clang__
__attribute__((no_sanitize("coverage"))) /* most of the time would go there */
#endif
static uint64_t hash(uint64_t h, const void *bytes, size_t size)
{
    for (size_t i = 0; i < size; i += 8) {
        uint64_t word = 0;
        memcpy(&word, (const unsigned char *)bytes + i, size - i < 8 ? size - i : 8);
        h = (h ^ word) * UINT64_C(0x9e3779b97f4a7c15);
        h ^= h >> 32;
    }
    return (h ^ size) * UINT64_C(0x9e3779b97f4a7c15);
}

void result(const void *bytes, size_t size)
{
    results = hash(results, bytes, size);
}

void result_text(const char *text)
{
    result(text ? text : "", text ? strlen(text) + 1 : 0);
}

struct rows rows_of(const relora_tensor *t)
{
    int32_t ndim = relora_tensor_ndim(t);
    int64_t cols = ndim ? relora_tensor_dim(t, ndim - 1) : 1, count = relora_tensor_count(t), distance = cols;
    size_t item = relora_tensor_dtype(t) == RELORA_BF16 ? 2 : 4;
    for (int32_t i = ndim - 2; i >= 0; i--)
        if (relora_tensor_dim(t, i) > 1) {
            distance = relora_tensor_stride(t, i);
            break;
        }
    return (struct rows){relora_tensor_data(t), count ? count / cols : 0, (size_t)cols * item,
                         (size_t)distance * item};
}

static uint64_t look_tensor(uint64_t h, const relora_tensor *t)
{
    int64_t about[4 + 2 * RELORA_MAX_DIMS] = {relora_tensor_dtype(t), relora_tensor_ndim(t), relora_tensor_count(t)};
    for (int32_t i = 0; i < RELORA_MAX_DIMS; i++) {
        about[4 + 2 * i] = relora_tensor_dim(t, i);
        about[5 + 2 * i] = relora_tensor_stride(t, i);
    }
    h = hash(h, about, sizeof about);
    if (!t) return h;
    struct rows rows = rows_of(t);
    for (int64_t i = 0; i < rows.count; i++)
        h = hash(h, rows.data + (size_t)i * rows.pitch, rows.bytes);
    return h;
}

static uint64_t look_linear(uint64_t h, relora_linear *linear)
{
    int32_t mode = relora_linear_get_mode(linear);
    h = hash(h, &mode, sizeof mode);
    for (relora_param p = 0; p <= RELORA_PARAM_DELTA + 1; p++) {
        h = look_tensor(h, relora_linear_param(linear, p));
        h = look_tensor(h, relora_linear_grad(linear, p));
    }
    return h;
}

static uint64_t look_adam(uint64_t h, relora_adam *adam)
{
    int32_t count = relora_adam_count(adam);
    h = hash(h, &count, sizeof count);
    for (int32_t i = 0; i < count; i++) {
        const char *name = relora_adam_name(adam, i);
        REQUIRE(name && name[0]);
        h = hash(h, name, strlen(name));
        h = look_tensor(h, relora_adam_moment(adam, i, RELORA_MOMENT_FIRST));
        h = look_tensor(h, relora_adam_moment(adam, i, RELORA_MOMENT_SECOND));
    }
    return look_tensor(h, relora_adam_flat_grad(adam));
}

uint64_t look(void)
{
    uint64_t h = hash(0, lent, sizeof lent);
    for (int i = 0; i < SLOTS; i++) {
        h = look_tensor(h, w.slots[TENSOR][i]);
        if (w.slots[LINEAR][i]) h = look_linear(h, w.slots[LINEAR][i]);
        if (w.slots[ADAM][i]) h = look_adam(h, w.slots[ADAM][i]);
        int32_t count = relora_reader_count(w.slots[READER][i]);
        h = hash(h, &count, sizeof count);
    }
    for (int i = 0; i < w.temporary_count; i++) h = look_tensor(h, w.temporaries[i]);
    return h;
}

/* ---- calls ---- */

void call_begin(const char *function)
{
    w.function = function;
    w.errors = 0;
    w.refused_before = w.refused;
    if (w.touched) w.before = look();
    w.touched = 0;
    errno = HOST_ERRNO;
}

static int starts(const char *text, const char *with)
{
    return !strncmp(text, with, strlen(with));
}

/* What a failing call may have changed: nothing, but for memory that runs out in the middle of a result. */
static int must_keep(relora_status status)
{
    static const char *const partial[] = {"relora_linear_forward", "relora_linear_backward",
                                          "relora_adam_reset", "relora_cycle_advance"};
    if (status >= 0) return 0;
    for (size_t i = 0; i < sizeof partial / sizeof *partial; i++)
        if (status == RELORA_E_NO_MEMORY && !strcmp(w.function, partial[i])) return 0;
    return 1;
}

/* One line for a failure, with the name of the function, unless no handle leads to a context. */
static void check_text(relora_status status)
{
    int composed = starts(w.function, "relora_cycle_") || starts(w.function, "relora_state_");
    if (status >= 0 || !w.handles) {
        REQUIRE(!w.errors);
        return;
    }
    REQUIRE(w.errors == 1 || (w.quiet && !w.errors));
    if (w.errors && !composed)
        REQUIRE(starts(w.last_error, w.function) && w.last_error[strlen(w.function)] == ':');
}

relora_status call_end(relora_status status)
{
    int host = errno;
    uint64_t now = look();
    int64_t refused = w.refused - w.refused_before;
    REQUIRE(host == HOST_ERRNO);
    REQUIRE(strcmp(relora_status_name(status), "RELORA_E_?") && relora_status_text(status)[0]);
    REQUIRE(status != RELORA_E_INTERNAL && status != RELORA_E_BACKEND);
    REQUIRE((status == RELORA_E_NO_MEMORY) == (refused != 0));
    REQUIRE(w.odd_struct ? status < 0 : status != RELORA_E_STRUCT_SIZE);
    REQUIRE(!must_keep(status) || now == w.before);
    w.before = now;
    check_text(status);
    result(&status, sizeof status);
    result(&now, sizeof now);
    REQUIRE(call_count[turn] < CALLS);
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

relora_device *pick_device(void)
{
    return relora_device_get(pick(CONTEXT), RELORA_DEVICE_CPU, 0);
}

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
    } else
        t = peek(TENSOR);
    w.handles += t != NULL;
    return t;
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
    default: relora_state_release(object); break;
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
    else
        release_slot(kind % KINDS, slot % SLOTS);
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
    for (int i = 0; i < SLOTS && c < 160 && w.slots[kind][slot]; i++) slot = (c + i) % SLOTS; /* an empty one */
    release_slot(kind, slot);
    w.slots[kind][slot] = object;
    w.touched = 1;
}

/* ---- tensors ---- */

static float some_value(uint8_t seed, int64_t i)
{
    static const float odd[] = {NAN, INFINITY, -INFINITY, 3e38f, 1e-40f, -0.0f, 1e19f, 1e10f};
    if (seed >= 240 && i % 5 == seed % 5) return odd[seed % 8];
    return (float)((i * 7 + seed) % 13 - 6) / 8;
}

void fill_tensor(relora_tensor *tensor, uint8_t seed)
{
    w.touched = 1;
    struct rows rows = rows_of(tensor);
    int wide = relora_tensor_dtype(tensor) == RELORA_F32;
    int64_t n = 0;
    for (int64_t i = 0; i < rows.count; i++)
        for (size_t at = 0; at < rows.bytes; at += wide ? 4 : 2) {
            float value = some_value(seed, n++);
            unsigned char bytes[4];
            memcpy(bytes, &value, sizeof value);
            memcpy(rows.data + (size_t)i * rows.pitch + at, wide ? bytes : bytes + 2, wide ? 4 : 2);
        }
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

struct loan *loan_new(void)
{
    REQUIRE(w.loan_count < CALLS);
    return &w.loans[w.loan_count++];
}

struct loan *loan_of(const relora_tensor *tensor)
{
    for (int i = w.loan_count - 1; i >= 0; i--)
        if (w.loans[i].tensor == tensor && w.loans[i].owed) return &w.loans[i];
    return NULL;
}

void loan_return(void *user, void *data)
{
    struct loan *loan = user;
    REQUIRE(loan >= w.loans && loan < &w.loans[w.loan_count] && loan->owed > 0);
    REQUIRE(!data || (uintptr_t)data - (uintptr_t)lent < sizeof lent);
    loan->owed--;
}

/* ---- life ---- */

void end_operation(void)
{
    while (w.temporary_count) {
        relora_tensor *t = w.temporaries[--w.temporary_count];
        w.touched = 1;
        release_object(TENSOR, t);
    }
    while (w.borrowed_count) free(w.borrowed[--w.borrowed_count]);
    w.handles = w.odd_struct = 0;
}

void world_open(const uint8_t *data, size_t size, int poison)
{
    if (!folder[0]) make_folder();
    remove_files();
    memset(&w, 0, sizeof w);
    memset(lent, 0x11, sizeof lent);
    w.touched = 1;
    w.data = data;
    w.size = size;
    w.poison = poison;
    call_count[turn] = 0;
    results = 0;
}

void world_close(void)
{
    enum { ALL = KINDS * SLOTS };
    fail_memory(0, 0);
    for (int i = 0; i < ALL; i++) { /* in an order that the input decides */
        int slot = (7 * i + (int)(w.size % ALL)) % ALL;
        release_slot(slot / SLOTS, slot % SLOTS);
    }
    REQUIRE(!w.blocks && !w.bytes);
    for (int i = 0; i < w.loan_count; i++) REQUIRE(!w.loans[i].owed);
    for (int i = 0; i < w.file_count; i++) free(w.files[i]);
    for (int i = 0; i < w.copy_count; i++) free(w.copies[i]);
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
