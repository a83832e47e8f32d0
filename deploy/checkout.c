#include "deploy/checkout.h"

#include "deploy/api.h"
#include "deploy/load_client.h"
#include "proto/base/check.h"
#include "proto/base/map.h"
#include "proto/base/rng.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#define ATTEMPT_MS 3000u
#define PATIENCE_MS 30000u /* an order is retried so long before it counts as failed */
#define BACKOFF_FIRST_MS 10u
#define BACKOFF_MAX_MS 500u
#define CONNECTIONS_MAX 512
#define SETTLE_MS 60000u
#define REQUEST_BYTES_MAX 1024
#define LOOKS 20 /* for an order that is missing in a region */

enum order_state { ORDER_SENDING, ORDER_WAITING, ORDER_ACKNOWLEDGED, ORDER_FAILED };

struct order {
    struct checkout *checkout;
    struct load_client_request request;
    uv_timer_t *timer; /* while waiting to try again */
    struct buffer bytes;
    enum order_state state;
    unsigned attempts;
    uint64_t due_us;
    uint64_t latency_us;
};

struct checkout {
    struct cluster *cluster;
    struct checkout_options options;
    struct checkout_counts counts;
    uv_loop_t *loop; /* NULL = not started */
    uv_timer_t pace;
    struct load_client *client;
    struct rng rng;
    char path[256];
    char run[24]; /* prefix of this run's order ids */
    struct order *orders;
    size_t order_count; /* to be sent in all */
    size_t next;
    size_t ended;
    uint64_t start_us;
    uint64_t last_ack_us;
};

static uint64_t now_us(void)
{
    return uv_hrtime() / 1000;
}

/* ---- one order
 * ------------------------------------------------------------------------------------ */

static void send_order(struct order *order);

static void finish_if_done(struct checkout *checkout)
{
    if (checkout->ended < checkout->order_count)
        return;
    (void)uv_timer_stop(&checkout->pace);
    if (checkout->options.on_done != NULL)
        checkout->options.on_done(checkout->options.user);
}

static void on_timer_closed(uv_handle_t *handle)
{
    free(handle);
}

static void on_backoff(uv_timer_t *timer)
{
    struct order *order = timer->data;

    order->timer = NULL;
    uv_close((uv_handle_t *)timer, on_timer_closed);
    send_order(order);
}

static void try_again(struct order *order)
{
    unsigned shift = order->attempts < 6 ? order->attempts : 6;
    uint64_t delay_ms = (uint64_t)BACKOFF_FIRST_MS << shift;

    if (delay_ms > BACKOFF_MAX_MS)
        delay_ms = BACKOFF_MAX_MS;
    order->state = ORDER_WAITING;
    order->checkout->counts.retries++;
    order->timer = check_malloc(sizeof(*order->timer));
    CHECK(uv_timer_init(order->checkout->loop, order->timer) == 0);
    order->timer->data = order;
    (void)uv_timer_start(order->timer, on_backoff,
                         delay_ms / 2 + rng_below(&order->checkout->rng, delay_ms), 0);
}

static void end_order(struct order *order, enum order_state state)
{
    struct checkout *checkout = order->checkout;
    uint64_t now = now_us();

    order->state = state;
    order->latency_us = now - order->due_us;
    buffer_close(&order->bytes);
    checkout->ended++;
    if (state == ORDER_ACKNOWLEDGED) {
        uint64_t gap_ms = (now - checkout->last_ack_us) / 1000;

        checkout->counts.acknowledged++;
        if (gap_ms > checkout->counts.gap_ms)
            checkout->counts.gap_ms = gap_ms;
        checkout->last_ack_us = now;
    } else {
        checkout->counts.failed++;
    }
    if (checkout->options.on_order != NULL)
        checkout->options.on_order(checkout->options.user, state == ORDER_ACKNOWLEDGED,
                                   order->latency_us);
    finish_if_done(checkout);
}

static void on_answer(struct load_client_request *request, enum error rc, int status,
                      struct slice body)
{
    struct order *order = container_of(request, struct order, request);

    (void)body;
    order->attempts++;
    if (rc == ERR_CANCELLED)
        return;
    if (rc == OK && status == 200)
        end_order(order, ORDER_ACKNOWLEDGED);
    else if ((rc == OK && status < 500 && status != 429) ||
             now_us() - order->due_us > PATIENCE_MS * 1000ull)
        end_order(order, ORDER_FAILED);
    else
        try_again(order);
}

static void send_order(struct order *order)
{
    order->state = ORDER_SENDING;
    load_client_start(order->checkout->client, &order->request, buffer_slice(&order->bytes),
                      ATTEMPT_MS, on_answer);
}

static void make_order(struct checkout *checkout, size_t number)
{
    struct order *order = &checkout->orders[number];
    char body[512];
    int size = snprintf(body, sizeof(body),
                        "{\"order_id\":\"%s-%zu\",\"user_id\":\"user-%zu\",\"total_cents\":%zu,"
                        "\"items\":[{\"sku\":\"sku-%zu\",\"quantity\":2}]}",
                        checkout->run, number, number % 1000, 100 + number % 9900, number % 100);

    order->checkout = checkout;
    order->bytes = BUFFER_INIT(REQUEST_BYTES_MAX);
    order->due_us = checkout->start_us + number * 1000000ull / checkout->options.rate;
    buffer_putf(&order->bytes,
                "POST %s HTTP/1.1\r\nHost: 127.0.0.1:%u\r\nContent-Type: application/json\r\n"
                "Content-Length: %d\r\n\r\n%s",
                checkout->path, checkout->cluster->file.port, size, body);
    send_order(order);
}

static void on_pace(uv_timer_t *timer)
{
    struct checkout *checkout = timer->data;
    uint64_t elapsed_us = now_us() - checkout->start_us;
    size_t due = (size_t)(elapsed_us * checkout->options.rate / 1000000) + 1;

    while (checkout->next < due && checkout->next < checkout->order_count)
        make_order(checkout, checkout->next++);
    checkout->counts.sent = checkout->next;
}

/* ---- how long they took
 * ------------------------------------------------------------------------------ */

static int compare_u64(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a;
    uint64_t y = *(const uint64_t *)b;

    return x < y ? -1 : x > y;
}

uint64_t *checkout_latencies(const struct checkout *checkout, size_t from, size_t to, size_t *count)
{
    uint64_t *sorted = check_malloc((to - from + 1) * sizeof(*sorted));

    *count = 0;
    for (size_t i = from; i < to; i++)
        if (checkout->orders[i].state == ORDER_ACKNOWLEDGED)
            sorted[(*count)++] = checkout->orders[i].latency_us;
    qsort(sorted, *count, sizeof(*sorted), compare_u64);
    return sorted;
}

double checkout_percentile_ms(const uint64_t *sorted, size_t count, double part)
{
    if (count == 0)
        return 0;
    size_t place = (size_t)((double)count * part);

    return (double)sorted[place < count ? place : count - 1] / 1000.0;
}

/* ---- finding every order again
 * -------------------------------------------------------------------------- */

struct region_check {
    struct map seen; /* order number -> anything */
    uint64_t duplicated;
};

static void check_item(const struct checkout *checkout, struct region_check *check,
                       const char *order_id)
{
    size_t prefix = strlen(checkout->run);

    if (strncmp(order_id, checkout->run, prefix) != 0 || order_id[prefix] != '-')
        return;
    uint64_t number = strtoull(order_id + prefix + 1, NULL, 10);

    if (map_set_u64(&check->seen, number, check) != NULL)
        check->duplicated++;
}

/* One page of a scan; `start` is replaced by where to go on, NULL at the end. */
static enum error scan_page(const struct checkout *checkout, const char *region, json_t **start,
                            struct region_check *check)
{
    struct buffer answer = BUFFER_INIT(8u << 20);
    char address[64];
    json_t *request = json_pack("{s:s, s:s, s:O*}", "TableName", checkout->options.table,
                                "ProjectionExpression", "order_id", "ExclusiveStartKey", *start);
    char *body = json_dumps(request, JSON_COMPACT);
    const struct api_call call = {.region = region,
                                  .service = "dynamodb",
                                  .method = "POST",
                                  .address = address,
                                  .path = "/",
                                  .target = "DynamoDB_20120810.Scan",
                                  .body = slice_text(body),
                                  .timeout_ms = 10000};
    int status = 0;

    (void)snprintf(address, sizeof(address), "127.0.0.1:%u", checkout->cluster->file.port);
    enum error rc = api_call_patiently(checkout->cluster, &call, SETTLE_MS, &status, &answer);
    json_t *page = rc == OK && status == 200
                       ? json_loadb((const char *)answer.data, answer.size, 0, NULL)
                       : NULL;
    json_t *item;
    size_t i;

    json_array_foreach(json_object_get(page, "Items"), i, item)
    {
        const char *id = json_string_value(json_object_get(json_object_get(item, "order_id"), "S"));

        if (id != NULL)
            check_item(checkout, check, id);
    }
    json_decref(*start);
    *start = json_incref(json_object_get(page, "LastEvaluatedKey"));
    if (page == NULL)
        rc = ERR_LOST;
    json_decref(page);
    json_decref(request);
    free(body);
    buffer_close(&answer);
    return rc;
}

/* How many acknowledged orders this region lacks. */
static enum error look(const struct checkout *checkout, const char *region,
                       struct checkout_ledger *ledger)
{
    struct region_check check = {0};
    json_t *start = NULL;
    enum error rc;

    map_init(&check.seen);
    do {
        rc = scan_page(checkout, region, &start, &check);
    } while (rc == OK && start != NULL);
    json_decref(start);
    *ledger = (struct checkout_ledger){.duplicated = check.duplicated};
    for (size_t i = 0; i < checkout->next && rc == OK; i++)
        if (checkout->orders[i].state == ORDER_ACKNOWLEDGED && map_find_u64(&check.seen, i) == NULL)
            ledger->lost++;
    map_close(&check.seen);
    return rc;
}

enum error checkout_verify(const struct checkout *checkout, const char *region,
                           struct checkout_ledger *ledger, char why[ERROR_WHY_BYTES])
{
    enum error rc = OK;

    for (int attempt = 0; attempt < LOOKS; attempt++) {
        rc = look(checkout, region, ledger);
        if (rc == OK && ledger->lost == 0)
            return OK;
        (void)usleep(500000);
    }
    if (rc != OK)
        (void)snprintf(why, ERROR_WHY_BYTES, "orders cannot be read back from %s: %s", region,
                       error_text(rc));
    return rc;
}

/* ---- which API
 * ---------------------------------------------------------------------------------------------- */

static enum error find_api(struct checkout *checkout, char why[ERROR_WHY_BYTES])
{
    struct buffer answer = BUFFER_INIT(4u << 20);
    char address[64];
    const struct api_call call = {.region = checkout->cluster->regions[0],
                                  .service = "apigateway",
                                  .method = "GET",
                                  .address = address,
                                  .path = "/restapis",
                                  .timeout_ms = 5000};
    int status = 0;
    json_t *item;
    size_t i;

    (void)snprintf(address, sizeof(address), "127.0.0.1:%u", checkout->cluster->file.port);
    enum error rc = api_call_patiently(checkout->cluster, &call, 10000, &status, &answer);
    json_t *apis = rc == OK && status == 200
                       ? json_loadb((const char *)answer.data, answer.size, 0, NULL)
                       : NULL;

    (void)snprintf(why, ERROR_WHY_BYTES,
                   "no REST API%s%s (status %d); deploy one first: deploy/demo, or "
                   "deploy/examples/store/deploy.sh",
                   checkout->options.api != NULL ? " named " : "",
                   checkout->options.api != NULL ? checkout->options.api : "", status);
    rc = ERR_NOT_FOUND;
    json_array_foreach(json_object_get(apis, "item"), i, item)
    {
        const char *id = json_string_value(json_object_get(item, "id"));
        const char *name = json_string_value(json_object_get(item, "name"));

        if (id == NULL || (checkout->options.api != NULL &&
                           (name == NULL || strcmp(name, checkout->options.api) != 0)))
            continue;
        (void)snprintf(checkout->path, sizeof(checkout->path),
                       "/restapis/%s/%s/_user_request_/orders", id, checkout->options.stage);
        rc = OK;
        break;
    }
    json_decref(apis);
    buffer_close(&answer);
    return rc;
}

/* ---- life
 * ---------------------------------------------------------------------------------------- */

enum error checkout_new(struct cluster *cluster, const struct checkout_options *options,
                        struct checkout **made, char why[ERROR_WHY_BYTES])
{
    struct checkout *checkout = check_calloc(1, sizeof(*checkout));
    enum error rc;

    checkout->cluster = cluster;
    checkout->options = *options;
    checkout->order_count = options->orders;
    checkout->orders = check_calloc(options->orders, sizeof(*checkout->orders));
    rng_init(&checkout->rng, options->seed);
    (void)snprintf(checkout->run, sizeof(checkout->run), "load%" PRIx64, (uint64_t)time(NULL));
    rc = find_api(checkout, why);
    if (rc == OK)
        *made = checkout;
    else
        checkout_free(checkout);
    return rc;
}

void checkout_start(struct checkout *checkout, uv_loop_t *loop)
{
    checkout->loop = loop;
    checkout->client =
        load_client_new(loop, "127.0.0.1", checkout->cluster->file.port, CONNECTIONS_MAX);
    checkout->start_us = now_us();
    checkout->last_ack_us = checkout->start_us;
    CHECK(uv_timer_init(loop, &checkout->pace) == 0);
    checkout->pace.data = checkout;
    (void)uv_timer_start(&checkout->pace, on_pace, 0, 1);
}

void checkout_stop(struct checkout *checkout)
{
    (void)uv_timer_stop(&checkout->pace);
    checkout->order_count = checkout->next;
    finish_if_done(checkout);
}

/* Orders that have no answer yet. */
static void drop_orders(struct checkout *checkout)
{
    for (size_t i = 0; i < checkout->next; i++) {
        struct order *order = &checkout->orders[i];

        if (order->state == ORDER_ACKNOWLEDGED || order->state == ORDER_FAILED)
            continue;
        checkout->counts.unanswered++;
        if (order->timer != NULL)
            uv_close((uv_handle_t *)order->timer, on_timer_closed);
        buffer_close(&order->bytes);
    }
}

void checkout_close(struct checkout *checkout)
{
    uv_close((uv_handle_t *)&checkout->pace, NULL);
    load_client_free(checkout->client);
    drop_orders(checkout);
}

void checkout_free(struct checkout *checkout)
{
    if (checkout == NULL)
        return;
    free(checkout->orders);
    free(checkout);
}

const struct checkout_counts *checkout_counts(const struct checkout *checkout)
{
    return &checkout->counts;
}

uint64_t checkout_in_flight(const struct checkout *checkout)
{
    return checkout->next - checkout->ended;
}
