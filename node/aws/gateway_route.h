/* Which method of a deployed API answers a request: a tree made once per deployment.
 *
 * At each step a literal part wins over {param}, and that over {proxy+}; on a resource the very
 * method wins over ANY. A branch that leads to no method is left again for the next best. A slash
 * at the end of the path does not count. */

#ifndef NODE_AWS_GATEWAY_ROUTE_H
#define NODE_AWS_GATEWAY_ROUTE_H

#include "proto/base/arena.h"
#include "proto/wire/api.pb-c.h"

#define GATEWAY_SEGMENTS_MAX 64
#define GATEWAY_PARAMETERS_MAX GATEWAY_SEGMENTS_MAX

struct gateway_node;

struct gateway_parameter {
    struct slice name;  /* in the tree */
    struct slice value; /* decoded, in the arena of the search */
};

struct gateway_match {
    const Skein__Wire__ApiResource *resource;
    const Skein__Wire__ApiMethod *method;
    struct gateway_parameter parameters[GATEWAY_PARAMETERS_MAX];
    size_t parameter_count;
};

/* The tree, in `arena`; it points into the resources. */
struct gateway_node *gateway_route_compile(struct arena *arena,
                                           Skein__Wire__ApiResource *const *resources,
                                           size_t count);

/* `path` as sent, without the stage, starting with a slash. ERR_NOT_FOUND: no resource with such a
 * method. ERR_INVALID: a broken escape, or more than GATEWAY_SEGMENTS_MAX segments. */
enum error gateway_route_find(const struct gateway_node *root, struct arena *arena,
                              struct slice path, struct slice method, struct gateway_match *match);

#endif
