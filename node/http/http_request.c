/* Requests: taken out of what a connection has read, handed to the handler, answered.
 *
 *   READING -> OPEN -> ANSWERED -> written, released */

#include "node/http/http_impl.h"

#include "proto/base/check.h"
#include "proto/base/encode.h"

static bool is_head_request(const struct http_request *request)
{
    return slice_equal_text(request->reader.method, "HEAD");
}

/* ---- answers -------------------------------------------------------------------------------- */

static bool is_newest(const struct http_request *request)
{
    return request->link.next == &request->connection->requests;
}

static bool has_input(const struct http_connection *connection)
{
    return connection->block != NULL && connection->parsed < connection->block->size;
}

/* Make the answer and let go of what the request held. `body` is taken. */
static void answer(struct http_request *request, int status, const struct http_header *headers,
                   size_t header_count, struct buffer *body)
{
    struct http_connection *connection = request->connection;
    struct http_server *server = request->server;

    if (server->is_draining && is_newest(request) && !has_input(connection))
        connection->is_last = true;
    const struct http_answer parts = {
        .status = status,
        .headers = headers,
        .header_count = header_count,
        .body_bytes = body != NULL ? body->size : 0,
        .date_line = http_date_line(&server->date, env_wall_ms(server->env)),
        .is_head = is_head_request(request),
        .is_http_1_0 = request->reader.is_http_1_0,
        .closes = connection->is_last && is_newest(request),
    };

    http_answer_write(&request->head, &parts);
    if (body != NULL && (parts.is_head || !http_answer_has_body(status)))
        buffer_close(body);
    else if (body != NULL)
        request->body = buffer_take(body);
    connection->queued_bytes += request->head.size + request->body.size;
    request->state = HTTP_REQUEST_ANSWERED;
    arena_close(&request->exchange.arena);
    http_pool_block_release(&server->pool, request->block);
    request->block = NULL;
}

/* http_exchange.respond */
static void respond(struct http_exchange *exchange, int status, const struct http_header *headers,
                    size_t header_count, struct buffer *body)
{
    struct http_request *request = container_of(exchange, struct http_request, exchange);
    struct http_connection *connection = request->connection;

    CHECK(request->state == HTTP_REQUEST_OPEN);
    if (connection == NULL) { /* nobody is there to read it */
        if (body != NULL)
            buffer_close(body);
        http_pool_request_release(&request->server->pool, request);
        return;
    }
    answer(request, status, headers, header_count, body);
    if (!connection->is_turning)
        http_server_mark_dirty(connection);
}

/* ---- requests ------------------------------------------------------------------------------- */

void http_request_begin(struct http_connection *connection)
{
    struct http_server *server = connection->server;
    struct http_request *request = http_pool_request(&server->pool);

    request->connection = connection;
    request->server = server;
    http_reader_init(&request->reader, (struct http_reader_limits){server->options.head_bytes_max,
                                                                   server->options.body_bytes_max});
    list_append(&connection->requests, &request->link);
    connection->request_count++;
    connection->reading = request;
    http_server_wait(connection, HTTP_WAIT_NONE); /* its time starts anew */
}

void http_request_abandon(struct http_request *request)
{
    struct http_exchange *exchange = &request->exchange;

    if (request->state != HTTP_REQUEST_OPEN || exchange->is_abandoned || request->server->is_freed)
        return;
    exchange->is_abandoned = true;
    if (exchange->on_abandoned != NULL)
        exchange->on_abandoned(exchange);
}

void http_request_drop(struct http_connection *connection, struct http_request *request)
{
    connection->request_count--;
    connection->queued_bytes -= request->head.size + request->body.size;
    http_pool_request_release(&connection->server->pool, request);
}

void http_request_drop_reading(struct http_connection *connection)
{
    if (connection->reading != NULL)
        http_request_drop(connection, connection->reading);
    connection->reading = NULL;
}

void http_request_refuse(struct http_connection *connection, int status, const char *why)
{
    const struct http_header plain = {SLICE_LITERAL("Content-Type"), SLICE_LITERAL("text/plain")};
    struct http_request *request = connection->reading;
    struct buffer body = BUFFER_INIT(BUFFER_UNLIMITED);

    connection->reading = NULL;
    connection->is_last = true;
    request->wants_continue = false;
    buffer_putf(&body, "%d %s: %s\n", status, http_reader_reason(status), why);
    answer(request, status, &plain, 1, &body);
}

static void make_request_id(struct env *env, char text[UUID_TEXT_BYTES])
{
    const uint64_t random[2] = {env_random(env), env_random(env)};

    encode_uuid((const uint8_t *)random, text);
}

static void on_request_complete(struct http_connection *connection)
{
    struct http_server *server = connection->server;
    struct http_request *request = connection->reading;
    struct http_reader *reader = &request->reader;
    struct http_exchange *exchange = &request->exchange;

    connection->reading = NULL;
    if (!reader->keep_alive)
        connection->is_last = true;
    request->state = HTTP_REQUEST_OPEN;
    request->wants_continue = false;
    request->block = connection->block;
    request->block->references++;
    exchange->method = reader->method;
    exchange->target = reader->target;
    exchange->path = reader->path;
    exchange->query = reader->query;
    exchange->headers = reader->headers;
    exchange->header_count = reader->header_count;
    exchange->body = reader->body;
    memcpy(exchange->peer_address, connection->peer_address, sizeof(exchange->peer_address));
    exchange->local_port = connection->local_port;
    exchange->is_tls = false;
    make_request_id(server->env, exchange->request_id);
    exchange->respond = respond;
    exchange->impl = NULL;
    exchange->on_abandoned = NULL;
    exchange->is_abandoned = false;
    server->counters.requests++;
    server->handler(server->user, exchange);
}

/* Give the reader what has come. */
static void feed(struct http_connection *connection)
{
    struct http_request *request = connection->reading;
    struct http_reader *reader = &request->reader;
    struct http_block *block = connection->block;
    bool was_head = reader->state == HTTP_READER_HEAD;

    connection->parsed += http_reader_feed(reader, block->data + connection->parsed,
                                           block->size - connection->parsed);
    if (was_head && reader->state != HTTP_READER_HEAD)
        request->exchange.received_us = env_now_us(connection->server->env);
    switch (reader->state) {
    case HTTP_READER_HEAD:
        if (http_reader_start(reader) == NULL)
            http_request_drop_reading(connection);
        break;
    case HTTP_READER_BODY: /* all was used; what framed the chunks may be overwritten */
        request->wants_continue = was_head && reader->expects_continue && reader->body.size == 0;
        block->size = (size_t)(http_reader_end(reader) - block->data);
        connection->parsed = block->size;
        break;
    case HTTP_READER_DONE:
        on_request_complete(connection);
        break;
    case HTTP_READER_FAILED:
        connection->server->counters.malformed++;
        http_request_refuse(connection, reader->status, reader->why);
        break;
    }
}

bool http_request_has_place(const struct http_connection *connection)
{
    const struct http_server_options *options = &connection->server->options;

    return !connection->is_last &&
           (connection->reading != NULL || (connection->request_count < options->pipeline_max &&
                                            connection->queued_bytes < options->queued_bytes_max));
}

bool http_request_can_take(const struct http_connection *connection)
{
    return !connection->is_closed && http_request_has_place(connection) && has_input(connection);
}

void http_request_take_all(struct http_connection *connection)
{
    while (http_request_can_take(connection)) {
        if (connection->reading == NULL)
            http_request_begin(connection);
        feed(connection);
    }
}
