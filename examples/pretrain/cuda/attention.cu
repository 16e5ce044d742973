/* Rotary positions, and which kernels attention runs on. */
#include "attention.cuh"

enum { THREADS = 256 };

int64_t gpu_attention_scratch(const struct attention *a)
{
    int64_t heads = a->batch * a->heads;
    return a->head_dim % 2 || a->head_dim > MOST_HEAD_DIM || heads > MOST_HEADS ? -1 : heads * a->seq;
}

/* N pairs (i, i + half) of each row of each head turn by the angle of their position. `rows` counts tokens. */
template <class T, int N>
static __global__ void __launch_bounds__(THREADS) rotate_kernel(struct heads h, T *q, T *k, int64_t rows)
{
    int half = h.head_dim / 2, heads = blockIdx.y ? h.kv_heads : h.heads;
    int64_t pair = ((int64_t)blockIdx.x * THREADS + threadIdx.x) * N, head = pair / half;
    if (head >= rows * heads) return;
    int i = (int)(pair % half), t = (int)(head / heads % h.seq);
    T *low = (blockIdx.y ? k : q) + head * h.head_dim + i, *high = low + half;
    float x[N], y[N], c[N], s[N];
    load(x, low);
    load(y, high);
    load(c, h.cosine + t * half + i);
    load(s, h.sine + t * half + i);
    for (int j = 0; j < N; j++) {
        float was = x[j];
        x[j] = was * c[j] - y[j] * s[j];
        y[j] = y[j] * c[j] + was * s[j];
    }
    store(low, x);
    store(high, y);
}

template <class T> static void rotate(const struct attention *a, T *q, T *k)
{
    int each = a->head_dim % 16 == 0 ? 8 : 1;
    int64_t pairs = a->batch * a->seq * a->heads * a->head_dim / 2;
    launch(a->engine, each == 8 ? rotate_kernel<T, 8> : rotate_kernel<T, 1>,
           dim3(blocks_for(pairs, THREADS * each), 2), dim3(THREADS), heads_of(a), q, k, a->batch * a->seq);
}

void gpu_rotate(const struct attention *a, void *q, void *k)
{
    if (a->dtype == RELORA_F32)
        rotate(a, (float *)q, (float *)k);
    else
        rotate(a, (bf16 *)q, (bf16 *)k);
}

void gpu_attention_forward(const struct attention *a, const struct attention_pass *p)
{
    if (a->dtype == RELORA_F32)
        plain_forward(a, p);
    else
        tensor_forward(a, p);
}

void gpu_attention_backward(const struct attention *a, const struct attention_pass *p,
                            const struct attention_gradient *g)
{
    if (a->dtype == RELORA_F32)
        plain_backward(a, p, g, a->scratch);
    else
        tensor_backward(a, p, g, a->scratch);
}
