/* Calls that take what another program made, or give it ours: native queues, tensors of DLPack. */
#include <stdlib.h>
#include <string.h>
#include "dlpack.h"
#include "fuzz/api_world.h"

void wrap_stream(void)
{
    relora_stream *stream = NOWHERE;
    relora_device *device = pick_device();
    uint8_t c = choose();
    relora_stream **out = c == 255 ? NULL : &stream;
    void *native = c % 2 ? NULL : lent;
    relora_status status = CALL(relora_stream_wrap, out, device, native);
    REQUIRE(status < 0); /* on the CPU */
    keep(STREAM, status, stream, out != NULL);
    REQUIRE(!relora_stream_native(pick(STREAM)));
}

/* ---- in ---- */

struct producer {
    struct DLManagedTensorVersioned managed;
    int64_t shape[4], strides[4];
};

static void delete_producer(struct DLManagedTensorVersioned *managed) { free(managed->manager_ctx); }

/* Over a lent block, of a type and with strides that may be wrong. */
static struct DLManagedTensorVersioned *new_producer(void)
{
    static const uint8_t codes[] = {DLPACK_FLOAT, DLPACK_FLOAT, DLPACK_BFLOAT, 0, 1, 255};
    struct producer *p = calloc(1, sizeof *p);
    REQUIRE(p);
    uint8_t type = choose(), where = choose(), how = choose();
    p->managed.major = how < 240 ? 1 : how % 4;
    p->managed.minor = how % 8;
    p->managed.flags = how >= 200 ? how % 4 : 0;
    p->managed.manager_ctx = p;
    p->managed.deleter = delete_producer;
    p->managed.tensor = (struct dlpack_tensor){.data = where == 255 ? NULL : lent[where % BLOCKS],
                                               .device_type = where < 240 ? DLPACK_CPU : where % 8,
                                               .device_id = where < 248 ? 0 : where - 252,
                                               .ndim = choose_strides(p->shape, p->strides),
                                               .code = codes[type % 6],
                                               .bits = type % 3 == 2 ? 16 : 32,
                                               .lanes = type < 250 ? 1 : type - 250,
                                               .shape = p->shape,
                                               .strides = how % 16 == 1 ? NULL : p->strides,
                                               .byte_offset = where % 16 == 2};
    if (type >= 245) p->managed.tensor.ndim = type - 250;
    return &p->managed;
}

/* A tensor of a producer of our own, or one that went out before; its deleter takes care of the rest. */
void take_dlpack(void)
{
    relora_tensor *t = NOWHERE;
    uint8_t c = choose(), seed = choose();
    relora_tensor **out = c == 255 ? NULL : &t;
    struct DLManagedTensorVersioned *shared = c % 2 ? pick(MANAGED) : NULL,
                                    *own = c % 2 ? NULL : new_producer();
    end_operation(); /* no context is found through what comes from elsewhere */
    relora_context *ctx = pick(CONTEXT);
    relora_status status = CALL(relora_tensor_from_dlpack, out, ctx, own ? own : shared);
    if (status < 0 && own) own->deleter(own);
    if (status == RELORA_OK && shared) forget(MANAGED, shared);
    if (status == RELORA_OK && own && !lies_in_block(t)) { /* only as long as nobody looks */
        relora_tensor_release(t);
        return;
    }
    if (status == RELORA_OK && own) fill_tensor(t, seed);
    keep(TENSOR, status, t, out != NULL);
}

/* ---- out ---- */

/* The same tensor in the other's words. */
static void check_shared(const struct DLManagedTensorVersioned *managed, const relora_tensor *tensor)
{
    const struct dlpack_tensor *t = &managed->tensor;
    REQUIRE(managed->major == 1 && managed->deleter && !managed->flags && !t->byte_offset && t->lanes == 1);
    REQUIRE(t->data == relora_tensor_data(tensor) && t->device_type == DLPACK_CPU);
    REQUIRE(t->ndim == relora_tensor_ndim(tensor));
    for (int32_t i = 0; i < t->ndim; i++)
        REQUIRE(t->shape[i] == relora_tensor_dim(tensor, i) &&
                t->strides[i] == relora_tensor_stride(tensor, i));
    result(t->shape, (size_t)t->ndim * sizeof *t->shape);
}

void give_dlpack(void)
{
    struct DLManagedTensorVersioned *managed = NOWHERE;
    relora_tensor *t = pick_any_tensor();
    relora_stream *stream = pick(STREAM);
    uint8_t c = choose();
    struct DLManagedTensorVersioned **out = c == 255 ? NULL : &managed;
    void *consumer = c % 2 ? lent : NULL;
    relora_status status = CALL(relora_tensor_to_dlpack, out, t, stream, consumer);
    if (status == RELORA_OK) check_shared(managed, t);
    keep(MANAGED, status, managed, out != NULL);
}
