/* Faults: each kind a function that does one of them now and, where it passes, undoes it later. */

#include "tests/sim/consensus_impl.h"

#include "proto/base/check.h"

#include <inttypes.h>
#include <stdio.h>

/* ---- whom it meets ---- */

static struct node *random_node(struct cluster *cluster)
{
    return &cluster->nodes[rng_below(&cluster->rng, cluster->node_count)];
}

static size_t random_group(struct cluster *cluster)
{
    return (size_t)rng_below(&cluster->rng, cluster->options->groups);
}

/* Leaders are where it hurts. */
static struct node *victim(struct cluster *cluster)
{
    struct node *leader = consensus_chance(cluster, 50)
                              ? consensus_leader(cluster, random_group(cluster), false)
                              : NULL;

    return leader != NULL ? leader : random_node(cluster);
}

static uint64_t random_ms(struct cluster *cluster, uint64_t min, uint64_t max)
{
    return consensus_draw(cluster, min, max) * MILLISECOND;
}

/* ---- later ---- */

struct undo {
    struct cluster *cluster;
    uint64_t from;
    uint64_t to;
    uint64_t life;
};

static void undo_later(struct cluster *cluster, uint64_t delay, void (*action)(void *),
                       uint64_t from, uint64_t to)
{
    struct undo *undo = arena_alloc(&cluster->arena, sizeof(*undo));

    *undo =
        (struct undo){cluster, from, to,
                      from > 0 && from <= cluster->node_count ? cluster->nodes[from - 1].life : 0};
    sim_after(cluster->sim, delay, action, undo);
}

/* ---- crashes ---- */

static unsigned crash_mode(struct cluster *cluster)
{
    static const unsigned modes[] = {SIM_CRASH_KILL, SIM_CRASH_LOSE, SIM_CRASH_TEAR};
    unsigned how = modes[rng_below(&cluster->rng, ARRAY_COUNT(modes))];

    if ((cluster->plan.crash_modes & 1u << how) == 0)
        how = SIM_CRASH_KILL;
    if (how == SIM_CRASH_TEAR)
        cluster->facts[CONSENSUS_FACT_TORN]++;
    if (how != SIM_CRASH_KILL && consensus_chance(cluster, 25))
        how |= SIM_CRASH_SILENT;
    return how;
}

static void crash(struct node *node)
{
    if (node->host == NULL)
        return;
    node->cluster->facts[CONSENSUS_FACT_CRASHES]++;
    consensus_node_crash(node, crash_mode(node->cluster));
}

static void fault_crash(struct cluster *cluster)
{
    struct node *node = victim(cluster);

    crash(node);
    consensus_node_start_later(node, random_ms(cluster, 5, 1500));
}

static void fault_restart_all(struct cluster *cluster)
{
    unsigned how = crash_mode(cluster);

    consensus_say(cluster, "all nodes crash");
    cluster->facts[CONSENSUS_FACT_RESTARTS_ALL]++;
    for (size_t i = 0; i < cluster->node_count; i++) {
        consensus_node_crash(&cluster->nodes[i], how);
        consensus_node_start_later(&cluster->nodes[i], random_ms(cluster, 5, 800));
    }
}

static void on_drained(void *user)
{
    struct cluster *cluster = user;

    cluster->facts[CONSENSUS_FACT_DRAINED]++;
}

static void drain_ends(void *user)
{
    const struct undo *undo = user;
    struct cluster *cluster = undo->cluster;
    struct node *node = &cluster->nodes[undo->from - 1];

    if (cluster->is_healing || node->life != undo->life)
        return;
    consensus_node_crash(node, SIM_CRASH_KILL);
    consensus_node_start_later(node, random_ms(cluster, 5, 300));
}

static void fault_drain(struct cluster *cluster)
{
    struct node *node = victim(cluster);

    if (!consensus_node_runs(node) || node->draining_life == node->life)
        return;
    consensus_say(cluster, "node %" PRIu64 " is drained", node->id);
    node->draining_life = node->life;
    host_drain(node->host, cluster, on_drained);
    undo_later(cluster, (uint64_t)cluster->plan.election_ms * 3 * MILLISECOND, drain_ends, node->id,
               0);
}

/* ---- disks that lose something ---- */

static void fault_wipe(struct cluster *cluster)
{
    struct node *node = random_node(cluster);

    if (!consensus_may_weaken(cluster, node))
        return;
    consensus_node_crash(node, SIM_CRASH_KILL);
    consensus_say(cluster, "node %" PRIu64 " loses its disk", node->id);
    cluster->facts[CONSENSUS_FACT_WIPES]++;
    consensus_node_weaken(node);
    for (size_t g = 0; g < cluster->options->groups; g++)
        node->replicas[g].is_born_with = false;
    sim_disk_wipe(cluster->sim, node->id);
    consensus_node_start_later(node, random_ms(cluster, 5, 1500));
}

struct file_choice {
    struct cluster *cluster;
    uint64_t count;
    char path[128];
    uint64_t bytes;
};

static void on_file(void *user, const char *path, uint64_t bytes)
{
    struct file_choice *choice = user;

    if (bytes == 0 || rng_below(&choice->cluster->rng, ++choice->count) != 0)
        return;
    (void)snprintf(choice->path, sizeof(choice->path), "%s", path);
    choice->bytes = bytes;
}

/* A place that is written, and not by the last few syncs: whether those were confirmed to anyone,
 * no log can know. UINT64_MAX if a few throws find none. */
static uint64_t damage_offset(struct cluster *cluster, uint64_t id, const struct file_choice *file)
{
    struct slice content = {0};

    if (sim_disk_content(cluster->sim, id, file->path, &content) != OK)
        return UINT64_MAX;
    for (int i = 0; i < 100; i++) {
        uint64_t offset = rng_below(&cluster->rng, file->bytes);

        if (content.data[offset] != 0 && sim_disk_is_settled(cluster->sim, id, file->path, offset))
            return offset;
    }
    return UINT64_MAX;
}

/* May everything from here to the end be cut off? */
static bool is_settled_from(struct cluster *cluster, uint64_t id, const struct file_choice *file,
                            uint64_t offset)
{
    for (; offset < file->bytes; offset += 512)
        if (!sim_disk_is_settled(cluster->sim, id, file->path, offset))
            return false;
    return true;
}

static void damage_file(struct cluster *cluster, struct node *node)
{
    struct file_choice file = {.cluster = cluster};
    const char *how = "a flipped bit";
    uint64_t offset;
    enum error rc;

    sim_disk_each_file(cluster->sim, node->id, &file, on_file);
    offset = file.count > 0 ? damage_offset(cluster, node->id, &file) : UINT64_MAX;
    if (offset == UINT64_MAX)
        return;
    if (consensus_chance(cluster, 70)) {
        rc = sim_disk_flip(cluster->sim, node->id, file.path, offset);
    } else if (is_settled_from(cluster, node->id, &file, offset)) {
        how = "its end cut off";
        rc = sim_disk_truncate(cluster->sim, node->id, file.path, offset);
    } else {
        how = "a bad sector";
        rc = sim_disk_bad_sector(cluster->sim, node->id, file.path, offset);
    }
    CHECK(rc == OK);
    consensus_say(cluster, "node %" PRIu64 " has in %s %s at %" PRIu64, node->id, file.path, how,
                  offset);
    cluster->facts[CONSENSUS_FACT_FLIPS]++;
}

static void fault_flip(struct cluster *cluster)
{
    struct node *node = random_node(cluster);

    if (!consensus_may_weaken(cluster, node))
        return;
    consensus_node_crash(node, SIM_CRASH_KILL);
    consensus_node_weaken(node);
    for (uint64_t count = consensus_draw(cluster, 1, 3); count > 0; count--)
        damage_file(cluster, node);
    consensus_node_start_later(node, random_ms(cluster, 5, 1500));
}

static void fault_spoil(struct cluster *cluster)
{
    struct node *node = random_node(cluster);
    size_t group = random_group(cluster);
    char path[MACHINE_PATH_BYTES];

    if (!consensus_may_weaken(cluster, node))
        return;
    consensus_node_crash(node, SIM_CRASH_KILL);
    (void)snprintf(path, sizeof(path), "state/%zu", group);
    if (sim_disk_spoil_store(cluster->sim, node->id, path) == OK) {
        consensus_say(cluster, "node %" PRIu64 " has %s spoiled", node->id, path);
        cluster->facts[CONSENSUS_FACT_SPOILED]++;
        consensus_node_weaken(node);
    }
    consensus_node_start_later(node, random_ms(cluster, 5, 500));
}

/* ---- disks that are slow, full or fail ---- */

static void disk_is_quick(void *user)
{
    const struct undo *undo = user;

    sim_disk_speed(undo->cluster->sim, undo->from, undo->cluster->plan.sync);
}

static void fault_slow_disk(struct cluster *cluster)
{
    struct node *node = victim(cluster);
    uint64_t max = random_ms(cluster, 5, 200);

    consensus_say(cluster, "node %" PRIu64 " has a slow disk", node->id);
    sim_disk_speed(cluster->sim, node->id, (struct sim_range){MILLISECOND, max});
    undo_later(cluster, random_ms(cluster, 100, 3000), disk_is_quick, node->id, 0);
}

static void fault_disk_error(struct cluster *cluster)
{
    struct node *node = victim(cluster);

    sim_disk_fail_call(cluster->sim, node->id, consensus_draw(cluster, 1, 300));
}

static void disk_has_room(void *user)
{
    const struct undo *undo = user;

    sim_disk_space(undo->cluster->sim, undo->from, UINT64_MAX);
}

static void fault_disk_full(struct cluster *cluster)
{
    struct node *node = victim(cluster);

    consensus_say(cluster, "node %" PRIu64 " has a full disk soon", node->id);
    sim_disk_space(cluster->sim, node->id, consensus_draw(cluster, 0, 100000));
    undo_later(cluster, random_ms(cluster, 300, 3000), disk_has_room, node->id, 0);
}

/* ---- links ---- */

static void way_heals(void *user)
{
    const struct undo *undo = user;

    sim_link_heal(undo->cluster->sim, undo->from, undo->to);
}

static void cut(struct cluster *cluster, uint64_t from, uint64_t to, uint64_t us)
{
    sim_link_cut(cluster->sim, from, to);
    undo_later(cluster, us, way_heals, from, to);
}

static void fault_isolate(struct cluster *cluster)
{
    struct node *node = victim(cluster);
    uint64_t us = random_ms(cluster, 50, 2500);

    consensus_say(cluster, "node %" PRIu64 " is cut off", node->id);
    cluster->facts[CONSENSUS_FACT_CUTS]++;
    for (uint64_t peer = 1; peer <= cluster->node_count; peer++) {
        if (peer == node->id)
            continue;
        cut(cluster, node->id, peer, us);
        cut(cluster, peer, node->id, us);
    }
}

static void fault_partition(struct cluster *cluster)
{
    uint64_t us = random_ms(cluster, 50, 2500);
    uint64_t side = rng_next(&cluster->rng);

    consensus_say(cluster, "two halves");
    cluster->facts[CONSENSUS_FACT_CUTS]++;
    for (uint64_t a = 1; a <= cluster->node_count; a++)
        for (uint64_t b = 1; b <= cluster->node_count; b++)
            if ((side >> a & 1) != (side >> b & 1))
                cut(cluster, a, b, us);
}

static void fault_one_way(struct cluster *cluster)
{
    struct node *node = victim(cluster);
    struct node *other = random_node(cluster);

    if (node == other)
        return;
    consensus_say(cluster, "nothing from %" PRIu64 " to %" PRIu64, node->id, other->id);
    cluster->facts[CONSENSUS_FACT_CUTS]++;
    cut(cluster, node->id, other->id, random_ms(cluster, 50, 2500));
}

static void way_loses_nothing(void *user)
{
    const struct undo *undo = user;

    sim_link_loss(undo->cluster->sim, undo->from, undo->to, 0);
}

static void swallow(struct cluster *cluster, uint64_t from, uint64_t to, uint64_t us)
{
    sim_link_loss(cluster->sim, from, to, 1000000);
    undo_later(cluster, us, way_loses_nothing, from, to);
}

/* Messages vanish though both ends believe the link is up. */
static void black_hole(struct node *node, uint64_t us)
{
    static const char *const words[] = {"dumb", "deaf", "dumb and deaf"};
    struct cluster *cluster = node->cluster;
    uint64_t kind = rng_below(&cluster->rng, ARRAY_COUNT(words));

    consensus_say(cluster, "node %" PRIu64 " is %s", node->id, words[kind]);
    for (uint64_t peer = 1; peer <= cluster->node_count; peer++) {
        if (peer == node->id || consensus_chance(cluster, 15))
            continue;
        if (kind != 1)
            swallow(cluster, node->id, peer, us);
        if (kind != 0)
            swallow(cluster, peer, node->id, us);
    }
}

static void fault_black_hole(struct cluster *cluster)
{
    black_hole(victim(cluster), random_ms(cluster, 50, 2500));
}

static void fault_loss(struct cluster *cluster)
{
    uint64_t us = random_ms(cluster, 100, 4000);
    uint32_t parts = (uint32_t)consensus_draw(cluster, 5000, 300000);

    consensus_say(cluster, "links lose %u in a million", parts);
    for (uint64_t a = 1; a <= cluster->node_count; a++) {
        for (uint64_t b = 1; b <= cluster->node_count; b++) {
            if (a == b || consensus_chance(cluster, 50))
                continue;
            sim_link_loss(cluster->sim, a, b, parts);
            undo_later(cluster, us, way_loses_nothing, a, b);
        }
    }
}

static void way_is_quick(void *user)
{
    const struct undo *undo = user;

    sim_link_latency(undo->cluster->sim, undo->from, undo->to, undo->cluster->plan.latency);
}

static void fault_slow_links(struct cluster *cluster)
{
    struct node *node = victim(cluster);
    uint64_t max = random_ms(cluster, 10, 300);
    uint64_t us = random_ms(cluster, 100, 4000);

    consensus_say(cluster, "node %" PRIu64 " has slow links", node->id);
    for (uint64_t peer = 1; peer <= cluster->node_count; peer++) {
        if (peer == node->id)
            continue;
        sim_link_latency(cluster->sim, node->id, peer, (struct sim_range){MILLISECOND, max});
        undo_later(cluster, us, way_is_quick, node->id, peer);
        if (consensus_chance(cluster, 50))
            continue;
        sim_link_latency(cluster->sim, peer, node->id, (struct sim_range){MILLISECOND, max});
        undo_later(cluster, us, way_is_quick, peer, node->id);
    }
}

static void fault_reset(struct cluster *cluster)
{
    struct node *node = victim(cluster);

    consensus_say(cluster, "links of node %" PRIu64 " are reset", node->id);
    for (uint64_t peer = 1; peer <= cluster->node_count; peer++)
        if (peer != node->id && consensus_chance(cluster, 70))
            sim_link_reset(cluster->sim, node->id, peer);
}

/* ---- pauses ---- */

static void pause_ends(void *user)
{
    const struct undo *undo = user;

    if (sim_is_alive(undo->cluster->sim, undo->from))
        sim_resume(undo->cluster->sim, undo->from);
}

static void fault_pause(struct cluster *cluster)
{
    struct node *node = victim(cluster);

    if (!consensus_node_runs(node))
        return;
    consensus_say(cluster, "node %" PRIu64 " is paused", node->id);
    cluster->facts[CONSENSUS_FACT_PAUSES]++;
    sim_pause(cluster->sim, node->id);
    undo_later(cluster, random_ms(cluster, 20, 3000), pause_ends, node->id, 0);
}

/* ---- new leaders ---- */

static void strike(void *user)
{
    const struct undo *undo = user;
    struct cluster *cluster = undo->cluster;
    struct node *node = &cluster->nodes[undo->from - 1];

    if (cluster->is_healing || node->life != undo->life || !consensus_node_runs(node))
        return;
    switch (rng_below(&cluster->rng, 3)) {
    case 0:
        cluster->facts[CONSENSUS_FACT_CRASHES]++;
        consensus_node_crash(node, SIM_CRASH_LOSE | SIM_CRASH_SILENT);
        consensus_node_start_later(node, random_ms(cluster, 5, 1000));
        break;
    default:
        black_hole(node, random_ms(cluster, 50, 1500));
        break;
    }
}

static void strike_soon(struct node *node)
{
    struct cluster *cluster = node->cluster;

    if (!cluster->is_healing && consensus_chance(cluster, cluster->plan.strike_percent))
        undo_later(cluster, consensus_draw(cluster, 0, cluster->plan.strike_us_max), strike,
                   node->id, 0);
}

/* The first moments of a term are where an old tail and a new one meet. */
void consensus_faults_on_leader(struct node *node)
{
    strike_soon(node);
}

/* ---- membership and leadership ---- */

static void on_changed(struct group_change *change, enum error rc)
{
    struct operation *operation = container_of(change, struct operation, change);
    struct cluster *cluster = operation->node->cluster;
    enum consensus_fact fact = operation->change_fact;
    uint64_t target = operation->id;
    size_t group = operation->group;

    consensus_say(cluster, "%s, of %" PRIu64 " in group %zu: %s", consensus_fact_text(fact), target,
                  group, error_name(rc));
    consensus_operation_free(operation);
    if (rc != OK)
        return;
    cluster->facts[fact]++;
    if (fact == CONSENSUS_FACT_REMOVED) /* as whoever keeps the placement would tell its node */
        cluster->nodes[target - 1].replicas[group].is_unwanted = true;
}

static struct operation *change_new(struct node *leader, size_t group, enum consensus_fact fact,
                                    uint64_t target)
{
    struct operation *operation = consensus_operation_new(leader, group, OPERATION_CHANGE);

    strike_soon(leader);

    operation->change_fact = fact;
    operation->id = target;
    consensus_say(leader->cluster, "asked of node %" PRIu64 ", group %zu: %s, of %" PRIu64,
                  leader->id, group, consensus_fact_text(fact), target);
    return operation;
}

static bool is_member(const struct group_member *members, size_t count, uint64_t id)
{
    for (size_t i = 0; i < count; i++)
        if (members[i].id == id)
            return true;
    return false;
}

static size_t voter_count(const struct group_member *members, size_t count)
{
    size_t voters = 0;

    for (size_t i = 0; i < count; i++)
        voters += members[i].is_voter;
    return voters;
}

static void fault_add(struct cluster *cluster)
{
    size_t group = random_group(cluster);
    struct node *leader = consensus_leader(cluster, group, true);
    struct node *node = random_node(cluster);
    struct group_member members[GROUP_MEMBERS_MAX];
    size_t count;

    if (leader == NULL || !consensus_node_runs(node))
        return;
    count = group_members(leader->replicas[group].group, members);
    if (count > cluster->options->nodes || is_member(members, count, node->id))
        return;
    node->replicas[group].is_unwanted = false;
    if (!node->replicas[group].is_hosted)
        consensus_replica_start(node, group);
    if (!consensus_node_runs(leader))
        return;
    group_add(leader->replicas[group].group,
              &change_new(leader, group, CONSENSUS_FACT_ADDED, node->id)->change, node->id,
              on_changed);
}

static void fault_remove(struct cluster *cluster)
{
    size_t group = random_group(cluster);
    struct node *leader = consensus_leader(cluster, group, true);
    struct group_member members[GROUP_MEMBERS_MAX];
    size_t count;
    uint64_t id;

    if (leader == NULL)
        return;
    count = group_members(leader->replicas[group].group, members);
    if (voter_count(members, count) <= cluster->options->nodes)
        return;
    id = members[rng_below(&cluster->rng, count)].id;
    if (id == leader->id && consensus_chance(cluster, 70))
        return;
    group_remove(leader->replicas[group].group,
                 &change_new(leader, group, CONSENSUS_FACT_REMOVED, id)->change, id, on_changed);
}

static void fault_transfer(struct cluster *cluster)
{
    size_t group = random_group(cluster);
    struct node *leader = consensus_leader(cluster, group, true);
    uint64_t id = 0;

    if (leader == NULL)
        return;
    if (consensus_chance(cluster, 50))
        id = random_node(cluster)->id;
    group_transfer(leader->replicas[group].group,
                   &change_new(leader, group, CONSENSUS_FACT_TRANSFERRED, id)->change, id,
                   on_changed);
}

/* ---- the plan ---- */

static const struct fault {
    const char *name;
    void (*act)(struct cluster *cluster);
    uint32_t weight;
    bool makes_tails; /* part of that profile too */
} faults[] = {
    {"crash", fault_crash, 30, true},
    {"restart-all", fault_restart_all, 3, false},
    {"drain", fault_drain, 4, false},
    {"wipe", fault_wipe, 4, false},
    {"flip", fault_flip, 6, false},
    {"spoil", fault_spoil, 3, false},
    {"slow-disk", fault_slow_disk, 12, true},
    {"disk-error", fault_disk_error, 5, false},
    {"disk-full", fault_disk_full, 3, false},
    {"isolate", fault_isolate, 20, true},
    {"partition", fault_partition, 10, true},
    {"one-way", fault_one_way, 15, true},
    {"black-hole", fault_black_hole, 15, true},
    {"loss", fault_loss, 6, false},
    {"slow-links", fault_slow_links, 8, true},
    {"reset", fault_reset, 6, false},
    {"pause", fault_pause, 10, true},
    {"add", fault_add, 12, false},
    {"remove", fault_remove, 12, false},
    {"transfer", fault_transfer, 8, true},
};

uint32_t consensus_fault_bit(const char *name)
{
    for (size_t i = 0; i < ARRAY_COUNT(faults); i++)
        if (strcmp(faults[i].name, name) == 0)
            return 1u << i;
    return 0;
}

_Static_assert(ARRAY_COUNT(faults) <= ARRAY_COUNT(((struct plan *)NULL)->weights), "too many");

/* Leaders that fall as soon as they rise, on slow disks, with many commands under way: tails of
 * entries that nobody committed, of every length, on every node. */
static void plan_tails(struct cluster *cluster)
{
    struct plan *plan = &cluster->plan;

    plan->snapshot_entries = plan->trailing_entries = 1u << 20;
    plan->heartbeat_ms = (uint32_t)consensus_draw(cluster, 20, 60);
    plan->election_ms = plan->heartbeat_ms * (uint32_t)consensus_draw(cluster, 3, 6);
    plan->append_bytes = consensus_draw(cluster, 100, 5000);
    plan->latency = (struct sim_range){200, consensus_draw(cluster, 2, 25) * MILLISECOND};
    plan->sync = (struct sim_range){200, consensus_draw(cluster, 2, 80) * MILLISECOND};
    plan->fault_every = (struct sim_range){50 * MILLISECOND, 800 * MILLISECOND};
    plan->command_every = (struct sim_range){2 * MILLISECOND, 30 * MILLISECOND};
    plan->burst_max = (uint32_t)consensus_draw(cluster, 2, 100);
    plan->crash_modes = 1u << SIM_CRASH_LOSE;
    plan->strike_percent = (uint32_t)consensus_draw(cluster, 30, 90);
    plan->strike_us_max = consensus_draw(cluster, 5, 150) * MILLISECOND;
    for (size_t i = 0; i < ARRAY_COUNT(faults); i++)
        plan->weights[i] = faults[i].makes_tails ? faults[i].weight : 0;
}

static void plan_stalls(struct cluster *cluster)
{
    struct plan *plan = &cluster->plan;

    plan_tails(cluster);
    plan->heartbeat_ms = (uint32_t)consensus_draw(cluster, 10, 40);
    plan->election_ms = plan->heartbeat_ms * (uint32_t)consensus_draw(cluster, 3, 5);
    plan->latency = (struct sim_range){200, consensus_draw(cluster, 2, 40) * MILLISECOND};
    plan->sync = (struct sim_range){200, consensus_draw(cluster, 50, 400) * MILLISECOND};
    plan->strike_us_max = consensus_draw(cluster, 20, 400) * MILLISECOND;
    plan->fault_every = (struct sim_range){50 * MILLISECOND, 1500 * MILLISECOND};
    plan->strike_percent /= 2;
    for (size_t i = 0; i < ARRAY_COUNT(faults); i++)
        if (faults[i].act == fault_add || faults[i].act == fault_remove)
            plan->weights[i] = 60; /* members change too */
}

/* Who is left must get on without the others: their terms and logs can be further apart than those
 * of a group in which everybody is back. */
static void plan_quorum(struct cluster *cluster)
{
    plan_tails(cluster);
    cluster->plan.gone = (cluster->options->nodes - 1) / 2;
}

void consensus_faults_plan(struct cluster *cluster)
{
    struct plan *plan = &cluster->plan;

    *plan = (struct plan){
        .heartbeat_ms = (uint32_t)consensus_draw(cluster, 30, 100),
        .snapshot_entries = (uint32_t)consensus_draw(cluster, 10, 400),
        .segment_bytes = consensus_draw(cluster, 1, 16) * 32768,
        .append_bytes = 1u << consensus_draw(cluster, 7, 20),
        .latency = {100, consensus_draw(cluster, 1, 20) * MILLISECOND},
        .sync = {50, consensus_draw(cluster, 1, 40) * MILLISECOND},
        .fault_every = {20 * MILLISECOND, consensus_draw(cluster, 100, 1500) * MILLISECOND},
        .command_every = {1 * MILLISECOND, consensus_draw(cluster, 5, 60) * MILLISECOND},
        .burst_max = (uint32_t)consensus_draw(cluster, 2, 60),
        .read_percent = (uint32_t)consensus_draw(cluster, 0, 40),
        .strike_percent = (uint32_t)consensus_draw(cluster, 0, 1) * 30,
        .strike_us_max = consensus_draw(cluster, 5, 300) * MILLISECOND,
        .crash_modes = (unsigned)consensus_draw(cluster, 0, 7),
        .command_bytes_max = consensus_draw(cluster, 0, 300),
    };
    plan->election_ms = plan->heartbeat_ms * (uint32_t)consensus_draw(cluster, 4, 10);
    plan->trailing_entries = (uint32_t)consensus_draw(cluster, 0, plan->snapshot_entries);
    for (size_t i = 0; i < ARRAY_COUNT(faults); i++)
        plan->weights[i] = consensus_chance(cluster, 50) ? faults[i].weight : 0;
    if (cluster->options->profile == CONSENSUS_TAILS)
        plan_tails(cluster);
    if (cluster->options->profile == CONSENSUS_STALLS)
        plan_stalls(cluster);
    if (cluster->options->profile == CONSENSUS_QUORUM)
        plan_quorum(cluster);
    for (size_t i = 0; i < ARRAY_COUNT(faults); i++)
        if ((cluster->options->without & 1u << i) != 0)
            plan->weights[i] = 0;
}

static void fault_act(void *user)
{
    struct cluster *cluster = user;
    const struct plan *plan = &cluster->plan;
    uint64_t sum = 0;
    uint64_t draw;

    if (cluster->is_healing)
        return;
    for (size_t i = 0; i < ARRAY_COUNT(faults); i++)
        sum += plan->weights[i];
    if (sum == 0)
        return;
    draw = rng_below(&cluster->rng, sum);
    for (size_t i = 0; i < ARRAY_COUNT(faults); i++) {
        if (draw < plan->weights[i]) {
            faults[i].act(cluster);
            break;
        }
        draw -= plan->weights[i];
    }
    sim_after(cluster->sim,
              consensus_draw(cluster, plan->fault_every.min_us, plan->fault_every.max_us),
              fault_act, cluster);
}

void consensus_faults_start(struct cluster *cluster)
{
    sim_after(cluster->sim, SECOND, fault_act, cluster); /* a moment of peace at birth */
}

static void lose_nodes(struct cluster *cluster)
{
    for (uint32_t count = 0; count < cluster->plan.gone;) {
        struct node *node = &cluster->nodes[rng_below(&cluster->rng, cluster->options->nodes)];

        if (node->is_gone)
            continue;
        consensus_node_crash(node, SIM_CRASH_KILL);
        consensus_say(cluster, "node %" PRIu64 " stays down", node->id);
        node->is_gone = true;
        count++;
    }
}

/* Disks and links as an operator would want them for these election time-outs. */
static struct sim_range at_most(struct sim_range range, uint64_t us)
{
    return (struct sim_range){range.min_us, range.max_us < us ? range.max_us : us};
}

void consensus_faults_end(struct cluster *cluster)
{
    uint64_t quick_us = (uint64_t)cluster->plan.election_ms * MILLISECOND / 8;

    consensus_say(cluster, "all is healed");
    cluster->is_healing = true;
    cluster->plan.sync = at_most(cluster->plan.sync, quick_us);
    cluster->plan.latency = at_most(cluster->plan.latency, quick_us);
    sim_link_heal_all(cluster->sim);
    lose_nodes(cluster);
    for (size_t i = 0; i < cluster->node_count; i++) {
        struct node *node = &cluster->nodes[i];

        sim_disk_fail_call(cluster->sim, node->id, 0);
        sim_disk_space(cluster->sim, node->id, UINT64_MAX);
        sim_disk_speed(cluster->sim, node->id, cluster->plan.sync);
        for (uint64_t peer = 1; peer <= cluster->node_count; peer++)
            if (peer != node->id)
                sim_link_latency(cluster->sim, node->id, peer, cluster->plan.latency);
        if (sim_is_alive(cluster->sim, node->id))
            sim_resume(cluster->sim, node->id);
        if (node->draining_life == node->life) /* it would lead no more */
            consensus_node_crash(node, SIM_CRASH_KILL);
        consensus_node_start(node);
    }
}
