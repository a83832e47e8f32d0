#include "node/sandbox/pool_impl.h"

#include "proto/base/check.h"

/* ---- admission ------------------------------------------------------------------------------ */

static struct pool_limit *find_limit(const struct pool *pool, const char *name)
{
    struct pool_limit *limit =
        pool->limits.count > 0 ? map_find(&pool->limits, slice_text(name)) : NULL;

    return limit != NULL && limit->is_set ? limit : NULL;
}

static bool is_rest_full(const struct pool *pool)
{
    return pool->rest_count >= pool->rest_max;
}

bool pool_limit_admit(struct pool_call *call)
{
    struct pool *pool = call->pool;
    struct pool_limit *limit = find_limit(pool, call->function->name);

    if (limit != NULL && limit->count >= limit->max)
        call->refused_by = INVOKE_LIMIT_RESERVED;
    else if ((limit == NULL && is_rest_full(pool)) ||
             pool->call_count > pool->options.concurrency_max)
        call->refused_by = INVOKE_LIMIT_ACCOUNT;
    if (call->refused_by != INVOKE_LIMIT_NONE)
        return false;
    call->is_admitted = true;
    call->limit = limit;
    *(limit != NULL ? &limit->count : &pool->rest_count) += 1;
    return true;
}

static void limit_free(struct pool_limit *limit)
{
    free(limit->name);
    free(limit);
}

static void drop_unused(struct pool *pool, struct pool_limit *limit)
{
    if (limit->is_set || limit->count > 0)
        return;
    map_remove(&pool->limits, slice_text(limit->name));
    limit_free(limit);
}

void pool_limit_release(struct pool_call *call)
{
    struct pool *pool = call->pool;

    if (!call->is_admitted)
        return;
    if (call->limit == NULL) {
        pool->rest_count--;
        return;
    }
    call->limit->count--;
    drop_unused(pool, call->limit);
}

bool pool_is_at_limit(const struct pool *pool, const char *name)
{
    const struct pool_limit *limit = find_limit(pool, name);

    return limit != NULL ? limit->count >= limit->max : is_rest_full(pool);
}

void pool_limit_free_all(struct pool *pool)
{
    struct map_entry *entry;
    size_t position = 0;

    while ((entry = map_next(&pool->limits, &position)) != NULL)
        limit_free(entry->value);
    map_close(&pool->limits);
}

/* ---- the plan ------------------------------------------------------------------------------- */

void pool_plan_begin(struct pool *pool)
{
    struct map_entry *entry;
    size_t position = 0;

    while ((entry = map_next(&pool->limits, &position)) != NULL)
        ((struct pool_limit *)entry->value)->is_planned = false;
    LIST_EACH(&pool->all, link)
    {
        container_of(link, struct pool_function, link)->planned_count = 0;
    }
}

void pool_plan_limit(struct pool *pool, const char *name, uint32_t max)
{
    struct pool_limit *limit = map_find(&pool->limits, slice_text(name));

    if (limit == NULL) {
        limit = check_calloc(1, sizeof(*limit));
        limit->name = check_strdup(name);
        map_set(&pool->limits, slice_text(name), limit);
    }
    limit->max = max;
    limit->is_set = true;
    limit->is_planned = true;
}

void pool_plan_keep(struct pool *pool, const char *name, uint64_t version, uint32_t count)
{
    struct pool_function *function = pool_function_find(pool, name, version);

    if (function != NULL)
        function->planned_count += count;
}

void pool_plan_end(struct pool *pool, uint32_t rest_max)
{
    struct map_entry *entry;
    size_t position = 0;

    pool->rest_max = rest_max;
    while ((entry = map_next(&pool->limits, &position)) != NULL) {
        struct pool_limit *limit = entry->value;

        limit->is_set = limit->is_planned;
        drop_unused(pool, limit);
    }
    LIST_EACH(&pool->all, link)
    {
        struct pool_function *function = container_of(link, struct pool_function, link);
        bool is_fewer = function->planned_count < function->keep_count;

        function->keep_count = function->planned_count;
        if (is_fewer)
            pool_unit_reap_later(pool);
        else if (function->keep_count > 0)
            pool_pump(function);
    }
}

uint32_t pool_ready_count(const struct pool *pool, const char *name, uint64_t version)
{
    const struct pool_function *function = pool_function_find(pool, name, version);
    uint32_t count = 0;

    if (function == NULL)
        return 0;
    LIST_EACH(&pool_function_current(function)->units, link)
    {
        const struct pool_unit *unit = container_of(link, struct pool_unit, link);

        count += unit->state == UNIT_IDLE || unit->state == UNIT_BUSY;
    }
    return count;
}
