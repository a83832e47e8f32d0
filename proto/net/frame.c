#include "proto/net/frame.h"

#include "proto/base/check.h"

#include <xxhash.h>

#define MAGIC 0x4e494b53u /* "SKIN" */
#define CHECKED_FROM 16   /* magic, version and the checksum itself are not in the checksum */

_Static_assert(FRAME_HEADER_BYTES == CHECKED_FROM + sizeof(struct frame_header), "as written");

static void store(uint8_t *to, uint64_t value, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++)
        to[i] = (uint8_t)(value >> (8 * i));
}

enum error frame_append_message(struct buffer *messages, enum env_channel channel,
                                struct slice message)
{
    uint8_t header[FRAME_MESSAGE_HEADER_BYTES];

    if (message.size > UINT32_MAX)
        return ERR_TOO_LARGE;
    enum error rc = buffer_reserve(messages, sizeof(header) + message.size);

    if (rc != OK)
        return rc;
    store(header, channel, 1);
    store(header + 1, message.size, 4);
    buffer_put(messages, header, sizeof(header));
    buffer_put_slice(messages, message);
    return OK;
}

/* The whole first message of `messages`; `ok` of the reader says whether it is whole. */
static struct slice read_message(struct reader *reader, uint8_t *channel)
{
    *channel = reader_u8(reader);
    return reader_bytes(reader, reader_u32(reader));
}

size_t frame_messages_bytes(struct slice messages, size_t bytes_max)
{
    struct reader reader = reader_of(messages);
    size_t taken = 0;
    uint8_t channel;

    while (reader.rest.size > 0) {
        (void)read_message(&reader, &channel);
        CHECK(reader.ok);
        size_t end = messages.size - reader.rest.size;

        if (end > bytes_max && taken > 0)
            break;
        taken = end;
    }
    return taken;
}

void frame_write(uint8_t *frame, const struct frame_header *header, struct slice urgent,
                 struct slice ordinary)
{
    size_t size = FRAME_HEADER_BYTES + urgent.size + ordinary.size;

    store(frame, MAGIC, 4);
    store(frame + 4, FRAME_VERSION, 4);
    store(frame + CHECKED_FROM, header->stream, 8);
    store(frame + CHECKED_FROM + 8, header->position, 8);
    store(frame + CHECKED_FROM + 16, header->heard_stream, 8);
    store(frame + CHECKED_FROM + 24, header->heard_position, 8);
    if (urgent.size > 0)
        memcpy(frame + FRAME_HEADER_BYTES, urgent.data, urgent.size);
    if (ordinary.size > 0)
        memcpy(frame + FRAME_HEADER_BYTES + urgent.size, ordinary.data, ordinary.size);
    store(frame + 8, XXH3_64bits(frame + CHECKED_FROM, size - CHECKED_FROM), 8);
}

static struct frame_header read_header(struct reader *reader)
{
    struct frame_header header;

    header.stream = reader_u64(reader);
    header.position = reader_u64(reader);
    header.heard_stream = reader_u64(reader);
    header.heard_position = reader_u64(reader);
    return header;
}

enum error frame_read(struct slice bytes, struct frame *frame)
{
    struct reader reader = reader_of(bytes);
    uint32_t magic = reader_u32(&reader);
    uint32_t version = reader_u32(&reader);
    uint64_t checksum = reader_u64(&reader);
    struct slice checked = reader.rest;
    struct frame_header header = read_header(&reader);
    struct slice messages = reader.rest;
    uint8_t channel = 0;

    if (!reader.ok || magic != MAGIC)
        return ERR_CORRUPT;
    if (version != FRAME_VERSION)
        return ERR_VERSION;
    if (XXH3_64bits(checked.data, checked.size) != checksum)
        return ERR_CORRUPT;
    while (reader.ok && reader.rest.size > 0) {
        (void)read_message(&reader, &channel);
        if (channel >= ENV_CHANNEL_COUNT)
            return ERR_CORRUPT;
    }
    if (!reader.ok)
        return ERR_CORRUPT;
    *frame = (struct frame){header, bytes.size, messages};
    return OK;
}

bool frame_order_accepts(struct frame_order *order, uint64_t connection, const struct frame *frame)
{
    const struct frame_header *header = &frame->header;
    bool is_first_ever = order->connection == 0;
    bool is_next = header->stream == order->stream && header->position == order->position;

    if (connection < order->connection)
        return false;
    order->connection = connection;
    if (!is_first_ever && !is_next && (header->stream == order->stream || header->position != 0))
        return false;
    order->stream = header->stream;
    order->position = header->position + frame->size;
    return true;
}

bool frame_next(struct frame *frame, enum env_channel *channel, struct slice *message)
{
    struct reader reader = reader_of(frame->messages);
    uint8_t number;

    if (frame->messages.size == 0)
        return false;
    *message = read_message(&reader, &number);
    CHECK(reader.ok);
    *channel = (enum env_channel)number;
    frame->messages = reader.rest;
    return true;
}
