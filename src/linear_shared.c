/* Several layers that read the same x: query, key and value, say. All is checked before any of it is done. Then as
 * many as are made at a time share the casts of their factors and, on a device, products (linear_stack.c). */
#include <stdio.h>

#include "linear_pass.h"

enum { NAME_TEXT = 32 };

static const char *name_text(char text[NAME_TEXT], const char *name, int32_t i)
{
    snprintf(text, NAME_TEXT, "%s[%d]", name, i);
    return text;
}

/* That of the first layer, else of the stream, else of a tensor: where a sentence goes. */
static relora_context *context_of(relora_linear *const *linears, int32_t count, const relora_stream *stream,
                                  const relora_tensor *tensor)
{
    for (int32_t i = 0; linears && i < count; i++)
        if (linears[i]) return linears[i]->ctx;
    return stream ? stream->ctx : tensor ? tensor->ctx : NULL;
}

/* The lists, and that no layer comes twice: it would overwrite its own gradients. */
static relora_status check_lists(const struct call *c, relora_linear *const *linears, int32_t count,
                                 const char *name, const void *tensors)
{
    if (!c->stream) FAIL(c, RELORA_E_ARGUMENT, "stream is NULL");
    if (count < 1) FAIL(c, RELORA_E_ARGUMENT, "count is %d, less than 1", count);
    if (!linears) FAIL(c, RELORA_E_ARGUMENT, "linears is NULL");
    if (!tensors) FAIL(c, RELORA_E_ARGUMENT, "%s is NULL", name);
    for (int32_t i = 0; i < count; i++) {
        if (!linears[i]) FAIL(c, RELORA_E_ARGUMENT, "linears[%d] is NULL", i);
        for (int32_t j = 0; j < i; j++)
            if (linears[i] == linears[j])
                FAIL(c, RELORA_E_ARGUMENT, "linears[%d] and linears[%d] are one layer", j, i);
    }
    return RELORA_OK;
}

static int32_t at_once(int32_t left)
{
    return left < PASSES ? left : PASSES;
}

relora_status relora_linear_forward_shared(relora_linear *const *linears, int32_t count,
                                           relora_stream *stream, const relora_tensor *x,
                                           relora_tensor *const *y, uint64_t call, uint32_t flags)
{
    const relora_tensor *first = x ? x : y && count > 0 ? y[0] : NULL; /* where a sentence may go */
    struct call c = {.fn = "relora_linear_forward_shared",
                     .ctx = context_of(linears, count, stream, first),
                     .stream = stream};
    char text[NAME_TEXT];
    struct passes some;
    TRY(check_lists(&c, linears, count, "y", y));
    for (int32_t i = 0; i < count; i++) {
        TRY(linear_open(&c, linears[i], stream));
        TRY(pass_forward_open(&c, &some.pass[0], linears[i], x, name_text(text, "y", i), y[i], call, flags));
        for (int32_t j = 0; j < i; j++)
            if (views_overlap(tensor_view(y[i]), tensor_view(y[j])))
                FAIL(&c, RELORA_E_ARGUMENT, "the memory of y[%d] overlaps that of y[%d]", j, i);
    }
    for (int32_t done = 0; done < count; done += some.count) {
        some.count = at_once(count - done);
        for (int32_t i = 0; i < some.count; i++)
            TRY(pass_forward_open(&c, &some.pass[i], linears[done + i], x, "y", y[done + i], call, flags));
        TRY(pass_forward_run(&some));
    }
    return RELORA_OK;
}

relora_status relora_linear_backward_shared(relora_linear *const *linears, int32_t count,
                                            relora_stream *stream, const relora_tensor *x,
                                            relora_tensor *const *dy, relora_tensor *dx, uint64_t call,
                                            uint32_t flags)
{
    const relora_tensor *first = x ? x : dy && count > 0 && dy[0] ? dy[0] : dx; /* where a sentence may go */
    struct call c = {.fn = "relora_linear_backward_shared",
                     .ctx = context_of(linears, count, stream, first),
                     .stream = stream};
    char text[NAME_TEXT];
    struct passes some;
    TRY(check_lists(&c, linears, count, "dy", dy));
    for (int32_t i = 0; i < count; i++) {
        TRY(linear_open(&c, linears[i], stream));
        TRY(pass_backward_open(&c, &some.pass[0], linears[i], x, name_text(text, "dy", i), dy[i], dx, call,
                               flags));
    }
    for (int32_t done = 0; done < count; done += some.count) {
        some.count = at_once(count - done);
        for (int32_t i = 0; i < some.count; i++)
            TRY(pass_backward_open(&c, &some.pass[i], linears[done + i], x, "dy", dy[done + i], dx, call,
                                   flags));
        TRY(pass_backward_run(&some, dx, flags));
        flags |= RELORA_ACCUMULATE_DX;
    }
    return RELORA_OK;
}
