/* Placement: which nodes hold the replicas of a shard, and which run a function.
 *
 * A pure decision: the same nodes always give the same plan, in whatever order they are listed, so
 * every controller agrees without exchanging a message. When to move something is the business of
 * failover.h. */

#ifndef CONTROLLER_PLACEMENT_H
#define CONTROLLER_PLACEMENT_H

#include "proto/base/buffer.h"

#define PLACEMENT_REPLICAS_MAX 9
#define PLACEMENT_FUNCTION_NODES_MAX 64

struct placement_node {
    uint64_t id; /* unique */
    const char *region;
    const char *host;
    bool is_alive;
    uint64_t lost_for_ms; /* how long it has not been alive */
    uint32_t replicas;    /* shard replicas placed on it */
    uint32_t leads;       /* shards it is the preferred leader of */
};

struct placement_replicas {
    uint64_t node_ids[PLACEMENT_REPLICAS_MAX]; /* the first is the preferred leader */
    size_t count;
};

/* Add one live node to the replicas of `shard`. No region gets a second replica while another live
 * region has none, then no host; then the node with fewer replicas wins, then one drawn by shard
 * and id, so that not always the same nodes share shards.
 *
 * ERR_NO_CAPACITY when every live node holds one already. Adds to the chosen node's `replicas`. */
enum error placement_add(struct placement_node *nodes, size_t node_count, uint32_t shard,
                         struct placement_replicas *replicas);

/* Make the live replica whose node leads the fewest shards the preferred leader (then whose region
 * does, then the lower id). */
void placement_lead(const struct placement_node *nodes, size_t node_count,
                    struct placement_replicas *replicas);

/* Place all shards of a new cluster on the live nodes: min(replica_count, live nodes) replicas of
 * each, preferred leaders balanced over nodes, then regions. Sets the nodes' `replicas` and
 * `leads`. ERR_NO_CAPACITY without a live node. */
enum error placement_birth(struct placement_node *nodes, size_t node_count, size_t replica_count,
                           struct placement_replicas *shards, size_t shard_count);

/* The live nodes that run `function`, best first: at most `wanted`, region after region in turn,
 * each function with an order of its own. Losing a node brings in at most one other. Returns their
 * number; `wanted` is at most PLACEMENT_FUNCTION_NODES_MAX. */
size_t placement_function(const struct placement_node *nodes, size_t node_count,
                          const char *function, size_t wanted, uint64_t *node_ids);

#endif
