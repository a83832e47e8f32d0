#include "chaos/report/report_text.h"

#include "proto/base/utf8.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>

#define DASH "\u2013"
#define REPLACEMENT "\ufffd"

__attribute__((format(printf, 1, 2))) static struct report_word word(const char *format, ...)
{
    struct report_word word;
    va_list arguments;

    va_start(arguments, format);
    (void)vsnprintf(word.text, sizeof(word.text), format, arguments);
    va_end(arguments);
    return word;
}

struct report_word report_text_count(uint64_t count)
{
    char digits[24];
    int length = snprintf(digits, sizeof(digits), "%llu", (unsigned long long)count);
    struct report_word word;
    size_t at = 0;

    for (int i = 0; i < length; i++) {
        if (i > 0 && (length - i) % 3 == 0)
            word.text[at++] = ',';
        word.text[at++] = digits[i];
    }
    word.text[at] = '\0';
    return word;
}

struct report_word report_text_rate(double rate)
{
    if (rate < 0)
        return word(DASH);
    return rate < 9.95 && rate != floor(rate) ? word("%.1f", rate)
                                              : report_text_count((uint64_t)llround(rate));
}

struct report_word report_text_ms(double ms)
{
    if (ms < 0)
        return word(DASH);
    if (ms < 0.995)
        return word("%.2f ms", ms);
    if (ms < 9.95)
        return word("%.1f ms", ms);
    return ms < 999.5 ? word("%.0f ms", ms) : report_text_seconds(ms / 1000);
}

struct report_word report_text_seconds(double s)
{
    long whole = lround(s);

    if (s <= 0)
        return word("0 s");
    if (s < 0.9995)
        return word("%.0f ms", s * 1000);
    if (s < 9.95)
        return word("%.*f s", fabs(s - round(s)) < 0.005 ? 0 : 2, s);
    if (s < 119.95)
        return word("%.*f s", fabs(s - round(s)) < 0.05 ? 0 : 1, s);
    if (whole < 7200)
        return whole % 60 == 0 ? word("%ld min", whole / 60)
                               : word("%ld min %ld s", whole / 60, whole % 60);
    return whole % 3600 < 60 ? word("%ld h", whole / 3600)
                             : word("%ld h %ld min", whole / 3600, whole % 3600 / 60);
}

struct report_word report_text_moment(double at_s, double end_s)
{
    long tenths = lround(at_s * 10);

    if (end_s <= 120)
        return word("%.1f s", at_s);
    if (end_s < 7200)
        return word("%ld:%02ld.%ld", tenths / 600, tenths / 10 % 60, tenths % 10);
    return word("%ld:%02ld:%02ld", tenths / 36000, tenths / 600 % 60, tenths / 10 % 60);
}

struct report_word report_text_gap(double seconds, double period_s)
{
    if (seconds > 0)
        return report_text_seconds(seconds);
    if (period_s > 0.05) /* 101 ms would look more exact than it is */
        period_s = round(period_s * 100) / 100;
    return period_s > 0 ? word("< %s", report_text_seconds(period_s).text) : word(DASH);
}

static bool is_allowed(uint8_t byte)
{
    return byte >= ' ' || byte == '\t' || byte == '\n' || byte == '\r';
}

/* U+FFFE and U+FFFF are UTF-8 but no characters of XML. */
static bool is_no_character(struct slice character)
{
    return character.size == 3 && character.data[0] == 0xef && character.data[1] == 0xbf &&
           character.data[2] >= 0xbe;
}

static void escape_character(struct buffer *to, struct slice character)
{
    if (character.size > 1) {
        if (is_no_character(character))
            buffer_put_text(to, REPLACEMENT);
        else
            buffer_put_slice(to, character);
        return;
    }
    switch (character.data[0]) {
    case '&':
        buffer_put_text(to, "&amp;");
        break;
    case '<':
        buffer_put_text(to, "&lt;");
        break;
    case '>':
        buffer_put_text(to, "&gt;");
        break;
    case '"':
        buffer_put_text(to, "&quot;");
        break;
    case '\'':
        buffer_put_text(to, "&#39;");
        break;
    default:
        if (is_allowed(character.data[0]))
            buffer_put_u8(to, character.data[0]);
        else
            buffer_put_text(to, REPLACEMENT);
    }
}

void report_text_escape(struct buffer *to, const char *text)
{
    report_text_escape_most(to, text, SIZE_MAX);
}

void report_text_escape_most(struct buffer *to, const char *text, size_t characters)
{
    struct slice rest = slice_text(text);
    bool is_whole = report_text_characters(text) <= characters;

    for (size_t i = 0; rest.size > 0 && (is_whole || i + 1 < characters); i++) {
        size_t bytes = utf8_character(rest);

        if (bytes == 0) {
            buffer_put_text(to, REPLACEMENT);
            bytes = 1;
        } else
            escape_character(to, slice_of(rest.data, bytes));
        rest = slice_of(rest.data + bytes, rest.size - bytes);
    }
    if (!is_whole)
        buffer_put_text(to, "\u2026");
}

size_t report_text_characters(const char *text)
{
    struct slice rest = slice_text(text);
    size_t count = 0;

    for (; rest.size > 0; count++) {
        size_t bytes = utf8_character(rest);

        bytes += bytes == 0;
        rest = slice_of(rest.data + bytes, rest.size - bytes);
    }
    return count;
}
