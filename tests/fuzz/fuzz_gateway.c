/* What functions answer, and JSON that is passed on unread: whatever json_check lets through as an
 * answer becomes an HTTP response or is refused, with nothing in a header that could start another
 * one. And whatever is asked of a function's URL becomes an event that is JSON. */

#include "node/aws/gateway_response.h"
#include "node/aws/json_check.h"
#include "node/aws/lambda_name.h"
#include "node/aws/url_event.h"
#include "proto/base/check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_headers(const struct gateway_response *response)
{
    CHECK(response->status >= 200 && response->status <= 599);
    for (size_t i = 0; i < response->header_count; i++) {
        struct slice value = response->headers[i].value;

        CHECK(response->headers[i].name.size > 0);
        CHECK(value.size == 0 || memchr(value.data, '\n', value.size) == NULL);
        CHECK(value.size == 0 || memchr(value.data, '\r', value.size) == NULL);
    }
}

/* The bytes as each part of a request in turn. */
static void check_event(struct slice text)
{
    const struct http_header headers[] = {{SLICE_LITERAL("Cookie"), text},
                                          {SLICE_LITERAL("X-Twice"), text},
                                          {SLICE_LITERAL("x-twice"), text},
                                          {SLICE_LITERAL("Content-Type"), text}};
    struct http_exchange exchange = {.method = SLICE_LITERAL("POST"),
                                     .query = text,
                                     .headers = headers,
                                     .header_count = sizeof(headers) / sizeof(headers[0]),
                                     .body = text};
    const struct aws_request request = {.exchange = &exchange,
                                        .region = SLICE_LITERAL("us-east-1"),
                                        .access_key = text,
                                        .account_id = AWS_ACCOUNT_ID};
    const struct url_event event = {
        .request = &request, .url_id = "id", .path = text, .is_signed = true};
    struct buffer document = BUFFER_INIT(1u << 20);

    if (url_event_write(&event, &document) == OK)
        CHECK(json_check(buffer_slice(&document), JSON_CHECK_DEPTH_MAX));
    buffer_close(&document);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice text = slice_of(data, size);
    bool is_json = json_check(text, JSON_CHECK_DEPTH_MAX);
    struct gateway_response response;
    struct lambda_name name;
    struct arena arena;

    arena_init(&arena);
    if (gateway_response_read(&arena, text, &response) == OK) {
        CHECK(is_json);
        check_headers(&response);
        buffer_close(&response.body);
    }
    if (gateway_response_read_2(&arena, text, &response) == OK) {
        check_headers(&response);
        buffer_close(&response.body);
    }
    check_event(text);
    if (lambda_name_parse_integration(text, &name) == OK)
        CHECK(name.name[0] != 0);
    arena_close(&arena);
    return 0;
}
