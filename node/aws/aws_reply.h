/* Successful answers in the shape of the request's protocol, with the request's id. */

#ifndef NODE_AWS_AWS_REPLY_H
#define NODE_AWS_AWS_REPLY_H

#include "node/aws/aws_request.h"

/* A document with the protocol's Content-Type. `body` is taken (NULL: none). */
void aws_reply(struct aws_request *request, int status, struct buffer *body);

/* The same with headers of the service's own; a Content-Type among them replaces the protocol's. */
void aws_reply_with(struct aws_request *request, int status, const struct http_header *headers,
                    size_t header_count, struct buffer *body);

/* Query protocol: <OpResponse xmlns=NS><OpResult>inner</OpResult><ResponseMetadata>..</..>.
 * `inner` is XML (aws_xml.h); data NULL: an operation without a result. */
void aws_reply_query(struct aws_request *request, const char *xml_namespace, struct slice inner);

#endif
