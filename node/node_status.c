#include "node/node_status.h"

#include "node/table/table_engine.h"
#include "node/table/table_key.h"
#include "proto/base/check.h"
#include "proto/base/json_write.h"
#include "proto/wire/catalogue.pb-c.h"
#include "proto/wire/table.pb-c.h"

#include <inttypes.h>

#define BODY_BYTES_MAX (4u << 20)

struct facts {
    struct shard_host_stats shards;
    struct shard_router_stats router;
    struct table_courier_stats courier;
    struct pool_stats pool;
    struct event_worker_stats events;
    struct host_stats host;
};

static void gather(const struct node_status *status, struct facts *facts)
{
    shard_host_stats(status->shards, &facts->shards);
    shard_router_stats(status->router, &facts->router);
    table_courier_stats(status->courier, &facts->courier);
    pool_stats(status->pool, &facts->pool);
    event_worker_stats(status->events, &facts->events);
    host_stats(status->host, &facts->host);
}

struct node_list {
    const struct node_status *status;
    struct buffer *json;
    const char *comma;
};

static void put_node(void *user, const char *key, struct slice value, uint64_t revision)
{
    struct node_list *list = user;
    Skein__Wire__Node *node = skein__wire__node__unpack(NULL, value.size, value.data);
    struct env *env = list->status->env;

    (void)key;
    (void)revision;
    if (node == NULL)
        return;
    bool is_up = node->id == env_self(env) || env->link->is_up(env, node->id);

    buffer_putf(list->json,
                "%s{\"id\":%" PRIu64 ",\"name\":\"%s\",\"region\":\"%s\",\"http\":\"%s\","
                "\"alive\":%s,\"link\":%s}",
                list->comma, node->id, node->name, node->region, node->http_address,
                node->is_alive ? "true" : "false", is_up ? "true" : "false");
    list->comma = ",";
    skein__wire__node__free_unpacked(node, NULL);
}

static void put_status(const struct node_status *status, struct buffer *json)
{
    struct facts facts;
    struct node_list nodes = {status, json, ""};

    gather(status, &facts);
    buffer_putf(json,
                "{\"version\":\"%s\",\"id\":%" PRIu64 ",\"name\":\"%s\",\"region\":\"%s\","
                "\"http\":\"%s\",\"incarnation\":%" PRIu64 ",\"sandbox\":\"%s\","
                "\"catalogue\":{\"revision\":%" PRIu64 ",\"connected\":%s,\"leader\":%" PRIu64
                ",\"shards\":%u},",
                SKEIN_VERSION, env_self(status->env), status->name, status->region,
                status->http_address, status->incarnation, status->sandbox_tier,
                view_revision(status->view), view_is_connected(status->view) ? "true" : "false",
                view_leader(status->view), shard_router_shard_count(status->router));
    buffer_putf(json,
                "\"journal\":{\"syncs\":%" PRIu64 ",\"records\":%" PRIu64 ",\"bytes\":%" PRIu64
                ",\"segments\":%" PRIu64 ",\"elections\":%" PRIu64 ",\"hints\":%" PRIu64
                ",\"snapshots_sent\":%" PRIu64 ",\"snapshots_received\":%" PRIu64
                ",\"damaged_groups\":%" PRIu64 "},",
                facts.host.journal_syncs, facts.host.journal_records, facts.host.journal_bytes,
                facts.host.segments, facts.host.elections_started, facts.host.hints_taken,
                facts.host.snapshots_sent, facts.host.snapshots_received,
                facts.host.damaged_groups);
    buffer_putf(json,
                "\"router\":{\"requests\":%" PRIu64 ",\"retries\":%" PRIu64 ",\"timeouts\":%" PRIu64
                ",\"in_flight\":%" PRIu64 "},\"diverged\":%" PRIu64 ",",
                facts.router.requests, facts.router.retries, facts.router.timeouts,
                facts.router.in_flight, facts.shards.diverged);
    buffer_putf(
        json,
        "\"functions\":{\"known\":%u,\"starting\":%u,\"idle\":%u,\"busy\":%u,\"waiting\":%u,"
        "\"invocations\":%" PRIu64 ",\"errors\":%" PRIu64 ",\"throttles\":%" PRIu64
        ",\"cold_starts\":%" PRIu64 "},\"nodes\":[",
        facts.pool.functions, facts.pool.starting, facts.pool.idle, facts.pool.busy,
        facts.pool.waiting, facts.pool.invocations, facts.pool.errors, facts.pool.throttles,
        facts.pool.cold_starts);
    view_each(status->view, "node/", &nodes, put_node);
    buffer_put_text(json, "],\"shards\":");
    shard_host_status(status->shards, json);
    buffer_put_text(json, "}\n");
}

/* ---- tables: who leads their rows ---- */

struct table_walk {
    struct json_write json;
    struct shard_host *shards;
    Skein__Wire__TableQuery query; /* for any row of the table at hand */
};

static void put_shard_with_rows(void *user, struct shard_replica *replica)
{
    struct table_walk *walk = user;
    AUTO(buffer) query = BUFFER_INIT(BODY_BYTES_MAX);
    AUTO(buffer) answer = BUFFER_INIT(BODY_BYTES_MAX);
    Skein__Wire__TableReply *reply = NULL;

    CHECK(buffer_reserve(&query, skein__wire__table_query__get_packed_size(&walk->query)) == OK);
    query.size = skein__wire__table_query__pack(&walk->query, query.data);
    if (shard_state_read(&replica->state, SHARD_ENGINE_TABLE, buffer_slice(&query), &answer) == OK)
        reply = skein__wire__table_reply__unpack(NULL, answer.size, answer.data);
    if (reply != NULL && reply->count > 0)
        json_u64(&walk->json, replica->shard);
    if (reply != NULL)
        skein__wire__table_reply__free_unpacked(reply, NULL);
}

static void put_table(void *user, const char *key, struct slice value, uint64_t revision)
{
    struct table_walk *walk = user;
    Skein__Wire__Table *table = skein__wire__table__unpack(NULL, value.size, value.data);
    AUTO(buffer) first = BUFFER_INIT(TABLE_KEY_BYTES_MAX);
    AUTO(buffer) end = BUFFER_INIT(TABLE_KEY_BYTES_MAX);

    (void)key;
    (void)revision;
    if (table != NULL && table->id.len == TABLE_ID_BYTES) {
        table_key_put_table(&first, table->id.data);
        table_key_put_table(&end, table->id.data);
        table_key_after_prefix(&end);
        skein__wire__table_query__init(&walk->query);
        walk->query.kind = TABLE_RANGE;
        walk->query.key = (ProtobufCBinaryData){first.size, first.data};
        walk->query.end = (ProtobufCBinaryData){end.size, end.data};
        walk->query.row_limit = 1;
        walk->query.count_only = true;
        json_begin_object(&walk->json);
        json_member_text(&walk->json, "name", table->name);
        json_key(&walk->json, "leads");
        json_begin_array(&walk->json);
        shard_host_each_leader(walk->shards, walk, put_shard_with_rows);
        json_end_array(&walk->json);
        json_end_object(&walk->json);
    }
    if (table != NULL)
        skein__wire__table__free_unpacked(table, NULL);
}

/* Of each table, the shards that this node leads and that hold rows of it. */
static void put_tables(const struct node_status *status, struct buffer *body)
{
    struct table_walk walk = {.json = json_write_to(body), .shards = status->shards};

    json_begin_object(&walk.json);
    json_key(&walk.json, "tables");
    json_begin_array(&walk.json);
    view_each(status->view, "table/", &walk, put_table);
    json_end_array(&walk.json);
    json_end_object(&walk.json);
}

/* ---- metrics ---- */

static void put_metric(struct buffer *text, const char *name, const char *type, uint64_t value)
{
    buffer_putf(text, "# TYPE skein_%s %s\nskein_%s %" PRIu64 "\n", name, type, name, value);
}

static void put_metrics(const struct node_status *status, struct buffer *text)
{
    struct facts facts;

    gather(status, &facts);
    put_metric(text, "shard_replicas", "gauge", facts.shards.replicas);
    put_metric(text, "shard_leading", "gauge", facts.shards.leading);
    put_metric(text, "shard_commands_applied_total", "counter", facts.shards.commands_applied);
    put_metric(text, "shard_diverged_total", "counter", facts.shards.diverged);
    put_metric(text, "router_requests_total", "counter", facts.router.requests);
    put_metric(text, "router_retries_total", "counter", facts.router.retries);
    put_metric(text, "router_timeouts_total", "counter", facts.router.timeouts);
    put_metric(text, "index_rows_carried_total", "counter", facts.courier.entries);
    put_metric(text, "index_carry_failures_total", "counter", facts.courier.failures);
    put_metric(text, "router_in_flight", "gauge", facts.router.in_flight);
    put_metric(text, "journal_syncs_total", "counter", facts.host.journal_syncs);
    put_metric(text, "journal_bytes_total", "counter", facts.host.journal_bytes);
    put_metric(text, "elections_started_total", "counter", facts.host.elections_started);
    put_metric(text, "election_hints_taken_total", "counter", facts.host.hints_taken);
    put_metric(text, "snapshots_sent_total", "counter", facts.host.snapshots_sent);
    put_metric(text, "snapshots_received_total", "counter", facts.host.snapshots_received);
    put_metric(text, "damaged_groups", "gauge", facts.host.damaged_groups);
    put_metric(text, "sandboxes_busy", "gauge", facts.pool.busy);
    put_metric(text, "sandboxes_idle", "gauge", facts.pool.idle);
    put_metric(text, "invocations_total", "counter", facts.pool.invocations);
    put_metric(text, "invocation_errors_total", "counter", facts.pool.errors);
    put_metric(text, "invocation_throttles_total", "counter", facts.pool.throttles);
    put_metric(text, "cold_starts_total", "counter", facts.pool.cold_starts);
    put_metric(text, "events_running", "gauge", facts.events.running);
    put_metric(text, "events_handled_total", "counter", facts.events.handled);
    put_metric(text, "events_retried_total", "counter", facts.events.retried);
    put_metric(text, "events_refused_total", "counter", facts.events.refused);
    put_metric(text, "events_dropped_total", "counter", facts.events.dropped);
    put_metric(text, "billed_mb_ms_total", "counter", facts.pool.billed_mb_ms);
    for (int service = 0; service < AWS_SERVICE_COUNT; service++) {
        const struct aws_counters *counters =
            aws_router_counters(status->aws, (enum aws_service)service);

        if (counters->requests > 0)
            buffer_putf(text,
                        "skein_api_requests_total{service=\"%s\"} %" PRIu64
                        "\nskein_api_server_faults_total{service=\"%s\"} %" PRIu64 "\n",
                        aws_service_name((enum aws_service)service), counters->requests,
                        aws_service_name((enum aws_service)service), counters->server_faults);
    }
}

void node_status_on_request(const struct node_status *status, struct http_exchange *exchange)
{
    struct buffer body = BUFFER_INIT(BODY_BYTES_MAX);

    if (slice_equal_text(exchange->path, "/_skein/status")) {
        put_status(status, &body);
        http_respond_text(exchange, 200, "application/json", buffer_slice(&body));
    } else if (slice_equal_text(exchange->path, "/_skein/tables")) {
        put_tables(status, &body);
        http_respond_text(exchange, 200, "application/json", buffer_slice(&body));
    } else if (slice_equal_text(exchange->path, "/_skein/metrics")) {
        put_metrics(status, &body);
        http_respond_text(exchange, 200, "text/plain; version=0.0.4", buffer_slice(&body));
    } else if (slice_equal_text(exchange->path, "/_skein/health")) {
        bool is_ready = shard_router_shard_count(status->router) > 0;

        http_respond_text(exchange, is_ready ? 200 : 503, "text/plain",
                          is_ready ? SLICE_LITERAL("ok\n") : SLICE_LITERAL("starting\n"));
    } else {
        http_respond_text(exchange, 404, "application/json",
                          SLICE_LITERAL("{\"message\":\"no such page; try /_skein/status\"}\n"));
    }
    buffer_close(&body);
}
