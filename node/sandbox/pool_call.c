#include "node/sandbox/pool_impl.h"

#include "proto/base/check.h"

/* How often a call that waits for a runtime looks whether it is loaded. */
#define BOOT_LOOK_US 50000

/* Takes the call. The callback is the last thing done. */
void pool_call_finish(struct pool_call *call, struct invoke_result *result)
{
    struct pool *pool = call->pool;
    struct invoke *invoke = call->invoke;

    env_timer_stop(pool->env, &call->timer);
    pool_limit_release(call);
    pool->call_count--;
    pool->totals.invocations++;
    pool->totals.errors += result->outcome == INVOKE_FUNCTION_ERROR;
    pool->totals.throttles += result->outcome == INVOKE_THROTTLED;
    result->version = call->version;
    result->limit = call->refused_by;
    invoke->cb(invoke, result);
    free(call);
}

static void finish_refused(struct env_task *task)
{
    struct pool *pool = container_of(task, struct pool, refuse_task);
    struct list calls;
    struct list *link;

    list_move(&calls, &pool->refused);
    while ((link = list_pop(&calls)) != NULL) {
        struct pool_call *call = container_of(link, struct pool_call, link);

        pool_call_finish(call, &(struct invoke_result){.outcome = call->refusal});
    }
}

/* End a call at the end of this turn: callers are never called back from within their call. */
void pool_call_refuse(struct pool_call *call, enum invoke_outcome outcome)
{
    struct pool *pool = call->pool;

    env_timer_stop(pool->env, &call->timer);
    call->function = NULL;
    call->refusal = outcome;
    list_append(&pool->refused, &call->link);
    env_defer(pool->env, &pool->refuse_task, finish_refused);
}

void pool_call_wait(struct pool_function *function, struct pool_call *call, uint64_t wait_us)
{
    list_append(&function->waiting, &call->link);
    function->waiting_count++;
    call->is_waiting = true;
    env_timer_start(call->pool->env, &call->timer, wait_us, pool_call_on_waited_enough);
}

static void stop_waiting(struct pool_function *function, struct pool_call *call)
{
    list_remove(&call->link);
    function->waiting_count--;
    call->is_waiting = false;
}

void pool_call_give_up(struct pool_call *call, enum invoke_outcome outcome)
{
    stop_waiting(call->function, call);
    pool_call_refuse(call, outcome);
}

struct pool_call *pool_call_take(struct pool_function *function)
{
    struct pool_call *call;

    if (list_is_empty(&function->waiting))
        return NULL;
    call = container_of(function->waiting.next, struct pool_call, link);
    stop_waiting(function, call);
    return call;
}

void pool_call_refuse_all(struct pool_function *function, enum invoke_outcome outcome)
{
    struct pool_call *call;

    while ((call = pool_call_take(function)) != NULL)
        pool_call_refuse(call, outcome);
}

/* What loads a runtime does so once for everybody, and nobody is throttled for it. Afterwards a
 * call has its whole time to wait for a sandbox. */
static uint64_t more_patience_us(struct pool_call *call)
{
    const struct pool_options *options = &call->pool->options;
    uint64_t age_us = env_now_us(call->pool->env) - call->since_us;
    bool was_booting = call->is_boot_waiter;

    call->is_boot_waiter = pool_pump_is_booting(call->function);
    if (call->is_boot_waiter)
        return age_us < (uint64_t)options->boot_ms_max * 1000 ? BOOT_LOOK_US : 0;
    if (!was_booting)
        return 0;
    call->since_us = env_now_us(call->pool->env);
    return (uint64_t)options->wait_ms_max * 1000;
}

void pool_call_on_waited_enough(struct env_timer *timer)
{
    struct pool_call *call = container_of(timer, struct pool_call, timer);
    uint64_t more_us = more_patience_us(call);

    if (more_us > 0) {
        env_timer_start(call->pool->env, &call->timer, more_us, pool_call_on_waited_enough);
        return;
    }
    pool_call_give_up(call, INVOKE_THROTTLED);
}

void pool_call_free(struct pool *pool, struct pool_call *call)
{
    if (call != NULL)
        env_timer_stop(pool->env, &call->timer);
    free(call);
}

void pool_call_free_all(struct pool *pool, struct list *calls)
{
    struct list *link;

    while ((link = list_pop(calls)) != NULL)
        pool_call_free(pool, container_of(link, struct pool_call, link));
}
