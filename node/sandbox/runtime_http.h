/* HTTP/1.1 requests of a sandbox: just what the Lambda Runtime API needs, and strict, since the
 * sender is somebody's function.
 *
 * Bodies by Content-Length or chunked, Expect: 100-continue, pipelining. Anything doubtful breaks
 * the connection. A body over its limit is read to its end and dropped, so that the client gets an
 * answer. */

#ifndef NODE_SANDBOX_RUNTIME_HTTP_H
#define NODE_SANDBOX_RUNTIME_HTTP_H

#include "proto/base/buffer.h"

#define RUNTIME_HTTP_HEAD_BYTES_MAX 16384u
#define RUNTIME_HTTP_ERROR_TYPE_BYTES 256

enum runtime_http_progress {
    RUNTIME_HTTP_MORE,     /* all bytes consumed, more are needed */
    RUNTIME_HTTP_CONTINUE, /* the client waits for "100 Continue"; go on feeding */
    RUNTIME_HTTP_REQUEST,  /* one request is complete: see below, then go on feeding */
    RUNTIME_HTTP_BROKEN    /* not HTTP as we know it: answer 400 and close */
};

enum runtime_http_state {
    RUNTIME_HTTP_IN_HEAD,
    RUNTIME_HTTP_IN_BODY,       /* `left` bytes of it to come */
    RUNTIME_HTTP_IN_CHUNK_SIZE, /* the line in `line` */
    RUNTIME_HTTP_IN_CHUNK,      /* `left` bytes of it to come */
    RUNTIME_HTTP_AFTER_CHUNK,   /* its CR LF */
    RUNTIME_HTTP_IN_TRAILER,    /* until an empty line */
    RUNTIME_HTTP_IS_COMPLETE,
    RUNTIME_HTTP_IS_BROKEN
};

struct runtime_http {
    enum runtime_http_state state;
    struct buffer head;
    struct buffer line;
    struct buffer body;
    uint64_t left;
    /* The request, valid from RUNTIME_HTTP_REQUEST to the next feed. */
    struct slice method;
    struct slice target;
    char error_type[RUNTIME_HTTP_ERROR_TYPE_BYTES]; /* Lambda-Runtime-Function-Error-Type, or "" */
    bool keep_alive;
    bool is_too_large; /* the body was over the limit and is empty */
};

void runtime_http_init(struct runtime_http *http, size_t body_bytes_max);
void runtime_http_close(struct runtime_http *http);

/* Returns how many bytes it took. */
size_t runtime_http_feed(struct runtime_http *http, struct slice bytes,
                         enum runtime_http_progress *progress);

#endif
