/* Links of the simulated environment: order, loss at a break, and what each end gets to know. */

#include "proto/base/check.h"
#include "proto/env/env_sim.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define SECOND 1000000u

struct peer {
    struct env *env;
    struct env_link_watcher watcher;
    uint32_t received[4096];
    size_t count;
    size_t ups;
    size_t downs;
    enum env_down_reason reasons[16];
};

struct world {
    struct sim *sim;
    struct peer peers[3]; /* of processes 1 and 2; [0] unused */
};

static void on_message(void *user, uint64_t from, struct slice message)
{
    struct peer *peer = user;

    (void)from;
    assert_true(peer->count < ARRAY_COUNT(peer->received));
    memcpy(&peer->received[peer->count++], message.data, sizeof(uint32_t));
}

static void on_up(void *user, uint64_t id)
{
    struct peer *peer = user;

    assert_true(peer->env->link->is_up(peer->env, id));
    peer->ups++;
}

static void on_down(void *user, uint64_t id, enum env_down_reason reason)
{
    struct peer *peer = user;

    assert_false(peer->env->link->is_up(peer->env, id));
    assert_true(peer->downs < ARRAY_COUNT(peer->reasons));
    peer->reasons[peer->downs++] = reason;
}

static void peer_start(struct world *world, uint64_t id, uint64_t other)
{
    struct peer *peer = &world->peers[id];
    struct env *env = sim_process_start(world->sim, id);

    *peer =
        (struct peer){.env = env, .watcher = {.user = peer, .on_up = on_up, .on_down = on_down}};
    env->link->handle(env, ENV_CHANNEL_RAFT, (struct env_link_handler){peer, on_message});
    env->link->handle(env, ENV_CHANNEL_CALL, (struct env_link_handler){peer, on_message});
    env->link->watch(env, &peer->watcher);
    env->link->peer_set(env, other, "tcp://127.0.0.1:1", "");
}

static void world_open(struct world *world, uint64_t seed)
{
    struct sim_options options = sim_options_default(seed);

    options.heartbeat_timeout_us = SECOND;
    options.queue_bytes_max = 4000;
    *world = (struct world){.sim = sim_new(&options)};
    peer_start(world, 1, 2);
    peer_start(world, 2, 1);
    sim_run_until(world->sim, SECOND);
    assert_int_equal(world->peers[1].ups, 1);
    assert_int_equal(world->peers[2].ups, 1);
}

static void world_close(struct world *world)
{
    sim_free(world->sim);
}

static void run_for(struct world *world, uint64_t us)
{
    sim_run_until(world->sim, sim_now_us(world->sim) + us);
}

static enum error say(struct world *world, uint64_t from, uint64_t to, uint32_t number)
{
    return env_send(world->peers[from].env, to, ENV_CHANNEL_RAFT,
                    slice_of(&number, sizeof(number)));
}

static void message__many__arrive_in_order(void **state)
{
    struct world world;

    (void)state;
    world_open(&world, 1);
    for (uint32_t i = 0; i < 1000; i++) {
        assert_int_equal(say(&world, 1, 2, i), OK);
        run_for(&world, i % 50);
    }
    assert_true(world.peers[2].count < 1000);
    run_for(&world, SECOND);
    assert_int_equal(world.peers[2].count, 1000);
    for (uint32_t i = 0; i < 1000; i++)
        assert_int_equal(world.peers[2].received[i], i);
    world_close(&world);
}

static void message__to_oneself__arrives_in_a_later_turn(void **state)
{
    struct world world;

    (void)state;
    world_open(&world, 1);
    assert_int_equal(say(&world, 1, 1, 7), OK);
    assert_int_equal(world.peers[1].count, 0);
    run_for(&world, SECOND);
    assert_int_equal(world.peers[1].count, 1);
    assert_true(world.peers[1].env->link->is_up(world.peers[1].env, 1));
    world_close(&world);
}

static void message__unknown_peer__unreachable(void **state)
{
    struct world world;

    (void)state;
    world_open(&world, 1);
    assert_int_equal(say(&world, 1, 9, 7), ERR_UNREACHABLE);
    world_close(&world);
}

static void queue__full__overloaded_but_never_for_raft(void **state)
{
    struct world world;
    uint8_t bytes[3000] = {0};
    struct env *env;

    (void)state;
    world_open(&world, 1);
    env = world.peers[1].env;
    assert_int_equal(env_send(env, 2, ENV_CHANNEL_CALL, slice_of(bytes, 3000)), OK);
    assert_int_equal(env_send(env, 2, ENV_CHANNEL_CALL, slice_of(bytes, 3000)), ERR_OVERLOADED);
    assert_int_equal(env_send(env, 2, ENV_CHANNEL_RAFT, slice_of(bytes, 3000)), OK);
    run_for(&world, SECOND);
    assert_int_equal(env_send(env, 2, ENV_CHANNEL_CALL, slice_of(bytes, 3000)), OK);
    world_close(&world);
}

static void peer__crashed__closed_then_refused_then_up_again(void **state)
{
    struct world world;

    (void)state;
    world_open(&world, 1);
    sim_crash(world.sim, 2, SIM_CRASH_KILL);
    assert_int_equal(say(&world, 1, 2, 1), OK); /* not noticed yet: lost */
    run_for(&world, SECOND / 10);

    assert_int_equal(world.peers[1].downs, 2);
    assert_int_equal(world.peers[1].reasons[0], ENV_DOWN_CLOSED);
    assert_int_equal(world.peers[1].reasons[1], ENV_DOWN_REFUSED);
    assert_int_equal(say(&world, 1, 2, 2), ERR_UNREACHABLE);

    peer_start(&world, 2, 1);
    run_for(&world, SECOND);
    assert_int_equal(world.peers[1].ups, 2);
    assert_int_equal(world.peers[2].ups, 1);
    assert_int_equal(say(&world, 1, 2, 3), OK);
    run_for(&world, SECOND);
    assert_int_equal(world.peers[2].count, 1);
    assert_int_equal(world.peers[2].received[0], 3);
    world_close(&world);
}

static void peer__crashed_in_silence__silent_and_refused_never(void **state)
{
    struct world world;

    (void)state;
    world_open(&world, 1);
    sim_crash(world.sim, 2, SIM_CRASH_LOSE | SIM_CRASH_SILENT);
    run_for(&world, SECOND - 1);
    assert_int_equal(world.peers[1].downs, 0);
    run_for(&world, 10 * SECOND);
    assert_int_equal(world.peers[1].downs, 1);
    assert_int_equal(world.peers[1].reasons[0], ENV_DOWN_SILENT);

    peer_start(&world, 2, 1);
    run_for(&world, SECOND);
    assert_int_equal(world.peers[1].ups, 2);
    world_close(&world);
}

static void cut__short__delays_only(void **state)
{
    struct world world;

    (void)state;
    world_open(&world, 1);
    assert_int_equal(say(&world, 1, 2, 1), OK);
    sim_link_cut(world.sim, 1, 2);
    assert_int_equal(say(&world, 1, 2, 2), OK);
    run_for(&world, SECOND / 2);
    assert_int_equal(world.peers[2].count, 0);

    sim_link_heal(world.sim, 1, 2);
    assert_int_equal(say(&world, 1, 2, 3), OK);
    run_for(&world, 5 * SECOND);
    assert_int_equal(world.peers[2].count, 3);
    for (uint32_t i = 0; i < 3; i++)
        assert_int_equal(world.peers[2].received[i], i + 1);
    assert_int_equal(world.peers[1].downs + world.peers[2].downs, 0);
    world_close(&world);
}

static void cut__long__both_silent_and_in_flight_lost(void **state)
{
    struct world world;

    (void)state;
    world_open(&world, 1);
    sim_link_cut(world.sim, 1, 2);
    sim_link_cut(world.sim, 2, 1);
    assert_int_equal(say(&world, 1, 2, 1), OK);
    run_for(&world, 2 * SECOND);
    for (size_t i = 1; i <= 2; i++) {
        assert_int_equal(world.peers[i].downs, 1);
        assert_int_equal(world.peers[i].reasons[0], ENV_DOWN_SILENT);
    }

    sim_link_heal_all(world.sim);
    run_for(&world, SECOND);
    assert_int_equal(world.peers[1].ups, 2);
    assert_int_equal(world.peers[2].ups, 2);
    assert_int_equal(world.peers[2].count, 0);
    world_close(&world);
}

static void cut__one_way__the_other_way_works_until_the_time_out(void **state)
{
    struct world world;

    (void)state;
    world_open(&world, 1);
    sim_link_cut(world.sim, 1, 2);
    run_for(&world, SECOND / 2);
    assert_int_equal(say(&world, 2, 1, 1), OK);
    run_for(&world, SECOND / 10);
    assert_int_equal(world.peers[1].count, 1);

    run_for(&world, 2 * SECOND);
    assert_int_equal(world.peers[1].downs, 1);
    assert_int_equal(world.peers[2].downs, 1);
    assert_int_equal(say(&world, 2, 1, 2), ERR_UNREACHABLE);
    world_close(&world);
}

static void pause__short__messages_pile_up(void **state)
{
    struct world world;

    (void)state;
    world_open(&world, 1);
    sim_pause(world.sim, 2);
    for (uint32_t i = 0; i < 5; i++) {
        assert_int_equal(say(&world, 1, 2, i), OK);
        run_for(&world, 5000);
    }
    assert_int_equal(world.peers[2].count, 0);
    sim_resume(world.sim, 2);
    run_for(&world, 0);
    assert_int_equal(world.peers[2].count, 5);
    world_close(&world);
}

static void pause__long__old_messages_then_closed_then_up(void **state)
{
    struct world world;

    (void)state;
    world_open(&world, 1);
    sim_pause(world.sim, 2);
    assert_int_equal(say(&world, 1, 2, 1), OK);
    run_for(&world, 3 * SECOND);
    assert_int_equal(world.peers[1].downs, 1);
    assert_int_equal(world.peers[1].reasons[0], ENV_DOWN_SILENT);
    assert_int_equal(world.peers[2].downs, 0);

    sim_resume(world.sim, 2);
    run_for(&world, SECOND);
    assert_int_equal(world.peers[2].count, 1); /* it was in its socket already */
    assert_int_equal(world.peers[2].downs, 1);
    assert_int_equal(world.peers[2].reasons[0], ENV_DOWN_CLOSED);
    assert_int_equal(world.peers[2].ups, 2);
    assert_int_equal(world.peers[1].ups, 2);
    world_close(&world);
}

static void reset__spurious__closed_and_up_again_never_refused(void **state)
{
    struct world world;

    (void)state;
    world_open(&world, 1);
    sim_link_reset(world.sim, 1, 2);
    run_for(&world, SECOND);
    for (size_t i = 1; i <= 2; i++) {
        assert_int_equal(world.peers[i].downs, 1);
        assert_int_equal(world.peers[i].reasons[0], ENV_DOWN_CLOSED);
        assert_int_equal(world.peers[i].ups, 2);
    }
    world_close(&world);
}

static void loss__some__order_of_the_rest_is_kept(void **state)
{
    struct world world;

    (void)state;
    world_open(&world, 1);
    sim_link_loss(world.sim, 1, 2, 300000);
    for (uint32_t i = 0; i < 1000; i++) {
        assert_int_equal(say(&world, 1, 2, i), OK);
        run_for(&world, 10);
    }
    run_for(&world, SECOND);
    assert_in_range(world.peers[2].count, 600, 800);
    for (size_t i = 1; i < world.peers[2].count; i++)
        assert_true(world.peers[2].received[i] > world.peers[2].received[i - 1]);
    world_close(&world);
}

static void duplicates__always__each_twice(void **state)
{
    struct world world;

    (void)state;
    world_open(&world, 1);
    sim_link_duplicate(world.sim, 1, 2, 1000000);
    assert_int_equal(say(&world, 1, 2, 5), OK);
    run_for(&world, SECOND);
    assert_int_equal(world.peers[2].count, 2);
    world_close(&world);
}

static void peer__removed__other_end_sees_closed(void **state)
{
    struct world world;

    (void)state;
    world_open(&world, 1);
    world.peers[1].env->link->peer_remove(world.peers[1].env, 2);
    assert_int_equal(say(&world, 1, 2, 1), ERR_UNREACHABLE);
    run_for(&world, SECOND);
    assert_int_equal(world.peers[1].downs, 0);
    assert_int_equal(world.peers[2].reasons[0], ENV_DOWN_CLOSED);
    world_close(&world);
}

/* Whatever happens in whatever order, a healed world ends with both ends up. */
static void anything__then_healed__both_up(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 300; seed++) {
        struct world world;
        struct rng rng;

        world_open(&world, seed);
        rng_init(&rng, seed);
        for (int i = 0; i < 30; i++) {
            uint64_t a = 1 + rng_below(&rng, 2);

            switch (rng_below(&rng, 6)) {
            case 0:
                if (sim_is_alive(world.sim, a))
                    sim_crash(world.sim, a, rng_below(&rng, 2) > 0 ? SIM_CRASH_SILENT : 0);
                else
                    peer_start(&world, a, 3 - a);
                break;
            case 1:
                sim_link_cut(world.sim, a, 3 - a);
                break;
            case 2:
                sim_link_heal(world.sim, a, 3 - a);
                break;
            case 3:
                if (sim_is_paused(world.sim, a))
                    sim_resume(world.sim, a);
                else if (sim_is_alive(world.sim, a))
                    sim_pause(world.sim, a);
                break;
            case 4:
                sim_link_reset(world.sim, 1, 2);
                break;
            default:
                if (sim_is_alive(world.sim, a))
                    (void)!say(&world, a, 3 - a, 1);
                break;
            }
            if (rng_below(&rng, 2) == 0)
                run_for(&world, rng_below(&rng, 2 * SECOND));
            world.peers[1].downs = world.peers[2].downs = 0;
        }
        sim_link_heal_all(world.sim);
        for (uint64_t id = 1; id <= 2; id++) {
            if (!sim_is_alive(world.sim, id))
                peer_start(&world, id, 3 - id);
            sim_resume(world.sim, id);
        }
        run_for(&world, 5 * SECOND);
        for (uint64_t id = 1; id <= 2; id++)
            assert_true(world.peers[id].env->link->is_up(world.peers[id].env, 3 - id));
        world.peers[2].count = 0;
        assert_int_equal(say(&world, 1, 2, 77), OK);
        run_for(&world, SECOND);
        assert_int_equal(world.peers[2].count, 1);
        assert_int_equal(world.peers[2].received[0], 77);
        world_close(&world);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(message__many__arrive_in_order),
        cmocka_unit_test(message__to_oneself__arrives_in_a_later_turn),
        cmocka_unit_test(message__unknown_peer__unreachable),
        cmocka_unit_test(queue__full__overloaded_but_never_for_raft),
        cmocka_unit_test(peer__crashed__closed_then_refused_then_up_again),
        cmocka_unit_test(peer__crashed_in_silence__silent_and_refused_never),
        cmocka_unit_test(cut__short__delays_only),
        cmocka_unit_test(cut__long__both_silent_and_in_flight_lost),
        cmocka_unit_test(cut__one_way__the_other_way_works_until_the_time_out),
        cmocka_unit_test(pause__short__messages_pile_up),
        cmocka_unit_test(pause__long__old_messages_then_closed_then_up),
        cmocka_unit_test(reset__spurious__closed_and_up_again_never_refused),
        cmocka_unit_test(loss__some__order_of_the_rest_is_kept),
        cmocka_unit_test(duplicates__always__each_twice),
        cmocka_unit_test(peer__removed__other_end_sees_closed),
        cmocka_unit_test(anything__then_healed__both_up),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
