/* Real sockets on the loopback, driven in one thread; time is the fake environment's, so that
 * time-outs are stepped over and never waited for. */

#include "node/http/http_server.h"
#include "proto/base/check.h"
#include "tests/lib/fake_env.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#define GET(path) "GET " path " HTTP/1.1\r\nHost: h\r\n\r\n"
#define HELD_MAX 100
#define AWAIT_MS 10000 /* for an event that must come; nothing waits this long when all is well */

struct fixture {
    uv_loop_t loop;
    struct fake_env fake;
    struct http_server *server;
    uint16_t port;
    struct http_exchange *held[HELD_MAX]; /* requests for paths below /hold, in order */
    size_t held_count;
    size_t handled;
    int drained;
};

struct client {
    struct fixture *fixture;
    int fd;
    bool is_ended;
    bool is_reset;
    struct buffer received;
};

/* Answers with the method, the target and the body; holds what begins with /hold. */
static void on_exchange(void *user, struct http_exchange *exchange)
{
    struct fixture *f = user;
    struct buffer body = BUFFER_INIT(BUFFER_UNLIMITED);

    f->handled++;
    if (slice_starts_with(exchange->path, SLICE_LITERAL("/hold"))) {
        assert_true(f->held_count < HELD_MAX);
        f->held[f->held_count++] = exchange;
        return;
    }
    if (slice_starts_with(exchange->path, SLICE_LITERAL("/big"))) {
        assert_int_equal(buffer_reserve(&body, 8 << 20), OK);
        body.size = 8 << 20;
        memset(body.data, 'b', body.size);
        http_respond(exchange, 200, NULL, 0, &body);
        return;
    }
    buffer_put_slice(&body, exchange->method);
    buffer_put_text(&body, " ");
    buffer_put_slice(&body, exchange->target);
    buffer_put_text(&body, " ");
    buffer_put_slice(&body, exchange->body);
    http_respond(exchange, 200, NULL, 0, &body);
}

static void fixture_open(struct fixture *f, struct http_server_options options)
{
    *f = (struct fixture){0};
    assert_int_equal(uv_loop_init(&f->loop), 0);
    fake_env_init(&f->fake);
    f->server = http_server_new(&f->loop, &f->fake.env, &options, on_exchange, f);
    assert_int_equal(http_server_listen(f->server, "127.0.0.1", 0, false, &f->port), OK);
}

static void fixture_close(struct fixture *f)
{
    http_server_free(f->server);
    (void)uv_run(&f->loop, UV_RUN_DEFAULT);
    fake_env_close(&f->fake);
    assert_int_equal(uv_loop_close(&f->loop), 0);
}

/* One turn of the server's loop, once something has happened on it or on `fd`. */
static void pump(struct fixture *f, int fd, short events)
{
    struct pollfd polls[] = {{uv_backend_fd(&f->loop), POLLIN, 0}, {fd, events, 0}};
    int timeout = uv_backend_timeout(&f->loop) == 0 ? 0 : AWAIT_MS;

    if (poll(polls, 2, timeout) == 0 && timeout > 0)
        fail_msg("nothing happened");
    (void)uv_run(&f->loop, UV_RUN_NOWAIT);
    fake_env_run(&f->fake);
}

static void client_open(struct client *client, struct fixture *f)
{
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons(f->port), .sin_addr = {htonl(INADDR_LOOPBACK)}};

    *client = (struct client){.fixture = f, .received = BUFFER_INIT(BUFFER_UNLIMITED)};
    client->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(client->fd >= 0);
    assert_int_equal(connect(client->fd, (struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(fcntl(client->fd, F_SETFL, O_NONBLOCK), 0);
}

static void client_close(struct client *client)
{
    close(client->fd);
    buffer_close(&client->received);
}

static void client_send_bytes(struct client *client, const void *data, size_t size)
{
    const char *at = data;

    while (size > 0) {
        ssize_t sent = send(client->fd, at, size, MSG_NOSIGNAL);

        if (sent < 0) {
            assert_int_equal(errno, EAGAIN);
            pump(client->fixture, client->fd, POLLOUT);
            continue;
        }
        at += sent;
        size -= (size_t)sent;
    }
}

static void client_send(struct client *client, const char *text)
{
    client_send_bytes(client, text, strlen(text));
}

static void client_receive(struct client *client)
{
    char bytes[65536];
    ssize_t size;

    while (!client->is_ended && (size = recv(client->fd, bytes, sizeof(bytes), 0)) != -1) {
        if (size == 0)
            client->is_ended = true;
        buffer_put(&client->received, bytes, (size_t)size);
    }
    if (!client->is_ended && errno != EAGAIN)
        client->is_ended = client->is_reset = true;
}

/* Wait until `text` has been received; everything up to its end is dropped and returned as `seen`.
 */
static void client_await(struct client *client, const char *text)
{
    const char *found;

    client_receive(client);
    while ((found = strstr(buffer_text(&client->received), text)) == NULL) {
        if (client->is_ended)
            fail_msg("closed; received: %s", buffer_text(&client->received));
        pump(client->fixture, client->fd, POLLIN);
        client_receive(client);
    }
    buffer_consume(&client->received,
                   (size_t)(found - buffer_text(&client->received)) + strlen(text));
}

static void client_await_end(struct client *client)
{
    client_receive(client);
    while (!client->is_ended) {
        pump(client->fixture, client->fd, POLLIN);
        client_receive(client);
    }
}

static void await_handled(struct client *client, size_t count)
{
    while (client->fixture->handled < count)
        pump(client->fixture, -1, 0);
}

static void answer_held(struct fixture *f, size_t index)
{
    http_respond_text(f->held[index], 200, "text/plain", f->held[index]->target);
    fake_env_run(&f->fake);
}

#define WITH_SERVER(...)                                                                           \
    struct fixture f;                                                                              \
    struct client c;                                                                               \
    (void)state;                                                                                   \
    fixture_open(&f, (struct http_server_options){__VA_ARGS__});                                   \
    client_open(&c, &f)

#define DONE                                                                                       \
    client_close(&c);                                                                              \
    fixture_close(&f)

/* ---- the ordinary --------------------------------------------------------------------------- */

static void http_server__two_requests_one_after_the_other__same_connection(void **state)
{
    WITH_SERVER(0);

    client_send(&c, GET("/a"));
    client_await(&c, "HTTP/1.1 200 OK\r\nContent-Length: 7\r\nDate: Mon, 23 Nov 2026 20:35:16 "
                     "GMT\r\n\r\nGET /a ");
    client_send(&c, "POST /b HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nhi");
    client_await(&c, "POST /b hi");

    assert_int_equal(http_server_counters(f.server).connections, 1);
    assert_int_equal(http_server_counters(f.server).requests, 2);
    DONE;
}

static void http_server__exchange__says_who_and_when(void **state)
{
    WITH_SERVER(0);

    f.fake.now_us = 77;
    client_send(&c, "GET /hold HTTP/1.1\r\nHost: h\r\nX-A: b\r\n\r\n");
    await_handled(&c, 1);

    const struct http_exchange *exchange = f.held[0];

    assert_string_equal(exchange->peer_address, "127.0.0.1");
    assert_int_equal(exchange->local_port, f.port);
    assert_int_equal(exchange->received_us, 77);
    assert_int_equal(strlen(exchange->request_id), 36);
    assert_int_equal(exchange->request_id[14], '4');
    assert_true(slice_equal_text(http_header_find(exchange, "x-a"), "b"));
    answer_held(&f, 0);
    client_await(&c, "/hold");
    DONE;
}

static void http_server__every_split_of_a_request__answered(void **state)
{
    static const char text[] = "PUT /x HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
                               "3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n";
    WITH_SERVER(0);

    for (size_t split = 1; split < sizeof(text) - 1; split++) {
        client_send_bytes(&c, text, split);
        (void)uv_run(&f.loop, UV_RUN_NOWAIT);
        client_send_bytes(&c, text + split, sizeof(text) - 1 - split);
        client_await(&c, "PUT /x abcde");
    }
    assert_int_equal(http_server_counters(f.server).connections, 1);
    DONE;
}

static void http_server__large_bodies__gathered_whole(void **state)
{
    const size_t sizes[] = {16000, 16384, 100000, 3000000};
    WITH_SERVER(0);

    for (size_t i = 0; i < ARRAY_COUNT(sizes); i++) {
        AUTO(buffer) body = BUFFER_INIT(BUFFER_UNLIMITED);
        char head[100];

        for (size_t k = 0; k < sizes[i]; k++)
            buffer_put_u8(&body, (uint8_t)('a' + k % 23));
        (void)snprintf(head, sizeof(head),
                       "PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: %zu\r\n\r\n", sizes[i]);
        client_send(&c, head);
        client_send_bytes(&c, body.data, body.size);
        client_await(&c, "PUT / ");
        client_await(&c, buffer_text(&body));
    }
    DONE;
}

/* Framing five times as large as the data must not make the server hold six times the data. */
static void http_server__large_body_in_small_chunks__decoded(void **state)
{
    AUTO(buffer) text = BUFFER_INIT(BUFFER_UNLIMITED);
    AUTO(buffer) body = BUFFER_INIT(BUFFER_UNLIMITED);
    WITH_SERVER(0);

    buffer_put_text(&text, "PUT / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n");
    for (size_t i = 0; i < 50000; i++) {
        uint8_t c1 = (uint8_t)('a' + i % 19);

        buffer_put_u8(&body, c1);
        buffer_putf(&text, "1\r\n%c\r\n", c1);
    }
    buffer_put_text(&text, "0\r\n\r\n" GET("/next"));
    client_send_bytes(&c, text.data, text.size);
    client_await(&c, "PUT / ");
    client_await(&c, buffer_text(&body));
    client_await(&c, "GET /next ");
    DONE;
}

static void http_server__head_and_old_clients__as_http_says(void **state)
{
    WITH_SERVER(0);

    client_send(&c, "HEAD /h HTTP/1.1\r\nHost: h\r\n\r\n" GET("/after"));
    client_await(&c,
                 "Content-Length: 8\r\nDate: Mon, 23 Nov 2026 20:35:16 GMT\r\n\r\nHTTP/1.1 200");
    client_await(&c, "GET /after ");
    client_send(&c, "GET /k HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    client_await(&c, "Connection: keep-alive\r\n\r\nGET /k ");
    client_send(&c, "GET /o HTTP/1.0\r\n\r\n");
    client_await(&c, "Connection: close\r\n\r\nGET /o ");
    client_await_end(&c);
    assert_false(c.is_reset);
    DONE;
}

static void http_server__last_request_says_close__only_its_answer_closes(void **state)
{
    WITH_SERVER(0);

    client_send(&c, GET("/hold1") "GET /hold2 HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n" GET(
                        "/never"));
    await_handled(&c, 2);
    answer_held(&f, 0);
    answer_held(&f, 1);
    client_await(&c, "GMT\r\n\r\n/hold1");
    client_await(&c, "GMT\r\nConnection: close\r\n\r\n/hold2");
    client_await_end(&c);
    assert_int_equal(f.handled, 2);
    DONE;
}

static void http_server__client_half_closed__still_answered(void **state)
{
    WITH_SERVER(0);

    client_send(&c, GET("/hold") "GET /partial HT");
    assert_int_equal(shutdown(c.fd, SHUT_WR), 0);
    await_handled(&c, 1);
    (void)uv_run(&f.loop, UV_RUN_NOWAIT);
    answer_held(&f, 0);
    client_await(&c, "Connection: close\r\n\r\n/hold");
    client_await_end(&c);
    assert_int_equal(f.handled, 1);
    DONE;
}

static void note_abandoned(struct http_exchange *exchange)
{
    ++*(int *)exchange->abandoned_user;
}

static void http_server__client_gone__handler_hears_once_and_the_answer_is_dropped(void **state)
{
    int abandoned = 0;

    WITH_SERVER(0);

    client_send(&c, GET("/hold"));
    await_handled(&c, 1);
    f.held[0]->on_abandoned = note_abandoned;
    f.held[0]->abandoned_user = &abandoned;
    assert_int_equal(shutdown(c.fd, SHUT_RDWR), 0);
    while (abandoned == 0)
        pump(&f, c.fd, 0);
    assert_true(f.held[0]->is_abandoned);
    answer_held(&f, 0);
    (void)uv_run(&f.loop, UV_RUN_NOWAIT);

    assert_int_equal(abandoned, 1);
    DONE;
}

/* ---- pipelining ----------------------------------------------------------------------------- */

static void http_server__pipelined_answered_out_of_order__sent_in_order(void **state)
{
    WITH_SERVER(0);

    client_send(&c, GET("/hold1") GET("/hold2") GET("/hold3") GET("/now"));
    await_handled(&c, 4);
    answer_held(&f, 2);
    answer_held(&f, 1);
    client_receive(&c);
    assert_int_equal(c.received.size, 0);
    answer_held(&f, 0);

    client_await(&c, "/hold1HTTP/1.1");
    client_await(&c, "/hold2HTTP/1.1");
    client_await(&c, "/hold3HTTP/1.1");
    client_await(&c, "GET /now ");
    DONE;
}

static void http_server__pipelined_more_than_allowed__not_read_until_answered(void **state)
{
    WITH_SERVER(.pipeline_max = 4);

    for (int i = 0; i < 10; i++)
        client_send(&c, GET("/hold"));
    await_handled(&c, 4);
    (void)uv_run(&f.loop, UV_RUN_NOWAIT);
    assert_int_equal(f.handled, 4);

    answer_held(&f, 0);
    assert_int_equal(f.handled, 5);
    answer_held(&f, 2); /* not the first: no room is made */
    assert_int_equal(f.handled, 5);
    answer_held(&f, 1);
    assert_int_equal(f.handled, 7);
    for (size_t i = 3; i < 10; i++) {
        await_handled(&c, i + 1);
        answer_held(&f, i);
    }
    for (int i = 0; i < 10; i++)
        client_await(&c, "\r\n\r\n/hold");
    DONE;
}

static void http_server__answers_of_one_turn__one_write(void **state)
{
    char bytes[4096];
    WITH_SERVER(0);

    client_send(&c, GET("/a") GET("/b") GET("/c") GET("/d"));
    await_handled(&c, 4);

    ssize_t size = recv(c.fd, bytes, sizeof(bytes) - 1, 0);

    assert_true(size > 0);
    bytes[size] = '\0';
    assert_non_null(strstr(bytes, "GET /d "));
    DONE;
}

static void http_server__more_answers_than_one_write_takes__all_sent(void **state)
{
    WITH_SERVER(.pipeline_max = 100);

    for (int i = 0; i < 100; i++)
        client_send(&c, GET("/hold"));
    await_handled(&c, 100);
    for (size_t i = 100; i > 0; i--)
        http_respond_text(f.held[i - 1], 200, "text/plain", f.held[i - 1]->target);
    fake_env_run(&f.fake);
    for (int i = 0; i < 100; i++)
        client_await(&c, "\r\n\r\n/hold");
    DONE;
}

/* ---- 100-continue --------------------------------------------------------------------------- */

#define EXPECTING(length)                                                                          \
    "PUT /e HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: " length "\r\n\r\n"

static void http_server__client_expects_continue__told_at_once(void **state)
{
    WITH_SERVER(0);

    client_send(&c, EXPECTING("2"));
    client_await(&c, "HTTP/1.1 100 Continue\r\n\r\n");
    client_send(&c, "ok");
    client_await(&c, "PUT /e ok");
    client_send(&c, EXPECTING("2") "no"); /* did not wait: needs none */
    client_await(&c, "HTTP/1.1 200 OK");
    client_await(&c, "PUT /e no");
    DONE;
}

static void http_server__expects_continue_behind_an_open_request__told_in_order(void **state)
{
    WITH_SERVER(.body_timeout_ms = 1000);

    client_send(&c, GET("/hold") EXPECTING("2"));
    await_handled(&c, 1);
    fake_env_advance(&f.fake, 5000000); /* not the client's fault: no time-out */
    client_receive(&c);
    assert_int_equal(c.received.size, 0);
    answer_held(&f, 0);
    client_await(&c, "/holdHTTP/1.1 100 Continue\r\n\r\n");
    client_send(&c, "ok");
    client_await(&c, "PUT /e ok");
    DONE;
}

static void http_server__expects_continue_for_too_much__413_instead(void **state)
{
    WITH_SERVER(.body_bytes_max = 100);

    client_send(&c, EXPECTING("101"));
    client_await(&c, "HTTP/1.1 413 ");
    client_await_end(&c);
    assert_false(c.is_reset);
    DONE;
}

/* ---- refusals ------------------------------------------------------------------------------- */

static void
http_server__malformed_behind_an_open_request__answered_in_order_and_closed(void **state)
{
    WITH_SERVER(0);

    client_send(&c, GET("/hold") "GET / HTTP/1.1\r\nHost : h\r\n\r\n" GET("/never"));
    await_handled(&c, 1);
    client_receive(&c);
    assert_int_equal(c.received.size, 0);
    answer_held(&f, 0);
    client_await(&c, "/holdHTTP/1.1 400 Bad Request\r\n");
    client_await(&c, "Connection: close\r\n");
    client_await_end(&c);

    assert_int_equal(f.handled, 1);
    assert_int_equal(http_server_counters(f.server).malformed, 1);
    DONE;
}

/* The client goes on sending for long; it must still read why, not a reset. */
static void http_server__body_too_large__client_reads_413(void **state)
{
    AUTO(buffer) body = BUFFER_INIT(BUFFER_UNLIMITED);
    WITH_SERVER(.body_bytes_max = 1000);

    for (size_t i = 0; i < 2000000; i++)
        buffer_put_u8(&body, 'x');
    client_send(&c, "PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 2000000\r\n\r\n");
    client_send_bytes(&c, body.data, body.size);
    client_await(&c, "HTTP/1.1 413 ");
    client_await_end(&c);

    assert_false(c.is_reset);
    assert_int_equal(f.handled, 0);
    DONE;
}

static void http_server__chunks_too_large_in_sum__413(void **state)
{
    WITH_SERVER(.body_bytes_max = 10);

    client_send(&c, "PUT / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
                    "5\r\nhello\r\n6\r\n");
    client_await(&c, "HTTP/1.1 413 ");
    client_await_end(&c);
    DONE;
}

static void http_server__head_too_large__431(void **state)
{
    WITH_SERVER(.head_bytes_max = 20000);

    client_send(&c, "GET / HTTP/1.1\r\nHost: h\r\nX: ");
    for (int i = 0; i < 2000; i++)
        client_send(&c, "0123456789");
    client_await(&c, "HTTP/1.1 431 ");
    client_await_end(&c);
    DONE;
}

static void http_server__too_many_connections__503(void **state)
{
    struct client second;
    WITH_SERVER(.connections_max = 1);

    client_send(&c, GET("/a"));
    client_await(&c, "GET /a ");
    client_open(&second, &f);
    client_await(&second, "HTTP/1.1 503 ");
    client_await_end(&second);
    client_close(&second);
    while (http_server_counters(f.server).open > 1)
        pump(&f, -1, 0);
    client_send(&c, GET("/b"));
    client_await(&c, "GET /b ");

    assert_int_equal(http_server_counters(f.server).refused, 1);
    DONE;
}

/* ---- slow clients --------------------------------------------------------------------------- */

static void http_server__head_takes_too_long__408(void **state)
{
    WITH_SERVER(.head_timeout_ms = 1000);

    client_send(&c, GET("/a"));
    client_await(&c, "GET /a ");
    client_send(&c, "GET / HT");
    pump(&f, -1, 0);
    fake_env_advance(&f.fake, 900000);
    client_send(&c, "TP/1.1\r\nHost: h\r\n"); /* more bytes buy no more time */
    pump(&f, -1, 0);
    fake_env_advance(&f.fake, 99000);
    client_receive(&c);
    assert_int_equal(c.received.size, 0);
    fake_env_advance(&f.fake, 1000);
    client_await(&c, "HTTP/1.1 408 ");
    client_await_end(&c);

    assert_int_equal(http_server_counters(f.server).timeouts, 1);
    DONE;
}

static void http_server__next_head_behind_a_slow_one__has_its_own_time(void **state)
{
    WITH_SERVER(.head_timeout_ms = 1000);

    client_send(&c, GET("/first"));
    client_await(&c, "GET /first ");
    client_send(&c, "GET /a HT");
    pump(&f, -1, 0);
    fake_env_advance(&f.fake, 900000);
    client_send(&c, "TP/1.1\r\nHost: h\r\n\r\nGET /b HT");
    client_await(&c, "GET /a ");
    fake_env_advance(&f.fake, 900000);
    client_send(&c, "TP/1.1\r\nHost: h\r\n\r\n");
    client_await(&c, "GET /b ");
    DONE;
}

static void http_server__body_without_progress__408(void **state)
{
    AUTO(buffer) part = BUFFER_INIT(BUFFER_UNLIMITED);
    WITH_SERVER(.body_timeout_ms = 1000);

    while (part.size < 70000)
        buffer_put_text(&part, "xxxxxxxxxx");
    client_send(&c, "PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 1000000\r\n\r\n");
    for (int i = 0; i < 3; i++) { /* 64 KiB in time: goes on */
        client_send_bytes(&c, part.data, part.size);
        while (uv_run(&f.loop, UV_RUN_NOWAIT) != 0 &&
               poll(&(struct pollfd){uv_backend_fd(&f.loop), POLLIN, 0}, 1, 0) > 0)
            continue;
        fake_env_advance(&f.fake, 900000);
    }
    client_receive(&c);
    assert_int_equal(c.received.size, 0);
    client_send(&c, "just a little");
    pump(&f, -1, 0);
    fake_env_advance(&f.fake, 100000);
    client_await(&c, "HTTP/1.1 408 ");
    client_await_end(&c);
    DONE;
}

static void http_server__idle_for_too_long__closed_silently(void **state)
{
    WITH_SERVER(.idle_timeout_ms = 1000);

    client_send(&c, GET("/a"));
    client_await(&c, "GET /a ");
    fake_env_advance(&f.fake, 900000);
    client_send(&c, GET("/b"));
    client_await(&c, "GET /b ");
    fake_env_advance(&f.fake, 900000);
    client_receive(&c);
    assert_false(c.is_ended);
    fake_env_advance(&f.fake, 100000);
    client_await_end(&c);

    assert_int_equal(c.received.size, 0);
    assert_int_equal(http_server_counters(f.server).timeouts, 0);
    DONE;
}

static void http_server__handler_takes_long__connection_stays(void **state)
{
    WITH_SERVER(.idle_timeout_ms = 1000);

    client_send(&c, GET("/hold"));
    await_handled(&c, 1);
    fake_env_advance(&f.fake, 900000000);
    answer_held(&f, 0);
    client_await(&c, "\r\n\r\n/hold");
    DONE;
}

static void http_server__answer_not_taken__closed(void **state)
{
    WITH_SERVER(.write_timeout_ms = 1000);

    client_send(&c, GET("/big"));
    await_handled(&c, 1);
    fake_env_advance(&f.fake, 1000000);
    while (http_server_counters(f.server).open > 0) /* the first look may have seen progress */
        fake_env_advance(&f.fake, 1000000), (void)uv_run(&f.loop, UV_RUN_NOWAIT);

    assert_int_equal(http_server_counters(f.server).timeouts, 1);
    DONE;
}

static void http_server__answer_taken_slowly__complete(void **state)
{
    const int small = 65536; /* so that most of the answer stays with the server */
    char bytes[65536];
    size_t total = 0;
    WITH_SERVER(.write_timeout_ms = 1000);

    assert_int_equal(setsockopt(c.fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small)), 0);
    client_send(&c, GET("/big"));
    await_handled(&c, 1);
    for (size_t step = 1 << 20; step <= 8 << 20; step += 1 << 20) {
        while (total < step) {
            ssize_t size = recv(c.fd, bytes, sizeof(bytes), 0);

            assert_int_not_equal(size, 0); /* closed */
            if (size > 0)
                total += (size_t)size;
            else
                pump(&f, c.fd, POLLIN);
        }
        (void)uv_run(&f.loop, UV_RUN_NOWAIT); /* the server fills what was emptied */
        fake_env_advance(&f.fake, 700000);
    }
    client_receive(&c);
    client_send(&c, GET("/next"));
    client_await(&c, "GET /next ");
    DONE;
}

static void http_server__answers_not_taken__no_more_requests_taken(void **state)
{
    WITH_SERVER(.queued_bytes_max = 1 << 20);

    client_send(&c, GET("/big") GET("/big") GET("/big"));
    await_handled(&c, 1);
    (void)uv_run(&f.loop, UV_RUN_NOWAIT);
    assert_int_equal(f.handled, 1);
    while (c.received.size < 3 * (8 << 20)) {
        pump(&f, c.fd, POLLIN);
        client_receive(&c);
    }
    assert_int_equal(f.handled, 3);
    DONE;
}

/* ---- ends ----------------------------------------------------------------------------------- */

static void http_server__client_gone_before_the_answer__forgotten(void **state)
{
    const struct linger reset = {1, 0};
    WITH_SERVER(0);

    client_send(&c, GET("/hold") GET("/hold"));
    await_handled(&c, 2);
    assert_int_equal(setsockopt(c.fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset)), 0);
    client_close(&c);
    while (http_server_counters(f.server).open > 0)
        pump(&f, -1, 0);
    answer_held(&f, 1);
    answer_held(&f, 0);
    fixture_close(&f);
}

static void http_server__freed_with_everything_in_flight__no_leak(void **state)
{
    struct client big;
    struct client partial;
    WITH_SERVER(.queued_bytes_max = 64 << 20);

    client_open(&big, &f);
    client_open(&partial, &f);
    client_send(&c, GET("/hold") GET("/now") GET("/hold"));
    client_send(&big, GET("/big") GET("/hold"));
    client_send(&partial, "PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 100\r\n\r\nabc");
    await_handled(&c, 5);
    client_close(&big);
    client_close(&partial);
    DONE;
}

static void http_server__adopted_socket__served_like_any(void **state)
{
    int ends[2];
    struct client adopted = {.received = BUFFER_INIT(BUFFER_UNLIMITED)};
    WITH_SERVER(0);

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends), 0);
    adopted.fixture = &f;
    adopted.fd = ends[0];
    http_server_adopt(f.server, ends[1]);
    client_send(&adopted, GET("/a") GET("/b"));
    client_await(&adopted, "GET /a ");
    client_await(&adopted, "GET /b ");
    client_close(&adopted);
    while (http_server_counters(f.server).open > 1)
        pump(&f, -1, 0);
    DONE;
}

static void on_drained(void *user)
{
    ((struct fixture *)user)->drained++;
}

static void http_server__drained__finishes_and_takes_no_more(void **state)
{
    struct client idle;
    struct client late;
    WITH_SERVER(0);

    client_open(&idle, &f);
    client_send(&idle, GET("/a"));
    client_await(&idle, "GET /a ");
    client_send(&c, GET("/hold1") GET("/hold2"));
    await_handled(&c, 3);

    http_server_drain(f.server, on_drained, &f);

    client_await_end(&idle);
    late.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons(f.port), .sin_addr = {htonl(INADDR_LOOPBACK)}};

    assert_int_equal(connect(late.fd, (struct sockaddr *)&address, sizeof(address)), -1);
    close(late.fd);
    assert_int_equal(f.drained, 0);
    answer_held(&f, 0);
    answer_held(&f, 1);
    client_await(&c, "GMT\r\n\r\n/hold1");
    client_await(&c, "Connection: close\r\n\r\n/hold2");
    client_await_end(&c);
    client_close(&c);
    while (f.drained == 0)
        pump(&f, -1, 0);
    assert_int_equal(f.drained, 1);
    client_close(&idle);
    fixture_close(&f);
}

static void http_server__drained_without_connections__told_in_a_later_turn(void **state)
{
    struct fixture f;

    (void)state;
    fixture_open(&f, (struct http_server_options){0});
    http_server_drain(f.server, on_drained, &f);
    assert_int_equal(f.drained, 0);
    while (f.drained == 0)
        pump(&f, -1, 0);
    fake_env_run(&f.fake);
    assert_int_equal(f.drained, 1);
    fixture_close(&f);
}

static void http_server__same_port_twice__only_when_shared(void **state)
{
    struct fixture f;
    uint16_t port;

    (void)state;
    fixture_open(&f, (struct http_server_options){0});
    assert_int_equal(http_server_listen(f.server, "127.0.0.1", f.port, false, NULL), ERR_EXISTS);
    assert_int_equal(http_server_listen(f.server, "127.0.0.1", 0, true, &port), OK);
    assert_int_equal(http_server_listen(f.server, "127.0.0.1", port, true, NULL), OK);
    assert_int_equal(http_server_listen(f.server, "nonsense", 1, true, NULL), ERR_INVALID);
    assert_int_equal(http_server_listen(f.server, "192.0.2.1", 0, true, NULL), ERR_INVALID);
    fixture_close(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(http_server__two_requests_one_after_the_other__same_connection),
        cmocka_unit_test(http_server__exchange__says_who_and_when),
        cmocka_unit_test(http_server__every_split_of_a_request__answered),
        cmocka_unit_test(http_server__large_bodies__gathered_whole),
        cmocka_unit_test(http_server__large_body_in_small_chunks__decoded),
        cmocka_unit_test(http_server__head_and_old_clients__as_http_says),
        cmocka_unit_test(http_server__last_request_says_close__only_its_answer_closes),
        cmocka_unit_test(http_server__client_half_closed__still_answered),
        cmocka_unit_test(http_server__client_gone__handler_hears_once_and_the_answer_is_dropped),
        cmocka_unit_test(http_server__pipelined_answered_out_of_order__sent_in_order),
        cmocka_unit_test(http_server__pipelined_more_than_allowed__not_read_until_answered),
        cmocka_unit_test(http_server__answers_of_one_turn__one_write),
        cmocka_unit_test(http_server__more_answers_than_one_write_takes__all_sent),
        cmocka_unit_test(http_server__client_expects_continue__told_at_once),
        cmocka_unit_test(http_server__expects_continue_behind_an_open_request__told_in_order),
        cmocka_unit_test(http_server__expects_continue_for_too_much__413_instead),
        cmocka_unit_test(
            http_server__malformed_behind_an_open_request__answered_in_order_and_closed),
        cmocka_unit_test(http_server__body_too_large__client_reads_413),
        cmocka_unit_test(http_server__chunks_too_large_in_sum__413),
        cmocka_unit_test(http_server__head_too_large__431),
        cmocka_unit_test(http_server__too_many_connections__503),
        cmocka_unit_test(http_server__head_takes_too_long__408),
        cmocka_unit_test(http_server__next_head_behind_a_slow_one__has_its_own_time),
        cmocka_unit_test(http_server__body_without_progress__408),
        cmocka_unit_test(http_server__idle_for_too_long__closed_silently),
        cmocka_unit_test(http_server__handler_takes_long__connection_stays),
        cmocka_unit_test(http_server__answer_not_taken__closed),
        cmocka_unit_test(http_server__answer_taken_slowly__complete),
        cmocka_unit_test(http_server__answers_not_taken__no_more_requests_taken),
        cmocka_unit_test(http_server__client_gone_before_the_answer__forgotten),
        cmocka_unit_test(http_server__freed_with_everything_in_flight__no_leak),
        cmocka_unit_test(http_server__adopted_socket__served_like_any),
        cmocka_unit_test(http_server__drained__finishes_and_takes_no_more),
        cmocka_unit_test(http_server__drained_without_connections__told_in_a_later_turn),
        cmocka_unit_test(http_server__same_port_twice__only_when_shared),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
