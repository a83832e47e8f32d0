/* Asynchronous events on this node: their worker, given the shards that this node leads. */

#ifndef NODE_NODE_EVENT_H
#define NODE_NODE_EVENT_H

#include "node/event/event_worker.h"
#include "node/shard/shard_host.h"

/* What the worker asks of the node's replicas. */
struct event_shards node_event_shards(struct shard_host *shards);

#endif
