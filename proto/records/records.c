#include "proto/records/records.h"

#include "proto/base/check.h"

#define TAG_META 'm'
#define TAG_RECORD 'r'
#define RECORD_HEAD_BYTES 8 /* the revision in front of a stored value */

struct records {
    struct env *env;
    struct kv *kv;
    struct record **items; /* in order of key */
    size_t count;
    size_t capacity;
    size_t bytes;
    uint64_t revision;
    struct record **retired; /* replaced, maybe still looked at */
    size_t retired_count;
    size_t retired_capacity;
    struct list pins;
};

struct records_pin {
    struct list link;
    struct records *records;
    struct kv_snapshot *snapshot;
    uint64_t revision;
};

/* ---- one record ---- */

static struct record *record_new(struct slice key, struct slice value, uint64_t revision)
{
    struct record *record = check_malloc(sizeof(*record) + key.size + 1 + value.size);
    char *key_copy = (char *)(record + 1);
    uint8_t *value_copy = (uint8_t *)key_copy + key.size + 1;

    memcpy(key_copy, key.data, key.size);
    key_copy[key.size] = '\0';
    if (value.size > 0)
        memcpy(value_copy, value.data, value.size);
    *record = (struct record){key_copy, {value_copy, value.size}, revision};
    return record;
}

static size_t record_bytes(const struct record *record)
{
    return strlen(record->key) + record->value.size;
}

bool records_key_is_valid(struct slice key)
{
    if (key.size == 0 || key.size > RECORDS_KEY_BYTES_MAX)
        return false;
    for (size_t i = 0; i < key.size; i++)
        if (key.data[i] <= ' ' || key.data[i] > '~')
            return false;
    return true;
}

/* ---- the sorted array ---- */

size_t records_seek(const struct records *records, const char *key)
{
    size_t low = 0;
    size_t high = records->count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (strcmp(records->items[middle]->key, key) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

const struct record *records_at(const struct records *records, size_t place)
{
    return place < records->count ? records->items[place] : NULL;
}

const struct record *records_next(const struct records *records, const char *prefix, size_t *place)
{
    const struct record *record = records_at(records, *place);

    if (record == NULL || strncmp(record->key, prefix, strlen(prefix)) != 0)
        return NULL;
    (*place)++;
    return record;
}

const struct record *records_find(const struct records *records, const char *key)
{
    const struct record *record = records_at(records, records_seek(records, key));

    return record != NULL && strcmp(record->key, key) == 0 ? record : NULL;
}

uint64_t records_revision(const struct records *records)
{
    return records->revision;
}

size_t records_count(const struct records *records)
{
    return records->count;
}

size_t records_bytes(const struct records *records)
{
    return records->bytes;
}

struct kv *records_kv(const struct records *records)
{
    return records->kv;
}

static struct record **room_for_one(struct record **array, size_t count, size_t *capacity)
{
    if (count < *capacity)
        return array;
    *capacity = *capacity == 0 ? 64 : *capacity * 2;
    return check_realloc(array, *capacity * sizeof(struct record *));
}

static void retire(struct records *records, struct record *record)
{
    records->bytes -= record_bytes(record);
    records->retired =
        room_for_one(records->retired, records->retired_count, &records->retired_capacity);
    records->retired[records->retired_count++] = record;
}

bool records_needs_sweep(const struct records *records)
{
    return records->retired_count > 0;
}

void records_sweep(struct records *records)
{
    for (size_t i = 0; i < records->retired_count; i++)
        free(records->retired[i]);
    records->retired_count = 0;
}

/* Appends at the end in O(1), which is how a store is read. */
static void put(struct records *records, struct record *record)
{
    size_t place = records->count;

    if (place > 0 && strcmp(records->items[place - 1]->key, record->key) >= 0)
        place = records_seek(records, record->key);
    records->bytes += record_bytes(record);
    if (place < records->count && strcmp(records->items[place]->key, record->key) == 0) {
        retire(records, records->items[place]);
        records->items[place] = record;
        return;
    }
    records->items = room_for_one(records->items, records->count, &records->capacity);
    memmove(records->items + place + 1, records->items + place,
            (records->count - place) * sizeof(struct record *));
    records->items[place] = record;
    records->count++;
}

static void remove_key(struct records *records, const char *key)
{
    size_t place = records_seek(records, key);

    if (place == records->count || strcmp(records->items[place]->key, key) != 0)
        return;
    retire(records, records->items[place]);
    records->count--;
    memmove(records->items + place, records->items + place + 1,
            (records->count - place) * sizeof(struct record *));
}

/* ---- the store ---- */

static struct slice meta_key(void)
{
    return SLICE_LITERAL("m");
}

/* One pair of the store into memory. The owner's keys are passed over. */
static enum error load_pair(struct records *records, struct slice key, struct slice value)
{
    struct reader reader = reader_of(value);

    if (key.size == 0)
        return ERR_CORRUPT;
    if (key.data[0] == TAG_META) {
        records->revision = reader_u64(&reader);
        return reader.ok && reader.rest.size == 0 && key.size == 1 ? OK : ERR_CORRUPT;
    }
    if (key.data[0] != TAG_RECORD)
        return OK;
    struct slice text = slice_of(key.data + 1, key.size - 1);
    uint64_t revision = reader_u64(&reader);

    if (!reader.ok || !records_key_is_valid(text))
        return ERR_CORRUPT;
    put(records, record_new(text, reader.rest, revision));
    return OK;
}

static enum error load(struct records *records)
{
    const struct env_kv *kv = records->env->kv;
    struct kv_cursor *cursor = kv->cursor(records->env, records->kv, NULL);
    enum error rc = OK;

    kv->cursor_seek(cursor, slice_of("", 0));
    for (; rc == OK && kv->cursor_valid(cursor); kv->cursor_next(cursor))
        rc = load_pair(records, kv->cursor_key(cursor), kv->cursor_value(cursor));
    if (rc == OK)
        rc = kv->cursor_error(cursor);
    kv->cursor_close(cursor);
    return rc;
}

enum error records_open(struct env *env, const char *folder, struct records **records)
{
    struct records *opened = check_calloc(1, sizeof(*opened));

    opened->env = env;
    list_init(&opened->pins);
    enum error rc = env->kv->open(env, folder, &opened->kv);

    if (rc == OK)
        rc = load(opened);
    if (rc != OK) {
        records_free(opened);
        return rc;
    }
    *records = opened;
    return OK;
}

static void free_items(struct records *records)
{
    for (size_t i = 0; i < records->count; i++)
        free(records->items[i]);
    records->count = 0;
    records->bytes = 0;
}

void records_free(struct records *records)
{
    if (records == NULL)
        return;
    while (!list_is_empty(&records->pins))
        records_unpin(container_of(records->pins.next, struct records_pin, link));
    if (records->kv != NULL)
        records->env->kv->close(records->env, records->kv);
    records_sweep(records);
    free_items(records);
    free(records->items);
    free(records->retired);
    free(records);
}

static void store_u64(uint8_t to[8], uint64_t value)
{
    for (size_t i = 0; i < 8; i++)
        to[i] = (uint8_t)(value >> (8 * i));
}

/* The batch keeps its bytes in `bytes` until written: places first, pointers once it stands. */
static struct slice put_bytes(struct buffer *bytes, struct slice head, struct slice tail)
{
    size_t place = bytes->size;

    buffer_put_slice(bytes, head);
    buffer_put_slice(bytes, tail);
    return slice_of(bytes->data + place, bytes->size - place);
}

static size_t batch_bytes(const struct record_change *changes, size_t count)
{
    size_t bytes = 0;

    for (size_t i = 0; i < count; i++)
        bytes += 1 + strlen(changes[i].key) + RECORD_HEAD_BYTES + changes[i].value.size;
    return bytes;
}

static void apply_in_memory(struct records *records, const struct record_change *change)
{
    if (change->is_delete)
        remove_key(records, change->key);
    else
        put(records, record_new(slice_text(change->key), change->value, change->revision));
}

enum error records_write(struct records *records, uint64_t revision,
                         const struct record_change *changes, size_t count,
                         const struct kv_write *extra, size_t extra_count)
{
    struct kv_write *writes = check_calloc(count + extra_count + 1, sizeof(*writes));
    AUTO(buffer) bytes = BUFFER_INIT(BUFFER_UNLIMITED);
    uint8_t meta[8];
    uint8_t head[RECORD_HEAD_BYTES];
    size_t filled = 0;

    CHECK(buffer_reserve(&bytes, batch_bytes(changes, count) + 1) == OK);
    for (size_t i = 0; i < count; i++) {
        const struct record_change *change = &changes[i];
        struct kv_write *write = &writes[filled++];

        write->key = put_bytes(&bytes, SLICE_LITERAL("r"), slice_text(change->key));
        write->is_delete = change->is_delete;
        store_u64(head, change->revision);
        if (!change->is_delete)
            write->value = put_bytes(&bytes, slice_of(head, sizeof(head)), change->value);
    }
    if (revision != records->revision) {
        store_u64(meta, revision);
        writes[filled++] = (struct kv_write){meta_key(), slice_of(meta, sizeof(meta)), false};
    }
    for (size_t i = 0; i < extra_count; i++)
        writes[filled++] = extra[i];
    enum error rc = records->env->kv->write(records->env, records->kv, writes, filled);

    free(writes);
    if (rc != OK)
        return rc;
    for (size_t i = 0; i < count; i++)
        apply_in_memory(records, &changes[i]);
    records->revision = revision;
    return OK;
}

/* ---- pins ---- */

struct records_pin *records_pin(struct records *records)
{
    struct records_pin *pin = check_calloc(1, sizeof(*pin));

    pin->records = records;
    pin->snapshot = records->env->kv->snapshot(records->env, records->kv);
    pin->revision = records->revision;
    list_append(&records->pins, &pin->link);
    return pin;
}

void records_unpin(struct records_pin *pin)
{
    if (pin == NULL)
        return;
    list_remove(&pin->link);
    pin->records->env->kv->snapshot_release(pin->records->env, pin->records->kv, pin->snapshot);
    free(pin);
}

uint64_t records_pin_revision(const struct records_pin *pin)
{
    return pin->revision;
}

/* A cursor on the first key after `position` (or on the first that begins with `from`). */
static struct kv_cursor *pin_cursor(struct records_pin *pin, const struct buffer *position,
                                    struct slice from)
{
    struct env *env = pin->records->env;
    struct kv_cursor *cursor = env->kv->cursor(env, pin->records->kv, pin->snapshot);

    env->kv->cursor_seek(cursor, position->size > 0 ? buffer_slice(position) : from);
    if (position->size > 0 && env->kv->cursor_valid(cursor) &&
        slice_equal(env->kv->cursor_key(cursor), buffer_slice(position)))
        env->kv->cursor_next(cursor);
    return cursor;
}

static void set_position(struct buffer *position, struct slice key)
{
    buffer_clear(position);
    buffer_put_slice(position, key);
}

enum error records_pin_read(struct records_pin *pin, struct buffer *position, size_t bytes_max,
                            void *user,
                            void (*on_record)(void *user, struct slice key, struct slice value,
                                              uint64_t revision),
                            bool *is_last)
{
    const struct env_kv *kv = pin->records->env->kv;
    struct kv_cursor *cursor = pin_cursor(pin, position, SLICE_LITERAL("r"));
    enum error rc = OK;
    bool more = false;
    size_t bytes = 0;

    for (; kv->cursor_valid(cursor); kv->cursor_next(cursor)) {
        struct slice key = kv->cursor_key(cursor);
        struct reader reader = reader_of(kv->cursor_value(cursor));
        uint64_t revision = reader_u64(&reader);

        if (key.data[0] != TAG_RECORD)
            break;
        if (bytes >= bytes_max) {
            more = true;
            break;
        }
        if (!reader.ok) {
            rc = ERR_CORRUPT;
            break;
        }
        on_record(user, slice_of(key.data + 1, key.size - 1), reader.rest, revision);
        bytes += key.size + reader.rest.size;
        set_position(position, key);
    }
    if (rc == OK)
        rc = kv->cursor_error(cursor);
    kv->cursor_close(cursor);
    if (rc == OK)
        *is_last = !more;
    return rc;
}

enum error records_pin_dump(struct records_pin *pin, struct buffer *position, size_t bytes_max,
                            struct buffer *chunk, bool *is_last)
{
    const struct env_kv *kv = pin->records->env->kv;
    struct kv_cursor *cursor = pin_cursor(pin, position, slice_of("", 0));
    size_t from = chunk->size;

    for (; kv->cursor_valid(cursor) && chunk->size - from < bytes_max; kv->cursor_next(cursor)) {
        struct slice key = kv->cursor_key(cursor);
        struct slice value = kv->cursor_value(cursor);

        buffer_put_u32(chunk, (uint32_t)key.size);
        buffer_put_u32(chunk, (uint32_t)value.size);
        buffer_put_slice(chunk, key);
        buffer_put_slice(chunk, value);
        set_position(position, key);
    }
    bool more = kv->cursor_valid(cursor);
    enum error rc = kv->cursor_error(cursor);

    kv->cursor_close(cursor);
    if (rc == OK)
        *is_last = !more;
    return rc;
}

/* ---- installing a dump ---- */

struct batch {
    struct kv_write *writes;
    size_t count;
    size_t capacity;
};

static void batch_add(struct batch *batch, struct slice key, struct slice value, bool is_delete)
{
    if (batch->count == batch->capacity) {
        batch->capacity = batch->capacity == 0 ? 256 : batch->capacity * 2;
        batch->writes = check_realloc(batch->writes, batch->capacity * sizeof(*batch->writes));
    }
    batch->writes[batch->count++] = (struct kv_write){key, value, is_delete};
}

static bool pair_is_valid(struct slice key, struct slice value)
{
    if (key.size == 0)
        return false;
    if (key.data[0] == TAG_RECORD)
        return value.size >= RECORD_HEAD_BYTES &&
               records_key_is_valid(slice_of(key.data + 1, key.size - 1));
    return key.data[0] != TAG_META || (key.size == 1 && value.size == 8);
}

static enum error batch_dump(struct batch *batch, struct slice dump)
{
    struct reader reader = reader_of(dump);

    while (reader.ok && reader.rest.size > 0) {
        uint32_t key_bytes = reader_u32(&reader);
        uint32_t value_bytes = reader_u32(&reader);
        struct slice key = reader_bytes(&reader, key_bytes);
        struct slice value = reader_bytes(&reader, value_bytes);

        if (!reader.ok || !pair_is_valid(key, value))
            return ERR_CORRUPT;
        batch_add(batch, key, value, false);
    }
    return reader.ok ? OK : ERR_CORRUPT;
}

/* Deletions of every key there is; their bytes go to `keys`. */
static enum error batch_clear(struct batch *batch, struct records *records, struct buffer *keys)
{
    const struct env_kv *kv = records->env->kv;
    struct kv_cursor *cursor = kv->cursor(records->env, records->kv, NULL);

    for (kv->cursor_seek(cursor, slice_of("", 0)); kv->cursor_valid(cursor);
         kv->cursor_next(cursor)) {
        struct slice key = kv->cursor_key(cursor);

        buffer_put_u32(keys, (uint32_t)key.size);
        buffer_put_slice(keys, key);
    }
    enum error rc = kv->cursor_error(cursor);
    struct reader reader = reader_of(buffer_slice(keys));

    kv->cursor_close(cursor);
    while (rc == OK && reader.rest.size > 0) {
        uint32_t size = reader_u32(&reader);

        batch_add(batch, reader_bytes(&reader, size), slice_of(NULL, 0), true);
    }
    return rc;
}

enum error records_install(struct records *records, struct slice dump, const struct kv_write *extra,
                           size_t extra_count)
{
    struct batch batch = {0};
    AUTO(buffer) keys = BUFFER_INIT(BUFFER_UNLIMITED);
    enum error rc = batch_clear(&batch, records, &keys);

    if (rc == OK)
        rc = batch_dump(&batch, dump);
    for (size_t i = 0; rc == OK && i < extra_count; i++)
        batch_add(&batch, extra[i].key, extra[i].value, extra[i].is_delete);
    if (rc == OK)
        rc = records->env->kv->write(records->env, records->kv, batch.writes, batch.count);
    free(batch.writes);
    if (rc != OK)
        return rc;
    while (records->count > 0) {
        records->count--;
        retire(records, records->items[records->count]);
    }
    records->revision = 0;
    return load(records);
}
