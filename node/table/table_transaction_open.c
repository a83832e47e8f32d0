/* The OPEN query: what is left for others to finish. */

#include "node/table/table_row.h"
#include "node/table/table_transaction_record.h"
#include "proto/base/arena.h"

#define LOOKED_AT_MAX 1024

struct listing { /* an OPEN query at work */
    struct shard_state *state;
    struct shard_cursor *cursor;
    struct arena arena;
    Skein__Wire__TableReply reply;
};

static void add_open(struct listing *listing, struct slice attempt, uint32_t coordinator,
                     struct slice shards, Skein__Wire__TableOpen **list, size_t *count)
{
    Skein__Wire__TableOpen *open;
    struct reader reader = reader_of(shards);

    if (*count == TABLE_OPEN_MAX)
        return;
    open = arena_alloc(&listing->arena, sizeof(*open));
    skein__wire__table_open__init(open);
    open->attempt = field_of(arena_copy(&listing->arena, attempt));
    open->coordinator = coordinator;
    open->shards = arena_alloc(&listing->arena, shards.size);
    while (reader.rest.size > 0)
        open->shards[open->n_shards++] = reader_u32(&reader);
    list[(*count)++] = open;
}

static void list_open(struct listing *listing)
{
    struct buffer first = table_record_key(TABLE_RECORD_OPEN, slice_of(NULL, 0));

    shard_cursor_seek(listing->cursor, buffer_slice(&first));
    for (size_t i = 0; i < LOOKED_AT_MAX && shard_cursor_valid(listing->cursor);
         i++, shard_cursor_next(listing->cursor)) {
        struct slice key = shard_cursor_key(listing->cursor);
        struct reader reader = reader_of(shard_cursor_value(listing->cursor));

        if (key.data[0] != TABLE_RECORD_OPEN)
            break;
        add_open(listing, slice_of(key.data + 1, key.size - 1), reader_u32(&reader),
                 slice_of(NULL, 0), listing->reply.open, &listing->reply.n_open);
    }
    buffer_close(&first);
}

static void list_left(struct listing *listing)
{
    struct table_minutes minutes = table_minutes_load(listing->state);
    struct buffer record = BUFFER_INIT(BUFFER_UNLIMITED);
    struct table_age age;

    table_age_seek(listing->cursor, &minutes);
    listing->reply.has_records = table_age_is_at(listing->cursor);
    for (size_t i = 0; i < LOOKED_AT_MAX && shard_cursor_valid(listing->cursor);
         i++, shard_cursor_next(listing->cursor)) {
        struct slice shards;
        uint64_t minute;

        if (!table_age_read(shard_cursor_key(listing->cursor), &minutes, &age))
            break;
        buffer_clear(&record);
        if (age.kind == TABLE_RECORD_DECISION &&
            table_record_get(listing->state, TABLE_RECORD_DECISION, age.rest, &record) &&
            table_decision_read(&record, &minute, &shards))
            add_open(listing, age.rest, 0, shards, listing->reply.left, &listing->reply.n_left);
    }
    buffer_close(&record);
}

void table_transaction_read_open(struct shard_state *state, struct buffer *reply)
{
    struct listing listing = {.state = state, .cursor = shard_cursor_open(state)};
    Skein__Wire__TableOpen *open[TABLE_OPEN_MAX];
    Skein__Wire__TableOpen *left[TABLE_OPEN_MAX];

    arena_init(&listing.arena);
    skein__wire__table_reply__init(&listing.reply);
    listing.reply.open = open;
    listing.reply.left = left;
    list_open(&listing);
    list_left(&listing);
    shard_cursor_close(listing.cursor);
    table_reply_put(reply, &listing.reply);
    arena_close(&listing.arena);
}
