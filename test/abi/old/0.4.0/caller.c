/* A program of the time of 0.4.0: a learning rate on the device, streams of the host, tensors of other frameworks,
 * where modules are. */
#include "abi/caller.h"

/* DLPack 1.0, as its header has it; the library sees the same bytes. */
struct dl_version { uint32_t major, minor; };
struct dl_tensor {
    void *data;
    int32_t device_type, device_id;
    int32_t ndim;
    uint8_t code, bits;
    uint16_t lanes;
    int64_t *shape, *strides;
    uint64_t byte_offset;
};
struct DLManagedTensorVersioned {
    struct dl_version version;
    void *manager;
    void (*deleter)(struct DLManagedTensorVersioned *self);
    uint64_t flags;
    struct dl_tensor tensor;
};

static int deleted;
static void count_deletion(struct DLManagedTensorVersioned *self)
{
    (void)self;
    deleted++;
}

static void dlpack(void)
{
    float values[6] = {1, 2, 3, 4, 5, 6};
    int64_t shape[2] = {2, 3};
    struct DLManagedTensorVersioned theirs = {
        {1, 0}, NULL, count_deletion, 0, {values, 1, 0, 2, 2, 32, 1, shape, NULL, 0}};
    struct DLManagedTensorVersioned *ours = NULL;
    relora_tensor *t = NULL;
    OK(relora_tensor_from_dlpack(&t, ctx, &theirs));
    TRUE(relora_tensor_data(t) == values && relora_tensor_dim(t, 1) == 3);
    OK(relora_tensor_to_dlpack(&ours, t, NULL, NULL));
    TRUE(ours->version.major == 1 && ours->tensor.ndim == 2 && ours->tensor.data == values);
    relora_tensor_release(t);
    TRUE(deleted == 0);
    ours->deleter(ours);
    TRUE(deleted == 1);
    theirs.flags = 1;
    TRUE(relora_tensor_from_dlpack(&t, ctx, &theirs) == RELORA_E_READ_ONLY && !t);
    theirs.flags = 0;
    theirs.version.major = 2;
    TRUE(relora_tensor_from_dlpack(&t, ctx, &theirs) == RELORA_E_VERSION);
}

static void streams(void)
{
    relora_stream *other = NULL;
    TRUE(relora_stream_native(st) == NULL);
    TRUE(relora_stream_wrap(&other, dev, NULL) == RELORA_E_UNSUPPORTED && !other);
}

static void rate_in_a_tensor(void)
{
    float p[2] = {1, -1}, g[2] = {0.5f, -0.25f}, lr = 0.125f;
    relora_tensor *tp = borrow(p, 1, 2), *tg = borrow(g, 1, 2), *tlr = borrow(&lr, 1, 1);
    relora_adam *adam;
    GUARDED(relora_adam_options, o);
    OK(relora_adam_options_init(&o.is, sizeof o.is));
    o.is.beta1 = o.is.beta2 = 0; /* a step of lr against the sign of the gradient */
    OK(relora_adam_create(&adam, dev, &o.is));
    OK(relora_adam_add(adam, "p", tp, tg, NULL));
    OK(relora_adam_step_lr(adam, st, tlr, 1, NULL));
    TRUE(fabsf(p[0] - 0.875f) < 1e-6f && fabsf(p[1] + 0.875f) < 1e-6f && o.guard == GUARD);
    relora_adam_release(adam);
    relora_tensor_release(tp), relora_tensor_release(tg), relora_tensor_release(tlr);
}

static void options(void)
{
    GUARDED(relora_context_options, o);
    relora_linear_options l;
    relora_linear *layer = NULL;
    relora_context *elsewhere = NULL;
    OK(relora_context_options_init(&o.is, sizeof o.is));
    TRUE(!o.is.module_dir && o.guard == GUARD);
    o.is.module_dir = "/nowhere";
    OK(relora_context_create(&elsewhere, &o.is));
    TRUE(relora_device_count(elsewhere, RELORA_DEVICE_CUDA) == 0);
    relora_context_release(elsewhere);
    OK(relora_linear_options_init(&l, sizeof l));
    l.in_features = l.out_features = l.rank = 2;
    l.flags = RELORA_LINEAR_TF32;
    OK(relora_linear_create(&layer, dev, &l));
    relora_linear_release(layer);
}

int main(void)
{
    open_context();
    dlpack();
    streams();
    rate_in_a_tensor();
    options();
    return close_context();
}
