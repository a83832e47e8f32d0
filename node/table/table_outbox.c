#include "node/table/table_outbox.h"

#include "node/table/table_global.h"
#include "node/table/table_key.h"
#include "node/table/table_row.h"
#include "proto/base/check.h"

#define SPACE_ENTRIES 0x0A
#define SPACE_TAKEN 0x0B
#define KEY_PLACE SLICE_LITERAL("\x0C")
#define TARGET_KEY_BYTES 5
#define ENTRY_KEY_BYTES 13

struct table_outbox_target {
    uint64_t first; /* no entry for it has a smaller sequence */
    uint64_t count;
};

static void put_number(uint8_t *to, uint64_t number, int bytes)
{
    for (int i = 0; i < bytes; i++)
        to[i] = (uint8_t)(number >> (8 * (bytes - 1 - i)));
}

static uint64_t number_in(const uint8_t *from, int bytes)
{
    uint64_t number = 0;

    for (int i = 0; i < bytes; i++)
        number = number << 8 | from[i];
    return number;
}

static struct slice entry_key(uint8_t key[ENTRY_KEY_BYTES], uint32_t target, uint64_t sequence)
{
    key[0] = SPACE_ENTRIES;
    put_number(key + 1, target, 4);
    put_number(key + TARGET_KEY_BYTES, sequence, 8);
    return slice_of(key, ENTRY_KEY_BYTES);
}

static uint32_t target_in(struct slice key)
{
    return (uint32_t)number_in(key.data + 1, 4);
}

static uint64_t sequence_in(struct slice key)
{
    return number_in(key.data + TARGET_KEY_BYTES, 8);
}

static bool is_entry_key(struct slice key)
{
    return key.size == ENTRY_KEY_BYTES && key.data[0] == SPACE_ENTRIES;
}

/* ---- the counts ------------------------------------------------------------------------------ */

static struct table_memory *counts_of(struct shard_state *state)
{
    struct table_memory *memory = table_memory_of(state);
    struct buffer place = BUFFER_INIT(3 * sizeof(uint64_t));

    if (!memory->knows_outbox && shard_get(state, KEY_PLACE, &place) == OK) {
        struct reader reader = reader_of(buffer_slice(&place));

        memory->sequence = reader_u64(&reader);
        memory->entry_count = reader_u64(&reader);
        memory->entry_bytes = reader_u64(&reader);
    }
    memory->knows_outbox = true;
    buffer_close(&place);
    return memory;
}

static void put_counts(struct shard_state *state, const struct table_memory *memory)
{
    struct buffer place = BUFFER_INIT(3 * sizeof(uint64_t));

    buffer_put_u64(&place, memory->sequence);
    buffer_put_u64(&place, memory->entry_count);
    buffer_put_u64(&place, memory->entry_bytes);
    shard_put(state, KEY_PLACE, buffer_slice(&place));
    buffer_close(&place);
}

bool table_outbox_is_full(struct shard_state *state)
{
    return counts_of(state)->entry_bytes > TABLE_OUTBOX_BYTES_MAX;
}

uint64_t table_outbox_sequence(struct shard_state *state)
{
    return counts_of(state)->sequence;
}

/* ---- targets: what saves a walk from passing over all that has been trimmed -------------------
 */

static struct table_outbox_target *target_of(struct table_memory *memory, uint32_t shard,
                                             uint64_t first)
{
    struct table_outbox_target *target = map_find_u64(&memory->targets, shard);

    if (target != NULL)
        return target;
    target = check_calloc(1, sizeof(*target));
    target->first = first;
    (void)map_set_u64(&memory->targets, shard, target);
    return target;
}

/* Once; then kept in line with what is put and trimmed. */
static void find_targets(struct shard_cursor *cursor, struct table_memory *memory)
{
    uint8_t key[ENTRY_KEY_BYTES];

    if (memory->knows_targets)
        return;
    memory->knows_targets = true;
    for (shard_cursor_seek(cursor, entry_key(key, 0, 0));
         shard_cursor_valid(cursor) && is_entry_key(shard_cursor_key(cursor));
         shard_cursor_next(cursor)) {
        struct slice found = shard_cursor_key(cursor);

        target_of(memory, target_in(found), sequence_in(found))->count++;
    }
}

static void remove_entry(struct shard_state *state, struct table_memory *memory, struct slice key,
                         size_t bytes)
{
    struct table_outbox_target *target = map_find_u64(&memory->targets, target_in(key));

    memory->entry_count--;
    memory->entry_bytes -= bytes;
    if (target != NULL && memory->knows_targets)
        target->count--;
    shard_delete(state, key);
}

void table_outbox_forget(struct table_memory *memory)
{
    struct map_entry *entry;
    size_t i = 0;

    while ((entry = map_next(&memory->targets, &i)) != NULL)
        free(entry->value);
    map_close(&memory->targets);
}

/* ---- changing -------------------------------------------------------------------------------- */

void table_outbox_put(struct shard_state *state, uint32_t target, struct slice row_key,
                      struct slice row)
{
    struct table_memory *memory = counts_of(state);
    struct buffer entry = BUFFER_INIT(BUFFER_UNLIMITED);
    uint8_t key[ENTRY_KEY_BYTES];

    buffer_put_u8(&entry, row.data != NULL);
    buffer_put_u32(&entry, (uint32_t)row_key.size);
    buffer_put_slice(&entry, row_key);
    buffer_put_slice(&entry, row);
    memory->sequence++;
    memory->entry_count++;
    memory->entry_bytes += entry.size;
    if (memory->knows_targets)
        target_of(memory, target, memory->sequence)->count++;
    shard_put(state, entry_key(key, target, memory->sequence), buffer_slice(&entry));
    put_counts(state, memory);
    shard_signal(state);
    buffer_close(&entry);
}

void table_outbox_trim(struct shard_state *state, const Skein__Wire__TableCommand *command)
{
    struct table_memory *memory = counts_of(state);
    struct table_outbox_target *target = map_find_u64(&memory->targets, command->target);
    struct buffer entry = BUFFER_INIT(BUFFER_UNLIMITED);

    for (size_t i = 0; i < command->n_sequences; i++) {
        uint8_t key[ENTRY_KEY_BYTES];
        struct slice found = entry_key(key, command->target, command->sequences[i]);

        buffer_clear(&entry);
        if (shard_get(state, found, &entry) == OK)
            remove_entry(state, memory, found, entry.size);
        /* They were the oldest for this target, with none left out. */
        if (target != NULL && target->first <= command->sequences[i])
            target->first = command->sequences[i] + 1;
    }
    put_counts(state, memory);
    buffer_close(&entry);
}

size_t table_outbox_find(struct shard_cursor *cursor, struct shard_state *state,
                         struct slice table_id, size_t limit, struct buffer *keys)
{
    uint8_t key[ENTRY_KEY_BYTES];
    size_t count = 0;

    if (counts_of(state)->entry_count == 0)
        return 0;
    for (shard_cursor_seek(cursor, entry_key(key, 0, 0));
         shard_cursor_valid(cursor) && is_entry_key(shard_cursor_key(cursor)) && count < limit;
         shard_cursor_next(cursor)) {
        struct slice found = shard_cursor_key(cursor);
        struct reader reader = reader_of(shard_cursor_value(cursor));
        struct slice about = {0};
        uint32_t number;

        (void)reader_u8(&reader);
        if (!table_key_read_global(reader_bytes(&reader, reader_u32(&reader)), &about, &number) ||
            !slice_equal(about, table_id))
            continue;
        buffer_put_u32(keys, (uint32_t)found.size);
        buffer_put_slice(keys, found);
        count++;
    }
    return count;
}

void table_outbox_remove(struct shard_state *state, struct slice keys)
{
    struct table_memory *memory = counts_of(state);
    struct buffer entry = BUFFER_INIT(BUFFER_UNLIMITED);
    struct reader reader = reader_of(keys);

    while (reader.rest.size > 0) {
        struct slice key = reader_bytes(&reader, reader_u32(&reader));

        buffer_clear(&entry);
        if (shard_get(state, key, &entry) == OK)
            remove_entry(state, memory, key, entry.size);
    }
    if (keys.size > 0)
        put_counts(state, memory);
    buffer_close(&entry);
}

/* ---- reading --------------------------------------------------------------------------------- */

static bool is_busy(const Skein__Wire__TableQuery *query, uint32_t target)
{
    for (size_t i = 0; i < query->n_targets; i++)
        if (query->targets[i] == target)
            return true;
    return false;
}

/* At the oldest entry for the target; false when there is none. */
static bool seek_oldest(struct shard_cursor *cursor, uint32_t target,
                        const struct table_outbox_target *known)
{
    uint8_t key[ENTRY_KEY_BYTES];

    shard_cursor_seek(cursor, entry_key(key, target, known->first));
    return shard_cursor_valid(cursor) && is_entry_key(shard_cursor_key(cursor)) &&
           target_in(shard_cursor_key(cursor)) == target;
}

static void read_target(struct shard_cursor *cursor, uint32_t target,
                        const struct table_outbox_target *known,
                        const Skein__Wire__TableQuery *query, struct buffer *batches)
{
    size_t at = batches->size + 4;
    uint32_t count = 0;
    size_t bytes;

    if (!seek_oldest(cursor, target, known))
        return;
    buffer_put_u32(batches, target);
    buffer_put_u32(batches, 0);
    for (; shard_cursor_valid(cursor) && count < query->row_limit; shard_cursor_next(cursor)) {
        struct slice key = shard_cursor_key(cursor);
        struct slice entry = shard_cursor_value(cursor);

        if (!is_entry_key(key) || target_in(key) != target ||
            (count > 0 && batches->size - at + entry.size > query->bytes_limit))
            break;
        count++;
        buffer_put_u64(batches, sequence_in(key));
        buffer_put_u32(batches, (uint32_t)entry.size);
        buffer_put_slice(batches, entry);
    }
    bytes = batches->size - at - 4;
    for (unsigned i = 0; i < 4; i++)
        batches->data[at + i] = (uint8_t)(bytes >> (8 * i));
}

void table_outbox_read(struct shard_state *state, const Skein__Wire__TableQuery *query,
                       struct buffer *batches)
{
    struct table_memory *memory = counts_of(state);
    struct shard_cursor *cursor;
    struct map_entry *entry;
    size_t i = 0;

    if (memory->entry_count == 0)
        return;
    cursor = shard_cursor_open(state);
    find_targets(cursor, memory);
    while ((entry = map_next(&memory->targets, &i)) != NULL) {
        const struct table_outbox_target *known = entry->value;
        uint64_t target;

        memcpy(&target, entry->key.data, sizeof(target));
        if (known->count > 0 && !is_busy(query, (uint32_t)target) &&
            batches->size < TABLE_PAGE_BYTES_MAX)
            read_target(cursor, (uint32_t)target, known, query, batches);
    }
    shard_cursor_close(cursor);
}

uint64_t table_outbox_oldest(struct shard_state *state)
{
    struct table_memory *memory = counts_of(state);
    uint64_t oldest = memory->sequence + 1;
    struct shard_cursor *cursor;
    struct map_entry *entry;
    size_t i = 0;

    if (memory->entry_count == 0)
        return oldest;
    cursor = shard_cursor_open(state);
    find_targets(cursor, memory);
    while ((entry = map_next(&memory->targets, &i)) != NULL) {
        const struct table_outbox_target *known = entry->value;
        uint64_t target;

        memcpy(&target, entry->key.data, sizeof(target));
        if (known->count > 0 && seek_oldest(cursor, (uint32_t)target, known) &&
            sequence_in(shard_cursor_key(cursor)) < oldest)
            oldest = sequence_in(shard_cursor_key(cursor));
    }
    shard_cursor_close(cursor);
    return oldest;
}

/* ---- in the target --------------------------------------------------------------------------- */

static bool is_well_formed(struct slice entries)
{
    struct reader reader = reader_of(entries);

    while (reader.rest.size > 0 && reader.ok) {
        struct reader entry;
        struct slice id;
        uint32_t number;
        bool is_put;

        (void)reader_u64(&reader);
        entry = reader_of(reader_bytes(&reader, reader_u32(&reader)));
        is_put = reader_u8(&entry) != 0;
        if (!table_key_read_global(reader_bytes(&entry, reader_u32(&entry)), &id, &number) ||
            !entry.ok || (is_put && item_check(entry.rest) != OK))
            return false;
    }
    return reader.ok;
}

static void take_entry(struct shard_state *state, struct slice entry)
{
    struct reader reader = reader_of(entry);
    bool is_put = reader_u8(&reader) != 0;
    struct slice key = reader_bytes(&reader, reader_u32(&reader));

    if (table_global_is_gone(state, key))
        return;
    if (is_put)
        shard_put(state, key, reader.rest);
    else
        shard_delete(state, key);
}

enum table_outcome table_outbox_take(struct shard_state *state,
                                     const Skein__Wire__TableCommand *command)
{
    struct buffer taken = BUFFER_INIT(sizeof(uint64_t));
    struct reader reader = reader_of(field(&command->entries));
    uint8_t key[TARGET_KEY_BYTES] = {SPACE_TAKEN};
    uint64_t last = 0;

    if (!is_well_formed(field(&command->entries)))
        return TABLE_MALFORMED;
    put_number(key + 1, command->source, 4);
    if (shard_get(state, slice_of(key, sizeof(key)), &taken) == OK)
        last = reader_u64(&(struct reader){buffer_slice(&taken), true});
    while (reader.rest.size > 0) {
        uint64_t sequence = reader_u64(&reader);
        struct slice entry = reader_bytes(&reader, reader_u32(&reader));

        if (sequence <= last)
            continue;
        take_entry(state, entry);
        last = sequence;
    }
    buffer_clear(&taken);
    buffer_put_u64(&taken, last);
    shard_put(state, slice_of(key, sizeof(key)), buffer_slice(&taken));
    buffer_close(&taken);
    return TABLE_DONE;
}
