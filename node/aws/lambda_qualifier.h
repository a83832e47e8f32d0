/* What comes behind a function's name: $LATEST, the number of a version, or an alias. */

#ifndef NODE_AWS_LAMBDA_QUALIFIER_H
#define NODE_AWS_LAMBDA_QUALIFIER_H

#include "node/aws/lambda.h"
#include "node/aws/lambda_name.h"

/* Which version a call of `name` with its qualifier runs; 0 = $LATEST. An alias with weights throws
 * the environment's dice. ERR_NOT_FOUND: no such function, version or alias. */
enum error lambda_qualifier_resolve(const struct lambda_options *with, struct arena *arena,
                                    const struct lambda_name *name, uint64_t *version);

/* "7": a number that a version may have. "$LATEST" is 0. ERR_INVALID. */
enum error lambda_qualifier_parse(const char *text, uint64_t *version);

#endif
