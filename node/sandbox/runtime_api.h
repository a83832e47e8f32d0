/* The Lambda Runtime API of one sandbox: what its requests mean.
 *
 *   GET  /2018-06-01/runtime/invocation/next            waits for the next event
 *   POST /2018-06-01/runtime/invocation/ID/response     its result
 *   POST /2018-06-01/runtime/invocation/ID/error        or its error
 *   POST /2018-06-01/runtime/init/error                 could not even initialise
 *
 * Knows bytes, not sockets (process_server.h). A client may pipeline; a `next` that arrives before
 * there is an event is answered later, on whichever connection asked last. */

#ifndef NODE_SANDBOX_RUNTIME_API_H
#define NODE_SANDBOX_RUNTIME_API_H

#include "node/sandbox/runtime_http.h"
#include "node/sandbox/sandbox.h"

#define RUNTIME_API_TOKEN_BYTES 33
#define RUNTIME_API_REQUEST_ID_BYTES 128

struct runtime_api_handler {
    void (*on_ready)(void *user); /* the first `next` */
    void (*on_init_error)(void *user, struct slice payload);
    void (*on_result)(void *user, enum sandbox_result result, struct slice payload);
};

struct runtime_connection { /* embedded by the server */
    struct runtime_http http;
    struct runtime_api *api;
    void (*send)(struct runtime_connection *connection, struct buffer *bytes); /* takes them */
};

struct runtime_api { /* embedded */
    const struct runtime_api_handler *handler;
    void *user;
    char token[RUNTIME_API_TOKEN_BYTES]; /* "" or the first part every path must have */
    bool is_ready;
    bool is_client_gone;                           /* what it sent is still read; events stay */
    char request_id[RUNTIME_API_REQUEST_ID_BYTES]; /* of the event given out; "" = none */
    struct buffer event;                           /* the answer to a `next` yet to come */
    struct runtime_connection *waiting;            /* the one that asked */
};

void runtime_api_init(struct runtime_api *api, const struct runtime_api_handler *handler,
                      void *user);
void runtime_api_close(struct runtime_api *api);

void runtime_connection_init(struct runtime_connection *connection, struct runtime_api *api);
void runtime_connection_close(struct runtime_connection *connection);

/* Bytes from the client. False: what had to be said was sent; close the connection once it is
 * out. */
bool runtime_connection_receive(struct runtime_connection *connection, struct slice bytes);

/* Hand out an event: to who waits, or to the next that asks. None may be in flight. */
void runtime_api_deliver(struct runtime_api *api, const struct sandbox_event *event);

#endif
