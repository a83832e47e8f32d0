#include "deploy/load_client.h"

#include "proto/base/check.h"

#include <http_parser.h>

#define TICK_MS 20
#define CONNECTIONS_MIN 48 /* enough to have some with every node */
#define READ_BYTES 65536
#define BODY_BYTES_MAX (1u << 20)

/* A connection is CONNECTING, idle (request NULL) or busy with one request; a failure closes it. */
struct connection {
    struct list link;
    struct load_client *client;
    uv_tcp_t tcp;
    uv_connect_t connect;
    uv_write_t write;
    http_parser parser;
    struct buffer body;
    struct load_client_request *request;
    bool is_connecting;
    bool is_closing;
    bool is_complete;
};

struct load_client {
    uv_loop_t *loop;
    struct sockaddr_in address;
    uv_timer_t timer;
    struct list waiting; /* requests without a connection */
    struct list connections;
    size_t connection_count;
    size_t connections_min;
    size_t connections_max;
    bool is_closing;
    bool is_timer_closed;
    char read_bytes[READ_BYTES];
};

static void serve(struct load_client *client);

static void on_closed(uv_handle_t *handle)
{
    struct connection *connection = handle->data;
    struct load_client *client = connection->client;

    list_remove(&connection->link);
    client->connection_count--;
    buffer_close(&connection->body);
    free(connection);
    if (!client->is_closing)
        serve(client);
    else if (client->connection_count == 0 && client->is_timer_closed)
        free(client);
}

/* End the request of a broken connection, then the connection. */
static void drop(struct connection *connection, enum error rc)
{
    struct load_client_request *request = connection->request;

    if (connection->is_closing)
        return;
    connection->is_closing = true;
    connection->request = NULL;
    uv_close((uv_handle_t *)&connection->tcp, on_closed);
    if (request != NULL) {
        request->connection = NULL;
        request->cb(request, rc, 0, slice_of(NULL, 0));
    }
}

/* ---- answers ------------------------------------------------------------------------------------
 */

static int on_body(http_parser *parser, const char *at, size_t size)
{
    struct connection *connection = parser->data;

    return buffer_append(&connection->body, at, size) == OK ? 0 : 1;
}

static int on_complete(http_parser *parser)
{
    ((struct connection *)parser->data)->is_complete = true;
    http_parser_pause(parser, 1);
    return 0;
}

static const http_parser_settings parser_settings = {.on_body = on_body,
                                                     .on_message_complete = on_complete};

static void answer(struct connection *connection)
{
    struct load_client_request *request = connection->request;
    int status = (int)connection->parser.status_code;
    bool is_kept = http_should_keep_alive(&connection->parser) != 0;
    struct buffer body = buffer_take(&connection->body);

    connection->request = NULL;
    request->connection = NULL;
    /* To the end of the row: requests go round all connections, and so to all nodes. */
    list_remove(&connection->link);
    list_append(&connection->client->connections, &connection->link);
    if (!is_kept)
        drop(connection, OK);
    request->cb(request, OK, status, buffer_slice(&body));
    buffer_close(&body);
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buffer)
{
    struct connection *connection = handle->data;

    (void)suggested;
    *buffer = uv_buf_init(connection->client->read_bytes, READ_BYTES);
}

static void on_read(uv_stream_t *stream, ssize_t size, const uv_buf_t *buffer)
{
    struct connection *connection = stream->data;
    struct load_client *client = connection->client;

    if (size == 0 || connection->is_closing)
        return;
    if (size < 0 || connection->request == NULL) {
        drop(connection, ERR_LOST);
        return;
    }
    (void)http_parser_execute(&connection->parser, &parser_settings, buffer->base, (size_t)size);
    if (connection->is_complete)
        answer(connection);
    else if (HTTP_PARSER_ERRNO(&connection->parser) != HPE_OK)
        drop(connection, ERR_LOST);
    serve(client);
}

/* ---- requests
 * ------------------------------------------------------------------------------------ */

static void on_written(uv_write_t *write, int status)
{
    struct connection *connection = write->data;

    if (status < 0)
        drop(connection, ERR_LOST);
}

static void send_request(struct connection *connection, struct load_client_request *request)
{
    uv_buf_t buffer =
        uv_buf_init((char *)(uintptr_t)request->bytes.data, (unsigned)request->bytes.size);

    connection->request = request;
    connection->is_complete = false;
    request->deadline_ms = uv_now(connection->client->loop) + request->timeout_ms;
    request->connection = connection;
    http_parser_init(&connection->parser, HTTP_RESPONSE);
    connection->parser.data = connection;
    if (uv_write(&connection->write, (uv_stream_t *)&connection->tcp, &buffer, 1, on_written) < 0)
        drop(connection, ERR_LOST);
}

static void on_connected(uv_connect_t *connect, int status)
{
    struct connection *connection = connect->data;
    struct load_client *client = connection->client;

    connection->is_connecting = false;
    if (connection->is_closing)
        return;
    if (status < 0) {
        struct list *link = list_pop(&client->waiting);

        drop(connection, ERR_UNREACHABLE);
        if (link != NULL) {
            struct load_client_request *request =
                container_of(link, struct load_client_request, link);

            request->cb(request, ERR_UNREACHABLE, 0, slice_of(NULL, 0));
        }
        return;
    }
    (void)uv_tcp_nodelay(&connection->tcp, 1);
    (void)uv_read_start((uv_stream_t *)&connection->tcp, on_alloc, on_read);
    serve(client);
}

static void connection_new(struct load_client *client)
{
    struct connection *connection = check_calloc(1, sizeof(*connection));

    connection->client = client;
    connection->is_connecting = true;
    connection->body = BUFFER_INIT(BODY_BYTES_MAX);
    connection->tcp.data = connection;
    connection->connect.data = connection;
    connection->write.data = connection;
    list_append(&client->connections, &connection->link);
    client->connection_count++;
    CHECK(uv_tcp_init(client->loop, &connection->tcp) == 0);
    connection->tcp.data = connection;
    if (uv_tcp_connect(&connection->connect, &connection->tcp,
                       (const struct sockaddr *)&client->address, on_connected) < 0)
        drop(connection, ERR_UNREACHABLE);
}

/* Give waiting requests the idle connections; make new ones while some still wait. */
static void serve(struct load_client *client)
{
    size_t connecting = 0;
    size_t waiting = 0;

    if (client->is_closing)
        return;
    LIST_EACH_SAFE(&client->connections, link)
    {
        struct connection *connection = container_of(link, struct connection, link);

        connecting += connection->is_connecting && !connection->is_closing;
        if (connection->is_connecting || connection->is_closing || connection->request != NULL)
            continue;
        struct list *first = list_pop(&client->waiting);

        if (first == NULL)
            return;
        send_request(connection, container_of(first, struct load_client_request, link));
    }
    LIST_EACH(&client->waiting, link)
    waiting++;
    while ((connecting < waiting && client->connection_count < client->connections_max) ||
           client->connection_count < client->connections_min) {
        connection_new(client);
        connecting++;
    }
}

static void on_tick(uv_timer_t *timer)
{
    struct load_client *client = timer->data;
    uint64_t now_ms = uv_now(client->loop);

    LIST_EACH_SAFE(&client->connections, link)
    {
        struct connection *connection = container_of(link, struct connection, link);

        if (connection->request != NULL && connection->request->deadline_ms <= now_ms)
            drop(connection, ERR_TIMEOUT);
    }
    serve(client);
}

void load_client_start(struct load_client *client, struct load_client_request *request,
                       struct slice bytes, uint32_t timeout_ms, load_client_cb cb)
{
    *request = (struct load_client_request){.cb = cb, .bytes = bytes, .timeout_ms = timeout_ms};
    list_append(&client->waiting, &request->link);
    serve(client);
}

struct load_client *load_client_new(uv_loop_t *loop, const char *host, uint16_t port,
                                    size_t connections_max)
{
    struct load_client *client = check_calloc(1, sizeof(*client));

    client->loop = loop;
    client->connections_max = connections_max;
    client->connections_min = connections_max < CONNECTIONS_MIN ? connections_max : CONNECTIONS_MIN;
    list_init(&client->waiting);
    list_init(&client->connections);
    CHECK(uv_ip4_addr(host, port, &client->address) == 0);
    CHECK(uv_timer_init(loop, &client->timer) == 0);
    client->timer.data = client;
    (void)uv_timer_start(&client->timer, on_tick, TICK_MS, TICK_MS);
    return client;
}

static void on_timer_closed(uv_handle_t *handle)
{
    struct load_client *client = handle->data;

    client->is_timer_closed = true;
    if (client->connection_count == 0)
        free(client);
}

void load_client_free(struct load_client *client)
{
    struct list *link;

    client->is_closing = true;
    while ((link = list_pop(&client->waiting)) != NULL) {
        struct load_client_request *request = container_of(link, struct load_client_request, link);

        request->cb(request, ERR_CANCELLED, 0, slice_of(NULL, 0));
    }
    LIST_EACH_SAFE(&client->connections, each)
    drop(container_of(each, struct connection, link), ERR_CANCELLED);
    (void)uv_timer_stop(&client->timer);
    uv_close((uv_handle_t *)&client->timer, on_timer_closed);
}
