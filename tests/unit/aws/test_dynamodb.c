#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "proto/base/check.h"
#include "tests/unit/aws/dynamodb_fixture.h"

#include <stdio.h>

#define ORDERS "\"TableName\":\"Orders\""
#define KEY_O1 "\"Key\":{\"order_id\":{\"S\":\"o1\"}}"

static int with_tables(void **state)
{
    int rc = dynamodb_fixture_set_up(state);

    dynamodb_fixture_make_tables(*state);
    return rc;
}

static const char *text(struct dynamodb_fixture *f)
{
    return fake_answer_text(&f->answer);
}

/* ---- tables ---- */

static void create_table__the_article__surplus_definition_kept(void **state)
{
    struct dynamodb_fixture *f = *state;
    const char *body =
        "{\"TableName\": \"Orders\", \"KeySchema\": [{\"AttributeName\": \"order_id\", "
        "\"KeyType\": \"HASH\"}], \"AttributeDefinitions\": [{\"AttributeName\": \"order_id\", "
        "\"AttributeType\": \"S\"}, {\"AttributeName\": \"user_id\", \"AttributeType\": \"S\"}], "
        "\"ProvisionedThroughput\": {\"ReadCapacityUnits\": 5, \"WriteCapacityUnits\": 5}}";

    assert_int_equal(dynamodb_fixture_call(f, "CreateTable", body), 200);
    assert_non_null(strstr(text(f), "\"TableStatus\":\"CREATING\""));
    assert_non_null(
        strstr(text(f), "\"TableArn\":\"arn:aws:dynamodb:us-east-1:000000000000:table/Orders\""));
    assert_int_equal(dynamodb_fixture_call(f, "DescribeTable", "{" ORDERS "}"), 200);
    assert_non_null(strstr(text(f), "\"TableStatus\":\"ACTIVE\""));
    assert_non_null(strstr(text(f), "{\"AttributeName\":\"user_id\",\"AttributeType\":\"S\"}"));
    assert_non_null(strstr(text(f), "\"KeySchema\":[{\"AttributeName\":\"order_id\",\"KeyType\":"
                                    "\"HASH\"}]"));
    assert_non_null(strstr(text(f), "\"ReadCapacityUnits\":5,\"WriteCapacityUnits\":5"));
    assert_non_null(strstr(text(f), "\"CreationDateTime\":1795466116.1"));
    dynamodb_fixture_refused(f, "CreateTable", body, SERVICE "ResourceInUseException",
                             "Table already exists: Orders");
}

static void put_foreign_table(void *user, struct view *view)
{
    struct slice value;

    (void)user;
    assert_int_equal(view_get(view, "table/Lines", &value, NULL), OK);
    fake_view_set(view, "table/Orders2", value);
}

static void create_table__another_node_was_quicker__in_use(void **state)
{
    struct dynamodb_fixture *f = *state;

    fake_view_before_update(f->view, NULL, put_foreign_table);
    dynamodb_fixture_refused(
        f, "CreateTable",
        "{\"TableName\":\"Orders2\",\"BillingMode\":\"PAY_PER_REQUEST\",\"AttributeDefinitions\":[{"
        "\"AttributeName\":\"a\",\"AttributeType\":\"B\"}],\"KeySchema\":[{\"AttributeName\":"
        "\"a\",\"KeyType\":\"HASH\"}]}",
        SERVICE "ResourceInUseException", "Table already exists: Orders2");
}

/* The view retried a commit whose answer was lost, and found the record there: its own. */
static void create_table__own_commit_found_as_a_conflict__success(void **state)
{
    struct dynamodb_fixture *f = *state;

    fake_view_fail(f->view, ERR_CONFLICT, true);
    assert_int_equal(
        dynamodb_fixture_call(f, "CreateTable",
                              "{\"TableName\":\"New\",\"BillingMode\":\"PAY_PER_REQUEST\","
                              "\"AttributeDefinitions\":[{\"AttributeName\":\"a\","
                              "\"AttributeType\":\"B\"}],\"KeySchema\":[{\"AttributeName\":\"a\","
                              "\"KeyType\":\"HASH\"}]}"),
        200);
}

static void create_table__catalogue_out_of_reach__a_5xx_that_is_retried(void **state)
{
    struct dynamodb_fixture *f = *state;

    fake_view_fail(f->view, ERR_UNREACHABLE, false);
    assert_true(dynamodb_fixture_call(
                    f, "CreateTable",
                    "{\"TableName\":\"New\",\"BillingMode\":\"PAY_PER_REQUEST\","
                    "\"AttributeDefinitions\":[{\"AttributeName\":\"a\",\"AttributeType\":\"B\"}],"
                    "\"KeySchema\":[{\"AttributeName\":\"a\",\"KeyType\":\"HASH\"}]}") >= 500);
}

static void list_tables__pages(void **state)
{
    struct dynamodb_fixture *f = *state;

    dynamodb_fixture_expect(f, "ListTables", "{}", "{\"TableNames\":[\"Lines\",\"Orders\"]}");
    dynamodb_fixture_expect(f, "ListTables", "{\"Limit\":1}",
                            "{\"TableNames\":[\"Lines\"],\"LastEvaluatedTableName\":\"Lines\"}");
    dynamodb_fixture_expect(f, "ListTables", "{\"Limit\":1,\"ExclusiveStartTableName\":\"Lines\"}",
                            "{\"TableNames\":[\"Orders\"]}");
}

static size_t row_count(struct dynamodb_fixture *f)
{
    return fake_router_key_count(f->router);
}

static void delete_table__rows_go_in_the_background_and_the_record_last(void **state)
{
    struct dynamodb_fixture *f = *state;
    char body[128];

    for (int i = 0; i < 1200; i++) {
        (void)snprintf(body, sizeof(body), "{" ORDERS ",\"Item\":{\"order_id\":{\"S\":\"o%d\"}}}",
                       i);
        assert_int_equal(dynamodb_fixture_call(f, "PutItem", body), 200);
    }
    assert_int_equal(dynamodb_fixture_call(f, "PutItem",
                                           "{\"TableName\":\"Lines\",\"Item\":{\"order_id\":"
                                           "{\"S\":\"o\"},\"line\":{\"N\":\"1\"}}}"),
                     200);
    assert_int_equal(dynamodb_fixture_call(f, "DeleteTable", "{" ORDERS "}"), 200);
    assert_non_null(strstr(text(f), "\"TableStatus\":\"DELETING\""));
    dynamodb_fixture_refused(f, "DescribeTable", "{" ORDERS "}",
                             SERVICE "ResourceNotFoundException",
                             "Requested resource not found: Table: Orders not found");
    assert_int_equal(fake_view_count(f->view), 3); /* the node, Lines, and what is to be dropped */

    fake_env_advance(&f->env, 2000000);
    assert_int_equal(row_count(f), 1);
    assert_int_equal(fake_view_count(f->view), 3);

    fake_env_advance(&f->env, 61000000); /* no late write can come any more */
    assert_int_equal(fake_view_count(f->view), 2);
    assert_int_equal(row_count(f), 1);
}

static void delete_table__a_shard_fails__dropped_all_the_same(void **state)
{
    struct dynamodb_fixture *f = *state;

    assert_int_equal(
        dynamodb_fixture_call(f, "PutItem", "{" ORDERS ",\"Item\":{\"order_id\":{\"S\":\"o\"}}}"),
        200);
    assert_int_equal(dynamodb_fixture_call(f, "DeleteTable", "{" ORDERS "}"), 200);
    fake_router_fail(f->router, 1, ERR_TIMEOUT, false);
    fake_env_advance(&f->env, 2000000);
    assert_int_equal(row_count(f), 0);
}

static void delete_table__not_the_lowest_node__left_to_the_other(void **state)
{
    struct dynamodb_fixture *f = *state;
    struct slice value;

    assert_int_equal(
        dynamodb_fixture_call(f, "PutItem", "{" ORDERS ",\"Item\":{\"order_id\":{\"S\":\"o\"}}}"),
        200);
    assert_int_equal(view_get(f->view, "node/7", &value, NULL), OK);
    uint8_t other[16];

    assert_true(value.size <= sizeof(other));
    memcpy(other, value.data, value.size);
    other[1] = 3; /* the id, the first member */
    fake_view_set(f->view, "node/3", slice_of(other, value.size));
    assert_int_equal(dynamodb_fixture_call(f, "DeleteTable", "{" ORDERS "}"), 200);
    fake_env_advance(&f->env, 2000000);
    assert_int_equal(row_count(f), 1);
    fake_view_set(f->view, "node/3", slice_of(NULL, 0));
    fake_env_advance(&f->env, 2000000);
    assert_int_equal(row_count(f), 0);
}

static void delete_table__protected__refused_until_it_is_not(void **state)
{
    struct dynamodb_fixture *f = *state;

    assert_int_equal(
        dynamodb_fixture_call(f, "UpdateTable", "{" ORDERS ",\"DeletionProtectionEnabled\":true}"),
        200);
    dynamodb_fixture_refused(f, "DeleteTable", "{" ORDERS "}", VALIDATION,
                             "Resource cannot be deleted as it is currently protected against "
                             "deletion. Disable deletion protection first. Table: Orders");
    assert_int_equal(
        dynamodb_fixture_call(f, "UpdateTable", "{" ORDERS ",\"DeletionProtectionEnabled\":false}"),
        200);
    assert_int_equal(dynamodb_fixture_call(f, "DeleteTable", "{" ORDERS "}"), 200);
}

static void tags__set_changed_removed(void **state)
{
    struct dynamodb_fixture *f = *state;

#define ARN "\"ResourceArn\":\"arn:aws:dynamodb:us-east-1:000000000000:table/Orders\""
    dynamodb_fixture_expect(f, "TagResource",
                            "{" ARN ",\"Tags\":[{\"Key\":\"a\",\"Value\":\"1\"},{\"Key\":\"b\","
                            "\"Value\":\"2\"}]}",
                            "");
    dynamodb_fixture_expect(f, "TagResource",
                            "{" ARN ",\"Tags\":[{\"Key\":\"a\",\"Value\":\"3\"}]}", "");
    dynamodb_fixture_expect(
        f, "ListTagsOfResource", "{" ARN "}",
        "{\"Tags\":[{\"Key\":\"a\",\"Value\":\"3\"},{\"Key\":\"b\",\"Value\":\"2\"}]}");
    dynamodb_fixture_expect(f, "UntagResource", "{" ARN ",\"TagKeys\":[\"a\",\"z\"]}", "");
    dynamodb_fixture_expect(f, "ListTagsOfResource", "{" ARN "}",
                            "{\"Tags\":[{\"Key\":\"b\",\"Value\":\"2\"}]}");
}

/* ---- items ---- */

static void put_item__every_type__comes_back_normal(void **state)
{
    struct dynamodb_fixture *f = *state;

    dynamodb_fixture_expect(
        f, "PutItem",
        "{" ORDERS ",\"Item\":{\"order_id\":{\"S\":\"o1\"},\"n\":{\"N\":\"12.50\"},\"b\":{\"B\":"
        "\"AAEC\"},\"t\":{\"BOOL\":true},\"z\":{\"NULL\":true},\"l\":{\"L\":[{\"S\":\"\\u00e9"
        "\\n\"},{\"M\":{}}]},\"ss\":{\"SS\":[\"b\",\"a\"]},\"ns\":{\"NS\":[\"1.0\",\"2e1\"]},"
        "\"bs\":{\"BS\":[\"AA==\"]},\"nul\":{\"S\":\"a\\u0000b\"}}}",
        "{}");
    dynamodb_fixture_expect(
        f, "GetItem", "{" ORDERS "," KEY_O1 ",\"ConsistentRead\":true}",
        "{\"Item\":{\"b\":{\"B\":\"AAEC\"},\"bs\":{\"BS\":[\"AA==\"]},\"l\":{\"L\":[{\"S\":"
        "\"\xC3\xA9\\n\"},{\"M\":{}}]},\"n\":{\"N\":\"12.5\"},\"ns\":{\"NS\":[\"1\",\"20\"]},"
        "\"nul\":{\"S\":\"a\\u0000b\"},\"order_id\":{\"S\":\"o1\"},\"ss\":{\"SS\":[\"b\",\"a\"]},"
        "\"t\":{\"BOOL\":true},\"z\":{\"NULL\":true}}}");
}

static void get_item__not_there__empty_object(void **state)
{
    struct dynamodb_fixture *f = *state;

    dynamodb_fixture_expect(f, "GetItem", "{" ORDERS "," KEY_O1 "}", "{}");
}

static void get_item__projection__the_parts(void **state)
{
    struct dynamodb_fixture *f = *state;

    dynamodb_fixture_expect(f, "PutItem",
                            "{" ORDERS ",\"Item\":{\"order_id\":{\"S\":\"o1\"},\"a\":{\"M\":{"
                            "\"b\":{\"N\":\"1\"},\"c\":{\"N\":\"2\"}}},\"name\":{\"S\":\"x\"}}}",
                            "{}");
    dynamodb_fixture_expect(f, "GetItem",
                            "{" ORDERS "," KEY_O1 ",\"ProjectionExpression\":\"a.b, #n\","
                            "\"ExpressionAttributeNames\":{\"#n\":\"name\"}}",
                            "{\"Item\":{\"a\":{\"M\":{\"b\":{\"N\":\"1\"}}},\"name\":{\"S\":"
                            "\"x\"}}}");
    dynamodb_fixture_expect(f, "GetItem",
                            "{" ORDERS "," KEY_O1 ",\"AttributesToGet\":[\"name\",\"zz\"]}",
                            "{\"Item\":{\"name\":{\"S\":\"x\"}}}");
}

static void get_item__consistency__decides_which_replica(void **state)
{
    struct dynamodb_fixture *f = *state;

    dynamodb_fixture_expect(f, "PutItem", "{" ORDERS ",\"Item\":{\"order_id\":{\"S\":\"o1\"}}}",
                            "{}");
    fake_router_set_lagging(f->router, true);
    dynamodb_fixture_expect(f, "GetItem", "{" ORDERS "," KEY_O1 "}", "{}");
    dynamodb_fixture_expect(f, "GetItem", "{" ORDERS "," KEY_O1 ",\"ConsistentRead\":true}",
                            "{\"Item\":{\"order_id\":{\"S\":\"o1\"}}}");
}

#define IF_ABSENT                                                                                  \
    "{" ORDERS ",\"Item\":{\"order_id\":{\"S\":\"o1\"},\"by\":{\"S\":\"me\"}},"                    \
    "\"ConditionExpression\":\"attribute_not_exists(order_id)\""

static void put_item__if_absent__once(void **state)
{
    struct dynamodb_fixture *f = *state;

    dynamodb_fixture_expect(f, "PutItem", IF_ABSENT "}", "{}");
    dynamodb_fixture_refused(f, "PutItem", IF_ABSENT "}", SERVICE "ConditionalCheckFailedException",
                             "The conditional request failed");
    assert_null(strstr(text(f), "\"Item\""));
    dynamodb_fixture_refused(
        f, "PutItem", IF_ABSENT ",\"ReturnValuesOnConditionCheckFailure\":\"ALL_OLD\"}",
        SERVICE "ConditionalCheckFailedException", "The conditional request failed");
    assert_non_null(
        strstr(text(f), "\"Item\":{\"by\":{\"S\":\"me\"},\"order_id\":{\"S\":\"o1\"}}"));
}

static void put_item__returns_and_capacity(void **state)
{
    struct dynamodb_fixture *f = *state;

    dynamodb_fixture_expect(f, "PutItem",
                            "{" ORDERS ",\"Item\":{\"order_id\":{\"S\":\"o1\"},\"v\":{\"N\":"
                            "\"1\"}},\"ReturnValues\":\"ALL_OLD\",\"ReturnConsumedCapacity\":"
                            "\"TOTAL\"}",
                            "{\"ConsumedCapacity\":{\"TableName\":\"Orders\",\"CapacityUnits\":"
                            "1.0}}");
    dynamodb_fixture_expect(f, "PutItem",
                            "{" ORDERS ",\"Item\":{\"order_id\":{\"S\":\"o1\"}},\"ReturnValues\":"
                            "\"ALL_OLD\"}",
                            "{\"Attributes\":{\"order_id\":{\"S\":\"o1\"},\"v\":{\"N\":\"1\"}}}");
    dynamodb_fixture_expect(
        f, "GetItem", "{" ORDERS "," KEY_O1 ",\"ReturnConsumedCapacity\":\"INDEXES\"}",
        "{\"Item\":{\"order_id\":{\"S\":\"o1\"}},\"ConsumedCapacity\":{\"TableName\":\"Orders\","
        "\"CapacityUnits\":0.5,\"Table\":{\"CapacityUnits\":0.5}}}");
}

static void delete_item__there_or_not__done(void **state)
{
    struct dynamodb_fixture *f = *state;

    dynamodb_fixture_expect(f, "DeleteItem", "{" ORDERS "," KEY_O1 "}", "{}");
    dynamodb_fixture_expect(f, "PutItem", "{" ORDERS ",\"Item\":{\"order_id\":{\"S\":\"o1\"}}}",
                            "{}");
    dynamodb_fixture_expect(f, "DeleteItem", "{" ORDERS "," KEY_O1 ",\"ReturnValues\":\"ALL_OLD\"}",
                            "{\"Attributes\":{\"order_id\":{\"S\":\"o1\"}}}");
    dynamodb_fixture_expect(f, "GetItem", "{" ORDERS "," KEY_O1 "}", "{}");
}

static void update_item__checkout__paid_once(void **state)
{
    struct dynamodb_fixture *f = *state;
    const char *pay =
        "{" ORDERS "," KEY_O1 ",\"ReturnValues\":\"UPDATED_NEW\",\"UpdateExpression\":\"SET #s = "
        ":paid ADD tries :one\",\"ConditionExpression\":\"#s = :new\","
        "\"ExpressionAttributeNames\":{\"#s\":\"status\"},\"ExpressionAttributeValues\":{\":paid\":"
        "{\"S\":\"PAID\"},\":new\":{\"S\":\"NEW\"},\":one\":{\"N\":\"1\"}}}";

    dynamodb_fixture_expect(
        f, "PutItem",
        "{" ORDERS ",\"Item\":{\"order_id\":{\"S\":\"o1\"},\"status\":{\"S\":\"NEW\"}}}", "{}");
    dynamodb_fixture_expect(
        f, "UpdateItem", pay,
        "{\"Attributes\":{\"status\":{\"S\":\"PAID\"},\"tries\":{\"N\":\"1\"}}}");
    dynamodb_fixture_refused(f, "UpdateItem", pay, SERVICE "ConditionalCheckFailedException",
                             "The conditional request failed");
}

static void update_item__no_item__created_with_its_key(void **state)
{
    struct dynamodb_fixture *f = *state;

    dynamodb_fixture_expect(f, "UpdateItem", "{" ORDERS "," KEY_O1 ",\"ReturnValues\":\"ALL_NEW\"}",
                            "{\"Attributes\":{\"order_id\":{\"S\":\"o1\"}}}");
    dynamodb_fixture_expect(f, "UpdateItem",
                            "{" ORDERS ",\"Key\":{\"order_id\":{\"S\":\"o2\"}},"
                            "\"UpdateExpression\":\"REMOVE x\"}",
                            "{}");
    dynamodb_fixture_expect(f, "GetItem", "{" ORDERS ",\"Key\":{\"order_id\":{\"S\":\"o2\"}}}",
                            "{}");
}

/* ---- batches ---- */

#define LEGACY_KEY "\"TableName\":\"Orders\",\"Key\":{\"order_id\":{\"S\":\"o1\"}}"

static void update_item__attribute_updates__as_expressions_would(void **state)
{
    struct dynamodb_fixture *f = *state;

    dynamodb_fixture_make_tables(f);
    dynamodb_fixture_expect(f, "UpdateItem",
                            "{" LEGACY_KEY ",\"ReturnValues\":\"ALL_NEW\",\"AttributeUpdates\":{"
                            "\"l\":{\"Action\":\"ADD\",\"Value\":{\"L\":[{\"S\":\"x\"}]}},"
                            "\"n\":{\"Action\":\"ADD\",\"Value\":{\"N\":\"2\"}},"
                            "\"p\":{\"Value\":{\"S\":\"put\"}},\"gone\":{\"Action\":\"DELETE\"}}}",
                            "{\"Attributes\":{\"l\":{\"L\":[{\"S\":\"x\"}]},\"n\":{\"N\":\"2\"},"
                            "\"order_id\":{\"S\":\"o1\"},"
                            "\"p\":{\"S\":\"put\"}}}");
    dynamodb_fixture_expect(f, "UpdateItem",
                            "{" LEGACY_KEY
                            ",\"ReturnValues\":\"UPDATED_NEW\",\"AttributeUpdates\":{"
                            "\"l\":{\"Action\":\"ADD\",\"Value\":{\"L\":[{\"S\":\"y\"}]}},\"p\":{"
                            "\"Action\":\"DELETE\"}},"
                            "\"Expected\":{\"n\":{\"ComparisonOperator\":\"BETWEEN\","
                            "\"AttributeValueList\":[{\"N\":\"1\"},"
                            "{\"N\":\"3\"}]},\"q\":{\"Exists\":false}}}",
                            "{\"Attributes\":{\"l\":{\"L\":[{\"S\":\"x\"},{\"S\":\"y\"}]}}}");
    dynamodb_fixture_refused(
        f, "UpdateItem",
        "{" LEGACY_KEY
        ",\"AttributeUpdates\":{\"l\":{\"Action\":\"ADD\",\"Value\":{\"N\":\"1\"}}}}",
        VALIDATION, "Type mismatch for attribute to update");
}

/* Each comparison on an item {n: 2, s: "abc"}: does it hold? */
static void delete_item__expected__each_comparison(void **state)
{
    static const struct {
        const char *expected;
        bool holds;
    } cases[] = {
        {"\"n\":{\"Value\":{\"N\":\"2.0\"}}", true},
        {"\"n\":{\"Value\":{\"N\":\"3\"}}", false},
        {"\"x\":{\"ComparisonOperator\":\"NE\",\"Value\":{\"N\":\"3\"}}", true},
        {"\"x\":{\"ComparisonOperator\":\"NOT_CONTAINS\",\"Value\":{\"S\":\"z\"}}", false},
        {"\"s\":{\"ComparisonOperator\":\"NOT_CONTAINS\",\"Value\":{\"S\":\"z\"}}", true},
        {"\"s\":{\"ComparisonOperator\":\"CONTAINS\",\"Value\":{\"S\":\"bc\"}}", true},
        {"\"s\":{\"ComparisonOperator\":\"BEGINS_WITH\",\"Value\":{\"S\":\"bc\"}}", false},
        {"\"s\":{\"ComparisonOperator\":\"IN\",\"AttributeValueList\":[{\"S\":\"q\"},{\"S\":"
         "\"abc\"}]}",
         true},
        {"\"s\":{\"ComparisonOperator\":\"NULL\"}", false},
        {"\"s\":{\"ComparisonOperator\":\"NOT_NULL\"},\"n\":{\"Exists\":false}", false},
    };
    struct dynamodb_fixture *f = *state;

    dynamodb_fixture_make_tables(f);
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        char body[512];

        (void)snprintf(body, sizeof(body), "{" LEGACY_KEY ",\"Expected\":{%s}}", cases[i].expected);
        dynamodb_fixture_expect(f, "PutItem",
                                "{\"TableName\":\"Orders\",\"Item\":{\"order_id\":{\"S\":\"o1\"},"
                                "\"n\":{\"N\":\"2\"},\"s\":{\"S\":\"abc\"}}}",
                                "{}");
        if (cases[i].holds)
            dynamodb_fixture_expect(f, "DeleteItem", body, "{}");
        else
            dynamodb_fixture_refused(f, "DeleteItem", body,
                                     SERVICE "ConditionalCheckFailedException",
                                     "The conditional request failed");
    }
}

static void batch_write_and_get__two_tables(void **state)
{
    struct dynamodb_fixture *f = *state;

    dynamodb_fixture_expect(
        f, "BatchWriteItem",
        "{\"RequestItems\":{\"Orders\":[{\"PutRequest\":{\"Item\":{\"order_id\":{\"S\":\"o1\"}}}},"
        "{\"PutRequest\":{\"Item\":{\"order_id\":{\"S\":\"o2\"}}}}],\"Lines\":[{\"PutRequest\":{"
        "\"Item\":{\"order_id\":{\"S\":\"o1\"},\"line\":{\"N\":\"1\"},\"q\":{\"N\":\"2\"}}}}]}}",
        "{\"UnprocessedItems\":{}}");
    dynamodb_fixture_expect(
        f, "BatchWriteItem",
        "{\"RequestItems\":{\"Orders\":[{\"DeleteRequest\":{\"Key\":{\"order_id\":{\"S\":\"o2\"}}}"
        "}]}}",
        "{\"UnprocessedItems\":{}}");
    dynamodb_fixture_expect(
        f, "BatchGetItem",
        "{\"RequestItems\":{\"Orders\":{\"Keys\":[{\"order_id\":{\"S\":\"o1\"}},{\"order_id\":{"
        "\"S\":\"o2\"}}],\"ConsistentRead\":true},\"Lines\":{\"Keys\":[{\"order_id\":{\"S\":"
        "\"o1\"},\"line\":{\"N\":\"1.0\"}}],\"ProjectionExpression\":\"q\"}}}",
        "{\"Responses\":{\"Orders\":[{\"order_id\":{\"S\":\"o1\"}}],\"Lines\":[{\"q\":{\"N\":"
        "\"2\"}}]},\"UnprocessedKeys\":{}}");
}

static void batch__a_part_is_shed__comes_back_unprocessed(void **state)
{
    struct dynamodb_fixture *f = *state;

    fake_router_fail(f->router, 1, ERR_OVERLOADED, false);
    dynamodb_fixture_expect(
        f, "BatchWriteItem",
        "{\"RequestItems\":{\"Orders\":[{\"PutRequest\":{\"Item\":{\"order_id\":{\"S\":\"o1\"}}}},"
        "{\"PutRequest\":{\"Item\":{\"order_id\":{\"S\":\"o2\"}}}}]}}",
        "{\"UnprocessedItems\":{\"Orders\":[{\"PutRequest\":{\"Item\":{\"order_id\":{\"S\":"
        "\"o2\"}}}}]}}");
    fake_router_fail(f->router, 0, ERR_OVERLOADED, false);
    dynamodb_fixture_expect(
        f, "BatchGetItem",
        "{\"RequestItems\":{\"Orders\":{\"ConsistentRead\":true,\"Keys\":[{\"order_id\":{\"S\":"
        "\"o2\"}},{\"order_id\":{\"S\":\"o1\"}}]}}}",
        "{\"Responses\":{\"Orders\":[{\"order_id\":{\"S\":\"o1\"}}]},\"UnprocessedKeys\":{"
        "\"Orders\":{\"Keys\":[{\"order_id\":{\"S\":\"o2\"}}],\"ConsistentRead\":true}}}");
}

/* ---- when the router or the node fails ---- */

static void router_fails__the_errors_sdks_retry(void **state)
{
    static const struct {
        enum error rc;
        int status;
    } cases[] = {{ERR_TIMEOUT, 500}, {ERR_LOST, 500}, {ERR_OVERLOADED, 400}};
    struct dynamodb_fixture *f = *state;

    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        fake_router_fail(f->router, 0, cases[i].rc, false);
        assert_int_equal(dynamodb_fixture_call(
                             f, "PutItem", "{" ORDERS ",\"Item\":{\"order_id\":{\"S\":\"o\"}}}"),
                         cases[i].status);
        if (cases[i].rc == ERR_OVERLOADED)
            assert_true(strstr(text(f), "ThrottlingException") != NULL ||
                        strstr(text(f), "ProvisionedThroughputExceededException") != NULL);
        else
            assert_non_null(strstr(text(f), SERVICE "InternalServerError"));
    }
}

static void dynamodb_free__requests_in_flight__nothing_is_left(void **state)
{
    struct dynamodb_fixture *f = *state;

    fake_router_hold(f->router, true);
    fake_view_hold(f->view, true);
    dynamodb_fixture_start(f, "DeleteTable", "{\"TableName\":\"Lines\"}");
    fake_env_run(&f->env);
    assert_int_equal(f->answer.count, 0);
    dynamodb_free(f->dynamodb);
    f->dynamodb = NULL;
}

static void dynamodb_free__scan_in_flight__nothing_is_left(void **state)
{
    struct dynamodb_fixture *f = *state;

    fake_router_hold(f->router, true);
    dynamodb_fixture_start(f, "Scan", "{" ORDERS "}");
    fake_env_run(&f->env);
    assert_int_equal(f->answer.count, 0);
    dynamodb_free(f->dynamodb);
    f->dynamodb = NULL;
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, with_tables, dynamodb_fixture_tear_down)
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(update_item__attribute_updates__as_expressions_would,
                                        dynamodb_fixture_set_up, dynamodb_fixture_tear_down),
        cmocka_unit_test_setup_teardown(delete_item__expected__each_comparison,
                                        dynamodb_fixture_set_up, dynamodb_fixture_tear_down),
        cmocka_unit_test_setup_teardown(create_table__the_article__surplus_definition_kept,
                                        dynamodb_fixture_set_up, dynamodb_fixture_tear_down),
        TEST(create_table__another_node_was_quicker__in_use),
        TEST(create_table__own_commit_found_as_a_conflict__success),
        TEST(create_table__catalogue_out_of_reach__a_5xx_that_is_retried),
        TEST(list_tables__pages),
        TEST(delete_table__rows_go_in_the_background_and_the_record_last),
        TEST(delete_table__a_shard_fails__dropped_all_the_same),
        TEST(delete_table__not_the_lowest_node__left_to_the_other),
        TEST(delete_table__protected__refused_until_it_is_not),
        TEST(tags__set_changed_removed),
        TEST(put_item__every_type__comes_back_normal),
        TEST(get_item__not_there__empty_object),
        TEST(get_item__projection__the_parts),
        TEST(get_item__consistency__decides_which_replica),
        TEST(put_item__if_absent__once),
        TEST(put_item__returns_and_capacity),
        TEST(delete_item__there_or_not__done),
        TEST(update_item__checkout__paid_once),
        TEST(update_item__no_item__created_with_its_key),
        TEST(batch_write_and_get__two_tables),
        TEST(batch__a_part_is_shed__comes_back_unprocessed),
        TEST(router_fails__the_errors_sdks_retry),
        TEST(dynamodb_free__requests_in_flight__nothing_is_left),
        TEST(dynamodb_free__scan_in_flight__nothing_is_left),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
