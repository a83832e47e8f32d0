/* A status for people, and for programs. */

#include "deploy/status.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define TABLES_SHOWN 12

enum colour { PLAIN, GREEN, YELLOW, RED, BOLD, DIM };

struct page {
    const struct cluster *cluster;
    const struct status *status;
    bool is_coloured;
};

static const char *paint(const struct page *page, enum colour colour)
{
    static const char *const codes[] = {"\033[0m",  "\033[32m", "\033[33m",
                                        "\033[31m", "\033[1m",  "\033[2m"};

    return page->is_coloured ? codes[colour] : "";
}

static void print_problem(void *user, const char *what, const char *next)
{
    const struct page *page = user;

    (void)printf("  %s%s%s\n    -> %s\n", paint(page, YELLOW), what, paint(page, PLAIN), next);
}

static void print_summary(const struct page *page)
{
    const struct cluster *cluster = page->cluster;
    const struct status *status = page->status;
    bool is_healthy = status_is_healthy(cluster, status);
    bool is_serving = status_is_serving(status);
    const char *word = is_healthy ? "healthy" : is_serving ? "degraded, serving" : "degraded";

    (void)printf("%s%s%s  http://127.0.0.1:%u   %u of %zu nodes, %u of %zu controllers, "
                 "%u of %u shards led, %u whole, %u equal\n",
                 paint(page, is_healthy   ? GREEN
                             : is_serving ? YELLOW
                                          : RED),
                 word, paint(page, PLAIN), cluster->file.port, status->nodes_up, status->node_count,
                 status->controllers_up, cluster->controller_count, status->shards_led,
                 status->shard_count, status->shards_whole, status->shards_equal);
    if (!is_healthy) {
        (void)printf("\n");
        status_each_problem(cluster, status, (void *)(uintptr_t)page, print_problem);
    }
    (void)printf("\n");
}

static void print_name(const struct page *page, const char *region, const char *name,
                       const char *state, enum colour colour)
{
    (void)printf("%-15s %-14s %s%-8s%s", region, name, paint(page, colour), state,
                 paint(page, PLAIN));
}

static void print_node(const struct page *page, const char *region, const struct status_node *node)
{
    const json_t *functions = json_object_get(node->facts, "functions");
    const char *name = node->process->name;

    if (node->facts == NULL) {
        print_name(page, region, name,
                   node->pid == 0    ? "down"
                   : node->is_paused ? "paused"
                                     : "silent",
                   RED);
        (void)printf("\n");
        return;
    }
    print_name(page, region, name, "up", GREEN);
    (void)printf(" %s%5u%s  %8u  %s%5" PRIu64 "%s  %3d busy %3d idle   %s%s%s\n",
                 paint(page, node->leads > 0 ? BOLD : PLAIN), node->leads, paint(page, PLAIN),
                 node->replicas, paint(page, node->lag > 0 ? YELLOW : PLAIN), node->lag,
                 paint(page, PLAIN), (int)json_integer_value(json_object_get(functions, "busy")),
                 (int)json_integer_value(json_object_get(functions, "idle")), paint(page, DIM),
                 node->process->http_address, paint(page, PLAIN));
}

static void print_controller(const struct page *page, const char *region,
                             const struct daemon *daemon)
{
    if (daemon_pid(daemon) == 0)
        print_name(page, region, daemon->name, "down", RED);
    else if (daemon_is_paused(daemon))
        print_name(page, region, daemon->name, "paused", RED);
    else
        print_name(page, region, daemon->name, "up", GREEN);
    if (daemon == page->status->controller_leader)
        (void)printf(" %sleads the controllers%s", paint(page, BOLD), paint(page, PLAIN));
    (void)printf("\n");
}

static void print_region(const struct page *page, const char *region)
{
    const struct cluster *cluster = page->cluster;
    const char *shown = region;

    for (size_t i = 0; i < page->status->node_count; i++) {
        if (strcmp(page->status->nodes[i].process->region, region) != 0)
            continue;
        print_node(page, shown, &page->status->nodes[i]);
        shown = "";
    }
    for (size_t i = 0; i < cluster->controller_count; i++) {
        if (strcmp(cluster->file.controllers[i].region, region) != 0)
            continue;
        print_controller(page, shown, &cluster->daemons[i]);
        shown = "";
    }
}

static void print_tables(const struct page *page)
{
    const struct status *status = page->status;

    for (size_t i = 0; i < status->table_count && i < TABLES_SHOWN; i++) {
        const struct status_table *table = &status->tables[i];

        (void)printf("%s%-30s ", i == 0 ? "\nTABLE                          LED BY\n" : "",
                     table->name);
        if (table->leader != NULL)
            (void)printf("%s, for %u of the %u shards that hold its rows\n",
                         table->leader->process->name, table->leads, table->shards);
        else
            (void)printf("no rows yet\n");
    }
    if (status->table_count > TABLES_SHOWN)
        (void)printf("and %zu more tables\n", status->table_count - TABLES_SHOWN);
}

/* How well functions are isolated from the host: the same on all nodes of a machine. */
static void print_isolation(const struct page *page)
{
    for (size_t i = 0; i < page->status->node_count; i++) {
        const char *tier =
            json_string_value(json_object_get(page->status->nodes[i].facts, "sandbox"));

        if (tier == NULL)
            continue;
        (void)printf("\n%sfunctions: %s%s\n", paint(page, DIM), tier, paint(page, PLAIN));
        return;
    }
}

void status_print(const struct cluster *cluster, const struct status *status, bool is_coloured)
{
    const struct page page = {cluster, status, is_coloured};

    print_summary(&page);
    (void)printf("%s%-15s %-14s %-8s %5s  %8s  %5s  %-17s  %s%s\n", paint(&page, DIM), "REGION",
                 "PROCESS", "STATE", "LEADS", "REPLICAS", "LAG", "SANDBOXES", "ADDRESS",
                 paint(&page, PLAIN));
    for (size_t i = 0; i < cluster->region_count; i++)
        print_region(&page, cluster->regions[i]);
    print_tables(&page);
    print_isolation(&page);
}

/* ---- JSON ---- */

static void add_problem(void *user, const char *what, const char *next)
{
    (void)json_array_append_new(user, json_pack("{s:s, s:s}", "what", what, "next", next));
}

static json_t *nodes_json(const struct status *status)
{
    json_t *nodes = json_array();

    for (size_t i = 0; i < status->node_count; i++) {
        const struct status_node *node = &status->nodes[i];

        (void)json_array_append_new(
            nodes,
            json_pack("{s:s, s:s, s:i, s:b, s:b, s:i, s:i, s:I, s:O*}", "name", node->process->name,
                      "region", node->process->region, "pid", (int)node->pid, "answers",
                      node->facts != NULL, "paused", node->is_paused, "leads", (int)node->leads,
                      "replicas", (int)node->replicas, "lag", (json_int_t)node->lag, "facts",
                      node->facts));
    }
    return nodes;
}

static json_t *controllers_json(const struct cluster *cluster, const struct status *status)
{
    json_t *controllers = json_array();

    for (size_t i = 0; i < cluster->controller_count; i++) {
        const struct daemon *daemon = &cluster->daemons[i];

        (void)json_array_append_new(
            controllers,
            json_pack("{s:s, s:s, s:i, s:b, s:b}", "name", daemon->name, "region",
                      cluster->file.controllers[i].region, "pid", (int)daemon_pid(daemon), "paused",
                      daemon_is_paused(daemon), "leads", daemon == status->controller_leader));
    }
    return controllers;
}

static json_t *tables_json(const struct status *status)
{
    json_t *tables = json_array();

    for (size_t i = 0; i < status->table_count; i++) {
        const struct status_table *table = &status->tables[i];

        (void)json_array_append_new(
            tables, json_pack("{s:s, s:s?, s:i, s:i}", "name", table->name, "leader",
                              table->leader != NULL ? table->leader->process->name : NULL, "leads",
                              (int)table->leads, "shards", (int)table->shards));
    }
    return tables;
}

void status_print_json(const struct cluster *cluster, const struct status *status)
{
    json_t *problems = json_array();

    status_each_problem(cluster, status, problems, add_problem);
    json_t *all = json_pack(
        "{s:b, s:b, s:i, s:i, s:s?, s:i, s:i, s:i, s:i, s:i, s:o, s:o, s:o, s:o}", "healthy",
        status_is_healthy(cluster, status), "serving", status_is_serving(status), "nodes_up",
        (int)status->nodes_up, "controllers_up", (int)status->controllers_up, "controller_leader",
        status->controller_leader != NULL ? status->controller_leader->name : NULL, "shards",
        (int)status->shard_count, "shards_led", (int)status->shards_led, "shards_whole",
        (int)status->shards_whole, "shards_equal", (int)status->shards_equal, "shards_unequal",
        (int)status->shards_unequal, "problems", problems, "nodes", nodes_json(status),
        "controllers", controllers_json(cluster, status), "tables", tables_json(status));

    (void)json_dumpf(all, stdout, JSON_INDENT(2));
    (void)printf("\n");
    json_decref(all);
}
