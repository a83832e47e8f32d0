/* Attribute values between their JSON and the form they are stored in (node/table/item.h). */

#ifndef NODE_AWS_DYNAMODB_VALUE_H
#define NODE_AWS_DYNAMODB_VALUE_H

#include "node/table/item.h"
#include "proto/base/arena.h"
#include "proto/base/json_write.h"

#include <jansson.h>

/* Append an AttributeValue or a whole item (a map of them) whose types were checked
 * (dynamodb_shape.h). NULL, or why the service refuses it; static or in the arena. */
const char *dynamodb_value_put(struct arena *arena, struct buffer *to, const json_t *value);
const char *dynamodb_value_put_item(struct arena *arena, struct buffer *to, const json_t *item);

/* Of an attribute: NULL, or why there can be none of that name. */
const char *dynamodb_check_name(struct slice name);

/* {"S":"abc"} */
void dynamodb_value_write(struct json_write *json, const struct item_value *value);
/* {"order_id":{"S":"o1"},...} */
void dynamodb_value_write_item(struct json_write *json, struct slice item);

#endif
