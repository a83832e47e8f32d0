#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/aws/dynamodb_fixture.h"

#include "node/table/table_engine.h"
#include "proto/base/check.h"
#include "proto/wire/catalogue.pb-c.h"

#include <jansson.h>
#include <stdio.h>
#include <zlib.h>

#define SHARDS 5

static uint64_t fixture_self(struct env *env)
{
    (void)env;
    return FIXTURE_NODE_ID;
}

static void add_node(struct dynamodb_fixture *f)
{
    Skein__Wire__Node node = SKEIN__WIRE__NODE__INIT;
    uint8_t packed[64];

    node.id = FIXTURE_NODE_ID;
    node.is_alive = true;
    fake_view_set(f->view, "node/7", slice_of(packed, skein__wire__node__pack(&node, packed)));
}

int dynamodb_fixture_set_up(void **state)
{
    struct dynamodb_fixture *f = check_calloc(1, sizeof(*f));
    struct dynamodb_options options;

    fake_env_init(&f->env);
    f->link.self = fixture_self;
    f->env.env.link = &f->link;
    f->view = fake_view_new(&f->env.env);
    add_node(f);
    f->router = fake_router_new(&f->env.env, SHARDS);
    fake_router_add_engine(f->router, &table_engine);
    options = (struct dynamodb_options){.env = &f->env.env, .view = f->view, .router = f->router};
    f->dynamodb = dynamodb_new(&options);
    *state = f;
    return 0;
}

int dynamodb_fixture_tear_down(void **state)
{
    struct dynamodb_fixture *f = *state;

    dynamodb_free(f->dynamodb);
    fake_answer_close(&f->answer);
    fake_router_free(f->router);
    view_free(f->view);
    fake_env_close(&f->env);
    free(f);
    return 0;
}

void dynamodb_fixture_start(struct dynamodb_fixture *f, const char *operation, const char *body)
{
    struct http_exchange *exchange = fake_exchange_new(&f->answer, "POST", "/", slice_text(body));
    struct aws_request *request = fake_exchange_request(exchange, AWS_SERVICE_DYNAMODB);

    request->operation = slice_text(operation);
    dynamodb_on_request(f->dynamodb, request);
}

static void check_crc(struct dynamodb_fixture *f)
{
    const char *header = fake_answer_header(&f->answer, "x-amz-crc32");
    char wanted[16];

    (void)snprintf(wanted, sizeof(wanted), "%lu",
                   crc32_z(0, f->answer.body.data, f->answer.body.size));
    assert_non_null(header);
    assert_string_equal(header, wanted);
}

int dynamodb_fixture_call(struct dynamodb_fixture *f, const char *operation, const char *body)
{
    dynamodb_fixture_start(f, operation, body);
    fake_env_run(&f->env);
    if (f->answer.count != 1)
        fail_msg("%s %s: %d answers", operation, body, f->answer.count);
    check_crc(f);
    return f->answer.status;
}

void dynamodb_fixture_expect(struct dynamodb_fixture *f, const char *operation, const char *body,
                             const char *wanted)
{
    int status = dynamodb_fixture_call(f, operation, body);

    if (status != 200 || strcmp(fake_answer_text(&f->answer), wanted) != 0)
        fail_msg("%s %s\n  gave %d %s\n  not  %s", operation, body, status,
                 fake_answer_text(&f->answer), wanted);
}

void dynamodb_fixture_refused(struct dynamodb_fixture *f, const char *operation, const char *body,
                              const char *type, const char *message)
{
    int status = dynamodb_fixture_call(f, operation, body);
    json_t *answer = json_loads(fake_answer_text(&f->answer), 0, NULL);
    const char *found_type = json_string_value(json_object_get(answer, "__type"));
    const char *found = json_string_value(json_object_get(answer, "message"));

    if (found == NULL)
        found = json_string_value(json_object_get(answer, "Message"));
    if (status != 400 || found_type == NULL || strcmp(found_type, type) != 0 ||
        strcmp(found != NULL ? found : "", message) != 0)
        fail_msg("%s %s\n  gave %d %s\n  not  %s %s", operation, body, status,
                 fake_answer_text(&f->answer), type, message);
    json_decref(answer);
}

void dynamodb_fixture_make_tables(struct dynamodb_fixture *f)
{
    assert_int_equal(
        dynamodb_fixture_call(
            f, "CreateTable",
            "{\"TableName\":\"Orders\",\"BillingMode\":\"PAY_PER_REQUEST\","
            "\"AttributeDefinitions\":[{\"AttributeName\":\"order_id\",\"AttributeType\":\"S\"}],"
            "\"KeySchema\":[{\"AttributeName\":\"order_id\",\"KeyType\":\"HASH\"}]}"),
        200);
    assert_int_equal(
        dynamodb_fixture_call(
            f, "CreateTable",
            "{\"TableName\":\"Lines\",\"ProvisionedThroughput\":{\"ReadCapacityUnits\":5,"
            "\"WriteCapacityUnits\":6},"
            "\"AttributeDefinitions\":[{\"AttributeName\":\"order_id\",\"AttributeType\":\"S\"},"
            "{\"AttributeName\":\"line\",\"AttributeType\":\"N\"}],"
            "\"KeySchema\":[{\"AttributeName\":\"order_id\",\"KeyType\":\"HASH\"},"
            "{\"AttributeName\":\"line\",\"KeyType\":\"RANGE\"}]}"),
        200);
}
