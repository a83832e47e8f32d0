#include "node/table/table_global.h"

#include "node/shard/shard_choice.h"
#include "node/table/expression.h"
#include "node/table/table_drop.h"
#include "node/table/table_outbox.h"
#include "node/table/table_row.h"
#include "proto/base/check.h"

#define SPACE_GLOBAL 0x09
#define KEY_BYTES (1 + TABLE_ID_BYTES)
#define KNOWN_MAX 4096 /* tables whose indexes are kept in memory */
#define BACKFILL_BYTES_MAX (512u << 10)
#define WRITE_UNIT_BYTES 1024u

struct global_index {
    uint32_t number;
    struct table_schema schema;
    struct expression_paths projection; /* none: whole items */
};

struct table_global {                   /* what a shard knows of a table's indexes */
    Skein__Wire__TableIndexes *message; /* NULL: none */
    struct arena arena;
    struct global_index indexes[TABLE_GLOBAL_INDEXES_MAX];
    size_t count;
};

/* ---- what is known --------------------------------------------------------------------------- */

static struct slice global_key(uint8_t key[KEY_BYTES], const uint8_t *table_id)
{
    key[0] = SPACE_GLOBAL;
    memcpy(key + 1, table_id, TABLE_ID_BYTES);
    return slice_of(key, KEY_BYTES);
}

static void global_free(struct table_global *global)
{
    if (global == NULL)
        return;
    if (global->message != NULL)
        skein__wire__table_indexes__free_unpacked(global->message, NULL);
    arena_close(&global->arena);
    free(global);
}

static bool makes_sense(const Skein__Wire__TableIndexes *message)
{
    if (message == NULL || message->n_indexes > TABLE_GLOBAL_INDEXES_MAX ||
        message->shard_count == 0 || message->n_key_names > TABLE_KEY_PARTS_MAX)
        return false;
    for (size_t i = 0; i < message->n_indexes; i++)
        if (message->indexes[i]->n_keys == 0 || message->indexes[i]->n_keys > TABLE_KEY_PARTS_MAX)
            return false;
    return true;
}

static void add_path(struct arena *arena, struct expression_paths *paths, const char *name)
{
    struct expression_step *step = arena_alloc(arena, sizeof(*step));

    for (size_t i = 0; i < paths->count; i++)
        if (slice_equal_text(paths->paths[i].steps[0].name, name))
            return;
    step->name = slice_text(name);
    paths->paths[paths->count++] = (struct expression_path){step, 1};
}

static struct expression_paths projection_of(struct arena *arena,
                                             const Skein__Wire__TableIndexes *message,
                                             const Skein__Wire__TableGlobalIndex *index)
{
    struct expression_paths paths = {0};

    if (index->projection == TABLE_PROJECTION_ALL)
        return paths;
    paths.paths = arena_alloc(arena, (message->n_key_names + index->n_keys + index->n_included) *
                                         sizeof(*paths.paths));
    for (size_t i = 0; i < message->n_key_names; i++)
        add_path(arena, &paths, message->key_names[i]);
    for (size_t i = 0; i < index->n_keys; i++)
        add_path(arena, &paths, index->keys[i]->name);
    for (size_t i = 0; i < index->n_included; i++)
        add_path(arena, &paths, index->included[i]);
    return paths;
}

/* Of none when the bytes make no sense. */
static struct table_global *global_of(struct slice packed)
{
    struct table_global *global = check_calloc(1, sizeof(*global));
    Skein__Wire__TableIndexes *message =
        packed.size > 0 ? skein__wire__table_indexes__unpack(NULL, packed.size, packed.data) : NULL;

    arena_init(&global->arena);
    if (!makes_sense(message)) {
        if (message != NULL)
            skein__wire__table_indexes__free_unpacked(message, NULL);
        return global;
    }
    global->message = message;
    for (size_t i = 0; i < message->n_indexes; i++) {
        const Skein__Wire__TableGlobalIndex *from = message->indexes[i];
        struct global_index *index = &global->indexes[global->count++];

        index->number = from->number;
        index->schema.part_count = from->n_keys;
        for (size_t k = 0; k < from->n_keys; k++)
            index->schema.parts[k] = (struct table_key_part){slice_text(from->keys[k]->name),
                                                             (enum item_type)from->keys[k]->type};
        index->projection = projection_of(&global->arena, message, from);
    }
    return global;
}

static uint64_t epoch_of(const struct table_global *global)
{
    return global->message != NULL ? global->message->epoch : 0;
}

/* Valid until the next one is learned. */
static const struct table_global *known(struct shard_state *state, const uint8_t *table_id)
{
    struct table_memory *memory = table_memory_of(state);
    struct slice id = slice_of(table_id, TABLE_ID_BYTES);
    struct table_global *global = map_find(&memory->globals, id);
    struct buffer packed = BUFFER_INIT(BUFFER_UNLIMITED);
    uint8_t key[KEY_BYTES];

    if (global != NULL)
        return global;
    if (memory->globals.count >= KNOWN_MAX)
        table_global_forget(memory);
    if (shard_get(state, global_key(key, table_id), &packed) != OK)
        buffer_clear(&packed);
    global = global_of(buffer_slice(&packed));
    (void)map_set(&memory->globals, id, global);
    buffer_close(&packed);
    return global;
}

/* What counts for this command: what is known, or what it brings. The latter is in `*brought`, for
 * global_free. */
static const struct table_global *newest(struct shard_state *state,
                                         const Skein__Wire__TableCommand *command,
                                         struct table_global **brought)
{
    const struct table_global *global = known(state, command->key.data + 1);

    *brought = NULL;
    if (command->index_epoch <= epoch_of(global))
        return global;
    *brought = global_of(field(&command->indexes));
    return epoch_of(*brought) == command->index_epoch ? *brought : global;
}

static const struct table_global *learn(struct shard_state *state,
                                        const Skein__Wire__TableCommand *command)
{
    struct table_memory *memory = table_memory_of(state);
    const uint8_t *table_id = command->key.data + 1;
    struct table_global *brought;
    const struct table_global *global = newest(state, command, &brought);
    uint8_t key[KEY_BYTES];

    if (brought == NULL || global != brought) {
        global_free(brought);
        return global;
    }
    shard_put(state, global_key(key, table_id), field(&command->indexes));
    global_free(map_set(&memory->globals, slice_of(table_id, TABLE_ID_BYTES), brought));
    return brought;
}

void table_global_forget(struct table_memory *memory)
{
    struct map_entry *entry;
    size_t i = 0;

    while ((entry = map_next(&memory->globals, &i)) != NULL)
        global_free(entry->value);
    map_close(&memory->globals);
}

void table_global_remove(struct shard_state *state, const uint8_t table_id[TABLE_ID_BYTES])
{
    uint8_t key[KEY_BYTES];

    if (known(state, table_id)->message == NULL)
        return;
    shard_delete(state, global_key(key, table_id));
    global_free(map_remove(&table_memory_of(state)->globals, slice_of(table_id, TABLE_ID_BYTES)));
}

bool table_global_is_gone(struct shard_state *state, struct slice key)
{
    const struct table_global *global;
    struct slice table_id;
    uint32_t number;

    if (!table_key_read_global(key, &table_id, &number))
        return true;
    global = known(state, table_id.data);
    if (global->message == NULL || number >= global->message->number_next)
        return false;
    for (size_t i = 0; i < global->count; i++)
        if (global->indexes[i].number == number)
            return false;
    return true;
}

/* ---- checking -------------------------------------------------------------------------------- */

bool table_global_exists(struct shard_state *state, const Skein__Wire__TableCommand *command)
{
    return command->index_epoch > 0 || known(state, command->key.data + 1)->count > 0;
}

static enum table_outcome check_part(const struct table_schema *schema, size_t part,
                                     const struct item_value *attributes)
{
    struct item_value value;

    if (!item_find(attributes, schema->parts[part].name, &value))
        return TABLE_DONE;
    if (value.type != schema->parts[part].type)
        return TABLE_INDEX_TYPE;
    if (value.bytes.size == 0)
        return TABLE_INDEX_EMPTY;
    if (part == 0)
        return value.bytes.size > TABLE_HASH_BYTES_MAX ? TABLE_INDEX_HASH_TOO_LARGE : TABLE_DONE;
    return value.bytes.size > TABLE_SORT_BYTES_MAX ? TABLE_INDEX_TOO_LARGE : TABLE_DONE;
}

enum table_outcome table_global_check(struct shard_state *state,
                                      const Skein__Wire__TableCommand *command, struct slice item)
{
    struct item_value attributes = item_root(item);
    enum table_outcome outcome = TABLE_DONE;
    struct table_global *brought;
    const struct table_global *global = newest(state, command, &brought);

    for (size_t i = 0; i < global->count && outcome == TABLE_DONE; i++)
        for (size_t k = 0; k < global->indexes[i].schema.part_count && outcome == TABLE_DONE; k++)
            outcome = check_part(&global->indexes[i].schema, k, &attributes);
    if (outcome == TABLE_DONE && global->count > 0 && table_outbox_is_full(state))
        outcome = TABLE_INDEX_BACKLOG;
    global_free(brought);
    return outcome;
}

/* ---- changing -------------------------------------------------------------------------------- */

struct image {           /* of an item in an index */
    struct buffer key;   /* empty: the index does not have it */
    struct buffer parts; /* what the projection leaves */
    struct slice row;
    uint32_t shard;
};

static void image_init(struct image *image)
{
    *image = (struct image){.key = BUFFER_INIT(BUFFER_UNLIMITED),
                            .parts = BUFFER_INIT(BUFFER_UNLIMITED)};
}

static void image_close(struct image *image)
{
    buffer_close(&image->key);
    buffer_close(&image->parts);
}

static void image_make(struct image *image, const struct table_global *global,
                       const struct global_index *index, struct slice row_key, struct slice item)
{
    struct item_value attributes;
    struct slice partition;
    size_t part;

    buffer_clear(&image->key);
    buffer_clear(&image->parts);
    image->row = slice_of(NULL, 0);
    if (item.size == 0)
        return;
    attributes = item_root(item);
    if (table_key_check(&index->schema, &attributes, &part) != TABLE_KEY_OK)
        return;
    table_key_put_global_row(&image->key, row_key, index->number, &index->schema, &attributes,
                             &partition);
    image->shard = shard_choice(global->message->shard_count,
                                slice_of(row_key.data + 1, TABLE_ID_BYTES), partition);
    image->row = item;
    if (index->projection.count > 0) {
        expression_project(&index->projection, &attributes, &image->parts);
        image->row = buffer_slice(&image->parts);
    }
}

static uint64_t units_of(const struct image *image)
{
    if (image->key.size == 0)
        return 0;
    return (item_size_whole(image->row) + WRITE_UNIT_BYTES - 1) / WRITE_UNIT_BYTES;
}

/* Gives the write units it takes. */
static uint64_t change_image(struct shard_state *state, const struct image *old,
                             const struct image *new)
{
    bool stays = slice_equal(buffer_slice(&old->key), buffer_slice(&new->key));

    if (stays && slice_equal(old->row, new->row))
        return 0;
    if (old->key.size > 0 && !stays)
        table_outbox_put(state, old->shard, buffer_slice(&old->key), slice_of(NULL, 0));
    if (new->key.size > 0)
        table_outbox_put(state, new->shard, buffer_slice(&new->key), new->row);
    if (!stays)
        return units_of(old) + units_of(new);
    return units_of(old) > units_of(new) ? units_of(old) : units_of(new);
}

void table_global_change(struct shard_state *state, const Skein__Wire__TableCommand *command,
                         struct slice old, struct slice new, struct table_global_use *use)
{
    const struct table_global *global = learn(state, command);
    struct image before;
    struct image after;

    image_init(&before);
    image_init(&after);
    for (size_t i = 0; i < global->count; i++) {
        uint64_t units;

        image_make(&before, global, &global->indexes[i], field(&command->key), old);
        image_make(&after, global, &global->indexes[i], field(&command->key), new);
        units = change_image(state, &before, &after);
        if (units > 0 && use != NULL) {
            use->numbers[use->count] = global->indexes[i].number;
            use->units[use->count++] = units;
        }
    }
    image_close(&before);
    image_close(&after);
}

/* ---- filling and emptying an index ----------------------------------------------------------- */

/* The rows of a piece: keys and items, each after its u32 size. */
static void gather_rows(struct shard_cursor *cursor, const Skein__Wire__TableCommand *command,
                        Skein__Wire__TableReply *reply, struct buffer *rows,
                        struct buffer *position)
{
    struct slice prefix = slice_of(command->key.data, 1 + TABLE_ID_BYTES);

    for (shard_cursor_seek(cursor, field(&command->key)); shard_cursor_valid(cursor);
         shard_cursor_next(cursor)) {
        struct slice key = shard_cursor_key(cursor);
        struct slice item = shard_cursor_value(cursor);

        if (!slice_starts_with(key, prefix))
            return;
        if (reply->scanned == command->row_limit || rows->size > BACKFILL_BYTES_MAX) {
            reply->has_more = true;
            buffer_put_slice(position, key);
            return;
        }
        reply->scanned++;
        if (item_check(item) != OK)
            continue; /* damaged: found and told when it is read */
        buffer_put_u32(rows, (uint32_t)key.size);
        buffer_put_slice(rows, key);
        buffer_put_u32(rows, (uint32_t)item.size);
        buffer_put_slice(rows, item);
    }
}

static const struct global_index *find_index(const struct table_global *global, uint32_t number)
{
    for (size_t i = 0; i < global->count; i++)
        if (global->indexes[i].number == number)
            return &global->indexes[i];
    return NULL;
}

void table_global_backfill(struct shard_state *state, const Skein__Wire__TableCommand *command,
                           Skein__Wire__TableReply *reply, struct buffer *position)
{
    struct buffer rows = BUFFER_INIT(BUFFER_UNLIMITED);
    struct shard_cursor *cursor = shard_cursor_open(state);
    const struct table_global *global;
    const struct global_index *index;
    struct reader reader;
    struct image image;

    gather_rows(cursor, command, reply, &rows, position);
    shard_cursor_close(cursor);
    global = learn(state, command);
    index = find_index(global, command->index_number);
    if (index == NULL)
        reply->has_more = false; /* removed meanwhile */
    image_init(&image);
    reader = reader_of(buffer_slice(&rows));
    while (reader.rest.size > 0 && index != NULL) {
        struct slice key = reader_bytes(&reader, reader_u32(&reader));
        struct slice item = reader_bytes(&reader, reader_u32(&reader));

        image_make(&image, global, index, key, item);
        if (image.key.size > 0)
            table_outbox_put(state, image.shard, buffer_slice(&image.key), image.row);
    }
    reply->sequence = table_outbox_sequence(state);
    image_close(&image);
    buffer_close(&rows);
}

void table_global_drop(struct shard_state *state, const Skein__Wire__TableCommand *command,
                       Skein__Wire__TableReply *reply)
{
    struct buffer prefix = BUFFER_INIT(BUFFER_UNLIMITED);
    struct buffer keys = BUFFER_INIT(BUFFER_UNLIMITED);
    struct shard_cursor *cursor = shard_cursor_open(state);

    table_key_put_global(&prefix, command->key.data + 1, command->index_number);
    table_drop_gather(cursor, buffer_slice(&prefix), command->row_limit, &keys, reply);
    shard_cursor_close(cursor);
    (void)learn(state, command);
    table_drop_keys(state, buffer_slice(&keys));
    buffer_close(&keys);
    buffer_close(&prefix);
}
