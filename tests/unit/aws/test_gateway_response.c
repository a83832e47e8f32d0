#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "node/aws/gateway_response.h"
#include "proto/base/check.h"

#include <stdio.h>
#include <strings.h>

/* "STATUS Name=value;Name=value;|body", or "malformed". */
static const char *read_as_text(struct arena *arena, const char *payload)
{
    struct gateway_response response;
    struct buffer text = BUFFER_INIT(65536);
    const char *result;

    if (gateway_response_read(arena, slice_text(payload), &response) != OK)
        return "malformed";
    buffer_putf(&text, "%d ", response.status);
    for (size_t i = 0; i < response.header_count; i++) {
        buffer_put_slice(&text, response.headers[i].name);
        buffer_put_text(&text, "=");
        buffer_put_slice(&text, response.headers[i].value);
        buffer_put_text(&text, ";");
    }
    buffer_put_text(&text, "|");
    buffer_put_slice(&text, buffer_slice(&response.body));
    result = arena_text(arena, buffer_slice(&text));
    buffer_close(&text);
    buffer_close(&response.body);
    return result;
}

#define CHECK_READS(payload, expected)                                                             \
    do {                                                                                           \
        struct arena arena_;                                                                       \
                                                                                                   \
        arena_init(&arena_);                                                                       \
        assert_string_equal(read_as_text(&arena_, payload), expected);                             \
        arena_close(&arena_);                                                                      \
    } while (0)

#define JSON_TYPE "Content-Type=application/json;"

static void gateway_response__proxy_answers__become_http(void **state)
{
    (void)state;
    CHECK_READS("{\"statusCode\":200,\"body\":\"{\\\"a\\\":1}\"}", "200 " JSON_TYPE "|{\"a\":1}");
    CHECK_READS("{\"statusCode\":\"404\",\"body\":null}", "404 " JSON_TYPE "|");
    CHECK_READS("{\"statusCode\":201.0}", "201 " JSON_TYPE "|");
    CHECK_READS("{}", "200 " JSON_TYPE "|");
    CHECK_READS("{\"headers\":null,\"body\":\"x\"}", "200 " JSON_TYPE "|x");
    CHECK_READS("{\"statusCode\":200,\"headers\":{\"content-type\":\"text/html\"},\"body\":\"x\"}",
                "200 content-type=text/html;|x");
    CHECK_READS("{\"headers\":{\"X-A\":1,\"X-B\":true,\"X-C\":\"\"}}",
                "200 X-A=1;X-B=true;X-C=;" JSON_TYPE "|");
    CHECK_READS("{\"body\":\"aGk=\",\"isBase64Encoded\":true}", "200 " JSON_TYPE "|hi");
    CHECK_READS("{\"body\":\"aGk=\",\"isBase64Encoded\":false}", "200 " JSON_TYPE "|aGk=");
}

static void gateway_response__multi_value_headers__win_and_repeat(void **state)
{
    (void)state;
    CHECK_READS("{\"headers\":{\"Set-Cookie\":\"c=3\",\"X\":\"1\"},"
                "\"multiValueHeaders\":{\"set-cookie\":[\"a=1\",\"b=2\"]}}",
                "200 set-cookie=a=1;set-cookie=b=2;X=1;" JSON_TYPE "|");
}

static void gateway_response__headers_of_the_connection__are_left_to_the_server(void **state)
{
    (void)state;
    CHECK_READS("{\"headers\":{\"Content-Length\":\"99\",\"connection\":\"close\","
                "\"Transfer-Encoding\":\"chunked\",\"X\":\"1\"}}",
                "200 X=1;" JSON_TYPE "|");
}

static void gateway_response__anything_else__malformed(void **state)
{
    static const char *const cases[] = {
        "",
        "null",
        "\"text\"",
        "[1]",
        "{",
        "{\"statusCode\":99}",
        "{\"statusCode\":600}",
        "{\"statusCode\":100}",
        "{\"statusCode\":\"abc\"}",
        "{\"statusCode\":\"2000\"}",
        "{\"statusCode\":200.5}",
        "{\"statusCode\":{}}",
        "{\"statusCode\":true}",
        "{\"statusCode\":200,\"body\":{\"a\":1}}",
        "{\"statusCode\":200,\"headers\":[]}",
        "{\"statusCode\":200,\"headers\":{\"a b\":\"1\"}}",
        "{\"statusCode\":200,\"headers\":{\"\":\"1\"}}",
        "{\"statusCode\":200,\"headers\":{\"A\":\"x\\r\\nB: y\"}}",
        "{\"statusCode\":200,\"headers\":{\"A\":{}}}",
        "{\"statusCode\":200,\"headers\":{\"A\":null}}",
        "{\"statusCode\":200,\"multiValueHeaders\":{\"A\":\"1\"}}",
        "{\"statusCode\":200,\"multiValueHeaders\":{\"A\":[[]]}}",
        "{\"statusCode\":200,\"isBase64Encoded\":\"true\"}",
        "{\"body\":\"not base64\",\"isBase64Encoded\":true}",
        "{\"statusCode\":200,\"cookies\":[]}",
        "{\"message\":\"hi\"}",
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++)
        CHECK_READS(cases[i], "malformed");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gateway_response__proxy_answers__become_http),
        cmocka_unit_test(gateway_response__multi_value_headers__win_and_repeat),
        cmocka_unit_test(gateway_response__headers_of_the_connection__are_left_to_the_server),
        cmocka_unit_test(gateway_response__anything_else__malformed),
    };

    return cmocka_run_group_tests_name("gateway_response", tests, NULL, NULL);
}
