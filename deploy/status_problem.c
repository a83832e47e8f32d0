/* What is wrong with a cluster, in words for whoever has to act. */

#include "deploy/status.h"

#include <stdio.h>
#include <string.h>

struct telling {
    const struct cluster *cluster;
    const struct status *status;
    void *user;
    void (*on_problem)(void *user, const char *what, const char *next);
};

__attribute__((format(printf, 3, 4))) static void tell(const struct telling *telling,
                                                       const char *next, const char *format, ...)
{
    char what[STATUS_TEXT_BYTES];
    va_list arguments;

    va_start(arguments, format);
    (void)vsnprintf(what, sizeof(what), format, arguments);
    va_end(arguments);
    telling->on_problem(telling->user, what, next);
}

static bool is_in(const struct cluster *cluster, const struct daemon *daemon, const char *region)
{
    return strcmp(cluster_region_of(cluster, daemon), region) == 0;
}

static bool is_region_down(const struct cluster *cluster, const char *region)
{
    for (size_t i = 0; i < cluster->daemon_count; i++)
        if (is_in(cluster, &cluster->daemons[i], region) && daemon_pid(&cluster->daemons[i]) != 0)
            return false;
    return true;
}

/* Why it ended by itself or did not start, from its log; "" when that is not what happened. */
static const char *own_end(const struct daemon *daemon, char words[STATUS_TEXT_BYTES])
{
    const char *fatal;

    daemon_last_words(daemon, words, STATUS_TEXT_BYTES);
    fatal = strstr(words, ".fatal ");
    if (fatal != NULL)
        return fatal + strlen(".fatal");
    return strncmp(words, "skein-", strlen("skein-")) == 0 ? words + strcspn(words, " ") : "";
}

static void tell_process(const struct telling *telling, const struct daemon *daemon)
{
    char next[STATUS_TEXT_BYTES];
    char words[STATUS_TEXT_BYTES];

    if (daemon_pid(daemon) == 0) {
        const char *why = own_end(daemon, words);

        (void)snprintf(next, sizeof(next), "skein start %s", daemon->name);
        tell(telling, next, "%s is down%s%s", daemon->name,
             why[0] != '\0' ? "; it ended itself:" : "", why);
    } else if (daemon_is_paused(daemon)) {
        (void)snprintf(next, sizeof(next), "skein resume %s", daemon->name);
        tell(telling, next, "%s is paused", daemon->name);
    }
}

static void tell_processes(const struct telling *telling)
{
    const struct cluster *cluster = telling->cluster;
    char next[STATUS_TEXT_BYTES];

    for (size_t r = 0; r < cluster->region_count; r++) {
        const char *region = cluster->regions[r];

        if (is_region_down(cluster, region)) {
            (void)snprintf(next, sizeof(next), "skein start region %s", region);
            tell(telling, next, "all of region %s is down", region);
            continue;
        }
        for (size_t i = 0; i < cluster->daemon_count; i++)
            if (is_in(cluster, &cluster->daemons[i], region))
                tell_process(telling, &cluster->daemons[i]);
    }
}

static void tell_nodes(const struct telling *telling)
{
    const struct status *status = telling->status;
    char next[STATUS_TEXT_BYTES];

    for (size_t i = 0; i < status->node_count; i++) {
        const struct status_node *node = &status->nodes[i];
        const json_t *catalogue = json_object_get(node->facts, "catalogue");

        (void)snprintf(next, sizeof(next), "skein logs %s", node->process->name);
        if (node->pid != 0 && !node->is_paused && node->facts == NULL)
            tell(telling, next, "%s runs but does not answer (or not yet)", node->process->name);
        if (node->facts != NULL && status->nodes_connected > 0 &&
            !json_is_true(json_object_get(catalogue, "connected")))
            tell(telling, next, "%s does not hear the controllers", node->process->name);
        if (node->voteless > 0)
            tell(telling, "nothing to do: it fetches them again by itself",
                 "%s lost its log of %u shards and has no vote there", node->process->name,
                 node->voteless);
    }
}

static void tell_shards(const struct telling *telling)
{
    const struct status *status = telling->status;
    bool is_down = status->nodes_up < status->node_count;

    if (status->shards_led < status->shard_count)
        tell(telling,
             is_down ? "start what is down: a shard needs a majority of its replicas"
                     : "wait a second or two for the election, then look at the logs",
             "%u of %u shards have no leader: their keys cannot be read or written",
             status->shard_count - status->shards_led, status->shard_count);
    if (status->shards_whole < status->shard_count)
        tell(telling,
             is_down ? "start what is down; what stays lost is rebuilt elsewhere after a minute"
                     : "nothing to do: they catch up by themselves",
             "%u of %u shards lack a replica, or one trails: nothing is lost, but less may fail",
             status->shard_count - status->shards_whole, status->shard_count);
    if (status->shards_unequal > 0)
        tell(telling, "keep the data folders and report it; the logs name them: shard.diverged",
             "%u shards have replicas that DIFFER", status->shards_unequal);
}

static void tell_controllers(const struct telling *telling)
{
    const struct status *status = telling->status;
    size_t count = telling->cluster->controller_count;

    if (status->nodes_connected > 0 && status->controller_leader != NULL)
        return;
    if (status->nodes_up > 0)
        tell(telling,
             status->controllers_up <= count / 2
                 ? "skein start controllers: a majority of them is needed"
                 : "wait a second or two for the election, then look at their logs",
             "no controller leads: data is served, changes of tables and functions wait");
}

void status_each_problem(const struct cluster *cluster, const struct status *status, void *user,
                         void (*on_problem)(void *user, const char *what, const char *next))
{
    const struct telling telling = {cluster, status, user, on_problem};
    bool is_running = false;

    for (size_t i = 0; i < cluster->daemon_count; i++)
        is_running |= daemon_pid(&cluster->daemons[i]) != 0;
    if (!is_running) {
        tell(&telling, "skein up", "nothing runs");
        return;
    }
    tell_processes(&telling);
    tell_nodes(&telling);
    tell_controllers(&telling);
    tell_shards(&telling);
}
