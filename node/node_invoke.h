/* From an invocation to the node that runs it: here if the function is placed here, else the
 * nearest node it is placed on.
 *
 * Another node is tried only when nothing can have started on the one before. Loop thread only. */

#ifndef NODE_NODE_INVOKE_H
#define NODE_NODE_INVOKE_H

#include "node/sandbox/invoke.h"
#include "node/sandbox/pool.h"
#include "node/view/view.h"
#include "proto/net/call.h"

struct node_invoke;

/* Serves CALL_INVOKE from now on. */
struct node_invoke *node_invoke_new(struct env *env, struct calls *calls, struct view *view,
                                    struct pool *pool, const char *region);
void node_invoke_free(struct node_invoke *router);

/* What the services call functions through; valid as long as the router. */
struct invoker node_invoke_invoker(struct node_invoke *router);

#endif
