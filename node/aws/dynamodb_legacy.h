/* What came before expressions: Expected, QueryFilter, ScanFilter, KeyConditions, AttributeUpdates.
 *
 * Each becomes what an expression would have become (node/table/expression.h), so that nothing
 * behind this file knows of them. Every function gives NULL, or the service's words for what is
 * wrong; trees live in the arena. The types and constraints of the request were checked
 * (dynamodb_shape.h). */

#ifndef NODE_AWS_DYNAMODB_LEGACY_H
#define NODE_AWS_DYNAMODB_LEGACY_H

#include "node/table/item_update.h"
#include "proto/base/arena.h"

#include <jansson.h>

/* A map of Conditions, all or (`is_or`) any of which must hold. An absent or empty map gives NULL
 * in the output. */
const char *dynamodb_legacy_conditions(struct arena *arena, const json_t *conditions, bool is_or,
                                       const struct expression **condition);

/* A map of ExpectedAttributeValues, likewise. */
const char *dynamodb_legacy_expected(struct arena *arena, const json_t *expected, bool is_or,
                                     const struct expression **condition);

/* A map of AttributeValueUpdates. */
const char *dynamodb_legacy_updates(struct arena *arena, const json_t *updates,
                                    struct item_update *update);

/* ConditionalOperator (or NULL) and the map it is for. */
const char *dynamodb_legacy_operator(const char *conditional_operator, const json_t *conditions,
                                     bool *is_or);

#endif
