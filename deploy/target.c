#include "deploy/target.h"

#include "deploy/status.h"
#include "proto/base/check.h"

#include <stdio.h>

#define TIMEOUT_MS 1000u

static void add(struct target *target, struct daemon *daemon)
{
    for (size_t i = 0; i < target->count; i++)
        if (target->daemons[i] == daemon)
            return;
    if (target->count < TARGET_MAX)
        target->daemons[target->count++] = daemon;
}

/* ---- what there is, for who named something else ---- */

static void tell_processes(const struct cluster *cluster)
{
    (void)fprintf(stderr, "  processes:");
    for (size_t i = 0; i < cluster->daemon_count; i++)
        (void)fprintf(stderr, " %s", cluster->daemons[i].name);
    (void)fprintf(stderr, "\n  groups:    nodes, controllers, all");
    for (size_t i = 0; i < cluster->region_count; i++)
        (void)fprintf(stderr, ", region %s", cluster->regions[i]);
    (void)fprintf(stderr, "\n  roles:     controller-leader, leader-of TABLE\n");
}

static void tell_tables(const struct status *status)
{
    if (status->table_count == 0)
        (void)fprintf(stderr, "  there are no tables, or no node answers; see: skein status\n");
    else
        (void)fprintf(stderr, "  tables:");
    for (size_t i = 0; i < status->table_count; i++)
        (void)fprintf(stderr, " %s", status->tables[i].name);
    if (status->table_count > 0)
        (void)fprintf(stderr, "\n");
}

static enum error unknown(const struct cluster *cluster, const char *what, const char *name)
{
    if (name[0] == '\0')
        (void)fprintf(stderr, "skein: which %s? There are\n", what);
    else
        (void)fprintf(stderr, "skein: no %s is called '%s'; there are\n", what, name);
    tell_processes(cluster);
    return ERR_NOT_FOUND;
}

/* ---- roles ---- */

static enum error add_controller_leader(struct cluster *cluster, struct target *target)
{
    struct status status;
    enum error rc = OK;

    status_gather(cluster, TIMEOUT_MS, &status);
    if (status.controller_leader != NULL) {
        add(target, cluster_find(cluster, status.controller_leader->name));
        (void)snprintf(target->why, sizeof(target->why), "it led the controllers");
    } else {
        (void)fprintf(stderr, "skein: no controller leads, as far as any node knows; "
                              "see: skein status\n");
        rc = ERR_NOT_FOUND;
    }
    status_close(&status);
    return rc;
}

static const struct status_table *find_table(const struct status *status, const char *name)
{
    for (size_t i = 0; i < status->table_count; i++)
        if (strcmp(status->tables[i].name, name) == 0)
            return &status->tables[i];
    return NULL;
}

static enum error add_table_leader(struct cluster *cluster, const char *name, struct target *target)
{
    const struct status_node *leader = NULL;
    const struct status_table *table;
    struct status status;

    status_gather(cluster, TIMEOUT_MS, &status);
    status_gather_tables(cluster, TIMEOUT_MS, &status);
    table = find_table(&status, name);
    if (table == NULL) {
        (void)fprintf(stderr, "skein: no table is called '%s'\n", name);
        tell_tables(&status);
    } else if (table->leader != NULL) {
        leader = table->leader;
        (void)snprintf(target->why, sizeof(target->why),
                       "it led %u of the %u shards that hold rows of %.60s", table->leads,
                       table->shards, name);
    } else {
        leader = status_busiest_leader(&status);
        if (leader == NULL)
            (void)fprintf(stderr, "skein: no shard has a leader; see: skein status\n");
        else
            (void)snprintf(target->why, sizeof(target->why),
                           "%.60s has no rows yet; it led most shards: %u", name, leader->leads);
    }
    if (leader != NULL)
        add(target, cluster_find(cluster, leader->process->name));
    status_close(&status);
    return leader != NULL ? OK : ERR_NOT_FOUND;
}

static enum error refuse_role(const struct cluster *cluster, const char *role)
{
    (void)fprintf(stderr, "skein: '%s' is somebody else by now: say the name. Not running:", role);
    for (size_t i = 0; i < cluster->daemon_count; i++)
        if (daemon_pid(&cluster->daemons[i]) == 0 || daemon_is_paused(&cluster->daemons[i]))
            (void)fprintf(stderr, " %s", cluster->daemons[i].name);
    (void)fprintf(stderr, "\n");
    return ERR_INVALID;
}

/* ---- names ---- */

static bool is_selected(const struct cluster *cluster, const struct daemon *daemon,
                        const char *word, const char *region)
{
    if (strcmp(word, "region") == 0)
        return strcmp(cluster_region_of(cluster, daemon), region) == 0;
    if (strcmp(word, "nodes") == 0)
        return !daemon->is_controller;
    if (strcmp(word, "controllers") == 0)
        return daemon->is_controller;
    return strcmp(word, "all") == 0 || strcmp(word, daemon->name) == 0;
}

static enum error add_named(struct cluster *cluster, const char *word, const char *region,
                            struct target *target)
{
    size_t before = target->count;
    bool is_region = strcmp(word, "region") == 0;
    bool is_found = false;

    for (size_t i = 0; i < cluster->daemon_count; i++)
        if (is_selected(cluster, &cluster->daemons[i], word, region)) {
            is_found = true;
            add(target, &cluster->daemons[i]);
        }
    target->is_group |= target->count > before + 1;
    if (is_found)
        return OK;
    return is_region ? unknown(cluster, "region", region) : unknown(cluster, "process", word);
}

enum error target_find(struct cluster *cluster, enum target_kind kind, int count, char **words,
                       struct target *target)
{
    enum error rc = count > 0 ? OK : unknown(cluster, "process", "");

    *target = (struct target){0};
    for (int i = 0; i < count && rc == OK; i++) {
        const char *word = words[i];
        bool is_table = strcmp(word, "leader-of") == 0;
        bool is_role = is_table || strcmp(word, "controller-leader") == 0;
        const char *name = "";

        if ((is_table || strcmp(word, "region") == 0) && i + 1 < count)
            name = words[++i];
        if (is_role && kind == TARGET_STOPPED)
            rc = refuse_role(cluster, word);
        else if (is_table)
            rc = add_table_leader(cluster, name, target);
        else if (is_role)
            rc = add_controller_leader(cluster, target);
        else
            rc = add_named(cluster, word, name, target);
    }
    return rc;
}
