/* Names of functions: "N", "N:QUALIFIER", "ACCOUNT:function:N" and whole ARNs, and the URIs of API
 * Gateway integrations that hold one. Account and region of an ARN are not looked at: one cluster
 * is one account, and a function runs wherever it is called. */

#ifndef NODE_AWS_LAMBDA_NAME_H
#define NODE_AWS_LAMBDA_NAME_H

#include "proto/base/buffer.h"

#define LAMBDA_NAME_BYTES_MAX 64
#define LAMBDA_QUALIFIER_BYTES_MAX 128
#define LAMBDA_LATEST "$LATEST"

#define LAMBDA_NAME_PATTERN                                                                        \
    "(arn:(aws[a-zA-Z-]*)?:lambda:)?([a-z]{2}(-gov)?-[a-z]+-\\d{1}:)?(\\d{12}:)?(function:)?"      \
    "([a-zA-Z0-9-_]+)(:(\\$LATEST|[a-zA-Z0-9-_]+))?"

struct lambda_name {
    char name[LAMBDA_NAME_BYTES_MAX + 1];
    char qualifier[LAMBDA_QUALIFIER_BYTES_MAX + 1]; /* empty = none given */
};

/* ERR_INVALID: not of the documented pattern. */
enum error lambda_name_parse(struct slice text, struct lambda_name *name);

/* A bare function ARN, or "arn:aws:apigateway:REGION:lambda:path/DATE/functions/ARN/invocations".
 * ERR_INVALID otherwise. */
enum error lambda_name_parse_integration(struct slice uri, struct lambda_name *name);

/* No qualifier, or $LATEST. */
static inline bool lambda_name_is_latest(const struct lambda_name *name)
{
    return name->qualifier[0] == 0 || strcmp(name->qualifier, LAMBDA_LATEST) == 0;
}

#endif
