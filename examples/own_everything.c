/* For a program that owns everything: W, A, B, their gradients, Adam and its moments. Here W + B A learns a
 * matrix of full rank, two ranks at a time. The library restarts them where they are and keeps nothing. */
#include <relora/relora.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { N = 16, RANK = 2, SIZE = N * RANK, EVERY = 300, STEPS = 12 * EVERY };
static float w[N * N], factors[2 * SIZE], grad[2 * SIZE], m[2 * SIZE], v[2 * SIZE]; /* A, then B */

static void ok(relora_status status)
{
    if (status < 0) exit(puts(relora_status_text(status)));
}

static double train(const float *a, const float *b) /* the program's own loss and gradients */
{
    double loss = 0;
    for (int i = 0; i < 2 * SIZE; i++) grad[i] = 0;
    for (int i = 0; i < N * N; i++) {
        float *da = grad + i % N, *db = grad + SIZE + i / N * RANK, error = w[i] - sinf((float)(i * i));
        for (int k = 0; k < RANK; k++) error += b[i / N * RANK + k] * a[k * N + i % N];
        for (int k = 0; k < RANK; k++) da[k * N] += error * b[i / N * RANK + k];
        for (int k = 0; k < RANK; k++) db[k] += error * a[k * N + i % N];
        loss += (double)(error * error) / 2;
    }
    return loss;
}

int main(void)
{
    static const int rows[] = {N, RANK, N, RANK, RANK, N, N}, cols[] = {N, N, RANK, N, N, RANK, RANK};
    float *const data[] = {w, factors, factors + SIZE, m, v, m + SIZE, v + SIZE};
    relora_context *ctx;
    relora_stream *stream;
    relora_tensor *t[7]; /* over the program's memory: W, A, B, the moments of A, those of B */
    relora_merge_options options;
    double loss = 0;
    ok(relora_context_create(&ctx, NULL));
    relora_device *cpu = relora_device_get(ctx, RELORA_DEVICE_CPU, 0);
    ok(relora_stream_create(&stream, cpu));
    for (int i = 0; i < 7; i++)
        ok(relora_tensor_borrow_matrix(t + i, cpu, RELORA_F32, rows[i], cols[i], data[i]));
    ok(relora_merge_options_init(&options, sizeof options));
    for (int step = 0; step < STEPS; step++) {
        options.cycle = (uint64_t)(step / EVERY);
        if (step % EVERY == 0) { /* a restart; in the first one B is 0, and W stays */
            ok(relora_merge(stream, t[0], t[1], t[2], &options, NULL));
            ok(relora_factors_draw(stream, t[1], t[2], options.seed, options.layer, options.cycle));
            for (uint64_t i = 3; i < 7; i += 2)
                ok(relora_moments_reset(stream, t[i], t[i + 1], i, NULL, NULL));
        }
        loss = train(factors, factors + SIZE);
        for (int i = 0; i < 2 * SIZE; i++) { /* the program's own Adam, with a warmup after each restart */
            m[i] += 0.1f * (grad[i] - m[i]);
            v[i] += 0.01f * (grad[i] * grad[i] - v[i]);
            factors[i] -= 0.01f * fminf(1, (float)(step % EVERY) / 20) * m[i] / (sqrtf(v[i]) + 1e-6f);
        }
    }
    for (int i = 0; i < 7; i++) relora_tensor_release(t[i]);
    relora_stream_release(stream);
    relora_context_release(ctx);
    printf("loss %g\n", loss);
    return loss > 1e-3;
}
