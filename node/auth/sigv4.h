/* AWS Signature Version 4: is this request signed by somebody we know?
 *
 * Header-signed and presigned (query) requests, in two steps: sigv4_parse reads who claims to have
 * signed, for which service and region; sigv4_verify decides whether it is true. A decision is a
 * pure function of the request, the secrets and the time given. Presigned version 2 (HMAC-SHA1) and
 * version 4a (ECDSA) are recognised and refused.
 *
 * The payload hash is checked against the body when the client gave one; otherwise the identity
 * says so, and aws_chunked.h checks signed chunks. Session tokens need no check of their own: they
 * are stateless here, and covered by the signature like any header. */

#ifndef NODE_AUTH_SIGV4_H
#define NODE_AUTH_SIGV4_H

#include "proto/base/arena.h"
#include "proto/base/buffer.h"

#define SIGV4_KEY_BYTES 32
#define SIGV4_HEX_BYTES 64 /* of a SHA-256 digest or a signature */

struct sigv4_header {
    struct slice name; /* any case */
    struct slice value;
};

struct sigv4_request {
    struct slice method;
    struct slice path;  /* as sent, still encoded */
    struct slice query; /* as sent, without '?' */
    const struct sigv4_header *headers;
    size_t header_count;
    struct slice body;
};

enum sigv4_result {
    SIGV4_OK,
    SIGV4_MISSING,          /* not signed at all */
    SIGV4_MALFORMED,        /* signed, but not as the rules say */
    SIGV4_UNSUPPORTED,      /* another scheme: version 2, 4a */
    SIGV4_UNKNOWN_KEY,      /* no secret for this access key */
    SIGV4_SKEWED,           /* signed too long ago or in the future */
    SIGV4_EXPIRED,          /* a presigned URL past its end */
    SIGV4_UNSIGNED_HEADER,  /* host or an x-amz- header is not covered by the signature */
    SIGV4_MISMATCH,         /* the signature is wrong */
    SIGV4_PAYLOAD_MISMATCH, /* the signature is right, the body is not the one it names */
    SIGV4_RESULT_COUNT
};

enum sigv4_payload {
    SIGV4_PAYLOAD_HASHED,                /* a digest, compared with the body */
    SIGV4_PAYLOAD_UNSIGNED,              /* UNSIGNED-PAYLOAD */
    SIGV4_PAYLOAD_CHUNKS_SIGNED,         /* STREAMING-AWS4-HMAC-SHA256-PAYLOAD */
    SIGV4_PAYLOAD_CHUNKS_SIGNED_TRAILER, /* the same with -TRAILER */
    SIGV4_PAYLOAD_CHUNKS_UNSIGNED        /* STREAMING-UNSIGNED-PAYLOAD-TRAILER */
};

/* What a request claims. Slices lie in the request or in the arena given. */
struct sigv4_identity {
    struct slice credential; /* access key/scope */
    struct slice access_key;
    struct slice date; /* YYYYMMDD of the scope */
    struct slice region;
    struct slice service;
    struct slice scope;          /* date/region/service/aws4_request */
    struct slice amz_date;       /* YYYYMMDDTHHMMSSZ */
    struct slice signed_headers; /* "host;x-amz-date" */
    struct slice signature;      /* 64 hex digits */
    uint64_t expires_s;          /* presigned only */
    bool is_presigned;
    bool payload_hash_checked; /* the body is the one that was signed */
    enum sigv4_payload payload;
    struct slice payload_named;   /* as in the canonical request; data NULL: the body's hash */
    uint8_t key[SIGV4_KEY_BYTES]; /* signing key, for chunks; zero unless verified */
};

/* Lends the secret until the next call; ERR_NOT_FOUND when the access key is unknown. */
typedef enum error (*sigv4_find_secret)(void *user, struct slice access_key, struct slice *secret);

struct sigv4; /* hash contexts and a cache of signing keys; one per loop thread */

struct sigv4 *sigv4_new(sigv4_find_secret find_secret, void *user);
void sigv4_free(struct sigv4 *sigv4);

/* Read the claim. SIGV4_OK, MISSING, MALFORMED or UNSUPPORTED. On MALFORMED `identity` may hold the
 * parts that could be read (empty otherwise): enough to answer in the right shape. */
enum sigv4_result sigv4_parse(const struct sigv4_request *request, struct arena *arena,
                              struct sigv4_identity *identity);

/* Is the claim true at `wall_ms`? `identity` comes from sigv4_parse of the same request. */
enum sigv4_result sigv4_verify(struct sigv4 *sigv4, const struct sigv4_request *request,
                               uint64_t wall_ms, struct sigv4_identity *identity);

/* SHA-256 in hex. */
void sigv4_hash(struct sigv4 *sigv4, struct slice bytes, char digest[SIGV4_HEX_BYTES + 1]);

/* HMAC-SHA256 with a signing key, in hex: what aws_chunked.h and tests sign with. */
void sigv4_sign(struct sigv4 *sigv4, const uint8_t key[SIGV4_KEY_BYTES], struct slice text,
                char signature[SIGV4_HEX_BYTES + 1]);

/* The signing key of a scope. */
void sigv4_derive_key(struct sigv4 *sigv4, struct slice secret, struct slice date,
                      struct slice region, struct slice service, uint8_t key[SIGV4_KEY_BYTES]);

#endif
