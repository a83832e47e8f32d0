#include "node/sandbox/runtime_http.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define BODY_BYTES_MAX 64

/* What a request came to, in words: "GET /x" or "POST /x <body>", "!" when the connection broke,
 * "+" for 100 Continue; several are joined by "; ". Fed `step` bytes at a time. */
static void parse(const char *text, size_t size, size_t step, struct buffer *found)
{
    struct runtime_http http;
    enum runtime_http_progress progress = RUNTIME_HTTP_MORE;

    runtime_http_init(&http, BODY_BYTES_MAX);
    buffer_clear(found);
    for (size_t at = 0; at < size && progress != RUNTIME_HTTP_BROKEN;) {
        size_t part = size - at < step ? size - at : step;
        size_t used = runtime_http_feed(&http, slice_of(text + at, part), &progress);

        assert_true(used <= part);
        assert_true(used == part || progress != RUNTIME_HTTP_MORE);
        at += used;
        if (progress != RUNTIME_HTTP_MORE && found->size > 0)
            buffer_put_text(found, "; ");
        if (progress == RUNTIME_HTTP_BROKEN)
            buffer_put_text(found, "!");
        if (progress == RUNTIME_HTTP_CONTINUE)
            buffer_put_text(found, "+");
        if (progress == RUNTIME_HTTP_REQUEST) {
            buffer_put_slice(found, http.method);
            buffer_put_text(found, " ");
            buffer_put_slice(found, http.target);
            if (http.body.size > 0)
                buffer_putf(found, " %.*s", (int)http.body.size, (const char *)http.body.data);
            if (http.is_too_large)
                buffer_put_text(found, " (too large)");
            if (!http.keep_alive)
                buffer_put_text(found, " (close)");
            if (http.error_type[0] != '\0')
                buffer_putf(found, " (%s)", http.error_type);
        }
    }
    runtime_http_close(&http);
}

/* However the bytes are cut. */
static void expect(const char *text, const char *expected)
{
    AUTO(buffer) found = BUFFER_INIT(BUFFER_UNLIMITED);

    for (size_t step = 1; step <= strlen(text); step++) {
        parse(text, strlen(text), step, &found);
        assert_string_equal(buffer_text(&found), expected);
    }
}

static void runtime_http__well_formed__requests(void **state)
{
    (void)state;
    expect("GET /next HTTP/1.1\r\nHost: x\r\n\r\n", "GET /next");
    expect("POST /r HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello", "POST /r hello");
    expect("POST /r HTTP/1.1\r\ncontent-length:0\r\n\r\n", "POST /r");
    expect("POST /r HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}GET /n HTTP/1.1\r\n\r\n",
           "POST /r {}; GET /n");
    expect("POST /r HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"
           "3\r\nabc\r\nA\r\n0123456789\r\n0\r\n\r\nGET /n HTTP/1.1\r\n\r\n",
           "POST /r abc0123456789; GET /n");
    expect("POST /r HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nTrailer: x\r\n\r\n",
           "POST /r");
    expect("POST /r HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\nx",
           "+; POST /r x");
    expect("GET /n HTTP/1.0\r\n\r\n", "GET /n (close)");
    expect("GET /n HTTP/1.1\r\nConnection: close\r\n\r\n", "GET /n (close)");
    expect("\r\nGET /n HTTP/1.1\r\n\r\n", "GET /n");
    expect("POST /e HTTP/1.1\r\nLambda-Runtime-Function-Error-Type: My.Error\r\n"
           "Content-Length: 2\r\n\r\n{}",
           "POST /e {} (My.Error)");
}

static void runtime_http__body_over_the_limit__read_and_dropped(void **state)
{
    (void)state;
    expect("POST /r HTTP/1.1\r\nContent-Length: 65\r\n\r\n"
           "01234567890123456789012345678901234567890123456789012345678901234"
           "GET /n HTTP/1.1\r\n\r\n",
           "POST /r (too large); GET /n");
    expect("POST /r HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"
           "20\r\n01234567890123456789012345678901\r\n21\r\n012345678901234567890123456789012\r\n"
           "0\r\n\r\nGET /n HTTP/1.1\r\n\r\n",
           "POST /r (too large); GET /n");
}

static void runtime_http__doubtful__breaks_the_connection(void **state)
{
    static const char *const texts[] = {
        "GET /n HTTP/2.0\r\n\r\n",
        "GET  /n HTTP/1.1\r\n\r\n",
        "GET n HTTP/1.1\r\n\r\n",
        "GET /n\r\n\r\n",
        "G\x01T /n HTTP/1.1\r\n\r\n",
        "GET /n HTTP/1.1\r\nBad Name: x\r\n\r\n",
        "GET /n HTTP/1.1\r\n: x\r\n\r\n",
        "GET /n HTTP/1.1\r\nno colon\r\n\r\n",
        "GET /n HTTP/1.1\r\n folded: x\r\n\r\n",
        "GET /n HTTP/1.1\nHost: x\r\n\r\n",
        "GET /n HTTP/1.1\r\nA: b\x01\r\n\r\n",
        "POST /r HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx",
        "POST /r HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        "POST /r HTTP/1.1\r\nContent-Length: 1x\r\n\r\n",
        "POST /r HTTP/1.1\r\nContent-Length: \r\n\r\n",
        "POST /r HTTP/1.1\r\nContent-Length: 99999999999999999999\r\n\r\n",
        "POST /r HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        "POST /r HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\n",
        "POST /r HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n",
        "POST /r HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n\r\n",
        "POST /r HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1;a=b\r\nx\r\n",
        "POST /r HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nxy\r\n",
        "POST /r HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\nx\r\n",
        "POST /r HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n",
        "POST /r HTTP/1.1\r\nExpect: something\r\nContent-Length: 1\r\n\r\nx"};

    (void)state;
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        expect(texts[i], "!");
}

static void runtime_http__endless_head__breaks_the_connection(void **state)
{
    AUTO(buffer) text = BUFFER_INIT(BUFFER_UNLIMITED);
    AUTO(buffer) found = BUFFER_INIT(BUFFER_UNLIMITED);

    (void)state;
    buffer_put_text(&text, "GET /n HTTP/1.1\r\n");
    while (text.size < 2 * RUNTIME_HTTP_HEAD_BYTES_MAX)
        buffer_put_text(&text, "A: bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb\r\n");

    parse((const char *)text.data, text.size, 1000, &found);

    assert_string_equal(buffer_text(&found), "!");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(runtime_http__well_formed__requests),
        cmocka_unit_test(runtime_http__body_over_the_limit__read_and_dropped),
        cmocka_unit_test(runtime_http__doubtful__breaks_the_connection),
        cmocka_unit_test(runtime_http__endless_head__breaks_the_connection),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
