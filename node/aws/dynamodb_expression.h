/* The expressions of one request, with their ExpressionAttributeNames and -Values.
 *
 * Open, then parse each expression in the order the service does, then close: every function gives
 * NULL, or the service's words for what is wrong. */

#ifndef NODE_AWS_DYNAMODB_EXPRESSION_H
#define NODE_AWS_DYNAMODB_EXPRESSION_H

#include "node/aws/dynamodb_call.h"
#include "node/table/expression_parse.h"

struct dynamodb_expressions {
    struct arena *arena;
    const json_t *input; /* the object that has the members */
    struct expression_source source;
};

/* Which members may be there: lists ended by NULL. `expressions` in the service's order. */
struct dynamodb_expression_rules {
    const char *const *expressions;
    const char *const *legacy; /* what came before expressions */
    /* Those of a Query without KeyConditionExpression; NULL: the same. */
    const char *const *legacy_beside;
};

/* Checks which members there are: expressions, or what came before them, not both. */
const char *dynamodb_expressions_check(struct dynamodb_expressions *expressions,
                                       struct arena *arena, const json_t *input,
                                       const struct dynamodb_expression_rules *rules);
/* Reads names and values. */
const char *dynamodb_expressions_bind(struct dynamodb_expressions *expressions);

/* A member that is absent gives NULL in the output (no paths, no actions). */
const char *dynamodb_parse_condition(struct dynamodb_expressions *expressions, const char *member,
                                     const struct expression **condition);
const char *dynamodb_parse_update(struct dynamodb_expressions *expressions, const char *member,
                                  struct item_update *update);
const char *dynamodb_parse_projection(struct dynamodb_expressions *expressions, const char *member,
                                      struct expression_paths *projection);
/* AttributesToGet: the older form of a projection. */
const char *dynamodb_read_attributes_to_get(struct arena *arena, const json_t *list,
                                            struct expression_paths *projection);

/* Attributes that an expression parsed so far looks into, and that are keys of the table or of an
 * index. */
const char *dynamodb_expressions_check_table(const struct dynamodb_expressions *expressions,
                                             const struct dynamodb_table *table);

/* Names and values that nothing used. */
const char *dynamodb_expressions_close(struct dynamodb_expressions *expressions);

#endif
