#include "controller/failover.h"

#include "proto/base/check.h"

static struct placement_node *find(struct placement_node *nodes, size_t node_count, uint64_t id)
{
    for (size_t i = 0; i < node_count; i++)
        if (nodes[i].id == id)
            return &nodes[i];
    return NULL;
}

static size_t alive_replicas(struct placement_node *nodes, size_t node_count,
                             const struct placement_replicas *replicas)
{
    size_t alive = 0;

    for (size_t i = 0; i < replicas->count; i++) {
        const struct placement_node *node = find(nodes, node_count, replicas->node_ids[i]);

        alive += node != NULL && node->is_alive;
    }
    return alive;
}

/* The place of the replica whose node has been lost longest, and long enough; count if none. A
 * node that is no longer known counts as lost for ever. */
static size_t lost_replica(struct placement_node *nodes, size_t node_count,
                           const struct placement_replicas *replicas, uint64_t repair_after_ms)
{
    size_t lost = replicas->count;
    uint64_t lost_for_ms = 0;

    for (size_t i = 0; i < replicas->count; i++) {
        const struct placement_node *node = find(nodes, node_count, replicas->node_ids[i]);
        uint64_t for_ms = node == NULL ? UINT64_MAX : node->lost_for_ms;

        if ((node != NULL && node->is_alive) || for_ms < repair_after_ms)
            continue;
        if (lost == replicas->count || for_ms > lost_for_ms) {
            lost = i;
            lost_for_ms = for_ms;
        }
    }
    return lost;
}

static void remove_replica(struct placement_replicas *replicas, size_t place)
{
    replicas->count--;
    memmove(replicas->node_ids + place, replicas->node_ids + place + 1,
            (replicas->count - place) * sizeof(replicas->node_ids[0]));
}

bool failover_repair(struct placement_node *nodes, size_t node_count, uint32_t shard,
                     size_t replica_count, uint64_t settled_for_ms, uint64_t repair_after_ms,
                     struct placement_replicas *replicas)
{
    struct placement_replicas wanted = *replicas;
    size_t lost = lost_replica(nodes, node_count, replicas, repair_after_ms);
    bool is_short = replicas->count < replica_count;

    if (settled_for_ms < repair_after_ms || (lost == replicas->count && !is_short))
        return false;
    if (alive_replicas(nodes, node_count, replicas) * 2 <= replicas->count)
        return false;
    if (lost < replicas->count)
        remove_replica(&wanted, lost);
    if (lost == 0)
        placement_lead(nodes, node_count, &wanted);
    if (placement_add(nodes, node_count, shard, &wanted) != OK)
        return false;
    *replicas = wanted;
    return true;
}

bool failover_function(const struct placement_node *nodes, size_t node_count, const char *function,
                       size_t wanted, const uint64_t *node_ids, size_t count, uint64_t *wanted_ids,
                       size_t *wanted_count)
{
    uint64_t ids[PLACEMENT_FUNCTION_NODES_MAX];
    size_t placed = placement_function(nodes, node_count, function, wanted, ids);

    if (placed == 0 || (placed == count && memcmp(ids, node_ids, count * sizeof(ids[0])) == 0))
        return false;
    memcpy(wanted_ids, ids, placed * sizeof(ids[0]));
    *wanted_count = placed;
    return true;
}
