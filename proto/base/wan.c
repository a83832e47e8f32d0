#include "proto/base/wan.h"

#include "proto/base/buffer.h"

#include <stdio.h>

struct distance {
    struct slice a;
    struct slice b;
    uint64_t round_trip_ms;
};

/* Up to `end`, moving `rest` past it; false when it does not come. */
static bool take_until(struct slice *rest, char end, struct slice *part)
{
    const uint8_t *found = rest->size > 0 ? memchr(rest->data, end, rest->size) : NULL;

    if (found == NULL)
        return false;
    *part = slice_of(rest->data, (size_t)(found - rest->data));
    *rest = slice_of(found + 1, rest->size - part->size - 1);
    return part->size > 0;
}

static bool parse_ms(struct slice text, uint64_t *ms)
{
    uint64_t value = 0;

    if (text.size < 3 || text.size > 7 ||
        !slice_equal_text(slice_of(text.data + text.size - 2, 2), "ms"))
        return false;
    for (size_t i = 0; i < text.size - 2; i++) {
        if (text.data[i] < '0' || text.data[i] > '9')
            return false;
        value = value * 10 + (uint64_t)(text.data[i] - '0');
    }
    *ms = value;
    return value <= WAN_ROUND_TRIP_MS_MAX;
}

static bool parse(struct slice part, struct distance *distance)
{
    return take_until(&part, ':', &distance->a) && take_until(&part, '=', &distance->b) &&
           parse_ms(part, &distance->round_trip_ms);
}

/* The next part of the list; false at its end. */
static bool next_part(struct slice *rest, struct slice *part)
{
    const uint8_t *comma;

    if (rest->size == 0)
        return false;
    comma = memchr(rest->data, ',', rest->size);
    size_t size = comma != NULL ? (size_t)(comma - rest->data) : rest->size;
    size_t used = comma != NULL ? size + 1 : size;

    *part = slice_of(rest->data, size);
    *rest = slice_of(rest->data + used, rest->size - used);
    return true;
}

enum error wan_check(const char *wan, char why[ERROR_WHY_BYTES])
{
    struct slice rest = slice_text(wan);
    struct slice part;

    while (next_part(&rest, &part)) {
        struct distance distance;

        if (parse(part, &distance))
            continue;
        (void)snprintf(
            why, ERROR_WHY_BYTES, "\"%.*s\" is not REGION:REGION=MILLISECONDSms (at most %u)",
            (int)(part.size < 64 ? part.size : 64), (const char *)part.data, WAN_ROUND_TRIP_MS_MAX);
        return ERR_INVALID;
    }
    return OK;
}

uint64_t wan_delay_us(const char *wan, const char *region, const char *other)
{
    struct slice rest = slice_text(wan);
    struct slice part;

    while (next_part(&rest, &part)) {
        struct distance distance;

        if (!parse(part, &distance))
            continue;
        if ((slice_equal_text(distance.a, region) && slice_equal_text(distance.b, other)) ||
            (slice_equal_text(distance.a, other) && slice_equal_text(distance.b, region)))
            return distance.round_trip_ms * 1000 / 2;
    }
    return 0;
}
