/* A cluster of raft hosts on the simulated environment, each with a few groups whose state is a
 * running hash of what was applied. Every replica's hash is checked at every index. */

#ifndef TESTS_UNIT_RAFT_RAFT_CLUSTER_H
#define TESTS_UNIT_RAFT_RAFT_CLUSTER_H

#include "proto/env/env_sim.h"
#include "proto/raft/host.h"

#define CLUSTER_NODES_MAX 7
#define CLUSTER_GROUPS_MAX 4
#define CLUSTER_INDEX_MAX 65536

struct cluster;
struct node;

struct machine {
    struct node *node;
    size_t group; /* from 0 */
    struct group *handle;
    struct kv *kv;
    uint64_t applied;
    uint64_t hash;
    uint64_t staged_applied;
    uint64_t staged_hash;
    uint64_t staged_bytes;
    uint64_t applies; /* calls in this life */
    enum group_role role;
    uint64_t leader;
    uint64_t leads_since_us; /* told by on_role */
};

struct node {
    struct cluster *cluster;
    uint64_t id;
    struct env *env; /* NULL while down */
    struct host *host;
    struct machine machines[CLUSTER_GROUPS_MAX];
    int fatals;
};

struct request { /* a proposal, read or change and how it ended */
    union {
        struct group_proposal proposal;
        struct group_read read;
        struct group_change change;
    } op;
    bool is_done;
    enum error rc;
    uint64_t index;
    uint64_t applied_then; /* by the machine that answered */
    struct machine *machine;
};

struct cluster {
    struct sim *sim;
    size_t node_count; /* that exist */
    size_t born_count; /* first configuration */
    size_t group_count;
    struct host_options options;
    size_t snapshot_chunks; /* a state is sent in so many */
    struct node nodes[CLUSTER_NODES_MAX];
    uint64_t *hashes[CLUSTER_GROUPS_MAX]; /* by index, 0 = not applied anywhere yet */
};

/* Nodes have ids from 1; `nodes` of them start and are the first configuration. */
void cluster_open(struct cluster *cluster, uint64_t seed, size_t nodes);
void cluster_open_with(struct cluster *cluster, uint64_t seed, size_t nodes, size_t groups,
                       const struct host_options *options);
void cluster_close(struct cluster *cluster);

void cluster_start(struct cluster *cluster, uint64_t id);
void cluster_crash(struct cluster *cluster, uint64_t id, unsigned how);
/* Starts a node that is in no configuration yet. */
void cluster_start_new(struct cluster *cluster, uint64_t id);

void cluster_run(struct cluster *cluster, uint64_t ms);
/* The node that leads group `g` and was told so; waits up to 20 s for one, then fails. */
uint64_t cluster_await_leader(struct cluster *cluster, size_t g);
uint64_t cluster_leader(struct cluster *cluster, size_t g); /* 0 = none */
/* Until every running node applied as much as the leader has committed. Fails after 30 s. */
void cluster_await_equal(struct cluster *cluster, size_t g);
void cluster_isolate(struct cluster *cluster, uint64_t id, bool cut);

struct machine *cluster_machine(struct cluster *cluster, uint64_t id, size_t g);
struct group *cluster_group(struct cluster *cluster, uint64_t id, size_t g);

void cluster_propose(struct machine *machine, struct request *request, size_t bytes);
void cluster_read(struct machine *machine, struct request *request);
void cluster_await(struct cluster *cluster, struct request *request); /* fails after 60 s */
/* Proposes and awaits so many one by one at the leader; all must be OK. */
void cluster_fill(struct cluster *cluster, size_t g, size_t count, size_t bytes);

void cluster_transfer(struct machine *machine, struct request *request, uint64_t peer);
void cluster_add(struct machine *machine, struct request *request, uint64_t peer);
void cluster_remove(struct machine *machine, struct request *request, uint64_t peer);

#endif
