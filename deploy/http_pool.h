/* Many HTTP/1.1 requests at once to one address, over connections that are kept: the load
 * generator's client.
 *
 * Never retries by itself: each request ends in exactly one callback, with what the server said or
 * with why there was no answer. Bodies of answers are cut at a limit. On a libuv loop. */

#ifndef DEPLOY_HTTP_POOL_H
#define DEPLOY_HTTP_POOL_H

#include "proto/base/buffer.h"
#include "proto/base/list.h"

#include <uv.h>

struct http_pool;
struct http_pool_request;

/* `status` 0: no answer, rc says why (ERR_UNREACHABLE: not even sent; ERR_LOST, ERR_TIMEOUT: it may
 * have been carried out). */
typedef void (*http_pool_cb)(struct http_pool_request *request, enum error rc, int status,
                             struct slice body);

struct http_pool_request { /* embedded, zeroed at first; the pool's until the callback */
    struct list link;
    http_pool_cb cb;
    struct slice bytes; /* the whole request, borrowed until the callback */
    uint64_t deadline_ms;
    void *connection;
};

struct http_pool *http_pool_new(uv_loop_t *loop, const char *host, uint16_t port,
                                size_t connections_max);
/* Closes everything; run the loop once more afterwards. Requests in flight get ERR_CANCELLED. */
void http_pool_free(struct http_pool *pool);

/* Each attempt ends after `timeout_ms` at the latest. */
void http_pool_start(struct http_pool *pool, struct http_pool_request *request, struct slice bytes,
                     uint32_t timeout_ms, http_pool_cb cb);

#endif
