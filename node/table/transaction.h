/* Changes of many rows at once, all or none: the side of the node that was asked.
 *
 * Rows in one shard are one command. Otherwise the transaction is prepared in its shards, decided
 * in one of them and finished in all (table_transaction.h); it is done when it was finished
 * everywhere, so that whoever reads then sees all of it. An attempt that meets a lock is undone and
 * made again, for a short while. When this node dies on the way, the shards' leaders clean up
 * (transaction_recovery.h), and who asks again with the same token is told what became of it. Loop
 * thread only. */

#ifndef NODE_TABLE_TRANSACTION_H
#define NODE_TABLE_TRANSACTION_H

#include "node/shard/shard_router.h"
#include "node/table/table_transaction.h"

#define TRANSACTION_PATIENCE_US 400000u /* of meeting locks */

struct transactions; /* of a node: what is worth telling with the next one */

struct transactions *transactions_new(struct env *env, struct shard_router *router);
/* Transactions and reads in flight were closed before. */
void transactions_free(struct transactions *transactions);

struct transaction_action {
    uint32_t shard;
    Skein__Wire__TableCommand *command;   /* PUT, UPDATE, DELETE or CHECK; no two of the same row */
    const Skein__Wire__TableReply *reply; /* to it, when DONE or CANCELLED; else NULL */
};

enum transaction_result {
    TRANSACTION_DONE,
    TRANSACTION_CANCELLED,   /* the replies tell why: outcomes of the engine, TABLE_LOCKED too */
    TRANSACTION_ALREADY,     /* one with this token and digest was done before */
    TRANSACTION_MISMATCH,    /* the token was used with another digest */
    TRANSACTION_IN_PROGRESS, /* one with this token is at work */
    TRANSACTION_FAILED       /* `rc` tells why, and whether it may yet happen */
};

struct transaction;
typedef void (*transaction_cb)(struct transaction *transaction, enum transaction_result result,
                               enum error rc);

struct transaction_part;

enum transaction_state {
    TRANSACTION_CLAIMING,
    TRANSACTION_EXECUTING,
    TRANSACTION_PREPARING,
    TRANSACTION_DECIDING,
    TRANSACTION_FINISHING,
    TRANSACTION_UNDOING,
    TRANSACTION_FINISHING_OTHER,
    TRANSACTION_WAITING
};

struct transaction { /* embedded, zeroed at first */
    /* the caller's; borrowed until the end */
    struct transaction_action *actions;
    size_t count; /* up to TABLE_ACTIONS_MAX */
    struct slice token;
    struct slice digest;

    struct transactions *transactions; /* NULL: not started */
    transaction_cb cb;
    enum transaction_state state;
    struct transaction_part *parts; /* one for each shard */
    size_t part_count;
    uint32_t coordinator;
    struct shard_request request; /* to the coordinator */
    Skein__Wire__TableReply *verdict;
    uint8_t attempt[TABLE_ATTEMPT_BYTES];
    uint8_t other[TABLE_ATTEMPT_BYTES]; /* the one that was done with this token */
    size_t in_flight;
    enum error failure;
    enum transaction_result result; /* once undone, with */
    enum error rc;
    struct env_timer timer;
    uint64_t deadline_us;
    uint64_t patience_us;
    uint32_t attempts;
};

/* Exactly one callback, after this returned. */
void transaction_start(struct transactions *transactions, struct transaction *transaction,
                       uint32_t deadline_ms, transaction_cb cb);
/* Frees what it has; replies are gone then. Without a callback before, it may yet happen. */
void transaction_close(struct transaction *transaction);

/* ---- reading many rows as of one moment ---- */

struct transaction_get {
    uint32_t shard;
    Skein__Wire__TableQuery *query;       /* a GET */
    const Skein__Wire__TableReply *reply; /* when DONE */
    bool is_conflict;                     /* the row was locked or changed, when CANCELLED */
};

struct transaction_read;
/* DONE, CANCELLED (see is_conflict), or FAILED. */
typedef void (*transaction_read_cb)(struct transaction_read *read, enum transaction_result result,
                                    enum error rc);

struct transaction_read_part;

struct transaction_read {         /* embedded, zeroed at first */
    struct transaction_get *gets; /* the caller's, likewise */
    size_t count;

    struct transactions *transactions;
    transaction_read_cb cb;
    struct transaction_read_part *parts;
    size_t part_count;
    bool is_second; /* the second look */
    size_t in_flight;
    enum error failure;
    struct env_timer timer;
    uint64_t deadline_us;
    uint64_t patience_us;
    uint32_t attempts;
};

void transaction_read_start(struct transactions *transactions, struct transaction_read *read,
                            uint32_t deadline_ms, transaction_read_cb cb);
void transaction_read_close(struct transaction_read *read);

#endif
