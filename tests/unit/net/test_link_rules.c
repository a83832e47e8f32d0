/* Rules for links over the simulated link, on virtual time. */

#include "proto/base/check.h"
#include "proto/env/env_sim.h"
#include "proto/net/link_rules.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define MS 1000u
#define SILENT_MS 600u

struct end {
    struct env *env;
    struct shim *shim;
    struct link_rules *rules;
    struct calls *calls;
    unsigned heard;
    uint64_t heard_us;
};

struct world {
    struct sim *sim;
    struct end ends[2]; /* processes 1 and 2 */
};

static void on_message(void *user, uint64_t peer, struct slice message)
{
    struct end *end = user;

    (void)peer;
    (void)message;
    end->heard++;
    end->heard_us = env_now_us(end->env);
}

static void end_start(struct world *world, uint64_t id)
{
    struct end *end = &world->ends[id - 1];
    struct env *env = sim_process_start(world->sim, id);

    *end = (struct end){.env = env, .shim = shim_new(env, SILENT_MS)};
    env->link = shim_table(end->shim);
    end->rules = link_rules_new(env, end->shim);
    end->calls = calls_new(env);
    link_rules_serve(end->rules, end->calls);
    env->link->handle(env, ENV_CHANNEL_RAFT, (struct env_link_handler){end, on_message});
    env->link->peer_set(env, 3 - id, "tcp://127.0.0.1:1", "");
}

static void world_open(struct world *world)
{
    struct sim_options options = sim_options_default(5);

    options.latency = (struct sim_range){0, 0};
    *world = (struct world){.sim = sim_new(&options)};
    end_start(world, 1);
    end_start(world, 2);
    sim_run_until(world->sim, 1000 * MS);
}

static void world_close(struct world *world)
{
    for (size_t i = 0; i < 2; i++) {
        calls_free(world->ends[i].calls);
        link_rules_free(world->ends[i].rules);
        shim_free(world->ends[i].shim);
    }
    sim_free(world->sim);
}

static void run_until_ms(struct world *world, uint64_t ms)
{
    sim_run_until(world->sim, ms * MS);
}

static enum error say(struct end *end)
{
    return env_send(end->env, 3 - env_self(end->env), ENV_CHANNEL_RAFT, SLICE_LITERAL("x"));
}

static void link_rules__cut_and_nobody_heals__ends_by_itself(void **state)
{
    const struct link_rule cut = {.peer = 2, .is_cut = true};
    const struct link_rule *list;
    struct world world;

    (void)state;
    world_open(&world);
    struct end *a = &world.ends[0];

    assert_int_equal(link_rules_set(a->rules, &cut, 1, 3000), OK);
    run_until_ms(&world, 3000);
    assert_false(a->env->link->is_up(a->env, 2));
    assert_int_equal(link_rules_list(a->rules, &list), 1);
    assert_int_equal(link_rules_left_ms(a->rules), 1000);
    run_until_ms(&world, 4100);

    assert_int_equal(link_rules_list(a->rules, &list), 0);
    assert_int_equal(link_rules_left_ms(a->rules), 0);
    assert_true(a->env->link->is_up(a->env, 2));
    world_close(&world);
}

static void link_rules__delay_healed__what_it_was_started_with_stays(void **state)
{
    const struct link_rule delay = {.peer = 2, .delay_us = 30 * MS};
    struct world world;

    (void)state;
    world_open(&world);
    struct end *a = &world.ends[0];

    link_rules_base(a->rules, 2, 10 * MS);
    assert_int_equal(link_rules_set(a->rules, &delay, 1, 60000), OK);
    assert_int_equal(say(a), OK);
    run_until_ms(&world, 1100);
    assert_int_equal(world.ends[1].heard_us, 1040 * MS);
    assert_int_equal(link_rules_set(a->rules, NULL, 0, 0), OK);
    assert_int_equal(say(a), OK);
    run_until_ms(&world, 1200);

    assert_int_equal(world.ends[1].heard, 2);
    assert_int_equal(world.ends[1].heard_us, 1110 * MS);
    world_close(&world);
}

static void link_rules__new_set_keeps_a_cut__the_link_is_never_whole(void **state)
{
    const struct link_rule first = {.peer = 2, .is_cut = true};
    const struct link_rule second[] = {{.peer = 2, .is_cut = true}, {.peer = 9, .delay_us = MS}};
    struct world world;

    (void)state;
    world_open(&world);
    struct end *a = &world.ends[0];

    assert_int_equal(link_rules_set(a->rules, &first, 1, 1000), OK);
    assert_int_equal(say(a), OK);
    assert_int_equal(link_rules_set(a->rules, second, 2, 10000), OK);
    run_until_ms(&world, 3000);

    assert_int_equal(world.ends[1].heard, 0);
    assert_false(a->env->link->is_up(a->env, 2));
    world_close(&world);
}

static void link_rules__past_their_limits__refused_and_nothing_changed(void **state)
{
    const struct link_rule good = {.peer = 2, .is_cut = true};
    const struct link_rule bad[] = {{.peer = 1, .is_cut = true},
                                    {.peer = 0, .is_cut = true},
                                    {.peer = 2, .drop_permille = 1001},
                                    {.peer = 2, .delay_us = LINK_RULES_DELAY_US_MAX + 1}};
    const struct link_rule *list;
    struct world world;

    (void)state;
    world_open(&world);
    struct end *a = &world.ends[0];

    assert_int_equal(link_rules_set(a->rules, &good, 1, 5000), OK);
    for (size_t i = 0; i < ARRAY_COUNT(bad); i++)
        assert_int_equal(link_rules_set(a->rules, &bad[i], 1, 1000), ERR_INVALID);
    assert_int_equal(link_rules_set(a->rules, &good, 1, 0), ERR_INVALID);
    assert_int_equal(link_rules_set(a->rules, &good, 1, LINK_RULES_FOR_MS_MAX + 1), ERR_INVALID);

    assert_int_equal(link_rules_list(a->rules, &list), 1);
    assert_true(list[0].is_cut);
    world_close(&world);
}

struct asked {
    struct call call;
    enum error rc;
};

static void note_answer(struct call *call, enum error rc, struct slice answer)
{
    (void)answer;
    container_of(call, struct asked, call)->rc = rc;
}

static void link_rules__called_by_another_process__set_there(void **state)
{
    const struct link_rule rule = {.peer = 1, .delay_us = 20 * MS, .drop_permille = 3};
    AUTO(buffer) body = BUFFER_INIT(1000);
    const struct link_rule *list;
    struct world world;
    struct asked asked = {.rc = ERR_INTERNAL};

    (void)state;
    world_open(&world);
    link_rules_put_call(&body, &rule, 1, 7000);
    call_start(world.ends[0].calls, &asked.call, 2, CALL_LINKS, buffer_slice(&body), 1000,
               note_answer);
    run_until_ms(&world, 1500);

    assert_int_equal(asked.rc, OK);
    assert_int_equal(link_rules_list(world.ends[1].rules, &list), 1);
    assert_int_equal(list[0].peer, 1);
    assert_int_equal(list[0].delay_us, rule.delay_us);
    assert_int_equal(list[0].drop_permille, 3);
    assert_int_equal(link_rules_left_ms(world.ends[1].rules), 6500);
    world_close(&world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(link_rules__cut_and_nobody_heals__ends_by_itself),
        cmocka_unit_test(link_rules__delay_healed__what_it_was_started_with_stays),
        cmocka_unit_test(link_rules__new_set_keeps_a_cut__the_link_is_never_whole),
        cmocka_unit_test(link_rules__past_their_limits__refused_and_nothing_changed),
        cmocka_unit_test(link_rules__called_by_another_process__set_there),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
