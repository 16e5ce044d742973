/* What this build is. */
#include "relora/version.h"

#include "checksum.h"

#if RELORA_ONEDNN
#include <oneapi/dnnl/dnnl_version.h>
#endif

#define TEXT2(x) #x
#define TEXT(x) TEXT2(x)

#if RELORA_XXHASH
#define CHECKSUM_KIND "xxh3"
#else
#define CHECKSUM_KIND "none"
#endif

uint32_t relora_version(void)
{
    return RELORA_VERSION_MAJOR << 16 | RELORA_VERSION_MINOR << 8 | RELORA_VERSION_PATCH;
}

const char *relora_version_string(void)
{
    return TEXT(RELORA_VERSION_MAJOR) "." TEXT(RELORA_VERSION_MINOR) "." TEXT(RELORA_VERSION_PATCH);
}

const char *relora_build_info(void)
{
    return
#if RELORA_ONEDNN
        "gemm=onednn-" TEXT(DNNL_VERSION_MAJOR) "." TEXT(DNNL_VERSION_MINOR) "." TEXT(DNNL_VERSION_PATCH)
#elif defined(RELORA_BLAS)
        "gemm=" TEXT(RELORA_BLAS)
#else
        "gemm=own"
#endif
#ifdef _OPENMP
            ",threads=openmp"
#else
            ",threads=own"
#endif
            ",checksums=" CHECKSUM_KIND;
}
