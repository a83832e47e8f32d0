#include "node/node_invoke.h"

#include "proto/base/check.h"
#include "proto/base/log.h"
#include "proto/base/map.h"
#include "proto/wire/catalogue.pb-c.h"
#include "proto/wire/function.pb-c.h"

#include <stdio.h>

/* The longest a function may run is 15 minutes. */
#define INVOKE_DEADLINE_MS 910000u
#define CANCEL_DEADLINE_MS 5000u
#define CANDIDATES_MAX 16

struct placed { /* a function's placement */
    uint64_t *node_ids;
    size_t count;
};

struct route { /* one invocation on its way to another node */
    struct list link;
    struct node_invoke *router;
    struct invoke *invoke;
    struct call call;
    struct call cancel;
    struct buffer body;
    uint64_t candidates[CANDIDATES_MAX];
    size_t candidate_count;
    size_t candidate_next;
    uint64_t peer; /* asked now */
    bool is_cancelled;
};

struct served { /* one invocation run here for another node */
    struct list link;
    struct invoke invoke;
    struct call_request *request;
    Skein__Wire__InvokeRequest *message;
};

struct node_invoke {
    struct env *env;
    struct calls *calls;
    struct view *view;
    struct pool *pool;
    char region[32];
    struct view_listener placement_listener;
    struct view_listener node_listener;
    struct map placements; /* by function -> struct placed */
    struct map regions;    /* by node -> char * */
    struct list routes;
    struct list served;
};

static void route_ask_next(struct route *route);

/* ---- what the catalogue says ------------------------------------------------------------------
 */

static void placed_free(struct placed *placed)
{
    if (placed != NULL)
        free(placed->node_ids);
    free(placed);
}

static void on_placement(void *user, const char *key, struct slice value, uint64_t revision,
                         bool is_delete)
{
    struct node_invoke *router = user;
    struct slice name = slice_text(key + strlen("placement/"));
    Skein__Wire__FunctionPlacement *record = NULL;

    (void)revision;
    if (!is_delete)
        record = skein__wire__function_placement__unpack(NULL, value.size, value.data);
    if (record == NULL) {
        placed_free(map_remove(&router->placements, name));
        return;
    }
    struct placed *placed = check_calloc(1, sizeof(*placed));

    placed->count = record->n_node_ids;
    placed->node_ids = check_calloc(placed->count, sizeof(*placed->node_ids));
    for (size_t i = 0; i < placed->count; i++)
        placed->node_ids[i] = record->node_ids[i];
    placed_free(map_set(&router->placements, name, placed));
    skein__wire__function_placement__free_unpacked(record, NULL);
}

static void on_node(void *user, const char *key, struct slice value, uint64_t revision,
                    bool is_delete)
{
    struct node_invoke *router = user;
    Skein__Wire__Node *record =
        is_delete ? NULL : skein__wire__node__unpack(NULL, value.size, value.data);

    (void)key;
    (void)revision;
    if (record == NULL)
        return;
    free(map_set_u64(&router->regions, record->id, check_strdup(record->region)));
    skein__wire__node__free_unpacked(record, NULL);
}

/* ---- answers ------------------------------------------------------------------------------------
 */

/* Its part of the function's limit is used up; another node may have some left. */
static bool is_at_limit_there(const Skein__Wire__InvokeAnswer *message)
{
    return message->outcome == INVOKE_THROTTLED && message->limit != INVOKE_LIMIT_NONE;
}

static void finish(struct invoke *invoke, enum invoke_outcome outcome)
{
    const struct invoke_result result = {.outcome = outcome, .version = "$LATEST"};

    invoke->cb(invoke, &result);
}

static void route_free(struct route *route)
{
    list_remove(&route->link);
    call_cancel(&route->call);
    call_cancel(&route->cancel);
    buffer_close(&route->body);
    free(route);
}

/* Any node can run any function; the one that was asked does when the others cannot be reached, and
 * refuses when they have refused for a limit that it has reached too. */
static void route_run_here(struct route *route)
{
    struct pool *pool = route->router->pool;
    struct invoke *invoke = route->invoke;

    route_free(route);
    pool_invoke(pool, invoke, invoke->cb);
}

static void route_on_answer(struct call *call, enum error rc, struct slice answer)
{
    struct route *route = container_of(call, struct route, call);
    struct invoke *invoke = route->invoke;
    Skein__Wire__InvokeAnswer *message;

    if (rc != OK) {
        /* Only where nothing was sent, or nothing was started, is another node a safe choice. */
        if (error_effect(rc) == ERROR_EFFECT_NONE) {
            route_ask_next(route);
        } else {
            route_free(route);
            finish(invoke, INVOKE_UNAVAILABLE);
        }
        return;
    }
    message = skein__wire__invoke_answer__unpack(NULL, answer.size, answer.data);
    if (message != NULL && is_at_limit_there(message)) {
        skein__wire__invoke_answer__free_unpacked(message, NULL);
        route_ask_next(route);
        return;
    }
    route_free(route);
    if (message == NULL) {
        finish(invoke, INVOKE_UNAVAILABLE);
        return;
    }
    const struct invoke_result result = {
        .outcome = message->outcome <= INVOKE_NO_RUNTIME ? (enum invoke_outcome)message->outcome
                                                         : INVOKE_UNAVAILABLE,
        .payload = slice_of(message->payload.data, message->payload.len),
        .log_tail = slice_of(message->log_tail.data, message->log_tail.len),
        .version = message->version,
        .duration_us = message->duration_us,
        .init_us = message->init_us,
        .billed_ms = message->billed_ms,
        .memory_used_mb = message->memory_used_mb,
    };

    invoke->cb(invoke, &result);
    skein__wire__invoke_answer__free_unpacked(message, NULL);
}

/* ---- the way out
 * ----------------------------------------------------------------------------------- */

static void route_ask_next(struct route *route)
{
    if (route->is_cancelled) {
        struct invoke *invoke = route->invoke;

        route_free(route);
        finish(invoke, INVOKE_CANCELLED);
        return;
    }
    if (route->candidate_next == route->candidate_count) {
        route_run_here(route);
        return;
    }
    route->peer = route->candidates[route->candidate_next++];
    call_start(route->router->calls, &route->call, route->peer, CALL_INVOKE,
               buffer_slice(&route->body), INVOKE_DEADLINE_MS, route_on_answer);
}

/* Nodes of this region first, then the others, each in the order of the placement. */
static void choose_candidates(struct route *route, const struct placed *placed)
{
    struct node_invoke *router = route->router;

    for (int pass = 0; pass < 2; pass++)
        for (size_t i = 0; i < placed->count && route->candidate_count < CANDIDATES_MAX; i++) {
            const char *region = map_find_u64(&router->regions, placed->node_ids[i]);
            bool is_near = region != NULL && strcmp(region, router->region) == 0;

            if (is_near == (pass == 0) && placed->node_ids[i] != env_self(router->env) &&
                router->env->link->is_up(router->env, placed->node_ids[i]))
                route->candidates[route->candidate_count++] = placed->node_ids[i];
        }
}

static void route_start(struct node_invoke *router, struct invoke *invoke,
                        const struct placed *placed)
{
    struct route *route = check_calloc(1, sizeof(*route));
    Skein__Wire__InvokeRequest message = SKEIN__WIRE__INVOKE_REQUEST__INIT;

    route->router = router;
    route->invoke = invoke;
    route->body = BUFFER_INIT(BUFFER_UNLIMITED);
    list_append(&router->routes, &route->link);
    message.function = (char *)(uintptr_t)invoke->function;
    message.request_id = (char *)(uintptr_t)invoke->request_id;
    message.payload =
        (ProtobufCBinaryData){invoke->payload.size, (uint8_t *)(uintptr_t)invoke->payload.data};
    message.client_context = (ProtobufCBinaryData){
        invoke->client_context.size, (uint8_t *)(uintptr_t)invoke->client_context.data};
    message.region = (char *)(uintptr_t)(invoke->region != NULL ? invoke->region : "");
    message.version = invoke->version;
    message.qualifier = (char *)(uintptr_t)(invoke->qualifier != NULL ? invoke->qualifier : "");
    message.trace_header =
        (char *)(uintptr_t)(invoke->trace_header != NULL ? invoke->trace_header : "");
    size_t bytes = skein__wire__invoke_request__get_packed_size(&message);

    CHECK(buffer_reserve(&route->body, bytes) == OK);
    route->body.size = skein__wire__invoke_request__pack(&message, route->body.data);
    choose_candidates(route, placed);
    route_ask_next(route);
}

static void start(void *user, struct invoke *invoke, invoke_cb cb)
{
    struct node_invoke *router = user;
    const struct placed *placed = map_find(&router->placements, slice_text(invoke->function));
    bool is_here = placed == NULL || placed->count == 0;

    for (size_t i = 0; placed != NULL && i < placed->count; i++)
        is_here |= placed->node_ids[i] == env_self(router->env);
    if (placed != NULL && placed->count > 1 && pool_is_at_limit(router->pool, invoke->function))
        is_here = false;
    invoke->cb = cb;
    if (is_here)
        pool_invoke(router->pool, invoke, cb);
    else
        route_start(router, invoke, placed);
}

static void route_on_cancelled(struct call *call, enum error rc, struct slice answer)
{
    (void)call; /* what was cancelled says so itself */
    (void)rc;
    (void)answer;
}

static void route_cancel(struct route *route)
{
    Skein__Wire__InvokeCancel message = SKEIN__WIRE__INVOKE_CANCEL__INIT;
    struct buffer body = BUFFER_INIT(BUFFER_UNLIMITED);

    if (route->is_cancelled)
        return;
    route->is_cancelled = true;
    message.request_id = (char *)(uintptr_t)route->invoke->request_id;
    CHECK(buffer_reserve(&body, skein__wire__invoke_cancel__get_packed_size(&message)) == OK);
    body.size = skein__wire__invoke_cancel__pack(&message, body.data);
    call_start(route->router->calls, &route->cancel, route->peer, CALL_INVOKE_CANCEL,
               buffer_slice(&body), CANCEL_DEADLINE_MS, route_on_cancelled);
    buffer_close(&body);
}

static void cancel(void *user, struct invoke *invoke)
{
    struct node_invoke *router = user;

    LIST_EACH(&router->routes, link)
    {
        struct route *route = container_of(link, struct route, link);

        if (route->invoke == invoke) {
            route_cancel(route);
            return;
        }
    }
    pool_cancel(router->pool, invoke);
}

struct invoker node_invoke_invoker(struct node_invoke *router)
{
    return (struct invoker){.user = router, .start = start, .cancel = cancel};
}

/* ---- the way in
 * ------------------------------------------------------------------------------------- */

static void served_on_result(struct invoke *invoke, const struct invoke_result *result)
{
    struct served *served = container_of(invoke, struct served, invoke);
    Skein__Wire__InvokeAnswer message = SKEIN__WIRE__INVOKE_ANSWER__INIT;
    struct buffer body = BUFFER_INIT(BUFFER_UNLIMITED);

    message.outcome = (uint32_t)result->outcome;
    message.limit = (uint32_t)result->limit;
    message.payload =
        (ProtobufCBinaryData){result->payload.size, (uint8_t *)(uintptr_t)result->payload.data};
    message.log_tail =
        (ProtobufCBinaryData){result->log_tail.size, (uint8_t *)(uintptr_t)result->log_tail.data};
    message.version = (char *)(uintptr_t)(result->version != NULL ? result->version : "$LATEST");
    message.duration_us = result->duration_us;
    message.init_us = result->init_us;
    message.billed_ms = result->billed_ms;
    message.memory_used_mb = result->memory_used_mb;
    CHECK(buffer_reserve(&body, skein__wire__invoke_answer__get_packed_size(&message)) == OK);
    body.size = skein__wire__invoke_answer__pack(&message, body.data);
    call_answer(served->request, OK, buffer_slice(&body));
    buffer_close(&body);
    list_remove(&served->link);
    skein__wire__invoke_request__free_unpacked(served->message, NULL);
    free(served);
}

static void on_invoke(void *user, struct call_request *request)
{
    struct node_invoke *router = user;
    Skein__Wire__InvokeRequest *message =
        skein__wire__invoke_request__unpack(NULL, request->body.size, request->body.data);
    struct served *served;

    if (message == NULL) {
        call_answer(request, ERR_INVALID, slice_of(NULL, 0));
        return;
    }
    served = check_calloc(1, sizeof(*served));
    served->request = request;
    served->message = message;
    served->invoke = (struct invoke){
        .function = message->function,
        .version = message->version,
        .qualifier = message->qualifier,
        .request_id = message->request_id,
        .payload = slice_of(message->payload.data, message->payload.len),
        .client_context = slice_of(message->client_context.data, message->client_context.len),
        .region = message->region,
        .trace_header = message->trace_header[0] != '\0' ? message->trace_header : NULL,
    };
    list_append(&router->served, &served->link);
    pool_invoke(router->pool, &served->invoke, served_on_result);
}

static void on_invoke_cancel(void *user, struct call_request *request)
{
    struct node_invoke *router = user;
    Skein__Wire__InvokeCancel *message =
        skein__wire__invoke_cancel__unpack(NULL, request->body.size, request->body.data);

    LIST_EACH(&router->served, link)
    {
        struct served *served = container_of(link, struct served, link);

        if (message != NULL && served->request->peer == request->peer &&
            strcmp(served->message->request_id, message->request_id) == 0)
            pool_cancel(router->pool, &served->invoke);
    }
    if (message != NULL)
        skein__wire__invoke_cancel__free_unpacked(message, NULL);
    call_answer(request, OK, slice_of(NULL, 0));
}

/* ---- life
 * ---------------------------------------------------------------------------------------------- */

struct node_invoke *node_invoke_new(struct env *env, struct calls *calls, struct view *view,
                                    struct pool *pool, const char *region)
{
    struct node_invoke *router = check_calloc(1, sizeof(*router));

    *router = (struct node_invoke){.env = env, .calls = calls, .view = view, .pool = pool};
    (void)snprintf(router->region, sizeof(router->region), "%s", region);
    list_init(&router->routes);
    list_init(&router->served);
    router->placement_listener =
        (struct view_listener){.prefix = "placement/", .user = router, .on_change = on_placement};
    router->node_listener =
        (struct view_listener){.prefix = "node/", .user = router, .on_change = on_node};
    view_listen(view, &router->placement_listener);
    view_listen(view, &router->node_listener);
    calls_handle(calls, CALL_INVOKE, router, on_invoke);
    calls_handle(calls, CALL_INVOKE_CANCEL, router, on_invoke_cancel);
    return router;
}

void node_invoke_free(struct node_invoke *router)
{
    size_t position = 0;
    struct map_entry *entry;
    struct list *link;

    if (router == NULL)
        return;
    while ((link = list_pop(&router->routes)) != NULL)
        route_free(container_of(link, struct route, link));
    while ((link = list_pop(&router->served)) != NULL) {
        struct served *served = container_of(link, struct served, link);

        skein__wire__invoke_request__free_unpacked(served->message, NULL);
        free(served);
    }
    while ((entry = map_next(&router->placements, &position)) != NULL)
        placed_free(entry->value);
    map_close(&router->placements);
    position = 0;
    while ((entry = map_next(&router->regions, &position)) != NULL)
        free(entry->value);
    map_close(&router->regions);
    free(router);
}
