/* The path of a REST request as decoded segments: "/a/b%3Ac/" is "a" and "b:c". */

#ifndef NODE_AWS_AWS_PATH_H
#define NODE_AWS_AWS_PATH_H

#include "proto/base/arena.h"

#define AWS_PATH_SEGMENTS_MAX 16

struct aws_path {
    size_t count;                          /* a trailing slash makes no segment */
    char *segments[AWS_PATH_SEGMENTS_MAX]; /* in the arena */
};

/* ERR_INVALID: a broken escape, an encoded NUL, or too many segments. */
enum error aws_path_split(struct arena *arena, struct slice path, struct aws_path *parts);

static inline bool aws_path_is(const struct aws_path *path, size_t index, const char *segment)
{
    return index < path->count && strcmp(path->segments[index], segment) == 0;
}

#endif
