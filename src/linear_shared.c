/* Several layers that read the same x: query, key and value, say. All is checked before any of it is
 * done. On the CPU the layers then run one after the other: stacking the products of their factors
 * gains under 1 % of a training step there (docs/performance.md). */
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
static relora_status check_lists(const char *fn, relora_linear *const *linears, int32_t count,
                                 const relora_stream *stream, const relora_tensor *tensor,
                                 const char *name, const void *tensors)
{
    relora_context *ctx = context_of(linears, count, stream, tensor);
    if (!stream) FAIL(ctx, RELORA_E_ARGUMENT, "%s: stream is NULL", fn);
    if (count < 1) FAIL(ctx, RELORA_E_ARGUMENT, "%s: count is %d, less than 1", fn, count);
    if (!linears) FAIL(ctx, RELORA_E_ARGUMENT, "%s: linears is NULL", fn);
    if (!tensors) FAIL(ctx, RELORA_E_ARGUMENT, "%s: %s is NULL", fn, name);
    for (int32_t i = 0; i < count; i++) {
        if (!linears[i]) FAIL(ctx, RELORA_E_ARGUMENT, "%s: linears[%d] is NULL", fn, i);
        for (int32_t j = 0; j < i; j++)
            if (linears[i] == linears[j])
                FAIL(ctx, RELORA_E_ARGUMENT, "%s: linears[%d] and linears[%d] are one layer", fn, j, i);
    }
    return RELORA_OK;
}

relora_status relora_linear_forward_shared(relora_linear *const *linears, int32_t count,
                                           relora_stream *stream, const relora_tensor *x,
                                           relora_tensor *const *y, uint64_t call, uint32_t flags)
{
    GIVEN(stream);
    const char *fn = "relora_linear_forward_shared";
    char text[NAME_TEXT];
    struct pass p;
    TRY(check_lists(fn, linears, count, stream, x ? x : y && count > 0 ? y[0] : NULL, "y", y));
    for (int32_t i = 0; i < count; i++) {
        TRY(pass_forward_open(&p, fn, linears[i], stream, x, name_text(text, "y", i), y[i], call, flags));
        for (int32_t j = 0; j < i; j++)
            if (views_overlap(tensor_view(y[i]), tensor_view(y[j])))
                FAIL(stream->ctx, RELORA_E_ARGUMENT, "%s: the memory of y[%d] overlaps that of y[%d]", fn,
                     j, i);
    }
    for (int32_t i = 0; i < count; i++) {
        TRY(pass_forward_open(&p, fn, linears[i], stream, x, "y", y[i], call, flags));
        TRY(pass_forward_run(&p, y[i]));
    }
    return RELORA_OK;
}

relora_status relora_linear_backward_shared(relora_linear *const *linears, int32_t count,
                                            relora_stream *stream, const relora_tensor *x,
                                            relora_tensor *const *dy, relora_tensor *dx,
                                            uint64_t call, uint32_t flags)
{
    GIVEN(stream);
    const char *fn = "relora_linear_backward_shared";
    char text[NAME_TEXT];
    struct pass p;
    const relora_tensor *first = x ? x : dy && count > 0 && dy[0] ? dy[0] : dx;
    TRY(check_lists(fn, linears, count, stream, first, "dy", dy));
    for (int32_t i = 0; i < count; i++)
        TRY(pass_backward_open(&p, fn, linears[i], stream, x, name_text(text, "dy", i), dy[i], dx, call,
                               flags));
    for (int32_t i = 0; i < count; i++) {
        TRY(pass_backward_open(&p, fn, linears[i], stream, x, "dy", dy[i], dx, call, flags));
        TRY(pass_backward_run(&p, dy[i], dx, flags));
        flags |= RELORA_ACCUMULATE_DX;
    }
    return RELORA_OK;
}
