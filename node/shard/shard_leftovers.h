/* What lies in the folder of the shards besides the replicas that run: stores that an earlier run
 * left behind, and marks of the replicas that were given up.
 *
 * A member at birth takes part from its first start on, with a vote. One that gave up its log must
 * never do that again, should the shard come back to this node: its mark says so, for good. */

#ifndef NODE_SHARD_SHARD_LEFTOVERS_H
#define NODE_SHARD_SHARD_LEFTOVERS_H

#include "proto/base/map.h"
#include "proto/env/env.h"

struct shard_leftovers {
    struct env *env;
    const char *folder;
    struct map stores; /* shards with a store, as keys */
};

/* Looks for stores. `folder` is borrowed. */
void shard_leftovers_find(struct shard_leftovers *leftovers, struct env *env, const char *folder);
void shard_leftovers_close(struct shard_leftovers *leftovers);

/* True when there is a store of it; once. */
bool shard_leftovers_take(struct shard_leftovers *leftovers, uint32_t shard);

/* Durable when OK. */
enum error shard_leftovers_mark(const struct shard_leftovers *leftovers, uint32_t shard);
/* Also true when that cannot be told. */
bool shard_leftovers_is_marked(const struct shard_leftovers *leftovers, uint32_t shard);

#endif
