/* Many HTTP/1.1 requests at once to one address, over connections that are kept: the load
 * generator's client.
 *
 * Never retries by itself: each request ends in exactly one callback, with what the server said or
 * with why there was no answer. Bodies of answers are cut at a limit. On a libuv loop. */

#ifndef DEPLOY_LOAD_CLIENT_H
#define DEPLOY_LOAD_CLIENT_H

#include "proto/base/buffer.h"
#include "proto/base/list.h"

#include <uv.h>

struct load_client;
struct load_client_request;

/* `status` 0: no answer, rc says why (ERR_UNREACHABLE: not even sent; ERR_LOST, ERR_TIMEOUT: it may
 * have been carried out). */
typedef void (*load_client_cb)(struct load_client_request *request, enum error rc, int status,
                               struct slice body);

struct load_client_request { /* embedded, zeroed at first; the client's until the callback */
    struct list link;
    load_client_cb cb;
    struct slice bytes; /* the whole request, borrowed until the callback */
    uint32_t timeout_ms;
    uint64_t deadline_ms;
    void *connection;
};

struct load_client *load_client_new(uv_loop_t *loop, const char *host, uint16_t port,
                                    size_t connections_max);
/* Closes everything; run the loop once more afterwards. Requests in flight get ERR_CANCELLED. */
void load_client_free(struct load_client *client);

/* Ends `timeout_ms` after it was sent at the latest; before that it waits for a connection. */
void load_client_start(struct load_client *client, struct load_client_request *request,
                       struct slice bytes, uint32_t timeout_ms, load_client_cb cb);

#endif
