#include "node/aws/aws_fault.h"

#include "node/aws/aws_reply.h"
#include "node/aws/aws_xml.h"
#include "proto/base/check.h"
#include "proto/base/json_write.h"

/* ---- shapes --------------------------------------------------------------------------------- */

static bool is_ours(const struct aws_fault *fault) /* not the client's doing */
{
    return fault->status >= 500;
}

static void send_json(struct aws_request *request, const struct aws_fault *fault,
                      struct buffer *body)
{
    struct http_exchange *exchange = request->exchange;
    bool is_query_mode = http_header_find(exchange, "x-amzn-query-mode").data != NULL;
    const char *code = fault->query_code != NULL ? fault->query_code : fault->code;
    const struct http_header header = {
        SLICE_LITERAL("x-amzn-query-error"),
        slice_text(
            arena_printf(&exchange->arena, "%s;%s", code, is_ours(fault) ? "Receiver" : "Sender"))};

    aws_reply_with(request, fault->status, &header, is_query_mode ? 1 : 0, body);
}

static void send_rest_json(struct aws_request *request, const struct aws_fault *fault,
                           struct buffer *body)
{
    const struct http_header header = {SLICE_LITERAL("x-amzn-ErrorType"), slice_text(fault->code)};

    aws_reply_with(request, fault->status, &header, 1, body);
}

static void write_json(struct aws_request *request, const struct aws_fault *fault,
                       struct buffer *body)
{
    struct json_write json = json_write_to(body);
    const char *prefix =
        request->service == AWS_SERVICE_DYNAMODB ? "com.amazonaws.dynamodb.v20120810#" : "";

    json_begin_object(&json);
    if (request->protocol == AWS_PROTOCOL_REST_JSON)
        json_member_text(&json, "Type", is_ours(fault) ? "Service" : "User");
    else
        json_member_text(&json, "__type",
                         arena_printf(&request->exchange->arena, "%s%s", prefix, fault->code));
    json_member_text(&json, "message", fault->message);
    if (fault->extra != NULL) {
        buffer_put_text(body, ",");
        buffer_put_text(body, fault->extra);
    }
    json_end_object(&json);
}

static const char *namespace_of(enum aws_service service)
{
    switch ((int)service) {
    case AWS_SERVICE_SNS:
        return AWS_SNS_NAMESPACE;
    case AWS_SERVICE_SQS:
        return AWS_SQS_NAMESPACE;
    case AWS_SERVICE_MONITORING:
        return AWS_MONITORING_NAMESPACE;
    case AWS_SERVICE_IAM:
        return AWS_IAM_NAMESPACE;
    default:
        return AWS_STS_NAMESPACE;
    }
}

static void write_query_xml(const struct aws_request *request, const struct aws_fault *fault,
                            struct buffer *body)
{
    buffer_put_text(body, AWS_XML_DECLARATION);
    buffer_putf(body, "<ErrorResponse xmlns=\"%s\"><Error>", namespace_of(request->service));
    aws_xml_element_text(body, "Type", is_ours(fault) ? "Receiver" : "Sender");
    aws_xml_element_text(body, "Code", fault->code);
    aws_xml_element_text(body, "Message", fault->message);
    buffer_put_text(body, "</Error>");
    aws_xml_element_text(body, "RequestId", request->exchange->request_id);
    buffer_put_text(body, "</ErrorResponse>\n");
}

static void write_s3_xml(const struct aws_request *request, const struct aws_fault *fault,
                         struct buffer *body)
{
    buffer_put_text(body, AWS_XML_DECLARATION "<Error>");
    aws_xml_element_text(body, "Code", fault->code);
    aws_xml_element_text(body, "Message", fault->message);
    aws_xml_element(body, "Resource", request->exchange->path);
    aws_xml_element_text(body, "RequestId", request->exchange->request_id);
    aws_xml_element_text(body, "HostId", request->exchange->request_id);
    buffer_put_text(body, "</Error>\n");
}

void aws_fault_send(struct aws_request *request, const struct aws_fault *fault)
{
    struct buffer body = BUFFER_INIT(BUFFER_UNLIMITED);

    switch (request->protocol) {
    case AWS_PROTOCOL_JSON_1_0:
    case AWS_PROTOCOL_JSON_1_1:
        write_json(request, fault, &body);
        send_json(request, fault, &body);
        break;
    case AWS_PROTOCOL_REST_JSON:
        write_json(request, fault, &body);
        send_rest_json(request, fault, &body);
        break;
    case AWS_PROTOCOL_QUERY:
        write_query_xml(request, fault, &body);
        aws_reply(request, fault->status, &body);
        break;
    case AWS_PROTOCOL_REST_XML:
        write_s3_xml(request, fault, &body);
        aws_reply(request, fault->status, &body);
        break;
    }
}

void aws_fault_respond(struct aws_request *request, int status, const char *code,
                       const char *message)
{
    const struct aws_fault fault = {.status = status, .code = code, .message = message};

    aws_fault_send(request, &fault);
}

/* ---- our errors in their words -------------------------------------------------------------- */

enum dialect { /* services that say the same alike */
               DIALECT_DYNAMODB,
               DIALECT_JSON, /* logs, and the JSON protocols of sqs and monitoring */
               DIALECT_LAMBDA,
               DIALECT_APIGATEWAY,
               DIALECT_QUERY,
               DIALECT_S3,
               DIALECT_COUNT
};

static enum dialect dialect_of(enum aws_service service, enum aws_protocol protocol)
{
    if (service == AWS_SERVICE_DYNAMODB)
        return DIALECT_DYNAMODB;
    if (service == AWS_SERVICE_LAMBDA)
        return DIALECT_LAMBDA;
    switch (protocol) {
    case AWS_PROTOCOL_JSON_1_0:
    case AWS_PROTOCOL_JSON_1_1:
        return DIALECT_JSON;
    case AWS_PROTOCOL_REST_JSON:
        return DIALECT_APIGATEWAY;
    case AWS_PROTOCOL_QUERY:
        return DIALECT_QUERY;
    case AWS_PROTOCOL_REST_XML:
        break;
    }
    return DIALECT_S3;
}

enum failure {
    FAILURE_THROTTLED,
    FAILURE_UNAVAILABLE,
    FAILURE_INTERNAL,
    FAILURE_DENIED,
    FAILURE_INVALID,
    FAILURE_COUNT
};

static enum failure failure_of(enum error rc)
{
    switch ((int)rc) {
    case ERR_OVERLOADED:
        return FAILURE_THROTTLED;
    case ERR_NO_CAPACITY:
    case ERR_NOT_LEADER:
    case ERR_UNREACHABLE:
    case ERR_STALE_EPOCH:
    case ERR_CANCELLED:
    case ERR_TIMEOUT:
    case ERR_LOST:
        return FAILURE_UNAVAILABLE;
    case ERR_DENIED:
        return FAILURE_DENIED;
    case ERR_INVALID:
    case ERR_TOO_LARGE:
    case ERR_NOT_FOUND:
    case ERR_EXISTS:
    case ERR_CONFLICT:
    case ERR_CONDITION:
        return FAILURE_INVALID;
    default:
        return FAILURE_INTERNAL;
    }
}

struct wording {
    int status;
    const char *code;
};

struct aws_fault aws_fault_of_error(enum aws_service service, enum aws_protocol protocol,
                                    enum error rc)
{
    /* What may succeed later is something that SDKs retry: a 5xx, a 429, or a throttling code. */
    static const struct wording wordings[DIALECT_COUNT][FAILURE_COUNT] = {
        [DIALECT_DYNAMODB] = {{400, "ThrottlingException"},
                              {500, "InternalServerError"},
                              {500, "InternalServerError"},
                              {400, "AccessDeniedException"},
                              {400, "ValidationException"}},
        [DIALECT_JSON] = {{400, "ThrottlingException"},
                          {503, "ServiceUnavailableException"},
                          {500, "InternalFailure"},
                          {400, "AccessDeniedException"},
                          {400, "InvalidParameterException"}},
        [DIALECT_LAMBDA] = {{429, "TooManyRequestsException"},
                            {503, "ServiceException"},
                            {500, "ServiceException"},
                            {403, "AccessDeniedException"},
                            {400, "InvalidParameterValueException"}},
        [DIALECT_APIGATEWAY] = {{429, "TooManyRequestsException"},
                                {503, "ServiceUnavailableException"},
                                {500, "InternalServerErrorException"},
                                {403, "AccessDeniedException"},
                                {400, "BadRequestException"}},
        [DIALECT_QUERY] = {{400, "Throttling"},
                           {503, "ServiceUnavailable"},
                           {500, "InternalFailure"},
                           {403, "AccessDenied"},
                           {400, "InvalidParameterValue"}},
        [DIALECT_S3] = {{503, "SlowDown"},
                        {503, "ServiceUnavailable"},
                        {500, "InternalError"},
                        {403, "AccessDenied"},
                        {400, "InvalidRequest"}},
    };
    static const char *const messages[FAILURE_COUNT] = {
        [FAILURE_THROTTLED] = "Rate exceeded.",
        [FAILURE_UNAVAILABLE] = "The service cannot answer at the moment. Please retry.",
        [FAILURE_INTERNAL] = "Internal server error.",
    };
    enum failure failure = failure_of(rc);
    const struct wording *wording = &wordings[dialect_of(service, protocol)][failure];

    CHECK(rc != OK);
    return (struct aws_fault){.status = wording->status,
                              .code = wording->code,
                              .message =
                                  messages[failure] != NULL ? messages[failure] : error_text(rc)};
}

void aws_fault_respond_error(struct aws_request *request, enum error rc)
{
    const struct aws_fault fault = aws_fault_of_error(request->service, request->protocol, rc);

    aws_fault_send(request, &fault);
}

/* ---- authentication ------------------------------------------------------------------------- */

struct aws_fault aws_fault_of_auth(enum aws_service service, enum aws_protocol protocol,
                                   enum sigv4_result result)
{
    static const struct { /* by result: for JSON, query and S3 */
        struct wording json;
        struct wording query;
        struct wording s3;
        const char *message;
    } wordings[SIGV4_RESULT_COUNT] = {
        [SIGV4_MISSING] = {{403, "MissingAuthenticationTokenException"},
                           {403, "MissingAuthenticationToken"},
                           {403, "AccessDenied"},
                           "Missing Authentication Token"},
        [SIGV4_MALFORMED] = {{403, "IncompleteSignatureException"},
                             {403, "IncompleteSignature"},
                             {400, "AuthorizationHeaderMalformed"},
                             "The authorization is malformed: Credential, SignedHeaders, Signature "
                             "and X-Amz-Date are needed, for one day and in one place."},
        [SIGV4_UNSUPPORTED] = {{403, "IncompleteSignatureException"},
                               {403, "IncompleteSignature"},
                               {400, "InvalidRequest"},
                               "The authorization mechanism you have provided is not supported. "
                               "Please use AWS4-HMAC-SHA256."},
        [SIGV4_UNKNOWN_KEY] = {{403, "UnrecognizedClientException"},
                               {403, "InvalidClientTokenId"},
                               {403, "InvalidAccessKeyId"},
                               "The security token included in the request is invalid."},
        [SIGV4_SKEWED] = {{403, "InvalidSignatureException"},
                          {403, "SignatureDoesNotMatch"},
                          {403, "RequestTimeTooSkewed"},
                          "Signature expired or not yet current: the difference between the "
                          "request time and the current time is too large."},
        [SIGV4_EXPIRED] = {{403, "InvalidSignatureException"},
                           {403, "SignatureDoesNotMatch"},
                           {403, "AccessDenied"},
                           "Request has expired"},
        [SIGV4_UNSIGNED_HEADER] = {{403, "InvalidSignatureException"},
                                   {403, "SignatureDoesNotMatch"},
                                   {403, "AccessDenied"},
                                   "There were headers present in the request which were not "
                                   "signed: host and all x-amz-* must be."},
        [SIGV4_MISMATCH] = {{403, "InvalidSignatureException"},
                            {403, "SignatureDoesNotMatch"},
                            {403, "SignatureDoesNotMatch"},
                            "The request signature we calculated does not match the signature you "
                            "provided. Check your AWS Secret Access Key and signing method."},
        [SIGV4_PAYLOAD_MISMATCH] = {{403, "InvalidSignatureException"},
                                    {403, "SignatureDoesNotMatch"},
                                    {400, "XAmzContentSHA256Mismatch"},
                                    "The provided 'x-amz-content-sha256' header does not match "
                                    "what was computed."},
    };
    const enum dialect dialect = dialect_of(service, protocol);
    const struct wording *wording = dialect == DIALECT_S3      ? &wordings[result].s3
                                    : dialect == DIALECT_QUERY ? &wordings[result].query
                                                               : &wordings[result].json;

    CHECK(wording->code != NULL);
    return (struct aws_fault){
        .status = wording->status, .code = wording->code, .message = wordings[result].message};
}

void aws_fault_respond_unknown_operation(struct aws_request *request)
{
    static const struct wording wordings[DIALECT_COUNT] = {
        [DIALECT_DYNAMODB] = {400, "UnknownOperationException"},
        [DIALECT_JSON] = {400, "UnknownOperationException"},
        [DIALECT_LAMBDA] = {404, "UnknownOperationException"},
        [DIALECT_APIGATEWAY] = {404, "UnknownOperationException"},
        [DIALECT_QUERY] = {400, "InvalidAction"},
        [DIALECT_S3] = {501, "NotImplemented"},
    };
    const struct wording *wording = &wordings[dialect_of(request->service, request->protocol)];

    aws_fault_respond(request, wording->status, wording->code,
                      "The requested operation is not known, or not supported.");
}
