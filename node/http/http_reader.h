/* Reads one request from bytes as they arrive. The only file that knows libhttp-parser.
 *
 * The library splits the head; as Debian builds it, it is lenient, so everything two servers could
 * see differently is checked here again and refused: line ends other than CRLF, folded lines,
 * control characters, blanks around names, both or several lengths, any transfer coding but
 * chunked, a missing or second Host. Bodies are not the library's business: a length is counted
 * here, chunks are http_chunked.h.
 *
 * The bytes of a request are fed in order and stay where they are, one behind the other: the slices
 * point into them. http_reader_rebase moves the slices when the bytes were moved. */

#ifndef NODE_HTTP_HTTP_READER_H
#define NODE_HTTP_HTTP_READER_H

#include "node/http/http.h"
#include "node/http/http_chunked.h"

enum http_reader_state {
    HTTP_READER_HEAD,
    HTTP_READER_BODY,
    HTTP_READER_DONE,
    HTTP_READER_FAILED /* `status` and `why` say how to refuse it */
};

struct http_reader_limits {
    size_t head_bytes_max;
    size_t body_bytes_max;
};

struct http_reader {
    enum http_reader_state state;
    int status;      /* FAILED: the HTTP status to answer */
    const char *why; /* FAILED: a static text */

    struct slice method;
    struct slice target;
    struct slice path;
    struct slice query;
    struct slice body; /* so far; transfer coding removed */
    size_t header_count;
    struct http_header headers[HTTP_HEADERS_MAX];
    bool is_http_1_0;
    bool keep_alive;       /* what the client would like */
    bool expects_continue; /* waits for 100 before it sends the body */

    /* private */
    struct http_reader_limits limits;
    uint8_t *start; /* first byte of the request; NULL before it came */
    size_t head_bytes;
    uint64_t length_left; /* of a body with Content-Length */
    bool is_chunked;
    bool in_value; /* the last piece of the head was part of a value */
    struct http_chunked chunked;
    uint64_t library[4]; /* struct http_parser */
};

void http_reader_init(struct http_reader *reader, struct http_reader_limits limits);

/* Read on in the `size` bytes at `data`, which follow those of the last call in memory. Returns how
 * many belonged to this request. The bytes of a chunked body are decoded in place. */
size_t http_reader_feed(struct http_reader *reader, uint8_t *data, size_t size);

/* The first byte that must be kept; NULL while nothing but empty lines came. */
static inline uint8_t *http_reader_start(const struct http_reader *reader)
{
    return reader->start;
}

/* Behind the last byte that must be kept: what is fed next may overwrite what lies after it. */
uint8_t *http_reader_end(const struct http_reader *reader);

/* Bytes of the body still to come when its length is known, 0 otherwise. */
uint64_t http_reader_missing(const struct http_reader *reader);

/* The bytes kept were copied to `start`. */
void http_reader_rebase(struct http_reader *reader, uint8_t *start);

/* Is it a field name as RFC 9110 wants it? */
bool http_reader_is_token(struct slice name);

/* "Not Found"; "Unknown" for codes that have no name. */
const char *http_reader_reason(int status);

#endif
