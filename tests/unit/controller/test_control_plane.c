/* Three controllers and six nodes with a view each, in one process on virtual time. */

#include "controller/controller.h"
#include "node/view/view.h"
#include "proto/base/check.h"
#include "proto/base/log.h"
#include "proto/env/env_sim.h"
#include "proto/wire/catalogue.pb-c.h"
#include "proto/wire/watch.pb-c.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#define CONTROLLERS 3
#define NODES 6
#define SECOND 1000u /* in milliseconds */
#define CHAOS_SEEDS 15

static const char *const regions[] = {"us-east-1", "eu-west-1", "ap-southeast-1"};

struct world;

struct machine {
    struct world *world;
    uint64_t id;
    struct env *env;
    bool is_up;
    struct controller *controller; /* of a controller */
    struct calls *calls;           /* of a node */
    struct view *view;
    struct view_update update;
    bool is_updating;
    bool was_everywhere; /* at the moment of the last OK */
    enum error update_rc;
    char key[48];
    unsigned updates; /* started; part of the key */
};

struct world {
    struct sim *sim;
    struct machine controllers[CONTROLLERS];
    struct machine nodes[NODES];
    uint32_t repair_after_ms;
    const char *birth_file; /* of controllers started from now on */
    struct buffer acked;    /* keys of updates answered OK, one a line */
    unsigned acked_count;
    unsigned maybe_count;
};

/* ---- the machines ---- */

static void know_everybody(struct machine *machine)
{
    struct env *env = machine->env;

    for (uint64_t i = 0; i < CONTROLLERS; i++)
        if (machine->world->controllers[i].id != machine->id)
            env->link->peer_set(env, machine->world->controllers[i].id, "sim", "sim");
    for (uint64_t i = 0; i < NODES; i++)
        if (machine->world->nodes[i].id != machine->id)
            env->link->peer_set(env, machine->world->nodes[i].id, "sim", "sim");
}

static void controller_on_fatal(void *user, enum error rc, const char *why)
{
    struct machine *machine = user;

    fail_msg("controller %" PRIu64 " failed: %s %s", machine->id, error_name(rc), why);
}

static void controller_start(struct machine *machine)
{
    uint64_t ids[CONTROLLERS];
    struct controller_options options;

    for (size_t i = 0; i < CONTROLLERS; i++)
        ids[i] = machine->world->controllers[i].id;
    controller_options_init(&options);
    options.controller_ids = ids;
    options.controller_count = CONTROLLERS;
    options.planner.repair_after_ms = machine->world->repair_after_ms;
    options.birth_file = machine->world->birth_file;
    options.user = machine;
    options.on_fatal = controller_on_fatal;
    machine->env = sim_process_start(machine->world->sim, machine->id);
    know_everybody(machine);
    machine->controller = controller_new(machine->env, &options);
    assert_non_null(machine->controller);
    machine->is_up = true;
}

static void node_start(struct machine *machine)
{
    struct world *world = machine->world;
    uint64_t ids[CONTROLLERS];
    char name[32];
    uint8_t registration[256];
    Skein__Wire__Node node = SKEIN__WIRE__NODE__INIT;
    struct view_options options = {.folder = "view",
                                   .controller_ids = ids,
                                   .controller_count = CONTROLLERS,
                                   .heartbeat_ms = 200};

    for (size_t i = 0; i < CONTROLLERS; i++)
        ids[i] = world->controllers[i].id;
    (void)snprintf(name, sizeof(name), "node-%" PRIu64, machine->id);
    node.id = machine->id;
    node.name = name;
    node.region = (char *)(uintptr_t)regions[(machine->id - 1) / 2];
    node.host = name;
    node.mesh_endpoint = (char *)(uintptr_t) "sim";
    node.disk_id = machine->id;
    options.registration = slice_of(registration, skein__wire__node__pack(&node, registration));
    machine->env = sim_process_start(world->sim, machine->id);
    know_everybody(machine);
    machine->calls = calls_new(machine->env);
    machine->is_updating = false;
    assert_int_equal(view_open(machine->env, machine->calls, &options, &machine->view), OK);
    machine->is_up = true;
}

static void machine_start(struct machine *machine)
{
    if (machine->is_up)
        return;
    if (machine->id >= ENV_CONTROLLER_ID_MIN)
        controller_start(machine);
    else
        node_start(machine);
}

static void machine_crash(struct machine *machine, unsigned how)
{
    if (!machine->is_up)
        return;
    sim_crash(machine->world->sim, machine->id, how);
    controller_free(machine->controller);
    view_free(machine->view);
    calls_free(machine->calls);
    machine->controller = NULL;
    machine->view = NULL;
    machine->calls = NULL;
    machine->is_up = false;
}

static void world_make(struct world *world, uint64_t seed, uint32_t repair_after_ms)
{
    struct sim_options options = sim_options_default(seed);

    log_set_level(LOG_LEVEL_OFF);
    *world = (struct world){.sim = sim_new(&options),
                            .repair_after_ms = repair_after_ms,
                            .acked = BUFFER_INIT(BUFFER_UNLIMITED)};
    for (size_t i = 0; i < CONTROLLERS; i++)
        world->controllers[i] =
            (struct machine){.world = world, .id = ENV_CONTROLLER_ID_MIN + 1 + i};
    for (size_t i = 0; i < NODES; i++)
        world->nodes[i] = (struct machine){.world = world, .id = i + 1};
    for (size_t i = 0; i < CONTROLLERS; i++)
        machine_start(&world->controllers[i]);
    for (size_t i = 0; i < NODES; i++)
        machine_start(&world->nodes[i]);
}

static void world_close(struct world *world)
{
    for (size_t i = 0; i < CONTROLLERS; i++)
        machine_crash(&world->controllers[i], SIM_CRASH_KILL);
    for (size_t i = 0; i < NODES; i++)
        machine_crash(&world->nodes[i], SIM_CRASH_KILL);
    buffer_close(&world->acked);
    sim_free(world->sim);
}

/* ---- time ---- */

static void run_ms(struct world *world, uint64_t ms)
{
    sim_run_until(world->sim, sim_now_us(world->sim) + ms * 1000);
}

typedef bool (*condition)(struct world *world);

/* Virtual milliseconds until it held. */
static uint64_t await(struct world *world, condition holds, uint64_t ms_max, const char *what)
{
    uint64_t waited = 0;

    while (!holds(world)) {
        if (waited >= ms_max)
            fail_msg("waited %" PRIu64 " ms for: %s", ms_max, what);
        run_ms(world, 10);
        waited += 10;
    }
    return waited;
}

#define AWAIT(world, condition, ms_max) await(world, condition, ms_max, #condition)

static struct machine *find_leader(struct world *world)
{
    for (size_t i = 0; i < CONTROLLERS; i++)
        if (world->controllers[i].is_up && controller_is_leader(world->controllers[i].controller))
            return &world->controllers[i];
    return NULL;
}

static bool somebody_leads(struct world *world)
{
    return find_leader(world) != NULL;
}

/* ---- what views know ---- */

static bool has(const struct machine *node, const char *key)
{
    struct slice value;

    return view_get(node->view, key, &value, NULL) == OK;
}

static bool all_have(struct world *world, const char *key)
{
    for (size_t i = 0; i < NODES; i++)
        if (world->nodes[i].is_up && !has(&world->nodes[i], key))
            return false;
    return true;
}

static bool everybody_is_born(struct world *world)
{
    return all_have(world, "cluster") && all_have(world, "shard/0011");
}

static Skein__Wire__Node *get_node(const struct machine *node, uint64_t id)
{
    char key[32];
    struct slice value;

    (void)snprintf(key, sizeof(key), "node/%" PRIu64, id);
    if (view_get(node->view, key, &value, NULL) != OK)
        return NULL;
    return skein__wire__node__unpack(NULL, value.size, value.data);
}

static bool is_alive_for(const struct machine *node, uint64_t id)
{
    Skein__Wire__Node *record = get_node(node, id);
    bool is_alive = record != NULL && record->is_alive;

    if (record != NULL)
        skein__wire__node__free_unpacked(record, NULL);
    return is_alive;
}

static uint64_t incarnation_for(const struct machine *node, uint64_t id)
{
    Skein__Wire__Node *record = get_node(node, id);
    uint64_t incarnation = record != NULL ? record->incarnation : 0;

    if (record != NULL)
        skein__wire__node__free_unpacked(record, NULL);
    return incarnation;
}

static bool node_2_is_lost(struct world *world)
{
    return !is_alive_for(&world->nodes[0], 2);
}

static bool node_2_is_alive(struct world *world)
{
    return is_alive_for(&world->nodes[0], 2);
}

static bool all_nodes_are_alive(struct world *world)
{
    for (uint64_t id = 1; id <= NODES; id++)
        if (!is_alive_for(&world->nodes[0], id))
            return false;
    return true;
}

static bool views_are_level(struct world *world)
{
    for (size_t i = 1; i < NODES; i++)
        if (view_revision(world->nodes[i].view) != view_revision(world->nodes[0].view))
            return false;
    return true;
}

static void add_record(void *user, const char *key, struct slice value, uint64_t revision)
{
    buffer_putf(user, "%s %" PRIu64 " ", key, revision);
    buffer_put_slice(user, value);
    buffer_put_text(user, "\n");
}

static void assert_views_equal(struct world *world)
{
    AUTO(buffer) first = BUFFER_INIT(BUFFER_UNLIMITED);

    view_each(world->nodes[0].view, "", &first, add_record);
    for (size_t i = 1; i < NODES; i++) {
        AUTO(buffer) other = BUFFER_INIT(BUFFER_UNLIMITED);

        view_each(world->nodes[i].view, "", &other, add_record);
        assert_true(slice_equal(buffer_slice(&first), buffer_slice(&other)));
    }
}

/* ---- updates ---- */

static void on_updated(struct view_update *update, enum error rc)
{
    struct machine *node = container_of(update, struct machine, update);

    node->is_updating = false;
    node->update_rc = rc;
    node->was_everywhere = all_have(node->world, node->key);
    if (rc == OK) {
        buffer_putf(&node->world->acked, "%s\n", node->key);
        node->world->acked_count++;
    } else {
        node->world->maybe_count++;
    }
}

/* Makes a record that was never there before: a second effect would be a conflict. */
static void start_update(struct machine *node, const char *prefix, uint32_t deadline_ms)
{
    (void)snprintf(node->key, sizeof(node->key), "%s%" PRIu64 "-%u", prefix, node->id,
                   ++node->updates);
    struct view_change change = {node->key, slice_text(node->key), false, VIEW_REVISION_NONE};

    node->is_updating = true;
    view_update_start(node->view, &node->update, &change, 1, deadline_ms, on_updated);
}

static bool node_1_is_done(struct world *world)
{
    return !world->nodes[0].is_updating;
}

static uint64_t update_through_node_1(struct world *world, const char *prefix)
{
    start_update(&world->nodes[0], prefix, 30 * SECOND);
    return AWAIT(world, node_1_is_done, 31 * SECOND);
}

static void be_born(struct world *world, uint64_t seed, uint32_t repair_after_ms)
{
    world_make(world, seed, repair_after_ms);
    AWAIT(world, everybody_is_born, 20 * SECOND);
    AWAIT(world, all_nodes_are_alive, 20 * SECOND);
}

/* ---- tests ---- */

static void birth__six_nodes__shards_in_every_view(void **state)
{
    struct world world;
    char key[16];

    (void)state;
    world_make(&world, 1, 60000);
    uint64_t waited = AWAIT(&world, everybody_is_born, 20 * SECOND);

    assert_true(waited < 5 * SECOND);
    for (unsigned i = 0; i < 12; i++) {
        (void)snprintf(key, sizeof(key), "shard/%04u", i);
        assert_true(all_have(&world, key));
    }
    AWAIT(&world, views_are_level, SECOND);
    assert_views_equal(&world);
    world_close(&world);
}

static void update__through_any_node__everywhere_when_answered(void **state)
{
    struct world world;

    (void)state;
    be_born(&world, 2, 60000);
    for (size_t i = 0; i < NODES; i++) {
        start_update(&world.nodes[i], "table/", 5 * SECOND);
        run_ms(&world, SECOND);

        assert_false(world.nodes[i].is_updating);
        assert_int_equal(world.nodes[i].update_rc, OK);
        assert_true(world.nodes[i].was_everywhere);
    }
    world_close(&world);
}

static void update__expectation_fails__conflict(void **state)
{
    struct world world;

    (void)state;
    be_born(&world, 3, 60000);
    (void)update_through_node_1(&world, "table/");
    world.nodes[0].updates--;
    (void)update_through_node_1(&world, "table/");

    assert_int_equal(world.nodes[0].update_rc, ERR_CONFLICT);
    world_close(&world);
}

static void update__leader_killed_meanwhile__done_once(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 30; seed++) {
        struct world world;
        struct machine *leader;

        be_born(&world, seed, 60000);
        leader = find_leader(&world);
        assert_non_null(leader);
        start_update(&world.nodes[0], "table/", 20 * SECOND);
        sim_run_until(world.sim, sim_now_us(world.sim) + seed * 200); /* up to 6 ms later */
        machine_crash(leader, SIM_CRASH_KILL);
        AWAIT(&world, node_1_is_done, 20 * SECOND);

        if (world.nodes[0].update_rc != OK)
            fail_msg("seed %" PRIu64 ": %s", seed, error_name(world.nodes[0].update_rc));
        assert_true(world.nodes[0].was_everywhere);
        world_close(&world);
    }
}

static void update__a_node_is_paused__waited_for_no_longer_than_its_lease(void **state)
{
    struct world world;

    (void)state;
    be_born(&world, 4, 60000);
    sim_pause(world.sim, 2);
    uint64_t waited = update_through_node_1(&world, "table/");

    assert_int_equal(world.nodes[0].update_rc, OK);
    assert_in_range(waited, 0, 2100);
    assert_false(has(&world.nodes[1], world.nodes[0].key));
    AWAIT(&world, node_2_is_lost, 5 * SECOND);
    waited = update_through_node_1(&world, "table/"); /* and the next not at all */
    assert_true(waited < 100);

    sim_resume(world.sim, 2);
    AWAIT(&world, views_are_level, 5 * SECOND);
    AWAIT(&world, node_2_is_alive, 5 * SECOND);
    AWAIT(&world, views_are_level, 5 * SECOND);
    assert_views_equal(&world);
    world_close(&world);
}

static void node__process_dies__functions_move_at_once(void **state)
{
    struct world world;
    struct slice value;
    char key[80];

    (void)state;
    be_born(&world, 5, 60000);
    (void)update_through_node_1(&world, "function/");
    (void)snprintf(key, sizeof(key), "placement/%.60s", world.nodes[0].key + strlen("function/"));
    run_ms(&world, SECOND);
    uint64_t incarnation = incarnation_for(&world.nodes[0], 2);

    machine_crash(&world.nodes[1], SIM_CRASH_KILL);
    uint64_t waited = AWAIT(&world, node_2_is_lost, 5 * SECOND);

    assert_true(waited < 200); /* it was refused, no lease had to run out */
    assert_int_equal(view_get(world.nodes[0].view, key, &value, NULL), OK);
    Skein__Wire__FunctionPlacement *placement =
        skein__wire__function_placement__unpack(NULL, value.size, value.data);

    assert_int_equal(placement->n_node_ids, 5);
    for (size_t i = 0; i < 5; i++)
        assert_int_not_equal(placement->node_ids[i], 2);
    skein__wire__function_placement__free_unpacked(placement, NULL);

    machine_start(&world.nodes[1]);
    AWAIT(&world, node_2_is_alive, 5 * SECOND);
    assert_true(incarnation_for(&world.nodes[0], 2) > incarnation);
    run_ms(&world, SECOND);
    assert_int_equal(view_get(world.nodes[0].view, key, &value, NULL), OK);
    placement = skein__wire__function_placement__unpack(NULL, value.size, value.data);
    assert_int_equal(placement->n_node_ids, 6);
    assert_int_equal(placement->epoch, 3);
    skein__wire__function_placement__free_unpacked(placement, NULL);
    world_close(&world);
}

static void node__dies_without_a_word__lost_after_its_lease(void **state)
{
    struct world world;

    (void)state;
    be_born(&world, 6, 60000);
    machine_crash(&world.nodes[1], SIM_CRASH_LOSE | SIM_CRASH_SILENT);
    uint64_t waited = AWAIT(&world, node_2_is_lost, 5 * SECOND);

    assert_in_range(waited, 500, 1500);
    world_close(&world);
}

static bool no_shard_is_on_node_2(struct world *world)
{
    char key[16];
    bool is_gone = true;

    for (unsigned i = 0; i < 12; i++) {
        struct slice value;

        (void)snprintf(key, sizeof(key), "shard/%04u", i);
        assert_int_equal(view_get(world->nodes[0].view, key, &value, NULL), OK);
        Skein__Wire__Shard *shard = skein__wire__shard__unpack(NULL, value.size, value.data);

        for (size_t j = 0; j < shard->n_node_ids; j++)
            is_gone = is_gone && shard->node_ids[j] != 2;
        skein__wire__shard__free_unpacked(shard, NULL);
    }
    return is_gone;
}

static void node__stays_away__its_replicas_are_rebuilt_elsewhere(void **state)
{
    struct world world;

    (void)state;
    be_born(&world, 7, 3 * SECOND);
    run_ms(&world, 4 * SECOND);
    machine_crash(&world.nodes[1], SIM_CRASH_KILL);
    run_ms(&world, 2500);
    assert_false(no_shard_is_on_node_2(&world));

    AWAIT(&world, no_shard_is_on_node_2, 3 * SECOND);
    world_close(&world);
}

static bool node_2_is_level(struct world *world)
{
    return view_revision(world->nodes[1].view) == view_revision(world->nodes[0].view);
}

static void node__was_away__catches_up_with_the_changes(void **state)
{
    struct world world;

    (void)state;
    be_born(&world, 8, 60000);
    machine_crash(&world.nodes[1], SIM_CRASH_KILL);
    for (int i = 0; i < 20; i++)
        (void)update_through_node_1(&world, "table/");
    machine_start(&world.nodes[1]);
    AWAIT(&world, node_2_is_level, 5 * SECOND);

    assert_views_equal(&world);
    world_close(&world);
}

static void restart_controllers(struct world *world, unsigned how)
{
    for (size_t i = 0; i < CONTROLLERS; i++)
        machine_crash(&world->controllers[i], how);
    run_ms(world, 100);
    for (size_t i = 0; i < CONTROLLERS; i++)
        machine_start(&world->controllers[i]);
    AWAIT(world, somebody_leads, 20 * SECOND);
}

static void node__was_away_while_history_was_lost__gets_a_whole_copy(void **state)
{
    struct world world;

    (void)state;
    be_born(&world, 9, 60000);
    machine_crash(&world.nodes[1], SIM_CRASH_KILL);
    for (int i = 0; i < 20; i++)
        (void)update_through_node_1(&world, "table/");
    restart_controllers(&world, SIM_CRASH_KILL);
    machine_start(&world.nodes[1]);
    AWAIT(&world, node_2_is_level, 10 * SECOND);

    assert_true(has(&world.nodes[1], world.nodes[0].key));
    assert_views_equal(&world);
    world_close(&world);
}

static void node__disk_wiped__gets_a_whole_copy(void **state)
{
    struct world world;

    (void)state;
    be_born(&world, 10, 60000);
    machine_crash(&world.nodes[1], SIM_CRASH_KILL);
    sim_disk_wipe(world.sim, 2);
    machine_start(&world.nodes[1]);
    AWAIT(&world, node_2_is_level, 10 * SECOND);

    assert_views_equal(&world);
    world_close(&world);
}

static void controllers__power_lost__nothing_acknowledged_is_lost(void **state)
{
    struct world world;

    (void)state;
    be_born(&world, 11, 60000);
    (void)update_through_node_1(&world, "table/");
    restart_controllers(&world, SIM_CRASH_LOSE);
    (void)update_through_node_1(&world, "table/");

    assert_int_equal(world.nodes[0].update_rc, OK);
    AWAIT(&world, views_are_level, 5 * SECOND);
    assert_true(all_have(&world, "table/1-1"));
    assert_views_equal(&world);
    world_close(&world);
}

static void controllers__all_gone__views_answer_updates_do_not(void **state)
{
    struct world world;

    (void)state;
    be_born(&world, 12, 60000);
    for (size_t i = 0; i < CONTROLLERS; i++)
        machine_crash(&world.controllers[i], SIM_CRASH_KILL);
    run_ms(&world, 10 * SECOND);

    assert_true(everybody_is_born(&world));
    for (size_t i = 0; i < NODES; i++)
        assert_false(view_is_connected(world.nodes[i].view));
    start_update(&world.nodes[0], "table/", SECOND);
    run_ms(&world, 2 * SECOND);
    assert_int_equal(world.nodes[0].update_rc, ERR_UNREACHABLE);

    for (size_t i = 0; i < 2; i++) /* a majority is enough */
        machine_start(&world.controllers[i]);
    (void)update_through_node_1(&world, "table/");
    assert_int_equal(world.nodes[0].update_rc, OK);
    assert_true(all_nodes_are_alive(&world));
    world_close(&world);
}

struct drained {
    bool is_done;
};

static void on_drained(void *user)
{
    struct drained *drained = user;

    drained->is_done = true;
}

static void controller__catalogue_damaged__fetched_from_the_others(void **state)
{
    struct world world;
    struct machine *leader;
    struct machine *damaged;
    struct drained drained = {false};

    (void)state;
    be_born(&world, 19, 60000);
    leader = find_leader(&world);
    damaged = leader == &world.controllers[0] ? &world.controllers[1] : &world.controllers[0];
    machine_crash(damaged, SIM_CRASH_KILL);
    assert_int_equal(sim_disk_spoil_store(world.sim, damaged->id, "catalogue"), OK);
    (void)update_through_node_1(&world, "table/");
    machine_start(damaged);
    run_ms(&world, 5 * SECOND);

    for (size_t i = 0; i < CONTROLLERS; i++) /* whoever leads next needs its vote and its state */
        if (&world.controllers[i] != damaged && &world.controllers[i] != leader)
            machine_crash(&world.controllers[i], SIM_CRASH_KILL);
    (void)update_through_node_1(&world, "table/");
    assert_int_equal(world.nodes[0].update_rc, OK);
    controller_drain(leader->controller, &drained, on_drained);
    run_ms(&world, 3 * SECOND);
    (void)update_through_node_1(&world, "table/");
    assert_int_equal(world.nodes[0].update_rc, OK);
    AWAIT(&world, views_are_level, 5 * SECOND);
    assert_true(all_have(&world, "table/1-1"));
    assert_views_equal(&world);
    world_close(&world);
}

static void put_birth_file(struct machine *controller)
{
    struct env *env = sim_process_start(controller->world->sim, controller->id);
    struct env_file *file;

    assert_int_equal(env->disk->open(env, "birth", true, &file), OK);
    assert_int_equal(env->disk->resize(env, file, 1), OK);
    env->disk->close(env, file);
    sim_crash(controller->world->sim, controller->id, SIM_CRASH_KILL);
}

static void controllers__with_birth_files__found_the_cluster_and_remove_them(void **state)
{
    struct world world;
    struct slice content;

    (void)state;
    world_make(&world, 41, 60 * SECOND);
    for (size_t i = 0; i < CONTROLLERS; i++) {
        machine_crash(&world.controllers[i], SIM_CRASH_KILL);
        sim_disk_wipe(world.sim, world.controllers[i].id);
        put_birth_file(&world.controllers[i]);
    }
    world.birth_file = "birth";
    for (size_t i = 0; i < CONTROLLERS; i++)
        machine_start(&world.controllers[i]);

    AWAIT(&world, everybody_is_born, 60 * SECOND);
    run_ms(&world, SECOND);

    for (size_t i = 0; i < CONTROLLERS; i++)
        assert_int_equal(sim_disk_content(world.sim, world.controllers[i].id, "birth", &content),
                         ERR_NOT_FOUND);
    world_close(&world);
}

/* It may have voted for, and stored, what the one that is down knows alone. */
static void controller__data_folder_emptied__has_no_vote_until_it_knows_all_again(void **state)
{
    struct world world;
    struct machine *leader;
    struct machine *emptied;
    struct machine *third;

    (void)state;
    world_make(&world, 42, 60 * SECOND);
    AWAIT(&world, everybody_is_born, 60 * SECOND);
    leader = find_leader(&world);
    emptied = leader == &world.controllers[0] ? &world.controllers[1] : &world.controllers[0];
    third = &world.controllers[3 - (leader - world.controllers) - (emptied - world.controllers)];
    machine_crash(leader, SIM_CRASH_KILL);
    machine_crash(emptied, SIM_CRASH_KILL);
    sim_disk_wipe(world.sim, emptied->id);
    world.birth_file = "birth"; /* which it has not */

    machine_start(emptied);
    run_ms(&world, 20 * SECOND);
    assert_false(somebody_leads(&world));

    machine_start(leader);
    AWAIT(&world, somebody_leads, 20 * SECOND);
    run_ms(&world, 20 * SECOND);
    machine_crash(leader, SIM_CRASH_KILL);
    run_ms(&world, 10 * SECOND);
    assert_true(somebody_leads(&world)); /* third and emptied are a majority again */
    assert_true(third->is_up);
    world_close(&world);
}

static void leader__cut_off_from_the_others__another_one_takes_over(void **state)
{
    struct world world;
    struct machine *leader;

    (void)state;
    be_born(&world, 13, 60000);
    leader = find_leader(&world);
    for (size_t i = 0; i < CONTROLLERS; i++) {
        if (&world.controllers[i] == leader)
            continue;
        sim_link_cut(world.sim, leader->id, world.controllers[i].id);
        sim_link_cut(world.sim, world.controllers[i].id, leader->id);
    }
    (void)update_through_node_1(&world, "table/"); /* nodes still reach the old one */
    assert_int_equal(world.nodes[0].update_rc, OK);

    sim_link_heal_all(world.sim);
    run_ms(&world, 5 * SECOND);
    AWAIT(&world, views_are_level, 5 * SECOND);
    assert_views_equal(&world);
    world_close(&world);
}

static void leader__drained__hands_over_before_it_stops(void **state)
{
    struct world world;
    struct machine *leader;
    struct drained drained = {false};

    (void)state;
    be_born(&world, 14, 60000);
    leader = find_leader(&world);
    controller_drain(leader->controller, &drained, on_drained);
    run_ms(&world, 500);

    assert_true(drained.is_done);
    assert_false(controller_is_leader(leader->controller));
    machine_crash(leader, SIM_CRASH_KILL);
    uint64_t waited = update_through_node_1(&world, "table/");

    assert_int_equal(world.nodes[0].update_rc, OK);
    assert_true(waited < 500);
    world_close(&world);
}

static void leader__drained_with_an_update_waiting__the_next_one_waits_on(void **state)
{
    struct world world;
    struct machine *leader;
    struct drained drained = {false};

    (void)state;
    be_born(&world, 16, 60000);
    sim_pause(world.sim, 2); /* does not acknowledge, though its lease holds */
    leader = find_leader(&world);
    start_update(&world.nodes[0], "table/", 20 * SECOND);
    run_ms(&world, 200);
    controller_drain(leader->controller, &drained, on_drained);
    run_ms(&world, 500);
    assert_true(drained.is_done);
    assert_true(world.nodes[0].is_updating);

    AWAIT(&world, node_1_is_done, 5 * SECOND); /* the new leader's lease for node 2 is over */
    assert_int_equal(world.nodes[0].update_rc, OK);
    sim_resume(world.sim, 2);
    world_close(&world);
}

static void status__of_leader_and_follower__json(void **state)
{
    struct world world;
    AUTO(buffer) json = BUFFER_INIT(1u << 20);

    (void)state;
    be_born(&world, 15, 60000);
    run_ms(&world, SECOND);
    controller_status(find_leader(&world)->controller, &json);

    const char *text = buffer_text(&json);

    assert_non_null(strstr(text, "\"is_leader\":true"));
    assert_non_null(strstr(text, "\"is_born\":true"));
    assert_non_null(strstr(text, "\"name\":\"node-3\""));
    assert_non_null(strstr(text, "\"lease_left_ms\":"));
    world_close(&world);
}

/* ---- requests nobody should send ---- */

struct asked {
    struct call call;
    bool is_done;
    enum error rc;
    struct buffer answer;
};

static void on_answer(struct call *call, enum error rc, struct slice answer)
{
    struct asked *asked = container_of(call, struct asked, call);

    asked->is_done = true;
    asked->rc = rc;
    buffer_put_slice(&asked->answer, answer);
}

/* Node 6 asks the leader. */
static void ask(struct world *world, enum call_method method, struct slice body,
                struct asked *asked)
{
    *asked = (struct asked){.answer = BUFFER_INIT(BUFFER_UNLIMITED)};
    call_start(world->nodes[5].calls, &asked->call, find_leader(world)->id, method, body, 1000,
               on_answer);
    run_ms(world, 100);
    assert_true(asked->is_done);
}

static enum error ask_to_register(struct world *world, Skein__Wire__Node *node, uint64_t revision)
{
    Skein__Wire__RegisterRequest request = SKEIN__WIRE__REGISTER_REQUEST__INIT;
    Skein__Wire__RegisterAnswer *answer;
    struct asked asked;
    uint8_t bytes[1024];

    request.node = node;
    request.revision = revision;
    assert_true(skein__wire__register_request__get_packed_size(&request) <= sizeof(bytes));
    ask(world, CALL_REGISTER, slice_of(bytes, skein__wire__register_request__pack(&request, bytes)),
        &asked);
    assert_int_equal(asked.rc, OK);
    answer = skein__wire__register_answer__unpack(NULL, asked.answer.size, asked.answer.data);
    assert_non_null(answer);
    enum error outcome = (enum error)answer->outcome;

    skein__wire__register_answer__free_unpacked(answer, NULL);
    buffer_close(&asked.answer);
    return outcome;
}

static void register__not_as_it_should_be__refused_and_nothing_written(void **state)
{
    struct world world;
    Skein__Wire__Node node = SKEIN__WIRE__NODE__INIT;
    char long_name[100];

    (void)state;
    be_born(&world, 17, 60000);
    run_ms(&world, SECOND);
    uint64_t revision = view_revision(world.nodes[0].view);

    memset(long_name, 'n', sizeof(long_name));
    long_name[sizeof(long_name) - 1] = '\0';
    node.id = 6;
    node.name = (char *)(uintptr_t) "node-6";
    node.region = (char *)(uintptr_t) "us-east-1";
    node.host = (char *)(uintptr_t) "h";
    assert_int_equal(ask_to_register(&world, NULL, 0), ERR_INVALID);
    assert_int_equal(ask_to_register(&world, &node, 0), ERR_STALE_EPOCH); /* incarnation 0 */
    node.incarnation = UINT64_MAX;
    assert_int_equal(ask_to_register(&world, &node, revision + 1), ERR_CONFLICT);
    node.id = 5; /* another node's */
    assert_int_equal(ask_to_register(&world, &node, 0), ERR_DENIED);
    node.id = 6;
    node.name = (char *)(uintptr_t) "a name";
    assert_int_equal(ask_to_register(&world, &node, 0), ERR_INVALID);
    node.name = long_name;
    assert_int_equal(ask_to_register(&world, &node, 0), ERR_INVALID);
    node.name = (char *)(uintptr_t) "";
    assert_int_equal(ask_to_register(&world, &node, 0), ERR_INVALID);

    run_ms(&world, SECOND);
    assert_int_equal(view_revision(world.nodes[0].view), revision);
    world_close(&world);
}

static enum error ask_to_update(struct world *world, struct slice body)
{
    struct asked asked;
    Skein__Wire__UpdateAnswer *answer;

    ask(world, CALL_CATALOGUE_UPDATE, body, &asked);
    assert_int_equal(asked.rc, OK);
    answer = skein__wire__update_answer__unpack(NULL, asked.answer.size, asked.answer.data);
    assert_non_null(answer);
    enum error outcome = (enum error)answer->outcome;

    skein__wire__update_answer__free_unpacked(answer, NULL);
    buffer_close(&asked.answer);
    return outcome;
}

static void update__not_as_it_should_be__refused_and_nothing_written(void **state)
{
    struct world world;
    Skein__Wire__CatalogueCommand command = SKEIN__WIRE__CATALOGUE_COMMAND__INIT;
    Skein__Wire__CatalogueOperation operation = SKEIN__WIRE__CATALOGUE_OPERATION__INIT;
    Skein__Wire__CatalogueOperation *pointer = &operation;
    uint8_t bytes[256];
    const size_t big_bytes = 5u << 20;
    uint8_t *big = check_calloc(big_bytes, 1);
    struct asked asked;

    (void)state;
    be_born(&world, 18, 60000);
    run_ms(&world, SECOND);
    uint64_t revision = view_revision(world.nodes[0].view);

    assert_int_equal(ask_to_update(&world, SLICE_LITERAL("\xff\xff")), ERR_INVALID);
    assert_int_equal(ask_to_update(&world, slice_of(big, big_bytes)), ERR_TOO_LARGE);
    operation.key = (char *)(uintptr_t) "table/Orders";
    command.operations = &pointer;
    command.n_operations = 1;
    command.origin = 5; /* another node's */
    assert_int_equal(ask_to_update(&world, slice_of(bytes, skein__wire__catalogue_command__pack(
                                                               &command, bytes))),
                     ERR_DENIED);
    ask(&world, CALL_ADMIN, SLICE_LITERAL("format the disk"), &asked);
    assert_int_equal(asked.rc, ERR_INVALID);
    buffer_close(&asked.answer);
    ask(&world, CALL_ADMIN, SLICE_LITERAL("status"), &asked);
    assert_int_equal(asked.rc, OK);
    assert_true(asked.answer.size > 100);
    buffer_close(&asked.answer);

    assert_int_equal(view_revision(world.nodes[0].view), revision);
    free(big);
    world_close(&world);
}

/* ---- chaos ---- */

static void disturb(struct world *world)
{
    struct rng *rng = sim_rng(world->sim);
    struct machine *machine = rng_below(rng, 2) == 0 ? &world->controllers[rng_below(rng, 3)]
                                                     : &world->nodes[rng_below(rng, NODES)];
    uint64_t other = world->controllers[rng_below(rng, CONTROLLERS)].id;

    switch (rng_below(rng, 9)) {
    case 0:
        machine_crash(machine, SIM_CRASH_KILL);
        break;
    case 1:
        machine_crash(machine, SIM_CRASH_LOSE | SIM_CRASH_SILENT);
        break;
    case 2:
        if (other != machine->id)
            sim_link_cut(world->sim, machine->id, other);
        break;
    case 3:
        if (other != machine->id)
            sim_link_reset(world->sim, machine->id, other);
        break;
    case 4:
        if (machine->is_up && !sim_is_paused(world->sim, machine->id))
            sim_pause(world->sim, machine->id);
        break;
    default:
        machine_start(machine);
        if (sim_is_paused(world->sim, machine->id))
            sim_resume(world->sim, machine->id);
        sim_link_heal_all(world->sim);
        break;
    }
}

static void heal(struct world *world)
{
    sim_link_heal_all(world->sim);
    for (size_t i = 0; i < CONTROLLERS + NODES; i++) {
        struct machine *machine =
            i < CONTROLLERS ? &world->controllers[i] : &world->nodes[i - CONTROLLERS];

        if (machine->is_up && sim_is_paused(world->sim, machine->id))
            sim_resume(world->sim, machine->id);
        machine_start(machine);
    }
}

static bool nobody_is_updating(struct world *world)
{
    for (size_t i = 0; i < NODES; i++)
        if (world->nodes[i].is_updating)
            return false;
    return true;
}

static void assert_acked_are_there(struct world *world, uint64_t seed)
{
    char *lines = slice_strdup(buffer_slice(&world->acked));
    char *rest = lines;

    for (char *key; (key = strsep(&rest, "\n")) != NULL;)
        if (*key != '\0' && !all_have(world, key))
            fail_msg("seed %" PRIu64 ": %s was acknowledged and is not everywhere", seed, key);
    free(lines);
}

/* Returns how many updates were acknowledged. */
static unsigned run_chaos(uint64_t seed)
{
    struct world world;

    be_born(&world, seed, 4 * SECOND);
    for (int step = 0; step < 200; step++) {
        for (size_t i = 0; i < NODES; i++) {
            struct machine *node = &world.nodes[i];

            if (node->updates > 0 && !node->is_updating && node->update_rc == ERR_CONFLICT)
                fail_msg("seed %" PRIu64 ": an update took effect twice", seed);
            if (node->is_up && !node->is_updating)
                start_update(node, "function/", 10 * SECOND);
        }
        run_ms(&world, 50 + rng_below(sim_rng(world.sim), 200));
        if (rng_below(sim_rng(world.sim), 3) == 0)
            disturb(&world);
    }
    heal(&world);
    AWAIT(&world, somebody_leads, 60 * SECOND);
    AWAIT(&world, nobody_is_updating, 60 * SECOND);
    AWAIT(&world, all_nodes_are_alive, 60 * SECOND);
    run_ms(&world, 10 * SECOND);
    AWAIT(&world, views_are_level, 10 * SECOND);
    assert_views_equal(&world);
    assert_acked_are_there(&world, seed);
    unsigned acked = world.acked_count;

    world_close(&world);
    return acked;
}

static void chaos__any_seed__acknowledged_updates_are_everywhere(void **state)
{
    const char *wanted = getenv("SKEIN_SEED");
    unsigned acked = 0;

    (void)state;
    if (wanted != NULL) {
        (void)run_chaos(strtoull(wanted, NULL, 10));
        return;
    }
    for (uint64_t seed = 1; seed <= CHAOS_SEEDS; seed++)
        acked += run_chaos(seed);
    assert_true(acked > 50 * CHAOS_SEEDS); /* it was not all outage */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(birth__six_nodes__shards_in_every_view),
        cmocka_unit_test(update__through_any_node__everywhere_when_answered),
        cmocka_unit_test(update__expectation_fails__conflict),
        cmocka_unit_test(update__leader_killed_meanwhile__done_once),
        cmocka_unit_test(update__a_node_is_paused__waited_for_no_longer_than_its_lease),
        cmocka_unit_test(node__process_dies__functions_move_at_once),
        cmocka_unit_test(node__dies_without_a_word__lost_after_its_lease),
        cmocka_unit_test(node__stays_away__its_replicas_are_rebuilt_elsewhere),
        cmocka_unit_test(node__was_away__catches_up_with_the_changes),
        cmocka_unit_test(node__was_away_while_history_was_lost__gets_a_whole_copy),
        cmocka_unit_test(node__disk_wiped__gets_a_whole_copy),
        cmocka_unit_test(controllers__power_lost__nothing_acknowledged_is_lost),
        cmocka_unit_test(controllers__all_gone__views_answer_updates_do_not),
        cmocka_unit_test(controller__catalogue_damaged__fetched_from_the_others),
        cmocka_unit_test(controllers__with_birth_files__found_the_cluster_and_remove_them),
        cmocka_unit_test(controller__data_folder_emptied__has_no_vote_until_it_knows_all_again),
        cmocka_unit_test(leader__cut_off_from_the_others__another_one_takes_over),
        cmocka_unit_test(leader__drained__hands_over_before_it_stops),
        cmocka_unit_test(leader__drained_with_an_update_waiting__the_next_one_waits_on),
        cmocka_unit_test(register__not_as_it_should_be__refused_and_nothing_written),
        cmocka_unit_test(update__not_as_it_should_be__refused_and_nothing_written),
        cmocka_unit_test(status__of_leader_and_follower__json),
        cmocka_unit_test(chaos__any_seed__acknowledged_updates_are_everywhere),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
