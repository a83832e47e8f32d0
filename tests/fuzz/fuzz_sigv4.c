/* The input is a target, header lines, an empty line and a body. Nobody without the secret gets
 * in: what verifies must be the one request of the corpus that was signed. */

#include "node/auth/sigv4.h"
#include "proto/base/check.h"

#define HEADERS_MAX 32
#define SIGNED_MS 1795439091000u /* 20261123T130451Z */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static enum error find_secret(void *user, struct slice access_key, struct slice *secret)
{
    (void)user;
    if (!slice_equal_text(access_key, "AKIDEXAMPLE"))
        return ERR_NOT_FOUND;
    *secret = SLICE_LITERAL("secret");
    return OK;
}

static struct slice cut(struct slice *rest, uint8_t at)
{
    const uint8_t *end = rest->size > 0 ? memchr(rest->data, at, rest->size) : NULL;
    struct slice first = *rest;

    if (end == NULL) {
        *rest = slice_of(rest->data + rest->size, 0);
        return first;
    }
    first.size = (size_t)(end - rest->data);
    *rest = slice_of(end + 1, rest->size - first.size - 1);
    return first;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice rest = slice_of(data, size);
    struct slice target = cut(&rest, '\n');
    struct sigv4_header headers[HEADERS_MAX];
    struct sigv4_request request = {.method = SLICE_LITERAL("POST"), .headers = headers};
    struct sigv4_identity identity;
    struct arena arena;

    request.path = cut(&target, '?');
    request.query = target;
    for (struct slice line = cut(&rest, '\n'); line.size > 0 && request.header_count < HEADERS_MAX;
         line = cut(&rest, '\n')) {
        struct slice name = cut(&line, ':');

        headers[request.header_count++] = (struct sigv4_header){name, line};
    }
    request.body = rest;
    arena_init(&arena);
    struct sigv4 *sigv4 = sigv4_new(find_secret, NULL);

    if (sigv4_parse(&request, &arena, &identity) == SIGV4_OK &&
        sigv4_verify(sigv4, &request, SIGNED_MS, &identity) == SIGV4_OK)
        CHECK(slice_equal_text(identity.signature,
                               "fa787abe86fa0d302f2cdf1361885b563ff33bba0683c872c2fe08c70333bb61"));
    sigv4_free(sigv4);
    arena_close(&arena);
    return 0;
}
