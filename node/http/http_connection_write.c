/* Writing: all answers that are due leave in one call; what the system does not take at once
 * follows when it can. The bytes stay in the requests until they are written. */

#include "node/http/http_impl.h"

#include "proto/base/check.h"

#include <linux/sockios.h>
#include <sys/ioctl.h>

#define WRITE_BUFFERS_MAX 64 /* of one write */

static uv_stream_t *stream_of(struct http_connection *connection)
{
    return (uv_stream_t *)&connection->tcp;
}

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

static void drop_written(struct http_connection *connection, size_t count)
{
    for (; count > 0; count--) {
        struct list *first = connection->requests.next;

        http_request_drop(connection, container_of(first, struct http_request, link));
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
    drop_written(connection, connection->writing);
    http_connection_turn(connection);
}

void http_connection_write(struct http_connection *connection)
{
    struct output output;

    while (!connection->is_closed && !connection->is_writing) {
        gather(connection, &output);
        if (output.count == 0)
            return;
        int rc = uv_try_write(stream_of(connection), output.buffers, output.count);

        if (rc >= 0 && (size_t)rc == output.bytes) {
            drop_written(connection, output.requests);
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

/* What the client has not taken yet, in the system's buffer too: that one is refilled only in large
 * steps, and a slow client would seem to take nothing for long. */
size_t http_connection_write_left(const struct http_connection *connection)
{
    size_t bytes = uv_stream_get_write_queue_size((const uv_stream_t *)&connection->tcp);
    uv_os_fd_t fd;
    int buffered;

    if (uv_fileno((const uv_handle_t *)&connection->tcp, &fd) == 0 &&
        ioctl(fd, SIOCOUTQ, &buffered) == 0)
        bytes += (size_t)buffered;
    return bytes;
}
