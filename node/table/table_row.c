#include "node/table/table_row.h"

#include "node/table/expression.h"
#include "node/table/item_update.h"
#include "node/table/table_key.h"
#include "proto/base/check.h"

/* A reply that says nothing but "done" packs to no bytes at all. */
void table_reply_put(struct buffer *reply, const Skein__Wire__TableReply *message)
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

/* ---- looking at the row ---------------------------------------------------------------------- */

static bool needs_old(const struct table_row *row)
{
    const Skein__Wire__TableCommand *command = row->command;

    return command->kind == TABLE_UPDATE || command->condition.len > 0 ||
           command->returns != TABLE_RETURNS_NONE || command->wants_sizes ||
           command->n_index_sorts > 0 || table_global_exists(row->state, command);
}

/* A row that is not there counts as one without attributes. */
static struct item_value attributes_of(struct slice item)
{
    static const uint8_t none[4];

    if (item.size == 0)
        return (struct item_value){ITEM_M, slice_of(none, sizeof(none))};
    return item_root(item);
}

static enum table_outcome load_old(struct table_row *row)
{
    enum error rc = shard_get(row->state, row->key, &row->old);

    row->knows_old = true;
    if (rc == ERR_NOT_FOUND)
        return TABLE_DONE;
    if (rc != OK || item_check(buffer_slice(&row->old)) != OK)
        return TABLE_CORRUPT;
    row->reply.old_bytes = item_size_whole(buffer_slice(&row->old));
    return TABLE_DONE;
}

static enum table_outcome check_condition(struct table_row *row)
{
    struct item_value attributes = attributes_of(buffer_slice(&row->old));
    bool holds = true;

    if (row->command->condition.len > 0 &&
        expression_holds(field(&row->command->condition), &attributes, &holds) != OK)
        return TABLE_MALFORMED;
    if (holds)
        return TABLE_DONE;
    if (row->command->returns_on_failure && row->old.size > 0) {
        row->reply.has_item = true;
        row->reply.item = field_of(buffer_slice(&row->old));
    }
    return TABLE_CONDITION_FAILED;
}

/* What the command gives back of the old or new item. */
static void fill_returns(struct table_row *row, struct slice new)
{
    enum table_returns returns = (enum table_returns)row->command->returns;
    bool is_old = returns == TABLE_RETURNS_ALL_OLD || returns == TABLE_RETURNS_UPDATED_OLD;
    struct slice item = is_old ? buffer_slice(&row->old) : new;

    if (returns == TABLE_RETURNS_NONE || item.size == 0)
        return;
    if (returns == TABLE_RETURNS_UPDATED_OLD || returns == TABLE_RETURNS_UPDATED_NEW) {
        struct reader reader = reader_of(field(&row->command->update));
        struct item_value attributes = item_root(item);
        struct arena arena;
        struct expression_paths paths;

        arena_init(&arena);
        paths = item_update_paths(&reader, &arena);
        expression_project(&paths, &attributes, &row->parts);
        arena_close(&arena);
        item = buffer_slice(&row->parts);
        if (item_count(&(struct item_value){ITEM_M, item_root(item).bytes}) == 0)
            return;
    }
    row->reply.has_item = true;
    row->reply.item = field_of(item);
}

/* ---- indexes: the local ones are beside the row ---------------------------------------------- */

/* What the index with this number sorts the item by; false when it does not have the item. */
static bool find_index_value(const struct table_row *row, size_t number, struct slice item,
                             struct item_value *value)
{
    const Skein__Wire__TableAttribute *sort = row->command->index_sorts[number];
    struct item_value attributes = attributes_of(item);

    return item_find(&attributes, slice_text(sort->name), value);
}

static enum table_outcome check_index_values(const struct table_row *row, struct slice item)
{
    struct item_value value;

    for (size_t i = 0; i < row->command->n_index_sorts; i++) {
        if (!find_index_value(row, i, item, &value))
            continue;
        if (value.type != (enum item_type)row->command->index_sorts[i]->type)
            return TABLE_INDEX_TYPE;
        if (value.bytes.size == 0)
            return TABLE_INDEX_EMPTY;
        if (value.bytes.size > TABLE_SORT_BYTES_MAX)
            return TABLE_INDEX_TOO_LARGE;
    }
    return row->is_promised ? TABLE_DONE : table_global_check(row->state, row->command, item);
}

static void put_index_key(const struct table_row *row, size_t number, struct slice item,
                          struct buffer *key)
{
    struct item_value value;

    buffer_clear(key);
    if (find_index_value(row, number, item, &value))
        table_key_put_index_row(key, row->key, row->command->hash_bytes, number, &value);
}

/* The index rows of the item that was there give way to those of the `new` one, if any. */
static void change_indexes(struct table_row *row, struct slice new)
{
    struct buffer old_key = BUFFER_INIT(BUFFER_UNLIMITED);
    struct buffer new_key = BUFFER_INIT(BUFFER_UNLIMITED);

    for (size_t i = 0; i < row->command->n_index_sorts; i++) {
        put_index_key(row, i, buffer_slice(&row->old), &old_key);
        put_index_key(row, i, new, &new_key);
        if (slice_equal(buffer_slice(&old_key), buffer_slice(&new_key)))
            continue;
        if (old_key.size > 0)
            shard_delete(row->state, buffer_slice(&old_key));
        if (new_key.size > 0)
            shard_put(row->state, buffer_slice(&new_key), row->key);
    }
    buffer_close(&old_key);
    buffer_close(&new_key);
}

static void change_global_indexes(struct table_row *row)
{
    if (!table_global_exists(row->state, row->command))
        return;
    if (!row->knows_old && load_old(row) != TABLE_DONE) /* it has indexes since it was decided */
        buffer_clear(&row->old);
    table_global_change(row->state, row->command, buffer_slice(&row->old), row->after, &row->use);
    if (!row->command->wants_sizes)
        return;
    row->reply.index_numbers = row->use.numbers;
    row->reply.n_index_numbers = row->use.count;
    row->reply.index_units = row->use.units;
    row->reply.n_index_units = row->use.count;
}

/* ---- deciding, then storing ----------------------------------------------------------------- */

static enum table_outcome decide_put(struct table_row *row)
{
    row->after = field(&row->command->item);
    row->changes = true;
    if (row->command->wants_sizes)
        row->reply.new_bytes = item_size_whole(row->after);
    return check_index_values(row, row->after);
}

static enum table_outcome decide_update(struct table_row *row)
{
    struct slice before = buffer_slice(&row->old);
    enum item_update_fault fault;

    if (before.size == 0 && !row->command->may_create)
        return TABLE_DONE;
    if (before.size == 0)
        before = field(&row->command->item);
    if (row->command->update.len == 0) {
        buffer_put_slice(&row->new, before);
    } else {
        fault = item_update_apply(field(&row->command->update), before, &row->new);
        if (fault == ITEM_UPDATE_MALFORMED)
            return TABLE_MALFORMED;
        if (fault != ITEM_UPDATE_OK)
            return (enum table_outcome)(TABLE_UPDATE_FAULT + (int)fault);
    }
    row->after = buffer_slice(&row->new);
    row->changes = true;
    row->reply.new_bytes = item_size_whole(row->after);
    return check_index_values(row, row->after);
}

static enum table_outcome decide(struct table_row *row)
{
    switch ((int)row->command->kind) {
    case TABLE_PUT:
        return decide_put(row);
    case TABLE_UPDATE:
        return decide_update(row);
    case TABLE_DELETE:
        row->changes = true;
        return TABLE_DONE;
    case TABLE_CHECK:
        return TABLE_DONE;
    default:
        return TABLE_MALFORMED;
    }
}

static bool has_item(const Skein__Wire__TableCommand *command)
{
    return command->kind == TABLE_PUT || command->kind == TABLE_UPDATE;
}

enum table_outcome table_row_decide(struct table_row *row)
{
    enum table_outcome outcome = TABLE_DONE;

    if (has_item(row->command) && item_check(field(&row->command->item)) != OK)
        return TABLE_MALFORMED;
    if (needs_old(row)) {
        outcome = load_old(row);
        if (outcome == TABLE_DONE)
            outcome = check_condition(row);
    }
    if (outcome == TABLE_DONE)
        outcome = decide(row);
    if (outcome == TABLE_DONE && (row->changes || row->old.size > 0))
        fill_returns(row, row->after);
    return outcome;
}

void table_row_store(struct table_row *row)
{
    if (!row->changes)
        return;
    change_indexes(row, row->after);
    change_global_indexes(row);
    if (row->after.size > 0)
        shard_put(row->state, row->key, row->after);
    else
        shard_delete(row->state, row->key);
}

/* ---- life ------------------------------------------------------------------------------------ */

void table_row_open(struct table_row *row, struct shard_state *state,
                    const Skein__Wire__TableCommand *command)
{
    *row = (struct table_row){.state = state,
                              .command = command,
                              .key = field(&command->key),
                              .old = BUFFER_INIT(BUFFER_UNLIMITED),
                              .new = BUFFER_INIT(BUFFER_UNLIMITED),
                              .parts = BUFFER_INIT(BUFFER_UNLIMITED)};
    skein__wire__table_reply__init(&row->reply);
}

void table_row_close(struct table_row *row)
{
    buffer_close(&row->old);
    buffer_close(&row->new);
    buffer_close(&row->parts);
}

bool table_row_is_key(struct slice key)
{
    return key.size > 1 + TABLE_ID_BYTES && key.size <= TABLE_KEY_BYTES_MAX;
}

bool table_row_is_command(const Skein__Wire__TableCommand *command)
{
    bool is_change = command->kind >= TABLE_PUT && command->kind <= TABLE_UPDATE;

    return (is_change || command->kind == TABLE_CHECK) && table_row_is_key(field(&command->key)) &&
           command->n_index_sorts <= TABLE_INDEXES_MAX &&
           command->hash_bytes <= command->key.len - 1 - TABLE_ID_BYTES;
}
