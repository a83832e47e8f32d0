/* Inside the consensus simulation. */

#ifndef TESTS_SIM_CONSENSUS_IMPL_H
#define TESTS_SIM_CONSENSUS_IMPL_H

#include "proto/base/arena.h"
#include "proto/env/env_sim.h"
#include "proto/raft/host.h"
#include "tests/sim/checker.h"
#include "tests/sim/consensus.h"
#include "tests/sim/machine.h"

#define NODES_MAX 9u
#define SPARE_COUNT 2u
#define MILLISECOND 1000u /* in us */
#define SECOND 1000000u

struct cluster;

struct replica {         /* of one group on one node */
    bool is_hosted;      /* the node should run it */
    bool is_born_with;   /* it was there at birth, and its disk is still the same one */
    bool is_unwanted;    /* removed from the group: to be forgotten */
    struct group *group; /* NULL: not running */
    struct machine machine;
    uint64_t term; /* the highest seen in this life */
    /* Its disk lost something: no other disk may before it has all that was acknowledged by then.
     */
    bool is_weak;
    uint64_t weak_until_us; /* until then the index is not known yet */
    uint64_t weak_until_index;
    uint64_t whole_since_us; /* it has its vote, though that may not be on its disk yet; 0 = not */
};

struct node {
    struct cluster *cluster;
    uint64_t id; /* 1 .. */
    struct env *env;
    struct host *host; /* NULL: down */
    bool is_dead;      /* crashed in one of its own callbacks: to be swept up */
    bool is_gone;      /* it never comes back */
    uint64_t life;
    uint64_t draining_life;
    struct replica *replicas; /* by group */
    struct list operations;   /* struct operation: of this life */
};

/* What a run meets, drawn from its seed. Rates are weights against each other. */
struct plan {
    uint32_t heartbeat_ms;
    uint32_t election_ms;
    uint32_t snapshot_entries;
    uint32_t trailing_entries;
    uint64_t segment_bytes;
    uint64_t append_bytes;
    struct sim_range latency;
    struct sim_range sync;
    struct sim_range fault_every;
    struct sim_range command_every; /* of each group */
    uint32_t burst_max;
    uint32_t read_percent;
    uint32_t strike_percent; /* of new leaders that meet a fault at once */
    uint64_t strike_us_max;
    unsigned crash_modes; /* bit set of enum sim_crash */
    uint32_t gone;        /* so many stay down when the faults are over */
    uint32_t weights[32]; /* by fault kind; 0 = off */
    size_t command_bytes_max;
};

struct cluster {
    const struct consensus_options *options;
    struct sim *sim;
    struct rng rng;
    struct plan plan;
    struct checker checker;
    struct node nodes[NODES_MAX];
    size_t node_count; /* spares included */
    uint64_t command_next;
    bool is_healing; /* the faults are over */
    uint64_t facts[CONSENSUS_FACT_COUNT];
    uint64_t *healed_at; /* by group: acked_max when the faults ended */
    struct arena arena;  /* what actions to come need */
};

/* ---- consensus.c ---- */

void consensus_say(const struct cluster *cluster, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
uint64_t consensus_draw(struct cluster *cluster, uint64_t min, uint64_t max); /* both included */
bool consensus_chance(struct cluster *cluster, uint32_t percent);

/* ---- consensus_nodes.c ---- */

void consensus_nodes_init(struct cluster *cluster);
void consensus_nodes_close(struct cluster *cluster);
/* Start it, with every group it hosts. On a disk error it goes down again and is retried. */
void consensus_node_start(struct node *node);
void consensus_node_crash(struct node *node, unsigned how);
void consensus_node_start_later(struct node *node, uint64_t delay_us);
bool consensus_node_runs(const struct node *node);             /* up and not paused */
void consensus_replica_start(struct node *node, size_t group); /* joins, and waits to be added */
/* The disk of this node lost something (or will have, once it is restarted). */
void consensus_node_weaken(struct node *node);
bool consensus_may_weaken(struct cluster *cluster, const struct node *node);
/* Look at terms, leaders and recoveries; every few milliseconds. */
void consensus_nodes_watch(struct cluster *cluster);
/* A running node whose replica believes it leads; any if there are several; NULL if none. One that
 * is `ready` has its barrier applied. */
struct node *consensus_leader(struct cluster *cluster, size_t group, bool is_ready);

/* ---- consensus_clients.c ---- */

enum operation_kind { OPERATION_COMMAND, OPERATION_READ, OPERATION_CHANGE };

struct operation { /* asked of a group on one node; dies with the node's life */
    struct list link;
    struct node *node;
    size_t group;
    enum operation_kind kind;
    uint64_t id; /* of the command; of the node a change is about */
    enum consensus_fact change_fact;
    uint64_t acked_before; /* a read: acked_max when it began */
    struct group_proposal proposal;
    struct group_read read;
    struct group_change change;
};

void consensus_clients_start(struct cluster *cluster);
struct operation *consensus_operation_new(struct node *node, size_t group,
                                          enum operation_kind kind);
void consensus_operation_free(struct operation *operation);
void consensus_command(struct node *node, size_t group);
/* After a crash, or once the group is gone (GROUP_ANY = all of them). */
#define GROUP_ANY SIZE_MAX
void consensus_operations_forget(struct node *node, size_t group);

/* ---- consensus_faults.c ---- */

void consensus_faults_plan(struct cluster *cluster);
void consensus_faults_start(struct cluster *cluster);
void consensus_faults_on_leader(struct node *node);
void consensus_faults_end(struct cluster *cluster); /* everything is well again */

#endif
