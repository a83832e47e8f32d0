/* Aliases: names for versions, with a second version that may get a part of the calls. */

#ifndef NODE_AWS_LAMBDA_ALIAS_H
#define NODE_AWS_LAMBDA_ALIAS_H

#include "node/aws/lambda_call.h"

#define LAMBDA_ALIASES_MAX 400 /* of one function; see LAMBDA_VERSIONS_MAX */

/* Does an alias of the function point to that version? */
bool lambda_alias_has(const struct lambda_call *call, uint64_t version);

/* Operations; the function is there, and call->alias where one is named. */
void lambda_alias_create(struct lambda_call *call);
void lambda_alias_get(struct lambda_call *call);
void lambda_alias_update(struct lambda_call *call);
void lambda_alias_delete(struct lambda_call *call);
void lambda_alias_list(struct lambda_call *call);

#endif
