/* The tables' part of a shard's state machine: rows, put, changed, deleted and read.
 *
 * Commands and queries are messages of proto/wire/table.proto; the reply to each is a TableReply.
 * A condition is evaluated while applying, so a command decides by the row as it then is. */

#ifndef NODE_TABLE_TABLE_ENGINE_H
#define NODE_TABLE_TABLE_ENGINE_H

#include "node/shard/shard_engine.h"

enum table_command_kind { /* on the wire: never renumber */
                          TABLE_PUT = 1,
                          TABLE_DELETE = 2,
                          TABLE_UPDATE = 3,
                          TABLE_DROP = 4,
                          TABLE_CHECK = 5, /* only its condition; part of a transaction */
                          /* table_transaction.h */
                          TABLE_EXECUTE = 32,
                          TABLE_CLAIM = 33,
                          TABLE_PREPARE = 34,
                          TABLE_DECIDE = 35,
                          TABLE_FINISH = 36,
                          TABLE_TRIM = 37,
                          TABLE_FORGET = 38,
                          /* global indexes: table_global.h, table_outbox.h */
                          TABLE_INDEX_ROWS = 40,
                          TABLE_INDEX_SENT = 41,
                          TABLE_BACKFILL = 42,
                          TABLE_DROP_INDEX = 43
};

enum table_query_kind {
    TABLE_GET = 1,
    TABLE_RANGE = 2,
    TABLE_GET_MANY = 32,
    TABLE_OPEN = 33,
    TABLE_OUTBOX = 40,
    TABLE_OUTBOX_OLDEST = 41
};

enum table_returns {
    TABLE_RETURNS_NONE = 0,
    TABLE_RETURNS_ALL_OLD = 1,
    TABLE_RETURNS_ALL_NEW = 2,
    TABLE_RETURNS_UPDATED_OLD = 3, /* only what the update names */
    TABLE_RETURNS_UPDATED_NEW = 4
};

enum table_outcome {
    TABLE_DONE = 0,
    TABLE_CONDITION_FAILED = 1, /* nothing changed */
    TABLE_MALFORMED = 2,        /* no command or query of ours: nothing changed */
    TABLE_CORRUPT = 3,          /* the stored row is damaged: nothing changed */
    TABLE_INDEX_TYPE = 4,       /* an update gives an index key an unfit type: nothing changed */
    TABLE_INDEX_EMPTY = 5,      /* ... no bytes: nothing changed */
    TABLE_INDEX_TOO_LARGE = 6,  /* ... too many: nothing changed */
    TABLE_INDEX_HASH_TOO_LARGE = 7,
    TABLE_INDEX_BACKLOG = 8,    /* too many changes wait for other shards: nothing changed */
    TABLE_UPDATE_FAULT = 16,    /* + enum item_update_fault: nothing changed */
    TABLE_LOCKED = 64,          /* a transaction holds the row: nothing changed */
    TABLE_LOCKED_BY_TOKEN = 65, /* ... one with the same token */
    TABLE_CANCELLED = 66,       /* of a transaction: the parts tell why; nothing changed */
    TABLE_MISMATCH = 67,        /* the token was used with other parameters: nothing changed */
    TABLE_ALREADY = 68,         /* this transaction was done before: nothing changed */
    TABLE_ABORTED = 69          /* DECIDE: it is decided, and not done */
};

enum table_projection { /* what an index has of an item; in the catalogue: never renumber */
                        TABLE_PROJECTION_ALL = 0,
                        TABLE_PROJECTION_KEYS_ONLY = 1,
                        TABLE_PROJECTION_INCLUDE = 2
};

enum table_index_status { /* of a global index; in the catalogue: never renumber */
                          TABLE_INDEX_ACTIVE = 0,
                          TABLE_INDEX_CREATING = 1, /* kept, and rows from before are being added */
                          TABLE_INDEX_DELETING = 2  /* not kept, its rows are being removed */
};

#define TABLE_TRANSACTION_BYTES_MAX (4u << 20) /* of all items of a GET_MANY, by item_size */
#define TABLE_PAGE_BYTES_MAX (1024u * 1024)    /* what a range looks at, by item_size */

extern const struct shard_engine table_engine;

#endif
