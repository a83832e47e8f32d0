#include "chaos/report/report_member.h"

#include "proto/base/check.h"

#include <stdarg.h>
#include <stdio.h>

enum error report_member_wrong(const struct report_place *place, const char *format, ...)
{
    int size = place->line == 0
                   ? snprintf(place->why, ERROR_WHY_BYTES, "%s: ", place->file)
                   : snprintf(place->why, ERROR_WHY_BYTES, "%s:%u: ", place->file, place->line);
    va_list arguments;

    va_start(arguments, format);
    (void)vsnprintf(place->why + size, ERROR_WHY_BYTES - (size_t)size, format, arguments);
    va_end(arguments);
    return ERR_INVALID;
}

/* A text member; "" when it is absent or null. */
enum error report_member_text(const struct report_place *place, const json_t *object,
                              const char *member, const char **text)
{
    const json_t *value = json_object_get(object, member);

    if (value != NULL && !json_is_null(value) && !json_is_string(value))
        return report_member_wrong(place, "\"%s\" is no text", member);
    *text = json_is_string(value)
                ? arena_text(&place->run->arena,
                             slice_of(json_string_value(value), json_string_length(value)))
                : "";
    return OK;
}

/* Any value as people write it: texts without quotes, "" when it is absent or null. */
const char *report_member_any(const struct report_place *place, const json_t *value)
{
    char *text;
    const char *copy;

    if (value == NULL || json_is_null(value))
        return "";
    if (json_is_string(value))
        return arena_text(&place->run->arena,
                          slice_of(json_string_value(value), json_string_length(value)));
    text = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT | JSON_REAL_PRECISION(6));
    CHECK(text != NULL);
    copy = arena_text(&place->run->arena, slice_text(text));
    free(text);
    return copy;
}

/* Leaves `number` alone when the member is absent or null. */
enum error report_member_number(const struct report_place *place, const json_t *object,
                                const char *member, double most, double *number)
{
    const json_t *value = json_object_get(object, member);

    if (value == NULL || json_is_null(value))
        return OK;
    if (!json_is_number(value) || !(json_number_value(value) >= 0) ||
        json_number_value(value) > most)
        return report_member_wrong(place, "\"%s\" is no number from 0 to %g", member, most);
    *number = json_number_value(value);
    return OK;
}

enum error report_member_count(const struct report_place *place, const json_t *object,
                               const char *member, uint64_t *count)
{
    const json_t *value = json_object_get(object, member);
    double number = 0;
    enum error rc;

    if (json_is_array(value)) { /* the things themselves are as good as their number */
        *count = json_array_size(value);
        return OK;
    }
    rc = report_member_number(place, object, member, REPORT_NUMBER_MAX, &number);
    if (rc == OK)
        *count = (uint64_t)number;
    return rc;
}

enum error report_member_time(const struct report_place *place, const json_t *object, double *at_s)
{
    if (json_object_get(object, "t") == NULL || json_is_null(json_object_get(object, "t")))
        return report_member_wrong(place, "no \"t\"");
    return report_member_number(place, object, "t", REPORT_SECONDS_MAX, at_s);
}

/* The index of the member's value among `names`. */
enum error report_member_name(const struct report_place *place, const json_t *object,
                              const char *member, struct report_names *names, uint32_t *index)
{
    const json_t *value = json_object_get(object, member);
    const char *text;
    uintptr_t known;

    if (!json_is_string(value) && !json_is_integer(value))
        return report_member_wrong(place, "\"%s\" is neither a number nor a text", member);
    text = report_member_any(place, value);
    known = (uintptr_t)map_find(&names->places, slice_text(text));
    if (known == 0) {
        if (names->count == REPORT_NAMES_MAX)
            return report_member_wrong(place, "more than %u different values of \"%s\"",
                                       REPORT_NAMES_MAX, member);
        names->names = check_realloc(names->names, (names->count + 1) * sizeof(names->names[0]));
        names->names[names->count] = text;
        known = ++names->count;
        (void)map_set(&names->places, slice_text(text), (void *)known);
    }
    *index = (uint32_t)(known - 1);
    return OK;
}
