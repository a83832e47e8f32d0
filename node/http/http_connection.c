/* One connection of the HTTP server.
 *
 * Callbacks note what came and call http_connection_turn, which does everything else: take requests
 * out of the block (http_request.c), write the answers that are due (http_connection_write.c), and
 * settle what to wait for.
 *
 *   serving -> is_last (no further request) -> all written -> is_lingering -> closed
 *
 * A connection lingers (RFC 9112, 9.6): closing while the client still sends would reset it, and
 * the client would lose the answer that tells it why. */

#include "node/http/http_impl.h"

#include "proto/base/check.h"

#include <unistd.h>

#define ROOM_MIN 2048                   /* do not read into less */
#define BODY_PROGRESS_BYTES (64 * 1024) /* buys a body another time-out */

static uv_stream_t *stream_of(struct http_connection *connection)
{
    return (uv_stream_t *)&connection->tcp;
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

static void abandon_requests(struct http_connection *connection)
{
    LIST_EACH(&connection->requests, link)
    {
        http_request_abandon(container_of(link, struct http_request, link));
    }
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
        http_request_drop_reading(connection);
        connection->is_reading = false;
        connection->is_ended = true;
        connection->is_last = true;
        abandon_requests(connection);
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
    bool wanted = connection->is_lingering || http_request_has_place(connection);

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
        connection->wait_mark = http_connection_write_left(connection);
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
        http_request_take_all(connection);
        http_connection_write(connection);
    } while (http_request_can_take(connection));
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
        http_request_refuse(connection, 408, "the request came too slowly");
        http_connection_turn(connection);
        break;
    case HTTP_WAIT_WRITE:
        untaken = http_connection_write_left(connection);
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

    LIST_EACH_SAFE(&connection->requests, link) /* none of them is open */
    {
        http_request_drop(connection, container_of(link, struct http_request, link));
    }
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
        http_request_abandon(request);
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
        http_request_begin(connection);
        http_request_refuse(connection, 503, "too many connections");
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
