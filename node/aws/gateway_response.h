/* What an AWS_PROXY function answers, read into an HTTP response.
 *
 * Members: statusCode (a number, or its text; 200 when absent), headers, multiValueHeaders, body,
 * isBase64Encoded. Any other member, or a wrong type, makes the answer malformed, as API Gateway
 * has it. */

#ifndef NODE_AWS_GATEWAY_RESPONSE_H
#define NODE_AWS_GATEWAY_RESPONSE_H

#include "node/http/http.h"

struct gateway_response {
    int status;
    struct http_header *headers; /* in the arena; a Content-Type is always among them */
    size_t header_count;
    struct buffer body;
};

/* ERR_INVALID: malformed. `response->body` is the caller's to close on OK. */
enum error gateway_response_read(struct arena *arena, struct slice payload,
                                 struct gateway_response *response);

/* The same in payload format 2.0: cookies too, members it does not know are passed over, and a
 * result without statusCode is the body itself. */
enum error gateway_response_read_2(struct arena *arena, struct slice payload,
                                   struct gateway_response *response);

#endif
