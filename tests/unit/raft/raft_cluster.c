#include "tests/unit/raft/raft_cluster.h"

#include "proto/base/check.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#define MILLISECOND 1000u
#define KEY SLICE_LITERAL("state")

/* ---- the state machine ---- */

static uint64_t mix(uint64_t hash, struct slice bytes, uint64_t index)
{
    hash = (hash ^ index) * 0x9e3779b97f4a7c15u;
    for (size_t i = 0; i < bytes.size; i++)
        hash = (hash ^ bytes.data[i]) * 0x100000001b3u;
    return hash | 1;
}

static void store(struct machine *machine)
{
    struct env *env = machine->node->env;
    uint64_t state[2] = {machine->applied, machine->hash};
    const struct kv_write write = {.key = KEY, .value = slice_of(state, sizeof(state))};

    (void)!env->kv->write(env, machine->kv, &write, 1);
}

static uint64_t machine_applied(void *user)
{
    return ((struct machine *)user)->applied;
}

static void check_hash(struct machine *machine)
{
    uint64_t *seen = &machine->node->cluster->hashes[machine->group][machine->applied];

    assert_in_range(machine->applied, 1, CLUSTER_INDEX_MAX - 1);
    if (*seen == 0)
        *seen = machine->hash;
    if (*seen != machine->hash)
        fail_msg("node %u group %u differs at index %u", (unsigned)machine->node->id,
                 (unsigned)machine->group, (unsigned)machine->applied);
}

static void machine_apply(void *user, uint64_t index, uint64_t term, struct slice entry)
{
    struct machine *machine = user;

    assert_true(index > machine->applied);
    assert_true(term > 0);
    machine->applies++;
    machine->applied = index;
    machine->hash = mix(machine->hash, entry, index);
    check_hash(machine);
    store(machine);
}

static void machine_make_durable(void *user, struct env_disk_op *op, env_disk_cb cb)
{
    struct machine *machine = user;
    struct env *env = machine->node->env;

    env->kv->make_durable(env, machine->kv, op, cb);
}

struct pin {
    uint64_t state[2];
};

static void *machine_pin(void *user)
{
    struct machine *machine = user;
    struct pin *pin = check_calloc(1, sizeof(*pin));

    pin->state[0] = machine->applied;
    pin->state[1] = machine->hash;
    return pin;
}

static enum error machine_read(void *user, void *pin, struct buffer *position, size_t chunk_bytes,
                               struct buffer *chunk, bool *is_last)
{
    struct machine *machine = user;
    uint8_t number = position->size > 0 ? position->data[0] : 0;

    assert_true(chunk_bytes >= 1024);
    buffer_put(chunk, ((struct pin *)pin)->state, sizeof(struct pin));
    for (size_t i = 0; i < 1000; i++)
        buffer_put_u8(chunk, number);
    number++;
    buffer_clear(position);
    buffer_put_u8(position, number);
    *is_last = number >= machine->node->cluster->snapshot_chunks;
    return OK;
}

static void machine_unpin(void *user, void *pin)
{
    (void)user;
    free(pin);
}

static enum error machine_begin(void *user)
{
    struct machine *machine = user;

    machine->staged_applied = 0;
    machine->staged_bytes = 0;
    return OK;
}

static enum error machine_chunk(void *user, struct slice chunk)
{
    struct machine *machine = user;
    struct pin pin;

    assert_int_equal(chunk.size, sizeof(pin) + 1000);
    memcpy(&pin, chunk.data, sizeof(pin));
    assert_int_equal(chunk.data[sizeof(pin)], machine->staged_bytes / chunk.size); /* in order */
    machine->staged_bytes += chunk.size;
    machine->staged_applied = pin.state[0];
    machine->staged_hash = pin.state[1];
    return OK;
}

static enum error machine_install(void *user, uint64_t index)
{
    struct machine *machine = user;

    assert_int_equal(machine->staged_bytes / (sizeof(struct pin) + 1000),
                     machine->node->cluster->snapshot_chunks);
    assert_true(machine->staged_applied <= index);
    machine->applied = machine->staged_applied;
    machine->hash = machine->staged_hash;
    if (machine->applied > 0)
        check_hash(machine);
    machine->applied = index;
    store(machine);
    return OK;
}

static void machine_on_role(void *user, enum group_role role, uint64_t term, uint64_t leader)
{
    struct machine *machine = user;

    assert_true(term > 0 || role == GROUP_FOLLOWER);
    if (role == GROUP_LEADER)
        assert_true(group_is_leader(machine->handle) || machine->handle == NULL);
    machine->role = role;
    machine->leader = leader;
    machine->leads_since_us = role == GROUP_LEADER ? sim_now_us(machine->node->cluster->sim) : 0;
}

static struct group_machine table_of(struct machine *machine)
{
    return (struct group_machine){
        .user = machine,
        .applied = machine_applied,
        .apply = machine_apply,
        .make_durable = machine_make_durable,
        .snapshot_pin = machine_pin,
        .snapshot_read = machine_read,
        .snapshot_unpin = machine_unpin,
        .snapshot_begin = machine_begin,
        .snapshot_chunk = machine_chunk,
        .snapshot_install = machine_install,
        .on_role = machine_on_role,
    };
}

/* ---- nodes ---- */

static void on_fatal(void *user, enum error rc, const char *why)
{
    struct node *node = user;

    (void)rc;
    (void)why;
    node->fatals++;
}

static void machine_open(struct machine *machine)
{
    struct env *env = machine->node->env;
    struct buffer value = BUFFER_INIT(64);
    char path[32];

    snprintf(path, sizeof(path), "state-%zu", machine->group);
    assert_int_equal(env->kv->open(env, path, &machine->kv), OK);
    if (env->kv->get(env, machine->kv, NULL, KEY, &value) == OK) {
        memcpy(&machine->applied, value.data, 8);
        memcpy(&machine->hash, value.data + 8, 8);
    }
    buffer_close(&value);
}

static void group_open(struct node *node, size_t g, bool is_born)
{
    struct cluster *cluster = node->cluster;
    struct machine *machine = &node->machines[g];
    uint64_t ids[CLUSTER_NODES_MAX];
    struct group_options options = {
        .id = g + 1,
        .born_with = ids,
        .born_with_count = is_born ? cluster->born_count : 0,
    };

    for (size_t i = 0; i < cluster->born_count; i++)
        ids[i] = cluster->born_count - i; /* any order will do */
    *machine = (struct machine){.node = node, .group = g};
    machine_open(machine);
    options.machine = table_of(machine);
    assert_int_equal(host_group_start(node->host, &options, &machine->handle), OK);
}

static void node_open(struct cluster *cluster, uint64_t id, bool is_born)
{
    struct node *node = &cluster->nodes[id - 1];
    struct host_options options = cluster->options;

    assert_null(node->env);
    node->cluster = cluster;
    node->id = id;
    node->fatals = 0;
    node->env = sim_process_start(cluster->sim, id);
    for (uint64_t peer = 1; peer <= cluster->node_count; peer++)
        if (peer != id)
            node->env->link->peer_set(node->env, peer, "tcp://127.0.0.1:1", "");
    options.user = node;
    options.on_fatal = on_fatal;
    assert_int_equal(host_open(node->env, &options, &node->host), OK);
    for (size_t g = 0; g < cluster->group_count; g++)
        group_open(node, g, is_born);
}

void cluster_start(struct cluster *cluster, uint64_t id)
{
    node_open(cluster, id, id <= cluster->born_count);
}

void cluster_start_new(struct cluster *cluster, uint64_t id)
{
    if (id > cluster->node_count)
        cluster->node_count = id;
    for (uint64_t other = 1; other < id; other++) {
        struct env *env = cluster->nodes[other - 1].env;

        if (env != NULL)
            env->link->peer_set(env, id, "tcp://127.0.0.1:1", "");
    }
    node_open(cluster, id, false);
}

static void node_free(struct node *node)
{
    host_free(node->host);
    for (size_t g = 0; g < node->cluster->group_count; g++)
        if (node->machines[g].kv != NULL)
            node->env->kv->close(node->env, node->machines[g].kv);
    memset(node->machines, 0, sizeof(node->machines));
    node->host = NULL;
    node->env = NULL;
}

void cluster_crash(struct cluster *cluster, uint64_t id, unsigned how)
{
    sim_crash(cluster->sim, id, how);
    node_free(&cluster->nodes[id - 1]);
}

/* ---- the cluster ---- */

void cluster_open_with(struct cluster *cluster, uint64_t seed, size_t nodes, size_t groups,
                       const struct host_options *options)
{
    struct sim_options sim = sim_options_default(seed);

    sim.verbose = getenv("VERBOSE") != NULL;
    *cluster = (struct cluster){
        .sim = sim_new(&sim),
        .node_count = nodes,
        .born_count = nodes,
        .group_count = groups,
        .options = *options,
        .snapshot_chunks = 10,
    };
    for (size_t g = 0; g < groups; g++)
        cluster->hashes[g] = check_calloc(CLUSTER_INDEX_MAX, sizeof(uint64_t));
    for (uint64_t id = 1; id <= nodes; id++)
        cluster_start(cluster, id);
}

void cluster_open(struct cluster *cluster, uint64_t seed, size_t nodes)
{
    const struct host_options options = {
        .folder = "journal",
        .snapshot_entries = 64,
        .trailing_entries = 16,
        .segment_bytes = 65536,
    };

    cluster_open_with(cluster, seed, nodes, 1, &options);
}

void cluster_close(struct cluster *cluster)
{
    for (size_t i = 0; i < cluster->node_count; i++)
        if (cluster->nodes[i].env != NULL)
            cluster_crash(cluster, i + 1, SIM_CRASH_KILL);
    sim_free(cluster->sim);
    for (size_t g = 0; g < cluster->group_count; g++)
        free(cluster->hashes[g]);
}

void cluster_run(struct cluster *cluster, uint64_t ms)
{
    sim_run_until(cluster->sim, sim_now_us(cluster->sim) + ms * MILLISECOND);
}

struct machine *cluster_machine(struct cluster *cluster, uint64_t id, size_t g)
{
    return &cluster->nodes[id - 1].machines[g];
}

struct group *cluster_group(struct cluster *cluster, uint64_t id, size_t g)
{
    return cluster_machine(cluster, id, g)->handle;
}

uint64_t cluster_leader(struct cluster *cluster, size_t g)
{
    uint64_t leader = 0;
    uint64_t term = 0;

    for (uint64_t id = 1; id <= cluster->node_count; id++) {
        struct group *group = cluster_group(cluster, id, g);

        if (cluster->nodes[id - 1].env == NULL || group == NULL || !group_is_leader(group) ||
            cluster_machine(cluster, id, g)->role != GROUP_LEADER)
            continue;
        assert_int_not_equal(group_term(group), term);
        if (group_term(group) > term) {
            leader = id;
            term = group_term(group);
        }
    }
    return leader;
}

uint64_t cluster_await_leader(struct cluster *cluster, size_t g)
{
    for (int i = 0; i < 20000; i++) {
        uint64_t leader = cluster_leader(cluster, g);

        if (leader != 0)
            return leader;
        cluster_run(cluster, 1);
    }
    fail_msg("no leader");
    return 0;
}

static bool is_equal(struct cluster *cluster, size_t g)
{
    uint64_t leader = cluster_leader(cluster, g);
    struct machine *ahead;

    if (leader == 0)
        return false;
    ahead = cluster_machine(cluster, leader, g);
    for (uint64_t id = 1; id <= cluster->node_count; id++) {
        struct machine *machine = cluster_machine(cluster, id, g);

        if (cluster->nodes[id - 1].env == NULL || machine->handle == NULL)
            continue;
        if (machine->hash != ahead->hash ||
            group_applied(machine->handle) != group_committed(ahead->handle))
            return false;
    }
    return true;
}

void cluster_await_equal(struct cluster *cluster, size_t g)
{
    for (int i = 0; i < 3000 && !is_equal(cluster, g); i++)
        cluster_run(cluster, 10);
    assert_true(is_equal(cluster, g));
}

void cluster_isolate(struct cluster *cluster, uint64_t id, bool cut)
{
    for (uint64_t other = 1; other <= cluster->node_count; other++) {
        if (other == id)
            continue;
        if (cut) {
            sim_link_cut(cluster->sim, id, other);
            sim_link_cut(cluster->sim, other, id);
        } else {
            sim_link_heal(cluster->sim, id, other);
            sim_link_heal(cluster->sim, other, id);
        }
    }
}

/* ---- requests ---- */

static void finish(struct request *request, enum error rc, uint64_t index)
{
    assert_false(request->is_done);
    request->is_done = true;
    request->rc = rc;
    request->index = index;
    request->applied_then = request->machine->applied;
}

static void on_proposed(struct group_proposal *proposal, enum error rc, uint64_t index)
{
    struct request *request = container_of(proposal, struct request, op.proposal);

    finish(request, rc, index);
    if (rc == OK)
        assert_int_equal(request->machine->applied, index);
}

static void on_read(struct group_read *read, enum error rc)
{
    finish(container_of(read, struct request, op.read), rc, 0);
}

static void on_changed(struct group_change *change, enum error rc)
{
    finish(container_of(change, struct request, op.change), rc, 0);
}

void cluster_propose(struct machine *machine, struct request *request, size_t bytes)
{
    uint8_t *entry = check_malloc(bytes + 1);

    for (size_t i = 0; i < bytes; i++)
        entry[i] = (uint8_t)rng_next(sim_rng(machine->node->cluster->sim));
    *request = (struct request){.machine = machine};
    group_propose(machine->handle, &request->op.proposal, slice_of(entry, bytes), on_proposed);
    assert_false(request->is_done);
    free(entry);
}

void cluster_read(struct machine *machine, struct request *request)
{
    *request = (struct request){.machine = machine};
    group_read_start(machine->handle, &request->op.read, on_read);
    assert_false(request->is_done);
}

void cluster_transfer(struct machine *machine, struct request *request, uint64_t peer)
{
    *request = (struct request){.machine = machine};
    group_transfer(machine->handle, &request->op.change, peer, on_changed);
}

void cluster_add(struct machine *machine, struct request *request, uint64_t peer)
{
    *request = (struct request){.machine = machine};
    group_add(machine->handle, &request->op.change, peer, on_changed);
}

void cluster_remove(struct machine *machine, struct request *request, uint64_t peer)
{
    *request = (struct request){.machine = machine};
    group_remove(machine->handle, &request->op.change, peer, on_changed);
}

void cluster_await(struct cluster *cluster, struct request *request)
{
    for (int i = 0; i < 60000 && !request->is_done; i++)
        cluster_run(cluster, 1);
    assert_true(request->is_done);
}

void cluster_fill(struct cluster *cluster, size_t g, size_t count, size_t bytes)
{
    for (size_t i = 0; i < count; i++) {
        struct request request;

        cluster_propose(cluster_machine(cluster, cluster_await_leader(cluster, g), g), &request,
                        bytes);
        cluster_await(cluster, &request);
        assert_int_equal(request.rc, OK);
    }
}
