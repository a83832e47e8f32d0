#include "node/table/table_transaction.h"

#include "node/table/table_key.h"
#include "node/table/table_memory.h"
#include "node/table/table_row.h"
#include "node/table/table_transaction_record.h"
#include "proto/base/check.h"

#define RETURNED_BYTES_MAX (15u << 20) /* of items that did not meet their conditions */

/* ---- the rows of a transaction in this shard ------------------------------------------------- */

/* How many transactions hold locks here: most often none, and then no write need look for one. A
 * record, not a walk over what is open: a walk while applying must be every replica's. */
static struct table_memory *with_open_count(struct shard_state *state)
{
    struct table_memory *memory = table_memory_of(state);
    struct buffer count = BUFFER_INIT(sizeof(uint64_t));

    if (!memory->knows_open &&
        table_record_get(state, TABLE_RECORD_OPEN_COUNT, slice_of(NULL, 0), &count)) {
        struct reader reader = reader_of(buffer_slice(&count));

        memory->open_count = reader_u64(&reader);
    }
    memory->knows_open = true;
    buffer_close(&count);
    return memory;
}

static void set_open_count(struct shard_state *state, uint64_t open_count)
{
    struct buffer count = BUFFER_INIT(sizeof(uint64_t));

    table_memory_of(state)->open_count = open_count;
    buffer_put_u64(&count, open_count);
    if (open_count > 0)
        table_record_put(state, TABLE_RECORD_OPEN_COUNT, slice_of(NULL, 0), buffer_slice(&count));
    else
        table_record_forget(state, TABLE_RECORD_OPEN_COUNT, slice_of(NULL, 0));
    buffer_close(&count);
}

bool table_transaction_locks(struct shard_state *state, struct slice row_key)
{
    struct buffer lock = BUFFER_INIT(BUFFER_UNLIMITED);
    bool is_locked = with_open_count(state)->open_count > 0 &&
                     table_record_get(state, TABLE_RECORD_LOCK, row_key, &lock);

    buffer_close(&lock);
    return is_locked;
}

static enum table_outcome check_lock(struct shard_state *state,
                                     const Skein__Wire__TableTransaction *transaction,
                                     struct slice row_key)
{
    struct buffer lock = BUFFER_INIT(BUFFER_UNLIMITED);
    enum table_outcome outcome = TABLE_DONE;

    if (table_record_get(state, TABLE_RECORD_LOCK, row_key, &lock)) {
        struct slice token =
            slice_of(lock.data + TABLE_ATTEMPT_BYTES, lock.size - TABLE_ATTEMPT_BYTES);

        outcome = token.size > 0 && slice_equal(token, field(&transaction->token))
                      ? TABLE_LOCKED_BY_TOKEN
                      : TABLE_LOCKED;
    }
    buffer_close(&lock);
    return outcome;
}

struct rows {
    struct table_row *rows;
    Skein__Wire__TableReply **replies;
    size_t count;
    size_t returned_bytes;
};

static bool open_rows(struct rows *rows, struct shard_state *state,
                      const Skein__Wire__TableTransaction *transaction)
{
    *rows = (struct rows){0};
    if (transaction->n_actions == 0 || transaction->n_actions > TABLE_ACTIONS_MAX)
        return false;
    for (size_t i = 0; i < transaction->n_actions; i++)
        if (!table_row_is_command(transaction->actions[i]))
            return false;
    rows->rows = check_calloc(transaction->n_actions, sizeof(*rows->rows));
    rows->replies = check_calloc(transaction->n_actions, sizeof(struct Skein__Wire__TableReply *));
    for (; rows->count < transaction->n_actions; rows->count++) {
        table_row_open(&rows->rows[rows->count], state, transaction->actions[rows->count]);
        rows->replies[rows->count] = &rows->rows[rows->count].reply;
    }
    return true;
}

static void close_rows(struct rows *rows)
{
    for (size_t i = 0; i < rows->count; i++)
        table_row_close(&rows->rows[i]);
    free(rows->rows);
    free(rows->replies);
}

/* Every row is looked at, so that each one's answer is known. */
static enum table_outcome decide_rows(struct rows *rows, struct shard_state *state,
                                      const Skein__Wire__TableTransaction *transaction)
{
    enum table_outcome all = TABLE_DONE;

    for (size_t i = 0; i < rows->count; i++) {
        struct table_row *row = &rows->rows[i];
        enum table_outcome outcome = check_lock(state, transaction, row->key);

        if (outcome == TABLE_DONE)
            outcome = table_row_decide(row);
        if (outcome != TABLE_DONE)
            all = TABLE_CANCELLED;
        row->reply.outcome = outcome;
        rows->returned_bytes += row->reply.item.len;
        if (rows->returned_bytes > RETURNED_BYTES_MAX) { /* more than a reply may have */
            row->reply.has_item = false;
            row->reply.item = field_of(slice_of(NULL, 0));
        }
    }
    return all;
}

static void store_rows(struct rows *rows)
{
    for (size_t i = 0; i < rows->count; i++)
        table_row_store(&rows->rows[i]);
}

static void tell_rows(const struct rows *rows, Skein__Wire__TableReply *message)
{
    message->n_parts = rows->count;
    message->parts = rows->replies;
}

/* ---- EXECUTE and CLAIM ----------------------------------------------------------------------- */

static void execute(struct shard_state *state, const Skein__Wire__TableTransaction *transaction,
                    struct buffer *reply)
{
    Skein__Wire__TableReply message = SKEIN__WIRE__TABLE_REPLY__INIT;
    struct table_token token = table_token_load(state, transaction);
    struct rows rows;

    message.outcome = table_token_check(&token, transaction);
    if (!open_rows(&rows, state, transaction)) {
        message.outcome = TABLE_MALFORMED;
    } else if (message.outcome == TABLE_DONE) {
        message.outcome = decide_rows(&rows, state, transaction);
        tell_rows(&rows, &message);
        if (message.outcome == TABLE_DONE)
            store_rows(&rows);
        table_token_store(state, &token, transaction, message.outcome == TABLE_DONE);
    }
    table_reply_put(reply, &message);
    close_rows(&rows);
    buffer_close(&token.record);
}

static void claim(struct shard_state *state, const Skein__Wire__TableTransaction *transaction,
                  struct buffer *reply)
{
    Skein__Wire__TableReply message = SKEIN__WIRE__TABLE_REPLY__INIT;
    struct table_token token = table_token_load(state, transaction);

    message.outcome = table_token_check(&token, transaction);
    if (message.outcome == TABLE_DONE)
        table_token_store(state, &token, transaction, false);
    message.attempt = field_of(token.attempt);
    table_reply_put(reply, &message);
    buffer_close(&token.record);
}

/* ---- PREPARE --------------------------------------------------------------------------------- */

static void keep(struct shard_state *state, const Skein__Wire__TableTransaction *transaction)
{
    struct buffer value = BUFFER_INIT(BUFFER_UNLIMITED);
    size_t bytes = skein__wire__table_transaction__get_packed_size(transaction);

    set_open_count(state, with_open_count(state)->open_count + 1);
    buffer_put_u32(&value, transaction->coordinator);
    CHECK(buffer_reserve(&value, bytes) == OK);
    value.size += skein__wire__table_transaction__pack(transaction, value.data + value.size);
    table_record_put(state, TABLE_RECORD_OPEN, field(&transaction->attempt), buffer_slice(&value));
    buffer_clear(&value);
    buffer_put_slice(&value, field(&transaction->attempt));
    buffer_put_slice(&value, field(&transaction->token));
    for (size_t i = 0; i < transaction->n_actions; i++)
        table_record_put(state, TABLE_RECORD_LOCK, field(&transaction->actions[i]->key),
                         buffer_slice(&value));
    buffer_close(&value);
}

static bool is_open(struct shard_state *state, const Skein__Wire__TableTransaction *transaction)
{
    struct buffer record = BUFFER_INIT(BUFFER_UNLIMITED);
    bool found = table_record_get(state, TABLE_RECORD_OPEN, field(&transaction->attempt), &record);

    buffer_close(&record);
    return found;
}

static void prepare(struct shard_state *state, const Skein__Wire__TableTransaction *transaction,
                    struct buffer *reply)
{
    Skein__Wire__TableReply message = SKEIN__WIRE__TABLE_REPLY__INIT;
    struct rows rows;

    if (!open_rows(&rows, state, transaction)) {
        message.outcome = TABLE_MALFORMED;
    } else if (!is_open(state, transaction)) { /* else it is the same command again */
        message.outcome = decide_rows(&rows, state, transaction);
        tell_rows(&rows, &message);
        if (message.outcome == TABLE_DONE)
            keep(state, transaction);
    }
    table_reply_put(reply, &message);
    close_rows(&rows);
}

/* ---- DECIDE ---------------------------------------------------------------------------------- */

static void forget_finished(struct shard_state *state,
                            const Skein__Wire__TableTransaction *transaction)
{
    for (size_t i = 0; i < transaction->n_finished; i++)
        table_decision_forget(state, field(&transaction->finished[i]));
}

static enum table_outcome decide_now(struct shard_state *state, const struct table_token *token,
                                     const Skein__Wire__TableTransaction *transaction)
{
    enum table_outcome outcome = table_token_check(token, transaction);

    if (outcome != TABLE_DONE) /* who asked will not commit it: nothing to remember */
        return outcome;
    table_decision_store(state, transaction);
    if (transaction->is_commit)
        table_token_store(state, token, transaction, true);
    return transaction->is_commit ? TABLE_DONE : TABLE_ABORTED;
}

static void decide(struct shard_state *state, const Skein__Wire__TableTransaction *transaction,
                   struct buffer *reply)
{
    Skein__Wire__TableReply message = SKEIN__WIRE__TABLE_REPLY__INIT;
    struct table_token token = table_token_load(state, transaction);
    struct buffer record = BUFFER_INIT(BUFFER_UNLIMITED);

    if (table_record_get(state, TABLE_RECORD_DECISION, field(&transaction->attempt), &record))
        message.outcome = record.data[0] != 0 ? TABLE_DONE : TABLE_ABORTED;
    else
        message.outcome = decide_now(state, &token, transaction);
    if (message.outcome == TABLE_ALREADY)
        message.attempt = field_of(token.attempt);
    forget_finished(state, transaction);
    table_reply_put(reply, &message);
    buffer_close(&record);
    buffer_close(&token.record);
}

static void forget_only(struct shard_state *state, const Skein__Wire__TableTransaction *transaction,
                        struct buffer *reply)
{
    Skein__Wire__TableReply message = SKEIN__WIRE__TABLE_REPLY__INIT;

    forget_finished(state, transaction);
    table_reply_put(reply, &message);
}

/* ---- FINISH ---------------------------------------------------------------------------------- */

/* The row is as it was when it was prepared, so the same comes of it; unless its table was dropped
 * meanwhile, then nothing need come of it. What indexes would refuse now is too late to refuse. */
static void finish_row(struct shard_state *state, Skein__Wire__TableCommand *action, bool is_commit)
{
    struct table_row row;

    table_record_forget(state, TABLE_RECORD_LOCK, field(&action->key));
    if (!is_commit)
        return;
    action->condition.len = 0; /* it held */
    table_row_open(&row, state, action);
    row.is_promised = true;
    if (table_row_decide(&row) == TABLE_DONE)
        table_row_store(&row);
    table_row_close(&row);
}

static void finish(struct shard_state *state, const Skein__Wire__TableTransaction *transaction,
                   struct buffer *reply)
{
    Skein__Wire__TableReply message = SKEIN__WIRE__TABLE_REPLY__INIT;
    Skein__Wire__TableTransaction *kept = NULL;
    struct buffer record = BUFFER_INIT(BUFFER_UNLIMITED);

    if (table_record_get(state, TABLE_RECORD_OPEN, field(&transaction->attempt), &record)) {
        struct reader reader = reader_of(buffer_slice(&record));

        (void)reader_u32(&reader);
        kept = skein__wire__table_transaction__unpack(NULL, reader.rest.size, reader.rest.data);
        if (kept == NULL) {
            message.outcome = TABLE_CORRUPT;
        } else {
            set_open_count(state, with_open_count(state)->open_count - 1);
            table_record_forget(state, TABLE_RECORD_OPEN, field(&transaction->attempt));
        }
    }
    for (size_t i = 0; kept != NULL && i < kept->n_actions; i++)
        finish_row(state, kept->actions[i], transaction->is_commit);
    skein__wire__table_transaction__free_unpacked(kept, NULL);
    buffer_close(&record);
    table_reply_put(reply, &message);
}

/* ---- what the engine calls ------------------------------------------------------------------- */

static bool has_attempt(const Skein__Wire__TableTransaction *transaction)
{
    return transaction->attempt.len == TABLE_ATTEMPT_BYTES;
}

static bool is_well_formed(const Skein__Wire__TableCommand *command)
{
    const Skein__Wire__TableTransaction *transaction = command->transaction;
    enum table_command_kind kind = (enum table_command_kind)command->kind;

    if (kind == TABLE_TRIM)
        return command->row_limit > 0;
    if (transaction == NULL || transaction->token.len > TABLE_TOKEN_BYTES_MAX)
        return false;
    if (kind == TABLE_CLAIM)
        return transaction->token.len > 0;
    if (kind == TABLE_EXECUTE)
        return transaction->attempt.len == 0 || has_attempt(transaction);
    if (kind == TABLE_FORGET)
        return true;
    return has_attempt(transaction) && transaction->n_shards <= TABLE_SHARDS_MAX;
}

void table_transaction_apply(struct shard_state *state, const struct shard_moment *moment,
                             const Skein__Wire__TableCommand *command, struct buffer *reply)
{
    Skein__Wire__TableReply message = SKEIN__WIRE__TABLE_REPLY__INIT;

    message.outcome = TABLE_MALFORMED;
    if (!is_well_formed(command))
        table_reply_put(reply, &message);
    else if (command->kind == TABLE_EXECUTE)
        execute(state, command->transaction, reply);
    else if (command->kind == TABLE_CLAIM)
        claim(state, command->transaction, reply);
    else if (command->kind == TABLE_PREPARE)
        prepare(state, command->transaction, reply);
    else if (command->kind == TABLE_DECIDE)
        decide(state, command->transaction, reply);
    else if (command->kind == TABLE_FORGET)
        forget_only(state, command->transaction, reply);
    else if (command->kind == TABLE_FINISH)
        finish(state, command->transaction, reply);
    else if (command->kind == TABLE_TRIM)
        table_transaction_trim(state, moment, command->row_limit, reply);
    else
        table_reply_put(reply, &message);
}
