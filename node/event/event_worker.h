/* Runs the events of the shards that this node leads.
 *
 *   due -> CLAIMING -> RUNNING -> SETTLING -> gone, or due again later
 *
 * An event is claimed for a lease that is renewed while its function runs, so a change of leaders
 * starts nothing twice; a node that dies lets its leases end, and the next leader runs the events
 * again. An event whose function succeeded is asked to be removed until that is certain. Loop
 * thread only. */

#ifndef NODE_EVENT_EVENT_WORKER_H
#define NODE_EVENT_EVENT_WORKER_H

#include "node/event/event_policy.h"
#include "node/shard/shard_router.h"
#include "node/view/view.h"

#define EVENT_LEASE_MS_DEFAULT 10000u
#define EVENT_RUNNING_MAX 128u

/* The replicas of this node. */
struct event_shards {
    void *user;
    void (*each_led)(void *user, void *to, void (*on_shard)(void *to, uint32_t shard));
    /* As the replica here has it. */
    enum error (*read)(void *user, uint32_t shard, struct slice query, struct buffer *reply);
};

struct event_worker_options { /* all outlive it */
    struct env *env;
    struct view *view;
    struct shard_router *router;
    struct invoker invoker;
    struct event_shards shards;
    uint32_t retry_ms; /* 0 = EVENT_RETRY_MS_DEFAULT */
    uint32_t lease_ms; /* 0 = EVENT_LEASE_MS_DEFAULT */
};

struct event_worker;

struct event_worker *event_worker_new(const struct event_worker_options *options);
/* As a crash would; before the router, after what runs the functions. */
void event_worker_free(struct event_worker *worker);

/* There may be something to do: looks at the end of the turn. */
void event_worker_wake(struct event_worker *worker);

struct event_worker_stats {
    uint32_t running;
    uint64_t handled;
    uint64_t retried; /* deferred after an error of the function */
    uint64_t refused; /* deferred because it could not be run */
    uint64_t dropped; /* given up: failed too often, too old, or without a function */
};

void event_worker_stats(const struct event_worker *worker, struct event_worker_stats *stats);

#endif
