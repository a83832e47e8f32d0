/* The bytes of a journal: records in batches, batches in blocks.
 *
 * A batch is a BATCH record and the records behind it, cut into blocks of one disk sector, each
 * with a checksum of its own. A write that a power loss tore leaves every sector either new or as
 * it was before: zeros, or a good block of an older batch. A block that is neither is damage. So
 * even the last batch of all tells a torn tail from flipped bits.
 *
 *   block:  u32 checksum, seeded with its place   u32 number of its batch   504 bytes
 *   record: u32 checksum of the header   u32 checksum of the data   u32 bytes of data
 *           u8 type   u8 kind   u16 flags   u64 group   u64 number   u64 index   u64 term   data
 *
 * The checksums of a record are seeded with the number of its batch, which never repeats: they tell
 * which records of a damaged batch are still good. `number` counts the group's records without a
 * gap. Little endian; records are padded to 8 bytes, batches to a block. */

#ifndef PROTO_STORE_JOURNAL_FORMAT_H
#define PROTO_STORE_JOURNAL_FORMAT_H

#include "proto/base/buffer.h"

#define JOURNAL_HEADER_BYTES 48u
#define JOURNAL_BATCH_BYTES (JOURNAL_HEADER_BYTES + 16u) /* a BATCH record */
#define JOURNAL_ALIGNMENT 8u

enum journal_type {
    JOURNAL_BATCH = 1,  /* group: life of the segment; number: of the batch; index: its place in the
                           file; term: the oldest life in use; data: journal_batch */
    JOURNAL_CHECKPOINT, /* all of a group but its entries; at the start of each segment */
    JOURNAL_STATE,      /* index: vote; kind: flags */
    JOURNAL_ENTRY,
    JOURNAL_TRUNCATE,
    JOURNAL_MARK, /* data: u64 first, then the caller's */
    JOURNAL_FORGET
};

enum journal_flag {
    JOURNAL_FLAG_AGAIN = 1, /* ENTRY: the same as one stored before */
    JOURNAL_FLAG_RESET = 2  /* MARK: replaces the whole log */
};

struct journal_record {
    uint8_t type;
    uint8_t kind;
    uint16_t flags;
    uint64_t group;
    uint64_t number;
    uint64_t index;
    uint64_t term;
    struct slice data;
};

/* With its padding. */
static inline size_t journal_record_bytes(size_t data_bytes)
{
    return (JOURNAL_HEADER_BYTES + data_bytes + JOURNAL_ALIGNMENT - 1) &
           ~(size_t)(JOURNAL_ALIGNMENT - 1);
}

/* Appends the record. */
void journal_record_put(struct buffer *to, uint64_t seed, const struct journal_record *record);
/* Writes a batch's own record to `to`, JOURNAL_BATCH_BYTES of them. Gives its seal, which the next
 * batch carries as `before`. */
uint64_t journal_batch_put(uint8_t *to, const struct journal_record *record, uint64_t bytes,
                           uint64_t before);

/* ---- blocks ---- */

#define JOURNAL_BLOCK_BYTES 512u
#define JOURNAL_BLOCK_PAYLOAD (JOURNAL_BLOCK_BYTES - 8u)

/* What a batch of so many bytes takes up in the file. */
static inline uint64_t journal_framed_bytes(uint64_t bytes)
{
    return (bytes + JOURNAL_BLOCK_PAYLOAD - 1) / JOURNAL_BLOCK_PAYLOAD * JOURNAL_BLOCK_BYTES;
}

/* Appends the blocks of a batch that stands at `offset` of its file. */
void journal_frame(struct buffer *to, struct slice batch, uint64_t number, uint64_t offset);

enum journal_block {
    JOURNAL_BLOCK_EMPTY, /* zeros, or past the end of the file */
    JOURNAL_BLOCK_GOOD,
    JOURNAL_BLOCK_BAD
};

/* The block at `offset` of a file with this content, and the number of its batch (its low half). */
enum journal_block journal_block_get(struct slice content, uint64_t offset, uint32_t *number);

/* A bad block: was it whole once, and is now one flipped bit away from that, or unreadable? Then
 * `number` is its batch's, UINT32_MAX for unreadable. Else a write failed in the middle of it. */
bool journal_block_was_good(struct slice content, uint64_t offset, uint32_t *number);
#define JOURNAL_UNREADABLE 0xff /* stands for each byte the disk does not give */

/* ---- records ---- */

/* Reads the record at the start of `bytes`; `size` is what it takes up. ERR_INVALID: no record's
 * header is here. ERR_CORRUPT: the header is good, the data is not (all but data is set). */
enum error journal_record_get(struct slice bytes, uint64_t seed, struct journal_record *record,
                              size_t *size);

struct journal_batch {
    struct journal_record record;
    uint64_t bytes;  /* of the whole batch */
    uint64_t before; /* seal of the batch before */
    uint64_t seal;
};

/* Is there a batch's record at `offset` of a segment with this content? The records behind it are
 * not looked at, and may not all be there. */
bool journal_batch_get(struct slice content, uint64_t offset, struct journal_batch *batch);
/* The first one at or after `offset`. */
bool journal_batch_find(struct slice content, uint64_t offset, struct journal_batch *batch);
/* Appends the batch's bytes behind its own record; blocks that are not its own become zeros. */
void journal_batch_records(struct slice content, const struct journal_batch *batch,
                           struct buffer *records);

static inline uint64_t journal_batch_end(const struct journal_batch *batch)
{
    return batch->record.index + journal_framed_bytes(batch->bytes);
}

#endif
