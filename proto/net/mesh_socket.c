#include "proto/net/mesh_socket.h"

#include "proto/base/check.h"

#include <errno.h>

struct mesh_watch {
    uv_poll_t poll;
    void *user;
    void (*on_news)(void *user);
};

static void on_readable(uv_poll_t *poll, int status, int events)
{
    struct mesh_watch *watch = container_of(poll, struct mesh_watch, poll);

    (void)status;
    (void)events;
    watch->on_news(watch->user);
}

struct mesh_watch *mesh_watch_new(uv_loop_t *loop, void *socket, void *user,
                                  void (*on_news)(void *user))
{
    struct mesh_watch *watch = check_malloc(sizeof(*watch));
    int fd;
    size_t size = sizeof(fd);

    CHECK(zmq_getsockopt(socket, ZMQ_FD, &fd, &size) == 0);
    CHECK(uv_poll_init(loop, &watch->poll, fd) == 0);
    watch->user = user;
    watch->on_news = on_news;
    mesh_watch_resume(watch);
    return watch;
}

void mesh_watch_pause(struct mesh_watch *watch)
{
    CHECK(uv_poll_stop(&watch->poll) == 0);
}

void mesh_watch_resume(struct mesh_watch *watch)
{
    CHECK(uv_poll_start(&watch->poll, UV_READABLE, on_readable) == 0);
}

static void on_closed(uv_handle_t *handle)
{
    free(container_of(handle, struct mesh_watch, poll));
}

void mesh_watch_close(struct mesh_watch *watch)
{
    if (watch == NULL)
        return;
    mesh_watch_pause(watch);
    uv_close((uv_handle_t *)&watch->poll, on_closed);
}

void *mesh_socket_new(void *context, int type)
{
    void *socket = zmq_socket(context, type);

    CHECK(socket != NULL);
    mesh_socket_set_int(socket, ZMQ_LINGER, 0);
    return socket;
}

void mesh_socket_set_int(void *socket, int option, int value)
{
    CHECK(zmq_setsockopt(socket, option, &value, sizeof(value)) == 0);
}

enum error mesh_socket_set_text(void *socket, int option, const char *value)
{
    return zmq_setsockopt(socket, option, value, strlen(value)) == 0 ? OK : ERR_INVALID;
}

bool mesh_socket_is_writable(void *socket)
{
    int events;
    size_t size = sizeof(events);

    CHECK(zmq_getsockopt(socket, ZMQ_EVENTS, &events, &size) == 0);
    return (events & ZMQ_POLLOUT) != 0;
}

bool mesh_socket_receive(void *socket, zmq_msg_t *message)
{
    for (;;) {
        if (zmq_msg_recv(message, socket, ZMQ_DONTWAIT) >= 0)
            return true;
        if (errno == EAGAIN)
            return false;
        CHECK(errno == EINTR);
    }
}
