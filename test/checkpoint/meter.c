#include "checkpoint/meter.h"
#include "checkpoint/checkpoint.h"

struct meter meter;

static void *meter_alloc(void *user, size_t size, size_t alignment)
{
    if (++meter.requests == meter.refuse) return NULL;
    void *p = track_alloc(user, size, alignment);
    if (env.mem.bytes > meter.peak) meter.peak = env.mem.bytes;
    return p;
}

void meter_env(void)
{
    relora_context_options o;
    env_close();
    memset(&env, 0, sizeof env);
    meter = (struct meter){0};
    track_init(&env.mem);
    OK(relora_context_options_init(&o, sizeof o));
    track_install(&env.mem, &o);
    o.host_alloc = meter_alloc;
    OK(relora_context_create(&env.ctx, &o));
    env.dev = relora_device_get(env.ctx, RELORA_DEVICE_CPU, 0);
    OK(relora_stream_create(&env.st, env.dev));
}

void meter_refuse(int64_t nth)
{
    meter.refuse = nth;
    meter.requests = 0;
}

void meter_start(void)
{
    meter.peak = env.mem.bytes;
}
