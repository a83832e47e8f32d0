/* The HTTP server at its best: a fixed answer, on one core.
 *
 * usage: http_echo PORT [plain|aws]
 *
 *   wrk -t1 -c64 -d5s http://127.0.0.1:PORT/
 *   wrk -t1 -c64 -d5s -s put_item.lua http://127.0.0.1:PORT/        (with "aws")
 *
 * Seen on two cores of an AMD EPYC, 64 connections, the machine busy with other work: 7.2 us of CPU
 * a request (nginx 1.22 with `return 200`: 7.7 us), 11.3 us with "aws"; 4,800 instructions a
 * request. In a calmer moment: 67,000 requests a second, 42,000 with "aws".
 *
 * "aws" sends every request through the router: signature verified, then `{}`. Time stands at the
 * moment the recorded request of put_item.lua was signed. Ends on SIGINT or SIGTERM, and prints
 * what it answered. */

#include "node/aws/aws_reply.h"
#include "node/aws/aws_router.h"
#include "node/http/http_server.h"
#include "proto/base/check.h"
#include "tests/lib/fake_env.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>

#define SIGNED_MS 1795439091000u /* 20261123T130451Z */

struct echo {
    uv_loop_t loop;
    uv_prepare_t turn_end;
    uv_signal_t interrupt;
    uv_signal_t terminate;
    struct fake_env fake;
    struct http_server *server;
    struct aws_router *router;
};

static void on_exchange(void *user, struct http_exchange *exchange)
{
    (void)user;
    http_respond_text(exchange, 200, "application/json",
                      SLICE_LITERAL("{\"statusCode\":200,\"body\":\"ok\"}"));
}

static void on_request(void *user, struct aws_request *request)
{
    struct buffer body = BUFFER_INIT(BUFFER_UNLIMITED);

    (void)user;
    buffer_put_text(&body, "{}");
    aws_reply(request, 200, &body);
}

static void on_turn_end(uv_prepare_t *prepare)
{
    struct echo *echo = container_of(prepare, struct echo, turn_end);

    fake_env_run(&echo->fake);
}

static void on_signal(uv_signal_t *handle, int number)
{
    struct echo *echo = handle->data;

    (void)number;
    (void)fprintf(stderr, "answered %" PRIu64 "\n", http_server_counters(echo->server).requests);
    http_server_free(echo->server);
    uv_close((uv_handle_t *)&echo->turn_end, NULL);
    uv_close((uv_handle_t *)&echo->interrupt, NULL);
    uv_close((uv_handle_t *)&echo->terminate, NULL);
}

static void start(struct echo *echo, bool is_aws)
{
    const struct aws_key key = {"AKIDEXAMPLE", "secret"};
    const struct aws_router_options options = {.region = "us-east-1", .keys = &key, .key_count = 1};
    const struct http_server_options defaults = {0};

    CHECK(uv_loop_init(&echo->loop) == 0);
    fake_env_init(&echo->fake);
    echo->fake.wall_ms = SIGNED_MS;
    echo->router = aws_router_new(&echo->fake.env, &options);
    aws_router_handle(echo->router, AWS_SERVICE_DYNAMODB, NULL, on_request);
    echo->server = http_server_new(&echo->loop, &echo->fake.env, &defaults,
                                   is_aws ? aws_router_on_exchange : on_exchange, echo->router);
    CHECK(uv_prepare_init(&echo->loop, &echo->turn_end) == 0);
    CHECK(uv_prepare_start(&echo->turn_end, on_turn_end) == 0);
    CHECK(uv_signal_init(&echo->loop, &echo->interrupt) == 0);
    CHECK(uv_signal_init(&echo->loop, &echo->terminate) == 0);
    echo->interrupt.data = echo->terminate.data = echo;
    CHECK(uv_signal_start(&echo->interrupt, on_signal, SIGINT) == 0);
    CHECK(uv_signal_start(&echo->terminate, on_signal, SIGTERM) == 0);
}

int main(int argc, char **argv)
{
    struct echo echo = {0};
    bool is_aws = argc > 2 && strcmp(argv[2], "aws") == 0;
    int port = argc > 1 ? atoi(argv[1]) : 0;

    if (port <= 0 || port > 65535) {
        (void)fprintf(stderr, "usage: http_echo PORT [plain|aws]\n");
        return 2;
    }
    start(&echo, is_aws);
    enum error rc = http_server_listen(echo.server, "127.0.0.1", (uint16_t)port, false, NULL);

    if (rc != OK) {
        (void)fprintf(stderr, "http_echo: port %d: %s\n", port, error_text(rc));
        return 1;
    }
    (void)uv_run(&echo.loop, UV_RUN_DEFAULT);
    aws_router_free(echo.router);
    fake_env_close(&echo.fake);
    return uv_loop_close(&echo.loop) == 0 ? 0 : 1;
}
