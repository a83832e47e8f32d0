#include "node/table/table_engine.h"

#include "node/table/expression.h"
#include "node/table/item_update.h"
#include "node/table/table_key.h"
#include "proto/base/check.h"
#include "proto/wire/table.pb-c.h"

static struct slice field(const ProtobufCBinaryData *bytes)
{
    return slice_of(bytes->data, bytes->len);
}

static ProtobufCBinaryData field_of(struct slice bytes)
{
    return (ProtobufCBinaryData){bytes.size, (uint8_t *)(uintptr_t)bytes.data};
}

/* A reply that says nothing but "done" packs to no bytes at all. */
static void put_reply(struct buffer *reply, const Skein__Wire__TableReply *message)
{
    size_t size = skein__wire__table_reply__get_packed_size(message);

    if (size == 0)
        return;
    if (buffer_reserve(reply, size) != OK) { /* an answer all the same, and a short one */
        Skein__Wire__TableReply failure = SKEIN__WIRE__TABLE_REPLY__INIT;
        uint8_t packed[16];

        failure.outcome = TABLE_CORRUPT;
        buffer_put(reply, packed, skein__wire__table_reply__pack(&failure, packed));
        return;
    }
    reply->size += skein__wire__table_reply__pack(message, reply->data + reply->size);
}

static void put_outcome(struct buffer *reply, enum table_outcome outcome)
{
    Skein__Wire__TableReply message = SKEIN__WIRE__TABLE_REPLY__INIT;

    message.outcome = outcome;
    put_reply(reply, &message);
}

/* ---- commands on one row ------------------------------------------------------------------- */

struct row_change { /* a command at work */
    struct shard_state *state;
    const Skein__Wire__TableCommand *command;
    struct slice key;
    struct buffer old;   /* the row as it was, empty when there is none */
    struct buffer new;   /* as it will be, when it differs from the command's item */
    struct buffer parts; /* of either: what the update names */
    Skein__Wire__TableReply reply;
};

static bool needs_old(const Skein__Wire__TableCommand *command)
{
    return command->kind == TABLE_UPDATE || command->condition.len > 0 ||
           command->returns != TABLE_RETURNS_NONE || command->wants_sizes ||
           command->n_index_sorts > 0;
}

/* A row that is not there counts as one without attributes. */
static struct item_value attributes_of(struct slice item)
{
    static const uint8_t none[4];

    if (item.size == 0)
        return (struct item_value){ITEM_M, slice_of(none, sizeof(none))};
    return item_root(item);
}

static enum table_outcome load_old(struct row_change *change)
{
    enum error rc = shard_get(change->state, change->key, &change->old);

    if (rc == ERR_NOT_FOUND)
        return TABLE_DONE;
    if (rc != OK || item_check(buffer_slice(&change->old)) != OK)
        return TABLE_CORRUPT;
    change->reply.old_bytes = item_size_whole(buffer_slice(&change->old));
    return TABLE_DONE;
}

static enum table_outcome check_condition(struct row_change *change)
{
    struct item_value attributes = attributes_of(buffer_slice(&change->old));
    bool holds = true;

    if (change->command->condition.len > 0 &&
        expression_holds(field(&change->command->condition), &attributes, &holds) != OK)
        return TABLE_MALFORMED;
    if (holds)
        return TABLE_DONE;
    if (change->command->returns_on_failure && change->old.size > 0) {
        change->reply.has_item = true;
        change->reply.item = field_of(buffer_slice(&change->old));
    }
    return TABLE_CONDITION_FAILED;
}

/* What the command gives back of the old or new item. */
static void fill_returns(struct row_change *change, struct slice new)
{
    enum table_returns returns = (enum table_returns)change->command->returns;
    bool is_old = returns == TABLE_RETURNS_ALL_OLD || returns == TABLE_RETURNS_UPDATED_OLD;
    struct slice item = is_old ? buffer_slice(&change->old) : new;

    if (returns == TABLE_RETURNS_NONE || item.size == 0)
        return;
    if (returns == TABLE_RETURNS_UPDATED_OLD || returns == TABLE_RETURNS_UPDATED_NEW) {
        struct reader reader = reader_of(field(&change->command->update));
        struct item_value attributes = item_root(item);
        struct arena arena;
        struct expression_paths paths;

        arena_init(&arena);
        paths = item_update_paths(&reader, &arena);
        expression_project(&paths, &attributes, &change->parts);
        arena_close(&arena);
        item = buffer_slice(&change->parts);
        if (item_count(&(struct item_value){ITEM_M, item_root(item).bytes}) == 0)
            return;
    }
    change->reply.has_item = true;
    change->reply.item = field_of(item);
}

/* ---- local indexes ------------------------------------------------------------------------- */

/* What the index with this number sorts the item by; false when it does not have the item. */
static bool find_index_value(const struct row_change *change, size_t number, struct slice item,
                             struct item_value *value)
{
    const Skein__Wire__TableAttribute *sort = change->command->index_sorts[number];
    struct item_value attributes = attributes_of(item);

    return item_find(&attributes, slice_text(sort->name), value);
}

static enum table_outcome check_index_values(const struct row_change *change, struct slice item)
{
    struct item_value value;

    for (size_t i = 0; i < change->command->n_index_sorts; i++) {
        if (!find_index_value(change, i, item, &value))
            continue;
        if (value.type != (enum item_type)change->command->index_sorts[i]->type)
            return TABLE_INDEX_TYPE;
        if (value.bytes.size == 0)
            return TABLE_INDEX_EMPTY;
        if (value.bytes.size > TABLE_SORT_BYTES_MAX)
            return TABLE_INDEX_TOO_LARGE;
    }
    return TABLE_DONE;
}

static void put_index_key(const struct row_change *change, size_t number, struct slice item,
                          struct buffer *key)
{
    struct item_value value;

    buffer_clear(key);
    if (find_index_value(change, number, item, &value))
        table_key_put_index_row(key, change->key, change->command->hash_bytes, number, &value);
}

/* The index rows of the item that was there give way to those of the `new` one, if any. */
static void change_indexes(struct row_change *change, struct slice new)
{
    struct buffer old_key = BUFFER_INIT(BUFFER_UNLIMITED);
    struct buffer new_key = BUFFER_INIT(BUFFER_UNLIMITED);

    for (size_t i = 0; i < change->command->n_index_sorts; i++) {
        put_index_key(change, i, buffer_slice(&change->old), &old_key);
        put_index_key(change, i, new, &new_key);
        if (slice_equal(buffer_slice(&old_key), buffer_slice(&new_key)))
            continue;
        if (old_key.size > 0)
            shard_delete(change->state, buffer_slice(&old_key));
        if (new_key.size > 0)
            shard_put(change->state, buffer_slice(&new_key), change->key);
    }
    buffer_close(&old_key);
    buffer_close(&new_key);
}

/* ---- the changes --------------------------------------------------------------------------- */

static enum table_outcome put_row(struct row_change *change)
{
    struct slice item = field(&change->command->item);
    enum table_outcome outcome = check_index_values(change, item);

    if (outcome != TABLE_DONE)
        return outcome;
    if (change->command->wants_sizes)
        change->reply.new_bytes = item_size_whole(item);
    fill_returns(change, item);
    change_indexes(change, item);
    shard_put(change->state, change->key, item);
    return TABLE_DONE;
}

static enum table_outcome delete_row(struct row_change *change)
{
    fill_returns(change, slice_of(NULL, 0));
    change_indexes(change, slice_of(NULL, 0));
    shard_delete(change->state, change->key);
    return TABLE_DONE;
}

static enum table_outcome update_row(struct row_change *change)
{
    struct slice before = buffer_slice(&change->old);
    enum item_update_fault fault;
    enum table_outcome outcome;

    if (before.size == 0 && !change->command->may_create)
        return TABLE_DONE;
    if (before.size == 0)
        before = field(&change->command->item);
    if (change->command->update.len == 0) {
        buffer_put_slice(&change->new, before);
    } else {
        fault = item_update_apply(field(&change->command->update), before, &change->new);
        if (fault == ITEM_UPDATE_MALFORMED)
            return TABLE_MALFORMED;
        if (fault != ITEM_UPDATE_OK)
            return (enum table_outcome)(TABLE_UPDATE_FAULT + (int)fault);
    }
    outcome = check_index_values(change, buffer_slice(&change->new));
    if (outcome != TABLE_DONE)
        return outcome;
    change->reply.new_bytes = item_size_whole(buffer_slice(&change->new));
    fill_returns(change, buffer_slice(&change->new));
    change_indexes(change, buffer_slice(&change->new));
    shard_put(change->state, change->key, buffer_slice(&change->new));
    return TABLE_DONE;
}

static enum table_outcome change_row(struct row_change *change)
{
    enum table_command_kind kind = (enum table_command_kind)change->command->kind;
    enum table_outcome outcome;

    if (kind != TABLE_DELETE && item_check(field(&change->command->item)) != OK)
        return TABLE_MALFORMED;
    if (needs_old(change->command)) {
        outcome = load_old(change);
        if (outcome == TABLE_DONE)
            outcome = check_condition(change);
        if (outcome != TABLE_DONE)
            return outcome;
    }
    if (kind == TABLE_PUT)
        return put_row(change);
    return kind == TABLE_DELETE ? delete_row(change) : update_row(change);
}

static void apply_row(struct shard_state *state, const Skein__Wire__TableCommand *command,
                      struct buffer *reply)
{
    struct row_change change = {.state = state,
                                .command = command,
                                .key = field(&command->key),
                                .old = BUFFER_INIT(BUFFER_UNLIMITED),
                                .new = BUFFER_INIT(BUFFER_UNLIMITED),
                                .parts = BUFFER_INIT(BUFFER_UNLIMITED)};

    skein__wire__table_reply__init(&change.reply);
    change.reply.outcome = change_row(&change);
    put_reply(reply, &change.reply);
    buffer_close(&change.old);
    buffer_close(&change.new);
    buffer_close(&change.parts);
}

/* ---- dropping a table, a piece at a time ---------------------------------------------------- */

/* Gathers the keys with this prefix, each after its u32 size, as long as the piece has room. */
static void gather_keys(struct shard_cursor *cursor, struct slice prefix, uint32_t limit,
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

static void apply_drop(struct shard_state *state, const Skein__Wire__TableCommand *command,
                       struct buffer *reply)
{
    Skein__Wire__TableReply message = SKEIN__WIRE__TABLE_REPLY__INIT;
    struct shard_cursor *cursor = shard_cursor_open(state);
    struct buffer index_prefix = BUFFER_INIT(1 + TABLE_ID_BYTES);
    struct buffer keys =
        BUFFER_INIT(BUFFER_UNLIMITED); /* of the piece: put nothing while walking */
    struct reader reader;

    table_key_put_index(&index_prefix, command->key.data + 1, TABLE_INDEXES_MAX);
    gather_keys(cursor, field(&command->key), command->row_limit, &keys, &message);
    gather_keys(cursor, buffer_slice(&index_prefix), command->row_limit, &keys, &message);
    shard_cursor_close(cursor);
    buffer_close(&index_prefix);
    reader = reader_of(buffer_slice(&keys));
    while (reader.rest.size > 0) {
        uint32_t size = reader_u32(&reader);

        shard_delete(state, reader_bytes(&reader, size));
    }
    buffer_close(&keys);
    put_reply(reply, &message);
}

static bool is_row_key(struct slice key)
{
    return key.size > 1 + TABLE_ID_BYTES && key.size <= TABLE_KEY_BYTES_MAX;
}

static bool is_row_command(const Skein__Wire__TableCommand *command)
{
    return command->kind >= TABLE_PUT && command->kind <= TABLE_UPDATE &&
           is_row_key(field(&command->key)) && command->n_index_sorts <= TABLE_INDEXES_MAX &&
           command->hash_bytes <= command->key.len - 1 - TABLE_ID_BYTES;
}

static void table_engine_apply(struct shard_state *state, const struct shard_moment *moment,
                               struct slice bytes, struct buffer *reply)
{
    Skein__Wire__TableCommand *command =
        skein__wire__table_command__unpack(NULL, bytes.size, bytes.data);

    (void)moment;
    if (command != NULL && is_row_command(command))
        apply_row(state, command, reply);
    else if (command != NULL && command->kind == TABLE_DROP &&
             command->key.len == 1 + TABLE_ID_BYTES && command->row_limit > 0)
        apply_drop(state, command, reply);
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

static void read_row(struct shard_state *state, const Skein__Wire__TableQuery *query,
                     struct arena *arena, struct buffer *reply)
{
    Skein__Wire__TableReply message = SKEIN__WIRE__TABLE_REPLY__INIT;
    struct buffer row = BUFFER_INIT(BUFFER_UNLIMITED);
    struct buffer part = BUFFER_INIT(BUFFER_UNLIMITED);
    struct expression_paths paths;
    enum error rc = shard_get(state, field(&query->key), &row);

    if (!read_paths(&query->projection, arena, &paths)) {
        message.outcome = TABLE_MALFORMED;
    } else if (rc == OK && item_check(buffer_slice(&row)) == OK) {
        message.has_item = true;
        message.old_bytes = item_size_whole(buffer_slice(&row));
        message.item = field_of(buffer_slice(&row));
        if (paths.count > 0) {
            put_projected(&part, buffer_slice(&row), &paths);
            message.item = field_of(buffer_slice(&part));
        }
    } else if (rc != ERR_NOT_FOUND) {
        message.outcome = TABLE_CORRUPT;
    }
    put_reply(reply, &message);
    buffer_close(&row);
    buffer_close(&part);
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
        if (!is_row_key(*item) || shard_get(state, *item, &page->row) != OK)
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
        put_reply(reply, &page.reply);
    } else {
        put_outcome(reply, outcome);
    }
    buffer_close(&page.row);
    buffer_close(&page.projected);
    buffer_close(&page.rows);
    buffer_close(&page.last);
    buffer_close(&page.position);
}

static void table_engine_read(struct shard_state *state, struct slice bytes, struct buffer *reply)
{
    Skein__Wire__TableQuery *query = skein__wire__table_query__unpack(NULL, bytes.size, bytes.data);
    struct arena arena;

    arena_init(&arena);
    if (query != NULL && query->kind == TABLE_GET && is_row_key(field(&query->key)))
        read_row(state, query, &arena, reply);
    else if (query != NULL && query->kind == TABLE_RANGE && query->key.len > TABLE_ID_BYTES &&
             query->end.len > 0)
        read_range(state, query, &arena, reply);
    else
        put_outcome(reply, TABLE_MALFORMED);
    arena_close(&arena);
    skein__wire__table_query__free_unpacked(query, NULL);
}

const struct shard_engine table_engine = {
    .id = SHARD_ENGINE_TABLE, .apply = table_engine_apply, .read = table_engine_read};
