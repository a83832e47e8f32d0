/* A request read whole, and read in pieces that move in memory between, must be the same, or
 * refused both times (for different reasons when it has several faults). The first byte of the
 * input chooses the pieces. */

#include "node/http/http_reader.h"
#include "proto/base/check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_slice(const struct http_reader *reader, struct slice slice, const uint8_t *end)
{
    CHECK(slice.size == 0 || (slice.data >= reader->start && slice.data + slice.size <= end));
}

static void check_parts(const struct http_reader *reader, const uint8_t *end)
{
    check_slice(reader, reader->target, end);
    check_slice(reader, reader->query, end);
    check_slice(reader, reader->body, end);
    for (size_t i = 0; i < reader->header_count; i++) {
        check_slice(reader, reader->headers[i].name, end);
        check_slice(reader, reader->headers[i].value, end);
        CHECK(http_reader_is_token(reader->headers[i].name));
        CHECK(memchr(reader->headers[i].value.data, '\n', reader->headers[i].value.size) == NULL);
    }
}

/* As the server does it: what was read so far moves, and the framing of chunks is overwritten. */
static size_t read_pieces(struct http_reader *reader, const uint8_t *data, size_t size,
                          size_t piece, uint8_t **block)
{
    size_t kept = 0;
    size_t used = 0;

    *block = check_malloc(size);
    while (used < size && reader->state <= HTTP_READER_BODY) {
        size_t count = size - used < piece ? size - used : piece;
        uint8_t *moved = check_malloc(size);

        memcpy(moved, *block, kept);
        if (http_reader_start(reader) != NULL)
            http_reader_rebase(reader, moved);
        free(*block);
        *block = moved;
        memcpy(moved + kept, data + used, count);
        used += http_reader_feed(reader, moved + kept, count);
        const uint8_t *start = http_reader_start(reader);

        if (start == NULL)
            continue;
        kept = (size_t)(http_reader_end(reader) - start);
        if (start != moved) { /* empty lines came first */
            memmove(moved, start, kept);
            http_reader_rebase(reader, moved);
        }
    }
    return used;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct http_reader_limits limits = {4096, 4096};
    struct http_reader whole;
    struct http_reader pieces;
    uint8_t *copy;
    uint8_t *block;

    if (size < 2)
        return 0;
    copy = check_malloc(size - 1);
    memcpy(copy, data + 1, size - 1);
    http_reader_init(&whole, limits);
    http_reader_init(&pieces, limits);
    size_t used = http_reader_feed(&whole, copy, size - 1);
    size_t used_in_pieces = read_pieces(&pieces, data + 1, size - 1, (size_t)data[0] + 1, &block);

    CHECK(whole.state == pieces.state);
    if (whole.state == HTTP_READER_DONE) {
        check_parts(&whole, copy + size - 1);
        check_parts(&pieces, block + size - 1);
        CHECK(used == used_in_pieces);
        CHECK(slice_equal(whole.body, pieces.body));
        CHECK(slice_equal(whole.path, pieces.path));
        CHECK(whole.header_count == pieces.header_count);
    }
    free(copy);
    free(block);
    return 0;
}
