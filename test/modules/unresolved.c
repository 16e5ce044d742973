/* A module on a system that lacks what it needs. */
#include "backend.h"

const struct backend *relora_cuda_backend(uint32_t version);
const struct backend *missing_on_this_system(uint32_t version);
__attribute__((visibility("default"))) const struct backend *relora_cuda_backend(uint32_t version)
{
    return missing_on_this_system(version);
}
