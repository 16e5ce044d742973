/* What the log says of a host whose calls do not fit its cycle. Nothing of it is an error. */
#include "cycle.h"

/* Every update is advanced over once, or a restart is lost or done twice. */
void cycle_note_step(const struct call *c, relora_cycle *cycle, int64_t step)
{
    if (cycle->advanced >= 0 && step != cycle->advanced + 1)
        call_log(c, RELORA_LOG_WARN,
                 "step is %lld, but the last one was %lld; call it once after each update", (long long)step,
                 (long long)cycle->advanced);
    cycle->advanced = step;
}

/* A schedule that restarts with the cycle is near 0 there, and climbs again afterwards. After a resume the rates
 * before are not known; two of them are enough, as the one before a restart is an ordinary one. With stagger there is
 * no such schedule. */
void cycle_note_rate(const struct call *c, relora_cycle *cycle, int64_t step)
{
    const relora_adam *adam = cycle->adam;
    if (!adam || cycle->warned || cycle->options.stagger > 1 || adam->rates < 2 ||
        !(adam->last_rate > adam->highest_rate / 10))
        return;
    cycle->warned = 1;
    call_log(
        c, RELORA_LOG_WARN,
        "the restart after step %lld follows an update with learning rate %g, and the highest so far was %g; "
        "give the cycle the calendar of a schedule with a restart warmup (relora_cycle_options_follow)",
        (long long)step, adam->last_rate, adam->highest_rate);
}

/* Without a sketch the A is drawn, which is no error, but not what the init says either. */
void cycle_note_sketch(const struct call *c, relora_cycle *cycle, const relora_linear *linear)
{
    char label[LABEL_TEXT];
    if (cycle->told_of_sketch || linear->sketched || !linear->param[RELORA_PARAM_SKETCH]) return;
    cycle->told_of_sketch = 1;
    call_log(
        c, RELORA_LOG_WARN,
        "the A of %s is frozen and has init GRADIENT, but no backward pass had RELORA_SKETCH, so the new "
        "A is drawn as by MATCHED",
        linear_label(linear, label));
}
