/* A request to one AWS service, as the router hands it to that service's file.
 *
 * It lives in the exchange's arena: keep the pointer until the exchange is answered, not longer.
 * Answer it once, with aws_reply.h or aws_fault.h. */

#ifndef NODE_AWS_AWS_REQUEST_H
#define NODE_AWS_AWS_REQUEST_H

#include "node/http/http.h"

#define AWS_ACCOUNT_ID "000000000000"

#define AWS_STS_NAMESPACE "https://sts.amazonaws.com/doc/2011-06-15/"
#define AWS_IAM_NAMESPACE "https://iam.amazonaws.com/doc/2010-05-08/"
#define AWS_SNS_NAMESPACE "http://sns.amazonaws.com/doc/2010-03-31/"
#define AWS_SQS_NAMESPACE "http://queue.amazonaws.com/doc/2012-11-05/"
#define AWS_MONITORING_NAMESPACE "http://monitoring.amazonaws.com/doc/2010-08-01/"

/* name, SigV4 scope, protocol of a request that does not say */
#define AWS_SERVICE_MAP(X)                                                                         \
    X(AWS_SERVICE_NONE, "", AWS_PROTOCOL_REST_JSON)                                                \
    X(AWS_SERVICE_DYNAMODB, "dynamodb", AWS_PROTOCOL_JSON_1_0)                                     \
    X(AWS_SERVICE_LAMBDA, "lambda", AWS_PROTOCOL_REST_JSON)                                        \
    X(AWS_SERVICE_APIGATEWAY, "apigateway", AWS_PROTOCOL_REST_JSON)                                \
    X(AWS_SERVICE_EXECUTE_API, "execute-api", AWS_PROTOCOL_REST_JSON)                              \
    X(AWS_SERVICE_S3, "s3", AWS_PROTOCOL_REST_XML)                                                 \
    X(AWS_SERVICE_SNS, "sns", AWS_PROTOCOL_QUERY)                                                  \
    X(AWS_SERVICE_SQS, "sqs", AWS_PROTOCOL_QUERY)                                                  \
    X(AWS_SERVICE_MONITORING, "monitoring", AWS_PROTOCOL_QUERY)                                    \
    X(AWS_SERVICE_LOGS, "logs", AWS_PROTOCOL_JSON_1_1)                                             \
    X(AWS_SERVICE_STS, "sts", AWS_PROTOCOL_QUERY)                                                  \
    X(AWS_SERVICE_IAM, "iam", AWS_PROTOCOL_QUERY)                                                  \
    X(AWS_SERVICE_FUNCTION_URL, "lambda-url", AWS_PROTOCOL_REST_JSON)                              \
    X(AWS_SERVICE_ADMIN, "skein", AWS_PROTOCOL_REST_JSON) /* our own paths, /_skein/... */

enum aws_service {
#define X(name, scope, protocol) name,
    AWS_SERVICE_MAP(X)
#undef X
        AWS_SERVICE_COUNT
};

enum aws_protocol {
    AWS_PROTOCOL_JSON_1_0,
    AWS_PROTOCOL_JSON_1_1,
    AWS_PROTOCOL_REST_JSON,
    AWS_PROTOCOL_QUERY,   /* form in, XML out */
    AWS_PROTOCOL_REST_XML /* S3 */
};

struct aws_counters { /* of one service, since the start */
    uint64_t requests;
    uint64_t auth_failures;
    uint64_t client_faults; /* answered with a 4xx through aws_reply.h, authentication included */
    uint64_t server_faults; /* likewise with a 5xx */
};

struct sigv4_identity; /* node/auth/sigv4.h */
struct sigv4;

struct aws_request {
    struct http_exchange *exchange;
    enum aws_service service;
    enum aws_protocol protocol;
    struct slice operation;  /* "PutItem": of X-Amz-Target, or the Action; empty in REST */
    struct slice region;     /* of the signature, x-skein-region, or the node's own */
    struct slice access_key; /* empty when unsigned */
    const char *account_id;
    const struct sigv4_identity *identity; /* NULL when unsigned */
    struct sigv4 *sigv4; /* verifies signed chunks; NULL with --insecure-any-key: nothing is */
    struct aws_counters *counters;
};

/* The handler of a service answers every request exactly once, now or later. */
typedef void (*aws_handler)(void *user, struct aws_request *request);

#endif
