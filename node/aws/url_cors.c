#include "node/aws/url_cors.h"

#include "proto/base/check.h"

bool url_cors_is_preflight(const Skein__Wire__FunctionUrl *url,
                           const struct http_exchange *exchange)
{
    return url->has_cors && slice_equal_text(exchange->method, "OPTIONS") &&
           http_header_find(exchange, "Origin").size > 0 &&
           http_header_find(exchange, "Access-Control-Request-Method").size > 0;
}

static bool allows_origin(const Skein__Wire__FunctionUrl *url, struct slice origin, bool *is_any)
{
    *is_any = false;
    for (size_t i = 0; i < url->n_allow_origins; i++) {
        *is_any |= strcmp(url->allow_origins[i], "*") == 0;
        if (slice_equal_text(origin, url->allow_origins[i]))
            return true;
    }
    return *is_any;
}

static void add(struct http_header *headers, size_t *count, const char *name, const char *value)
{
    headers[(*count)++] = (struct http_header){slice_text(name), slice_text(value)};
}

static void add_list(struct arena *arena, struct http_header *headers, size_t *count,
                     const char *name, char *const *values, size_t value_count)
{
    const char *joined = "";

    for (size_t i = 0; i < value_count; i++)
        joined = arena_printf(arena, "%s%s%s", joined, i > 0 ? ", " : "", values[i]);
    if (value_count > 0)
        add(headers, count, name, joined);
}

size_t url_cors_headers(const Skein__Wire__FunctionUrl *url, struct http_exchange *exchange,
                        bool is_preflight, struct http_header headers[URL_CORS_HEADERS_MAX])
{
    struct slice origin = http_header_find(exchange, "Origin");
    struct arena *arena = &exchange->arena;
    size_t count = 0;
    bool is_any;

    if (!url->has_cors || origin.size == 0 || !allows_origin(url, origin, &is_any))
        return 0;
    /* with credentials browsers take no "*" */
    add(headers, &count, "Access-Control-Allow-Origin",
        is_any && !url->allows_credentials ? "*" : arena_text(arena, origin));
    add(headers, &count, "Vary", "Origin");
    if (url->allows_credentials)
        add(headers, &count, "Access-Control-Allow-Credentials", "true");
    add_list(arena, headers, &count, "Access-Control-Expose-Headers", url->expose_headers,
             url->n_expose_headers);
    if (!is_preflight)
        return count;
    add_list(arena, headers, &count, "Access-Control-Allow-Methods", url->allow_methods,
             url->n_allow_methods);
    add_list(arena, headers, &count, "Access-Control-Allow-Headers", url->allow_headers,
             url->n_allow_headers);
    if (url->has_max_age)
        add(headers, &count, "Access-Control-Max-Age",
            arena_printf(arena, "%u", url->max_age_seconds));
    CHECK(count <= URL_CORS_HEADERS_MAX);
    return count;
}
