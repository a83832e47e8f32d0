#include "node/auth/aws_chunked.h"

#include "proto/base/check.h"
#include "proto/base/encode.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>

#define LINE_BYTES_MAX 1024
#define TRAILER_BYTES_MAX 8192
#define SIZE_DIGITS_MAX 16
#define SIGNATURE_NAME "chunk-signature="
#define TRAILER_SIGNATURE "x-amz-trailer-signature"
#define EMPTY_SHA256 "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

enum { CHUNK_SIZE, CHUNK_DATA, CHUNK_DATA_END, CHUNK_TRAILER, CHUNK_ENDED };

static bool is_signed(const struct aws_chunked *chunked)
{
    return chunked->sigv4 != NULL &&
           (chunked->identity->payload == SIGV4_PAYLOAD_CHUNKS_SIGNED ||
            chunked->identity->payload == SIGV4_PAYLOAD_CHUNKS_SIGNED_TRAILER);
}

void aws_chunked_init(struct aws_chunked *chunked, struct sigv4 *sigv4,
                      const struct sigv4_identity *identity, size_t bytes_max)
{
    *chunked = (struct aws_chunked){.state = CHUNK_SIZE,
                                    .bytes_max = bytes_max,
                                    .line = BUFFER_INIT(LINE_BYTES_MAX),
                                    .trailers = BUFFER_INIT(TRAILER_BYTES_MAX),
                                    .sigv4 = sigv4,
                                    .identity = identity};
    if (!is_signed(chunked))
        return;
    memcpy(chunked->previous, identity->signature.data, SIGV4_HEX_BYTES);
    chunked->hash = EVP_MD_CTX_new();
    CHECK(chunked->hash != NULL);
}

void aws_chunked_close(struct aws_chunked *chunked)
{
    EVP_MD_CTX_free(chunked->hash);
    chunked->hash = NULL;
    buffer_close(&chunked->line);
    buffer_close(&chunked->trailers);
}

/* ---- signatures ----------------------------------------------------------------------------- */

/* Compare `claimed` with the signature over `kind`, the place in the chain and `hashes`. */
static enum error verify(struct aws_chunked *chunked, const char *kind, const char *hashes)
{
    const struct sigv4_identity *identity = chunked->identity;
    AUTO(buffer) text = BUFFER_INIT(BUFFER_UNLIMITED);
    char signature[SIGV4_HEX_BYTES + 1];

    buffer_put_text(&text, kind);
    buffer_put_u8(&text, '\n');
    buffer_put_slice(&text, identity->amz_date);
    buffer_put_u8(&text, '\n');
    buffer_put_slice(&text, identity->scope);
    buffer_putf(&text, "\n%s\n%s", chunked->previous, hashes);
    sigv4_sign(chunked->sigv4, identity->key, buffer_slice(&text), signature);
    memcpy(chunked->previous, signature, sizeof(signature));
    return CRYPTO_memcmp(signature, chunked->claimed, SIGV4_HEX_BYTES) == 0 ? OK : ERR_DENIED;
}

static void begin_hash(struct aws_chunked *chunked)
{
    if (chunked->hash != NULL)
        CHECK(EVP_DigestInit_ex2(chunked->hash, EVP_sha256(), NULL) == 1);
}

static enum error verify_chunk(struct aws_chunked *chunked)
{
    uint8_t digest[SIGV4_KEY_BYTES];
    char hashes[2 * SIGV4_HEX_BYTES + 2] = EMPTY_SHA256 "\n";

    if (chunked->hash == NULL)
        return OK;
    CHECK(EVP_DigestFinal_ex(chunked->hash, digest, NULL) == 1);
    encode_hex(slice_of(digest, sizeof(digest)), hashes + SIGV4_HEX_BYTES + 1);
    return verify(chunked, "AWS4-HMAC-SHA256-PAYLOAD", hashes);
}

static enum error verify_trailers(struct aws_chunked *chunked)
{
    char hash[SIGV4_HEX_BYTES + 1];

    if (chunked->hash == NULL || chunked->identity->payload != SIGV4_PAYLOAD_CHUNKS_SIGNED_TRAILER)
        return OK;
    if (chunked->claimed[0] == '\0')
        return ERR_DENIED;
    sigv4_hash(chunked->sigv4, buffer_slice(&chunked->trailers), hash);
    return verify(chunked, "AWS4-HMAC-SHA256-TRAILER", hash);
}

/* ---- lines ---------------------------------------------------------------------------------- */

static enum error claim(struct aws_chunked *chunked, struct slice signature)
{
    if (signature.size != SIGV4_HEX_BYTES)
        return chunked->hash != NULL ? ERR_DENIED : ERR_INVALID;
    memcpy(chunked->claimed, signature.data, SIGV4_HEX_BYTES);
    return OK;
}

static int hex_value(uint8_t c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* "c" or "c;chunk-signature=..." */
static enum error on_size_line(struct aws_chunked *chunked, struct slice line)
{
    const struct slice name = SLICE_LITERAL(SIGNATURE_NAME);
    size_t at = 0;

    chunked->left = 0;
    for (; at < line.size && hex_value(line.data[at]) >= 0; at++)
        chunked->left = chunked->left << 4 | (uint64_t)hex_value(line.data[at]);
    if (at == 0 || at > SIZE_DIGITS_MAX || (at < line.size && line.data[at] != ';'))
        return ERR_INVALID;
    if (chunked->left > chunked->bytes_max)
        return ERR_TOO_LARGE;
    struct slice extension = slice_of(line.data + at, line.size - at);

    if (extension.size > 0)
        extension = slice_of(extension.data + 1, extension.size - 1);
    if (slice_starts_with(extension, name)) {
        enum error rc =
            claim(chunked, slice_of(extension.data + name.size, extension.size - name.size));
        if (rc != OK)
            return rc;
    } else if (chunked->hash != NULL) {
        return ERR_DENIED;
    }
    begin_hash(chunked);
    if (chunked->left > 0) {
        chunked->state = CHUNK_DATA;
        return OK;
    }
    enum error rc = verify_chunk(chunked);

    chunked->claimed[0] = '\0'; /* the trailers have one of their own */
    chunked->state = CHUNK_TRAILER;
    return rc;
}

static struct slice trim(struct slice text)
{
    while (text.size > 0 && text.data[0] <= ' ')
        text = slice_of(text.data + 1, text.size - 1);
    while (text.size > 0 && text.data[text.size - 1] <= ' ')
        text.size--;
    return text;
}

/* "name:value"; an empty line ends it all. */
static enum error on_trailer_line(struct aws_chunked *chunked, struct slice line)
{
    if (line.size == 0) {
        enum error rc = verify_trailers(chunked);

        chunked->state = CHUNK_ENDED;
        return rc == OK ? ERR_END : rc;
    }
    const uint8_t *colon = memchr(line.data, ':', line.size);

    if (colon == NULL || colon == line.data)
        return ERR_INVALID;
    if (is_signed(chunked) && chunked->identity->payload == SIGV4_PAYLOAD_CHUNKS_SIGNED)
        return ERR_INVALID; /* nothing would vouch for them */
    struct slice name = slice_of(line.data, (size_t)(colon - line.data));
    struct slice value = trim(slice_of(colon + 1, line.size - name.size - 1));
    size_t start = chunked->trailers.size;

    if (memchr(name.data, '\n', name.size) != NULL ||
        (value.size > 0 && memchr(value.data, '\n', value.size) != NULL))
        return ERR_INVALID;
    enum error rc = buffer_append_slice(&chunked->trailers, name);

    for (size_t i = start; rc == OK && i < chunked->trailers.size; i++)
        if (chunked->trailers.data[i] >= 'A' && chunked->trailers.data[i] <= 'Z')
            chunked->trailers.data[i] |= 0x20;
    if (rc == OK &&
        slice_equal_text(slice_of(chunked->trailers.data + start, name.size), TRAILER_SIGNATURE)) {
        chunked->trailers.size = start;
        return claim(chunked, value);
    }
    if (rc == OK)
        rc = buffer_append_u8(&chunked->trailers, ':');
    if (rc == OK)
        rc = buffer_append_slice(&chunked->trailers, value);
    if (rc == OK)
        rc = buffer_append_u8(&chunked->trailers, '\n');
    return rc;
}

static enum error on_line(struct aws_chunked *chunked, struct slice line)
{
    switch (chunked->state) {
    case CHUNK_SIZE:
        return on_size_line(chunked, line);
    case CHUNK_DATA_END:
        chunked->state = CHUNK_SIZE;
        return line.size == 0 ? OK : ERR_INVALID;
    case CHUNK_TRAILER:
        return on_trailer_line(chunked, line);
    default:
        CHECK(false);
    }
}

/* ---- decoding ------------------------------------------------------------------------------- */

/* Takes bytes up to the end of a line; handles the line once it is whole. */
static enum error take_line(struct aws_chunked *chunked, struct slice *bytes)
{
    const uint8_t *feed = memchr(bytes->data, '\n', bytes->size);
    size_t size = feed != NULL ? (size_t)(feed - bytes->data) + 1 : bytes->size;
    enum error rc = buffer_append(&chunked->line, bytes->data, size);

    *bytes = slice_of(bytes->data + size, bytes->size - size);
    if (rc != OK)
        return ERR_INVALID;
    struct slice line = buffer_slice(&chunked->line);

    if (line.size < 2 || line.data[line.size - 1] != '\n' || line.data[line.size - 2] != '\r')
        return OK; /* some clients put a line feed of their own behind a trailer's value */
    buffer_clear(&chunked->line);
    return on_line(chunked, slice_of(line.data, line.size - 2));
}

static enum error take_data(struct aws_chunked *chunked, struct slice *bytes, struct buffer *to)
{
    size_t size = bytes->size < chunked->left ? bytes->size : (size_t)chunked->left;
    enum error rc = buffer_append(to, bytes->data, size);

    if (rc != OK)
        return rc;
    if (chunked->hash != NULL)
        CHECK(EVP_DigestUpdate(chunked->hash, bytes->data, size) == 1);
    *bytes = slice_of(bytes->data + size, bytes->size - size);
    chunked->left -= size;
    chunked->bytes_max -= size;
    if (chunked->left > 0)
        return OK;
    chunked->state = CHUNK_DATA_END;
    return verify_chunk(chunked);
}

enum error aws_chunked_decode(struct aws_chunked *chunked, struct slice bytes, struct buffer *to)
{
    enum error rc = OK;

    while (rc == OK && bytes.size > 0) {
        if (chunked->state == CHUNK_ENDED)
            rc = ERR_INVALID;
        else if (chunked->state == CHUNK_DATA)
            rc = take_data(chunked, &bytes, to);
        else
            rc = take_line(chunked, &bytes);
    }
    return rc == ERR_END && bytes.size > 0 ? ERR_INVALID : rc;
}

struct slice aws_chunked_trailer(const struct aws_chunked *chunked, const char *name)
{
    struct slice rest = buffer_slice(&chunked->trailers);
    size_t name_size = strlen(name);

    while (rest.size > 0) {
        const uint8_t *end = memchr(rest.data, '\n', rest.size);
        size_t size = (size_t)(end - rest.data);

        if (size > name_size && rest.data[name_size] == ':' &&
            memcmp(rest.data, name, name_size) == 0)
            return slice_of(rest.data + name_size + 1, size - name_size - 1);
        rest = slice_of(end + 1, rest.size - size - 1);
    }
    return (struct slice){NULL, 0};
}
