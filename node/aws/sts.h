/* AWS STS: who am I, and session credentials.
 *
 * Sessions are stateless: their key and secret are the caller's own (who has proved to know them),
 * so they work on every node at once; the token is decoration that SigV4 covers and nobody reads.
 * Roles are named, never enforced. */

#ifndef NODE_AWS_STS_H
#define NODE_AWS_STS_H

#include "node/aws/aws_router.h"

struct sts {
    struct env *env;
    struct aws_router *router; /* knows the secrets */
};

/* An aws_handler whose user is a struct sts. */
void sts_on_request(void *sts, struct aws_request *request);

#endif
