#include "node/table/transaction_recovery.h"

#include "node/table/table_row.h"
#include "node/table/table_transaction.h"
#include "proto/base/check.h"
#include "proto/base/log.h"

#define LOOK_US 500000u
#define LOCK_AGE_US 3000000u /* seen for so long, a lock has nobody who looks after it */
#define TRIM_LOOKS 120u      /* are a minute */
#define TRIM_RECORDS 500u    /* at a time */
#define STEP_DEADLINE_MS 2000u

/* The work in one shard that this node leads, a step at a time:
 *
 *   IDLE -> LOOKING -> { ASKING -> FINISHING }  for each open attempt
 *                   -> { TELLING ... -> FORGETTING }  for each commit that was left
 *                   -> TRIMMING ... -> IDLE
 *
 * A step that fails is left for the next look. */
enum job_state {
    JOB_IDLE,
    JOB_LOOKING,
    JOB_ASKING,
    JOB_FINISHING,
    JOB_TELLING,
    JOB_FORGETTING,
    JOB_TRIMMING
};

struct seen { /* an open attempt; told apart by this node's own time, as clocks may be wrong */
    uint8_t attempt[TABLE_ATTEMPT_BYTES];
    uint64_t since_us;
};

struct job {
    struct transaction_recovery *recovery;
    struct shard_request request;
    enum job_state state;
    uint32_t shard;
    uint32_t looks;
    uint32_t trimmed_at; /* the look after which it was trimmed last */
    Skein__Wire__TableReply *found;
    size_t next;       /* of found->open, then of found->left */
    size_t next_shard; /* of a commit's */
    bool is_commit;
    struct seen seen[TABLE_OPEN_MAX]; /* at the last look: found->open, in order */
    size_t seen_count;
};

struct transaction_recovery {
    struct env *env;
    struct shard_router *router;
    struct env_timer timer;
    struct job *jobs; /* by shard */
    uint32_t job_count;
};

static void on_done(struct shard_request *request, enum error rc, struct slice bytes);

static void send(struct job *job, uint32_t shard, enum table_command_kind kind,
                 Skein__Wire__TableTransaction *message)
{
    Skein__Wire__TableCommand command = SKEIN__WIRE__TABLE_COMMAND__INIT;
    uint8_t packed[128];

    command.kind = kind;
    command.transaction = message;
    command.row_limit = kind == TABLE_TRIM ? TRIM_RECORDS : 0;
    CHECK(skein__wire__table_command__get_packed_size(&command) <= sizeof(packed));
    shard_router_write(job->recovery->router, &job->request, shard, SHARD_ENGINE_TABLE,
                       slice_of(packed, skein__wire__table_command__pack(&command, packed)),
                       STEP_DEADLINE_MS, on_done);
}

static void send_about(struct job *job, uint32_t shard, enum table_command_kind kind,
                       ProtobufCBinaryData attempt, bool is_commit)
{
    Skein__Wire__TableTransaction message = SKEIN__WIRE__TABLE_TRANSACTION__INIT;

    if (kind == TABLE_FORGET) {
        message.finished = &attempt;
        message.n_finished = 1;
    } else {
        message.attempt = attempt;
        message.is_commit = is_commit;
    }
    send(job, shard, kind, &message);
}

static void become_idle(struct job *job)
{
    skein__wire__table_reply__free_unpacked(job->found, NULL);
    job->found = NULL;
    job->state = JOB_IDLE;
}

/* ---- looking --------------------------------------------------------------------------------- */

static void look_at(struct job *job)
{
    Skein__Wire__TableQuery query = SKEIN__WIRE__TABLE_QUERY__INIT;
    uint8_t packed[16];

    query.kind = TABLE_OPEN;
    job->looks++;
    job->next = 0;
    job->next_shard = 0;
    job->state = JOB_LOOKING;
    CHECK(skein__wire__table_query__get_packed_size(&query) <= sizeof(packed));
    shard_router_read(job->recovery->router, &job->request, job->shard, SHARD_ENGINE_TABLE,
                      slice_of(packed, skein__wire__table_query__pack(&query, packed)),
                      SHARD_EVENTUAL, NULL, STEP_DEADLINE_MS, on_done);
}

/* Since when the attempt is known here. */
static uint64_t known_since(const struct job *job, const ProtobufCBinaryData *attempt)
{
    for (size_t i = 0; i < job->seen_count; i++)
        if (memcmp(job->seen[i].attempt, attempt->data, TABLE_ATTEMPT_BYTES) == 0)
            return job->seen[i].since_us;
    return env_now_us(job->recovery->env);
}

/* False: the reply makes no sense. */
static bool take_found(struct job *job, Skein__Wire__TableReply *found)
{
    struct seen seen[TABLE_OPEN_MAX];

    if (found->n_open > TABLE_OPEN_MAX)
        return false;
    for (size_t i = 0; i < found->n_open; i++) {
        if (found->open[i]->attempt.len != TABLE_ATTEMPT_BYTES)
            return false;
        memcpy(seen[i].attempt, found->open[i]->attempt.data, TABLE_ATTEMPT_BYTES);
        seen[i].since_us = known_since(job, &found->open[i]->attempt);
    }
    memcpy(job->seen, seen, found->n_open * sizeof(*seen));
    job->seen_count = found->n_open;
    job->found = found;
    return true;
}

static bool is_old(const struct job *job, size_t open)
{
    return env_now_us(job->recovery->env) - job->seen[open].since_us >= LOCK_AGE_US;
}

static void look(struct env_timer *timer)
{
    struct transaction_recovery *recovery = container_of(timer, struct transaction_recovery, timer);

    if (recovery->job_count == 0) {
        free(recovery->jobs);
        recovery->job_count = shard_router_shard_count(recovery->router);
        recovery->jobs = check_calloc(recovery->job_count, sizeof(*recovery->jobs));
    }
    for (uint32_t i = 0; i < recovery->job_count; i++) {
        struct job *job = &recovery->jobs[i];

        job->recovery = recovery;
        job->shard = i;
        if (shard_router_leader(recovery->router, i) != env_self(recovery->env))
            job->seen_count = 0;
        else if (job->state == JOB_IDLE)
            look_at(job);
    }
    env_timer_start(recovery->env, &recovery->timer, LOOK_US, look);
}

/* ---- the steps ------------------------------------------------------------------------------- */

static void ask(struct job *job)
{
    const Skein__Wire__TableOpen *open = job->found->open[job->next];

    job->state = JOB_ASKING;
    send_about(job, open->coordinator, TABLE_DECIDE, open->attempt, false);
}

static void finish(struct job *job, bool is_commit)
{
    job->is_commit = is_commit;
    job->state = JOB_FINISHING;
    send_about(job, job->shard, TABLE_FINISH, job->found->open[job->next]->attempt, is_commit);
}

/* Tells the next shard of a commit, and forgets it after the last. */
static void tell(struct job *job, const Skein__Wire__TableOpen *left)
{
    if (job->next_shard < left->n_shards) {
        job->state = JOB_TELLING;
        send_about(job, left->shards[job->next_shard++], TABLE_FINISH, left->attempt, true);
        return;
    }
    job->next_shard = 0;
    job->next++;
    job->state = JOB_FORGETTING;
    send_about(job, job->shard, TABLE_FORGET, left->attempt, false);
}

static void next_step(struct job *job)
{
    const Skein__Wire__TableReply *found = job->found;
    uint32_t shards = shard_router_shard_count(job->recovery->router);

    while (job->next < found->n_open &&
           (!is_old(job, job->next) || found->open[job->next]->coordinator >= shards))
        job->next++;
    if (job->next < found->n_open) {
        ask(job);
    } else if (job->next >= found->n_open && job->next - found->n_open < found->n_left) {
        tell(job, found->left[job->next - found->n_open]);
    } else if (found->has_records && job->looks - job->trimmed_at >= TRIM_LOOKS) {
        job->state = JOB_TRIMMING;
        send(job, job->shard, TABLE_TRIM, NULL);
    } else {
        become_idle(job);
    }
}

/* What was at work is left for another look; the others get their turn. */
static void leave(struct job *job)
{
    if (job->state == JOB_LOOKING || job->state == JOB_TRIMMING) {
        become_idle(job);
        return;
    }
    if (job->state != JOB_FORGETTING)
        job->next++;
    job->next_shard = 0;
    next_step(job);
}

static void on_done(struct shard_request *request, enum error rc, struct slice bytes)
{
    struct job *job = container_of(request, struct job, request);
    Skein__Wire__TableReply *reply =
        rc == OK ? skein__wire__table_reply__unpack(NULL, bytes.size, bytes.data) : NULL;
    bool is_decision = reply != NULL && job->state == JOB_ASKING &&
                       (reply->outcome == TABLE_DONE || reply->outcome == TABLE_ABORTED);

    if (reply == NULL || (reply->outcome != TABLE_DONE && !is_decision)) {
        leave(job);
    } else if (job->state == JOB_LOOKING && take_found(job, reply)) {
        next_step(job);
        return;
    } else if (job->state == JOB_LOOKING) {
        become_idle(job);
    } else if (job->state == JOB_ASKING) {
        finish(job, reply->outcome == TABLE_DONE);
    } else {
        if (job->state == JOB_FINISHING) {
            log_info("transaction.recovered shard=%u decision=%s", job->shard,
                     job->is_commit ? "commit" : "undo");
            job->next++;
        } else if (job->state == JOB_TRIMMING && !reply->has_more) {
            job->trimmed_at = job->looks;
        }
        next_step(job);
    }
    skein__wire__table_reply__free_unpacked(reply, NULL);
}

/* ---- life ------------------------------------------------------------------------------------ */

struct transaction_recovery *transaction_recovery_new(struct env *env, struct shard_router *router)
{
    struct transaction_recovery *recovery = check_calloc(1, sizeof(*recovery));

    recovery->env = env;
    recovery->router = router;
    env_timer_start(env, &recovery->timer, LOOK_US, look);
    return recovery;
}

void transaction_recovery_free(struct transaction_recovery *recovery)
{
    if (recovery == NULL)
        return;
    env_timer_stop(recovery->env, &recovery->timer);
    for (uint32_t i = 0; i < recovery->job_count; i++) {
        shard_request_cancel(&recovery->jobs[i].request);
        skein__wire__table_reply__free_unpacked(recovery->jobs[i].found, NULL);
    }
    free(recovery->jobs);
    free(recovery);
}
