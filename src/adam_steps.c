/* The step counts of parameters, which are on the device. */
#include "adam.h"

relora_status adam_write_steps(relora_adam *adam, struct queue *queue, int32_t index, int64_t steps)
{
    struct copy copy = {adam_at(adam, index)->steps, &steps, 1, sizeof steps, 0, 0, COPY_TO_DEVICE};
    return adam->device->backend->copy(queue, &copy);
}

relora_status adam_read_steps(const struct call *c, const relora_adam *adam, int32_t index, int64_t *steps)
{
    struct copy copy = {steps, adam_at(adam, index)->steps, 1, sizeof *steps, 0, 0, COPY_TO_HOST};
    TRY(call_queue(c, c->backend->copy(c->queue, &copy)));
    return call_queue(c, c->backend->queue_sync(c->queue));
}

relora_status relora_adam_steps(relora_adam *adam, relora_stream *stream, int32_t index, int64_t *steps)
{
    struct call c = {.fn = "relora_adam_steps"};
    TRY(adam_open_index(&c, adam, stream, index));
    if (!steps) FAIL(&c, RELORA_E_ARGUMENT, "steps is NULL");
    return adam_read_steps(&c, adam, index, steps);
}

relora_status relora_adam_set_steps(relora_adam *adam, relora_stream *stream, int32_t index, int64_t steps)
{
    struct call c = {.fn = "relora_adam_set_steps"};
    TRY(adam_open_index(&c, adam, stream, index));
    if (steps < 0 || steps > ADAM_STEPS_MAX)
        FAIL(&c, RELORA_E_ARGUMENT, "steps is %lld, outside 0 to 2^53", (long long)steps);
    return call_queue(&c, adam_write_steps(adam, c.queue, index, steps));
}
