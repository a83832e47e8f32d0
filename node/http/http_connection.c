/* One connection of the HTTP server.
 *
 * Callbacks note what came and call http_connection_turn, which does everything else: take requests
 * out of the block, write the answers that are due, and settle what to wait for.
 *
 *   requests:   READING -> OPEN -> ANSWERED -> written, released
 *   connection: serving -> is_last (no further request) -> all written -> is_lingering -> closed
 *
 * A connection lingers (RFC 9112, 9.6): closing while the client still sends would reset it, and
 * the client would lose the answer that tells it why. */

#include "node/http/http_impl.h"

#include "proto/base/check.h"
#include "proto/base/encode.h"

#include <linux/sockios.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define ROOM_MIN 2048                   /* do not read into less */
#define WRITE_BUFFERS_MAX 64            /* of one write */
#define BODY_PROGRESS_BYTES (64 * 1024) /* buys a body another time-out */

static uv_stream_t *stream_of(struct http_connection *connection)
{
    return (uv_stream_t *)&connection->tcp;
}

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

static void begin_request(struct http_connection *connection)
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

static void drop_request(struct http_connection *connection, struct http_request *request)
{
    connection->request_count--;
    connection->queued_bytes -= request->head.size + request->body.size;
    http_pool_request_release(&connection->server->pool, request);
}

static void drop_reading(struct http_connection *connection)
{
    if (connection->reading != NULL)
        drop_request(connection, connection->reading);
    connection->reading = NULL;
}

/* Answer the request being read with an error of our own, and take no more after it. */
static void refuse(struct http_connection *connection, int status, const char *why)
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
            drop_reading(connection);
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
        refuse(connection, reader->status, reader->why);
        break;
    }
}

/* May another request be begun, or the one that was be read on? */
static bool has_place(const struct http_connection *connection)
{
    const struct http_server_options *options = &connection->server->options;

    return !connection->is_last &&
           (connection->reading != NULL || (connection->request_count < options->pipeline_max &&
                                            connection->queued_bytes < options->queued_bytes_max));
}

static bool can_take(const struct http_connection *connection)
{
    return !connection->is_closed && has_place(connection) && has_input(connection);
}

static void take_requests(struct http_connection *connection)
{
    while (can_take(connection)) {
        if (connection->reading == NULL)
            begin_request(connection);
        feed(connection);
    }
}

/* ---- writing -------------------------------------------------------------------------------- */

struct output {
    uv_buf_t buffers[WRITE_BUFFERS_MAX];
    unsigned count;
    size_t bytes;
    size_t requests; /* whole answers in it */
};

static void output_put(struct output *output, struct slice bytes)
{
    if (bytes.size == 0)
        return;
    output->buffers[output->count++] = (uv_buf_t){(char *)(uintptr_t)bytes.data, bytes.size};
    output->bytes += bytes.size;
}

/* What may be written now: the answers up to the first request that has none. */
static void gather(struct http_connection *connection, struct output *output)
{
    output->count = 0;
    output->bytes = 0;
    output->requests = 0;
    LIST_EACH(&connection->requests, link)
    {
        struct http_request *request = container_of(link, struct http_request, link);

        if (output->count + 2 > WRITE_BUFFERS_MAX)
            return;
        if (request->state != HTTP_REQUEST_ANSWERED) {
            if (request->wants_continue)
                output_put(output, SLICE_LITERAL("HTTP/1.1 100 Continue\r\n\r\n"));
            request->wants_continue = false;
            return;
        }
        output_put(output, buffer_slice(&request->head));
        output_put(output, buffer_slice(&request->body));
        output->requests++;
    }
}

static void skip_written(struct output *output, size_t bytes)
{
    unsigned from = 0;

    while (bytes > 0 && bytes >= output->buffers[from].len)
        bytes -= output->buffers[from++].len;
    output->count -= from;
    memmove(output->buffers, output->buffers + from, output->count * sizeof(output->buffers[0]));
    output->buffers[0].base += bytes;
    output->buffers[0].len -= bytes;
}

static void on_written_requests(struct http_connection *connection, size_t count)
{
    for (; count > 0; count--) {
        struct list *first = connection->requests.next;

        drop_request(connection, container_of(first, struct http_request, link));
    }
}

static void on_write(uv_write_t *write, int status)
{
    struct http_connection *connection = container_of(write, struct http_connection, write);

    connection->is_writing = false;
    if (connection->is_closed)
        return;
    if (status < 0) {
        http_connection_close(connection);
        return;
    }
    on_written_requests(connection, connection->writing);
    http_connection_turn(connection);
}

static void write_answers(struct http_connection *connection)
{
    struct output output;

    while (!connection->is_closed && !connection->is_writing) {
        gather(connection, &output);
        if (output.count == 0)
            return;
        int rc = uv_try_write(stream_of(connection), output.buffers, output.count);

        if (rc >= 0 && (size_t)rc == output.bytes) {
            on_written_requests(connection, output.requests);
            continue;
        }
        if (rc > 0)
            skip_written(&output, (size_t)rc);
        if (rc >= 0 || rc == UV_EAGAIN)
            rc = uv_write(&connection->write, stream_of(connection), output.buffers, output.count,
                          on_write);
        if (rc < 0) {
            http_connection_close(connection);
            return;
        }
        connection->is_writing = true;
        connection->writing = output.requests;
    }
}

/* ---- reading -------------------------------------------------------------------------------- */

/* Move what is still needed to a larger block. */
static void grow(struct http_connection *connection)
{
    struct http_pool *pool = &connection->server->pool;
    struct http_block *old = connection->block;
    struct http_request *reading = connection->reading;
    const uint8_t *keep =
        reading != NULL ? http_reader_start(&reading->reader) : old->data + connection->parsed;
    size_t skipped = (size_t)(keep - old->data);
    size_t kept = old->size - skipped;
    uint64_t missing = reading != NULL ? http_reader_missing(&reading->reader) : 0;
    size_t room = missing > 0 && missing < kept ? (size_t)missing : kept;
    struct http_block *block = http_pool_block(pool, kept + (room > ROOM_MIN ? room : ROOM_MIN));

    if (kept > 0)
        memcpy(block->data, keep, kept);
    block->size = kept;
    if (reading != NULL)
        http_reader_rebase(&reading->reader, block->data);
    connection->parsed -= skipped;
    connection->block = block;
    http_pool_block_release(pool, old);
}

static bool has_room(const struct http_connection *connection)
{
    size_t room = connection->block->capacity - connection->block->size;
    uint64_t missing =
        connection->reading != NULL ? http_reader_missing(&connection->reading->reader) : 0;

    return room >= ROOM_MIN || (missing > 0 && room >= missing);
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buffer)
{
    struct http_connection *connection = container_of(handle, struct http_connection, tcp);

    (void)suggested;
    if (connection->block == NULL)
        connection->block = http_pool_block(&connection->server->pool, 0);
    else if (!has_room(connection))
        grow(connection);
    struct http_block *block = connection->block;

    *buffer = (uv_buf_t){(char *)block->data + block->size, block->capacity - block->size};
}

static void on_read(uv_stream_t *stream, ssize_t size, const uv_buf_t *buffer)
{
    struct http_connection *connection = container_of(stream, struct http_connection, tcp);

    (void)buffer;
    if (size < 0 && (size != UV_EOF || connection->is_lingering)) {
        http_connection_close(connection);
        return;
    }
    if (size == UV_EOF) {
        drop_reading(connection);
        connection->is_reading = false;
        connection->is_ended = true;
        connection->is_last = true;
    } else if (!connection->is_lingering) {
        connection->block->size += (size_t)size;
    }
    http_connection_turn(connection);
}

/* ---- settling ------------------------------------------------------------------------------- */

static void release_input(struct http_connection *connection)
{
    struct http_block *block = connection->block;

    if (block == NULL || connection->reading != NULL)
        return;
    bool is_used_up = connection->parsed == block->size &&
                      (block->references == 1 || block->capacity - block->size < ROOM_MIN);

    if (connection->is_last || is_used_up) {
        http_pool_block_release(&connection->server->pool, block);
        connection->block = NULL;
        connection->parsed = 0;
    }
}

static void on_shutdown(uv_shutdown_t *shutdown, int status)
{
    (void)shutdown;
    (void)status; /* the linger time-out closes the connection either way */
}

/* All is said. */
static void finish(struct http_connection *connection)
{
    if (connection->is_ended ||
        uv_shutdown(&connection->shutdown, stream_of(connection), on_shutdown) < 0)
        http_connection_close(connection);
    else
        connection->is_lingering = true;
}

static void settle_reading(struct http_connection *connection)
{
    bool wanted = connection->is_lingering || has_place(connection);

    if (wanted == connection->is_reading)
        return;
    connection->is_reading = wanted;
    if (!wanted)
        (void)uv_read_stop(stream_of(connection));
    else if (uv_read_start(stream_of(connection), on_alloc, on_read) < 0)
        http_connection_close(connection);
}

static enum http_wait wait_of(const struct http_connection *connection)
{
    const struct http_request *reading = connection->reading;

    if (connection->is_lingering)
        return HTTP_WAIT_LINGER;
    if (connection->is_writing)
        return HTTP_WAIT_WRITE;
    if (reading != NULL && reading->wants_continue)
        return HTTP_WAIT_NONE; /* it is we who let the client wait */
    if (reading != NULL)
        return reading->reader.state == HTTP_READER_BODY ? HTTP_WAIT_BODY : HTTP_WAIT_HEAD;
    return list_is_empty(&connection->requests) ? HTTP_WAIT_IDLE : HTTP_WAIT_NONE;
}

/* What the client has not taken yet, in the system's buffer too: that one is refilled only in large
 * steps, and a slow client would seem to take nothing for long. */
static size_t untaken_bytes(const struct http_connection *connection)
{
    size_t bytes = uv_stream_get_write_queue_size((const uv_stream_t *)&connection->tcp);
    uv_os_fd_t fd;
    int buffered;

    if (uv_fileno((const uv_handle_t *)&connection->tcp, &fd) == 0 &&
        ioctl(fd, SIOCOUTQ, &buffered) == 0)
        bytes += (size_t)buffered;
    return bytes;
}

static void settle_wait(struct http_connection *connection)
{
    enum http_wait wait = wait_of(connection);
    bool has_progress =
        wait == HTTP_WAIT_IDLE ||
        (wait == HTTP_WAIT_BODY &&
         connection->reading->reader.body.size - connection->wait_mark >= BODY_PROGRESS_BYTES);

    if (wait == connection->wait && !has_progress)
        return;
    if (wait == HTTP_WAIT_BODY)
        connection->wait_mark = connection->reading->reader.body.size;
    else if (wait == HTTP_WAIT_WRITE)
        connection->wait_mark = untaken_bytes(connection);
    http_server_wait(connection, wait);
}

static void settle(struct http_connection *connection)
{
    bool is_idle = list_is_empty(&connection->requests);

    release_input(connection);
    if (connection->is_last && is_idle && !connection->is_lingering && !connection->is_writing)
        finish(connection);
    else if (connection->server->is_draining && is_idle && !connection->is_lingering)
        http_connection_close(connection);
    if (!connection->is_closed)
        settle_reading(connection);
    if (!connection->is_closed)
        settle_wait(connection);
}

void http_connection_turn(struct http_connection *connection)
{
    if (connection->is_closed || connection->is_turning)
        return;
    connection->is_turning = true;
    do {
        take_requests(connection);
        write_answers(connection);
    } while (can_take(connection));
    connection->is_turning = false;
    if (!connection->is_closed)
        settle(connection);
}

void http_connection_on_timeout(struct http_connection *connection)
{
    size_t untaken = 0;

    switch (connection->wait) {
    case HTTP_WAIT_HEAD:
    case HTTP_WAIT_BODY:
        connection->server->counters.timeouts++;
        refuse(connection, 408, "the request came too slowly");
        http_connection_turn(connection);
        break;
    case HTTP_WAIT_WRITE:
        untaken = untaken_bytes(connection);
        if (untaken < connection->wait_mark) {
            connection->wait_mark = untaken;
            http_server_wait(connection, HTTP_WAIT_WRITE);
            break;
        }
        connection->server->counters.timeouts++;
        http_connection_close(connection);
        break;
    case HTTP_WAIT_IDLE:
    case HTTP_WAIT_LINGER:
    case HTTP_WAIT_NONE:
        http_connection_close(connection);
        break;
    }
}

/* ---- birth and death ------------------------------------------------------------------------ */

static void on_closed(uv_handle_t *handle)
{
    struct http_connection *connection = container_of(handle, struct http_connection, tcp);
    struct http_server *server = connection->server;

    on_written_requests(connection, connection->request_count); /* none of them is open */
    http_pool_block_release(&server->pool, connection->block);
    list_remove(&connection->link);
    server->counters.open--;
    free(connection);
    http_server_on_handle_closed(server);
}

void http_connection_close(struct http_connection *connection)
{
    if (connection->is_closed)
        return;
    connection->is_closed = true;
    connection->reading = NULL;
    list_remove(&connection->dirty_link);
    http_server_wait(connection, HTTP_WAIT_NONE);
    LIST_EACH_SAFE(&connection->requests, link)
    {
        struct http_request *request = container_of(link, struct http_request, link);

        if (request->state != HTTP_REQUEST_OPEN)
            continue;
        request->connection = NULL;
        list_remove(link);
        list_append(&connection->server->orphans, link);
        connection->request_count--;
    }
    uv_close((uv_handle_t *)&connection->tcp, on_closed);
}

static void read_peer_address(struct http_connection *connection)
{
    struct sockaddr_storage address;
    int size = sizeof(address);

    if (uv_tcp_getpeername(&connection->tcp, (struct sockaddr *)&address, &size) != 0 ||
        uv_ip_name((struct sockaddr *)&address, connection->peer_address,
                   sizeof(connection->peer_address)) != 0)
        connection->peer_address[0] = '\0';
}

static struct http_connection *connection_new(struct http_server *server, uint16_t local_port)
{
    struct http_connection *connection = check_calloc(1, sizeof(*connection));

    connection->server = server;
    connection->wait = HTTP_WAIT_NONE;
    connection->local_port = local_port;
    list_init(&connection->requests);
    list_init(&connection->dirty_link);
    list_init(&connection->wait_link);
    list_append(&server->connections, &connection->link);
    server->counters.connections++;
    server->counters.open++;
    server->handle_count++;
    CHECK(uv_tcp_init(server->loop, &connection->tcp) == 0);
    return connection;
}

static void connection_begin(struct http_connection *connection, bool is_refused)
{
    (void)uv_tcp_nodelay(&connection->tcp, 1);
    read_peer_address(connection);
    if (is_refused) {
        connection->server->counters.refused++;
        begin_request(connection);
        refuse(connection, 503, "too many connections");
    }
    http_connection_turn(connection);
}

void http_connection_accept(struct http_server *server, uv_stream_t *listener, uint16_t local_port,
                            bool is_refused)
{
    struct http_connection *connection = connection_new(server, local_port);

    if (uv_accept(listener, stream_of(connection)) != 0)
        http_connection_close(connection);
    else
        connection_begin(connection, is_refused);
}

void http_connection_adopt(struct http_server *server, int fd, uint16_t local_port, bool is_refused)
{
    struct http_connection *connection = connection_new(server, local_port);

    if (uv_tcp_open(&connection->tcp, fd) != 0) {
        (void)close(fd);
        http_connection_close(connection);
    } else {
        connection_begin(connection, is_refused);
    }
}
