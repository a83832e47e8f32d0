#include "deploy/status.h"

#include "deploy/api.h"
#include "proto/base/check.h"

#include <stdio.h>

struct shard_view { /* one shard, as its replicas tell it */
    unsigned replicas;
    unsigned leaders;
    uint64_t applied_max;
    uint64_t applied_min;
    uint64_t hash;
    bool has_other_hash;
};

static json_t *ask(const struct cluster *cluster, const struct status_node *node, const char *path,
                   unsigned timeout_ms)
{
    struct buffer answer = BUFFER_INIT(8u << 20);
    const struct api_call call = {.method = "GET",
                                  .address = node->process->http_address,
                                  .path = path,
                                  .timeout_ms = timeout_ms};
    json_t *facts = NULL;
    int status = 0;

    if (api_call(cluster, &call, &status, &answer) == OK && status == 200)
        facts = json_loadb((const char *)answer.data, answer.size, 0, NULL);
    buffer_close(&answer);
    return facts;
}

static uint64_t number_of(const json_t *object, const char *name)
{
    return (uint64_t)json_integer_value(json_object_get(object, name));
}

static bool is_leader(const json_t *replica)
{
    const char *role = json_string_value(json_object_get(replica, "role"));

    return role != NULL && strcmp(role, "leader") == 0;
}

/* ---- shards ---- */

static void note_replica(struct shard_view *shard, const json_t *replica)
{
    uint64_t applied = number_of(replica, "applied");
    const char *hash_text = json_string_value(json_object_get(replica, "hash"));
    uint64_t hash = hash_text != NULL ? strtoull(hash_text, NULL, 16) : 0;

    if (shard->replicas == 0 || applied < shard->applied_min)
        shard->applied_min = applied;
    if (shard->replicas > 0 && applied == shard->applied_max && hash != shard->hash)
        shard->has_other_hash = true;
    if (shard->replicas == 0 || applied > shard->applied_max) {
        shard->applied_max = applied;
        shard->hash = hash;
    }
    shard->replicas++;
    shard->leaders += is_leader(replica);
}

static void judge_node(struct status *status, struct status_node *node)
{
    json_t *replica;
    size_t i;

    node->leads = node->replicas = node->voteless = 0;
    node->lag = 0;
    json_array_foreach(json_object_get(node->facts, "shards"), i, replica)
    {
        uint64_t reached = status->reached[number_of(replica, "shard") % STATUS_SHARDS_MAX];
        uint64_t applied = number_of(replica, "applied");

        node->replicas++;
        node->leads += is_leader(replica);
        node->voteless += json_is_false(json_object_get(replica, "votes"));
        if (reached > applied && reached - applied > node->lag)
            node->lag = reached - applied;
    }
}

static void judge_shards(const struct cluster *cluster, struct status *status)
{
    struct shard_view *shards = check_calloc(STATUS_SHARDS_MAX, sizeof(*shards));
    bool is_first = status->reached == NULL;
    json_t *replica;
    size_t i;

    if (is_first)
        status->reached = check_calloc(STATUS_SHARDS_MAX, sizeof(*status->reached));
    for (size_t n = 0; n < status->node_count; n++)
        json_array_foreach(json_object_get(status->nodes[n].facts, "shards"), i, replica)
            note_replica(&shards[number_of(replica, "shard") % STATUS_SHARDS_MAX], replica);
    status->shards_led = status->shards_whole = status->shards_equal = status->shards_unequal = 0;
    for (unsigned s = 0; s < status->shard_count && s < STATUS_SHARDS_MAX; s++) {
        if (is_first)
            status->reached[s] = shards[s].applied_max;
        bool is_level = shards[s].applied_min >= status->reached[s];

        status->shards_led += shards[s].leaders > 0;
        status->shards_whole += shards[s].replicas >= cluster->file.replicas && is_level;
        status->shards_equal += shards[s].replicas > 0 && is_level && !shards[s].has_other_hash;
        status->shards_unequal += shards[s].has_other_hash;
    }
    for (size_t n = 0; n < status->node_count; n++)
        judge_node(status, &status->nodes[n]);
    free(shards);
}

/* ---- processes ---- */

static void ask_node(struct cluster *cluster, unsigned timeout_ms, struct status *status,
                     struct status_node *node)
{
    json_t *catalogue;

    json_decref(node->facts);
    node->facts = NULL;
    node->pid = daemon_pid(node->daemon);
    node->is_paused = daemon_is_paused(node->daemon);
    if (node->pid != 0 && !node->is_paused)
        node->facts = ask(cluster, node, "/_skein/status", timeout_ms);
    catalogue = json_object_get(node->facts, "catalogue");
    status->nodes_up += node->facts != NULL;
    status->nodes_connected += json_is_true(json_object_get(catalogue, "connected"));
}

/* The one most nodes hear from; just after a failover they may differ. */
static void find_controller_leader(struct cluster *cluster, struct status *status)
{
    unsigned best = 0;

    status->controller_leader = NULL;
    status->controllers_up = 0;
    for (size_t i = 0; i < cluster->controller_count; i++) {
        unsigned votes = 0;

        for (size_t n = 0; n < status->node_count; n++) {
            const json_t *catalogue = json_object_get(status->nodes[n].facts, "catalogue");

            votes += number_of(catalogue, "leader") == cluster->file.controllers[i].id;
        }
        if (daemon_pid(&cluster->daemons[i]) == 0)
            continue;
        status->controllers_up++;
        if (votes > best)
            status->controller_leader = &cluster->daemons[i];
        best = votes > best ? votes : best;
    }
}

static void look(struct cluster *cluster, unsigned timeout_ms, struct status *status)
{
    status->nodes_up = status->nodes_connected = 0;
    for (size_t i = 0; i < status->node_count; i++)
        ask_node(cluster, timeout_ms, status, &status->nodes[i]);
    find_controller_leader(cluster, status);
    judge_shards(cluster, status);
}

void status_gather(struct cluster *cluster, unsigned timeout_ms, struct status *status)
{
    *status = (struct status){.node_count = cluster->file.node_count,
                              .shard_count = cluster->file.shards};
    status->nodes = check_calloc(status->node_count, sizeof(*status->nodes));
    for (size_t i = 0; i < status->node_count; i++) {
        status->nodes[i].process = &cluster->file.nodes[i];
        status->nodes[i].daemon = &cluster->daemons[cluster->controller_count + i];
    }
    look(cluster, timeout_ms, status);
}

void status_look_again(struct cluster *cluster, unsigned timeout_ms, struct status *status)
{
    look(cluster, timeout_ms, status);
}

void status_close(struct status *status)
{
    for (size_t i = 0; i < status->node_count; i++)
        json_decref(status->nodes[i].facts);
    for (size_t i = 0; i < status->table_count; i++)
        free(status->tables[i].name);
    free(status->tables);
    free(status->reached);
    free(status->nodes);
    *status = (struct status){0};
}

/* ---- tables ---- */

static struct status_table *table_get(struct status *status, const char *name)
{
    for (size_t i = 0; i < status->table_count; i++)
        if (strcmp(status->tables[i].name, name) == 0)
            return &status->tables[i];
    status->tables =
        check_realloc(status->tables, (status->table_count + 1) * sizeof(*status->tables));
    status->tables[status->table_count] = (struct status_table){.name = check_strdup(name)};
    return &status->tables[status->table_count++];
}

static void note_table(struct status *status, const struct status_node *node, const json_t *facts)
{
    const char *name = json_string_value(json_object_get(facts, "name"));
    unsigned leads = (unsigned)json_array_size(json_object_get(facts, "leads"));
    struct status_table *table;

    if (name == NULL)
        return;
    table = table_get(status, name);
    table->shards += leads;
    if (leads > table->leads) {
        table->leads = leads;
        table->leader = node;
    }
}

void status_gather_tables(struct cluster *cluster, unsigned timeout_ms, struct status *status)
{
    for (size_t n = 0; n < status->node_count; n++) {
        const struct status_node *node = &status->nodes[n];
        json_t *answer =
            node->facts != NULL ? ask(cluster, node, "/_skein/tables", timeout_ms) : NULL;
        json_t *table;
        size_t i;

        json_array_foreach(json_object_get(answer, "tables"), i, table)
            note_table(status, node, table);
        json_decref(answer);
    }
}

/* ---- judging ---- */

bool status_is_serving(const struct status *status)
{
    return status->shard_count > 0 && status->shards_led == status->shard_count &&
           status->nodes_connected > 0;
}

bool status_is_healthy(const struct cluster *cluster, const struct status *status)
{
    return status_is_serving(status) && status->nodes_up == status->node_count &&
           status->controllers_up == cluster->controller_count &&
           status->shards_whole == status->shard_count && status->shards_unequal == 0;
}

const struct status_node *status_busiest_leader(const struct status *status)
{
    const struct status_node *best = NULL;

    for (size_t i = 0; i < status->node_count; i++)
        if (status->nodes[i].leads > 0 && (best == NULL || status->nodes[i].leads > best->leads))
            best = &status->nodes[i];
    return best;
}
