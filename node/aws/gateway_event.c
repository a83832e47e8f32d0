#include "node/aws/gateway_event.h"

#include "node/aws/aws_request.h"
#include "proto/base/check.h"
#include "proto/base/encode.h"
#include "proto/base/json_write.h"
#include "proto/base/utf8.h"

#include <stdio.h>
#include <strings.h>
#include <time.h>

#define QUERY_PARAMETERS_MAX 256
#define ADDED_HEADERS 4

struct pair {
    struct slice name;
    struct slice value;
    bool is_written;
};

static bool same_name(struct slice a, struct slice b)
{
    return a.size == b.size && strncasecmp((const char *)a.data, (const char *)b.data, a.size) == 0;
}

static bool same_bytes(struct slice a, struct slice b)
{
    return slice_equal(a, b);
}

/* Two members: the last value of each name, and all values of each name. Names that are the same
 * take the spelling of the first. Null when there is no pair. */
static void write_pairs(struct json_write *json, const char *single_key, const char *multi_key,
                        struct pair *pairs, size_t count, bool (*same)(struct slice, struct slice))
{
    AUTO(buffer) multi_text = BUFFER_INIT(json->to->limit);
    struct json_write multi = json_write_to(&multi_text);

    json_key(json, single_key);
    if (count == 0) {
        json_none(json);
        json_key(json, multi_key);
        json_none(json);
        return;
    }
    json_begin_object(json);
    json_begin_object(&multi);
    for (size_t i = 0; i < count; i++) {
        struct slice last = pairs[i].value;

        if (pairs[i].is_written)
            continue;
        json_key_slice(&multi, pairs[i].name);
        json_begin_array(&multi);
        for (size_t k = i; k < count; k++) {
            if (pairs[k].is_written || !same(pairs[i].name, pairs[k].name))
                continue;
            pairs[k].is_written = true;
            last = pairs[k].value;
            json_slice(&multi, last);
        }
        json_end_array(&multi);
        json_key_slice(json, pairs[i].name);
        json_slice(json, last);
    }
    json_end_object(json);
    json_end_object(&multi);
    json_key(json, multi_key);
    json_raw(json, buffer_slice(&multi_text));
    if (multi.rc != OK && json->rc == OK)
        json->rc = multi.rc;
}

/* ---- headers ---- */

static bool is_dropped(struct slice name)
{
    return same_name(name, SLICE_LITERAL("Content-Length")) ||
           same_name(name, SLICE_LITERAL("Connection")) ||
           same_name(name, SLICE_LITERAL("Transfer-Encoding")) ||
           same_name(name, SLICE_LITERAL("X-Forwarded-For")) ||
           same_name(name, SLICE_LITERAL("X-Forwarded-Port")) ||
           same_name(name, SLICE_LITERAL("X-Forwarded-Proto")) ||
           same_name(name, SLICE_LITERAL("X-Amzn-Trace-Id"));
}

static void write_headers(struct json_write *json, const struct gateway_event *event,
                          struct arena *arena)
{
    const struct http_exchange *exchange = event->exchange;
    struct slice forwarded = http_header_find(exchange, "X-Forwarded-For");
    struct pair *pairs =
        arena_alloc(arena, (exchange->header_count + ADDED_HEADERS) * sizeof(*pairs));
    size_t count = 0;

    for (size_t i = 0; i < exchange->header_count; i++) {
        const struct http_header *header = &exchange->headers[i];

        if (!is_dropped(header->name))
            pairs[count++] = (struct pair){.name = header->name, .value = header->value};
    }
    pairs[count++] =
        (struct pair){.name = SLICE_LITERAL("X-Amzn-Trace-Id"), .value = slice_text(event->trace)};
    pairs[count++] = (struct pair){
        .name = SLICE_LITERAL("X-Forwarded-For"),
        .value = slice_text(arena_printf(arena, "%.*s%s%s", (int)forwarded.size,
                                         forwarded.size > 0 ? (const char *)forwarded.data : "",
                                         forwarded.size > 0 ? ", " : "", exchange->peer_address)),
    };
    pairs[count++] = (struct pair){
        .name = SLICE_LITERAL("X-Forwarded-Port"),
        .value = slice_text(arena_printf(arena, "%u", (unsigned)exchange->local_port)),
    };
    pairs[count++] = (struct pair){
        .name = SLICE_LITERAL("X-Forwarded-Proto"),
        .value = exchange->is_tls ? SLICE_LITERAL("https") : SLICE_LITERAL("http"),
    };
    write_pairs(json, "headers", "multiValueHeaders", pairs, count, same_name);
}

/* ---- query ---- */

static struct slice decode(struct arena *arena, struct slice text)
{
    AUTO(buffer) decoded = BUFFER_INIT(text.size);

    if (decode_percent(text, true, &decoded) != OK)
        return arena_copy(arena, text);
    return arena_copy(arena, buffer_slice(&decoded));
}

static size_t read_query(struct arena *arena, struct slice query,
                         struct pair pairs[QUERY_PARAMETERS_MAX])
{
    size_t count = 0;

    while (query.size > 0 && count < QUERY_PARAMETERS_MAX) {
        const uint8_t *end = memchr(query.data, '&', query.size);
        size_t size = end != NULL ? (size_t)(end - query.data) : query.size;
        const uint8_t *equals = memchr(query.data, '=', size);
        size_t name_size = equals != NULL ? (size_t)(equals - query.data) : size;
        size_t value_at = equals != NULL ? name_size + 1 : size;

        if (size > 0)
            pairs[count++] = (struct pair){
                .name = decode(arena, slice_of(query.data, name_size)),
                .value = decode(arena, slice_of(query.data + value_at, size - value_at)),
            };
        if (end == NULL)
            break;
        query = slice_of(end + 1, query.size - size - 1);
    }
    return count;
}

static void write_query(struct json_write *json, const struct gateway_event *event,
                        struct arena *arena)
{
    struct pair *pairs = arena_alloc(arena, QUERY_PARAMETERS_MAX * sizeof(*pairs));
    size_t count = read_query(arena, event->exchange->query, pairs);

    write_pairs(json, "queryStringParameters", "multiValueQueryStringParameters", pairs, count,
                same_bytes);
}

/* ---- path parameters, stage variables ---- */

static void write_path_parameters(struct json_write *json, const struct gateway_match *match)
{
    json_key(json, "pathParameters");
    if (match->parameter_count == 0) {
        json_none(json);
        return;
    }
    json_begin_object(json);
    for (size_t i = 0; i < match->parameter_count; i++) {
        json_key_slice(json, match->parameters[i].name);
        json_slice(json, match->parameters[i].value);
    }
    json_end_object(json);
}

static void write_stage_variables(struct json_write *json, const struct gateway_event *event)
{
    json_key(json, "stageVariables");
    if (event->variable_count == 0) {
        json_none(json);
        return;
    }
    json_begin_object(json);
    for (size_t i = 0; i < event->variable_count; i++)
        json_member_text(json, event->variables[i]->name, event->variables[i]->value);
    json_end_object(json);
}

/* ---- request context ---- */

void gateway_event_time(uint64_t wall_ms, char text[GATEWAY_EVENT_TIME_BYTES])
{
    static const char *const months[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                         "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
    time_t seconds = (time_t)(wall_ms / 1000);
    struct tm utc;

    CHECK(gmtime_r(&seconds, &utc) != NULL);
    snprintf(text, GATEWAY_EVENT_TIME_BYTES, "%02d/%s/%04d:%02d:%02d:%02d +0000", utc.tm_mday,
             months[utc.tm_mon], utc.tm_year + 1900, utc.tm_hour, utc.tm_min, utc.tm_sec);
}

static void write_identity(struct json_write *json, const struct http_exchange *exchange)
{
    static const char *const absent[] = {
        "accessKey",
        "accountId",
        "caller",
        "cognitoAuthenticationProvider",
        "cognitoAuthenticationType",
        "cognitoIdentityId",
        "cognitoIdentityPoolId",
        "principalOrgId",
        "user",
        "userArn",
    };
    struct slice agent = http_header_find(exchange, "User-Agent");

    json_key(json, "identity");
    json_begin_object(json);
    for (size_t i = 0; i < ARRAY_COUNT(absent); i++) {
        json_key(json, absent[i]);
        json_none(json);
    }
    json_member_text(json, "sourceIp", exchange->peer_address);
    json_key(json, "userAgent");
    if (agent.data != NULL)
        json_slice(json, agent);
    else
        json_none(json);
    json_end_object(json);
}

static void write_context(struct json_write *json, const struct gateway_event *event,
                          struct arena *arena)
{
    char time_text[GATEWAY_EVENT_TIME_BYTES];

    gateway_event_time(event->wall_ms, time_text);
    json_key(json, "requestContext");
    json_begin_object(json);
    json_member_text(json, "accountId", AWS_ACCOUNT_ID);
    json_member_text(json, "apiId", event->api_id);
    json_member_text(json, "deploymentId", event->deployment_id);
    json_member_text(
        json, "domainName",
        arena_printf(arena, "%s.execute-api.%s.amazonaws.com", event->api_id, event->region));
    json_member_text(json, "domainPrefix", event->api_id);
    json_member_text(json, "extendedRequestId", event->extended_request_id);
    json_member_slice(json, "httpMethod", event->exchange->method);
    write_identity(json, event->exchange);
    json_member_slice(json, "path", event->path_on_stage);
    json_member_text(json, "protocol", "HTTP/1.1");
    json_member_text(json, "requestId", event->exchange->request_id);
    json_member_text(json, "requestTime", time_text);
    json_member_u64(json, "requestTimeEpoch", event->wall_ms);
    json_member_text(json, "resourceId", event->match->resource->id);
    json_member_text(json, "resourcePath", event->match->resource->path);
    json_member_text(json, "stage", event->stage);
    json_end_object(json);
}

/* ---- body ---- */

/* Is `type` ("image/png; q=1") of the media type `pattern` ("image/png", "image/..*", all)? */
static bool media_matches(struct slice type, const char *pattern)
{
    size_t size = strlen(pattern);
    const uint8_t *end = type.size > 0 ? memchr(type.data, ';', type.size) : NULL;

    if (strcmp(pattern, "*/*") == 0)
        return true;
    if (end != NULL)
        type.size = (size_t)(end - type.data);
    while (type.size > 0 && type.data[type.size - 1] == ' ')
        type.size--;
    if (size > 2 && strcmp(pattern + size - 2, "/*") == 0)
        return type.size >= size && strncasecmp((const char *)type.data, pattern, size - 1) == 0;
    return type.size == size && strncasecmp((const char *)type.data, pattern, size) == 0;
}

static bool is_binary(const struct gateway_event *event)
{
    struct slice type = http_header_find(event->exchange, "Content-Type");

    for (size_t i = 0; i < event->binary_media_type_count; i++) {
        if (media_matches(type, event->binary_media_types[i]))
            return true;
    }
    return !utf8_is_valid(event->exchange->body);
}

static void write_body(struct json_write *json, const struct gateway_event *event)
{
    struct slice body = event->exchange->body;
    bool is_base64 = body.size > 0 && is_binary(event);

    json_key(json, "body");
    if (body.size == 0)
        json_none(json);
    else if (is_base64)
        json_base64(json, body);
    else
        json_slice(json, body);
    json_member_bool(json, "isBase64Encoded", is_base64);
}

enum error gateway_event_write(const struct gateway_event *event, struct buffer *to)
{
    struct json_write json = json_write_to(to);
    struct arena arena;

    arena_init(&arena);
    json_begin_object(&json);
    json_member_text(&json, "resource", event->match->resource->path);
    json_member_slice(&json, "path", event->path);
    json_member_slice(&json, "httpMethod", event->exchange->method);
    write_headers(&json, event, &arena);
    write_query(&json, event, &arena);
    write_path_parameters(&json, event->match);
    write_stage_variables(&json, event);
    write_context(&json, event, &arena);
    write_body(&json, event);
    json_end_object(&json);
    arena_close(&arena);
    return json.rc;
}
