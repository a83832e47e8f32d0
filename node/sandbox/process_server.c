#include "node/sandbox/process_server.h"

#include "proto/base/check.h"

#include <sys/socket.h>

#define RECEIVE_BYTES 65536

struct connection {
    struct runtime_connection runtime; /* first: what the api knows */
    struct process_server *server;
    struct list link;
    uv_tcp_t handle;
    bool is_closing;
    bool close_after_writes;
    uint32_t writes; /* in flight */
    uint8_t received[RECEIVE_BYTES];
};

struct write {
    uv_write_t request;
    struct connection *connection;
    struct buffer bytes;
};

static void count_closed(struct process_server *server)
{
    server->open_count--;
    if (server->is_closing && server->open_count == 0) {
        runtime_api_close(&server->api);
        server->closed(server);
    }
}

static void connection_on_closed(uv_handle_t *handle)
{
    struct connection *connection = handle->data;
    struct process_server *server = connection->server;

    free(connection);
    count_closed(server);
}

static void connection_close(struct connection *connection)
{
    if (connection->is_closing)
        return;
    connection->is_closing = true;
    connection->server->connection_count--;
    list_remove(&connection->link);
    runtime_connection_close(&connection->runtime);
    uv_close((uv_handle_t *)&connection->handle, connection_on_closed);
}

static void connection_on_written(uv_write_t *request, int status)
{
    struct write *write = container_of(request, struct write, request);
    struct connection *connection = write->connection;

    buffer_close(&write->bytes);
    free(write);
    connection->writes--;
    if (status != 0 || (connection->close_after_writes && connection->writes == 0))
        connection_close(connection);
}

static void connection_send(struct runtime_connection *runtime, struct buffer *bytes)
{
    struct connection *connection = container_of(runtime, struct connection, runtime);
    uv_stream_t *stream = (uv_stream_t *)&connection->handle;
    uv_buf_t part = uv_buf_init((char *)bytes->data, (unsigned)bytes->size);
    struct write *write;
    int sent = connection->is_closing ? 0 : uv_try_write(stream, &part, 1);

    if (connection->is_closing || sent == (int)bytes->size) {
        buffer_close(bytes);
        return;
    }
    write = check_calloc(1, sizeof(*write));
    write->connection = connection;
    write->bytes = buffer_take(bytes);
    sent = sent > 0 ? sent : 0;
    part =
        uv_buf_init((char *)write->bytes.data + sent, (unsigned)(write->bytes.size - (size_t)sent));
    if (uv_write(&write->request, stream, &part, 1, connection_on_written) != 0) {
        buffer_close(&write->bytes);
        free(write);
        return; /* the read side learns of it */
    }
    connection->writes++;
}

static void connection_on_allocate(uv_handle_t *handle, size_t suggested, uv_buf_t *buffer)
{
    struct connection *connection = handle->data;

    (void)suggested;
    *buffer = uv_buf_init((char *)connection->received, RECEIVE_BYTES);
}

static void connection_on_read(uv_stream_t *stream, ssize_t size, const uv_buf_t *buffer)
{
    struct connection *connection = stream->data;

    if (size == 0)
        return;
    if (size < 0) {
        connection_close(connection);
        return;
    }
    if (runtime_connection_receive(&connection->runtime, slice_of(buffer->base, (size_t)size)) ||
        connection->is_closing)
        return;
    connection->close_after_writes = true;
    (void)uv_read_stop(stream); /* never fails */
    if (connection->writes == 0)
        connection_close(connection);
}

static void server_on_connection(uv_stream_t *listener, int status)
{
    struct process_server *server = listener->data;
    struct connection *connection;

    if (status != 0 || server->is_closing)
        return;
    connection = check_calloc(1, sizeof(*connection));
    connection->server = server;
    connection->handle.data = connection;
    runtime_connection_init(&connection->runtime, &server->api);
    connection->runtime.send = connection_send;
    CHECK(uv_tcp_init(server->loop, &connection->handle) == 0);
    server->open_count++;
    server->connection_count++;
    list_append(&server->connections, &connection->link);
    if (uv_accept(listener, (uv_stream_t *)&connection->handle) != 0 ||
        server->connection_count > PROCESS_SERVER_CONNECTIONS_MAX ||
        uv_tcp_nodelay(&connection->handle, 1) != 0 ||
        uv_read_start((uv_stream_t *)&connection->handle, connection_on_allocate,
                      connection_on_read) != 0)
        connection_close(connection);
}

static void listener_on_closed(uv_handle_t *handle)
{
    count_closed(handle->data);
}

enum error process_server_open(struct process_server *server, uv_loop_t *loop, int listener)
{
    server->loop = loop;
    server->open_count = 1;
    list_init(&server->connections);
    CHECK(uv_tcp_init(loop, &server->listener) == 0);
    server->listener.data = server;
    if (uv_tcp_open(&server->listener, listener) != 0)
        return ERR_IO;
    if (uv_listen((uv_stream_t *)&server->listener, PROCESS_SERVER_CONNECTIONS_MAX,
                  server_on_connection) != 0)
        return ERR_IO;
    return OK;
}

static void connection_drain(struct connection *connection)
{
    uv_os_fd_t fd;
    ssize_t size;

    if (uv_fileno((uv_handle_t *)&connection->handle, &fd) != 0)
        return;
    do
        size = recv(fd, connection->received, RECEIVE_BYTES, MSG_DONTWAIT);
    while (size > 0 && runtime_connection_receive(&connection->runtime,
                                                  slice_of(connection->received, (size_t)size)));
}

void process_server_drain(struct process_server *server)
{
    server->api.is_client_gone = true;
    LIST_EACH(&server->connections, link)
    connection_drain(container_of(link, struct connection, link));
}

void process_server_close(struct process_server *server, process_server_closed_cb closed)
{
    server->is_closing = true;
    server->closed = closed;
    LIST_EACH_SAFE(&server->connections, link)
    connection_close(container_of(link, struct connection, link));
    uv_close((uv_handle_t *)&server->listener, listener_on_closed);
}
