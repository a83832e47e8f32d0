#include "node/auth/sigv4.h"

#include "node/auth/sigv4_canonical.h"
#include "proto/base/check.h"
#include "proto/base/encode.h"
#include "proto/base/map.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>

#define BLOCK_BYTES 64 /* of SHA-256 */
#define SKEW_MS (5 * 60 * 1000)
#define SKEW_S3_MS (15 * 60 * 1000)
#define KEYS_CACHED_MAX 256
#define EMPTY_SHA256 "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

struct cached_key {
    struct slice secret; /* behind the struct: the key is good as long as this is the secret */
    uint8_t key[SIGV4_KEY_BYTES];
    uint8_t secret_bytes[];
};

struct sigv4 {
    sigv4_find_secret find_secret;
    void *user;
    EVP_MD *sha256;
    EVP_MD_CTX *context;     /* one is enough: hashes do not overlap */
    struct map keys;         /* credential -> struct cached_key */
    struct buffer canonical; /* keeps its memory */
};

struct sigv4 *sigv4_new(sigv4_find_secret find_secret, void *user)
{
    struct sigv4 *sigv4 = check_calloc(1, sizeof(*sigv4));

    sigv4->find_secret = find_secret;
    sigv4->user = user;
    sigv4->sha256 = EVP_MD_fetch(NULL, "SHA256", NULL);
    sigv4->context = EVP_MD_CTX_new();
    CHECK(sigv4->sha256 != NULL);
    CHECK(sigv4->context != NULL);
    map_init(&sigv4->keys);
    buffer_init(&sigv4->canonical, BUFFER_UNLIMITED);
    return sigv4;
}

static void forget_keys(struct sigv4 *sigv4)
{
    struct map_entry *entry;
    size_t position = 0;

    while ((entry = map_next(&sigv4->keys, &position)) != NULL) {
        struct cached_key *cached = entry->value;

        OPENSSL_cleanse(cached, sizeof(*cached) + cached->secret.size);
        free(cached);
    }
    map_close(&sigv4->keys);
}

void sigv4_free(struct sigv4 *sigv4)
{
    if (sigv4 == NULL)
        return;
    forget_keys(sigv4);
    EVP_MD_CTX_free(sigv4->context);
    EVP_MD_free(sigv4->sha256);
    buffer_close(&sigv4->canonical);
    free(sigv4);
}

/* ---- hashes --------------------------------------------------------------------------------- */

/* SHA-256 of a prefix and a text. */
static void hash_two(struct sigv4 *sigv4, struct slice prefix, struct slice text,
                     uint8_t digest[SIGV4_KEY_BYTES])
{
    CHECK(EVP_DigestInit_ex2(sigv4->context, sigv4->sha256, NULL) == 1);
    CHECK(EVP_DigestUpdate(sigv4->context, prefix.data, prefix.size) == 1);
    CHECK(EVP_DigestUpdate(sigv4->context, text.data, text.size) == 1);
    CHECK(EVP_DigestFinal_ex(sigv4->context, digest, NULL) == 1);
}

/* RFC 2104 on the one context: EVP_MAC would set up four for every call, at three times the cost.
 */
static void hmac(struct sigv4 *sigv4, struct slice key, struct slice text,
                 uint8_t digest[SIGV4_KEY_BYTES])
{
    uint8_t inner[BLOCK_BYTES] = {0};
    uint8_t outer[BLOCK_BYTES];

    if (key.size > BLOCK_BYTES)
        hash_two(sigv4, key, (struct slice){NULL, 0}, inner);
    else
        memcpy(inner, key.data, key.size);
    for (size_t i = 0; i < BLOCK_BYTES; i++) {
        outer[i] = inner[i] ^ 0x5c;
        inner[i] ^= 0x36;
    }
    hash_two(sigv4, slice_of(inner, sizeof(inner)), text, digest);
    hash_two(sigv4, slice_of(outer, sizeof(outer)), slice_of(digest, SIGV4_KEY_BYTES), digest);
}

void sigv4_hash(struct sigv4 *sigv4, struct slice bytes, char digest[SIGV4_HEX_BYTES + 1])
{
    uint8_t raw[SIGV4_KEY_BYTES];

    hash_two(sigv4, (struct slice){NULL, 0}, bytes, raw);
    encode_hex(slice_of(raw, sizeof(raw)), digest);
}

void sigv4_sign(struct sigv4 *sigv4, const uint8_t key[SIGV4_KEY_BYTES], struct slice text,
                char signature[SIGV4_HEX_BYTES + 1])
{
    uint8_t raw[SIGV4_KEY_BYTES];

    hmac(sigv4, slice_of(key, SIGV4_KEY_BYTES), text, raw);
    encode_hex(slice_of(raw, sizeof(raw)), signature);
}

void sigv4_derive_key(struct sigv4 *sigv4, struct slice secret, struct slice date,
                      struct slice region, struct slice service, uint8_t key[SIGV4_KEY_BYTES])
{
    AUTO(buffer) first = BUFFER_INIT(BUFFER_UNLIMITED);
    const struct slice whole = slice_of(key, SIGV4_KEY_BYTES);

    buffer_put_text(&first, "AWS4");
    buffer_put_slice(&first, secret);
    hmac(sigv4, buffer_slice(&first), date, key);
    hmac(sigv4, whole, region, key);
    hmac(sigv4, whole, service, key);
    hmac(sigv4, whole, SLICE_LITERAL("aws4_request"), key);
    OPENSSL_cleanse(first.data, first.size);
}

/* ---- signing keys --------------------------------------------------------------------------- */

static bool find_cached(const struct sigv4 *sigv4, const struct sigv4_identity *identity,
                        struct slice secret, uint8_t key[SIGV4_KEY_BYTES])
{
    const struct cached_key *cached = map_find(&sigv4->keys, identity->credential);

    if (cached == NULL || !slice_equal(cached->secret, secret))
        return false;
    memcpy(key, cached->key, SIGV4_KEY_BYTES);
    return true;
}

/* Only keys that have verified something come here, so nobody without a secret can fill it. */
static void remember(struct sigv4 *sigv4, const struct sigv4_identity *identity,
                     struct slice secret)
{
    struct cached_key *cached = check_malloc(sizeof(*cached) + secret.size);

    if (sigv4->keys.count == KEYS_CACHED_MAX)
        forget_keys(sigv4);
    memcpy(cached->key, identity->key, SIGV4_KEY_BYTES);
    if (secret.size > 0)
        memcpy(cached->secret_bytes, secret.data, secret.size);
    cached->secret = slice_of(cached->secret_bytes, secret.size);
    free(map_set(&sigv4->keys, identity->credential, cached));
}

/* ---- time ----------------------------------------------------------------------------------- */

static uint64_t decimal(struct slice text, size_t at, size_t digits)
{
    uint64_t value = 0;

    for (size_t i = at; i < at + digits; i++)
        value = value * 10 + (uint64_t)(text.data[i] - '0');
    return value;
}

/* Days since 1970 of a date in the Gregorian calendar (Hinnant, "days_from_civil"). */
static uint64_t days_of(uint64_t year, uint64_t month, uint64_t day)
{
    uint64_t y = month <= 2 ? year - 1 : year;
    uint64_t day_of_year = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1;

    return y * 365 + y / 4 - y / 100 + y / 400 + day_of_year - 719468;
}

/* "20261123T130451Z" */
static bool read_time(struct slice text, uint64_t *wall_ms)
{
    static const char form[] = "ddddddddTddddddZ";

    for (size_t i = 0; i < text.size; i++) {
        bool is_digit = text.data[i] >= '0' && text.data[i] <= '9';

        if (form[i] == 'd' ? !is_digit : text.data[i] != (uint8_t)form[i])
            return false;
    }
    uint64_t year = decimal(text, 0, 4);
    uint64_t month = decimal(text, 4, 2);
    uint64_t day = decimal(text, 6, 2);
    uint64_t hour = decimal(text, 9, 2);
    uint64_t minute = decimal(text, 11, 2);
    uint64_t second = decimal(text, 13, 2);

    if (year < 1970 || month < 1 || month > 12 || day < 1 || day > 31 || hour > 23 || minute > 59 ||
        second > 60)
        return false;
    *wall_ms = (((days_of(year, month, day) * 24 + hour) * 60 + minute) * 60 + second) * 1000;
    return true;
}

static enum sigv4_result check_time(const struct sigv4_identity *identity, uint64_t wall_ms)
{
    uint64_t skew_ms = slice_equal_text(identity->service, "s3") ? SKEW_S3_MS : SKEW_MS;
    uint64_t signed_ms;

    if (!read_time(identity->amz_date, &signed_ms))
        return SIGV4_MALFORMED;
    if (signed_ms > wall_ms + skew_ms)
        return SIGV4_SKEWED;
    if (identity->is_presigned)
        return wall_ms > signed_ms + identity->expires_s * 1000 ? SIGV4_EXPIRED : SIGV4_OK;
    return wall_ms > signed_ms + skew_ms ? SIGV4_SKEWED : SIGV4_OK;
}

/* ---- what must be signed -------------------------------------------------------------------- */

static bool is_signed(const struct sigv4_header *header, struct slice names)
{
    while (names.size > 0) {
        const uint8_t *end = memchr(names.data, ';', names.size);
        size_t size = end != NULL ? (size_t)(end - names.data) : names.size;

        if (sigv4_is_header(header, slice_of(names.data, size)))
            return true;
        if (end == NULL)
            break;
        names = slice_of(end + 1, names.size - size - 1);
    }
    return false;
}

/* Host, and every header that means something to a service, such as X-Amz-Target. */
static bool must_be_signed(const struct sigv4_header *header)
{
    static const struct slice prefix = {(const uint8_t *)"x-amz-", 6};
    const struct sigv4_header start = {slice_of(header->name.data, prefix.size), {NULL, 0}};

    return sigv4_is_header(header, SLICE_LITERAL("host")) ||
           (header->name.size > prefix.size && sigv4_is_header(&start, prefix));
}

static bool is_all_signed(const struct sigv4_request *request,
                          const struct sigv4_identity *identity)
{
    bool has_host = false;

    for (size_t i = 0; i < request->header_count; i++) {
        const struct sigv4_header *header = &request->headers[i];

        if (!must_be_signed(header))
            continue;
        if (!is_signed(header, identity->signed_headers))
            return false;
        has_host = has_host || sigv4_is_header(header, SLICE_LITERAL("host"));
    }
    return has_host;
}

/* ---- the payload ---------------------------------------------------------------------------- */

static void hash_body(struct sigv4 *sigv4, struct slice body, char hash[SIGV4_HEX_BYTES + 1])
{
    if (body.size == 0)
        memcpy(hash, EMPTY_SHA256, SIGV4_HEX_BYTES + 1);
    else
        sigv4_hash(sigv4, body, hash);
}

/* ---- verification --------------------------------------------------------------------------- */

/* The signature the request ought to have. */
static enum error expected_signature(struct sigv4 *sigv4, const struct sigv4_request *request,
                                     const struct sigv4_identity *identity, struct slice payload,
                                     char signature[SIGV4_HEX_BYTES + 1])
{
    struct buffer *text = &sigv4->canonical;
    char hash[SIGV4_HEX_BYTES + 1];

    buffer_clear(text);
    enum error rc = sigv4_canonical_request(request, identity, payload, text);

    if (rc != OK)
        return rc;
    sigv4_hash(sigv4, buffer_slice(text), hash);
    buffer_clear(text);
    buffer_put_text(text, "AWS4-HMAC-SHA256\n");
    buffer_put_slice(text, identity->amz_date);
    buffer_put_u8(text, '\n');
    buffer_put_slice(text, identity->scope);
    buffer_put_u8(text, '\n');
    buffer_put(text, hash, SIGV4_HEX_BYTES);
    sigv4_sign(sigv4, identity->key, buffer_slice(text), signature);
    return OK;
}

static enum sigv4_result verify_signature(struct sigv4 *sigv4, const struct sigv4_request *request,
                                          struct sigv4_identity *identity)
{
    struct slice named = identity->payload_named;
    char body_hash[SIGV4_HEX_BYTES + 1] = "";
    char signature[SIGV4_HEX_BYTES + 1];

    if (identity->payload == SIGV4_PAYLOAD_HASHED)
        hash_body(sigv4, request->body, body_hash);
    if (named.data == NULL)
        named = slice_text(body_hash);
    if (expected_signature(sigv4, request, identity, named, signature) != OK)
        return SIGV4_MALFORMED;
    if (CRYPTO_memcmp(signature, identity->signature.data, SIGV4_HEX_BYTES) != 0)
        return SIGV4_MISMATCH;
    if (identity->payload != SIGV4_PAYLOAD_HASHED)
        return SIGV4_OK;
    identity->payload_hash_checked = slice_equal_text(named, body_hash);
    return identity->payload_hash_checked ? SIGV4_OK : SIGV4_PAYLOAD_MISMATCH;
}

enum sigv4_result sigv4_verify(struct sigv4 *sigv4, const struct sigv4_request *request,
                               uint64_t wall_ms, struct sigv4_identity *identity)
{
    struct slice secret;
    enum sigv4_result result = check_time(identity, wall_ms);

    if (sigv4->find_secret(sigv4->user, identity->access_key, &secret) != OK)
        return SIGV4_UNKNOWN_KEY;
    if (result != SIGV4_OK)
        return result;
    if (!is_all_signed(request, identity))
        return SIGV4_UNSIGNED_HEADER;
    bool was_cached = find_cached(sigv4, identity, secret, identity->key);

    if (!was_cached)
        sigv4_derive_key(sigv4, secret, identity->date, identity->region, identity->service,
                         identity->key);
    result = verify_signature(sigv4, request, identity);
    if (result != SIGV4_OK)
        OPENSSL_cleanse(identity->key, sizeof(identity->key));
    else if (!was_cached)
        remember(sigv4, identity, secret);
    return result;
}
