/* Two layers learn a * b with relora_group: a warm start in full rank, then low rank with restarts. The run
 * stops half way, as if the power had failed, and resumes from its file to the same bits. */
#include <relora/relora.h>
#include <stdio.h>
#include <stdlib.h>

#define ROWS 64
#define WIDE 64
static const int64_t warm = 300, every = 300, half = 800, steps = 1200;
static float w1[WIDE * 2], w2[WIDE], x[ROWS * 2], h[ROWS * WIDE], dh[ROWS * WIDE], y[ROWS], dy[ROWS];
static char why[512], text[24];
static relora_context *ctx;

static void ok(relora_status s)
{
    s < 0 ? relora_context_error(ctx, why, 512, 0), exit(puts(why)) : (void)0;
}

static float train(const char *path, int64_t stop) /* from the file, if it is there, to stop > warm */
{
    relora_device *cpu = relora_device_get(ctx, RELORA_DEVICE_CPU, 0);
    float *const data[7] = {w1, w2, x, h, dh, y, dy}, loss = 0;
    const int64_t rows[] = {WIDE, 1, ROWS, ROWS, ROWS, ROWS, ROWS}, cols[] = {2, WIDE, 2, WIDE, WIDE, 1, 1};
    relora_tensor *t[7];
    relora_stream *stream;
    relora_group *model;
    relora_linear *layer[2];
    relora_linear_options lo;
    relora_adam *adam;
    relora_cycle *cycle = NULL; /* there is none before the warm start is over */
    relora_cycle_options co;
    relora_state *state = NULL;
    relora_reader *file;
    for (int i = 0; i < 7; i++) /* the library works in our own memory */
        ok(relora_tensor_borrow_matrix(&t[i], cpu, RELORA_F32, rows[i], cols[i], data[i]));
    for (int i = 0; i < 2 * WIDE; i++) w1[i] = (float)(i * 37 % 64 - 32) / 32, w2[i / 2] = w1[i] / 8;
    ok(relora_stream_create(&stream, cpu)), ok(relora_group_create(&model, cpu));
    ok(relora_linear_options_init(&lo, sizeof lo));
    lo.mode = RELORA_MODE_FULL, lo.rank = 4, lo.dropout = 0; /* for both: the group tells them apart */
    for (int i = 0; i < 2; i++) ok(relora_group_wrap(model, i ? "out" : "in", t[i], NULL, &lo, &layer[i]));
    ok(relora_adam_create(&adam, cpu, NULL)), ok(relora_adam_add_group(adam, model));
    ok(relora_reader_open_if_there(&file, ctx, path));
    for (int64_t step = file ? warm : 0; step < stop; step++) {
        if (!cycle && step == warm) { /* W is frozen now, and a new optimizer trains A and B */
            ok(relora_group_set_mode(model, stream, RELORA_MODE_LORA)), relora_adam_release(adam);
            ok(relora_adam_create(&adam, cpu, NULL)), ok(relora_adam_add_group(adam, model));
            ok(relora_cycle_options_init(&co, sizeof co)), co.first_step = warm, co.merge_every = every;
            ok(relora_cycle_create(&cycle, ctx, &co, adam, NULL)), ok(relora_cycle_add_group(cycle, model));
            ok(relora_state_create(&state, ctx)), ok(relora_state_add_group(state, model));
            ok(relora_state_add_adam(state, "adam", adam)), ok(relora_state_add_cycle(state, "cycle", cycle));
            if (file) ok(relora_state_load(state, stream, file));
            if (file) step = atoi(relora_reader_metadata(file, "step"));
        }
        srand((unsigned)step), loss = 0; /* a resumed run sees the same samples */
        for (int i = 0; i < 2 * ROWS; i++) x[i] = 2.0f * (float)rand() / (float)RAND_MAX - 1;
        ok(relora_linear_forward(layer[0], stream, t[2], t[3], (uint64_t)step, 0));
        for (int i = 0; i < ROWS * WIDE; i++) h[i] = h[i] > 0 ? h[i] : 0;
        ok(relora_linear_forward(layer[1], stream, t[3], t[5], (uint64_t)step, 0));
        for (int i = 0; i < ROWS; i++) dy[i] = (y[i] - x[2 * i] * x[2 * i + 1]) / ROWS, loss += dy[i] * dy[i];
        ok(relora_linear_backward(layer[1], stream, t[3], t[6], t[4], (uint64_t)step, RELORA_OVERWRITE));
        for (int i = 0; i < ROWS * WIDE; i++) dh[i] = h[i] > 0 ? dh[i] : 0;
        ok(relora_linear_backward(layer[0], stream, t[2], t[4], NULL, (uint64_t)step, RELORA_OVERWRITE));
        ok(relora_adam_step(adam, stream, 0.003, 1, NULL));
        if (cycle) ok(relora_cycle_advance(cycle, stream, step + 1, NULL, NULL, NULL));
    }
    snprintf(text, sizeof text, "%lld", (long long)stop);
    ok(relora_state_set(state, "step", text)), ok(relora_state_save(state, stream, path, 0));
    relora_state_release(state), relora_reader_release(file), relora_cycle_release(cycle);
    relora_adam_release(adam), relora_group_release(model), relora_stream_release(stream);
    for (int i = 0; i < 7; i++) relora_tensor_release(t[i]);
    return loss;
}

int main(void)
{
    const char *path = "mlp.safetensors";
    ok(relora_context_create(&ctx, NULL)), remove(path);
    float whole = train(path, steps);
    remove(path), train(path, half); /* here the power fails */
    float resumed = train(path, steps);
    printf("loss %g, resumed %g\n", (double)whole, (double)resumed), remove(path),
        relora_context_release(ctx);
    return whole < 1e-4f && !(resumed < whole || resumed > whole) ? 0 : 1;
}
