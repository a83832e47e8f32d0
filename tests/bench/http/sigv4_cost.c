/* What verifying one signature costs: a PutItem with a body of 300 bytes, signing key remembered.
 *
 * usage: sigv4_cost [REQUESTS] */

#include "node/auth/sigv4.h"
#include "node/auth/sigv4_canonical.h"
#include "proto/base/check.h"

#include <stdio.h>
#include <time.h>

#define SIGNED_MS 1795439091000u /* 20261123T130451Z */
#define SCOPE "20261123/us-east-1/dynamodb/aws4_request"
#define SIGNED_HEADERS "content-type;host;x-amz-date;x-amz-target"

static enum error find_secret(void *user, struct slice access_key, struct slice *secret)
{
    (void)user, (void)access_key;
    *secret = SLICE_LITERAL("secret");
    return OK;
}

/* The Authorization header this request ought to have. */
static char *sign(struct sigv4 *sigv4, const struct sigv4_request *request, struct arena *arena)
{
    const struct sigv4_identity identity = {.service = SLICE_LITERAL("dynamodb"),
                                            .signed_headers = SLICE_LITERAL(SIGNED_HEADERS)};
    AUTO(buffer) text = BUFFER_INIT(BUFFER_UNLIMITED);
    char hash[SIGV4_HEX_BYTES + 1];
    char signature[SIGV4_HEX_BYTES + 1];
    uint8_t key[SIGV4_KEY_BYTES];

    sigv4_hash(sigv4, request->body, hash);
    CHECK(sigv4_canonical_request(request, &identity, slice_text(hash), &text) == OK);
    sigv4_hash(sigv4, buffer_slice(&text), hash);
    buffer_clear(&text);
    buffer_putf(&text, "AWS4-HMAC-SHA256\n20261123T130451Z\n" SCOPE "\n%s", hash);
    sigv4_derive_key(sigv4, SLICE_LITERAL("secret"), SLICE_LITERAL("20261123"),
                     SLICE_LITERAL("us-east-1"), SLICE_LITERAL("dynamodb"), key);
    sigv4_sign(sigv4, key, buffer_slice(&text), signature);
    return arena_printf(arena,
                        "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/" SCOPE
                        ", SignedHeaders=" SIGNED_HEADERS ", Signature=%s",
                        signature);
}

static double now_s(void)
{
    struct timespec now;

    CHECK(clock_gettime(CLOCK_MONOTONIC, &now) == 0);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

int main(int argc, char **argv)
{
    long count = argc > 1 ? atol(argv[1]) : 300000;
    uint8_t body[300];
    struct sigv4_header headers[] = {
        {SLICE_LITERAL("Host"), SLICE_LITERAL("127.0.0.1:4566")},
        {SLICE_LITERAL("Accept-Encoding"), SLICE_LITERAL("identity")},
        {SLICE_LITERAL("User-Agent"), SLICE_LITERAL("Boto3/1.43.11 md/Botocore#1.43.11 ua/2.1")},
        {SLICE_LITERAL("Content-Type"), SLICE_LITERAL("application/x-amz-json-1.0")},
        {SLICE_LITERAL("X-Amz-Target"), SLICE_LITERAL("DynamoDB_20120810.PutItem")},
        {SLICE_LITERAL("X-Amz-Date"), SLICE_LITERAL("20261123T130451Z")},
        {SLICE_LITERAL("Content-Length"), SLICE_LITERAL("300")},
        {SLICE_LITERAL("Authorization"), {NULL, 0}},
    };
    struct sigv4_request request = {.method = SLICE_LITERAL("POST"),
                                    .path = SLICE_LITERAL("/"),
                                    .headers = headers,
                                    .header_count = ARRAY_COUNT(headers),
                                    .body = {body, sizeof(body)}};
    struct sigv4 *sigv4 = sigv4_new(find_secret, NULL);
    struct arena arena;
    struct sigv4_identity identity;

    arena_init(&arena);
    memset(body, 'x', sizeof(body));
    headers[ARRAY_COUNT(headers) - 1].value = slice_text(sign(sigv4, &request, &arena));
    double start_s = now_s();

    for (long i = 0; i < count; i++) {
        CHECK(sigv4_parse(&request, &arena, &identity) == SIGV4_OK);
        CHECK(sigv4_verify(sigv4, &request, SIGNED_MS, &identity) == SIGV4_OK);
    }
    printf("sigv4_verify %.3f us\n", (now_s() - start_s) / (double)count * 1e6);
    sigv4_free(sigv4);
    arena_close(&arena);
    return 0;
}
