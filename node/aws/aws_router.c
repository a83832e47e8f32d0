#include "node/aws/aws_router.h"

#include "node/auth/sigv4.h"
#include "node/aws/aws_fault.h"
#include "proto/base/check.h"
#include "proto/base/log.h"

#include <strings.h>

struct key {
    char *access_key;
    char *secret;
};

struct route {
    void *user;
    aws_handler handler; /* NULL: the service is not there */
    struct aws_counters counters;
};

struct aws_router {
    struct env *env;
    char *region;
    struct key *keys;
    size_t key_count;
    bool any_key;
    struct sigv4 *sigv4;
    struct route routes[AWS_SERVICE_COUNT];
};

static const struct {
    const char *scope;
    enum aws_protocol protocol;
} services[AWS_SERVICE_COUNT] = {
#define X(name, scope, protocol) {scope, protocol},
    AWS_SERVICE_MAP(X)
#undef X
};

const char *aws_service_name(enum aws_service service)
{
    return services[service].scope;
}

struct aws_router *aws_router_new(struct env *env, const struct aws_router_options *options)
{
    struct aws_router *router = check_calloc(1, sizeof(*router));

    router->env = env;
    router->region = check_strdup(options->region);
    router->any_key = options->any_key;
    router->key_count = options->key_count;
    router->keys = check_calloc(options->key_count + 1, sizeof(*router->keys));
    for (size_t i = 0; i < options->key_count; i++)
        router->keys[i] = (struct key){check_strdup(options->keys[i].access_key),
                                       check_strdup(options->keys[i].secret)};
    router->sigv4 = sigv4_new(aws_router_find_secret, router);
    if (router->any_key)
        log_warn("aws_router.insecure any request is believed, signed or not");
    return router;
}

void aws_router_free(struct aws_router *router)
{
    if (router == NULL)
        return;
    sigv4_free(router->sigv4);
    for (size_t i = 0; i < router->key_count; i++) {
        free(router->keys[i].access_key);
        explicit_bzero(router->keys[i].secret, strlen(router->keys[i].secret));
        free(router->keys[i].secret);
    }
    free(router->keys);
    free(router->region);
    free(router);
}

void aws_router_handle(struct aws_router *router, enum aws_service service, void *user,
                       aws_handler handler)
{
    router->routes[service].user = user;
    router->routes[service].handler = handler;
}

const struct aws_counters *aws_router_counters(const struct aws_router *router,
                                               enum aws_service service)
{
    return &router->routes[service].counters;
}

enum error aws_router_find_secret(void *user, struct slice access_key, struct slice *secret)
{
    const struct aws_router *router = user;

    for (size_t i = 0; i < router->key_count; i++) {
        if (slice_equal_text(access_key, router->keys[i].access_key)) {
            *secret = slice_text(router->keys[i].secret);
            return OK;
        }
    }
    return ERR_NOT_FOUND;
}

/* ---- whose request is it? ------------------------------------------------------------------- */

static enum aws_service service_of_scope(struct slice scope)
{
    for (size_t i = AWS_SERVICE_NONE + 1; i < AWS_SERVICE_ADMIN; i++)
        if (slice_equal_text(scope, services[i].scope))
            return (enum aws_service)i;
    return AWS_SERVICE_NONE;
}

static enum aws_service service_of_target(struct slice target)
{
    static const struct {
        const char *prefix;
        enum aws_service service;
    } prefixes[] = {
        {"DynamoDB_20120810.", AWS_SERVICE_DYNAMODB},
        {"AmazonSQS.", AWS_SERVICE_SQS},
        {"GraniteServiceVersion20100801.", AWS_SERVICE_MONITORING},
        {"Logs_20140328.", AWS_SERVICE_LOGS},
    };

    for (size_t i = 0; i < ARRAY_COUNT(prefixes); i++)
        if (slice_starts_with(target, slice_text(prefixes[i].prefix)))
            return prefixes[i].service;
    return AWS_SERVICE_NONE;
}

static enum aws_service service_of_version(struct slice version)
{
    static const struct {
        const char *version;
        enum aws_service service;
    } versions[] = {
        {"2011-06-15", AWS_SERVICE_STS},        {"2010-05-08", AWS_SERVICE_IAM},
        {"2010-03-31", AWS_SERVICE_SNS},        {"2012-11-05", AWS_SERVICE_SQS},
        {"2010-08-01", AWS_SERVICE_MONITORING},
    };

    for (size_t i = 0; i < ARRAY_COUNT(versions); i++)
        if (slice_equal_text(version, versions[i].version))
            return versions[i].service;
    return AWS_SERVICE_NONE;
}

/* "/2015-03-31/functions/..." */
static bool is_lambda_path(struct slice path)
{
    static const char form[] = "/dddd-dd-dd/";

    if (path.size < sizeof(form) - 1)
        return false;
    for (size_t i = 0; i < sizeof(form) - 1; i++) {
        bool is_digit = path.data[i] >= '0' && path.data[i] <= '9';

        if (form[i] == 'd' ? !is_digit : path.data[i] != (uint8_t)form[i])
            return false;
    }
    return true;
}

static bool is_form(const struct http_exchange *exchange)
{
    const struct slice form = SLICE_LITERAL("application/x-www-form-urlencoded");
    struct slice type = http_header_find(exchange, "content-type");

    return type.size >= form.size &&
           strncasecmp((const char *)type.data, (const char *)form.data, form.size) == 0;
}

/* A parameter of the query protocol: in the body, or in the URL of a GET. */
static struct slice find_parameter(struct http_exchange *exchange, const char *name)
{
    if (is_form(exchange))
        return http_form_find(&exchange->arena, exchange->body, name);
    return exchange->query.size > 0 ? http_query_find(exchange, name) : (struct slice){NULL, 0};
}

/* For requests without a signature: which service would want one? */
static enum aws_service guess_service(struct http_exchange *exchange)
{
    struct slice path = exchange->path;
    enum aws_service service = service_of_target(http_header_find(exchange, "x-amz-target"));

    if (service == AWS_SERVICE_NONE)
        service = service_of_version(find_parameter(exchange, "Version"));
    if (service != AWS_SERVICE_NONE)
        return service;
    if (is_lambda_path(path))
        return AWS_SERVICE_LAMBDA;
    if (slice_starts_with(path, SLICE_LITERAL("/restapis")) ||
        slice_starts_with(path, SLICE_LITERAL("/v2/apis")))
        return AWS_SERVICE_APIGATEWAY;
    if (http_header_find(exchange, "x-amz-content-sha256").data != NULL ||
        (exchange->query.size > 0 && http_query_find(exchange, "AWSAccessKeyId").data != NULL))
        return AWS_SERVICE_S3;
    return AWS_SERVICE_NONE;
}

/* The `index`th segment of a path, still encoded; data NULL when there are fewer. */
static struct slice segment_of(struct slice path, size_t index)
{
    for (size_t i = 0; path.size > 0; i++) {
        struct slice rest = slice_of(path.data + 1, path.size - 1);
        const uint8_t *end = rest.size > 0 ? memchr(rest.data, '/', rest.size) : NULL;
        size_t size = end != NULL ? (size_t)(end - rest.data) : rest.size;

        if (i == index)
            return slice_of(rest.data, size);
        path = slice_of(rest.data + size, rest.size - size);
    }
    return (struct slice){NULL, 0};
}

/* ID.LABEL.anything, with a label such as ".execute-api." */
static bool has_label(struct slice host, struct slice label)
{
    const uint8_t *dot = host.size > 0 ? memchr(host.data, '.', host.size) : NULL;

    return dot != NULL && dot != host.data &&
           slice_starts_with(slice_of(dot, host.size - (size_t)(dot - host.data)), label);
}

/* Services that take unsigned requests. */
static enum aws_service public_service_of(const struct http_exchange *exchange)
{
    struct slice first = segment_of(exchange->path, 0);
    struct slice host = http_header_find(exchange, "host");

    if (has_label(host, SLICE_LITERAL(".execute-api.")))
        return AWS_SERVICE_EXECUTE_API;
    if (has_label(host, SLICE_LITERAL(".lambda-url.")) ||
        (slice_equal_text(first, "_aws") &&
         slice_equal_text(segment_of(exchange->path, 1), "lambda-url")))
        return AWS_SERVICE_FUNCTION_URL;
    if (slice_equal_text(first, "_skein"))
        return AWS_SERVICE_ADMIN;
    if ((slice_equal_text(first, "restapis") &&
         slice_equal_text(segment_of(exchange->path, 3), "_user_request_")) ||
        (slice_equal_text(first, "_aws") &&
         slice_equal_text(segment_of(exchange->path, 1), "execute-api")))
        return AWS_SERVICE_EXECUTE_API;
    return AWS_SERVICE_NONE;
}

/* ---- what does it ask? ---------------------------------------------------------------------- */

static void read_protocol(struct aws_request *request)
{
    struct http_exchange *exchange = request->exchange;
    struct slice target = http_header_find(exchange, "x-amz-target");
    const uint8_t *dot = target.size > 0 ? memchr(target.data, '.', target.size) : NULL;

    request->protocol = services[request->service].protocol;
    if (dot != NULL && request->service != AWS_SERVICE_S3) {
        size_t skipped = (size_t)(dot - target.data) + 1;
        bool is_1_1 = slice_starts_with(http_header_find(exchange, "content-type"),
                                        SLICE_LITERAL("application/x-amz-json-1.1"));

        request->operation = slice_of(target.data + skipped, target.size - skipped);
        if (request->protocol != AWS_PROTOCOL_JSON_1_1)
            request->protocol = is_1_1 ? AWS_PROTOCOL_JSON_1_1 : AWS_PROTOCOL_JSON_1_0;
    } else if (request->protocol == AWS_PROTOCOL_QUERY) {
        request->operation = find_parameter(exchange, "Action");
    }
}

/* ---- may they? ------------------------------------------------------------------------------ */

static struct sigv4_request *signed_parts(struct http_exchange *exchange)
{
    struct sigv4_request *parts = arena_alloc(&exchange->arena, sizeof(*parts));
    struct sigv4_header *headers =
        arena_alloc(&exchange->arena, (exchange->header_count + 1) * sizeof(*headers));

    for (size_t i = 0; i < exchange->header_count; i++)
        headers[i] = (struct sigv4_header){exchange->headers[i].name, exchange->headers[i].value};
    *parts = (struct sigv4_request){.method = exchange->method,
                                    .path = exchange->path,
                                    .query = exchange->query,
                                    .headers = headers,
                                    .header_count = exchange->header_count,
                                    .body = exchange->body};
    return parts;
}

/* Fills in who asks, and for which service. */
static enum sigv4_result authenticate(struct aws_router *router, struct aws_request *request)
{
    struct http_exchange *exchange = request->exchange;
    struct sigv4_request *parts = signed_parts(exchange);
    struct sigv4_identity *identity = arena_alloc(&exchange->arena, sizeof(*identity));
    enum aws_service public_service = public_service_of(exchange);
    enum sigv4_result result = sigv4_parse(parts, &exchange->arena, identity);

    request->service = public_service;
    if (request->service == AWS_SERVICE_NONE && identity->service.data != NULL)
        request->service = service_of_scope(identity->service);
    if (request->service == AWS_SERVICE_NONE && (identity->service.data == NULL || router->any_key))
        request->service = guess_service(exchange); /* test suites sign for no service at all */
    if (identity->access_key.size > 0) {
        request->identity = identity;
        request->access_key = identity->access_key;
        request->region = identity->region;
    }
    if (router->any_key)
        return SIGV4_OK;
    if (result == SIGV4_OK)
        result = sigv4_verify(router->sigv4, parts, env_wall_ms(router->env), identity);
    if (result == SIGV4_MISSING && public_service != AWS_SERVICE_NONE)
        result = SIGV4_OK;
    return result;
}

static struct aws_request *new_request(struct aws_router *router, struct http_exchange *exchange)
{
    struct aws_request *request = arena_alloc(&exchange->arena, sizeof(*request));
    struct slice region = http_header_find(exchange, "x-skein-region");

    request->exchange = exchange;
    request->region = region.size > 0 ? region : slice_text(router->region);
    request->account_id = AWS_ACCOUNT_ID;
    request->sigv4 = router->any_key ? NULL : router->sigv4;
    return request;
}

void aws_router_on_exchange(void *user, struct http_exchange *exchange)
{
    struct aws_router *router = user;
    struct aws_request *request = new_request(router, exchange);
    enum sigv4_result result = authenticate(router, request);
    struct route *route = &router->routes[request->service];

    request->counters = &route->counters;
    read_protocol(request);
    route->counters.requests++;
    if (result != SIGV4_OK) {
        const struct aws_fault fault =
            aws_fault_of_auth(request->service, request->protocol, result);

        route->counters.auth_failures++;
        aws_fault_send(request, &fault);
    } else if (route->handler == NULL) {
        aws_fault_respond_unknown_operation(request);
    } else {
        route->handler(route->user, request);
    }
}
