#include "tests/sim/consensus_impl.h"

#include "proto/base/check.h"

#include <inttypes.h>

#define GROUP_ID(group) (1 + (uint64_t)(group))
#define RETRY_US (100 * MILLISECOND)
#define WHOLE_SETTLE_US SECOND
#define WEAK_SETTLE_US (2 * SECOND) /* acknowledgements from before the crash are in by then */

void consensus_nodes_init(struct cluster *cluster)
{
    cluster->node_count = cluster->options->nodes + SPARE_COUNT;
    CHECK(cluster->node_count <= NODES_MAX);
    for (size_t i = 0; i < cluster->node_count; i++) {
        struct node *node = &cluster->nodes[i];

        node->cluster = cluster;
        node->id = i + 1;
        node->replicas = check_calloc(cluster->options->groups, sizeof(*node->replicas));
        list_init(&node->operations);
        for (size_t g = 0; g < cluster->options->groups; g++)
            node->replicas[g].is_hosted = node->replicas[g].is_born_with =
                i < cluster->options->nodes;
        consensus_node_start(node);
    }
}

void consensus_nodes_close(struct cluster *cluster)
{
    for (size_t i = 0; i < cluster->node_count; i++) {
        if (cluster->nodes[i].host != NULL)
            consensus_node_crash(&cluster->nodes[i], SIM_CRASH_KILL);
        free(cluster->nodes[i].replicas);
    }
}

bool consensus_node_runs(const struct node *node)
{
    return node->host != NULL && !node->is_dead && !sim_is_paused(node->cluster->sim, node->id);
}

/* ---- going down ---- */

/* Frees what the dead process had. */
static void sweep(struct node *node)
{
    struct cluster *cluster = node->cluster;
    struct host_stats stats = {0};

    host_stats(node->host, &stats);
    cluster->facts[CONSENSUS_FACT_HINTS] += stats.hints_taken;
    host_free(node->host);
    node->host = NULL;
    node->is_dead = false;
    consensus_operations_forget(node, GROUP_ANY);
    for (size_t g = 0; g < cluster->options->groups; g++) {
        struct replica *replica = &node->replicas[g];

        cluster->facts[CONSENSUS_FACT_SNAPSHOTS] += replica->machine.snapshots_installed;
        machine_close(&replica->machine);
        replica->group = NULL;
    }
    node->env = NULL;
}

static void sweep_action(void *user)
{
    struct node *node = user;

    if (node->host == NULL || !node->is_dead)
        return;
    sweep(node);
    consensus_node_start_later(node, consensus_draw(node->cluster, 10, 1000) * MILLISECOND);
}

/* It must stop at once: we are inside one of its callbacks. */
static void die(struct node *node, const char *why)
{
    struct cluster *cluster = node->cluster;

    if (node->is_dead)
        return;
    consensus_say(cluster, "node %" PRIu64 " stops: %s", node->id, why);
    cluster->facts[CONSENSUS_FACT_DISK_ERRORS]++;
    node->is_dead = true;
    sim_crash(cluster->sim, node->id, SIM_CRASH_KILL);
    sim_after(cluster->sim, 0, sweep_action, node);
}

static void on_host_fatal(void *user, enum error rc, const char *why)
{
    (void)rc;
    die(user, why);
}

static void on_machine_fatal(void *user, const char *why)
{
    die(user, why);
}

void consensus_node_crash(struct node *node, unsigned how)
{
    if (node->host == NULL)
        return;
    if (!node->is_dead) {
        consensus_say(node->cluster, "node %" PRIu64 " crashes (%u)", node->id, how);
        sim_crash(node->cluster->sim, node->id, how);
    }
    sweep(node);
}

/* ---- coming up ---- */

static void replica_open(struct node *node, size_t group)
{
    struct cluster *cluster = node->cluster;
    struct replica *replica = &node->replicas[group];
    uint64_t born_with[NODES_MAX];
    struct group_options options = {
        .id = GROUP_ID(group),
        .born_with = born_with,
        .born_with_count = replica->is_born_with ? cluster->options->nodes : 0,
    };
    enum error rc = machine_open(&replica->machine, node->env, &cluster->checker, group);

    for (size_t i = 0; i < cluster->options->nodes; i++)
        born_with[i] = i + 1;
    replica->machine.user = node;
    replica->machine.on_fatal = on_machine_fatal;
    replica->machine.skips = cluster->options->plant == CONSENSUS_PLANT_SKIPPED_APPLY;
    replica->term = 0;
    replica->whole_since_us = 0;
    if (rc == OK) {
        checker_on_state(&cluster->checker, group, node->id, replica->machine.applied,
                         replica->machine.hash, "disk");
        options.machine = machine_table(&replica->machine);
        rc = host_group_start(node->host, &options, &replica->group);
    }
    if (rc != OK) {
        if (!node->is_dead)
            die(node, error_name(rc));
        return;
    }
    if (host_group_is_damaged(node->host, GROUP_ID(group)))
        cluster->facts[CONSENSUS_FACT_DAMAGED]++;
}

static void start_action(void *user)
{
    consensus_node_start(user);
}

void consensus_node_start_later(struct node *node, uint64_t delay_us)
{
    sim_after(node->cluster->sim, delay_us, start_action, node);
}

static struct env *process_start(struct node *node)
{
    struct cluster *cluster = node->cluster;
    struct env *env = sim_process_start(cluster->sim, node->id);

    for (uint64_t peer = 1; peer <= cluster->node_count; peer++)
        if (peer != node->id)
            env->link->peer_set(env, peer, "tcp://127.0.0.1:1", "");
    return env;
}

void consensus_node_start(struct node *node)
{
    struct cluster *cluster = node->cluster;
    const struct plan *plan = &cluster->plan;
    struct host_options options = {
        .folder = "journal",
        .heartbeat_ms = plan->heartbeat_ms,
        .election_ms = plan->election_ms,
        .snapshot_entries = plan->snapshot_entries,
        .snapshot_bytes = 4u << 20,
        .trailing_entries = plan->trailing_entries,
        .segment_bytes = plan->segment_bytes,
        .append_bytes = plan->append_bytes,
        .disable_guards = cluster->options->disable_guards,
        .user = node,
        .on_fatal = on_host_fatal,
    };
    enum error rc;

    if (node->host != NULL || node->is_gone)
        return;
    node->life++;
    node->env = process_start(node);
    rc = host_open(node->env, &options, &node->host);
    if (rc != OK) {
        consensus_say(cluster, "node %" PRIu64 " cannot start: %s", node->id, error_name(rc));
        node->host = NULL;
        if (sim_is_alive(cluster->sim, node->id))
            sim_crash(cluster->sim, node->id, SIM_CRASH_KILL);
        consensus_node_start_later(node, RETRY_US);
        return;
    }
    for (size_t g = 0; g < cluster->options->groups && !node->is_dead; g++) {
        struct replica *replica = &node->replicas[g];

        if (replica->is_weak)
            replica->weak_until_us = sim_now_us(cluster->sim) + WEAK_SETTLE_US;
        if (replica->is_hosted)
            replica_open(node, g);
    }
    consensus_say(cluster, "node %" PRIu64 " starts", node->id);
}

void consensus_replica_start(struct node *node, size_t group)
{
    struct replica *replica = &node->replicas[group];

    CHECK(!replica->is_hosted && node->host != NULL && !node->is_dead);
    replica->is_hosted = true;
    replica->is_born_with = false;
    replica_open(node, group);
}

static void replica_forget(struct node *node, size_t group)
{
    struct replica *replica = &node->replicas[group];

    replica->is_hosted = replica->is_born_with = replica->is_weak = replica->is_unwanted = false;
    if (replica->group == NULL)
        return;
    consensus_say(node->cluster, "node %" PRIu64 " forgets group %zu", node->id, group);
    host_group_forget(node->host, replica->group);
    consensus_operations_forget(node, group); /* those it did not answer */
    replica->group = NULL;
    node->cluster->facts[CONSENSUS_FACT_SNAPSHOTS] += replica->machine.snapshots_installed;
    if (machine_remove(&replica->machine) != OK && !node->is_dead)
        die(node, "a state cannot be removed");
}

/* ---- weakness ---- */

static bool is_weak(const struct node *node)
{
    for (size_t g = 0; g < node->cluster->options->groups; g++)
        if (node->replicas[g].is_weak)
            return true;
    return false;
}

bool consensus_may_weaken(struct cluster *cluster, const struct node *node)
{
    size_t count = 1;

    if (cluster->options->plant == CONSENSUS_PLANT_AMNESIA)
        return true;
    for (size_t i = 0; i < cluster->node_count; i++)
        if (&cluster->nodes[i] != node && is_weak(&cluster->nodes[i]))
            count++;
    return count <= (cluster->options->nodes - 1) / 2;
}

void consensus_node_weaken(struct node *node)
{
    for (size_t g = 0; g < node->cluster->options->groups; g++)
        node->replicas[g].is_weak = node->replicas[g].is_hosted;
}

static void watch_weakness(struct node *node, size_t group)
{
    struct cluster *cluster = node->cluster;
    struct replica *replica = &node->replicas[group];

    if (sim_now_us(cluster->sim) < replica->weak_until_us) {
        replica->weak_until_index = cluster->checker.groups[group].acked_max;
        return;
    }
    if (replica->machine.applied < replica->weak_until_index || !group_has_vote(replica->group)) {
        replica->whole_since_us = 0;
        return;
    }
    if (replica->whole_since_us == 0)
        replica->whole_since_us = sim_now_us(cluster->sim);
    if (sim_now_us(cluster->sim) < replica->whole_since_us + WHOLE_SETTLE_US)
        return;
    replica->is_weak = false;
    cluster->facts[CONSENSUS_FACT_RECOVERED]++;
    consensus_say(cluster, "node %" PRIu64 " has group %zu whole again", node->id, group);
}

/* ---- watching ---- */

static void watch_replica(struct node *node, size_t group)
{
    struct cluster *cluster = node->cluster;
    struct replica *replica = &node->replicas[group];
    uint64_t term = group_term(replica->group);

    if (term < replica->term)
        checker_fail(&cluster->checker,
                     "node %" PRIu64 " went back from term %" PRIu64 " to %" PRIu64, node->id,
                     replica->term, term);
    replica->term = term;
    if (group_role(replica->group) == GROUP_LEADER) {
        size_t leaders = cluster->checker.groups[group].leaders.count;

        checker_on_leader(&cluster->checker, group, node->id, term);
        if (cluster->checker.groups[group].leaders.count > leaders)
            consensus_faults_on_leader(node);
    }
    if (replica->is_weak)
        watch_weakness(node, group);
}

void consensus_nodes_watch(struct cluster *cluster)
{
    for (size_t i = 0; i < cluster->node_count; i++) {
        struct node *node = &cluster->nodes[i];

        for (size_t g = 0; g < cluster->options->groups && consensus_node_runs(node); g++) {
            if (node->replicas[g].group == NULL)
                continue;
            watch_replica(node, g);
            if (node->replicas[g].is_unwanted && !node->replicas[g].machine.is_making_durable)
                replica_forget(node, g);
        }
    }
}

struct node *consensus_leader(struct cluster *cluster, size_t group, bool is_ready)
{
    struct node *found = NULL;
    uint64_t count = 0;

    for (size_t i = 0; i < cluster->node_count; i++) {
        struct node *node = &cluster->nodes[i];
        const struct group *it = node->replicas[group].group;

        if (!consensus_node_runs(node) || it == NULL || group_role(it) != GROUP_LEADER ||
            (is_ready && !group_is_leader(it)))
            continue;
        if (rng_below(&cluster->rng, ++count) == 0)
            found = node;
    }
    return found;
}
