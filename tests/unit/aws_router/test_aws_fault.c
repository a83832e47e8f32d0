#include "node/aws/aws_fault.h"
#include "node/aws/aws_reply.h"
#include "node/aws/aws_xml.h"
#include "proto/base/check.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

struct fixture {
    struct http_exchange exchange;
    struct http_header header;
    struct aws_counters counters;
    struct aws_request request;
    struct buffer answer; /* status, headers and body in one text */
};

static void on_respond(struct http_exchange *exchange, int status,
                       const struct http_header *headers, size_t count, struct buffer *body)
{
    struct fixture *f = container_of(exchange, struct fixture, exchange);

    buffer_putf(&f->answer, "%d\n", status);
    for (size_t i = 0; i < count; i++)
        buffer_putf(&f->answer, "%.*s: %.*s\n", (int)headers[i].name.size,
                    (const char *)headers[i].name.data, (int)headers[i].value.size,
                    (const char *)headers[i].value.data);
    if (body != NULL) {
        buffer_put_slice(&f->answer, buffer_slice(body));
        buffer_close(body);
    }
}

static void fixture_open(struct fixture *f, enum aws_service service, enum aws_protocol protocol)
{
    *f = (struct fixture){.answer = BUFFER_INIT(BUFFER_UNLIMITED)};
    f->exchange.path = SLICE_LITERAL("/bkt/a&b");
    f->exchange.request_id[0] = 'R';
    f->exchange.respond = on_respond;
    f->request = (struct aws_request){.exchange = &f->exchange,
                                      .service = service,
                                      .protocol = protocol,
                                      .counters = &f->counters};
}

static void fixture_close(struct fixture *f)
{
    arena_close(&f->exchange.arena);
    buffer_close(&f->answer);
}

static void assert_fault(enum aws_service service, enum aws_protocol protocol,
                         const struct aws_fault *fault, const char *expected)
{
    struct fixture f;

    fixture_open(&f, service, protocol);
    aws_fault_send(&f.request, fault);
    assert_string_equal(buffer_text(&f.answer), expected);
    assert_int_equal(f.counters.client_faults, fault->status < 500);
    assert_int_equal(f.counters.server_faults, fault->status >= 500);
    fixture_close(&f);
}

static void aws_fault__each_protocol__its_shape(void **state)
{
    const struct aws_fault fault = {
        .status = 404, .code = "NotThere", .message = "No \"<x>\" & more"};
    const struct aws_fault extra = {
        .status = 429, .code = "TooMany", .message = "m", .extra = "\"Reason\":\"r\""};
    const struct aws_fault ours = {.status = 500, .code = "Broken", .message = "m"};

    (void)state;
    assert_fault(AWS_SERVICE_DYNAMODB, AWS_PROTOCOL_JSON_1_0, &fault,
                 "404\nContent-Type: application/x-amz-json-1.0\nx-amzn-RequestId: R\n"
                 "{\"__type\":\"com.amazonaws.dynamodb.v20120810#NotThere\",\"message\":\"No "
                 "\\\"<x>\\\" & more\"}");
    assert_fault(AWS_SERVICE_LOGS, AWS_PROTOCOL_JSON_1_1, &ours,
                 "500\nContent-Type: application/x-amz-json-1.1\nx-amzn-RequestId: R\n"
                 "{\"__type\":\"Broken\",\"message\":\"m\"}");
    assert_fault(AWS_SERVICE_LAMBDA, AWS_PROTOCOL_REST_JSON, &extra,
                 "429\nx-amzn-ErrorType: TooMany\nContent-Type: application/json\n"
                 "x-amzn-RequestId: R\n{\"Type\":\"User\",\"message\":\"m\",\"Reason\":\"r\"}");
    assert_fault(AWS_SERVICE_SQS, AWS_PROTOCOL_QUERY, &fault,
                 "404\nContent-Type: text/xml\nx-amzn-RequestId: R\n"
                 "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
                 "<ErrorResponse xmlns=\"http://queue.amazonaws.com/doc/2012-11-05/\"><Error>"
                 "<Type>Sender</Type><Code>NotThere</Code><Message>No &quot;&lt;x&gt;&quot; &amp; "
                 "more</Message></Error><RequestId>R</RequestId></ErrorResponse>\n");
    assert_fault(AWS_SERVICE_S3, AWS_PROTOCOL_REST_XML, &ours,
                 "500\nContent-Type: application/xml\nx-amz-request-id: R\nx-amz-id-2: R\n"
                 "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>Broken</Code>"
                 "<Message>m</Message><Resource>/bkt/a&amp;b</Resource><RequestId>R</RequestId>"
                 "<HostId>R</HostId></Error>\n");
}

static void aws_fault__client_in_query_mode__old_code_in_a_header(void **state)
{
    const struct aws_fault fault = {.status = 400,
                                    .code = "QueueDoesNotExist",
                                    .message = "m",
                                    .query_code = "AWS.SimpleQueueService.NonExistentQueue"};
    struct fixture f;

    (void)state;
    fixture_open(&f, AWS_SERVICE_SQS, AWS_PROTOCOL_JSON_1_0);
    f.header = (struct http_header){SLICE_LITERAL("x-amzn-query-mode"), SLICE_LITERAL("true")};
    f.exchange.headers = &f.header;
    f.exchange.header_count = 1;
    aws_fault_send(&f.request, &fault);
    assert_non_null(strstr(buffer_text(&f.answer),
                           "x-amzn-query-error: AWS.SimpleQueueService.NonExistentQueue;Sender\n"));
    fixture_close(&f);
}

/* What may succeed elsewhere or later is retried by SDKs; what the client did wrong is not. */
static void aws_fault__every_error_of_every_service__retried_when_it_may_help(void **state)
{
    static const char *const retried[] = {"ThrottlingException", "Throttling"};
    static const struct {
        enum aws_service service;
        enum aws_protocol protocol;
    } services[] = {
        {AWS_SERVICE_DYNAMODB, AWS_PROTOCOL_JSON_1_0},
        {AWS_SERVICE_LAMBDA, AWS_PROTOCOL_REST_JSON},
        {AWS_SERVICE_APIGATEWAY, AWS_PROTOCOL_REST_JSON},
        {AWS_SERVICE_LOGS, AWS_PROTOCOL_JSON_1_1},
        {AWS_SERVICE_STS, AWS_PROTOCOL_QUERY},
        {AWS_SERVICE_S3, AWS_PROTOCOL_REST_XML},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(services); i++) {
        for (int rc = OK + 1; rc < ERROR_COUNT; rc++) {
            const struct aws_fault fault =
                aws_fault_of_error(services[i].service, services[i].protocol, (enum error)rc);
            bool is_final = rc == ERR_INVALID || rc == ERR_TOO_LARGE || rc == ERR_NOT_FOUND ||
                            rc == ERR_EXISTS || rc == ERR_CONFLICT || rc == ERR_CONDITION ||
                            rc == ERR_DENIED;
            bool is_retried = fault.status >= 500 || fault.status == 429;

            for (size_t k = 0; k < ARRAY_COUNT(retried); k++)
                is_retried = is_retried || strcmp(fault.code, retried[k]) == 0;
            if (is_retried == is_final || fault.message == NULL)
                fail_msg("service %zu: %s gives %d %s", i, error_name((enum error)rc), fault.status,
                         fault.code);
        }
    }
}

static void aws_fault__every_auth_result__has_words_everywhere(void **state)
{
    (void)state;
    for (int result = SIGV4_OK + 1; result < SIGV4_RESULT_COUNT; result++) {
        for (int service = 0; service < AWS_SERVICE_COUNT; service++) {
            for (int protocol = 0; protocol <= AWS_PROTOCOL_REST_XML; protocol++) {
                const struct aws_fault fault =
                    aws_fault_of_auth((enum aws_service)service, (enum aws_protocol)protocol,
                                      (enum sigv4_result)result);

                assert_true(fault.status == 400 || fault.status == 403);
                assert_non_null(fault.message);
            }
        }
    }
}

static void aws_reply__own_content_type__kept(void **state)
{
    const struct http_header header = {SLICE_LITERAL("content-type"), SLICE_LITERAL("image/png")};
    struct buffer body = BUFFER_INIT(BUFFER_UNLIMITED);
    struct fixture f;

    (void)state;
    fixture_open(&f, AWS_SERVICE_S3, AWS_PROTOCOL_REST_XML);
    buffer_put_text(&body, "b");
    aws_reply_with(&f.request, 200, &header, 1, &body);
    assert_string_equal(buffer_text(&f.answer),
                        "200\ncontent-type: image/png\nx-amz-request-id: R\nx-amz-id-2: R\nb");
    fixture_close(&f);
}

static void aws_xml__characters_xml_cannot_carry__escaped_or_replaced(void **state)
{
    AUTO(buffer) text = BUFFER_INIT(BUFFER_UNLIMITED);

    (void)state;
    aws_xml_element(&text, "K", SLICE_LITERAL("a<b>&\"c\"\r\n\t\x01\xc3\xa9"));
    assert_string_equal(buffer_text(&text), "<K>a&lt;b&gt;&amp;&quot;c&quot;&#13;\n\t"
                                            "\xef\xbf\xbd\xc3\xa9</K>");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(aws_fault__each_protocol__its_shape),
        cmocka_unit_test(aws_fault__client_in_query_mode__old_code_in_a_header),
        cmocka_unit_test(aws_fault__every_error_of_every_service__retried_when_it_may_help),
        cmocka_unit_test(aws_fault__every_auth_result__has_words_everywhere),
        cmocka_unit_test(aws_reply__own_content_type__kept),
        cmocka_unit_test(aws_xml__characters_xml_cannot_carry__escaped_or_replaced),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
