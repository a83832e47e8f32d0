/* Removes the rows of deleted tables from the shards, in the background.
 *
 * DeleteTable leaves a record "drop/ID" in the catalogue, so the work survives any node. The live
 * node with the lowest id does it: piece by piece, shard by shard. Dropping is idempotent and a
 * table's id is never used again, so two nodes doing it at once does no harm. Writes that were on
 * their way when the table went may still land after the first pass, also rows of global indexes on
 * their way from one shard to another; a second pass comes when nothing of that can be left, and
 * only then the record goes too. */

#ifndef NODE_AWS_DYNAMODB_DROP_H
#define NODE_AWS_DYNAMODB_DROP_H

#include "node/aws/dynamodb.h"
#include "proto/base/arena.h"
#include "proto/wire/table.pb-c.h"

struct dynamodb_drop;

struct dynamodb_drop *dynamodb_drop_new(const struct dynamodb_options *options);
void dynamodb_drop_free(struct dynamodb_drop *drop);

/* Whether this node is the one that does what only one should: the live one with the lowest id. Two
 * may think so for a while. */
bool dynamodb_is_caretaker(const struct dynamodb_options *with);

/* The record of a deleted table and its key, in the arena. */
struct slice dynamodb_drop_record(struct arena *arena, const Skein__Wire__Table *table,
                                  uint64_t now_ms);
const char *dynamodb_drop_key(struct arena *arena, const uint8_t *table_id);

#endif
