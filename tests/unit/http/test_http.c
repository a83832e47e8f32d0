#include "node/http/http.h"
#include "node/http/http_answer.h"
#include "proto/base/check.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static void assert_slice(struct slice slice, const char *text)
{
    char *copy = slice_strdup(slice);

    assert_string_equal(copy, text);
    free(copy);
}

static void http_header_find__any_case__first_value(void **state)
{
    const struct http_header headers[] = {{SLICE_LITERAL("X-Amz-Target"), SLICE_LITERAL("a")},
                                          {SLICE_LITERAL("x-amz-target"), SLICE_LITERAL("b")}};
    const struct http_exchange exchange = {.headers = headers, .header_count = 2};

    (void)state;
    assert_slice(http_header_find(&exchange, "x-amz-TARGET"), "a");
    assert_null(http_header_find(&exchange, "x-amz-targe").data);
}

static void http_query_find__encoded_and_bare_names__decoded_value(void **state)
{
    struct http_exchange exchange = {
        .query = SLICE_LITERAL("uploads&k=a%20b+c&k=2&na%6De=v&bad=%zz&empty=&&last=1")};

    (void)state;
    assert_slice(http_query_find(&exchange, "k"), "a b c");
    assert_slice(http_query_find(&exchange, "name"), "v");
    assert_slice(http_query_find(&exchange, "bad"), "%zz");
    assert_slice(http_query_find(&exchange, "last"), "1");
    assert_non_null(http_query_find(&exchange, "uploads").data);
    assert_int_equal(http_query_find(&exchange, "uploads").size, 0);
    assert_non_null(http_query_find(&exchange, "empty").data);
    assert_null(http_query_find(&exchange, "upload").data);
    assert_null(http_query_find(&exchange, "absent").data);
    arena_close(&exchange.arena);
}

static const char *write_answer(struct buffer *to, const struct http_answer *answer)
{
    buffer_clear(to);
    http_answer_write(to, answer);
    return buffer_text(to);
}

static void http_answer__server_headers_of_the_handler__replaced(void **state)
{
    AUTO(buffer) text = BUFFER_INIT(BUFFER_UNLIMITED);
    const struct http_header headers[] = {
        {SLICE_LITERAL("Content-Length"), SLICE_LITERAL("99")},
        {SLICE_LITERAL("connection"), SLICE_LITERAL("keep-alive")},
        {SLICE_LITERAL("Transfer-Encoding"), SLICE_LITERAL("chunked")},
        {SLICE_LITERAL("date"), SLICE_LITERAL("never")},
        {SLICE_LITERAL("Keep-Alive"), SLICE_LITERAL("5")},
        {SLICE_LITERAL("X"), SLICE_LITERAL("y")}};
    const struct http_answer answer = {.status = 404,
                                       .headers = headers,
                                       .header_count = 6,
                                       .body_bytes = 12,
                                       .date_line = SLICE_LITERAL("Date: d\r\n"),
                                       .closes = true};

    (void)state;
    assert_string_equal(write_answer(&text, &answer),
                        "HTTP/1.1 404 Not Found\r\nX: y\r\nContent-Length: 12\r\nDate: d\r\n"
                        "Connection: close\r\n\r\n");
}

static void http_answer__line_ends_in_a_header__no_second_answer(void **state)
{
    AUTO(buffer) text = BUFFER_INIT(BUFFER_UNLIMITED);
    const struct http_header headers[] = {
        {SLICE_LITERAL("X"), SLICE_LITERAL("a\r\nSet-Cookie: b\0c")},
        {SLICE_LITERAL("Y: z\r\nEvil"), SLICE_LITERAL("1")},
        {SLICE_LITERAL(""), SLICE_LITERAL("1")}};
    const struct http_answer answer = {.status = 200, .headers = headers, .header_count = 3};

    (void)state;
    assert_string_equal(write_answer(&text, &answer),
                        "HTTP/1.1 200 OK\r\nX: a  Set-Cookie: b c\r\nContent-Length: 0\r\n\r\n");
}

static void http_answer__head_request__length_of_the_handler(void **state)
{
    AUTO(buffer) text = BUFFER_INIT(BUFFER_UNLIMITED);
    const struct http_header headers[] = {{SLICE_LITERAL("content-length"), SLICE_LITERAL("4096")}};
    struct http_answer answer = {
        .status = 200, .headers = headers, .header_count = 1, .is_head = true};

    (void)state;
    assert_string_equal(write_answer(&text, &answer),
                        "HTTP/1.1 200 OK\r\ncontent-length: 4096\r\n\r\n");
    answer.header_count = 0;
    answer.body_bytes = 7;
    assert_string_equal(write_answer(&text, &answer),
                        "HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n");
}

static void http_answer__no_content_and_old_client__no_length_but_keep_alive(void **state)
{
    AUTO(buffer) text = BUFFER_INIT(BUFFER_UNLIMITED);
    const struct http_answer answer = {.status = 204, .is_http_1_0 = true};
    const struct http_answer odd = {.status = 599};

    (void)state;
    assert_string_equal(write_answer(&text, &answer),
                        "HTTP/1.1 204 No Content\r\nConnection: keep-alive\r\n\r\n");
    assert_string_equal(write_answer(&text, &odd),
                        "HTTP/1.1 599 Unknown\r\nContent-Length: 0\r\n\r\n");
}

static void http_date_line__each_second__rfc_9110_form(void **state)
{
    struct http_date date = {0};

    (void)state;
    assert_slice(http_date_line(&date, 0), "Date: Thu, 01 Jan 1970 00:00:00 GMT\r\n");
    assert_slice(http_date_line(&date, 1795466116123u), "Date: Mon, 23 Nov 2026 20:35:16 GMT\r\n");
    assert_slice(http_date_line(&date, 1795466116999u), "Date: Mon, 23 Nov 2026 20:35:16 GMT\r\n");
    assert_slice(http_date_line(&date, 1795466117000u), "Date: Mon, 23 Nov 2026 20:35:17 GMT\r\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(http_header_find__any_case__first_value),
        cmocka_unit_test(http_query_find__encoded_and_bare_names__decoded_value),
        cmocka_unit_test(http_answer__server_headers_of_the_handler__replaced),
        cmocka_unit_test(http_answer__line_ends_in_a_header__no_second_answer),
        cmocka_unit_test(http_answer__head_request__length_of_the_handler),
        cmocka_unit_test(http_answer__no_content_and_old_client__no_length_but_keep_alive),
        cmocka_unit_test(http_date_line__each_second__rfc_9110_form),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
