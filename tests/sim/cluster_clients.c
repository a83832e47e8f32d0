#include "tests/sim/cluster_impl.h"

/* ---- writers ---- */

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
    cluster_ask_start(&writer->ask, NULL, CLUSTER_TARGET("PutItem"), body);
}

static void writer_on_done(struct ask *ask, int status, const char *body)
{
    struct writer *writer = container_of(ask, struct writer, ask);
    struct world *world = ask->world;

    if (status == 200 || strstr(body, "ConditionalCheckFailed") != NULL) {
        writer->acknowledged = writer->value++;
        world->result->acknowledged++;
        sim_trace(world->sim, writer->acknowledged);
    } else if (!cluster_is_retryable(status, body)) {
        cluster_fail(world, "PutItem answered %d %.120s", status, body);
    }
    sim_after(world->sim, 2000 + cluster_dice(world, 30000), writer_go, writer);
}

/* ---- readers ---- */

static void reader_go(void *user)
{
    struct reader_client *reader = user;
    struct world *world = reader->ask.world;
    char body[200];
    const char *region = NULL;

    if (world->is_stopping)
        return;
    reader->of = &world->writers[cluster_dice(world, WRITERS)];
    reader->floor = reader->of->acknowledged;
    (void)snprintf(
        body, sizeof(body),
        "{\"TableName\":\"Tab\",\"Key\":{\"id\":{\"S\":\"w%d\"}},\"ConsistentRead\":true}",
        reader->of->number);
    if (world->region_cut != NULL && cluster_dice(world, 4) > 0)
        region = world->region_cut; /* whoever leads there may not know that others lead by now */
    cluster_ask_start(&reader->ask, region, CLUSTER_TARGET("GetItem"), body);
}

static void reader_on_done(struct ask *ask, int status, const char *body)
{
    struct reader_client *reader = container_of(ask, struct reader_client, ask);
    struct world *world = ask->world;

    if (status == 200) {
        uint64_t read = cluster_number_in(body);

        world->result->reads++;
        sim_trace(world->sim, read);
        if (read < reader->floor || read > reader->of->value)
            cluster_fail(world,
                         "a strong read of w%d gave %" PRIu64 ", but %" PRIu64
                         " was acknowledged before it and %" PRIu64 " was the newest ever written",
                         reader->of->number, read, reader->floor, reader->of->value);
    } else if (!cluster_is_retryable(status, body)) {
        cluster_fail(world, "GetItem answered %d %.120s", status, body);
    }
    sim_after(world->sim, 5000 + cluster_dice(world, 40000), reader_go, reader);
}

/* ---- races to put-if-absent ---- */

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
    cluster_ask_start(&racer->ask, NULL, CLUSTER_TARGET("PutItem"), body);
}

static void racer_on_done(struct ask *ask, int status, const char *body)
{
    struct racer *racer = container_of(ask, struct racer, ask);
    struct world *world = ask->world;

    if (status == 200) {
        int *winner = &world->winners[racer->race];

        if (*winner != 0)
            cluster_fail(world, "race %" PRIu64 " was won by racer %d and by racer %d", racer->race,
                         *winner - 1, racer->number);
        *winner = racer->number + 1;
        world->result->acknowledged++;
    } else if (cluster_is_retryable(status, body)) {
        sim_after(world->sim, 20000 + cluster_dice(world, 50000), racer_go, racer);
        return;
    } else if (strstr(body, "ConditionalCheckFailed") == NULL) {
        cluster_fail(world, "a conditional PutItem answered %d %.120s", status, body);
    }
    racer->race++;
    sim_after(world->sim, 5000 + cluster_dice(world, 60000), racer_go, racer);
}

/* ---- a counter ---- */

static void counter_go(void *user)
{
    struct counter_client *counter = user;

    if (!counter->ask.world->is_stopping)
        cluster_ask_start(&counter->ask, NULL, CLUSTER_TARGET("UpdateItem"),
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
    else if (cluster_is_retryable(status, body))
        counter->unsure++;
    else
        cluster_fail(ask->world, "UpdateItem answered %d %.120s", status, body);
    sim_after(ask->world->sim, 5000 + cluster_dice(ask->world, 30000), counter_go, counter);
}

/* ---- setting up ---- */

static void setup_go(void *user)
{
    struct world *world = user;

    cluster_ask_start(
        &world->setup, NULL, CLUSTER_TARGET("CreateTable"),
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
        cluster_fail(world, "CreateTable answered %d %.120s", status, body);
}

void cluster_setup_start(struct world *world)
{
    world->setup = (struct ask){.world = world, .on_done = setup_on_done};
    setup_go(world);
}

void cluster_clients_start(struct world *world)
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
    cluster_bank_start(world);
}
