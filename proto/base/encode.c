#include "proto/base/encode.h"

#include "proto/base/check.h"

#include <stdio.h>
#include <time.h>

static const char digits_lower[] = "0123456789abcdef";
static const char digits_upper[] = "0123456789ABCDEF";
static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

void encode_hex(struct slice bytes, char *text)
{
    for (size_t i = 0; i < bytes.size; i++) {
        text[2 * i] = digits_lower[bytes.data[i] >> 4];
        text[2 * i + 1] = digits_lower[bytes.data[i] & 15];
    }
    text[2 * bytes.size] = '\0';
}

static int hex_value(uint8_t digit)
{
    if (digit >= '0' && digit <= '9')
        return digit - '0';
    if (digit >= 'a' && digit <= 'f')
        return digit - 'a' + 10;
    if (digit >= 'A' && digit <= 'F')
        return digit - 'A' + 10;
    return -1;
}

enum error decode_hex(struct slice text, uint8_t *bytes, size_t size)
{
    if (text.size != 2 * size)
        return ERR_INVALID;
    for (size_t i = 0; i < size; i++) {
        int high = hex_value(text.data[2 * i]);
        int low = hex_value(text.data[2 * i + 1]);

        if (high < 0 || low < 0)
            return ERR_INVALID;
        bytes[i] = (uint8_t)(high << 4 | low);
    }
    return OK;
}

enum error encode_base64(struct slice bytes, struct buffer *text)
{
    enum error rc = buffer_reserve(text, (bytes.size + 2) / 3 * 4);

    if (rc != OK)
        return rc;
    for (size_t i = 0; i < bytes.size; i += 3) {
        size_t left = bytes.size - i;
        uint32_t group = (uint32_t)bytes.data[i] << 16;

        if (left > 1)
            group |= (uint32_t)bytes.data[i + 1] << 8;
        if (left > 2)
            group |= bytes.data[i + 2];
        char four[4] = {alphabet[group >> 18], alphabet[group >> 12 & 63],
                        left > 1 ? alphabet[group >> 6 & 63] : '=',
                        left > 2 ? alphabet[group & 63] : '='};

        buffer_put(text, four, sizeof(four));
    }
    return OK;
}

static int base64_value(uint8_t character)
{
    if (character >= 'A' && character <= 'Z')
        return character - 'A';
    if (character >= 'a' && character <= 'z')
        return character - 'a' + 26;
    if (character >= '0' && character <= '9')
        return character - '0' + 52;
    if (character == '+')
        return 62;
    return character == '/' ? 63 : -1;
}

enum error decode_base64(struct slice text, struct buffer *bytes)
{
    if (text.size % 4 != 0)
        return ERR_INVALID;
    enum error rc = buffer_reserve(bytes, text.size / 4 * 3);

    if (rc != OK)
        return rc;
    for (size_t i = 0; i < text.size; i += 4) {
        const uint8_t *four = text.data + i;
        bool is_last = i + 4 == text.size;
        size_t padding = is_last && four[3] == '=' ? (four[2] == '=' ? 2 : 1) : 0;
        uint32_t group = 0;

        for (size_t k = 0; k < 4; k++) {
            int value = k >= 4 - padding ? 0 : base64_value(four[k]);

            if (value < 0)
                return ERR_INVALID;
            group = group << 6 | (uint32_t)value;
        }
        if ((padding == 1 && (group & 0xff) != 0) || (padding == 2 && (group & 0xffff) != 0))
            return ERR_INVALID;
        uint8_t three[3] = {(uint8_t)(group >> 16), (uint8_t)(group >> 8), (uint8_t)group};

        buffer_put(bytes, three, 3 - padding);
    }
    return OK;
}

static bool is_unreserved(uint8_t c)
{
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '.' || c == '_' || c == '~';
}

enum error encode_percent(struct slice bytes, const char *keep, struct buffer *text)
{
    enum error rc = OK;

    for (size_t i = 0; i < bytes.size && rc == OK; i++) {
        uint8_t c = bytes.data[i];
        uint8_t escape[3] = {'%', (uint8_t)digits_upper[c >> 4], (uint8_t)digits_upper[c & 15]};

        if (is_unreserved(c) || (c != '\0' && strchr(keep, c) != NULL))
            rc = buffer_append_u8(text, c);
        else
            rc = buffer_append(text, escape, sizeof(escape));
    }
    return rc;
}

enum error decode_percent(struct slice text, bool plus_is_space, struct buffer *bytes)
{
    enum error rc = OK;

    for (size_t i = 0; i < text.size && rc == OK; i++) {
        uint8_t c = text.data[i];

        if (c == '%') {
            if (text.size - i < 3)
                return ERR_INVALID;
            rc = decode_hex(slice_of(text.data + i + 1, 2), &c, 1);
            if (rc != OK)
                return rc;
            i += 2;
        } else if (c == '+' && plus_is_space) {
            c = ' ';
        }
        rc = buffer_append_u8(bytes, c);
    }
    return rc;
}

void encode_uuid(const uint8_t random[16], char text[UUID_TEXT_BYTES])
{
    static const size_t groups[] = {8, 4, 4, 4, 12}; /* hex digits between the hyphens */
    uint8_t bytes[16];
    char hex[33];
    const char *from = hex;

    memcpy(bytes, random, sizeof(bytes));
    bytes[6] = (uint8_t)((bytes[6] & 0x0f) | 0x40);
    bytes[8] = (uint8_t)((bytes[8] & 0x3f) | 0x80);
    encode_hex(slice_of(bytes, sizeof(bytes)), hex);
    for (size_t i = 0; i < ARRAY_COUNT(groups); i++) {
        memcpy(text, from, groups[i]);
        text += groups[i];
        from += groups[i];
        *text++ = i + 1 < ARRAY_COUNT(groups) ? '-' : '\0';
    }
}

void encode_time(uint64_t wall_ms, char text[TIME_TEXT_BYTES])
{
    time_t seconds = (time_t)(wall_ms / 1000);
    struct tm parts;

    CHECK(gmtime_r(&seconds, &parts) != NULL);
    size_t size = strftime(text, TIME_TEXT_BYTES, "%Y-%m-%dT%H:%M:%S", &parts);

    (void)snprintf(text + size, TIME_TEXT_BYTES - size, ".%03uZ", (unsigned)(wall_ms % 1000));
}
