#include "node/aws/url_event.h"

#include "node/aws/gateway_event.h"
#include "proto/base/check.h"
#include "proto/base/encode.h"
#include "proto/base/json_write.h"
#include "proto/base/utf8.h"

#include <ctype.h>
#include <strings.h>

#define QUERY_PARAMETERS_MAX 256

struct pair {
    struct slice name;
    struct slice value;
    bool is_written;
};

/* One member for each name: its values in their order, with commas between. */
static void write_joined(struct json_write *json, struct pair *pairs, size_t count)
{
    json_begin_object(json);
    for (size_t i = 0; i < count; i++) {
        AUTO(buffer) joined = BUFFER_INIT(json->to->limit);

        if (pairs[i].is_written)
            continue;
        for (size_t k = i; k < count; k++) {
            if (!slice_equal(pairs[i].name, pairs[k].name))
                continue;
            if (buffer_append_text(&joined, k > i ? "," : "") != OK ||
                buffer_append_slice(&joined, pairs[k].value) != OK)
                json->rc = ERR_TOO_LARGE;
            pairs[k].is_written = true;
        }
        json_key_slice(json, pairs[i].name);
        json_slice(json, buffer_slice(&joined));
    }
    json_end_object(json);
}

/* ---- headers ----------------------------------------------------------------------------------
 */

static bool is_name(struct slice name, const char *other)
{
    return name.size == strlen(other) &&
           strncasecmp((const char *)name.data, other, name.size) == 0;
}

static bool is_dropped(struct slice name)
{
    static const char *const dropped[] = {"Connection",       "Transfer-Encoding",
                                          "Cookie",           "X-Forwarded-For",
                                          "X-Forwarded-Port", "X-Forwarded-Proto"};

    for (size_t i = 0; i < ARRAY_COUNT(dropped); i++)
        if (is_name(name, dropped[i]))
            return true;
    return false;
}

static struct slice lower(struct arena *arena, struct slice name)
{
    char *text = arena_text(arena, name);

    for (char *c = text; *c != '\0'; c++)
        *c = (char)tolower((unsigned char)*c);
    return slice_text(text);
}

static void write_headers(struct json_write *json, const struct http_exchange *exchange,
                          struct arena *arena)
{
    struct slice forwarded = http_header_find(exchange, "X-Forwarded-For");
    struct pair *pairs = arena_alloc(arena, (exchange->header_count + 3) * sizeof(*pairs));
    size_t count = 0;

    for (size_t i = 0; i < exchange->header_count; i++)
        if (!is_dropped(exchange->headers[i].name))
            pairs[count++] = (struct pair){.name = lower(arena, exchange->headers[i].name),
                                           .value = exchange->headers[i].value};
    pairs[count++] = (struct pair){
        .name = SLICE_LITERAL("x-forwarded-for"),
        .value = slice_text(arena_printf(arena, "%.*s%s%s", (int)forwarded.size,
                                         forwarded.size > 0 ? (const char *)forwarded.data : "",
                                         forwarded.size > 0 ? ", " : "", exchange->peer_address))};
    pairs[count++] = (struct pair){
        .name = SLICE_LITERAL("x-forwarded-port"),
        .value = slice_text(arena_printf(arena, "%u", (unsigned)exchange->local_port))};
    pairs[count++] =
        (struct pair){.name = SLICE_LITERAL("x-forwarded-proto"),
                      .value = exchange->is_tls ? SLICE_LITERAL("https") : SLICE_LITERAL("http")};
    json_key(json, "headers");
    write_joined(json, pairs, count);
}

/* Each pair of every Cookie header; no member without one. */
static void write_cookies(struct json_write *json, const struct http_exchange *exchange)
{
    bool has_any = false;

    for (size_t i = 0; i < exchange->header_count; i++) {
        struct slice rest = exchange->headers[i].value;

        if (!is_name(exchange->headers[i].name, "Cookie"))
            continue;
        if (!has_any) {
            json_key(json, "cookies");
            json_begin_array(json);
            has_any = true;
        }
        while (rest.size > 0) {
            const uint8_t *end = memchr(rest.data, ';', rest.size);
            size_t size = end != NULL ? (size_t)(end - rest.data) : rest.size;

            json_slice(json, slice_of(rest.data, size));
            rest = slice_of(rest.data + size, rest.size - size);
            while (rest.size > 0 && (rest.data[0] == ';' || rest.data[0] == ' '))
                rest = slice_of(rest.data + 1, rest.size - 1);
        }
    }
    if (has_any)
        json_end_array(json);
}

/* ---- query ------------------------------------------------------------------------------------
 */

static struct slice decode(struct arena *arena, struct slice text)
{
    AUTO(buffer) decoded = BUFFER_INIT(text.size);

    if (decode_percent(text, true, &decoded) != OK)
        return arena_copy(arena, text);
    return arena_copy(arena, buffer_slice(&decoded));
}

static void write_query(struct json_write *json, struct slice query, struct arena *arena)
{
    struct pair *pairs = arena_alloc(arena, QUERY_PARAMETERS_MAX * sizeof(*pairs));
    size_t count = 0;

    json_member_slice(json, "rawQueryString", query.size > 0 ? query : SLICE_LITERAL(""));
    while (query.size > 0 && count < QUERY_PARAMETERS_MAX) {
        const uint8_t *end = memchr(query.data, '&', query.size);
        size_t size = end != NULL ? (size_t)(end - query.data) : query.size;
        const uint8_t *equals = size > 0 ? memchr(query.data, '=', size) : NULL;
        size_t name_size = equals != NULL ? (size_t)(equals - query.data) : size;
        size_t value_at = equals != NULL ? name_size + 1 : size;

        if (size > 0)
            pairs[count++] = (struct pair){
                .name = decode(arena, slice_of(query.data, name_size)),
                .value = decode(arena, slice_of(query.data + value_at, size - value_at))};
        query = end != NULL ? slice_of(end + 1, query.size - size - 1) : (struct slice){0};
    }
    if (count == 0)
        return;
    json_key(json, "queryStringParameters");
    write_joined(json, pairs, count);
}

/* ---- request context ---------------------------------------------------------------------------
 */

static void write_caller(struct json_write *json, const struct url_event *event,
                         struct arena *arena)
{
    const struct aws_request *request = event->request;

    if (!event->is_signed)
        return;
    json_key(json, "authorizer");
    json_begin_object(json);
    json_key(json, "iam");
    json_begin_object(json);
    json_member_slice(json, "accessKey", request->access_key);
    json_member_text(json, "accountId", request->account_id);
    json_member_text(json, "callerId", request->account_id);
    json_key(json, "cognitoIdentity");
    json_none(json);
    json_key(json, "principalOrgId");
    json_none(json);
    json_member_text(json, "userArn",
                     arena_printf(arena, "arn:aws:iam::%s:root", request->account_id));
    json_member_text(json, "userId", request->account_id);
    json_end_object(json);
    json_end_object(json);
}

static void write_http(struct json_write *json, const struct url_event *event)
{
    const struct http_exchange *exchange = event->request->exchange;
    struct slice agent = http_header_find(exchange, "User-Agent");

    json_key(json, "http");
    json_begin_object(json);
    json_member_slice(json, "method", exchange->method);
    json_member_slice(json, "path", event->path);
    json_member_text(json, "protocol", "HTTP/1.1");
    json_member_text(json, "sourceIp", exchange->peer_address);
    json_member_slice(json, "userAgent", agent.size > 0 ? agent : SLICE_LITERAL(""));
    json_end_object(json);
}

static void write_context(struct json_write *json, const struct url_event *event,
                          struct arena *arena)
{
    const struct aws_request *request = event->request;
    char time_text[GATEWAY_EVENT_TIME_BYTES];

    gateway_event_time(event->wall_ms, time_text);
    json_key(json, "requestContext");
    json_begin_object(json);
    json_member_text(json, "accountId", event->is_signed ? request->account_id : "anonymous");
    json_member_text(json, "apiId", event->url_id);
    write_caller(json, event, arena);
    json_member_text(json, "domainName",
                     arena_printf(arena, "%s.lambda-url.%.*s.on.aws", event->url_id,
                                  (int)request->region.size, (const char *)request->region.data));
    json_member_text(json, "domainPrefix", event->url_id);
    write_http(json, event);
    json_member_text(json, "requestId", request->exchange->request_id);
    json_member_text(json, "routeKey", "$default");
    json_member_text(json, "stage", "$default");
    json_member_text(json, "time", time_text);
    json_member_u64(json, "timeEpoch", event->wall_ms);
    json_end_object(json);
}

/* ---- body --------------------------------------------------------------------------------------
 */

/* Media types that are passed on as they are; everything else is base64. */
static bool is_text(struct slice type)
{
    static const char *const known[] = {"text/", "application/json", "application/javascript",
                                        "application/xml"};

    for (size_t i = 0; i < ARRAY_COUNT(known); i++)
        if (type.size >= strlen(known[i]) &&
            strncasecmp((const char *)type.data, known[i], strlen(known[i])) == 0)
            return true;
    return false;
}

static void write_body(struct json_write *json, const struct http_exchange *exchange)
{
    bool is_plain =
        is_text(http_header_find(exchange, "Content-Type")) && utf8_is_valid(exchange->body);

    if (exchange->body.size > 0) {
        json_key(json, "body");
        if (is_plain)
            json_slice(json, exchange->body);
        else
            json_base64(json, exchange->body);
    }
    json_member_bool(json, "isBase64Encoded", exchange->body.size > 0 && !is_plain);
}

enum error url_event_write(const struct url_event *event, struct buffer *to)
{
    const struct http_exchange *exchange = event->request->exchange;
    struct json_write json = json_write_to(to);
    struct arena arena;

    arena_init(&arena);
    json_begin_object(&json);
    json_member_text(&json, "version", "2.0");
    json_member_text(&json, "routeKey", "$default");
    json_member_slice(&json, "rawPath", event->path);
    write_query(&json, exchange->query, &arena);
    write_cookies(&json, exchange);
    write_headers(&json, exchange, &arena);
    write_context(&json, event, &arena);
    write_body(&json, exchange);
    json_end_object(&json);
    arena_close(&arena);
    return json.rc;
}
