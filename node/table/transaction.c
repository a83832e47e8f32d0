#include "node/table/transaction.h"

#include "node/table/table_row.h"
#include "node/table/transaction_impl.h"
#include "proto/base/check.h"

#define FINISHED_MAX 64 /* told at a time; more are found by the recovery */
#define PAUSE_US 4000u
#define PAUSE_DOUBLINGS_MAX 4
#define UNDO_RESERVE_US 2000000u /* kept of the time for undoing what could not be prepared */

struct transaction_part {
    struct transaction *transaction;
    struct shard_request request;
    uint32_t shard;
    Skein__Wire__TableReply *reply;
};

/*   CLAIMING -> EXECUTING -+-> callback                         (all rows in one shard)
 *                 ^        +-> WAITING -+
 *                 +---------------------+
 *
 *   PREPARING -+-> DECIDING -+-> FINISHING -> callback
 *     ^        +-> UNDOING <-+
 *     |              +-> FINISHING_OTHER -> callback   (it was done before, see that it is
 * finished)
 *     +-- WAITING <--+-> callback
 *
 * A state is named after what is in flight. */
static void tick(struct transaction *transaction);

/* ---- the node's ------------------------------------------------------------------------------ */

struct transactions *transactions_new(struct env *env, struct shard_router *router)
{
    struct transactions *transactions = check_calloc(1, sizeof(*transactions));

    transactions->env = env;
    transactions->router = router;
    return transactions;
}

void transactions_free(struct transactions *transactions)
{
    if (transactions == NULL)
        return;
    for (uint32_t i = 0; i < transactions->shard_count; i++)
        buffer_close(&transactions->finished[i]);
    free(transactions->finished);
    free(transactions);
}

static struct buffer *finished_of(struct transactions *transactions, uint32_t coordinator)
{
    if (transactions->finished == NULL) {
        transactions->shard_count = shard_router_shard_count(transactions->router);
        transactions->finished =
            check_calloc(transactions->shard_count, sizeof(*transactions->finished));
        for (uint32_t i = 0; i < transactions->shard_count; i++)
            buffer_init(&transactions->finished[i], FINISHED_MAX * TABLE_ATTEMPT_BYTES);
    }
    return &transactions->finished[coordinator];
}

uint32_t transactions_left_ms(const struct transactions *transactions, uint64_t deadline_us)
{
    uint64_t now_us = env_now_us(transactions->env);

    return deadline_us > now_us + 1000 ? (uint32_t)((deadline_us - now_us) / 1000) : 1;
}

uint64_t transactions_pause_us(const struct transactions *transactions, uint32_t attempts)
{
    uint64_t pause = (uint64_t)PAUSE_US
                     << (attempts < PAUSE_DOUBLINGS_MAX ? attempts : PAUSE_DOUBLINGS_MAX);

    return pause / 2 + env_random(transactions->env) % pause;
}

Skein__Wire__TableReply *transactions_reply_of(enum error *rc, struct slice bytes)
{
    Skein__Wire__TableReply *reply = NULL;

    if (*rc == OK) {
        reply = skein__wire__table_reply__unpack(NULL, bytes.size, bytes.data);
        if (reply == NULL)
            *rc = ERR_INTERNAL;
    }
    return reply;
}

/* ---- sending --------------------------------------------------------------------------------- */

static void send(struct transaction *transaction, struct shard_request *request, uint32_t shard,
                 enum table_command_kind kind, Skein__Wire__TableTransaction *message,
                 shard_request_cb cb)
{
    Skein__Wire__TableCommand command = SKEIN__WIRE__TABLE_COMMAND__INIT;
    struct buffer packed = BUFFER_INIT(BUFFER_UNLIMITED);
    uint64_t deadline_us = transaction->deadline_us;

    if (kind == TABLE_PREPARE)
        deadline_us -= UNDO_RESERVE_US;
    command.kind = kind;
    command.transaction = message;
    CHECK(buffer_reserve(&packed, skein__wire__table_command__get_packed_size(&command)) == OK);
    packed.size = skein__wire__table_command__pack(&command, packed.data);
    transaction->in_flight++;
    shard_router_write(transaction->transactions->router, request, shard, SHARD_ENGINE_TABLE,
                       buffer_slice(&packed),
                       transactions_left_ms(transaction->transactions, deadline_us), cb);
    buffer_close(&packed);
}

static void note(struct transaction *transaction, enum error rc, Skein__Wire__TableReply **to,
                 struct slice bytes)
{
    *to = transactions_reply_of(&rc, bytes);
    if (rc != OK)
        transaction->failure = rc;
    if (--transaction->in_flight == 0)
        tick(transaction);
}

/* Of FINISH: what the part was told before stays. */
static void on_finish(struct shard_request *request, enum error rc, struct slice bytes)
{
    struct transaction *transaction =
        container_of(request, struct transaction_part, request)->transaction;
    Skein__Wire__TableReply *reply = transactions_reply_of(&rc, bytes);

    if (reply != NULL && reply->outcome != TABLE_DONE)
        rc = ERR_INTERNAL;
    skein__wire__table_reply__free_unpacked(reply, NULL);
    if (rc != OK)
        transaction->failure = rc;
    if (--transaction->in_flight == 0)
        tick(transaction);
}

static void on_part(struct shard_request *request, enum error rc, struct slice bytes)
{
    struct transaction_part *part = container_of(request, struct transaction_part, request);

    note(part->transaction, rc, &part->reply, bytes);
}

static void on_verdict(struct shard_request *request, enum error rc, struct slice bytes)
{
    struct transaction *transaction = container_of(request, struct transaction, request);

    note(transaction, rc, &transaction->verdict, bytes);
}

static void forget_verdict(struct transaction *transaction)
{
    skein__wire__table_reply__free_unpacked(transaction->verdict, NULL);
    transaction->verdict = NULL;
}

static void forget_reply(struct transaction_part *part)
{
    skein__wire__table_reply__free_unpacked(part->reply, NULL);
    part->reply = NULL;
}

static Skein__Wire__TableTransaction message_of(const struct transaction *transaction)
{
    Skein__Wire__TableTransaction message = SKEIN__WIRE__TABLE_TRANSACTION__INIT;

    message.coordinator = transaction->coordinator;
    message.token = field_of(transaction->token);
    message.digest = field_of(transaction->digest);
    if (transaction->part_count > 1)
        message.attempt = field_of(slice_of(transaction->attempt, TABLE_ATTEMPT_BYTES));
    return message;
}

static void send_claim(struct transaction *transaction)
{
    Skein__Wire__TableTransaction message = message_of(transaction);

    forget_verdict(transaction);
    send(transaction, &transaction->request, transaction->coordinator, TABLE_CLAIM, &message,
         on_verdict);
}

/* EXECUTE or PREPARE, with the actions in the part's shard. */
static void send_actions(struct transaction_part *part, enum table_command_kind kind)
{
    struct transaction *transaction = part->transaction;
    Skein__Wire__TableTransaction message = message_of(transaction);
    Skein__Wire__TableCommand *actions[TABLE_ACTIONS_MAX];

    message.actions = actions;
    for (size_t i = 0; i < transaction->count; i++)
        if (transaction->actions[i].shard == part->shard)
            actions[message.n_actions++] = transaction->actions[i].command;
    forget_reply(part);
    send(transaction, &part->request, part->shard, kind, &message, on_part);
}

static void send_decide(struct transaction *transaction)
{
    Skein__Wire__TableTransaction message = message_of(transaction);
    struct buffer *finished = finished_of(transaction->transactions, transaction->coordinator);
    ProtobufCBinaryData attempts[FINISHED_MAX];
    uint32_t shards[TABLE_SHARDS_MAX];

    message.is_commit = true;
    message.shards = shards;
    message.n_shards = transaction->part_count;
    for (size_t i = 0; i < transaction->part_count; i++)
        shards[i] = transaction->parts[i].shard;
    message.finished = attempts;
    for (size_t at = 0; at < finished->size; at += TABLE_ATTEMPT_BYTES)
        attempts[message.n_finished++] =
            field_of(slice_of(finished->data + at, TABLE_ATTEMPT_BYTES));
    forget_verdict(transaction);
    send(transaction, &transaction->request, transaction->coordinator, TABLE_DECIDE, &message,
         on_verdict);
    buffer_clear(finished);
}

static void send_finish(struct transaction_part *part, const uint8_t *attempt, bool is_commit)
{
    Skein__Wire__TableTransaction message = SKEIN__WIRE__TABLE_TRANSACTION__INIT;

    message.attempt = field_of(slice_of(attempt, TABLE_ATTEMPT_BYTES));
    message.is_commit = is_commit;
    send(part->transaction, &part->request, part->shard, TABLE_FINISH, &message, on_finish);
}

/* ---- what was answered ----------------------------------------------------------------------- */

/* Each action's reply is in that of its shard, in the same order. */
static void take_replies(struct transaction *transaction)
{
    for (size_t p = 0; p < transaction->part_count; p++) {
        const Skein__Wire__TableReply *reply = transaction->parts[p].reply;
        size_t next = 0;

        for (size_t i = 0; i < transaction->count; i++) {
            struct transaction_action *action = &transaction->actions[i];

            if (action->shard == transaction->parts[p].shard)
                action->reply =
                    reply != NULL && next < reply->n_parts ? reply->parts[next++] : NULL;
        }
    }
}

static bool is_locked(const struct transaction_action *action)
{
    return action->reply != NULL && (action->reply->outcome == TABLE_LOCKED ||
                                     action->reply->outcome == TABLE_LOCKED_BY_TOKEN);
}

/* Nothing but locks was in the way. */
static bool may_try_again(const struct transaction *transaction)
{
    for (size_t i = 0; i < transaction->count; i++) {
        const struct transaction_action *action = &transaction->actions[i];

        if (action->reply != NULL && action->reply->outcome != TABLE_DONE && !is_locked(action))
            return false;
    }
    return env_now_us(transaction->transactions->env) < transaction->patience_us;
}

static bool meets_itself(const struct transaction *transaction)
{
    for (size_t i = 0; i < transaction->count; i++)
        if (transaction->actions[i].reply != NULL &&
            transaction->actions[i].reply->outcome == TABLE_LOCKED_BY_TOKEN)
            return true;
    return false;
}

static void end(struct transaction *transaction, enum transaction_result result, enum error rc)
{
    if (result == TRANSACTION_CANCELLED && meets_itself(transaction))
        result = TRANSACTION_IN_PROGRESS;
    transaction->cb(transaction, result, rc);
}

static enum transaction_result result_of(uint32_t outcome)
{
    switch ((int)outcome) {
    case TABLE_DONE:
        return TRANSACTION_DONE;
    case TABLE_CANCELLED:
    case TABLE_ABORTED: /* whoever decided so thought that we had died */
        return TRANSACTION_CANCELLED;
    case TABLE_ALREADY:
        return TRANSACTION_ALREADY;
    case TABLE_MISMATCH:
        return TRANSACTION_MISMATCH;
    default:
        return TRANSACTION_FAILED;
    }
}

/* ---- the ways of a transaction --------------------------------------------------------------- */

static void begin_attempt(struct transaction *transaction)
{
    struct env *env = transaction->transactions->env;
    uint64_t now_ms = env_wall_ms(env);

    for (int i = 0; i < 8; i++)
        transaction->attempt[i] = (uint8_t)(now_ms >> (56 - 8 * i));
    env->dice->random_bytes(env, transaction->attempt + 8, TABLE_ATTEMPT_BYTES - 8);
    transaction->failure = OK;
    if (transaction->part_count == 1) {
        transaction->state = TRANSACTION_EXECUTING;
        send_actions(&transaction->parts[0], TABLE_EXECUTE);
        return;
    }
    transaction->state = TRANSACTION_PREPARING;
    for (size_t i = 0; i < transaction->part_count; i++)
        send_actions(&transaction->parts[i], TABLE_PREPARE);
}

static void on_waited(struct env_timer *timer)
{
    begin_attempt(container_of(timer, struct transaction, timer));
}

static void wait(struct transaction *transaction)
{
    const struct transactions *transactions = transaction->transactions;

    transaction->state = TRANSACTION_WAITING;
    env_timer_start(transactions->env, &transaction->timer,
                    transactions_pause_us(transactions, transaction->attempts++), on_waited);
}

/* Give back the locks of this attempt. What then is told is `result`, unless the token's shard,
 * asked beside when `asks`, says that the transaction was done before. */
static void undo(struct transaction *transaction, enum transaction_result result, enum error rc,
                 bool asks)
{
    transaction->state = TRANSACTION_UNDOING;
    transaction->result = result;
    transaction->rc = rc;
    if (asks && transaction->token.size > 0)
        send_claim(transaction);
    else
        forget_verdict(transaction);
    for (size_t i = 0; i < transaction->part_count; i++) {
        const struct transaction_part *part = &transaction->parts[i];

        if (part->reply == NULL || part->reply->outcome == TABLE_DONE) /* it may hold locks */
            send_finish(&transaction->parts[i], transaction->attempt, false);
    }
    if (transaction->in_flight == 0)
        tick(transaction);
}

static void finish_all(struct transaction *transaction, enum transaction_state state,
                       const uint8_t *attempt)
{
    transaction->state = state;
    transaction->failure = OK;
    for (size_t i = 0; i < transaction->part_count; i++)
        send_finish(&transaction->parts[i], attempt, true);
}

/* This transaction was done before; `reply` has the attempt, when shards had to be finished. */
static void end_already(struct transaction *transaction, const Skein__Wire__TableReply *reply)
{
    if (reply->attempt.len != TABLE_ATTEMPT_BYTES) {
        end(transaction, TRANSACTION_ALREADY, OK);
        return;
    }
    memcpy(transaction->attempt, reply->attempt.data, TABLE_ATTEMPT_BYTES);
    finish_all(transaction, TRANSACTION_FINISHING_OTHER, transaction->attempt);
}

static void on_claimed(struct transaction *transaction)
{
    const Skein__Wire__TableReply *verdict = transaction->verdict;
    enum transaction_result result;

    if (verdict == NULL) {
        end(transaction, TRANSACTION_FAILED, transaction->failure);
        return;
    }
    result = result_of(verdict->outcome);
    if (result == TRANSACTION_DONE)
        begin_attempt(transaction);
    else if (result == TRANSACTION_ALREADY)
        end_already(transaction, verdict);
    else
        end(transaction, result, ERR_INTERNAL);
}

static void on_executed(struct transaction *transaction)
{
    const Skein__Wire__TableReply *reply = transaction->parts[0].reply;
    enum transaction_result result;

    if (reply == NULL) {
        end(transaction, TRANSACTION_FAILED, transaction->failure);
        return;
    }
    take_replies(transaction);
    result = result_of(reply->outcome);
    if (result == TRANSACTION_CANCELLED && may_try_again(transaction))
        wait(transaction);
    else
        end(transaction, result, result == TRANSACTION_FAILED ? ERR_INTERNAL : OK);
}

static void on_prepared(struct transaction *transaction)
{
    bool all = true;

    for (size_t i = 0; i < transaction->part_count; i++) {
        const Skein__Wire__TableReply *reply = transaction->parts[i].reply;

        all &= reply != NULL && reply->outcome == TABLE_DONE;
        if (reply != NULL && result_of(reply->outcome) == TRANSACTION_FAILED)
            transaction->failure = ERR_INTERNAL;
    }
    take_replies(transaction);
    if (all) {
        transaction->state = TRANSACTION_DECIDING;
        send_decide(transaction);
    } else {
        undo(transaction, transaction->failure != OK ? TRANSACTION_FAILED : TRANSACTION_CANCELLED,
             transaction->failure, true);
    }
}

static void on_decided(struct transaction *transaction)
{
    const Skein__Wire__TableReply *verdict = transaction->verdict;
    enum transaction_result result =
        verdict != NULL ? result_of(verdict->outcome) : TRANSACTION_FAILED;
    enum error rc = verdict != NULL ? ERR_INTERNAL : transaction->failure;

    if (result == TRANSACTION_DONE) {
        finish_all(transaction, TRANSACTION_FINISHING, transaction->attempt);
    } else if (result == TRANSACTION_FAILED && error_effect(rc) == ERROR_EFFECT_MAYBE) {
        end(transaction, result, rc); /* the recovery will know */
    } else {
        if (result == TRANSACTION_ALREADY && verdict->attempt.len == TABLE_ATTEMPT_BYTES)
            memcpy(transaction->other, verdict->attempt.data, TABLE_ATTEMPT_BYTES);
        undo(transaction, result, rc, false);
    }
}

static void on_undone(struct transaction *transaction)
{
    const Skein__Wire__TableReply *verdict = transaction->verdict;
    enum transaction_result asked =
        verdict != NULL ? result_of(verdict->outcome) : TRANSACTION_DONE;

    if (asked == TRANSACTION_MISMATCH)
        end(transaction, asked, OK);
    else if (asked == TRANSACTION_ALREADY)
        end_already(transaction, verdict);
    else if (transaction->result == TRANSACTION_ALREADY)
        finish_all(transaction, TRANSACTION_FINISHING_OTHER, transaction->other);
    else if (transaction->result == TRANSACTION_CANCELLED && may_try_again(transaction))
        wait(transaction);
    else
        end(transaction, transaction->result, transaction->rc);
}

static void on_finished(struct transaction *transaction, enum transaction_result result)
{
    struct buffer *finished = finished_of(transaction->transactions, transaction->coordinator);

    if (transaction->failure != OK) { /* decided, but not seen by all who read */
        end(transaction, TRANSACTION_FAILED, ERR_TIMEOUT);
        return;
    }
    if (result == TRANSACTION_DONE && finished->size < FINISHED_MAX * TABLE_ATTEMPT_BYTES)
        buffer_put(finished, transaction->attempt, TABLE_ATTEMPT_BYTES);
    end(transaction, result, OK);
}

static void tick(struct transaction *transaction)
{
    switch (transaction->state) {
    case TRANSACTION_CLAIMING:
        on_claimed(transaction);
        return;
    case TRANSACTION_EXECUTING:
        on_executed(transaction);
        return;
    case TRANSACTION_PREPARING:
        on_prepared(transaction);
        return;
    case TRANSACTION_DECIDING:
        on_decided(transaction);
        return;
    case TRANSACTION_FINISHING:
        on_finished(transaction, TRANSACTION_DONE);
        return;
    case TRANSACTION_UNDOING:
        on_undone(transaction);
        return;
    case TRANSACTION_FINISHING_OTHER:
        on_finished(transaction, TRANSACTION_ALREADY);
        return;
    case TRANSACTION_WAITING:
        return;
    }
}

/* ---- life ------------------------------------------------------------------------------------ */

static void add_part(struct transaction *transaction, uint32_t shard)
{
    struct transaction_part *part;

    for (size_t i = 0; i < transaction->part_count; i++)
        if (transaction->parts[i].shard == shard)
            return;
    part = &transaction->parts[transaction->part_count++];
    part->transaction = transaction;
    part->shard = shard;
}

/* The token decides, so that whoever comes with it finds the same shard. */
static uint32_t coordinator_of(const struct transaction *transaction)
{
    if (transaction->token.size == 0)
        return transaction->parts[0].shard;
    return shard_router_shard_of(transaction->transactions->router, SLICE_LITERAL("transaction"),
                                 transaction->token);
}

void transaction_start(struct transactions *transactions, struct transaction *transaction,
                       uint32_t deadline_ms, transaction_cb cb)
{
    uint64_t now_us = env_now_us(transactions->env);

    CHECK(transaction->count > 0 && transaction->count <= TABLE_ACTIONS_MAX);
    transaction->transactions = transactions;
    transaction->cb = cb;
    transaction->deadline_us = now_us + deadline_ms * UINT64_C(1000);
    transaction->patience_us = now_us + TRANSACTION_PATIENCE_US;
    transaction->parts = check_calloc(transaction->count, sizeof(*transaction->parts));
    for (size_t i = 0; i < transaction->count; i++)
        add_part(transaction, transaction->actions[i].shard);
    transaction->coordinator = coordinator_of(transaction);
    if (transaction->part_count == 1 && transaction->token.size > 0 &&
        transaction->coordinator != transaction->parts[0].shard) {
        transaction->state = TRANSACTION_CLAIMING;
        send_claim(transaction);
    } else {
        begin_attempt(transaction);
    }
}

void transaction_close(struct transaction *transaction)
{
    if (transaction->transactions == NULL)
        return;
    env_timer_stop(transaction->transactions->env, &transaction->timer);
    shard_request_cancel(&transaction->request);
    forget_verdict(transaction);
    for (size_t i = 0; i < transaction->part_count; i++) {
        shard_request_cancel(&transaction->parts[i].request);
        forget_reply(&transaction->parts[i]);
    }
    free(transaction->parts);
    transaction->transactions = NULL;
}
