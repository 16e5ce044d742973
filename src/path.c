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

relora_status path_open(struct relora_device *device)
{
    enum { WIDE = 512 };
    for (relora_dtype dtype = RELORA_F32; dtype <= RELORA_BF16; dtype++) {
        struct view square = {NULL, WIDE, WIDE, WIDE, dtype};
        struct gemm g = {.a = square, .b = square, .tb = 1, .c = square};
        TRY(device->backend->gemm_tell(NULL, &g, &device->product[dtype]));
    }
    return RELORA_OK;
}

void path_log(const struct call *c, const struct relora_device *device)
{
    char f32[PATH_TEXT], bf16[PATH_TEXT];
    call_log(c, RELORA_LOG_INFO, "%s: products in F32 by %s, in BF16 by %s", relora_build_info(),
             path_text(&device->product[RELORA_F32], f32), path_text(&device->product[RELORA_BF16], bf16));
}
