/* DynamoDB over shards and a catalogue in memory. */

#ifndef TESTS_UNIT_AWS_DYNAMODB_FIXTURE_H
#define TESTS_UNIT_AWS_DYNAMODB_FIXTURE_H

#include "node/aws/dynamodb.h"
#include "tests/lib/fake_env.h"
#include "tests/lib/fake_exchange.h"
#include "tests/lib/fake_router.h"
#include "tests/lib/fake_view.h"

struct dynamodb_fixture {
    struct fake_env env;
    struct env_link link; /* knows this node's id */
    struct view *view;
    struct shard_router *router;
    struct dynamodb *dynamodb;
    struct fake_answer answer;
};

#define FIXTURE_NODE_ID 7

/* For cmocka. The node FIXTURE_NODE_ID is alive; no table is there. */
int dynamodb_fixture_set_up(void **state);
int dynamodb_fixture_tear_down(void **state);

/* Send without waiting, or until it is answered. */
void dynamodb_fixture_start(struct dynamodb_fixture *f, const char *operation, const char *body);
int dynamodb_fixture_call(struct dynamodb_fixture *f, const char *operation, const char *body);
/* The answer must be 200 and exactly `wanted`. */
void dynamodb_fixture_expect(struct dynamodb_fixture *f, const char *operation, const char *body,
                             const char *wanted);
/* 400, this exception, this message. */
void dynamodb_fixture_refused(struct dynamodb_fixture *f, const char *operation, const char *body,
                              const char *type, const char *message);
#define VALIDATION "com.amazon.coral.validate#ValidationException"
#define SERIALIZATION "com.amazon.coral.service#SerializationException"
#define SERVICE "com.amazonaws.dynamodb.v20120810#"

/* Orders: order_id (S). Lines: order_id (S), line (N). */
void dynamodb_fixture_make_tables(struct dynamodb_fixture *f);

#endif
