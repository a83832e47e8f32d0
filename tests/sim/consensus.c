#include "tests/sim/consensus_impl.h"

#include "proto/base/check.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#define WATCH_US (2 * MILLISECOND)
#define LOAD_MS 1000u
#define HEALING_US (10 * SECOND)

const char *consensus_fact_text(enum consensus_fact fact)
{
    static const char *const texts[] = {
#define X(name, text) text,
        CONSENSUS_FACT_MAP(X)
#undef X
    };

    return texts[fact];
}

_Static_assert((size_t)CONSENSUS_FACT_COUNT <= SEEDS_FACTS_MAX, "raise SEEDS_FACTS_MAX");

void consensus_say(const struct cluster *cluster, const char *format, ...)
{
    va_list arguments;

    if (!cluster->options->trace)
        return;
    (void)fprintf(stderr, "%10.3f ms  ", (double)sim_now_us(cluster->sim) / 1000.0);
    va_start(arguments, format);
    (void)vfprintf(stderr, format, arguments);
    va_end(arguments);
    (void)fputc('\n', stderr);
}

uint64_t consensus_draw(struct cluster *cluster, uint64_t min, uint64_t max)
{
    return min + rng_below(&cluster->rng, max - min + 1);
}

bool consensus_chance(struct cluster *cluster, uint32_t percent)
{
    return rng_below(&cluster->rng, 100) < percent;
}

static void watch(void *user)
{
    struct cluster *cluster = user;

    consensus_nodes_watch(cluster);
    sim_after(cluster->sim, WATCH_US, watch, cluster);
}

static void run_until(struct cluster *cluster, uint64_t time)
{
    while (!cluster->checker.is_failed && sim_now_us(cluster->sim) < time)
        CHECK(sim_step(cluster->sim));
}

/* ---- the end: everything is well, and must become so ---- */

static bool is_same_members(const struct group *a, const struct group *b)
{
    struct group_member of_a[GROUP_MEMBERS_MAX];
    struct group_member of_b[GROUP_MEMBERS_MAX];
    size_t count = group_members(a, of_a);

    if (group_members(b, of_b) != count)
        return false;
    for (size_t i = 0; i < count; i++)
        if (of_a[i].id != of_b[i].id || of_a[i].is_voter != of_b[i].is_voter)
            return false;
    return true;
}

/* Does every voter have all that was acknowledged, does each take the same ones for the members,
 * and does the group take commands? */
static bool has_converged(struct cluster *cluster, size_t group)
{
    const struct checker_group *known = &cluster->checker.groups[group];
    struct node *leader = consensus_leader(cluster, group, true);
    struct group_member members[GROUP_MEMBERS_MAX];
    size_t count;

    if (leader == NULL || known->acked_max <= cluster->healed_at[group])
        return false;
    count = group_members(leader->replicas[group].group, members);
    for (size_t i = 0; i < count; i++) {
        const struct node *node = &cluster->nodes[members[i].id - 1];
        const struct replica *replica = &node->replicas[group];

        if (!members[i].is_voter || node->is_gone)
            continue;
        if (!consensus_node_runs(node) || replica->group == NULL ||
            !group_has_vote(replica->group) || replica->machine.applied < known->acked_max ||
            !is_same_members(replica->group, leader->replicas[group].group))
            return false;
    }
    return true;
}

static size_t put_members(const struct group *group, char text[static CHECKER_WHY_BYTES],
                          size_t size)
{
    struct group_member members[GROUP_MEMBERS_MAX];
    size_t count = group_members(group, members);

    for (size_t i = 0; i < count && size + 1 < CHECKER_WHY_BYTES; i++)
        size += (size_t)snprintf(text + size, CHECKER_WHY_BYTES - size, "%s%" PRIu64 "%s",
                                 i > 0 ? "," : " ", members[i].id, members[i].is_voter ? "" : "-");
    return size;
}

static void say_who_is_behind(struct cluster *cluster, size_t group)
{
    char text[CHECKER_WHY_BYTES] = "";
    size_t size = 0;

    for (size_t i = 0; i < cluster->node_count; i++) {
        const struct node *node = &cluster->nodes[i];
        const struct replica *replica = &node->replicas[group];

        if (replica->group == NULL || size + 1 >= sizeof(text))
            continue;
        size += (size_t)snprintf(
            text + size, sizeof(text) - size,
            " %" PRIu64 ":%c%s term %" PRIu64 " applied %" PRIu64 "/%" PRIu64 " of", node->id,
            "FCL"[group_role(replica->group)], group_has_vote(replica->group) ? "" : "!",
            group_term(replica->group), replica->machine.applied, group_last(replica->group));
        size = put_members(replica->group, text, size);
    }
    checker_fail(&cluster->checker,
                 "no agreement 10 s after the faults, group %zu, acked %" PRIu64 ":%s", group,
                 cluster->checker.groups[group].acked_max, text);
}

static void converge(struct cluster *cluster)
{
    uint64_t end = sim_now_us(cluster->sim) + HEALING_US;
    size_t group = 0;

    for (size_t g = 0; g < cluster->options->groups; g++)
        cluster->healed_at[g] = cluster->checker.groups[g].acked_max;
    while (!cluster->checker.is_failed && group < cluster->options->groups) {
        struct node *leader = consensus_leader(cluster, group, true);

        if (has_converged(cluster, group)) {
            group++;
            continue;
        }
        if (sim_now_us(cluster->sim) >= end) {
            say_who_is_behind(cluster, group);
            return;
        }
        if (leader != NULL && cluster->checker.groups[group].acked_max <= cluster->healed_at[group])
            consensus_command(leader, group);
        run_until(cluster, sim_now_us(cluster->sim) + 50 * MILLISECOND);
    }
}

/* With all well and commands coming in all the time, acknowledgements come all the time. */
static void load(struct cluster *cluster)
{
    for (uint32_t i = 0; i < LOAD_MS && !cluster->checker.is_failed; i++) {
        for (size_t g = 0; g < cluster->options->groups; g++) {
            struct node *leader = consensus_leader(cluster, g, true);
            uint64_t acked = cluster->checker.groups[g].acked_count;

            if (i == LOAD_MS / 2)
                cluster->healed_at[g] = acked;
            if (leader != NULL)
                consensus_command(leader, g);
            if (i == LOAD_MS - 1 && acked == cluster->healed_at[g])
                checker_fail(&cluster->checker,
                             "group %zu acknowledges nothing while it is under load", g);
        }
        run_until(cluster, sim_now_us(cluster->sim) + MILLISECOND);
    }
}

/* ---- a run ---- */

static void cluster_open(struct cluster *cluster, const struct consensus_options *options,
                         uint64_t seed)
{
    struct sim_options world = sim_options_default(seed);

    *cluster = (struct cluster){.options = options};
    rng_init(&cluster->rng, seed ^ 0x5eedu << 20);
    arena_init(&cluster->arena);
    checker_init(&cluster->checker, options->groups);
    cluster->healed_at = check_calloc(options->groups, sizeof(*cluster->healed_at));
    consensus_faults_plan(cluster);
    world.verbose = options->verbose;
    world.latency = cluster->plan.latency;
    world.sync = cluster->plan.sync;
    world.durable = (struct sim_range){100, cluster->plan.sync.max_us * 2 + 1000};
    world.heartbeat_timeout_us = (uint64_t)cluster->plan.election_ms * 2 * MILLISECOND;
    world.sync_lies = options->plant == CONSENSUS_PLANT_SYNC_LIES;
    world.durable_lies = options->plant == CONSENSUS_PLANT_DURABLE_LIES;
    cluster->sim = sim_new(&world);
    consensus_nodes_init(cluster);
    consensus_clients_start(cluster);
    consensus_faults_start(cluster);
    sim_after(cluster->sim, 0, watch, cluster);
}

static void cluster_close(struct cluster *cluster)
{
    consensus_nodes_close(cluster);
    sim_free(cluster->sim);
    checker_close(&cluster->checker);
    arena_close(&cluster->arena);
    free(cluster->healed_at);
}

void consensus_run(const struct consensus_options *options, uint64_t seed,
                   struct seed_result *result)
{
    struct cluster cluster;

    cluster_open(&cluster, options, seed);
    run_until(&cluster, (uint64_t)options->ms * MILLISECOND);
    if (!cluster.checker.is_failed) {
        consensus_faults_end(&cluster);
        converge(&cluster);
        load(&cluster);
    }
    for (size_t g = 0; g < options->groups; g++)
        cluster.facts[CONSENSUS_FACT_LEADERS] += cluster.checker.groups[g].leaders.count;
    result->trace_hash = sim_trace_hash(cluster.sim);
    result->events = sim_event_count(cluster.sim);
    result->is_failed = cluster.checker.is_failed;
    (void)snprintf(result->why, sizeof(result->why), "%s", cluster.checker.why);
    consensus_say(&cluster, "%s", cluster.checker.is_failed ? cluster.checker.why : "ok");
    cluster_close(&cluster);
    for (size_t i = 0; i < CONSENSUS_FACT_COUNT; i++)
        result->facts[i] = cluster.facts[i];
}
