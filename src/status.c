/* Every status, its identifier and its text. */
#include "relora/status.h"

static const struct {
    relora_status status;
    const char *name, *text;
} table[] = {
    {RELORA_OK, "RELORA_OK", "no error"},
    {RELORA_E_INTERNAL, "RELORA_E_INTERNAL", "a fault of librelora itself"},
    {RELORA_E_ARGUMENT, "RELORA_E_ARGUMENT", "an argument is missing or out of range"},
    {RELORA_E_STRUCT_SIZE, "RELORA_E_STRUCT_SIZE", "struct_size does not fit this release"},
    {RELORA_E_SHAPE, "RELORA_E_SHAPE", "shapes do not fit each other"},
    {RELORA_E_DTYPE, "RELORA_E_DTYPE", "the element type cannot be used here"},
    {RELORA_E_DEVICE, "RELORA_E_DEVICE", "objects of different devices in one call"},
    {RELORA_E_LAYOUT, "RELORA_E_LAYOUT", "strides or alignment cannot be used in place"},
    {RELORA_E_CONTEXT, "RELORA_E_CONTEXT", "objects of different contexts in one call"},
    {RELORA_E_OVERFLOW, "RELORA_E_OVERFLOW", "a size does not fit 63 bits"},
    {RELORA_E_STATE, "RELORA_E_STATE", "the object is not in a state that allows this"},
    {RELORA_E_NOT_FOUND, "RELORA_E_NOT_FOUND", "not found"},
    {RELORA_E_EXISTS, "RELORA_E_EXISTS", "it exists already"},
    {RELORA_E_READ_ONLY, "RELORA_E_READ_ONLY", "it must not be written to"},
    {RELORA_E_UNSUPPORTED, "RELORA_E_UNSUPPORTED", "this is not supported"},
    {RELORA_E_NO_MEMORY, "RELORA_E_NO_MEMORY", "out of memory"},
    {RELORA_E_BACKEND, "RELORA_E_BACKEND", "the device failed; its stream is finished"},
    {RELORA_E_COMM, "RELORA_E_COMM", "another rank failed or did not answer; the stream is finished"},
    {RELORA_E_IO, "RELORA_E_IO", "a system call on a file failed"},
    {RELORA_E_FORMAT, "RELORA_E_FORMAT", "the contents of a file are not valid"},
    {RELORA_E_VERSION, "RELORA_E_VERSION", "a version that this release does not know"},
    {RELORA_E_NOT_FINITE, "RELORA_E_NOT_FINITE", "a NaN or an infinity where it would do harm"},
};

enum { COUNT = sizeof table / sizeof *table };

const char *relora_status_name(relora_status status)
{
    for (int i = 0; i < COUNT; i++)
        if (table[i].status == status) return table[i].name;
    return "RELORA_E_?";
}

const char *relora_status_text(relora_status status)
{
    for (int i = 0; i < COUNT; i++)
        if (table[i].status == status) return table[i].text;
    return "unknown status";
}
