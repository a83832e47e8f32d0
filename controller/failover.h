/* Failover: what a lost lease moves.
 *
 * Functions move at once, because a function has no state. A shard replica is rebuilt elsewhere
 * only after its node has been lost for `repair_after_ms`, because that copies data and most nodes
 * come back. Pure decisions; the nodes carry them out: the leader of a shard adds and removes
 * members until its group is what the record wants. */

#ifndef CONTROLLER_FAILOVER_H
#define CONTROLLER_FAILOVER_H

#include "controller/placement.h"

/* May a shard's wanted replicas change, and to what? One replica at a time: the node lost longest
 * is replaced, else a shard with fewer than `replica_count` gets one more. `shard` was last changed
 * `settled_for_ms` ago; the next change waits until that is `repair_after_ms` too. Nothing is done
 * for a shard that lost its majority: nobody could carry it out, and its members must be
 * recognised when they come back.
 *
 * True: `replicas` has been changed (and the chosen node's `replicas` counted). */
bool failover_repair(struct placement_node *nodes, size_t node_count, uint32_t shard,
                     size_t replica_count, uint64_t settled_for_ms, uint64_t repair_after_ms,
                     struct placement_replicas *replicas);

/* True when the function should run elsewhere than on `node_ids`: `wanted_ids` (room for
 * PLACEMENT_FUNCTION_NODES_MAX) and its count are set. Never moves to nowhere: with no live node
 * everything stays. */
bool failover_function(const struct placement_node *nodes, size_t node_count, const char *function,
                       size_t wanted, const uint64_t *node_ids, size_t count, uint64_t *wanted_ids,
                       size_t *wanted_count);

#endif
