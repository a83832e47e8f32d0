/* Who may call a function: the statements of the policy of $LATEST, a version or an alias. */

#ifndef NODE_AWS_LAMBDA_PERMISSION_H
#define NODE_AWS_LAMBDA_PERMISSION_H

#include "node/aws/lambda_call.h"

#define LAMBDA_POLICY_BYTES_MAX 20480

/* Operations; what the name says is there. */
void lambda_permission_add(struct lambda_call *call);
void lambda_permission_remove(struct lambda_call *call); /* call->item: the statement */
void lambda_permission_get(struct lambda_call *call);

#endif
