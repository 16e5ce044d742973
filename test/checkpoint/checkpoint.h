/* What the files of this suite share: a folder for each test, files made byte by byte, and objects that
 * are released at env_close(). */
#ifndef TEST_CHECKPOINT_H
#define TEST_CHECKPOINT_H

#include <math.h>
#include <string.h>
#include "support/close.h"
#include "support/objects.h"

/* ---- folder.c: everything lives until env_close() ---- */

/** Path of `name` in a folder of the running test, which is removed with all in it. */
const char *at(const char *name);
int files(void); /* in that folder */
int exists(const char *path);
void *slurp(const char *path, size_t *size);
void spit(const char *path, const void *bytes, size_t size);
/** Fail unless the file at `path` holds exactly these bytes. */
void holds(const char *path, const void *bytes, size_t size);
int open_files(void); /* descriptors of this process */
int mappings(void);   /* of files of that folder into this process */

/* ---- raw.c: files made by hand ---- */

struct raw {
    unsigned char *bytes; /* exactly `size` of them, so that the sanitizer sees one too many */
    size_t size;
};
/** `header` as it is, its length before it, and `data` bytes of the pattern behind it. */
struct raw raw_file(const char *header, size_t data);
struct raw raw_copy(const void *bytes, size_t size);
/** Bytes that differ from place to place and from seed to seed. */
unsigned char *pattern(size_t bytes, int seed);
/** The header of a file, NUL-terminated, and where its data begins. */
char *raw_header(struct raw file, size_t *data);

/* ---- made.c ---- */

relora_writer *new_writer(void);
relora_state *new_state(void);
relora_reader *open_path(const char *path);
relora_reader *open_raw(struct raw file);
/** Release one before env_close(). */
void close_reader(relora_reader *reader);
void add_pattern(relora_writer *w, const char *name, const char *dtype, int32_t ndim, const int64_t *shape,
                 size_t bytes, int seed);
/** Fail unless the tensor of the reader has this type, shape and these bytes. */
void has_tensor(const relora_reader *r, const char *name, const char *dtype, int32_t ndim,
                const int64_t *shape, const void *bytes, size_t size);
/** A writer with everything the reader has, and what it saves. */
relora_writer *copy_of(const relora_reader *r);
/** A small file with F32 [2, 3] "first", BF16 [4] "second" and a pair "who", as saved with flags. */
struct raw small_file(uint32_t flags);

/** A second context, to mix with env. */
struct other {
    relora_context *ctx;
    relora_device *dev;
    relora_stream *st;
    relora_tensor *matrix; /* F32 [2, 3] */
};
struct other new_other(void);

extern char poison; /* what *out holds before a call that must fail */
#define POISON ((void *)&poison)

/* ---- the suites ---- */

Suite *writer_arguments(void);
Suite *reader_arguments(void);
Suite *state_arguments(void);
Suite *bad_headers(void);
Suite *bad_files(void);
Suite *damage(void);
Suite *round_trips(void);
Suite *tensors(void);
Suite *checksums(void);
Suite *save_faults(void);
Suite *save_crashes(void);
Suite *save_limits(void);
Suite *save_locks(void);
Suite *big_files(void);
Suite *recorded_files(void);
Suite *python_reads(void);
Suite *state_loads(void);
Suite *state_refusals(void);
Suite *state_files(void);
Suite *state_resumes(void);
Suite *exports_merged(void);
Suite *exports_adapter(void);
Suite *exports_delta(void);
Suite *exports_layout(void);
Suite *failing_json(void);
Suite *devices(void);
Suite *old_states(void);
Suite *conversions(void);
Suite *group_states(void);
Suite *group_reads(void);
Suite *other_files(void);
Suite *locales(void);
Suite *state_turns(void);
Suite *state_bytes(void);

#endif
