/* Errors in the words and shapes of AWS: the one place where our codes become theirs.
 *
 * A fault is a code, a status and a message; the request's protocol decides the shape: JSON with
 * __type, REST JSON with x-amzn-ErrorType, query XML or S3 XML. SDKs retry any 5xx and 429, so what
 * may succeed elsewhere or later must never become another 4xx. */

#ifndef NODE_AWS_AWS_FAULT_H
#define NODE_AWS_AWS_FAULT_H

#include "node/auth/sigv4.h"
#include "node/aws/aws_request.h"

struct aws_fault {
    int status;
    const char *code; /* "ResourceNotFoundException" */
    const char *message;
    /* More members of a JSON body, such as "\"Reason\":\"..\"": without braces and outer commas,
     * our own valid JSON. NULL: none. */
    const char *extra;
    /* JSON requests with x-amzn-query-mode: the old code
     * ("AWS.SimpleQueueService.NonExistentQueue"), NULL: the same as `code`. */
    const char *query_code;
};

/* Answer with a fault. */
void aws_fault_send(struct aws_request *request, const struct aws_fault *fault);

/* Shorthand. */
void aws_fault_respond(struct aws_request *request, int status, const char *code,
                       const char *message);

/* The service's general answer to a failed operation: overload and throttling, time-out, lost
 * leader, internal error. Errors that mean something particular to an operation (ERR_NOT_FOUND,
 * ERR_EXISTS, ERR_CONDITION, ERR_INVALID) are the service file's own business; here they get the
 * service's validation error with the text of `rc`. */
struct aws_fault aws_fault_of_error(enum aws_service service, enum aws_protocol protocol,
                                    enum error rc);
void aws_fault_respond_error(struct aws_request *request, enum error rc);

/* What the service says to a request that is not, or wrongly, signed. `result` is not SIGV4_OK. */
struct aws_fault aws_fault_of_auth(enum aws_service service, enum aws_protocol protocol,
                                   enum sigv4_result result);

/* The service has no such operation. */
void aws_fault_respond_unknown_operation(struct aws_request *request);

#endif
