/* Fills global indexes that are being created with the rows that were there before them, and
 * removes the rows of those that are being deleted, in the background.
 *
 * The catalogue says what there is to do (the status of an index), so the work survives any node:
 * the live node with the lowest id does it, shard by shard and piece by piece, and begins again
 * when another takes over. Every piece may happen twice. An index is ACTIVE when all that filling
 * it put into the outboxes has arrived; pieces wait for that, so an outbox stays short. */

#ifndef NODE_AWS_DYNAMODB_BUILDER_H
#define NODE_AWS_DYNAMODB_BUILDER_H

#include "node/aws/dynamodb.h"

struct dynamodb_builder;

struct dynamodb_builder *dynamodb_builder_new(struct dynamodb *dynamodb);
void dynamodb_builder_free(struct dynamodb_builder *builder);

#endif
