/* The shim over the simulated link, on virtual time. */

#include "proto/base/check.h"
#include "proto/env/env_sim.h"
#include "proto/net/shim.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define MS 1000u
#define SILENT_MS 600u

struct end {
    struct sim *sim;
    struct env *env;
    struct shim *shim;
    struct env_link_watcher watcher;
    struct buffer trace; /* "1:text@ms " and "+1@ms " and "-1closed@ms " */
};

struct world {
    struct sim *sim;
    uint64_t start_us;
    struct end ends[2]; /* processes 1 and 2 */
};

static unsigned now_ms(const struct end *end)
{
    return (unsigned)(sim_now_us(end->sim) / MS);
}

static void on_message(void *user, uint64_t peer, struct slice message)
{
    struct end *end = user;

    buffer_putf(&end->trace, "%d:%.*s@%u ", (int)peer, (int)message.size, message.data,
                now_ms(end));
}

static void on_up(void *user, uint64_t peer)
{
    struct end *end = user;

    assert_true(end->env->link->is_up(end->env, peer));
    buffer_putf(&end->trace, "+%d@%u ", (int)peer, now_ms(end));
}

static void on_down(void *user, uint64_t peer, enum env_down_reason reason)
{
    static const char *const names[] = {"refused", "closed", "silent"};
    struct end *end = user;

    assert_false(end->env->link->is_up(end->env, peer));
    buffer_putf(&end->trace, "-%d%s@%u ", (int)peer, names[reason], now_ms(end));
}

static void end_start(struct world *world, struct end *end, uint64_t id)
{
    struct env *env = sim_process_start(world->sim, id);

    *end = (struct end){.sim = world->sim, .env = env, .shim = shim_new(env, SILENT_MS)};
    env->link = shim_table(end->shim);
    buffer_init(&end->trace, 1u << 16);
    end->watcher = (struct env_link_watcher){.user = end, .on_up = on_up, .on_down = on_down};
    env->link->watch(env, &end->watcher);
    env->link->handle(env, ENV_CHANNEL_RAFT, (struct env_link_handler){end, on_message});
    env->link->handle(env, ENV_CHANNEL_CALL, (struct env_link_handler){end, on_message});
    env->link->peer_set(env, 3 - id, "tcp://127.0.0.1:1", "");
}

/* Both up, at second 1; the link itself takes no time. */
static void world_open(struct world *world)
{
    struct sim_options options = sim_options_default(5);

    options.latency = (struct sim_range){0, 0};
    *world = (struct world){.sim = sim_new(&options)};
    end_start(world, &world->ends[0], 1);
    end_start(world, &world->ends[1], 2);
    sim_run_until(world->sim, 1000 * MS);
    assert_non_null(strstr(buffer_text(&world->ends[0].trace), "+2@"));
    assert_non_null(strstr(buffer_text(&world->ends[1].trace), "+1@"));
    buffer_clear(&world->ends[0].trace);
    buffer_clear(&world->ends[1].trace);
}

static void world_close(struct world *world)
{
    for (size_t i = 0; i < 2; i++) {
        shim_free(world->ends[i].shim);
        buffer_close(&world->ends[i].trace);
    }
    sim_free(world->sim);
}

static void run_until_ms(struct world *world, uint64_t ms)
{
    sim_run_until(world->sim, ms * MS);
}

static enum error say(struct end *end, uint64_t peer, const char *text)
{
    return env_send(end->env, peer, ENV_CHANNEL_CALL, slice_text(text));
}

static void assert_trace(struct end *end, const char *expected)
{
    assert_string_equal(buffer_text(&end->trace), expected);
}

static void shim__no_rule__passes_through(void **state)
{
    struct world world;
    struct end *a = &world.ends[0];
    struct end *b = &world.ends[1];

    (void)state;
    world_open(&world);

    assert_int_equal(env_self(a->env), 1);
    assert_int_equal(say(a, 2, "there"), OK);
    assert_int_equal(say(b, 1, "back"), OK);
    assert_int_equal(say(a, 9, "nobody"), ERR_UNREACHABLE);
    run_until_ms(&world, 1001);

    assert_trace(b, "1:there@1000 ");
    assert_trace(a, "2:back@1000 ");
    world_close(&world);
}

static void shim__delay__in_order_and_one_way(void **state)
{
    struct world world;
    struct end *a = &world.ends[0];
    struct end *b = &world.ends[1];

    (void)state;
    world_open(&world);

    shim_set(a->shim, 2, 40 * MS, 0, false);
    assert_int_equal(say(a, 2, "one"), OK);
    run_until_ms(&world, 1010);
    assert_int_equal(say(a, 2, "two"), OK);
    assert_int_equal(say(b, 1, "quick"), OK);
    shim_set(a->shim, 2, 0, 0, false); /* what is under way is not overtaken */
    assert_int_equal(say(a, 2, "three"), OK);
    run_until_ms(&world, 1100);
    assert_int_equal(say(a, 2, "four"), OK);
    run_until_ms(&world, 1200);

    assert_trace(b, "1:one@1040 1:two@1050 1:three@1050 1:four@1100 ");
    assert_trace(a, "2:quick@1010 ");
    world_close(&world);
}

static void shim__peer_killed_behind_a_delay__news_travel_as_slowly(void **state)
{
    struct world world;
    struct end *a = &world.ends[0];

    (void)state;
    world_open(&world);

    shim_set(a->shim, 2, 40 * MS, 0, false);
    assert_int_equal(say(a, 2, "lost"), OK);
    sim_crash(world.sim, 2, SIM_CRASH_KILL);
    run_until_ms(&world, 2000);

    char *closed = strstr(buffer_text(&a->trace), "-2closed@10");
    char *refused = strstr(buffer_text(&a->trace), "-2refused@1");

    assert_non_null(closed);
    assert_non_null(refused);
    assert_true(atoi(strchr(closed, '@') + 1) >= 1040);
    assert_true(atoi(strchr(refused, '@') + 1) >= 1120);
    assert_int_equal(say(a, 2, "x"), ERR_UNREACHABLE);
    world_close(&world);
}

static void shim__loss__about_that_share_vanishes(void **state)
{
    struct world world;
    struct end *a = &world.ends[0];
    struct end *b = &world.ends[1];
    size_t arrived = 0;

    (void)state;
    world_open(&world);

    shim_set(a->shim, 2, 0, 300, false);
    for (int i = 0; i < 1000; i++)
        assert_int_equal(say(a, 2, "."), OK);
    run_until_ms(&world, 1100);

    for (const char *at = buffer_text(&b->trace); *at != '\0'; at++)
        arrived += *at == '.';
    assert_in_range(arrived, 600, 800);
    world_close(&world);
}

static void shim__short_cut__only_delays_both_ways(void **state)
{
    struct world world;
    struct end *a = &world.ends[0];
    struct end *b = &world.ends[1];

    (void)state;
    world_open(&world);

    shim_set(a->shim, 2, 0, 0, true);
    assert_int_equal(say(a, 2, "there"), OK);
    assert_int_equal(say(b, 1, "back"), OK);
    run_until_ms(&world, 1300);
    assert_trace(a, "");
    assert_trace(b, "");
    shim_set(a->shim, 2, 0, 0, false);
    run_until_ms(&world, 1400);

    assert_trace(b, "1:there@1300 ");
    assert_trace(a, "2:back@1300 ");
    world_close(&world);
}

static void shim__long_cut__silent_then_up_and_nothing_old(void **state)
{
    struct world world;
    struct end *a = &world.ends[0];
    struct end *b = &world.ends[1];

    (void)state;
    world_open(&world);

    shim_set(a->shim, 2, 0, 0, true);
    assert_int_equal(say(a, 2, "old"), OK);
    assert_int_equal(say(b, 1, "old"), OK);
    run_until_ms(&world, 2000);
    assert_trace(a, "-2silent@1600 ");
    assert_int_equal(say(a, 2, "x"), ERR_UNREACHABLE);
    assert_int_equal(say(b, 1, "dropped"), OK);
    run_until_ms(&world, 2100);
    shim_set(a->shim, 2, 0, 0, false);
    run_until_ms(&world, 2200);
    assert_int_equal(say(a, 2, "new"), OK);
    run_until_ms(&world, 2300);

    assert_trace(a, "-2silent@1600 +2@2100 ");
    assert_trace(b, "1:new@2200 ");
    world_close(&world);
}

static void shim__peer_dies_and_returns_while_cut__seen_after_healing(void **state)
{
    struct world world;
    struct end *a = &world.ends[0];
    struct end *b = &world.ends[1];

    (void)state;
    world_open(&world);

    shim_set(a->shim, 2, 0, 0, true);
    sim_crash(world.sim, 2, SIM_CRASH_KILL);
    run_until_ms(&world, 1100);
    assert_trace(a, "");
    shim_set(a->shim, 2, 0, 0, false);
    run_until_ms(&world, 1150);
    assert_trace(a, "-2closed@1100 ");

    shim_free(b->shim);
    buffer_close(&b->trace);
    end_start(&world, b, 2);
    run_until_ms(&world, 3000);
    assert_non_null(strstr(buffer_text(&a->trace), "-2closed@1100 +2@"));
    world_close(&world);
}

static void shim_free__messages_under_way__no_leak(void **state)
{
    struct world world;

    (void)state;
    world_open(&world);

    shim_set(world.ends[0].shim, 2, 500 * MS, 0, false);
    assert_int_equal(say(&world.ends[0], 2, "on its way"), OK);
    shim_set(world.ends[1].shim, 1, 0, 0, true);
    assert_int_equal(say(&world.ends[1], 1, "held back"), OK);
    world_close(&world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(shim__no_rule__passes_through),
        cmocka_unit_test(shim__delay__in_order_and_one_way),
        cmocka_unit_test(shim__peer_killed_behind_a_delay__news_travel_as_slowly),
        cmocka_unit_test(shim__loss__about_that_share_vanishes),
        cmocka_unit_test(shim__short_cut__only_delays_both_ways),
        cmocka_unit_test(shim__long_cut__silent_then_up_and_nothing_old),
        cmocka_unit_test(shim__peer_dies_and_returns_while_cut__seen_after_healing),
        cmocka_unit_test(shim_free__messages_under_way__no_leak),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
