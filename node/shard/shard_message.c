#include "node/shard/shard_message.h"

#include "proto/base/check.h"

#define ENTRY_VERSION 1
#define ENTRY_COUNT_OFFSET 17

static void command_put(struct buffer *to, const struct shard_message_command *command)
{
    CHECK(command->body.size <= SHARD_MESSAGE_COMMAND_BYTES_MAX);
    buffer_put_u64(to, command->session);
    buffer_put_u64(to, command->sequence);
    buffer_put_u64(to, command->settled);
    buffer_put_u8(to, command->engine);
    buffer_put_u32(to, (uint32_t)command->body.size);
    buffer_put_slice(to, command->body);
}

static enum error command_read(struct reader *reader, struct shard_message_command *command)
{
    struct shard_message_command read = {
        .session = reader_u64(reader),
        .sequence = reader_u64(reader),
        .settled = reader_u64(reader),
        .engine = reader_u8(reader),
    };

    read.body = reader_bytes(reader, reader_u32(reader));
    if (!reader->ok || read.body.size > SHARD_MESSAGE_COMMAND_BYTES_MAX)
        return ERR_INVALID;
    *command = read;
    return OK;
}

void shard_message_entry_begin(struct buffer *entry, uint64_t wall_ms, uint64_t random)
{
    buffer_put_u8(entry, ENTRY_VERSION);
    buffer_put_u64(entry, wall_ms);
    buffer_put_u64(entry, random);
    buffer_put_u32(entry, 0);
}

void shard_message_entry_add(struct buffer *entry, const struct shard_message_command *command)
{
    command_put(entry, command);
}

void shard_message_entry_end(struct buffer *entry, uint32_t count)
{
    for (int i = 0; i < 4; i++)
        entry->data[ENTRY_COUNT_OFFSET + i] = (uint8_t)(count >> (8 * i));
}

enum error shard_message_entry_read(struct slice bytes, struct shard_message_entry *entry)
{
    struct reader reader = reader_of(bytes);
    struct shard_message_command command;
    uint8_t version = reader_u8(&reader);
    struct shard_message_entry read = {
        .wall_ms = reader_u64(&reader),
        .random = reader_u64(&reader),
        .count = reader_u32(&reader),
    };

    *entry = (struct shard_message_entry){0};
    if (version != ENTRY_VERSION)
        return ERR_VERSION;
    read.commands = reader;
    for (uint32_t i = 0; i < read.count; i++)
        if (command_read(&reader, &command) != OK)
            return ERR_INVALID;
    if (!reader.ok || reader.rest.size > 0)
        return ERR_INVALID;
    *entry = read;
    return OK;
}

enum error shard_message_entry_next(struct shard_message_entry *entry,
                                    struct shard_message_command *command)
{
    if (entry->count == 0)
        return ERR_END;
    entry->count--;
    return command_read(&entry->commands, command);
}

void shard_message_write_put(struct buffer *body, uint32_t shard,
                             const struct shard_message_command *command)
{
    buffer_put_u32(body, shard);
    command_put(body, command);
}

enum error shard_message_write_read(struct slice body, uint32_t *shard,
                                    struct shard_message_command *command)
{
    struct reader reader = reader_of(body);
    uint32_t shard_read = reader_u32(&reader);
    struct shard_message_command command_found;
    enum error rc = command_read(&reader, &command_found);

    if (rc != OK || reader.rest.size > 0)
        return ERR_INVALID;
    *shard = shard_read;
    *command = command_found;
    return OK;
}

void shard_message_read_put(struct buffer *body, uint32_t shard, bool is_strong, uint8_t engine,
                            struct slice query)
{
    buffer_put_u32(body, shard);
    buffer_put_u8(body, is_strong);
    buffer_put_u8(body, engine);
    buffer_put_slice(body, query);
}

enum error shard_message_read_read(struct slice body, uint32_t *shard, bool *is_strong,
                                   uint8_t *engine, struct slice *query)
{
    struct reader reader = reader_of(body);
    uint32_t shard_read = reader_u32(&reader);
    uint8_t strong_read = reader_u8(&reader);
    uint8_t engine_read = reader_u8(&reader);

    if (!reader.ok || strong_read > 1)
        return ERR_INVALID;
    *shard = shard_read;
    *is_strong = strong_read == 1;
    *engine = engine_read;
    *query = reader.rest;
    return OK;
}
