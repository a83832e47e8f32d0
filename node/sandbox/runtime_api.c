#include "node/sandbox/runtime_api.h"

#include "node/sandbox/invoke.h"
#include "proto/base/check.h"
#include "proto/base/json_write.h"

#include <inttypes.h>
#include <stdio.h>

#define ROOT "/2018-06-01/runtime"

void runtime_api_init(struct runtime_api *api, const struct runtime_api_handler *handler,
                      void *user)
{
    *api = (struct runtime_api){
        .handler = handler, .user = user, .event = BUFFER_INIT(BUFFER_UNLIMITED)};
}

void runtime_api_close(struct runtime_api *api)
{
    buffer_close(&api->event);
}

void runtime_connection_init(struct runtime_connection *connection, struct runtime_api *api)
{
    runtime_http_init(&connection->http, INVOKE_PAYLOAD_BYTES_MAX);
    connection->api = api;
}

void runtime_connection_close(struct runtime_connection *connection)
{
    if (connection->api->waiting == connection)
        connection->api->waiting = NULL;
    runtime_http_close(&connection->http);
}

/* ---- answers ------------------------------------------------------------------------------- */

static void send_answer(struct runtime_connection *connection, int status, const char *reason,
                        struct slice body)
{
    AUTO(buffer) bytes = BUFFER_INIT(BUFFER_UNLIMITED);

    buffer_putf(&bytes,
                "HTTP/1.1 %d %s\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n\r\n",
                status, reason, body.size);
    buffer_put_slice(&bytes, body);
    connection->send(connection, &bytes);
}

static void send_accepted(struct runtime_connection *connection)
{
    send_answer(connection, 202, "Accepted", SLICE_LITERAL("{\"status\":\"OK\"}\n"));
}

static void send_error(struct runtime_connection *connection, int status, const char *reason,
                       const char *type, const char *message)
{
    AUTO(buffer) body = BUFFER_INIT(BUFFER_UNLIMITED);
    struct json_write json = json_write_to(&body);

    json_begin_object(&json);
    json_member_text(&json, "errorMessage", message);
    json_member_text(&json, "errorType", type);
    json_end_object(&json);
    send_answer(connection, status, reason, buffer_slice(&body));
}

/* ---- events -------------------------------------------------------------------------------- */

/* A caller's words must not become headers of their own. */
static void put_header(struct buffer *to, const char *name, struct slice value)
{
    buffer_putf(to, "%s: ", name);
    for (size_t i = 0; i < value.size; i++)
        buffer_put_u8(to, value.data[i] < ' ' || value.data[i] == 0x7f ? ' ' : value.data[i]);
    buffer_put_text(to, "\r\n");
}

static void hand_out(struct runtime_api *api)
{
    struct runtime_connection *connection = api->waiting;

    if (connection == NULL || api->event.size == 0 || api->is_client_gone)
        return;
    api->waiting = NULL;
    connection->send(connection, &api->event);
    buffer_clear(&api->event);
}

void runtime_api_deliver(struct runtime_api *api, const struct sandbox_event *event)
{
    struct buffer *to = &api->event;

    CHECK(api->request_id[0] == '\0');
    CHECK(to->size == 0);
    CHECK(strlen(event->request_id) < sizeof(api->request_id));
    strcpy(api->request_id, event->request_id);
    buffer_put_text(to, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n");
    put_header(to, "Lambda-Runtime-Aws-Request-Id", slice_text(event->request_id));
    put_header(to, "Lambda-Runtime-Invoked-Function-Arn", slice_text(event->function_arn));
    if (event->trace_header != NULL && event->trace_header[0] != '\0')
        put_header(to, "Lambda-Runtime-Trace-Id", slice_text(event->trace_header));
    if (event->client_context.size > 0)
        put_header(to, "Lambda-Runtime-Client-Context", event->client_context);
    buffer_putf(to, "Lambda-Runtime-Deadline-Ms: %" PRIu64 "\r\nContent-Length: %zu\r\n\r\n",
                event->deadline_wall_ms, event->payload.size);
    buffer_put_slice(to, event->payload);
    hand_out(api);
}

/* ---- requests ------------------------------------------------------------------------------ */

static void on_next(struct runtime_connection *connection)
{
    struct runtime_api *api = connection->api;

    api->waiting = connection;
    if (!api->is_ready) {
        api->is_ready = true;
        api->handler->on_ready(api->user);
    }
    hand_out(api);
}

static void on_init_error(struct runtime_connection *connection)
{
    struct runtime_api *api = connection->api;

    send_accepted(connection);
    if (!api->is_ready)
        api->handler->on_init_error(api->user, buffer_slice(&connection->http.body));
}

/* An error document for a client that sent only the header. */
static void put_bare_error(const char *type, struct buffer *to)
{
    struct json_write json = json_write_to(to);

    json_begin_object(&json);
    json_member_text(&json, "errorMessage", "");
    json_member_text(&json, "errorType", type[0] != '\0' ? type : "Runtime.Unknown");
    json_end_object(&json);
}

static void on_result(struct runtime_connection *connection, struct slice request_id, bool is_error)
{
    struct runtime_api *api = connection->api;
    struct runtime_http *http = &connection->http;
    AUTO(buffer) payload = BUFFER_INIT(BUFFER_UNLIMITED);

    /* an event that nobody fetched yet cannot be answered */
    if (api->event.size > 0 || !slice_equal_text(request_id, api->request_id) ||
        request_id.size == 0) {
        send_error(connection, 400, "Bad Request", "InvalidRequestID", "Invalid request ID");
        return;
    }
    api->request_id[0] = '\0';
    if (http->is_too_large) {
        send_error(connection, 413, "Payload Too Large", "RequestEntityTooLarge",
                   "Exceeded maximum allowed payload size (6291456 bytes).");
        api->handler->on_result(api->user, SANDBOX_TOO_LARGE, (struct slice){0});
        return;
    }
    send_accepted(connection);
    payload = buffer_take(&http->body);
    if (is_error && payload.size == 0)
        put_bare_error(http->error_type, &payload);
    api->handler->on_result(api->user, is_error ? SANDBOX_ERROR : SANDBOX_RESPONSE,
                            buffer_slice(&payload));
}

/* What follows `prefix`; false when it is not there. */
static bool skip(struct slice *path, const char *prefix)
{
    if (!slice_starts_with(*path, slice_text(prefix)))
        return false;
    *path = slice_of(path->data + strlen(prefix), path->size - strlen(prefix));
    return true;
}

static bool skip_token(const struct runtime_api *api, struct slice *path)
{
    return api->token[0] == '\0' || (skip(path, "/") && skip(path, api->token));
}

static void route(struct runtime_connection *connection)
{
    const struct runtime_http *http = &connection->http;
    bool is_get = slice_equal_text(http->method, "GET");
    bool is_post = slice_equal_text(http->method, "POST");
    struct slice path = http->target;

    if (!skip_token(connection->api, &path)) {
        send_error(connection, 403, "Forbidden", "AccessDenied", "Not your runtime");
        return;
    }
    if (is_get && slice_equal_text(path, ROOT "/invocation/next")) {
        on_next(connection);
        return;
    }
    if (is_post && slice_equal_text(path, ROOT "/init/error")) {
        on_init_error(connection);
        return;
    }
    if (is_post && skip(&path, ROOT "/invocation/")) {
        const uint8_t *slash = path.size > 0 ? memchr(path.data, '/', path.size) : NULL;

        if (slash != NULL) {
            struct slice id = slice_of(path.data, (size_t)(slash - path.data));
            struct slice verb = slice_of(slash + 1, path.size - id.size - 1);

            if (slice_equal_text(verb, "response") || slice_equal_text(verb, "error")) {
                on_result(connection, id, slice_equal_text(verb, "error"));
                return;
            }
        }
    }
    send_error(connection, 404, "Not Found", "InvalidPath", "No such operation");
}

bool runtime_connection_receive(struct runtime_connection *connection, struct slice bytes)
{
    enum runtime_http_progress progress;

    while (bytes.size > 0) {
        size_t used = runtime_http_feed(&connection->http, bytes, &progress);

        bytes = slice_of(bytes.data + used, bytes.size - used);
        if (progress == RUNTIME_HTTP_BROKEN) {
            send_error(connection, 400, "Bad Request", "InvalidRequest", "Malformed request");
            return false;
        }
        if (progress == RUNTIME_HTTP_CONTINUE) {
            AUTO(buffer) interim = BUFFER_INIT(BUFFER_UNLIMITED);

            buffer_put_text(&interim, "HTTP/1.1 100 Continue\r\n\r\n");
            connection->send(connection, &interim);
        } else if (progress == RUNTIME_HTTP_REQUEST) {
            bool keep_alive = connection->http.keep_alive;

            route(connection);
            if (!keep_alive && connection->api->waiting != connection)
                return false;
        }
    }
    return true;
}
