#include "support/modules.h"
#include <dlfcn.h>

struct fake *fake_module(void)
{
    void *handle = dlopen(MODULE("fake/librelora_cuda.so.0"), RTLD_NOW | RTLD_LOCAL);
    ck_assert_msg(handle, "%s", dlerror());
    struct fake *fake = dlsym(handle, "fake");
    ck_assert_ptr_nonnull(fake);
    *fake = (struct fake){.devices = FAKE_DEVICES};
    return fake;
}

void env_open_fake(void)
{
    fake_module();
    env_open_module(MODULE("fake"));
    relora_stream_release(env.st);
    env.st = NULL;
    env.dev = relora_device_get(env.ctx, RELORA_DEVICE_CUDA, 0);
    ck_assert_msg(env.dev, "%s", env.last);
    OK(relora_stream_create(&env.st, env.dev));
}

TCase *fake_case(Suite *suite, const char *name, double seconds)
{
    TCase *tc = tcase_create(name);
    tcase_add_checked_fixture(tc, env_open_fake, env_close);
    tcase_set_timeout(tc, seconds);
    suite_add_tcase(suite, tc);
    return tc;
}
