#include "node/aws/lambda_invoke.h"

#include "node/aws/aws_fault.h"
#include "node/aws/aws_reply.h"
#include "node/aws/json_check.h"
#include "node/aws/lambda_config.h"
#include "node/aws/lambda_qualifier.h"
#include "node/event/event_queue.h"
#include "proto/base/check.h"
#include "proto/base/encode.h"

#include <strings.h>

#define CLIENT_CONTEXT_BYTES_MAX 3583
#define RUNS_MAX 2 /* with an idempotency key */

struct lambda_event { /* lives in the exchange's arena */
    struct event_put put;
    struct aws_request *request;
};

struct lambda_invoke { /* lives in the exchange's arena */
    struct invoke invoke;
    const struct lambda_options *with;
    struct aws_request *request;
    unsigned runs_left;
    bool wants_log;
};

static void on_result(struct invoke *invoke, const struct invoke_result *result);

bool lambda_invoke_is_idempotent(const struct http_exchange *exchange)
{
    return http_header_find(exchange, "Idempotency-Key").size > 0 ||
           http_header_find(exchange, "X-Idempotency-Key").size > 0;
}

/* ---- the answer ---- */

static void answer_result(struct lambda_invoke *op, const struct invoke_result *result,
                          struct slice payload, bool is_function_error)
{
    struct arena *arena = &op->request->exchange->arena;
    struct http_header headers[4];
    size_t count = 0;
    struct buffer log = BUFFER_INIT(INVOKE_LOG_TAIL_BYTES * 2);
    struct buffer body = BUFFER_INIT(BUFFER_UNLIMITED);

    headers[count++] =
        (struct http_header){SLICE_LITERAL("X-Amz-Executed-Version"),
                             slice_text(result->version != NULL ? result->version : LAMBDA_LATEST)};
    if (is_function_error)
        headers[count++] =
            (struct http_header){SLICE_LITERAL("X-Amz-Function-Error"), SLICE_LITERAL("Unhandled")};
    if (op->wants_log && encode_base64(result->log_tail, &log) == OK)
        headers[count++] = (struct http_header){SLICE_LITERAL("X-Amz-Log-Result"),
                                                arena_copy(arena, buffer_slice(&log))};
    buffer_close(&log);
    buffer_put_slice(&body, payload);
    aws_reply_with(op->request, 200, headers, count, &body);
}

static void answer_not_found(struct lambda_invoke *op)
{
    struct arena *arena = &op->request->exchange->arena;

    if (!view_is_current(op->with->view)) { /* it may have been made meanwhile */
        aws_fault_respond_error(op->request, ERR_UNREACHABLE);
        return;
    }
    aws_fault_respond(op->request, 404, "ResourceNotFoundException",
                      arena_printf(arena, "Function not found: %s",
                                   lambda_config_arn(arena, op->request->region,
                                                     op->invoke.function, op->invoke.qualifier)));
}

static void answer_throttled(struct lambda_invoke *op, enum invoke_limit limit)
{
    const struct aws_fault fault = {
        .status = 429,
        .code = "TooManyRequestsException",
        .message = "Rate Exceeded.",
        .extra = limit == INVOKE_LIMIT_RESERVED
                     ? "\"Reason\":\"ReservedFunctionConcurrentInvocationLimitExceeded\""
                     : "\"Reason\":\"ConcurrentInvocationLimitExceeded\"",
    };

    aws_fault_send(op->request, &fault);
}

static void run_once(struct lambda_invoke *op)
{
    op->runs_left--;
    op->invoke.link = (struct list){0};
    op->invoke.impl = NULL;
    op->with->invoker.start(op->with->invoker.user, &op->invoke, on_result);
}

static void on_abandoned(struct http_exchange *exchange)
{
    struct lambda_invoke *op = exchange->abandoned_user;

    op->with->invoker.cancel(op->with->invoker.user, &op->invoke);
}

static void on_result(struct invoke *invoke, const struct invoke_result *result)
{
    static const char too_large[] =
        "{\"errorMessage\":\"Response payload size exceeded maximum allowed payload size (6291556 "
        "bytes).\",\"errorType\":\"Function.ResponseSizeTooLarge\"}";
    struct lambda_invoke *op = container_of(invoke, struct lambda_invoke, invoke);

    switch (result->outcome) {
    case INVOKE_OK:
        answer_result(op, result, result->payload, false);
        return;
    case INVOKE_FUNCTION_ERROR:
        answer_result(op, result, result->payload, true);
        return;
    case INVOKE_THROTTLED:
        answer_throttled(op, result->limit);
        return;
    case INVOKE_NOT_FOUND:
        answer_not_found(op);
        return;
    case INVOKE_TOO_LARGE: /* the result: the payload was measured before */
        answer_result(op, result, slice_text(too_large), true);
        return;
    case INVOKE_UNAVAILABLE:
        if (op->runs_left > 0 && !op->request->exchange->is_abandoned) {
            run_once(op);
            return;
        }
        aws_fault_respond(op->request, 503, "ServiceException",
                          "The function could not be run to its end. It may have been started.");
        return;
    case INVOKE_NO_RUNTIME:
        aws_fault_respond(op->request, 502, "InvalidRuntimeException",
                          "The runtime of the function is not installed on the machine it was to "
                          "run on: \"skein status\" says what is missing.");
        return;
    case INVOKE_CANCELLED:
        aws_fault_respond(op->request, 503, "ServiceException",
                          "The client closed the connection before the function was started.");
        return;
    }
}

/* ---- the request ---- */

static bool header_is(const struct http_exchange *exchange, const char *name, const char *value)
{
    struct slice found = http_header_find(exchange, name);

    return found.size == strlen(value) &&
           strncasecmp((const char *)found.data, value, found.size) == 0;
}

static void refuse_content(struct aws_request *request, const char *message)
{
    aws_fault_respond(request, 400, "InvalidRequestContentException", message);
}

/* False: the request was answered. */
static bool read_client_context(struct lambda_invoke *op)
{
    struct http_exchange *exchange = op->request->exchange;
    struct slice text = http_header_find(exchange, "X-Amz-Client-Context");
    struct buffer decoded = BUFFER_INIT(CLIENT_CONTEXT_BYTES_MAX);
    bool is_good;

    if (text.size == 0)
        return true;
    is_good = decode_base64(text, &decoded) == OK &&
              json_check(buffer_slice(&decoded), JSON_CHECK_DEPTH_MAX) &&
              buffer_slice(&decoded).data[0] == '{';
    op->invoke.client_context = arena_copy(&exchange->arena, buffer_slice(&decoded));
    buffer_close(&decoded);
    if (!is_good)
        refuse_content(op->request, "Client context must be a valid Base64-encoded JSON object.");
    return is_good;
}

/* False: the request was answered. */
static bool read_payload(struct lambda_invoke *op, bool is_event)
{
    struct http_exchange *exchange = op->request->exchange;
    struct slice payload = exchange->body;

    if (is_event && payload.size > EVENT_PAYLOAD_BYTES_MAX) {
        aws_fault_respond(op->request, 413, "RequestEntityTooLargeException",
                          arena_printf(&exchange->arena,
                                       "%zu byte payload is too large for the Event invocation "
                                       "type (limit %u bytes)",
                                       payload.size, EVENT_PAYLOAD_BYTES_MAX));
        return false;
    }
    if (payload.size > INVOKE_PAYLOAD_BYTES_MAX) {
        aws_fault_respond(op->request, 413, "RequestTooLargeException",
                          "Request must be smaller than 6291456 bytes for the InvokeFunction "
                          "operation");
        return false;
    }
    if (payload.size == 0)
        payload = SLICE_LITERAL("{}");
    if (!json_check(payload, JSON_CHECK_DEPTH_MAX)) {
        refuse_content(op->request,
                       "Could not parse request body into json: the payload is not valid JSON");
        return false;
    }
    op->invoke.payload = payload;
    return true;
}

static void run(struct lambda_invoke *op, uint64_t version)
{
    struct http_exchange *exchange = op->request->exchange;
    struct arena *arena = &exchange->arena;
    struct slice trace = http_header_find(exchange, "X-Amzn-Trace-Id");

    op->wants_log = header_is(exchange, "X-Amz-Log-Type", "Tail");
    op->runs_left = lambda_invoke_is_idempotent(exchange) ? RUNS_MAX : 1;
    op->invoke.version = version;
    op->invoke.request_id = exchange->request_id;
    op->invoke.region = arena_text(arena, op->request->region);
    op->invoke.trace_header = trace.size > 0 ? arena_text(arena, trace) : NULL;
    exchange->on_abandoned = on_abandoned;
    exchange->abandoned_user = op;
    run_once(op);
}

static void on_accepted(struct event_put *put, enum error rc)
{
    struct aws_request *request = container_of(put, struct lambda_event, put)->request;

    if (rc == OK)
        aws_reply(request, 202, NULL);
    else
        aws_fault_respond_error(request, rc);
}

/* Answered once the event is on a majority; it is run by node/event. */
static void accept_event(struct lambda_invoke *op, uint64_t version)
{
    struct http_exchange *exchange = op->request->exchange;
    struct lambda_event *accepted = arena_alloc(&exchange->arena, sizeof(*accepted));
    struct slice trace = http_header_find(exchange, "X-Amzn-Trace-Id");
    Skein__Wire__Event event = SKEIN__WIRE__EVENT__INIT;

    if (shard_router_shard_count(op->with->router) == 0) {
        aws_fault_respond_error(op->request, ERR_UNREACHABLE);
        return;
    }
    accepted->request = op->request;
    event.id = (char *)(uintptr_t)exchange->request_id;
    event.function = (char *)(uintptr_t)op->invoke.function;
    event.version = version;
    event.qualifier = (char *)(uintptr_t)op->invoke.qualifier;
    event.region = arena_text(&exchange->arena, op->request->region);
    event.trace_header = arena_text(&exchange->arena, trace);
    event.client_context = (ProtobufCBinaryData){
        op->invoke.client_context.size, (uint8_t *)(uintptr_t)op->invoke.client_context.data};
    event.payload = (ProtobufCBinaryData){op->invoke.payload.size,
                                          (uint8_t *)(uintptr_t)op->invoke.payload.data};
    event_put_start(&accepted->put, op->with->router, &event, on_accepted);
}

void lambda_invoke_start(const struct lambda_options *with, struct aws_request *request,
                         const struct lambda_name *name)
{
    struct http_exchange *exchange = request->exchange;
    struct lambda_invoke *op = arena_alloc(&exchange->arena, sizeof(*op));
    struct slice type = http_header_find(exchange, "X-Amz-Invocation-Type");
    bool is_event = header_is(exchange, "X-Amz-Invocation-Type", "Event");
    uint64_t version;

    op->with = with;
    op->request = request;
    op->invoke.function = arena_text(&exchange->arena, slice_text(name->name));
    op->invoke.qualifier = arena_text(&exchange->arena, slice_text(name->qualifier));
    if (type.size > 0 && !is_event &&
        !header_is(exchange, "X-Amz-Invocation-Type", "RequestResponse") &&
        !header_is(exchange, "X-Amz-Invocation-Type", "DryRun")) {
        aws_fault_respond(request, 400, "InvalidParameterValueException",
                          "X-Amz-Invocation-Type must be RequestResponse, Event or DryRun");
        return;
    }
    if (!read_client_context(op) || !read_payload(op, is_event))
        return;
    if (lambda_qualifier_resolve(with, &exchange->arena, name, &version) != OK) {
        answer_not_found(op);
        return;
    }
    if (header_is(exchange, "X-Amz-Invocation-Type", "DryRun"))
        aws_reply(request, 204, NULL);
    else if (is_event)
        accept_event(op, version);
    else
        run(op, version);
}
