#include "node/aws/function_url.h"

#include "node/aws/aws_wire.h"
#include "node/aws/gateway_response.h"
#include "node/aws/lambda_invoke.h"
#include "node/aws/lambda_qualifier.h"
#include "node/aws/lambda_settings.h"
#include "node/aws/lambda_url.h"
#include "node/aws/url_cors.h"
#include "node/aws/url_event.h"
#include "proto/base/check.h"
#include "proto/base/map.h"

#include <strings.h>

#define RUNS_MAX 2 /* with an idempotency key */
#define ADDED_HEADERS 2

struct function_url {
    struct lambda_options with;
    struct view_listener listener;
    struct map functions; /* by id of a URL -> char *, the function's name */
};

struct url_call { /* lives in the exchange's arena */
    struct invoke invoke;
    struct function_url *urls;
    struct aws_request *request;
    const Skein__Wire__FunctionUrl *url;
    unsigned runs_left;
};

static void on_result(struct invoke *invoke, const struct invoke_result *result);

/* ---- the URLs there are ------------------------------------------------------------------------
 */

static void forget_function(struct function_url *urls, const char *function)
{
    struct map_entry *entry;
    size_t position = 0;

    while ((entry = map_next(&urls->functions, &position)) != NULL)
        if (strcmp(entry->value, function) == 0)
            free(map_remove(&urls->functions, entry->key));
}

static void on_record(void *user, const char *key, struct slice value, uint64_t revision,
                      bool is_delete)
{
    struct function_url *urls = user;
    const char *function = key + strlen("settings/");
    struct arena arena;
    ProtobufCAllocator allocator = aws_wire_allocator(&arena);
    const Skein__Wire__FunctionSettings *record;

    (void)revision;
    forget_function(urls, function);
    if (is_delete)
        return;
    arena_init(&arena);
    record = skein__wire__function_settings__unpack(&allocator, value.size, value.data);
    for (size_t i = 0; record != NULL && i < record->n_qualifiers; i++)
        if (record->qualifiers[i]->url != NULL)
            free(map_set(&urls->functions, slice_text(record->qualifiers[i]->url->id),
                         check_strdup(function)));
    arena_close(&arena);
}

struct function_url *function_url_new(const struct lambda_options *with)
{
    struct function_url *urls = check_calloc(1, sizeof(*urls));

    urls->with = *with;
    map_init(&urls->functions);
    urls->listener.prefix = "settings/";
    urls->listener.user = urls;
    urls->listener.on_change = on_record;
    view_listen(with->view, &urls->listener);
    return urls;
}

void function_url_free(struct function_url *urls)
{
    struct map_entry *entry;
    size_t position = 0;

    if (urls == NULL)
        return;
    view_unlisten(urls->with.view, &urls->listener);
    while ((entry = map_next(&urls->functions, &position)) != NULL)
        free(entry->value);
    map_close(&urls->functions);
    free(urls);
}

/* ---- whose URL is it? --------------------------------------------------------------------------
 */

/* The id, in the arena, and the path without it; NULL: none. */
static const char *read_address(struct http_exchange *exchange, struct slice *path)
{
    static const char mark[] = ".lambda-url.";
    const struct slice prefix = SLICE_LITERAL(LAMBDA_URL_PATH);
    struct slice host = http_header_find(exchange, "Host");
    const uint8_t *found =
        host.size > 0 ? memmem(host.data, host.size, mark, sizeof(mark) - 1) : NULL;
    struct slice rest;
    const uint8_t *slash;

    *path = exchange->path;
    if (found != NULL)
        return arena_text(&exchange->arena, slice_of(host.data, (size_t)(found - host.data)));
    if (!slice_starts_with(*path, prefix) || path->size == prefix.size)
        return NULL;
    rest = slice_of(path->data + prefix.size, path->size - prefix.size);
    slash = memchr(rest.data, '/', rest.size);
    *path = slash != NULL ? slice_of(slash, (size_t)(rest.data + rest.size - slash))
                          : SLICE_LITERAL("/");
    return arena_text(&exchange->arena,
                      slice_of(rest.data, slash != NULL ? (size_t)(slash - rest.data) : rest.size));
}

/* The part of the settings whose URL it is; NULL: none. */
static const Skein__Wire__FunctionQualifierSettings *find_part(const struct function_url *urls,
                                                               struct arena *arena,
                                                               const char *function, const char *id)
{
    ProtobufCAllocator allocator = aws_wire_allocator(arena);
    const Skein__Wire__FunctionSettings *record;
    struct slice value;

    if (view_get(urls->with.view, lambda_settings_key(arena, function), &value, NULL) != OK)
        return NULL;
    record = skein__wire__function_settings__unpack(&allocator, value.size, value.data);
    for (size_t i = 0; record != NULL && i < record->n_qualifiers; i++)
        if (record->qualifiers[i]->url != NULL && strcmp(record->qualifiers[i]->url->id, id) == 0)
            return record->qualifiers[i];
    return NULL;
}

/* ---- answers -----------------------------------------------------------------------------------
 */

static void answer_message(struct http_exchange *exchange, int status, const char *type,
                           const char *body)
{
    const struct http_header headers[] = {
        {SLICE_LITERAL("Content-Type"), SLICE_LITERAL("application/json")},
        {SLICE_LITERAL("x-amzn-RequestId"), slice_text(exchange->request_id)},
        {SLICE_LITERAL("x-amzn-ErrorType"), slice_text(type)},
    };
    struct buffer bytes = BUFFER_INIT(256);

    buffer_put_text(&bytes, body);
    http_respond(exchange, status, headers, ARRAY_COUNT(headers), &bytes);
}

static void answer_failure(struct url_call *call, int status)
{
    if (status == 503)
        answer_message(call->request->exchange, 503, "ServiceUnavailableException",
                       "{\"Message\":\"Service Unavailable\"}");
    else
        answer_message(call->request->exchange, 502, "InternalServerErrorException",
                       "Internal Server Error");
}

static void answer_throttled(struct http_exchange *exchange, enum invoke_limit limit)
{
    answer_message(exchange, 429, "TooManyRequestsException",
                   limit == INVOKE_LIMIT_RESERVED
                       ? "{\"Reason\":\"ReservedFunctionConcurrentInvocationLimitExceeded\","
                         "\"Type\":\"User\",\"message\":\"Rate Exceeded.\"}"
                       : "{\"Reason\":\"ConcurrentInvocationLimitExceeded\",\"Type\":\"User\","
                         "\"message\":\"Rate Exceeded.\"}");
}

/* Where the URL has rules, those of the function do not count. */
static bool is_cors(struct slice name)
{
    static const char prefix[] = "access-control-";

    return name.size >= sizeof(prefix) - 1 &&
           strncasecmp((const char *)name.data, prefix, sizeof(prefix) - 1) == 0;
}

static void answer_result(struct url_call *call, struct slice payload)
{
    struct http_exchange *exchange = call->request->exchange;
    struct gateway_response response;
    struct http_header *headers;
    size_t count = 0;

    if (gateway_response_read_2(&exchange->arena, payload, &response) != OK) {
        answer_failure(call, 502);
        return;
    }
    headers = arena_alloc(&exchange->arena,
                          (response.header_count + URL_CORS_HEADERS_MAX + ADDED_HEADERS) *
                              sizeof(*headers));
    for (size_t i = 0; i < response.header_count; i++)
        if (!call->url->has_cors || !is_cors(response.headers[i].name))
            headers[count++] = response.headers[i];
    count += url_cors_headers(call->url, exchange, false, headers + count);
    headers[count++] =
        (struct http_header){SLICE_LITERAL("x-amzn-RequestId"), slice_text(exchange->request_id)};
    if (call->invoke.trace_header != NULL)
        headers[count++] = (struct http_header){SLICE_LITERAL("X-Amzn-Trace-Id"),
                                                slice_text(call->invoke.trace_header)};
    http_respond(exchange, response.status, headers, count, &response.body);
    buffer_close(&response.body);
}

static void answer_preflight(const Skein__Wire__FunctionUrl *url, struct http_exchange *exchange)
{
    struct http_header headers[URL_CORS_HEADERS_MAX];
    size_t count = url_cors_headers(url, exchange, true, headers);

    http_respond(exchange, 200, headers, count, NULL);
}

/* ---- a call ------------------------------------------------------------------------------------
 */

static void run_once(struct url_call *call)
{
    call->runs_left--;
    call->invoke.link = (struct list){0};
    call->invoke.impl = NULL;
    call->urls->with.invoker.start(call->urls->with.invoker.user, &call->invoke, on_result);
}

static void on_abandoned(struct http_exchange *exchange)
{
    struct url_call *call = exchange->abandoned_user;

    call->urls->with.invoker.cancel(call->urls->with.invoker.user, &call->invoke);
}

static void on_result(struct invoke *invoke, const struct invoke_result *result)
{
    struct url_call *call = container_of(invoke, struct url_call, invoke);
    struct http_exchange *exchange = call->request->exchange;

    switch (result->outcome) {
    case INVOKE_OK:
        answer_result(call, result->payload);
        return;
    case INVOKE_FUNCTION_ERROR:
    case INVOKE_TOO_LARGE:
    case INVOKE_NOT_FOUND:
    case INVOKE_NO_RUNTIME:
        answer_failure(call, 502);
        return;
    case INVOKE_THROTTLED:
        answer_throttled(exchange, result->limit);
        return;
    case INVOKE_UNAVAILABLE:
        if (call->runs_left > 0 && !exchange->is_abandoned)
            run_once(call);
        else
            answer_failure(call, 503);
        return;
    case INVOKE_CANCELLED: /* the client is gone */
        answer_failure(call, 503);
        return;
    }
}

/* The event, in the arena. */
static enum error write_event(struct url_call *call, struct slice path)
{
    const struct url_event event = {
        .request = call->request,
        .url_id = call->url->id,
        .path = path,
        .is_signed = strcmp(call->url->auth_type, "AWS_IAM") == 0,
        .wall_ms = env_wall_ms(call->urls->with.env),
    };
    AUTO(buffer) document = BUFFER_INIT(INVOKE_PAYLOAD_BYTES_MAX);
    enum error rc = url_event_write(&event, &document);

    if (rc == OK)
        call->invoke.payload = arena_copy(&call->request->exchange->arena, buffer_slice(&document));
    return rc;
}

static void run(struct function_url *urls, struct aws_request *request, const char *function,
                const Skein__Wire__FunctionQualifierSettings *part, struct slice path)
{
    struct http_exchange *exchange = request->exchange;
    struct arena *arena = &exchange->arena;
    struct url_call *call = arena_alloc(arena, sizeof(*call));
    struct slice trace = http_header_find(exchange, "X-Amzn-Trace-Id");
    struct lambda_name name = {0};

    call->urls = urls;
    call->request = request;
    call->url = part->url;
    call->runs_left = lambda_invoke_is_idempotent(exchange) ? RUNS_MAX : 1;
    memcpy(name.name, function, strlen(function) + 1);
    memcpy(name.qualifier, part->qualifier, strlen(part->qualifier) + 1);
    if (lambda_qualifier_resolve(&urls->with, arena, &name, &call->invoke.version) != OK) {
        answer_failure(call, view_is_current(urls->with.view) ? 502 : 503);
        return;
    }
    if (write_event(call, path) != OK) {
        answer_message(exchange, 413, "RequestEntityTooLargeException",
                       "{\"Message\":\"Request Entity Too Large\"}");
        return;
    }
    call->invoke.function = arena_text(arena, slice_text(function));
    call->invoke.qualifier = part->qualifier;
    call->invoke.request_id = exchange->request_id;
    call->invoke.region = arena_text(arena, request->region);
    call->invoke.trace_header = trace.size > 0 ? arena_text(arena, trace) : NULL;
    exchange->on_abandoned = on_abandoned;
    exchange->abandoned_user = call;
    run_once(call);
}

void function_url_on_request(void *user, struct aws_request *request)
{
    struct function_url *urls = user;
    struct http_exchange *exchange = request->exchange;
    const Skein__Wire__FunctionQualifierSettings *part = NULL;
    struct slice path;
    const char *id = read_address(exchange, &path);
    const char *function = id != NULL ? map_find(&urls->functions, slice_text(id)) : NULL;

    if (function != NULL)
        part = find_part(urls, &exchange->arena, function, id);
    if (part == NULL && !view_is_current(urls->with.view)) /* it may have been made meanwhile */
        answer_message(exchange, 503, "ServiceUnavailableException",
                       "{\"Message\":\"Service Unavailable\"}");
    else if (part == NULL)
        answer_message(exchange, 403, "AccessDeniedException", "{\"Message\":\"Forbidden\"}");
    else if (url_cors_is_preflight(part->url, exchange))
        answer_preflight(part->url, exchange);
    else if (strcmp(part->url->auth_type, "AWS_IAM") == 0 && request->identity == NULL)
        answer_message(exchange, 403, "AccessDeniedException", "{\"Message\":\"Forbidden\"}");
    else
        run(urls, request, function, part, path);
}
