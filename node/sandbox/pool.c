#include "node/sandbox/pool.h"

#include "node/sandbox/sandbox_report.h"
#include "proto/base/check.h"
#include "proto/base/encode.h"
#include "proto/base/log.h"
#include "proto/base/map.h"

#include <inttypes.h>
#include <stdio.h>

#define CONCURRENCY_DEFAULT 1000
#define STARTING_DEFAULT 32
#define SANDBOXES_DEFAULT 256
#define WAIT_MS_DEFAULT 15000
#define INIT_MS_DEFAULT 10000
#define IDLE_MS_DEFAULT 300000
#define ACCOUNT_DEFAULT "000000000000"
#define REGION_DEFAULT "us-east-1"
#define VERSION_TEXT "$LATEST"

/* A function that failed this often in a row starts no sooner than the back-off says. */
#define FAILURES_FREE 3
#define BACKOFF_MS_MIN 100
#define BACKOFF_DOUBLINGS_MAX 6

/* A start that takes longer waits for something else than a processor. */
#define PACED_US 1000000

/* How soon calls that wait for a busy sandbox or processor are looked at again. */
#define PATIENCE_US 5000

#define TEXT_BYTES 192

enum code_state { CODE_ABSENT, CODE_FETCHING, CODE_READY };

/* One generation of a function: its code and the sandboxes that run it. */
struct version {
    struct function *function;
    struct list link; /* in function->versions, the current one first */
    Skein__Wire__Function *spec;
    struct pool_code code;
    enum code_state code_state;
    char *folder;
    struct list idle;        /* units, the latest used first */
    struct list units;       /* all of them */
    uint32_t starting_count; /* of them */
};

struct function {
    struct pool *pool;
    struct list link; /* in pool->all */
    char *name;
    struct list versions;
    struct list waiting; /* calls without a sandbox, oldest first */
    uint32_t waiting_count;
    struct list stalled_link; /* in pool->stalled while it waits for room */
    uint32_t failures;        /* crashes since the last answer */
    struct env_timer backoff;
    uint64_t start_us;         /* how long a start takes, a moving average; 0 = not known */
    uint64_t run_us;           /* how long a call takes, likewise */
    struct env_timer patience; /* looks again at calls that wait for a busy sandbox */
    bool is_removed;
};

enum unit_state {
    UNIT_NEW,
    UNIT_STARTING,
    UNIT_IDLE,
    UNIT_BUSY,
    UNIT_ENDING /* killed, or about to exit; on_exit will come */
};

/* A sandbox of the pool. */
struct unit {
    struct sandbox sandbox;
    struct version *version;
    enum unit_state state;
    struct list link;        /* in version->units */
    struct list idle_link;   /* in version->idle while idle */
    struct list oldest_link; /* in pool->idle while idle */
    struct call *call;       /* while busy */
    struct env_timer timer;  /* initialisation, then each invocation */
    bool is_paced;           /* counted in pool->starting_count */
    uint64_t since_us;       /* when the state began */
    uint64_t init_us;        /* > 0 until the first invocation was answered */
    char log_stream[TEXT_BYTES];
    struct buffer tail; /* the latest output, cut to its last bytes when taken */
};

/* An admitted invocation. */
struct call {
    struct pool *pool;
    struct invoke *invoke;
    struct function *function; /* NULL once it is finished early */
    struct list link;          /* in function->waiting, or pool->refused */
    struct env_timer timer;    /* how long it may wait */
    uint64_t since_us;         /* when it came */
    enum invoke_outcome refusal;
    char arn[TEXT_BYTES];
};

struct pool {
    struct env *env;
    struct pool_options options;
    struct map functions; /* name -> struct function */
    struct list all;      /* functions, removed ones too while something of them runs */
    struct list idle;     /* units of all functions, the longest idle first */
    struct list stalled;  /* functions that wait for room on this node */
    struct list refused;  /* calls that end this turn */
    struct env_task refuse_task;
    struct env_timer reap_timer;
    uint32_t call_count; /* admitted and not ended */
    uint32_t unit_count;
    uint32_t busy_count;     /* units with a call, of all functions */
    uint32_t starting_count; /* units being started, of all functions, for less than PACED_US */
    uint64_t stream_number;
    struct pool_stats totals; /* only its counters */
};

static const struct sandbox_handler sandbox_handler;

static void pump(struct function *function);

/* ---- versions and functions ---------------------------------------------------------------- */

static Skein__Wire__Function *copy_spec(const Skein__Wire__Function *spec)
{
    size_t size = skein__wire__function__get_packed_size(spec);
    uint8_t *bytes = check_malloc(size + 1);
    Skein__Wire__Function *copy;

    skein__wire__function__pack(spec, bytes);
    copy = skein__wire__function__unpack(NULL, size, bytes);
    CHECK(copy != NULL);
    free(bytes);
    return copy;
}

static struct version *current_version(const struct function *function)
{
    return container_of(function->versions.next, struct version, link);
}

static bool is_current(const struct version *version)
{
    return !version->function->is_removed && current_version(version->function) == version;
}

static struct version *version_new(struct function *function, const Skein__Wire__Function *spec)
{
    struct version *version = check_calloc(1, sizeof(*version));

    version->function = function;
    version->spec = copy_spec(spec);
    list_init(&version->idle);
    list_init(&version->units);
    list_prepend(&function->versions, &version->link);
    return version;
}

static void version_free(struct version *version)
{
    list_remove(&version->link);
    skein__wire__function__free_unpacked(version->spec, NULL);
    free(version->folder);
    free(version);
}

static void function_free(struct function *function)
{
    list_remove(&function->link);
    list_remove(&function->stalled_link);
    free(function->name);
    free(function);
}

/* Free a version that nothing uses any more, and its function with the last one. */
static void release_version(struct version *version)
{
    struct function *function = version->function;

    if (is_current(version) || !list_is_empty(&version->units) ||
        version->code_state == CODE_FETCHING)
        return;
    version_free(version);
    if (function->is_removed && list_is_empty(&function->versions))
        function_free(function);
}

/* ---- the end of a call --------------------------------------------------------------------- */

/* Takes the call. The callback is the last thing done. */
static void finish_call(struct call *call, struct invoke_result *result)
{
    struct pool *pool = call->pool;
    struct invoke *invoke = call->invoke;

    env_timer_stop(pool->env, &call->timer);
    pool->call_count--;
    pool->totals.invocations++;
    pool->totals.errors += result->outcome == INVOKE_FUNCTION_ERROR;
    pool->totals.throttles += result->outcome == INVOKE_THROTTLED;
    result->version = VERSION_TEXT;
    free(call);
    invoke->cb(invoke, result);
}

static void finish_refused(struct env_task *task)
{
    struct pool *pool = container_of(task, struct pool, refuse_task);
    struct list calls;
    struct list *link;

    list_move(&calls, &pool->refused);
    while ((link = list_pop(&calls)) != NULL) {
        struct call *call = container_of(link, struct call, link);

        finish_call(call, &(struct invoke_result){.outcome = call->refusal});
    }
}

/* End a call at the end of this turn: callers are never called back from within their call. */
static void refuse(struct call *call, enum invoke_outcome outcome)
{
    struct pool *pool = call->pool;

    env_timer_stop(pool->env, &call->timer);
    call->function = NULL;
    call->refusal = outcome;
    list_append(&pool->refused, &call->link);
    env_defer(pool->env, &pool->refuse_task, finish_refused);
}

/* ---- waiting calls ------------------------------------------------------------------------- */

static struct call *take_waiting(struct function *function)
{
    struct list *link = list_pop(&function->waiting);

    if (link == NULL)
        return NULL;
    function->waiting_count--;
    return container_of(link, struct call, link);
}

static void refuse_waiting(struct function *function, enum invoke_outcome outcome)
{
    struct call *call;

    while ((call = take_waiting(function)) != NULL)
        refuse(call, outcome);
}

static void call_on_waited_enough(struct env_timer *timer)
{
    struct call *call = container_of(timer, struct call, timer);

    list_remove(&call->link);
    call->function->waiting_count--;
    refuse(call, INVOKE_THROTTLED);
}

/* ---- output -------------------------------------------------------------------------------- */

static void put_log(struct unit *unit, struct slice text)
{
    const struct pool_options *options = &unit->version->function->pool->options;
    const char *request_id = unit->call != NULL ? unit->call->invoke->request_id : NULL;

    buffer_put_slice(&unit->tail, text);
    if (unit->tail.size > 4 * INVOKE_LOG_TAIL_BYTES)
        buffer_consume(&unit->tail, unit->tail.size - INVOKE_LOG_TAIL_BYTES);
    if (options->on_log != NULL && text.size > 0)
        options->on_log(options->user, unit->version->spec, unit->log_stream, request_id, text);
}

static struct slice tail_of(const struct buffer *tail)
{
    size_t size = tail->size < INVOKE_LOG_TAIL_BYTES ? tail->size : INVOKE_LOG_TAIL_BYTES;

    return size == 0 ? (struct slice){0} : slice_of(tail->data + (tail->size - size), size);
}

static struct sandbox_report report_of(const struct unit *unit)
{
    struct env *env = unit->version->function->pool->env;
    struct sandbox_report report = {.request_id = unit->call->invoke->request_id,
                                    .version = VERSION_TEXT,
                                    .duration_us = env_now_us(env) - unit->since_us,
                                    .init_us = unit->init_us,
                                    .memory_mb = unit->version->spec->memory_mb};

    report.billed_ms = sandbox_report_billed_ms(report.duration_us);
    return report;
}

/* ---- units --------------------------------------------------------------------------------- */

static void set_paced(struct unit *unit, bool is_paced)
{
    struct pool *pool = unit->version->function->pool;

    pool->starting_count -= unit->is_paced;
    pool->starting_count += is_paced;
    unit->is_paced = is_paced;
}

static void unit_set(struct unit *unit, enum unit_state state)
{
    struct version *version = unit->version;
    struct pool *pool = version->function->pool;

    env_timer_stop(pool->env, &unit->timer);
    version->starting_count -= unit->state == UNIT_STARTING;
    set_paced(unit, state == UNIT_STARTING);
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

static void end_unit(struct unit *unit)
{
    struct env *env = unit->version->function->pool->env;

    unit_set(unit, UNIT_ENDING);
    env->sandbox->kill(env, &unit->sandbox);
}

static void end_idle_units(struct version *version)
{
    while (!list_is_empty(&version->idle))
        end_unit(container_of(version->idle.next, struct unit, idle_link));
}

static void pool_on_reap(struct env_timer *timer)
{
    struct pool *pool = container_of(timer, struct pool, reap_timer);
    uint64_t idle_us = (uint64_t)pool->options.idle_ms * 1000;

    while (!list_is_empty(&pool->idle)) {
        struct unit *unit = container_of(pool->idle.next, struct unit, oldest_link);
        uint64_t age_us = env_now_us(pool->env) - unit->since_us;

        if (age_us < idle_us) {
            env_timer_start(pool->env, &pool->reap_timer, idle_us - age_us, pool_on_reap);
            return;
        }
        end_unit(unit);
    }
}

static void unit_on_init_slow(struct env_timer *timer);
static void unit_on_time_out(struct env_timer *timer);

/* Year, month and day as Lambda names its streams, then something unique to the sandbox. */
static void name_stream(struct pool *pool, char stream[TEXT_BYTES])
{
    char time[TIME_TEXT_BYTES];

    encode_time(env_wall_ms(pool->env), time);
    snprintf(stream, TEXT_BYTES, "%.4s/%.2s/%.2s/[" VERSION_TEXT "]%016" PRIx64 "%016" PRIx64, time,
             time + 5, time + 8, env_random(pool->env), ++pool->stream_number);
}

static const char *region_of(const struct pool *pool, const struct call *call)
{
    if (call != NULL && call->invoke->region != NULL && call->invoke->region[0] != '\0')
        return call->invoke->region;
    return pool->options.region;
}

static enum error start_unit(struct version *version)
{
    struct function *function = version->function;
    struct pool *pool = function->pool;
    struct unit *unit = check_calloc(1, sizeof(*unit));
    struct call *first = container_of(function->waiting.next, struct call, link);
    char log_group[TEXT_BYTES];
    struct sandbox_spec spec = {.function = version->spec,
                                .code_folder = version->folder,
                                .region = region_of(pool, first),
                                .log_group = log_group,
                                .log_stream = unit->log_stream};
    enum error rc;

    snprintf(log_group, sizeof(log_group), "/aws/lambda/%s", function->name);
    name_stream(pool, unit->log_stream);
    unit->version = version;
    buffer_init(&unit->tail, BUFFER_UNLIMITED);
    list_init(&unit->idle_link);
    list_init(&unit->oldest_link);
    rc = pool->env->sandbox->start(pool->env, &unit->sandbox, &spec, &sandbox_handler);
    if (rc != OK) {
        free(unit);
        return rc;
    }
    list_append(&version->units, &unit->link);
    pool->unit_count++;
    pool->totals.cold_starts++;
    unit_set(unit, UNIT_STARTING);
    env_timer_start(pool->env, &unit->timer, PACED_US, unit_on_init_slow);
    return OK;
}

static void deliver(struct unit *unit, struct call *call)
{
    struct version *version = unit->version;
    struct pool *pool = call->pool;
    const struct invoke *invoke = call->invoke;
    struct sandbox_report start = {.request_id = invoke->request_id, .version = VERSION_TEXT};
    AUTO(buffer) line = BUFFER_INIT(BUFFER_UNLIMITED);
    struct sandbox_event event = {
        .request_id = invoke->request_id,
        .function_arn = call->arn,
        .trace_header = invoke->trace_header,
        .client_context = invoke->client_context,
        .payload = invoke->payload.size > 0 ? invoke->payload : SLICE_LITERAL("{}"),
        .deadline_wall_ms = env_wall_ms(pool->env) + version->spec->timeout_ms};

    env_timer_stop(pool->env, &call->timer);
    unit_set(unit, UNIT_BUSY);
    unit->call = call;
    env_timer_start(pool->env, &unit->timer, (uint64_t)version->spec->timeout_ms * 1000,
                    unit_on_time_out);
    sandbox_report_start(&start, &line);
    put_log(unit, buffer_slice(&line));
    pool->env->sandbox->invoke(pool->env, &unit->sandbox, &event);
}

/* The unit's call ends: `document` is the payload where the platform has to make one, `line` what
 * the log gets after the report. The unit has a new state already. Last statement of its caller. */
static void answer(struct unit *unit, enum invoke_outcome outcome, struct slice payload,
                   struct sandbox_report *report, struct slice line)
{
    struct pool *pool = unit->version->function->pool;
    struct call *call = unit->call;
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
    put_log(unit, buffer_slice(&lines));
    tail = buffer_take(&unit->tail);
    result.log_tail = tail_of(&tail);
    unit->call = NULL;
    unit->init_us = 0;
    pool->totals.billed_mb_ms += (uint64_t)report->billed_ms * report->memory_mb;
    pump(unit->version->function);
    finish_call(call, &result);
}

static void unit_on_time_out(struct env_timer *timer)
{
    struct unit *unit = container_of(timer, struct unit, timer);
    struct pool *pool = unit->version->function->pool;
    struct sandbox_report report = report_of(unit);
    uint64_t wall_ms = env_wall_ms(pool->env);
    uint32_t timeout_ms = unit->version->spec->timeout_ms;
    AUTO(buffer) document = BUFFER_INIT(BUFFER_UNLIMITED);
    AUTO(buffer) line = BUFFER_INIT(BUFFER_UNLIMITED);

    report.memory_used_mb = pool->env->sandbox->memory_mb(pool->env, &unit->sandbox);
    sandbox_report_timeout(report.request_id, wall_ms, timeout_ms, &document);
    sandbox_report_timeout_line(report.request_id, wall_ms, timeout_ms, &line);
    pool->totals.timeouts++;
    end_unit(unit);
    answer(unit, INVOKE_FUNCTION_ERROR, buffer_slice(&document), &report, buffer_slice(&line));
}

/* ---- initialisation that fails ------------------------------------------------------------- */

static void backoff_on_end(struct env_timer *timer)
{
    pump(container_of(timer, struct function, backoff));
}

static void note_failure(struct function *function)
{
    uint32_t doublings;

    function->pool->totals.crashes++;
    if (env_timer_is_running(&function->backoff))
        return; /* one of several that started together */
    function->failures++;
    if (function->failures < FAILURES_FREE || function->is_removed)
        return;
    doublings = function->failures - FAILURES_FREE;
    if (doublings > BACKOFF_DOUBLINGS_MAX)
        doublings = BACKOFF_DOUBLINGS_MAX;
    env_timer_start(function->pool->env, &function->backoff,
                    ((uint64_t)BACKOFF_MS_MIN << doublings) * 1000, backoff_on_end);
}

/* The sandbox was started for the oldest waiting call, which gets the blame. Last statement of its
 * caller; the unit may be gone. */
static void fail_waiting(struct function *function, enum invoke_outcome outcome,
                         struct slice document, struct slice log_tail)
{
    struct call *call = take_waiting(function);

    pump(function);
    if (call != NULL)
        finish_call(call, &(struct invoke_result){
                              .outcome = outcome, .payload = document, .log_tail = log_tail});
}

static const char *waiting_request_id(const struct function *function)
{
    struct call *first = container_of(function->waiting.next, struct call, link);

    return list_is_empty(&function->waiting) ? "" : first->invoke->request_id;
}

static void unit_on_init_too_long(struct env_timer *timer)
{
    struct unit *unit = container_of(timer, struct unit, timer);
    struct function *function = unit->version->function;
    struct pool *pool = function->pool;
    AUTO(buffer) document = BUFFER_INIT(BUFFER_UNLIMITED);

    sandbox_report_timeout(waiting_request_id(function), env_wall_ms(pool->env),
                           pool->options.init_ms_max, &document);
    pool->totals.timeouts++;
    end_unit(unit);
    note_failure(function);
    fail_waiting(function, INVOKE_FUNCTION_ERROR, buffer_slice(&document), (struct slice){0});
}

static void pump_stalled(struct pool *pool)
{
    struct list functions;
    struct list *link;

    list_move(&functions, &pool->stalled);
    while ((link = list_pop(&functions)) != NULL)
        pump(container_of(link, struct function, stalled_link));
}

/* It no longer holds up the starts of others. */
static void unit_on_init_slow(struct env_timer *timer)
{
    struct unit *unit = container_of(timer, struct unit, timer);
    struct pool *pool = unit->version->function->pool;
    uint64_t max_us = (uint64_t)pool->options.init_ms_max * 1000;

    set_paced(unit, false);
    env_timer_start(pool->env, &unit->timer, max_us > PACED_US ? max_us - PACED_US : 0,
                    unit_on_init_too_long);
    pump_stalled(pool);
}

/* ---- what the sandbox says ----------------------------------------------------------------- */

static struct unit *unit_of(struct sandbox *sandbox)
{
    return container_of(sandbox, struct unit, sandbox);
}

/* It has nothing to do any more: keep it, unless its function has moved on. */
static void rest(struct unit *unit)
{
    struct pool *pool = unit->version->function->pool;

    if (!is_current(unit->version)) {
        end_unit(unit);
        return;
    }
    unit_set(unit, UNIT_IDLE);
    if (!env_timer_is_running(&pool->reap_timer))
        env_timer_start(pool->env, &pool->reap_timer, (uint64_t)pool->options.idle_ms * 1000,
                        pool_on_reap);
}

/* The newest value counts an eighth. */
static void average(uint64_t *average_us, uint64_t value_us)
{
    *average_us = *average_us == 0 ? value_us : (*average_us * 7 + value_us) / 8;
}

static void unit_on_ready(struct sandbox *sandbox)
{
    struct unit *unit = unit_of(sandbox);

    if (unit->state != UNIT_STARTING)
        return;
    unit->init_us = env_now_us(unit->version->function->pool->env) - unit->since_us + 1;
    average(&unit->version->function->start_us, unit->init_us);
    rest(unit);
    pump(unit->version->function);
    pump_stalled(unit->version->function->pool);
}

static void unit_on_init_error(struct sandbox *sandbox, struct slice payload)
{
    struct unit *unit = unit_of(sandbox);
    struct function *function = unit->version->function;
    AUTO(buffer) tail = BUFFER_INIT(BUFFER_UNLIMITED);

    if (unit->state != UNIT_STARTING)
        return;
    tail = buffer_take(&unit->tail);
    end_unit(unit);
    note_failure(function);
    fail_waiting(function, INVOKE_FUNCTION_ERROR, payload, tail_of(&tail));
}

static void unit_on_result(struct sandbox *sandbox, enum sandbox_result kind, struct slice payload)
{
    struct unit *unit = unit_of(sandbox);
    struct env *env = unit->version->function->pool->env;
    AUTO(buffer) document = BUFFER_INIT(BUFFER_UNLIMITED);
    struct sandbox_report report;

    if (unit->state != UNIT_BUSY)
        return;
    report = report_of(unit);
    report.memory_used_mb = env->sandbox->memory_mb(env, sandbox);
    unit->version->function->failures = 0;
    average(&unit->version->function->run_us, report.duration_us);
    if (kind == SANDBOX_TOO_LARGE) {
        sandbox_report_too_large(&document);
        payload = buffer_slice(&document);
    }
    rest(unit);
    answer(unit, kind == SANDBOX_RESPONSE ? INVOKE_OK : INVOKE_FUNCTION_ERROR, payload, &report,
           (struct slice){0});
}

static void unit_on_output(struct sandbox *sandbox, struct slice text)
{
    put_log(unit_of(sandbox), text);
}

static void unit_free(struct unit *unit)
{
    list_remove(&unit->link);
    list_remove(&unit->idle_link);
    list_remove(&unit->oldest_link);
    buffer_close(&unit->tail);
    free(unit);
}

/* It ended with a call of which it never heard: another one takes it. */
static void requeue_call(struct unit *unit)
{
    struct function *function = unit->version->function;
    struct call *call = unit->call;
    struct pool *pool = function->pool;
    uint64_t wait_us = (uint64_t)pool->options.wait_ms_max * 1000;
    uint64_t age_us = env_now_us(pool->env) - call->since_us;

    unit_set(unit, UNIT_ENDING);
    unit->call = NULL;
    if (function->is_removed || age_us >= wait_us) {
        refuse(call, function->is_removed ? INVOKE_NOT_FOUND : INVOKE_THROTTLED);
        return;
    }
    list_prepend(&function->waiting, &call->link);
    function->waiting_count++;
    env_timer_start(pool->env, &call->timer, wait_us - age_us, call_on_waited_enough);
    pump(function);
}

/* It ended while it had a call. */
static void fail_call(struct unit *unit, const struct sandbox_exit *exit)
{
    struct sandbox_report report = report_of(unit);
    AUTO(buffer) document = BUFFER_INIT(BUFFER_UNLIMITED);
    AUTO(buffer) line = BUFFER_INIT(BUFFER_UNLIMITED);

    report.memory_used_mb = exit->end == SANDBOX_OUT_OF_MEMORY ? report.memory_mb : exit->memory_mb;
    unit_set(unit, UNIT_ENDING);
    if (exit->end == SANDBOX_FAILED) {
        answer(unit, INVOKE_UNAVAILABLE, (struct slice){0}, &report, (struct slice){0});
        return;
    }
    sandbox_report_exit(report.request_id, exit, &document);
    sandbox_report_exit_line(report.request_id, exit, &line);
    answer(unit, INVOKE_FUNCTION_ERROR, buffer_slice(&document), &report, buffer_slice(&line));
}

/* It ended before it was ready. */
static void fail_start(struct unit *unit, const struct sandbox_exit *exit)
{
    struct function *function = unit->version->function;
    AUTO(buffer) document = BUFFER_INIT(BUFFER_UNLIMITED);
    AUTO(buffer) tail = BUFFER_INIT(BUFFER_UNLIMITED);

    tail = buffer_take(&unit->tail);
    unit_set(unit, UNIT_ENDING);
    if (exit->end == SANDBOX_FAILED) {
        fail_waiting(function, INVOKE_UNAVAILABLE, (struct slice){0}, (struct slice){0});
        return;
    }
    sandbox_report_exit(waiting_request_id(function), exit, &document);
    fail_waiting(function, INVOKE_FUNCTION_ERROR, buffer_slice(&document), tail_of(&tail));
}

static void unit_on_exit(struct sandbox *sandbox, const struct sandbox_exit *exit)
{
    struct unit *unit = unit_of(sandbox);
    struct version *version = unit->version;
    struct pool *pool = version->function->pool;
    enum unit_state state = unit->state;

    pool->unit_count--;
    if (exit->end == SANDBOX_FAILED)
        log_warn("pool.sandbox_failed function=%s why=\"%s\"", version->function->name, exit->why);
    if (state != UNIT_ENDING)
        note_failure(version->function);
    if (state == UNIT_BUSY && exit->is_event_unseen)
        requeue_call(unit);
    else if (state == UNIT_BUSY)
        fail_call(unit, exit);
    else if (state == UNIT_STARTING)
        fail_start(unit, exit);
    else
        unit_set(unit, UNIT_ENDING);
    unit_free(unit);
    release_version(version);
    pump_stalled(pool);
}

static const struct sandbox_handler sandbox_handler = {.on_ready = unit_on_ready,
                                                       .on_init_error = unit_on_init_error,
                                                       .on_result = unit_on_result,
                                                       .on_output = unit_on_output,
                                                       .on_exit = unit_on_exit};

/* ---- the pump: what waits meets what is there ---------------------------------------------- */

static void version_on_code(struct pool_code *code, enum error rc, const char *folder)
{
    struct version *version = container_of(code, struct version, code);
    struct function *function = version->function;

    version->code_state = rc == OK ? CODE_READY : CODE_ABSENT;
    if (rc == OK)
        version->folder = check_strdup(folder);
    if (!is_current(version)) {
        release_version(version);
        return;
    }
    if (rc != OK) {
        log_warn("pool.code_missing function=%s why=%s", function->name, error_name(rc));
        refuse_waiting(function, INVOKE_UNAVAILABLE);
        return;
    }
    pump(function);
}

static void fetch_code(struct version *version)
{
    const struct pool_options *options = &version->function->pool->options;

    version->code_state = CODE_FETCHING;
    version->code.cb = version_on_code;
    version->code.function = version->spec;
    options->code_fetch(options->user, &version->code, version_on_code);
}

/* Room for one more process, by ending the one that has been idle longest if need be. It makes
 * room only once it is gone. Starts are paced: a burst that started a process for every waiting
 * call at once would leave no processor time for the calls. */
static bool has_room(struct pool *pool, struct function *function)
{
    bool is_full = pool->unit_count >= pool->options.sandboxes_max;

    if (!is_full && pool->starting_count < pool->options.starting_max)
        return true;
    if (function->stalled_link.next == &function->stalled_link)
        list_append(&pool->stalled, &function->stalled_link);
    if (is_full && !list_is_empty(&pool->idle))
        end_unit(container_of(pool->idle.next, struct unit, oldest_link));
    return false;
}

/* On a machine that is busy to the brim, calls run one after the other instead of all at once and
 * slowly: what is answered late is answered to nobody. */
static bool may_run(const struct pool *pool)
{
    return pool->busy_count == 0 || pool->env->sandbox->has_spare(pool->env);
}

/* With the sandboxes there are, calls wait for their share of the running ones' time. Another
 * sandbox is worth its start only where that takes longer than a start does: a burst of short calls
 * is over before a process would be ready for it. */
static bool is_worth_starting(const struct version *version)
{
    const struct function *function = version->function;
    const struct call *oldest = container_of(function->waiting.next, struct call, link);
    uint64_t unserved = function->waiting_count - version->starting_count;
    uint64_t units = 0;

    LIST_EACH((struct list *)&version->units, link)
    units++;
    if (units == 0)
        return true;
    if (!may_run(function->pool))
        return false;
    if (function->run_us == 0 || function->start_us == 0)
        return true;
    return function->run_us * unserved / units > function->start_us ||
           env_now_us(function->pool->env) - oldest->since_us > function->start_us;
}

static void patience_on_end(struct env_timer *timer)
{
    pump(container_of(timer, struct function, patience));
}

static void be_patient(struct function *function)
{
    if (!env_timer_is_running(&function->patience))
        env_timer_start(function->pool->env, &function->patience, PATIENCE_US, patience_on_end);
}

static void start_units(struct version *version)
{
    struct function *function = version->function;

    while (function->waiting_count > version->starting_count) {
        if (!is_worth_starting(version)) {
            be_patient(function);
            return;
        }
        if (!has_room(function->pool, function))
            return;
        enum error rc = start_unit(version);

        if (rc != OK) {
            log_warn("pool.start_failed function=%s runtime=%s why=%s", function->name,
                     version->spec->runtime, error_name(rc));
            refuse_waiting(function, INVOKE_UNAVAILABLE);
        }
    }
}

static void pump(struct function *function)
{
    struct version *version;

    if (function->is_removed)
        return;
    version = current_version(function);
    while (function->waiting_count > 0 && !list_is_empty(&version->idle)) {
        if (!may_run(function->pool)) {
            be_patient(function);
            return;
        }
        deliver(container_of(version->idle.next, struct unit, idle_link), take_waiting(function));
    }
    if (function->waiting_count <= version->starting_count ||
        env_timer_is_running(&function->backoff))
        return;
    if (version->code_state == CODE_ABSENT)
        fetch_code(version);
    else if (version->code_state == CODE_READY)
        start_units(version);
}

/* ---- the interface ------------------------------------------------------------------------- */

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
    own->init_ms_max = own->init_ms_max != 0 ? own->init_ms_max : INIT_MS_DEFAULT;
    own->idle_ms = own->idle_ms != 0 ? own->idle_ms : IDLE_MS_DEFAULT;
    map_init(&pool->functions);
    list_init(&pool->all);
    list_init(&pool->idle);
    list_init(&pool->stalled);
    list_init(&pool->refused);
    return pool;
}

static void free_call(struct pool *pool, struct call *call)
{
    if (call != NULL)
        env_timer_stop(pool->env, &call->timer);
    free(call);
}

static void free_calls(struct pool *pool, struct list *calls)
{
    struct list *link;

    while ((link = list_pop(calls)) != NULL)
        free_call(pool, container_of(link, struct call, link));
}

void pool_free(struct pool *pool)
{
    if (pool == NULL)
        return;
    LIST_EACH_SAFE(&pool->all, function_link)
    {
        struct function *function = container_of(function_link, struct function, link);

        env_timer_stop(pool->env, &function->backoff);
        env_timer_stop(pool->env, &function->patience);
        free_calls(pool, &function->waiting);
        LIST_EACH_SAFE(&function->versions, version_link)
        {
            struct version *version = container_of(version_link, struct version, link);

            LIST_EACH_SAFE(&version->units, unit_link)
            {
                struct unit *unit = container_of(unit_link, struct unit, link);

                env_timer_stop(pool->env, &unit->timer);
                free_call(pool, unit->call);
                unit_free(unit);
            }
            version_free(version);
        }
        function_free(function);
    }
    free_calls(pool, &pool->refused);
    env_timer_stop(pool->env, &pool->reap_timer);
    env_defer_cancel(pool->env, &pool->refuse_task);
    map_close(&pool->functions);
    free(pool);
}

/* The version was overtaken, or its function removed. */
static void retire_version(struct version *version)
{
    end_idle_units(version);
    LIST_EACH(&version->units, link)
    {
        struct unit *unit = container_of(link, struct unit, link);

        if (unit->state == UNIT_STARTING)
            end_unit(unit);
    }
    release_version(version);
}

static struct function *function_new(struct pool *pool, const char *name)
{
    struct function *function = check_calloc(1, sizeof(*function));

    function->pool = pool;
    function->name = check_strdup(name);
    list_init(&function->versions);
    list_init(&function->waiting);
    list_init(&function->stalled_link);
    list_append(&pool->all, &function->link);
    map_set(&pool->functions, slice_text(name), function);
    return function;
}

void pool_function_set(struct pool *pool, const Skein__Wire__Function *spec)
{
    struct function *function = map_find(&pool->functions, slice_text(spec->name));
    struct version *old = NULL;

    if (function == NULL) {
        function = function_new(pool, spec->name);
    } else {
        old = current_version(function);
        if (spec->generation <= old->spec->generation)
            return;
    }
    version_new(function, spec);
    pool->env->sandbox->prepare(pool->env, spec->runtime);
    if (old == NULL)
        return;
    function->failures = 0;
    env_timer_stop(pool->env, &function->backoff);
    env_timer_stop(pool->env, &function->patience);
    function->start_us = 0; /* the new code may be nothing like the old */
    function->run_us = 0;
    retire_version(old);
    pump(function);
}

void pool_function_remove(struct pool *pool, const char *name)
{
    struct function *function = map_remove(&pool->functions, slice_text(name));

    if (function == NULL)
        return;
    function->is_removed = true;
    env_timer_stop(pool->env, &function->backoff);
    env_timer_stop(pool->env, &function->patience);
    list_remove(&function->stalled_link);
    refuse_waiting(function, INVOKE_NOT_FOUND);
    /* the older versions are retired already, and the last one takes the function with it */
    retire_version(current_version(function));
}

void pool_invoke(struct pool *pool, struct invoke *invoke, invoke_cb cb)
{
    struct function *function = map_find(&pool->functions, slice_text(invoke->function));
    struct call *call = check_calloc(1, sizeof(*call));

    invoke->cb = cb;
    call->pool = pool;
    call->invoke = invoke;
    call->function = function;
    call->since_us = env_now_us(pool->env);
    list_init(&call->link);
    pool->call_count++;
    if (function == NULL) {
        refuse(call, INVOKE_NOT_FOUND);
    } else if (invoke->payload.size > INVOKE_PAYLOAD_BYTES_MAX) {
        refuse(call, INVOKE_TOO_LARGE);
    } else if (pool->call_count > pool->options.concurrency_max) {
        refuse(call, INVOKE_THROTTLED);
    } else {
        snprintf(call->arn, sizeof(call->arn), "arn:aws:lambda:%s:%s:function:%s",
                 region_of(pool, call), pool->options.account, function->name);
        list_append(&function->waiting, &call->link);
        function->waiting_count++;
        env_timer_start(pool->env, &call->timer, (uint64_t)pool->options.wait_ms_max * 1000,
                        call_on_waited_enough);
        pump(function);
    }
}

static void count_units(const struct version *version, struct pool_stats *stats)
{
    LIST_EACH((struct list *)&version->units, link)
    {
        const struct unit *unit = container_of(link, struct unit, link);

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
        const struct function *function = container_of(link, struct function, link);

        stats->waiting += function->waiting_count;
        LIST_EACH((struct list *)&function->versions, version_link)
        count_units(container_of(version_link, struct version, link), stats);
    }
}
