/* Callers of REST APIs: route, run the function, answer.
 *
 * Three forms of address: /restapis/ID/STAGE/_user_request_/PATH, /_aws/execute-api/ID/STAGE/PATH,
 * and Host ID.execute-api.ANYTHING with /STAGE/PATH.
 *
 * A call that the platform lost is answered with a 503, which clients retry; when the caller gave
 * an idempotency key it is run once more first. */

#ifndef NODE_AWS_GATEWAY_H
#define NODE_AWS_GATEWAY_H

#include "node/aws/aws_request.h"
#include "node/sandbox/invoke.h"
#include "node/view/view.h"

struct gateway;

struct gateway *gateway_new(struct env *env, struct view *view, struct invoker invoker);
void gateway_free(struct gateway *gateway);

/* An aws_handler whose user is the gateway. */
void gateway_on_request(void *gateway, struct aws_request *request);

#endif
