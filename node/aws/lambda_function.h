/* Functions themselves: made, read, changed, deleted and listed. */

#ifndef NODE_AWS_LAMBDA_FUNCTION_H
#define NODE_AWS_LAMBDA_FUNCTION_H

#include "node/aws/lambda_call.h"

/* Operations. Those on one function find it, and what its qualifier says, there. */
void lambda_function_create(struct lambda_call *call);
void lambda_function_get(struct lambda_call *call);
void lambda_function_get_configuration(struct lambda_call *call);
void lambda_function_update_configuration(struct lambda_call *call);
void lambda_function_update_code(struct lambda_call *call);
void lambda_function_delete(struct lambda_call *call); /* or one version */
void lambda_function_list(struct lambda_call *call);

/* `text` cannot be a function's name. */
void lambda_function_refuse_name(struct aws_request *request, const char *text);

#endif
