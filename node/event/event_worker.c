#include "node/event/event_worker.h"

#include "node/event/event_engine.h"
#include "node/event/event_queue.h"
#include "proto/base/check.h"
#include "proto/base/log.h"
#include "proto/base/map.h"
#include "proto/wire/function.pb-c.h"

#include <inttypes.h>

#define LOOK_MS_MAX 250u /* a shard may have become this node's meanwhile */
#define LOOK_MS_MIN 5u
#define CLAIM_DEADLINE_MS 5000u
#define SETTLE_DEADLINE_MS 5000u
#define SETTLE_AGAIN_MS 500u
#define RENEW_PART 3u        /* of the lease: then it is renewed */
#define RENEW_AGAIN_PART 12u /* and again after so long, when that had no answer */

enum job_state { JOB_CLAIMING, JOB_RUNNING, JOB_SETTLING };

struct job { /* one event in the hands of this node */
    struct event_worker *worker;
    struct list link;
    enum job_state state;
    uint32_t shard;
    uint64_t holder;
    Skein__Wire__EventReply *record; /* the event, and its state when it was claimed */
    struct shard_request request;
    struct env_timer timer; /* RUNNING: renews the lease; SETTLING: asks again */
    struct invoke invoke;
    struct event_decision decision;
};

struct event_worker {
    struct event_worker_options options;
    struct list jobs;
    struct map by_id; /* id -> struct job */
    struct env_task task;
    struct env_timer timer;
    uint64_t next_ms; /* while looking: the earliest wall time at which something is due */
    struct event_worker_stats stats;
};

static const char *id_of(const struct job *job)
{
    return job->record->event->id;
}

static void job_free(struct job *job)
{
    struct event_worker *worker = job->worker;

    list_remove(&job->link);
    (void)map_remove(&worker->by_id, slice_text(id_of(job)));
    worker->stats.running--;
    shard_request_cancel(&job->request);
    env_timer_stop(worker->options.env, &job->timer);
    skein__wire__event_reply__free_unpacked(job->record, NULL);
    free(job);
}

static void job_write(struct job *job, Skein__Wire__EventCommand *command, uint32_t deadline_ms,
                      shard_request_cb cb)
{
    AUTO(buffer) bytes = BUFFER_INIT(BUFFER_UNLIMITED);

    command->id = (char *)(uintptr_t)id_of(job);
    command->holder = job->holder;
    event_engine_put_command(&bytes, command);
    shard_router_write(job->worker->options.router, &job->request, job->shard, SHARD_ENGINE_QUEUE,
                       buffer_slice(&bytes), deadline_ms, cb);
}

/* ---- settling ---- */

static void settle(struct job *job);

static void on_settle_again(struct env_timer *timer)
{
    settle(container_of(timer, struct job, timer));
}

static void on_settled(struct shard_request *request, enum error rc, struct slice reply)
{
    struct job *job = container_of(request, struct job, request);
    struct event_worker *worker = job->worker;

    (void)reply; /* gone, or another's by now: either is settled */
    if (rc != OK) {
        env_timer_start(worker->options.env, &job->timer, SETTLE_AGAIN_MS * 1000, on_settle_again);
        return;
    }
    job_free(job);
    event_worker_wake(worker);
}

static void settle(struct job *job)
{
    Skein__Wire__EventCommand command = SKEIN__WIRE__EVENT_COMMAND__INIT;

    job->state = JOB_SETTLING;
    command.kind = job->decision.verdict == EVENT_AGAIN ? EVENT_DEFER : EVENT_REMOVE;
    command.delay_ms = job->decision.delay_ms;
    command.failures = job->decision.progress.failures;
    command.refusals = job->decision.progress.refusals;
    job_write(job, &command, SETTLE_DEADLINE_MS, on_settled);
}

static void count_and_log(struct job *job)
{
    static const char *const reasons[] = {"", "", "failed", "expired", "no_function"};
    struct event_worker_stats *stats = &job->worker->stats;
    const struct event_decision *decision = &job->decision;

    if (decision->verdict == EVENT_HANDLED) {
        stats->handled++;
    } else if (decision->verdict != EVENT_AGAIN) {
        stats->dropped++;
        log_warn("event.dropped id=%s function=%s why=%s runs=%u", id_of(job),
                 job->record->event->function, reasons[decision->verdict],
                 job->record->state->failures + 1);
    } else if (decision->progress.failures > job->record->state->failures) {
        stats->retried++;
    } else {
        stats->refused++;
    }
}

/* ---- running ---- */

/* The part of the function's settings that is about events; what is not set there is the default.
 */
static void apply_config(struct event_rules *rules, const Skein__Wire__FunctionEventConfig *config)
{
    if (config != NULL && config->has_retries)
        rules->retries = config->retries;
    if (config != NULL && config->has_age)
        rules->age_ms = (uint64_t)config->age_seconds * 1000;
}

static struct event_rules rules_of(const struct event_worker *worker,
                                   const Skein__Wire__Event *event)
{
    struct event_rules rules = {EVENT_RETRIES_DEFAULT, EVENT_AGE_MS_DEFAULT,
                                worker->options.retry_ms};
    const char *qualifier = strcmp(event->qualifier, "$LATEST") == 0 ? "" : event->qualifier;
    Skein__Wire__FunctionSettings *settings = NULL;
    AUTO(buffer) key = BUFFER_INIT(BUFFER_UNLIMITED);
    struct slice value;

    buffer_putf(&key, "settings/%s", event->function);
    if (view_get(worker->options.view, buffer_text(&key), &value, NULL) == OK)
        settings = skein__wire__function_settings__unpack(NULL, value.size, value.data);
    for (size_t i = 0; settings != NULL && i < settings->n_qualifiers; i++)
        if (strcmp(settings->qualifiers[i]->qualifier, qualifier) == 0)
            apply_config(&rules, settings->qualifiers[i]->event_config);
    if (settings != NULL)
        skein__wire__function_settings__free_unpacked(settings, NULL);
    return rules;
}

static uint64_t age_of(const struct job *job)
{
    uint64_t now_ms = env_wall_ms(job->worker->options.env);
    uint64_t accepted_ms = job->record->state->accepted_ms;

    return now_ms > accepted_ms ? now_ms - accepted_ms : 0;
}

static void on_result(struct invoke *invoke, const struct invoke_result *result)
{
    struct job *job = container_of(invoke, struct job, invoke);
    struct event_worker *worker = job->worker;
    const Skein__Wire__EventState *state = job->record->state;
    struct event_rules rules = rules_of(worker, job->record->event);
    enum invoke_outcome outcome = result->outcome;

    if (outcome == INVOKE_NOT_FOUND && !view_is_current(worker->options.view))
        outcome = INVOKE_UNAVAILABLE; /* it may have been made meanwhile */
    job->decision = event_policy_decide(
        &rules, outcome, (struct event_progress){state->failures, state->refusals}, age_of(job));
    count_and_log(job);
    env_timer_stop(worker->options.env, &job->timer);
    shard_request_cancel(&job->request); /* a renewal; what it still does, settling undoes */
    settle(job);
}

static void on_renew(struct env_timer *timer);

/* After the `part`th part of a lease. */
static void renew_later(struct job *job, uint32_t part)
{
    env_timer_start(job->worker->options.env, &job->timer,
                    (uint64_t)job->worker->options.lease_ms * 1000 / part, on_renew);
}

static void on_renewed(struct shard_request *request, enum error rc, struct slice reply)
{
    struct job *job = container_of(request, struct job, request);

    (void)reply; /* lost to another: the run goes on, and may still be the one that succeeds */
    renew_later(job, rc == OK ? RENEW_PART : RENEW_AGAIN_PART);
}

static void on_renew(struct env_timer *timer)
{
    struct job *job = container_of(timer, struct job, timer);
    Skein__Wire__EventCommand command = SKEIN__WIRE__EVENT_COMMAND__INIT;

    command.kind = EVENT_RENEW;
    command.delay_ms = job->worker->options.lease_ms;
    job_write(job, &command, job->worker->options.lease_ms / 2, on_renewed);
}

static void run(struct job *job)
{
    struct event_worker *worker = job->worker;
    const Skein__Wire__Event *event = job->record->event;
    struct event_rules rules = rules_of(worker, event);

    if (age_of(job) > rules.age_ms) {
        job->decision = (struct event_decision){.verdict = EVENT_EXPIRED};
        count_and_log(job);
        settle(job);
        return;
    }
    job->state = JOB_RUNNING;
    job->invoke = (struct invoke){
        .function = event->function,
        .version = event->version,
        .qualifier = event->qualifier,
        .request_id = event->id,
        .payload = slice_of(event->payload.data, event->payload.len),
        .client_context = slice_of(event->client_context.data, event->client_context.len),
        .region = event->region,
        .trace_header = event->trace_header[0] != '\0' ? event->trace_header : NULL,
    };
    renew_later(job, RENEW_PART);
    worker->options.invoker.start(worker->options.invoker.user, &job->invoke, on_result);
}

/* ---- claiming ---- */

static void on_claimed(struct shard_request *request, enum error rc, struct slice reply)
{
    struct job *job = container_of(request, struct job, request);
    Skein__Wire__EventReply *claimed = rc == OK ? event_engine_reply(reply) : NULL;
    bool is_ours = claimed != NULL && claimed->error == OK && claimed->state != NULL;

    if (is_ours) { /* what was read here may have been older */
        Skein__Wire__EventState *before = job->record->state;

        job->record->state = claimed->state;
        claimed->state = before;
    }
    if (claimed != NULL)
        skein__wire__event_reply__free_unpacked(claimed, NULL);
    if (is_ours)
        run(job);
    else
        job_free(job); /* another has it, or had; after a time-out the lease ends by itself */
}

/* The event as this node's replica has it; NULL: it is gone. */
static Skein__Wire__EventReply *load(struct event_worker *worker, uint32_t shard, const char *id)
{
    Skein__Wire__EventQuery query = SKEIN__WIRE__EVENT_QUERY__INIT;
    AUTO(buffer) bytes = BUFFER_INIT(BUFFER_UNLIMITED);
    AUTO(buffer) answer = BUFFER_INIT(EVENT_REPLY_BYTES_MAX);
    Skein__Wire__EventReply *reply = NULL;

    query.id = (char *)(uintptr_t)id;
    event_engine_put_query(&bytes, &query);
    if (worker->options.shards.read(worker->options.shards.user, shard, buffer_slice(&bytes),
                                    &answer) == OK)
        reply = event_engine_reply(buffer_slice(&answer));
    if (reply != NULL && reply->error == OK && reply->event != NULL && reply->state != NULL)
        return reply;
    if (reply != NULL)
        skein__wire__event_reply__free_unpacked(reply, NULL);
    return NULL;
}

static void claim(struct event_worker *worker, uint32_t shard, const char *id)
{
    Skein__Wire__EventCommand command = SKEIN__WIRE__EVENT_COMMAND__INIT;
    Skein__Wire__EventReply *record = load(worker, shard, id);
    struct job *job;

    if (record == NULL)
        return;
    job = check_calloc(1, sizeof(*job));
    job->worker = worker;
    job->shard = shard;
    job->record = record;
    job->holder = env_random(worker->options.env) | 1;
    list_append(&worker->jobs, &job->link);
    (void)map_set(&worker->by_id, slice_text(id_of(job)), job);
    worker->stats.running++;
    command.kind = EVENT_CLAIM;
    command.delay_ms = worker->options.lease_ms;
    job_write(job, &command, CLAIM_DEADLINE_MS, on_claimed);
}

/* ---- looking ---- */

static Skein__Wire__EventReply *find_due(struct event_worker *worker, uint32_t shard,
                                         uint32_t limit)
{
    Skein__Wire__EventQuery query = SKEIN__WIRE__EVENT_QUERY__INIT;
    AUTO(buffer) bytes = BUFFER_INIT(BUFFER_UNLIMITED);
    AUTO(buffer) answer = BUFFER_INIT(EVENT_REPLY_BYTES_MAX);

    query.now_ms = env_wall_ms(worker->options.env);
    query.limit = limit;
    event_engine_put_query(&bytes, &query);
    if (worker->options.shards.read(worker->options.shards.user, shard, buffer_slice(&bytes),
                                    &answer) != OK)
        return NULL;
    return event_engine_reply(buffer_slice(&answer));
}

static void look_at_shard(void *user, uint32_t shard)
{
    struct event_worker *worker = user;
    Skein__Wire__EventReply *reply;

    if (worker->stats.running >= EVENT_RUNNING_MAX)
        return;
    reply = find_due(worker, shard, EVENT_RUNNING_MAX); /* some of these are being claimed */
    if (reply == NULL)
        return;
    for (size_t i = 0; i < reply->n_due && worker->stats.running < EVENT_RUNNING_MAX; i++)
        if (map_find(&worker->by_id, slice_text(reply->due[i]->id)) == NULL)
            claim(worker, shard, reply->due[i]->id);
    if (reply->next_ms != 0 && reply->next_ms < worker->next_ms)
        worker->next_ms = reply->next_ms;
    skein__wire__event_reply__free_unpacked(reply, NULL);
}

static void on_look_again(struct env_timer *timer)
{
    event_worker_wake(container_of(timer, struct event_worker, timer));
}

static void on_look(struct env_task *task)
{
    struct event_worker *worker = container_of(task, struct event_worker, task);
    struct env *env = worker->options.env;
    uint64_t now_ms = env_wall_ms(env);
    uint64_t wait_ms = LOOK_MS_MAX;

    worker->next_ms = UINT64_MAX;
    worker->options.shards.each_led(worker->options.shards.user, worker, look_at_shard);
    if (worker->next_ms < now_ms + wait_ms)
        wait_ms = worker->next_ms > now_ms + LOOK_MS_MIN ? worker->next_ms - now_ms : LOOK_MS_MIN;
    env_timer_start(env, &worker->timer, wait_ms * 1000, on_look_again);
}

void event_worker_wake(struct event_worker *worker)
{
    env_defer(worker->options.env, &worker->task, on_look);
}

/* ---- life ---- */

struct event_worker *event_worker_new(const struct event_worker_options *options)
{
    struct event_worker *worker = check_calloc(1, sizeof(*worker));

    worker->options = *options;
    if (worker->options.retry_ms == 0)
        worker->options.retry_ms = EVENT_RETRY_MS_DEFAULT;
    if (worker->options.lease_ms == 0)
        worker->options.lease_ms = EVENT_LEASE_MS_DEFAULT;
    list_init(&worker->jobs);
    map_init(&worker->by_id);
    env_timer_start(options->env, &worker->timer, LOOK_MS_MAX * 1000, on_look_again);
    return worker;
}

void event_worker_free(struct event_worker *worker)
{
    if (worker == NULL)
        return;
    LIST_EACH_SAFE(&worker->jobs, link)
    job_free(container_of(link, struct job, link));
    env_timer_stop(worker->options.env, &worker->timer);
    env_defer_cancel(worker->options.env, &worker->task);
    map_close(&worker->by_id);
    free(worker);
}

void event_worker_stats(const struct event_worker *worker, struct event_worker_stats *stats)
{
    *stats = worker->stats;
}
