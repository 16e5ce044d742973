/* The optimizer, but with steps a hundredth longer than asked for: no test of a binding may take it for the library. */
#include "relora/adam.h"

relora_status honest_step(relora_adam *adam, relora_stream *stream, double lr, double grad_scale,
                          relora_step_report *report);

#define relora_adam_step honest_step
#include "adam_step.c" /* NOLINT(bugprone-suspicious-include) */
#undef relora_adam_step

relora_status relora_adam_step(relora_adam *adam, relora_stream *stream, double lr, double grad_scale,
                               relora_step_report *report)
{
    return honest_step(adam, stream, 1.01 * lr, grad_scale, report);
}
