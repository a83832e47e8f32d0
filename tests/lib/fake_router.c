#include "tests/lib/fake_router.h"

#include "node/shard/shard_choice.h"
#include "proto/base/check.h"
#include "tests/lib/fake_state.h"

#define REPLY_BYTES_MAX (16u << 20)

struct shard_router {
    struct env *env;
    struct env_task task;
    struct list requests;
    const struct shard_engine *engines[SHARD_ENGINE_COUNT];
    struct shard_state **states; /* [shard_count * SHARD_ENGINE_COUNT] */
    struct shard_state *nothing; /* what a lagging replica holds */
    uint32_t shard_count;
    bool is_lagging;
    bool is_held;
    bool holds_after; /* so many answers */
    size_t answers_left;
    bool fails;
    bool fails_applied;
    size_t fails_skip;
    enum error fails_with;
    size_t write_count;
    size_t read_count;
    size_t in_flight;
    size_t in_flight_max;
    uint64_t index;
};

/* ---- router ---- */

struct shard_router *fake_router_new(struct env *env, uint32_t shard_count)
{
    struct shard_router *router = check_calloc(1, sizeof(*router));

    router->env = env;
    router->shard_count = shard_count;
    router->nothing = fake_state_new();
    router->states =
        check_calloc((size_t)shard_count * SHARD_ENGINE_COUNT, sizeof(struct shard_state *));
    for (size_t i = 0; i < (size_t)shard_count * SHARD_ENGINE_COUNT; i++)
        router->states[i] = fake_state_new();
    list_init(&router->requests);
    return router;
}

void fake_router_free(struct shard_router *router)
{
    struct list *link;

    if (router == NULL)
        return;
    while ((link = list_pop(&router->requests)) != NULL)
        buffer_close(&container_of(link, struct shard_request, link)->body);
    for (size_t i = 0; i < (size_t)router->shard_count * SHARD_ENGINE_COUNT; i++)
        fake_state_free(router->states[i]);
    fake_state_free(router->nothing);
    env_defer_cancel(router->env, &router->task);
    free(router->states);
    free(router);
}

void fake_router_add_engine(struct shard_router *router, const struct shard_engine *engine)
{
    router->engines[engine->id] = engine;
    fake_state_set_forget(router->nothing, engine->forget);
    for (uint32_t shard = 0; shard < router->shard_count; shard++)
        fake_state_set_forget(fake_router_state(router, shard, engine->id), engine->forget);
}

struct shard_state *fake_router_state(struct shard_router *router, uint32_t shard,
                                      enum shard_engine_id engine)
{
    CHECK(shard < router->shard_count);
    return router->states[(size_t)shard * SHARD_ENGINE_COUNT + engine];
}

size_t fake_router_key_count(const struct shard_router *router)
{
    size_t count = 0;

    for (size_t i = 0; i < (size_t)router->shard_count * SHARD_ENGINE_COUNT; i++)
        count += fake_state_count(router->states[i]);
    return count;
}

void fake_router_apply(struct shard_router *router, uint32_t shard, enum shard_engine_id engine,
                       struct slice command, struct buffer *reply)
{
    struct shard_moment moment = {
        .index = ++router->index,
        .wall_ms = env_wall_ms(router->env),
        .random = env_random(router->env),
    };

    fake_state_begin_command(fake_router_state(router, shard, engine));
    router->engines[engine]->apply(fake_router_state(router, shard, engine), &moment, command,
                                   reply);
}

void fake_router_query(struct shard_router *router, uint32_t shard, enum shard_engine_id engine,
                       struct slice query, struct buffer *reply)
{
    fake_state_begin_command(fake_router_state(router, shard, engine));
    router->engines[engine]->read(fake_router_state(router, shard, engine), query, reply);
}

static void run_read(struct shard_router *router, const struct shard_request *request,
                     enum shard_engine_id engine, struct slice query, struct buffer *reply)
{
    if (router->is_lagging && !request->is_strong)
        router->engines[engine]->read(router->nothing, query, reply);
    else
        fake_router_query(router, request->shard, engine, query, reply);
}

/* Is it this request's turn to fail? */
static bool fails_now(struct shard_router *router)
{
    if (!router->fails)
        return false;
    if (router->fails_skip > 0) {
        router->fails_skip--;
        return false;
    }
    router->fails = false;
    return true;
}

static void answer(struct shard_router *router, struct shard_request *request)
{
    struct buffer body = buffer_take(&request->body);
    struct reader reader = reader_of(buffer_slice(&body));
    enum shard_engine_id engine = (enum shard_engine_id)reader_u8(&reader);
    struct buffer reply = BUFFER_INIT(REPLY_BYTES_MAX);
    bool has_failed = fails_now(router);

    router->in_flight--;
    request->router = NULL;
    CHECK(router->engines[engine] != NULL);
    if (!request->is_write)
        run_read(router, request, engine, reader.rest, &reply);
    else if (!has_failed || router->fails_applied)
        fake_router_apply(router, request->shard, engine, reader.rest, &reply);
    if (has_failed)
        request->cb(request, router->fails_with, slice_of(NULL, 0));
    else
        request->cb(request, OK, buffer_slice(&reply));
    buffer_close(&reply);
    buffer_close(&body);
}

static void router_on_turn(struct env_task *task)
{
    struct shard_router *router = container_of(task, struct shard_router, task);
    struct list batch;
    struct list *link;

    if (router->is_held)
        return;
    list_move(&batch, &router->requests);
    while ((link = list_pop(&batch)) != NULL) {
        router->is_held = router->is_held || (router->holds_after && router->answers_left-- == 0);
        if (router->is_held)
            list_append(&router->requests, link);
        else
            answer(router, container_of(link, struct shard_request, link));
    }
}

static void request_start(struct shard_router *router, struct shard_request *request,
                          uint32_t shard, enum shard_engine_id engine, struct slice body,
                          shard_request_cb cb)
{
    request->router = router;
    request->shard = shard;
    request->cb = cb;
    buffer_init(&request->body, BUFFER_UNLIMITED);
    buffer_put_u8(&request->body, (uint8_t)engine);
    buffer_put_slice(&request->body, body);
    list_append(&router->requests, &request->link);
    router->in_flight++;
    if (router->in_flight > router->in_flight_max)
        router->in_flight_max = router->in_flight;
    env_defer(router->env, &router->task, router_on_turn);
}

void shard_router_write(struct shard_router *router, struct shard_request *request, uint32_t shard,
                        enum shard_engine_id engine, struct slice command, uint32_t deadline_ms,
                        shard_request_cb cb)
{
    (void)deadline_ms;
    router->write_count++;
    request->is_write = true;
    request_start(router, request, shard, engine, command, cb);
}

void shard_router_read(struct shard_router *router, struct shard_request *request, uint32_t shard,
                       enum shard_engine_id engine, struct slice query,
                       enum shard_consistency consistency, const char *region, uint32_t deadline_ms,
                       shard_request_cb cb)
{
    (void)region;
    (void)deadline_ms;
    router->read_count++;
    request->is_write = false;
    request->is_strong = consistency == SHARD_STRONG;
    request_start(router, request, shard, engine, query, cb);
}

void shard_request_cancel(struct shard_request *request)
{
    if (request->router == NULL)
        return;
    list_remove(&request->link);
    buffer_close(&request->body);
    request->router->in_flight--;
    request->router = NULL;
}

uint32_t shard_router_shard_count(const struct shard_router *router)
{
    return router->shard_count;
}

uint32_t shard_router_shard_of(const struct shard_router *router, struct slice resource,
                               struct slice partition_key)
{
    return shard_choice(router->shard_count, resource, partition_key);
}

uint64_t shard_router_leader(const struct shard_router *router, uint32_t shard)
{
    (void)shard;
    return env_self(router->env);
}

void fake_router_fail(struct shard_router *router, size_t skip, enum error rc, bool is_applied)
{
    router->fails = true;
    router->fails_skip = skip;
    router->fails_with = rc;
    router->fails_applied = is_applied;
}

void fake_router_set_lagging(struct shard_router *router, bool is_lagging)
{
    router->is_lagging = is_lagging;
}

void fake_router_hold_after(struct shard_router *router, size_t answers)
{
    router->holds_after = true;
    router->answers_left = answers;
}

void fake_router_hold(struct shard_router *router, bool is_held)
{
    router->is_held = is_held;
    router->holds_after = false;
    if (!is_held && !list_is_empty(&router->requests))
        env_defer(router->env, &router->task, router_on_turn);
}

size_t fake_router_write_count(const struct shard_router *router)
{
    return router->write_count;
}

size_t fake_router_read_count(const struct shard_router *router)
{
    return router->read_count;
}

size_t fake_router_in_flight_max(const struct shard_router *router)
{
    return router->in_flight_max;
}
