/* The way into the queue: an event is accepted when a majority of its shard's replicas has it. */

#ifndef NODE_EVENT_EVENT_QUEUE_H
#define NODE_EVENT_EVENT_QUEUE_H

#include "node/event/event_engine.h"
#include "node/shard/shard_router.h"

struct event_put;
/* OK: it will run. ERR_TIMEOUT: perhaps. ERR_OVERLOADED and others: it will not. */
typedef void (*event_put_cb)(struct event_put *put, enum error rc);

struct event_put { /* embedded, zeroed at first; the queue's until the callback */
    event_put_cb cb;
    struct shard_request request;
};

/* Copies the event. Needs a shard count. One callback, after this returned; none after
 * event_put_cancel, though the event may yet be accepted. */
void event_put_start(struct event_put *put, struct shard_router *router,
                     const Skein__Wire__Event *event, event_put_cb cb);
void event_put_cancel(struct event_put *put);

/* The shard an event is on. */
uint32_t event_queue_shard(const struct shard_router *router, const char *id);

#endif
