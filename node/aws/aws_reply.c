#include "node/aws/aws_reply.h"

#include "node/aws/aws_xml.h"

#include <strings.h>

static const char *content_type_of(enum aws_protocol protocol)
{
    switch (protocol) {
    case AWS_PROTOCOL_JSON_1_0:
        return "application/x-amz-json-1.0";
    case AWS_PROTOCOL_JSON_1_1:
        return "application/x-amz-json-1.1";
    case AWS_PROTOCOL_REST_JSON:
        return "application/json";
    case AWS_PROTOCOL_QUERY:
        return "text/xml";
    case AWS_PROTOCOL_REST_XML:
        break;
    }
    return "application/xml";
}

static bool has_content_type(const struct http_header *headers, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (headers[i].name.size == 12 &&
            strncasecmp((const char *)headers[i].name.data, "content-type", 12) == 0)
            return true;
    return false;
}

void aws_reply_with(struct aws_request *request, int status, const struct http_header *headers,
                    size_t header_count, struct buffer *body)
{
    struct http_exchange *exchange = request->exchange;
    struct http_header *all =
        arena_alloc(&exchange->arena, (header_count + 3) * sizeof(struct http_header));
    const struct slice id = slice_text(exchange->request_id);
    size_t count = header_count;

    if (header_count > 0)
        memcpy(all, headers, header_count * sizeof(struct http_header));
    if (body != NULL && body->size > 0 && !has_content_type(headers, header_count))
        all[count++] = (struct http_header){SLICE_LITERAL("Content-Type"),
                                            slice_text(content_type_of(request->protocol))};
    if (request->protocol == AWS_PROTOCOL_REST_XML) {
        all[count++] = (struct http_header){SLICE_LITERAL("x-amz-request-id"), id};
        all[count++] = (struct http_header){SLICE_LITERAL("x-amz-id-2"), id};
    } else {
        all[count++] = (struct http_header){SLICE_LITERAL("x-amzn-RequestId"), id};
    }
    request->counters->client_faults += status >= 400 && status < 500;
    request->counters->server_faults += status >= 500;
    http_respond(exchange, status, all, count, body);
}

void aws_reply(struct aws_request *request, int status, struct buffer *body)
{
    aws_reply_with(request, status, NULL, 0, body);
}

void aws_reply_query(struct aws_request *request, const char *xml_namespace, struct slice inner)
{
    const char *operation = arena_text(&request->exchange->arena, request->operation);
    struct buffer body = BUFFER_INIT(BUFFER_UNLIMITED);

    buffer_put_text(&body, AWS_XML_DECLARATION);
    buffer_putf(&body, "<%sResponse xmlns=\"%s\">", operation, xml_namespace);
    if (inner.data != NULL) {
        buffer_putf(&body, "<%sResult>", operation);
        buffer_put_slice(&body, inner);
        buffer_putf(&body, "</%sResult>", operation);
    }
    buffer_putf(&body, "<ResponseMetadata><RequestId>%s</RequestId></ResponseMetadata>",
                request->exchange->request_id);
    buffer_putf(&body, "</%sResponse>\n", operation);
    aws_reply(request, 200, &body);
}
