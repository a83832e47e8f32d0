#include "node/table/table_transaction_record.h"

#include "node/table/table_row.h"
#include "proto/base/check.h"

#define KEY_AGE 0x24
#define KEY_CLOCK 0x25

#define MINUTE_MS 60000u

/* A whole key, in a buffer to close. */
struct buffer table_record_key(uint8_t kind, struct slice rest)
{
    struct buffer key = BUFFER_INIT(BUFFER_UNLIMITED);

    buffer_put_u8(&key, kind);
    buffer_put_slice(&key, rest);
    return key;
}

/* False when there is none. */
bool table_record_get(struct shard_state *state, uint8_t kind, struct slice rest,
                      struct buffer *value)
{
    struct buffer key = table_record_key(kind, rest);
    enum error rc = shard_get(state, buffer_slice(&key), value);

    buffer_close(&key);
    return rc == OK;
}

void table_record_put(struct shard_state *state, uint8_t kind, struct slice rest,
                      struct slice value)
{
    struct buffer key = table_record_key(kind, rest);

    shard_put(state, buffer_slice(&key), value);
    buffer_close(&key);
}

void table_record_forget(struct shard_state *state, uint8_t kind, struct slice rest)
{
    struct buffer key = table_record_key(kind, rest);

    shard_delete(state, buffer_slice(&key));
    buffer_close(&key);
}

/* ---- minutes --------------------------------------------------------------------------------- */

struct table_minutes table_minutes_load(struct shard_state *state)
{
    struct buffer value = BUFFER_INIT(64);
    struct table_minutes minutes = {0};

    if (table_record_get(state, KEY_CLOCK, slice_of(NULL, 0), &value)) {
        struct reader reader = reader_of(buffer_slice(&value));

        minutes.count = reader_u64(&reader);
        minutes.counted_ms = reader_u64(&reader);
        minutes.first = reader_u64(&reader);
    }
    buffer_close(&value);
    return minutes;
}

static void minutes_store(struct shard_state *state, const struct table_minutes *minutes)
{
    struct buffer value = BUFFER_INIT(64);

    buffer_put_u64(&value, minutes->count);
    buffer_put_u64(&value, minutes->counted_ms);
    buffer_put_u64(&value, minutes->first);
    table_record_put(state, KEY_CLOCK, slice_of(NULL, 0), buffer_slice(&value));
    buffer_close(&value);
}

static void age_put(struct shard_state *state, uint64_t minute, uint8_t kind, struct slice rest)
{
    struct buffer aged = BUFFER_INIT(BUFFER_UNLIMITED);

    buffer_put_u64_big(&aged, minute);
    buffer_put_u8(&aged, kind);
    buffer_put_slice(&aged, rest);
    table_record_put(state, KEY_AGE, buffer_slice(&aged), slice_of(NULL, 0));
    buffer_close(&aged);
}

/* ---- tokens ---------------------------------------------------------------------------------- */

struct table_token table_token_load(struct shard_state *state,
                                    const Skein__Wire__TableTransaction *of)
{
    struct table_token token = {.record = BUFFER_INIT(BUFFER_UNLIMITED)};

    if (of->token.len > 0 &&
        table_record_get(state, TABLE_RECORD_TOKEN, field(&of->token), &token.record)) {
        struct reader reader = reader_of(buffer_slice(&token.record));

        token.is_known = true;
        token.minute = reader_u64(&reader);
        token.is_done = reader_u8(&reader) != 0;
        token.attempt = reader_bytes(&reader, reader_u8(&reader));
        token.digest = reader.rest;
    }
    return token;
}

/* What the token alone says of the transaction: DONE when it may go on. */
enum table_outcome table_token_check(const struct table_token *token,
                                     const Skein__Wire__TableTransaction *transaction)
{
    if (!token->is_known)
        return TABLE_DONE;
    if (!slice_equal(token->digest, field(&transaction->digest)))
        return TABLE_MISMATCH;
    return token->is_done ? TABLE_ALREADY : TABLE_DONE;
}

void table_token_store(struct shard_state *state, const struct table_token *before,
                       const Skein__Wire__TableTransaction *transaction, bool is_done)
{
    struct buffer value = BUFFER_INIT(BUFFER_UNLIMITED);
    uint64_t minute = table_minutes_load(state).count;

    if (transaction->token.len == 0 || (before->is_known && !is_done))
        return;
    buffer_put_u64(&value, minute);
    buffer_put_u8(&value, is_done);
    buffer_put_u8(&value, (uint8_t)transaction->attempt.len);
    buffer_put_slice(&value, field(&transaction->attempt));
    buffer_put_slice(&value, field(&transaction->digest));
    table_record_put(state, TABLE_RECORD_TOKEN, field(&transaction->token), buffer_slice(&value));
    age_put(state, minute, TABLE_RECORD_TOKEN, field(&transaction->token));
    buffer_close(&value);
}

/* ---- decisions ------------------------------------------------------------------------------- */

void table_decision_store(struct shard_state *state,
                          const Skein__Wire__TableTransaction *transaction)
{
    struct buffer value = BUFFER_INIT(BUFFER_UNLIMITED);
    uint64_t minute = table_minutes_load(state).count;

    if (!transaction->is_commit)
        minute += TABLE_KEEP_ABORTS_MINUTES - TABLE_KEEP_MINUTES;
    buffer_put_u8(&value, transaction->is_commit ? 1 : 0);
    buffer_put_u64(&value, minute);
    for (size_t i = 0; transaction->is_commit && i < transaction->n_shards; i++)
        buffer_put_u32(&value, transaction->shards[i]);
    table_record_put(state, TABLE_RECORD_DECISION, field(&transaction->attempt),
                     buffer_slice(&value));
    age_put(state, minute, TABLE_RECORD_DECISION, field(&transaction->attempt));
    buffer_close(&value);
}

/* Is it to commit? `shards` are those that prepared it, as far as there is room. */
bool table_decision_read(const struct buffer *record, uint64_t *minute, struct slice *shards)
{
    struct reader reader = reader_of(buffer_slice(record));
    bool is_commit = reader_u8(&reader) != 0;

    *minute = reader_u64(&reader);
    *shards = reader.rest;
    return is_commit;
}

void table_decision_forget(struct shard_state *state, struct slice attempt)
{
    struct buffer record = BUFFER_INIT(BUFFER_UNLIMITED);
    struct buffer aged = BUFFER_INIT(BUFFER_UNLIMITED);
    struct slice shards;
    uint64_t minute;

    if (table_record_get(state, TABLE_RECORD_DECISION, attempt, &record)) {
        (void)table_decision_read(&record, &minute, &shards);
        buffer_put_u64_big(&aged, minute);
        buffer_put_u8(&aged, TABLE_RECORD_DECISION);
        buffer_put_slice(&aged, attempt);
        table_record_forget(state, KEY_AGE, buffer_slice(&aged));
        table_record_forget(state, TABLE_RECORD_DECISION, attempt);
    }
    buffer_close(&record);
    buffer_close(&aged);
}

/* ---- TRIM ------------------------------------------------------------------------------------ */

/* False: the cursor has left those that are over. */
bool table_age_read(struct slice key, const struct table_minutes *minutes, struct table_age *age)
{
    struct reader reader = reader_of(key);

    if (reader_u8(&reader) != KEY_AGE)
        return false;
    age->minute = reader_u64_big(&reader);
    age->of = reader.rest;
    age->kind = reader_u8(&reader);
    age->rest = reader.rest;
    return reader.ok && age->minute + TABLE_KEEP_MINUTES <= minutes->count;
}

void table_age_seek(struct shard_cursor *cursor, const struct table_minutes *minutes)
{
    struct buffer first = BUFFER_INIT(64);

    buffer_put_u8(&first, KEY_AGE);
    buffer_put_u64_big(&first, minutes->first);
    shard_cursor_seek(cursor, buffer_slice(&first));
    buffer_close(&first);
}

bool table_age_is_at(const struct shard_cursor *cursor)
{
    return shard_cursor_valid(cursor) && shard_cursor_key(cursor).data[0] == KEY_AGE;
}

/* A commit waits until it is known to be finished, a token that was used again has another age. */
enum age_fate { AGE_FORGET, AGE_KEEP, AGE_FORGET_ALONE };

static enum age_fate fate_of(struct shard_state *state, const struct table_age *age)
{
    struct buffer record = BUFFER_INIT(BUFFER_UNLIMITED);
    enum age_fate fate = AGE_FORGET;

    if (table_record_get(state, age->kind, age->rest, &record)) {
        struct reader reader = reader_of(buffer_slice(&record));

        if (age->kind == TABLE_RECORD_DECISION && reader_u8(&reader) != 0)
            fate = AGE_KEEP;
        else if (age->kind == TABLE_RECORD_TOKEN && reader_u64(&reader) > age->minute)
            fate = AGE_FORGET_ALONE;
    }
    buffer_close(&record);
    return fate;
}

/* Ages that are over, each after its u32 size; up to `limit`, then `has_more`. Gives whether all
 * that were met may go. */
static bool gather_ages(struct shard_state *state, const struct table_minutes *minutes,
                        uint32_t limit, struct buffer *ages, bool *has_more)
{
    struct shard_cursor *cursor = shard_cursor_open(state);
    struct table_age age;
    uint32_t count = 0;
    bool all = true;

    for (table_age_seek(cursor, minutes); shard_cursor_valid(cursor); shard_cursor_next(cursor)) {
        struct slice key = shard_cursor_key(cursor);

        if (!table_age_read(key, minutes, &age))
            break;
        *has_more = count == limit;
        if (*has_more)
            break;
        count++;
        if (fate_of(state, &age) == AGE_KEEP) {
            all = false;
            continue;
        }
        buffer_put_u32(ages, (uint32_t)key.size);
        buffer_put_slice(ages, key);
    }
    shard_cursor_close(cursor);
    return all;
}

static void forget_aged(struct shard_state *state, struct slice key,
                        const struct table_minutes *minutes)
{
    struct table_age age;

    CHECK(table_age_read(key, minutes, &age));
    if (fate_of(state, &age) == AGE_FORGET)
        shard_delete(state, age.of);
    shard_delete(state, key);
}

void table_transaction_trim(struct shard_state *state, const struct shard_moment *moment,
                            uint32_t limit, struct buffer *reply)
{
    Skein__Wire__TableReply message = SKEIN__WIRE__TABLE_REPLY__INIT;
    struct table_minutes minutes = table_minutes_load(state);
    struct buffer ages = BUFFER_INIT(BUFFER_UNLIMITED);
    bool has_more = false;
    struct reader reader;
    bool all;

    if (moment->wall_ms >= minutes.counted_ms + MINUTE_MS) {
        minutes.count++;
        minutes.counted_ms = moment->wall_ms;
    } else if (moment->wall_ms < minutes.counted_ms) { /* that clock was ahead */
        minutes.counted_ms = moment->wall_ms;
    }
    all = gather_ages(state, &minutes, limit, &ages, &has_more);
    message.has_more = has_more && ages.size > 0;
    if (all && !has_more && minutes.count >= TABLE_KEEP_MINUTES)
        minutes.first = minutes.count - TABLE_KEEP_MINUTES + 1;
    minutes_store(state, &minutes);
    reader = reader_of(buffer_slice(&ages));
    while (reader.rest.size > 0) {
        uint32_t size = reader_u32(&reader);

        forget_aged(state, reader_bytes(&reader, size), &minutes);
    }
    buffer_close(&ages);
    table_reply_put(reply, &message);
}
