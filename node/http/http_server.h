/* An HTTP/1.1 server on libuv: makes exchanges (http.h) from bytes and bytes from answers.
 *
 * Keep-alive and pipelining (answers leave in order, those of one turn in one write), chunked
 * request bodies, Expect: 100-continue, HEAD, HTTP/1.0. Everything a client can make grow or wait
 * has a bound. Malformed requests get a 4xx and the connection is closed.
 *
 * A request lies in the block of memory it was read into; bodies are slices of it. Blocks and
 * requests come from pools; an idle connection holds neither. Loop thread only. */

#ifndef NODE_HTTP_HTTP_SERVER_H
#define NODE_HTTP_HTTP_SERVER_H

#include "node/http/http.h"
#include "proto/env/env.h"

#include <uv.h>

struct http_server_options { /* 0 = the default */
    size_t head_bytes_max;   /* 64 KiB; at most 80000: the parsing library has a limit of its own */
    size_t body_bytes_max;   /* 16 MiB; more is answered with 413 */
    size_t connections_max;  /* 10,000; the next ones get 503 */
    size_t pipeline_max;     /* 64 unanswered requests of one connection, then it is not read on */
    size_t queued_bytes_max; /* 4 MiB of answers it has not taken, then likewise */
    uint32_t head_timeout_ms;  /* 10 s for a whole head */
    uint32_t body_timeout_ms;  /* 30 s for each 64 KiB of a body, and for its rest */
    uint32_t idle_timeout_ms;  /* 75 s between requests */
    uint32_t write_timeout_ms; /* 30 s without the client taking a byte of its answer */
};

struct http_server_counters {
    uint64_t connections; /* accepted so far */
    uint64_t refused;     /* of these, answered 503 because there were too many */
    uint64_t requests;    /* handed to the handler */
    uint64_t malformed;   /* refused with a 4xx or 5xx of our own */
    uint64_t timeouts;    /* connections given up because the client was too slow */
    size_t open;          /* connections now */
};

struct http_server;

/* `env` gives time, timers and the end of the turn; it must run on `loop`. Options are copied. */
struct http_server *http_server_new(uv_loop_t *loop, struct env *env,
                                    const struct http_server_options *options, http_handler handler,
                                    void *user);

/* Closes everything without answering; open exchanges are gone. Its memory is freed once the loop
 * has run again and closed the handles. */
void http_server_free(struct http_server *server);

/* Listen on an IPv4 or IPv6 address; several are fine. Port 0 lets the system choose. With
 * `is_shared` other processes may listen on the same port (SO_REUSEPORT) and the system spreads the
 * connections. `bound_port` may be NULL.
 * ERR_INVALID: no such address. ERR_EXISTS: in use. ERR_DENIED. ERR_IO. */
enum error http_server_listen(struct http_server *server, const char *address, uint16_t port,
                              bool is_shared, uint16_t *bound_port);

/* Serve a connected socket that somebody else accepted, as if it had come by a listener: that is
 * how functions reach the node from inside their sandboxes. `fd` is taken. */
void http_server_adopt(struct http_server *server, int fd);

/* Stop accepting, close idle connections, answer what is in flight with "Connection: close".
 * `on_drained` is called once, later, when no connection is left. */
void http_server_drain(struct http_server *server, void (*on_drained)(void *user), void *user);

struct http_server_counters http_server_counters(const struct http_server *server);

#endif
