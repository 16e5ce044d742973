/* How a product is made, in words. */
#include "path.h"

#include <stdio.h>

#include "relora/version.h"

const char *path_text(const struct gemm_path *path, char text[PATH_TEXT])
{
    static const char *const providers[] = {"nothing", "the library's own product", "oneDNN", "a BLAS"};
    static const char *const sets[] = {
        "", " with the base instructions", " with NEON", " with AVX2", " with AVX-512", " with AMX"};
    snprintf(text, PATH_TEXT, "%s%s%s", providers[path->provider], sets[path->isa],
             path->converts ? ", which converts" : "");
    return text;
}

void path_log(const struct call *c, const struct relora_device *device)
{
    enum { WIDE = 512 }; /* of a product like those of layers */
    char text[2][PATH_TEXT];
    if (!context_listens(c->ctx, RELORA_LOG_INFO) || !device->backend->gemm_tell) return;
    for (int i = 0; i < 2; i++) {
        struct view square = {NULL, WIDE, WIDE, WIDE, i ? RELORA_BF16 : RELORA_F32};
        struct gemm g = {.a = square, .b = square, .tb = 1, .c = square};
        struct gemm_path path = {0};
        if (device->backend->gemm_tell(device->queue, &g, &path) < 0) return;
        path_text(&path, text[i]);
    }
    call_log(c, RELORA_LOG_INFO, "%s: products in F32 by %s, in BF16 by %s", relora_build_info(), text[0],
             text[1]);
}
