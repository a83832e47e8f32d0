#include "node/aws/gateway_response.h"

#include "proto/base/check.h"
#include "proto/base/encode.h"

#include <jansson.h>
#include <stdio.h>
#include <strings.h>

#define RESPONSE_HEADERS_MAX 200
#define RESPONSE_BODY_BYTES_MAX (10u << 20)

struct reading {
    struct arena *arena;
    struct gateway_response *response;
};

/* The server says these itself. */
static const char *const own_headers[] = {"Connection", "Content-Length",    "Date",
                                          "Keep-Alive", "Transfer-Encoding", "Upgrade"};

/* ---- headers ---- */

static bool is_token(const char *name)
{
    static const char marks[] = "!#$%&'*+-.^_`|~";

    for (const char *c = name; *c != 0; c++) {
        bool is_letter = (*c >= 'a' && *c <= 'z') || (*c >= 'A' && *c <= 'Z');

        if (!is_letter && !(*c >= '0' && *c <= '9') && strchr(marks, *c) == NULL)
            return false;
    }
    return name[0] != 0;
}

static bool is_field_value(const char *value)
{
    for (const char *c = value; *c != 0; c++) {
        if (((unsigned char)*c < 0x20 && *c != '\t') || *c == 0x7f)
            return false;
    }
    return true;
}

static bool is_own(const char *name)
{
    for (size_t i = 0; i < ARRAY_COUNT(own_headers); i++) {
        if (strcasecmp(name, own_headers[i]) == 0)
            return true;
    }
    return false;
}

/* The text of a header's value; NULL when it is none. */
static const char *value_text(struct arena *arena, const json_t *value)
{
    switch (json_typeof(value)) {
    case JSON_STRING:
        return arena_text(arena, slice_text(json_string_value(value)));
    case JSON_TRUE:
        return "true";
    case JSON_FALSE:
        return "false";
    case JSON_INTEGER:
        return arena_printf(arena, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
    case JSON_REAL:
        return arena_printf(arena, "%.17g", json_real_value(value));
    case JSON_OBJECT:
    case JSON_ARRAY:
    case JSON_NULL:
        break;
    }
    return NULL;
}

static bool has_header(const struct gateway_response *response, const char *name)
{
    for (size_t i = 0; i < response->header_count; i++) {
        struct slice found = response->headers[i].name;

        if (found.size == strlen(name) &&
            strncasecmp((const char *)found.data, name, found.size) == 0)
            return true;
    }
    return false;
}

static bool add_header(struct reading *reading, const char *name, const json_t *value)
{
    struct gateway_response *response = reading->response;
    const char *text = value_text(reading->arena, value);

    if (text == NULL || !is_token(name) || !is_field_value(text) ||
        response->header_count == RESPONSE_HEADERS_MAX)
        return false;
    if (!is_own(name))
        response->headers[response->header_count++] = (struct http_header){
            slice_text(arena_text(reading->arena, slice_text(name))), slice_text(text)};
    return true;
}

/* multiValueHeaders first: a name that is there too in headers counts once. */
static bool read_multi_headers(struct reading *reading, const json_t *object)
{
    const char *name;
    json_t *values;

    json_object_foreach((json_t *)object, name, values)
    {
        if (!json_is_array(values))
            return false;
        for (size_t i = 0; i < json_array_size(values); i++) {
            if (!add_header(reading, name, json_array_get(values, i)))
                return false;
        }
    }
    return true;
}

static bool read_headers(struct reading *reading, const json_t *object)
{
    const char *name;
    json_t *value;

    json_object_foreach((json_t *)object, name, value)
    {
        if (!has_header(reading->response, name) && !add_header(reading, name, value))
            return false;
    }
    return true;
}

/* ---- the other members ---- */

static bool read_status(const json_t *value, int *status)
{
    json_int_t number = 0;

    if (json_is_integer(value)) {
        number = json_integer_value(value);
    } else if (json_is_real(value)) {
        double real = json_real_value(value);

        number = real >= 100 && real <= 599 ? (json_int_t)real : 0;
        if ((double)number != real)
            return false;
    } else if (json_is_string(value)) {
        const char *text = json_string_value(value);

        if (json_string_length(value) != 3 || strspn(text, "0123456789") != 3)
            return false;
        number = (text[0] - '0') * 100 + (text[1] - '0') * 10 + (text[2] - '0');
    }
    if (number < 200 || number > 599)
        return false;
    *status = (int)number;
    return true;
}

static bool read_body(const json_t *value, bool is_base64, struct buffer *body)
{
    struct slice text = slice_of(json_string_value(value), json_string_length(value));

    buffer_init(body, RESPONSE_BODY_BYTES_MAX);
    if (is_base64)
        return decode_base64(text, body) == OK;
    return buffer_append_slice(body, text) == OK;
}

static bool is_known(const char *key)
{
    static const char *const known[] = {"statusCode", "headers", "multiValueHeaders", "body",
                                        "isBase64Encoded"};

    for (size_t i = 0; i < ARRAY_COUNT(known); i++) {
        if (strcmp(known[i], key) == 0)
            return true;
    }
    return false;
}

/* The member, NULL when absent or null. */
static const json_t *present(const json_t *root, const char *key)
{
    const json_t *value = json_object_get(root, key);

    return json_is_null(value) ? NULL : value;
}

static bool check_known(const json_t *root)
{
    const char *key;
    json_t *value;

    json_object_foreach((json_t *)root, key, value)
    {
        if (!is_known(key))
            return false;
    }
    return true;
}

static bool check_types(const json_t *root)
{
    const json_t *headers = present(root, "headers");
    const json_t *multi = present(root, "multiValueHeaders");
    const json_t *body = present(root, "body");
    const json_t *is_base64 = present(root, "isBase64Encoded");

    return (headers == NULL || json_is_object(headers)) &&
           (multi == NULL || json_is_object(multi)) && (body == NULL || json_is_string(body)) &&
           (is_base64 == NULL || json_is_boolean(is_base64));
}

static bool read_root(struct reading *reading, const json_t *root)
{
    struct gateway_response *response = reading->response;
    const json_t *status = present(root, "statusCode");
    const json_t *body = present(root, "body");

    if (!check_types(root) || (status != NULL && !read_status(status, &response->status)) ||
        !read_multi_headers(reading, present(root, "multiValueHeaders")) ||
        !read_headers(reading, present(root, "headers")))
        return false;
    if (!has_header(response, "Content-Type"))
        response->headers[response->header_count++] =
            (struct http_header){SLICE_LITERAL("Content-Type"), SLICE_LITERAL("application/json")};
    return body == NULL ||
           read_body(body, json_is_true(present(root, "isBase64Encoded")), &response->body);
}

static bool read_1(struct reading *reading, struct slice payload, const json_t *root)
{
    (void)payload;
    return json_is_object(root) && check_known(root) && read_root(reading, root);
}

static bool read_2(struct reading *reading, struct slice payload, const json_t *root)
{
    struct gateway_response *response = reading->response;
    const json_t *cookies = present(root, "cookies");

    if (present(root, "statusCode") == NULL) {
        buffer_init(&response->body, RESPONSE_BODY_BYTES_MAX);
        response->headers[response->header_count++] =
            (struct http_header){SLICE_LITERAL("Content-Type"), SLICE_LITERAL("application/json")};
        return buffer_append_slice(&response->body, payload) == OK;
    }
    if (cookies != NULL && !json_is_array(cookies))
        return false;
    for (size_t i = 0; i < json_array_size(cookies); i++)
        if (!add_header(reading, "Set-Cookie", json_array_get(cookies, i)))
            return false;
    return read_root(reading, root);
}

static enum error read_payload(struct arena *arena, struct slice payload,
                               bool (*read)(struct reading *reading, struct slice payload,
                                            const json_t *root),
                               struct gateway_response *response)
{
    struct gateway_response found = {
        .status = 200,
        .headers = arena_alloc(arena, (RESPONSE_HEADERS_MAX + 1) * sizeof(*found.headers)),
    };
    struct reading reading = {arena, &found};
    json_t *root = json_loadb((const char *)payload.data, payload.size,
                              JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
    bool is_good = root != NULL && read(&reading, payload, root);

    json_decref(root);
    if (!is_good) {
        buffer_close(&found.body);
        return ERR_INVALID;
    }
    *response = found;
    return OK;
}

enum error gateway_response_read(struct arena *arena, struct slice payload,
                                 struct gateway_response *response)
{
    return read_payload(arena, payload, read_1, response);
}

enum error gateway_response_read_2(struct arena *arena, struct slice payload,
                                   struct gateway_response *response)
{
    return read_payload(arena, payload, read_2, response);
}
