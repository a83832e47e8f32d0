#include "node/table/table_engine.h"

#include "node/table/expression.h"
#include "node/table/table_drop.h"
#include "node/table/table_global.h"
#include "node/table/table_key.h"
#include "node/table/table_memory.h"
#include "node/table/table_outbox.h"
#include "node/table/table_row.h"
#include "node/table/table_transaction.h"
#include "proto/base/check.h"
#include "proto/wire/table.pb-c.h"

static void put_outcome(struct buffer *reply, enum table_outcome outcome)
{
    Skein__Wire__TableReply message = SKEIN__WIRE__TABLE_REPLY__INIT;

    message.outcome = outcome;
    table_reply_put(reply, &message);
}

static void apply_row(struct shard_state *state, const Skein__Wire__TableCommand *command,
                      struct buffer *reply)
{
    struct table_row row;

    table_row_open(&row, state, command);
    row.reply.outcome =
        table_transaction_locks(state, row.key) ? TABLE_LOCKED : table_row_decide(&row);
    if (row.reply.outcome == TABLE_DONE)
        table_row_store(&row);
    table_reply_put(reply, &row.reply);
    table_row_close(&row);
}

/* ---- what is not about one row --------------------------------------------------------------- */

static bool is_about_table(const Skein__Wire__TableCommand *command)
{
    bool is_piece = command->kind == TABLE_BACKFILL && command->key.len > 1 + TABLE_ID_BYTES;

    return (is_piece || command->key.len == 1 + TABLE_ID_BYTES) && command->row_limit > 0;
}

/* Global indexes, and dropping a table. */
static void apply_other(struct shard_state *state, const Skein__Wire__TableCommand *command,
                        struct buffer *reply)
{
    Skein__Wire__TableReply message = SKEIN__WIRE__TABLE_REPLY__INIT;
    struct buffer position = BUFFER_INIT(BUFFER_UNLIMITED);

    message.outcome = TABLE_DONE;
    if (command->kind == TABLE_DROP && is_about_table(command))
        table_drop_apply(state, command, &message);
    else if (command->kind == TABLE_DROP_INDEX && is_about_table(command))
        table_global_drop(state, command, &message);
    else if (command->kind == TABLE_BACKFILL && is_about_table(command))
        table_global_backfill(state, command, &message, &position);
    else if (command->kind == TABLE_INDEX_SENT)
        table_outbox_trim(state, command);
    else if (command->kind == TABLE_INDEX_ROWS)
        message.outcome = table_outbox_take(state, command);
    else
        message.outcome = TABLE_MALFORMED;
    message.position = field_of(buffer_slice(&position));
    table_reply_put(reply, &message);
    buffer_close(&position);
}

static void table_engine_apply(struct shard_state *state, const struct shard_moment *moment,
                               struct slice bytes, struct buffer *reply)
{
    Skein__Wire__TableCommand *command =
        skein__wire__table_command__unpack(NULL, bytes.size, bytes.data);

    (void)moment;
    if (command != NULL && table_row_is_command(command))
        apply_row(state, command, reply);
    else if (command != NULL && command->kind >= TABLE_EXECUTE && command->kind <= TABLE_FORGET)
        table_transaction_apply(state, moment, command, reply);
    else if (command != NULL)
        apply_other(state, command, reply);
    else
        put_outcome(reply, TABLE_MALFORMED);
    skein__wire__table_command__free_unpacked(command, NULL);
}

/* ---- reading ------------------------------------------------------------------------------- */

/* Appends the item, or the parts of it that `paths` name. */
static void put_projected(struct buffer *to, struct slice item,
                          const struct expression_paths *paths)
{
    struct item_value attributes = item_root(item);

    if (paths->count == 0)
        buffer_put_slice(to, item);
    else
        expression_project(paths, &attributes, to);
}

static bool read_paths(const ProtobufCBinaryData *bytes, struct arena *arena,
                       struct expression_paths *paths)
{
    struct reader reader = reader_of(field(bytes));

    *paths = (struct expression_paths){0};
    if (bytes->len > 0)
        *paths = expression_read_paths(&reader, arena);
    return reader.ok && reader.rest.size == 0;
}

struct got_row { /* a GET at work */
    struct buffer row;
    struct buffer part;
    Skein__Wire__TableReply reply; /* borrows from them */
};

static void get_row(struct shard_state *state, const Skein__Wire__TableQuery *query,
                    struct arena *arena, struct got_row *got)
{
    struct expression_paths paths;
    enum error rc;

    *got = (struct got_row){BUFFER_INIT(BUFFER_UNLIMITED), BUFFER_INIT(BUFFER_UNLIMITED),
                            SKEIN__WIRE__TABLE_REPLY__INIT};
    rc = shard_get(state, field(&query->key), &got->row);
    if (!read_paths(&query->projection, arena, &paths)) {
        got->reply.outcome = TABLE_MALFORMED;
    } else if (rc == OK && item_check(buffer_slice(&got->row)) == OK) {
        got->reply.has_item = true;
        got->reply.old_bytes = item_size_whole(buffer_slice(&got->row));
        got->reply.item = field_of(buffer_slice(&got->row));
        if (paths.count > 0) {
            put_projected(&got->part, buffer_slice(&got->row), &paths);
            got->reply.item = field_of(buffer_slice(&got->part));
        }
    } else if (rc != ERR_NOT_FOUND) {
        got->reply.outcome = TABLE_CORRUPT;
    }
}

static void close_got(struct got_row *got)
{
    buffer_close(&got->row);
    buffer_close(&got->part);
}

static void read_row(struct shard_state *state, const Skein__Wire__TableQuery *query,
                     struct arena *arena, struct buffer *reply)
{
    struct got_row got;

    get_row(state, query, arena, &got);
    table_reply_put(reply, &got.reply);
    close_got(&got);
}

/* Sizes are told of all; items, as long as a transaction may have so much. */
static void read_many(struct shard_state *state, const Skein__Wire__TableQuery *query,
                      struct arena *arena, struct buffer *reply)
{
    Skein__Wire__TableReply message = SKEIN__WIRE__TABLE_REPLY__INIT;
    struct got_row *rows = arena_alloc(arena, query->n_gets * sizeof(*rows));
    uint64_t bytes = 0;

    message.parts = arena_alloc(arena, query->n_gets * sizeof(struct Skein__Wire__TableReply *));
    message.n_parts = query->n_gets;
    for (size_t i = 0; i < query->n_gets; i++) {
        Skein__Wire__TableReply *part = &rows[i].reply;

        message.parts[i] = part;
        get_row(state, query->gets[i], arena, &rows[i]);
        part->changed = shard_changed(state, field(&query->gets[i]->key));
        if (table_transaction_locks(state, field(&query->gets[i]->key)))
            part->outcome = TABLE_LOCKED;
        bytes += part->old_bytes;
        if (bytes > TABLE_TRANSACTION_BYTES_MAX || query->count_only)
            part->item = field_of(slice_of(NULL, 0));
    }
    table_reply_put(reply, &message);
    for (size_t i = 0; i < query->n_gets; i++)
        close_got(&rows[i]);
}

struct page { /* a range at work */
    const Skein__Wire__TableQuery *query;
    struct shard_cursor *cursor;
    struct expression_paths projection;
    struct expression_paths position_paths;
    struct expression_paths index_projection;
    struct buffer row;       /* that an index row stands for */
    struct buffer projected; /* what the index has of it */
    struct buffer rows;
    struct buffer last; /* the row looked at last */
    struct buffer position;
    Skein__Wire__TableReply reply;
};

static bool is_inside(const struct page *page)
{
    struct slice key;

    if (!shard_cursor_valid(page->cursor))
        return false;
    key = shard_cursor_key(page->cursor);
    return slice_compare(key, field(&page->query->key)) >= 0 &&
           slice_compare(key, field(&page->query->end)) < 0;
}

static void seek_first(struct page *page)
{
    if (!page->query->is_backward) {
        shard_cursor_seek(page->cursor, field(&page->query->key));
        return;
    }
    shard_cursor_seek_last(page->cursor, field(&page->query->end));
    if (shard_cursor_valid(page->cursor) &&
        slice_equal(shard_cursor_key(page->cursor), field(&page->query->end)))
        shard_cursor_previous(page->cursor);
}

/* The row is one more of those looked at, and of the page when it passes the filter. */
static enum table_outcome take_row(struct page *page, struct slice item)
{
    struct item_value attributes = item_root(item);
    bool holds = true;

    page->reply.scanned++;
    if (page->query->filter.len > 0 &&
        expression_holds(field(&page->query->filter), &attributes, &holds) != OK)
        return TABLE_MALFORMED;
    if (!holds)
        return TABLE_DONE;
    page->reply.count++;
    if (!page->query->count_only) {
        size_t at = page->rows.size;
        size_t bytes;

        buffer_put_u32(&page->rows, 0);
        put_projected(&page->rows, item,
                      page->projection.count > 0 || page->query->wants_whole
                          ? &page->projection
                          : &page->index_projection);
        bytes = page->rows.size - at - 4;
        for (unsigned i = 0; i < 4; i++)
            page->rows.data[at + i] = (uint8_t)(bytes >> (8 * i));
    }
    return TABLE_DONE;
}

static bool is_full(const struct page *page, size_t next_bytes)
{
    const Skein__Wire__TableQuery *query = page->query;

    if (page->reply.scanned == 0)
        return false;
    if (query->row_limit > 0 && page->reply.scanned >= query->row_limit)
        return true;
    return page->reply.scanned_bytes + next_bytes > query->bytes_limit;
}

/* The item at the cursor, and its bytes as the table or the index has them. */
static enum table_outcome read_at_cursor(struct page *page, struct shard_state *state,
                                         struct slice *item, size_t *bytes)
{
    *item = shard_cursor_value(page->cursor);
    if (page->query->is_index) {
        buffer_clear(&page->row);
        if (!table_row_is_key(*item) || shard_get(state, *item, &page->row) != OK)
            return TABLE_CORRUPT;
        *item = buffer_slice(&page->row);
    }
    if (item_check(*item) != OK)
        return TABLE_CORRUPT;
    if (page->index_projection.count > 0) {
        buffer_clear(&page->projected);
        put_projected(&page->projected, *item, &page->index_projection);
        *bytes = item_size_whole(buffer_slice(&page->projected));
    } else {
        *bytes = item_size_whole(*item);
    }
    return TABLE_DONE;
}

static enum table_outcome read_page(struct page *page, struct shard_state *state)
{
    const Skein__Wire__TableQuery *query = page->query;

    for (seek_first(page); is_inside(page); query->is_backward ? shard_cursor_previous(page->cursor)
                                                               : shard_cursor_next(page->cursor)) {
        struct slice item;
        size_t bytes;
        enum table_outcome outcome = read_at_cursor(page, state, &item, &bytes);

        if (outcome != TABLE_DONE)
            return outcome;
        if (is_full(page, bytes)) {
            page->reply.has_more = true;
            break;
        }
        page->reply.scanned_bytes += bytes;
        if (query->wants_whole)
            page->reply.fetched_bytes += item_size_whole(item);
        outcome = take_row(page, item);
        if (outcome != TABLE_DONE)
            return outcome;
        buffer_clear(&page->last);
        buffer_put_slice(&page->last, item);
    }
    if (query->row_limit > 0 && page->reply.scanned >= query->row_limit)
        page->reply.has_more = true; /* told even when nothing follows, as it is not looked at */
    return TABLE_DONE;
}

static void read_range(struct shard_state *state, const Skein__Wire__TableQuery *query,
                       struct arena *arena, struct buffer *reply)
{
    struct page page = {.query = query,
                        .row = BUFFER_INIT(BUFFER_UNLIMITED),
                        .projected = BUFFER_INIT(BUFFER_UNLIMITED),
                        .rows = BUFFER_INIT(BUFFER_UNLIMITED),
                        .last = BUFFER_INIT(BUFFER_UNLIMITED),
                        .position = BUFFER_INIT(BUFFER_UNLIMITED)};
    enum table_outcome outcome = TABLE_MALFORMED;

    skein__wire__table_reply__init(&page.reply);
    page.cursor = shard_cursor_open(state);
    if (read_paths(&query->projection, arena, &page.projection) &&
        read_paths(&query->position_paths, arena, &page.position_paths) &&
        read_paths(&query->index_projection, arena, &page.index_projection))
        outcome = read_page(&page, state);
    shard_cursor_close(page.cursor);
    if (outcome == TABLE_DONE) {
        page.reply.rows = field_of(buffer_slice(&page.rows));
        if (page.reply.has_more) {
            put_projected(&page.position, buffer_slice(&page.last), &page.position_paths);
            page.reply.position = field_of(buffer_slice(&page.position));
        }
        table_reply_put(reply, &page.reply);
    } else {
        put_outcome(reply, outcome);
    }
    buffer_close(&page.row);
    buffer_close(&page.projected);
    buffer_close(&page.rows);
    buffer_close(&page.last);
    buffer_close(&page.position);
}

static void read_outbox(struct shard_state *state, const Skein__Wire__TableQuery *query,
                        struct buffer *reply)
{
    Skein__Wire__TableReply message = SKEIN__WIRE__TABLE_REPLY__INIT;
    struct buffer batches = BUFFER_INIT(BUFFER_UNLIMITED);

    if (query->kind == TABLE_OUTBOX)
        table_outbox_read(state, query, &batches);
    else
        message.sequence = table_outbox_oldest(state);
    message.rows = field_of(buffer_slice(&batches));
    table_reply_put(reply, &message);
    buffer_close(&batches);
}

static bool has_row_keys(const Skein__Wire__TableQuery *query)
{
    for (size_t i = 0; i < query->n_gets; i++)
        if (!table_row_is_key(field(&query->gets[i]->key)))
            return false;
    return query->n_gets > 0 && query->n_gets <= TABLE_ACTIONS_MAX;
}

static void table_engine_read(struct shard_state *state, struct slice bytes, struct buffer *reply)
{
    Skein__Wire__TableQuery *query = skein__wire__table_query__unpack(NULL, bytes.size, bytes.data);
    struct arena arena;

    arena_init(&arena);
    if (query != NULL && query->kind == TABLE_GET && table_row_is_key(field(&query->key)))
        read_row(state, query, &arena, reply);
    else if (query != NULL && query->kind == TABLE_GET_MANY && has_row_keys(query))
        read_many(state, query, &arena, reply);
    else if (query != NULL && query->kind == TABLE_OPEN)
        table_transaction_read_open(state, reply);
    else if (query != NULL && query->kind == TABLE_RANGE && query->key.len > TABLE_ID_BYTES &&
             query->end.len > 0)
        read_range(state, query, &arena, reply);
    else if (query != NULL && (query->kind == TABLE_OUTBOX || query->kind == TABLE_OUTBOX_OLDEST))
        read_outbox(state, query, reply);
    else
        put_outcome(reply, TABLE_MALFORMED);
    arena_close(&arena);
    skein__wire__table_query__free_unpacked(query, NULL);
}

const struct shard_engine table_engine = {
    .id = SHARD_ENGINE_TABLE,
    .apply = table_engine_apply,
    .read = table_engine_read,
    .forget = table_memory_forget,
};
