#include "tests/sim/cluster_impl.h"

#define LEARN_US 3000000u /* until every node knows what the others know */

/* ---- overload: far more increments at once than a shard takes in ---- */

#define FLOOD_ASKS 24000u /* a shard keeps 16,384 that are not answered yet */
#define FLOOD_LAST_TRIES 100u

struct flood_ask {
    struct ask ask;
    struct flood *flood;
};

struct flood {
    struct flood_ask *asks;
    uint64_t open;
    uint64_t acknowledged;
    uint64_t unsure;
    uint64_t throttled;
};

static void increment(struct ask *ask)
{
    cluster_ask_start(ask, NULL, CLUSTER_TARGET("UpdateItem"),
                      "{\"TableName\":\"Tab\",\"Key\":{\"id\":{\"S\":\"counter\"}},"
                      "\"UpdateExpression\":\"ADD n :one\","
                      "\"ExpressionAttributeValues\":{\":one\":{\"N\":\"1\"}}}");
}

static void flood_on_done(struct ask *ask, int status, const char *body)
{
    struct flood *flood = container_of(ask, struct flood_ask, ask)->flood;

    flood->open--;
    if (status == 200)
        flood->acknowledged++;
    else if (status == 0 || status >= 500)
        flood->unsure++;
    else if (cluster_is_throttled(body))
        flood->throttled++; /* which says that nothing happened */
    else
        cluster_fail(ask->world, "UpdateItem answered %d %.120s", status, body);
}

static void flood_begin(struct world *world, struct flood *flood, uint64_t count)
{
    flood->asks = check_calloc(count, sizeof(*flood->asks));
    flood->open = count;
    for (uint64_t i = 0; i < count; i++) {
        flood->asks[i] = (struct flood_ask){{.world = world, .on_done = flood_on_done}, flood};
        increment(&flood->asks[i].ask);
    }
}

/* Every one has its answer, or is given up. */
static void flood_end(struct world *world, struct flood *flood)
{
    sim_run_until(world->sim, sim_now_us(world->sim) + ATTEMPT_US + 1000);
    free(flood->asks);
    flood->asks = NULL;
    if (flood->open > 0)
        cluster_fail(world, "%" PRIu64 " increments were never answered", flood->open);
}

static void kill_a_node(struct world *world)
{
    struct process *process = cluster_node_in(world, NULL);

    cluster_story(world, "%s crashes", process->name);
    cluster_process_crash(process, SIM_CRASH_LOSE);
    sim_after(world->sim, 500000, cluster_process_restart, process);
}

/* So slow that nothing is answered while the flood comes in. */
static void slow_disks(struct world *world)
{
    for (size_t i = 0; i < world->process_count; i++)
        sim_disk_speed(world->sim, world->processes[i].id, (struct sim_range){100000, 300000});
}

void cluster_overload(struct world *world)
{
    struct flood flood = {0};
    uint64_t throttled;

    sim_run_until(world->sim, sim_now_us(world->sim) + LEARN_US);
    slow_disks(world);
    flood_begin(world, &flood, FLOOD_ASKS);
    if (cluster_dice(world, 2) == 0) {
        sim_run_until(world->sim, sim_now_us(world->sim) + cluster_dice(world, 20000));
        kill_a_node(world);
    }
    flood_end(world, &flood);
    throttled = flood.throttled;
    if (throttled == 0 || flood.acknowledged == 0)
        cluster_fail(world, "of %u increments at once %" PRIu64 " were throttled, %" PRIu64 " done",
                     FLOOD_ASKS, throttled, flood.acknowledged);
    /* It has shed the load, not broken down under it. */
    flood_begin(world, &flood, FLOOD_LAST_TRIES);
    flood_end(world, &flood);
    if (flood.throttled > throttled)
        cluster_fail(world, "the cluster still throttles when the flood is over");
    cluster_story(world, "done %" PRIu64 ", unsure %" PRIu64 ", throttled %" PRIu64,
                  flood.acknowledged, flood.unsure, flood.throttled);
    world->result->acknowledged += flood.acknowledged;
    world->result->faults += throttled > 0;
    world->counter.acknowledged = flood.acknowledged;
    world->counter.unsure = flood.unsure;
}

/* ---- repair: a node stays away for longer than repair_after_ms, and then comes back ---- */

#define REPAIR_LIMIT_US 60000000u

static size_t replica_count(struct world *world)
{
    size_t count = 0;

    for (size_t i = 0; i < world->process_count; i++) {
        json_t *status =
            world->processes[i].node != NULL ? cluster_status_of(&world->processes[i]) : NULL;

        count += json_array_size(json_object_get(status, "shards"));
        json_decref(status);
    }
    return count;
}

/* False: not in time. */
static bool await(struct world *world, bool (*is_so)(struct world *world))
{
    uint64_t end = sim_now_us(world->sim) + REPAIR_LIMIT_US;

    while (!is_so(world) && sim_now_us(world->sim) < end && world->result->is_ok)
        sim_run_until(world->sim, sim_now_us(world->sim) + 100000);
    return is_so(world);
}

static bool has_surplus(struct world *world)
{
    return replica_count(world) > SHARDS * 3;
}

static bool has_no_surplus(struct world *world)
{
    return replica_count(world) == SHARDS * 3;
}

static void count_store(void *user, const char *name)
{
    size_t *stores = user;

    *stores += strchr(name, '.') == NULL; /* the marks of what was forgotten stay */
}

/* On its disk are the stores of what it serves, and no others. */
static bool is_clean(struct process *process)
{
    json_t *status = cluster_status_of(process);
    size_t served = json_array_size(json_object_get(status, "shards"));
    size_t stores = 0;

    json_decref(status);
    return process->env->disk->list(process->env, "shards", &stores, count_store) == OK &&
           stores == served;
}

static struct process *node_with_replicas(struct world *world)
{
    for (;;) {
        struct process *process = cluster_node_in(world, NULL);
        json_t *status = cluster_status_of(process);
        size_t count = json_array_size(json_object_get(status, "shards"));

        json_decref(status);
        if (count > 0)
            return process;
    }
}

void cluster_repair(struct world *world)
{
    struct process *lost;
    bool is_new_disk;
    size_t left;

    cluster_clients_start(world);
    if (!await(world, cluster_replicas_are_whole))
        cluster_fail(world, "the shards are not whole at birth");
    lost = node_with_replicas(world);
    cluster_story(world, "%s is lost", lost->name);
    cluster_process_crash(lost, SIM_CRASH_LOSE);
    world->result->faults++;
    left = replica_count(world);
    sim_run_until(world->sim,
                  sim_now_us(world->sim) + (uint64_t)world->options->repair_after_ms * 900);
    if (replica_count(world) != left)
        cluster_fail(world, "replicas were moved before repair_after_ms");
    if (!await(world, cluster_replicas_are_whole))
        cluster_fail(world, "the replicas of %s were not built elsewhere", lost->name);
    cluster_story(world, "all shards are whole without it");
    is_new_disk = cluster_dice(world, 4) == 0;
    if (is_new_disk) {
        cluster_story(world, "its disk is a new one");
        sim_disk_wipe(world->sim, lost->id);
    }
    cluster_process_restart(lost);
    if (!is_new_disk && !await(world, has_surplus))
        cluster_fail(world, "%s has not got its old replicas back", lost->name);
    if (!await(world, has_no_surplus))
        cluster_fail(world, "%s does not forget replicas that were moved away: %zu in all",
                     lost->name, replica_count(world));
    sim_run_until(world->sim, sim_now_us(world->sim) + LEARN_US);
    if (!is_clean(lost))
        cluster_fail(world, "%s leaves something of forgotten replicas on its disk", lost->name);
    if (!cluster_replicas_are_whole(world))
        cluster_fail(world, "a replica that was still needed is gone");
}
