/* Adam, the partial reset and the schedule for a program that has layers of its own.
 *
 * Nothing here is a librelora layer: a small network, tanh(x w + b) v, lives in plain arrays and
 * makes its own gradients. The optimizer borrows both; the program says when to reset it. */
#include <relora/relora.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { HIDDEN = 32, POINTS = 64, CYCLE = 500, STEPS = 3 * CYCLE };
struct network {
    float w[HIDDEN], b[HIDDEN], v[HIDDEN];
};
static relora_context *context;
static relora_device *cpu;

#define CHECK(call) check(call, #call)
static void check(relora_status status, const char *call)
{
    char why[200] = "";
    if (status == RELORA_OK) return;
    relora_context_error(context, why, sizeof why, NULL);
    fprintf(stderr, "%s: %s: %s\n", call, relora_status_name(status), why);
    exit(1);
}

/* The program's own forward and backward: fits sin(3 x), adds to `grad`, returns the loss. */
static double train(const struct network *net, struct network *grad)
{
    double loss = 0;
    for (int p = 0; p < POINTS; p++) {
        float x = 2 * (float)p / (POINTS - 1) - 1, h[HIDDEN], error = -sinf(3 * x);
        for (int i = 0; i < HIDDEN; i++) {
            h[i] = tanhf(x * net->w[i] + net->b[i]);
            error += net->v[i] * h[i];
        }
        loss += (double)(error * error) / POINTS;
        for (int i = 0; i < HIDDEN; i++) {
            float dy = 2 * error / POINTS, dh = dy * net->v[i] * (1 - h[i] * h[i]);
            grad->v[i] += dy * h[i];
            grad->w[i] += dh * x;
            grad->b[i] += dh;
        }
    }
    return loss;
}

/* Register an array and its gradient. The tensors only point to them; the optimizer keeps the
 * tensors, and the arrays must live as long. */
static void add(relora_adam *adam, const char *name, float *param, float *grad)
{
    const int64_t shape = HIDDEN;
    relora_tensor *p, *g;
    CHECK(relora_tensor_borrow(&p, cpu, RELORA_F32, 1, &shape, NULL, param, NULL, NULL));
    CHECK(relora_tensor_borrow(&g, cpu, RELORA_F32, 1, &shape, NULL, grad, NULL, NULL));
    CHECK(relora_adam_add(adam, name, p, g, NULL));
    relora_tensor_release(p);
    relora_tensor_release(g);
}

int main(void)
{
    static struct network net, grad;
    for (int i = 0; i < HIDDEN; i++) net.w[i] = 4 * (float)rand() / (float)RAND_MAX - 2;
    for (int i = 0; i < HIDDEN; i++) net.v[i] = (float)rand() / (float)RAND_MAX - 0.5f;

    relora_stream *stream;
    CHECK(relora_context_create(&context, NULL));
    cpu = relora_device_get(context, RELORA_DEVICE_CPU, 0);
    CHECK(relora_stream_create(&stream, cpu));

    relora_adam *adam;
    relora_adam_options clipped;
    CHECK(relora_adam_options_init(&clipped, sizeof clipped));
    clipped.max_norm = 1;
    CHECK(relora_adam_create(&adam, cpu, &clipped));
    add(adam, "w", net.w, grad.w); /* parameter 0 */
    add(adam, "b", net.b, grad.b);
    add(adam, "v", net.v, grad.v);

    relora_schedule *schedule; /* one cosine over the run, and a warmup in each cycle */
    relora_schedule_options jagged;
    CHECK(relora_schedule_options_init(&jagged, sizeof jagged));
    jagged.lr = 0.01;
    jagged.total_steps = STEPS;
    jagged.restart_every = CYCLE;
    jagged.warmup_steps = jagged.restart_warmup_steps = 20;
    CHECK(relora_schedule_create(&schedule, context, &jagged));

    int64_t restart;
    double loss = 0, first = 0, lr;
    CHECK(relora_schedule_next_restart(schedule, 0, &restart));
    for (int64_t step = 0; step < STEPS; step++) {
        CHECK(relora_adam_zero_grad(adam, stream));
        loss = train(&net, &grad);
        if (step == 0) first = loss;
        if (step % 100 == 0) printf("step %4d  loss %.5f\n", (int)step, loss);

        CHECK(relora_schedule_lr(schedule, step, &lr));
        CHECK(relora_adam_step(adam, stream, lr, 1.0, NULL));

        if (step == restart) { /* this update had learning rate 0; a new climb begins */
            const int32_t w_and_v[2] = {0, 2};
            relora_reset_options most; /* the 90 % that are smallest in magnitude */
            relora_reset_report report = {.struct_size = sizeof report};
            CHECK(relora_reset_options_init(&most, sizeof most));
            most.ratio = 0.9;
            CHECK(relora_adam_reset(adam, stream, w_and_v, 2, &most, &report));
            CHECK(relora_schedule_next_restart(schedule, step, &restart));
            printf("restart    %d of %d first moments are zero\n", (int)report.zeroed_first,
                   (int)report.elements);
        }
    }
    printf("end        loss %.5f, at first %.5f\n", loss, first);

    relora_schedule_release(schedule);
    relora_adam_release(adam);
    relora_stream_release(stream);
    relora_context_release(context);
    if (loss < 0.01 * first) return 0;
    fprintf(stderr, "the loss did not fall as it should\n");
    return 1;
}
