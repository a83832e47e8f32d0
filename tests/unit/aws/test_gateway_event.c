#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "node/aws/gateway_event.h"
#include "proto/base/check.h"
#include "tests/lib/fake_exchange.h"

/* A resource, a match and an event around one exchange. */
struct fixture {
    struct fake_answer answer;
    Skein__Wire__ApiResource resource;
    struct gateway_match match;
    struct gateway_event event;
    struct buffer text;
};

static void open_fixture(struct fixture *f, const char *method, const char *target,
                         struct slice body)
{
    *f = (struct fixture){0};
    buffer_init(&f->text, 1u << 20);
    skein__wire__api_resource__init(&f->resource);
    f->resource.id = (char *)"res1234567";
    f->resource.path = (char *)"/orders";
    f->match.resource = &f->resource;
    f->event = (struct gateway_event){
        .exchange = fake_exchange_new(&f->answer, method, target, body),
        .match = &f->match,
        .api_id = "abcdefghij",
        .stage = "prod",
        .deployment_id = "dep1234567",
        .region = "us-east-1",
        .path = SLICE_LITERAL("/orders"),
        .path_on_stage = SLICE_LITERAL("/prod/orders"),
        .extended_request_id = "JJbxmplHYosFVYQ=",
        .trace = "Root=1-6b04af04-000000000000000000000001",
        .wall_ms = 1795466116123,
    };
}

static void close_fixture(struct fixture *f)
{
    fake_answer_close(&f->answer);
    buffer_close(&f->text);
}

static const char *event_text(struct fixture *f)
{
    assert_int_equal(gateway_event_write(&f->event, &f->text), OK);
    return buffer_text(&f->text);
}

#define CONTEXT                                                                                    \
    "\"requestContext\":{\"accountId\":\"000000000000\",\"apiId\":\"abcdefghij\","                 \
    "\"deploymentId\":\"dep1234567\","                                                             \
    "\"domainName\":\"abcdefghij.execute-api.us-east-1.amazonaws.com\","                           \
    "\"domainPrefix\":\"abcdefghij\",\"extendedRequestId\":\"JJbxmplHYosFVYQ=\","                  \
    "\"httpMethod\":\"POST\",\"identity\":{\"accessKey\":null,\"accountId\":null,"                 \
    "\"caller\":null,\"cognitoAuthenticationProvider\":null,"                                      \
    "\"cognitoAuthenticationType\":null,\"cognitoIdentityId\":null,"                               \
    "\"cognitoIdentityPoolId\":null,\"principalOrgId\":null,\"user\":null,\"userArn\":null,"       \
    "\"sourceIp\":\"127.0.0.1\",\"userAgent\":\"curl/8\"},\"path\":\"/prod/orders\","              \
    "\"protocol\":\"HTTP/1.1\",\"requestId\":\"" FAKE_REQUEST_ID "\","                             \
    "\"requestTime\":\"23/Nov/2026:20:35:16 +0000\",\"requestTimeEpoch\":1795466116123,"           \
    "\"resourceId\":\"res1234567\",\"resourcePath\":\"/orders\",\"stage\":\"prod\"}"

#define TRACE "\"Root=1-6b04af04-000000000000000000000001\""

static void gateway_event__a_posted_order__golden(void **state)
{
    struct fixture f;

    (void)state;
    open_fixture(&f, "POST", "/restapis/abcdefghij/prod/_user_request_/orders",
                 SLICE_LITERAL("{\"order_id\":\"o-1\",\"name\":\"M\xc3\xbcller\"}"));
    fake_exchange_add_header((struct http_exchange *)f.event.exchange, "Host", "localhost:4566");
    fake_exchange_add_header((struct http_exchange *)f.event.exchange, "User-Agent", "curl/8");
    fake_exchange_add_header((struct http_exchange *)f.event.exchange, "Content-Length", "35");
    fake_exchange_add_header((struct http_exchange *)f.event.exchange, "X-Tag", "a");
    fake_exchange_add_header((struct http_exchange *)f.event.exchange, "x-tag", "b");

    assert_string_equal(
        event_text(&f),
        "{\"resource\":\"/orders\",\"path\":\"/orders\",\"httpMethod\":\"POST\","
        "\"headers\":{\"Host\":\"localhost:4566\",\"User-Agent\":\"curl/8\",\"X-Tag\":\"b\","
        "\"X-Amzn-Trace-Id\":" TRACE ",\"X-Forwarded-For\":\"127.0.0.1\","
        "\"X-Forwarded-Port\":\"4566\",\"X-Forwarded-Proto\":\"http\"},"
        "\"multiValueHeaders\":{\"Host\":[\"localhost:4566\"],\"User-Agent\":[\"curl/8\"],"
        "\"X-Tag\":[\"a\",\"b\"],\"X-Amzn-Trace-Id\":[" TRACE "],"
        "\"X-Forwarded-For\":[\"127.0.0.1\"],\"X-Forwarded-Port\":[\"4566\"],"
        "\"X-Forwarded-Proto\":[\"http\"]},"
        "\"queryStringParameters\":null,\"multiValueQueryStringParameters\":null,"
        "\"pathParameters\":null,\"stageVariables\":null," CONTEXT ","
        "\"body\":\"{\\\"order_id\\\":\\\"o-1\\\",\\\"name\\\":\\\"M\xc3\xbcller\\\"}\","
        "\"isBase64Encoded\":false}");

    close_fixture(&f);
}

static void expect_part(struct fixture *f, const char *part)
{
    const char *text = event_text(f);

    if (strstr(text, part) == NULL)
        fail_msg("no %s in %s", part, text);
}

static void gateway_event__query__decoded_last_and_all_values(void **state)
{
    struct fixture f;

    (void)state;
    open_fixture(&f, "GET", "/x?a=1&b=%C3%BC+x&a=2&flag&=v&&c=%zz", slice_of(NULL, 0));

    expect_part(&f, "\"queryStringParameters\":{\"a\":\"2\",\"b\":\"\xc3\xbc x\",\"flag\":\"\","
                    "\"\":\"v\",\"c\":\"%zz\"},"
                    "\"multiValueQueryStringParameters\":{\"a\":[\"1\",\"2\"],"
                    "\"b\":[\"\xc3\xbc x\"],\"flag\":[\"\"],\"\":[\"v\"],\"c\":[\"%zz\"]}");
    expect_part(&f, "\"body\":null,\"isBase64Encoded\":false}");

    close_fixture(&f);
}

static void gateway_event__path_parameters_and_stage_variables__are_maps(void **state)
{
    Skein__Wire__ApiStageVariable variable = SKEIN__WIRE__API_STAGE_VARIABLE__INIT;
    Skein__Wire__ApiStageVariable *variables[] = {&variable};
    struct fixture f;

    (void)state;
    variable.name = (char *)"table";
    variable.value = (char *)"Orders";
    open_fixture(&f, "GET", "/x", slice_of(NULL, 0));
    f.match.parameters[0] = (struct gateway_parameter){SLICE_LITERAL("id"), SLICE_LITERAL("a b")};
    f.match.parameter_count = 1;
    f.event.variables = variables;
    f.event.variable_count = 1;

    expect_part(&f,
                "\"pathParameters\":{\"id\":\"a b\"},\"stageVariables\":{\"table\":\"Orders\"}");

    close_fixture(&f);
}

static void gateway_event__body_is_no_text__base64(void **state)
{
    struct fixture f;

    (void)state;
    open_fixture(&f, "POST", "/x", SLICE_LITERAL("\xff\xfe\x00"));

    expect_part(&f, "\"body\":\"//4A\",\"isBase64Encoded\":true}");

    close_fixture(&f);
}

static void gateway_event__binary_media_type__base64_though_it_is_text(void **state)
{
    static char png[] = "image/*";
    static char *types[] = {png};
    struct fixture f;

    (void)state;
    open_fixture(&f, "POST", "/x", SLICE_LITERAL("hi"));
    fake_exchange_add_header((struct http_exchange *)f.event.exchange, "content-type",
                             "Image/PNG; q=1");
    f.event.binary_media_types = types;
    f.event.binary_media_type_count = 1;

    expect_part(&f, "\"body\":\"aGk=\",\"isBase64Encoded\":true}");

    close_fixture(&f);
}

static void gateway_event__behind_a_proxy__addresses_are_chained(void **state)
{
    struct fixture f;

    (void)state;
    open_fixture(&f, "GET", "/x", slice_of(NULL, 0));
    fake_exchange_add_header((struct http_exchange *)f.event.exchange, "x-forwarded-for",
                             "203.0.113.7");

    expect_part(&f, "\"X-Forwarded-For\":\"203.0.113.7, 127.0.0.1\"");

    close_fixture(&f);
}

static void gateway_event__larger_than_its_buffer__refused(void **state)
{
    struct fixture f;

    (void)state;
    open_fixture(&f, "GET", "/x?a=1", slice_of(NULL, 0));
    for (size_t limit = 0; limit < 1500; limit += 7) {
        struct buffer small = BUFFER_INIT(limit);

        if (gateway_event_write(&f.event, &small) != OK)
            assert_true(small.size <= limit);
        buffer_close(&small);
    }
    close_fixture(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gateway_event__a_posted_order__golden),
        cmocka_unit_test(gateway_event__query__decoded_last_and_all_values),
        cmocka_unit_test(gateway_event__path_parameters_and_stage_variables__are_maps),
        cmocka_unit_test(gateway_event__body_is_no_text__base64),
        cmocka_unit_test(gateway_event__binary_media_type__base64_though_it_is_text),
        cmocka_unit_test(gateway_event__behind_a_proxy__addresses_are_chained),
        cmocka_unit_test(gateway_event__larger_than_its_buffer__refused),
    };

    return cmocka_run_group_tests_name("gateway_event", tests, NULL, NULL);
}
