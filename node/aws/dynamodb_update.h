/* What the actions of an update say about a table's keys, before any item is looked at. */

#ifndef NODE_AWS_DYNAMODB_UPDATE_H
#define NODE_AWS_DYNAMODB_UPDATE_H

#include "node/aws/dynamodb_call.h"
#include "node/table/item_update.h"

/* NULL, or why the service refuses it: it changes a key, or gives an index key an unfit type. */
const char *dynamodb_check_update(struct arena *arena, const struct dynamodb_table *table,
                                  const struct item_update *update);

/* Taking something away from an item that is not there does not create it. */
bool dynamodb_update_may_create(const struct item_update *update);

#endif
