#include "node/sandbox/pool_impl.h"

#include "proto/base/check.h"
#include "proto/base/log.h"

/* The sandbox was started for the oldest waiting call, which gets the blame. Last statement of its
 * caller; the unit may be gone. */
static void fail_waiting(struct pool_function *function, enum invoke_outcome outcome,
                         struct slice document, struct slice log_tail)
{
    struct pool_call *call = pool_call_take(function);

    pool_pump(function);
    if (call != NULL)
        pool_call_finish(call, &(struct invoke_result){
                                   .outcome = outcome, .payload = document, .log_tail = log_tail});
}

static const char *waiting_request_id(const struct pool_function *function)
{
    struct pool_call *first = container_of(function->waiting.next, struct pool_call, link);

    return list_is_empty(&function->waiting) ? "" : first->invoke->request_id;
}

static void unit_on_init_too_long(struct env_timer *timer)
{
    struct pool_unit *unit = container_of(timer, struct pool_unit, timer);
    struct pool_function *function = unit->version->function;
    struct pool *pool = function->pool;
    AUTO(buffer) document = BUFFER_INIT(BUFFER_UNLIMITED);

    sandbox_report_timeout(waiting_request_id(function), env_wall_ms(pool->env),
                           pool->options.init_ms_max, &document);
    pool->totals.timeouts++;
    pool_unit_end(unit);
    pool_pump_note_failure(function);
    fail_waiting(function, INVOKE_FUNCTION_ERROR, buffer_slice(&document), (struct slice){0});
}

/* It no longer holds up the starts of others. */
void pool_unit_on_init_slow(struct env_timer *timer)
{
    struct pool_unit *unit = container_of(timer, struct pool_unit, timer);
    struct pool *pool = unit->version->function->pool;
    uint64_t max_us = (uint64_t)pool->options.init_ms_max * 1000;

    pool_unit_set_paced(unit, false);
    env_timer_start(pool->env, &unit->timer, max_us > PACED_US ? max_us - PACED_US : 0,
                    unit_on_init_too_long);
    pool_pump_stalled(pool);
}

static struct pool_unit *unit_of(struct sandbox *sandbox)
{
    return container_of(sandbox, struct pool_unit, sandbox);
}

/* The newest value counts an eighth. */
static void average(uint64_t *average_us, uint64_t value_us)
{
    *average_us = *average_us == 0 ? value_us : (*average_us * 7 + value_us) / 8;
}

static void unit_on_ready(struct sandbox *sandbox)
{
    struct pool_unit *unit = unit_of(sandbox);

    if (unit->state != UNIT_STARTING)
        return;
    unit->init_us = env_now_us(unit->version->function->pool->env) - unit->since_us + 1;
    average(&unit->version->function->start_us, unit->init_us);
    pool_unit_rest(unit);
    pool_pump(unit->version->function);
    pool_pump_stalled(unit->version->function->pool);
}

static void unit_on_init_error(struct sandbox *sandbox, struct slice payload)
{
    struct pool_unit *unit = unit_of(sandbox);
    struct pool_function *function = unit->version->function;
    AUTO(buffer) tail = BUFFER_INIT(BUFFER_UNLIMITED);

    if (unit->state != UNIT_STARTING)
        return;
    tail = buffer_take(&unit->tail);
    pool_unit_end(unit);
    pool_pump_note_failure(function);
    fail_waiting(function, INVOKE_FUNCTION_ERROR, payload, pool_unit_tail(&tail));
}

static void unit_on_result(struct sandbox *sandbox, enum sandbox_result kind, struct slice payload)
{
    struct pool_unit *unit = unit_of(sandbox);
    struct env *env = unit->version->function->pool->env;
    AUTO(buffer) document = BUFFER_INIT(BUFFER_UNLIMITED);
    struct sandbox_report report;

    if (unit->state != UNIT_BUSY)
        return;
    report = pool_unit_report(unit);
    report.memory_used_mb = env->sandbox->memory_mb(env, sandbox);
    unit->version->function->failures = 0;
    average(&unit->version->function->run_us, report.duration_us);
    if (kind == SANDBOX_TOO_LARGE) {
        sandbox_report_too_large(&document);
        payload = buffer_slice(&document);
    }
    pool_unit_rest(unit);
    pool_unit_answer(unit, kind == SANDBOX_RESPONSE ? INVOKE_OK : INVOKE_FUNCTION_ERROR, payload,
                     &report, (struct slice){0});
}

static void unit_on_output(struct sandbox *sandbox, struct slice text)
{
    pool_unit_log(unit_of(sandbox), text);
}

/* It ended with a call of which it never heard: another one takes it. */
static void requeue_call(struct pool_unit *unit)
{
    struct pool_function *function = unit->version->function;
    struct pool_call *call = unit->call;
    struct pool *pool = function->pool;
    uint64_t wait_us = (uint64_t)pool->options.wait_ms_max * 1000;
    uint64_t age_us = env_now_us(pool->env) - call->since_us;

    pool_unit_set(unit, UNIT_ENDING);
    unit->call = NULL;
    if (function->is_removed || call->is_cancelled || age_us >= wait_us) {
        pool_call_refuse(call, function->is_removed ? INVOKE_NOT_FOUND
                               : call->is_cancelled ? INVOKE_CANCELLED
                                                    : INVOKE_THROTTLED);
        return;
    }
    pool_call_wait(function, call, wait_us - age_us);
    list_remove(&call->link); /* it was first once already */
    list_prepend(&function->waiting, &call->link);
    pool_pump(function);
}

/* It ended while it had a call. */
static void fail_call(struct pool_unit *unit, const struct sandbox_exit *exit)
{
    struct sandbox_report report = pool_unit_report(unit);
    AUTO(buffer) document = BUFFER_INIT(BUFFER_UNLIMITED);
    AUTO(buffer) line = BUFFER_INIT(BUFFER_UNLIMITED);

    report.memory_used_mb = exit->end == SANDBOX_OUT_OF_MEMORY ? report.memory_mb : exit->memory_mb;
    pool_unit_set(unit, UNIT_ENDING);
    if (exit->end == SANDBOX_FAILED) {
        pool_unit_answer(unit, INVOKE_UNAVAILABLE, (struct slice){0}, &report, (struct slice){0});
        return;
    }
    sandbox_report_exit(report.request_id, exit, &document);
    sandbox_report_exit_line(report.request_id, exit, &line);
    pool_unit_answer(unit, INVOKE_FUNCTION_ERROR, buffer_slice(&document), &report,
                     buffer_slice(&line));
}

/* It ended before it was ready. */
static void fail_start(struct pool_unit *unit, const struct sandbox_exit *exit)
{
    struct pool_function *function = unit->version->function;
    AUTO(buffer) document = BUFFER_INIT(BUFFER_UNLIMITED);
    AUTO(buffer) tail = BUFFER_INIT(BUFFER_UNLIMITED);

    tail = buffer_take(&unit->tail);
    pool_unit_set(unit, UNIT_ENDING);
    if (exit->end == SANDBOX_FAILED) {
        fail_waiting(function, INVOKE_UNAVAILABLE, (struct slice){0}, (struct slice){0});
        return;
    }
    sandbox_report_exit(waiting_request_id(function), exit, &document);
    fail_waiting(function, INVOKE_FUNCTION_ERROR, buffer_slice(&document), pool_unit_tail(&tail));
}

static void unit_on_exit(struct sandbox *sandbox, const struct sandbox_exit *exit)
{
    struct pool_unit *unit = unit_of(sandbox);
    struct pool_version *version = unit->version;
    struct pool *pool = version->function->pool;
    enum unit_state state = unit->state;

    pool->unit_count--;
    if (exit->end == SANDBOX_FAILED)
        log_warn("pool.sandbox_failed function=%s why=\"%s\"", version->function->name, exit->why);
    if (state != UNIT_ENDING)
        pool_pump_note_failure(version->function);
    if (state == UNIT_BUSY && exit->is_event_unseen)
        requeue_call(unit);
    else if (state == UNIT_BUSY)
        fail_call(unit, exit);
    else if (state == UNIT_STARTING)
        fail_start(unit, exit);
    else
        pool_unit_set(unit, UNIT_ENDING);
    pool_unit_free(unit);
    if (pool_function_is_current(version) && version->function->keep_count > 0)
        pool_pump(version->function);
    pool_function_release(version);
    pool_pump_stalled(pool);
}

const struct sandbox_handler pool_unit_handler = {.on_ready = unit_on_ready,
                                                  .on_init_error = unit_on_init_error,
                                                  .on_result = unit_on_result,
                                                  .on_output = unit_on_output,
                                                  .on_exit = unit_on_exit};
