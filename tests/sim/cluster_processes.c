#include "tests/sim/cluster_impl.h"

const char *const cluster_regions[3] = {"us-east-1", "eu-west-1", "ap-southeast-1"};

void cluster_process_add(struct world *world, bool is_node, uint32_t number, uint32_t count)
{
    struct process *process = &world->processes[world->process_count++];

    process->world = world;
    process->is_node = is_node;
    process->id = is_node ? number + 1 : ENV_CONTROLLER_ID_MIN + 1 + number;
    process->region = cluster_regions[number * world->options->regions / count];
    list_init(&process->exchanges);
    (void)snprintf(process->name, sizeof(process->name), "%s-%u", is_node ? "node" : "controller",
                   number + 1);
    if (!is_node)
        world->controller_ids[number] = process->id;
}

static void on_fatal(void *user, enum error rc, const char *why);

static const char *stub_tier(void *user)
{
    (void)user;
    return "stub";
}

void cluster_process_start(struct process *process)
{
    struct world *world = process->world;
    char why[ERROR_WHY_BYTES] = "";

    process->env = sim_process_start(world->sim, process->id);
    process->is_up = true;
    for (size_t i = 0; i < world->process_count; i++)
        if (world->processes[i].id != process->id)
            process->env->link->peer_set(process->env, world->processes[i].id, "sim", "sim");
    if (process->is_node) {
        const struct node_options options = {
            .name = process->name,
            .region = process->region,
            .host = process->name,
            .mesh_endpoint = "tcp://127.0.0.1:1",
            .public_key = "0123456789012345678901234567890123456789",
            .http_address = "127.0.0.1:1",
            .controller_ids = world->controller_ids,
            .controller_count = world->options->controllers,
            .key = {"AKIASIM", "secret"},
            .any_key = true,
            .heartbeat_ms = 100,
            .election_ms = 1000,
            .snapshot_entries = 64,
            .snapshot_bytes = 64 << 10,
            .sandbox_tier = stub_tier,
            .user = process,
            .on_fatal = on_fatal,
        };

        process->stub = sandbox_stub_new(process->env);
        if (node_open(process->env, &options, why, &process->node) != OK)
            cluster_story(world, "%s cannot start: %s", process->name, why);
    } else {
        struct controller_options options;

        controller_options_init(&options);
        options.controller_ids = world->controller_ids;
        options.controller_count = world->options->controllers;
        options.planner.expected_nodes = world->options->nodes;
        options.planner.shard_count = SHARDS;
        options.planner.replica_count = 3;
        options.planner.repair_after_ms = world->options->repair_after_ms;
        options.user = process;
        options.on_fatal = on_fatal;
        process->controller = controller_new(process->env, &options);
    }
}

void cluster_exchange_free(struct open_exchange *exchange)
{
    list_remove(&exchange->link);
    arena_close(&exchange->base.arena);
    free(exchange);
}

void cluster_process_crash(struct process *process, unsigned how)
{
    if (!process->is_up)
        return;
    process->is_up = false;
    sim_crash(process->world->sim, process->id, how);
    node_free(process->node);
    controller_free(process->controller);
    sandbox_stub_free(process->stub);
    process->node = NULL;
    process->controller = NULL;
    process->stub = NULL;
    while (!list_is_empty(&process->exchanges)) {
        struct open_exchange *exchange =
            container_of(process->exchanges.next, struct open_exchange, link);

        if (exchange->ask != NULL)
            exchange->ask->exchange = NULL;
        cluster_exchange_free(exchange);
    }
    process->world->result->crashes++;
}

static void fatal_later(void *user)
{
    struct process *process = user;

    cluster_process_crash(process, SIM_CRASH_KILL);
    process->wants_restart = true;
}

/* The process found its disk broken and wants to end; it may be in the middle of its own code. */
static void on_fatal(void *user, enum error rc, const char *why)
{
    struct process *process = user;

    cluster_story(process->world, "%s gives up: %s (%s)", process->name, why, error_name(rc));
    sim_after(process->world->sim, 0, fatal_later, process);
}

void cluster_process_restart(void *user)
{
    struct process *process = user;

    if (!process->is_up) {
        cluster_story(process->world, "%s starts", process->name);
        process->wants_restart = false;
        cluster_process_start(process);
    }
}

void cluster_supervise(void *user)
{
    struct world *world = user;

    for (size_t i = 0; i < world->process_count; i++)
        if (world->processes[i].wants_restart && !world->processes[i].is_up)
            cluster_process_restart(&world->processes[i]);
    sim_after(world->sim, 500000, cluster_supervise, world);
}

/* ---- what the nodes say of themselves ---- */

static void status_respond(struct http_exchange *base, int status,
                           const struct http_header *headers, size_t header_count,
                           struct buffer *body)
{
    (void)headers;
    (void)header_count;
    (void)status;
    struct buffer *out = base->impl;

    if (body != NULL) {
        buffer_put_slice(out, buffer_slice(body));
        buffer_close(body);
    }
    arena_close(&base->arena);
}

json_t *cluster_status_of(struct process *process)
{
    struct buffer body = BUFFER_INIT(BUFFER_UNLIMITED);
    struct http_exchange exchange = {
        .method = SLICE_LITERAL("GET"),
        .target = SLICE_LITERAL("/_skein/status"),
        .path = SLICE_LITERAL("/_skein/status"),
        .respond = status_respond,
        .impl = &body,
    };

    node_on_exchange(process->node, &exchange);
    json_t *status = json_loadb((const char *)body.data, body.size, 0, NULL);

    buffer_close(&body);
    return status;
}

bool cluster_replicas_are_whole(struct world *world)
{
    unsigned votes[SHARDS] = {0};

    for (size_t i = 0; i < world->process_count; i++) {
        struct process *process = &world->processes[i];
        json_t *status = process->node != NULL ? cluster_status_of(process) : NULL;
        json_t *replica;
        size_t place;

        json_array_foreach(json_object_get(status, "shards"), place, replica)
        {
            json_int_t shard = json_integer_value(json_object_get(replica, "shard"));

            votes[shard % SHARDS] += json_is_true(json_object_get(replica, "votes"));
        }
        json_decref(status);
    }
    for (size_t i = 0; i < SHARDS; i++)
        if (votes[i] < 3)
            return false;
    return true;
}
