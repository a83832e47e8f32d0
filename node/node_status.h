/* What a node says of itself, on /_skein/status and /_skein/tables (JSON), /_skein/metrics
 * (Prometheus text) and /_skein/health. */

#ifndef NODE_NODE_STATUS_H
#define NODE_NODE_STATUS_H

#include "node/aws/aws_router.h"
#include "node/event/event_worker.h"
#include "node/sandbox/pool.h"
#include "node/shard/shard_host.h"
#include "node/shard/shard_router.h"
#include "node/table/table_courier.h"

struct node_status { /* where the facts are; borrowed for the call */
    struct env *env;
    const char *name;
    const char *region;
    const char *http_address;
    const char *sandbox_tier;
    uint64_t incarnation;
    struct view *view;
    struct host *host;
    struct shard_host *shards;
    struct shard_router *router;
    const struct table_courier *courier;
    struct pool *pool;
    const struct event_worker *events;
    struct aws_router *aws;
};

/* Answers the exchange: 404 for any other path. */
void node_status_on_request(const struct node_status *status, struct http_exchange *exchange);

#endif
