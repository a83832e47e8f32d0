/* Function packages on their way from the shards to this node's cache: the pool asks, blobs are
 * fetched, checked against their hash, and unpacked.
 *
 * Loop thread only. */

#ifndef NODE_NODE_CODE_H
#define NODE_NODE_CODE_H

#include "node/sandbox/pool.h"
#include "node/shard/shard_router.h"

struct node_code;

struct node_code *node_code_new(struct env *env, struct shard_router *router);
void node_code_free(struct node_code *code);

/* pool_options.code_fetch; its user is the node_code. */
void node_code_fetch(void *code, struct pool_code *request, pool_code_cb cb);

#endif
