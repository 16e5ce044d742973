/* cuBLASLt: what it documents to check is checked, then the product is made by loops, with F32 sums. */
#include <algorithm>
#include <cstring>

#include "cublasLt.h"
#include "internal.h"

struct cublasLtContext {
    int device;
};
struct emulated_matmul_desc {
    cublasComputeType_t compute;
    int32_t scale_type, pointer_mode = CUBLASLT_POINTER_MODE_HOST;
    int32_t transa = CUBLAS_OP_N, transb = CUBLAS_OP_N;
    uint32_t epilogue = CUBLASLT_EPILOGUE_DEFAULT;
    const void *bias = nullptr;
    int32_t bias_type = -1; /* that of d */
};
struct emulated_matrix_layout {
    uint32_t type;
    uint64_t rows, cols;
    int64_t ld, stride = 0;
    int32_t order = CUBLASLT_ORDER_COL, batch = 1;
};
struct emulated_matmul_preference {
    uint64_t workspace = 0;
    uint32_t reduction = CUBLASLT_REDUCTION_SCHEME_MASK;
    uint32_t align_a = 256, align_b = 256, align_c = 256, align_d = 256;
};

namespace emulated {
namespace {

using desc = emulated_matmul_desc;
using layout = emulated_matrix_layout;
using preference = emulated_matmul_preference;

int objects, refused;
uint64_t operand_bytes;
const uint32_t MAGIC = 0x6C74, WORKSPACE = 64 << 10, BIAS_ALIGNMENT = 16;

struct product {
    desc work;
    layout a, b, c, d;
    const void *pa, *pb, *pc;
    void *pd;
    float alpha, beta;
    void *workspace;
    size_t workspace_bytes; /* that are made use of */
};

/* What the emulator keeps in a cublasLtMatmulAlgo_t: what it was made for. */
struct algorithm {
    uint64_t magic, shape, workspace;
    uint32_t align[4], align_bias;
};
static_assert(sizeof(algorithm) <= sizeof(cublasLtMatmulAlgo_t), "an algorithm is opaque");

size_t size_of(uint32_t type) { return type == CUDA_R_32F ? 4 : 2; }

/* The rows of cuBLAS' table of types that have F32 sums and F32 or BF16 operands. */
bool types_fit(const desc &w, const layout &a, const layout &b, const layout &c, const layout &d)
{
    if (w.scale_type != CUDA_R_32F || a.type != b.type || c.type != d.type) return false;
    int32_t bias = w.bias_type < 0 ? (int32_t)d.type : w.bias_type;
    if (w.epilogue == CUBLASLT_EPILOGUE_BIAS && bias != (int32_t)d.type) return false;
    bool plain = w.compute == CUBLAS_COMPUTE_32F || w.compute == CUBLAS_COMPUTE_32F_PEDANTIC;
    if (a.type == CUDA_R_16BF) return plain && (d.type == CUDA_R_16BF || d.type == CUDA_R_32F);
    return a.type == CUDA_R_32F && d.type == CUDA_R_32F;
}

bool is_sound(const layout &l)
{
    uint64_t across = l.order == CUBLASLT_ORDER_COL ? l.rows : l.cols;
    return l.rows && l.cols && l.ld >= (int64_t)across && l.batch > 0;
}

bool shapes_fit(const desc &w, const layout &a, const layout &b, const layout &c, const layout &d)
{
    uint64_t m = w.transa ? a.cols : a.rows, k = w.transa ? a.rows : a.cols;
    uint64_t kb = w.transb ? b.cols : b.rows, n = w.transb ? b.rows : b.cols;
    if (!is_sound(a) || !is_sound(b) || !is_sound(c) || !is_sound(d)) return false;
    if (a.batch != d.batch || b.batch != d.batch || c.batch != d.batch) return false;
    return k == kb && d.rows == m && d.cols == n && c.rows == m && c.cols == n && c.order == d.order;
}

cublasStatus_t check(const desc &w, const layout &a, const layout &b, const layout &c, const layout &d)
{
    if (!shapes_fit(w, a, b, c, d)) return CUBLAS_STATUS_INVALID_VALUE;
    return types_fit(w, a, b, c, d) ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_NOT_SUPPORTED;
}

/* Two products of one shape have one number; it need not be the other way round. */
uint64_t number_of(const desc &w, const layout *const l[4])
{
    uint64_t h = 1469598103934665603u;
    auto mix = [&](uint64_t x) { h = (h ^ x) * 1099511628211u; };
    mix(w.compute), mix((uint64_t)w.transa), mix((uint64_t)w.transb), mix(w.epilogue), mix((uint64_t)w.bias_type);
    for (int i = 0; i < 4; i++) {
        mix(l[i]->type), mix(l[i]->rows), mix(l[i]->cols), mix((uint64_t)l[i]->ld);
        mix((uint64_t)l[i]->order), mix((uint64_t)l[i]->batch), mix((uint64_t)l[i]->stride);
    }
    return h;
}

uint32_t alignment_of(const void *p)
{
    uint64_t bits = (uintptr_t)p | 256;
    return (uint32_t)(bits & (~bits + 1));
}

/* ---- the product itself ---- */

float load(const void *data, uint32_t type, int64_t i)
{
    if (type == CUDA_R_32F) return static_cast<const float *>(data)[i];
    return __uint_as_float((unsigned)static_cast<const uint16_t *>(data)[i] << 16);
}

void store(void *data, uint32_t type, int64_t i, float x)
{
    if (type == CUDA_R_32F) {
        static_cast<float *>(data)[i] = x;
        return;
    }
    unsigned bits = __float_as_uint(x);
    bool nan = (bits & 0x7FFFFFFFu) > 0x7F800000u;
    static_cast<uint16_t *>(data)[i] =
        (uint16_t)(nan ? bits >> 16 | 0x40u : (bits + 0x7FFFu + (bits >> 16 & 1u)) >> 16);
}

int64_t place(const layout &l, uint64_t row, uint64_t col, int batch)
{
    uint64_t across = l.order == CUBLASLT_ORDER_COL ? row : col, along = l.order == CUBLASLT_ORDER_COL ? col : row;
    return (int64_t)across + (int64_t)along * l.ld + batch * l.stride;
}

float to_tf32(float x)
{
    unsigned bits = __float_as_uint(x);
    return (bits & 0x7F800000u) == 0x7F800000u ? x : __uint_as_float((bits + 0xFFFu + (bits >> 13 & 1u)) & ~0x1FFFu);
}

/* op(v) with `rows` rows, row after row. */
std::vector<float> operand(const product &p, const layout &l, const void *data, bool transposed, int batch)
{
    uint64_t rows = transposed ? l.cols : l.rows, cols = transposed ? l.rows : l.cols;
    std::vector<float> dense(rows * cols);
    for (uint64_t i = 0; i < rows; i++)
        for (uint64_t j = 0; j < cols; j++) {
            float x = load(data, l.type, transposed ? place(l, j, i, batch) : place(l, i, j, batch));
            dense[i * cols + j] = p.work.compute == CUBLAS_COMPUTE_32F_FAST_TF32 ? to_tf32(x) : x;
        }
    return dense;
}

void finish_row(const product &p, const std::vector<float> &sums, uint64_t i, int batch)
{
    for (uint64_t j = 0; j < p.d.cols; j++) {
        float y = p.alpha * sums[j];
        if (p.beta != 0) y += p.beta * load(p.pc, p.c.type, place(p.c, i, j, batch));
        if (p.work.epilogue == CUBLASLT_EPILOGUE_BIAS) y += load(p.work.bias, p.d.type, (int64_t)i);
        store(p.pd, p.d.type, place(p.d, i, j, batch), y);
    }
}

void multiply(const product &p, int batch)
{
    std::vector<float> a = operand(p, p.a, p.pa, p.work.transa, batch);
    std::vector<float> b = operand(p, p.b, p.pb, p.work.transb, batch);
    uint64_t n = p.d.cols, depth = p.work.transa ? p.a.rows : p.a.cols;
    std::vector<float> sums(n);
    for (uint64_t i = 0; i < p.d.rows; i++) {
        std::fill(sums.begin(), sums.end(), 0.0f);
        for (uint64_t k = 0; k < depth; k++) {
            float x = a[i * depth + k];
            const float *row = &b[k * n];
            for (uint64_t j = 0; j < n; j++) sums[j] += x * row[j];
        }
        finish_row(p, sums, i, batch);
    }
}

size_t bytes_of(const layout &l)
{
    return (size_t)(place(l, l.rows - 1, l.cols - 1, l.batch - 1) + 1) * size_of(l.type);
}

void run(const product &p, int device)
{
    cudaError_t error;
    if (kernel_fails(&error)) return broken(error);
    open_memory open(device);
    const char *what = "cublasLtMatmul";
    must_be_usable(p.pa, bytes_of(p.a), device, what);
    must_be_usable(p.pb, bytes_of(p.b), device, what);
    must_be_usable(p.pd, bytes_of(p.d), device, what);
    if (p.beta != 0) must_be_usable(p.pc, bytes_of(p.c), device, what);
    if (p.work.epilogue == CUBLASLT_EPILOGUE_BIAS) must_be_usable(p.work.bias, p.d.rows * size_of(p.d.type), device, what);
    if (p.workspace_bytes) {
        must_be_usable(p.workspace, p.workspace_bytes, device, what);
        memset(p.workspace, 0xFF, p.workspace_bytes);
    }
    for (int batch = 0; batch < p.d.batch; batch++) multiply(p, batch);
    for (const layout *l : {&p.a, &p.b}) operand_bytes += l->rows * l->cols * (uint64_t)l->batch * size_of(l->type);
}

/* Whatever an algorithm was found for has to be so when it is used. */
cublasStatus_t check_algorithm(const algorithm &found, const product &p, const void *workspace, size_t bytes)
{
    const layout *const l[4] = {&p.a, &p.b, &p.c, &p.d};
    const void *const data[4] = {p.pa, p.pb, p.pc, p.pd};
    if (found.magic != MAGIC || found.shape != number_of(p.work, l)) return CUBLAS_STATUS_INVALID_VALUE;
    if (found.workspace > bytes || (uintptr_t)workspace % 16) return CUBLAS_STATUS_INVALID_VALUE;
    for (int i = 0; i < 4; i++)
        if (alignment_of(data[i]) < found.align[i]) return CUBLAS_STATUS_INVALID_VALUE;
    if (p.work.epilogue == CUBLASLT_EPILOGUE_BIAS && alignment_of(p.work.bias) < found.align_bias)
        return CUBLAS_STATUS_INVALID_VALUE;
    return CUBLAS_STATUS_SUCCESS;
}

template <class T> cublasStatus_t take(T *to, const void *from, size_t bytes)
{
    if (!from || bytes != sizeof *to) return CUBLAS_STATUS_INVALID_VALUE;
    memcpy(to, from, sizeof *to);
    return CUBLAS_STATUS_SUCCESS;
}

template <class T> cublasStatus_t destroy(T *object)
{
    objects -= object != nullptr;
    delete object;
    return CUBLAS_STATUS_SUCCESS;
}

template <class T> cublasStatus_t create(T **out, T object)
{
    if (!out) return CUBLAS_STATUS_INVALID_VALUE;
    *out = new T(object);
    objects++;
    return CUBLAS_STATUS_SUCCESS;
}

/* A failure on purpose, of a function of cuBLASLt. */
cublasStatus_t status_of(cudaError_t error)
{
    if (error == cudaSuccess) return CUBLAS_STATUS_SUCCESS;
    return error == cudaErrorMemoryAllocation ? CUBLAS_STATUS_ALLOC_FAILED : CUBLAS_STATUS_EXECUTION_FAILED;
}

} // namespace

int blas_objects() { return objects; }

} // namespace emulated

using namespace emulated;

int emulated_cuda_refused() { return refused; }
uint64_t emulated_cuda_product_bytes() { return operand_bytes; }

#define BLAS_CALL()                                                                              \
    call emulated_this_call(__func__);                                                           \
    if (emulated_this_call.error != cudaSuccess) return status_of(emulated_this_call.error)

cublasStatus_t cublasLtCreate(cublasLtHandle_t *handle)
{
    BLAS_CALL();
    return create(handle, cublasLtContext{current_device()});
}

cublasStatus_t cublasLtDestroy(cublasLtHandle_t handle)
{
    BLAS_CALL();
    if (!handle) return CUBLAS_STATUS_NOT_INITIALIZED;
    run_everything(handle->device); /* as documented: it waits for the device */
    return destroy(handle);
}

size_t cublasLtGetVersion() { return CUBLAS_VERSION; }

const char *cublasLtGetStatusName(cublasStatus_t status)
{
    switch (status) {
    case CUBLAS_STATUS_SUCCESS: return "CUBLAS_STATUS_SUCCESS";
    case CUBLAS_STATUS_NOT_INITIALIZED: return "CUBLAS_STATUS_NOT_INITIALIZED";
    case CUBLAS_STATUS_ALLOC_FAILED: return "CUBLAS_STATUS_ALLOC_FAILED";
    case CUBLAS_STATUS_INVALID_VALUE: return "CUBLAS_STATUS_INVALID_VALUE";
    case CUBLAS_STATUS_ARCH_MISMATCH: return "CUBLAS_STATUS_ARCH_MISMATCH";
    case CUBLAS_STATUS_EXECUTION_FAILED: return "CUBLAS_STATUS_EXECUTION_FAILED";
    case CUBLAS_STATUS_INTERNAL_ERROR: return "CUBLAS_STATUS_INTERNAL_ERROR";
    case CUBLAS_STATUS_NOT_SUPPORTED: return "CUBLAS_STATUS_NOT_SUPPORTED";
    }
    return "?";
}

const char *cublasLtGetStatusString(cublasStatus_t status) { return cublasLtGetStatusName(status); }

cublasStatus_t cublasLtMatmulDescCreate(cublasLtMatmulDesc_t *out, cublasComputeType_t compute, cudaDataType_t scale)
{
    BLAS_CALL();
    desc made;
    made.compute = compute;
    made.scale_type = scale;
    return create(out, made);
}

cublasStatus_t cublasLtMatmulDescDestroy(cublasLtMatmulDesc_t work) { return destroy(work); }

cublasStatus_t cublasLtMatmulDescSetAttribute(cublasLtMatmulDesc_t w, cublasLtMatmulDescAttributes_t attribute,
                                              const void *value, size_t bytes)
{
    BLAS_CALL();
    if (!w) return CUBLAS_STATUS_INVALID_VALUE;
    switch (attribute) {
    case CUBLASLT_MATMUL_DESC_COMPUTE_TYPE: return take(&w->compute, value, bytes);
    case CUBLASLT_MATMUL_DESC_SCALE_TYPE: return take(&w->scale_type, value, bytes);
    case CUBLASLT_MATMUL_DESC_POINTER_MODE: return take(&w->pointer_mode, value, bytes);
    case CUBLASLT_MATMUL_DESC_TRANSA: return take(&w->transa, value, bytes);
    case CUBLASLT_MATMUL_DESC_TRANSB: return take(&w->transb, value, bytes);
    case CUBLASLT_MATMUL_DESC_EPILOGUE: return take(&w->epilogue, value, bytes);
    case CUBLASLT_MATMUL_DESC_BIAS_POINTER: return take(&w->bias, value, bytes);
    case CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE: return take(&w->bias_type, value, bytes);
    }
    return CUBLAS_STATUS_INVALID_VALUE;
}

cublasStatus_t cublasLtMatrixLayoutCreate(cublasLtMatrixLayout_t *out, cudaDataType type, uint64_t rows,
                                          uint64_t cols, int64_t ld)
{
    BLAS_CALL();
    layout made;
    made.type = (uint32_t)type;
    made.rows = rows;
    made.cols = cols;
    made.ld = ld;
    return create(out, made);
}

cublasStatus_t cublasLtMatrixLayoutDestroy(cublasLtMatrixLayout_t l) { return destroy(l); }

cublasStatus_t cublasLtMatrixLayoutSetAttribute(cublasLtMatrixLayout_t l, cublasLtMatrixLayoutAttribute_t attribute,
                                                const void *value, size_t bytes)
{
    BLAS_CALL();
    if (!l) return CUBLAS_STATUS_INVALID_VALUE;
    switch (attribute) {
    case CUBLASLT_MATRIX_LAYOUT_TYPE: return take(&l->type, value, bytes);
    case CUBLASLT_MATRIX_LAYOUT_ORDER: return take(&l->order, value, bytes);
    case CUBLASLT_MATRIX_LAYOUT_ROWS: return take(&l->rows, value, bytes);
    case CUBLASLT_MATRIX_LAYOUT_COLS: return take(&l->cols, value, bytes);
    case CUBLASLT_MATRIX_LAYOUT_LD: return take(&l->ld, value, bytes);
    case CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT: return take(&l->batch, value, bytes);
    case CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET: return take(&l->stride, value, bytes);
    }
    return CUBLAS_STATUS_INVALID_VALUE;
}

cublasStatus_t cublasLtMatmulPreferenceCreate(cublasLtMatmulPreference_t *out)
{
    BLAS_CALL();
    return create(out, preference());
}

cublasStatus_t cublasLtMatmulPreferenceDestroy(cublasLtMatmulPreference_t p) { return destroy(p); }

cublasStatus_t cublasLtMatmulPreferenceSetAttribute(cublasLtMatmulPreference_t p,
                                                    cublasLtMatmulPreferenceAttributes_t attribute,
                                                    const void *value, size_t bytes)
{
    BLAS_CALL();
    if (!p) return CUBLAS_STATUS_INVALID_VALUE;
    switch (attribute) {
    case CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES: return take(&p->workspace, value, bytes);
    case CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK: return take(&p->reduction, value, bytes);
    case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES: return take(&p->align_a, value, bytes);
    case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES: return take(&p->align_b, value, bytes);
    case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES: return take(&p->align_c, value, bytes);
    case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES: return take(&p->align_d, value, bytes);
    case CUBLASLT_MATMUL_PREF_SEARCH_MODE:
    case CUBLASLT_MATMUL_PREF_MAX_WAVES_COUNT: return CUBLAS_STATUS_SUCCESS;
    }
    return CUBLAS_STATUS_INVALID_VALUE;
}

/* A bias must be as aligned as an access of 16 bytes wants it: what others found, for want of a documented rule. */
cublasStatus_t cublasLtMatmulAlgoGetHeuristic(cublasLtHandle_t handle, cublasLtMatmulDesc_t w,
                                              cublasLtMatrixLayout_t a, cublasLtMatrixLayout_t b,
                                              cublasLtMatrixLayout_t c, cublasLtMatrixLayout_t d,
                                              cublasLtMatmulPreference_t wish, int wanted,
                                              cublasLtMatmulHeuristicResult_t results[], int *found)
{
    BLAS_CALL();
    if (found) *found = 0;
    if (!handle) return CUBLAS_STATUS_NOT_INITIALIZED;
    if (!w || !a || !b || !c || !d || !wish || wanted < 1 || !results || !found) return CUBLAS_STATUS_INVALID_VALUE;
    cublasStatus_t status = check(*w, *a, *b, *c, *d);
    bool bias = w->epilogue == CUBLASLT_EPILOGUE_BIAS;
    if (status == CUBLAS_STATUS_SUCCESS && bias && w->bias && alignment_of(w->bias) < BIAS_ALIGNMENT)
        status = CUBLAS_STATUS_NOT_SUPPORTED;
    if (status != CUBLAS_STATUS_SUCCESS) return status;
    const layout *const l[4] = {a, b, c, d};
    algorithm made = {MAGIC, number_of(*w, l), std::min<uint64_t>(wish->workspace, WORKSPACE),
                      {wish->align_a, wish->align_b, wish->align_c, wish->align_d}, bias ? BIAS_ALIGNMENT : 0u};
    results[0] = cublasLtMatmulHeuristicResult_t();
    memcpy(&results[0].algo, &made, sizeof made);
    results[0].workspaceSize = made.workspace;
    results[0].wavesCount = 1;
    *found = 1;
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmul(cublasLtHandle_t handle, cublasLtMatmulDesc_t w, const void *alpha, const void *a,
                              cublasLtMatrixLayout_t la, const void *b, cublasLtMatrixLayout_t lb, const void *beta,
                              const void *c, cublasLtMatrixLayout_t lc, void *d, cublasLtMatrixLayout_t ld,
                              const cublasLtMatmulAlgo_t *algo, void *workspace, size_t workspace_bytes,
                              cudaStream_t stream)
{
    BLAS_CALL();
    if (!handle) return CUBLAS_STATUS_NOT_INITIALIZED;
    if (!w || !alpha || !beta || !a || !b || !d || !la || !lb || !lc || !ld) return CUBLAS_STATUS_INVALID_VALUE;
    if (w->pointer_mode != CUBLASLT_POINTER_MODE_HOST) return CUBLAS_STATUS_NOT_SUPPORTED;
    cublasStatus_t status = check(*w, *la, *lb, *lc, *ld);
    if (status != CUBLAS_STATUS_SUCCESS) return status;
    CUstream_st *s = find_stream(stream);
    if (!s || s->device != handle->device || current_device() != handle->device) return CUBLAS_STATUS_INVALID_VALUE;
    product p = {*w, *la, *lb, *lc, *ld, a, b, c, d, 0, 0, workspace, 0};
    memcpy(&p.alpha, alpha, sizeof p.alpha);
    memcpy(&p.beta, beta, sizeof p.beta);
    if (p.beta != 0 && !c) return CUBLAS_STATUS_INVALID_VALUE;
    if (w->epilogue == CUBLASLT_EPILOGUE_BIAS && !w->bias) return CUBLAS_STATUS_INVALID_VALUE;
    if (odd_is_refused() && ((la->ld | lb->ld | ld->ld) & 1)) {
        refused++;
        return CUBLAS_STATUS_NOT_SUPPORTED;
    }
    if (algo) {
        algorithm found;
        memcpy(&found, algo, sizeof found);
        status = check_algorithm(found, p, workspace, workspace_bytes);
        if (status != CUBLAS_STATUS_SUCCESS) return status;
        p.workspace_bytes = found.workspace;
    }
    static std::set<uint64_t> seen; /* kinds of products, whose kernels are loaded with the first */
    const layout *const all[4] = {la, lb, lc, ld};
    if (!is_capturing(s) && seen.insert(number_of(*w, all)).second) run_everything(s->device);
    int device = s->device;
    return status_of(enqueue(stream, "a matrix product", [=] { run(p, device); }));
}
