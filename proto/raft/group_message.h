/* What groups say to each other: libraft's messages, ReadIndex probes, and chunks of snapshots.
 *
 * Every message carries the life of the process that sends it and, once known, of the one it is
 * for, so that nothing sent to a process reaches its successor. Little endian:
 *
 *   u8 version   u8 type   u16 flags   u32 count   u64 group   u64 term   u32 from   u32 to
 *
 * and behind it what the type says. All is checked on receipt: lengths, counts, kinds, terms. */

#ifndef PROTO_RAFT_GROUP_MESSAGE_H
#define PROTO_RAFT_GROUP_MESSAGE_H

#include "proto/base/buffer.h"

#include <raft.h>

#define GROUP_MESSAGE_ENTRIES_MAX 65536u
#define GROUP_MESSAGE_PROBES_MAX 65536u
#define GROUP_MESSAGE_HEADER_BYTES 32u

enum group_message_type {
    GROUP_MESSAGE_APPEND = RAFT_IO_APPEND_ENTRIES, /* u64 previous index, previous term, commit;
                                                      count x (u64 term, u32 bytes, u8 kind, 3 x 0);
                                                      the entries' bytes */
    GROUP_MESSAGE_APPEND_RESULT,                   /* u64 rejected, last index */
    GROUP_MESSAGE_VOTE,                            /* u64 last index, last term */
    GROUP_MESSAGE_VOTE_RESULT,
    GROUP_MESSAGE_INSTALL,      /* u64 last index, last term, configuration's index, stream; its
                                   bytes */
    GROUP_MESSAGE_TIMEOUT_NOW,  /* u64 last index, last term */
    GROUP_MESSAGE_PROBE = 16,   /* term: number of the probe; count x (u64 group, u64 term) */
    GROUP_MESSAGE_PROBE_RESULT, /* likewise: those that agree */
    GROUP_MESSAGE_HELLO,        /* nothing: `from` is what matters */
    GROUP_MESSAGE_CHUNK = 32,   /* term: of the leader; u64 stream, number, checksum; bytes */
    GROUP_MESSAGE_CHUNK_RESULT  /* u64 stream, number of the next chunk */
};

enum group_message_flag {
    GROUP_MESSAGE_CONFIRMED = 1,  /* APPEND: a majority without the receiver agreed to the term */
    GROUP_MESSAGE_EMPTY_LOG = 1,  /* APPEND_RESULT: nothing is stored here */
    GROUP_MESSAGE_VOTELESS = 2,   /* APPEND_RESULT: not to be counted */
    GROUP_MESSAGE_DISRUPT = 1,    /* VOTE: although there is a leader */
    GROUP_MESSAGE_PREVOTE = 2,    /* VOTE, VOTE_RESULT */
    GROUP_MESSAGE_GRANTED = 1,    /* VOTE_RESULT */
    GROUP_MESSAGE_LAST_CHUNK = 1, /* CHUNK */
    GROUP_MESSAGE_ABORT = 1       /* CHUNK_RESULT: this stream is not known here */
};

struct group_message {
    uint8_t type;
    uint16_t flags;
    uint32_t count;
    uint64_t group;
    uint64_t term;
    uint32_t from;
    uint32_t to;          /* 0 = not known */
    uint64_t numbers[4];  /* the u64 in front of what follows */
    struct slice items;   /* `count` items */
    struct slice payload; /* the bytes behind */
};

/* ERR_INVALID, ERR_VERSION. The slices are lent as long as `bytes` are. */
enum error group_message_read(struct slice bytes, struct group_message *message);

void group_message_put(struct buffer *to, const struct group_message *message);

/* `count` entries of an AppendEntries from its entry `first` on; else both are 0. */
void group_message_put_raft(struct buffer *to, const struct group_message *header,
                            const struct raft_message *raft, unsigned first, unsigned count);

/* Addresses an encoded message to another receiver. */
void group_message_readdress(struct buffer *bytes, uint16_t flags, uint32_t to);

/* The raft message in it. What it allocates is libraft's once received. `address` stays lent. */
void group_message_to_raft(const struct group_message *message, uint64_t peer, const char *address,
                           struct raft_message *raft);

/* One of the items of a PROBE or its result. */
static inline void group_message_probe(const struct group_message *message, uint32_t i,
                                       uint64_t *group, uint64_t *term)
{
    struct reader reader = reader_of(slice_of(message->items.data + i * 16, 16));

    *group = reader_u64(&reader);
    *term = reader_u64(&reader);
}

#endif
