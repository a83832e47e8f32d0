#include "node/node.h"

#include "node/aws/apigateway.h"
#include "node/aws/dynamodb.h"
#include "node/aws/function_url.h"
#include "node/aws/lambda.h"
#include "node/aws/sts.h"
#include "node/event/event_engine.h"
#include "node/node_code.h"
#include "node/node_event.h"
#include "node/node_invoke.h"
#include "node/node_limit.h"
#include "node/node_links.h"
#include "node/node_reset.h"
#include "node/node_status.h"
#include "node/object/blob_engine.h"
#include "node/sandbox/function_log.h"
#include "node/shard/shard_host.h"
#include "node/shard/shard_router.h"
#include "node/table/table_courier.h"
#include "node/table/table_engine.h"
#include "proto/base/check.h"
#include "proto/base/log.h"
#include "proto/wire/catalogue.pb-c.h"

#include <inttypes.h>
#include <stdio.h>

#define IDENTITY_PATH "identity"
/* A call waits so long for a sandbox, then it is throttled and SDKs try again. Well below the
 * time-outs of clients: an answer that comes after they gave up is work for nobody, and too much of
 * that is a collapse that feeds itself. */
#define INVOKE_WAIT_MS 1000u

static const struct shard_engine *const engines[SHARD_ENGINE_COUNT] = {
    [SHARD_ENGINE_TABLE] = &table_engine,
    [SHARD_ENGINE_BLOB] = &blob_engine,
    [SHARD_ENGINE_QUEUE] = &event_engine,
};

struct node {
    struct env *env;
    struct node_options options;
    uint64_t disk_id;
    uint64_t incarnation;
    struct calls *calls;
    struct view *view;
    struct host *host;
    struct shard_host *shards;
    struct shard_router *router;
    struct table_courier *courier;
    struct node_code *code;
    struct pool *pool;
    struct node_invoke *invoke;
    struct event_worker *events;
    struct node_limit *limit;
    struct aws_router *aws;
    struct dynamodb *dynamodb;
    struct lambda *lambda;
    struct function_url *function_urls;
    struct apigateway *apigateway;
    struct sts sts;
    struct function_log *function_log; /* NULL = none */
    struct view_listener function_listener;
    struct view_listener version_listener;
    struct view_listener peer_listener;
    struct node_links links;
    struct node_resets resets;
};

/* ---- who this node is
 * ----------------------------------------------------------------------------- */

/* The file holds the disk's id and how often this node was started on it. Written in place: it has
 * one sector, and a torn one is a wiped disk, which is safe. */
static enum error identity_load(struct node *node)
{
    struct env *env = node->env;
    struct buffer content = BUFFER_INIT(64);
    struct env_file *file;
    enum error rc = env->disk->load(env, IDENTITY_PATH, &content);
    struct reader reader = reader_of(buffer_slice(&content));

    if (rc == OK) {
        node->disk_id = reader_u64(&reader);
        node->incarnation = reader_u64(&reader);
    }
    if (rc == ERR_NOT_FOUND || (rc == OK && (!reader.ok || node->disk_id == 0))) {
        env->dice->random_bytes(env, &node->disk_id, sizeof(node->disk_id));
        node->disk_id |= 1;
        node->incarnation = 0;
        rc = OK;
    }
    node->incarnation++;
    buffer_clear(&content);
    buffer_put_u64(&content, node->disk_id);
    buffer_put_u64(&content, node->incarnation);
    if (rc == OK)
        rc = env->disk->open(env, IDENTITY_PATH, true, &file);
    if (rc == OK) {
        rc = env->disk->write(env, file, 0, buffer_slice(&content));
        if (rc == OK) /* also what makes the write durable */
            rc = env->disk->resize(env, file, content.size);
        env->disk->close(env, file);
    }
    buffer_close(&content);
    return rc;
}

static void registration_put(const struct node *node, struct buffer *bytes)
{
    Skein__Wire__Node record = SKEIN__WIRE__NODE__INIT;
    const struct node_options *options = &node->options;

    record.id = env_self(node->env);
    record.name = (char *)(uintptr_t)options->name;
    record.region = (char *)(uintptr_t)options->region;
    record.host = (char *)(uintptr_t)options->host;
    record.mesh_endpoint = (char *)(uintptr_t)options->mesh_endpoint;
    record.public_key = (char *)(uintptr_t)options->public_key;
    record.http_address = (char *)(uintptr_t)options->http_address;
    record.incarnation = node->incarnation;
    record.disk_id = node->disk_id;
    CHECK(buffer_reserve(bytes, skein__wire__node__get_packed_size(&record)) == OK);
    bytes->size = skein__wire__node__pack(&record, bytes->data);
}

/* ---- the rooms, connected
 * ---------------------------------------------------------------------------- */

static void fatal(void *user, enum error rc, const char *why)
{
    struct node *node = user;

    node->options.on_fatal(node->options.user, rc, why);
}

/* Nodes that joined later than this one was started, or moved, are known from the catalogue. */
static void on_peer(void *user, const char *key, struct slice value, uint64_t revision,
                    bool is_delete)
{
    struct node *node = user;
    struct env *env = node->env;
    Skein__Wire__Node *peer;

    (void)key;
    (void)revision;
    if (is_delete)
        return; /* its replicas may be members for a while yet */
    peer = skein__wire__node__unpack(NULL, value.size, value.data);
    if (peer == NULL)
        return;
    if (peer->id != env_self(env) && peer->id != 0 && peer->id < ENV_CONTROLLER_ID_MIN &&
        peer->mesh_endpoint[0] != '\0') {
        env->link->peer_set(env, peer->id, peer->mesh_endpoint, peer->public_key);
        if (node->options.on_peer != NULL)
            node->options.on_peer(node->options.user, peer->id, peer->region);
    }
    skein__wire__node__free_unpacked(peer, NULL);
}

/* "version/NAME/7" */
static void forget_version(struct node *node, const char *key)
{
    const char *name = key + strlen("version/");
    const char *slash = strrchr(name, '/');
    char *text = check_strdup(name);

    if (slash != NULL) {
        text[slash - name] = '\0';
        pool_function_remove(node->pool, text, strtoull(slash + 1, NULL, 10));
    }
    free(text);
}

/* Of "function/NAME" and "version/NAME/7": a version runs like a function of its own. */
static void on_function(void *user, const char *key, struct slice value, uint64_t revision,
                        bool is_delete)
{
    struct node *node = user;
    Skein__Wire__Function *function;

    (void)revision;
    if (is_delete && strncmp(key, "version/", strlen("version/")) == 0) {
        forget_version(node, key);
        return;
    }
    if (is_delete) {
        pool_function_remove(node->pool, key + strlen("function/"), 0);
        return;
    }
    function = skein__wire__function__unpack(NULL, value.size, value.data);
    if (function == NULL) {
        log_error("node.malformed_record key=%s", key);
        return;
    }
    pool_function_set(node->pool, function);
    skein__wire__function__free_unpacked(function, NULL);
}

static void on_shard_signal(void *user, uint32_t shard)
{
    struct node *node = user;

    if (node->courier != NULL)
        table_courier_wake(node->courier, shard);
    if (node->events != NULL)
        event_worker_wake(node->events);
}

static void open_events(struct node *node)
{
    const struct event_worker_options options = {
        .env = node->env,
        .view = node->view,
        .router = node->router,
        .invoker = node_invoke_invoker(node->invoke),
        .shards = node_event_shards(node->shards),
        .retry_ms = node->options.event_retry_ms,
        .lease_ms = node->options.event_lease_ms,
    };

    node->events = event_worker_new(&options);
}

static enum error open_replication(struct node *node)
{
    const struct node_options *options = &node->options;
    struct buffer registration = BUFFER_INIT(4096);
    const struct host_options host = {
        .folder = "journal",
        .heartbeat_ms = options->heartbeat_ms,
        .election_ms = options->election_ms,
        .snapshot_entries = options->snapshot_entries,
        .snapshot_bytes = options->snapshot_bytes,
        .trailing_entries = options->snapshot_entries / 2,
        .segment_bytes = 16u << 20,
        .user = node,
        .on_fatal = fatal,
    };
    const struct shard_host_options shards = {
        .folder = "shards",
        .disk_id = node->disk_id,
        .engines = engines,
        .user = node,
        .on_fatal = fatal,
        .on_signal = on_shard_signal,
    };
    struct view_options view = {
        .folder = "view",
        .controller_ids = options->controller_ids,
        .controller_count = options->controller_count,
        .heartbeat_ms = 200,
    };
    enum error rc;

    registration_put(node, &registration);
    view.registration = buffer_slice(&registration);
    node->calls = calls_new(node->env);
    node_links_serve(&node->links, node->calls);
    rc = host_open(node->env, &host, &node->host);
    if (rc == OK)
        rc = view_open(node->env, node->calls, &view, &node->view);
    if (rc == OK) {
        node->peer_listener =
            (struct view_listener){.prefix = "node/", .user = node, .on_change = on_peer};
        view_listen(node->view, &node->peer_listener);
        node->shards = shard_host_new(node->env, node->calls, node->view, node->host, &shards);
        node->router = shard_router_new(node->env, node->calls, node->view, node->shards);
        node->courier = table_courier_new(node->env, node->router);
    }
    buffer_close(&registration);
    return rc;
}

static void fetch_code(void *user, struct pool_code *code, pool_code_cb cb)
{
    struct node *node = user;

    node_code_fetch(node->code, code, cb);
}

static void on_function_output(void *user, const Skein__Wire__Function *function,
                               const char *log_stream, const char *request_id, struct slice text)
{
    struct node *node = user;

    if (node->function_log != NULL)
        function_log_put(node->function_log, function->name, log_stream, request_id, text);
}

static void open_functions(struct node *node)
{
    if (node->options.function_log_folder != NULL)
        node->function_log = function_log_new(node->env, node->options.function_log_folder);
    node->code = node_code_new(node->env, node->router);
    const struct pool_options pool = {
        .region = node->options.region,
        .account = AWS_ACCOUNT_ID,
        .sandboxes_max = node->options.sandboxes_max,
        .starting_max = node->options.sandboxes_starting_max,
        .wait_ms_max = INVOKE_WAIT_MS,
        .user = node,
        .code_fetch = fetch_code,
        .on_log = on_function_output,
    };

    node->pool = pool_new(node->env, &pool);
    node->invoke =
        node_invoke_new(node->env, node->calls, node->view, node->pool, node->options.region);
    node->function_listener =
        (struct view_listener){.prefix = "function/", .user = node, .on_change = on_function};
    node->version_listener =
        (struct view_listener){.prefix = "version/", .user = node, .on_change = on_function};
    view_listen(node->view, &node->function_listener);
    view_listen(node->view, &node->version_listener);
    node->limit = node_limit_new(node->env, node->calls, node->view, node->pool,
                                 node->options.account_concurrency);
}

static void on_admin(void *user, struct aws_request *request)
{
    struct node *node = user;
    bool is_reset = slice_equal_text(request->exchange->path, "/_skein/reset");

    if (is_reset && node->options.any_key && slice_equal_text(request->exchange->method, "POST")) {
        node_reset_start(&node->resets, node->env, node->view, request->exchange);
        return;
    }
    if (is_reset) {
        http_respond_text(
            request->exchange, 403, "application/json",
            SLICE_LITERAL("{\"message\":\"POST, and only with --insecure-any-key\"}\n"));
        return;
    }
    if (slice_equal_text(request->exchange->path, "/_skein/links")) {
        node_links_on_request(&node->links, request->identity != NULL || node->options.any_key,
                              request->exchange);
        return;
    }
    const struct node_status parts = {
        .env = node->env,
        .name = node->options.name,
        .region = node->options.region,
        .http_address = node->options.http_address,
        .sandbox_tier = node->options.sandbox_tier(node->options.user),
        .incarnation = node->incarnation,
        .view = node->view,
        .host = node->host,
        .shards = node->shards,
        .router = node->router,
        .courier = node->courier,
        .pool = node->pool,
        .events = node->events,
        .aws = node->aws,
    };

    node_status_on_request(&parts, request->exchange);
}

static void open_services(struct node *node)
{
    const struct aws_router_options aws = {
        .region = node->options.region,
        .keys = &node->options.key,
        .key_count = 1,
        .any_key = node->options.any_key,
    };
    const struct dynamodb_options dynamodb = {
        .env = node->env, .view = node->view, .router = node->router};
    const struct lambda_options lambda = {.env = node->env,
                                          .view = node->view,
                                          .router = node->router,
                                          .invoker = node_invoke_invoker(node->invoke),
                                          .ready_counter = node_limit_ready_counter(node->limit),
                                          .account_concurrency = node->options.account_concurrency};
    const struct apigateway_options apigateway = {
        .env = node->env, .view = node->view, .invoker = node_invoke_invoker(node->invoke)};

    node->aws = aws_router_new(node->env, &aws);
    node->dynamodb = dynamodb_new(&dynamodb);
    node->lambda = lambda_new(&lambda);
    node->function_urls = function_url_new(&lambda);
    node->apigateway = apigateway_new(&apigateway);
    aws_router_handle(node->aws, AWS_SERVICE_DYNAMODB, node->dynamodb, dynamodb_on_request);
    aws_router_handle(node->aws, AWS_SERVICE_LAMBDA, node->lambda, lambda_on_request);
    aws_router_handle(node->aws, AWS_SERVICE_FUNCTION_URL, node->function_urls,
                      function_url_on_request);
    aws_router_handle(node->aws, AWS_SERVICE_APIGATEWAY, node->apigateway, apigateway_on_request);
    aws_router_handle(node->aws, AWS_SERVICE_EXECUTE_API, node->apigateway,
                      apigateway_on_invocation);
    node->sts = (struct sts){.env = node->env, .router = node->aws};
    aws_router_handle(node->aws, AWS_SERVICE_STS, &node->sts, sts_on_request);
    aws_router_handle(node->aws, AWS_SERVICE_ADMIN, node, on_admin);
}

/* ---- life
 * ------------------------------------------------------------------------------------------------
 */

enum error node_open(struct env *env, const struct node_options *options, char why[ERROR_WHY_BYTES],
                     struct node **opened)
{
    struct node *node = check_calloc(1, sizeof(*node));
    enum error rc;

    node->env = env;
    node_resets_init(&node->resets);
    node_links_init(&node->links, env, options->links);
    node->options = *options;
    rc = identity_load(node);
    if (rc == OK)
        rc = open_replication(node);
    if (rc != OK) {
        (void)snprintf(why, ERROR_WHY_BYTES, "the data folder cannot be read: %s", error_text(rc));
        node_free(node);
        return rc;
    }
    open_functions(node);
    open_events(node);
    open_services(node);
    log_info("node.started id=%" PRIu64 " region=%s incarnation=%" PRIu64, env_self(env),
             options->region, node->incarnation);
    *opened = node;
    return OK;
}

void node_free(struct node *node)
{
    if (node == NULL)
        return;
    node_resets_close(&node->resets);
    node_links_close(&node->links);
    apigateway_free(node->apigateway);
    function_url_free(node->function_urls);
    lambda_free(node->lambda);
    dynamodb_free(node->dynamodb);
    aws_router_free(node->aws);
    node_limit_free(node->limit);
    node_invoke_free(node->invoke);
    pool_free(node->pool);
    event_worker_free(node->events);
    function_log_free(node->function_log);
    node_code_free(node->code);
    table_courier_free(node->courier);
    shard_router_free(node->router);
    host_free(node->host);
    shard_host_free(node->shards);
    view_free(node->view);
    calls_free(node->calls);
    free(node);
}

void node_drain(struct node *node, void *user, void (*done)(void *user))
{
    log_info("node.draining id=%" PRIu64, env_self(node->env));
    if (node->function_log != NULL)
        function_log_flush(node->function_log);
    host_drain(node->host, user, done);
}

void node_on_exchange(void *node, struct http_exchange *exchange)
{
    aws_router_on_exchange(((struct node *)node)->aws, exchange);
}
