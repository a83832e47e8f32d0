#include "deploy/status.h"

#include "deploy/api.h"
#include "proto/base/check.h"

#include <inttypes.h>
#include <stdio.h>

struct shard_view { /* one shard, as its replicas tell it */
    unsigned replicas;
    unsigned leaders;
    uint64_t applied_max;
    uint64_t applied_min;
    uint64_t hash;
    bool has_other_hash;
};

static json_t *ask(const struct cluster *cluster, const struct cluster_process *process,
                   unsigned timeout_ms)
{
    struct buffer answer = BUFFER_INIT(8u << 20);
    const struct api_call call = {.method = "GET",
                                  .address = process->http_address,
                                  .path = "/_skein/status",
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

static void note_replica(struct shard_view *shard, const json_t *replica)
{
    uint64_t applied = number_of(replica, "applied");
    const char *hash_text = json_string_value(json_object_get(replica, "hash"));
    uint64_t hash = hash_text != NULL ? strtoull(hash_text, NULL, 16) : 0;
    const char *role = json_string_value(json_object_get(replica, "role"));

    if (shard->replicas == 0 || applied < shard->applied_min)
        shard->applied_min = applied;
    if (shard->replicas > 0 && applied == shard->applied_max && hash != shard->hash)
        shard->has_other_hash = true;
    if (shard->replicas == 0 || applied > shard->applied_max) {
        shard->applied_max = applied;
        shard->hash = hash;
    }
    shard->replicas++;
    if (role != NULL && strcmp(role, "leader") == 0)
        shard->leaders++;
}

static void judge_shards(const struct cluster *cluster, struct status *status)
{
    struct shard_view *shards = check_calloc(STATUS_SHARDS_MAX, sizeof(*shards));
    json_t *replica;
    size_t i;

    for (size_t n = 0; n < status->node_count; n++)
        json_array_foreach(json_object_get(status->nodes[n].facts, "shards"), i, replica)
            note_replica(&shards[number_of(replica, "shard") % STATUS_SHARDS_MAX], replica);
    for (size_t n = 0; n < status->node_count; n++) {
        struct status_node *node = &status->nodes[n];

        json_array_foreach(json_object_get(node->facts, "shards"), i, replica)
        {
            const char *role = json_string_value(json_object_get(replica, "role"));
            uint64_t lag = shards[number_of(replica, "shard") % STATUS_SHARDS_MAX].applied_max -
                           number_of(replica, "applied");

            node->replicas++;
            node->leads += role != NULL && strcmp(role, "leader") == 0;
            if (lag > node->lag)
                node->lag = lag;
        }
    }
    for (unsigned s = 0; s < status->shard_count && s < STATUS_SHARDS_MAX; s++) {
        bool is_level = shards[s].applied_min == shards[s].applied_max;

        status->shards_led += shards[s].leaders > 0;
        status->shards_whole += shards[s].replicas >= cluster->file.replicas && is_level;
        status->shards_equal += is_level && !shards[s].has_other_hash;
        status->shards_unequal += shards[s].has_other_hash;
    }
    free(shards);
}

void status_gather(struct cluster *cluster, unsigned timeout_ms, struct status *status)
{
    *status = (struct status){.node_count = cluster->file.node_count};
    status->nodes = check_calloc(status->node_count, sizeof(*status->nodes));
    for (size_t i = 0; i < status->node_count; i++) {
        struct status_node *node = &status->nodes[i];

        node->process = &cluster->file.nodes[i];
        node->pid = daemon_pid(&cluster->daemons[cluster->controller_count + i]);
        if (node->pid != 0)
            node->facts = ask(cluster, node->process, timeout_ms);
        status->nodes_up += node->facts != NULL;
        status->is_catalogue_connected |=
            json_is_true(json_object_get(json_object_get(node->facts, "catalogue"), "connected"));
    }
    for (size_t i = 0; i < cluster->controller_count; i++)
        status->controllers_up += daemon_pid(&cluster->daemons[i]) != 0;
    status->shard_count = cluster->file.shards;
    judge_shards(cluster, status);
}

void status_close(struct status *status)
{
    for (size_t i = 0; i < status->node_count; i++)
        json_decref(status->nodes[i].facts);
    free(status->nodes);
    *status = (struct status){0};
}

bool status_is_serving(const struct status *status)
{
    return status->shard_count > 0 && status->shards_led == status->shard_count &&
           status->is_catalogue_connected;
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

/* ---- printing -----------------------------------------------------------------------------------
 */

static void print_degraded(const struct cluster *cluster, const struct status *status)
{
    for (size_t i = 0; i < cluster->controller_count; i++)
        if (daemon_pid(&cluster->daemons[i]) == 0)
            (void)printf("  %s is down\n", cluster->daemons[i].name);
    for (size_t i = 0; i < status->node_count; i++)
        if (status->nodes[i].facts == NULL)
            (void)printf("  %s %s\n", status->nodes[i].process->name,
                         status->nodes[i].pid == 0 ? "is down" : "runs but does not answer");
    if (status->shards_led < status->shard_count)
        (void)printf("  %u of %u shards have no leader: their keys cannot be written\n",
                     status->shard_count - status->shards_led, status->shard_count);
    if (status->shards_whole < status->shard_count)
        (void)printf("  %u of %u shards lack a replica or one trails\n",
                     status->shard_count - status->shards_whole, status->shard_count);
    if (status->shards_unequal > 0)
        (void)printf("  %u shards have replicas that DIFFER: keep the data folders and report it\n",
                     status->shards_unequal);
    if (!status->is_catalogue_connected)
        (void)printf("  no node hears a controller: data is served, changes of tables and "
                     "functions wait\n");
}

void status_print(const struct cluster *cluster, const struct status *status, bool is_coloured)
{
    bool is_healthy = status_is_healthy(cluster, status);
    const char *colour = !is_coloured ? "" : is_healthy ? "\033[32m" : "\033[33m";

    (void)printf("%s%s%s: %u of %zu nodes, %u of %zu controllers, %u of %u shards led, "
                 "%u whole, %u equal\n",
                 colour, is_healthy ? "healthy" : "degraded", is_coloured ? "\033[0m" : "",
                 status->nodes_up, status->node_count, status->controllers_up,
                 cluster->controller_count, status->shards_led, status->shard_count,
                 status->shards_whole, status->shards_equal);
    if (!is_healthy)
        print_degraded(cluster, status);
    (void)printf("\n%-16s %-14s %8s %6s %9s %6s  %-22s %s\n", "REGION", "NODE", "PID", "LEADS",
                 "REPLICAS", "LAG", "ADDRESS", "SANDBOXES");
    for (size_t i = 0; i < status->node_count; i++) {
        const struct status_node *node = &status->nodes[i];
        const json_t *functions = json_object_get(node->facts, "functions");

        (void)printf("%-16s %-14s ", node->process->region, node->process->name);
        if (node->facts == NULL)
            (void)printf("%8s\n", node->pid == 0 ? "down" : "silent");
        else
            (void)printf("%8d %6u %9u %6" PRIu64 "  %-22s %u busy, %u idle\n", (int)node->pid,
                         node->leads, node->replicas, node->lag, node->process->http_address,
                         (unsigned)number_of(functions, "busy"),
                         (unsigned)number_of(functions, "idle"));
    }
    for (size_t i = 0; i < cluster->controller_count; i++) {
        pid_t pid = daemon_pid(&cluster->daemons[i]);

        (void)printf("%-16s %-14s ", cluster->file.controllers[i].region, cluster->daemons[i].name);
        if (pid == 0)
            (void)printf("%8s\n", "down");
        else
            (void)printf("%8d\n", (int)pid);
    }
}

void status_print_json(const struct cluster *cluster, const struct status *status)
{
    json_t *nodes = json_array();

    for (size_t i = 0; i < status->node_count; i++) {
        const struct status_node *node = &status->nodes[i];

        (void)json_array_append_new(
            nodes,
            json_pack("{s:s, s:s, s:i, s:b, s:i, s:i, s:I, s:O*}", "name", node->process->name,
                      "region", node->process->region, "pid", (int)node->pid, "answers",
                      node->facts != NULL, "leads", (int)node->leads, "replicas",
                      (int)node->replicas, "lag", (json_int_t)node->lag, "facts", node->facts));
    }
    json_t *all = json_pack(
        "{s:b, s:b, s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:o}", "healthy",
        status_is_healthy(cluster, status), "serving", status_is_serving(status), "nodes_up",
        (int)status->nodes_up, "controllers_up", (int)status->controllers_up, "shards",
        (int)status->shard_count, "shards_led", (int)status->shards_led, "shards_whole",
        (int)status->shards_whole, "shards_equal", (int)status->shards_equal, "shards_unequal",
        (int)status->shards_unequal, "nodes", nodes);

    (void)json_dumpf(all, stdout, JSON_INDENT(2));
    (void)printf("\n");
    json_decref(all);
}
