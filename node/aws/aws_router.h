/* One port, many services: whose request is this, may they, and who handles it?
 *
 * The scope of the signature decides; without one: X-Amz-Target, then the path and the Host of API
 * invocations and of our own /_skein paths, which need no signature. A request that should be
 * signed and is not, or wrongly, gets its service's error and reaches no handler. */

#ifndef NODE_AWS_AWS_ROUTER_H
#define NODE_AWS_AWS_ROUTER_H

#include "node/aws/aws_request.h"
#include "proto/env/env.h"

struct aws_key {
    const char *access_key;
    const char *secret;
};

struct aws_router_options {
    const char *region; /* of the node: for requests that name none */
    const struct aws_key *keys;
    size_t key_count;
    bool any_key; /* --insecure-any-key: believe every claim, signed or not */
};

struct aws_router;

/* The options are copied. */
struct aws_router *aws_router_new(struct env *env, const struct aws_router_options *options);
void aws_router_free(struct aws_router *router);

/* Requests for `service` go to `handler`; one handler per service, set before the first request. */
void aws_router_handle(struct aws_router *router, enum aws_service service, void *user,
                       aws_handler handler);

/* An http_handler whose user is the router. */
void aws_router_on_exchange(void *router, struct http_exchange *exchange);

/* Valid as long as the router. */
const struct aws_counters *aws_router_counters(const struct aws_router *router,
                                               enum aws_service service);

/* The secret of an access key: ERR_NOT_FOUND when unknown. Valid as long as the router. */
enum error aws_router_find_secret(void *router, struct slice access_key, struct slice *secret);

/* "dynamodb"; a static string. */
const char *aws_service_name(enum aws_service service);

#endif
