/* Global secondary indexes, where the items are: what a change of an item does to the rows of its
 * table's indexes, which live elsewhere (table_outbox.h carries it there).
 *
 * Which indexes a table has travels with every change of a row, numbered by an epoch; a shard
 * remembers the newest it has heard of. So a gateway that has not yet heard of a new index keeps it
 * all the same, from the moment on when the shard has; and one that has not heard of a removed
 * index cannot bring back its rows.
 *
 * Key: 09 table id -> TableIndexes. */

#ifndef NODE_TABLE_TABLE_GLOBAL_H
#define NODE_TABLE_TABLE_GLOBAL_H

#include "node/table/table_engine.h"
#include "node/table/table_key.h"
#include "node/table/table_memory.h"
#include "proto/wire/table.pb-c.h"

struct table_global_use { /* what a change costs each index, in write units */
    uint32_t numbers[TABLE_GLOBAL_INDEXES_MAX];
    uint64_t units[TABLE_GLOBAL_INDEXES_MAX];
    size_t count;
};

/* Has the table of this command indexes, so that the row as it was must be known? */
bool table_global_exists(struct shard_state *state, const Skein__Wire__TableCommand *command);

/* May the item be in the table? Changes nothing. */
enum table_outcome table_global_check(struct shard_state *state,
                                      const Skein__Wire__TableCommand *command, struct slice item);

/* The row with this key changes from `old` to `new` (either may be empty): tell the indexes. Learns
 * the command's indexes first. `use` may be NULL. */
void table_global_change(struct shard_state *state, const Skein__Wire__TableCommand *command,
                         struct slice old, struct slice new, struct table_global_use *use);

/* TABLE_BACKFILL: a piece of the rows that were there before the index was, in order of their keys
 * from command->key on. The reply says where the next begins (as `position`). */
void table_global_backfill(struct shard_state *state, const Skein__Wire__TableCommand *command,
                           Skein__Wire__TableReply *reply, struct buffer *position);

/* TABLE_DROP_INDEX: a piece of an index's rows; what of it still comes is passed over from now on.
 */
void table_global_drop(struct shard_state *state, const Skein__Wire__TableCommand *command,
                       Skein__Wire__TableReply *reply);

/* Does this row key belong to an index that is known to be gone? */
bool table_global_is_gone(struct shard_state *state, struct slice key);
/* The table is dropped. */
void table_global_remove(struct shard_state *state, const uint8_t table_id[TABLE_ID_BYTES]);

void table_global_forget(struct table_memory *memory);

#endif
