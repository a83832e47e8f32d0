/* API Gateway's REST APIs: their control API and their callers.
 *
 * An API is one record of the catalogue, "api/ID": resources as they are edited, deployments as
 * they were, stages that point to a deployment. Callers only ever see deployments, through a route
 * table that each node keeps compiled. */

#ifndef NODE_AWS_APIGATEWAY_H
#define NODE_AWS_APIGATEWAY_H

#include "node/aws/aws_request.h"
#include "node/sandbox/invoke.h"
#include "node/view/view.h"

struct apigateway_options { /* what it works with; all outlive it */
    struct env *env;
    struct view *view;
    struct invoker invoker;
};

struct apigateway;

struct apigateway *apigateway_new(const struct apigateway_options *options);
/* Frees at once; requests in progress are not answered. */
void apigateway_free(struct apigateway *apigateway);

/* aws_handlers whose user is the apigateway: for AWS_SERVICE_APIGATEWAY, and for
 * AWS_SERVICE_EXECUTE_API. */
void apigateway_on_request(void *apigateway, struct aws_request *request);
void apigateway_on_invocation(void *apigateway, struct aws_request *request);

#endif
