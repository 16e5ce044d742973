/* oneDNN's matmul primitives and what they need while they run. Both C APIs are served, 2.x and 3.x; where they
 * differ is the first section. */
#include "cpu_onednn.h"

#include <string.h>

/* ---- the two APIs: memory descriptors are structs in 2.x, handles in 3.x ---- */

struct operands {
    dnnl_dims_t dims, strides;
    dnnl_data_type_t type;
};

#if DNNL_VERSION_MAJOR >= 3

typedef dnnl_memory_desc_t descriptor;
typedef const_dnnl_memory_desc_t described;

static dnnl_status_t descriptor_make(descriptor *d, const struct operands *o)
{
    return dnnl_memory_desc_create_with_strides(d, 2, o->dims, o->type, o->strides);
}

static void descriptor_free(descriptor *d)
{
    if (*d) dnnl_memory_desc_destroy(*d);
}

static dnnl_status_t append_sum(dnnl_post_ops_t ops)
{
    return dnnl_post_ops_append_sum(ops, 1.0f, 0, dnnl_data_type_undef);
}

static dnnl_status_t matmul_make(dnnl_primitive_desc_t *pd, dnnl_engine_t engine, descriptor *a,
                                 descriptor *b, descriptor *bias, descriptor *c, dnnl_primitive_attr_t attr)
{
    return dnnl_matmul_primitive_desc_create(pd, engine, *a, *b, bias ? *bias : NULL, *c, attr);
}

#else

typedef dnnl_memory_desc_t descriptor;
typedef const dnnl_memory_desc_t *described;

static dnnl_status_t descriptor_make(descriptor *d, const struct operands *o)
{
    return dnnl_memory_desc_init_by_strides(d, 2, o->dims, o->type, o->strides);
}

static void descriptor_free(descriptor *d)
{
    (void)d;
}

static dnnl_status_t append_sum(dnnl_post_ops_t ops)
{
    return dnnl_post_ops_append_sum(ops, 1.0f);
}

static dnnl_status_t matmul_make(dnnl_primitive_desc_t *pd, dnnl_engine_t engine, descriptor *a,
                                 descriptor *b, descriptor *bias, descriptor *c, dnnl_primitive_attr_t attr)
{
    dnnl_matmul_desc_t desc;
    dnnl_status_t status = dnnl_matmul_desc_init(&desc, a, b, bias, c);
    return status ? status : dnnl_primitive_desc_create(pd, &desc, attr, engine, NULL);
}

#endif

/* ---- the kinds of piece a queue has met ---- */

enum { CACHE_ENTRIES = 512 };

struct gemm_cache {
    dnnl_engine_t engine;
    uint64_t clock;
    int32_t count;
    struct onednn_entry entry[CACHE_ENTRIES];
};

static void slot_clear(struct onednn_slot *slot)
{
    for (int i = 0; i < ARG_COUNT; i++)
        if (slot->memory[i]) dnnl_memory_destroy(slot->memory[i]);
    if (slot->stream) dnnl_stream_destroy(slot->stream);
    memset(slot, 0, sizeof *slot);
}

static size_t slots_bytes(const struct queue *q)
{
    return (size_t)q->threads * sizeof(struct onednn_slot);
}

static void entry_clear(struct queue *q, struct onednn_entry *e)
{
    for (int32_t i = 0; e->slot && i < q->threads; i++) slot_clear(&e->slot[i]);
    memory_free(q->memory, e->slot, slots_bytes(q));
    if (e->primitive) dnnl_primitive_destroy(e->primitive);
    memset(e, 0, sizeof *e);
}

void cpu_gemm_cache_free(struct queue *q)
{
    struct gemm_cache *cache = q->gemm_cache;
    if (!cache) return;
    for (int32_t i = 0; i < cache->count; i++) entry_clear(q, &cache->entry[i]);
    if (cache->engine) dnnl_engine_destroy(cache->engine);
    memory_free(q->memory, cache, sizeof *cache);
    q->gemm_cache = NULL;
}

struct gemm_cache *onednn_cache(struct queue *q)
{
    if (q->gemm_cache) return q->gemm_cache;
    struct gemm_cache *cache = memory_alloc_zero(q->memory, sizeof *cache);
    if (!cache) return NULL;
    q->gemm_cache = cache;
    if (dnnl_engine_create(&cache->engine, dnnl_cpu, 0) != dnnl_success) cpu_gemm_cache_free(q);
    return q->gemm_cache;
}

/* ---- making a primitive ---- */

static dnnl_data_type_t type_of(int32_t dtype)
{
    return dtype == RELORA_F32 ? dnnl_f32 : dnnl_bf16;
}

/* rows x cols as the product sees it; a transposed operand has its strides exchanged */
static struct operands operands_of(int64_t rows, int64_t cols, int64_t ld, int32_t transposed, int32_t dtype)
{
    struct operands o = {{rows, cols}, {transposed ? 1 : ld, transposed ? ld : 1}, type_of(dtype)};
    return o;
}

static dnnl_status_t attributes_make(dnnl_primitive_attr_t *attr, const struct onednn_kind *k)
{
    dnnl_status_t status = dnnl_primitive_attr_create(attr);
    if (status) return status;
    status = dnnl_primitive_attr_set_scratchpad_mode(*attr, dnnl_scratchpad_mode_user);
    if (!status) /* F32 means F32, whatever the environment says */
        status = dnnl_primitive_attr_set_fpmath_mode(*attr, dnnl_fpmath_mode_strict);
    if (status || !k->accumulate) return status;
    dnnl_post_ops_t ops = NULL;
    status = dnnl_post_ops_create(&ops);
    if (status) return status;
    status = append_sum(ops);
    if (!status) status = dnnl_primitive_attr_set_post_ops(*attr, ops);
    dnnl_post_ops_destroy(ops);
    return status;
}

static size_t described_bytes(const_dnnl_primitive_desc_t pd, dnnl_query_t what)
{
    described md = dnnl_primitive_desc_query_md(pd, what, 0);
    return md ? dnnl_memory_desc_get_size(md) : 0;
}

/* Such as "brgemm:avx512_core" */
static const char *name_of(const_dnnl_primitive_desc_t pd)
{
    const char *name = NULL;
    dnnl_status_t status = dnnl_primitive_desc_query(pd, dnnl_query_impl_info_str, 0, (void *)&name);
    return !status && name ? name : "";
}

/* oneDNN's code of last resort, a thousand times slower than the rest. */
static int is_reference(const_dnnl_primitive_desc_t pd)
{
    return strncmp(name_of(pd), "ref", 3) == 0;
}

static int is_intel(void)
{
#if defined(__x86_64__) && defined(__GNUC__)
    return __builtin_cpu_is("intel") != 0;
#else
    return 0;
#endif
}

/* Where the library's own product, which widens BF16, is faster. Without instructions for BF16, AVX-512 takes five times
 * as long as for F32. Intel's take twice as long, so they are of use only beside AMX, which a virtual machine may hide. */
static int is_slow(const struct onednn_kind *k)
{
    unsigned known = (unsigned)dnnl_get_effective_cpu_isa();
    if (k->type_a == RELORA_F32 || (known & dnnl_cpu_isa_avx512_core) != dnnl_cpu_isa_avx512_core) return 0;
    if ((known & dnnl_cpu_isa_avx512_core_bf16) != dnnl_cpu_isa_avx512_core_bf16) return 1;
    return is_intel() && (known & dnnl_cpu_isa_avx512_core_amx) != dnnl_cpu_isa_avx512_core_amx;
}

/* What would be made; dnnl_unimplemented if oneDNN has nothing better than its reference code, or is slow. */
static dnnl_status_t describe(dnnl_primitive_desc_t *pd, const struct onednn_kind *k, dnnl_engine_t engine)
{
    struct operands o[] = {
        [ARG_A] = operands_of(k->m, k->k, k->lda, k->ta, k->type_a),
        [ARG_B] = operands_of(k->k, k->n, k->ldb, k->tb, k->type_b),
        [ARG_C] = operands_of(k->m, k->n, k->ldc, 0, k->type_c),
        [ARG_BIAS] = operands_of(1, k->n, k->n, 0, RELORA_F32),
    };
    descriptor md[ARG_BIAS + 1];
    dnnl_primitive_attr_t attr = NULL;
    memset(md, 0, sizeof md);
    dnnl_status_t status = attributes_make(&attr, k);
    for (int i = ARG_A; i <= ARG_BIAS && !status; i++) status = descriptor_make(&md[i], &o[i]);
    if (!status)
        status =
            matmul_make(pd, engine, &md[ARG_A], &md[ARG_B], k->bias ? &md[ARG_BIAS] : NULL, &md[ARG_C], attr);
    if (!status && (is_reference(*pd) || is_slow(k))) status = dnnl_unimplemented;
    for (int i = ARG_A; i <= ARG_BIAS; i++) descriptor_free(&md[i]);
    if (attr) dnnl_primitive_attr_destroy(attr);
    return status;
}

/* A kind oneDNN does not know is remembered without a primitive; RELORA_E_* only if memory ran out. */
static relora_status entry_make(struct queue *q, struct onednn_entry *e, const struct onednn_kind *k)
{
    dnnl_primitive_desc_t pd = NULL;
    e->kind = *k;
    e->slot = memory_alloc_zero(q->memory, slots_bytes(q));
    if (!e->slot) return RELORA_E_NO_MEMORY;
    int host = cpu_one_thread();
    dnnl_status_t status = describe(&pd, k, q->gemm_cache->engine);
    if (!status) status = dnnl_primitive_create(&e->primitive, pd);
    if (!status) e->scratch_bytes = described_bytes(pd, dnnl_query_scratchpad_md);
    if (pd) dnnl_primitive_desc_destroy(pd);
    cpu_host_threads(host);
    if (!status) return RELORA_OK;
    entry_clear(q, e);
    if (status == dnnl_out_of_memory) return RELORA_E_NO_MEMORY;
    e->kind = *k;
    return RELORA_OK;
}

/* The entry of a kind, or where it is to be: a new place, or the oldest gives way. */
static struct onednn_entry *place_of(struct gemm_cache *cache, const struct onednn_kind *k)
{
    struct onednn_entry *oldest = &cache->entry[0];
    for (int32_t i = 0; i < cache->count; i++) {
        struct onednn_entry *e = &cache->entry[i];
        if (!memcmp(&e->kind, k, sizeof *k)) return e;
        if (e->used < oldest->used) oldest = e;
    }
    return cache->count < CACHE_ENTRIES ? &cache->entry[cache->count] : oldest;
}

relora_status onednn_find(struct queue *q, const struct onednn_kind *k, struct onednn_entry **out)
{
    struct gemm_cache *cache = q->gemm_cache;
    struct onednn_entry *e = place_of(cache, k);
    if (memcmp(&e->kind, k, sizeof *k)) {
        entry_clear(q, e);
        relora_status status = entry_make(q, e, k);
        if (status < 0) {
            entry_clear(q, e);
            return status;
        }
        if (e == &cache->entry[cache->count]) cache->count++;
    }
    e->used = ++cache->clock;
    *out = e;
    return RELORA_OK;
}

/* ---- telling ---- */

/* Many names have the instruction set; the others take what there is. */
static relora_isa isa_of(const_dnnl_primitive_desc_t pd)
{
    const char *name = name_of(pd);
    unsigned known = (unsigned)dnnl_get_effective_cpu_isa();
    if (strstr(name, "amx")) return RELORA_ISA_AMX;
    if (strstr(name, "avx512") || strstr(name, "avx10")) return RELORA_ISA_AVX512;
    if (strstr(name, "avx2")) return RELORA_ISA_AVX2;
    if (!strstr(name, "jit")) return 0;
    if ((known & dnnl_cpu_isa_avx512_core) == dnnl_cpu_isa_avx512_core) return RELORA_ISA_AVX512;
    return (known & dnnl_cpu_isa_avx2) == dnnl_cpu_isa_avx2 ? RELORA_ISA_AVX2 : 0;
}

relora_status onednn_tell(const struct onednn_kind *k, struct onednn_facts *facts)
{
    dnnl_engine_t engine = NULL;
    dnnl_primitive_desc_t pd = NULL;
    int host = cpu_one_thread();
    dnnl_status_t status = dnnl_engine_create(&engine, dnnl_cpu, 0);
    if (!status) status = describe(&pd, k, engine);
    if (!status) *facts = (struct onednn_facts){described_bytes(pd, dnnl_query_scratchpad_md), isa_of(pd)};
    if (pd) dnnl_primitive_desc_destroy(pd);
    if (engine) dnnl_engine_destroy(engine);
    cpu_host_threads(host);
    if (status == dnnl_out_of_memory) return RELORA_E_NO_MEMORY;
    return status ? RELORA_E_UNSUPPORTED : RELORA_OK;
}

/* ---- a piece ---- */

static const struct {
    dnnl_query_t query;
    int index, name;
} arguments[ARG_COUNT] = {
    [ARG_A] = {dnnl_query_src_md, 0, DNNL_ARG_SRC},
    [ARG_B] = {dnnl_query_weights_md, 0, DNNL_ARG_WEIGHTS},
    [ARG_C] = {dnnl_query_dst_md, 0, DNNL_ARG_DST},
    [ARG_BIAS] = {dnnl_query_weights_md, 1, DNNL_ARG_BIAS},
    [ARG_SCRATCH] = {dnnl_query_scratchpad_md, 0, DNNL_ARG_SCRATCHPAD},
};

static int has_argument(const struct onednn_entry *e, int i)
{
    return i == ARG_BIAS ? e->kind.bias : i == ARG_SCRATCH ? e->scratch_bytes != 0 : 1;
}

static dnnl_status_t slot_make(struct onednn_slot *slot, const struct onednn_entry *e, dnnl_engine_t engine)
{
    const_dnnl_primitive_desc_t pd = NULL;
    dnnl_status_t status = dnnl_primitive_get_primitive_desc(e->primitive, &pd);
    if (!status) status = dnnl_stream_create(&slot->stream, engine, dnnl_stream_default_flags);
    for (int i = 0; i < ARG_COUNT && !status; i++) {
        if (!has_argument(e, i)) continue;
        described md = dnnl_primitive_desc_query_md(pd, arguments[i].query, arguments[i].index);
        status = dnnl_memory_create(&slot->memory[i], md, engine, DNNL_MEMORY_NONE);
    }
    if (status) slot_clear(slot);
    return status;
}

static dnnl_status_t slot_run(const struct onednn_slot *slot, dnnl_primitive_t primitive,
                              const struct gemm *g, void *scratch)
{
    union { /* oneDNN takes pointers to what it only reads as void *, so const has to go */
        const float *read;
        void *data;
    } bias = {g->bias};
    void *data[ARG_COUNT] = {g->a.data, g->b.data, g->c.data, bias.data, scratch};
    dnnl_exec_arg_t args[ARG_COUNT];
    dnnl_status_t status = dnnl_success;
    int count = 0;
    for (int i = 0; i < ARG_COUNT && !status; i++) {
        if (!slot->memory[i]) continue;
        status = dnnl_memory_set_data_handle(slot->memory[i], data[i]);
        args[count].arg = arguments[i].name;
        args[count++].memory = slot->memory[i];
    }
    if (!status) status = dnnl_primitive_execute(primitive, slot->stream, count, args);
    return status ? status : dnnl_stream_wait(slot->stream);
}

static relora_status status_of(dnnl_status_t status)
{
    if (status == dnnl_out_of_memory) return RELORA_E_NO_MEMORY;
    return status ? RELORA_E_BACKEND : RELORA_OK;
}

relora_status onednn_slot(struct queue *q, struct onednn_entry *e, int64_t i)
{
    if (e->slot[i].stream) return RELORA_OK;
    return status_of(slot_make(&e->slot[i], e, q->gemm_cache->engine));
}

relora_status onednn_run(const struct onednn_entry *e, int64_t i, const struct gemm *g, void *scratch)
{
    int host = cpu_one_thread();
    dnnl_status_t status = slot_run(&e->slot[i], e->primitive, g, scratch);
    cpu_host_threads(host);
    return status_of(status);
}
