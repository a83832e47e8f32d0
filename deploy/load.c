#include "deploy/load.h"

#include "deploy/api.h"
#include "deploy/load_client.h"
#include "proto/base/check.h"
#include "proto/base/map.h"
#include "proto/base/rng.h"

#include <inttypes.h>
#include <jansson.h>
#include <signal.h>
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
#define INTERRUPTED_MS 3000u /* what is in flight may take so long yet */

enum order_state { ORDER_SENDING, ORDER_WAITING, ORDER_ACKNOWLEDGED, ORDER_FAILED };

struct order {
    struct load *load;
    struct load_client_request request;
    uv_timer_t *timer; /* while waiting to try again */
    struct buffer bytes;
    enum order_state state;
    unsigned attempts;
    uint64_t due_us;
    uint64_t latency_us;
};

struct victim {
    struct load *load;
    struct daemon *daemon;
    uv_timer_t timer;
};

struct load {
    struct cluster *cluster;
    const struct load_options *options;
    struct load_result *result;
    uv_loop_t loop;
    uv_timer_t pace;
    uv_timer_t tell;
    uv_timer_t kill;
    uv_timer_t deadline; /* after an interrupt */
    uv_signal_t signals[3];
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
    uint64_t told_acknowledged;
    size_t told_next;
    unsigned second;
    char event[64]; /* what was killed or started since the last line */
    struct victim *victims;
    size_t victim_count;
};

static uint64_t now_us(void)
{
    return uv_hrtime() / 1000;
}

/* ---- one order
 * ------------------------------------------------------------------------------------ */

static void send_order(struct order *order);

static void finish_if_done(struct load *load)
{
    if (load->ended < load->order_count)
        return;
    (void)uv_timer_stop(&load->pace);
    (void)uv_timer_stop(&load->kill);
    uv_stop(&load->loop);
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
    order->load->result->retries++;
    order->timer = check_malloc(sizeof(*order->timer));
    CHECK(uv_timer_init(&order->load->loop, order->timer) == 0);
    order->timer->data = order;
    (void)uv_timer_start(order->timer, on_backoff,
                         delay_ms / 2 + rng_below(&order->load->rng, delay_ms), 0);
}

static void end_order(struct order *order, enum order_state state)
{
    struct load *load = order->load;
    uint64_t now = now_us();

    order->state = state;
    order->latency_us = now - order->due_us;
    buffer_close(&order->bytes);
    load->ended++;
    if (state == ORDER_ACKNOWLEDGED) {
        uint64_t gap_ms = (now - load->last_ack_us) / 1000;

        load->result->acknowledged++;
        if (gap_ms > load->result->gap_ms)
            load->result->gap_ms = gap_ms;
        load->last_ack_us = now;
    } else {
        load->result->failed++;
    }
    finish_if_done(load);
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
    load_client_start(order->load->client, &order->request, buffer_slice(&order->bytes), ATTEMPT_MS,
                      on_answer);
}

static void make_order(struct load *load, size_t number)
{
    struct order *order = &load->orders[number];
    char body[512];
    int size = snprintf(body, sizeof(body),
                        "{\"order_id\":\"%s-%zu\",\"user_id\":\"user-%zu\",\"total_cents\":%zu,"
                        "\"items\":[{\"sku\":\"sku-%zu\",\"quantity\":2}]}",
                        load->run, number, number % 1000, 100 + number % 9900, number % 100);

    order->load = load;
    order->bytes = BUFFER_INIT(REQUEST_BYTES_MAX);
    order->due_us = load->start_us + number * 1000000ull / load->options->rate;
    buffer_putf(&order->bytes,
                "POST %s HTTP/1.1\r\nHost: 127.0.0.1:%u\r\nContent-Type: application/json\r\n"
                "Content-Length: %d\r\n\r\n%s",
                load->path, load->cluster->file.port, size, body);
    send_order(order);
}

static void on_pace(uv_timer_t *timer)
{
    struct load *load = timer->data;
    uint64_t elapsed_us = now_us() - load->start_us;
    size_t due = (size_t)(elapsed_us * load->options->rate / 1000000) + 1;

    while (load->next < due && load->next < load->order_count)
        make_order(load, load->next++);
    load->result->sent = load->next;
}

/* ---- killing
 * --------------------------------------------------------------------------------------- */

static void note_event(struct load *load, const char *what, const char *name)
{
    (void)snprintf(load->event, sizeof(load->event), "%s %s", what, name);
}

static void on_restart(uv_timer_t *timer)
{
    struct victim *victim = timer->data;

    if (daemon_start(victim->daemon) == OK)
        note_event(victim->load, "started", victim->daemon->name);
}

static void on_kill(uv_timer_t *timer)
{
    struct load *load = timer->data;
    struct daemon *daemon =
        &load->cluster->daemons[rng_below(&load->rng, load->cluster->daemon_count)];
    struct victim *victim = &load->victims[daemon - load->cluster->daemons];

    if (load->next == load->order_count || daemon_signal(daemon, SIGKILL) != OK)
        return;
    note_event(load, "killed", daemon->name);
    load->result->kills++;
    victim->daemon = daemon;
    (void)uv_timer_start(&victim->timer, on_restart, load->options->restart_after_ms, 0);
}

static void restart_victims(struct load *load)
{
    for (size_t i = 0; i < load->victim_count; i++) {
        struct victim *victim = &load->victims[i];

        (void)uv_timer_stop(&victim->timer);
        if (victim->daemon != NULL && daemon_start(victim->daemon) != OK)
            (void)fprintf(stderr, "skein: could not start %s again\n", victim->daemon->name);
    }
}

/* ---- an interrupt
 * --------------------------------------------------------------------------------------- */

static void on_deadline(uv_timer_t *timer)
{
    uv_stop(timer->loop);
}

/* The first: send nothing more. The next: do not even wait for what is in flight. */
static void on_signal(uv_signal_t *signal, int number)
{
    struct load *load = signal->data;

    (void)number;
    if (load->result->is_interrupted) {
        uv_stop(&load->loop);
        return;
    }
    load->result->is_interrupted = true;
    (void)fprintf(stderr, "interrupted: starting what was killed, waiting for %zu orders\n",
                  load->next - load->ended);
    (void)uv_timer_stop(&load->pace);
    (void)uv_timer_stop(&load->kill);
    restart_victims(load);
    load->order_count = load->next;
    (void)uv_timer_start(&load->deadline, on_deadline, INTERRUPTED_MS, 0);
    finish_if_done(load);
}

static void watch_signals(struct load *load)
{
    static const int numbers[] = {SIGINT, SIGTERM, SIGHUP};

    for (size_t i = 0; i < ARRAY_COUNT(numbers); i++) {
        CHECK(uv_signal_init(&load->loop, &load->signals[i]) == 0);
        load->signals[i].data = load;
        (void)uv_signal_start(&load->signals[i], on_signal, numbers[i]);
    }
}

/* Orders that an interrupt left without an answer. */
static void drop_orders(struct load *load)
{
    for (size_t i = 0; i < load->next; i++) {
        struct order *order = &load->orders[i];

        if (order->state == ORDER_ACKNOWLEDGED || order->state == ORDER_FAILED)
            continue;
        load->result->unanswered++;
        if (order->timer != NULL)
            uv_close((uv_handle_t *)order->timer, on_timer_closed);
        buffer_close(&order->bytes);
    }
}

/* ---- what people see while it runs
 * -------------------------------------------------------------------- */

static int compare_u64(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a;
    uint64_t y = *(const uint64_t *)b;

    return x < y ? -1 : x > y;
}

/* Latencies of the acknowledged orders in [from, to), sorted; the caller frees. */
static uint64_t *latencies(const struct load *load, size_t from, size_t to, size_t *count)
{
    uint64_t *sorted = check_malloc((to - from + 1) * sizeof(*sorted));

    *count = 0;
    for (size_t i = from; i < to; i++)
        if (load->orders[i].state == ORDER_ACKNOWLEDGED)
            sorted[(*count)++] = load->orders[i].latency_us;
    qsort(sorted, *count, sizeof(*sorted), compare_u64);
    return sorted;
}

static double percentile_ms(const uint64_t *sorted, size_t count, double part)
{
    if (count == 0)
        return 0;
    size_t place = (size_t)((double)count * part);

    return (double)sorted[place < count ? place : count - 1] / 1000.0;
}

static void on_tell(uv_timer_t *timer)
{
    struct load *load = timer->data;
    size_t count;
    uint64_t *sorted = latencies(load, load->told_next, load->next, &count);

    load->second++;
    if (!load->options->is_json) {
        (void)printf("%4us  sent %5zu/s  acknowledged %5" PRIu64
                     "/s  p50 %7.1f ms  p99 %7.1f ms  in flight %5zu  %s\n",
                     load->second, load->next - load->told_next,
                     load->result->acknowledged - load->told_acknowledged,
                     percentile_ms(sorted, count, 0.5), percentile_ms(sorted, count, 0.99),
                     load->next - load->ended, load->event);
        (void)fflush(stdout);
    }
    free(sorted);
    load->event[0] = '\0';
    load->told_next = load->next;
    load->told_acknowledged = load->result->acknowledged;
}

/* ---- finding every order again
 * -------------------------------------------------------------------------- */

struct region_check {
    struct map seen; /* order number -> anything */
    uint64_t duplicated;
};

static void check_item(const struct load *load, struct region_check *check, const char *order_id)
{
    size_t prefix = strlen(load->run);

    if (strncmp(order_id, load->run, prefix) != 0 || order_id[prefix] != '-')
        return;
    uint64_t number = strtoull(order_id + prefix + 1, NULL, 10);

    if (map_set_u64(&check->seen, number, check) != NULL)
        check->duplicated++;
}

/* One page of a scan; `start` is replaced by where to go on, NULL at the end. */
static enum error scan_page(const struct load *load, const char *region, json_t **start,
                            struct region_check *check)
{
    struct buffer answer = BUFFER_INIT(8u << 20);
    char address[64];
    json_t *request = json_pack("{s:s, s:s, s:O*}", "TableName", load->options->table,
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

    (void)snprintf(address, sizeof(address), "127.0.0.1:%u", load->cluster->file.port);
    enum error rc = api_call_patiently(load->cluster, &call, SETTLE_MS, &status, &answer);
    json_t *page = rc == OK && status == 200
                       ? json_loadb((const char *)answer.data, answer.size, 0, NULL)
                       : NULL;
    json_t *item;
    size_t i;

    json_array_foreach(json_object_get(page, "Items"), i, item)
    {
        const char *id = json_string_value(json_object_get(json_object_get(item, "order_id"), "S"));

        if (id != NULL)
            check_item(load, check, id);
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
static enum error check_region(struct load *load, const char *region, uint64_t *lost,
                               uint64_t *duplicated)
{
    struct region_check check = {0};
    json_t *start = NULL;
    enum error rc;

    map_init(&check.seen);
    do {
        rc = scan_page(load, region, &start, &check);
    } while (rc == OK && start != NULL);
    json_decref(start);
    *lost = 0;
    *duplicated = check.duplicated;
    for (size_t i = 0; i < load->next && rc == OK; i++)
        if (load->orders[i].state == ORDER_ACKNOWLEDGED && map_find_u64(&check.seen, i) == NULL)
            (*lost)++;
    map_close(&check.seen);
    return rc;
}

/* A region's replicas may trail for a moment: what is missing is looked for again before it is
 * called lost. */
static enum error check_all_regions(struct load *load, char why[ERROR_WHY_BYTES])
{
    for (size_t i = 0; i < load->cluster->region_count; i++) {
        const char *region = load->cluster->regions[i];
        uint64_t lost = 0;
        uint64_t duplicated = 0;
        enum error rc = OK;

        for (int attempt = 0; attempt < 20; attempt++) {
            rc = check_region(load, region, &lost, &duplicated);
            if (rc == OK && lost == 0)
                break;
            (void)usleep(500000);
        }
        if (rc != OK) {
            (void)snprintf(why, ERROR_WHY_BYTES, "orders cannot be read back from %s: %s", region,
                           error_text(rc));
            return rc;
        }
        if (!load->options->is_json)
            (void)printf("  %-16s all %" PRIu64 " acknowledged orders read back: %" PRIu64
                         " lost, %" PRIu64 " duplicated\n",
                         region, load->result->acknowledged, lost, duplicated);
        load->result->lost += lost;
        load->result->duplicated += duplicated;
    }
    return OK;
}

/* ---- which API
 * ---------------------------------------------------------------------------------------------- */

static enum error find_api(struct load *load, char why[ERROR_WHY_BYTES])
{
    struct buffer answer = BUFFER_INIT(4u << 20);
    char address[64];
    const struct api_call call = {.region = load->cluster->regions[0],
                                  .service = "apigateway",
                                  .method = "GET",
                                  .address = address,
                                  .path = "/restapis",
                                  .timeout_ms = 5000};
    int status = 0;
    json_t *item;
    size_t i;

    (void)snprintf(address, sizeof(address), "127.0.0.1:%u", load->cluster->file.port);
    enum error rc = api_call_patiently(load->cluster, &call, 10000, &status, &answer);
    json_t *apis = rc == OK && status == 200
                       ? json_loadb((const char *)answer.data, answer.size, 0, NULL)
                       : NULL;

    (void)snprintf(why, ERROR_WHY_BYTES,
                   "no REST API%s%s (status %d); deploy one first: deploy/demo, or "
                   "deploy/examples/store/deploy.sh",
                   load->options->api != NULL ? " named " : "",
                   load->options->api != NULL ? load->options->api : "", status);
    rc = ERR_NOT_FOUND;
    json_array_foreach(json_object_get(apis, "item"), i, item)
    {
        const char *id = json_string_value(json_object_get(item, "id"));
        const char *name = json_string_value(json_object_get(item, "name"));

        if (id == NULL ||
            (load->options->api != NULL && (name == NULL || strcmp(name, load->options->api) != 0)))
            continue;
        (void)snprintf(load->path, sizeof(load->path), "/restapis/%s/%s/_user_request_/orders", id,
                       load->options->stage);
        rc = OK;
        break;
    }
    json_decref(apis);
    buffer_close(&answer);
    return rc;
}

/* ---- the whole
 * --------------------------------------------------------------------------------------------------
 */

static void run(struct load *load)
{
    const struct load_options *options = load->options;
    uv_timer_t *const timers[] = {&load->pace, &load->tell, &load->kill, &load->deadline};

    CHECK(uv_loop_init(&load->loop) == 0);
    for (size_t i = 0; i < ARRAY_COUNT(timers); i++) {
        CHECK(uv_timer_init(&load->loop, timers[i]) == 0);
        timers[i]->data = load;
    }
    for (size_t i = 0; i < load->victim_count; i++) {
        load->victims[i].load = load;
        CHECK(uv_timer_init(&load->loop, &load->victims[i].timer) == 0);
        load->victims[i].timer.data = &load->victims[i];
    }
    load->client =
        load_client_new(&load->loop, "127.0.0.1", load->cluster->file.port, CONNECTIONS_MAX);
    load->start_us = now_us();
    load->last_ack_us = load->start_us;
    (void)uv_timer_start(&load->pace, on_pace, 0, 1);
    (void)uv_timer_start(&load->tell, on_tell, 1000, 1000);
    if (options->kill_every_ms > 0)
        (void)uv_timer_start(&load->kill, on_kill, options->kill_every_ms, options->kill_every_ms);
    watch_signals(load);
    (void)uv_run(&load->loop, UV_RUN_DEFAULT);
    restart_victims(load);
    for (size_t i = 0; i < ARRAY_COUNT(timers); i++)
        uv_close((uv_handle_t *)timers[i], NULL);
    for (size_t i = 0; i < ARRAY_COUNT(load->signals); i++)
        uv_close((uv_handle_t *)&load->signals[i], NULL);
    for (size_t i = 0; i < load->victim_count; i++)
        uv_close((uv_handle_t *)&load->victims[i].timer, NULL);
    load_client_free(load->client);
    drop_orders(load);
    (void)uv_run(&load->loop, UV_RUN_DEFAULT);
    CHECK(uv_loop_close(&load->loop) == 0);
}

static void sum_up(struct load *load)
{
    size_t count;
    uint64_t *sorted = latencies(load, 0, load->next, &count);

    load->result->p50_ms = percentile_ms(sorted, count, 0.5);
    load->result->p90_ms = percentile_ms(sorted, count, 0.9);
    load->result->p99_ms = percentile_ms(sorted, count, 0.99);
    load->result->max_ms = percentile_ms(sorted, count, 1);
    free(sorted);
}

enum error load_checkout(struct cluster *cluster, const struct load_options *options,
                         struct load_result *result, char why[ERROR_WHY_BYTES])
{
    struct load *load = check_calloc(1, sizeof(*load));
    enum error rc;

    *result = (struct load_result){0};
    load->cluster = cluster;
    load->options = options;
    load->result = result;
    load->order_count = (size_t)options->rate * options->seconds;
    load->orders = check_calloc(load->order_count, sizeof(*load->orders));
    load->victim_count = cluster->daemon_count;
    load->victims = check_calloc(load->victim_count, sizeof(*load->victims));
    rng_init(&load->rng, options->seed);
    (void)snprintf(load->run, sizeof(load->run), "load%" PRIx64, (uint64_t)time(NULL));
    rc = find_api(load, why);
    if (rc == OK) {
        run(load);
        sum_up(load);
        if (!options->is_json)
            (void)printf("reading every acknowledged order back from every region\n");
        rc = check_all_regions(load, why);
    }
    free(load->victims);
    free(load->orders);
    free(load);
    return rc;
}
