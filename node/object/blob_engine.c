#include "node/object/blob_engine.h"

#include <xxhash.h>

enum { COMMAND_PUT = 1, COMMAND_RELEASE = 2, QUERY_GET = 3 }; /* on the wire: never renumber */

/* Keys: 'c' sha256 number -> checksum, bytes;  'o' sha256 number owner -> nothing;
 * 'n' sha256 number -> how many owners. */
#define CHUNK_NAME_BYTES (BLOB_SHA256_BYTES + 4)
#define CHUNK_KEY_BYTES (1 + CHUNK_NAME_BYTES)
#define OWNER_KEY_BYTES (CHUNK_KEY_BYTES + BLOB_OWNER_BYTES)

static void command_head(struct buffer *command, uint8_t operation, struct blob_chunk chunk)
{
    buffer_put_u8(command, operation);
    buffer_put(command, chunk.sha256, BLOB_SHA256_BYTES);
    buffer_put_u32(command, chunk.number);
}

void blob_engine_put_command(struct buffer *command, struct blob_chunk chunk, const uint8_t *owner,
                             struct slice bytes)
{
    command_head(command, COMMAND_PUT, chunk);
    buffer_put(command, owner, BLOB_OWNER_BYTES);
    buffer_put_u64(command, XXH3_64bits(bytes.data, bytes.size));
    buffer_put_slice(command, bytes);
}

void blob_engine_release_command(struct buffer *command, struct blob_chunk chunk,
                                 const uint8_t *owner)
{
    command_head(command, COMMAND_RELEASE, chunk);
    buffer_put(command, owner, BLOB_OWNER_BYTES);
}

void blob_engine_get_query(struct buffer *query, struct blob_chunk chunk)
{
    command_head(query, QUERY_GET, chunk);
}

enum error blob_engine_reply(struct slice reply, struct slice *bytes)
{
    struct reader reader = reader_of(reply);
    uint32_t rc = reader_u32(&reader);

    if (!reader.ok || rc >= ERROR_COUNT)
        return ERR_INVALID;
    if (rc == OK && bytes != NULL)
        *bytes = reader.rest;
    return (enum error)rc;
}

static void reply_put(struct buffer *reply, enum error rc)
{
    buffer_put_u32(reply, (uint32_t)rc);
}

static void chunk_key(uint8_t kind, struct slice name, uint8_t key[CHUNK_KEY_BYTES])
{
    key[0] = kind;
    memcpy(key + 1, name.data, CHUNK_NAME_BYTES);
}

static void owner_key(struct slice name, struct slice owner, uint8_t key[OWNER_KEY_BYTES])
{
    chunk_key('o', name, key);
    memcpy(key + CHUNK_KEY_BYTES, owner.data, BLOB_OWNER_BYTES);
}

static bool is_owner(struct shard_state *state, struct slice name, struct slice owner)
{
    struct buffer nothing = BUFFER_INIT(0);
    uint8_t key[OWNER_KEY_BYTES];

    owner_key(name, owner, key);
    return shard_get(state, slice_of(key, sizeof(key)), &nothing) == OK;
}

static uint32_t owner_count(struct shard_state *state, struct slice name)
{
    struct buffer value = BUFFER_INIT(4);
    uint8_t key[CHUNK_KEY_BYTES];
    struct reader reader;
    uint32_t count = 0;

    chunk_key('n', name, key);
    if (shard_get(state, slice_of(key, sizeof(key)), &value) == OK) {
        reader = reader_of(buffer_slice(&value));
        count = reader_u32(&reader);
    }
    buffer_close(&value);
    return count;
}

static void set_owner_count(struct shard_state *state, struct slice name, uint32_t count)
{
    struct buffer value = BUFFER_INIT(4);
    uint8_t key[CHUNK_KEY_BYTES];

    chunk_key('n', name, key);
    buffer_put_u32(&value, count);
    if (count > 0)
        shard_put(state, slice_of(key, sizeof(key)), buffer_slice(&value));
    else
        shard_delete(state, slice_of(key, sizeof(key)));
    buffer_close(&value);
}

static enum error put(struct shard_state *state, struct slice name, struct reader *reader)
{
    struct slice owner = reader_bytes(reader, BLOB_OWNER_BYTES);
    struct slice value = reader->rest; /* checksum and bytes, stored as they came */
    uint64_t checksum = reader_u64(reader);
    uint8_t key[OWNER_KEY_BYTES];

    if (!reader->ok || reader->rest.size > BLOB_CHUNK_BYTES)
        return ERR_INVALID;
    if (XXH3_64bits(reader->rest.data, reader->rest.size) != checksum)
        return ERR_CORRUPT;
    if (is_owner(state, name, owner))
        return OK;
    if (owner_count(state, name) == 0) { /* else the same bytes are there already */
        chunk_key('c', name, key);
        shard_put(state, slice_of(key, CHUNK_KEY_BYTES), value);
    }
    set_owner_count(state, name, owner_count(state, name) + 1);
    owner_key(name, owner, key);
    shard_put(state, slice_of(key, OWNER_KEY_BYTES), SLICE_LITERAL(""));
    return OK;
}

static enum error release(struct shard_state *state, struct slice name, struct reader *reader)
{
    struct slice owner = reader_bytes(reader, BLOB_OWNER_BYTES);
    uint8_t key[OWNER_KEY_BYTES];

    if (!reader->ok || reader->rest.size != 0)
        return ERR_INVALID;
    if (!is_owner(state, name, owner))
        return OK;
    owner_key(name, owner, key);
    shard_delete(state, slice_of(key, OWNER_KEY_BYTES));
    set_owner_count(state, name, owner_count(state, name) - 1);
    if (owner_count(state, name) == 0) {
        chunk_key('c', name, key);
        shard_delete(state, slice_of(key, CHUNK_KEY_BYTES));
    }
    return OK;
}

static void blob_apply(struct shard_state *state, const struct shard_moment *moment,
                       struct slice command, struct buffer *reply)
{
    struct reader reader = reader_of(command);
    uint8_t operation = reader_u8(&reader);
    struct slice name = reader_bytes(&reader, CHUNK_NAME_BYTES);
    enum error rc = ERR_INVALID;

    (void)moment;
    if (reader.ok && operation == COMMAND_PUT)
        rc = put(state, name, &reader);
    else if (reader.ok && operation == COMMAND_RELEASE)
        rc = release(state, name, &reader);
    reply_put(reply, rc);
}

/* Writes the reply's head and, behind it, the chunk. */
static void get(struct shard_state *state, struct slice name, struct buffer *reply)
{
    uint8_t key[CHUNK_KEY_BYTES];
    struct buffer value = BUFFER_INIT(8 + BLOB_CHUNK_BYTES);
    struct reader reader;
    uint64_t checksum;
    enum error rc;

    chunk_key('c', name, key);
    rc = shard_get(state, slice_of(key, sizeof(key)), &value);
    reader = reader_of(buffer_slice(&value));
    checksum = reader_u64(&reader);
    if (rc == OK && (!reader.ok || XXH3_64bits(reader.rest.data, reader.rest.size) != checksum))
        rc = ERR_CORRUPT;
    reply_put(reply, rc);
    if (rc == OK)
        buffer_put_slice(reply, reader.rest);
    buffer_close(&value);
}

static void blob_read(struct shard_state *state, struct slice query, struct buffer *reply)
{
    struct reader reader = reader_of(query);
    uint8_t operation = reader_u8(&reader);
    struct slice name = reader_bytes(&reader, CHUNK_NAME_BYTES);

    if (reader.ok && operation == QUERY_GET && reader.rest.size == 0)
        get(state, name, reply);
    else
        reply_put(reply, ERR_INVALID);
}

const struct shard_engine blob_engine = {
    .id = SHARD_ENGINE_BLOB,
    .apply = blob_apply,
    .read = blob_read,
};
