/* Two layers learn a * b with relora_group: a warm start in full rank, then low rank with restarts. The run
 * stops half way, as if the power had failed, and resumes from its file to the same bits. */
#include <relora/relora.h>
#include <stdio.h>
#include <stdlib.h>

enum { ROWS = 64, WIDE = 64, WARM = 300, EVERY = 300, HALF = 800, STEPS = 1200 };
static const char path[] = "mlp.safetensors";
static float w[2][2 * WIDE], x[ROWS * 2], h[ROWS * WIDE], dh[ROWS * WIDE], y[ROWS], dy[ROWS];
static relora_context *ctx;

static void ok(relora_status s)
{
    if (s < 0) exit(puts(relora_status_text(s)));
}

static float train(int64_t stop) /* from the file, if it is there, to stop > WARM */
{
    relora_device *cpu = relora_device_get(ctx, RELORA_DEVICE_CPU, 0);
    relora_linear_options lo;
    relora_cycle_options co;
    relora_stream *stream;
    relora_tensor *t;
    relora_group *model;
    relora_linear *layer[2];
    relora_adam *adam;
    relora_cycle *cycle = NULL; /* there is none before the warm start is over */
    relora_state *state = NULL;
    relora_reader *old;
    char text[24];
    float loss = 0;
    ok(relora_stream_create(&stream, cpu)), ok(relora_group_create(&model, cpu)); /* over our memory */
    ok(relora_linear_options_init(&lo, sizeof lo)), lo.mode = RELORA_MODE_FULL, lo.rank = 4; /* of both */
    for (int i = 0; i < 2; i++) {
        for (int j = 0; j < 2 * WIDE; j++) w[i][j] = (float)(j * 37 % 64 - 32) / (i ? 256.0f : 32.0f);
        ok(relora_tensor_borrow_matrix(&t, cpu, RELORA_F32, i ? 1 : WIDE, i ? WIDE : 2, w[i]));
        ok(relora_group_wrap(model, i ? "out" : "in", t, NULL, &lo, &layer[i])), relora_tensor_release(t);
    }
    ok(relora_adam_create(&adam, cpu, NULL)), ok(relora_adam_add_group(adam, model));
    ok(relora_reader_open_if_there(&old, ctx, path));
    for (int64_t step = old ? WARM : 0; step < stop; step++) {
        if (!cycle && step == WARM) { /* W is frozen now, and a new optimizer trains A and B */
            ok(relora_group_set_mode(model, stream, RELORA_MODE_LORA)), relora_adam_release(adam);
            ok(relora_adam_create(&adam, cpu, NULL)), ok(relora_adam_add_group(adam, model));
            ok(relora_cycle_options_init(&co, sizeof co)), co.first_step = WARM, co.merge_every = EVERY;
            ok(relora_cycle_create(&cycle, ctx, &co, adam, NULL)), ok(relora_cycle_add_group(cycle, model));
            ok(relora_state_create(&state, ctx)), ok(relora_state_add_group(state, model));
            ok(relora_state_add_adam(state, "adam", adam)), ok(relora_state_add_cycle(state, "cycle", cycle));
            if (old)
                ok(relora_state_load(state, stream, old)), step = atoi(relora_reader_metadata(old, "step"));
        }
        srand((unsigned)step), loss = 0; /* a resumed run sees the same samples */
        for (int i = 0; i < 2 * ROWS; i++) x[i] = 2.0f * (float)rand() / (float)RAND_MAX - 1;
        ok(relora_linear_forward_at(layer[0], stream, ROWS, x, 2, h, WIDE, 0, 0));
        for (int i = 0; i < ROWS * WIDE; i++) h[i] = h[i] > 0 ? h[i] : 0;
        ok(relora_linear_forward_at(layer[1], stream, ROWS, h, WIDE, y, 1, 0, 0));
        for (int i = 0; i < ROWS; i++) dy[i] = (y[i] - x[2 * i] * x[2 * i + 1]) / ROWS, loss += dy[i] * dy[i];
        ok(relora_linear_backward_at(layer[1], stream, ROWS, h, WIDE, dy, 1, dh, WIDE, 0, RELORA_OVERWRITE));
        for (int i = 0; i < ROWS * WIDE; i++) dh[i] = h[i] > 0 ? dh[i] : 0;
        ok(relora_linear_backward_at(layer[0], stream, ROWS, x, 2, dh, WIDE, NULL, 0, 0, RELORA_OVERWRITE));
        ok(relora_adam_step(adam, stream, 0.003, 1, NULL));
        if (cycle) ok(relora_cycle_advance(cycle, stream, step + 1, NULL, NULL, NULL));
    }
    snprintf(text, sizeof text, "%lld", (long long)stop);
    ok(relora_state_set(state, "step", text)), ok(relora_state_save(state, stream, path, 0));
    relora_state_release(state), relora_reader_release(old), relora_cycle_release(cycle);
    relora_adam_release(adam), relora_group_release(model), relora_stream_release(stream);
    return loss;
}

int main(void)
{
    ok(relora_context_create(&ctx, NULL)), remove(path);
    float whole = train(STEPS);
    remove(path), train(HALF); /* here the power fails */
    float resumed = train(STEPS);
    printf("loss %g, resumed %g\n", (double)whole, (double)resumed);
    remove(path), relora_context_release(ctx);
    return whole < 1e-4f && !(resumed < whole || resumed > whole) ? 0 : 1;
}
