/* Two programs in one (grow.sh): with -DGROWN of headers in which each struct of options has a field `later`, and of
 * today's. Both save a run in which it is not used; the first also saves runs in which one struct uses it. Each loads
 * the files of both. */
#include "abi/caller.h"

enum which { NONE, LINEAR, ADAM, RESET, SCHEDULE, CYCLE, WHICH };
static const char *const keys[WHICH] = {"",
                                        "relora.linear.layer",
                                        "relora.adam.adam",
                                        "relora.cycle.cycle",
                                        "relora.schedule.schedule",
                                        "relora.cycle.cycle"};

#ifdef GROWN
#define USE(o, which, is) ((o)->later = (which) == (is) ? 3 : 0)
static const char *const own = "grown", *const other = "plain";
#else
#define USE(o, which, is) ((void)(o), (void)(which))
static const char *const own = "plain", *const other = "grown";
#endif

struct run {
    relora_tensor *weight;
    relora_linear *linear;
    relora_adam *adam;
    relora_schedule *schedule;
    relora_cycle *cycle;
    relora_state *state;
};

static void make_layer(struct run *run, enum which which)
{
    relora_linear_options o;
    OK(relora_linear_options_init(&o, sizeof o));
    o.in_features = o.out_features = 4;
    o.rank = 2;
    USE(&o, which, LINEAR);
    OK(relora_linear_create(&run->linear, dev, &o));
    run->weight = zeros(RELORA_F32, 4, 4);
    OK(relora_linear_set_weight(run->linear, run->weight, NULL));
}

static void make_optimizer(struct run *run, enum which which)
{
    relora_adam_options o;
    OK(relora_adam_options_init(&o, sizeof o));
    USE(&o, which, ADAM);
    OK(relora_adam_create(&run->adam, dev, &o));
    OK(relora_adam_add_linear(run->adam, "layer", run->linear));
}

static void make_calendar(struct run *run, enum which which)
{
    relora_schedule_options s;
    relora_cycle_options c;
    relora_reset_options r;
    OK(relora_schedule_options_init(&s, sizeof s));
    OK(relora_cycle_options_init(&c, sizeof c));
    OK(relora_reset_options_init(&r, sizeof r));
    s.lr = 1;
    s.total_steps = 8;
    s.restart_every = c.merge_every = 4;
    USE(&s, which, SCHEDULE);
    USE(&c, which, CYCLE);
    USE(&r, which, RESET);
    OK(relora_schedule_create(&run->schedule, ctx, &s));
    OK(relora_cycle_create(&run->cycle, ctx, &c, run->adam, &r));
    OK(relora_cycle_add(run->cycle, run->linear));
}

static struct run make(enum which which)
{
    struct run run;
    make_layer(&run, which);
    make_optimizer(&run, which);
    make_calendar(&run, which);
    OK(relora_state_create(&run.state, ctx));
    OK(relora_state_add_linear(run.state, "layer", run.linear));
    OK(relora_state_add_adam(run.state, "adam", run.adam));
    OK(relora_state_add_schedule(run.state, "schedule", run.schedule));
    OK(relora_state_add_cycle(run.state, "cycle", run.cycle));
    return run;
}

static void release(struct run *run)
{
    relora_state_release(run->state);
    relora_cycle_release(run->cycle);
    relora_schedule_release(run->schedule);
    relora_adam_release(run->adam);
    relora_linear_release(run->linear);
    relora_tensor_release(run->weight);
}

static const char *path_of(const char *folder, const char *program, int which)
{
    static char path[1024];
    snprintf(path, sizeof path, "%s/%s-%d.safetensors", folder, program, which);
    return path;
}

static void save(const char *folder, enum which which)
{
    struct run run = make(which);
    OK(relora_state_save(run.state, st, path_of(folder, own, which), 0));
    release(&run);
}

/* A file of `program` in which `which` uses the field, into a run in which none does. */
static void load(const char *folder, const char *program, enum which which)
{
    struct run run = make(NONE);
    relora_reader *reader;
    char why[400] = "";
    OK(relora_reader_open(&reader, ctx, path_of(folder, program, which)));
    relora_status status = relora_state_load(run.state, st, reader);
    OK(relora_context_error(ctx, why, sizeof why, NULL));
    if (which == NONE) ok(status, program, __LINE__);
    else if (status != RELORA_E_STATE || !strstr(why, keys[which]) || !strstr(why, "later=3"))
        printf("%s loads %d of %s: %d, %s\n", own, which, program, status, why), failures++;
    relora_reader_release(reader);
    release(&run);
}

/* A row of the table is all that a bound needs. */
static void refuse(void)
{
#ifdef GROWN
    relora_linear_options o;
    relora_linear *linear;
    char why[400];
    OK(relora_linear_options_init(&o, sizeof o));
    o.in_features = o.out_features = o.rank = 2;
    o.later = 10;
    TRUE(relora_linear_create(&linear, dev, &o) == RELORA_E_ARGUMENT);
    OK(relora_context_error(ctx, why, sizeof why, NULL));
    TRUE(strstr(why, "options.later is 10, outside 0 to 9"));
#endif
}

int main(int argc, char **argv)
{
    if (argc != 3) return 2;
    const char *folder = argv[2];
    open_context();
    if (strcmp(argv[1], "save") == 0) {
#ifdef GROWN
        for (int which = NONE; which < WHICH; which++) save(folder, which);
#else
        save(folder, NONE);
#endif
    } else {
        load(folder, own, NONE);
        load(folder, other, NONE);
        for (int which = LINEAR; which < WHICH; which++) load(folder, "grown", which);
    }
    refuse();
    return close_context();
}
