/* From any node to the shard that owns a key, through failovers.
 *
 * A write is held here and retried under its (session, sequence) until the shard has answered, so
 * a client sees latency instead of an error, and one effect instead of two. Loop thread only. */

#ifndef NODE_SHARD_SHARD_ROUTER_H
#define NODE_SHARD_SHARD_ROUTER_H

#include "node/shard/shard_engine.h"
#include "node/shard/shard_host.h"
#include "node/view/view.h"
#include "proto/env/env.h"
#include "proto/net/call.h"

struct shard_router;

enum shard_consistency {
    SHARD_STRONG,  /* linearizable: the leader, after a ReadIndex probe */
    SHARD_EVENTUAL /* the nearest replica */
};

struct shard_request;
/* OK: `reply` is the engine's, valid until the callback returns. ERR_TIMEOUT: a write may yet
 * happen. ERR_OVERLOADED: shed, nothing happened. ERR_TOO_LARGE. */
typedef void (*shard_request_cb)(struct shard_request *request, enum error rc, struct slice reply);

struct shard_request { /* embedded, zeroed at first; the router's until the callback */
    shard_request_cb cb;
    struct list link;
    struct call call;            /* asking another node, or */
    struct shard_waiter waiter;  /* waiting for a replica of this node, or */
    struct env_timer timer;      /* waiting to ask again */
    struct buffer body;          /* of the call (shard_message.h) */
    struct shard_router *router; /* NULL = not in flight */
    uint64_t deadline_us;
    uint64_t sequence; /* writes only */
    uint32_t shard;
    uint32_t attempts;
    bool is_write;
    bool is_strong;
    bool may_have_happened; /* an attempt ended without a definite answer */
    char region[32];        /* eventual reads: whose replica */
};

/* Freed before or after shard_host; requests in flight get no callback. */
struct shard_router *shard_router_new(struct env *env, struct calls *calls, struct view *view,
                                      struct shard_host *shards);
void shard_router_free(struct shard_router *router);

struct shard_router_stats {
    uint64_t requests;
    uint64_t retries;
    uint64_t timeouts;
    uint64_t in_flight;
};

void shard_router_stats(const struct shard_router *router, struct shard_router_stats *stats);

/* The node that leads the shard, as far as known here; 0 = unknown. */
uint64_t shard_router_leader(const struct shard_router *router, uint32_t shard);

uint32_t shard_router_shard_count(const struct shard_router *router); /* 0 = no catalogue yet */

/* The shard that owns `partition_key` of `resource` (a table's or bucket's id). Needs a shard
 * count. */
uint32_t shard_router_shard_of(const struct shard_router *router, struct slice resource,
                               struct slice partition_key);

/* Copies `command`. Exactly one callback, after this returned. */
void shard_router_write(struct shard_router *router, struct shard_request *request, uint32_t shard,
                        enum shard_engine_id engine, struct slice command, uint32_t deadline_ms,
                        shard_request_cb cb);
/* `region`: whose replica an eventual read prefers; NULL = this node's. */
void shard_router_read(struct shard_router *router, struct shard_request *request, uint32_t shard,
                       enum shard_engine_id engine, struct slice query,
                       enum shard_consistency consistency, const char *region, uint32_t deadline_ms,
                       shard_request_cb cb);
/* No callback comes after this; a write may yet happen. */
void shard_request_cancel(struct shard_request *request);

#endif
