#include "proto/store/journal_format.h"

#include "proto/base/check.h"

#include <xxhash.h>

#define AT_HEADER_CHECKSUM 0
#define AT_DATA_CHECKSUM 4
#define AT_DATA_BYTES 8
#define AT_TYPE 12
#define AT_NUMBER 24
#define AT_INDEX 32

static void store_u32(uint8_t *to, uint32_t value)
{
    for (int i = 0; i < 4; i++)
        to[i] = (uint8_t)(value >> (8 * i));
}

static void store_u64(uint8_t *to, uint64_t value)
{
    for (int i = 0; i < 8; i++)
        to[i] = (uint8_t)(value >> (8 * i));
}

static uint32_t load_u32(const uint8_t *from)
{
    return (uint32_t)from[0] | (uint32_t)from[1] << 8 | (uint32_t)from[2] << 16 |
           (uint32_t)from[3] << 24;
}

static uint64_t load_u64(const uint8_t *from)
{
    return (uint64_t)load_u32(from) | (uint64_t)load_u32(from + 4) << 32;
}

static uint32_t checksum(const uint8_t *bytes, size_t size, uint64_t seed)
{
    return (uint32_t)XXH3_64bits_withSeed(bytes, size, seed);
}

static uint32_t header_checksum(const uint8_t *header, uint64_t seed)
{
    return checksum(header + AT_DATA_CHECKSUM, JOURNAL_HEADER_BYTES - AT_DATA_CHECKSUM, seed);
}

static void header_write(uint8_t *to, uint64_t seed, const struct journal_record *record)
{
    store_u32(to + AT_DATA_CHECKSUM, checksum(record->data.data, record->data.size, seed));
    store_u32(to + AT_DATA_BYTES, (uint32_t)record->data.size);
    to[AT_TYPE] = record->type;
    to[AT_TYPE + 1] = record->kind;
    to[AT_TYPE + 2] = (uint8_t)record->flags;
    to[AT_TYPE + 3] = (uint8_t)(record->flags >> 8);
    store_u64(to + 16, record->group);
    store_u64(to + AT_NUMBER, record->number);
    store_u64(to + AT_INDEX, record->index);
    store_u64(to + 40, record->term);
    store_u32(to + AT_HEADER_CHECKSUM, header_checksum(to, seed));
}

void journal_record_put(struct buffer *to, uint64_t seed, const struct journal_record *record)
{
    size_t bytes = journal_record_bytes(record->data.size);
    uint8_t *at;

    CHECK(buffer_reserve(to, bytes) == OK);
    at = to->data + to->size;
    header_write(at, seed, record);
    if (record->data.size > 0)
        memcpy(at + JOURNAL_HEADER_BYTES, record->data.data, record->data.size);
    memset(at + JOURNAL_HEADER_BYTES + record->data.size, 0,
           bytes - JOURNAL_HEADER_BYTES - record->data.size);
    to->size += bytes;
}

static uint64_t seal_of(const uint8_t *header)
{
    return load_u64(header + AT_HEADER_CHECKSUM);
}

uint64_t journal_batch_put(uint8_t *to, const struct journal_record *record, uint64_t bytes,
                           uint64_t before)
{
    struct journal_record whole = *record;
    uint8_t *data = to + JOURNAL_HEADER_BYTES;

    store_u64(data, bytes);
    store_u64(data + 8, before);
    whole.data = slice_of(data, JOURNAL_BATCH_BYTES - JOURNAL_HEADER_BYTES);
    header_write(to, record->number, &whole);
    return seal_of(to);
}

enum error journal_record_get(struct slice bytes, uint64_t seed, struct journal_record *record,
                              size_t *size)
{
    const uint8_t *at = bytes.data;
    uint32_t data_bytes;

    if (bytes.size < JOURNAL_HEADER_BYTES)
        return ERR_INVALID;
    if (load_u32(at + AT_HEADER_CHECKSUM) != header_checksum(at, seed))
        return ERR_INVALID;
    data_bytes = load_u32(at + AT_DATA_BYTES);
    if (journal_record_bytes(data_bytes) > bytes.size)
        return ERR_INVALID;
    *record = (struct journal_record){
        .type = at[AT_TYPE],
        .kind = at[AT_TYPE + 1],
        .flags = (uint16_t)(at[AT_TYPE + 2] | at[AT_TYPE + 3] << 8),
        .group = load_u64(at + 16),
        .number = load_u64(at + AT_NUMBER),
        .index = load_u64(at + AT_INDEX),
        .term = load_u64(at + 40),
    };
    *size = journal_record_bytes(data_bytes);
    if (checksum(at + JOURNAL_HEADER_BYTES, data_bytes, seed) != load_u32(at + AT_DATA_CHECKSUM))
        return ERR_CORRUPT;
    record->data = slice_of(at + JOURNAL_HEADER_BYTES, data_bytes);
    return OK;
}

/* ---- blocks ---- */

static uint32_t block_checksum(const uint8_t *block, uint64_t offset)
{
    return checksum(block + 4, JOURNAL_BLOCK_BYTES - 4, offset);
}

void journal_frame(struct buffer *to, struct slice batch, uint64_t number, uint64_t offset)
{
    CHECK(buffer_reserve(to, journal_framed_bytes(batch.size)) == OK);
    while (batch.size > 0) {
        size_t size = batch.size < JOURNAL_BLOCK_PAYLOAD ? batch.size : JOURNAL_BLOCK_PAYLOAD;
        uint8_t *block = to->data + to->size;

        store_u32(block + 4, (uint32_t)number);
        memcpy(block + 8, batch.data, size);
        memset(block + 8 + size, 0, JOURNAL_BLOCK_PAYLOAD - size);
        store_u32(block, block_checksum(block, offset));
        to->size += JOURNAL_BLOCK_BYTES;
        offset += JOURNAL_BLOCK_BYTES;
        batch = slice_of(batch.data + size, batch.size - size);
    }
}

static bool is_zero(const uint8_t *bytes, size_t size)
{
    return bytes[0] == 0 && memcmp(bytes, bytes + 1, size - 1) == 0;
}

enum journal_block journal_block_get(struct slice content, uint64_t offset, uint32_t *number)
{
    const uint8_t *block = content.data + offset;

    if (offset >= content.size || content.size - offset < JOURNAL_BLOCK_BYTES)
        return JOURNAL_BLOCK_EMPTY; /* the file was still growing */
    *number = load_u32(block + 4);
    if (load_u32(block) == block_checksum(block, offset))
        return JOURNAL_BLOCK_GOOD;
    return is_zero(block, JOURNAL_BLOCK_BYTES) ? JOURNAL_BLOCK_EMPTY : JOURNAL_BLOCK_BAD;
}

bool journal_block_was_good(struct slice content, uint64_t offset, uint32_t *number)
{
    uint8_t block[JOURNAL_BLOCK_BYTES];

    memcpy(block, content.data + offset, sizeof(block));
    if (block[0] == JOURNAL_UNREADABLE && memcmp(block, block + 1, sizeof(block) - 1) == 0) {
        *number = UINT32_MAX;
        return true;
    }
    for (size_t bit = 0; bit < sizeof(block) * 8; bit++) {
        block[bit / 8] ^= (uint8_t)(1 << bit % 8);
        *number = load_u32(block + 4);
        if (load_u32(block) == block_checksum(block, offset))
            return true;
        block[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    return false;
}

/* ---- batches ---- */

/* What a bad block holds is looked at: its records have checksums of their own. */
static bool is_of_batch(struct slice content, uint64_t offset, uint32_t batch)
{
    uint32_t number = 0;
    enum journal_block block = journal_block_get(content, offset, &number);

    return block == JOURNAL_BLOCK_BAD || (block == JOURNAL_BLOCK_GOOD && number == batch);
}

bool journal_batch_get(struct slice content, uint64_t offset, struct journal_batch *batch)
{
    const uint8_t *at = content.data + offset + 8;
    size_t size;

    if (offset > content.size || content.size - offset < JOURNAL_BLOCK_BYTES)
        return false;
    if (at[AT_TYPE] != JOURNAL_BATCH || load_u64(at + AT_INDEX) != offset ||
        load_u32(at + AT_DATA_BYTES) != JOURNAL_BATCH_BYTES - JOURNAL_HEADER_BYTES)
        return false; /* cheap, for journal_batch_find */
    if (!is_of_batch(content, offset, load_u32(at + AT_NUMBER)) ||
        journal_record_get(slice_of(at, JOURNAL_BATCH_BYTES), load_u64(at + AT_NUMBER),
                           &batch->record, &size) != OK)
        return false;
    batch->bytes = load_u64(batch->record.data.data);
    batch->before = load_u64(batch->record.data.data + 8);
    batch->seal = seal_of(at);
    return batch->bytes >= JOURNAL_BATCH_BYTES;
}

bool journal_batch_find(struct slice content, uint64_t offset, struct journal_batch *batch)
{
    for (; offset + JOURNAL_BLOCK_BYTES <= content.size; offset += JOURNAL_BLOCK_BYTES)
        if (journal_batch_get(content, offset, batch))
            return true;
    return false;
}

void journal_batch_records(struct slice content, const struct journal_batch *batch,
                           struct buffer *records)
{
    uint64_t rest = batch->bytes - JOURNAL_BATCH_BYTES;
    size_t skip = JOURNAL_BATCH_BYTES;

    for (uint64_t offset = batch->record.index; rest > 0; offset += JOURNAL_BLOCK_BYTES) {
        size_t size = JOURNAL_BLOCK_PAYLOAD - skip;

        if (size > rest)
            size = (size_t)rest;
        if (offset >= content.size)
            return;
        CHECK(buffer_reserve(records, size) == OK);
        if (is_of_batch(content, offset, (uint32_t)batch->record.number))
            memcpy(records->data + records->size, content.data + offset + 8 + skip, size);
        else
            memset(records->data + records->size, 0, size);
        records->size += size;
        rest -= size;
        skip = 0;
    }
}
