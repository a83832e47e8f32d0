/* Provisioned concurrency: sandboxes of a version, or of what an alias points to, that are kept
 * ready. The nodes keep them (node_limit.h) and are asked how many there are. */

#ifndef NODE_AWS_LAMBDA_PROVISIONED_H
#define NODE_AWS_LAMBDA_PROVISIONED_H

#include "node/aws/lambda_call.h"

/* Operations; what the name says is there. */
void lambda_provisioned_put(struct lambda_call *call);
void lambda_provisioned_get(struct lambda_call *call); /* with List=ALL in the query: of all */
void lambda_provisioned_delete(struct lambda_call *call);

#endif
