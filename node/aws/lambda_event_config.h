/* How asynchronous invocations of $LATEST, a version or an alias are retried, and where their
 * results go: stored here, used by what runs them. */

#ifndef NODE_AWS_LAMBDA_EVENT_CONFIG_H
#define NODE_AWS_LAMBDA_EVENT_CONFIG_H

#include "node/aws/lambda_call.h"

/* Operations; what the name says is there. */
void lambda_event_config_put(struct lambda_call *call);
void lambda_event_config_update(struct lambda_call *call);
void lambda_event_config_get(struct lambda_call *call);
void lambda_event_config_delete(struct lambda_call *call);
void lambda_event_config_list(struct lambda_call *call);

#endif
