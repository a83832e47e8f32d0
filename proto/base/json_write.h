/* Writes JSON straight into a buffer: no tree, no allocation besides the buffer's own.
 *
 * The caller keeps begin and end in balance; commas are put in by themselves. In an object every
 * value is preceded by json_key. An append past the buffer's limit is noted in `rc`, and nothing
 * more is written: look there once at the end. */

#ifndef PROTO_BASE_JSON_WRITE_H
#define PROTO_BASE_JSON_WRITE_H

#include "proto/base/buffer.h"

struct json_write {
    struct buffer *to;
    enum error rc;   /* OK or ERR_TOO_LARGE */
    bool need_comma; /* a value came before, in the same object or array */
};

static inline struct json_write json_write_to(struct buffer *to)
{
    return (struct json_write){to, OK, false};
}

void json_begin_object(struct json_write *json);
void json_end_object(struct json_write *json);
void json_begin_array(struct json_write *json);
void json_end_array(struct json_write *json);

void json_key(struct json_write *json, const char *key);
void json_key_slice(struct json_write *json, struct slice key);

/* Strings are escaped as RFC 8259 wants it; bytes that are no UTF-8 become U+FFFD. */
void json_text(struct json_write *json, const char *value);
void json_slice(struct json_write *json, struct slice value);
void json_base64(struct json_write *json, struct slice bytes);
void json_bool(struct json_write *json, bool value);
void json_none(struct json_write *json); /* null; the obvious name is jansson's */
void json_i64(struct json_write *json, int64_t value);
void json_u64(struct json_write *json, uint64_t value);
/* A number with exactly `decimals` places, of value / 10^decimals: 1500 and 3 give 1.500. */
void json_fixed(struct json_write *json, uint64_t value, unsigned decimals);
/* One value that is JSON already. */
void json_raw(struct json_write *json, struct slice value);

/* Shorthands: key and value. */
void json_member_text(struct json_write *json, const char *key, const char *value);
void json_member_slice(struct json_write *json, const char *key, struct slice value);
void json_member_bool(struct json_write *json, const char *key, bool value);
void json_member_u64(struct json_write *json, const char *key, uint64_t value);

#endif
