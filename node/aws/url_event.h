/* The event a function gets for a request to its URL: payload format 2.0. */

#ifndef NODE_AWS_URL_EVENT_H
#define NODE_AWS_URL_EVENT_H

#include "node/aws/aws_request.h"

struct url_event { /* everything it is made of; borrowed */
    const struct aws_request *request;
    const char *url_id;
    struct slice path; /* as sent, without what only says which URL it is */
    bool is_signed;    /* AuthType AWS_IAM: the event says who calls */
    uint64_t wall_ms;
};

/* Appends the document. ERR_TOO_LARGE past the buffer's limit. */
enum error url_event_write(const struct url_event *event, struct buffer *to);

#endif
