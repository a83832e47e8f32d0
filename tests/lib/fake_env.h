/* An environment for unit tests of what only needs a clock, dice and the end of the turn. Time
 * stands still until the test moves it; dice repeat. Work runs a millisecond after it was
 * queued. No link, disk or store. */

#ifndef TESTS_LIB_FAKE_ENV_H
#define TESTS_LIB_FAKE_ENV_H

#include "proto/base/rng.h"
#include "proto/env/env.h"

#define FAKE_ENV_WALL_MS 1795466116123u /* 2026-11-23T20:35:16.123Z */

struct fake_env {
    struct env env; /* what the code under test is given */
    struct heap timers;
    struct list tasks;
    struct rng rng;
    uint64_t now_us;
    uint64_t wall_ms; /* at now_us 0 */
};

void fake_env_init(struct fake_env *fake);
void fake_env_close(struct fake_env *fake);

/* End turns until nothing is deferred any more. */
void fake_env_run(struct fake_env *fake);
/* Let time pass: timers fire in order, each followed by fake_env_run. */
void fake_env_advance(struct fake_env *fake, uint64_t us);

#endif
