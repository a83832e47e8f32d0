/* UTF-8 (RFC 3629): no overlong forms, no surrogates, nothing above U+10FFFF. */

#ifndef PROTO_BASE_UTF8_H
#define PROTO_BASE_UTF8_H

#include "proto/base/buffer.h"

/* Bytes of the valid character at the start of `text`; 0 when there is none. */
size_t utf8_character(struct slice text);
bool utf8_is_valid(struct slice text);
/* Characters in valid text. */
size_t utf8_count(struct slice text);

#endif
