/* Blobs as the gateways see them: bytes of any size, split into chunks over the shards.
 *
 * A few chunks travel at a time. A blob is put before anything refers to it and released after
 * nothing does; what a crash leaves between the two is unreachable bytes, never a blob with holes.
 * Loop thread only. */

#ifndef NODE_OBJECT_BLOB_H
#define NODE_OBJECT_BLOB_H

#include "node/object/blob_engine.h"
#include "node/shard/shard_router.h"

#define BLOB_IN_FLIGHT 4
#define BLOB_BYTES_MAX (256u << 20)

struct blob_transfer;

/* put, release: `content` is NULL. get: OK gives the blob, which is lent until the callback returns
 * (buffer_take it to keep it).
 * ERR_NOT_FOUND: a chunk is missing. ERR_CORRUPT: the bytes do not have this SHA-256. The router's
 * errors as they are. */
typedef void (*blob_cb)(struct blob_transfer *transfer, enum error rc, struct buffer *content);

struct blob_slot {
    struct shard_request request;
    struct blob_transfer *transfer;
    struct buffer bytes; /* get: the chunk, until those before it are there */
    uint32_t number;
    bool is_in_flight;
    bool is_done; /* answered, waiting for those before it */
    bool is_strong;
};

enum blob_transfer_kind { BLOB_PUT = 1, BLOB_RELEASE, BLOB_GET };

struct blob_transfer { /* embedded, zeroed at first; blob.c's until the callback */
    blob_cb cb;
    struct shard_router *router;
    enum blob_transfer_kind kind;
    uint8_t sha256[BLOB_SHA256_BYTES];
    uint8_t owner[BLOB_OWNER_BYTES];
    struct slice source;   /* put: the caller's bytes */
    struct buffer content; /* get: the chunks so far */
    void *hash;            /* get: EVP_MD_CTX over them */
    uint32_t chunk_count;
    uint32_t chunks_asked; /* chunk n is asked for through slot n % BLOB_IN_FLIGHT */
    uint32_t chunks_done;  /* all before this one */
    uint32_t in_flight;
    enum error rc; /* the first failure; nothing is sent after it */
    struct blob_slot slots[BLOB_IN_FLIGHT];
};

/* Chunks of a blob of that size; an empty one has one empty chunk. */
uint32_t blob_chunk_count(uint64_t bytes);

/* Store `bytes` for `owner`. `bytes` is borrowed until the callback; the arrays are copied. Each of
 * the three gives exactly one callback, after it returned. */
void blob_put(struct shard_router *router, struct blob_transfer *transfer,
              const uint8_t sha256[BLOB_SHA256_BYTES], const uint8_t owner[BLOB_OWNER_BYTES],
              struct slice bytes, blob_cb cb);
void blob_release(struct shard_router *router, struct blob_transfer *transfer,
                  const uint8_t sha256[BLOB_SHA256_BYTES], const uint8_t owner[BLOB_OWNER_BYTES],
                  uint32_t chunk_count, blob_cb cb);
/* Reads from the nearest replicas; a chunk that is not there yet is asked for again from its
 * leader. The whole is checked against `sha256`. */
void blob_get(struct shard_router *router, struct blob_transfer *transfer,
              const uint8_t sha256[BLOB_SHA256_BYTES], uint32_t chunk_count, blob_cb cb);

/* No callback comes after this; frees what the transfer holds. Nothing when not in flight. A put or
 * release may yet happen. */
void blob_cancel(struct blob_transfer *transfer);

#endif
