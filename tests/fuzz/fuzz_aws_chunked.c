/* Decoded whole and in pieces must be the same. The first byte of the input chooses the payload and
 * the size of the pieces. */

#include "node/auth/aws_chunked.h"
#include "proto/base/check.h"

#define DATA_BYTES_MAX 65536

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static enum error find_secret(void *user, struct slice access_key, struct slice *secret)
{
    (void)user, (void)access_key, (void)secret;
    return ERR_NOT_FOUND;
}

static enum error decode(struct sigv4 *sigv4, const struct sigv4_identity *identity,
                         struct slice bytes, size_t piece, struct buffer *to)
{
    struct aws_chunked chunked;
    enum error rc = OK;

    aws_chunked_init(&chunked, sigv4, identity, DATA_BYTES_MAX);
    for (size_t at = 0; at < bytes.size && (rc == OK || rc == ERR_END); at += piece) {
        size_t count = bytes.size - at < piece ? bytes.size - at : piece;

        rc = aws_chunked_decode(&chunked, slice_of(bytes.data + at, count), to);
    }
    (void)aws_chunked_trailer(&chunked, "x-amz-checksum-crc32");
    aws_chunked_close(&chunked);
    return rc;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const enum sigv4_payload payloads[] = {SIGV4_PAYLOAD_CHUNKS_SIGNED,
                                                  SIGV4_PAYLOAD_CHUNKS_SIGNED_TRAILER,
                                                  SIGV4_PAYLOAD_CHUNKS_UNSIGNED};
    AUTO(buffer) whole = BUFFER_INIT(BUFFER_UNLIMITED);
    AUTO(buffer) pieces = BUFFER_INIT(BUFFER_UNLIMITED);

    if (size < 2)
        return 0;
    const struct sigv4_identity identity = {
        .payload = payloads[data[0] % ARRAY_COUNT(payloads)],
        .amz_date = SLICE_LITERAL("20130524T000000Z"),
        .scope = SLICE_LITERAL("20130524/us-east-1/s3/aws4_request"),
        .signature =
            SLICE_LITERAL("4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9")};
    struct slice bytes = slice_of(data + 1, size - 1);
    struct sigv4 *sigv4 = sigv4_new(find_secret, NULL);
    enum error rc = decode(sigv4, &identity, bytes, bytes.size, &whole);

    CHECK(rc == decode(sigv4, &identity, bytes, (size_t)data[0] / 3 + 1, &pieces));
    if (rc == ERR_END)
        CHECK(slice_equal(buffer_slice(&whole), buffer_slice(&pieces)));
    sigv4_free(sigv4);
    return 0;
}
