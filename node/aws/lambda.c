#include "node/aws/lambda.h"

#include "node/aws/aws_path.h"
#include "node/aws/lambda_alias.h"
#include "node/aws/lambda_call.h"
#include "node/aws/lambda_change.h"
#include "node/aws/lambda_concurrency.h"
#include "node/aws/lambda_event_config.h"
#include "node/aws/lambda_function.h"
#include "node/aws/lambda_invoke.h"
#include "node/aws/lambda_permission.h"
#include "node/aws/lambda_provisioned.h"
#include "node/aws/lambda_tag.h"
#include "node/aws/lambda_url.h"
#include "node/aws/lambda_version.h"
#include "proto/base/check.h"

#define ACCOUNT_CONCURRENCY_DEFAULT 1000

struct lambda *lambda_new(const struct lambda_options *options)
{
    struct lambda *lambda = check_calloc(1, sizeof(*lambda));

    lambda->with = *options;
    if (lambda->with.account_concurrency == 0)
        lambda->with.account_concurrency = ACCOUNT_CONCURRENCY_DEFAULT;
    list_init(&lambda->changes);
    return lambda;
}

void lambda_free(struct lambda *lambda)
{
    if (lambda == NULL)
        return;
    LIST_EACH_SAFE(&lambda->changes, link)
    {
        lambda_change_free(container_of(link, struct lambda_change, link));
    }
    free(lambda);
}

/* ---- operations that need no file of their own ---- */

static void invoke_function(struct lambda_call *call)
{
    lambda_invoke_start(&call->lambda->with, call->request, &call->name);
}

static void get_code_signing(struct lambda_call *call)
{
    struct buffer body = BUFFER_INIT(LAMBDA_DOCUMENT_BYTES_MAX);
    struct json_write json = json_write_to(&body);

    json_begin_object(&json);
    json_member_text(&json, "FunctionName", call->function->name);
    json_end_object(&json);
    lambda_call_reply(call, &body, &json);
}

/* ---- routes: /DATE/RESOURCE[/NAME[/TAIL[/ITEM]]], each operation with a date of its own ---- */

enum route_scope {
    ROUTE_ALL,      /* no name */
    ROUTE_FUNCTION, /* the name of a function, $LATEST */
    ROUTE_QUALIFIED /* or of a version or an alias */
};

struct route {
    const char *method;
    const char *resource;
    const char *tail; /* NULL: none */
    const char *item; /* NULL: none; "": any */
    enum route_scope scope;
    void (*run)(struct lambda_call *call);
};

static const struct route routes[] = {
    {"POST", "functions", "invocations", NULL, ROUTE_QUALIFIED, invoke_function},
    {"POST", "functions", NULL, NULL, ROUTE_ALL, lambda_function_create},
    {"GET", "functions", NULL, NULL, ROUTE_ALL, lambda_function_list},
    {"GET", "functions", NULL, NULL, ROUTE_QUALIFIED, lambda_function_get},
    {"DELETE", "functions", NULL, NULL, ROUTE_QUALIFIED, lambda_function_delete},
    {"GET", "functions", "configuration", NULL, ROUTE_QUALIFIED, lambda_function_get_configuration},
    {"PUT", "functions", "configuration", NULL, ROUTE_FUNCTION,
     lambda_function_update_configuration},
    {"PUT", "functions", "code", NULL, ROUTE_FUNCTION, lambda_function_update_code},
    {"GET", "functions", "versions", NULL, ROUTE_FUNCTION, lambda_version_list},
    {"POST", "functions", "versions", NULL, ROUTE_FUNCTION, lambda_version_publish},
    {"GET", "functions", "aliases", NULL, ROUTE_FUNCTION, lambda_alias_list},
    {"POST", "functions", "aliases", NULL, ROUTE_FUNCTION, lambda_alias_create},
    {"GET", "functions", "aliases", "", ROUTE_FUNCTION, lambda_alias_get},
    {"PUT", "functions", "aliases", "", ROUTE_FUNCTION, lambda_alias_update},
    {"DELETE", "functions", "aliases", "", ROUTE_FUNCTION, lambda_alias_delete},
    {"GET", "functions", "policy", NULL, ROUTE_QUALIFIED, lambda_permission_get},
    {"POST", "functions", "policy", NULL, ROUTE_QUALIFIED, lambda_permission_add},
    {"DELETE", "functions", "policy", "", ROUTE_QUALIFIED, lambda_permission_remove},
    {"PUT", "functions", "concurrency", NULL, ROUTE_QUALIFIED, lambda_concurrency_put},
    {"GET", "functions", "concurrency", NULL, ROUTE_QUALIFIED, lambda_concurrency_get},
    {"DELETE", "functions", "concurrency", NULL, ROUTE_QUALIFIED, lambda_concurrency_delete},
    {"PUT", "functions", "provisioned-concurrency", NULL, ROUTE_QUALIFIED, lambda_provisioned_put},
    {"GET", "functions", "provisioned-concurrency", NULL, ROUTE_QUALIFIED, lambda_provisioned_get},
    {"DELETE", "functions", "provisioned-concurrency", NULL, ROUTE_QUALIFIED,
     lambda_provisioned_delete},
    {"PUT", "functions", "event-invoke-config", NULL, ROUTE_QUALIFIED, lambda_event_config_put},
    {"POST", "functions", "event-invoke-config", NULL, ROUTE_QUALIFIED, lambda_event_config_update},
    {"GET", "functions", "event-invoke-config", NULL, ROUTE_QUALIFIED, lambda_event_config_get},
    {"DELETE", "functions", "event-invoke-config", NULL, ROUTE_QUALIFIED,
     lambda_event_config_delete},
    {"GET", "functions", "event-invoke-config", "list", ROUTE_FUNCTION, lambda_event_config_list},
    {"POST", "functions", "url", NULL, ROUTE_QUALIFIED, lambda_url_create},
    {"PUT", "functions", "url", NULL, ROUTE_QUALIFIED, lambda_url_update},
    {"GET", "functions", "url", NULL, ROUTE_QUALIFIED, lambda_url_get},
    {"DELETE", "functions", "url", NULL, ROUTE_QUALIFIED, lambda_url_delete},
    {"GET", "functions", "urls", NULL, ROUTE_FUNCTION, lambda_url_list},
    {"GET", "functions", "code-signing-config", NULL, ROUTE_FUNCTION, get_code_signing},
    {"GET", "account-settings", NULL, NULL, ROUTE_ALL, lambda_concurrency_get_account},
};

static bool route_matches(const struct route *route, struct slice method,
                          const struct aws_path *path)
{
    size_t tail_at = route->scope == ROUTE_ALL ? 2 : 3;
    size_t count = tail_at + (route->tail != NULL ? 1u : 0) + (route->item != NULL ? 1u : 0);

    return path->count == count && slice_equal_text(method, route->method) &&
           aws_path_is(path, 1, route->resource) &&
           (route->tail == NULL || aws_path_is(path, tail_at, route->tail)) &&
           (route->item == NULL || route->item[0] == '\0' ||
            aws_path_is(path, tail_at + 1, route->item));
}

/* The name in the path, with the Qualifier of the query. False: the request was answered. */
static bool read_name(struct lambda_call *call, const char *text)
{
    struct slice qualifier = http_query_find(call->request->exchange, "Qualifier");

    if (lambda_name_parse(slice_text(text), &call->name) != OK ||
        qualifier.size > LAMBDA_QUALIFIER_BYTES_MAX) {
        lambda_function_refuse_name(call->request, text);
        return false;
    }
    if (qualifier.size > 0) {
        memcpy(call->name.qualifier, qualifier.data, qualifier.size);
        call->name.qualifier[qualifier.size] = 0;
    }
    return true;
}

static bool is_there(struct lambda_call *call, enum route_scope scope)
{
    call->function = lambda_call_find(call, 0, &call->revision);
    if (call->function == NULL)
        return false;
    return scope == ROUTE_QUALIFIED ? lambda_call_find_qualified(call) != NULL
                                    : lambda_name_is_latest(&call->name);
}

static void run_on_function(struct lambda_call *call, enum route_scope scope,
                            void (*run)(struct lambda_call *call))
{
    if (is_there(call, scope))
        run(call);
    else
        lambda_call_refuse_missing(call);
}

/* ---- tags: /DATE/tags/ARN ---- */

static bool serve_tags(struct lambda_call *call, const struct aws_path *path)
{
    static const struct {
        const char *method;
        void (*run)(struct lambda_call *call);
    } operations[] = {
        {"GET", lambda_tag_list}, {"POST", lambda_tag_add}, {"DELETE", lambda_tag_remove}};

    if (path->count != 3 || !aws_path_is(path, 1, "tags"))
        return false;
    for (size_t i = 0; i < ARRAY_COUNT(operations); i++) {
        if (!slice_equal_text(call->request->exchange->method, operations[i].method))
            continue;
        if (lambda_tag_read_resource(call, path->segments[2]))
            run_on_function(call, ROUTE_FUNCTION, operations[i].run);
        return true;
    }
    return false;
}

/* ---- what is known and not there ---- */

static bool refuse_unsupported(struct lambda_call *call, const struct aws_path *path)
{
    static const struct {
        const char *resource;
        const char *name;
    } unsupported[] = {
        {"event-source-mappings", "Event source mappings are"},
        {"layers", "Layers are"},
        {"code-signing-configs", "Code signing configurations are"},
        {"capacity-providers", "Capacity providers are"},
        {"durable-executions", "Durable executions are"},
        {"durable-execution-callbacks", "Durable executions are"},
    };

    for (size_t i = 0; path->count >= 2 && i < ARRAY_COUNT(unsupported); i++) {
        if (!aws_path_is(path, 1, unsupported[i].resource))
            continue;
        lambda_call_refuse(call, 400, "InvalidParameterValueException",
                           arena_printf(call->arena, "%s not supported by this cluster yet.",
                                        unsupported[i].name));
        return true;
    }
    return false;
}

void lambda_call_run(struct lambda *lambda, struct aws_request *request, unsigned attempt)
{
    struct lambda_call call = {
        .lambda = lambda,
        .request = request,
        .arena = &request->exchange->arena,
        .attempt = attempt,
    };
    struct aws_path path;

    if (aws_path_split(call.arena, request->exchange->path, &path) != OK) {
        aws_fault_respond_unknown_operation(request);
        return;
    }
    for (size_t i = 0; i < ARRAY_COUNT(routes); i++) {
        if (!route_matches(&routes[i], request->exchange->method, &path))
            continue;
        if (routes[i].item != NULL)
            call.item = path.segments[4];
        if (routes[i].scope == ROUTE_ALL)
            routes[i].run(&call);
        else if (read_name(&call, path.segments[2]))
            run_on_function(&call, routes[i].scope, routes[i].run);
        return;
    }
    if (!serve_tags(&call, &path) && !refuse_unsupported(&call, &path))
        aws_fault_respond_unknown_operation(request);
}

void lambda_on_request(void *lambda, struct aws_request *request)
{
    lambda_call_run(lambda, request, 0);
}
