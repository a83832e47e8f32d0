/* Members that the shapes of several DynamoDB operations have in common. */

#ifndef NODE_AWS_DYNAMODB_MEMBERS_H
#define NODE_AWS_DYNAMODB_MEMBERS_H

#include "node/aws/dynamodb_shape.h"

/* Elements of lists and maps. */
extern const struct shape dynamodb_string_element[];
extern const struct shape dynamodb_name_element[]; /* an attribute's name */
extern const struct shape dynamodb_attribute_element[];
extern const struct shape dynamodb_expected_element[];
extern const struct shape dynamodb_update_element[];
extern const struct shape dynamodb_condition_element[];

/* clang-format off */
#define MEMBER_END {.kind = SHAPE_END}
#define MEMBER_TABLE_NAME                                                                          \
    {"TableName", SHAPE_STRING, .is_required = true, .min = 3, .max = 255,                         \
     .pattern = SHAPE_NAME_PATTERN}
/* In operations on tables. */
#define MEMBER_TABLE                                                                               \
    {"TableName", SHAPE_STRING, .pattern = SHAPE_NAME_PATTERN, .is_first = true}
#define MEMBER_RESOURCE_ARN {.name = "ResourceArn", .kind = SHAPE_STRING}
#define MEMBER_CAPACITY                                                                            \
    {"ReturnConsumedCapacity", SHAPE_STRING, .choices = "INDEXES, TOTAL, NONE"}
#define MEMBER_METRICS                                                                             \
    {"ReturnItemCollectionMetrics", SHAPE_STRING, .choices = "SIZE, NONE"}
#define MEMBER_RETURN_VALUES                                                                       \
    {"ReturnValues", SHAPE_STRING, .choices = "ALL_NEW, UPDATED_OLD, ALL_OLD, NONE, UPDATED_NEW"}
#define MEMBER_RETURN_ON_FAILURE                                                                   \
    {"ReturnValuesOnConditionCheckFailure", SHAPE_STRING, .choices = "ALL_OLD, NONE"}
#define MEMBER_NAMES {"ExpressionAttributeNames", SHAPE_MAP, .of = dynamodb_string_element}
#define MEMBER_VALUES {"ExpressionAttributeValues", SHAPE_MAP, .of = dynamodb_attribute_element}
#define MEMBER_KEY {"Key", SHAPE_MAP, .of = dynamodb_attribute_element, .is_required = true}
#define MEMBER_EXPECTED                                                                            \
    {"Expected", SHAPE_MAP, .of = dynamodb_expected_element},                                      \
    {"ConditionalOperator", SHAPE_STRING, .choices = "OR, AND"}
#define MEMBER_ATTRIBUTES_TO_GET                                                                   \
    {"AttributesToGet", SHAPE_LIST, .of = dynamodb_name_element, .min = 1, .max = 255}
/* clang-format on */

#endif
