#include "node/auth/sigv4_canonical.h"

#include "proto/base/check.h"
#include "proto/base/encode.h"

#include <strings.h>

static bool is_unreserved(uint8_t c)
{
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || c == '-' ||
           c == '.' || c == '_' || c == '~';
}

/* Room for all was reserved: this and what it calls is most of the time spent here. */
static void put_byte(struct buffer *to, uint8_t c)
{
    to->data[to->size++] = c;
}

static void put_encoded(struct buffer *to, uint8_t c)
{
    static const char digits[] = "0123456789ABCDEF";

    if (is_unreserved(c)) {
        put_byte(to, c);
        return;
    }
    put_byte(to, '%');
    put_byte(to, (uint8_t)digits[c >> 4]);
    put_byte(to, (uint8_t)digits[c & 15]);
}

static void reserve(struct buffer *to, size_t bytes)
{
    CHECK(buffer_reserve(to, bytes) == OK);
}

/* ---- path ----------------------------------------------------------------------------------- */

static void put_path_encoded(struct slice path, struct buffer *to)
{
    for (size_t i = 0; i < path.size; i++) {
        if (path.data[i] == '/')
            put_byte(to, '/');
        else
            put_encoded(to, path.data[i]);
    }
}

/* Cut back to before the last segment, which began behind a slash. */
static void drop_segment(struct buffer *to, size_t start)
{
    while (to->size > start && to->data[to->size - 1] != '/')
        to->size--;
    if (to->size > start)
        to->size--;
}

/* As botocore does it: empty and "." segments vanish, ".." takes the one before it along. */
static void put_path_normalized(struct slice path, struct buffer *to)
{
    size_t start = to->size;

    for (size_t i = 0; i < path.size;) {
        size_t end = i;

        while (end < path.size && path.data[end] != '/')
            end++;
        struct slice segment = slice_of(path.data + i, end - i);

        if (slice_equal_text(segment, "..")) {
            drop_segment(to, start);
        } else if (segment.size > 0 && !slice_equal_text(segment, ".")) {
            put_byte(to, '/');
            put_path_encoded(segment, to);
        }
        i = end + 1;
    }
    if (to->size == start || path.data[path.size - 1] == '/')
        put_byte(to, '/');
}

static bool is_normal(struct slice path)
{
    for (size_t i = 0; i + 1 < path.size; i++)
        if (path.data[i] == '/' && (path.data[i + 1] == '/' || path.data[i + 1] == '.'))
            return false;
    return true;
}

static void put_path(const struct sigv4_request *request, bool is_s3, struct buffer *to)
{
    reserve(to, 3 * request->path.size + 2);
    if (request->path.size == 0)
        put_byte(to, '/');
    else if (is_s3)
        buffer_put_slice(to, request->path);
    else if (is_normal(request->path))
        put_path_encoded(request->path, to);
    else
        put_path_normalized(request->path, to);
    put_byte(to, '\n');
}

/* ---- query ---------------------------------------------------------------------------------- */

struct parameter { /* encoded; offsets into the scratch buffer turned to slices at the end */
    struct slice name;
    struct slice value;
};

static int parameter_compare(const void *a, const void *b)
{
    const struct parameter *left = a;
    const struct parameter *right = b;
    int order = slice_compare(left->name, right->name);

    return order != 0 ? order : slice_compare(left->value, right->value);
}

/* Decode and encode again. */
static enum error put_component(struct slice text, struct buffer *to)
{
    for (size_t i = 0; i < text.size; i++) {
        uint8_t c = text.data[i];

        if (c == '%') {
            if (text.size - i < 3 || decode_hex(slice_of(text.data + i + 1, 2), &c, 1) != OK)
                return ERR_INVALID;
            i += 2;
        }
        put_encoded(to, c);
    }
    return OK;
}

/* Encode one "name=value" into `scratch`, which does not move. */
static enum error read_parameter(struct slice text, struct buffer *scratch,
                                 struct parameter *parameter)
{
    const uint8_t *equals = memchr(text.data, '=', text.size);
    size_t name_size = equals != NULL ? (size_t)(equals - text.data) : text.size;
    size_t value_at = equals != NULL ? name_size + 1 : text.size;
    size_t start = scratch->size;

    if (put_component(slice_of(text.data, name_size), scratch) != OK)
        return ERR_INVALID;
    parameter->name = slice_of(scratch->data + start, scratch->size - start);
    start = scratch->size;
    if (put_component(slice_of(text.data + value_at, text.size - value_at), scratch) != OK)
        return ERR_INVALID;
    parameter->value = slice_of(scratch->data + start, scratch->size - start);
    return OK;
}

static enum error read_parameters(const struct sigv4_request *request, bool is_presigned,
                                  struct buffer *scratch, struct parameter *parameters,
                                  size_t *count)
{
    struct slice rest = request->query;

    *count = 0;
    while (rest.size > 0) {
        const uint8_t *end = memchr(rest.data, '&', rest.size);
        size_t size = end != NULL ? (size_t)(end - rest.data) : rest.size;

        if (size > 0) {
            if (*count == SIGV4_PARAMETERS_MAX)
                return ERR_INVALID;
            struct parameter *parameter = &parameters[*count];

            if (read_parameter(slice_of(rest.data, size), scratch, parameter) != OK)
                return ERR_INVALID;
            if (!is_presigned || !slice_equal_text(parameter->name, "X-Amz-Signature"))
                ++*count;
        }
        if (end == NULL)
            break;
        rest = slice_of(end + 1, rest.size - size - 1);
    }
    return OK;
}

static enum error put_query(const struct sigv4_request *request, bool is_presigned,
                            struct buffer *to)
{
    struct parameter parameters[SIGV4_PARAMETERS_MAX];
    AUTO(buffer) scratch = BUFFER_INIT(BUFFER_UNLIMITED);
    size_t count = 0;

    if (request->query.size > 0) {
        reserve(&scratch, 3 * request->query.size);
        if (read_parameters(request, is_presigned, &scratch, parameters, &count) != OK)
            return ERR_INVALID;
        qsort(parameters, count, sizeof(parameters[0]), parameter_compare);
    }
    for (size_t i = 0; i < count; i++) {
        if (i > 0)
            buffer_put_u8(to, '&');
        buffer_put_slice(to, parameters[i].name);
        buffer_put_u8(to, '=');
        buffer_put_slice(to, parameters[i].value);
    }
    buffer_put_u8(to, '\n');
    return OK;
}

/* ---- headers -------------------------------------------------------------------------------- */

bool sigv4_is_header(const struct sigv4_header *header, struct slice name)
{
    return header->name.size == name.size &&
           strncasecmp((const char *)header->name.data, (const char *)name.data, name.size) == 0;
}

static void put_value(struct slice value, struct buffer *to)
{
    bool is_blank = true; /* leading blanks go */

    for (size_t i = 0; i < value.size; i++) {
        bool was_blank = is_blank;

        is_blank = value.data[i] == ' ' || value.data[i] == '\t';
        if (!is_blank)
            put_byte(to, value.data[i]);
        else if (!was_blank)
            put_byte(to, ' ');
    }
    if (value.size > 0 && is_blank && to->data[to->size - 1] == ' ')
        to->size--;
}

/* "name:value,value\n" */
static void put_header(const struct sigv4_request *request, struct slice name, struct buffer *to)
{
    bool is_first = true;

    buffer_put_slice(to, name);
    buffer_put_u8(to, ':');
    for (size_t i = 0; i < request->header_count; i++) {
        const struct sigv4_header *header = &request->headers[i];

        if (!sigv4_is_header(header, name))
            continue;
        reserve(to, header->value.size + 2);
        if (!is_first)
            put_byte(to, ',');
        put_value(header->value, to);
        is_first = false;
    }
    buffer_put_u8(to, '\n');
}

static void put_headers(const struct sigv4_request *request, struct slice names, struct buffer *to)
{
    while (names.size > 0) {
        const uint8_t *end = memchr(names.data, ';', names.size);
        size_t size = end != NULL ? (size_t)(end - names.data) : names.size;

        put_header(request, slice_of(names.data, size), to);
        if (end == NULL)
            break;
        names = slice_of(end + 1, names.size - size - 1);
    }
}

enum error sigv4_canonical_request(const struct sigv4_request *request,
                                   const struct sigv4_identity *identity, struct slice payload_hash,
                                   struct buffer *to)
{
    buffer_put_slice(to, request->method);
    buffer_put_u8(to, '\n');
    put_path(request, slice_equal_text(identity->service, "s3"), to);
    if (put_query(request, identity->is_presigned, to) != OK)
        return ERR_INVALID;
    put_headers(request, identity->signed_headers, to);
    buffer_put_u8(to, '\n');
    buffer_put_slice(to, identity->signed_headers);
    buffer_put_u8(to, '\n');
    buffer_put_slice(to, payload_hash);
    return OK;
}
