/* Replicas follow the catalogue: here, those that were moved elsewhere while their node was down.
 * Four nodes on virtual time; the catalogue is set by hand. */

#include "node/shard/shard_host.h"
#include "proto/base/check.h"
#include "proto/env/env_sim.h"
#include "proto/wire/catalogue.pb-c.h"
#include "tests/lib/fake_view.h"
#include "tests/unit/shard/toy_engine.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define NODES 4
#define SECOND 1000000u
#define GROUP_ID SHARD_REPLICA_GROUP_ID(0)

struct node {
    uint64_t id;
    struct env *env;
    struct calls *calls;
    struct view *view;
    struct host *host;
    struct shard_host *shards;
};

struct world {
    struct sim *sim;
    struct node nodes[NODES];
    uint64_t members[3]; /* wanted */
    uint64_t epoch;
    struct shard_waiter waiter;
    int answers;
};

static void on_fatal(void *user, enum error rc, const char *why)
{
    (void)user;
    fail_msg("%s: %s", why, error_name(rc));
}

static void set_record(struct world *world, struct node *node)
{
    static const uint64_t born[] = {1, 2, 3};
    Skein__Wire__Shard record = SKEIN__WIRE__SHARD__INIT;
    uint8_t bytes[128];

    record.epoch = world->epoch;
    record.node_ids = world->members;
    record.n_node_ids = ARRAY_COUNT(world->members);
    record.born_with = (uint64_t *)(uintptr_t)born;
    record.n_born_with = ARRAY_COUNT(born);
    record.born_disks = (uint64_t *)(uintptr_t)born; /* each node's disk has its id */
    record.n_born_disks = ARRAY_COUNT(born);
    fake_view_set(node->view, "shard/0000",
                  slice_of(bytes, skein__wire__shard__pack(&record, bytes)));
}

static void node_start(struct world *world, struct node *node)
{
    const struct host_options host = {
        .folder = "journal", .snapshot_entries = 64, .user = world, .on_fatal = on_fatal};
    const struct shard_host_options shards = {.folder = "shards",
                                              .disk_id = node->id,
                                              .engines = toy_engines,
                                              .user = world,
                                              .on_fatal = on_fatal};

    node->env = sim_process_start(world->sim, node->id);
    for (uint64_t peer = 1; peer <= NODES; peer++)
        if (peer != node->id)
            node->env->link->peer_set(node->env, peer, "sim", "sim");
    node->calls = calls_new(node->env);
    node->view = fake_view_new(node->env);
    set_record(world, node);
    assert_int_equal(host_open(node->env, &host, &node->host), OK);
    node->shards = shard_host_new(node->env, node->calls, node->view, node->host, &shards);
}

static void node_stop(struct world *world, struct node *node)
{
    sim_crash(world->sim, node->id, SIM_CRASH_KILL);
    host_free(node->host);
    shard_host_free(node->shards);
    view_free(node->view);
    calls_free(node->calls);
    node->shards = NULL;
}

static void run(struct world *world, unsigned seconds)
{
    sim_run_until(world->sim, sim_now_us(world->sim) + (uint64_t)seconds * SECOND);
}

static void world_open(struct world *world)
{
    struct sim_options options = sim_options_default(1);

    *world = (struct world){.sim = sim_new(&options), .members = {1, 2, 3}, .epoch = 1};
    for (size_t i = 0; i < NODES; i++) {
        world->nodes[i].id = i + 1;
        node_start(world, &world->nodes[i]);
    }
    run(world, 10);
}

static void world_close(struct world *world)
{
    for (size_t i = 0; i < NODES; i++)
        if (world->nodes[i].shards != NULL)
            node_stop(world, &world->nodes[i]);
    sim_free(world->sim);
}

/* The catalogue of every node that runs. */
static void move(struct world *world, uint64_t a, uint64_t b, uint64_t c)
{
    world->members[0] = a;
    world->members[1] = b;
    world->members[2] = c;
    world->epoch++;
    for (size_t i = 0; i < NODES; i++)
        if (world->nodes[i].shards != NULL)
            set_record(world, &world->nodes[i]);
}

static struct shard_replica *replica_of(struct world *world, uint64_t id)
{
    return shard_host_find(world->nodes[id - 1].shards, 0);
}

static void on_answer(struct shard_waiter *waiter, enum error rc, struct slice reply)
{
    struct world *world = container_of(waiter, struct world, waiter);

    (void)reply;
    assert_int_equal(rc, OK);
    world->answers++;
}

static void write_one(struct world *world)
{
    const struct shard_message_command command = {.engine = SHARD_ENGINE_TABLE,
                                                  .body = SLICE_LITERAL("+orders")};
    int before = world->answers;

    for (size_t i = 0; i < NODES; i++) {
        struct shard_replica *replica =
            world->nodes[i].shards != NULL ? replica_of(world, i + 1) : NULL;

        if (replica != NULL && group_is_leader(replica->group))
            assert_int_equal(shard_replica_write(replica, &world->waiter, &command, on_answer), OK);
    }
    run(world, 1);
    assert_int_equal(world->answers, before + 1);
}

static void count_name(void *user, const char *name)
{
    int *stores = user;

    *stores += strcmp(name, "0000") == 0;
}

static int stores_of(struct node *node)
{
    int stores = 0;

    assert_int_equal(node->env->disk->list(node->env, "shards", &stores, count_name), OK);
    return stores;
}

/* Node 3 is down, its replica moves to node 4, node 3 comes back and hears of both at once. */
static void lose_the_replica_of_3(struct world *world)
{
    world_open(world);
    write_one(world);
    shard_state_flush(&replica_of(world, 3)->state); /* so that its store has it */
    node_stop(world, &world->nodes[2]);
    move(world, 1, 2, 4);
    run(world, 15);
    write_one(world);
    node_start(world, &world->nodes[2]);
}

static void shard_host__replica_moved_while_its_node_was_down__is_forgotten(void **state)
{
    struct world world;

    (void)state;
    lose_the_replica_of_3(&world);
    assert_non_null(replica_of(&world, 3)); /* it might still be needed */

    run(&world, 10);

    assert_null(replica_of(&world, 3));
    assert_false(host_group_is_known(world.nodes[2].host, GROUP_ID));
    assert_int_equal(stores_of(&world.nodes[2]), 0);
    node_stop(&world, &world.nodes[2]);
    node_start(&world, &world.nodes[2]);
    assert_null(replica_of(&world, 3));
    world_close(&world);
}

static void shard_host__only_the_store_is_left__is_forgotten_too(void **state)
{
    struct world world;

    (void)state;
    lose_the_replica_of_3(&world);
    host_group_forget(world.nodes[2].host, replica_of(&world, 3)->group);
    sim_run_until(world.sim, sim_now_us(world.sim) + SECOND / 20); /* the journal, but no more */
    node_stop(&world, &world.nodes[2]);

    node_start(&world, &world.nodes[2]);
    assert_false(group_has_vote(replica_of(&world, 3)->group));
    run(&world, 10);

    assert_null(replica_of(&world, 3));
    assert_int_equal(stores_of(&world.nodes[2]), 0);
    world_close(&world);
}

static void shard_host__replica_still_needed_for_a_majority__takes_part(void **state)
{
    struct world world;

    (void)state;
    world_open(&world);
    write_one(&world);
    node_stop(&world, &world.nodes[2]);
    node_stop(&world, &world.nodes[1]);
    node_stop(&world, &world.nodes[3]);
    move(&world, 1, 2, 4); /* decided, but nobody could act on it */
    run(&world, 5);

    node_start(&world, &world.nodes[2]);
    run(&world, 10);

    assert_non_null(replica_of(&world, 3));
    write_one(&world); /* by 1 and 3 */
    world_close(&world);
}

static void shard_host__shard_returns_to_a_node_that_forgot_it__starts_without_a_vote(void **state)
{
    struct world world;

    (void)state;
    lose_the_replica_of_3(&world);
    run(&world, 10);
    assert_null(replica_of(&world, 3));

    move(&world, 1, 2, 3);
    assert_false(group_has_vote(replica_of(&world, 3)->group));
    run(&world, 20);

    assert_true(group_has_vote(replica_of(&world, 3)->group));
    assert_null(replica_of(&world, 4));
    write_one(&world);
    assert_int_equal(replica_of(&world, 3)->state.hash, replica_of(&world, 1)->state.hash);
    world_close(&world);
}

/* Each second the leader asks a peer how it is. Nobody answers here, so that the question is open
 * when the leader ends; what it was asked for is freed before the calls are. */
static void shard_host_free__question_to_a_peer_is_open__is_taken_back(void **state)
{
    struct world world;

    (void)state;
    world_open(&world);
    for (uint64_t id = 1; id <= NODES; id++)
        if (replica_of(&world, id) == NULL || !group_is_leader(replica_of(&world, id)->group))
            sim_pause(world.sim, id);
    sim_run_until(world.sim, sim_now_us(world.sim) + SECOND * 3 / 2);

    world_close(&world); /* what the calls touch of the slot, the sanitizer finds */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(shard_host__replica_moved_while_its_node_was_down__is_forgotten),
        cmocka_unit_test(shard_host__only_the_store_is_left__is_forgotten_too),
        cmocka_unit_test(shard_host__replica_still_needed_for_a_majority__takes_part),
        cmocka_unit_test(shard_host__shard_returns_to_a_node_that_forgot_it__starts_without_a_vote),
        cmocka_unit_test(shard_host_free__question_to_a_peer_is_open__is_taken_back),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
