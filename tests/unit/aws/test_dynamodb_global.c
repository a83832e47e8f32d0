#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "node/table/table_courier.h"
#include "proto/base/check.h"
#include "tests/unit/aws/dynamodb_fixture.h"

#include <stdio.h>

#define WHILE_US 400000 /* longer than the courier and the builder rest */

struct fixture {
    struct dynamodb_fixture *dynamodb;
    struct table_courier *courier;
};

static int set_up(void **state)
{
    struct fixture *f = check_calloc(1, sizeof(*f));
    void *dynamodb;

    assert_int_equal(dynamodb_fixture_set_up(&dynamodb), 0);
    f->dynamodb = dynamodb;
    f->courier = table_courier_new(&f->dynamodb->env.env, f->dynamodb->router);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    void *dynamodb = f->dynamodb;

    table_courier_free(f->courier);
    assert_int_equal(dynamodb_fixture_tear_down(&dynamodb), 0);
    free(f);
    return 0;
}

#define DEFINITIONS(more)                                                                          \
    "\"AttributeDefinitions\":[{\"AttributeName\":\"id\",\"AttributeType\":\"S\"}" more "]"
#define OWNER ",{\"AttributeName\":\"owner\",\"AttributeType\":\"S\"}"
#define BY_OWNER                                                                                   \
    "{\"IndexName\":\"byOwner\",\"KeySchema\":[{\"AttributeName\":\"owner\",\"KeyType\":"          \
    "\"HASH\"}],\"Projection\":{\"ProjectionType\":\"KEYS_ONLY\"}}"

static void make(struct fixture *f, const char *definitions, const char *indexes)
{
    char body[1024];

    (void)snprintf(body, sizeof(body),
                   "{\"TableName\":\"Orders\",\"BillingMode\":\"PAY_PER_REQUEST\",%s,"
                   "\"KeySchema\":[{\"AttributeName\":\"id\",\"KeyType\":\"HASH\"}]%s}",
                   definitions, indexes);
    assert_int_equal(dynamodb_fixture_call(f->dynamodb, "CreateTable", body), 200);
}

static void put(struct fixture *f, const char *id, const char *owner)
{
    char body[256];

    (void)snprintf(body, sizeof(body),
                   "{\"TableName\":\"Orders\",\"Item\":{\"id\":{\"S\":\"%s\"},\"owner\":{\"S\":"
                   "\"%s\"},\"v\":{\"N\":\"1\"}}}",
                   id, owner);
    assert_int_equal(dynamodb_fixture_call(f->dynamodb, "PutItem", body), 200);
}

static void pass_time(struct fixture *f)
{
    fake_env_advance(&f->dynamodb->env, WHILE_US);
}

#define QUERY_ANN                                                                                  \
    "{\"TableName\":\"Orders\",\"IndexName\":\"byOwner\",\"KeyConditionExpression\":\"#o = :o\","  \
    "\"ExpressionAttributeNames\":{\"#o\":\"owner\"},"                                             \
    "\"ExpressionAttributeValues\":{\":o\":{\"S\":\"ann\"}}}"
#define ROW(id) "{\"id\":{\"S\":\"" id "\"},\"owner\":{\"S\":\"ann\"}}"
#define ONE_ROW(id) "{\"Items\":[" ROW(id) "],\"Count\":1,\"ScannedCount\":1}"
#define NO_ROWS "{\"Items\":[],\"Count\":0,\"ScannedCount\":0}"

static void index__made_with_the_table__follows_it(void **state)
{
    struct fixture *f = *state;

    make(f, DEFINITIONS(OWNER), ",\"GlobalSecondaryIndexes\":[" BY_OWNER "]");
    put(f, "1", "ann");
    put(f, "2", "bob");
    pass_time(f);
    dynamodb_fixture_expect(f->dynamodb, "Query", QUERY_ANN, ONE_ROW("1"));

    put(f, "1", "bob");
    put(f, "2", "ann");
    pass_time(f);
    dynamodb_fixture_expect(f->dynamodb, "Query", QUERY_ANN, ONE_ROW("2"));
}

static void index__courier_fails_at_any_step__follows_in_the_end(void **state)
{
    struct fixture *f = *state;

    make(f, DEFINITIONS(OWNER), ",\"GlobalSecondaryIndexes\":[" BY_OWNER "]");
    for (size_t step = 0; step < 6; step++) {
        put(f, "1", step % 2 == 0 ? "ann" : "bob");
        fake_router_fail(f->dynamodb->router, step, ERR_TIMEOUT, step % 2 == 0);
        pass_time(f);
        pass_time(f);
        pass_time(f);
        fake_router_fail(f->dynamodb->router, SIZE_MAX, OK, true);
        dynamodb_fixture_expect(f->dynamodb, "Query", QUERY_ANN,
                                step % 2 == 0 ? ONE_ROW("1") : NO_ROWS);
    }
}

static void index__made_and_removed_later__filled_and_emptied(void **state)
{
    struct fixture *f = *state;
    size_t keys;

    make(f, DEFINITIONS(""), "");
    put(f, "1", "ann");
    put(f, "2", "bob");
    keys = fake_router_key_count(f->dynamodb->router);
    assert_int_equal(dynamodb_fixture_call(f->dynamodb, "UpdateTable",
                                           "{\"TableName\":\"Orders\"," DEFINITIONS(
                                               OWNER) ",\"GlobalSecondaryIndexUpdates\":[{"
                                                      "\"Create\":" BY_OWNER "}]}"),
                     200);
    dynamodb_fixture_refused(f->dynamodb, "Query", QUERY_ANN, VALIDATION,
                             "Cannot read from backfilling global secondary index: byOwner");
    for (int i = 0; i < 20; i++)
        pass_time(f);
    dynamodb_fixture_expect(f->dynamodb, "Query", QUERY_ANN, ONE_ROW("1"));

    assert_int_equal(
        dynamodb_fixture_call(f->dynamodb, "UpdateTable",
                              "{\"TableName\":\"Orders\",\"GlobalSecondaryIndexUpdates\":[{"
                              "\"Delete\":{\"IndexName\":\"byOwner\"}}]}"),
        200);
    for (int i = 0; i < 20; i++)
        pass_time(f);
    dynamodb_fixture_refused(f->dynamodb, "Query", QUERY_ANN, VALIDATION,
                             "The table does not have the specified index: byOwner");
    /* No row is left of it: only what shards know of the indexes, and of their streams. */
    assert_true(fake_router_key_count(f->dynamodb->router) <= keys + 5 * (2 + 5));
}

static void index__courier_freed_with_batches_on_their_way__nothing_is_left(void **state)
{
    struct fixture *f = *state;

    make(f, DEFINITIONS(OWNER), ",\"GlobalSecondaryIndexes\":[" BY_OWNER "]");
    put(f, "1", "ann");
    fake_router_hold(f->dynamodb->router, true);
    pass_time(f);
    table_courier_free(f->courier);
    f->courier = NULL;
    fake_router_hold(f->dynamodb->router, false);
    f->courier = table_courier_new(&f->dynamodb->env.env, f->dynamodb->router);
    pass_time(f);

    dynamodb_fixture_expect(f->dynamodb, "Query", QUERY_ANN, ONE_ROW("1"));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(index__made_with_the_table__follows_it),
        TEST(index__courier_fails_at_any_step__follows_in_the_end),
        TEST(index__made_and_removed_later__filled_and_emptied),
        TEST(index__courier_freed_with_batches_on_their_way__nothing_is_left),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
