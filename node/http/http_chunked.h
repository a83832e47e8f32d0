/* Decoder of the chunked transfer coding (RFC 9112, 7.1), strict and in place.
 *
 * libhttp-parser, as Debian builds it, takes any byte for the line ends around a chunk: two servers
 * that disagree there can be made to see different requests. This one takes only what the RFC says.
 * Chunk extensions and trailers are checked and dropped. */

#ifndef NODE_HTTP_HTTP_CHUNKED_H
#define NODE_HTTP_HTTP_CHUNKED_H

#include "proto/base/buffer.h"

struct http_chunked {
    int state;
    uint64_t left;     /* bytes of the current chunk still to come */
    size_t line_bytes; /* read of the current size line, or of all trailers */
    size_t bytes_max;  /* data it may still give */
};

void http_chunked_init(struct http_chunked *chunked, size_t bytes_max);

/* Decode `size` bytes at `from`. The data found is moved to `*to`, which lies at or before `from`
 * in the same memory, and `*to` advances behind it. `*used` is how far the coding reached: `size`,
 * or less when it ended. OK: wants more. ERR_END: complete. ERR_INVALID. ERR_TOO_LARGE: more data
 * than allowed. */
enum error http_chunked_decode(struct http_chunked *chunked, const uint8_t *from, size_t size,
                               uint8_t **to, size_t *used);

#endif
