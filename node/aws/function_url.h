/* Function URLs, served: a request to ID.lambda-url.REGION.anything, or to /_aws/lambda-url/ID/...,
 * becomes a call of the function, and its result the answer. */

#ifndef NODE_AWS_FUNCTION_URL_H
#define NODE_AWS_FUNCTION_URL_H

#include "node/aws/aws_request.h"
#include "node/aws/lambda.h"

struct function_url;

/* Needs env, view and invoker of the options. */
struct function_url *function_url_new(const struct lambda_options *with);
/* Frees at once; requests in progress are not answered. */
void function_url_free(struct function_url *urls);

/* An aws_handler for AWS_SERVICE_FUNCTION_URL whose user is the function_url. */
void function_url_on_request(void *urls, struct aws_request *request);

#endif
