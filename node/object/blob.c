/* One transfer is a window of BLOB_IN_FLIGHT chunks that slides over the blob: chunk n goes through
 * slot n % BLOB_IN_FLIGHT, and may be asked for once all chunks before n - BLOB_IN_FLIGHT are done.
 *
 *   asked -> done -> (all before it done) taken: appended and hashed, the slot is free again
 *     |
 *     +-> failed from the nearest replica -> asked from the leader -> done, or the transfer fails
 *
 * Every answer notes its result in its slot and calls transfer_tick. */

#include "node/object/blob.h"

#include "proto/base/check.h"

#include <openssl/evp.h>

#define BLOB_DEADLINE_MS 10000 /* of one chunk, retries and failover included */
#define CHUNK_COUNT_MAX (BLOB_BYTES_MAX / BLOB_CHUNK_BYTES)

static void slot_on_answer(struct shard_request *request, enum error rc, struct slice reply);

uint32_t blob_chunk_count(uint64_t bytes)
{
    CHECK(bytes <= BLOB_BYTES_MAX);
    return bytes == 0 ? 1 : (uint32_t)((bytes + BLOB_CHUNK_BYTES - 1) / BLOB_CHUNK_BYTES);
}

static struct slice source_chunk(const struct blob_transfer *transfer, uint32_t number)
{
    size_t start = (size_t)number * BLOB_CHUNK_BYTES;
    size_t rest = transfer->source.size - start;

    return slice_of(transfer->source.data + start,
                    rest < BLOB_CHUNK_BYTES ? rest : BLOB_CHUNK_BYTES);
}

/* Send the slot's chunk, or ask for it. */
static void slot_start(struct blob_slot *slot)
{
    struct blob_transfer *transfer = slot->transfer;
    struct blob_chunk chunk = {transfer->sha256, slot->number};
    struct buffer command = BUFFER_INIT(BLOB_CHUNK_BYTES + 128);
    struct buffer number = BUFFER_INIT(8);
    uint32_t shard;

    buffer_put_u64_big(&number, slot->number);
    shard = shard_router_shard_of(transfer->router, slice_of(transfer->sha256, BLOB_SHA256_BYTES),
                                  buffer_slice(&number));
    memset(&slot->request, 0, sizeof(slot->request));
    slot->is_in_flight = true;
    transfer->in_flight++;
    switch (transfer->kind) {
    case BLOB_PUT:
        blob_engine_put_command(&command, chunk, transfer->owner,
                                source_chunk(transfer, slot->number));
        break;
    case BLOB_RELEASE:
        blob_engine_release_command(&command, chunk, transfer->owner);
        break;
    case BLOB_GET:
        blob_engine_get_query(&command, chunk);
        break;
    }
    if (transfer->kind == BLOB_GET)
        shard_router_read(transfer->router, &slot->request, shard, SHARD_ENGINE_BLOB,
                          buffer_slice(&command), slot->is_strong ? SHARD_STRONG : SHARD_EVENTUAL,
                          NULL, BLOB_DEADLINE_MS, slot_on_answer);
    else
        shard_router_write(transfer->router, &slot->request, shard, SHARD_ENGINE_BLOB,
                           buffer_slice(&command), BLOB_DEADLINE_MS, slot_on_answer);
    buffer_close(&command);
    buffer_close(&number);
}

/* Take what the slot brought, now that everything before it is there. */
static void slot_take(struct blob_slot *slot)
{
    struct blob_transfer *transfer = slot->transfer;
    bool is_last = slot->number + 1 == transfer->chunk_count;

    slot->is_done = false;
    transfer->chunks_done++;
    if (transfer->kind == BLOB_GET) {
        if (!is_last && slot->bytes.size != BLOB_CHUNK_BYTES)
            transfer->rc = ERR_CORRUPT;
        CHECK(EVP_DigestUpdate(transfer->hash, slot->bytes.data, slot->bytes.size) == 1);
        buffer_put_slice(&transfer->content, buffer_slice(&slot->bytes));
        buffer_close(&slot->bytes);
    }
}

static void transfer_close(struct blob_transfer *transfer)
{
    for (size_t i = 0; i < BLOB_IN_FLIGHT; i++)
        buffer_close(&transfer->slots[i].bytes);
    buffer_close(&transfer->content);
    EVP_MD_CTX_free(transfer->hash);
    transfer->hash = NULL;
    transfer->chunk_count = 0;
}

static bool content_is_right(struct blob_transfer *transfer)
{
    uint8_t digest[EVP_MAX_MD_SIZE];

    CHECK(EVP_DigestFinal_ex(transfer->hash, digest, NULL) == 1);
    return memcmp(digest, transfer->sha256, BLOB_SHA256_BYTES) == 0;
}

static void transfer_finish(struct blob_transfer *transfer)
{
    blob_cb cb = transfer->cb;
    enum error rc = transfer->rc;
    struct buffer content = buffer_take(&transfer->content);

    if (rc == OK && transfer->kind == BLOB_GET && !content_is_right(transfer))
        rc = ERR_CORRUPT;
    transfer_close(transfer);
    cb(transfer, rc, rc == OK && transfer->kind == BLOB_GET ? &content : NULL);
    buffer_close(&content); /* ours: `transfer` may be gone by now */
}

static void transfer_tick(struct blob_transfer *transfer)
{
    struct blob_slot *slot = &transfer->slots[transfer->chunks_done % BLOB_IN_FLIGHT];

    while (transfer->rc == OK && slot->is_done) {
        slot_take(slot);
        slot = &transfer->slots[transfer->chunks_done % BLOB_IN_FLIGHT];
    }
    while (transfer->rc == OK && transfer->chunks_asked < transfer->chunk_count &&
           transfer->chunks_asked < transfer->chunks_done + BLOB_IN_FLIGHT) {
        slot = &transfer->slots[transfer->chunks_asked % BLOB_IN_FLIGHT];
        slot->number = transfer->chunks_asked++;
        slot->is_strong = false;
        slot_start(slot);
    }
    if (transfer->in_flight == 0)
        transfer_finish(transfer);
}

static void slot_on_answer(struct shard_request *request, enum error rc, struct slice reply)
{
    struct blob_slot *slot = container_of(request, struct blob_slot, request);
    struct blob_transfer *transfer = slot->transfer;
    struct slice bytes = {0};

    slot->is_in_flight = false;
    transfer->in_flight--;
    if (rc == OK)
        rc = blob_engine_reply(reply, &bytes);
    if (rc != OK && transfer->kind == BLOB_GET && !slot->is_strong && transfer->rc == OK) {
        slot->is_strong = true;
        slot_start(slot);
        return;
    }
    if (rc == OK) {
        slot->is_done = true;
        buffer_init(&slot->bytes, BLOB_CHUNK_BYTES);
        if (transfer->kind == BLOB_GET)
            rc = buffer_append_slice(&slot->bytes, bytes);
    }
    if (rc != OK && transfer->rc == OK)
        transfer->rc = rc;
    transfer_tick(transfer);
}

static void transfer_start(struct shard_router *router, struct blob_transfer *transfer,
                           enum blob_transfer_kind kind, const uint8_t *sha256,
                           uint32_t chunk_count, blob_cb cb)
{
    CHECK(chunk_count > 0 && chunk_count <= CHUNK_COUNT_MAX);
    transfer->router = router;
    transfer->cb = cb;
    transfer->kind = kind;
    transfer->chunk_count = chunk_count;
    memcpy(transfer->sha256, sha256, BLOB_SHA256_BYTES);
    for (size_t i = 0; i < BLOB_IN_FLIGHT; i++)
        transfer->slots[i].transfer = transfer;
    transfer_tick(transfer);
}

void blob_put(struct shard_router *router, struct blob_transfer *transfer,
              const uint8_t sha256[BLOB_SHA256_BYTES], const uint8_t owner[BLOB_OWNER_BYTES],
              struct slice bytes, blob_cb cb)
{
    memset(transfer, 0, sizeof(*transfer));
    memcpy(transfer->owner, owner, BLOB_OWNER_BYTES);
    transfer->source = bytes;
    transfer_start(router, transfer, BLOB_PUT, sha256, blob_chunk_count(bytes.size), cb);
}

void blob_release(struct shard_router *router, struct blob_transfer *transfer,
                  const uint8_t sha256[BLOB_SHA256_BYTES], const uint8_t owner[BLOB_OWNER_BYTES],
                  uint32_t chunk_count, blob_cb cb)
{
    memset(transfer, 0, sizeof(*transfer));
    memcpy(transfer->owner, owner, BLOB_OWNER_BYTES);
    transfer_start(router, transfer, BLOB_RELEASE, sha256, chunk_count, cb);
}

void blob_get(struct shard_router *router, struct blob_transfer *transfer,
              const uint8_t sha256[BLOB_SHA256_BYTES], uint32_t chunk_count, blob_cb cb)
{
    memset(transfer, 0, sizeof(*transfer));
    buffer_init(&transfer->content, (size_t)chunk_count * BLOB_CHUNK_BYTES);
    transfer->hash = EVP_MD_CTX_new();
    CHECK(transfer->hash != NULL);
    CHECK(EVP_DigestInit_ex(transfer->hash, EVP_sha256(), NULL) == 1);
    transfer_start(router, transfer, BLOB_GET, sha256, chunk_count, cb);
}

void blob_cancel(struct blob_transfer *transfer)
{
    if (transfer->chunk_count == 0)
        return;
    for (size_t i = 0; i < BLOB_IN_FLIGHT; i++) {
        if (transfer->slots[i].is_in_flight)
            shard_request_cancel(&transfer->slots[i].request);
    }
    transfer_close(transfer);
}
