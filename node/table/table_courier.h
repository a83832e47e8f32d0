/* The courier: carries what is in the outboxes of the shards that this node leads to the shards it
 * is for (table_outbox.h).
 *
 * It knows nothing that would have to survive it. Any number of couriers may carry the same entries
 * at once, from old or new copies of an outbox; the receiving shards see to the rest. Loop thread
 * only. */

#ifndef NODE_TABLE_TABLE_COURIER_H
#define NODE_TABLE_TABLE_COURIER_H

#include "node/shard/shard_router.h"

struct table_courier;

struct table_courier *table_courier_new(struct env *env, struct shard_router *router);
void table_courier_free(struct table_courier *courier);

/* This node leads the shard, and there is something new in its outbox. */
void table_courier_wake(struct table_courier *courier, uint32_t shard);

struct table_courier_stats {
    uint64_t entries; /* carried */
    uint64_t failures;
    uint64_t lanes; /* in use */
};

void table_courier_stats(const struct table_courier *courier, struct table_courier_stats *stats);

#endif
