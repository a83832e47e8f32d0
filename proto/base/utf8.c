#include "proto/base/utf8.h"

static bool is_continuation(uint8_t byte)
{
    return (byte & 0xC0) == 0x80;
}

size_t utf8_character(struct slice text)
{
    const uint8_t *c = text.data;

    if (text.size == 0)
        return 0;
    if (c[0] < 0x80)
        return 1;
    if (c[0] >= 0xC2 && c[0] <= 0xDF)
        return text.size >= 2 && is_continuation(c[1]) ? 2 : 0;
    if ((c[0] & 0xF0) == 0xE0) {
        if (text.size < 3 || !is_continuation(c[1]) || !is_continuation(c[2]))
            return 0;
        bool is_overlong = c[0] == 0xE0 && c[1] < 0xA0;
        bool is_surrogate = c[0] == 0xED && c[1] >= 0xA0;

        return is_overlong || is_surrogate ? 0 : 3;
    }
    if (c[0] >= 0xF0 && c[0] <= 0xF4) {
        if (text.size < 4 || !is_continuation(c[1]) || !is_continuation(c[2]) ||
            !is_continuation(c[3]))
            return 0;
        bool is_overlong = c[0] == 0xF0 && c[1] < 0x90;
        bool is_too_large = c[0] == 0xF4 && c[1] >= 0x90;

        return is_overlong || is_too_large ? 0 : 4;
    }
    return 0;
}

bool utf8_is_valid(struct slice text)
{
    size_t at = 0;

    while (at < text.size) {
        size_t bytes = 1;

        if (text.data[at] >= 0x80)
            bytes = utf8_character(slice_of(text.data + at, text.size - at));
        if (bytes == 0)
            return false;
        at += bytes;
    }
    return true;
}

size_t utf8_count(struct slice text)
{
    size_t count = 0;

    for (size_t i = 0; i < text.size; i++)
        count += !is_continuation(text.data[i]);
    return count;
}
