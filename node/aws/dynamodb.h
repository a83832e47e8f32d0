/* DynamoDB: requests in its JSON become commands and queries of the table engine, and replies its
 * answers. What it decides is only what the service's words are; rows are the engine's business
 * (node/table), tables are records of the catalogue ("table/NAME").
 *
 * A deleted table leaves a record "drop/ID"; one live node, the one with the lowest id, has its
 * rows removed from every shard (dynamodb_drop.h). */

#ifndef NODE_AWS_DYNAMODB_H
#define NODE_AWS_DYNAMODB_H

#include "node/aws/aws_request.h"
#include "node/shard/shard_router.h"
#include "node/view/view.h"
#include "proto/env/env.h"

struct dynamodb;

struct dynamodb_options {
    struct env *env;
    struct view *view;
    struct shard_router *router;
};

struct dynamodb *dynamodb_new(const struct dynamodb_options *options);
/* Before the view, the router and the exchanges at work: those get no answer. */
void dynamodb_free(struct dynamodb *dynamodb);

/* An aws_handler whose user is the struct dynamodb. */
void dynamodb_on_request(void *dynamodb, struct aws_request *request);

#endif
