/* What the parts of the HTTP server share: http_server.c (listening, time-outs, draining),
 * http_connection.c (one connection), http_request.c (its requests), http_connection_write.c
 * (writing) and http_pool.c (memory). Nobody else includes it. */

#ifndef NODE_HTTP_HTTP_IMPL_H
#define NODE_HTTP_HTTP_IMPL_H

#include "node/http/http_answer.h"
#include "node/http/http_reader.h"
#include "node/http/http_server.h"

/* ---- memory --------------------------------------------------------------------------------- */

/* Received bytes. Owned jointly by the connection that reads into it and the requests in it. */
struct http_block {
    struct list link; /* in the pool */
    size_t references;
    size_t capacity;
    size_t size;
    uint8_t data[];
};

enum http_request_state {
    HTTP_REQUEST_READING,
    HTTP_REQUEST_OPEN,    /* with the handler */
    HTTP_REQUEST_ANSWERED /* `head` and `body` are to be written, or being written */
};

struct http_request {
    struct http_exchange exchange;
    enum http_request_state state;
    struct list link;                   /* connection's requests, server's orphans, or pool */
    struct http_connection *connection; /* NULL: the client is gone */
    struct http_server *server;
    struct http_block *block; /* where it lies; NULL while READING: the connection's */
    struct buffer head;       /* keeps its memory in the pool */
    struct buffer body;
    bool wants_continue; /* 100 must be written when its turn has come */
    struct http_reader reader;
};

struct http_pool {
    struct list blocks;
    struct list requests;
    size_t block_count;
    size_t request_count;
};

void http_pool_init(struct http_pool *pool);
void http_pool_close(struct http_pool *pool);

struct http_block *http_pool_block(struct http_pool *pool, size_t bytes_min); /* one reference */
void http_pool_block_release(struct http_pool *pool, struct http_block *block);
struct http_request *http_pool_request(struct http_pool *pool); /* READING, in no list */
void http_pool_request_release(struct http_pool *pool, struct http_request *request);

/* ---- connections ---------------------------------------------------------------------------- */

enum http_wait { /* what a connection is given only so much time for */
                 HTTP_WAIT_IDLE,
                 HTTP_WAIT_HEAD,
                 HTTP_WAIT_BODY,
                 HTTP_WAIT_WRITE,
                 HTTP_WAIT_LINGER,
                 HTTP_WAIT_COUNT,
                 HTTP_WAIT_NONE = HTTP_WAIT_COUNT
};

struct http_connection {
    uv_tcp_t tcp;
    uv_write_t write;
    uv_shutdown_t shutdown;
    struct http_server *server;
    struct list link;       /* of the server */
    struct list dirty_link; /* server's `dirty`, when an answer came outside a turn */
    struct list wait_link;
    enum http_wait wait;
    uint64_t deadline_us; /* of `wait` */
    size_t wait_mark;     /* body or queue bytes when `wait` began */

    struct list requests;         /* in order of arrival; the one being read is the last */
    size_t request_count;         /* of these */
    size_t queued_bytes;          /* of answers that are not written */
    struct http_request *reading; /* NULL between requests */
    struct http_block *block;     /* NULL when nothing is held */
    size_t parsed;                /* bytes of `block` that the reader has seen */
    size_t writing;               /* is_writing: the first so many requests are in `write` */

    bool is_reading;   /* libuv reads */
    bool is_writing;   /* libuv writes */
    bool is_turning;   /* answers given now are written at the end of the turn */
    bool is_last;      /* no request is taken after those in `requests` */
    bool is_ended;     /* the client sends no more */
    bool is_lingering; /* shut down; what still comes is thrown away */
    bool is_closed;    /* uv_close was called */
    uint16_t local_port;
    char peer_address[64];
};

/* Take a connection off the listener. `is_refused`: answer 503 and close. */
void http_connection_accept(struct http_server *server, uv_stream_t *listener, uint16_t local_port,
                            bool is_refused);
void http_connection_adopt(struct http_server *server, int fd, uint16_t local_port,
                           bool is_refused);
/* At once, without answering. Open requests become orphans. */
void http_connection_close(struct http_connection *connection);
/* What should happen now has been noted; do it. May close the connection. */
void http_connection_turn(struct http_connection *connection);
void http_connection_on_timeout(struct http_connection *connection);

/* http_request.c. May another request be begun, or the one that was be read on? */
bool http_request_has_place(const struct http_connection *connection);
/* And is there something to read it from? */
bool http_request_can_take(const struct http_connection *connection);
/* Read requests while that is so, and hand over those that are complete. */
void http_request_take_all(struct http_connection *connection);
void http_request_begin(struct http_connection *connection);
/* Answer the request being read with an error of our own, and take no more after it. */
void http_request_refuse(struct http_connection *connection, int status, const char *why);
/* Nobody waits for its answer any more. Nothing unless it is with the handler. */
void http_request_abandon(struct http_request *request);
void http_request_drop(struct http_connection *connection, struct http_request *request);
void http_request_drop_reading(struct http_connection *connection); /* if there is one */

/* http_connection_write.c. Write what is due. May close the connection. */
void http_connection_write(struct http_connection *connection);
/* What the client has not taken yet of what was written. */
size_t http_connection_write_left(const struct http_connection *connection);

/* ---- the server ----------------------------------------------------------------------------- */

struct http_listener {
    uv_tcp_t tcp;
    struct http_server *server;
    struct list link;
    uint16_t port;
};

struct http_server {
    uv_loop_t *loop;
    struct env *env;
    struct http_server_options options;
    http_handler handler;
    void *user;
    struct http_server_counters counters;
    struct http_pool pool;
    struct http_date date;
    struct list listeners;
    struct list connections;
    struct list orphans; /* open requests whose connection is gone */
    struct list dirty;   /* connections with answers to write at the end of the turn */
    struct env_task dirty_task;
    struct list waits[HTTP_WAIT_COUNT]; /* connections; each list in order of deadline */
    struct env_timer wait_timer;
    uint64_t wait_timer_us; /* when it fires */
    size_t handle_count;    /* handles whose close callback has not run */
    bool is_draining;
    bool is_freed;
    struct env_task drain_task;
    void (*on_drained)(void *user);
    void *drained_user;
};

/* Start the time for `wait` anew (HTTP_WAIT_NONE: stop it). */
void http_server_wait(struct http_connection *connection, enum http_wait wait);
void http_server_mark_dirty(struct http_connection *connection);
/* A handle has closed. The server may be gone afterwards. */
void http_server_on_handle_closed(struct http_server *server);

#endif
