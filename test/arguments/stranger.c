#include "arguments/arguments.h"

char poison;

static void release_context(void *p) { relora_context_release(p); }
static void release_stream(void *p) { relora_stream_release(p); }
static void release_tensor(void *p) { relora_tensor_release(p); }

struct stranger new_stranger(void)
{
    struct stranger s;
    relora_context_options o = env_options();
    OK(relora_context_create(&s.ctx, &o));
    defer(release_context, s.ctx);
    s.dev = relora_device_get(s.ctx, env_kind(), 0);
    OK(relora_stream_create(&s.st, s.dev));
    defer(release_stream, s.st);
    return s;
}

relora_tensor *stranger_matrix(struct stranger *s, relora_dtype dtype, int64_t rows, int64_t cols)
{
    relora_tensor *t;
    OK(relora_tensor_create(&t, s->dev, dtype, 2, (int64_t[]){rows, cols}));
    defer(release_tensor, t);
    OK(relora_tensor_fill(t, s->st, 0));
    return t;
}

const void *bad_struct_size(struct padded *p, const void *good, size_t size, int which)
{
    /* none, only itself, one byte short of the first release, set beyond what we know, absurd */
    const uint32_t sizes[] = {0, 4, (uint32_t)size - 1, (uint32_t)size + 8, 8000};
    if (which >= 5) return NULL;
    memset(p, 0, sizeof *p);
    memcpy(p->bytes, good, size);
    memcpy(p->bytes, &sizes[which], sizeof sizes[which]);
    if (which == 3) p->bytes[size + 3] = 1;
    return p->bytes;
}
