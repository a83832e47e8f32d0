#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "node/aws/apigateway.h"
#include "proto/base/check.h"
#include "proto/base/encode.h"
#include "tests/lib/fake_env.h"
#include "tests/lib/fake_exchange.h"
#include "tests/lib/fake_invoker.h"
#include "tests/lib/fake_view.h"

#include <jansson.h>
#include <stdio.h>

#define ID_BYTES 11

struct fixture {
    struct fake_env env;
    struct view *view;
    struct fake_invoker invoker;
    struct apigateway *gateway;
    struct fake_answer answer;
    char id[ID_BYTES]; /* of the API made last */
};

static void open_gateway(struct fixture *f)
{
    const struct apigateway_options options = {
        .env = &f->env.env,
        .view = f->view,
        .invoker = fake_invoker_as_invoker(&f->invoker),
    };

    f->gateway = apigateway_new(&options);
}

static int set_up(void **state)
{
    struct fixture *f = check_calloc(1, sizeof(*f));

    fake_env_init(&f->env);
    f->view = fake_view_new(&f->env.env);
    open_gateway(f);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;

    apigateway_free(f->gateway);
    fake_answer_close(&f->answer);
    view_free(f->view);
    fake_env_close(&f->env);
    free(f);
    return 0;
}

/* ---- control requests ---- */

static int control(struct fixture *f, const char *method, const char *target, const char *body)
{
    struct http_exchange *exchange =
        fake_exchange_new(&f->answer, method, target, slice_text(body));

    apigateway_on_request(f->gateway, fake_exchange_request(exchange, AWS_SERVICE_APIGATEWAY));
    fake_env_run(&f->env);
    assert_int_equal(f->answer.count, 1);
    return f->answer.status;
}

/* The same below /restapis/ID. */
static int control_api(struct fixture *f, const char *method, const char *rest, const char *body)
{
    char target[300];

    snprintf(target, sizeof(target), "/restapis/%s%s", f->id, rest);
    return control(f, method, target, body);
}

/* A member of the answer; "" when absent. */
static void read_member(struct fixture *f, const char *key, char text[64])
{
    json_t *root = json_loads(fake_answer_text(&f->answer), 0, NULL);
    const char *value = json_string_value(json_object_get(root, key));

    snprintf(text, 64, "%s", value != NULL ? value : "");
    json_decref(root);
}

static void read_id(struct fixture *f)
{
    char text[64];

    read_member(f, "id", text);
    assert_int_equal(strlen(text), ID_BYTES - 1);
    memcpy(f->id, text, ID_BYTES);
}

static void expect_part(struct fixture *f, const char *part)
{
    if (strstr(fake_answer_text(&f->answer), part) == NULL)
        fail_msg("no %s in %s", part, fake_answer_text(&f->answer));
}

static void expect_fault(struct fixture *f, int status, const char *code, const char *message)
{
    assert_int_equal(f->answer.status, status);
    assert_string_equal(fake_answer_header(&f->answer, "x-amzn-ErrorType"), code);
    expect_part(f, message);
}

#define PROXY(function)                                                                            \
    "{\"x-amazon-apigateway-integration\":{\"type\":\"AWS_PROXY\",\"httpMethod\":\"POST\","        \
    "\"uri\":\"arn:aws:lambda:us-east-1:123456789012:function:" function "\"}}"
#define DOCUMENT(paths)                                                                            \
    "{\"openapi\":\"3.0.1\",\"info\":{\"title\":\"Shop\",\"version\":\"1.0\"},\"paths\":{" paths   \
    "}}"

/* Import and deploy to the stage "prod". */
static void deploy(struct fixture *f, const char *document)
{
    assert_int_equal(control(f, "POST", "/restapis?mode=import", document), 201);
    read_id(f);
    assert_int_equal(control_api(f, "POST", "/deployments", "{\"stageName\":\"prod\"}"), 201);
}

/* ---- calls ---- */

static struct http_exchange *ask(struct fixture *f, const char *method, const char *rest,
                                 const char *body)
{
    char target[600];

    snprintf(target, sizeof(target), "/restapis/%s/prod/_user_request_%s", f->id, rest);
    return fake_exchange_new(&f->answer, method, target, slice_text(body));
}

static void start(struct fixture *f, struct http_exchange *exchange)
{
    apigateway_on_invocation(f->gateway, fake_exchange_request(exchange, AWS_SERVICE_EXECUTE_API));
}

/* Which function a request reaches; "" when it is answered without one. The call is ended. */
static const char *reached(struct fixture *f, const char *method, const char *rest,
                           char function[100])
{
    const struct invoke *invoke;

    start(f, ask(f, method, rest, ""));
    invoke = fake_invoker_first(&f->invoker);
    snprintf(function, 100, "%s", invoke != NULL ? invoke->function : "");
    if (invoke != NULL)
        fake_invoker_finish(&f->invoker, INVOKE_OK, "{}");
    assert_int_equal(f->answer.count, 1);
    return function;
}

/* The event's member as JSON text, of the call that waits. */
static void expect_event(struct fixture *f, const char *part)
{
    char *event = slice_strdup(fake_invoker_first(&f->invoker)->payload);

    if (strstr(event, part) == NULL)
        fail_msg("no %s in %s", part, event);
    free(event);
}

/* ---- import, deploy, call ---- */

static void apigateway__the_articles_document__imports_deploys_and_calls(void **state)
{
    struct fixture *f = *state;
    static const char document[] =
        "{\n  \"openapi\": \"3.0.1\",\n  \"info\": {\n    \"title\": \"E-Commerce API\",\n"
        "    \"version\": \"1.0\"\n  },\n  \"paths\": {\n    \"/orders\": {\n      \"post\": {\n"
        "        \"x-amazon-apigateway-integration\": {\n          \"httpMethod\": \"POST\",\n"
        "          \"uri\": \"arn:aws:lambda:us-east-1:123456789012:function:ProcessOrder\",\n"
        "          \"type\": \"AWS_PROXY\"\n        }\n      }\n    }\n  }\n}\n";

    deploy(f, document);
    start(f, ask(f, "POST", "/orders", "{\"order_id\":\"o-1\"}"));

    assert_string_equal(fake_invoker_first(&f->invoker)->function, "ProcessOrder");
    assert_string_equal(fake_invoker_first(&f->invoker)->request_id, FAKE_REQUEST_ID);
    expect_event(f, "{\"resource\":\"/orders\",\"path\":\"/orders\",\"httpMethod\":\"POST\"");
    expect_event(f, "\"body\":\"{\\\"order_id\\\":\\\"o-1\\\"}\",\"isBase64Encoded\":false}");
    fake_invoker_finish(&f->invoker, INVOKE_OK,
                        "{\"statusCode\": 200, \"body\": \"{\\\"message\\\": \\\"ok\\\"}\"}");

    assert_int_equal(f->answer.count, 1);
    assert_int_equal(f->answer.status, 200);
    assert_string_equal(fake_answer_text(&f->answer), "{\"message\": \"ok\"}");
    assert_string_equal(fake_answer_header(&f->answer, "Content-Type"), "application/json");
    assert_string_equal(fake_answer_header(&f->answer, "x-amzn-RequestId"), FAKE_REQUEST_ID);
    assert_non_null(fake_answer_header(&f->answer, "x-amz-apigw-id"));
}

static void apigateway__addresses__three_forms_reach_the_api(void **state)
{
    struct fixture *f = *state;
    char target[200];
    char host[200];

    deploy(f, DOCUMENT("\"/a\":{\"get\":" PROXY("F") "}"));
    snprintf(target, sizeof(target), "/_aws/execute-api/%s/prod/a?x=1", f->id);
    start(f, fake_exchange_new(&f->answer, "GET", target, slice_of(NULL, 0)));
    expect_event(f, "\"path\":\"/a\"");
    expect_event(f, "\"path\":\"/prod/a\"");
    fake_invoker_finish(&f->invoker, INVOKE_OK, "{}");

    struct http_exchange *exchange =
        fake_exchange_new(&f->answer, "GET", "/prod/a/", slice_of(NULL, 0));

    snprintf(host, sizeof(host), "%s.execute-api.localhost:4566", f->id);
    fake_exchange_add_header(exchange, "Host", host);
    start(f, exchange);
    expect_event(f, "\"path\":\"/a/\"");
    fake_invoker_finish(&f->invoker, INVOKE_OK, "{}");
    assert_int_equal(f->answer.status, 200);
}

static void apigateway__unknown_api_stage_path_or_method__403(void **state)
{
    struct fixture *f = *state;
    static const char *const forbidden[] = {
        "/restapis/nonsense/prod/_user_request_/a",
        "/restapis/%s/dev/_user_request_/a",
        "/restapis/%s/prod/other/a",
        "/restapis/%s",
        "/_aws/execute-api/",
        "/_aws/execute-api/%%zz/prod/a",
        "/prod/a",
        "/",
    };
    char target[200];
    char function[100];

    deploy(f, DOCUMENT("\"/a\":{\"get\":" PROXY("F") "}"));
    for (size_t i = 0; i < ARRAY_COUNT(forbidden); i++) {
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
        snprintf(target, sizeof(target), forbidden[i], f->id);
#pragma GCC diagnostic pop
        start(f, fake_exchange_new(&f->answer, "GET", target, slice_of(NULL, 0)));
        assert_int_equal(f->answer.status, 403);
        assert_string_equal(fake_answer_text(&f->answer), "{\"message\":\"Forbidden\"}");
    }
    assert_string_equal(reached(f, "POST", "/a", function), "");
    assert_int_equal(f->answer.status, 403);
    assert_string_equal(fake_answer_text(&f->answer),
                        "{\"message\":\"Missing Authentication Token\"}");
    assert_string_equal(reached(f, "GET", "/b", function), "");
    assert_string_equal(reached(f, "GET", "/", function), "");
    assert_string_equal(reached(f, "GET", "", function), "");
    assert_string_equal(reached(f, "GET", "/a/b", function), "");
}

static void apigateway__routes__literal_then_variable_then_greedy_then_any(void **state)
{
    struct fixture *f = *state;
    char function[100];

    deploy(
        f,
        DOCUMENT("\"/\":{\"get\":" PROXY(
            "Root") "},"
                    "\"/p\":{\"get\":" PROXY("List") ",\"x-amazon-apigateway-any-method\":" PROXY(
                        "Any") "},"
                               "\"/p/{id}\":{\"get\":" PROXY(
                                   "One") "},"
                                          "\"/p/new\":{\"get\":" PROXY(
                                              "New") "},"
                                                     "\"/p/{id}/parts/{part}\":{\"get\":" PROXY(
                                                         "Part") "},"
                                                                 "\"/p/new/parts/x/"
                                                                 "y\":{\"get\":" PROXY(
                                                                     "Deep") "},"
                                                                             "\"/"
                                                                             "{proxy+}\":{\"x-"
                                                                             "amazon-apigateway-"
                                                                             "any-method\":" PROXY(
                                                                                 "Rest") "}"));

    assert_string_equal(reached(f, "GET", "/", function), "Root");
    assert_string_equal(reached(f, "GET", "", function), "Root");
    assert_string_equal(reached(f, "GET", "/p", function), "List");
    assert_string_equal(reached(f, "GET", "/p/", function), "List");
    assert_string_equal(reached(f, "DELETE", "/p", function), "Any");
    assert_string_equal(reached(f, "GET", "/p/7", function), "One");
    assert_string_equal(reached(f, "GET", "/p/new", function), "New");
    assert_string_equal(reached(f, "GET", "/p/n%65w", function), "New");
    assert_string_equal(reached(f, "GET", "/p/7/parts/8", function), "Part");
    assert_string_equal(reached(f, "GET", "/p/new/parts/8", function), "Part"); /* back a step */
    assert_string_equal(reached(f, "GET", "/p/new/parts/x/y", function), "Deep");
    assert_string_equal(reached(f, "GET", "/p/new/parts/x/z", function), "Rest");
    assert_string_equal(reached(f, "POST", "/p/7", function), "Rest");
    assert_string_equal(reached(f, "GET", "/other/things", function), "Rest");
    assert_string_equal(reached(f, "POST", "/", function), "");
    assert_string_equal(reached(f, "GET", "/p/%zz", function), "");
}

static void apigateway__path_parameters__are_decoded(void **state)
{
    struct fixture *f = *state;

    deploy(f, DOCUMENT("\"/u/{id}/{proxy+}\":{\"get\":" PROXY("F") "}"));
    start(f, ask(f, "GET", "/u/a%20b%2Fc/x/y%C3%BC//z?q", ""));

    expect_event(f, "\"resource\":\"/u/{id}/{proxy+}\",\"path\":\"/u/a%20b%2Fc/x/y%C3%BC//z\"");
    expect_event(f, "\"pathParameters\":{\"id\":\"a b/c\",\"proxy\":\"x/y\xc3\xbc//z\"}");
    fake_invoker_finish(&f->invoker, INVOKE_OK, "{}");
}

static void apigateway__branch_left_again__its_parameters_are_forgotten(void **state)
{
    struct fixture *f = *state;

    deploy(f, DOCUMENT(
                  "\"/u/{id}/a\":{\"get\":" PROXY("A") "},\"/{proxy+}\":{\"get\":" PROXY("B") "}"));
    start(f, ask(f, "GET", "/u/7/b", ""));

    expect_event(f, "\"pathParameters\":{\"proxy\":\"u/7/b\"}");
    fake_invoker_finish(&f->invoker, INVOKE_OK, "{}");
}

static void apigateway__outcomes__documented_answers(void **state)
{
    struct fixture *f = *state;
    static const struct {
        enum invoke_outcome outcome;
        const char *payload;
        int status;
        const char *body;
    } cases[] = {
        {INVOKE_OK, "{\"statusCode\":\"204\"}", 204, ""},
        {INVOKE_OK, "\"text\"", 502, "{\"message\": \"Internal server error\"}"},
        {INVOKE_OK, "{\"oops\":1}", 502, "{\"message\": \"Internal server error\"}"},
        {INVOKE_FUNCTION_ERROR, "{\"errorType\":\"KeyError\"}", 502,
         "{\"message\": \"Internal server error\"}"},
        {INVOKE_NOT_FOUND, "", 500, "{\"message\": \"Internal server error\"}"},
        {INVOKE_TOO_LARGE, "", 502, "{\"message\": \"Internal server error\"}"},
        {INVOKE_THROTTLED, "", 429, "{\"message\":\"Too Many Requests\"}"},
        {INVOKE_UNAVAILABLE, "", 503, "{\"message\": \"Service Unavailable\"}"},
    };

    deploy(f, DOCUMENT("\"/a\":{\"get\":" PROXY("F") "}"));
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        start(f, ask(f, "GET", "/a", ""));
        fake_invoker_finish(&f->invoker, cases[i].outcome, cases[i].payload);
        assert_int_equal(f->answer.count, 1);
        assert_int_equal(f->answer.status, cases[i].status);
        assert_string_equal(fake_answer_text(&f->answer), cases[i].body);
    }
}

static void apigateway__lost_with_an_idempotency_key__runs_once_more(void **state)
{
    struct fixture *f = *state;
    struct http_exchange *exchange;

    deploy(f, DOCUMENT("\"/a\":{\"get\":" PROXY("F") "}"));
    exchange = ask(f, "GET", "/a", "");
    fake_exchange_add_header(exchange, "idempotency-key", "k");
    start(f, exchange);
    fake_invoker_finish(&f->invoker, INVOKE_UNAVAILABLE, "");
    assert_int_equal(f->answer.count, 0);
    fake_invoker_finish(&f->invoker, INVOKE_OK, "{\"statusCode\":201}");

    assert_int_equal(f->answer.status, 201);
    assert_int_equal(f->invoker.started, 2);
}

static void apigateway__29_seconds__504_and_a_late_result_is_dropped(void **state)
{
    struct fixture *f = *state;

    deploy(f, DOCUMENT("\"/a\":{\"get\":" PROXY("F") "}"));
    start(f, ask(f, "GET", "/a", ""));
    fake_env_advance(&f->env, 28999999);
    assert_int_equal(f->answer.count, 0);
    fake_env_advance(&f->env, 1);

    assert_int_equal(f->answer.status, 504);
    assert_string_equal(fake_answer_text(&f->answer),
                        "{\"message\": \"Endpoint request timed out\"}");
    fake_invoker_finish(&f->invoker, INVOKE_OK, "{}");
    assert_int_equal(f->answer.count, 1);
}

static void apigateway__body_over_6_mb__413(void **state)
{
    struct fixture *f = *state;
    char *body = check_malloc(INVOKE_PAYLOAD_BYTES_MAX);

    deploy(f, DOCUMENT("\"/a\":{\"post\":" PROXY("F") "}"));
    memset(body, 'x', INVOKE_PAYLOAD_BYTES_MAX - 1);
    body[INVOKE_PAYLOAD_BYTES_MAX - 1] = 0;
    start(f, ask(f, "POST", "/a", body));

    assert_int_equal(f->answer.status, 413);
    assert_string_equal(fake_answer_text(&f->answer), "{\"message\":\"Request Too Long\"}");
    assert_int_equal(f->invoker.started, 0);
    free(body);
}

static void apigateway__mock__200_without_a_function(void **state)
{
    struct fixture *f = *state;

    deploy(f, DOCUMENT("\"/a\":{\"options\":{\"x-amazon-apigateway-integration\":"
                       "{\"type\":\"MOCK\"}}}"));
    start(f, ask(f, "OPTIONS", "/a", ""));

    assert_int_equal(f->answer.status, 200);
    assert_int_equal(f->answer.body.size, 0);
    assert_int_equal(f->invoker.started, 0);
}

/* ---- control ---- */

static void apigateway__built_by_hand__serves_after_deployment_only(void **state)
{
    struct fixture *f = *state;
    char root[64];
    char resource[64];
    char target[200];
    char function[100];

    assert_int_equal(control(f, "POST", "/restapis", "{\"name\":\"Shop\"}"), 201);
    read_id(f);
    read_member(f, "rootResourceId", root);
    snprintf(target, sizeof(target), "/resources/%s", root);
    assert_int_equal(control_api(f, "POST", target, "{\"pathPart\":\"orders\"}"), 201);
    read_member(f, "id", resource);
    expect_part(f, "\"pathPart\":\"orders\",\"path\":\"/orders\"");
    snprintf(target, sizeof(target), "/resources/%s/methods/POST", resource);
    assert_int_equal(control_api(f, "PUT", target, "{\"authorizationType\":\"NONE\"}"), 201);
    assert_int_equal(control_api(f, "PUT", target, "{\"authorizationType\":\"NONE\"}"), 409);
    assert_int_equal(control_api(f, "POST", "/deployments", "{}"), 400);
    expect_part(f, "No integration defined for method");
    snprintf(target, sizeof(target), "/resources/%s/methods/POST/integration", resource);
    assert_int_equal(
        control_api(f, "PUT", target,
                    "{\"type\":\"AWS_PROXY\",\"httpMethod\":\"POST\",\"uri\":\"arn:aws:apigateway:"
                    "us-east-1:lambda:path/2015-03-31/functions/arn:aws:lambda:us-east-1:"
                    "000000000000:function:F/invocations\"}"),
        201);
    assert_int_equal(control_api(f, "GET", target, ""), 200);
    expect_part(f, "\"timeoutInMillis\":29000");

    assert_string_equal(reached(f, "POST", "/orders", function), "");
    assert_int_equal(control_api(f, "POST", "/deployments",
                                 "{\"stageName\":\"prod\",\"variables\":{\"a\":\"b\"}}"),
                     201);
    assert_string_equal(reached(f, "POST", "/orders", function), "F");
    start(f, ask(f, "POST", "/orders", ""));
    expect_event(f, "\"stageVariables\":{\"a\":\"b\"}");
    fake_invoker_finish(&f->invoker, INVOKE_OK, "{}");

    snprintf(target, sizeof(target), "/resources/%s", resource);
    assert_int_equal(control_api(f, "DELETE", target, ""), 202);
    assert_string_equal(reached(f, "POST", "/orders", function), "F"); /* as deployed */
    assert_int_equal(control_api(f, "DELETE", "", ""), 202);
    assert_string_equal(reached(f, "POST", "/orders", function), "");
    assert_int_equal(fake_view_count(f->view), 0);
}

static void apigateway__get_operations__what_is_there(void **state)
{
    struct fixture *f = *state;
    char deployment[64];
    char target[200];

    deploy(f, DOCUMENT("\"/a/{b}\":{\"get\":" PROXY("F") "}"));
    read_member(f, "id", deployment);

    assert_int_equal(control(f, "GET", "/restapis", ""), 200);
    expect_part(f, "{\"item\":[{\"id\":\"");
    expect_part(f, "\"name\":\"Shop\",\"version\":\"1.0\",\"createdDate\":1795466116,");
    assert_int_equal(control_api(f, "GET", "", ""), 200);
    expect_part(f, "\"endpointConfiguration\":{\"types\":[\"EDGE\"]}");
    assert_int_equal(control_api(f, "GET", "/resources?embed=methods", ""), 200);
    expect_part(f, "\"path\":\"/a/{b}\",\"resourceMethods\":{\"GET\":{\"httpMethod\":\"GET\"");
    expect_part(f, "\"uri\":\"arn:aws:lambda:us-east-1:123456789012:function:F\"");
    assert_int_equal(control_api(f, "GET", "/resources", ""), 200);
    expect_part(f, "\"resourceMethods\":{\"GET\":{}}");
    assert_int_equal(control_api(f, "GET", "/stages", ""), 200);
    expect_part(f, "\"stageName\":\"prod\"");
    assert_int_equal(control_api(f, "GET", "/stages/prod", ""), 200);
    expect_part(f, deployment);
    assert_int_equal(control_api(f, "GET", "/deployments", ""), 200);
    expect_part(f, deployment);
    snprintf(target, sizeof(target), "/deployments/%s", deployment);
    assert_int_equal(control_api(f, "GET", target, ""), 200);
    assert_int_equal(control_api(f, "DELETE", target, ""), 400); /* in use */
    assert_int_equal(control_api(f, "DELETE", "/stages/prod", ""), 202);
    assert_int_equal(control_api(f, "DELETE", target, ""), 202);
}

static void apigateway__list_in_pages__follows_the_position(void **state)
{
    struct fixture *f = *state;
    char position[64];
    char target[200];
    size_t pages = 0;

    for (int i = 0; i < 5; i++)
        assert_int_equal(control(f, "POST", "/restapis", "{\"name\":\"A\"}"), 201);
    snprintf(target, sizeof(target), "/restapis?limit=2");
    do {
        assert_int_equal(control(f, "GET", target, ""), 200);
        read_member(f, "position", position);
        snprintf(target, sizeof(target), "/restapis?limit=2&position=%s", position);
        pages++;
    } while (position[0] != 0 && pages < 10);

    assert_int_equal(pages, 3);
    assert_int_equal(control(f, "GET", "/restapis?limit=501", ""), 400);
}

static void apigateway__stages__point_to_deployments_and_move(void **state)
{
    struct fixture *f = *state;
    char first[64];
    char body[200];
    char function[100];

    deploy(f, DOCUMENT("\"/a\":{\"get\":" PROXY("Old") "}"));
    read_member(f, "id", first);
    assert_int_equal(
        control_api(f, "PUT", "?mode=overwrite", DOCUMENT("\"/a\":{\"get\":" PROXY("New") "}")),
        200);
    assert_string_equal(reached(f, "GET", "/a", function), "Old");
    assert_int_equal(control_api(f, "POST", "/deployments", "{\"stageName\":\"prod\"}"), 201);
    assert_string_equal(reached(f, "GET", "/a", function), "New");

    snprintf(body, sizeof(body), "{\"stageName\":\"old\",\"deploymentId\":\"%s\"}", first);
    assert_int_equal(control_api(f, "POST", "/stages", body), 201);
    assert_int_equal(control_api(f, "POST", "/stages", body), 409);
    assert_int_equal(
        control_api(f, "POST", "/stages", "{\"stageName\":\"x\",\"deploymentId\":\"nope\"}"), 400);
    snprintf(body, sizeof(body), "/restapis/%s/old/_user_request_/a", f->id);
    start(f, fake_exchange_new(&f->answer, "GET", body, slice_of(NULL, 0)));
    assert_string_equal(fake_invoker_first(&f->invoker)->function, "Old");
    fake_invoker_finish(&f->invoker, INVOKE_OK, "{}");
}

static void apigateway__put_api__merges_or_overwrites(void **state)
{
    struct fixture *f = *state;

    deploy(f, DOCUMENT("\"/a\":{\"get\":" PROXY("A") "}"));
    assert_int_equal(
        control_api(f, "PUT", "?mode=merge", DOCUMENT("\"/b\":{\"get\":" PROXY("B") "}")), 200);
    assert_int_equal(control_api(f, "GET", "/resources", ""), 200);
    expect_part(f, "\"path\":\"/a\"");
    expect_part(f, "\"path\":\"/b\"");
    assert_int_equal(
        control_api(f, "PUT", "?mode=overwrite", DOCUMENT("\"/b\":{\"get\":" PROXY("B") "}")), 200);
    assert_int_equal(control_api(f, "GET", "/resources", ""), 200);
    assert_null(strstr(fake_answer_text(&f->answer), "\"path\":\"/a\""));
}

static void apigateway__many_deployments__old_unused_ones_go(void **state)
{
    struct fixture *f = *state;
    char first[64];
    size_t count = 0;

    deploy(f, DOCUMENT("\"/a\":{\"get\":" PROXY("A") "}"));
    read_member(f, "id", first);
    for (int i = 0; i < 40; i++)
        assert_int_equal(control_api(f, "POST", "/deployments", "{}"), 201);
    assert_int_equal(control_api(f, "GET", "/deployments", ""), 200);

    expect_part(f, first); /* a stage uses it */
    for (const char *at = fake_answer_text(&f->answer); (at = strstr(at, "\"id\"")) != NULL; at++)
        count++;
    assert_int_equal(count, 20);
}

static void apigateway__bad_requests__documented_errors_and_no_change(void **state)
{
    struct fixture *f = *state;
    uint64_t revision;

    deploy(f, DOCUMENT("\"/a/{b}\":{\"get\":" PROXY("F") "}"));
    revision = view_revision(f->view);

    control(f, "POST", "/restapis", "{}");
    expect_fault(f, 400, "BadRequestException", "API name must be specified");
    control(f, "POST", "/restapis", "[");
    expect_fault(f, 400, "BadRequestException", "Could not parse request body into json");
    control(f, "POST", "/restapis", "{\"name\":7}");
    expect_fault(f, 400, "BadRequestException", "'name' must be a string");
    control(f, "POST", "/restapis?mode=import", "openapi: 3.0.1");
    expect_fault(f, 400, "BadRequestException", "convert YAML to JSON first");
    control(f, "POST", "/restapis?mode=import",
            DOCUMENT("\"/a/{x}\":{\"get\":" PROXY("F") "},\"/a/{y}\":{\"get\":" PROXY("F") "}"));
    expect_fault(f, 400, "BadRequestException", "A sibling ({x}) of this resource already has");
    control(f, "POST", "/restapis?mode=import", DOCUMENT("\"/{p+}/a\":{\"get\":" PROXY("F") "}"));
    expect_fault(f, 400, "BadRequestException", "greedy path variable");
    control(f, "POST", "/restapis?mode=import", DOCUMENT("\"/a b\":{\"get\":" PROXY("F") "}"));
    expect_fault(f, 400, "BadRequestException", "path part only allow");
    control(f, "POST", "/restapis?mode=import&failonwarnings=true",
            DOCUMENT("\"/a\":{\"get\":{}}"));
    expect_fault(f, 400, "BadRequestException", "Warnings found during import");
    control(f, "GET", "/restapis/nope", "");
    expect_fault(f, 404, "NotFoundException", "Invalid API identifier specified");
    control_api(f, "GET", "/resources/nope", "");
    expect_fault(f, 404, "NotFoundException", "Invalid Resource identifier specified");
    control_api(f, "GET", "/stages/nope", "");
    expect_fault(f, 404, "NotFoundException", "Invalid stage identifier specified");
    control_api(f, "GET", "/deployments/nope", "");
    expect_fault(f, 404, "NotFoundException", "Invalid Deployment identifier specified");
    control_api(f, "POST", "/deployments", "{\"stageName\":\"a b\"}");
    expect_fault(f, 400, "BadRequestException", "Stage name only allows");
    control_api(f, "PUT", "?mode=x", DOCUMENT("\"/c\":{}"));
    expect_fault(f, 400, "BadRequestException", "mode must be merge or overwrite");
    assert_true(control_api(f, "PATCH", "", "{}") >= 400);

    assert_int_equal(view_revision(f->view), revision);
}

static void touch_elsewhere(void *user, struct view *view)
{
    struct fixture *f = user;
    struct buffer copy = BUFFER_INIT(65536);
    struct slice value;
    char key[32];

    snprintf(key, sizeof(key), "api/%s", f->id);
    assert_int_equal(view_get(view, key, &value, NULL), OK);
    buffer_put_slice(&copy, value);
    fake_view_set(view, key, buffer_slice(&copy));
    buffer_close(&copy);
}

static void apigateway__changed_meanwhile__conflict(void **state)
{
    struct fixture *f = *state;

    deploy(f, DOCUMENT("\"/a\":{\"get\":" PROXY("F") "}"));
    fake_view_before_update(f->view, f, touch_elsewhere);
    control_api(f, "POST", "/deployments", "{\"stageName\":\"prod\"}");

    expect_fault(f, 409, "ConflictException", "concurrent modification");
}

static void apigateway__commit_uncertain__error_or_success_by_what_is_there(void **state)
{
    struct fixture *f = *state;

    fake_view_fail(f->view, ERR_TIMEOUT, false);
    assert_true(control(f, "POST", "/restapis", "{\"name\":\"A\"}") >= 500);
    fake_view_fail(f->view, ERR_LOST, true);
    assert_int_equal(control(f, "POST", "/restapis", "{\"name\":\"A\"}"), 201);
}

static void apigateway__new_node__serves_what_the_catalogue_has(void **state)
{
    struct fixture *f = *state;
    char function[100];

    deploy(f, DOCUMENT("\"/a\":{\"get\":" PROXY("F") "}"));
    apigateway_free(f->gateway);
    open_gateway(f);

    assert_string_equal(reached(f, "GET", "/a", function), "F");
}

static void apigateway_free__in_the_middle__nothing_leaks_and_nobody_is_called(void **state)
{
    struct fixture *f = *state;

    deploy(f, DOCUMENT("\"/a\":{\"get\":" PROXY("F") "}"));
    start(f, ask(f, "GET", "/a", ""));
    apigateway_free(f->gateway);
    fake_env_advance(&f->env, 60000000);
    assert_int_equal(f->answer.count, 0);

    open_gateway(f);
    fake_view_hold(f->view, true);
    struct http_exchange *exchange =
        fake_exchange_new(&f->answer, "POST", "/restapis", SLICE_LITERAL("{\"name\":\"A\"}"));

    apigateway_on_request(f->gateway, fake_exchange_request(exchange, AWS_SERVICE_APIGATEWAY));
    apigateway_free(f->gateway);
    fake_view_hold(f->view, false);
    fake_env_run(&f->env);
    assert_int_equal(f->answer.count, 0);
    open_gateway(f);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(apigateway__the_articles_document__imports_deploys_and_calls),
        TEST(apigateway__addresses__three_forms_reach_the_api),
        TEST(apigateway__unknown_api_stage_path_or_method__403),
        TEST(apigateway__routes__literal_then_variable_then_greedy_then_any),
        TEST(apigateway__path_parameters__are_decoded),
        TEST(apigateway__branch_left_again__its_parameters_are_forgotten),
        TEST(apigateway__outcomes__documented_answers),
        TEST(apigateway__lost_with_an_idempotency_key__runs_once_more),
        TEST(apigateway__29_seconds__504_and_a_late_result_is_dropped),
        TEST(apigateway__body_over_6_mb__413),
        TEST(apigateway__mock__200_without_a_function),
        TEST(apigateway__built_by_hand__serves_after_deployment_only),
        TEST(apigateway__get_operations__what_is_there),
        TEST(apigateway__list_in_pages__follows_the_position),
        TEST(apigateway__stages__point_to_deployments_and_move),
        TEST(apigateway__put_api__merges_or_overwrites),
        TEST(apigateway__many_deployments__old_unused_ones_go),
        TEST(apigateway__bad_requests__documented_errors_and_no_change),
        TEST(apigateway__changed_meanwhile__conflict),
        TEST(apigateway__commit_uncertain__error_or_success_by_what_is_there),
        TEST(apigateway__new_node__serves_what_the_catalogue_has),
        TEST(apigateway_free__in_the_middle__nothing_leaks_and_nobody_is_called),
    };

    return cmocka_run_group_tests_name("apigateway", tests, NULL, NULL);
}
