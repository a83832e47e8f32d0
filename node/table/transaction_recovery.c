#include "node/table/transaction_recovery.h"

#include "node/table/table_row.h"
#include "node/table/table_transaction.h"
#include "proto/base/check.h"
#include "proto/base/log.h"

#define LOOK_US 500000u
#define LOCK_AGE_MS 3000u /* an older lock has nobody who looks after it */
#define RECENT_MS 60000u  /* looked through each time; what is older, from time to time */
#define LOOKS_ALL 64u     /* so many looks are one look at everything */
#define TRIM_LOOKS 120u   /* ... are a minute */
#define TRIM_RECORDS 500u /* at a time */
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

/* Where attempts begin that were made in the last minute, as far as clocks agree. */
static void put_recent(const struct job *job, struct buffer *from)
{
    uint64_t now_ms = env_wall_ms(job->recovery->env);

    if (job->looks % LOOKS_ALL != 0 && now_ms > RECENT_MS)
        buffer_put_u64_big(from, now_ms - RECENT_MS);
}

static void look_at(struct job *job)
{
    struct transaction_recovery *recovery = job->recovery;
    Skein__Wire__TableQuery query = SKEIN__WIRE__TABLE_QUERY__INIT;
    struct buffer from = BUFFER_INIT(8);
    uint64_t now_ms = env_wall_ms(recovery->env);
    uint8_t packed[64];

    put_recent(job, &from);
    query.kind = TABLE_OPEN;
    query.open_before_ms = now_ms > LOCK_AGE_MS ? now_ms - LOCK_AGE_MS : 0;
    query.open_from = field_of(buffer_slice(&from));
    job->looks++;
    job->next = 0;
    job->next_shard = 0;
    job->state = JOB_LOOKING;
    CHECK(skein__wire__table_query__get_packed_size(&query) <= sizeof(packed));
    shard_router_read(recovery->router, &job->request, job->shard, SHARD_ENGINE_TABLE,
                      slice_of(packed, skein__wire__table_query__pack(&query, packed)),
                      SHARD_EVENTUAL, NULL, STEP_DEADLINE_MS, on_done);
    buffer_close(&from);
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
        if (job->state == JOB_IDLE &&
            shard_router_leader(recovery->router, i) == env_self(recovery->env))
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

    while (job->next < found->n_open && found->open[job->next]->coordinator >= shards)
        job->next++; /* never: nobody would know */
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
    } else if (job->state == JOB_LOOKING) {
        job->found = reply;
        next_step(job);
        return;
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
