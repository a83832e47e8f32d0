/* A node that joins a running cluster: only the controller and the node itself were told of it. */

#include "controller/controller.h"
#include "node/node.h"
#include "node/sandbox/sandbox_stub.h"
#include "proto/base/check.h"
#include "proto/env/env_sim.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define SECOND 1000000u
#define NODES 4
#define KEY "0123456789012345678901234567890123456789"

static const uint64_t controller_id = ENV_CONTROLLER_ID_MIN + 1;

struct world {
    struct sim *sim;
    struct controller *controller;
    struct env *envs[NODES];
    struct sandbox_stub *stubs[NODES];
    struct node *nodes[NODES];
    unsigned peers_told; /* by on_peer */
};

static void on_fatal(void *user, enum error rc, const char *why)
{
    (void)user;
    fail_msg("%s: %s", why, error_name(rc));
}

static void on_peer(void *user, uint64_t id, const char *region)
{
    struct world *world = user;

    (void)id;
    assert_string_equal(region, "us-east-1");
    world->peers_told++;
}

static const char *tier(void *user)
{
    (void)user;
    return "stub";
}

/* Its cluster file names the nodes before it and itself. */
static void node_start(struct world *world, unsigned place)
{
    static const char *const names[] = {"node-1", "node-2", "node-3", "node-4"};
    const struct node_options options = {
        .name = names[place],
        .region = "us-east-1",
        .host = names[place],
        .mesh_endpoint = "tcp://127.0.0.1:1",
        .public_key = KEY,
        .http_address = "127.0.0.1:1",
        .controller_ids = &controller_id,
        .controller_count = 1,
        .key = {"AKIATEST", "secret"},
        .heartbeat_ms = 100,
        .election_ms = 1000,
        .snapshot_entries = 64,
        .snapshot_bytes = 64 << 10,
        .sandbox_tier = tier,
        .user = world,
        .on_peer = on_peer,
        .on_fatal = on_fatal,
    };
    struct env *env = sim_process_start(world->sim, place + 1);
    char why[ERROR_WHY_BYTES] = "";

    world->envs[place] = env;
    env->link->peer_set(env, controller_id, "sim", KEY);
    for (uint64_t peer = 1; peer <= place; peer++)
        env->link->peer_set(env, peer, "sim", KEY);
    world->stubs[place] = sandbox_stub_new(env);
    assert_int_equal(node_open(env, &options, why, &world->nodes[place]), OK);
}

static void controller_start(struct world *world)
{
    struct env *env = sim_process_start(world->sim, controller_id);
    struct controller_options options;

    for (uint64_t id = 1; id <= NODES; id++) /* it read the new file (SIGHUP) */
        env->link->peer_set(env, id, "sim", KEY);
    controller_options_init(&options);
    options.controller_ids = &controller_id;
    options.controller_count = 1;
    options.planner.expected_nodes = NODES - 1;
    options.planner.shard_count = 4;
    options.user = world;
    options.on_fatal = on_fatal;
    world->controller = controller_new(env, &options);
    assert_non_null(world->controller);
}

static void run(struct world *world, unsigned seconds)
{
    sim_run_until(world->sim, sim_now_us(world->sim) + (uint64_t)seconds * SECOND);
}

static void node__joins_later__those_there_reach_it(void **state)
{
    struct sim_options options = sim_options_default(1);
    struct world world = {.sim = sim_new(&options)};

    (void)state;
    controller_start(&world);
    for (unsigned i = 0; i < NODES - 1; i++)
        node_start(&world, i);
    run(&world, 10);
    world.peers_told = 0;

    node_start(&world, NODES - 1);
    run(&world, 10);

    assert_true(world.peers_told >= NODES - 1);
    for (unsigned i = 0; i < NODES - 1; i++) {
        assert_true(world.envs[i]->link->is_up(world.envs[i], NODES));
        assert_true(world.envs[NODES - 1]->link->is_up(world.envs[NODES - 1], i + 1));
    }
    for (unsigned i = 0; i < NODES; i++) {
        sim_crash(world.sim, i + 1, SIM_CRASH_KILL);
        node_free(world.nodes[i]);
        sandbox_stub_free(world.stubs[i]);
    }
    sim_crash(world.sim, controller_id, SIM_CRASH_KILL);
    controller_free(world.controller);
    sim_free(world.sim);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(node__joins_later__those_there_reach_it),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
