#include "node/aws/aws_path.h"

#include "proto/base/encode.h"

static enum error split_one(struct arena *arena, struct slice segment, struct aws_path *parts)
{
    AUTO(buffer) decoded = BUFFER_INIT(segment.size);

    if (parts->count == AWS_PATH_SEGMENTS_MAX || decode_percent(segment, false, &decoded) != OK)
        return ERR_INVALID;
    if (decoded.size > 0 && memchr(decoded.data, 0, decoded.size) != NULL)
        return ERR_INVALID;
    parts->segments[parts->count++] = arena_text(arena, buffer_slice(&decoded));
    return OK;
}

enum error aws_path_split(struct arena *arena, struct slice path, struct aws_path *parts)
{
    struct aws_path found = {0};
    struct slice rest = path;

    if (rest.size > 0 && rest.data[0] == '/')
        rest = slice_of(rest.data + 1, rest.size - 1);
    while (rest.size > 0) {
        const uint8_t *slash = memchr(rest.data, '/', rest.size);
        size_t size = slash != NULL ? (size_t)(slash - rest.data) : rest.size;
        enum error rc = split_one(arena, slice_of(rest.data, size), &found);

        if (rc != OK)
            return rc;
        rest = slash != NULL ? slice_of(slash + 1, rest.size - size - 1) : slice_of(NULL, 0);
    }
    *parts = found;
    return OK;
}
