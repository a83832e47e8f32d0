/* A change of one row: first decided, then stored. Inside of the engine (table_engine.h).
 *
 * Deciding reads the row, checks the condition and makes the new item; storing puts it there, with
 * all that follows from it (indexes). Every change of an item, by itself or in a transaction, goes
 * through table_row_store, and nothing else puts rows. */

#ifndef NODE_TABLE_TABLE_ROW_H
#define NODE_TABLE_TABLE_ROW_H

#include "node/table/table_engine.h"
#include "node/table/table_global.h"
#include "proto/wire/table.pb-c.h"

struct table_row { /* a command at work; borrows it */
    struct shard_state *state;
    const Skein__Wire__TableCommand *command;
    struct slice key;
    struct buffer old;   /* the row as it was, empty when there is none, or when nobody asks */
    struct buffer new;   /* as it will be, when it differs from the command's item */
    struct buffer parts; /* of either: what the update names */
    struct slice after;  /* the new row; empty: there will be none */
    bool changes;        /* there is something to store */
    bool knows_old;      /* `old` was read */
    bool is_promised; /* to a transaction that is done: global indexes may not refuse it any more */
    struct table_global_use use;   /* what it costs the global indexes */
    Skein__Wire__TableReply reply; /* borrows from the buffers */
};

void table_row_open(struct table_row *row, struct shard_state *state,
                    const Skein__Wire__TableCommand *command);
/* Fills the reply but for its outcome, which it gives. Changes nothing. */
enum table_outcome table_row_decide(struct table_row *row);
/* After TABLE_DONE. */
void table_row_store(struct table_row *row);
void table_row_close(struct table_row *row);

bool table_row_is_key(struct slice key);
/* A well-formed change of one row. */
bool table_row_is_command(const Skein__Wire__TableCommand *command);

void table_reply_put(struct buffer *reply, const Skein__Wire__TableReply *message);

static inline struct slice field(const ProtobufCBinaryData *bytes)
{
    return slice_of(bytes->data, bytes->len);
}

static inline ProtobufCBinaryData field_of(struct slice bytes)
{
    return (ProtobufCBinaryData){bytes.size, (uint8_t *)(uintptr_t)bytes.data};
}

#endif
