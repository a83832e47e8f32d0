/* What the service says to bad input, to the letter; and that nothing changed. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "proto/base/check.h"
#include "tests/unit/aws/dynamodb_fixture.h"

#define ORDERS "\"TableName\":\"Orders\""
#define KEY_O1 "\"Key\":{\"order_id\":{\"S\":\"o1\"}}"
#define INVALID "One or more parameter values were invalid: "

struct fault_case {
    const char *operation;
    const char *body;
    const char *type;
    const char *message;
};

static int with_tables(void **state)
{
    int rc = dynamodb_fixture_set_up(state);

    dynamodb_fixture_make_tables(*state);
    return rc;
}

static void check(struct dynamodb_fixture *f, const struct fault_case *cases, size_t count)
{
    size_t records = fake_view_count(f->view);

    for (size_t i = 0; i < count; i++)
        dynamodb_fixture_refused(f, cases[i].operation, cases[i].body, cases[i].type,
                                 cases[i].message);
    assert_int_equal(fake_router_key_count(f->router), 0);
    assert_int_equal(fake_router_write_count(f->router), 0);
    assert_int_equal(fake_view_count(f->view), records);
}

static void malformed__serialization_exception(void **state)
{
    static const struct fault_case cases[] = {
        {"PutItem", "", SERIALIZATION, ""},
        {"PutItem", "{", SERIALIZATION, ""},
        {"PutItem", "[]", SERIALIZATION, ""},
        {"PutItem", "{\"TableName\":23}", SERIALIZATION,
         "NUMBER_VALUE cannot be converted to String"},
        {"PutItem", "{\"TableName\":true}", SERIALIZATION,
         "TRUE_VALUE cannot be converted to String"},
        {"PutItem", "{\"TableName\":1.5}", SERIALIZATION,
         "DECIMAL_VALUE cannot be converted to String"},
        {"PutItem", "{\"TableName\":[]}", SERIALIZATION,
         "Unrecognized collection type class java.lang.String"},
        {"PutItem", "{\"TableName\":{}}", SERIALIZATION,
         "Start of structure or map found where not expected"},
        {"PutItem", "{\"Item\":\"a\"}", SERIALIZATION, "Unexpected field type"},
        {"PutItem", "{\"Item\":{\"a\":\"b\"}}", SERIALIZATION, "Unexpected value type in payload"},
        {"PutItem", "{\"Item\":{\"a\":{\"S\":1}}}", SERIALIZATION,
         "NUMBER_VALUE cannot be converted to String"},
        {"PutItem", "{\"Item\":{\"a\":{\"N\":1}}}", SERIALIZATION,
         "NUMBER_VALUE cannot be converted to String"},
        {"PutItem", "{\"Item\":{\"a\":{\"B\":\"abc\"}}}", SERIALIZATION,
         "Base64 encoded length is expected a multiple of 4 bytes but found: 3"},
        {"PutItem", "{\"Item\":{\"a\":{\"B\":\"ab=c\"}}}", SERIALIZATION,
         "Invalid last non-pad Base64 character dectected"},
        {"PutItem", "{\"Item\":{\"a\":{\"B\":\"AB==\"}}}", SERIALIZATION,
         "Invalid last non-pad Base64 character dectected"},
        {"PutItem", "{\"Item\":{\"a\":{\"SS\":\"b\"}}}", SERIALIZATION, "Unexpected field type"},
        {"GetItem", "{\"ConsistentRead\":\"maybe\"}", SERIALIZATION,
         "Unexpected token received from parser"},
        {"CreateTable", "{\"ProvisionedThroughput\":[]}", SERIALIZATION,
         "Unrecognized collection type class "
         "com.amazonaws.dynamodb.v20120810.ProvisionedThroughput"},
        {"CreateTable", "{\"KeySchema\":{}}", SERIALIZATION,
         "Start of structure or map found where not expected"},
        {"Frobnicate", "{}", "com.amazon.coral.service#UnknownOperationException", ""},
    };

    check(*state, cases, ARRAY_COUNT(cases));
}

static void constraints__one_message_for_all(void **state)
{
    static const struct fault_case cases[] = {
        {"PutItem", "{}", VALIDATION,
         "2 validation errors detected: Value null at 'tableName' failed to satisfy constraint: "
         "Member must not be null; Value null at 'item' failed to satisfy constraint: Member must "
         "not be null"},
        {"PutItem", "{\"Item\":{}}", VALIDATION,
         "1 validation error detected: Value null at 'tableName' failed to satisfy constraint: "
         "Member must not be null"},
        {"GetItem", "{\"TableName\":\"a;\",\"Key\":{}}", VALIDATION,
         "2 validation errors detected: Value 'a;' at 'tableName' failed to satisfy constraint: "
         "Member must satisfy regular expression pattern: [a-zA-Z0-9_.-]+; Value 'a;' at "
         "'tableName' failed to satisfy constraint: Member must have length greater than or equal "
         "to 3"},
        {"PutItem",
         "{\"TableName\":\"abc\",\"Item\":{},\"ReturnValues\":\"x\",\"ReturnConsumedCapacity\":"
         "\"y\"}",
         VALIDATION,
         "2 validation errors detected: Value 'y' at 'returnConsumedCapacity' failed to satisfy "
         "constraint: Member must satisfy enum value set: [INDEXES, TOTAL, NONE]; Value 'x' at "
         "'returnValues' failed to satisfy constraint: Member must satisfy enum value set: "
         "[ALL_NEW, UPDATED_OLD, ALL_OLD, NONE, UPDATED_NEW]"},
        {"ListTables", "{\"Limit\":0}", VALIDATION,
         "1 validation error detected: Value '0' at 'limit' failed to satisfy constraint: Member "
         "must have value greater than or equal to 1"},
        {"ListTables", "{\"Limit\":101}", VALIDATION,
         "1 validation error detected: Value '101' at 'limit' failed to satisfy constraint: Member "
         "must have value less than or equal to 100"},
        {"Scan", "{\"TableName\":\"abc\",\"Limit\":-1.2676506002282294e30}", VALIDATION,
         "1 validation error detected: Value '-1.2676506002282294e30' at 'limit' failed to satisfy "
         "constraint: "
         "Member must have value greater than or equal to 1"},
        {"CreateTable",
         "{\"TableName\":\"abc\",\"AttributeDefinitions\":[{\"AttributeName\":\"a\","
         "\"AttributeType\":\"Q\"}],\"KeySchema\":[]}",
         VALIDATION,
         "2 validation errors detected: Value 'Q' at "
         "'attributeDefinitions.1.member.attributeType' failed to satisfy constraint: Member must "
         "satisfy enum value set: [B, N, S]; Value '[]' at 'keySchema' failed to satisfy "
         "constraint: Member must have length greater than or equal to 1"},
        {"BatchWriteItem", "{\"RequestItems\":{}}", VALIDATION,
         "1 validation error detected: Value '{}' at 'requestItems' failed to satisfy constraint: "
         "Member must have length greater than or equal to 1"},
        {"BatchGetItem", "{\"RequestItems\":{\"Orders\":{}}}", VALIDATION,
         "1 validation error detected: Value null at 'requestItems.Orders.member.keys' failed to "
         "satisfy constraint: Member must not be null"},
    };

    check(*state, cases, ARRAY_COUNT(cases));
}

#define PUT(value) "{" ORDERS ",\"Item\":{\"order_id\":{\"S\":\"o1\"},\"a\":" value "}}"
#define NINES "99999999999999999999999999999999999999"

static void values__each_with_its_words(void **state)
{
    static const struct fault_case cases[] = {
        {"PutItem", PUT("{}"), VALIDATION,
         "Supplied AttributeValue is empty, must contain exactly one of the supported datatypes"},
        {"PutItem", PUT("{\"Z\":\"a\"}"), VALIDATION,
         "Supplied AttributeValue is empty, must contain exactly one of the supported datatypes"},
        {"PutItem", PUT("{\"S\":\"a\",\"N\":\"1\"}"), VALIDATION,
         "Supplied AttributeValue has more than one datatypes set, must contain exactly one of the "
         "supported datatypes"},
        {"PutItem", PUT("{\"N\":\"\"}"), VALIDATION,
         "The parameter cannot be converted to a numeric value"},
        {"PutItem", PUT("{\"N\":\"b\"}"), VALIDATION,
         "The parameter cannot be converted to a numeric value: b"},
        {"PutItem", PUT("{\"N\":\"" NINES "1\"}"), VALIDATION,
         "Attempting to store more than 38 significant digits in a Number"},
        {"PutItem", PUT("{\"N\":\"1e126\"}"), VALIDATION,
         "Number overflow. Attempting to store a number with magnitude larger than supported "
         "range"},
        {"PutItem", PUT("{\"N\":\"1e-131\"}"), VALIDATION,
         "Number underflow. Attempting to store a number with magnitude smaller than supported "
         "range"},
        {"PutItem", PUT("{\"NULL\":false}"), VALIDATION,
         INVALID "Null attribute value types must have the value of true"},
        {"PutItem", PUT("{\"SS\":[]}"), VALIDATION, INVALID "An string set  may not be empty"},
        {"PutItem", PUT("{\"NS\":[]}"), VALIDATION, INVALID "An number set  may not be empty"},
        {"PutItem", PUT("{\"BS\":[]}"), VALIDATION, INVALID "Binary sets should not be empty"},
        {"PutItem", PUT("{\"SS\":[\"a\",\"b\",\"a\"]}"), VALIDATION,
         INVALID "Input collection [a, b, a] contains duplicates."},
        {"PutItem", PUT("{\"NS\":[\"1\",\"1.0\"]}"), VALIDATION,
         "Input collection contains duplicates"},
        {"PutItem", PUT("{\"BS\":[\"Yg==\",\"Yg==\"]}"), VALIDATION,
         INVALID "Input collection [Yg==, Yg==]of type BS contains duplicates."},
        {"PutItem", PUT("{\"L\":[{\"M\":{\"x\":{\"N\":\"q\"}}}]}"), VALIDATION,
         "The parameter cannot be converted to a numeric value: q"},
    };

    check(*state, cases, ARRAY_COUNT(cases));
}

static void keys__each_with_its_words(void **state)
{
    static const struct fault_case cases[] = {
        {"PutItem", "{" ORDERS ",\"Item\":{\"a\":{\"S\":\"b\"}}}", VALIDATION,
         INVALID "Missing the key order_id in the item"},
        {"PutItem", "{" ORDERS ",\"Item\":{\"order_id\":{\"N\":\"1\"}}}", VALIDATION,
         INVALID "Type mismatch for key order_id expected: S actual: N"},
        {"PutItem", "{" ORDERS ",\"Item\":{\"order_id\":{\"S\":\"\"}}}", VALIDATION,
         "One or more parameter values are not valid. The AttributeValue for a key attribute "
         "cannot contain an empty string value. Key: order_id"},
        {"PutItem",
         "{\"TableName\":\"Lines\",\"Item\":{\"order_id\":{\"S\":\"a\"},\"line\":{\"S\":\"1\"}}}",
         VALIDATION, INVALID "Type mismatch for key line expected: N actual: S"},
        {"GetItem", "{" ORDERS ",\"Key\":{}}", VALIDATION,
         "The provided key element does not match the schema"},
        {"GetItem", "{" ORDERS ",\"Key\":{\"order_id\":{\"N\":\"1\"}}}", VALIDATION,
         "The provided key element does not match the schema"},
        {"GetItem", "{" ORDERS ",\"Key\":{\"order_id\":{\"S\":\"a\"},\"b\":{\"S\":\"c\"}}}",
         VALIDATION, "The provided key element does not match the schema"},
        {"DeleteItem", "{\"TableName\":\"Lines\",\"Key\":{\"order_id\":{\"S\":\"a\"}}}", VALIDATION,
         "The provided key element does not match the schema"},
        {"GetItem", "{" ORDERS ",\"Key\":{\"order_id\":{\"S\":\"\"}}}", VALIDATION,
         "One or more parameter values are not valid. The AttributeValue for a key attribute "
         "cannot contain an empty string value. Key: order_id"},
        {"UpdateItem",
         "{" ORDERS "," KEY_O1 ",\"UpdateExpression\":\"SET order_id = :x\","
         "\"ExpressionAttributeValues\":{\":x\":{\"S\":\"a\"}}}",
         VALIDATION, INVALID "Cannot update attribute order_id. This attribute is part of the key"},
        {"BatchWriteItem",
         "{\"RequestItems\":{\"Orders\":[{\"DeleteRequest\":{" KEY_O1 "}},{\"PutRequest\":{"
         "\"Item\":{\"order_id\":{\"S\":\"o1\"}}}}]}}",
         VALIDATION, "Provided list of item keys contains duplicates"},
    };

    check(*state, cases, ARRAY_COUNT(cases));
}

static void no_such_table__not_found(void **state)
{
    static const struct fault_case cases[] = {
        {"PutItem", "{\"TableName\":\"None\",\"Item\":{}}", SERVICE "ResourceNotFoundException",
         "Requested resource not found"},
        {"Scan", "{\"TableName\":\"None\"}", SERVICE "ResourceNotFoundException",
         "Requested resource not found"},
        {"DescribeTable", "{\"TableName\":\"None\"}", SERVICE "ResourceNotFoundException",
         "Requested resource not found: Table: None not found"},
        {"DeleteTable", "{\"TableName\":\"None\"}", SERVICE "ResourceNotFoundException",
         "Requested resource not found: Table: None not found"},
        {"TagResource", "{}", VALIDATION, "Invalid TableArn"},
        {"TagResource", "{\"ResourceArn\":\"abc\"}",
         "com.amazon.coral.service#AccessDeniedException",
         "User: arn:aws:iam::000000000000:root is not authorized to perform: dynamodb:TagResource "
         "on resource: abc"},
        {"TagResource", "{\"ResourceArn\":\"arn:aws:dynamodb:us-east-1:1:table/ab\",\"Tags\":[]}",
         VALIDATION,
         "Invalid TableArn: Invalid ResourceArn provided as input "
         "arn:aws:dynamodb:us-east-1:1:table/ab"},
        {"UntagResource",
         "{\"ResourceArn\":\"arn:aws:dynamodb:us-east-1:1:table/None\",\"TagKeys\":[]}", VALIDATION,
         "Atleast one Tag Key needs to be provided as Input."},
        {"UpdateTimeToLive",
         "{\"TableName\":\"Orders\",\"TimeToLiveSpecification\":{\"AttributeName\":\"a\","
         "\"Enabled\":"
         "false}}",
         VALIDATION, "TimeToLive is already disabled"},
        {"DescribeTable", "{}", VALIDATION,
         "The parameter 'TableName' is required but was not present in the request"},
        {"DescribeTable", "{\"TableName\":\"ab\"}", VALIDATION,
         "TableName must be at least 3 characters long and at most 255 characters long"},
    };

    check(*state, cases, ARRAY_COUNT(cases));
}

#define CREATE                                                                                     \
    "{\"TableName\":\"New\",\"BillingMode\":\"PAY_PER_REQUEST\",\"AttributeDefinitions\":"
#define DEFINED_A "[{\"AttributeName\":\"a\",\"AttributeType\":\"S\"}],"

#define DEFINED_AB                                                                                 \
    "[{\"AttributeName\":\"a\",\"AttributeType\":\"S\"},{\"AttributeName\":\"b\","                 \
    "\"AttributeType\":\"S\"}],"
#define KEYS_AB                                                                                    \
    "\"KeySchema\":[{\"AttributeName\":\"a\",\"KeyType\":\"HASH\"},{\"AttributeName\":\"b\","      \
    "\"KeyType\":\"RANGE\"}],"

static void create_table__each_with_its_words(void **state)
{
    static const struct fault_case cases[] = {
        {"CreateTable",
         "{\"TableName\":\"New\",\"AttributeDefinitions\":" DEFINED_A
         "\"KeySchema\":[{\"AttributeName\":\"a\",\"KeyType\":\"HASH\"}]}",
         VALIDATION,
         INVALID "ReadCapacityUnits and WriteCapacityUnits must both be specified when BillingMode "
                 "is PROVISIONED"},
        {"CreateTable",
         CREATE DEFINED_A "\"KeySchema\":[{\"AttributeName\":\"a\",\"KeyType\":\"HASH\"}],"
                          "\"ProvisionedThroughput\":{\"ReadCapacityUnits\":1,"
                          "\"WriteCapacityUnits\":1}}",
         VALIDATION,
         INVALID "Neither ReadCapacityUnits nor WriteCapacityUnits can be specified when "
                 "BillingMode is PAY_PER_REQUEST"},
        {"CreateTable",
         CREATE DEFINED_A "\"KeySchema\":[{\"AttributeName\":\"b\",\"KeyType\":\"HASH\"}]}",
         VALIDATION,
         INVALID "Some index key attributes are not defined in AttributeDefinitions. Keys: [b], "
                 "AttributeDefinitions: [a]"},
        {"CreateTable",
         CREATE DEFINED_A "\"KeySchema\":[{\"AttributeName\":\"a\",\"KeyType\":\"RANGE\"}]}",
         VALIDATION, "Invalid KeySchema: The first KeySchemaElement is not a HASH key type"},
        {"CreateTable",
         CREATE DEFINED_AB "\"KeySchema\":[{\"AttributeName\":\"a\",\"KeyType\":\"HASH\"},{"
                           "\"AttributeName\":\"a\",\"KeyType\":\"RANGE\"}]}",
         VALIDATION,
         "Both the Hash Key and the Range Key element in the KeySchema have the same name"},
        {"CreateTable",
         CREATE DEFINED_AB "\"KeySchema\":[{\"AttributeName\":\"a\",\"KeyType\":\"HASH\"},{"
                           "\"AttributeName\":\"b\",\"KeyType\":\"HASH\"}]}",
         VALIDATION, "Invalid KeySchema: The second KeySchemaElement is not a RANGE key type"},
        {"CreateTable", CREATE DEFINED_AB KEYS_AB "\"LocalSecondaryIndexes\":[]}", VALIDATION,
         INVALID "List of LocalSecondaryIndexes is empty"},
        {"CreateTable",
         CREATE DEFINED_AB KEYS_AB "\"LocalSecondaryIndexes\":[{\"IndexName\":\"abc\","
                                   "\"KeySchema\":[{\"AttributeName\":\"a\",\"KeyType\":\"HASH\"}],"
                                   "\"Projection\":{}}]}",
         VALIDATION, INVALID "Index KeySchema does not have a range key for index: abc"},
        {"CreateTable",
         CREATE DEFINED_AB KEYS_AB
         "\"LocalSecondaryIndexes\":[{\"IndexName\":\"abc\",\"KeySchema\":[{\"AttributeName\":"
         "\"a\",\"KeyType\":\"HASH\"},{\"AttributeName\":\"b\",\"KeyType\":\"RANGE\"}],"
         "\"Projection\":{\"ProjectionType\":\"ALL\",\"NonKeyAttributes\":[\"x\"]}}]}",
         VALIDATION, INVALID "ProjectionType is ALL, but NonKeyAttributes is specified"},
    };

    check(*state, cases, ARRAY_COUNT(cases));
}

#define GET(more) "{" ORDERS "," KEY_O1 "," more "}"

static void expressions__each_with_its_words(void **state)
{
    static const struct fault_case cases[] = {
        {"DeleteItem", GET("\"ConditionExpression\":\"\""), VALIDATION,
         "Invalid ConditionExpression: The expression can not be empty;"},
        {"DeleteItem", GET("\"ConditionExpression\":\"a = :x\""), VALIDATION,
         "Invalid ConditionExpression: An expression attribute value used in expression is not "
         "defined; attribute value: :x"},
        {"DeleteItem", GET("\"ConditionExpression\":\"a =\""), VALIDATION,
         "Invalid ConditionExpression: Syntax error; token: \"<EOF>\", near: \"=\""},
        {"DeleteItem", GET("\"ExpressionAttributeNames\":{\"#a\":\"a\"}"), VALIDATION,
         "ExpressionAttributeNames can only be specified when using expressions"},
        {"DeleteItem", GET("\"ExpressionAttributeValues\":{\":a\":{\"S\":\"a\"}}"), VALIDATION,
         "ExpressionAttributeValues can only be specified when using expressions: "
         "ConditionExpression is null"},
        {"UpdateItem", GET("\"ExpressionAttributeValues\":{\":a\":{\"S\":\"a\"}}"), VALIDATION,
         "ExpressionAttributeValues can only be specified when using expressions: UpdateExpression "
         "and ConditionExpression are null"},
        {"DeleteItem",
         GET("\"ConditionExpression\":\"attribute_exists(a)\",\"ExpressionAttributeNames\":{}"),
         VALIDATION, "ExpressionAttributeNames must not be empty"},
        {"DeleteItem",
         GET("\"ConditionExpression\":\"attribute_exists(a)\",\"ExpressionAttributeNames\":{\"a\":"
             "\"b\"}"),
         VALIDATION, "ExpressionAttributeNames contains invalid key: Syntax error; key: \"a\""},
        {"DeleteItem",
         GET("\"ConditionExpression\":\"attribute_exists(a)\",\"ExpressionAttributeValues\":{"
             "\"a\":{\"S\":\"b\"}}"),
         VALIDATION, "ExpressionAttributeValues contains invalid key: Syntax error; key: \"a\""},
        {"DeleteItem",
         GET("\"ConditionExpression\":\"attribute_exists(a)\",\"ExpressionAttributeValues\":{"
             "\":a\":{}}"),
         VALIDATION,
         "ExpressionAttributeValues contains invalid value: Supplied AttributeValue is empty, must "
         "contain exactly one of the supported datatypes for key :a"},
        {"DeleteItem",
         GET("\"ConditionExpression\":\"attribute_exists(a)\",\"ExpressionAttributeValues\":{"
             "\":b\":{\"S\":\"1\"},\":a\":{\"S\":\"1\"}}"),
         VALIDATION,
         "Value provided in ExpressionAttributeValues unused in expressions: keys: "
         "{:a, :b}"},
        {"DeleteItem",
         GET("\"ConditionExpression\":\"attribute_exists(a)\",\"ExpressionAttributeNames\":{"
             "\"#b\":\"1\"}"),
         VALIDATION,
         "Value provided in ExpressionAttributeNames unused in expressions: keys: "
         "{#b}"},
        {"DeleteItem",
         GET("\"ConditionExpression\":\"attribute_exists(a)\",\"Expected\":{\"a\":{\"Exists\":"
             "false}}"),
         VALIDATION,
         "Can not use both expression and non-expression parameters in the same request: "
         "Non-expression parameters: {Expected} Expression parameters: {ConditionExpression}"},
        {"DeleteItem", GET("\"ReturnValues\":\"ALL_NEW\""), VALIDATION,
         "ReturnValues can only be ALL_OLD or NONE"},
        {"UpdateItem", GET("\"UpdateExpression\":\"SET a = b c\""), VALIDATION,
         "Invalid UpdateExpression: Syntax error; token: \"c\", near: \"b c\""},
        {"GetItem", GET("\"ProjectionExpression\":\"a, a\""), VALIDATION,
         "Invalid ProjectionExpression: Two document paths overlap with each other; must remove or "
         "rewrite one of these paths; path one: [a], path two: [a]"},
        {"GetItem", GET("\"AttributesToGet\":[\"a\",\"a\"]"), VALIDATION,
         INVALID "Duplicate value in attribute name: a"},
    };

    check(*state, cases, ARRAY_COUNT(cases));
}

#define QUERY(condition)                                                                           \
    "{\"TableName\":\"Lines\",\"KeyConditionExpression\":\"" condition "\","                       \
    "\"ExpressionAttributeValues\":{\":o\":{\"S\":\"o\"},\":n\":{\"N\":\"1\"}}}"

static void query__each_with_its_words(void **state)
{
    static const struct fault_case cases[] = {
        {"Query", "{\"TableName\":\"Lines\"}", VALIDATION,
         "Either the KeyConditions or KeyConditionExpression parameter must be specified in the "
         "request."},
        {"Query", QUERY("line = :n AND x = :o"), VALIDATION,
         "Query condition missed key schema element: order_id"},
        {"Query", QUERY("line = :n AND line > :n AND order_id = :o"), VALIDATION,
         "KeyConditionExpressions must only contain one condition per key"},
        {"Query", QUERY("order_id > :o AND line = :n"), VALIDATION,
         "Query key condition not supported"},
        {"Query", QUERY("order_id = :o OR line = :n"), VALIDATION,
         "Invalid operator used in KeyConditionExpression: OR"},
        {"Query", QUERY("order_id = :o AND line <> :n"), VALIDATION,
         "Invalid operator used in KeyConditionExpression: <>"},
        {"Query", QUERY("order_id = :n AND line = :o"), VALIDATION,
         INVALID "Condition parameter type does not match schema type"},
        {"Scan", "{" ORDERS ",\"Segment\":0}", VALIDATION,
         "The TotalSegments parameter is required but was not present in the request when Segment "
         "parameter is present"},
        {"Scan", "{" ORDERS ",\"TotalSegments\":1}", VALIDATION,
         "The Segment parameter is required but was not present in the request when parameter "
         "TotalSegments is present"},
        {"Scan", "{" ORDERS ",\"Segment\":3,\"TotalSegments\":3}", VALIDATION,
         "The Segment parameter is zero-based and must be less than parameter TotalSegments: "
         "Segment: 3 is not less than TotalSegments: 3"},
        {"Scan", "{" ORDERS ",\"ExclusiveStartKey\":{\"a\":{\"S\":\"b\"}}}", VALIDATION,
         "The provided starting key is invalid: The provided key element does not match the "
         "schema"},
        {"Scan", "{" ORDERS ",\"Select\":\"SPECIFIC_ATTRIBUTES\"}", VALIDATION,
         "Must specify the AttributesToGet or ProjectionExpression when choosing to get "
         "SPECIFIC_ATTRIBUTES"},
        {"Scan", "{" ORDERS ",\"IndexName\":\"abc\"}", VALIDATION,
         "The table does not have the specified index: abc"},
    };

    check(*state, cases, ARRAY_COUNT(cases));
}

#define EXPECT(more) "{" ORDERS "," KEY_O1 ",\"Expected\":{\"a\":" more "}}"
#define UPDATE(more) "{" ORDERS "," KEY_O1 ",\"AttributeUpdates\":{\"a\":" more "}}"
#define FILTER(more) "{" ORDERS ",\"ScanFilter\":{\"a\":" more "}}"

static void legacy_members__each_with_its_words(void **state)
{
    static const struct fault_case cases[] = {
        {"DeleteItem", EXPECT("{}"), VALIDATION,
         INVALID "Value must be provided when Exists is null for Attribute: a"},
        {"DeleteItem", EXPECT("{\"Exists\":true}"), VALIDATION,
         INVALID "Value must be provided when Exists is true for Attribute: a"},
        {"DeleteItem", EXPECT("{\"Exists\":false,\"Value\":{\"S\":\"x\"}}"), VALIDATION,
         INVALID "Value cannot be used when Exists is false for Attribute: a"},
        {"DeleteItem", EXPECT("{\"ComparisonOperator\":\"LT\"}"), VALIDATION,
         INVALID "Value or AttributeValueList must be used with ComparisonOperator: LT for "
                 "Attribute: a"},
        {"DeleteItem", EXPECT("{\"ComparisonOperator\":\"LT\",\"Exists\":true}"), VALIDATION,
         INVALID "Exists and ComparisonOperator cannot be used together for Attribute: a"},
        {"DeleteItem", EXPECT("{\"AttributeValueList\":[]}"), VALIDATION,
         INVALID "AttributeValueList can only be used with a ComparisonOperator for Attribute: a"},
        {"DeleteItem", EXPECT("{\"Value\":{\"S\":\"x\"},\"AttributeValueList\":[]}"), VALIDATION,
         INVALID "Value and AttributeValueList cannot be used together for Attribute: a"},
        {"DeleteItem", EXPECT("{\"Value\":{\"S\":\"x\"},\"ComparisonOperator\":\"BETWEEN\"}"),
         VALIDATION, INVALID "Invalid number of argument(s) for the BETWEEN ComparisonOperator"},
        {"DeleteItem",
         EXPECT("{\"AttributeValueList\":[{\"N\":\"2\"},{\"N\":\"1\"}],\"ComparisonOperator\":"
                "\"BETWEEN\"}"),
         VALIDATION,
         "The BETWEEN condition was provided a range where the lower bound is greater than the "
         "upper bound"},
        {"DeleteItem", EXPECT("{\"ComparisonOperator\":\"XX\"}"), VALIDATION,
         "1 validation error detected: Value 'XX' at 'expected.a.member.comparisonOperator' failed "
         "to satisfy constraint: Member must satisfy enum value set: [IN, NULL, BETWEEN, LT, "
         "NOT_CONTAINS, EQ, GT, NOT_NULL, NE, LE, BEGINS_WITH, GE, CONTAINS]"},
        {"DeleteItem", "{" ORDERS "," KEY_O1 ",\"ConditionalOperator\":\"OR\"}", VALIDATION,
         "ConditionalOperator cannot be used without Filter or Expected"},
        {"DeleteItem",
         "{" ORDERS "," KEY_O1 ",\"ConditionalOperator\":\"OR\",\"Expected\":{\"a\":{\"Exists\":"
         "false}}}",
         VALIDATION,
         "ConditionalOperator can only be used when Filter or Expected has two or more elements"},
        {"UpdateItem", UPDATE("{\"Action\":\"PUT\"}"), VALIDATION,
         INVALID "Only DELETE action is allowed when no attribute value is specified"},
        {"UpdateItem", UPDATE("{\"Action\":\"ADD\",\"Value\":{\"S\":\"x\"}}"), VALIDATION,
         INVALID "ADD action is not supported for the type S"},
        {"UpdateItem", UPDATE("{\"Action\":\"DELETE\",\"Value\":{\"N\":\"1\"}}"), VALIDATION,
         INVALID "DELETE action with value is not supported for the type N"},
        {"UpdateItem",
         "{" ORDERS "," KEY_O1 ",\"AttributeUpdates\":{\"order_id\":{\"Value\":{\"S\":\"x\"}}}}",
         VALIDATION, INVALID "Cannot update attribute order_id. This attribute is part of the key"},
        {"Scan", FILTER("{\"ComparisonOperator\":\"LT\",\"AttributeValueList\":[{\"BOOL\":true}]}"),
         VALIDATION, INVALID "ComparisonOperator LT is not valid for BOOL AttributeValue type"},
        {"Scan",
         FILTER("{\"ComparisonOperator\":\"IN\",\"AttributeValueList\":[{\"S\":\"a\"},{\"N\":\"1\"}"
                "]}"),
         VALIDATION, INVALID "AttributeValues inside AttributeValueList must be of same type"},
        {"Query",
         "{" ORDERS ",\"KeyConditions\":{\"order_id\":{\"ComparisonOperator\":\"NOT_NULL\"}}}",
         VALIDATION, "Attempted conditional constraint is not an indexable operation"},
        {"Query", "{" ORDERS ",\"KeyConditions\":{}}", VALIDATION,
         "Conditions can be of length 1 or 2 only"},
    };

    check(*state, cases, ARRAY_COUNT(cases));
}

static void put_item__too_large__refused(void **state)
{
    struct dynamodb_fixture *f = *state;
    AUTO(buffer) body = BUFFER_INIT(BUFFER_UNLIMITED);

    buffer_put_text(&body, "{" ORDERS ",\"Item\":{\"order_id\":{\"S\":\"o1\"},\"a\":{\"S\":\"");
    for (int i = 0; i < 400 * 1024; i++)
        buffer_put_u8(&body, 'x');
    buffer_put_text(&body, "\"}}}");
    dynamodb_fixture_refused(f, "PutItem", buffer_text(&body), VALIDATION,
                             "Item size has exceeded the maximum allowed size");
}

static void put_item__depth_bomb__refused(void **state)
{
    struct dynamodb_fixture *f = *state;
    AUTO(buffer) body = BUFFER_INIT(BUFFER_UNLIMITED);

    buffer_put_text(&body, "{" ORDERS ",\"Item\":{\"order_id\":{\"S\":\"o1\"},\"a\":");
    for (int i = 0; i < 40; i++)
        buffer_put_text(&body, "{\"L\":[");
    buffer_put_text(&body, "{\"S\":\"x\"}");
    for (int i = 0; i < 40; i++)
        buffer_put_text(&body, "]}");
    buffer_put_text(&body, "}}");
    dynamodb_fixture_refused(f, "PutItem", buffer_text(&body), VALIDATION,
                             "Nesting Levels have exceeded supported limits: Attributes in the "
                             "item have nested levels beyond supported limit");
    buffer_clear(&body);
    for (int i = 0; i < 100000; i++)
        buffer_put_text(&body, "{\"Item\":");
    dynamodb_fixture_refused(f, "PutItem", buffer_text(&body), SERIALIZATION, "");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, with_tables, dynamodb_fixture_tear_down)
    const struct CMUnitTest tests[] = {
        TEST(malformed__serialization_exception),
        TEST(constraints__one_message_for_all),
        TEST(values__each_with_its_words),
        TEST(keys__each_with_its_words),
        TEST(no_such_table__not_found),
        TEST(create_table__each_with_its_words),
        TEST(expressions__each_with_its_words),
        TEST(query__each_with_its_words),
        TEST(put_item__too_large__refused),
        TEST(put_item__depth_bomb__refused),
        TEST(legacy_members__each_with_its_words),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
