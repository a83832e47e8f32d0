/* /_skein/links: faults of links, for experiments (proto/net/link_rules.h).
 *
 *   GET                  what is in force in this process
 *   POST, signed         {"for_ms": 30000, "process": 100001,
 *                         "rules": [{"peer": 2, "delay_ms": 40, "drop_permille": 0, "cut": true}]}
 *
 * instead of all earlier rules of that process; an empty list heals. `process` is this node unless
 * it says otherwise: another one, such as a controller, is told over the mesh. After for_ms the
 * process goes back to normal by itself. */

#ifndef NODE_NODE_LINKS_H
#define NODE_NODE_LINKS_H

#include "node/http/http.h"
#include "proto/net/link_rules.h"

struct node_links {
    struct env *env;
    struct link_rules *rules; /* NULL = there are none to set */
    struct calls *calls;
    struct list relays; /* requests that another process is to answer */
};

void node_links_init(struct node_links *links, struct env *env, struct link_rules *rules);
/* Other processes may set ours, too. */
void node_links_serve(struct node_links *links, struct calls *calls);
/* Nobody is answered. */
void node_links_close(struct node_links *links);

void node_links_on_request(struct node_links *links, bool is_operator,
                           struct http_exchange *exchange);

#endif
