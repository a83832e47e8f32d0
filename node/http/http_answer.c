#include "node/http/http_answer.h"

#include "node/http/http_reader.h"
#include "proto/base/check.h"

#include <stdio.h>
#include <strings.h>
#include <time.h>

#define FIXED_BYTES 256 /* status line, our own headers, empty line */

struct slice http_date_line(struct http_date *date, uint64_t wall_ms)
{
    static const char days[][4] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
    static const char months[][4] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                     "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};

    if (date->second != wall_ms / 1000 || date->text[0] == '\0') {
        time_t second = (time_t)(wall_ms / 1000);
        struct tm parts;

        CHECK(gmtime_r(&second, &parts) != NULL);
        date->second = wall_ms / 1000;
        (void)snprintf(date->text, sizeof(date->text),
                       "Date: %s, %02d %s %04d %02d:%02d:%02d GMT\r\n", days[parts.tm_wday],
                       parts.tm_mday, months[parts.tm_mon], (parts.tm_year + 1900) % 10000,
                       parts.tm_hour, parts.tm_min, parts.tm_sec);
    }
    return slice_of(date->text, HTTP_DATE_BYTES);
}

static bool is_named(const struct http_header *header, const char *name)
{
    return header->name.size == strlen(name) &&
           strncasecmp((const char *)header->name.data, name, header->name.size) == 0;
}

static bool is_left_out(const struct http_header *header, bool is_length_ours)
{
    return is_named(header, "date") || is_named(header, "connection") ||
           is_named(header, "keep-alive") || is_named(header, "transfer-encoding") ||
           (is_length_ours && is_named(header, "content-length")) ||
           !http_reader_is_token(header->name);
}

static uint8_t *put(uint8_t *to, const void *data, size_t size)
{
    if (size > 0)
        memcpy(to, data, size);
    return to + size;
}

#define PUT_LITERAL(to, text) put(to, text, sizeof(text) - 1)

static uint8_t *put_decimal(uint8_t *to, uint64_t value)
{
    uint8_t digits[20];
    size_t at = sizeof(digits);

    do {
        digits[--at] = (uint8_t)('0' + value % 10);
        value /= 10;
    } while (value > 0);
    return put(to, digits + at, sizeof(digits) - at);
}

static uint8_t *put_value(uint8_t *to, struct slice value)
{
    for (size_t i = 0; i < value.size; i++) {
        uint8_t c = value.data[i];

        to[i] = (c < 0x20 && c != '\t') || c == 0x7f ? ' ' : c;
    }
    return to + value.size;
}

static uint8_t *put_status_line(uint8_t *to, int status)
{
    if (status == 200) /* nearly always */
        return PUT_LITERAL(to, "HTTP/1.1 200 OK\r\n");
    const char *reason = http_reader_reason(status);

    to = PUT_LITERAL(to, "HTTP/1.1 ");
    to = put_decimal(to, (uint64_t)status);
    to = PUT_LITERAL(to, " ");
    to = put(to, reason, strlen(reason));
    return PUT_LITERAL(to, "\r\n");
}

void http_answer_write(struct buffer *to, const struct http_answer *answer)
{
    bool has_length = !http_answer_has_body(answer->status);
    size_t bytes = FIXED_BYTES;

    for (size_t i = 0; i < answer->header_count; i++)
        bytes += answer->headers[i].name.size + answer->headers[i].value.size + 4;
    CHECK(buffer_reserve(to, bytes) == OK);
    uint8_t *at = put_status_line(to->data + to->size, answer->status);

    for (size_t i = 0; i < answer->header_count; i++) {
        const struct http_header *header = &answer->headers[i];

        if (is_left_out(header, has_length || !answer->is_head))
            continue;
        has_length = has_length || is_named(header, "content-length");
        at = put(at, header->name.data, header->name.size);
        at = PUT_LITERAL(at, ": ");
        at = put_value(at, header->value);
        at = PUT_LITERAL(at, "\r\n");
    }
    if (!has_length) {
        at = PUT_LITERAL(at, "Content-Length: ");
        at = put_decimal(at, answer->body_bytes);
        at = PUT_LITERAL(at, "\r\n");
    }
    at = put(at, answer->date_line.data, answer->date_line.size);
    if (answer->closes)
        at = PUT_LITERAL(at, "Connection: close\r\n");
    else if (answer->is_http_1_0)
        at = PUT_LITERAL(at, "Connection: keep-alive\r\n");
    at = PUT_LITERAL(at, "\r\n");
    to->size = (size_t)(at - to->data);
}
