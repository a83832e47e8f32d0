#include "node/http/http_reader.h"

#include "proto/base/check.h"

#include <http_parser.h>
#include <strings.h>

_Static_assert(sizeof(struct http_parser) <= sizeof(((struct http_reader *)0)->library),
               "room for the library's parser");

static struct http_parser *library_of(struct http_reader *reader)
{
    return (struct http_parser *)(void *)reader->library;
}

static void fail(struct http_reader *reader, int status, const char *why)
{
    if (reader->state == HTTP_READER_FAILED)
        return; /* the first reason is the one to tell */
    reader->state = HTTP_READER_FAILED;
    reader->status = status;
    reader->why = why;
}

/* ---- the library's callbacks: collect the pieces -------------------------------------------- */

static void extend(struct slice *slice, const char *at, size_t size)
{
    if (slice->data == NULL)
        slice->data = (const uint8_t *)at;
    slice->size += size;
}

static int on_url(struct http_parser *parser, const char *at, size_t size)
{
    struct http_reader *reader = parser->data;

    extend(&reader->target, at, size);
    return 0;
}

static int on_header_field(struct http_parser *parser, const char *at, size_t size)
{
    struct http_reader *reader = parser->data;

    if (reader->in_value || reader->header_count == 0) {
        if (reader->header_count == HTTP_HEADERS_MAX) {
            fail(reader, 431, "too many header fields");
            return 1;
        }
        reader->headers[reader->header_count++] = (struct http_header){0};
        reader->in_value = false;
    }
    extend(&reader->headers[reader->header_count - 1].name, at, size);
    return 0;
}

static int on_header_value(struct http_parser *parser, const char *at, size_t size)
{
    struct http_reader *reader = parser->data;

    reader->in_value = true;
    extend(&reader->headers[reader->header_count - 1].value, at, size);
    return 0;
}

static int on_headers_complete(struct http_parser *parser)
{
    struct http_reader *reader = parser->data;

    reader->keep_alive = http_should_keep_alive(parser) != 0;
    parser->upgrade = 0; /* we take none: the request is answered as if it had not asked */
    return 1;            /* the body is ours */
}

static int on_message_complete(struct http_parser *parser)
{
    http_parser_pause(parser, 1); /* stop here: what follows is body or another request */
    return 0;
}

static const struct http_parser_settings settings = {
    .on_url = on_url,
    .on_header_field = on_header_field,
    .on_header_value = on_header_value,
    .on_headers_complete = on_headers_complete,
    .on_message_complete = on_message_complete,
};

/* ---- checks of a whole head ----------------------------------------------------------------- */

/* Any control character but the tab? Looks at eight bytes at a time: this sees every byte of every
 * head. */
static bool has_control(const uint8_t *at, size_t size)
{
    const uint64_t ones = 0x0101010101010101u;
    const uint64_t high = 0x80 * ones;
    size_t i = 0;

    while (i < size) {
        uint64_t word;

        if (size - i >= sizeof(word)) {
            memcpy(&word, at + i, sizeof(word));
            uint64_t is_low = (word - 0x20 * ones) & ~word; /* in the high bits; never misses one */
            uint64_t deletes = word ^ (0x7f * ones);
            uint64_t is_delete = (deletes - ones) & ~deletes;

            if (((is_low | is_delete) & high) == 0) {
                i += sizeof(word);
                continue;
            }
        }
        if ((at[i] < 0x20 && at[i] != '\t') || at[i] == 0x7f)
            return true;
        i++;
    }
    return false;
}

/* Exactly one CRLF behind the request line and each field, no control character, no folding. */
static bool lines_are_clean(const struct http_reader *reader)
{
    const uint8_t *at = reader->start;
    const uint8_t *end = at + reader->head_bytes;
    size_t lines = 0;

    while (at < end) {
        const uint8_t *feed = memchr(at, '\n', (size_t)(end - at));

        if (feed == NULL || feed == at || feed[-1] != '\r' || *at == ' ' || *at == '\t' ||
            has_control(at, (size_t)(feed - 1 - at)))
            return false;
        at = feed + 1;
        lines++;
    }
    return lines == reader->header_count + 2; /* request line and empty line */
}

/* Letters, digits and !#$%&'*+-.^_`|~ as bits, for the codes 0-63, 64-127 and those above. */
bool http_reader_is_token(struct slice name)
{
    static const uint64_t token[4] = {0x03ff6cfa00000000, 0x57ffffffc7fffffe, 0, 0};
    uint64_t all = name.size > 0;

    for (size_t i = 0; i < name.size; i++)
        all &= token[name.data[i] >> 6] >> (name.data[i] & 63);
    return all != 0;
}

static bool is_same(struct slice text, const char *wanted)
{
    return text.size == strlen(wanted) &&
           strncasecmp((const char *)text.data, wanted, text.size) == 0;
}

static struct slice trim_right(struct slice text)
{
    while (text.size > 0 && (text.data[text.size - 1] == ' ' || text.data[text.size - 1] == '\t'))
        text.size--;
    return text;
}

/* Nothing that separates: blanks and any of / \ ? # @ , < > " as bits, for the codes 0-63, 64-127
 * and those above. */
static bool is_host(struct slice host)
{
    static const uint64_t separator[4] = {0xd000900dffffffff, 0x0000000010000001, 0, 0};
    uint64_t any = 0;

    for (size_t i = 0; i < host.size; i++)
        any |= separator[host.data[i] >> 6] >> (host.data[i] & 63);
    return (any & 1) == 0;
}

/* Split the target; `host` is what an absolute one must agree with. */
static void check_target(struct http_reader *reader, struct slice host)
{
    struct slice rest = reader->target;
    static const char *const schemes[] = {"http://", "https://"};

    if (memchr(rest.data, '#', rest.size) != NULL) {
        fail(reader, 400, "fragment in the request target");
        return;
    }
    for (size_t i = 0; i < ARRAY_COUNT(schemes); i++) {
        size_t size = strlen(schemes[i]);

        if (rest.size < size || strncasecmp((const char *)rest.data, schemes[i], size) != 0)
            continue;
        rest = slice_of(rest.data + size, rest.size - size);
        size_t authority = 0;

        while (authority < rest.size && rest.data[authority] != '/' && rest.data[authority] != '?')
            authority++;
        if (authority == 0 || authority != host.size ||
            strncasecmp((const char *)rest.data, (const char *)host.data, authority) != 0) {
            fail(reader, 400, "Host differs from the request target");
            return;
        }
        rest = slice_of(rest.data + authority, rest.size - authority);
        break;
    }
    const uint8_t *mark = rest.size > 0 ? memchr(rest.data, '?', rest.size) : NULL;

    reader->path = slice_of(rest.data, mark != NULL ? (size_t)(mark - rest.data) : rest.size);
    reader->query = mark != NULL ? slice_of(mark + 1, rest.size - reader->path.size - 1)
                                 : slice_of(rest.data + rest.size, 0);
    if (reader->path.size == 0 && rest.data != reader->target.data)
        reader->path = SLICE_LITERAL("/"); /* absolute form of a bare host */
    bool is_asterisk =
        slice_equal_text(reader->target, "*") && slice_equal_text(reader->method, "OPTIONS");

    if (!is_asterisk && (reader->path.size == 0 || reader->path.data[0] != '/'))
        fail(reader, 400, "bad request target");
}

static void check_request_line(struct http_reader *reader)
{
    const struct http_parser *parser = library_of(reader);
    const char *method = http_method_str((enum http_method)parser->method);
    size_t method_size = strlen(method);
    const uint8_t *line = reader->start;

    reader->method = slice_of(method, method_size);
    if (parser->http_major != 1) {
        fail(reader, 505, "HTTP version not supported");
        return;
    }
    reader->is_http_1_0 = parser->http_minor == 0;
    /* METHOD SP TARGET SP HTTP/1.x CRLF, with single blanks */
    const uint8_t *target = line + method_size + 1;
    const uint8_t *version = target + reader->target.size + 1;

    if (reader->target.data != target || memcmp(version, "HTTP/1.", 7) != 0 || version[8] != '\r')
        fail(reader, 400, "malformed request line");
    else if (parser->method == HTTP_CONNECT)
        fail(reader, 405, "CONNECT is not supported");
}

struct framing { /* fields that decide where the request ends and whom it is for */
    size_t hosts;
    size_t lengths;
    size_t codings;
    struct slice host;
    struct slice length;
    struct slice coding;
};

static void check_field(struct http_reader *reader, struct http_header *header,
                        struct framing *framing)
{
    header->value = trim_right(header->value);
    if (!http_reader_is_token(header->name)) {
        fail(reader, 400, "bad header field name");
    } else if (is_same(header->name, "host")) {
        framing->hosts++;
        framing->host = header->value;
    } else if (is_same(header->name, "content-length")) {
        framing->lengths++;
        framing->length = header->value;
    } else if (is_same(header->name, "transfer-encoding")) {
        framing->codings++;
        framing->coding = header->value;
    } else if (is_same(header->name, "expect") && !reader->is_http_1_0) {
        if (is_same(header->value, "100-continue"))
            reader->expects_continue = true;
        else
            fail(reader, 417, "unknown expectation");
    }
}

static bool parse_length(struct slice text, uint64_t *length)
{
    uint64_t value = 0;

    if (text.size == 0 || text.size > 18)
        return false;
    for (size_t i = 0; i < text.size; i++) {
        if (text.data[i] < '0' || text.data[i] > '9')
            return false;
        value = value * 10 + (uint64_t)(text.data[i] - '0');
    }
    *length = value;
    return true;
}

static void check_framing(struct http_reader *reader, const struct framing *framing)
{
    if (framing->hosts > 1 || (framing->hosts == 0 && !reader->is_http_1_0))
        fail(reader, 400, "exactly one Host is needed");
    else if (!is_host(framing->host))
        fail(reader, 400, "bad Host");
    else if (framing->codings + framing->lengths > 1)
        fail(reader, 400, "more than one body length");
    else if (framing->lengths == 1 && !parse_length(framing->length, &reader->length_left))
        fail(reader, 400, "bad Content-Length");
    else if (framing->codings == 1 && reader->is_http_1_0)
        fail(reader, 400, "Transfer-Encoding in HTTP/1.0");
    else if (framing->codings == 1 && !is_same(framing->coding, "chunked"))
        fail(reader, 501, "transfer coding not supported");
    else if (reader->length_left > reader->limits.body_bytes_max)
        fail(reader, 413, "body too large");
    reader->is_chunked = framing->codings == 1;
}

static void check_head(struct http_reader *reader)
{
    struct framing framing = {0};

    if (!lines_are_clean(reader)) {
        fail(reader, 400, "malformed header lines");
        return;
    }
    check_request_line(reader);
    for (size_t i = 0; i < reader->header_count && reader->state == HTTP_READER_HEAD; i++)
        check_field(reader, &reader->headers[i], &framing);
    if (reader->state == HTTP_READER_HEAD)
        check_framing(reader, &framing);
    if (reader->state == HTTP_READER_HEAD)
        check_target(reader, framing.host);
    if (reader->state == HTTP_READER_FAILED)
        return;
    bool has_body = reader->is_chunked || reader->length_left > 0;

    reader->expects_continue = reader->expects_continue && has_body;
    reader->body = slice_of(reader->start + reader->head_bytes, 0);
    reader->state = has_body ? HTTP_READER_BODY : HTTP_READER_DONE;
    http_chunked_init(&reader->chunked, reader->limits.body_bytes_max);
}

/* ---- feeding -------------------------------------------------------------------------------- */

static size_t feed_head(struct http_reader *reader, const uint8_t *data, size_t size)
{
    struct http_parser *parser = library_of(reader);
    size_t room = reader->limits.head_bytes_max - reader->head_bytes;

    parser->data = reader;
    size_t used =
        http_parser_execute(parser, &settings, (const char *)data, size < room ? size : room);

    enum http_errno rc = HTTP_PARSER_ERRNO(parser);

    reader->head_bytes += used;
    if (rc == HPE_PAUSED)
        check_head(reader);
    else if (reader->head_bytes == reader->limits.head_bytes_max || rc == HPE_HEADER_OVERFLOW)
        fail(reader, 431, "request head too large");
    else if (rc == HPE_INVALID_VERSION)
        fail(reader, 505, "HTTP version not supported");
    else if (rc != HPE_OK)
        fail(reader, 400, http_errno_description(rc));
    return used;
}

static size_t feed_length(struct http_reader *reader, size_t size)
{
    size_t used = size < reader->length_left ? size : (size_t)reader->length_left;

    reader->body.size += used;
    reader->length_left -= used;
    if (reader->length_left == 0)
        reader->state = HTTP_READER_DONE;
    return used;
}

static size_t feed_chunked(struct http_reader *reader, const uint8_t *data, size_t size)
{
    uint8_t *to = http_reader_end(reader);
    size_t used = 0;
    enum error rc = http_chunked_decode(&reader->chunked, data, size, &to, &used);

    reader->body.size = (size_t)(to - reader->body.data);
    if (rc == ERR_END)
        reader->state = HTTP_READER_DONE;
    else if (rc == ERR_TOO_LARGE)
        fail(reader, 413, "body too large");
    else if (rc != OK)
        fail(reader, 400, "malformed chunk");
    return used;
}

size_t http_reader_feed(struct http_reader *reader, uint8_t *data, size_t size)
{
    size_t used = 0;

    while (reader->start == NULL && used < size && (data[used] == '\r' || data[used] == '\n'))
        used++; /* RFC 9112, 2.2: empty lines before a request are to be ignored */
    if (reader->start == NULL && used < size)
        reader->start = data + used;
    if (used < size && reader->state == HTTP_READER_HEAD)
        used += feed_head(reader, data + used, size - used);
    if (used < size && reader->state == HTTP_READER_BODY)
        used += reader->is_chunked ? feed_chunked(reader, data + used, size - used)
                                   : feed_length(reader, size - used);
    return used;
}

void http_reader_init(struct http_reader *reader, struct http_reader_limits limits)
{
    /* The headers need no clearing, and are most of it. */
    memset(reader, 0, offsetof(struct http_reader, headers));
    memset(&reader->is_http_1_0, 0, sizeof(*reader) - offsetof(struct http_reader, is_http_1_0));
    reader->limits = limits;
    http_parser_init(library_of(reader), HTTP_REQUEST);
}

uint8_t *http_reader_end(const struct http_reader *reader)
{
    if (reader->state == HTTP_READER_HEAD || reader->state == HTTP_READER_FAILED)
        return reader->start + reader->head_bytes;
    return (uint8_t *)(uintptr_t)reader->body.data + reader->body.size;
}

uint64_t http_reader_missing(const struct http_reader *reader)
{
    return reader->state == HTTP_READER_BODY ? reader->length_left : 0;
}

static void move(struct slice *slice, const uint8_t *from, uint8_t *to, const uint8_t *from_end)
{
    if (slice->data >= from && slice->data <= from_end)
        slice->data = to + (slice->data - from);
}

void http_reader_rebase(struct http_reader *reader, uint8_t *start)
{
    const uint8_t *from = reader->start;
    const uint8_t *end = http_reader_end(reader);

    move(&reader->target, from, start, end);
    move(&reader->path, from, start, end);
    move(&reader->query, from, start, end);
    for (size_t i = 0; i < reader->header_count; i++) {
        move(&reader->headers[i].name, from, start, end);
        move(&reader->headers[i].value, from, start, end);
    }
    move(&reader->body, from, start, end);
    reader->start = start;
}

const char *http_reader_reason(int status)
{
    const char *reason = http_status_str((enum http_status)status);

    return reason[0] == '<' ? "Unknown" : reason;
}
