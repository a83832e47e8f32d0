#include "node/sandbox/runtime_http.h"

#include <strings.h>

#define LINE_BYTES_MAX 4096
#define CHUNK_DIGITS_MAX 15
#define BODY_KEPT_BYTES 65536 /* a larger buffer is given back after its request */

void runtime_http_init(struct runtime_http *http, size_t body_bytes_max)
{
    *http = (struct runtime_http){.head = BUFFER_INIT(RUNTIME_HTTP_HEAD_BYTES_MAX),
                                  .line = BUFFER_INIT(LINE_BYTES_MAX),
                                  .body = BUFFER_INIT(body_bytes_max)};
}

void runtime_http_close(struct runtime_http *http)
{
    buffer_close(&http->head);
    buffer_close(&http->line);
    buffer_close(&http->body);
}

/* ---- the head ------------------------------------------------------------------------------ */

static bool is_token(struct slice text)
{
    for (size_t i = 0; i < text.size; i++) {
        uint8_t c = text.data[i];

        if (c <= ' ' || c >= 0x7f || strchr("()<>@,;:\\\"/[]?={}", c) != NULL)
            return false;
    }
    return text.size > 0;
}

static bool is_visible(struct slice text)
{
    for (size_t i = 0; i < text.size; i++)
        if (text.data[i] <= ' ' || text.data[i] >= 0x7f)
            return false;
    return text.size > 0;
}

static bool is_same(struct slice text, const char *word)
{
    return text.size == strlen(word) && strncasecmp((const char *)text.data, word, text.size) == 0;
}

static struct slice trim(struct slice text)
{
    while (text.size > 0 && (text.data[0] == ' ' || text.data[0] == '\t')) {
        text.data++;
        text.size--;
    }
    while (text.size > 0 && (text.data[text.size - 1] == ' ' || text.data[text.size - 1] == '\t'))
        text.size--;
    return text;
}

/* What comes before `c`; `rest` is what follows it. data NULL when there is none. */
static struct slice cut(struct slice *rest, uint8_t c)
{
    const uint8_t *at = rest->size > 0 ? memchr(rest->data, c, rest->size) : NULL;
    struct slice before;

    if (at == NULL)
        return (struct slice){NULL, 0};
    before = slice_of(rest->data, (size_t)(at - rest->data));
    *rest = slice_of(at + 1, rest->size - before.size - 1);
    return before;
}

struct framing {
    bool has_length;
    bool is_chunked;
    bool expects_continue;
    uint64_t length;
};

static bool parse_length(struct slice value, uint64_t *length)
{
    *length = 0;
    if (value.size == 0 || value.size > CHUNK_DIGITS_MAX)
        return false;
    for (size_t i = 0; i < value.size; i++) {
        if (value.data[i] < '0' || value.data[i] > '9')
            return false;
        *length = *length * 10 + (uint64_t)(value.data[i] - '0');
    }
    return true;
}

static bool take_header(struct runtime_http *http, struct slice name, struct slice value,
                        struct framing *framing)
{
    if (is_same(name, "content-length")) {
        if (framing->has_length || !parse_length(value, &framing->length))
            return false;
        framing->has_length = true;
    } else if (is_same(name, "transfer-encoding")) {
        if (framing->is_chunked || !is_same(value, "chunked"))
            return false;
        framing->is_chunked = true;
    } else if (is_same(name, "expect")) {
        if (!is_same(value, "100-continue"))
            return false;
        framing->expects_continue = true;
    } else if (is_same(name, "connection")) {
        if (is_same(value, "close"))
            http->keep_alive = false;
        else if (is_same(value, "keep-alive"))
            http->keep_alive = true;
    } else if (is_same(name, "lambda-runtime-function-error-type")) {
        if (value.size >= sizeof(http->error_type))
            return false;
        if (value.size > 0)
            memcpy(http->error_type, value.data, value.size);
        http->error_type[value.size] = '\0';
    }
    return true;
}

static bool parse_request_line(struct runtime_http *http, struct slice line)
{
    http->method = cut(&line, ' ');
    http->target = cut(&line, ' ');
    if (!is_token(http->method) || !is_visible(http->target) || http->target.data[0] != '/')
        return false;
    http->keep_alive = slice_equal_text(line, "HTTP/1.1");
    return http->keep_alive || slice_equal_text(line, "HTTP/1.0");
}

static bool has_control(struct slice value)
{
    for (size_t i = 0; i < value.size; i++)
        if ((value.data[i] < ' ' && value.data[i] != '\t') || value.data[i] == 0x7f)
            return true;
    return false;
}

/* The next line without its CR LF; a bare LF or CR is not one. */
static bool take_line(struct slice *rest, struct slice *line)
{
    *line = cut(rest, '\n');
    if (line->data == NULL || line->size == 0 || line->data[line->size - 1] != '\r')
        return false;
    line->size--;
    return true;
}

static bool parse_head(struct runtime_http *http, struct framing *framing)
{
    struct slice rest = buffer_slice(&http->head);
    struct slice line;

    if (!take_line(&rest, &line) || !parse_request_line(http, line))
        return false;
    while (take_line(&rest, &line)) {
        struct slice name;

        if (line.size == 0)
            return rest.size == 0 && !(framing->has_length && framing->is_chunked);
        name = cut(&line, ':');
        line = trim(line);
        if (!is_token(name) || has_control(line) || !take_header(http, name, line, framing))
            return false;
    }
    return false;
}

static void begin_request(struct runtime_http *http)
{
    buffer_clear(&http->head);
    buffer_clear(&http->line);
    if (http->body.capacity > BODY_KEPT_BYTES)
        buffer_close(&http->body);
    buffer_clear(&http->body);
    http->left = 0;
    http->error_type[0] = '\0';
    http->is_too_large = false;
    http->state = RUNTIME_HTTP_IN_HEAD;
}

static enum runtime_http_progress break_off(struct runtime_http *http)
{
    http->state = RUNTIME_HTTP_IS_BROKEN;
    return RUNTIME_HTTP_BROKEN;
}

static enum runtime_http_progress end_head(struct runtime_http *http)
{
    struct framing framing = {0};

    if (!parse_head(http, &framing))
        return break_off(http);
    http->left = framing.length;
    http->is_too_large = framing.length > http->body.limit;
    if (framing.is_chunked)
        http->state = RUNTIME_HTTP_IN_CHUNK_SIZE;
    else if (framing.length > 0)
        http->state = RUNTIME_HTTP_IN_BODY;
    else
        http->state = RUNTIME_HTTP_IS_COMPLETE;
    if (http->state == RUNTIME_HTTP_IS_COMPLETE)
        return RUNTIME_HTTP_REQUEST;
    return framing.expects_continue ? RUNTIME_HTTP_CONTINUE : RUNTIME_HTTP_MORE;
}

/* Copies up to and with the empty line. */
static size_t feed_head(struct runtime_http *http, struct slice bytes,
                        enum runtime_http_progress *progress)
{
    size_t used = 0;

    while (used < bytes.size) {
        const uint8_t *end = memchr(bytes.data + used, '\n', bytes.size - used);
        size_t size = end != NULL ? (size_t)(end - (bytes.data + used)) + 1 : bytes.size - used;
        struct buffer *head = &http->head;

        if (buffer_append(head, bytes.data + used, size) != OK) {
            *progress = break_off(http);
            return used;
        }
        used += size;
        if (head->size == 2 && memcmp(head->data, "\r\n", 2) == 0) {
            buffer_clear(head); /* RFC 9112: an empty line before a request is ignored */
        } else if (head->size >= 4 && memcmp(head->data + head->size - 4, "\r\n\r\n", 4) == 0) {
            *progress = end_head(http);
            return used;
        }
    }
    *progress = RUNTIME_HTTP_MORE;
    return used;
}

/* ---- the body ------------------------------------------------------------------------------ */

static size_t feed_content(struct runtime_http *http, struct slice bytes)
{
    size_t size = bytes.size < http->left ? bytes.size : (size_t)http->left;

    if (!http->is_too_large && buffer_append(&http->body, bytes.data, size) != OK)
        http->is_too_large = true;
    if (http->is_too_large)
        buffer_close(&http->body);
    http->left -= size;
    return size;
}

/* Copies up to and with the end of the line; false when it is not there yet, or too long. */
static bool feed_line(struct runtime_http *http, struct slice bytes, size_t *used,
                      enum runtime_http_progress *progress)
{
    const uint8_t *end = memchr(bytes.data, '\n', bytes.size);
    size_t size = end != NULL ? (size_t)(end - bytes.data) + 1 : bytes.size;

    *used = size;
    *progress = RUNTIME_HTTP_MORE;
    if (buffer_append(&http->line, bytes.data, size) != OK) {
        *progress = break_off(http);
        return false;
    }
    if (end == NULL)
        return false;
    if (http->line.size < 2 || http->line.data[http->line.size - 2] != '\r') {
        *progress = break_off(http);
        return false;
    }
    http->line.size -= 2;
    return true;
}

static int hex_value(uint8_t c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Chunk extensions are not accepted: no runtime client sends any. */
static bool parse_chunk_size(struct runtime_http *http)
{
    const struct buffer *line = &http->line;

    http->left = 0;
    if (line->size == 0 || line->size > CHUNK_DIGITS_MAX)
        return false;
    for (size_t i = 0; i < line->size; i++) {
        int digit = hex_value(line->data[i]);

        if (digit < 0)
            return false;
        http->left = http->left * 16 + (uint64_t)digit;
    }
    return true;
}

static void end_line(struct runtime_http *http, enum runtime_http_progress *progress)
{
    if (http->state == RUNTIME_HTTP_IN_CHUNK_SIZE) {
        if (!parse_chunk_size(http))
            *progress = break_off(http);
        else
            http->state = http->left > 0 ? RUNTIME_HTTP_IN_CHUNK : RUNTIME_HTTP_IN_TRAILER;
    } else if (http->state == RUNTIME_HTTP_AFTER_CHUNK) {
        if (http->line.size != 0)
            *progress = break_off(http);
        else
            http->state = RUNTIME_HTTP_IN_CHUNK_SIZE;
    } else if (http->line.size == 0) {
        http->state = RUNTIME_HTTP_IS_COMPLETE;
        *progress = RUNTIME_HTTP_REQUEST;
    }
    buffer_clear(&http->line);
}

size_t runtime_http_feed(struct runtime_http *http, struct slice bytes,
                         enum runtime_http_progress *progress)
{
    size_t used = 0;
    size_t size;

    *progress = RUNTIME_HTTP_MORE;
    if (http->state == RUNTIME_HTTP_IS_COMPLETE)
        begin_request(http);
    while (used < bytes.size && *progress == RUNTIME_HTTP_MORE) {
        struct slice rest = slice_of(bytes.data + used, bytes.size - used);

        switch (http->state) {
        case RUNTIME_HTTP_IN_HEAD:
            used += feed_head(http, rest, progress);
            break;
        case RUNTIME_HTTP_IN_BODY:
            used += feed_content(http, rest);
            if (http->left == 0) {
                http->state = RUNTIME_HTTP_IS_COMPLETE;
                *progress = RUNTIME_HTTP_REQUEST;
            }
            break;
        case RUNTIME_HTTP_IN_CHUNK:
            used += feed_content(http, rest);
            if (http->left == 0)
                http->state = RUNTIME_HTTP_AFTER_CHUNK;
            break;
        case RUNTIME_HTTP_IN_CHUNK_SIZE:
        case RUNTIME_HTTP_AFTER_CHUNK:
        case RUNTIME_HTTP_IN_TRAILER:
            if (feed_line(http, rest, &size, progress))
                end_line(http, progress);
            used += size;
            break;
        case RUNTIME_HTTP_IS_COMPLETE:
        case RUNTIME_HTTP_IS_BROKEN:
            *progress = RUNTIME_HTTP_BROKEN;
            break;
        }
    }
    return used;
}
