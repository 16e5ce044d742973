#include "oom/oom.h"
#include <stdlib.h>

struct oom_totals *oom_totals;
void **oom_out;

static struct {
    int64_t nth; /* 0: nothing is refused, for the result */
    int lasting, begun, failures;
    char *result;
    size_t size, compared;
} play;

static void play_once(void (*scenario)(void))
{
    env_close();
    env_open();
    play.begun = play.failures = 0;
    play.compared = 0;
    scenario();
    ck_assert_int_eq(play.begun, 1);
    ck_assert_uint_eq(play.compared, play.size);
    track_refuse(&env.mem, 1, 1); /* nothing is asked for while things are released */
    env_close();
    ck_assert_int_eq(env.mem.refused, 0);
    env_open();
}

void oom_play(void (*scenario)(void), int lasting, int64_t least)
{
    play.nth = 0;
    play.lasting = lasting;
    play.size = 0;
    do {
        play_once(scenario);
        ck_assert_int_lt(play.nth, 5000);
        if (play.nth && play.failures) oom_totals->refused[lasting]++;
    } while (play.nth++ == 0 || play.failures);
    ck_assert_int_ge(play.nth - 2, least);
    oom_totals->scenarios++;
    free(play.result);
    play.result = NULL;
}

void oom_begin(void)
{
    play.begun = 1;
    env.errors = 0;
    track_refuse(&env.mem, play.nth, play.lasting);
}

void oom_end(void) { track_refuse(&env.mem, 0, 0); }

void oom_result(const void *bytes, size_t size)
{
    if (!play.nth) {
        play.result = realloc(play.result, play.size + size);
        memcpy(play.result + play.size, bytes, size);
        play.size += size;
    }
    ck_assert_uint_le(play.compared + size, play.size);
    SAME_BYTES(bytes, play.result + play.compared, size);
    play.compared += size;
}

void oom_result_of(const relora_tensor *tensor)
{
    if (tensor && bytes_of(tensor)) oom_result(snapshot(tensor), bytes_of(tensor));
}

/* Whether the call is to be made again. */
int oom_again(relora_status status, void (*check)(void), const char *call, const char *file, int line)
{
    if (status >= 0) {
        if (env.mem.refused && play.failures == 0)
            ck_abort_msg("%s:%d: %s is refused memory, and says nothing", file, line, call);
        env.errors = 0;
        return 0;
    }
    if (!env.mem.refused)
        ck_abort_msg("%s:%d: %s is %s without cause", file, line, call, relora_status_name(status));
    status_fails(status, RELORA_E_NO_MEMORY, call, (const char *const[]){"memory", NULL}, file, line);
    if (check) check();
    env.errors = 0;
    if (play.lasting && play.failures++ == 0) return 1;
    play.failures++;
    oom_end();
    return 1;
}

void oom_out_is_null(void) { ck_assert_ptr_null(*oom_out); }
