/* The bytes of a shard's log entries and of the calls between gateways and replicas. Flat and
 * versioned, little endian; they are on the hot path, so no message object is built.
 *
 *   entry    version u8 = 1, wall_ms u64, random u64, count u32, then `count` commands
 *   command  session u64, sequence u64, settled u64, engine u8, size u32, body
 *   write    shard u32, then one command          (CALL_SHARD_WRITE; answer: the engine's reply)
 *   read     shard u32, strong u8, engine u8, query (CALL_SHARD_READ; answer likewise)
 *
 * An answer with ERR_NOT_LEADER carries the leader's id (u64), 0 if unknown. */

#ifndef NODE_SHARD_SHARD_MESSAGE_H
#define NODE_SHARD_SHARD_MESSAGE_H

#include "proto/base/buffer.h"

#define SHARD_MESSAGE_COMMAND_BYTES_MAX (5u << 20)

struct shard_message_command {
    uint64_t session;  /* of the gateway; 0 = never retried, not remembered */
    uint64_t sequence; /* the gateway's, counted for each shard */
    uint64_t settled;  /* the gateway will never ask again for anything below */
    uint8_t engine;
    struct slice body;
};

struct shard_message_entry {
    uint64_t wall_ms;
    uint64_t random;
    uint32_t count;
    struct reader commands;
};

/* Writing an entry: begin, add each command, end. */
void shard_message_entry_begin(struct buffer *entry, uint64_t wall_ms, uint64_t random);
void shard_message_entry_add(struct buffer *entry, const struct shard_message_command *command);
void shard_message_entry_end(struct buffer *entry, uint32_t count);

/* Checks the whole form first. ERR_INVALID, ERR_VERSION: `entry` has no commands. */
enum error shard_message_entry_read(struct slice bytes, struct shard_message_entry *entry);
/* ERR_END after the last. */
enum error shard_message_entry_next(struct shard_message_entry *entry,
                                    struct shard_message_command *command);

void shard_message_write_put(struct buffer *body, uint32_t shard,
                             const struct shard_message_command *command);
enum error shard_message_write_read(struct slice body, uint32_t *shard,
                                    struct shard_message_command *command);

void shard_message_read_put(struct buffer *body, uint32_t shard, bool is_strong, uint8_t engine,
                            struct slice query);
enum error shard_message_read_read(struct slice body, uint32_t *shard, bool *is_strong,
                                   uint8_t *engine, struct slice *query);

#endif
