/* KeyConditionExpression: from a condition on the key attributes to a range of row keys. */

#ifndef NODE_AWS_DYNAMODB_KEY_CONDITION_H
#define NODE_AWS_DYNAMODB_KEY_CONDITION_H

#include "node/table/expression.h"
#include "node/table/table_key.h"

struct dynamodb_key_range { /* rows from `low` up to, not including, `high` */
    struct buffer low;
    struct buffer high;
    struct slice hash_part; /* in the arena */
};

/* NULL, or the service's words. The buffers are the caller's to close, also after a refusal. */
const char *dynamodb_key_condition(struct arena *arena, const struct table_schema *schema,
                                   const uint8_t *table_id, const struct expression *condition,
                                   struct dynamodb_key_range *range);

/* The key attribute that a filter wrongly names; NULL when it names none. */
const struct table_key_part *dynamodb_key_in_filter(const struct table_schema *schema,
                                                    const struct expression *filter);

#endif
