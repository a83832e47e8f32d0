/* What the engine keeps in memory of one shard, beside its state. Inside of the engine. */

#ifndef NODE_TABLE_TABLE_MEMORY_H
#define NODE_TABLE_TABLE_MEMORY_H

#include "node/shard/shard_engine.h"
#include "proto/base/map.h"

struct table_memory {
    struct map globals; /* by table id: struct table_global, of those asked for (table_global.h) */
    /* table_outbox.h */
    bool knows_outbox; /* the three counts are loaded */
    uint64_t sequence; /* of the last entry ever made */
    uint64_t entry_count;
    uint64_t entry_bytes;
    bool knows_targets;
    struct map targets; /* by shard: struct table_outbox_target */
    /* table_transaction.h */
    bool knows_open;     /* the count is loaded */
    uint64_t open_count; /* transactions that hold locks */
};

/* Made when it is not there yet. */
struct table_memory *table_memory_of(struct shard_state *state);
/* For struct shard_engine. */
void table_memory_forget(void *memory);

#endif
