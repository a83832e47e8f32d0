/* A uv loop, a temporary folder and production environments on both, for tests.
 *
 * Nothing sleeps: fixture_until turns the loop until a condition holds, and fails the test when it
 * does not within FIXTURE_PATIENCE_MS. */

#ifndef TESTS_LIB_LOOP_FIXTURE_H
#define TESTS_LIB_LOOP_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "proto/env/env_uv.h"

#include <ftw.h>
#include <stdio.h>
#include <unistd.h>

#define FIXTURE_PATIENCE_MS 20000

struct fixture {
    uv_loop_t loop;
    char folder[128];
};

static inline void fixture_open(struct fixture *fixture)
{
    const char *base = getenv("TMPDIR");

    assert_int_equal(uv_loop_init(&fixture->loop), 0);
    (void)snprintf(fixture->folder, sizeof(fixture->folder), "%s/skein-XXXXXX",
                   base != NULL ? base : "/tmp");
    assert_non_null(mkdtemp(fixture->folder));
}

static inline int fixture_remove_one(const char *path, const struct stat *about, int type,
                                     struct FTW *walk)
{
    (void)about;
    (void)type;
    (void)walk;
    return remove(path);
}

static inline void fixture_close(struct fixture *fixture)
{
    (void)uv_run(&fixture->loop, UV_RUN_NOWAIT);
    assert_int_equal(uv_loop_close(&fixture->loop), 0);
    assert_int_equal(nftw(fixture->folder, fixture_remove_one, 16, FTW_DEPTH | FTW_PHYS), 0);
}

/* Environment number `id`, in a folder of its own, without links. */
static inline struct env *fixture_env(struct fixture *fixture, uint64_t id)
{
    char folder[160];
    char why[ERROR_WHY_BYTES] = "";
    struct env *env = NULL;

    (void)snprintf(folder, sizeof(folder), "%s/%d", fixture->folder, (int)id);
    struct env_uv_options options = {.data_folder = folder, .self = id};

    if (env_uv_open(&fixture->loop, &options, &env, why) != OK)
        fail_msg("env_uv_open: %s", why);
    return env;
}

static inline void fixture_out_of_patience(uv_timer_t *timer)
{
    *(bool *)timer->data = true;
}

static inline bool fixture_runs_until(struct fixture *fixture, bool (*is_so)(void *user),
                                      void *user, uint64_t patience_ms)
{
    bool is_over = false;
    uv_timer_t timer;

    assert_int_equal(uv_timer_init(&fixture->loop, &timer), 0);
    timer.data = &is_over;
    /* Repeating: a turn that begins with it may then wait for input that never comes. */
    assert_int_equal(uv_timer_start(&timer, fixture_out_of_patience, patience_ms, 10), 0);
    while (!is_so(user) && !is_over)
        (void)uv_run(&fixture->loop, UV_RUN_ONCE);
    uv_close((uv_handle_t *)&timer, NULL);
    (void)uv_run(&fixture->loop, UV_RUN_NOWAIT);
    return !is_over;
}

static inline void fixture_until(struct fixture *fixture, bool (*is_so)(void *user), void *user)
{
    assert_true(fixture_runs_until(fixture, is_so, user, FIXTURE_PATIENCE_MS));
}

static inline bool fixture_is_set(void *flag)
{
    return *(bool *)flag;
}

#endif
