#include "node/table/table_drop.h"

#include "node/table/table_global.h"
#include "node/table/table_key.h"
#include "node/table/table_outbox.h"
#include "node/table/table_row.h"

void table_drop_gather(struct shard_cursor *cursor, struct slice prefix, uint32_t limit,
                       struct buffer *keys, Skein__Wire__TableReply *reply)
{
    for (shard_cursor_seek(cursor, prefix); shard_cursor_valid(cursor); shard_cursor_next(cursor)) {
        struct slice key = shard_cursor_key(cursor);

        if (!slice_starts_with(key, prefix))
            return;
        if (reply->scanned == limit) {
            reply->has_more = true;
            return;
        }
        reply->scanned++;
        buffer_put_u32(keys, (uint32_t)key.size);
        buffer_put_slice(keys, key);
    }
}

void table_drop_keys(struct shard_state *state, struct slice keys)
{
    struct reader reader = reader_of(keys);

    while (reader.rest.size > 0) {
        uint32_t size = reader_u32(&reader);

        shard_delete(state, reader_bytes(&reader, size));
    }
}

void table_drop_apply(struct shard_state *state, const Skein__Wire__TableCommand *command,
                      Skein__Wire__TableReply *reply)
{
    const uint8_t *table_id = command->key.data + 1;
    struct shard_cursor *cursor = shard_cursor_open(state);
    struct buffer prefix = BUFFER_INIT(1 + TABLE_ID_BYTES);
    struct buffer keys = BUFFER_INIT(BUFFER_UNLIMITED); /* put nothing while walking */
    struct buffer entries = BUFFER_INIT(BUFFER_UNLIMITED);

    table_drop_gather(cursor, field(&command->key), command->row_limit, &keys, reply);
    table_key_put_index(&prefix, table_id, TABLE_INDEXES_MAX);
    table_drop_gather(cursor, buffer_slice(&prefix), command->row_limit, &keys, reply);
    buffer_clear(&prefix);
    table_key_put_global(&prefix, table_id, UINT32_MAX);
    table_drop_gather(cursor, buffer_slice(&prefix), command->row_limit, &keys, reply);
    if (table_outbox_find(cursor, state, slice_of(table_id, TABLE_ID_BYTES), command->row_limit,
                          &entries) == command->row_limit)
        reply->has_more = true;
    shard_cursor_close(cursor);
    table_drop_keys(state, buffer_slice(&keys));
    table_outbox_remove(state, buffer_slice(&entries));
    table_global_remove(state, table_id);
    buffer_close(&prefix);
    buffer_close(&keys);
    buffer_close(&entries);
}
