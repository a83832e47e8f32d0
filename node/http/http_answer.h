/* The head of an answer, as bytes. */

#ifndef NODE_HTTP_HTTP_ANSWER_H
#define NODE_HTTP_HTTP_ANSWER_H

#include "node/http/http.h"

/* "Date: Mon, 23 Nov 2026 20:35:16 GMT\r\n", made anew once a second. Zeroed at first. */
#define HTTP_DATE_BYTES 37

struct http_date {
    uint64_t second; /* since 1970, of the text */
    char text[HTTP_DATE_BYTES + 1];
};

struct slice http_date_line(struct http_date *date, uint64_t wall_ms);

struct http_answer {
    int status;
    const struct http_header *headers;
    size_t header_count;
    size_t body_bytes;
    struct slice date_line;
    bool is_head;     /* answers HEAD: the handler's own Content-Length is kept */
    bool is_http_1_0; /* whose clients must be told when a connection stays open */
    bool closes;      /* the connection is closed behind it */
};

/* May a body follow? Not with 204 and 304. */
static inline bool http_answer_has_body(int status)
{
    return status != 204 && status != 304;
}

/* Appends the head. Content-Length, Transfer-Encoding, Connection, Keep-Alive and Date of the
 * handler are replaced by the server's own; a header whose name is no token is left out, and
 * control characters in values become blanks, so that no answer can be split. */
void http_answer_write(struct buffer *to, const struct http_answer *answer);

#endif
