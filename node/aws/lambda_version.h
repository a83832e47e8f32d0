/* Versions: what was published of a function, never changed again. A version is a record of its own
 * that shares the claim on its package with $LATEST. */

#ifndef NODE_AWS_LAMBDA_VERSION_H
#define NODE_AWS_LAMBDA_VERSION_H

#include "node/aws/lambda_call.h"

/* Of one function. Its deletion is one change of the catalogue, which takes about a thousand. */
#define LAMBDA_VERSIONS_MAX 500

/* Of call->name, by number; in the arena. */
Skein__Wire__Function *const *lambda_version_find_all(const struct lambda_call *call,
                                                      uint64_t *count);
uint64_t lambda_version_count(const struct lambda_call *call);

/* Operations; the function is there. */
void lambda_version_publish(struct lambda_call *call);
void lambda_version_list(struct lambda_call *call);
/* The one that the name's qualifier says. */
void lambda_version_delete(struct lambda_call *call);

#endif
