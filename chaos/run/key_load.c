#include "chaos/run/key_load.h"

#include "chaos/run/key_request.h"
#include "deploy/load_client.h"
#include "proto/base/check.h"
#include "proto/base/rng.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <time.h>

#define SLOTS 4u            /* keys in use at a time, for each workload */
#define CLIENTS_PER_SLOT 4u /* on one key: by way of several nodes, most likely */
#define RATE_DEFAULT 150u
#define TIMEOUT_MS 3000u
#define GAP_US_MIN 2000u
#define SDK_ATTEMPTS 3u
#define AGAIN_MS 25u
#define BODY_BYTES_MAX 1024
#define REQUEST_BYTES_MAX 4096

struct key {
    char name[64];
    unsigned calls;
    unsigned writes_in_flight;
    uint64_t waiting_since_us; /* for an acknowledged write; 0 = nobody waits */
    bool is_read;              /* at the end */
    enum scenario_workload workload;
};

struct slot {
    enum scenario_workload workload;
    unsigned number;
    struct key *key;
};

struct client {
    struct key_load *load;
    struct slot *slot;
    uv_timer_t timer;
    struct load_client_request request;
    struct buffer bytes;
    struct key *key;
    unsigned process;
    unsigned failures; /* in a row */
    uint64_t period_us;
    uint64_t due_us;
    uint64_t call_us;
    int64_t value;
    bool is_write;
    bool is_busy;
};

struct key_load {
    uv_loop_t *loop;
    struct key_load_options options;
    struct key_load_counts counts;
    struct key_request_signer *signer;
    struct load_client *client;
    struct rng rng;
    char run[24];
    struct slot slots[SCENARIO_WORKLOAD_COUNT * SLOTS];
    size_t slot_count;
    struct client *clients;
    size_t client_count;
    struct key **keys; /* all there were */
    size_t key_count;
    struct assess_gap *gaps;
    size_t gap_count;
    unsigned processes;
    int64_t values;
    size_t next_read; /* at the end */
    uint64_t read_until_us;
    bool is_finishing, is_done;
};

static uint64_t now_us(void)
{
    return uv_hrtime() / 1000;
}

static void act(struct client *client);

/* ---- keys ---- */

static unsigned calls_max(enum scenario_workload workload)
{
    return workload == SCENARIO_ORDERS ? 12 : 400;
}

static void note_gap(struct key_load *load, uint64_t from_us, uint64_t to_us)
{
    if (to_us - from_us < GAP_US_MIN)
        return;
    if (load->gap_count % 1024 == 0)
        load->gaps = check_realloc(load->gaps, (load->gap_count + 1024) * sizeof(*load->gaps));
    load->gaps[load->gap_count++] = (struct assess_gap){from_us, to_us};
}

/* Nobody will write this key any more: who waited has done so until now. */
static void stop_waiting(struct key_load *load, struct key *key)
{
    if (key->waiting_since_us > 0)
        note_gap(load, key->waiting_since_us, now_us());
    key->waiting_since_us = 0;
}

static struct key *key_for(struct key_load *load, struct slot *slot)
{
    if (slot->key != NULL && slot->key->calls < calls_max(slot->workload))
        return slot->key;
    if (slot->key != NULL && slot->key->writes_in_flight == 0)
        stop_waiting(load, slot->key);
    slot->key = check_calloc(1, sizeof(*slot->key));
    slot->key->workload = slot->workload;
    (void)snprintf(slot->key->name, sizeof(slot->key->name), "%s-%s-%zu-%u", load->run,
                   scenario_workload_name(slot->workload), (size_t)(slot - load->slots),
                   slot->number++);
    if (load->key_count % 256 == 0)
        load->keys = check_realloc(load->keys, (load->key_count + 256) * sizeof(*load->keys));
    load->keys[load->key_count++] = slot->key;
    return slot->key;
}

static void note_write_called(struct key *key, uint64_t now)
{
    key->writes_in_flight++;
    if (key->waiting_since_us == 0)
        key->waiting_since_us = now;
}

static void note_write_ended(struct client *client, bool is_acknowledged, uint64_t now)
{
    struct key_load *load = client->load;
    struct key *key = client->key;
    bool is_last = --key->writes_in_flight == 0;

    if (is_acknowledged) {
        note_gap(load, key->waiting_since_us, now);
        key->waiting_since_us = is_last ? 0 : now;
    } else if (is_last && (load->is_finishing || key != client->slot->key)) {
        stop_waiting(load, key);
    }
}

/* ---- the history ---- */

static const char *function_of(const struct client *client)
{
    switch (client->key->workload) {
    case SCENARIO_REGISTER:
        return client->is_write ? "write" : "read";
    case SCENARIO_COUNTER:
        return client->is_write ? "add-and-get" : "read";
    case SCENARIO_ORDERS:
        return client->is_write ? "put" : "get";
    case SCENARIO_CHECKOUT:
    case SCENARIO_WORKLOAD_COUNT:
        break;
    }
    return "?";
}

/* `more` is further members, or "". */
static void record(const struct client *client, const char *type, const char *more)
{
    static const char *const models[] = {[SCENARIO_REGISTER] = "register",
                                         [SCENARIO_COUNTER] = "counter",
                                         [SCENARIO_ORDERS] = "put-if-absent"};
    const struct key_load *load = client->load;
    char line[400];
    int size =
        snprintf(line, sizeof(line),
                 "{\"m\":\"%s\",\"p\":%u,\"t\":\"%s\",\"f\":\"%s\",\"k\":\"%s\"%s,"
                 "\"at_ms\":%.3f}\n",
                 models[client->key->workload], client->process, type, function_of(client),
                 client->key->name, more, (double)(now_us() - load->options.start_us) / 1000.0);

    load->options.on_history(load->options.user, client->key->workload,
                             slice_of(line, (size_t)size));
}

static void record_value(const struct client *client, const char *type, bool is_there,
                         int64_t value)
{
    char more[40] = ",\"v\":null";

    if (is_there)
        (void)snprintf(more, sizeof(more), ",\"v\":%" PRId64, value);
    record(client, type, more);
}

/* ---- answers ---- */

/* The number in {"Item":{"v":{"N":"5"}}}, or in "Attributes". */
static bool read_value(struct slice body, const char *member, int64_t *value)
{
    json_t *root = json_loadb((const char *)body.data, body.size, 0, NULL);
    const json_t *item = json_object_get(root, member);
    const char *text = json_string_value(json_object_get(json_object_get(item, "v"), "N"));
    bool is_there = text != NULL;

    *value = is_there ? strtoll(text, NULL, 10) : 0;
    json_decref(root);
    return is_there;
}

static bool contains(struct slice body, const char *text)
{
    return body.size > 0 && memmem(body.data, body.size, text, strlen(text)) != NULL;
}

static void record_ok(struct client *client, struct slice body)
{
    int64_t value = client->value;
    bool is_there = true;

    if (!client->is_write)
        is_there = read_value(body, "Item", &value);
    else if (client->key->workload == SCENARIO_COUNTER)
        is_there = read_value(body, "Attributes", &value);
    /* A counter nobody has touched is 0. */
    if (client->key->workload == SCENARIO_COUNTER && !client->is_write)
        is_there = true;
    record_value(client, "ok", is_there, value);
}

enum ending { ENDED_OK, ENDED_REFUSED, ENDED_NOT_TRIED, ENDED_UNKNOWN };

static enum ending ending_of(enum error rc, int status, struct slice body)
{
    if (rc != OK || status == 0)
        return rc == ERR_UNREACHABLE ? ENDED_NOT_TRIED : ENDED_UNKNOWN;
    if (status == 200)
        return ENDED_OK;
    if (status == 400 && contains(body, "ConditionalCheckFailed"))
        return ENDED_REFUSED;
    return status < 500 ? ENDED_NOT_TRIED : ENDED_UNKNOWN;
}

static void record_ending(struct client *client, enum ending ending, struct slice body)
{
    switch (ending) {
    case ENDED_OK:
        record_ok(client, body);
        break;
    case ENDED_REFUSED:
        record(client, "fail", "");
        break;
    case ENDED_NOT_TRIED:
        record(client, "fail", ",\"error\":\"not tried\"");
        break;
    case ENDED_UNKNOWN:
        record(client, "info", "");
        client->load->counts.unknown++;
        client->process = ++client->load->processes;
        break;
    }
}

/* ---- one attempt ---- */

static void on_timer(uv_timer_t *timer)
{
    act(timer->data);
}

static void wait_until(struct client *client, uint64_t at_us)
{
    uint64_t now = now_us();

    (void)uv_timer_start(&client->timer, on_timer, at_us > now ? (at_us - now + 999) / 1000 : 0, 0);
}

static void end_if_done(struct key_load *load)
{
    if (!load->is_finishing || load->is_done)
        return;
    for (size_t i = 0; i < load->client_count; i++)
        if (load->clients[i].is_busy)
            return;
    for (size_t i = 0; i < load->key_count && now_us() < load->read_until_us; i++)
        if (!load->keys[i]->is_read)
            return;
    for (size_t i = 0; i < load->key_count; i++)
        load->counts.unread += !load->keys[i]->is_read;
    load->is_done = true;
    load->options.on_done(load->options.user);
}

static void on_answer(struct load_client_request *request, enum error rc, int status,
                      struct slice body)
{
    struct client *client = container_of(request, struct client, request);
    struct key_load *load = client->load;
    enum ending ending = ending_of(rc, status, body);
    bool is_ok = ending == ENDED_OK || ending == ENDED_REFUSED;
    uint64_t now = now_us();

    client->is_busy = false;
    if (rc == ERR_CANCELLED)
        return;
    record_ending(client, ending, body);
    load->counts.ok += is_ok;
    if (client->is_write)
        note_write_ended(client, is_ok, now);
    client->failures = is_ok ? 0 : client->failures + 1;
    if (client->failures > 0 && client->failures % SDK_ATTEMPTS == 0)
        load->counts.failed_requests++;
    load->options.on_attempt(load->options.user, is_ok, client->is_write, now - client->call_us);
    if (load->is_finishing && is_ok && !client->is_write)
        client->key->is_read = true;
    client->due_us += client->period_us;
    if (client->due_us < now) /* behind: no rush afterwards */
        client->due_us = now;
    if (!is_ok)
        client->due_us = now + AGAIN_MS * 1000;
    wait_until(client, load->is_finishing ? now + (is_ok ? 0 : AGAIN_MS * 1000) : client->due_us);
}

static const char *put_body(struct client *client, struct buffer *body)
{
    const char *name = client->key->name;

    if (!client->is_write) {
        buffer_putf(body,
                    "{\"TableName\":\"" KEY_REQUEST_TABLE
                    "\",\"Key\":{\"k\":{\"S\":\"%s\"}},\"ConsistentRead\":true}",
                    name);
        return "GetItem";
    }
    if (client->key->workload == SCENARIO_COUNTER) {
        buffer_putf(body,
                    "{\"TableName\":\"" KEY_REQUEST_TABLE
                    "\",\"Key\":{\"k\":{\"S\":\"%s\"}},\"UpdateExpression\":\"ADD v :n\","
                    "\"ExpressionAttributeValues\":{\":n\":{\"N\":\"1\"}},"
                    "\"ReturnValues\":\"UPDATED_NEW\"}",
                    name);
        return "UpdateItem";
    }
    buffer_putf(body,
                "{\"TableName\":\"" KEY_REQUEST_TABLE
                "\",\"Item\":{\"k\":{\"S\":\"%s\"},\"v\":{\"N\":\"%" PRId64 "\"}}%s}",
                name, client->value,
                client->key->workload == SCENARIO_ORDERS
                    ? ",\"ConditionExpression\":\"attribute_not_exists(k)\""
                    : "");
    return "PutItem";
}

static void send_operation(struct client *client)
{
    struct key_load *load = client->load;
    AUTO(buffer) body = BUFFER_INIT(BODY_BYTES_MAX);

    client->value = client->key->workload == SCENARIO_COUNTER ? 1 : ++load->values;
    const char *operation = put_body(client, &body);

    buffer_clear(&client->bytes);
    key_request_put(load->signer, operation, buffer_slice(&body), &client->bytes);
    client->call_us = now_us();
    client->is_busy = true;
    load->counts.attempts++;
    if (client->is_write) {
        note_write_called(client->key, client->call_us);
        record_value(client, "invoke", true, client->value);
    } else {
        record(client, "invoke", "");
    }
    load_client_start(load->client, &client->request, buffer_slice(&client->bytes), TIMEOUT_MS,
                      on_answer);
}

/* The next key that nobody has read at the end; NULL: there is none. */
static struct key *next_unread(struct key_load *load)
{
    for (size_t i = 0; i < load->key_count; i++) {
        struct key *key = load->keys[load->next_read++ % load->key_count];

        if (!key->is_read)
            return key;
    }
    return NULL;
}

static void act(struct client *client)
{
    struct key_load *load = client->load;
    static const unsigned writes_percent[] = {
        [SCENARIO_REGISTER] = 60, [SCENARIO_COUNTER] = 90, [SCENARIO_ORDERS] = 60};

    if (load->is_done || client->is_busy)
        return;
    if (load->is_finishing) {
        client->is_write = false;
        client->key = now_us() < load->read_until_us ? next_unread(load) : NULL;
        if (client->key == NULL) {
            end_if_done(load);
            return;
        }
    } else {
        client->is_write = rng_below(&load->rng, 100) < writes_percent[client->slot->workload];
        client->key = key_for(load, client->slot);
        client->key->calls++;
    }
    send_operation(client);
}

/* ---- life ---- */

static void add_clients(struct key_load *load, enum scenario_workload workload)
{
    const struct key_load_options *options = &load->options;
    unsigned rate =
        options->scenario->rates[workload] > 0 ? options->scenario->rates[workload] : RATE_DEFAULT;
    uint64_t period_us =
        SLOTS * CLIENTS_PER_SLOT * 100000000ull / ((uint64_t)rate * options->rate_percent);

    for (size_t s = 0; s < SLOTS; s++) {
        struct slot *slot = &load->slots[load->slot_count++];

        slot->workload = workload;
        for (size_t c = 0; c < CLIENTS_PER_SLOT; c++) {
            struct client *client = &load->clients[load->client_count++];

            *client = (struct client){.load = load,
                                      .slot = slot,
                                      .bytes = BUFFER_INIT(REQUEST_BYTES_MAX),
                                      .process = ++load->processes,
                                      .period_us = period_us};
            CHECK(uv_timer_init(load->loop, &client->timer) == 0);
            client->timer.data = client;
            client->due_us = now_us() + rng_below(&load->rng, period_us + 1);
            wait_until(client, client->due_us);
        }
    }
}

struct key_load *key_load_new(uv_loop_t *loop, const struct key_load_options *options)
{
    struct key_load *load = check_calloc(1, sizeof(*load));

    load->loop = loop;
    load->options = *options;
    load->signer = key_request_signer_new(options->cluster);
    rng_init(&load->rng, options->seed);
    (void)snprintf(load->run, sizeof(load->run), "%" PRIx64, (uint64_t)time(NULL));
    load->clients = check_calloc((size_t)SCENARIO_WORKLOAD_COUNT * SLOTS * CLIENTS_PER_SLOT,
                                 sizeof(*load->clients));
    load->client = load_client_new(loop, "127.0.0.1", options->cluster->file.port,
                                   (size_t)SCENARIO_WORKLOAD_COUNT * SLOTS * CLIENTS_PER_SLOT + 16);
    for (size_t i = 0; i < SCENARIO_WORKLOAD_COUNT; i++)
        if (i != SCENARIO_CHECKOUT && options->scenario->is_used[i])
            add_clients(load, (enum scenario_workload)i);
    return load;
}

void key_load_finish(struct key_load *load, uint32_t patience_ms)
{
    load->is_finishing = true;
    load->read_until_us = now_us() + patience_ms * 1000ull;
    for (size_t i = 0; i < load->key_count; i++)
        if (load->keys[i]->writes_in_flight == 0)
            stop_waiting(load, load->keys[i]);
    for (size_t i = 0; i < load->client_count; i++)
        if (!load->clients[i].is_busy)
            wait_until(&load->clients[i], 0);
}

void key_load_close(struct key_load *load)
{
    load->is_done = true;
    for (size_t i = 0; i < load->client_count; i++)
        uv_close((uv_handle_t *)&load->clients[i].timer, NULL);
    load_client_free(load->client);
    for (size_t i = 0; i < load->key_count; i++)
        stop_waiting(load, load->keys[i]);
}

void key_load_free(struct key_load *load)
{
    if (load == NULL)
        return;
    for (size_t i = 0; i < load->client_count; i++)
        buffer_close(&load->clients[i].bytes);
    for (size_t i = 0; i < load->key_count; i++)
        free(load->keys[i]);
    free(load->keys);
    free(load->gaps);
    free(load->clients);
    key_request_signer_free(load->signer);
    free(load);
}

const struct key_load_counts *key_load_counts(const struct key_load *load)
{
    return &load->counts;
}

size_t key_load_gaps(const struct key_load *load, const struct assess_gap **gaps)
{
    *gaps = load->gaps;
    return load->gap_count;
}
