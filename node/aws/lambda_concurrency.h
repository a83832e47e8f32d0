/* How many invocations a function may have at a time: reserved concurrency, and the account's. The
 * nodes keep to it (node_limit.h). */

#ifndef NODE_AWS_LAMBDA_CONCURRENCY_H
#define NODE_AWS_LAMBDA_CONCURRENCY_H

#include "node/aws/lambda_call.h"

/* What reservations leave to the other functions, at least: 100, or a tenth of a small account. */
uint32_t lambda_concurrency_unreserved_min(const struct lambda_options *with);

/* Operations; the function is there. */
void lambda_concurrency_put(struct lambda_call *call);
void lambda_concurrency_get(struct lambda_call *call);
void lambda_concurrency_delete(struct lambda_call *call);

/* GetAccountSettings. */
void lambda_concurrency_get_account(struct lambda_call *call);

#endif
