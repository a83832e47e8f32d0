/* Removing many keys, a piece at a time. Inside of the engine. */

#ifndef NODE_TABLE_TABLE_DROP_H
#define NODE_TABLE_TABLE_DROP_H

#include "node/shard/shard_engine.h"
#include "proto/wire/table.pb-c.h"

/* Gathers the keys with this prefix, each after its u32 size, until reply->scanned, which counts
 * them, has reached `limit`: has_more then tells that there are others. */
void table_drop_gather(struct shard_cursor *cursor, struct slice prefix, uint32_t limit,
                       struct buffer *keys, Skein__Wire__TableReply *reply);
/* What was gathered; no cursor is open any more. */
void table_drop_keys(struct shard_state *state, struct slice keys);

/* TABLE_DROP: a piece of a table, with all that belongs to it. */
void table_drop_apply(struct shard_state *state, const Skein__Wire__TableCommand *command,
                      Skein__Wire__TableReply *reply);

#endif
