/* One DynamoDB request at work: what the files of its operations share. */

#ifndef NODE_AWS_DYNAMODB_CALL_H
#define NODE_AWS_DYNAMODB_CALL_H

#include "node/aws/dynamodb.h"
#include "node/aws/dynamodb_shape.h"
#include "node/table/table_engine.h"
#include "node/table/table_key.h"
#include "node/table/transaction.h"
#include "node/table/transaction_recovery.h"
#include "proto/base/json_write.h"
#include "proto/base/map.h"
#include "proto/wire/table.pb-c.h"

#define DYNAMODB_DEADLINE_MS 20000 /* shorter than the time-outs of the SDKs */

struct dynamodb_drop;
struct dynamodb_builder;

struct dynamodb {
    struct dynamodb_options with;
    struct view_listener listener;
    struct map tables; /* by name: struct dynamodb_table, one reference each */
    struct list calls;
    struct dynamodb_drop *drop;
    struct dynamodb_builder *builder;
    struct transactions *transactions;
    struct transaction_recovery *recovery;
};

/* A table as of one revision of its record. Counted references: a call keeps the one it began with.
 */
struct dynamodb_table {
    size_t references;
    uint64_t revision;
    Skein__Wire__Table *record;
    struct table_schema schema;
    struct table_schema index_schemas[TABLE_INDEXES_MAX]; /* of the local indexes, by number */
    Skein__Wire__TableAttribute *index_sorts[TABLE_INDEXES_MAX];
    struct table_schema global_schemas[TABLE_GLOBAL_INDEXES_MAX]; /* by position in the record */
    struct buffer indexes; /* packed for commands; made when first needed */
};

struct dynamodb_call {
    struct list link; /* in the calls of the service */
    struct dynamodb *dynamodb;
    struct aws_request *request;
    struct arena *arena;          /* of the exchange; the call itself lies in it */
    json_t *input;                /* the request's document; what is parsed borrows from it */
    struct dynamodb_table *table; /* held, or NULL */
    /* The call ends, answered or not: withdraw what is in flight, free what is not in the arena. */
    void (*release)(struct dynamodb_call *call);
};

/* An operation. `start` answers the call, now or later, exactly once, by one of the functions
 * below. */
struct dynamodb_operation {
    const char *name;
    const struct shape *members; /* of the request */
    size_t call_bytes;           /* of the struct that begins with a dynamodb_call; zeroed */
    void (*start)(struct dynamodb_call *call);
};

/* Ended by a NULL name. */
extern const struct dynamodb_operation dynamodb_table_operations[];
extern const struct dynamodb_operation dynamodb_describe_operations[];
extern const struct dynamodb_operation dynamodb_item_operations[];
extern const struct dynamodb_operation dynamodb_range_operations[];
extern const struct dynamodb_operation dynamodb_batch_operations[];
extern const struct dynamodb_operation dynamodb_transact_write_operations[];
extern const struct dynamodb_operation dynamodb_transact_get_operations[];

/* ---- answering: the last thing done with a call ---- */

/* `body` is taken. */
void dynamodb_answer(struct dynamodb_call *call, struct buffer *body);
/* 400 with an exception of the service. */
void dynamodb_refuse(struct dynamodb_call *call, const char *code, const char *message);
/* The same with more members: `extra` is JSON without braces. */
void dynamodb_refuse_with(struct dynamodb_call *call, const char *code, const char *message,
                          struct slice extra);
void dynamodb_invalid(struct dynamodb_call *call, const char *message);
/* A failure of the router or of the catalogue. */
void dynamodb_fail(struct dynamodb_call *call, enum error rc);
/* An outcome of the table engine (table_engine.h) other than TABLE_DONE. */
void dynamodb_fail_outcome(struct dynamodb_call *call, const Skein__Wire__TableReply *reply);
/* The service's words for a change that the item does not allow; NULL for any other outcome. */
const char *dynamodb_outcome_text(enum table_outcome outcome);

/* ---- the request ---- */

/* A member of the request; NULL when absent or null. */
const json_t *dynamodb_member(const struct dynamodb_call *call, const char *name);
const char *dynamodb_text(const struct dynamodb_call *call, const char *name);
bool dynamodb_flag(const struct dynamodb_call *call, const char *name, bool missing);
bool dynamodb_text_is(const struct dynamodb_call *call, const char *name, const char *value);

/* Sets and holds call->table. False: there is none of that name, or no catalogue yet; the call was
 * answered. */
bool dynamodb_find_table(struct dynamodb_call *call, const char *name);
struct dynamodb_table *dynamodb_table_hold(struct dynamodb_table *table);
void dynamodb_table_release(struct dynamodb_table *table);

/* ---- keys ---- */

/* All give NULL, or why the service refuses them. */
const char *dynamodb_check_item_key(struct arena *arena, const struct table_schema *schema,
                                    struct slice item);
/* A key in the form of an item: the attributes of the schema, and no others unless it may. */
const char *dynamodb_check_key(struct arena *arena, const struct table_schema *schema,
                               struct slice key, bool may_have_more);
/* A Key: exactly the attributes of the schema. Appends it as an item. */
const char *dynamodb_read_key(struct arena *arena, const struct table_schema *schema,
                              const json_t *key, struct buffer *item);

/* The attributes of a checked item that are keys of indexes: fit for that? */
const char *dynamodb_check_index_keys(struct arena *arena, const struct dynamodb_table *table,
                                      struct slice item);

/* Appends the row key of a checked item and gives its shard. */
uint32_t dynamodb_row_key(struct dynamodb *dynamodb, const struct dynamodb_table *table,
                          struct slice item, struct buffer *key);
/* The same for a change of the row: also fills in what the table's indexes need to follow it. The
 * command borrows `key` and the table. */
uint32_t dynamodb_place_command(struct dynamodb *dynamodb, struct dynamodb_table *table,
                                struct slice item, struct buffer *key,
                                Skein__Wire__TableCommand *command);

/* ---- capacity ---- */

uint64_t dynamodb_read_half_units(uint64_t bytes, bool is_strong);
uint64_t dynamodb_write_half_units(uint64_t bytes);
/* The member ConsumedCapacity, if the request wants it. */
void dynamodb_write_capacity(struct json_write *json, const struct dynamodb_call *call,
                             uint64_t half_units);
bool dynamodb_wants_capacity(const struct dynamodb_call *call);
/* {"TableName":..,"CapacityUnits":..} */
void dynamodb_write_units(struct json_write *json, const char *table, uint64_t half_units,
                          bool has_indexes);
/* What changes of a table took, in half units. */
struct dynamodb_use {
    uint64_t half_units;                                 /* the table itself */
    uint64_t index_half_units[TABLE_GLOBAL_INDEXES_MAX]; /* by position in the record */
};

/* Adds what the reply to a change says of the global indexes. */
void dynamodb_add_index_use(struct dynamodb_use *use, const struct dynamodb_table *table,
                            const Skein__Wire__TableReply *reply);
void dynamodb_write_use(struct json_write *json, const struct dynamodb_table *table,
                        const struct dynamodb_use *use, bool has_indexes);
/* {"CapacityUnits":..} */
void dynamodb_write_part_units(struct json_write *json, uint64_t half_units);

#endif
