/* The event a function gets for a request to a REST API: AWS_PROXY, payload format 1.0. */

#ifndef NODE_AWS_GATEWAY_EVENT_H
#define NODE_AWS_GATEWAY_EVENT_H

#include "node/aws/gateway_route.h"
#include "node/http/http.h"

struct gateway_event { /* everything it is made of; borrowed */
    const struct http_exchange *exchange;
    const struct gateway_match *match;
    const char *api_id;
    const char *stage;
    const char *deployment_id;
    const char *region;
    struct slice path;          /* without the stage, as sent */
    struct slice path_on_stage; /* with it: requestContext.path */
    const char *extended_request_id;
    const char *trace;
    uint64_t wall_ms;
    Skein__Wire__ApiStageVariable *const *variables;
    size_t variable_count;
    char *const *binary_media_types;
    size_t binary_media_type_count;
};

/* "23/Nov/2026:20:35:16 +0000" */
#define GATEWAY_EVENT_TIME_BYTES 40
void gateway_event_time(uint64_t wall_ms, char text[GATEWAY_EVENT_TIME_BYTES]);

/* Appends the document. ERR_TOO_LARGE past the buffer's limit. */
enum error gateway_event_write(const struct gateway_event *event, struct buffer *to);

#endif
