/* The matrix product by oneDNN's matmul primitive. What oneDNN cannot do on this processor, or only by its plain
 * reference code, goes to the next provider. BF16 before AVX-512 is such; but since 3.7 oneDNN multiplies F32 by BF16
 * there: then a, which is x or a gradient, is converted, and b, which is mostly W, stays as it is.
 * oneDNN divides its work by the number of threads it asks OpenMP for, and leaves parts undone if it
 * gets fewer, which a host's setting is enough for. So it is only ever asked to work on one. */
#include <stdatomic.h>

#include "cpu_onednn.h"

struct product {
    const struct gemm *g;
    struct gemm_cut cut;
    int converts;                    /* a to F32, and c from it */
    struct onednn_entry *edge[2][2]; /* the kinds of piece: is it of the last row, of the last column */
    unsigned char *scratch;
    size_t scratch_pitch; /* of a piece */
    atomic_int status;
};

enum {
    MOST_CONVERTED = 64 << 20
}; /* bytes of a piece; the library's own product takes larger ones by blocks */

/* ---- a piece that is converted ---- */

struct converted {
    struct view a, c; /* F32; c without data if the piece's own is used */
    size_t bytes;     /* of both */
};

static size_t round_up(size_t bytes)
{
    return (bytes + MEMORY_ALIGNMENT - 1) / MEMORY_ALIGNMENT * MEMORY_ALIGNMENT;
}

static struct converted converted_of(const struct gemm *piece, unsigned char *memory)
{
    struct view a = {memory, piece->a.rows, piece->a.cols, piece->a.cols, RELORA_F32};
    struct view c = {NULL, piece->c.rows, piece->c.cols, piece->c.cols, RELORA_F32};
    size_t bytes = round_up(sizeof(float) * (size_t)a.rows * (size_t)a.cols);
    if (piece->c.dtype == RELORA_F32) return (struct converted){a, piece->c, bytes};
    if (memory) c.data = memory + bytes;
    return (struct converted){a, c, bytes + round_up(sizeof(float) * (size_t)c.rows * (size_t)c.cols)};
}

/* ---- the kinds of piece ---- */

static struct onednn_kind kind_of(const struct gemm *piece, int converts)
{
    struct view a = piece->a, c = piece->c;
    if (converts) {
        struct converted converted = converted_of(piece, NULL);
        a = converted.a, c = converted.c;
    }
    return (struct onednn_kind){.m = c.rows,
                                .n = c.cols,
                                .k = piece->ta ? a.rows : a.cols,
                                .lda = a.ld,
                                .ldb = piece->b.ld,
                                .ldc = c.ld,
                                .type_a = a.dtype,
                                .type_b = piece->b.dtype,
                                .type_c = c.dtype,
                                .ta = (int16_t)(piece->ta != 0),
                                .tb = (int16_t)(piece->tb != 0),
                                .accumulate = piece->accumulate != 0,
                                .bias = piece->bias != NULL};
}

static int is_edge(const struct gemm_cut *cut, int64_t i, int across)
{
    return across ? i % cut->across == cut->across - 1 : i / cut->across == cut->down - 1;
}

static struct onednn_entry **entry_of(struct product *p, int64_t i)
{
    return &p->edge[is_edge(&p->cut, i, 0)][is_edge(&p->cut, i, 1)];
}

static size_t piece_bytes(const struct product *p, const struct gemm *piece, size_t scratch)
{
    return round_up(scratch) + (p->converts ? converted_of(piece, NULL).bytes : 0);
}

/* Everything that the pieces need; RELORA_E_UNSUPPORTED if oneDNN cannot do one of them. */
static relora_status prepare(struct queue *q, struct product *p)
{
    const int64_t pieces = p->cut.down * p->cut.across;
    for (int64_t i = 0; i < pieces; i++) {
        struct onednn_entry **e = entry_of(p, i);
        struct gemm piece = cpu_gemm_piece(p->g, &p->cut, i);
        if (!*e) {
            struct onednn_kind kind = kind_of(&piece, p->converts);
            relora_status status = onednn_find(q, &kind, e);
            if (status < 0) return status;
        }
        size_t bytes = piece_bytes(p, &piece, (*e)->scratch_bytes);
        if (!(*e)->primitive || (p->converts && bytes > MOST_CONVERTED)) return RELORA_E_UNSUPPORTED;
        relora_status status = onednn_slot(q, *e, i);
        if (status < 0) return status;
        if (bytes > p->scratch_pitch) p->scratch_pitch = bytes;
    }
    if (!p->scratch_pitch) return RELORA_OK;
    p->scratch = cpu_scratch(q, (size_t)pieces * p->scratch_pitch);
    return p->scratch ? RELORA_OK : RELORA_E_NO_MEMORY;
}

/* ---- making them ---- */

static relora_status run_converted(const struct onednn_entry *e, int64_t i, struct gemm piece,
                                   unsigned char *memory)
{
    struct converted converted = converted_of(&piece, memory);
    struct view c = piece.c;
    cpu_gemm_widen(converted.a, piece.a);
    if (c.dtype != RELORA_F32 && piece.accumulate) cpu_gemm_widen(converted.c, c);
    piece.a = converted.a, piece.c = converted.c;
    relora_status status = onednn_run(e, i, &piece, memory + converted.bytes);
    if (c.dtype != RELORA_F32) cpu_gemm_round(c, converted.c);
    return status;
}

static void run_piece(void *job, int64_t i)
{
    struct product *p = job;
    struct gemm piece = cpu_gemm_piece(p->g, &p->cut, i);
    const struct onednn_entry *e = *entry_of(p, i);
    unsigned char *memory = p->scratch ? p->scratch + (size_t)i * p->scratch_pitch : NULL;
    relora_status status =
        p->converts ? run_converted(e, i, piece, memory) : onednn_run(e, i, &piece, memory);
    if (status < 0) atomic_store(&p->status, status);
}

static int may_convert(const struct gemm *g)
{
    return g->a.dtype != RELORA_F32;
}

relora_status cpu_gemm_onednn(struct queue *q, const struct gemm *g)
{
    relora_status status = RELORA_E_UNSUPPORTED;
    if (!onednn_cache(q)) return RELORA_E_NO_MEMORY;
    for (int converts = 0; converts <= may_convert(g) && status == RELORA_E_UNSUPPORTED; converts++) {
        struct product p = {.g = g, .cut = cpu_gemm_cut(g, q->threads), .converts = converts};
        atomic_init(&p.status, RELORA_OK);
        status = prepare(q, &p);
        if (status < 0) continue;
        cpu_loop(q, p.cut.down * p.cut.across, 1, run_piece, &p);
        status = atomic_load(&p.status);
    }
    return status;
}

/* ---- telling how ---- */

static relora_status tell(struct product *p, struct gemm_path *path)
{
    const int64_t pieces = p->cut.down * p->cut.across;
    int seen[2][2] = {{0}};
    size_t pitch = 0;
    for (int64_t i = 0; i < pieces; i++) {
        struct gemm piece = cpu_gemm_piece(p->g, &p->cut, i);
        struct onednn_kind kind = kind_of(&piece, p->converts);
        struct onednn_facts facts;
        int *done = &seen[is_edge(&p->cut, i, 0)][is_edge(&p->cut, i, 1)];
        if (*done) continue;
        relora_status status = onednn_tell(&kind, &facts);
        if (status < 0) return status;
        size_t bytes = piece_bytes(p, &piece, facts.scratch_bytes);
        if (p->converts && bytes > MOST_CONVERTED) return RELORA_E_UNSUPPORTED;
        if (bytes > pitch) pitch = bytes;
        if (i == 0) path->isa = facts.isa;
        *done = 1;
    }
    path->provider = RELORA_PROVIDER_ONEDNN;
    path->converts = p->converts;
    path->bytes = (size_t)pieces * pitch;
    return RELORA_OK;
}

relora_status cpu_gemm_onednn_tell(const struct queue *q, const struct gemm *g, struct gemm_path *path)
{
    relora_status status = RELORA_E_UNSUPPORTED;
    for (int converts = 0; converts <= may_convert(g) && status == RELORA_E_UNSUPPORTED; converts++) {
        struct product p = {.g = g, .cut = cpu_gemm_cut(g, cpu_threads(q)), .converts = converts};
        status = tell(&p, path);
    }
    return status;
}
