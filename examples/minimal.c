/* ReLoRA in one page: one layer, one optimizer, the jagged learning rate, three restarts.
 *
 * The layer has to become a 16 x 16 matrix of full rank, but its factors A and B are of rank 4. Each
 * restart merges what they have learned into W and lets them begin afresh, so that four cycles add
 * up to rank 16. Watch the loss fall further in each of them. */
#include <relora/relora.h>
#include <stdio.h>
#include <stdlib.h>

enum { N = 16, CYCLE = 200, STEPS = 4 * CYCLE };
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

static relora_tensor *borrow(float *data) /* the library works in our own memory, copying nothing */
{
    relora_tensor *tensor;
    CHECK(relora_tensor_borrow_matrix(&tensor, cpu, RELORA_F32, N, N, data));
    return tensor;
}

int main(void)
{
    static float w[N * N], x[N * N], y[N * N], dy[N * N], wanted[N * N];
    for (int i = 0; i < N * N; i++) wanted[i] = (float)rand() / (float)RAND_MAX - 0.5f;
    for (int i = 0; i < N; i++) x[i * N + i] = 1;

    relora_stream *stream; /* an ordered queue of work on a device */
    CHECK(relora_context_create(&context, NULL));
    cpu = relora_device_get(context, RELORA_DEVICE_CPU, 0);
    CHECK(relora_stream_create(&stream, cpu));
    relora_tensor *weight = borrow(w), *input = borrow(x), *output = borrow(y), *grad = borrow(dy);

    relora_linear *layer; /* y = x W^T + alpha / rank * x A^T B^T: W is frozen, A and B are trained */
    relora_linear_options linear;
    CHECK(relora_linear_options_init(&linear, sizeof linear));
    linear.rank = 4;
    linear.alpha = 4;
    linear.dropout = 0;
    CHECK(relora_linear_wrap(&layer, cpu, weight, NULL, &linear));

    relora_adam *adam; /* takes from the layer what is to be trained */
    CHECK(relora_adam_create(&adam, cpu, NULL));
    CHECK(relora_adam_add_linear(adam, "layer", layer));

    relora_schedule *schedule; /* one cosine over the run, and a warmup in each cycle */
    relora_schedule_options jagged;
    CHECK(relora_schedule_options_init(&jagged, sizeof jagged));
    jagged.lr = 0.02;
    jagged.total_steps = STEPS;
    jagged.restart_every = CYCLE;
    jagged.warmup_steps = jagged.restart_warmup_steps = 10;
    CHECK(relora_schedule_create(&schedule, context, &jagged));

    relora_cycle *cycle; /* each restart merges, and resets 99 % of the moments of A and B */
    relora_cycle_options restarts;
    CHECK(relora_cycle_options_init(&restarts, sizeof restarts));
    CHECK(relora_cycle_options_follow(&restarts, schedule)); /* where the learning rate begins afresh */
    CHECK(relora_cycle_create(&cycle, context, &restarts, adam, NULL));
    CHECK(relora_cycle_add(cycle, layer));

    double loss = 0, first = 0, lr;
    for (int64_t step = 0; step < STEPS; step++) {
        CHECK(relora_linear_forward(layer, stream, input, output, (uint64_t)step, RELORA_TRAIN));
        loss = 0;
        for (int i = 0; i < N * N; i++) { /* ours to do: a loss and its gradient */
            dy[i] = (y[i] - wanted[i]) / N;
            loss += 0.5 * (double)((y[i] - wanted[i]) * (y[i] - wanted[i])) / N;
        }
        if (step == 0) first = loss;
        if (step % 50 == 0) printf("step %4d  loss %.5f\n", (int)step, loss);

        CHECK(relora_linear_backward(layer, stream, input, grad, NULL, (uint64_t)step,
                                     RELORA_TRAIN | RELORA_OVERWRITE));
        CHECK(relora_schedule_lr(schedule, step, &lr));
        CHECK(relora_adam_step(adam, stream, lr, 1.0, NULL));

        uint32_t events; /* now step + 1 updates are done: is a restart due? */
        relora_merge_report merged = {.struct_size = sizeof merged};
        relora_reset_report reset = {.struct_size = sizeof reset};
        CHECK(relora_cycle_advance(cycle, stream, step + 1, &events, &merged, &reset));
        if (events)
            printf("restart    W moved by %.3f; %d of %d first moments are zero\n", merged.delta_norm,
                   (int)reset.zeroed_first, (int)reset.elements);
    }
    CHECK(relora_cycle_finish(cycle, stream, STEPS, NULL)); /* from now on W alone is the layer */
    printf("end        loss %.5f, at first %.5f\n", loss, first);

    relora_tensor *tensors[] = {weight, input, output, grad};
    for (int i = 0; i < 4; i++) relora_tensor_release(tensors[i]);
    relora_cycle_release(cycle); /* all of this in any order */
    relora_schedule_release(schedule);
    relora_adam_release(adam);
    relora_linear_release(layer);
    relora_stream_release(stream);
    relora_context_release(context);
    if (loss < 0.01 * first) return 0;
    fprintf(stderr, "the loss did not fall as it should\n");
    return 1;
}
