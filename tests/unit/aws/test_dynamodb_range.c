#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "proto/base/check.h"
#include "tests/unit/aws/dynamodb_fixture.h"

#include <jansson.h>
#include <stdio.h>

#define ORDERS 40
#define LINES 9

static int with_rows(void **state)
{
    int rc = dynamodb_fixture_set_up(state);
    struct dynamodb_fixture *f = *state;
    char body[256];

    dynamodb_fixture_make_tables(f);
    for (int i = 0; i < ORDERS; i++) {
        (void)snprintf(body, sizeof(body),
                       "{\"TableName\":\"Orders\",\"Item\":{\"order_id\":{\"S\":\"o%d\"},\"n\":"
                       "{\"N\":\"%d\"}}}",
                       i, i);
        assert_int_equal(dynamodb_fixture_call(f, "PutItem", body), 200);
    }
    for (int i = 0; i < LINES; i++) {
        (void)snprintf(body, sizeof(body),
                       "{\"TableName\":\"Lines\",\"Item\":{\"order_id\":{\"S\":\"o%d\"},\"line\":"
                       "{\"N\":\"%d\"},\"q\":{\"N\":\"%d\"}}}",
                       i % 2, i - 3, i % 3);
        assert_int_equal(dynamodb_fixture_call(f, "PutItem", body), 200);
    }
    return rc;
}

static json_t *answer_of(struct dynamodb_fixture *f, const char *operation, const char *body)
{
    int status = dynamodb_fixture_call(f, operation, body);

    if (status != 200)
        fail_msg("%s %s: %s", operation, body, fake_answer_text(&f->answer));
    return json_loads(fake_answer_text(&f->answer), 0, NULL);
}

/* Follows LastEvaluatedKey; marks every order seen. `options` begins with a comma or is empty. */
static int scan_all(struct dynamodb_fixture *f, const char *options, bool seen[ORDERS])
{
    AUTO(buffer) body = BUFFER_INIT(BUFFER_UNLIMITED);
    char *start = NULL;
    int pages = 0;

    do {
        json_t *answer;
        json_t *item;
        json_t *last;
        size_t i;

        buffer_clear(&body);
        buffer_putf(&body, "{\"TableName\":\"Orders\"%s%s%s}", options,
                    start != NULL ? ",\"ExclusiveStartKey\":" : "", start != NULL ? start : "");
        free(start);
        start = NULL;
        answer = answer_of(f, "Scan", buffer_text(&body));
        json_array_foreach(json_object_get(answer, "Items"), i, item)
        {
            int n = atoi(json_string_value(json_object_get(json_object_get(item, "n"), "N")));

            assert_false(seen[n]);
            seen[n] = true;
        }
        last = json_object_get(answer, "LastEvaluatedKey");
        if (last != NULL)
            start = json_dumps(last, JSON_COMPACT);
        json_decref(answer);
        pages++;
        assert_true(pages < 200);
    } while (start != NULL);
    return pages;
}

static void assert_all_seen(const bool seen[ORDERS])
{
    for (int i = 0; i < ORDERS; i++)
        if (!seen[i])
            fail_msg("o%d was not seen", i);
}

static void scan__any_limit__every_row_once(void **state)
{
    static const char *const options[] = {"", ",\"Limit\":1", ",\"Limit\":7", ",\"Limit\":40",
                                          ",\"Limit\":1000,\"ConsistentRead\":true"};

    for (size_t i = 0; i < ARRAY_COUNT(options); i++) {
        bool seen[ORDERS] = {0};

        (void)scan_all(*state, options[i], seen);
        assert_all_seen(seen);
    }
}

static void scan__segments__every_row_in_one_of_them(void **state)
{
    static const int totals[] = {1, 2, 3, 5, 8};
    char options[96];

    for (size_t i = 0; i < ARRAY_COUNT(totals); i++) {
        bool seen[ORDERS] = {0};

        for (int segment = 0; segment < totals[i]; segment++) {
            (void)snprintf(options, sizeof(options),
                           ",\"Segment\":%d,\"TotalSegments\":%d,\"Limit\":3", segment, totals[i]);
            (void)scan_all(*state, options, seen);
        }
        assert_all_seen(seen);
    }
}

static void scan__filter_and_select__counts(void **state)
{
    struct dynamodb_fixture *f = *state;
    json_t *answer = answer_of(f, "Scan",
                               "{\"TableName\":\"Orders\",\"FilterExpression\":\"n < :five\","
                               "\"ProjectionExpression\":\"n\",\"ExpressionAttributeValues\":{"
                               "\":five\":{\"N\":\"5\"}}}");

    assert_int_equal(json_integer_value(json_object_get(answer, "Count")), 5);
    assert_int_equal(json_integer_value(json_object_get(answer, "ScannedCount")), ORDERS);
    assert_int_equal(json_array_size(json_object_get(answer, "Items")), 5);
    assert_int_equal(json_object_size(json_array_get(json_object_get(answer, "Items"), 0)), 1);
    json_decref(answer);
    dynamodb_fixture_expect(f, "Scan",
                            "{\"TableName\":\"Orders\",\"Select\":\"COUNT\","
                            "\"ReturnConsumedCapacity\":\"TOTAL\"}",
                            "{\"Count\":40,\"ScannedCount\":40,\"ConsumedCapacity\":{"
                            "\"TableName\":\"Orders\",\"CapacityUnits\":0.5}}");
}

static void scan__more_than_a_megabyte__pages(void **state)
{
    struct dynamodb_fixture *f = *state;
    AUTO(buffer) body = BUFFER_INIT(BUFFER_UNLIMITED);
    bool seen[ORDERS] = {0};
    int pages;

    for (int i = 0; i < ORDERS; i++) {
        buffer_clear(&body);
        buffer_putf(&body,
                    "{\"TableName\":\"Orders\",\"Item\":{\"order_id\":{\"S\":\"o%d\"},\"n\":{"
                    "\"N\":\"%d\"},\"pad\":{\"S\":\"",
                    i, i);
        for (int k = 0; k < 100000; k++)
            buffer_put_u8(&body, 'x');
        buffer_put_text(&body, "\"}}}");
        assert_int_equal(dynamodb_fixture_call(f, "PutItem", buffer_text(&body)), 200);
    }
    pages = scan_all(f, ",\"ConsistentRead\":true", seen);
    assert_all_seen(seen);
    assert_in_range(pages, 4, 5); /* ten rows of 100 kB fit in a page */
}

#define QUERY(condition, more)                                                                     \
    "{\"TableName\":\"Lines\",\"KeyConditionExpression\":\"order_id = :o" condition "\"" more      \
    ",\"ExpressionAttributeValues\":{\":o\":{\"S\":\"o0\"}"

/* "line" of every row: "-3 -1 1 ". */
static const char *lines_of(struct dynamodb_fixture *f, const char *body, struct buffer *text)
{
    json_t *answer = answer_of(f, "Query", body);
    json_t *item;
    size_t i;

    buffer_clear(text);
    json_array_foreach(json_object_get(answer, "Items"), i, item)
    {
        buffer_putf(text, "%s ",
                    json_string_value(json_object_get(json_object_get(item, "line"), "N")));
    }
    if (json_object_get(answer, "LastEvaluatedKey") != NULL)
        buffer_put_text(text, "...");
    json_decref(answer);
    return buffer_text(text);
}

static void query__key_conditions__the_rows_between(void **state)
{
    static const struct {
        const char *body;
        const char *lines;
    } cases[] = {
        {QUERY("", "") "}}", "-3 -1 1 3 5 "},
        {QUERY("", ",\"ScanIndexForward\":false") "}}", "5 3 1 -1 -3 "},
        {QUERY(" AND line = :a", "") ",\":a\":{\"N\":\"1.0\"}}}", "1 "},
        {QUERY(" AND line = :a", "") ",\":a\":{\"N\":\"2\"}}}", ""},
        {QUERY(" AND line < :a", "") ",\":a\":{\"N\":\"1\"}}}", "-3 -1 "},
        {QUERY(" AND line <= :a", "") ",\":a\":{\"N\":\"1\"}}}", "-3 -1 1 "},
        {QUERY(" AND line > :a", "") ",\":a\":{\"N\":\"1\"}}}", "3 5 "},
        {QUERY(" AND line >= :a", "") ",\":a\":{\"N\":\"1\"}}}", "1 3 5 "},
        {QUERY(" AND line BETWEEN :a AND :b", "") ",\":a\":{\"N\":\"-1\"},\":b\":{\"N\":\"3\"}}}",
         "-1 1 3 "},
        {QUERY("", ",\"Limit\":2") "}}", "-3 -1 ..."},
        {QUERY("", ",\"Limit\":5") "}}", "-3 -1 1 3 5 ..."},
        {QUERY("", ",\"Limit\":6") "}}", "-3 -1 1 3 5 "},
        {QUERY("", ",\"Limit\":2,\"ExclusiveStartKey\":{\"order_id\":{\"S\":\"o0\"},\"line\":{"
                   "\"N\":\"-1\"}}") "}}",
         "1 3 ..."},
        {QUERY("", ",\"ScanIndexForward\":false,\"ExclusiveStartKey\":{\"order_id\":{\"S\":\"o0\"},"
                   "\"line\":{\"N\":\"1\"}}") "}}",
         "-1 -3 "},
        {QUERY("", ",\"FilterExpression\":\"q = :q\"") ",\":q\":{\"N\":\"0\"}}}", "-3 3 "},
    };
    AUTO(buffer) text = BUFFER_INIT(BUFFER_UNLIMITED);

    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        const char *lines = lines_of(*state, cases[i].body, &text);

        if (strcmp(lines, cases[i].lines) != 0)
            fail_msg("%s\n  gave %s\n  not  %s", cases[i].body, lines, cases[i].lines);
    }
}

static void query__begins_with__on_strings(void **state)
{
    static const char *const names[] = {"a", "ab", "ab\\u0000", "abc", "ac", "b"};
    struct dynamodb_fixture *f = *state;
    char body[256];

    assert_int_equal(
        dynamodb_fixture_call(
            f, "CreateTable",
            "{\"TableName\":\"Names\",\"BillingMode\":\"PAY_PER_REQUEST\","
            "\"AttributeDefinitions\":[{\"AttributeName\":\"h\",\"AttributeType\":\"N\"},"
            "{\"AttributeName\":\"s\",\"AttributeType\":\"S\"}],"
            "\"KeySchema\":[{\"AttributeName\":\"h\",\"KeyType\":\"HASH\"},"
            "{\"AttributeName\":\"s\",\"KeyType\":\"RANGE\"}]}"),
        200);
    for (size_t i = 0; i < ARRAY_COUNT(names); i++) {
        (void)snprintf(body, sizeof(body),
                       "{\"TableName\":\"Names\",\"Item\":{\"h\":{\"N\":\"1\"},\"s\":{\"S\":\"%s\"}"
                       "}}",
                       names[i]);
        assert_int_equal(dynamodb_fixture_call(f, "PutItem", body), 200);
    }
    dynamodb_fixture_expect(
        f, "Query",
        "{\"TableName\":\"Names\",\"KeyConditionExpression\":\"h = :h AND begins_with(s, :s)\","
        "\"ProjectionExpression\":\"s\",\"ExpressionAttributeValues\":{\":h\":{\"N\":\"1\"},"
        "\":s\":{\"S\":\"ab\"}}}",
        "{\"Items\":[{\"s\":{\"S\":\"ab\"}},{\"s\":{\"S\":\"ab\\u0000\"}},{\"s\":{\"S\":\"abc\"}}]"
        ",\"Count\":3,\"ScannedCount\":3}");
}

static void query__filter_on_a_key__refused(void **state)
{
    dynamodb_fixture_refused(
        *state, "Query",
        "{\"TableName\":\"Lines\",\"KeyConditionExpression\":\"order_id = :o\","
        "\"FilterExpression\":\"line = :n\",\"ExpressionAttributeValues\":{\":o\":{\"S\":\"o\"},"
        "\":n\":{\"N\":\"1\"}}}",
        VALIDATION,
        "Filter Expression can only contain non-primary key attributes: Primary key attribute: "
        "line");
}

/* ---- local indexes ------------------------------------------------------------------------- */

static void make_indexed(struct dynamodb_fixture *f)
{
    static const char *const items[] = {
        "\"b\":{\"S\":\"1\"},\"c\":{\"N\":\"30\"},\"d\":{\"S\":\"x\"},\"e\":{\"S\":\"e\"}",
        "\"b\":{\"S\":\"2\"},\"c\":{\"N\":\"-7\"},\"d\":{\"S\":\"y\"}",
        "\"b\":{\"S\":\"3\"},\"d\":{\"S\":\"z\"}", /* not in the index */
        "\"b\":{\"S\":\"4\"},\"c\":{\"N\":\"9\"}"};

    assert_int_equal(
        dynamodb_fixture_call(
            f, "CreateTable",
            "{\"TableName\":\"Indexed\",\"BillingMode\":\"PAY_PER_REQUEST\","
            "\"AttributeDefinitions\":["
            "{\"AttributeName\":\"a\",\"AttributeType\":\"S\"},{\"AttributeName\":\"b\","
            "\"AttributeType\":\"S\"},{\"AttributeName\":\"c\",\"AttributeType\":\"N\"}],"
            "\"KeySchema\":["
            "{\"AttributeName\":\"a\",\"KeyType\":\"HASH\"},{\"AttributeName\":\"b\",\"KeyType\":"
            "\"RANGE\"}],\"LocalSecondaryIndexes\":[{\"IndexName\":\"by_c\",\"KeySchema\":["
            "{\"AttributeName\":\"a\",\"KeyType\":\"HASH\"},{\"AttributeName\":\"c\",\"KeyType\":"
            "\"RANGE\"}],\"Projection\":{\"ProjectionType\":\"INCLUDE\",\"NonKeyAttributes\":["
            "\"d\"]}}]}"),
        200);
    for (size_t i = 0; i < ARRAY_COUNT(items); i++) {
        char body[512];

        (void)snprintf(body, sizeof(body),
                       "{\"TableName\":\"Indexed\",\"Item\":{\"a\":{\"S\":\"h\"},%s}}", items[i]);
        dynamodb_fixture_expect(f, "PutItem", body, "{}");
    }
}

#define BY_C(condition, more)                                                                      \
    "{\"TableName\":\"Indexed\",\"IndexName\":\"by_c\",\"KeyConditionExpression\":\"a = "          \
    ":a" condition "\",\"ExpressionAttributeValues\":{\":a\":{\"S\":\"h\"}" more "}"
#define ITEM_1 "{\"a\":{\"S\":\"h\"},\"b\":{\"S\":\"1\"},\"c\":{\"N\":\"30\"},\"d\":{\"S\":\"x\"}}"
#define ITEM_2 "{\"a\":{\"S\":\"h\"},\"b\":{\"S\":\"2\"},\"c\":{\"N\":\"-7\"},\"d\":{\"S\":\"y\"}}"
#define ITEM_4 "{\"a\":{\"S\":\"h\"},\"b\":{\"S\":\"4\"},\"c\":{\"N\":\"9\"}}"

static void query__local_index__its_order_and_projection(void **state)
{
    struct dynamodb_fixture *f = *state;

    make_indexed(f);

    dynamodb_fixture_expect(f, "Query", BY_C("", "") "}",
                            "{\"Items\":[" ITEM_2 "," ITEM_4 "," ITEM_1
                            "],\"Count\":3,\"ScannedCount\":3}");
    dynamodb_fixture_expect(
        f, "Query", BY_C(" AND c > :c", ",\":c\":{\"N\":\"0\"}") ",\"ScanIndexForward\":false}",
        "{\"Items\":[" ITEM_1 "," ITEM_4 "],\"Count\":2,\"ScannedCount\":2}");
    dynamodb_fixture_expect(
        f, "Query", BY_C(" AND c = :c", ",\":c\":{\"N\":\"30\"}") ",\"Select\":\"ALL_ATTRIBUTES\"}",
        "{\"Items\":[{\"a\":{\"S\":\"h\"},\"b\":{\"S\":\"1\"},\"c\":{\"N\":\"30\"},\"d\":{\"S\":"
        "\"x\"},"
        "\"e\":{\"S\":\"e\"}}],\"Count\":1,\"ScannedCount\":1}");
    dynamodb_fixture_expect(f, "Query", BY_C("", "") ",\"Limit\":1}",
                            "{\"Items\":[" ITEM_2 "],\"Count\":1,\"ScannedCount\":1,"
                            "\"LastEvaluatedKey\":{\"a\":{\"S\":\"h\"},\"b\":{\"S\":\"2\"},\"c\":{"
                            "\"N\":\"-7\"}}}");
    dynamodb_fixture_expect(f, "Query",
                            BY_C("", "") ",\"ExclusiveStartKey\":{\"a\":{\"S\":\"h\"},\"b\":{\"S\":"
                                         "\"2\"},\"c\":{\"N\":\"-7\"}}}",
                            "{\"Items\":[" ITEM_4 "," ITEM_1 "],\"Count\":2,\"ScannedCount\":2}");
}

static void local_index__follows_its_rows(void **state)
{
    struct dynamodb_fixture *f = *state;
    size_t keys = fake_router_key_count(f->router);

    make_indexed(f);
    assert_int_equal(fake_router_key_count(f->router), keys + 7);

    dynamodb_fixture_expect(
        f, "UpdateItem",
        "{\"TableName\":\"Indexed\",\"Key\":{\"a\":{\"S\":\"h\"},\"b\":{\"S\":\"1\"}},"
        "\"UpdateExpression\":\"SET c = :c\",\"ExpressionAttributeValues\":{\":c\":{\"N\":\"0\"}}}",
        "{}");
    dynamodb_fixture_expect(
        f, "DeleteItem",
        "{\"TableName\":\"Indexed\",\"Key\":{\"a\":{\"S\":\"h\"},\"b\":{\"S\":\"4\"}}}", "{}");
    dynamodb_fixture_expect(f, "Query", BY_C("", "") ",\"ProjectionExpression\":\"c\"}",
                            "{\"Items\":[{\"c\":{\"N\":\"-7\"}},{\"c\":{\"N\":\"0\"}}],\"Count\":2,"
                            "\"ScannedCount\":2}");
    dynamodb_fixture_refused(
        f, "UpdateItem",
        "{\"TableName\":\"Indexed\",\"Key\":{\"a\":{\"S\":\"h\"},\"b\":{\"S\":\"1\"}},"
        "\"UpdateExpression\":\"SET c = b\"}",
        VALIDATION,
        "The update expression attempted to update the secondary index key to unsupported type");
    dynamodb_fixture_refused(
        f, "PutItem",
        "{\"TableName\":\"Indexed\",\"Item\":{\"a\":{\"S\":\"h\"},\"b\":{\"S\":\"1\"},\"c\":{\"S\":"
        "\"q\"}}}",
        VALIDATION,
        "One or more parameter values were invalid: Type mismatch for Index Key c Expected: N "
        "Actual: S IndexName: by_c");
    assert_int_equal(fake_router_key_count(f->router), keys + 5);
}

static void scan__a_shard_fails__the_whole_fails(void **state)
{
    struct dynamodb_fixture *f = *state;

    fake_router_fail(f->router, 2, ERR_TIMEOUT, false);
    assert_int_equal(dynamodb_fixture_call(f, "Scan", "{\"TableName\":\"Orders\"}"), 500);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, with_rows, dynamodb_fixture_tear_down)
    const struct CMUnitTest tests[] = {
        TEST(scan__any_limit__every_row_once),
        TEST(scan__segments__every_row_in_one_of_them),
        TEST(scan__filter_and_select__counts),
        TEST(scan__more_than_a_megabyte__pages),
        TEST(query__key_conditions__the_rows_between),
        TEST(query__begins_with__on_strings),
        TEST(query__filter_on_a_key__refused),
        TEST(query__local_index__its_order_and_projection),
        TEST(local_index__follows_its_rows),
        TEST(scan__a_shard_fails__the_whole_fails),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
