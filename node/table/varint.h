/* Lengths in as few bytes as they need: seven bits a byte, the lowest first, the top bit set on all
 * but the last. */

#ifndef NODE_TABLE_VARINT_H
#define NODE_TABLE_VARINT_H

#include "proto/base/buffer.h"

static inline void varint_put(struct buffer *to, uint32_t value)
{
    while (value >= 0x80) {
        buffer_put_u8(to, (uint8_t)(value | 0x80));
        value >>= 7;
    }
    buffer_put_u8(to, (uint8_t)value);
}

/* 0 and not ok unless it is the shortest form of a 32-bit value. */
static inline uint32_t varint_read(struct reader *reader)
{
    uint64_t value = 0;

    for (unsigned shift = 0; shift < 35; shift += 7) {
        uint8_t byte = reader_u8(reader);

        value |= (uint64_t)(byte & 0x7F) << shift;
        if ((byte & 0x80) != 0)
            continue;
        if (value > UINT32_MAX || (byte == 0 && shift > 0))
            break;
        return (uint32_t)value;
    }
    reader->ok = false;
    return 0;
}

/* A length and as many bytes. */
static inline void varint_put_bytes(struct buffer *to, struct slice bytes)
{
    varint_put(to, (uint32_t)bytes.size);
    buffer_put_slice(to, bytes);
}

static inline struct slice varint_read_bytes(struct reader *reader)
{
    uint32_t size = varint_read(reader);

    return reader_bytes(reader, size);
}

#endif
