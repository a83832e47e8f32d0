/* The bytes of a journal: records, each with two checksums.
 *
 * A batch is a BATCH record and the records behind it. Each record's checksums are seeded with the
 * number of its batch, which never repeats, so that bytes left over from an earlier use of a file
 * are never taken for new ones. Little endian; records are padded to 8 bytes.
 *
 *   u32 checksum of the header   u32 checksum of the data   u32 bytes of data
 *   u8 type   u8 kind   u16 flags   u64 group   u64 number   u64 index   u64 term   data
 *
 * `number` counts the group's records without a gap. */

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

#endif
