/* Calls to the cluster's own API, signed with its key: blocking, one at a time, for the operator's
 * commands. */

#ifndef DEPLOY_API_H
#define DEPLOY_API_H

#include "deploy/cluster.h"
#include "proto/base/buffer.h"

struct api_call {
    const char *region;  /* of the signature */
    const char *service; /* "dynamodb"; NULL = do not sign */
    const char *method;  /* "POST" */
    const char *address; /* "127.0.0.1:4566" */
    const char *path;
    const char *target; /* X-Amz-Target, or NULL */
    struct slice body;
    unsigned timeout_ms;
};

/* OK with any status. ERR_UNREACHABLE: no connection; ERR_LOST, ERR_TIMEOUT: no whole answer. */
enum error api_call(const struct cluster *cluster, const struct api_call *call, int *status,
                    struct buffer *answer);

/* The same, again and again until the status is below 500 or `patience_ms` have passed. */
enum error api_call_patiently(const struct cluster *cluster, const struct api_call *call,
                              unsigned patience_ms, int *status, struct buffer *answer);

#endif
