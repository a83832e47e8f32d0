#include "node/http/http.h"

#include "proto/base/check.h"
#include "proto/base/encode.h"

#include <strings.h>

struct slice http_header_find(const struct http_exchange *exchange, const char *name)
{
    size_t size = strlen(name);

    for (size_t i = 0; i < exchange->header_count; i++) {
        const struct http_header *header = &exchange->headers[i];

        if (header->name.size == size &&
            strncasecmp((const char *)header->name.data, name, size) == 0)
            return header->value;
    }
    return (struct slice){NULL, 0};
}

/* The decoded text in the arena; as sent when its escapes are broken. */
static struct slice decode(struct arena *arena, struct slice text)
{
    AUTO(buffer) decoded = BUFFER_INIT(text.size);

    if (decode_percent(text, true, &decoded) != OK)
        return arena_copy(arena, text);
    return arena_copy(arena, buffer_slice(&decoded));
}

struct slice http_form_find(struct arena *arena, struct slice form, const char *name)
{
    struct slice rest = form;

    while (rest.size > 0) {
        const uint8_t *end = memchr(rest.data, '&', rest.size);
        size_t size = end != NULL ? (size_t)(end - rest.data) : rest.size;
        const uint8_t *equals = memchr(rest.data, '=', size);
        size_t name_size = equals != NULL ? (size_t)(equals - rest.data) : size;
        size_t value_at = equals != NULL ? name_size + 1 : size;
        struct slice found = slice_of(rest.data, name_size);

        if (memchr(found.data, '%', found.size) != NULL)
            found = decode(arena, found);
        if (slice_equal_text(found, name))
            return decode(arena, slice_of(rest.data + value_at, size - value_at));
        if (end == NULL)
            break;
        rest = slice_of(end + 1, rest.size - size - 1);
    }
    return (struct slice){NULL, 0};
}

struct slice http_query_find(struct http_exchange *exchange, const char *name)
{
    return http_form_find(&exchange->arena, exchange->query, name);
}

void http_respond(struct http_exchange *exchange, int status, const struct http_header *headers,
                  size_t header_count, struct buffer *body)
{
    CHECK(status >= 200 && status <= 999);
    exchange->respond(exchange, status, headers, header_count, body);
}

void http_respond_text(struct http_exchange *exchange, int status, const char *content_type,
                       struct slice body)
{
    const struct http_header header = {SLICE_LITERAL("Content-Type"), slice_text(content_type)};
    struct buffer copy = BUFFER_INIT(BUFFER_UNLIMITED);

    buffer_put_slice(&copy, body);
    http_respond(exchange, status, &header, 1, &copy);
}
