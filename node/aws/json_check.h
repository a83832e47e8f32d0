/* Is this JSON (RFC 8259)? Answers without building anything, so that payloads may be passed on as
 * they came: numbers keep every digit, objects their order. */

#ifndef NODE_AWS_JSON_CHECK_H
#define NODE_AWS_JSON_CHECK_H

#include "proto/base/buffer.h"

#define JSON_CHECK_DEPTH_MAX 512

/* One value with white space around it, in valid UTF-8, with at most `depth_max` (up to
 * JSON_CHECK_DEPTH_MAX) objects and lists inside each other. */
bool json_check(struct slice text, size_t depth_max);

#endif
