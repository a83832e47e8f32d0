#include "tests/sim/cluster.h"

#include "controller/controller.h"
#include "node/node.h"
#include "node/sandbox/sandbox_stub.h"
#include "proto/base/check.h"
#include "proto/env/env_sim.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>

#define NODES_MAX 9
#define PROCESSES_MAX (NODES_MAX + 5)
#define WRITERS 4
#define READERS 3
#define RACERS 3
#define RACES_MAX 2000
#define ATTEMPT_US 4000000u
#define SHARDS 6
#define BIRTH_US 60000000u
#define CALM_US 60000000u

static const char *const regions[] = {"us-east-1", "eu-west-1", "ap-southeast-1"};

struct world;

struct process {
    struct world *world;
    uint64_t id;
    bool is_node;
    char name[16];
    const char *region;
    struct env *env;
    struct node *node;
    struct controller *controller;
    struct sandbox_stub *stub;
    struct list exchanges; /* open ones, to free after a crash */
    bool is_up;
    bool wants_restart;
};

/* One client's request: sent to a node, answered or given up, then `on_done`. */
struct ask {
    struct world *world;
    struct open_exchange *exchange; /* NULL once answered, given up or lost with its node */
    uint64_t attempt;               /* a late answer or time-out of an older attempt is ignored */
    void (*on_done)(struct ask *ask, int status, const char *body);
};

struct open_exchange {
    struct http_exchange base;
    struct list link;
    struct ask *ask; /* NULL = nobody waits any more */
    struct http_header headers[4];
};

/* Writes 1, 2, 3 ... to its own key, each until it is acknowledged. A write that had no answer in
 * time may still happen at any time, also after its repetition; the condition makes that harmless,
 * as it would for any careful client, and shows that the repetition found the first one done. */
struct writer {
    struct ask ask;
    int number;
    uint64_t value;        /* being written */
    uint64_t acknowledged; /* all below or equal are */
};

struct reader_client {
    struct ask ask;
    struct writer *of;
    uint64_t floor; /* acknowledged before the read was asked */
};

struct racer { /* tries to be the first to put each of a row of orders */
    struct ask ask;
    int number;
    uint64_t race;
};

struct counter_client {
    struct ask ask;
    uint64_t acknowledged;
    uint64_t unsure;
};

struct world {
    const struct cluster_sim_options *options;
    struct cluster_sim_result *result;
    struct sim *sim;
    struct process processes[PROCESSES_MAX];
    size_t process_count;
    uint64_t controller_ids[5];
    struct writer writers[WRITERS];
    struct reader_client readers[READERS];
    struct racer racers[RACERS];
    int winners[RACES_MAX]; /* racer number + 1 */
    struct counter_client counter;
    struct ask setup;
    bool is_set_up;
    bool is_calm;     /* no faults any more */
    bool is_stopping; /* clients start nothing new */
    size_t final_left;
    uint32_t fault_kinds; /* bit mask of this seed's swarm */
};

static void fail(struct world *world, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static void fail(struct world *world, const char *format, ...)
{
    va_list arguments;

    if (!world->result->is_ok)
        return;
    world->result->is_ok = false;
    va_start(arguments, format);
    (void)vsnprintf(world->result->why, sizeof(world->result->why), format, arguments);
    va_end(arguments);
}

static void story(struct world *world, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static void story(struct world *world, const char *format, ...)
{
    va_list arguments;

    if (!world->options->has_story)
        return;
    (void)fprintf(stderr, "%10.3f ms  == ", (double)sim_now_us(world->sim) / 1000);
    va_start(arguments, format);
    (void)vfprintf(stderr, format, arguments);
    va_end(arguments);
    (void)fputc('\n', stderr);
}

static uint64_t dice(struct world *world, uint64_t bound)
{
    return rng_below(sim_rng(world->sim), bound);
}

/* ---- processes
 * ------------------------------------------------------------------------------------ */

static void on_fatal(void *user, enum error rc, const char *why);

static const char *stub_tier(void *user)
{
    (void)user;
    return "stub";
}

static void process_start(struct process *process)
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
            story(world, "%s cannot start: %s", process->name, why);
    } else {
        struct controller_options options;

        controller_options_init(&options);
        options.controller_ids = world->controller_ids;
        options.controller_count = world->options->controllers;
        options.planner.expected_nodes = world->options->nodes;
        options.planner.shard_count = SHARDS;
        options.planner.replica_count = 3;
        options.user = process;
        options.on_fatal = on_fatal;
        process->controller = controller_new(process->env, &options);
    }
}

static void exchange_free(struct open_exchange *exchange)
{
    list_remove(&exchange->link);
    arena_close(&exchange->base.arena);
    free(exchange);
}

static void process_crash(struct process *process, unsigned how)
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
        exchange_free(exchange);
    }
    process->world->result->crashes++;
}

static void fatal_later(void *user)
{
    struct process *process = user;

    process_crash(process, SIM_CRASH_KILL);
    process->wants_restart = true;
}

/* The process found its disk broken and wants to end; it may be in the middle of its own code. */
static void on_fatal(void *user, enum error rc, const char *why)
{
    struct process *process = user;

    story(process->world, "%s gives up: %s (%s)", process->name, why, error_name(rc));
    sim_after(process->world->sim, 0, fatal_later, process);
}

/* ---- asking
 * ----------------------------------------------------------------------------------------- */

static void ask_done(struct ask *ask, int status, const char *body)
{
    ask->attempt++;
    ask->exchange = NULL;
    ask->on_done(ask, status, body);
}

struct answer { /* carried from the node's turn to a turn of the harness */
    struct ask *ask;
    uint64_t attempt;
    int status;
    char *body;
};

static void on_answer(void *user)
{
    struct answer *answer = user;

    if (answer->ask->attempt == answer->attempt)
        ask_done(answer->ask, answer->status, answer->body);
    free(answer->body);
    free(answer);
}

static void respond(struct http_exchange *base, int status, const struct http_header *headers,
                    size_t header_count, struct buffer *body)
{
    struct open_exchange *exchange = container_of(base, struct open_exchange, base);
    struct ask *ask = exchange->ask;

    (void)headers;
    (void)header_count;
    if (ask != NULL) {
        struct answer *answer = check_calloc(1, sizeof(*answer));

        *answer =
            (struct answer){ask, ask->attempt, status,
                            body != NULL ? slice_strdup(buffer_slice(body)) : check_strdup("")};
        ask->exchange = NULL;
        sim_after(ask->world->sim, 100, on_answer, answer);
    }
    if (body != NULL)
        buffer_close(body);
    exchange_free(exchange);
}

struct give_up {
    struct ask *ask;
    uint64_t attempt;
};

static void on_give_up(void *user)
{
    struct give_up *give_up = user;
    struct ask *ask = give_up->ask;

    if (ask->attempt == give_up->attempt) {
        if (ask->exchange != NULL)
            ask->exchange->ask = NULL;
        ask_done(ask, 0, "");
    }
    free(give_up);
}

static struct process *node_in(struct world *world, const char *region)
{
    for (int tries = 0; tries < 50; tries++) {
        struct process *process = &world->processes[dice(world, world->process_count)];

        if (process->is_node && process->is_up && process->node != NULL &&
            !sim_is_paused(world->sim, process->id) &&
            (region == NULL || strcmp(region, process->region) == 0))
            return process;
    }
    return NULL;
}

/* Status 0: no answer in time, or nobody to ask. `region` NULL = any node. */
static void ask_start(struct ask *ask, const char *region, const char *target, const char *body)
{
    struct world *world = ask->world;
    struct process *process = node_in(world, region);
    struct give_up *give_up = check_malloc(sizeof(*give_up));
    struct open_exchange *exchange;
    struct arena *arena;
    char scope[256];

    *give_up = (struct give_up){ask, ask->attempt};
    sim_after(world->sim, process != NULL ? ATTEMPT_US : 100000, on_give_up, give_up);
    if (process == NULL)
        return;
    exchange = check_calloc(1, sizeof(*exchange));
    arena = &exchange->base.arena;
    arena_init(arena);
    (void)snprintf(scope, sizeof(scope),
                   "AWS4-HMAC-SHA256 Credential=AKIASIM/20261123/%s/dynamodb/aws4_request, "
                   "SignedHeaders=host, Signature="
                   "0000000000000000000000000000000000000000000000000000000000000000",
                   region != NULL ? region : process->region);
    exchange->headers[0] =
        (struct http_header){SLICE_LITERAL("Authorization"), arena_copy(arena, slice_text(scope))};
    exchange->headers[1] =
        (struct http_header){SLICE_LITERAL("X-Amz-Target"), arena_copy(arena, slice_text(target))};
    exchange->headers[2] = (struct http_header){SLICE_LITERAL("Host"), SLICE_LITERAL("sim")};
    exchange->headers[3] = (struct http_header){SLICE_LITERAL("Content-Type"),
                                                SLICE_LITERAL("application/x-amz-json-1.0")};
    exchange->base.method = SLICE_LITERAL("POST");
    exchange->base.target = SLICE_LITERAL("/");
    exchange->base.path = SLICE_LITERAL("/");
    exchange->base.headers = exchange->headers;
    exchange->base.header_count = ARRAY_COUNT(exchange->headers);
    exchange->base.body = arena_copy(arena, slice_text(body));
    exchange->base.received_us = env_now_us(process->env);
    exchange->base.respond = respond;
    (void)snprintf(exchange->base.peer_address, sizeof(exchange->base.peer_address), "127.0.0.1");
    (void)snprintf(exchange->base.request_id, sizeof(exchange->base.request_id), "sim");
    exchange->ask = ask;
    ask->exchange = exchange;
    list_append(&process->exchanges, &exchange->link);
    node_on_exchange(process->node, &exchange->base);
}

#define TARGET(name) ("DynamoDB_20120810." name)

static bool is_retryable(int status, const char *body)
{
    return status == 0 || status >= 500 || strstr(body, "Throttling") != NULL ||
           strstr(body, "ThroughputExceeded") != NULL;
}

/* ---- writers
 * ---------------------------------------------------------------------------------------- */

static void writer_go(void *user)
{
    struct writer *writer = user;
    char body[400];

    if (writer->ask.world->is_stopping)
        return;
    (void)snprintf(body, sizeof(body),
                   "{\"TableName\":\"Tab\",\"Item\":{\"id\":{\"S\":\"w%d\"},\"n\":{\"N\":\"%" PRIu64
                   "\"}},\"ConditionExpression\":\"attribute_not_exists(n) OR n < :n\","
                   "\"ExpressionAttributeValues\":{\":n\":{\"N\":\"%" PRIu64 "\"}}}",
                   writer->number, writer->value, writer->value);
    ask_start(&writer->ask, NULL, TARGET("PutItem"), body);
}

static void writer_on_done(struct ask *ask, int status, const char *body)
{
    struct writer *writer = container_of(ask, struct writer, ask);
    struct world *world = ask->world;

    if (status == 200 || strstr(body, "ConditionalCheckFailed") != NULL) {
        writer->acknowledged = writer->value++;
        world->result->acknowledged++;
        sim_trace(world->sim, writer->acknowledged);
    } else if (!is_retryable(status, body)) {
        fail(world, "PutItem answered %d %.120s", status, body);
    }
    sim_after(world->sim, 2000 + dice(world, 30000), writer_go, writer);
}

/* ---- readers
 * ---------------------------------------------------------------------------------------- */

/* The number in `"n":{"N":"..."}`; 0 when there is no item. */
static uint64_t number_in(const char *body)
{
    const char *at = strstr(body, "\"n\":{\"N\":\"");

    return at != NULL ? strtoull(at + strlen("\"n\":{\"N\":\""), NULL, 10) : 0;
}

static void reader_go(void *user)
{
    struct reader_client *reader = user;
    struct world *world = reader->ask.world;
    char body[200];

    if (world->is_stopping)
        return;
    reader->of = &world->writers[dice(world, WRITERS)];
    reader->floor = reader->of->acknowledged;
    (void)snprintf(
        body, sizeof(body),
        "{\"TableName\":\"Tab\",\"Key\":{\"id\":{\"S\":\"w%d\"}},\"ConsistentRead\":true}",
        reader->of->number);
    ask_start(&reader->ask, NULL, TARGET("GetItem"), body);
}

static void reader_on_done(struct ask *ask, int status, const char *body)
{
    struct reader_client *reader = container_of(ask, struct reader_client, ask);
    struct world *world = ask->world;

    if (status == 200) {
        uint64_t read = number_in(body);

        world->result->reads++;
        sim_trace(world->sim, read);
        if (read < reader->floor || read > reader->of->value)
            fail(world,
                 "a strong read of w%d gave %" PRIu64 ", but %" PRIu64
                 " was acknowledged before it and %" PRIu64 " was the newest ever written",
                 reader->of->number, read, reader->floor, reader->of->value);
    } else if (!is_retryable(status, body)) {
        fail(world, "GetItem answered %d %.120s", status, body);
    }
    sim_after(world->sim, 5000 + dice(world, 40000), reader_go, reader);
}

/* ---- races to put-if-absent
 * ------------------------------------------------------------------------- */

static void racer_go(void *user)
{
    struct racer *racer = user;
    char body[300];

    if (racer->ask.world->is_stopping || racer->race >= RACES_MAX)
        return;
    (void)snprintf(
        body, sizeof(body),
        "{\"TableName\":\"Tab\",\"Item\":{\"id\":{\"S\":\"race%" PRIu64
        "\"},\"n\":{\"N\":\"%d\"}},\"ConditionExpression\":\"attribute_not_exists(id)\"}",
        racer->race, racer->number + 1);
    ask_start(&racer->ask, NULL, TARGET("PutItem"), body);
}

static void racer_on_done(struct ask *ask, int status, const char *body)
{
    struct racer *racer = container_of(ask, struct racer, ask);
    struct world *world = ask->world;

    if (status == 200) {
        int *winner = &world->winners[racer->race];

        if (*winner != 0)
            fail(world, "race %" PRIu64 " was won by racer %d and by racer %d", racer->race,
                 *winner - 1, racer->number);
        *winner = racer->number + 1;
        world->result->acknowledged++;
    } else if (is_retryable(status, body)) {
        sim_after(world->sim, 20000 + dice(world, 50000), racer_go, racer);
        return;
    } else if (strstr(body, "ConditionalCheckFailed") == NULL) {
        fail(world, "a conditional PutItem answered %d %.120s", status, body);
    }
    racer->race++;
    sim_after(world->sim, 5000 + dice(world, 60000), racer_go, racer);
}

/* ---- a counter
 * ----------------------------------------------------------------------------------------- */

static void counter_go(void *user)
{
    struct counter_client *counter = user;

    if (!counter->ask.world->is_stopping)
        ask_start(&counter->ask, NULL, TARGET("UpdateItem"),
                  "{\"TableName\":\"Tab\",\"Key\":{\"id\":{\"S\":\"counter\"}},"
                  "\"UpdateExpression\":\"ADD n :one\","
                  "\"ExpressionAttributeValues\":{\":one\":{\"N\":\"1\"}}}");
}

static void counter_on_done(struct ask *ask, int status, const char *body)
{
    struct counter_client *counter = container_of(ask, struct counter_client, ask);

    /* No retries: what was not answered may or may not have counted. */
    if (status == 200)
        counter->acknowledged++;
    else if (is_retryable(status, body))
        counter->unsure++;
    else
        fail(ask->world, "UpdateItem answered %d %.120s", status, body);
    sim_after(ask->world->sim, 5000 + dice(ask->world, 30000), counter_go, counter);
}

/* ---- setting up
 * ------------------------------------------------------------------------------------------- */

static void setup_go(void *user)
{
    struct world *world = user;

    ask_start(
        &world->setup, NULL, TARGET("CreateTable"),
        "{\"TableName\":\"Tab\",\"KeySchema\":[{\"AttributeName\":\"id\",\"KeyType\":\"HASH\"}],"
        "\"AttributeDefinitions\":[{\"AttributeName\":\"id\",\"AttributeType\":\"S\"}],"
        "\"BillingMode\":\"PAY_PER_REQUEST\"}");
}

static void setup_on_done(struct ask *ask, int status, const char *body)
{
    struct world *world = ask->world;

    if (status == 200 || strstr(body, "ResourceInUse") != NULL)
        world->is_set_up = true;
    else if (status == 0 || status >= 500)
        sim_after(world->sim, 200000, setup_go, world);
    else
        fail(world, "CreateTable answered %d %.120s", status, body);
}

static void clients_start(struct world *world)
{
    for (int i = 0; i < WRITERS; i++) {
        world->writers[i] = (struct writer){
            .ask = {.world = world, .on_done = writer_on_done}, .number = i, .value = 1};
        writer_go(&world->writers[i]);
    }
    for (int i = 0; i < READERS; i++) {
        world->readers[i] =
            (struct reader_client){.ask = {.world = world, .on_done = reader_on_done}};
        reader_go(&world->readers[i]);
    }
    for (int i = 0; i < RACERS; i++) {
        world->racers[i] =
            (struct racer){.ask = {.world = world, .on_done = racer_on_done}, .number = i};
        racer_go(&world->racers[i]);
    }
    world->counter = (struct counter_client){.ask = {.world = world, .on_done = counter_on_done}};
    counter_go(&world->counter);
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

static json_t *status_of(struct process *process)
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

/* Has each shard three replicas that can vote, on nodes that are up? */
static bool are_replicas_whole(struct world *world)
{
    unsigned votes[SHARDS] = {0};

    for (size_t i = 0; i < world->process_count; i++) {
        struct process *process = &world->processes[i];
        json_t *status = process->node != NULL ? status_of(process) : NULL;
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

/* ---- faults
 * -------------------------------------------------------------------------------------------------
 */

enum fault {
    FAULT_CRASH,
    FAULT_POWER,
    FAULT_REGION,
    FAULT_CUT,
    FAULT_ONE_WAY,
    FAULT_PAUSE,
    FAULT_LOSS,
    FAULT_SLOW_DISK,
    FAULT_CLOCK,
    FAULT_ALL_POWER,
    FAULT_WIPE,
    FAULT_COUNT
};

static void restart_later(void *user)
{
    struct process *process = user;

    if (!process->is_up) {
        story(process->world, "%s starts", process->name);
        process->wants_restart = false;
        process_start(process);
    }
}

static void resume_later(void *user)
{
    struct process *process = user;

    if (process->is_up)
        sim_resume(process->world->sim, process->id);
}

static void crash_and_restart(struct process *process, unsigned how)
{
    struct world *world = process->world;

    if (!process->is_up)
        return;
    story(world, "%s crashes (%s)", process->name, how == SIM_CRASH_KILL ? "killed" : "power");
    process_crash(process, how);
    sim_after(world->sim, 100000 + dice(world, 4000000), restart_later, process);
}

static void heal_later(void *user)
{
    struct world *world = user;

    sim_link_heal_all(world->sim);
}

static unsigned power_loss(struct world *world)
{
    return dice(world, 2) == 0 ? SIM_CRASH_LOSE : SIM_CRASH_TEAR;
}

static void inject(struct world *world, enum fault fault)
{
    struct sim *sim = world->sim;
    struct process *one = &world->processes[dice(world, world->process_count)];
    struct process *other = &world->processes[dice(world, world->process_count)];

    switch (fault) {
    case FAULT_CRASH:
        crash_and_restart(one, SIM_CRASH_KILL);
        break;
    case FAULT_POWER:
        crash_and_restart(one, power_loss(world));
        break;
    case FAULT_REGION:
        story(world, "region %s is cut off", one->region);
        for (size_t i = 0; i < world->process_count; i++)
            for (size_t j = 0; j < world->process_count; j++)
                if ((world->processes[i].region == one->region) !=
                    (world->processes[j].region == one->region))
                    sim_link_cut(sim, world->processes[i].id, world->processes[j].id);
        sim_after(sim, 500000 + dice(world, 4000000), heal_later, world);
        break;
    case FAULT_CUT:
        story(world, "%s and %s are cut", one->name, other->name);
        if (one != other) {
            sim_link_cut(sim, one->id, other->id);
            sim_link_cut(sim, other->id, one->id);
        }
        sim_after(sim, 500000 + dice(world, 4000000), heal_later, world);
        break;
    case FAULT_ONE_WAY:
        story(world, "%s no longer reaches %s", one->name, other->name);
        if (one != other)
            sim_link_cut(sim, one->id, other->id);
        sim_after(sim, 500000 + dice(world, 4000000), heal_later, world);
        break;
    case FAULT_PAUSE:
        if (one->is_up && !sim_is_paused(sim, one->id)) {
            story(world, "%s is paused", one->name);
            sim_pause(sim, one->id);
            sim_after(sim, 100000 + dice(world, 4000000), resume_later, one);
        }
        break;
    case FAULT_LOSS:
        story(world, "messages from %s to %s get lost", one->name, other->name);
        if (one != other)
            sim_link_loss(sim, one->id, other->id, 50000);
        sim_after(sim, 500000 + dice(world, 4000000), heal_later, world);
        break;
    case FAULT_SLOW_DISK:
        story(world, "%s has a slow disk", one->name);
        sim_disk_speed(sim, one->id, (struct sim_range){5000, 60000});
        break;
    case FAULT_CLOCK:
        story(world, "%s has a wrong clock", one->name);
        sim_wall_skew(sim, one->id, (int64_t)dice(world, 7200000) - 3600000);
        break;
    case FAULT_ALL_POWER:
        story(world, "the power fails everywhere");
        for (size_t i = 0; i < world->process_count; i++)
            crash_and_restart(&world->processes[i], power_loss(world));
        break;
    case FAULT_WIPE: /* the next disk only when what was on the one before is back in its place */
        if (one->is_node && one->is_up && are_replicas_whole(world)) {
            story(world, "%s crashes and its disk is replaced", one->name);
            process_crash(one, SIM_CRASH_LOSE);
            sim_disk_wipe(sim, one->id);
            sim_after(sim, 100000 + dice(world, 1000000), restart_later, one);
        }
        break;
    case FAULT_COUNT:
        break;
    }
    world->result->faults++;
}

static void fault_go(void *user)
{
    struct world *world = user;
    enum fault fault = (enum fault)dice(world, FAULT_COUNT);

    if (world->is_calm)
        return;
    if ((world->fault_kinds >> fault & 1) != 0)
        inject(world, fault);
    sim_after(world->sim, 100000 + dice(world, 1500000), fault_go, world);
}

static void calm_down(struct world *world)
{
    const struct sim_options usual = sim_options_default(1);

    story(world, "everything heals");
    world->is_calm = true;
    sim_link_heal_all(world->sim);
    for (size_t i = 0; i < world->process_count; i++) {
        struct process *process = &world->processes[i];

        sim_disk_speed(world->sim, process->id, usual.sync);
        sim_wall_skew(world->sim, process->id, 0);
        if (!process->is_up)
            process_start(process);
        else if (sim_is_paused(world->sim, process->id))
            sim_resume(world->sim, process->id);
    }
}

/* A process that gave up by itself is restarted by its supervisor. */
static void supervise(void *user)
{
    struct world *world = user;

    for (size_t i = 0; i < world->process_count; i++)
        if (world->processes[i].wants_restart && !world->processes[i].is_up)
            restart_later(&world->processes[i]);
    sim_after(world->sim, 500000, supervise, world);
}

/* ---- the end: everything must be there, everywhere
 * ------------------------------------------------------------- */

struct final_read {
    struct ask ask;
    const char *region;
    char key[32];
    uint64_t least;
    uint64_t most;
    unsigned attempts;
};

static void final_go(void *user)
{
    struct final_read *read = user;
    char body[200];

    (void)snprintf(body, sizeof(body), "{\"TableName\":\"Tab\",\"Key\":{\"id\":{\"S\":\"%s\"}}}",
                   read->key);
    ask_start(&read->ask, read->region, TARGET("GetItem"), body);
}

static void final_on_done(struct ask *ask, int status, const char *body)
{
    struct final_read *read = container_of(ask, struct final_read, ask);
    struct world *world = ask->world;
    uint64_t value = number_in(body);

    if (status == 200 && value >= read->least && value <= read->most) {
        world->final_left--;
        return;
    }
    if (++read->attempts < 40) { /* an eventual read may trail for a moment */
        sim_after(world->sim, 250000, final_go, read);
        return;
    }
    fail(world, "%s reads %" PRIu64 " from %s (status %d), expected %" PRIu64 " to %" PRIu64,
         read->region, value, read->key, status, read->least, read->most);
    world->final_left--;
}

static void final_add(struct world *world, struct final_read *reads, size_t *count, const char *key,
                      uint64_t least, uint64_t most)
{
    for (size_t r = 0; r < world->options->regions; r++) {
        struct final_read *read = &reads[(*count)++];

        *read = (struct final_read){.ask = {.world = world, .on_done = final_on_done},
                                    .region = regions[r],
                                    .least = least,
                                    .most = most};
        (void)snprintf(read->key, sizeof(read->key), "%s", key);
        world->final_left++;
        final_go(read);
    }
}

static void check_values(struct world *world)
{
    size_t most = (WRITERS + 1 + RACES_MAX) * world->options->regions;
    struct final_read *reads = check_calloc(most, sizeof(*reads));
    size_t count = 0;
    char key[32];

    for (int i = 0; i < WRITERS; i++) {
        (void)snprintf(key, sizeof(key), "w%d", i);
        final_add(world, reads, &count, key, world->writers[i].acknowledged,
                  world->writers[i].value);
    }
    final_add(world, reads, &count, "counter", world->counter.acknowledged,
              world->counter.acknowledged + world->counter.unsure);
    for (uint64_t race = 0; race < RACES_MAX; race++) {
        if (world->winners[race] == 0)
            continue;
        (void)snprintf(key, sizeof(key), "race%" PRIu64, race);
        final_add(world, reads, &count, key, (uint64_t)world->winners[race],
                  (uint64_t)world->winners[race]);
    }
    uint64_t end = sim_now_us(world->sim) + CALM_US * 2;

    while (world->final_left > 0 && sim_now_us(world->sim) < end && sim_step(world->sim))
        continue;
    if (world->final_left > 0)
        fail(world, "%zu final reads were never answered", world->final_left);
    for (size_t i = 0; i < count; i++)
        if (reads[i].ask.exchange != NULL)
            reads[i].ask.exchange->ask = NULL;
    sim_run_until(world->sim, sim_now_us(world->sim) + ATTEMPT_US + 1000);
    free(reads);
}

struct shard_seen {
    unsigned replicas;
    uint64_t applied;
    char hash[20];
};

/* All replicas of every shard at the same index, with the same hash? */
static bool are_replicas_equal(struct world *world, char *why, size_t why_bytes)
{
    struct shard_seen shards[SHARDS] = {0};
    bool is_equal = true;

    for (size_t i = 0; i < world->process_count; i++) {
        struct process *process = &world->processes[i];
        json_t *status = process->node != NULL ? status_of(process) : NULL;
        json_t *replica;
        size_t place;

        json_array_foreach(json_object_get(status, "shards"), place, replica)
        {
            uint64_t number = (uint64_t)json_integer_value(json_object_get(replica, "shard"));
            uint64_t applied = (uint64_t)json_integer_value(json_object_get(replica, "applied"));
            const char *hash = json_string_value(json_object_get(replica, "hash"));
            struct shard_seen *seen = &shards[number % SHARDS];

            if (seen->replicas > 0 && (seen->applied != applied || strcmp(seen->hash, hash) != 0)) {
                (void)snprintf(why, why_bytes,
                               "shard %" PRIu64 ": %s has %s at %" PRIu64
                               ", another replica %s at %" PRIu64,
                               number, process->name, hash, applied, seen->hash, seen->applied);
                is_equal = false;
            }
            seen->replicas++;
            seen->applied = applied;
            (void)snprintf(seen->hash, sizeof(seen->hash), "%s", hash);
        }
        json_decref(status);
    }
    for (size_t i = 0; i < SHARDS && is_equal; i++)
        if (shards[i].replicas < 3) {
            (void)snprintf(why, why_bytes, "shard %zu has %u replicas", i, shards[i].replicas);
            is_equal = false;
        }
    return is_equal;
}

/* Where each replica stands, for who reads why a run failed. */
static void tell_replicas(struct world *world)
{
    for (size_t i = 0; i < world->process_count; i++) {
        struct process *process = &world->processes[i];
        json_t *status = process->node != NULL ? status_of(process) : NULL;
        json_t *replica;
        size_t place;

        json_array_foreach(json_object_get(status, "shards"), place, replica)
        {
            char *text = json_dumps(replica, JSON_COMPACT);

            story(world, "%s: %s", process->name, text);
            free(text);
        }
        json_decref(status);
    }
}

static void check_replicas(struct world *world)
{
    char why[160] = "";

    for (int tries = 0; tries < 60; tries++) {
        if (are_replicas_equal(world, why, sizeof(why)))
            return;
        sim_run_until(world->sim, sim_now_us(world->sim) + 500000);
    }
    fail(world, "replicas do not converge: %s", why);
}

/* ---- the whole
 * --------------------------------------------------------------------------------------------------
 */

struct cluster_sim_options cluster_sim_options_default(uint64_t seed)
{
    return (struct cluster_sim_options){
        .seed = seed, .nodes = 6, .regions = 3, .controllers = 3, .ms = 20000};
}

static void add_process(struct world *world, bool is_node, uint32_t number, uint32_t count)
{
    struct process *process = &world->processes[world->process_count++];

    process->world = world;
    process->is_node = is_node;
    process->id = is_node ? number + 1 : ENV_CONTROLLER_ID_MIN + 1 + number;
    process->region = regions[number * world->options->regions / count];
    list_init(&process->exchanges);
    (void)snprintf(process->name, sizeof(process->name), "%s-%u", is_node ? "node" : "controller",
                   number + 1);
    if (!is_node)
        world->controller_ids[number] = process->id;
}

/* A writer that got no further than `before`, -1 = none. */
static int writer_without(const struct world *world, const uint64_t before[WRITERS])
{
    for (int i = 0; i < WRITERS; i++)
        if (world->writers[i].acknowledged == before[i])
            return i;
    return -1;
}

static void run(struct world *world)
{
    const struct cluster_sim_options *options = world->options;
    struct sim *sim = world->sim;

    for (size_t i = 0; i < world->process_count; i++)
        process_start(&world->processes[i]);
    supervise(world);
    world->setup = (struct ask){.world = world, .on_done = setup_on_done};
    setup_go(world);
    while (!world->is_set_up && world->result->is_ok && sim_now_us(sim) < BIRTH_US && sim_step(sim))
        continue;
    if (!world->is_set_up) {
        fail(world, "no table could be made within %u simulated seconds", BIRTH_US / 1000000);
        return;
    }
    story(world, "the table is there");
    clients_start(world);
    sim_after(sim, 1000000, fault_go, world);
    uint64_t end = sim_now_us(sim) + (uint64_t)options->ms * 1000;

    while (sim_now_us(sim) < end && world->result->is_ok && sim_step(sim))
        continue;
    calm_down(world);
    uint64_t before[WRITERS];

    for (int i = 0; i < WRITERS; i++)
        before[i] = world->writers[i].acknowledged;
    end = sim_now_us(sim) + CALM_US / 3;
    do
        sim_run_until(sim, sim_now_us(sim) + CALM_US / 60);
    while (writer_without(world, before) >= 0 && sim_now_us(sim) < end);
    if (writer_without(world, before) >= 0)
        fail(world, "writer %d had nothing acknowledged in the %u s after everything healed",
             writer_without(world, before), CALM_US / 3000000);
    world->is_stopping = true;
    sim_run_until(sim, sim_now_us(sim) + ATTEMPT_US * 3);
    if (world->result->is_ok)
        check_values(world);
    if (world->result->is_ok)
        check_replicas(world);
    if (!world->result->is_ok && options->has_story)
        tell_replicas(world);
}

void cluster_sim_run(const struct cluster_sim_options *options, struct cluster_sim_result *result)
{
    struct sim_options sim_options = sim_options_default(options->seed);
    struct world *world = check_calloc(1, sizeof(*world));

    CHECK(options->nodes <= NODES_MAX && options->controllers <= 5 && options->regions <= 3);
    *result = (struct cluster_sim_result){.is_ok = true};
    sim_options.verbose = options->is_verbose;
    world->options = options;
    world->result = result;
    world->sim = sim_new(&sim_options);
    world->fault_kinds = (uint32_t)rng_next(sim_rng(world->sim)) | 1;
    for (uint32_t i = 0; i < options->controllers; i++)
        add_process(world, false, i, options->controllers);
    for (uint32_t i = 0; i < options->nodes; i++)
        add_process(world, true, i, options->nodes);
    run(world);
    result->trace_hash = sim_trace_hash(world->sim);
    result->events = sim_event_count(world->sim);
    uint64_t crashes = result->crashes;

    for (size_t i = 0; i < world->process_count; i++)
        process_crash(&world->processes[i], SIM_CRASH_KILL);
    result->crashes = crashes;
    sim_free(world->sim);
    free(world);
}
