#include "tests/lib/fake_exchange.h"

#include "proto/base/check.h"

#include <strings.h>

static void exchange_free(struct http_exchange *exchange)
{
    arena_close(&exchange->arena);
    free(exchange);
}

static void on_respond(struct http_exchange *exchange, int status,
                       const struct http_header *headers, size_t header_count, struct buffer *body)
{
    struct fake_answer *answer = exchange->impl;

    CHECK(answer->count == 0 && header_count <= HTTP_HEADERS_MAX);
    answer->count++;
    answer->status = status;
    answer->header_count = header_count;
    for (size_t i = 0; i < header_count; i++)
        answer->headers[i] = (struct http_header){
            slice_text(arena_text(&answer->arena, headers[i].name)),
            slice_text(arena_text(&answer->arena, headers[i].value)),
        };
    if (body != NULL)
        answer->body = buffer_take(body);
    answer->exchange = NULL;
    exchange_free(exchange);
}

struct http_exchange *fake_exchange_new(struct fake_answer *answer, const char *method,
                                        const char *target, struct slice body)
{
    struct http_exchange *exchange = check_calloc(1, sizeof(*exchange));
    struct arena *arena = &exchange->arena;
    const char *question = strchr(target, '?');
    size_t path_size = question != NULL ? (size_t)(question - target) : strlen(target);

    fake_answer_close(answer);
    buffer_init(&answer->body, BUFFER_UNLIMITED);
    answer->exchange = exchange;
    exchange->method = slice_text(arena_text(arena, slice_text(method)));
    exchange->target = slice_text(arena_text(arena, slice_text(target)));
    exchange->path = slice_of(exchange->target.data, path_size);
    if (question != NULL)
        exchange->query =
            slice_of(exchange->target.data + path_size + 1, exchange->target.size - path_size - 1);
    exchange->headers = arena_alloc(arena, HTTP_HEADERS_MAX * sizeof(*exchange->headers));
    exchange->body = arena_copy(arena, body);
    memcpy(exchange->peer_address, "127.0.0.1", sizeof("127.0.0.1"));
    memcpy(exchange->request_id, FAKE_REQUEST_ID, sizeof(FAKE_REQUEST_ID));
    exchange->local_port = 4566;
    exchange->respond = on_respond;
    exchange->impl = answer;
    return exchange;
}

void fake_exchange_add_header(struct http_exchange *exchange, const char *name, const char *value)
{
    struct http_header *headers = (struct http_header *)exchange->headers;

    CHECK(exchange->header_count < HTTP_HEADERS_MAX);
    headers[exchange->header_count++] = (struct http_header){
        slice_text(arena_text(&exchange->arena, slice_text(name))),
        slice_text(arena_text(&exchange->arena, slice_text(value))),
    };
}

struct aws_request *fake_exchange_request(struct http_exchange *exchange, enum aws_service service)
{
    struct aws_request *request = arena_alloc(&exchange->arena, sizeof(*request));

    request->exchange = exchange;
    request->service = service;
    request->protocol = AWS_PROTOCOL_REST_JSON;
    request->region = SLICE_LITERAL("us-east-1");
    request->account_id = AWS_ACCOUNT_ID;
    request->counters = arena_alloc(&exchange->arena, sizeof(*request->counters));
    return request;
}

const char *fake_answer_header(const struct fake_answer *answer, const char *name)
{
    for (size_t i = 0; i < answer->header_count; i++) {
        if (strcasecmp((const char *)answer->headers[i].name.data, name) == 0)
            return (const char *)answer->headers[i].value.data;
    }
    return NULL;
}

const char *fake_answer_text(struct fake_answer *answer)
{
    return buffer_text(&answer->body);
}

void fake_answer_close(struct fake_answer *answer)
{
    if (answer->exchange != NULL)
        exchange_free(answer->exchange);
    buffer_close(&answer->body);
    arena_close(&answer->arena);
    *answer = (struct fake_answer){0};
}
