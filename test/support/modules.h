/* An environment whose context finds one of the modules of test/modules, which are no CUDA. */
#ifndef TEST_SUPPORT_MODULES_H
#define TEST_SUPPORT_MODULES_H

#include "modules/fake.h"
#include "support/fixture.h"

#define MODULE(name) RELORA_TEST_MODULES "/" name

/** What directs the module `fake`, as it is at first. */
struct fake *fake_module(void);
/** For a checked fixture: the environment with that module, env.dev being CUDA device 0 and env.st on it. */
void env_open_fake(void);
TCase *fake_case(Suite *suite, const char *name, double seconds);

#endif
