/* Decoder of the aws-chunked content coding: what S3 clients wrap around a streamed upload, inside
 * and unaware of HTTP's own chunks.
 *
 *   c;chunk-signature=<64 hex>\r\n hello world\n \r\n 0;chunk-signature=..\r\n \r\n
 *   c\r\n hello world\n \r\n 0\r\n x-amz-checksum-crc32:rwg7LQ==\r\n \r\n
 *
 * Bytes may come in any pieces. Signed chunks are verified, each chained to the one before; data is
 * given out as it comes, so use it only once the decoder said ERR_END. Checksums in trailers are
 * for the caller to compare. */

#ifndef NODE_AUTH_AWS_CHUNKED_H
#define NODE_AUTH_AWS_CHUNKED_H

#include "node/auth/sigv4.h"

struct aws_chunked {
    int state;
    uint64_t left;          /* bytes of the current chunk still to come */
    size_t bytes_max;       /* data that may still come */
    struct buffer line;     /* the size line or trailer being read */
    struct buffer trailers; /* "name:value\n" each, names in lower case */
    struct sigv4 *sigv4;    /* NULL: signatures are not asked for */
    const struct sigv4_identity *identity;
    void *hash;                         /* EVP_MD_CTX of the current chunk */
    char previous[SIGV4_HEX_BYTES + 1]; /* signature of the chunk before */
    char claimed[SIGV4_HEX_BYTES + 1];  /* of this one */
};

/* `identity` is a verified one and outlives the decoder; its payload says whether chunks and
 * trailers are signed. With `sigv4` NULL nothing is verified. */
void aws_chunked_init(struct aws_chunked *chunked, struct sigv4 *sigv4,
                      const struct sigv4_identity *identity, size_t bytes_max);
void aws_chunked_close(struct aws_chunked *chunked);

/* Decode more bytes; data is appended to `to`.
 * OK: wants more. ERR_END: complete, and verified. ERR_INVALID: malformed, or bytes behind the end.
 * ERR_DENIED: a signature is wrong or missing. ERR_TOO_LARGE. After an error there is no going on.
 */
enum error aws_chunked_decode(struct aws_chunked *chunked, struct slice bytes, struct buffer *to);

/* A trailer by its lower-case name; data NULL when absent. Valid until the decoder is closed. */
struct slice aws_chunked_trailer(const struct aws_chunked *chunked, const char *name);

#endif
