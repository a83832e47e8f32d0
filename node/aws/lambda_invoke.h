/* Lambda's Invoke: a payload in, the function's result out. */

#ifndef NODE_AWS_LAMBDA_INVOKE_H
#define NODE_AWS_LAMBDA_INVOKE_H

#include "node/aws/lambda.h"
#include "node/aws/lambda_name.h"

/* Answers the request. `name` and its qualifier were seen to be there. */
void lambda_invoke_start(const struct lambda_options *with, struct aws_request *request,
                         const struct lambda_name *name);

/* Has the caller said that running it twice does no harm? Then a run that the platform lost is
 * started once more elsewhere. */
bool lambda_invoke_is_idempotent(const struct http_exchange *exchange);

#endif
