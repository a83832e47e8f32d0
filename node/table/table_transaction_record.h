/* What transactions leave in a shard beside rows, and how it is forgotten; inside of
 * table_transaction.h, which has the keys. */

#ifndef NODE_TABLE_TABLE_TRANSACTION_RECORD_H
#define NODE_TABLE_TABLE_TRANSACTION_RECORD_H

#include "node/table/table_transaction.h"

enum table_record_kind { /* in keys: never renumber */
                         TABLE_RECORD_LOCK = 0x20,
                         TABLE_RECORD_OPEN = 0x21,
                         TABLE_RECORD_DECISION = 0x22,
                         TABLE_RECORD_TOKEN = 0x23,
                         TABLE_RECORD_OPEN_COUNT = 0x26
};

/* A whole key, in a buffer to close. */
struct buffer table_record_key(uint8_t kind, struct slice rest);
/* Appends to `value`. False when there is none. */
bool table_record_get(struct shard_state *state, uint8_t kind, struct slice rest,
                      struct buffer *value);
void table_record_put(struct shard_state *state, uint8_t kind, struct slice rest,
                      struct slice value);
void table_record_forget(struct shard_state *state, uint8_t kind, struct slice rest);

/* ---- tokens ---- */

struct table_token {
    bool is_known;
    bool is_done;
    uint64_t minute;
    struct buffer record; /* what the slices lie in */
    struct slice attempt; /* that was done; empty when it had no need of one */
    struct slice digest;
};

struct table_token table_token_load(struct shard_state *state,
                                    const Skein__Wire__TableTransaction *of);
/* What the token alone says of the transaction: DONE when it may go on. */
enum table_outcome table_token_check(const struct table_token *token,
                                     const Skein__Wire__TableTransaction *transaction);
/* Of what was loaded `before`. Once used it stays, until the transaction is done. */
void table_token_store(struct shard_state *state, const struct table_token *before,
                       const Skein__Wire__TableTransaction *transaction, bool is_done);

/* ---- decisions ---- */

void table_decision_store(struct shard_state *state,
                          const Skein__Wire__TableTransaction *transaction);
/* Is it to commit? `shards` are those that prepared it, u32 each. */
bool table_decision_read(const struct buffer *record, uint64_t *minute, struct slice *shards);
void table_decision_forget(struct shard_state *state, struct slice attempt);

/* ---- ages ---- */

struct table_minutes {
    uint64_t count;
    uint64_t counted_ms; /* by the clock of the leader then */
    uint64_t first;      /* no record is older */
};

struct table_age { /* what a key of an age says */
    uint64_t minute;
    uint8_t kind;
    struct slice of; /* the key of the record, with its kind */
    struct slice rest;
};

struct table_minutes table_minutes_load(struct shard_state *state);
void table_age_seek(struct shard_cursor *cursor, const struct table_minutes *minutes);
/* Are there ages of any age from the cursor on? */
bool table_age_is_at(const struct shard_cursor *cursor);
/* Of the key of an age. False: it is none, or not over yet; nor are those behind it. */
bool table_age_read(struct slice key, const struct table_minutes *minutes, struct table_age *age);

void table_transaction_trim(struct shard_state *state, const struct shard_moment *moment,
                            uint32_t limit, struct buffer *reply);

#endif
