/* Reading who claims to have signed a request: the first half of sigv4.h. */

#include "node/auth/sigv4.h"

#include "node/auth/sigv4_canonical.h"
#include "proto/base/check.h"
#include "proto/base/encode.h"

#define ALGORITHM "AWS4-HMAC-SHA256"
#define AMZ_DATE_BYTES 16
#define EXPIRES_MAX_S (7 * 24 * 3600)

static bool is_digits(struct slice text)
{
    for (size_t i = 0; i < text.size; i++)
        if (text.data[i] < '0' || text.data[i] > '9')
            return false;
    return text.size > 0;
}

/* Cuts `text` at the last `separator`: returns what is behind it. data NULL when there is none. */
static struct slice cut_last(struct slice *text, uint8_t separator)
{
    for (size_t at = text->size; at > 0; at--) {
        if (text->data[at - 1] != separator)
            continue;
        struct slice behind = slice_of(text->data + at, text->size - at);

        text->size = at - 1;
        return behind;
    }
    return (struct slice){NULL, 0};
}

/* AKID/20261123/us-east-1/dynamodb/aws4_request */
static bool read_credential(struct slice credential, struct sigv4_identity *identity)
{
    struct slice rest = credential;
    struct slice terminator = cut_last(&rest, '/');

    identity->credential = credential;
    identity->service = cut_last(&rest, '/');
    identity->region = cut_last(&rest, '/');
    identity->date = cut_last(&rest, '/');
    identity->access_key = rest;
    if (identity->date.data == NULL)
        return false;
    identity->scope = slice_of(identity->date.data,
                               credential.size - (size_t)(identity->date.data - credential.data));
    return slice_equal_text(terminator, "aws4_request") && identity->service.size > 0 &&
           identity->region.size > 0 && identity->date.size == 8 && is_digits(identity->date) &&
           identity->access_key.size > 0;
}

/* Strictly ascending, in lower case: every name once, so the canonical form is never much longer
 * than the request. */
static bool are_signed_headers(struct slice names, size_t count_max)
{
    struct slice before = {NULL, 0};
    size_t count = 0;

    for (size_t i = 0; i < names.size; i++)
        if (names.data[i] >= 'A' && names.data[i] <= 'Z')
            return false;
    for (;;) {
        const uint8_t *end = names.size > 0 ? memchr(names.data, ';', names.size) : NULL;
        struct slice name =
            slice_of(names.data, end != NULL ? (size_t)(end - names.data) : names.size);

        if (name.size == 0 || slice_compare(before, name) >= 0 || ++count > count_max)
            return false;
        if (end == NULL)
            return true;
        before = name;
        names = slice_of(end + 1, names.size - name.size - 1);
    }
}

static bool is_signature(struct slice text)
{
    uint8_t digest[SIGV4_KEY_BYTES];

    return decode_hex(text, digest, sizeof(digest)) == OK;
}

static bool read_payload(struct slice named, enum sigv4_payload *payload)
{
    static const struct {
        const char *name;
        enum sigv4_payload payload;
    } names[] = {
        {"UNSIGNED-PAYLOAD", SIGV4_PAYLOAD_UNSIGNED},
        {"STREAMING-AWS4-HMAC-SHA256-PAYLOAD", SIGV4_PAYLOAD_CHUNKS_SIGNED},
        {"STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER", SIGV4_PAYLOAD_CHUNKS_SIGNED_TRAILER},
        {"STREAMING-UNSIGNED-PAYLOAD-TRAILER", SIGV4_PAYLOAD_CHUNKS_UNSIGNED},
    };

    for (size_t i = 0; i < ARRAY_COUNT(names); i++) {
        if (slice_equal_text(named, names[i].name)) {
            *payload = names[i].payload;
            return true;
        }
    }
    *payload = SIGV4_PAYLOAD_HASHED;
    return named.size == SIGV4_HEX_BYTES;
}

/* The hash as the client names it; data NULL when it names none. */
static struct slice find_payload(const struct sigv4_request *request,
                                 const struct sigv4_identity *identity)
{
    for (size_t i = 0; i < request->header_count; i++)
        if (sigv4_is_header(&request->headers[i], SLICE_LITERAL("x-amz-content-sha256")))
            return request->headers[i].value;
    if (identity->is_presigned && slice_equal_text(identity->service, "s3"))
        return SLICE_LITERAL("UNSIGNED-PAYLOAD");
    return (struct slice){NULL, 0};
}

static enum sigv4_result check_claim(const struct sigv4_request *request,
                                     struct sigv4_identity *identity)
{
    identity->payload_named = find_payload(request, identity);
    bool is_complete = identity->amz_date.size == AMZ_DATE_BYTES &&
                       slice_starts_with(identity->amz_date, identity->date) &&
                       are_signed_headers(identity->signed_headers, request->header_count) &&
                       is_signature(identity->signature) &&
                       (identity->payload_named.data == NULL ||
                        read_payload(identity->payload_named, &identity->payload));

    return is_complete ? SIGV4_OK : SIGV4_MALFORMED;
}

/* ---- header-signed -------------------------------------------------------------------------- */

static struct slice trim(struct slice text)
{
    while (text.size > 0 && text.data[0] == ' ')
        text = slice_of(text.data + 1, text.size - 1);
    while (text.size > 0 && text.data[text.size - 1] == ' ')
        text.size--;
    return text;
}

/* Behind the algorithm: Credential=..., SignedHeaders=..., Signature=... in any order. */
static bool read_authorization(struct slice rest, struct sigv4_identity *identity)
{
    bool is_fine = false;

    while (rest.size > 0) {
        const uint8_t *end = memchr(rest.data, ',', rest.size);
        size_t size = end != NULL ? (size_t)(end - rest.data) : rest.size;
        struct slice part = trim(slice_of(rest.data, size));
        const uint8_t *equals = part.size > 0 ? memchr(part.data, '=', part.size) : NULL;

        if (equals == NULL)
            return false;
        struct slice name = slice_of(part.data, (size_t)(equals - part.data));
        struct slice value = slice_of(equals + 1, part.size - name.size - 1);

        if (slice_equal_text(name, "Credential"))
            is_fine = read_credential(value, identity);
        else if (slice_equal_text(name, "SignedHeaders"))
            identity->signed_headers = value;
        else if (slice_equal_text(name, "Signature"))
            identity->signature = value;
        if (end == NULL)
            break;
        rest = slice_of(end + 1, rest.size - size - 1);
    }
    return is_fine;
}

static enum sigv4_result parse_header(const struct sigv4_request *request,
                                      struct slice authorization, struct sigv4_identity *identity)
{
    if (slice_starts_with(authorization, SLICE_LITERAL("AWS4-ECDSA")) ||
        slice_starts_with(authorization, SLICE_LITERAL("AWS ")))
        return SIGV4_UNSUPPORTED;
    if (!slice_starts_with(authorization, SLICE_LITERAL(ALGORITHM " ")))
        return SIGV4_MISSING; /* somebody else's scheme: Bearer, Basic */
    size_t skipped = strlen(ALGORITHM) + 1;

    for (size_t i = 0; i < request->header_count; i++)
        if (sigv4_is_header(&request->headers[i], SLICE_LITERAL("x-amz-date")))
            identity->amz_date = request->headers[i].value;
    if (!read_authorization(slice_of(authorization.data + skipped, authorization.size - skipped),
                            identity))
        return SIGV4_MALFORMED;
    return check_claim(request, identity);
}

/* ---- presigned ------------------------------------------------------------------------------ */

/* The decoded value in the arena; data NULL when absent or broken. */
static struct slice find_parameter(const struct sigv4_request *request, const char *name,
                                   struct arena *arena)
{
    struct slice rest = request->query;
    size_t name_size = strlen(name);

    while (rest.size > 0) {
        const uint8_t *end = memchr(rest.data, '&', rest.size);
        size_t size = end != NULL ? (size_t)(end - rest.data) : rest.size;

        if (size > name_size && rest.data[name_size] == '=' &&
            memcmp(rest.data, name, name_size) == 0) {
            AUTO(buffer) value = BUFFER_INIT(size);

            if (decode_percent(slice_of(rest.data + name_size + 1, size - name_size - 1), false,
                               &value) != OK)
                break;
            return arena_copy(arena, buffer_slice(&value));
        }
        if (end == NULL)
            break;
        rest = slice_of(end + 1, rest.size - size - 1);
    }
    return (struct slice){NULL, 0};
}

static bool read_expires(struct slice text, uint64_t *seconds)
{
    uint64_t value = 0;

    if (!is_digits(text) || text.size > 7)
        return false;
    for (size_t i = 0; i < text.size; i++)
        value = value * 10 + (uint64_t)(text.data[i] - '0');
    *seconds = value;
    return value >= 1 && value <= EXPIRES_MAX_S;
}

static enum sigv4_result parse_query(const struct sigv4_request *request, struct arena *arena,
                                     struct sigv4_identity *identity)
{
    struct slice algorithm = find_parameter(request, "X-Amz-Algorithm", arena);
    struct slice credential = find_parameter(request, "X-Amz-Credential", arena);

    if (slice_starts_with(algorithm, SLICE_LITERAL("AWS4-ECDSA")))
        return SIGV4_UNSUPPORTED;
    identity->is_presigned = true;
    identity->amz_date = find_parameter(request, "X-Amz-Date", arena);
    identity->signed_headers = find_parameter(request, "X-Amz-SignedHeaders", arena);
    identity->signature = find_parameter(request, "X-Amz-Signature", arena);
    if (!read_credential(credential, identity) || !slice_equal_text(algorithm, ALGORITHM) ||
        !read_expires(find_parameter(request, "X-Amz-Expires", arena), &identity->expires_s))
        return SIGV4_MALFORMED;
    return check_claim(request, identity);
}

static bool has_parameter(const struct sigv4_request *request, const char *text)
{
    return request->query.size > 0 &&
           memmem(request->query.data, request->query.size, text, strlen(text)) != NULL;
}

enum sigv4_result sigv4_parse(const struct sigv4_request *request, struct arena *arena,
                              struct sigv4_identity *identity)
{
    struct slice authorization = {NULL, 0};
    size_t count = 0;

    *identity = (struct sigv4_identity){0};
    for (size_t i = 0; i < request->header_count; i++) {
        if (!sigv4_is_header(&request->headers[i], SLICE_LITERAL("authorization")))
            continue;
        authorization = request->headers[i].value;
        count++;
    }
    bool is_presigned = has_parameter(request, "X-Amz-Signature=");

    if (count > 1 || (count == 1 && is_presigned))
        return SIGV4_MALFORMED; /* which of them is to be believed? */
    if (is_presigned)
        return parse_query(request, arena, identity);
    if (has_parameter(request, "AWSAccessKeyId=") && has_parameter(request, "Signature="))
        return SIGV4_UNSUPPORTED;
    return count == 0 ? SIGV4_MISSING : parse_header(request, authorization, identity);
}
