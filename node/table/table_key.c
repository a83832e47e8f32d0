#include "node/table/table_key.h"

#include "proto/base/check.h"

#define SPACE_ROWS 0x01
#define SPACE_INDEX_ROWS 0x02
#define SPACE_GLOBAL_ROWS 0x08

enum table_key_fault table_key_check(const struct table_schema *schema,
                                     const struct item_value *attributes, size_t *part)
{
    static const size_t bytes_max[TABLE_KEY_PARTS_MAX] = {TABLE_HASH_BYTES_MAX,
                                                          TABLE_SORT_BYTES_MAX};

    for (*part = 0; *part < schema->part_count; (*part)++) {
        const struct table_key_part *wanted = &schema->parts[*part];
        struct item_value value;

        if (!item_find(attributes, wanted->name, &value))
            return TABLE_KEY_MISSING;
        if (value.type != wanted->type)
            return TABLE_KEY_TYPE;
        if (value.bytes.size == 0)
            return TABLE_KEY_EMPTY;
        if (value.bytes.size > bytes_max[*part])
            return TABLE_KEY_TOO_LARGE;
    }
    return TABLE_KEY_OK;
}

void table_key_put_part(struct buffer *to, const struct item_value *value)
{
    struct slice rest = value->bytes;

    if (value->type == ITEM_N) {
        buffer_put_slice(to, rest);
        return;
    }
    while (rest.size > 0) {
        const uint8_t *null = memchr(rest.data, 0, rest.size);
        size_t plain = null != NULL ? (size_t)(null - rest.data) + 1 : rest.size;

        buffer_put(to, rest.data, plain);
        if (null != NULL)
            buffer_put_u8(to, 0xFF);
        rest = slice_of(rest.data + plain, rest.size - plain);
    }
    buffer_put(to, "\x00\x01", 2);
}

void table_key_put_table(struct buffer *to, const uint8_t table_id[TABLE_ID_BYTES])
{
    buffer_put_u8(to, SPACE_ROWS);
    buffer_put(to, table_id, TABLE_ID_BYTES);
}

void table_key_put_index(struct buffer *to, const uint8_t table_id[TABLE_ID_BYTES], size_t number)
{
    buffer_put_u8(to, SPACE_INDEX_ROWS);
    buffer_put(to, table_id, TABLE_ID_BYTES);
    if (number < TABLE_INDEXES_MAX)
        buffer_put_u8(to, (uint8_t)number);
}

void table_key_put_index_row(struct buffer *to, struct slice row_key, size_t hash_bytes,
                             size_t number, const struct item_value *value)
{
    const uint8_t *hash_part = row_key.data + 1 + TABLE_ID_BYTES;
    size_t sort_bytes = row_key.size - 1 - TABLE_ID_BYTES - hash_bytes;

    table_key_put_index(to, row_key.data + 1, number);
    buffer_put(to, hash_part, hash_bytes);
    table_key_put_part(to, value);
    buffer_put(to, hash_part + hash_bytes, sort_bytes);
}

void table_key_put_global(struct buffer *to, const uint8_t table_id[TABLE_ID_BYTES],
                          uint32_t number)
{
    buffer_put_u8(to, SPACE_GLOBAL_ROWS);
    buffer_put(to, table_id, TABLE_ID_BYTES);
    for (int shift = 24; shift >= 0 && number != UINT32_MAX; shift -= 8)
        buffer_put_u8(to, (uint8_t)(number >> shift));
}

void table_key_put_global_row(struct buffer *to, struct slice row_key, uint32_t number,
                              const struct table_schema *index, const struct item_value *attributes,
                              struct slice *partition)
{
    size_t begin = to->size + 1 + TABLE_ID_BYTES;
    size_t end = 0;

    table_key_put_global(to, row_key.data + 1, number);
    for (size_t i = 0; i < index->part_count; i++) {
        struct item_value value;
        bool is_there = item_find(attributes, index->parts[i].name, &value);

        CHECK(is_there);
        table_key_put_part(to, &value);
        if (i == 0)
            end = to->size;
    }
    buffer_put(to, row_key.data + 1 + TABLE_ID_BYTES, row_key.size - 1 - TABLE_ID_BYTES);
    *partition = slice_of(to->data + begin, end - begin);
}

bool table_key_read_global(struct slice key, struct slice *table_id, uint32_t *number)
{
    const uint8_t *at = key.data + 1 + TABLE_ID_BYTES;

    if (key.size < 1 + TABLE_ID_BYTES + sizeof(*number) || key.data[0] != SPACE_GLOBAL_ROWS)
        return false;
    *table_id = slice_of(key.data + 1, TABLE_ID_BYTES);
    *number = (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
    return true;
}

void table_key_put_row(struct buffer *to, const uint8_t table_id[TABLE_ID_BYTES],
                       const struct table_schema *schema, const struct item_value *attributes,
                       struct slice *hash_part)
{
    size_t begin;
    size_t end = 0;

    table_key_put_table(to, table_id);
    begin = to->size;
    for (size_t i = 0; i < schema->part_count; i++) {
        struct item_value value;
        bool is_there = item_find(attributes, schema->parts[i].name, &value);

        CHECK(is_there);
        table_key_put_part(to, &value);
        if (i == 0)
            end = to->size;
    }
    *hash_part = slice_of(to->data + begin, end - begin);
}

void table_key_after_prefix(struct buffer *prefix)
{
    while (prefix->size > 0 && prefix->data[prefix->size - 1] == 0xFF)
        prefix->size--;
    CHECK(prefix->size > 0);
    prefix->data[prefix->size - 1]++;
}
