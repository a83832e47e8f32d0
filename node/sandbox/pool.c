#include "node/sandbox/pool_impl.h"

#include "proto/base/check.h"

#include <stdio.h>

#define CONCURRENCY_DEFAULT 1000
#define STARTING_DEFAULT 32
#define SANDBOXES_DEFAULT 256
#define WAIT_MS_DEFAULT 15000
#define BOOT_MS_DEFAULT 10000
#define INIT_MS_DEFAULT 10000
#define IDLE_MS_DEFAULT 300000
#define ACCOUNT_DEFAULT "000000000000"
#define REGION_DEFAULT "us-east-1"

struct pool *pool_new(struct env *env, const struct pool_options *options)
{
    struct pool *pool = check_calloc(1, sizeof(*pool));
    struct pool_options *own = &pool->options;

    pool->env = env;
    *own = *options;
    own->region = own->region != NULL ? own->region : REGION_DEFAULT;
    own->account = own->account != NULL ? own->account : ACCOUNT_DEFAULT;
    own->concurrency_max = own->concurrency_max != 0 ? own->concurrency_max : CONCURRENCY_DEFAULT;
    own->sandboxes_max = own->sandboxes_max != 0 ? own->sandboxes_max : SANDBOXES_DEFAULT;
    own->starting_max = own->starting_max != 0 ? own->starting_max : STARTING_DEFAULT;
    own->wait_ms_max = own->wait_ms_max != 0 ? own->wait_ms_max : WAIT_MS_DEFAULT;
    own->boot_ms_max = own->boot_ms_max != 0 ? own->boot_ms_max : BOOT_MS_DEFAULT;
    own->init_ms_max = own->init_ms_max != 0 ? own->init_ms_max : INIT_MS_DEFAULT;
    own->idle_ms = own->idle_ms != 0 ? own->idle_ms : IDLE_MS_DEFAULT;
    map_init(&pool->functions);
    map_init(&pool->limits);
    pool->rest_max = POOL_UNLIMITED;
    list_init(&pool->all);
    list_init(&pool->idle);
    list_init(&pool->stalled);
    list_init(&pool->refused);
    return pool;
}

void pool_free(struct pool *pool)
{
    if (pool == NULL)
        return;
    LIST_EACH_SAFE(&pool->all, function_link)
    {
        struct pool_function *function = container_of(function_link, struct pool_function, link);

        env_timer_stop(pool->env, &function->backoff);
        env_timer_stop(pool->env, &function->patience);
        pool_call_free_all(pool, &function->waiting);
        LIST_EACH_SAFE(&function->versions, version_link)
        {
            struct pool_version *version = container_of(version_link, struct pool_version, link);

            LIST_EACH_SAFE(&version->units, unit_link)
            {
                struct pool_unit *unit = container_of(unit_link, struct pool_unit, link);

                env_timer_stop(pool->env, &unit->timer);
                pool_call_free(pool, unit->call);
                pool_unit_free(unit);
            }
            pool_function_free_version(version);
        }
        pool_function_free(function);
    }
    pool_call_free_all(pool, &pool->refused);
    env_timer_stop(pool->env, &pool->reap_timer);
    env_defer_cancel(pool->env, &pool->refuse_task);
    map_close(&pool->functions);
    pool_limit_free_all(pool);
    free(pool);
}

static void name_arn(struct pool_call *call)
{
    const struct pool *pool = call->pool;
    const char *qualifier = call->invoke->qualifier != NULL ? call->invoke->qualifier : "";

    (void)snprintf(call->arn, sizeof(call->arn), "arn:aws:lambda:%s:%s:function:%s%s%s",
                   pool_unit_region(pool, call), pool->options.account, call->function->name,
                   qualifier[0] != '\0' ? ":" : "", qualifier);
}

void pool_invoke(struct pool *pool, struct invoke *invoke, invoke_cb cb)
{
    struct pool_function *function = pool_function_find(pool, invoke->function, invoke->version);
    struct pool_call *call = check_calloc(1, sizeof(*call));

    invoke->cb = cb;
    invoke->impl = call;
    call->pool = pool;
    call->invoke = invoke;
    call->function = function;
    call->since_us = env_now_us(pool->env);
    list_init(&call->link);
    pool_function_version_text(invoke->version, call->version);
    pool->call_count++;
    if (function == NULL) {
        pool_call_refuse(call, INVOKE_NOT_FOUND);
    } else if (invoke->payload.size > INVOKE_PAYLOAD_BYTES_MAX) {
        pool_call_refuse(call, INVOKE_TOO_LARGE);
    } else if (!pool_limit_admit(call)) {
        pool_call_refuse(call, INVOKE_THROTTLED);
    } else {
        name_arn(call);
        pool_call_wait(function, call, (uint64_t)pool->options.wait_ms_max * 1000);
        pool_pump(function);
    }
}

void pool_cancel(struct pool *pool, struct invoke *invoke)
{
    struct pool_call *call = invoke->impl;

    CHECK(call->pool == pool);
    call->is_cancelled = true;
    if (call->is_waiting)
        pool_call_give_up(call, INVOKE_CANCELLED);
}

static void count_units(const struct pool_version *version, struct pool_stats *stats)
{
    LIST_EACH((struct list *)&version->units, link)
    {
        const struct pool_unit *unit = container_of(link, struct pool_unit, link);

        stats->starting += unit->state == UNIT_STARTING;
        stats->idle += unit->state == UNIT_IDLE;
        stats->busy += unit->state == UNIT_BUSY;
    }
}

void pool_stats(const struct pool *pool, struct pool_stats *stats)
{
    *stats = pool->totals;
    stats->functions = (uint32_t)pool->functions.count;
    LIST_EACH((struct list *)&pool->all, link)
    {
        const struct pool_function *function = container_of(link, struct pool_function, link);

        stats->waiting += function->waiting_count;
        LIST_EACH((struct list *)&function->versions, version_link)
        count_units(container_of(version_link, struct pool_version, link), stats);
    }
}
