#include "node/http/http_server.h"

#include "node/http/http_impl.h"
#include "proto/base/check.h"

#include <sys/socket.h>
#include <unistd.h>

#define BACKLOG 1024
#define LINGER_MS 2000
#define REFUSED_MAX 64 /* connections past the limit that still get their 503 */

/* ---- time-outs ------------------------------------------------------------------------------ */

static uint64_t timeout_us(const struct http_server *server, enum http_wait wait)
{
    const struct http_server_options *options = &server->options;

    switch (wait) {
    case HTTP_WAIT_IDLE:
        return options->idle_timeout_ms * 1000u;
    case HTTP_WAIT_HEAD:
        return options->head_timeout_ms * 1000u;
    case HTTP_WAIT_BODY:
        return options->body_timeout_ms * 1000u;
    case HTTP_WAIT_WRITE:
        return options->write_timeout_ms * 1000u;
    case HTTP_WAIT_LINGER:
    case HTTP_WAIT_NONE:
        break;
    }
    return LINGER_MS * 1000u;
}

static struct http_connection *first_waiting(const struct http_server *server, size_t wait)
{
    const struct list *head = &server->waits[wait];

    return list_is_empty(head) ? NULL : container_of(head->next, struct http_connection, wait_link);
}

static void on_wait_timer(struct env_timer *timer);

static void start_wait_timer(struct http_server *server, uint64_t deadline_us)
{
    uint64_t now_us = env_now_us(server->env);

    server->wait_timer_us = deadline_us;
    env_timer_start(server->env, &server->wait_timer,
                    deadline_us > now_us ? deadline_us - now_us : 0, on_wait_timer);
}

static void on_wait_timer(struct env_timer *timer)
{
    struct http_server *server = container_of(timer, struct http_server, wait_timer);
    uint64_t now_us = env_now_us(server->env);
    uint64_t next_us = UINT64_MAX;

    for (size_t wait = 0; wait < HTTP_WAIT_COUNT; wait++) {
        struct http_connection *first;

        while ((first = first_waiting(server, wait)) != NULL && first->deadline_us <= now_us)
            http_connection_on_timeout(first);
    }
    for (size_t wait = 0; wait < HTTP_WAIT_COUNT; wait++) {
        const struct http_connection *first = first_waiting(server, wait);

        if (first != NULL && first->deadline_us < next_us)
            next_us = first->deadline_us;
    }
    if (next_us != UINT64_MAX)
        start_wait_timer(server, next_us);
}

/* All waits of one kind last equally long, so appending keeps a list in order. The timer is left
 * alone when it fires too early: it then finds nothing, and looks for the next deadline. */
void http_server_wait(struct http_connection *connection, enum http_wait wait)
{
    struct http_server *server = connection->server;

    list_remove(&connection->wait_link);
    connection->wait = wait;
    if (wait == HTTP_WAIT_NONE)
        return;
    connection->deadline_us = env_now_us(server->env) + timeout_us(server, wait);
    list_append(&server->waits[wait], &connection->wait_link);
    if (!env_timer_is_running(&server->wait_timer) ||
        connection->deadline_us < server->wait_timer_us)
        start_wait_timer(server, connection->deadline_us);
}

/* ---- answers given outside a connection's turn ---------------------------------------------- */

static void on_dirty(struct env_task *task)
{
    struct http_server *server = container_of(task, struct http_server, dirty_task);
    struct list *link;

    while ((link = list_pop(&server->dirty)) != NULL)
        http_connection_turn(container_of(link, struct http_connection, dirty_link));
}

void http_server_mark_dirty(struct http_connection *connection)
{
    struct http_server *server = connection->server;

    if (!list_is_empty(&connection->dirty_link))
        return; /* queued already */
    list_append(&server->dirty, &connection->dirty_link);
    env_defer(server->env, &server->dirty_task, on_dirty);
}

/* ---- listening ------------------------------------------------------------------------------ */

static void on_listener_closed(uv_handle_t *handle)
{
    struct http_listener *listener = container_of(handle, struct http_listener, tcp);
    struct http_server *server = listener->server;

    list_remove(&listener->link);
    free(listener);
    http_server_on_handle_closed(server);
}

static void close_listener(struct http_listener *listener)
{
    if (!uv_is_closing((uv_handle_t *)&listener->tcp))
        uv_close((uv_handle_t *)&listener->tcp, on_listener_closed);
}

static void on_connection(uv_stream_t *stream, int status)
{
    struct http_listener *listener = container_of(stream, struct http_listener, tcp);
    struct http_server *server = listener->server;
    size_t limit = server->options.connections_max;

    if (status < 0)
        return;
    http_connection_accept(server, stream, listener->port, server->counters.open >= limit);
    if (server->counters.open > limit + REFUSED_MAX) /* more than we can even tell */
        http_connection_close(
            container_of(server->connections.previous, struct http_connection, link));
}

void http_server_adopt(struct http_server *server, int fd)
{
    if (server->is_draining)
        (void)close(fd);
    else
        http_connection_adopt(server, fd, 0,
                              server->counters.open >= server->options.connections_max);
}

static enum error error_from_uv(int rc)
{
    switch (rc) {
    case 0:
        return OK;
    case UV_EADDRINUSE:
        return ERR_EXISTS;
    case UV_EACCES:
    case UV_EPERM:
        return ERR_DENIED;
    case UV_EINVAL:
    case UV_EADDRNOTAVAIL:
    case UV_EAFNOSUPPORT:
        return ERR_INVALID;
    default:
        return ERR_IO;
    }
}

static int share_port(uv_tcp_t *tcp)
{
    const int on = 1;
    uv_os_fd_t fd;
    int rc = uv_fileno((uv_handle_t *)tcp, &fd);

    if (rc == 0 && setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on)) != 0)
        rc = UV_EINVAL;
    return rc;
}

static int bind_and_listen(struct http_listener *listener, const struct sockaddr *address,
                           bool is_shared)
{
    struct sockaddr_storage bound;
    int size = sizeof(bound);
    int rc = is_shared ? share_port(&listener->tcp) : 0;

    if (rc == 0)
        rc = uv_tcp_bind(&listener->tcp, address, 0);
    if (rc == 0)
        rc = uv_listen((uv_stream_t *)&listener->tcp, BACKLOG, on_connection);
    if (rc == 0)
        rc = uv_tcp_getsockname(&listener->tcp, (struct sockaddr *)&bound, &size);
    if (rc == 0) /* the port lies at the same place in both families */
        listener->port = ntohs(((const struct sockaddr_in *)(const void *)&bound)->sin_port);
    return rc;
}

enum error http_server_listen(struct http_server *server, const char *address, uint16_t port,
                              bool is_shared, uint16_t *bound_port)
{
    struct sockaddr_storage wanted;

    if (uv_ip4_addr(address, port, (struct sockaddr_in *)(void *)&wanted) != 0 &&
        uv_ip6_addr(address, port, (struct sockaddr_in6 *)(void *)&wanted) != 0)
        return ERR_INVALID;
    struct http_listener *listener = check_calloc(1, sizeof(*listener));
    int rc = uv_tcp_init_ex(server->loop, &listener->tcp, wanted.ss_family);

    if (rc != 0) {
        free(listener);
        return error_from_uv(rc);
    }
    listener->server = server;
    list_append(&server->listeners, &listener->link);
    server->handle_count++;
    rc = bind_and_listen(listener, (const struct sockaddr *)&wanted, is_shared);
    if (rc != 0)
        close_listener(listener);
    else if (bound_port != NULL)
        *bound_port = listener->port;
    return error_from_uv(rc);
}

/* ---- birth, draining, death ----------------------------------------------------------------- */

static size_t size_or(size_t value, size_t otherwise)
{
    return value != 0 ? value : otherwise;
}

static uint32_t ms_or(uint32_t value, uint32_t otherwise)
{
    return value != 0 ? value : otherwise;
}

struct http_server *http_server_new(uv_loop_t *loop, struct env *env,
                                    const struct http_server_options *options, http_handler handler,
                                    void *user)
{
    struct http_server *server = check_calloc(1, sizeof(*server));

    server->loop = loop;
    server->env = env;
    server->handler = handler;
    server->user = user;
    server->options = (struct http_server_options){
        .head_bytes_max = size_or(options->head_bytes_max, 64 * 1024),
        .body_bytes_max = size_or(options->body_bytes_max, 16 * 1024 * 1024),
        .connections_max = size_or(options->connections_max, 10000),
        .pipeline_max = size_or(options->pipeline_max, 64),
        .queued_bytes_max = size_or(options->queued_bytes_max, 4 * 1024 * 1024),
        .head_timeout_ms = ms_or(options->head_timeout_ms, 10000),
        .body_timeout_ms = ms_or(options->body_timeout_ms, 30000),
        .idle_timeout_ms = ms_or(options->idle_timeout_ms, 75000),
        .write_timeout_ms = ms_or(options->write_timeout_ms, 30000),
    };
    http_pool_init(&server->pool);
    list_init(&server->listeners);
    list_init(&server->connections);
    list_init(&server->orphans);
    list_init(&server->dirty);
    for (size_t wait = 0; wait < HTTP_WAIT_COUNT; wait++)
        list_init(&server->waits[wait]);
    return server;
}

static void destroy(struct http_server *server)
{
    http_pool_close(&server->pool);
    free(server);
}

static void tell_when_drained(struct http_server *server)
{
    void (*on_drained)(void *user) = server->on_drained;

    if (on_drained == NULL || server->handle_count > 0)
        return;
    server->on_drained = NULL;
    on_drained(server->drained_user);
}

void http_server_on_handle_closed(struct http_server *server)
{
    server->handle_count--;
    if (!server->is_freed)
        tell_when_drained(server);
    else if (server->handle_count == 0)
        destroy(server);
}

static void on_drain_task(struct env_task *task)
{
    tell_when_drained(container_of(task, struct http_server, drain_task));
}

void http_server_drain(struct http_server *server, void (*on_drained)(void *user), void *user)
{
    server->is_draining = true;
    server->on_drained = on_drained;
    server->drained_user = user;
    LIST_EACH_SAFE(&server->listeners, link)
    {
        close_listener(container_of(link, struct http_listener, link));
    }
    LIST_EACH_SAFE(&server->connections, link)
    {
        http_connection_turn(container_of(link, struct http_connection, link));
    }
    env_defer(server->env, &server->drain_task, on_drain_task);
}

void http_server_free(struct http_server *server)
{
    if (server == NULL)
        return;
    server->is_freed = true;
    env_timer_stop(server->env, &server->wait_timer);
    env_defer_cancel(server->env, &server->dirty_task);
    env_defer_cancel(server->env, &server->drain_task);
    LIST_EACH_SAFE(&server->listeners, link)
    {
        close_listener(container_of(link, struct http_listener, link));
    }
    LIST_EACH_SAFE(&server->connections, link)
    {
        http_connection_close(container_of(link, struct http_connection, link));
    }
    LIST_EACH_SAFE(&server->orphans, link)
    {
        http_pool_request_release(&server->pool, container_of(link, struct http_request, link));
    }
    if (server->handle_count == 0)
        destroy(server);
}

struct http_server_counters http_server_counters(const struct http_server *server)
{
    return server->counters;
}
