/* Any bytes as a sequence of calls over the whole interface, right and wrong. Nothing may crash, leak or read
 * what was never written; api_world.c lists what must hold after each call.
 *
 * Each input is run twice, with fresh memory full of NaNs and full of numbers: a result that differs was made
 * from bytes nobody wrote, or from something else than the input. */
#include "fuzz/fuzz.h"
#include "fuzz/api_world.h"

static void refuse_memory(void)
{
    uint8_t wait = choose(), count = choose();
    memory_fail(wait % 16, count >= 224 ? 1000 : count % 2);
}

static operation *const operations[] = {
    make_context,  ask_error,    ask_device,    make_stream,  use_stream,   init_options, release_one,
    refuse_memory, make_tensor,  borrow_tensor, point_tensor, keep_tensor,  write_tensor, read_tensor,
    copy_tensor,   set_tensor,   fill_any,      make_linear,  set_weight,   set_mode,     forward,
    backward,      merge,        reset,         zero_linear,  keep_y,       make_adam,    add_param,
    add_linear,    set_factors,  flatten,       zero_adam,    step,         ask_norm,     reset_moments,
    ask_adam,      set_steps,    make_schedule, ask_schedule, make_cycle,   add_member,   ask_cycle,
    advance,       finish,       make_writer,   add_tensor,   add_bytes,    set_metadata, save_writer,
    open_file,     open_memory,  ask_reader,    read_reader,  make_state,   add_to_state, save_state,
    load_state,    export_state, wrap_stream,   take_dlpack,  give_dlpack,  step_lr,      make_group,
    wrap_weight,   add_to_group, ask_group,     group_mode,   group_work,   give_group,   read_group,
    merge_tensors, draw_factors, prune_moments, lend_part,    lend_moments, pass_at,      set_target,
    carry_moments, wrap_at,      add_param_at,
};

/* What a run has, made from as many bytes of the input as it takes: 0 for each gives a plain one. */
static operation *const beginning[] = {make_context, make_stream, make_linear, set_weight, make_adam,
                                       add_linear,   make_cycle,  add_member,  make_state, add_to_state};

static void run(operation *const *list, uint8_t index)
{
    list[index]();
    end_operation();
}

static void run_all(const uint8_t *data, size_t size, int poison)
{
    world_open(data, size, poison);
    uint8_t begun = choose() % (sizeof beginning / sizeof *beginning + 1);
    for (uint8_t i = 0; i < begun; i++) run(beginning, i);
    while (!chosen_all() && world_has_room())
        run(operations, choose() % (sizeof operations / sizeof *operations));
    world_close();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    run_all(data, size, 0xff);
    run_all(data, size, 0x41);
    worlds_compare();
    return 0;
}
