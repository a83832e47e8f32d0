#include "tests/sim/cluster_impl.h"

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
    cluster_exchange_free(exchange);
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

struct process *cluster_node_in(struct world *world, const char *region)
{
    for (int tries = 0; tries < 50; tries++) {
        struct process *process = &world->processes[cluster_dice(world, world->process_count)];

        if (process->is_node && process->is_up && process->node != NULL &&
            !sim_is_paused(world->sim, process->id) &&
            (region == NULL || strcmp(region, process->region) == 0))
            return process;
    }
    return NULL;
}

void cluster_ask_start(struct ask *ask, const char *region, const char *target, const char *body)
{
    struct world *world = ask->world;
    struct process *process = cluster_node_in(world, region);
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

bool cluster_is_throttled(const char *body)
{
    return strstr(body, "Throttling") != NULL || strstr(body, "ThroughputExceeded") != NULL;
}

bool cluster_is_retryable(int status, const char *body)
{
    return status == 0 || status >= 500 || cluster_is_throttled(body);
}

uint64_t cluster_number_in(const char *body)
{
    const char *at = strstr(body, "\"n\":{\"N\":\"");

    return at != NULL ? strtoull(at + strlen("\"n\":{\"N\":\""), NULL, 10) : 0;
}
