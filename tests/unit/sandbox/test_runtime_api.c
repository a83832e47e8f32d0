#include "node/sandbox/invoke.h"
#include "node/sandbox/runtime_api.h"
#include "proto/base/check.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define NEXT "GET /2018-06-01/runtime/invocation/next HTTP/1.1\r\n\r\n"
#define ACCEPTED                                                                                   \
    "HTTP/1.1 202 Accepted\r\nContent-Type: application/json\r\nContent-Length: 16\r\n\r\n"        \
    "{\"status\":\"OK\"}\n"

struct fixture {
    struct runtime_api api;
    struct runtime_connection connection;
    struct buffer sent;
    struct buffer heard; /* what the handler was told, in words */
};

static void send_bytes(struct runtime_connection *connection, struct buffer *bytes)
{
    struct fixture *f = container_of(connection, struct fixture, connection);

    buffer_put_slice(&f->sent, buffer_slice(bytes));
    buffer_close(bytes);
}

static void on_ready(void *user)
{
    buffer_put_text(&((struct fixture *)user)->heard, "ready;");
}

static void on_init_error(void *user, struct slice payload)
{
    buffer_putf(&((struct fixture *)user)->heard, "init error %.*s;", (int)payload.size,
                (const char *)payload.data);
}

static void on_result(void *user, enum sandbox_result result, struct slice payload)
{
    static const char *const words[] = {"response", "error", "too large"};

    buffer_putf(&((struct fixture *)user)->heard, "%s %.*s;", words[result], (int)payload.size,
                (const char *)payload.data);
}

static const struct runtime_api_handler handler = {on_ready, on_init_error, on_result};

static void open_fixture(struct fixture *f)
{
    memset(f, 0, sizeof(*f));
    buffer_init(&f->sent, BUFFER_UNLIMITED);
    buffer_init(&f->heard, BUFFER_UNLIMITED);
    runtime_api_init(&f->api, &handler, f);
    runtime_connection_init(&f->connection, &f->api);
    f->connection.send = send_bytes;
}

static void close_fixture(struct fixture *f)
{
    runtime_connection_close(&f->connection);
    runtime_api_close(&f->api);
    buffer_close(&f->sent);
    buffer_close(&f->heard);
}

static bool receive(struct fixture *f, const char *text)
{
    return runtime_connection_receive(&f->connection, slice_text(text));
}

static void deliver(struct fixture *f, const char *request_id)
{
    struct sandbox_event event = {.request_id = request_id,
                                  .function_arn = "arn:f",
                                  .trace_header = "Root=1\r\nInjected: x",
                                  .client_context = SLICE_LITERAL("{}"),
                                  .payload = SLICE_LITERAL("{\"a\":1}"),
                                  .deadline_wall_ms = 1234};

    runtime_api_deliver(&f->api, &event);
}

static void expect_sent(struct fixture *f, const char *text)
{
    assert_string_equal(buffer_text(&f->sent), text);
    buffer_clear(&f->sent);
}

static void expect_heard(struct fixture *f, const char *text)
{
    assert_string_equal(buffer_text(&f->heard), text);
    buffer_clear(&f->heard);
}

static void runtime_api__next_then_event__event_with_its_headers(void **state)
{
    struct fixture f;

    (void)state;
    open_fixture(&f);
    assert_true(receive(&f, NEXT));
    expect_heard(&f, "ready;");
    expect_sent(&f, "");

    deliver(&f, "id-1");

    expect_sent(&f, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
                    "Lambda-Runtime-Aws-Request-Id: id-1\r\n"
                    "Lambda-Runtime-Invoked-Function-Arn: arn:f\r\n"
                    "Lambda-Runtime-Trace-Id: Root=1  Injected: x\r\n"
                    "Lambda-Runtime-Client-Context: {}\r\n"
                    "Lambda-Runtime-Deadline-Ms: 1234\r\nContent-Length: 7\r\n\r\n{\"a\":1}");
    close_fixture(&f);
}

static void runtime_api__response_and_next_in_one__result_then_waits(void **state)
{
    struct fixture f;

    (void)state;
    open_fixture(&f);
    receive(&f, NEXT);
    deliver(&f, "id-1");
    buffer_clear(&f.sent);
    buffer_clear(&f.heard);

    receive(&f, "POST /2018-06-01/runtime/invocation/id-1/response HTTP/1.1\r\n"
                "Content-Length: 2\r\n\r\n42" NEXT);

    expect_heard(&f, "response 42;");
    expect_sent(&f, ACCEPTED);
    deliver(&f, "id-2");
    assert_non_null(strstr(buffer_text(&f.sent), "Aws-Request-Id: id-2"));
    close_fixture(&f);
}

static void runtime_api__event_before_next__kept_for_it(void **state)
{
    struct fixture f;

    (void)state;
    open_fixture(&f);
    receive(&f, NEXT);
    deliver(&f, "id-1");
    receive(&f, "POST /2018-06-01/runtime/invocation/id-1/response HTTP/1.1\r\n"
                "Content-Length: 2\r\n\r\n42");
    buffer_clear(&f.sent);

    deliver(&f, "id-2");
    expect_sent(&f, "");
    receive(&f, "POST /2018-06-01/runtime/invocation/id-2/response HTTP/1.1\r\n"
                "Content-Length: 2\r\n\r\n42");
    assert_non_null(strstr(buffer_text(&f.sent), "400 Bad Request")); /* it never saw the event */
    buffer_clear(&f.sent);
    receive(&f, NEXT);

    assert_non_null(strstr(buffer_text(&f.sent), "Aws-Request-Id: id-2"));
    close_fixture(&f);
}

static void runtime_api__errors__handed_on(void **state)
{
    struct fixture f;

    (void)state;
    open_fixture(&f);
    receive(&f, "POST /2018-06-01/runtime/init/error HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}");
    expect_heard(&f, "init error {};");
    receive(&f, NEXT);
    deliver(&f, "id-1");
    buffer_clear(&f.heard);
    receive(&f, "POST /2018-06-01/runtime/invocation/id-1/error HTTP/1.1\r\n"
                "Lambda-Runtime-Function-Error-Type: Own.Kind\r\nContent-Length: 0\r\n\r\n");
    expect_heard(&f, "error {\"errorMessage\":\"\",\"errorType\":\"Own.Kind\"};");
    close_fixture(&f);
}

static void runtime_api__wrong_id_or_path__refused_and_nothing_happens(void **state)
{
    struct fixture f;

    (void)state;
    open_fixture(&f);
    receive(&f, NEXT);
    deliver(&f, "id-1");
    buffer_clear(&f.sent);
    buffer_clear(&f.heard);

    receive(&f, "POST /2018-06-01/runtime/invocation/id-9/response HTTP/1.1\r\n\r\n");
    assert_non_null(strstr(buffer_text(&f.sent), "400 Bad Request"));
    assert_non_null(strstr(buffer_text(&f.sent), "InvalidRequestID"));
    buffer_clear(&f.sent);
    receive(&f, "POST /2018-06-01/runtime/invocation//response HTTP/1.1\r\n\r\n");
    assert_non_null(strstr(buffer_text(&f.sent), "400 Bad Request"));
    buffer_clear(&f.sent);
    receive(&f, "GET /2018-06-01/runtime/invocation/id-1/response HTTP/1.1\r\n\r\n");
    assert_non_null(strstr(buffer_text(&f.sent), "404 Not Found"));
    buffer_clear(&f.sent);
    receive(&f, "GET /latest/meta-data HTTP/1.1\r\n\r\n");
    assert_non_null(strstr(buffer_text(&f.sent), "404 Not Found"));
    buffer_clear(&f.sent);
    assert_false(receive(&f, "nonsense\r\n\r\n"));
    assert_non_null(strstr(buffer_text(&f.sent), "400 Bad Request"));
    expect_heard(&f, "");
    close_fixture(&f);
}

static void runtime_api__token__must_come_first(void **state)
{
    struct fixture f;

    (void)state;
    open_fixture(&f);
    strcpy(f.api.token, "secret");

    receive(&f, NEXT);
    assert_non_null(strstr(buffer_text(&f.sent), "403 Forbidden"));
    expect_heard(&f, "");
    receive(&f, "GET /secret/2018-06-01/runtime/invocation/next HTTP/1.1\r\n\r\n");
    expect_heard(&f, "ready;");
    close_fixture(&f);
}

static void runtime_api__response_too_large__told_so_and_lives(void **state)
{
    AUTO(buffer) text = BUFFER_INIT(BUFFER_UNLIMITED);
    struct fixture f;

    (void)state;
    open_fixture(&f);
    receive(&f, NEXT);
    deliver(&f, "id-1");
    buffer_clear(&f.sent);
    buffer_clear(&f.heard);
    buffer_putf(&text,
                "POST /2018-06-01/runtime/invocation/id-1/response HTTP/1.1\r\n"
                "Content-Length: %u\r\n\r\n",
                INVOKE_PAYLOAD_BYTES_MAX + 1);
    for (size_t i = 0; i <= INVOKE_PAYLOAD_BYTES_MAX; i++)
        buffer_put_u8(&text, 'x');

    assert_true(runtime_connection_receive(&f.connection, buffer_slice(&text)));

    assert_non_null(strstr(buffer_text(&f.sent), "413 Payload Too Large"));
    expect_heard(&f, "too large ;");
    receive(&f, NEXT);
    deliver(&f, "id-2");
    assert_non_null(strstr(buffer_text(&f.sent), "Aws-Request-Id: id-2"));
    close_fixture(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(runtime_api__next_then_event__event_with_its_headers),
        cmocka_unit_test(runtime_api__response_and_next_in_one__result_then_waits),
        cmocka_unit_test(runtime_api__event_before_next__kept_for_it),
        cmocka_unit_test(runtime_api__errors__handed_on),
        cmocka_unit_test(runtime_api__wrong_id_or_path__refused_and_nothing_happens),
        cmocka_unit_test(runtime_api__token__must_come_first),
        cmocka_unit_test(runtime_api__response_too_large__told_so_and_lives),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
