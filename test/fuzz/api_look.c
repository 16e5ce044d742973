/* What can be seen of objects, as a hash; and the elements of tensors, without the library. */
#include <math.h>
#include <string.h>
#include "fuzz/api_world.h"

#ifdef __clang__
__attribute__((no_sanitize("coverage"))) /* most of the time would go there */
#endif
static uint64_t
hash(uint64_t h, const void *bytes, size_t size)
{
    for (size_t i = 0; i < size; i += 8) {
        uint64_t word = 0;
        memcpy(&word, (const unsigned char *)bytes + i, size - i < 8 ? size - i : 8);
        h = (h ^ word) * UINT64_C(0x9e3779b97f4a7c15);
        h ^= h >> 32;
    }
    return (h ^ size) * UINT64_C(0x9e3779b97f4a7c15);
}

struct rows rows_of(const relora_tensor *t)
{
    int32_t ndim = relora_tensor_ndim(t);
    int64_t cols = ndim ? relora_tensor_dim(t, ndim - 1) : 1, count = relora_tensor_count(t), distance = cols;
    size_t item = relora_tensor_dtype(t) == RELORA_BF16 ? 2 : 4;
    for (int32_t i = ndim - 2; i >= 0; i--)
        if (relora_tensor_dim(t, i) > 1) {
            distance = relora_tensor_stride(t, i);
            break;
        }
    return (struct rows){relora_tensor_data(t), count ? count / cols : 0, (size_t)cols * item,
                         (size_t)distance * item};
}

static uint64_t look_tensor(uint64_t h, const relora_tensor *t)
{
    int64_t about[4 + 2 * RELORA_MAX_DIMS] = {relora_tensor_dtype(t), relora_tensor_ndim(t),
                                              relora_tensor_count(t)};
    for (int32_t i = 0; i < RELORA_MAX_DIMS; i++) {
        about[4 + 2 * i] = relora_tensor_dim(t, i);
        about[5 + 2 * i] = relora_tensor_stride(t, i);
    }
    h = hash(h, about, sizeof about);
    if (!t) return h;
    struct rows rows = rows_of(t);
    if (!rows.data) return h; /* borrowed with NULL */
    for (int64_t i = 0; i < rows.count; i++) h = hash(h, rows.data + (size_t)i * rows.pitch, rows.bytes);
    return h;
}

static uint64_t look_linear(uint64_t h, relora_linear *linear)
{
    int32_t mode = relora_linear_get_mode(linear);
    h = hash(h, &mode, sizeof mode);
    for (relora_param p = 0; p <= RELORA_PARAM_DELTA + 1; p++) {
        h = look_tensor(h, relora_linear_param(linear, p));
        h = look_tensor(h, relora_linear_grad(linear, p));
    }
    return h;
}

static uint64_t look_adam(uint64_t h, relora_adam *adam)
{
    int32_t count = relora_adam_count(adam);
    h = hash(h, &count, sizeof count);
    for (int32_t i = 0; i < count; i++) {
        const char *name = relora_adam_name(adam, i);
        REQUIRE(name && name[0]);
        h = hash(h, name, strlen(name));
        h = look_tensor(h, relora_adam_moment(adam, i, RELORA_MOMENT_FIRST));
        h = look_tensor(h, relora_adam_moment(adam, i, RELORA_MOMENT_SECOND));
    }
    return look_tensor(h, relora_adam_flat_grad(adam));
}

static uint64_t look_group(uint64_t h, const relora_group *group)
{
    int32_t count = relora_group_count(group);
    h = hash(h, &count, sizeof count);
    for (int32_t i = 0; i < count; i++) {
        const char *name = relora_group_name(group, i);
        REQUIRE(name && name[0]);
        REQUIRE(!relora_group_linear(group, i) != !relora_group_value(group, i));
        h = hash(h, name, strlen(name));
        if (relora_group_linear(group, i)) h = look_linear(h, relora_group_linear(group, i));
        h = look_tensor(h, relora_group_value(group, i));
        h = look_tensor(h, relora_group_grad(group, i));
    }
    return h;
}

uint64_t look_at(uint64_t h, enum kind kind, void *object)
{
    if (kind == TENSOR) return look_tensor(h, object);
    if (kind == LINEAR && object) return look_linear(h, object);
    if (kind == ADAM && object) return look_adam(h, object);
    if (kind == GROUP && object) return look_group(h, object);
    return h;
}

uint64_t look_at_bytes(uint64_t h, const void *bytes, size_t size) { return hash(h, bytes, size); }

/* ---- filling ---- */

static float some_value(uint8_t seed, int64_t i)
{
    static const float odd[] = {NAN, INFINITY, -INFINITY, 3e38f, 1e-40f, -0.0f, 1e19f, 1e10f};
    if (seed >= 240 && i % 5 == seed % 5) return odd[seed % 8];
    return (float)((i * 7 + seed) % 13 - 6) / 8;
}

void fill_tensor(relora_tensor *tensor, uint8_t seed)
{
    world_touched();
    struct rows rows = rows_of(tensor);
    int wide = relora_tensor_dtype(tensor) == RELORA_F32;
    int64_t n = 0;
    if (!rows.data) return;
    for (int64_t i = 0; i < rows.count; i++)
        for (size_t at = 0; at < rows.bytes; at += wide ? 4 : 2) {
            float value = some_value(seed, n++);
            unsigned char bytes[4];
            memcpy(bytes, &value, sizeof value);
            memcpy(rows.data + (size_t)i * rows.pitch + at, wide ? bytes : bytes + 2, wide ? 4 : 2);
        }
}
