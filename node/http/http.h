/* One HTTP request and its answer, as the services see them.
 *
 * The server (http_server.h) makes exchanges from bytes; the simulator and tests make them by hand.
 * A handler answers each exchange exactly once, now or in a later turn. Everything the request
 * points to, and the exchange itself, lives until http_respond was called. Loop thread only. */

#ifndef NODE_HTTP_HTTP_H
#define NODE_HTTP_HTTP_H

#include "proto/base/arena.h"
#include "proto/base/buffer.h"

#define HTTP_HEADERS_MAX 100

struct http_header {
    struct slice name; /* as received */
    struct slice value;
};

struct http_exchange {
    struct slice method; /* "POST" */
    struct slice target; /* as sent: "/orders?x=1" */
    struct slice path;   /* of the target, still percent-encoded */
    struct slice query;  /* of the target, without '?', still encoded */
    const struct http_header *headers;
    size_t header_count;
    struct slice body; /* whole, transfer coding removed */
    char peer_address[64];
    uint16_t local_port;
    bool is_tls;
    struct arena arena;   /* for whatever the request needs; freed after the answer */
    uint64_t received_us; /* env clock, when the head was complete */
    char request_id[37];  /* UUID made by the server */
    /* Who answers it. `body` is taken. Frees the exchange. */
    void (*respond)(struct http_exchange *exchange, int status, const struct http_header *headers,
                    size_t header_count, struct buffer *body);
    void *impl;
    /* The client has closed its side of the connection: it has given up. Set by who wants to know;
     * called once at most, and answers nothing from within. The exchange is to be answered all the
     * same, for a client that has only finished sending still reads. */
    void (*on_abandoned)(struct http_exchange *exchange);
    void *abandoned_user; /* for on_abandoned */
    bool is_abandoned;
};

typedef void (*http_handler)(void *user, struct http_exchange *exchange);

/* The first header of that name (any case); data NULL when absent. */
struct slice http_header_find(const struct http_exchange *exchange, const char *name);

/* The decoded value of a query parameter, in the arena. data NULL when absent; empty when it has
 * none. */
struct slice http_query_find(struct http_exchange *exchange, const char *name);

/* The same in any text of the form "a=1&b=2", such as a form in a body. */
struct slice http_form_find(struct arena *arena, struct slice form, const char *name);

/* Answer. Content-Length, Date and Connection are added. `body` is taken (may be NULL: none).
 * Header values are copied before this returns. */
void http_respond(struct http_exchange *exchange, int status, const struct http_header *headers,
                  size_t header_count, struct buffer *body);

/* Shorthand with one Content-Type header. */
void http_respond_text(struct http_exchange *exchange, int status, const char *content_type,
                       struct slice body);

#endif
