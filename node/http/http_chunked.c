#include "node/http/http_chunked.h"

#include "proto/base/check.h"

#define SIZE_DIGITS_MAX 16
#define EXTENSION_BYTES_MAX 1024
#define TRAILER_BYTES_MAX 8192

enum { /* what is expected next */
       CHUNK_SIZE,
       CHUNK_EXTENSION,
       CHUNK_SIZE_LF,
       CHUNK_DATA,
       CHUNK_DATA_CR,
       CHUNK_DATA_LF,
       CHUNK_TRAILER_START, /* a trailer or the last line */
       CHUNK_TRAILER,
       CHUNK_TRAILER_LF,
       CHUNK_LAST_LF
};

void http_chunked_init(struct http_chunked *chunked, size_t bytes_max)
{
    *chunked = (struct http_chunked){.state = CHUNK_SIZE, .bytes_max = bytes_max};
}

static int hex_value(uint8_t c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool is_text(uint8_t c)
{
    return (c >= 0x20 && c != 0x7f) || c == '\t';
}

static enum error size_byte(struct http_chunked *chunked, uint8_t c)
{
    int digit = hex_value(c);

    if (digit >= 0) {
        if (chunked->line_bytes++ == SIZE_DIGITS_MAX)
            return ERR_INVALID;
        chunked->left = chunked->left << 4 | (uint64_t)digit;
        return OK;
    }
    if (chunked->line_bytes == 0 || (c != '\r' && c != ';'))
        return ERR_INVALID;
    if (chunked->left > chunked->bytes_max)
        return ERR_TOO_LARGE;
    chunked->state = c == '\r' ? CHUNK_SIZE_LF : CHUNK_EXTENSION;
    chunked->line_bytes = 0;
    return OK;
}

/* Part of a line whose content does not matter: until CR, in visible characters, up to a limit. */
static enum error line_byte(struct http_chunked *chunked, uint8_t c, size_t bytes_max, int next)
{
    if (c == '\r')
        chunked->state = next;
    else if (!is_text(c) || ++chunked->line_bytes > bytes_max)
        return ERR_INVALID;
    return OK;
}

static enum error expect(struct http_chunked *chunked, uint8_t c, uint8_t wanted, int next)
{
    if (c != wanted)
        return ERR_INVALID;
    chunked->state = next;
    return OK;
}

/* Everything but data, byte by byte. */
static enum error framing_byte(struct http_chunked *chunked, uint8_t c)
{
    switch (chunked->state) {
    case CHUNK_SIZE:
        return size_byte(chunked, c);
    case CHUNK_EXTENSION:
        return line_byte(chunked, c, EXTENSION_BYTES_MAX, CHUNK_SIZE_LF);
    case CHUNK_SIZE_LF:
        chunked->line_bytes = 0;
        return expect(chunked, c, '\n', chunked->left > 0 ? CHUNK_DATA : CHUNK_TRAILER_START);
    case CHUNK_DATA_CR:
        return expect(chunked, c, '\r', CHUNK_DATA_LF);
    case CHUNK_DATA_LF:
        return expect(chunked, c, '\n', CHUNK_SIZE);
    case CHUNK_TRAILER_START:
        if (c == '\r') {
            chunked->state = CHUNK_LAST_LF;
            return OK;
        }
        chunked->state = CHUNK_TRAILER;
        return c == ' ' || c == '\t' ? ERR_INVALID
                                     : line_byte(chunked, c, TRAILER_BYTES_MAX, CHUNK_TRAILER_LF);
    case CHUNK_TRAILER:
        return line_byte(chunked, c, TRAILER_BYTES_MAX, CHUNK_TRAILER_LF);
    case CHUNK_TRAILER_LF:
        return expect(chunked, c, '\n', CHUNK_TRAILER_START);
    case CHUNK_LAST_LF:
        return c == '\n' ? ERR_END : ERR_INVALID;
    default:
        CHECK(false);
    }
}

static size_t take_data(struct http_chunked *chunked, const uint8_t *from, size_t size,
                        uint8_t **to)
{
    size_t taken = size < chunked->left ? size : (size_t)chunked->left;

    if (*to != from)
        memmove(*to, from, taken);
    *to += taken;
    chunked->left -= taken;
    chunked->bytes_max -= taken;
    if (chunked->left == 0)
        chunked->state = CHUNK_DATA_CR;
    return taken;
}

enum error http_chunked_decode(struct http_chunked *chunked, const uint8_t *from, size_t size,
                               uint8_t **to, size_t *used)
{
    enum error rc = OK;
    size_t at = 0;

    while (rc == OK && at < size) {
        if (chunked->state == CHUNK_DATA)
            at += take_data(chunked, from + at, size - at, to);
        else
            rc = framing_byte(chunked, from[at++]);
    }
    *used = at;
    return rc;
}
