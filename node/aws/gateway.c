/* One call:
 *
 *   routed -> RUNNING -+-> answered by its result -> gone
 *                ^     |
 *                +-----+  lost by the platform, with an idempotency key: once
 *                      |
 *                      +-> out of time: answered 504, and gone when its result comes
 *
 * The function's input outlives the exchange, so a call has memory of its own. */

#include "node/aws/gateway.h"

#include "node/aws/aws_wire.h"
#include "node/aws/gateway_address.h"
#include "node/aws/gateway_event.h"
#include "node/aws/gateway_response.h"
#include "node/aws/gateway_route.h"
#include "node/aws/lambda_invoke.h"
#include "node/aws/lambda_qualifier.h"
#include "proto/base/check.h"
#include "proto/base/encode.h"
#include "proto/base/log.h"
#include "proto/base/map.h"

#include <inttypes.h>
#include <stdio.h>

#define EXTENDED_ID_RANDOM_BYTES 11
#define RUNS_MAX 2 /* with an idempotency key */

struct gateway_stage {
    const Skein__Wire__ApiStage *stage;
    const Skein__Wire__ApiDeployment *deployment;
    struct gateway_node *routes;
};

struct gateway_api { /* compiled from its record, replaced as a whole */
    struct arena arena;
    struct gateway_stage *stages;
    size_t stage_count;
};

struct gateway {
    struct env *env;
    struct view *view;
    struct invoker invoker;
    struct view_listener listener;
    struct map apis; /* by id */
    struct list calls;
};

struct gateway_call {
    struct list link;
    struct gateway *gateway;
    struct http_exchange *exchange; /* NULL once answered */
    struct arena arena;
    struct invoke invoke;
    struct env_timer timer;
    struct buffer event;
    const char *extended_request_id;
    const char *trace;
    unsigned runs_left;
};

/* ---- the compiled APIs ---- */

static void api_free(struct gateway_api *api)
{
    if (api == NULL)
        return;
    arena_close(&api->arena);
    free(api);
}

static const Skein__Wire__ApiDeployment *deployment_of(const Skein__Wire__Api *record,
                                                       const Skein__Wire__ApiStage *stage)
{
    for (size_t i = 0; i < record->n_deployments; i++) {
        if (strcmp(record->deployments[i]->id, stage->deployment_id) == 0)
            return record->deployments[i];
    }
    return NULL;
}

static struct gateway_api *compile(struct slice value)
{
    struct gateway_api *api = check_calloc(1, sizeof(*api));
    ProtobufCAllocator allocator = aws_wire_allocator(&api->arena);
    Skein__Wire__Api *record = skein__wire__api__unpack(&allocator, value.size, value.data);

    if (record == NULL) {
        api_free(api);
        return NULL;
    }
    api->stages = arena_alloc(&api->arena, (record->n_stages + 1) * sizeof(*api->stages));
    for (size_t i = 0; i < record->n_stages; i++) {
        const Skein__Wire__ApiDeployment *deployment = deployment_of(record, record->stages[i]);

        if (deployment == NULL)
            continue;
        api->stages[api->stage_count++] = (struct gateway_stage){
            .stage = record->stages[i],
            .deployment = deployment,
            .routes =
                gateway_route_compile(&api->arena, deployment->resources, deployment->n_resources),
        };
    }
    return api;
}

static void on_record(void *user, const char *key, struct slice value, uint64_t revision,
                      bool is_delete)
{
    struct gateway *gateway = user;
    struct slice id = slice_text(key + strlen("api/"));
    struct gateway_api *api = is_delete ? NULL : compile(value);

    if (api == NULL && !is_delete)
        log_error("gateway.record_unreadable key=%s revision=%" PRIu64, key, revision);
    api_free(api != NULL ? map_set(&gateway->apis, id, api) : map_remove(&gateway->apis, id));
}

static const struct gateway_stage *find_stage(const struct gateway *gateway,
                                              const struct gateway_address *address)
{
    const struct gateway_api *api = map_find(&gateway->apis, slice_text(address->api_id));

    for (size_t i = 0; api != NULL && i < api->stage_count; i++) {
        if (strcmp(api->stages[i].stage->name, address->stage) == 0)
            return &api->stages[i];
    }
    return NULL;
}

struct gateway *gateway_new(struct env *env, struct view *view, struct invoker invoker)
{
    struct gateway *gateway = check_calloc(1, sizeof(*gateway));

    gateway->env = env;
    gateway->view = view;
    gateway->invoker = invoker;
    map_init(&gateway->apis);
    list_init(&gateway->calls);
    gateway->listener.prefix = "api/";
    gateway->listener.user = gateway;
    gateway->listener.on_change = on_record;
    view_listen(view, &gateway->listener);
    return gateway;
}

static void call_free(struct gateway_call *call)
{
    list_remove(&call->link);
    env_timer_stop(call->gateway->env, &call->timer);
    buffer_close(&call->event);
    arena_close(&call->arena);
    free(call);
}

void gateway_free(struct gateway *gateway)
{
    struct map_entry *entry;
    size_t position = 0;

    if (gateway == NULL)
        return;
    LIST_EACH_SAFE(&gateway->calls, link)
    {
        call_free(container_of(link, struct gateway_call, link));
    }
    view_unlisten(gateway->view, &gateway->listener);
    while ((entry = map_next(&gateway->apis, &position)) != NULL)
        api_free(entry->value);
    map_close(&gateway->apis);
    free(gateway);
}

/* ---- answers ---- */

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

static void call_fail(struct gateway_call *call, int status, const char *type, const char *body)
{
    struct http_exchange *exchange = call->exchange;

    env_timer_stop(call->gateway->env, &call->timer);
    call->exchange = NULL;
    answer_message(exchange, status, type, body);
}

static void fail_internally(struct gateway_call *call, int status)
{
    call_fail(call, status, "InternalServerErrorException",
              "{\"message\": \"Internal server error\"}");
}

static void answer_result(struct gateway_call *call, struct slice payload)
{
    struct gateway_response response;
    struct http_header *headers;
    size_t count;

    if (gateway_response_read(&call->arena, payload, &response) != OK) {
        fail_internally(call, 502);
        return;
    }
    count = response.header_count;
    headers = arena_alloc(&call->arena, (count + 3) * sizeof(*headers));
    memcpy(headers, response.headers, count * sizeof(*headers));
    headers[count++] = (struct http_header){SLICE_LITERAL("x-amzn-RequestId"),
                                            slice_text(call->exchange->request_id)};
    headers[count++] = (struct http_header){SLICE_LITERAL("x-amz-apigw-id"),
                                            slice_text(call->extended_request_id)};
    headers[count++] =
        (struct http_header){SLICE_LITERAL("X-Amzn-Trace-Id"), slice_text(call->trace)};
    env_timer_stop(call->gateway->env, &call->timer);
    http_respond(call->exchange, response.status, headers, count, &response.body);
    call->exchange = NULL;
    buffer_close(&response.body);
}

/* ---- a call ---- */

static void on_result(struct invoke *invoke, const struct invoke_result *result);

static void run_once(struct gateway_call *call)
{
    call->runs_left--;
    call->invoke.link = (struct list){0};
    call->invoke.impl = NULL;
    call->gateway->invoker.start(call->gateway->invoker.user, &call->invoke, on_result);
}

static void answer_outcome(struct gateway_call *call, const struct invoke_result *result)
{
    switch (result->outcome) {
    case INVOKE_OK:
        answer_result(call, result->payload);
        return;
    case INVOKE_FUNCTION_ERROR:
    case INVOKE_TOO_LARGE:
        fail_internally(call, 502);
        return;
    case INVOKE_NOT_FOUND:
    case INVOKE_NO_RUNTIME:
        fail_internally(call, 500);
        return;
    case INVOKE_THROTTLED:
        call_fail(call, 429, "TooManyRequestsException", "{\"message\":\"Too Many Requests\"}");
        return;
    case INVOKE_UNAVAILABLE:
        call_fail(call, 503, "ServiceUnavailableException",
                  "{\"message\": \"Service Unavailable\"}");
        return;
    case INVOKE_CANCELLED: /* the client is gone */
        call_fail(call, 503, "ServiceUnavailableException",
                  "{\"message\": \"Service Unavailable\"}");
        return;
    }
}

static void on_abandoned(struct http_exchange *exchange)
{
    struct gateway_call *call = exchange->abandoned_user;

    call->gateway->invoker.cancel(call->gateway->invoker.user, &call->invoke);
}

static void on_result(struct invoke *invoke, const struct invoke_result *result)
{
    struct gateway_call *call = container_of(invoke, struct gateway_call, invoke);

    if (call->exchange != NULL && !call->exchange->is_abandoned &&
        result->outcome == INVOKE_UNAVAILABLE && call->runs_left > 0) {
        run_once(call);
        return;
    }
    if (call->exchange != NULL)
        answer_outcome(call, result);
    call_free(call);
}

static void on_late(struct env_timer *timer)
{
    call_fail(container_of(timer, struct gateway_call, timer), 504, "IntegrationTimeoutException",
              "{\"message\": \"Endpoint request timed out\"}");
}

/* The caller's, or a new one. */
static char *trace_of(struct gateway_call *call)
{
    struct env *env = call->gateway->env;
    struct slice given = http_header_find(call->exchange, "X-Amzn-Trace-Id");
    uint8_t random[12];
    char hex[25];

    if (given.size > 0)
        return arena_text(&call->arena, given);
    env->dice->random_bytes(env, random, sizeof(random));
    encode_hex(slice_of(random, sizeof(random)), hex);
    return arena_printf(&call->arena, "Root=1-%08" PRIx64 "-%s", env_wall_ms(env) / 1000, hex);
}

static char *extended_id_of(struct gateway_call *call)
{
    struct env *env = call->gateway->env;
    AUTO(buffer) text = BUFFER_INIT(64);
    uint8_t random[EXTENDED_ID_RANDOM_BYTES];

    env->dice->random_bytes(env, random, sizeof(random));
    CHECK(encode_base64(slice_of(random, sizeof(random)), &text) == OK);
    return arena_text(&call->arena, buffer_slice(&text));
}

static struct gateway_call *call_new(struct gateway *gateway, struct http_exchange *exchange)
{
    struct gateway_call *call = check_calloc(1, sizeof(*call));

    call->gateway = gateway;
    call->exchange = exchange;
    arena_init(&call->arena);
    buffer_init(&call->event, INVOKE_PAYLOAD_BYTES_MAX);
    call->runs_left = lambda_invoke_is_idempotent(exchange) ? RUNS_MAX : 1;
    call->extended_request_id = extended_id_of(call);
    call->trace = trace_of(call);
    list_append(&gateway->calls, &call->link);
    return call;
}

/* What the integration names, now: an alias may point elsewhere by the next call. Whether it is
 * there is found out by who runs it. */
static enum error name_function(struct gateway_call *call,
                                const Skein__Wire__ApiIntegration *integration)
{
    const struct lambda_options with = {.env = call->gateway->env, .view = call->gateway->view};
    struct lambda_name name = {0};

    call->invoke.function = arena_text(&call->arena, slice_text(integration->function));
    call->invoke.qualifier = arena_text(&call->arena, slice_text(integration->qualifier));
    if (integration->qualifier[0] == '\0')
        return OK;
    (void)snprintf(name.name, sizeof(name.name), "%s", integration->function);
    (void)snprintf(name.qualifier, sizeof(name.qualifier), "%s", integration->qualifier);
    return lambda_qualifier_resolve(&with, &call->arena, &name, &call->invoke.version);
}

/* The path with its stage, as requestContext.path has it. */
static struct slice path_on_stage(struct gateway_call *call, const struct gateway_address *address)
{
    return slice_text(arena_printf(&call->arena, "/%s%.*s", address->stage, (int)address->path.size,
                                   (const char *)address->path.data));
}

static enum error write_event(struct gateway_call *call, const struct aws_request *request,
                              const struct gateway_address *address,
                              const struct gateway_stage *stage, const struct gateway_match *match)
{
    const struct gateway_event event = {
        .exchange = call->exchange,
        .match = match,
        .api_id = address->api_id,
        .stage = address->stage,
        .deployment_id = stage->deployment->id,
        .region = arena_text(&call->arena, request->region),
        .path = address->path,
        .path_on_stage = path_on_stage(call, address),
        .extended_request_id = call->extended_request_id,
        .trace = call->trace,
        .wall_ms = env_wall_ms(call->gateway->env),
        .variables = stage->stage->variables,
        .variable_count = stage->stage->n_variables,
        .binary_media_types = stage->deployment->binary_media_types,
        .binary_media_type_count = stage->deployment->n_binary_media_types,
    };

    return gateway_event_write(&event, &call->event);
}

static void run_function(struct gateway *gateway, const struct aws_request *request,
                         const struct gateway_address *address, const struct gateway_stage *stage,
                         const struct gateway_match *match)
{
    struct gateway_call *call = call_new(gateway, request->exchange);
    const Skein__Wire__ApiIntegration *integration = match->method->integration;

    if (write_event(call, request, address, stage, match) != OK) {
        call_fail(call, 413, "RequestTooLargeException", "{\"message\":\"Request Too Long\"}");
        call_free(call);
        return;
    }
    if (name_function(call, integration) != OK) {
        fail_internally(call, view_is_current(gateway->view) ? 500 : 503);
        call_free(call);
        return;
    }
    call->invoke.request_id = arena_text(&call->arena, slice_text(request->exchange->request_id));
    call->invoke.payload = buffer_slice(&call->event);
    call->invoke.region = arena_text(&call->arena, request->region);
    call->invoke.trace_header = call->trace;
    env_timer_start(gateway->env, &call->timer, (uint64_t)integration->timeout_ms * 1000, on_late);
    call->exchange->on_abandoned = on_abandoned;
    call->exchange->abandoned_user = call;
    run_once(call);
}

static void answer_mock(struct http_exchange *exchange)
{
    const struct http_header headers[] = {
        {SLICE_LITERAL("Content-Type"), SLICE_LITERAL("application/json")},
        {SLICE_LITERAL("x-amzn-RequestId"), slice_text(exchange->request_id)},
    };

    http_respond(exchange, 200, headers, ARRAY_COUNT(headers), NULL);
}

void gateway_on_request(void *user, struct aws_request *request)
{
    struct gateway *gateway = user;
    struct http_exchange *exchange = request->exchange;
    struct gateway_address address;
    struct gateway_match match = {0};
    const struct gateway_stage *stage = NULL;

    if (gateway_address_read(exchange, &address) == OK)
        stage = find_stage(gateway, &address);
    if (stage == NULL && !view_is_current(gateway->view)) /* it may have been deployed meanwhile */
        answer_message(exchange, 503, "ServiceUnavailableException",
                       "{\"message\":\"Service Unavailable\"}");
    else if (stage == NULL)
        answer_message(exchange, 403, "ForbiddenException", "{\"message\":\"Forbidden\"}");
    else if (gateway_route_find(stage->routes, &exchange->arena, address.path, exchange->method,
                                &match) != OK)
        answer_message(exchange, 403, "MissingAuthenticationTokenException",
                       "{\"message\":\"Missing Authentication Token\"}");
    else if (strcmp(match.method->integration->type, "MOCK") == 0)
        answer_mock(exchange);
    else
        run_function(gateway, request, &address, stage, &match);
}
