package relora

// #include <stdlib.h>
import "C"

import "unsafe"

// Malloc is memory outside Go, for BorrowTensor.
func Malloc(bytes int) unsafe.Pointer { return C.malloc(C.size_t(bytes)) }

// Free gives it back.
func Free(p unsafe.Pointer) { C.free(p) }
