#include "node/http/http_reader.h"
#include "proto/base/check.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#define LIMITS ((struct http_reader_limits){65536, 1000})
#define HOST "Host: h\r\n"

/* A request in memory of its exact size, so that a read past it is seen by the sanitizer. */
struct fixture {
    struct http_reader reader;
    uint8_t *bytes;
    size_t size;
    size_t used;
};

static void fixture_open(struct fixture *f, const char *text, size_t size)
{
    http_reader_init(&f->reader, LIMITS);
    f->bytes = check_malloc(size);
    memcpy(f->bytes, text, size);
    f->size = size;
    f->used = 0;
}

static void fixture_close(struct fixture *f)
{
    free(f->bytes);
}

static void read_all(struct fixture *f, const char *text, size_t size)
{
    fixture_open(f, text, size);
    f->used = http_reader_feed(&f->reader, f->bytes, f->size);
}

/* Read up to `split`, move everything to another place, read the rest. */
static void read_split(struct fixture *f, const char *text, size_t size, size_t split)
{
    uint8_t *first;

    fixture_open(f, text, size);
    first = check_malloc(split);
    memcpy(first, text, split);
    f->used = http_reader_feed(&f->reader, first, split);
    if (f->used == split && f->reader.state <= HTTP_READER_BODY) {
        size_t skipped = 0;

        if (http_reader_start(&f->reader) != NULL) {
            skipped = (size_t)(http_reader_start(&f->reader) - first);
            memcpy(f->bytes + skipped, first + skipped, split - skipped);
            http_reader_rebase(&f->reader, f->bytes + skipped);
        }
        free(first);
        f->used += http_reader_feed(&f->reader, f->bytes + split, size - split);
        return;
    }
    free(f->bytes);
    f->bytes = first;
}

static void assert_slice(struct slice slice, const char *text)
{
    char *copy = slice_strdup(slice);

    assert_string_equal(copy, text);
    free(copy);
}

static const char plain[] =
    "GET /a%20b?x=1&y HTTP/1.1\r\nHost: h:80\r\nX-Empty:\r\nX-Two:  b c \r\n\r\n";
static const char with_length[] =
    "POST / HTTP/1.1\r\nhost: h\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\nhello";
static const char with_chunks[] =
    "\r\nPUT /c HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: Chunked\r\n\r\n"
    "3;a=\"b\"\r\nabc\r\n0A\r\n0123456789\r\n0\r\nX-Trailer: v\r\n\r\n";

static void check_plain(struct fixture *f)
{
    assert_int_equal(f->reader.state, HTTP_READER_DONE);
    assert_int_equal(f->used, sizeof(plain) - 1);
    assert_slice(f->reader.method, "GET");
    assert_slice(f->reader.target, "/a%20b?x=1&y");
    assert_slice(f->reader.path, "/a%20b");
    assert_slice(f->reader.query, "x=1&y");
    assert_int_equal(f->reader.header_count, 3);
    assert_slice(f->reader.headers[0].name, "Host");
    assert_slice(f->reader.headers[0].value, "h:80");
    assert_slice(f->reader.headers[1].name, "X-Empty");
    assert_slice(f->reader.headers[1].value, "");
    assert_slice(f->reader.headers[2].name, "X-Two");
    assert_slice(f->reader.headers[2].value, "b c");
    assert_true(f->reader.keep_alive);
    assert_int_equal(f->reader.body.size, 0);
}

static void check_with_length(struct fixture *f)
{
    assert_int_equal(f->reader.state, HTTP_READER_DONE);
    assert_slice(f->reader.body, "hello");
    assert_true(f->reader.expects_continue);
}

static void check_with_chunks(struct fixture *f)
{
    assert_int_equal(f->reader.state, HTTP_READER_DONE);
    assert_int_equal(f->used, sizeof(with_chunks) - 1);
    assert_slice(f->reader.path, "/c");
    assert_slice(f->reader.body, "abc0123456789");
}

static void http_reader__any_split_and_move__same_request(void **state)
{
    const struct {
        const char *text;
        size_t size;
        void (*check)(struct fixture *);
    } cases[] = {{plain, sizeof(plain) - 1, check_plain},
                 {with_length, sizeof(with_length) - 1, check_with_length},
                 {with_chunks, sizeof(with_chunks) - 1, check_with_chunks}};

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        for (size_t split = 0; split <= cases[i].size; split++) {
            struct fixture f;

            read_split(&f, cases[i].text, cases[i].size, split);
            cases[i].check(&f);
            fixture_close(&f);
        }
    }
}

static void http_reader__byte_by_byte__same_request(void **state)
{
    struct fixture f;

    (void)state;
    fixture_open(&f, with_chunks, sizeof(with_chunks) - 1);
    /* As the server does: what framed a chunk is overwritten by what comes next. */
    for (size_t i = 0, at = 0; i < f.size; i++) {
        f.bytes[at] = (uint8_t)with_chunks[i];
        f.used += http_reader_feed(&f.reader, f.bytes + at, 1);
        at = http_reader_start(&f.reader) == NULL ? at + 1
                                                  : (size_t)(http_reader_end(&f.reader) - f.bytes);
    }
    check_with_chunks(&f);
    fixture_close(&f);
}

static void http_reader__two_requests__stops_behind_the_first(void **state)
{
    static const char text[] = "POST / HTTP/1.1\r\n" HOST "Content-Length: 2\r\n\r\nabGET /2 HTTP";
    struct fixture f;

    (void)state;
    read_all(&f, text, sizeof(text) - 1);

    assert_int_equal(f.reader.state, HTTP_READER_DONE);
    assert_int_equal(f.used, sizeof(text) - 1 - strlen("GET /2 HTTP"));
    fixture_close(&f);
}

/* Whatever two servers could understand differently is refused. */
static void http_reader__ambiguous_or_malformed__refused(void **state)
{
    static const struct {
        int status;
        const char *text;
    } cases[] = {
        {400, "POST / HTTP/1.1\r\n" HOST "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n"},
        {400, "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n"},
        {400, "POST / HTTP/1.1\r\n" HOST "Content-Length: 3\r\nContent-Length: 4\r\n\r\n"},
        {400, "POST / HTTP/1.1\r\n" HOST "Content-Length: 3\r\nContent-Length: 3\r\n\r\n"},
        {400, "POST / HTTP/1.1\r\n" HOST "Content-Length: 3, 3\r\n\r\n"},
        {400, "POST / HTTP/1.1\r\n" HOST "Content-Length: +3\r\n\r\n"},
        {400, "POST / HTTP/1.1\r\n" HOST "Content-Length: -1\r\n\r\n"},
        {400, "POST / HTTP/1.1\r\n" HOST "Content-Length: 0x3\r\n\r\n"},
        {400, "POST / HTTP/1.1\r\n" HOST "Content-Length: 3 3\r\n\r\n"},
        {400, "POST / HTTP/1.1\r\n" HOST "Content-Length:\r\n\r\n"},
        {400, "POST / HTTP/1.1\r\n" HOST "Content-Length: 99999999999999999999\r\n\r\n"},
        {413, "POST / HTTP/1.1\r\n" HOST "Content-Length: 1001\r\n\r\n"},
        {413, "POST / HTTP/1.1\r\n" HOST "Content-Length: 999999999999999999\r\n\r\n"},
        {501, "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: xchunked\r\n\r\n"},
        {501, "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: identity\r\n\r\n"},
        {501, "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked, identity\r\n\r\n"},
        {501, "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: gzip, chunked\r\n\r\n"},
        {400, "POST / HTTP/1.1\r\n" HOST
              "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n"},
        {400, "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: \x0b"
              "chunked\r\n\r\n"},
        {400, "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding : chunked\r\n\r\n"},
        {400, "POST / HTTP/1.1\r\n" HOST "Transfer Encoding: chunked\r\n\r\n"},
        {400, "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n"},
        {400, "GET / HTTP/1.1\r\nHost : h\r\n\r\n"},
        {400, "GET / HTTP/1.1\r\n Host: h\r\n\r\n"},
        {400, "GET / HTTP/1.1\r\nHost: h\r\n folded\r\n\r\n"},
        {400, "GET / HTTP/1.1\r\nHost: h\r\n\tfolded\r\n\r\n"},
        {400, "GET / HTTP/1.1\nHost: h\n\n"},
        {400, "GET / HTTP/1.1\r\nHost: h\nX: y\r\n\r\n"},
        {400, "GET / HTTP/1.1\r\nHost: h\r\n\n"},
        {400, "GET / HTTP/1.1\r\nHost: h\r\nX: a\rb\r\n\r\n"},
        {400, "GET / HTTP/1.1\r\nHost: h\r\nX: a\x01"
              "b\r\n\r\n"},
        {400, "GET / HTTP/1.1\r\nHost: h\r\nX: a\x7f"
              "b\r\n\r\n"},
        {400, "GET / HTTP/1.1\r\nHost: h\r\n: novalue\r\n\r\n"},
        {400, "GET / HTTP/1.1\r\nHost: h\r\nnocolon\r\n\r\n"},
        {400, "GET / HTTP/1.1\r\nHost: h\r\nX\xc3\xa9: y\r\n\r\n"},
        {400, "GET / HTTP/1.1\r\nHost: h\r\nX(y): y\r\n\r\n"},
        {400, "GET / HTTP/1.1\r\n\r\n"},
        {400, "GET / HTTP/1.1\r\nHost: h\r\nHost: h\r\n\r\n"},
        {400, "GET / HTTP/1.1\r\nHost: a b\r\n\r\n"},
        {400, "GET / HTTP/1.1\r\nHost: a,b\r\n\r\n"},
        {400, "GET / HTTP/1.1\r\nHost: u@h\r\n\r\n"},
        {400, "GET  / HTTP/1.1\r\n" HOST "\r\n"},
        {400, "GET /  HTTP/1.1\r\n" HOST "\r\n"},
        {505, "GET / HTTP/1.1 \r\n" HOST "\r\n"},
        {400, "GET /a b HTTP/1.1\r\n" HOST "\r\n"},
        {400, "GET /a#b HTTP/1.1\r\n" HOST "\r\n"},
        {400, "GET a HTTP/1.1\r\n" HOST "\r\n"},
        {400, "GET * HTTP/1.1\r\n" HOST "\r\n"},
        {400, "GET http://other/ HTTP/1.1\r\n" HOST "\r\n"},
        {400, "GET http:/// HTTP/1.1\r\nHost:\r\n\r\n"},
        {400, "FETCH / HTTP/1.1\r\n" HOST "\r\n"},
        {400, "get / HTTP/1.1\r\n" HOST "\r\n"},
        {405, "CONNECT h:80 HTTP/1.1\r\n" HOST "\r\n"},
        {505, "GET / HTTP/2.0\r\n" HOST "\r\n"},
        {505, "GET / HTTP/0.9\r\n" HOST "\r\n"},
        {505, "GET /\r\n\r\n"},
        {400, "GET / ICY/1.1\r\n" HOST "\r\n"},
        {417, "POST / HTTP/1.1\r\n" HOST "Expect: 200-ok\r\n\r\n"},
        {400, "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        struct fixture f;

        read_all(&f, cases[i].text, strlen(cases[i].text));
        if (f.reader.state != HTTP_READER_FAILED || f.reader.status != cases[i].status)
            fail_msg("state %d status %d instead of %d (%s): %s", (int)f.reader.state,
                     f.reader.status, cases[i].status, f.reader.why, cases[i].text);
        fixture_close(&f);
    }
}

static void http_reader__nul_in_the_head__refused(void **state)
{
    static const char in_value[] = "GET / HTTP/1.1\r\nHost: h\r\nX: a\0b\r\n\r\n";
    static const char in_name[] = "GET / HTTP/1.1\r\nHost: h\r\nX\0: b\r\n\r\n";
    static const char in_target[] = "GET /\0 HTTP/1.1\r\nHost: h\r\n\r\n";
    const struct slice cases[] = {SLICE_LITERAL(in_value), SLICE_LITERAL(in_name),
                                  SLICE_LITERAL(in_target)};

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        struct fixture f;

        read_all(&f, (const char *)cases[i].data, cases[i].size);
        assert_int_equal(f.reader.state, HTTP_READER_FAILED);
        assert_int_equal(f.reader.status, 400);
        fixture_close(&f);
    }
}

static void http_reader__bad_chunks__refused(void **state)
{
    static const struct {
        int status;
        const char *chunks;
    } cases[] = {
        {400, "x\r\n"},
        {400, "\r\n"},
        {400, "-1\r\n"},
        {400, "0x5\r\nhello\r\n0\r\n\r\n"},
        {400, "5 \r\nhello\r\n0\r\n\r\n"},
        {400, " 5\r\nhello\r\n0\r\n\r\n"},
        {400, "5\nhello\r\n0\r\n\r\n"},
        {400, "5\rXhello\r\n0\r\n\r\n"},
        {400, "5\r\nhelloXX0\r\n\r\n"},
        {400, "5\r\nhello\n0\r\n\r\n"},
        {400, "5\r\nhello\rX0\r\n\r\n"},
        {400, "5\r\nhelloX\n0\r\n\r\n"},
        {400, "5;a\x01\r\nhello\r\n0\r\n\r\n"},
        {400, "5;a\nb\r\nhello\r\n0\r\n\r\n"},
        {400, "0\r\n folded\r\n\r\n"},
        {400, "0\r\nA: b\n\r\n\r\n"},
        {400, "0\r\n\rX"},
        {400, "00000000000000005\r\nhello\r\n0\r\n\r\n"},
        {413, "ffffffffffffffff\r\n"},
        {413, "3e9\r\n"},
        {413, "3e8;x\r\n"}, /* 1000 bytes are allowed: see the size below */
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        struct fixture f;
        AUTO(buffer) text = BUFFER_INIT(BUFFER_UNLIMITED);

        buffer_put_text(&text, "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n");
        if (i == ARRAY_COUNT(cases) - 1)
            buffer_put_text(&text, "1\r\na\r\n");
        buffer_put_text(&text, cases[i].chunks);
        read_all(&f, (const char *)text.data, text.size);
        if (f.reader.state != HTTP_READER_FAILED || f.reader.status != cases[i].status)
            fail_msg("state %d status %d: %s", (int)f.reader.state, f.reader.status,
                     cases[i].chunks);
        fixture_close(&f);
    }
}

static void http_reader__head_at_the_limit__431(void **state)
{
    struct fixture f;
    AUTO(buffer) text = BUFFER_INIT(BUFFER_UNLIMITED);

    (void)state;
    buffer_put_text(&text, "GET / HTTP/1.1\r\n" HOST "X: ");
    while (text.size < 70000)
        buffer_put_text(&text, "aaaaaaaaaaaaaaaa");

    read_all(&f, (const char *)text.data, text.size);

    assert_int_equal(f.reader.state, HTTP_READER_FAILED);
    assert_int_equal(f.reader.status, 431);
    fixture_close(&f);
}

static void http_reader__more_headers_than_allowed__431(void **state)
{
    struct fixture f;
    AUTO(buffer) text = BUFFER_INIT(BUFFER_UNLIMITED);

    (void)state;
    buffer_put_text(&text, "GET / HTTP/1.1\r\n" HOST);
    for (int i = 1; i < HTTP_HEADERS_MAX; i++)
        buffer_putf(&text, "X-%d: y\r\n", i);
    size_t allowed = text.size;

    buffer_put_text(&text, "\r\n");
    read_all(&f, (const char *)text.data, text.size);
    assert_int_equal(f.reader.state, HTTP_READER_DONE);
    assert_int_equal(f.reader.header_count, HTTP_HEADERS_MAX);
    fixture_close(&f);

    text.size = allowed;
    buffer_put_text(&text, "One: more\r\n\r\n");
    read_all(&f, (const char *)text.data, text.size);
    assert_int_equal(f.reader.state, HTTP_READER_FAILED);
    assert_int_equal(f.reader.status, 431);
    fixture_close(&f);
}

static void http_reader__old_and_closing_clients__keep_alive_as_they_want(void **state)
{
    static const struct {
        bool keep_alive;
        const char *text;
    } cases[] = {
        {true, "GET / HTTP/1.1\r\n" HOST "\r\n"},
        {false, "GET / HTTP/1.1\r\n" HOST "Connection: close\r\n\r\n"},
        {false, "GET / HTTP/1.1\r\n" HOST "Connection: x, Close\r\n\r\n"},
        {false, "GET / HTTP/1.0\r\n\r\n"},
        {true, "GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n"},
        {true,
         "GET / HTTP/1.1\r\n" HOST "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n\r\n"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        struct fixture f;

        read_all(&f, cases[i].text, strlen(cases[i].text));
        assert_int_equal(f.reader.state, HTTP_READER_DONE);
        assert_int_equal(f.reader.keep_alive, cases[i].keep_alive);
        fixture_close(&f);
    }
}

static void http_reader__absolute_target__path_and_query_of_it(void **state)
{
    static const struct {
        const char *text;
        const char *path;
        const char *query;
    } cases[] = {
        {"GET http://h:1/p/q?x=1 HTTP/1.1\r\nHost: h:1\r\n\r\n", "/p/q", "x=1"},
        {"GET http://h HTTP/1.1\r\nHost: h\r\n\r\n", "/", ""},
        {"GET HTTP://H?y HTTP/1.1\r\nHost: h\r\n\r\n", "/", "y"},
        {"OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n", "*", ""},
        {"GET /\xc3\xa9?\xc3\xa9 HTTP/1.1\r\nHost: h\r\n\r\n", "/\xc3\xa9", "\xc3\xa9"},
        {"GET //a/../b HTTP/1.1\r\nHost: h\r\n\r\n", "//a/../b", ""},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        struct fixture f;

        read_all(&f, cases[i].text, strlen(cases[i].text));
        if (f.reader.state != HTTP_READER_DONE)
            fail_msg("%s: %s", f.reader.why, cases[i].text);
        assert_slice(f.reader.path, cases[i].path);
        assert_slice(f.reader.query, cases[i].query);
        fixture_close(&f);
    }
}

static void http_reader__body_of_exactly_the_limit__taken(void **state)
{
    struct fixture f;
    AUTO(buffer) text = BUFFER_INIT(BUFFER_UNLIMITED);

    (void)state;
    buffer_put_text(&text, "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n3e8\r\n");
    for (int i = 0; i < 1000; i++)
        buffer_put_u8(&text, 'x');
    buffer_put_text(&text, "\r\n0\r\n\r\n");

    read_all(&f, (const char *)text.data, text.size);

    assert_int_equal(f.reader.state, HTTP_READER_DONE);
    assert_int_equal(f.reader.body.size, 1000);
    fixture_close(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(http_reader__any_split_and_move__same_request),
        cmocka_unit_test(http_reader__byte_by_byte__same_request),
        cmocka_unit_test(http_reader__two_requests__stops_behind_the_first),
        cmocka_unit_test(http_reader__ambiguous_or_malformed__refused),
        cmocka_unit_test(http_reader__nul_in_the_head__refused),
        cmocka_unit_test(http_reader__bad_chunks__refused),
        cmocka_unit_test(http_reader__head_at_the_limit__431),
        cmocka_unit_test(http_reader__more_headers_than_allowed__431),
        cmocka_unit_test(http_reader__old_and_closing_clients__keep_alive_as_they_want),
        cmocka_unit_test(http_reader__absolute_target__path_and_query_of_it),
        cmocka_unit_test(http_reader__body_of_exactly_the_limit__taken),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
