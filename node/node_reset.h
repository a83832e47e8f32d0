/* POST /_skein/reset: every table, function and API is gone. For other people's test suites, and
 * only where any key is believed anyway (--insecure-any-key). */

#ifndef NODE_NODE_RESET_H
#define NODE_NODE_RESET_H

#include "node/http/http.h"
#include "node/view/view.h"
#include "proto/env/env.h"

struct node_resets { /* those in progress */
    struct list resets;
};

void node_resets_init(struct node_resets *resets);
/* Frees at once; nobody is answered. */
void node_resets_close(struct node_resets *resets);

/* Answers the exchange once every node knows: 200 {"removed": N}, or 503. */
void node_reset_start(struct node_resets *resets, struct env *env, struct view *view,
                      struct http_exchange *exchange);

#endif
