#include "node/sandbox/pool_impl.h"

#include "proto/base/check.h"
#include "proto/base/log.h"

/* A function that failed this often in a row starts no sooner than the back-off says. */
#define FAILURES_FREE 3
#define BACKOFF_MS_MIN 100
#define BACKOFF_DOUBLINGS_MAX 6

/* How soon calls that wait for a busy sandbox or processor are looked at again. */
#define PATIENCE_US 5000

static void backoff_on_end(struct env_timer *timer)
{
    pool_pump(container_of(timer, struct pool_function, backoff));
}

void pool_pump_note_failure(struct pool_function *function)
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

void pool_pump_stalled(struct pool *pool)
{
    struct list functions;
    struct list *link;

    list_move(&functions, &pool->stalled);
    while ((link = list_pop(&functions)) != NULL)
        pool_pump(container_of(link, struct pool_function, stalled_link));
}

static void version_on_code(struct pool_code *code, enum error rc, const char *folder)
{
    struct pool_version *version = container_of(code, struct pool_version, code);
    struct pool_function *function = version->function;

    version->code_state = rc == OK ? CODE_READY : CODE_ABSENT;
    if (rc == OK)
        version->folder = check_strdup(folder);
    if (!pool_function_is_current(version)) {
        pool_function_release(version);
        return;
    }
    if (rc != OK) {
        log_warn("pool.code_missing function=%s why=%s", function->name, error_name(rc));
        pool_call_refuse_all(function, rc == ERR_VERSION ? INVOKE_NO_RUNTIME : INVOKE_UNAVAILABLE);
        return;
    }
    pool_pump(function);
}

static void fetch_code(struct pool_version *version)
{
    const struct pool_options *options = &version->function->pool->options;

    version->code_state = CODE_FETCHING;
    version->code.cb = version_on_code;
    version->code.function = version->spec;
    options->code_fetch(options->user, &version->code, version_on_code);
}

static void end_longest_idle(struct pool *pool)
{
    LIST_EACH(&pool->idle, link)
    {
        struct pool_unit *unit = container_of(link, struct pool_unit, oldest_link);

        if (!pool_unit_is_kept(unit)) {
            pool_unit_end(unit);
            return;
        }
    }
}

/* Room for one more process, by ending the one that has been idle longest if need be. It makes
 * room only once it is gone. Starts are paced: a burst that started a process for every waiting
 * call at once would leave no processor time for the calls. */
static bool has_room(struct pool *pool, struct pool_function *function)
{
    bool is_full = pool->unit_count >= pool->options.sandboxes_max;

    if (!is_full && pool->starting_count < pool->options.starting_max)
        return true;
    if (function->stalled_link.next == &function->stalled_link)
        list_append(&pool->stalled, &function->stalled_link);
    if (is_full)
        end_longest_idle(pool);
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
static bool is_worth_starting(const struct pool_version *version)
{
    const struct pool_function *function = version->function;
    const struct pool_call *oldest = container_of(function->waiting.next, struct pool_call, link);
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
    pool_pump(container_of(timer, struct pool_function, patience));
}

static void be_patient(struct pool_function *function)
{
    if (!env_timer_is_running(&function->patience))
        env_timer_start(function->pool->env, &function->patience, PATIENCE_US, patience_on_end);
}

bool pool_pump_is_booting(const struct pool_function *function)
{
    struct env *env = function->pool->env;

    return env->sandbox->is_booting(env, pool_function_current(function)->spec->runtime);
}

uint32_t pool_pump_unit_count(const struct pool_function *function)
{
    uint32_t count = 0;

    LIST_EACH(&pool_function_current(function)->units, link)
    count += container_of(link, struct pool_unit, link)->state != UNIT_ENDING;
    return count;
}

/* Fewer sandboxes than shall be kept? */
static bool is_short(const struct pool_function *function)
{
    return function->keep_count > 0 && pool_pump_unit_count(function) < function->keep_count;
}

static void start_kept(struct pool_version *version)
{
    struct pool_function *function = version->function;

    while (is_short(function) && has_room(function->pool, function)) {
        enum error rc = pool_unit_start(version);

        if (rc == OK)
            continue;
        log_warn("pool.start_failed function=%s runtime=%s why=%s", function->name,
                 version->spec->runtime, error_name(rc));
        return;
    }
}

static void start_units(struct pool_version *version)
{
    struct pool_function *function = version->function;

    while (function->waiting_count > version->starting_count) {
        if (!is_worth_starting(version)) {
            be_patient(function);
            return;
        }
        if (!has_room(function->pool, function))
            return;
        enum error rc = pool_unit_start(version);

        if (rc != OK) {
            log_warn("pool.start_failed function=%s runtime=%s why=%s", function->name,
                     version->spec->runtime, error_name(rc));
            pool_call_refuse_all(function, INVOKE_UNAVAILABLE);
        }
    }
}

void pool_pump(struct pool_function *function)
{
    struct pool_version *version;

    if (function->is_removed)
        return;
    version = pool_function_current(function);
    while (function->waiting_count > 0 && !list_is_empty(&version->idle)) {
        if (!may_run(function->pool)) {
            be_patient(function);
            return;
        }
        pool_unit_deliver(container_of(version->idle.next, struct pool_unit, idle_link),
                          pool_call_take(function));
    }
    if ((function->waiting_count <= version->starting_count && !is_short(function)) ||
        env_timer_is_running(&function->backoff))
        return;
    if (version->code_state == CODE_ABSENT)
        fetch_code(version);
    else if (version->code_state == CODE_READY && pool_pump_is_booting(function))
        be_patient(function);
    else if (version->code_state == CODE_READY) {
        start_units(version);
        start_kept(version);
    }
}
