#include "node/shard/shard_router.h"

#include "node/shard/shard_choice.h"
#include "node/shard/shard_message.h"
#include "proto/base/check.h"
#include "proto/base/log.h"
#include "proto/wire/catalogue.pb-c.h"

#include <stdio.h>

/* One attempt waits so long for its answer before another replica is asked. Longer than an ordinary
 * failover, so that it is the exception. */
#define ATTEMPT_MS 1500u
#define RETRY_FIRST_US 2000u
#define RETRY_MAX_US 40000u
#define IN_FLIGHT_MAX 20000u

struct route {       /* what is known of one shard */
    uint64_t leader; /* last heard of; 0 = unknown */
    uint64_t *node_ids;
    size_t node_count;
    uint64_t sequence_next;
    struct list writes; /* in flight, in order of sequence */
};

struct node_record {
    char region[32];
};

struct shard_router {
    struct env *env;
    struct calls *calls;
    struct view *view;
    struct shard_host *shards;
    struct view_listener cluster_listener;
    struct view_listener shard_listener;
    struct view_listener node_listener;
    struct route *routes;
    uint32_t shard_count;
    struct map nodes;  /* by id -> struct node_record */
    struct list reads; /* in flight */
    uint64_t session;
    char region[32]; /* this node's */
    struct shard_router_stats stats;
};

static void attempt(struct shard_request *request);

/* ---- what the catalogue says -------------------------------------------------------------------
 */

static void on_cluster(void *user, const char *key, struct slice value, uint64_t revision,
                       bool is_delete)
{
    struct shard_router *router = user;
    Skein__Wire__Cluster *record;

    (void)revision;
    if (is_delete || router->shard_count > 0 || strcmp(key, "cluster") != 0)
        return;
    record = skein__wire__cluster__unpack(NULL, value.size, value.data);
    if (record == NULL)
        return;
    router->shard_count = record->shard_count;
    router->routes = check_calloc(router->shard_count, sizeof(*router->routes));
    for (uint32_t i = 0; i < router->shard_count; i++)
        list_init(&router->routes[i].writes);
    skein__wire__cluster__free_unpacked(record, NULL);
}

static void on_shard(void *user, const char *key, struct slice value, uint64_t revision,
                     bool is_delete)
{
    struct shard_router *router = user;
    Skein__Wire__Shard *record;

    (void)key;
    (void)revision;
    if (is_delete)
        return;
    record = skein__wire__shard__unpack(NULL, value.size, value.data);
    if (record != NULL && record->id < router->shard_count) {
        struct route *route = &router->routes[record->id];

        free(route->node_ids);
        route->node_count = record->n_node_ids;
        route->node_ids = check_calloc(record->n_node_ids, sizeof(*route->node_ids));
        for (size_t i = 0; i < record->n_node_ids; i++)
            route->node_ids[i] = record->node_ids[i];
        if (route->leader == 0 && route->node_count > 0)
            route->leader = route->node_ids[0];
    }
    if (record != NULL)
        skein__wire__shard__free_unpacked(record, NULL);
}

static void on_node(void *user, const char *key, struct slice value, uint64_t revision,
                    bool is_delete)
{
    struct shard_router *router = user;
    Skein__Wire__Node *record;

    (void)key;
    (void)revision;
    if (is_delete)
        return;
    record = skein__wire__node__unpack(NULL, value.size, value.data);
    if (record == NULL)
        return;
    struct node_record *node = map_find_u64(&router->nodes, record->id);

    if (node == NULL) {
        node = check_calloc(1, sizeof(*node));
        (void)map_set_u64(&router->nodes, record->id, node);
    }
    (void)snprintf(node->region, sizeof(node->region), "%s", record->region);
    if (record->id == env_self(router->env))
        (void)snprintf(router->region, sizeof(router->region), "%s", record->region);
    skein__wire__node__free_unpacked(record, NULL);
}

/* ---- life
 * ---------------------------------------------------------------------------------------- */

struct shard_router *shard_router_new(struct env *env, struct calls *calls, struct view *view,
                                      struct shard_host *shards)
{
    struct shard_router *router = check_calloc(1, sizeof(*router));

    *router = (struct shard_router){.env = env, .calls = calls, .view = view, .shards = shards};
    env->dice->random_bytes(env, &router->session, sizeof(router->session));
    router->session |= 1; /* 0 means none */
    list_init(&router->reads);
    map_init(&router->nodes);
    router->cluster_listener =
        (struct view_listener){.prefix = "cluster", .user = router, .on_change = on_cluster};
    router->shard_listener =
        (struct view_listener){.prefix = "shard/", .user = router, .on_change = on_shard};
    router->node_listener =
        (struct view_listener){.prefix = "node/", .user = router, .on_change = on_node};
    view_listen(view, &router->cluster_listener);
    view_listen(view, &router->shard_listener);
    view_listen(view, &router->node_listener);
    return router;
}

static void drop(struct list *requests)
{
    struct list *link;

    while ((link = list_pop(requests)) != NULL)
        shard_request_cancel(container_of(link, struct shard_request, link));
}

void shard_router_free(struct shard_router *router)
{
    size_t position = 0;
    struct map_entry *entry;

    if (router == NULL)
        return;
    for (uint32_t i = 0; i < router->shard_count; i++) {
        drop(&router->routes[i].writes);
        free(router->routes[i].node_ids);
    }
    drop(&router->reads);
    while ((entry = map_next(&router->nodes, &position)) != NULL)
        free(entry->value);
    map_close(&router->nodes);
    free(router->routes);
    free(router);
}

void shard_router_stats(const struct shard_router *router, struct shard_router_stats *stats)
{
    *stats = router->stats;
}

uint32_t shard_router_shard_count(const struct shard_router *router)
{
    return router->shard_count;
}

uint32_t shard_router_shard_of(const struct shard_router *router, struct slice resource,
                               struct slice partition_key)
{
    CHECK(router->shard_count > 0);
    return shard_choice(router->shard_count, resource, partition_key);
}

uint64_t shard_router_leader(const struct shard_router *router, uint32_t shard)
{
    const struct shard_replica *replica;

    if (shard >= router->shard_count)
        return 0;
    replica = shard_host_find(router->shards, shard);
    if (replica != NULL && group_leader(replica->group) != 0)
        return group_leader(replica->group);
    return router->routes[shard].leader;
}

/* ---- one request
 * ------------------------------------------------------------------------------------ */

static void detach(struct shard_request *request)
{
    request->router->stats.in_flight--;
    if (request->is_write)
        request->router->env->writes_waiting--;
    request->router = NULL;
    list_remove(&request->link);
    buffer_close(&request->body);
}

void shard_request_cancel(struct shard_request *request)
{
    if (request->router == NULL)
        return;
    env_timer_stop(request->router->env, &request->timer);
    call_cancel(&request->call);
    shard_waiter_cancel(&request->waiter);
    detach(request);
}

static void finish(struct shard_request *request, enum error rc, struct slice reply)
{
    shard_request_cb cb = request->cb;

    env_timer_stop(request->router->env, &request->timer);
    detach(request);
    cb(request, rc, reply);
}

static void on_refused(struct env_timer *timer)
{
    struct shard_request *request = container_of(timer, struct shard_request, timer);

    finish(request, (enum error)request->attempts, slice_of(NULL, 0));
}

/* From where the caller may still be inside the function that started the request. */
static void finish_later(struct shard_request *request, enum error rc)
{
    request->attempts = (uint32_t)rc;
    env_timer_start(request->router->env, &request->timer, 0, on_refused);
}

static void on_retry(struct env_timer *timer)
{
    attempt(container_of(timer, struct shard_request, timer));
}

static uint64_t retry_delay_us(struct shard_request *request)
{
    uint64_t delay = (uint64_t)RETRY_FIRST_US << (request->attempts < 6 ? request->attempts : 6);

    if (delay > RETRY_MAX_US)
        delay = RETRY_MAX_US;
    return delay / 2 + env_random(request->router->env) % delay;
}

/* The attempt gave no answer: ask again, after `delay_us`, unless time is up. */
static void again(struct shard_request *request, uint64_t delay_us)
{
    struct shard_router *router = request->router;

    request->attempts++;
    router->stats.retries++;
    if (env_now_us(router->env) + delay_us >= request->deadline_us) {
        router->stats.timeouts++;
        finish_later(request, request->may_have_happened ? ERR_TIMEOUT : ERR_UNREACHABLE);
        return;
    }
    env_timer_start(router->env, &request->timer, delay_us, on_retry);
}

/* The next replica after the one that did not know, in the order of the record. */
static void forget_leader(struct shard_router *router, uint32_t shard, uint64_t asked)
{
    struct route *route = &router->routes[shard];

    if (route->leader != asked)
        return;
    for (size_t i = 0; i < route->node_count; i++)
        if (route->node_ids[i] == asked) {
            route->leader = route->node_ids[(i + 1) % route->node_count];
            return;
        }
    route->leader = route->node_count > 0 ? route->node_ids[0] : 0;
}

static void on_outcome(struct shard_request *request, uint64_t asked, enum error rc,
                       struct slice reply)
{
    struct shard_router *router = request->router;
    struct reader reader = reader_of(reply);
    uint64_t hint;

    switch ((int)rc) {
    case ERR_NOT_LEADER:
        hint = reader_u64(&reader);
        if (hint != 0 && hint != asked) {
            router->routes[request->shard].leader = hint;
            again(request, request->attempts < 2 ? 0 : retry_delay_us(request));
        } else {
            forget_leader(router, request->shard, asked);
            again(request, retry_delay_us(request));
        }
        return;
    case ERR_UNREACHABLE:
        forget_leader(router, request->shard, asked);
        again(request, retry_delay_us(request));
        return;
    case ERR_LOST:
    case ERR_TIMEOUT:
    case ERR_INTERNAL:
        request->may_have_happened |= request->is_write;
        forget_leader(router, request->shard, asked);
        again(request, retry_delay_us(request));
        return;
    case ERR_CANCELLED: /* from before the window of remembered replies: nobody knows any more */
        finish_later(request, ERR_TIMEOUT);
        return;
    case ERR_OVERLOADED:
        if (request
                ->may_have_happened) /* by an earlier attempt; "nothing happened" would be a lie */
            again(request, retry_delay_us(request));
        else
            finish_later(request, rc);
        return;
    default:
        if (request->is_write || request->is_strong)
            router->routes[request->shard].leader = asked;
        finish(request, rc, reply);
    }
}

static void on_call_done(struct call *call, enum error rc, struct slice answer)
{
    on_outcome(container_of(call, struct shard_request, call), call->peer, rc, answer);
}

static void on_local_done(struct shard_waiter *waiter, enum error rc, struct slice reply)
{
    struct shard_request *request = container_of(waiter, struct shard_request, waiter);

    env_timer_stop(request->router->env, &request->timer);
    on_outcome(request, env_self(request->router->env), rc, reply);
}

/* A local replica that led when it was asked, and has not answered: it may be cut off. */
static void on_local_late(struct env_timer *timer)
{
    struct shard_request *request = container_of(timer, struct shard_request, timer);

    shard_waiter_cancel(&request->waiter);
    on_outcome(request, env_self(request->router->env), ERR_TIMEOUT, slice_of(NULL, 0));
}

static enum error ask_local(struct shard_request *request, struct shard_replica *replica)
{
    struct slice body = buffer_slice(&request->body);

    if (request->is_write) {
        struct shard_message_command command;
        uint32_t shard;

        CHECK(shard_message_write_read(body, &shard, &command) == OK);
        return shard_replica_write(replica, &request->waiter, &command, on_local_done);
    }
    uint32_t shard;
    bool is_strong;
    uint8_t engine;
    struct slice query;

    CHECK(shard_message_read_read(body, &shard, &is_strong, &engine, &query) == OK);
    return shard_replica_read(replica, &request->waiter, is_strong, engine, query, on_local_done);
}

static bool is_in_region(const struct shard_router *router, uint64_t node, const char *region)
{
    const struct node_record *record = map_find_u64(&router->nodes, node);

    return record != NULL && strcmp(record->region, region) == 0;
}

/* Whom an eventual read asks: first a replica in the region, ourselves if we are one; with each
 * attempt that failed the next. */
static uint64_t nearest(struct shard_request *request)
{
    struct shard_router *router = request->router;
    const struct route *route = &router->routes[request->shard];
    const char *region = request->region[0] != '\0' ? request->region : router->region;
    uint64_t self = env_self(router->env);

    if (request->attempts == 0 && is_in_region(router, self, region) &&
        shard_host_find(router->shards, request->shard) != NULL)
        return self;
    for (size_t i = 0; i < route->node_count && request->attempts == 0; i++)
        if (is_in_region(router, route->node_ids[i], region) &&
            router->env->link->is_up(router->env, route->node_ids[i]))
            return route->node_ids[i];
    for (size_t i = 0; i < route->node_count; i++) {
        uint64_t node = route->node_ids[(i + request->attempts) % route->node_count];

        if (node == self || router->env->link->is_up(router->env, node))
            return node;
    }
    return 0;
}

static void attempt(struct shard_request *request)
{
    struct shard_router *router = request->router;
    struct route *route = &router->routes[request->shard];
    struct shard_replica *replica = shard_host_find(router->shards, request->shard);
    bool needs_leader = request->is_write || request->is_strong;
    uint64_t now_us = env_now_us(router->env);
    uint64_t left_us = request->deadline_us > now_us ? request->deadline_us - now_us : 1;
    uint64_t wait_us = left_us < ATTEMPT_MS * 1000u ? left_us : ATTEMPT_MS * 1000u;
    uint64_t peer = needs_leader ? route->leader : nearest(request);

    if (needs_leader && replica != NULL && group_leader(replica->group) != 0)
        peer = group_leader(replica->group);
    if (peer == env_self(router->env) && replica != NULL) {
        enum error rc = ask_local(request, replica);
        uint64_t leader = group_leader(replica->group);

        if (rc == OK)
            env_timer_start(router->env, &request->timer, wait_us, on_local_late);
        else
            on_outcome(request, peer, rc, slice_of(&leader, sizeof(leader)));
        return;
    }
    if (peer == 0 || peer == env_self(router->env)) {
        forget_leader(router, request->shard, peer);
        again(request, retry_delay_us(request));
        return;
    }
    call_start(router->calls, &request->call, peer,
               request->is_write ? CALL_SHARD_WRITE : CALL_SHARD_READ, buffer_slice(&request->body),
               (uint32_t)(wait_us / 1000 + 1), on_call_done);
}

/* ---- starting one
 * ------------------------------------------------------------------------------------- */

/* True when the request may go; else its callback comes with the reason, in a later turn. */
static bool begin(struct shard_router *router, struct shard_request *request, uint32_t shard,
                  size_t bytes, uint32_t deadline_ms, shard_request_cb cb)
{
    enum error rc = OK;

    if (shard >= router->shard_count)
        rc = ERR_UNREACHABLE;
    else if (router->stats.in_flight >= IN_FLIGHT_MAX)
        rc = ERR_OVERLOADED;
    else if (bytes > SHARD_MESSAGE_COMMAND_BYTES_MAX)
        rc = ERR_TOO_LARGE;
    *request = (struct shard_request){
        .cb = cb,
        .router = router,
        .shard = shard,
        .deadline_us = env_now_us(router->env) + (uint64_t)deadline_ms * 1000,
        .body = BUFFER_INIT(BUFFER_UNLIMITED),
    };
    router->stats.requests++;
    router->stats.in_flight++;
    if (rc == OK)
        return true;
    list_append(&router->reads, &request->link);
    finish_later(request, rc);
    return false;
}

void shard_router_write(struct shard_router *router, struct shard_request *request, uint32_t shard,
                        enum shard_engine_id engine, struct slice command, uint32_t deadline_ms,
                        shard_request_cb cb)
{
    if (!begin(router, request, shard, command.size, deadline_ms, cb))
        return;
    struct route *route = &router->routes[shard];

    request->is_write = true;
    router->env->writes_waiting++;
    request->sequence = ++route->sequence_next;
    list_append(&route->writes, &request->link);
    const struct shard_request *oldest =
        container_of(route->writes.next, struct shard_request, link);
    const struct shard_message_command message = {
        .session = router->session,
        .sequence = request->sequence,
        .settled = oldest->sequence,
        .engine = (uint8_t)engine,
        .body = command,
    };

    shard_message_write_put(&request->body, shard, &message);
    attempt(request);
}

void shard_router_read(struct shard_router *router, struct shard_request *request, uint32_t shard,
                       enum shard_engine_id engine, struct slice query,
                       enum shard_consistency consistency, const char *region, uint32_t deadline_ms,
                       shard_request_cb cb)
{
    if (!begin(router, request, shard, query.size, deadline_ms, cb))
        return;
    request->is_strong = consistency == SHARD_STRONG;
    (void)snprintf(request->region, sizeof(request->region), "%s", region != NULL ? region : "");
    list_append(&router->reads, &request->link);
    shard_message_read_put(&request->body, shard, request->is_strong, (uint8_t)engine, query);
    attempt(request);
}
