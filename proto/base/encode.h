/* Text forms of bytes: hexadecimal, base64 (RFC 4648), percent-encoding (RFC 3986), UUID (RFC
 * 9562). */

#ifndef PROTO_BASE_ENCODE_H
#define PROTO_BASE_ENCODE_H

#include "proto/base/buffer.h"

/* Lower case; writes 2 * size characters and a NUL. */
void encode_hex(struct slice bytes, char *text);
/* ERR_INVALID unless `text` is exactly 2 * size hex digits. */
enum error decode_hex(struct slice text, uint8_t *bytes, size_t size);

enum error encode_base64(struct slice bytes, struct buffer *text);
/* Standard alphabet, padding required, nothing else allowed. ERR_INVALID otherwise; `bytes` may
 * then hold a part. */
enum error decode_base64(struct slice text, struct buffer *bytes);

/* Keeps A-Z a-z 0-9 - . _ ~ and every character of `keep`. */
enum error encode_percent(struct slice bytes, const char *keep, struct buffer *text);
/* ERR_INVALID on a broken escape. `plus_is_space` for query strings and forms. */
enum error decode_percent(struct slice text, bool plus_is_space, struct buffer *bytes);

/* Version 4 from 16 random bytes: 36 characters and a NUL. */
#define UUID_TEXT_BYTES 37
void encode_uuid(const uint8_t random[16], char text[UUID_TEXT_BYTES]);

/* ISO 8601 in UTC, "2026-11-23T20:35:16.123Z". */
#define TIME_TEXT_BYTES 40
void encode_time(uint64_t wall_ms, char text[TIME_TEXT_BYTES]);

#endif
