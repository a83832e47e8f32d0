/* What functions answer, and JSON that is passed on unread: whatever json_check lets through as an
 * answer becomes an HTTP response or is refused, with nothing in a header that could start another
 * one. */

#include "node/aws/gateway_response.h"
#include "node/aws/json_check.h"
#include "node/aws/lambda_name.h"
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
    if (lambda_name_parse_integration(text, &name) == OK)
        CHECK(name.name[0] != 0);
    arena_close(&arena);
    return 0;
}
