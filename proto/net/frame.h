/* A frame: what one process tells another in one turn of its loop, any number of messages.
 *
 * Little endian: magic u32, version u32, checksum u64 (xxh3 of everything behind it), stream u64,
 * position u64, heard stream u64, heard position u64, then per message channel u8, size u32, bytes.
 *
 * A stream is what a sender says while it sees the link up; it gives each a number of its own. The
 * position counts the bytes of the stream's frames in front of this one: a receiver never takes a
 * frame that overtook a lost one. With "heard" it tells how far it took the other's stream, so
 * that a sender never has more under way than a window allows. */

#ifndef PROTO_NET_FRAME_H
#define PROTO_NET_FRAME_H

#include "proto/env/env.h"

#define FRAME_VERSION 1
#define FRAME_HEADER_BYTES 48
#define FRAME_MESSAGE_HEADER_BYTES 5

/* ---- writing ---- */

/* Append one message in the form it has in a frame. ERR_TOO_LARGE past the buffer's limit. */
enum error frame_append_message(struct buffer *messages, enum env_channel channel,
                                struct slice message);

/* How many bytes from the start of `messages` to put into one frame: whole messages, as many as
 * fit into `bytes_max`, but at least one unless there is none. */
size_t frame_messages_bytes(struct slice messages, size_t bytes_max);

struct frame_header {
    uint64_t stream;
    uint64_t position;
    uint64_t heard_stream; /* 0 = none so far */
    uint64_t heard_position;
};

/* Fill `frame`, FRAME_HEADER_BYTES + urgent.size + ordinary.size bytes. */
void frame_write(uint8_t *frame, const struct frame_header *header, struct slice urgent,
                 struct slice ordinary);

/* ---- reading ---- */

struct frame {
    struct frame_header header;
    size_t size;           /* the whole frame's */
    struct slice messages; /* those not read yet; lent by the bytes it was read from */
};

/* Everything about it is checked here, once. ERR_VERSION, ERR_CORRUPT. */
enum error frame_read(struct slice bytes, struct frame *frame);

/* What of a peer was heard last; zeroed at first. */
struct frame_order {
    uint64_t connection; /* 0 = none so far */
    uint64_t stream;
    uint64_t position; /* of the next frame */
};

/* May a frame that came in on `connection` (numbers grow, from 1) be taken? Not when it comes from
 * a connection that was replaced since, nor when it does not follow the one before: the sender then
 * put it into a new connection before it knew that the old one, with frames in it, was lost. It
 * will begin a new stream once it does. What we did not hear from the start begins anywhere. */
bool frame_order_accepts(struct frame_order *order, uint64_t connection, const struct frame *frame);

/* False when there is no further message. */
bool frame_next(struct frame *frame, enum env_channel *channel, struct slice *message);

#endif
