/* The Lambda API: functions are records of the catalogue, their packages are blobs on shards.
 *
 * A function's package is stored before its record names it, and given up after no record names it
 * any more: a crash between leaves unreachable bytes, never a function without code. */

#ifndef NODE_AWS_LAMBDA_H
#define NODE_AWS_LAMBDA_H

#include "node/aws/aws_request.h"
#include "node/sandbox/invoke.h"
#include "node/shard/shard_router.h"
#include "node/view/view.h"

/* A question to the nodes that run a function: how many sandboxes of a version are ready? */
struct lambda_ready;
typedef void (*lambda_ready_cb)(struct lambda_ready *asked, uint32_t ready);

struct lambda_ready { /* embedded; the counter's until the callback */
    lambda_ready_cb cb;
};

struct lambda_ready_counter {
    void *user;
    /* The callback never comes from within. */
    void (*start)(void *user, struct lambda_ready *asked, const char *function, uint64_t version,
                  lambda_ready_cb cb);
};

struct lambda_options { /* what it works with; all outlive it */
    struct env *env;
    struct view *view;
    struct shard_router *router;
    struct invoker invoker;
    struct lambda_ready_counter ready_counter;
    uint32_t account_concurrency; /* invocations at a time in the whole cluster */
};

struct lambda;

struct lambda *lambda_new(const struct lambda_options *options);
/* Frees at once; requests in progress are not answered. */
void lambda_free(struct lambda *lambda);

/* An aws_handler for AWS_SERVICE_LAMBDA whose user is the lambda. */
void lambda_on_request(void *lambda, struct aws_request *request);

#endif
