/* The outbox of a shard: changes of index rows that live in other shards, on their way there.
 *
 * A change of an item appends what it does to the rows of global indexes, in the same step of the
 * state machine; so the outbox is as durable as the item. The leader's node carries entries to the
 * shards they are for (table_courier.h), which take each exactly once and in order:
 *
 *   Entries are numbered. A batch for a shard begins with the oldest entry that is there for it,
 * and leaves none out; so whoever sends, however old what he knows, sends a piece of one and the
 * same row of entries. The receiver remembers the last number it took from each source and passes
 * over what it has already. Late, repeated and overtaken batches therefore do nothing, and no index
 * row needs a version or a tombstone.
 *
 * Keys:  0A target (4, big endian) sequence (8, big endian)  -> entry
 *        0B source (4, big endian)                           -> last sequence taken from it
 *        0C                                                  -> last sequence, count, bytes
 * Entry: put u8, key size u32, row key (table_key.h), the row unless it is a delete. */

#ifndef NODE_TABLE_TABLE_OUTBOX_H
#define NODE_TABLE_TABLE_OUTBOX_H

#include "node/table/table_engine.h"
#include "node/table/table_memory.h"
#include "proto/wire/table.pb-c.h"

#define TABLE_OUTBOX_BYTES_MAX (64u << 20) /* then changes of indexed tables are refused */

/* ---- in the source; commands and queries are those of table.proto ---- */

/* Inside apply. `row.data` NULL: delete it. */
void table_outbox_put(struct shard_state *state, uint32_t target, struct slice row_key,
                      struct slice row);
bool table_outbox_is_full(struct shard_state *state);
/* Of the last entry ever made. */
uint64_t table_outbox_sequence(struct shard_state *state);
/* TABLE_INDEX_SENT: those entries are where they should be. */
void table_outbox_trim(struct shard_state *state, const Skein__Wire__TableCommand *command);

/* Gathers the keys of entries about this table, at most `limit` keys in all, and gives how many.
 * Each is after its u32 size, for table_outbox_remove. */
size_t table_outbox_find(struct shard_cursor *cursor, struct shard_state *state,
                         struct slice table_id, size_t limit, struct buffer *keys);
void table_outbox_remove(struct shard_state *state, struct slice keys);

/* TABLE_OUTBOX: for every target not in query->targets its oldest entries, up to row_limit and
 * bytes_limit each (but one at least); appends per target: target u32, bytes u32, entries. An entry
 * here is sequence u64, size u32, entry. */
void table_outbox_read(struct shard_state *state, const Skein__Wire__TableQuery *query,
                       struct buffer *batches);
/* The oldest entry's sequence; when there is none, above all there ever were. */
uint64_t table_outbox_oldest(struct shard_state *state);

/* ---- in the target ---- */

/* TABLE_INDEX_ROWS. */
enum table_outcome table_outbox_take(struct shard_state *state,
                                     const Skein__Wire__TableCommand *command);

void table_outbox_forget(struct table_memory *memory);

#endif
