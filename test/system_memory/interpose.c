#define _GNU_SOURCE /* dladdr() */
#include "system_memory/interpose.h"

#include <dlfcn.h>
#include <errno.h>
#include <execinfo.h>
#include <malloc.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

/* what the GNU C library calls its own */
void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *ptr, size_t size);
void *__libc_memalign(size_t alignment, size_t size);
void __libc_free(void *ptr);

static atomic_int watching;
static atomic_llong requests, ours, nth;
static atomic_llong in_use, peak, limit; /* bytes */
static enum interpose_how how;
static char asked_by[LIBRARY_NAME];

void interpose_start(int64_t which, enum interpose_how kind)
{
    asked_by[0] = '\0';
    requests = ours = 0;
    nth = which;
    how = kind;
    peak = (long long)in_use;
    watching = 1;
}

int64_t interpose_stop(void)
{
    watching = 0;
    return requests;
}

int64_t interpose_ours(void) { return ours; }

const char *interpose_asked_by(void) { return asked_by; }

static int is_runtime(const char *name)
{
    return !strncmp(name, "libc.", 5) || !strncmp(name, "libstdc++", 9) || !strncmp(name, "libgcc", 6) ||
           !strncmp(name, "ld-linux", 8);
}

/* The file of the library that holds an address, without its folder; NULL if it is this program's or nobody's. */
static const char *library_at(const void *address)
{
    Dl_info info, program;
    if (!dladdr(address, &info) || !dladdr(asked_by, &program) || info.dli_fbase == program.dli_fbase)
        return NULL;
    const char *slash = strrchr(info.dli_fname, '/');
    return slash ? slash + 1 : info.dli_fname;
}

void library_of_stack(char name[LIBRARY_NAME])
{
    void *frames[64];
    int n = backtrace(frames, 64);
    strcpy(name, "?");
    for (int i = 0; i < n; i++) {
        const char *library = library_at(frames[i]);
        if (!library || is_runtime(library)) continue;
        strncat(strcpy(name, ""), library, LIBRARY_NAME - 1);
        return;
    }
}

static int refused(size_t size, const void *caller)
{
    if (!watching) return 0;
    const char *library = library_at(caller);
    if (library && !strncmp(library, "librelora", strlen("librelora"))) ours++;
    long long n = ++requests;
    if (!nth || n < nth) return 0;
    if (n == nth) {
        watching = 0; /* looking may need memory itself */
        library_of_stack(asked_by);
        limit = peak + SLACK;
        watching = 1;
    } else if (how == REFUSE_ALONE || (how == REFUSE_LARGE && in_use + (long long)size <= limit)) {
        return 0;
    }
    errno = ENOMEM;
    return 1;
}

static void *given(void *ptr)
{
    long long size = (long long)malloc_usable_size(ptr), now = atomic_fetch_add(&in_use, size) + size;
    if (now > peak) peak = now;
    return ptr;
}

void *malloc(size_t size)
{
    return refused(size, __builtin_return_address(0)) ? NULL : given(__libc_malloc(size));
}

void *calloc(size_t count, size_t size)
{
    return refused(count * size, __builtin_return_address(0)) ? NULL : given(__libc_calloc(count, size));
}

void *realloc(void *ptr, size_t size)
{
    if (refused(size, __builtin_return_address(0))) return NULL;
    in_use -= (long long)malloc_usable_size(ptr);
    void *moved = __libc_realloc(ptr, size);
    given(moved ? moved : ptr);
    return moved;
}

void free(void *ptr)
{
    in_use -= (long long)malloc_usable_size(ptr);
    __libc_free(ptr);
}

void *aligned_alloc(size_t alignment, size_t size)
{
    return refused(size, __builtin_return_address(0)) ? NULL : given(__libc_memalign(alignment, size));
}

void *memalign(size_t alignment, size_t size)
{
    return refused(size, __builtin_return_address(0)) ? NULL : given(__libc_memalign(alignment, size));
}

int posix_memalign(void **out, size_t alignment, size_t size)
{
    void *ptr = refused(size, __builtin_return_address(0)) ? NULL : given(__libc_memalign(alignment, size));
    if (!ptr) return ENOMEM;
    *out = ptr;
    return 0;
}

void *plain_alloc(void *user, size_t size, size_t alignment)
{
    int64_t *outstanding = user;
    void *ptr = __libc_memalign(alignment, size);
    if (ptr) ++*outstanding;
    return ptr;
}

void plain_free(void *user, void *ptr, size_t size, size_t alignment)
{
    (void)size, (void)alignment;
    int64_t *outstanding = user;
    --*outstanding;
    __libc_free(ptr);
}
