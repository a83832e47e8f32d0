/* Which shard owns a key: the same for whoever asks, at any time. The number of shards is fixed
 * when a cluster is born. */

#ifndef NODE_SHARD_SHARD_CHOICE_H
#define NODE_SHARD_SHARD_CHOICE_H

#include "proto/base/buffer.h"

#include <xxhash.h>

/* `resource`: a table's or bucket's id. `shard_count` > 0. */
static inline uint32_t shard_choice(uint32_t shard_count, struct slice resource,
                                    struct slice partition_key)
{
    uint64_t seed = XXH64(resource.data, resource.size, 0);

    return (uint32_t)(XXH64(partition_key.data, partition_key.size, seed) % shard_count);
}

#endif
