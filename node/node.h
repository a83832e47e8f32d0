/* A node: every room connected. The only place, with main.c, that knows them all.
 *
 * It sees the world through `struct env` alone, so a whole cluster of nodes runs in one simulator
 * process. HTTP requests come as exchanges: from http_server.h in production, made by hand in the
 * simulator. Loop thread only. */

#ifndef NODE_NODE_H
#define NODE_NODE_H

#include "node/aws/aws_router.h"
#include "node/http/http.h"
#include "node/sandbox/pool.h"
#include "proto/env/env.h"
#include "proto/net/link_rules.h"

struct node;

struct node_options {
    const char *name;          /* "node-3" */
    const char *region;        /* "eu-west-1" */
    const char *host;          /* replicas of a shard avoid sharing one */
    const char *mesh_endpoint; /* how the others reach this node; told to the controllers */
    const char *public_key;
    const char *http_address; /* its own port */
    const uint64_t *controller_ids;
    size_t controller_count;
    struct aws_key key; /* the cluster's access key pair */
    bool any_key;       /* --insecure-any-key */
    uint32_t heartbeat_ms;
    uint32_t election_ms;
    uint32_t snapshot_entries;
    uint64_t snapshot_bytes;
    uint32_t event_retry_ms; /* event_worker.h; 0 = the default */
    uint32_t event_lease_ms;
    uint32_t sandboxes_max;
    uint32_t sandboxes_starting_max;
    uint32_t account_concurrency; /* invocations at a time in the whole cluster; 0 = 1000 */
    const char
        *function_log_folder; /* in the data folder; NULL = what functions print is not kept */
    /* Another node is in the catalogue, or its record has changed; the link knows it already. May
     * be NULL. */
    void (*on_peer)(void *user, uint64_t id, const char *region);
    /* How well functions are isolated here, in words; for the status. */
    const char *(*sandbox_tier)(void *user);
    struct link_rules *links; /* POST /_skein/links sets them; NULL = there are none to set */
    void *user;
    /* A store or the journal failed: the process must end at once and not touch its data. */
    void (*on_fatal)(void *user, enum error rc, const char *why);
};

/* Reads what is on disk (blocking), registers with the controllers, starts its replicas. The
 * options' strings are borrowed for the node's life. ERR_IO, ERR_CORRUPT: `why` says which file. */
enum error node_open(struct env *env, const struct node_options *options, char why[ERROR_WHY_BYTES],
                     struct node **node);
/* As a crash would: nothing more is written or sent, nobody is called. */
void node_free(struct node *node);

/* Hand leaderships away, then call back. Requests in flight go on meanwhile. */
void node_drain(struct node *node, void *user, void (*done)(void *user));

/* An http_handler whose user is the node. */
void node_on_exchange(void *node, struct http_exchange *exchange);

#endif
