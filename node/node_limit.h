/* Limits and provisioned concurrency, which are set for the whole cluster: this node's part of
 * them.
 *
 * A limit of N over k nodes is N/k on each, and one more on the first N mod k of them in the order
 * of the function's placement; nodes a function is not placed on have none of it. So all together
 * never run more, as long as they see the same placement, and node_invoke.h asks the next node when
 * one has used up its part. What the account has beside reservations is split likewise over all
 * nodes that are alive.
 *
 * Derived from the catalogue alone, at the end of a turn in which it changed. Loop thread only. */

#ifndef NODE_NODE_LIMIT_H
#define NODE_NODE_LIMIT_H

#include "node/aws/lambda.h"
#include "node/sandbox/pool.h"
#include "node/view/view.h"
#include "proto/net/call.h"

struct node_limit;

/* `account`: invocations at a time in the whole cluster. Serves CALL_PROVISIONED from now on. */
struct node_limit *node_limit_new(struct env *env, struct calls *calls, struct view *view,
                                  struct pool *pool, uint32_t account);
void node_limit_free(struct node_limit *limit);

/* Asks the nodes that run a function; one that does not answer in time has none ready. Valid as
 * long as the limit. */
struct lambda_ready_counter node_limit_ready_counter(struct node_limit *limit);

/* The part of the `index`th of `count` nodes. */
uint32_t node_limit_part(uint64_t whole, size_t index, size_t count);

#endif
