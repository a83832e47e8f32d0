#include "node/sandbox/pool_impl.h"

#include "proto/base/check.h"
#include "proto/base/encode.h"

#include <inttypes.h>
#include <stdio.h>

static void unit_on_time_out(struct env_timer *timer);

void pool_unit_log(struct pool_unit *unit, struct slice text)
{
    const struct pool_options *options = &unit->version->function->pool->options;
    const char *request_id = unit->call != NULL ? unit->call->invoke->request_id : NULL;

    buffer_put_slice(&unit->tail, text);
    if (unit->tail.size > 4 * INVOKE_LOG_TAIL_BYTES)
        buffer_consume(&unit->tail, unit->tail.size - INVOKE_LOG_TAIL_BYTES);
    if (options->on_log != NULL && text.size > 0)
        options->on_log(options->user, unit->version->spec, unit->log_stream, request_id, text);
}

struct slice pool_unit_tail(const struct buffer *tail)
{
    size_t size = tail->size < INVOKE_LOG_TAIL_BYTES ? tail->size : INVOKE_LOG_TAIL_BYTES;

    return size == 0 ? (struct slice){0} : slice_of(tail->data + (tail->size - size), size);
}

struct sandbox_report pool_unit_report(const struct pool_unit *unit)
{
    struct env *env = unit->version->function->pool->env;
    struct sandbox_report report = {.request_id = unit->call->invoke->request_id,
                                    .version = unit->version->function->version,
                                    .duration_us = env_now_us(env) - unit->since_us,
                                    .init_us = unit->init_us,
                                    .memory_mb = unit->version->spec->memory_mb};

    report.billed_ms = sandbox_report_billed_ms(report.duration_us);
    return report;
}

void pool_unit_set_paced(struct pool_unit *unit, bool is_paced)
{
    struct pool *pool = unit->version->function->pool;

    pool->starting_count -= unit->is_paced;
    pool->starting_count += is_paced;
    unit->is_paced = is_paced;
}

void pool_unit_set(struct pool_unit *unit, enum unit_state state)
{
    struct pool_version *version = unit->version;
    struct pool *pool = version->function->pool;

    env_timer_stop(pool->env, &unit->timer);
    version->starting_count -= unit->state == UNIT_STARTING;
    pool_unit_set_paced(unit, state == UNIT_STARTING);
    pool->busy_count -= unit->state == UNIT_BUSY;
    pool->busy_count += state == UNIT_BUSY;
    list_remove(&unit->idle_link);
    list_remove(&unit->oldest_link);
    unit->state = state;
    unit->since_us = env_now_us(pool->env);
    version->starting_count += state == UNIT_STARTING;
    if (state == UNIT_IDLE) {
        list_prepend(&version->idle, &unit->idle_link);
        list_append(&pool->idle, &unit->oldest_link);
    }
}

void pool_unit_end(struct pool_unit *unit)
{
    struct env *env = unit->version->function->pool->env;

    pool_unit_set(unit, UNIT_ENDING);
    env->sandbox->kill(env, &unit->sandbox);
}

void pool_unit_end_idle(struct pool_version *version)
{
    while (!list_is_empty(&version->idle))
        pool_unit_end(container_of(version->idle.next, struct pool_unit, idle_link));
}

bool pool_unit_is_kept(const struct pool_unit *unit)
{
    const struct pool_function *function = unit->version->function;

    return function->keep_count > 0 && pool_function_is_current(unit->version) &&
           pool_pump_unit_count(function) <= function->keep_count;
}

static void on_reap(struct env_timer *timer)
{
    struct pool *pool = container_of(timer, struct pool, reap_timer);
    uint64_t idle_us = (uint64_t)pool->options.idle_ms * 1000;

    LIST_EACH_SAFE(&pool->idle, link)
    {
        struct pool_unit *unit = container_of(link, struct pool_unit, oldest_link);
        uint64_t age_us = env_now_us(pool->env) - unit->since_us;

        if (age_us < idle_us) {
            env_timer_start(pool->env, &pool->reap_timer, idle_us - age_us, on_reap);
            return;
        }
        if (!pool_unit_is_kept(unit))
            pool_unit_end(unit);
    }
}

void pool_unit_reap_later(struct pool *pool)
{
    if (!env_timer_is_running(&pool->reap_timer))
        env_timer_start(pool->env, &pool->reap_timer, (uint64_t)pool->options.idle_ms * 1000,
                        on_reap);
}

/* Year, month and day as Lambda names its streams, then something unique to the sandbox. */
static void name_stream(const struct pool_function *function, char stream[TEXT_BYTES])
{
    struct pool *pool = function->pool;
    char time[TIME_TEXT_BYTES];

    encode_time(env_wall_ms(pool->env), time);
    snprintf(stream, TEXT_BYTES, "%.4s/%.2s/%.2s/[%s]%016" PRIx64 "%016" PRIx64, time, time + 5,
             time + 8, function->version, env_random(pool->env), ++pool->stream_number);
}

const char *pool_unit_region(const struct pool *pool, const struct pool_call *call)
{
    if (call != NULL && call->invoke->region != NULL && call->invoke->region[0] != '\0')
        return call->invoke->region;
    return pool->options.region;
}

enum error pool_unit_start(struct pool_version *version)
{
    struct pool_function *function = version->function;
    struct pool *pool = function->pool;
    struct pool_unit *unit = check_calloc(1, sizeof(*unit));
    const struct pool_call *first =
        list_is_empty(&function->waiting)
            ? NULL
            : container_of(function->waiting.next, struct pool_call, link);
    char log_group[TEXT_BYTES];
    struct sandbox_spec spec = {.function = version->spec,
                                .code_folder = version->folder,
                                .region = pool_unit_region(pool, first),
                                .log_group = log_group,
                                .log_stream = unit->log_stream};
    enum error rc;

    snprintf(log_group, sizeof(log_group), "/aws/lambda/%s", function->name);
    name_stream(function, unit->log_stream);
    unit->version = version;
    buffer_init(&unit->tail, BUFFER_UNLIMITED);
    list_init(&unit->idle_link);
    list_init(&unit->oldest_link);
    rc = pool->env->sandbox->start(pool->env, &unit->sandbox, &spec, &pool_unit_handler);
    if (rc != OK) {
        free(unit);
        return rc;
    }
    list_append(&version->units, &unit->link);
    pool->unit_count++;
    pool->totals.cold_starts++;
    pool_unit_set(unit, UNIT_STARTING);
    env_timer_start(pool->env, &unit->timer, PACED_US, pool_unit_on_init_slow);
    return OK;
}

void pool_unit_deliver(struct pool_unit *unit, struct pool_call *call)
{
    struct pool_version *version = unit->version;
    struct pool *pool = call->pool;
    const struct invoke *invoke = call->invoke;
    struct sandbox_report start = {.request_id = invoke->request_id,
                                   .version = version->function->version};
    AUTO(buffer) line = BUFFER_INIT(BUFFER_UNLIMITED);
    struct sandbox_event event = {
        .request_id = invoke->request_id,
        .function_arn = call->arn,
        .trace_header = invoke->trace_header,
        .client_context = invoke->client_context,
        .payload = invoke->payload.size > 0 ? invoke->payload : SLICE_LITERAL("{}"),
        .deadline_wall_ms = env_wall_ms(pool->env) + version->spec->timeout_ms};

    env_timer_stop(pool->env, &call->timer);
    pool_unit_set(unit, UNIT_BUSY);
    unit->call = call;
    env_timer_start(pool->env, &unit->timer, (uint64_t)version->spec->timeout_ms * 1000,
                    unit_on_time_out);
    sandbox_report_start(&start, &line);
    pool_unit_log(unit, buffer_slice(&line));
    pool->env->sandbox->invoke(pool->env, &unit->sandbox, &event);
}

/* The unit's call ends: `document` is the payload where the platform has to make one, `line` what
 * the log gets after the report. The unit has a new state already. Last statement of its caller. */
void pool_unit_answer(struct pool_unit *unit, enum invoke_outcome outcome, struct slice payload,
                      struct sandbox_report *report, struct slice line)
{
    struct pool *pool = unit->version->function->pool;
    struct pool_call *call = unit->call;
    AUTO(buffer) lines = BUFFER_INIT(BUFFER_UNLIMITED);
    AUTO(buffer) tail = BUFFER_INIT(BUFFER_UNLIMITED);
    struct invoke_result result = {.outcome = outcome,
                                   .payload = payload,
                                   .duration_us = report->duration_us,
                                   .init_us = report->init_us,
                                   .billed_ms = report->billed_ms,
                                   .memory_used_mb = report->memory_used_mb};

    sandbox_report_end(report, &lines);
    buffer_put_slice(&lines, line);
    pool_unit_log(unit, buffer_slice(&lines));
    tail = buffer_take(&unit->tail);
    result.log_tail = pool_unit_tail(&tail);
    unit->call = NULL;
    unit->init_us = 0;
    pool->totals.billed_mb_ms += (uint64_t)report->billed_ms * report->memory_mb;
    pool_pump(unit->version->function);
    pool_call_finish(call, &result);
}

static void unit_on_time_out(struct env_timer *timer)
{
    struct pool_unit *unit = container_of(timer, struct pool_unit, timer);
    struct pool *pool = unit->version->function->pool;
    struct sandbox_report report = pool_unit_report(unit);
    uint64_t wall_ms = env_wall_ms(pool->env);
    uint32_t timeout_ms = unit->version->spec->timeout_ms;
    AUTO(buffer) document = BUFFER_INIT(BUFFER_UNLIMITED);
    AUTO(buffer) line = BUFFER_INIT(BUFFER_UNLIMITED);

    report.memory_used_mb = pool->env->sandbox->memory_mb(pool->env, &unit->sandbox);
    sandbox_report_timeout(report.request_id, wall_ms, timeout_ms, &document);
    sandbox_report_timeout_line(report.request_id, wall_ms, timeout_ms, &line);
    pool->totals.timeouts++;
    pool_unit_end(unit);
    pool_unit_answer(unit, INVOKE_FUNCTION_ERROR, buffer_slice(&document), &report,
                     buffer_slice(&line));
}

/* It has nothing to do any more: keep it, unless its function has moved on. */
void pool_unit_rest(struct pool_unit *unit)
{
    struct pool *pool = unit->version->function->pool;

    if (!pool_function_is_current(unit->version)) {
        pool_unit_end(unit);
        return;
    }
    pool_unit_set(unit, UNIT_IDLE);
    pool_unit_reap_later(pool);
}

void pool_unit_free(struct pool_unit *unit)
{
    list_remove(&unit->link);
    list_remove(&unit->idle_link);
    list_remove(&unit->oldest_link);
    buffer_close(&unit->tail);
    free(unit);
}
