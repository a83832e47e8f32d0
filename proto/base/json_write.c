#include "proto/base/json_write.h"

#include "proto/base/encode.h"
#include "proto/base/utf8.h"

#include <inttypes.h>
#include <stdio.h>

static void put(struct json_write *json, const void *data, size_t size)
{
    if (json->rc == OK)
        json->rc = buffer_append(json->to, data, size);
}

static void before_value(struct json_write *json)
{
    if (json->need_comma)
        put(json, ",", 1);
    json->need_comma = true;
}

static void begin(struct json_write *json, const char *bracket)
{
    before_value(json);
    put(json, bracket, 1);
    json->need_comma = false;
}

static void end(struct json_write *json, const char *bracket)
{
    put(json, bracket, 1);
    json->need_comma = true;
}

void json_begin_object(struct json_write *json)
{
    begin(json, "{");
}

void json_end_object(struct json_write *json)
{
    end(json, "}");
}

void json_begin_array(struct json_write *json)
{
    begin(json, "[");
}

void json_end_array(struct json_write *json)
{
    end(json, "]");
}

/* True for bytes that go into a string as they are. */
static bool is_plain(uint8_t byte)
{
    return byte >= 0x20 && byte < 0x80 && byte != '"' && byte != '\\';
}

static void put_escape(struct json_write *json, uint8_t byte)
{
    static const char letters[] = "btn\0fr"; /* for 8 to 13; 11 has none */
    char text[8];

    if (byte == '"' || byte == '\\')
        snprintf(text, sizeof(text), "\\%c", byte);
    else if (byte >= 8 && byte <= 13 && letters[byte - 8] != '\0')
        snprintf(text, sizeof(text), "\\%c", letters[byte - 8]);
    else
        snprintf(text, sizeof(text), "\\u%04x", byte);
    put(json, text, strlen(text));
}

static void put_string(struct json_write *json, struct slice value)
{
    size_t at = 0;

    put(json, "\"", 1);
    while (at < value.size) {
        size_t from = at;

        while (at < value.size && is_plain(value.data[at]))
            at++;
        put(json, value.data + from, at - from);
        if (at == value.size)
            break;
        if (value.data[at] < 0x80) {
            put_escape(json, value.data[at++]);
            continue;
        }
        size_t bytes = utf8_character(slice_of(value.data + at, value.size - at));

        if (bytes == 0)
            put(json, "\xEF\xBF\xBD", 3);
        else
            put(json, value.data + at, bytes);
        at += bytes == 0 ? 1 : bytes;
    }
    put(json, "\"", 1);
}

void json_key_slice(struct json_write *json, struct slice key)
{
    before_value(json);
    put_string(json, key);
    put(json, ":", 1);
    json->need_comma = false;
}

void json_key(struct json_write *json, const char *key)
{
    json_key_slice(json, slice_text(key));
}

void json_slice(struct json_write *json, struct slice value)
{
    before_value(json);
    put_string(json, value);
}

void json_text(struct json_write *json, const char *value)
{
    json_slice(json, slice_text(value));
}

void json_base64(struct json_write *json, struct slice bytes)
{
    before_value(json);
    put(json, "\"", 1);
    if (json->rc == OK)
        json->rc = encode_base64(bytes, json->to);
    put(json, "\"", 1);
}

void json_raw(struct json_write *json, struct slice value)
{
    before_value(json);
    put(json, value.data, value.size);
}

void json_bool(struct json_write *json, bool value)
{
    json_raw(json, slice_text(value ? "true" : "false"));
}

void json_none(struct json_write *json)
{
    json_raw(json, SLICE_LITERAL("null"));
}

void json_i64(struct json_write *json, int64_t value)
{
    char text[24];

    snprintf(text, sizeof(text), "%" PRId64, value);
    json_raw(json, slice_text(text));
}

void json_u64(struct json_write *json, uint64_t value)
{
    char text[24];

    snprintf(text, sizeof(text), "%" PRIu64, value);
    json_raw(json, slice_text(text));
}

void json_fixed(struct json_write *json, uint64_t value, unsigned decimals)
{
    char text[48];
    uint64_t unit = 1;

    for (unsigned i = 0; i < decimals; i++)
        unit *= 10;
    snprintf(text, sizeof(text), "%" PRIu64 ".%0*" PRIu64, value / unit, (int)decimals,
             value % unit);
    json_raw(json, slice_text(text));
}

void json_member_text(struct json_write *json, const char *key, const char *value)
{
    json_key(json, key);
    json_text(json, value);
}

void json_member_slice(struct json_write *json, const char *key, struct slice value)
{
    json_key(json, key);
    json_slice(json, value);
}

void json_member_bool(struct json_write *json, const char *key, bool value)
{
    json_key(json, key);
    json_bool(json, value);
}

void json_member_u64(struct json_write *json, const char *key, uint64_t value)
{
    json_key(json, key);
    json_u64(json, value);
}
