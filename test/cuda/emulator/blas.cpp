#include "internal.h"
int emulated::blas_objects() { return 0; }
