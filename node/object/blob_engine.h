/* Blobs on shards: immutable chunks of bytes, named by the SHA-256 of the whole blob and their
 * number in it.
 *
 * A chunk lives as long as somebody owns it: put adds the owner, release takes it away, and with
 * the last owner the bytes go. Putting and releasing twice changes nothing, so both may be retried
 * at will. Each chunk carries its own checksum: bytes that were damaged on the way in are refused,
 * damaged ones on the way out are reported. */

#ifndef NODE_OBJECT_BLOB_ENGINE_H
#define NODE_OBJECT_BLOB_ENGINE_H

#include "node/shard/shard_engine.h"

#define BLOB_SHA256_BYTES 32
#define BLOB_OWNER_BYTES 16
#define BLOB_CHUNK_BYTES (512u * 1024)

/* The chunk a command or query is about. */
struct blob_chunk {
    const uint8_t *sha256; /* BLOB_SHA256_BYTES, of the whole blob */
    uint32_t number;       /* from 0 */
};

extern const struct shard_engine blob_engine;

/* Commands and the query, as blob_engine reads them. `owner` is BLOB_OWNER_BYTES long. */
void blob_engine_put_command(struct buffer *command, struct blob_chunk chunk, const uint8_t *owner,
                             struct slice bytes);
void blob_engine_release_command(struct buffer *command, struct blob_chunk chunk,
                                 const uint8_t *owner);
void blob_engine_get_query(struct buffer *query, struct blob_chunk chunk);

/* The engine's verdict in a reply, and for a get the bytes (borrowed from it).
 * ERR_NOT_FOUND; ERR_CORRUPT: checksum wrong; ERR_INVALID: not a command or not a reply. */
enum error blob_engine_reply(struct slice reply, struct slice *bytes);

#endif
